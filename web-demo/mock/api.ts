/**
 * A stand-in for the REST interface while there is no gateway: `npm run dev:mock`. Feeds in every state; no media behind them, so
 * players show how they wait and fail. It is loaded by Vite's development server only and is no part of the build.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";

const began = Date.now();

/** The plugin. */
export function mockApi(): Plugin {
  return {
    name: "bicast-mock-api",
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        if (!answer(request, response)) next();
      });
    },
  };
}

function answer(request: IncomingMessage, response: ServerResponse): boolean {
  const path = new URL(request.url ?? "/", "http://mock").pathname;
  if (path === "/v1/feeds") return json(response, 200, { feeds: feeds() });
  if (path === "/v1/time")
    return json(response, 200, { unixMs: Date.now() + 250, utc: new Date().toISOString() });
  const id = /^\/v1\/feeds\/([^/]+)$/.exec(path)?.[1];
  if (id) {
    const feed = feeds().find((one) => one.id === decodeURIComponent(id));
    return feed
      ? json(response, 200, feed)
      : problem(response, 404, "Unknown feed", `There is no feed "${id}" here.`);
  }
  if (/^\/wh[ei]p\/|^\/hls\//.test(path)) {
    return problem(
      response,
      503,
      "No media here",
      "This is the mock: it has no media.",
      "Start bicast serve instead.",
    );
  }
  return false;
}

function feeds() {
  return [
    feed("demo", "live", {}),
    feed("studio-b.long-name_for-the-card-to-wrap", "live", {
      cadence: {
        rule: "self-paced",
        frameRate: 25,
        framesPerPart: 5,
        partTargetMs: 216,
        targetDuration: 10,
        advice: "Set the encoder's keyframe interval to 2 s: joining and switching get faster.",
      },
      warnings: [
        "The video has B-frames, which WebRTC cannot show: set B-frames to 0 in the encoder. LL-HLS plays it meanwhile.",
      ],
    }),
    feed("starting-up", "starting", { tracks: [], timeline: null }),
    feed("lunch-break", "offline", { publisher: null }),
  ];
}

function feed(id: string, state: string, other: object) {
  const since = new Date(began - 754_000).toISOString();
  const live = state === "live";
  const edge = (lag: number) =>
    live
      ? { mediaTime: (754_000 - lag) * 90, programTime: new Date(Date.now() + 250 - lag).toISOString() }
      : null;
  return {
    id,
    state,
    since,
    epoch: 0,
    publisher: { protocol: "whip", agent: "OBS-Studio/31.0 (linux)", address: "192.0.2.17:50412", since },
    tracks: [
      {
        id: 0,
        kind: "video",
        codec: "h264",
        clockRate: 90000,
        channels: 0,
        fmtp: "profile-level-id=42e01f",
        renditions: [
          {
            id: 0,
            rid: null,
            codecs: "avc1.42c01f",
            resolution: { width: 1280, height: 720 },
            frameRate: 30,
            bandwidth: 2_512_000,
          },
        ],
      },
      {
        id: 1,
        kind: "audio",
        codec: "opus",
        clockRate: 48000,
        channels: 2,
        fmtp: "",
        renditions: [
          { id: 0, rid: null, codecs: "opus", resolution: null, frameRate: null, bandwidth: 64_000 },
        ],
      },
    ],
    cadence: {
      rule: "on-request",
      frameRate: 30,
      framesPerPart: 6,
      partTargetMs: 216,
      targetDuration: 3,
      advice: null,
    },
    timeline: { version: 3, anchorUnixMs: began - 754_000, masterClockRate: 90000, tracks: [] },
    paths: {
      realtime: {
        available: live,
        reason: null,
        viewers: live ? 12 : 0,
        egressBps: live ? 30_144_000 : 0,
        liveEdge: edge(12),
        url: `/whep/${id}`,
      },
      hls: {
        available: live,
        reason: null,
        viewers: live ? 348 : 0,
        liveEdge: edge(180),
        newest: live ? { segment: 376, part: 4 } : null,
        windowSeconds: live ? 300 : 0,
        standardUrl: `/hls/${id}/standard.m3u8`,
        url: `/hls/${id}/multivariant.m3u8`,
      },
    },
    warnings: [],
    ...other,
  };
}

function problem(
  response: ServerResponse,
  status: number,
  title: string,
  detail: string,
  hint?: string,
): true {
  return json(
    response,
    status,
    { type: "/problems/mock", title, status, detail, hint },
    "application/problem+json",
  );
}

function json(response: ServerResponse, status: number, body: object, type = "application/json"): true {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(JSON.stringify(body));
  return true;
}

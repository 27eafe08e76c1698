/**
 * A stand-in for the REST interface while there is no gateway: `npm run dev:mock`. Feeds in every state; no media behind them, so
 * players show how they wait and fail. It is loaded by Vite's development server only and is no part of the build.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";
import { type Answer, json, problem } from "./answer.ts";
import { MockLines } from "./lines.ts";
import { MockOperator } from "./operator.ts";

const began = Date.now();
/** More than any request of the pages has. */
const LONGEST_BODY = 16_384;

/** The plugin. */
export function mockApi(): Plugin {
  return {
    name: "bicast-mock-api",
    configureServer(server) {
      const mock = new MockApi();
      server.middlewares.use((request, response, next) => {
        if (!/^\/(v1|wh[ei]p|hls)\//.test(request.url ?? "")) return next();
        return void respond(mock, request, response);
      });
    },
  };
}

async function respond(mock: MockApi, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = "";
  for await (const chunk of request) if (body.length < LONGEST_BODY) body += String(chunk);
  const host = (request.headers.host ?? "localhost").replace(/:\d+$/, "");
  const {
    status,
    type,
    location,
    body: text,
  } = mock.answer(request.method ?? "GET", request.url ?? "/", body, host);
  const headers: Record<string, string> = { "content-type": type, "cache-control": "no-store" };
  if (location) headers.location = location;
  response.writeHead(status, headers).end(text);
}

/** The whole interface, without a connection. */
export class MockApi {
  readonly #lines = new MockLines();
  readonly #operator = new MockOperator();

  /** What a request is answered. */
  answer(method: string, address: string, body = "", host = "localhost"): Answer {
    const url = new URL(address, "http://mock");
    const told =
      this.#lines.answer(method, url.pathname, body, host) ?? this.#operator.answer(method, url, body);
    return told ?? rest(url.pathname);
  }
}

function rest(path: string): Answer {
  if (path === "/v1/feeds") return json(200, { feeds: feeds() });
  if (path === "/v1/time") return json(200, { unixMs: Date.now() + 250, utc: new Date().toISOString() });
  const id = /^\/v1\/feeds\/([^/]+)$/.exec(path)?.[1];
  const feed = id && feeds().find((one) => one.id === decodeURIComponent(id));
  if (feed) return json(200, feed);
  if (id) return problem(404, "Unknown feed", `There is no feed "${id}" here.`);
  return /^\/wh[ei]p\/|^\/hls\//.test(path)
    ? problem(503, "No media here", "This is the mock: it has no media.", "Start bicast serve instead.")
    : problem(404, "Nothing here", `The mock knows no ${path}.`);
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
    settings: {
      publisherGrace: 30,
      segmentTarget: 2,
      partTarget: 0.2,
      window: 1_800,
      playout: "lowest-latency",
    },
    standby: null,
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

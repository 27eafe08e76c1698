/** The REST interface: its types, validated where they enter, and a client. */

import { askJson } from "./ask";
import { boolean, list, nullable, number, object, oneOf, type Reader, text } from "./check";
import { type FeedTimeline, type MomentQuery, parseFeedTimeline } from "./feed-timeline";
import { problemOf } from "./problem";
import type { Anchor } from "./timeline";
import { type Joined, parseJoined } from "./viewer-wire";

/** Whether something arrives: see `state` in the API. */
export type FeedState = "starting" | "live" | "offline" | "ended";

/** One encoding of a track. */
export interface Rendition {
  readonly id: number;
  readonly rid: string | null;
  /** RFC 6381, once the bitstream said it. */
  readonly codecs: string | null;
  readonly resolution: { readonly width: number; readonly height: number } | null;
  /** Frames per second, measured. */
  readonly frameRate: number | null;
  /** Bits per second, measured. */
  readonly bandwidth: number | null;
}

/** A track of a feed. */
export interface Track {
  readonly id: number;
  readonly kind: "video" | "audio";
  readonly codec: string;
  readonly clockRate: number;
  readonly channels: number;
  readonly fmtp: string;
  readonly renditions: readonly Rendition[];
}

/** Who sends. */
export interface Publisher {
  readonly protocol: string;
  readonly agent: string | null;
  readonly address: string | null;
  readonly since: string;
}

/** How segments and parts are cut, and what would make it better. */
export interface Cadence {
  readonly rule: "undecided" | "on-request" | "self-paced" | "audio-only";
  readonly frameRate: number | null;
  readonly framesPerPart: number;
  readonly partTargetMs: number;
  /** Seconds. */
  readonly targetDuration: number;
  readonly advice: string | null;
}

/** The mapping from media time to UTC. */
export interface Timeline extends Anchor {
  readonly version: number;
  readonly tracks: readonly {
    readonly track: number;
    readonly clockRate: number;
    readonly offsetMs: number;
    readonly related: boolean;
  }[];
}

/** A path's newest content. */
export interface LiveEdge {
  readonly mediaTime: number;
  readonly programTime: string;
}

interface PathStatus {
  readonly available: boolean;
  /** Why not, with the next step. */
  readonly reason: string | null;
  readonly viewers: number;
  readonly liveEdge: LiveEdge | null;
  readonly url: string;
}

/** The WebRTC path. */
export interface RealtimeStatus extends PathStatus {
  readonly egressBps: number;
}

/** The LL-HLS path. */
export interface HlsStatus extends PathStatus {
  readonly newest: { readonly segment: number; readonly part: number } | null;
  readonly windowSeconds: number;
  /** Of them, seconds that a restart does not lose; null where nothing is stored. */
  readonly storedSeconds: number | null;
  /** For players that know whole segments only. */
  readonly standardUrl: string;
}

/** How a feed is treated; times in seconds. */
export interface FeedSettings {
  readonly publisherGrace: number;
  readonly segmentTarget: number;
  readonly partTarget: number;
  readonly window: number;
  readonly playout: string;
}

/** A feed as `GET /v1/feeds/{id}` tells it. */
export interface Feed {
  readonly id: string;
  readonly settings: FeedSettings;
  readonly state: FeedState;
  readonly since: string;
  readonly epoch: number;
  readonly publisher: Publisher | null;
  /** Who stands by to take over from the publisher. */
  readonly standby: Publisher | null;
  readonly tracks: readonly Track[];
  readonly cadence: Cadence;
  readonly timeline: Timeline | null;
  readonly paths: { readonly realtime: RealtimeStatus; readonly hls: HlsStatus };
  /** Sentences for the operator, each with its next step. */
  readonly warnings: readonly string[];
}

const liveEdge: Reader<LiveEdge> = object<LiveEdge>({ mediaTime: number, programTime: text });

const path = {
  available: boolean,
  reason: nullable(text),
  viewers: number,
  liveEdge: nullable(liveEdge),
  url: text,
};

const publisher = nullable(
  object<Publisher>({ protocol: text, agent: nullable(text), address: nullable(text), since: text }),
);

const timeline = object<Timeline>({
  version: number,
  anchorUnixMs: number,
  masterClockRate: number,
  tracks: list(object({ track: number, clockRate: number, offsetMs: number, related: boolean })),
});

const feed: Reader<Feed> = object<Feed>({
  id: text,
  settings: object<FeedSettings>({
    publisherGrace: number,
    segmentTarget: number,
    partTarget: number,
    window: number,
    playout: text,
  }),
  state: oneOf("starting", "live", "offline", "ended"),
  since: text,
  epoch: number,
  publisher,
  standby: publisher,
  tracks: list(
    object<Track>({
      id: number,
      kind: oneOf("video", "audio"),
      codec: text,
      clockRate: number,
      channels: number,
      fmtp: text,
      renditions: list(
        object<Rendition>({
          id: number,
          rid: nullable(text),
          codecs: nullable(text),
          resolution: nullable(object({ width: number, height: number })),
          frameRate: nullable(number),
          bandwidth: nullable(number),
        }),
      ),
    }),
  ),
  cadence: object<Cadence>({
    rule: oneOf("undecided", "on-request", "self-paced", "audio-only"),
    frameRate: nullable(number),
    framesPerPart: number,
    partTargetMs: number,
    targetDuration: number,
    advice: nullable(text),
  }),
  timeline: nullable(timeline),
  paths: object<Feed["paths"]>({
    realtime: object<RealtimeStatus>({ ...path, egressBps: number }),
    hls: object<HlsStatus>({
      ...path,
      newest: nullable(object({ segment: number, part: number })),
      windowSeconds: number,
      storedSeconds: nullable(number),
      standardUrl: text,
    }),
  }),
  warnings: list(text),
});

const feeds = object<{ feeds: readonly Feed[] }>({ feeds: list(feed) });
const time = object<{ unixMs: number }>({ unixMs: number });

/** A feed, or a {@link WireError} that names the member that was wrong. */
export const parseFeed = (json: unknown): Feed => feed(json, "");

/** The list of feeds, or a {@link WireError}. */
export const parseFeeds = (json: unknown): readonly Feed[] => feeds(json, "").feeds;

/** A mapping, or a {@link WireError}. */
export const parseTimeline = (json: unknown): Timeline => timeline(json, "timeline");

/** The server's UTC in milliseconds since 1970, or a {@link WireError}. */
export const parseTime = (json: unknown): number => time(json, "").unixMs;

/** A client of the REST interface. Every method rejects with a {@link BicastError}. */
export class BicastApi {
  /** `server` is the origin (and base path) of a bicast server, e.g. `http://localhost:8080`. */
  constructor(
    readonly server: string,
    private readonly token: string | null = null,
  ) {}

  /** The address of a feed's multivariant playlist. Players set no headers: the token stands in the path. */
  hlsUrl(feed: string): string {
    return this.url(
      `${this.token ? `t/${this.token}/` : ""}hls/${encodeURIComponent(feed)}/multivariant.m3u8`,
    );
  }

  /** All feeds. */
  feeds(signal?: AbortSignal): Promise<readonly Feed[]> {
    return this.#get("v1/feeds", parseFeeds, signal);
  }

  /** One feed; 404 when nothing is or was published under this id. */
  feed(id: string, signal?: AbortSignal): Promise<Feed> {
    return this.#get(`v1/feeds/${encodeURIComponent(id)}`, parseFeed, signal);
  }

  /** Where moments of a feed lie on both paths, and where the one that is asked for does; 404 when it is not in the window. */
  timeline(id: string, at?: MomentQuery, signal?: AbortSignal): Promise<FeedTimeline> {
    const named = Object.entries(at ?? {}).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const query = named.length === 0 ? "" : `?${named.join("&")}`;
    return this.#get(`v1/feeds/${encodeURIComponent(id)}/timeline${query}`, parseFeedTimeline, signal);
  }

  /** The server's clock, in milliseconds since 1970. */
  time(signal?: AbortSignal): Promise<number> {
    return this.#get("v1/time", parseTime, signal);
  }

  /** Joins a feed as a viewer. */
  join(
    id: string,
    about: { readonly tier?: "vip" | "free" | undefined; readonly agent?: string | undefined },
  ): Promise<Joined> {
    const headers = { "content-type": "application/json", ...this.#authorization() };
    const init = { method: "POST", headers, body: JSON.stringify(about) };
    return askJson(this.url(`v1/feeds/${encodeURIComponent(id)}/viewers`), parseJoined, init);
  }

  /** Keeps a viewer on a path, or leaves that to the service again. */
  async move(id: string, viewer: string, path: "auto" | "realtime" | "hls"): Promise<void> {
    const url = this.#viewerUrl(id, viewer);
    const body = JSON.stringify({ path });
    const response = await fetch(url, {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body,
    });
    if (!response.ok) throw await problemOf(response);
  }

  /** Ends a viewer that has joined. Also while the page goes away. */
  async leave(id: string, viewer: string): Promise<void> {
    const url = this.#viewerUrl(id, viewer);
    await fetch(url, { method: "DELETE", keepalive: true });
  }

  /** The absolute address of a path on this server. */
  url(path: string): string {
    const base = this.server.endsWith("/") ? this.server : `${this.server}/`;
    return new URL(path.replace(/^\//, ""), base).href;
  }

  #viewerUrl(id: string, viewer: string): string {
    return this.url(`v1/feeds/${encodeURIComponent(id)}/viewers/${encodeURIComponent(viewer)}`);
  }

  #authorization(): Record<string, string> {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  #get<T>(path: string, parse: (json: unknown) => T, signal?: AbortSignal): Promise<T> {
    const headers = { accept: "application/json", ...this.#authorization() };
    const init: RequestInit = { headers, cache: "no-store" };
    if (signal) init.signal = signal;
    return askJson(this.url(path), parse, init);
  }
}

/** The REST interface as far as a player needs it: its types, validated where they enter, and a client. */

import { askJson } from "./ask";
import { boolean, list, nullable, number, object, oneOf, type Reader, text } from "./check";
import { problemOf } from "./problem";
import type { Anchor } from "./timeline";
import { type Joined, parseJoined } from "./viewer-wire";

/** Whether something arrives: see `state` in the API. */
export type FeedState = "starting" | "live" | "offline" | "ended";

/** A track of a feed. */
export interface Track {
  readonly kind: "video" | "audio";
  readonly codec: string;
  readonly renditions: readonly {
    /** Frames per second, measured. */
    readonly frameRate: number | null;
  }[];
}

/** A path's newest content. */
export interface LiveEdge {
  readonly mediaTime: number;
  readonly programTime: string;
}

/** One way to watch. */
export interface PathStatus {
  readonly available: boolean;
  /** Why not, with the next step. */
  readonly reason: string | null;
  readonly liveEdge: LiveEdge | null;
}

/** The LL-HLS path. */
export interface HlsStatus extends PathStatus {
  readonly windowSeconds: number;
}

/** A feed as `GET /v1/feeds/{id}` tells it: of its members those that a player goes by. */
export interface Feed {
  readonly state: FeedState;
  readonly tracks: readonly Track[];
  readonly timeline: Anchor | null;
  readonly paths: { readonly realtime: PathStatus; readonly hls: HlsStatus };
}

/** Readers of members, to be shared with who reads more of a feed. */
export const pathMembers = {
  available: boolean,
  reason: nullable(text),
  liveEdge: nullable(object<LiveEdge>({ mediaTime: number, programTime: text })),
};
export const trackMembers = { kind: oneOf("video", "audio"), codec: text };
export const feedState: Reader<FeedState> = oneOf("starting", "live", "offline", "ended");
const anchor: Reader<Anchor> = object<Anchor>({ anchorUnixMs: number, masterClockRate: number });

const feed: Reader<Feed> = object<Feed>({
  state: feedState,
  tracks: list(object<Track>({ ...trackMembers, renditions: list(object({ frameRate: nullable(number) })) })),
  timeline: nullable(anchor),
  paths: object<Feed["paths"]>({
    realtime: object<PathStatus>(pathMembers),
    hls: object<HlsStatus>({ ...pathMembers, windowSeconds: number }),
  }),
});

const time = object<{ unixMs: number }>({ unixMs: number });

/** A feed, or a {@link WireError} that names the member that was wrong. */
export const parseFeed = (json: unknown): Feed => feed(json, "");

/** A mapping, or a {@link WireError}. */
export const parseAnchor = (json: unknown): Anchor => anchor(json, "timeline");

/** The server's UTC in milliseconds since 1970, or a {@link WireError}. */
export const parseTime = (json: unknown): number => time(json, "").unixMs;

/** A client of what a player asks for. Every method rejects with a {@link BicastError}. */
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

  /** One feed; 404 when nothing is or was published under this id. */
  feed(id: string, signal?: AbortSignal): Promise<Feed> {
    return this.get(`v1/feeds/${encodeURIComponent(id)}`, parseFeed, signal);
  }

  /** The server's clock, in milliseconds since 1970. */
  time(signal?: AbortSignal): Promise<number> {
    return this.get("v1/time", parseTime, signal);
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

  /** What `path` has. */
  protected get<T>(path: string, parse: (json: unknown) => T, signal?: AbortSignal): Promise<T> {
    const headers = { accept: "application/json", ...this.#authorization() };
    const init: RequestInit = { headers, cache: "no-store" };
    if (signal) init.signal = signal;
    return askJson(this.url(path), parse, init);
  }
}

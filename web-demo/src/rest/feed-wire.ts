/** Feeds as the REST interface tells them, whole: what a player goes by and everything beside it. Validated where they enter. */

import {
  feedState,
  type PathStatus,
  type Feed as PlayedFeed,
  type HlsStatus as PlayedHls,
  type Track as PlayedTrack,
  pathMembers,
  trackMembers,
} from "../bicast/api";
import { boolean, list, nullable, number, object, oneOf, type Reader, text } from "../bicast/check";
import type { Anchor } from "../bicast/timeline";

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
export interface Track extends PlayedTrack {
  readonly id: number;
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

interface Watched {
  readonly viewers: number;
  readonly url: string;
}

/** The WebRTC path. */
export interface RealtimeStatus extends PathStatus, Watched {
  readonly egressBps: number;
}

/** The LL-HLS path. */
export interface HlsStatus extends PlayedHls, Watched {
  readonly newest: { readonly segment: number; readonly part: number } | null;
  /** Of `windowSeconds` those that a restart does not lose; null where nothing is stored. */
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
export interface Feed extends PlayedFeed {
  readonly id: string;
  readonly settings: FeedSettings;
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

const path = { ...pathMembers, viewers: number, url: text };

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
  state: feedState,
  since: text,
  epoch: number,
  publisher,
  standby: publisher,
  tracks: list(
    object<Track>({
      id: number,
      ...trackMembers,
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

/** A feed, or a {@link WireError} that names the member that was wrong. */
export const parseFeed = (json: unknown): Feed => feed(json, "");

/** The list of feeds, or a {@link WireError}. */
export const parseFeeds = (json: unknown): readonly Feed[] => feeds(json, "").feeds;

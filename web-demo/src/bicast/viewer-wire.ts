/** What a viewer that has joined is told, and what its player says: the messages of the event channel, validated where they enter. */

import { parseAnchor } from "./api";
import { boolean, nullable, number, object, oneOf, type Reader, text } from "./check";
import type { Path } from "./leg";
import type { Anchor } from "./timeline";

/** Where a viewer is served from now on, and why: the reason is a stable name, `loss`, `udp-blocked`, `over-count`, ... */
export interface Decision {
  readonly path: Path;
  readonly layerCap: number;
  readonly reason: string;
  readonly since: string;
}

/** A viewer as the service sees it. */
export interface Viewer {
  readonly id: string;
  readonly tier: "vip" | "free" | null;
  readonly path: Path;
  readonly decision: Decision | null;
  /** For what it waits, while there is no room for it on the realtime path. */
  readonly waiting: { readonly shortage: string; readonly ahead: number; readonly seconds: number } | null;
}

/** The answer to joining. */
export interface Joined {
  readonly viewer: Viewer;
  readonly urls: {
    readonly whep: string | null;
    readonly hls: string;
    readonly events: string;
    readonly reports: string;
  };
}

/** What the service says. Types that are not known here come out as null: a newer server may say more. */
export type ServerMessage =
  | { readonly type: "hello"; readonly sequence: number; readonly missed: number; readonly viewer: Viewer }
  | { readonly type: "decision"; readonly sequence: number; readonly decision: Decision }
  | { readonly type: "join-again"; readonly sequence: number; readonly why: string }
  | { readonly type: "end"; readonly sequence: number; readonly reason: string }
  | { readonly type: "feed"; readonly state: string; readonly realtime: boolean; readonly hls: boolean }
  | { readonly type: "timeline"; readonly timeline: Anchor }
  | { readonly type: "probe"; readonly wanted: boolean }
  | { readonly type: "problem"; readonly detail: string; readonly hint: string };

/** How it goes: what a player says about once a second. What it does not know it leaves out. */
export interface Report {
  readonly path?: Path;
  readonly latencyMs?: number;
  readonly bufferMs?: number;
  readonly mediaTime?: number;
  readonly atLiveEdge?: boolean;
  readonly frozenRatio?: number;
  readonly lossRatio?: number;
  readonly roundTripMs?: number;
  readonly jitterMs?: number;
  readonly udpBlocked?: boolean;
}

const path = oneOf("realtime", "hls");
const decision = object<Decision>({ path, layerCap: number, reason: text, since: text });
const viewer = object<Viewer>({
  id: text,
  tier: nullable(oneOf("vip", "free")),
  path,
  decision: nullable(decision),
  waiting: nullable(object({ shortage: text, ahead: number, seconds: number })),
});
const joined = object<Joined>({
  viewer,
  urls: object({ whep: nullable(text), hls: text, events: text, reports: text }),
});
// Not the reader itself: the two modules need each other.
const timeline: Reader<Anchor> = (value) => parseAnchor(value);

const messages = {
  hello: object({ type: oneOf("hello"), sequence: number, missed: number, viewer }),
  decision: object({ type: oneOf("decision"), sequence: number, decision }),
  "join-again": object({ type: oneOf("join-again"), sequence: number, why: text }),
  end: object({ type: oneOf("end"), sequence: number, reason: text }),
  feed: object({ type: oneOf("feed"), state: text, realtime: boolean, hls: boolean }),
  timeline: object({ type: oneOf("timeline"), timeline }),
  probe: object({ type: oneOf("probe"), wanted: boolean }),
  problem: object({ type: oneOf("problem"), detail: text, hint: text }),
} satisfies { readonly [K in ServerMessage["type"]]: Reader<Extract<ServerMessage, { type: K }>> };

/** The answer to joining, or a `WireError`. */
export const parseJoined = (json: unknown): Joined => joined(json, "");

/** A message, null where its type is not known here, or a `WireError`. */
export function parseMessage(json: unknown): ServerMessage | null {
  const { type } = object<{ type: string }>({ type: text })(json, "");
  if (!Object.hasOwn(messages, type)) return null;
  return messages[type as ServerMessage["type"]](json, "");
}

/** A reason's name in words for a person. */
export function reasonInWords(reason: string): string {
  return REASONS[reason] ?? reason.replaceAll("-", " ");
}

const REASONS: Readonly<Record<string, string>> = {
  entitled: "WebRTC is there for you",
  "tier-free": "this tier is served over HLS",
  "feed-without-realtime": "the feed cannot be shown over WebRTC",
  "feed-without-hls": "the feed cannot be shown over HLS",
  "feed-without-paths": "the feed cannot be shown here",
  "publisher-away": "nobody publishes at the moment",
  "never-connected": "no connection was begun",
  "udp-blocked": "this network lets no WebRTC through",
  "connection-lost": "the connection was lost",
  loss: "too many packets are lost",
  "loss-unrepaired": "too many packets stay lost",
  "round-trip": "the way to the server is too long",
  jitter: "packets come too unevenly",
  "rate-below-lowest-layer": "the network is too slow",
  freezes: "the picture froze too often",
  "over-bitrate": "the server is full: HLS until there is room",
  "over-packet-rate": "the server is full: HLS until there is room",
  "over-cpu": "the server is full: HLS until there is room",
  "over-count": "the server is full: HLS until there is room",
  returned: "the network has been good long enough",
  trial: "WebRTC is tried again",
  available: "there is room now",
  recovered: "the network is good again",
  ordered: "it was asked for",
};

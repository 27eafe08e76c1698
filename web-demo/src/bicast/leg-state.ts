/** What a viewer should be told about a leg. Pure. */

import type { FeedState } from "./api";
import type { LinkState } from "./kept-link";

/**
 * `idle` not asked for · `connecting` on its way · `waiting` nobody publishes · `live` frames are shown · `stalled` connected,
 * but the picture stands still · `retrying` failed, tried again by itself · `failed` needs a change · `ended` the feed is over.
 */
export type LegState =
  | "idle"
  | "connecting"
  | "waiting"
  | "live"
  | "stalled"
  | "retrying"
  | "failed"
  | "ended";

/** What is known when the state is asked for; times in milliseconds on one clock. */
export interface LegFacts {
  readonly link: LinkState;
  /** The feed's own state, null before the server said it. */
  readonly feed: FeedState | null;
  /** Whether the server does not know the feed: it has not begun. */
  readonly unknown: boolean;
  /** Whether the feed has no picture: then the connection is all there is to go by. */
  readonly audioOnly: boolean;
  /** Whether the picture stands still because the player or the viewer wants it to. */
  readonly held: boolean;
  /** When the newest frame was shown; null before the first. */
  readonly lastFrameAt: number | null;
  readonly now: number;
}

/** A still picture this long is a stall and not the jitter of a slow source (2 frames per second are the slowest cared for). */
export const STALL_MS = 1_500;

/** The state that the facts mean. Frames on the screen count for more than anything that is said about them. */
export function legState({ link, feed, unknown, audioOnly, held, lastFrameAt, now }: LegFacts): LegState {
  if (link === "idle") return "idle";
  // A link that has failed holds nothing: who has rewound and waits is to hear why.
  const lost = link === "failed" || link === "retrying";
  if (held && !lost && (lastFrameAt !== null || link === "connected")) return "live";
  if (lastFrameAt !== null && now - lastFrameAt < STALL_MS) return "live";
  if (link === "ended" || feed === "ended") return "ended";
  if (audioOnly && link === "connected" && feed === "live") return "live";
  if (feed === "offline" || feed === "starting" || (unknown && link === "retrying")) return "waiting";
  if (lost) return link;
  if (link === "connecting") return "connecting";
  return lastFrameAt === null ? "connecting" : "stalled";
}

/** Whether a feed can be watched on the other path, and whether it has to be. Pure. */

import type { Feed } from "./api";
import type { BicastError } from "./problem";

/** Why this feed cannot be watched over LL-HLS; null where it can, or nothing is known of it. */
export function whyNoHls(feed: Feed | null): string | null {
  if (feed === null) return null;
  const { available, reason } = feed.paths.hls;
  const silent = feed.tracks.some(({ kind, codec }) => kind === "video" && /vp8/i.test(codec));
  if (available && !silent) return null;
  return reason ?? "The picture of this feed (VP8) cannot be carried over LL-HLS.";
}

/** What is known of WebRTC at the beginning. */
export interface Beginning {
  /** Whether it has shown a frame. */
  readonly seen: boolean;
  /** Whether it has been waited for long enough. */
  readonly late: boolean;
  /** Why it does not connect. */
  readonly problem: BicastError | null;
}

/**
 * Why a player that began over WebRTC and shows nothing is to go to LL-HLS, and whether WebRTC was refused: then it is not to be tried again.
 * Null where it is to wait: a feed that waits for its publisher, or is over, is no better on the other path.
 */
export function fallBack(
  feed: Feed | null,
  { seen, late, problem }: Beginning,
): { readonly reason: string; readonly refused: boolean } | null {
  if (feed?.state !== "live" || !feed.paths.hls.available || seen) return null;
  const refused = problem?.problem.status === 406 || !feed.paths.realtime.available;
  if (!late && !refused) return null;
  const reason = feed.paths.realtime.reason ?? problem?.message ?? "no picture came over WebRTC";
  return { reason, refused };
}

/** How far behind the server's now a path's newest content is. */

import type { FeedWatcher } from "../bicast/feed-watcher";
import { percentile } from "../bicast/latency";
import type { Path } from "../bicast/leg";

/** Answers that count. */
const MEMORY = 8;
/** Before so many answers nothing is said: one alone may be off by a second. */
const ENOUGH = 3;

/**
 * Of a few answers, the one to show. LL-HLS's edge is told as it is when it is asked for, and comes part by part: the median. WebRTC's is
 * noted once a second, so an answer is up to a second old: the youngest. Pure.
 */
export function typicalLag(path: Path, lags: readonly number[]): number {
  return path === "realtime"
    ? Math.min(...lags)
    : percentile(
        [...lags].sort((a, b) => a - b),
        0.5,
      );
}

/** Remembers the newest answers about one path's edge. */
export class EdgeLag {
  #seen = 0;
  #lags: readonly number[] = [];

  constructor(private readonly path: Path) {}

  /** In milliseconds; null where the feed is not live or the clock is not known yet. */
  of(watcher: FeedWatcher): number | null {
    const edge = watcher.feed?.paths[this.path].liveEdge;
    const server = watcher.serverTimeAt(watcher.feedAt);
    if (!edge || server === null || watcher.feed?.state !== "live") return null;
    if (this.#seen !== watcher.feedAt) {
      this.#seen = watcher.feedAt;
      this.#lags = [...this.#lags, Math.max(server - Date.parse(edge.programTime), 0)].slice(-MEMORY);
    }
    return this.#lags.length < ENOUGH ? null : typicalLag(this.path, this.#lags);
  }
}

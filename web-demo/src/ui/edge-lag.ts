/** How far behind the server's now a path's newest content is. */

import type { FeedWatcher } from "../bicast/feed-watcher";
import type { Path } from "../bicast/leg";

/** Status is polled once a second, so what it says of the edge is up to a second old: the youngest of the last few counts. */
const MEMORY = 5;

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
    return this.#lags.length === 0 ? null : Math.min(...this.#lags);
  }
}

/** How far behind the server's now a path's newest content is. */

import type { FeedWatcher } from "../bicast/feed-watcher";
import type { Path } from "../bicast/leg";

/** The server tells its edges once a second, so an answer is up to a second old: the youngest of the last few counts. */
const MEMORY = 8;
/** Before so many answers nothing is said: one alone may be off by a second. */
const ENOUGH = 3;

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
    return this.#lags.length < ENOUGH ? null : Math.min(...this.#lags);
  }
}

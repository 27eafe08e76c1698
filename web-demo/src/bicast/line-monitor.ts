/** Asks {@link LineWatch} ten times a second how the WebRTC line does, with what this page knows of it. */

import type { FeedWatcher } from "./feed-watcher";
import type { HlsLeg, RealtimeLeg } from "./leg";
import { localNow } from "./server-clock";
import { ticksToMs } from "./timeline";
import { type LineFacts, LineWatch, type Verdict } from "./trouble";

const LOOK_EVERY_MS = 100;

/** Follows one WebRTC leg while it is started. */
export class LineMonitor {
  #watch = new LineWatch();
  #counted = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #verdict: Verdict = { state: "fine", reason: null };

  constructor(
    private readonly realtime: RealtimeLeg,
    private readonly hls: HlsLeg,
    private readonly feed: FeedWatcher,
    /** Called with each look. */
    private readonly onLook: (verdict: Verdict) => void,
  ) {
    realtime.on("stats", (stats) => this.#watch.counts(localNow(), stats));
  }

  /** The newest verdict. */
  get verdict(): Verdict {
    return this.#verdict;
  }

  /** Whether WebRTC runs, and well enough to be gone back to at once. */
  get alive(): boolean {
    return this.realtime.linkState === "connected" && this.#verdict.state !== "failing";
  }

  /** Since when there has been trouble; null where there is none. */
  get troubleSince(): number | null {
    return this.#watch.since;
  }

  /** Begins to look, with nothing remembered. */
  start(): void {
    this.stop();
    this.#watch = new LineWatch();
    this.#counted = 0;
    this.#verdict = { state: "fine", reason: null };
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** Stops looking. */
  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    // The element's own count: frame callbacks stop when the page is covered or starved, and the pictures do not.
    const { totalVideoFrames } = this.realtime.video.getVideoPlaybackQuality();
    if (totalVideoFrames > this.#counted) this.#watch.frames(localNow(), totalVideoFrames - this.#counted);
    this.#counted = totalVideoFrames;
    this.#verdict = this.#watch.look(localNow(), this.#facts());
    this.onLook(this.#verdict);
  }

  #facts(): LineFacts {
    const { linkState, iceState } = this.realtime;
    const broken =
      linkState === "retrying" ||
      linkState === "failed" ||
      linkState === "ended" ||
      iceState === "failed" ||
      iceState === "closed";
    return {
      hidden: document.hidden,
      link: broken ? "broken" : linkState === "connected" ? "connected" : "connecting",
      serverAheadMs: this.#serverAheadMs(),
    };
  }

  /** What the server has that is newer than the newest frame here, by its own words and by what HLS has loaded. */
  #serverAheadMs(): number | null {
    const last = this.realtime.frames.last;
    if (last === null) return null;
    const { paths } = this.feed.feed ?? {};
    const edges = [paths?.realtime.liveEdge?.mediaTime, paths?.hls.liveEdge?.mediaTime];
    const { buffered } = this.hls.video;
    if (this.hls.startedAt !== null && buffered.length > 0)
      edges.push(this.hls.mediaTimeAt(buffered.end(buffered.length - 1)) ?? undefined);
    const known = edges.filter((edge) => edge !== undefined);
    return known.length === 0 ? null : ticksToMs(Math.max(...known) - last.mediaTime);
  }
}

/** Which frames were shown, when, and how old they were: `requestVideoFrameCallback` turned into positions on the timeline. */

import type { TimelineSource } from "./feed-watcher";
import { LatencyMeter } from "./latency";
import { localNow } from "./server-clock";
import { type MediaTime, type ProgramTime, toProgramTime } from "./timeline";

/** One frame that reached the screen. */
export interface ShownFrame {
  /** Its presentation time on the feed. */
  readonly mediaTime: MediaTime;
  /** When it entered the server; null before the anchor is known. */
  readonly programTime: ProgramTime | null;
  /** From entering the server to the screen, in milliseconds (ingest to glass); null before both clocks are known. */
  readonly latencyMs: number | null;
  /** When it was (expected to be) on the screen, by `localNow()`. */
  readonly shownAt: number;
  /** Frames given to the compositor so far; callbacks miss some, this does not. */
  readonly presented: number;
  /** What the browser said: the RTP timestamp over WebRTC, the element's seconds over HLS. */
  readonly raw: number;
}

/** A moving window of shown frames, for latency, rate and whoever wants to look (tests do). */
const KEPT_FRAMES = 1_800;

/** Follows one video element. */
export class FrameWatch {
  readonly latency = new LatencyMeter();
  #frames: ShownFrame[] = [];
  #count = 0;
  #handle = 0;
  #running = false;
  #firstAt: number | null = null;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly timeline: TimelineSource,
    /** The position of a frame from what the browser says about it; null when it cannot be known. */
    private readonly locate: (
      metadata: VideoFrameCallbackMetadata,
    ) => { time: MediaTime; raw: number } | null,
    private readonly onFrame: (frame: ShownFrame) => void,
  ) {}

  /** Begins to watch. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#firstAt = null;
    this.#next();
  }

  /** Stops; what was seen stays until {@link clear}. */
  stop(): void {
    this.#running = false;
    this.video.cancelVideoFrameCallback?.(this.#handle);
  }

  /** Forgets what was seen. */
  clear(): void {
    this.#frames = [];
    this.#firstAt = null;
    this.latency.clear();
  }

  /** The newest frame. */
  get last(): ShownFrame | null {
    return this.#frames.at(-1) ?? null;
  }

  /** Callbacks so far. */
  get count(): number {
    return this.#count;
  }

  /** When the first frame since {@link start} was shown. */
  get firstAt(): number | null {
    return this.#firstAt;
  }

  /** Frames kept, oldest first. */
  get frames(): readonly ShownFrame[] {
    return this.#frames;
  }

  /** Frames per second over the last two seconds, by the compositor's own count. */
  fps(now: number): number | null {
    const recent = this.#frames.filter((frame) => frame.shownAt >= now - 2_000);
    const [first, last] = [recent[0], recent.at(-1)];
    if (!first || !last || last.shownAt - first.shownAt < 500) return null;
    return ((last.presented - first.presented) * 1000) / (last.shownAt - first.shownAt);
  }

  #next(): void {
    // Firefox before 132 has none: the picture plays, only the numbers are missing.
    this.#handle = this.video.requestVideoFrameCallback?.((_, metadata) => this.#shown(metadata)) ?? 0;
  }

  #shown(metadata: VideoFrameCallbackMetadata): void {
    if (!this.#running) return;
    this.#next();
    const shownAt = performance.timeOrigin + metadata.expectedDisplayTime;
    this.#firstAt ??= shownAt;
    this.#count += 1;
    const located = this.locate(metadata);
    if (located === null) return;
    const { anchor } = this.timeline;
    const programTime = anchor === null ? null : toProgramTime(anchor, located.time);
    const server = this.timeline.serverTimeAt(shownAt);
    const latencyMs = programTime === null || server === null ? null : server - programTime;
    const presented = metadata.presentedFrames;
    const frame = { mediaTime: located.time, programTime, latencyMs, shownAt, presented, raw: located.raw };
    this.#frames.push(frame);
    if (this.#frames.length > KEPT_FRAMES + 200) this.#frames = this.#frames.slice(-KEPT_FRAMES);
    if (latencyMs !== null) this.latency.add(localNow(), latencyMs);
    this.onFrame(frame);
  }
}

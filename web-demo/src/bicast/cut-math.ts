/** The arithmetic of a cut: which frame HLS has to show, and whether it does. Pure; times of frames are in seconds of the element. */

import type { ShownFrame } from "./frames";
import { MEDIA_RATE, type MediaTime, ticksToMs } from "./timeline";

/** A stretch of media in the element's buffer. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** The element's `buffered` as a list. */
export function stretches(buffered: TimeRanges): Stretch[] {
  return Array.from({ length: buffered.length }, (_, n) => ({
    start: buffered.start(n),
    end: buffered.end(n),
  }));
}

/** What hls.js, the buffer and the decoder make of a frame's time differs by rounding only. */
export const SAME_FRAME = 0.005;

/** How much media lies without a break behind `at`; null where there is none at `at`. */
export function aheadOf(buffer: readonly Stretch[], at: number): number | null {
  const held = buffer.find(({ start, end }) => at >= start - SAME_FRAME && at < end);
  return held === undefined ? null : held.end - at;
}

/** Seconds behind the buffer that are loaded next. */
export const COMES_WITHIN = 4;

/** The nearest time from `at` on that the buffer holds, within `reach` seconds; null where it holds none. */
export function nextHeld(buffer: readonly Stretch[], at: number, reach: number): number | null {
  if (aheadOf(buffer, at) !== null) return at;
  const next = buffer.find(({ start }) => start > at);
  return next !== undefined && next.start - at <= reach ? next.start : null;
}

/**
 * A paused element that is sought with less than this behind the target shows an *older* picture and says nothing about it
 * (Chromium; measured: early by exactly what was missing to 0.2 s).
 */
export const SEEK_MARGIN = 0.25;
/** What a frame that is shown at `shown` means for who wanted the one at `wanted`. */
export function compareFrames(shown: number, wanted: number, within = SAME_FRAME): "same" | "early" | "late" {
  if (Math.abs(shown - wanted) <= within) return "same";
  return shown < wanted ? "early" : "late";
}

/** Only losses of the last so many seconds are made good: who wants to see more can rewind. */
export const MISSED_AT_MOST_MS = 10_000;

/**
 * Where "miss nothing" begins: the last frame that was shown before the first one that the network took. Two callbacks whose
 * frames lie further apart in media than the compositor's count between them says have something missing between them.
 * The newest frame where nothing is missing; null without frames.
 */
export function beforeFirstLoss(
  frames: readonly ShownFrame[],
  frameTicks: number,
  since: number,
): MediaTime | null {
  const newest = frames.at(-1);
  if (newest === undefined) return null;
  const from = Math.max(since, newest.shownAt - MISSED_AT_MOST_MS);
  for (let n = 1; n < frames.length; n += 1) {
    const [before, now] = [frames[n - 1], frames[n]];
    if (!before || !now || now.shownAt < from) continue;
    const count = Math.max(now.presented - before.presented, 1);
    // Half a frame of jitter is usual; a whole frame more than were shown is a hole.
    if (now.mediaTime - before.mediaTime > (count + 0.5) * frameTicks) return before.mediaTime;
  }
  return newest.mediaTime;
}

/**
 * The usual distance of frames in ticks: the median of the newest callbacks, by the compositor's own count; by the feed's rate where
 * there are too few of them.
 */
export function usualFrameTicks(frames: readonly ShownFrame[], feedRate: number | null): number {
  const otherwise = MEDIA_RATE / (feedRate || 30);
  const steps: number[] = [];
  for (let n = Math.max(frames.length - 60, 1); n < frames.length; n += 1) {
    const [before, now] = [frames[n - 1], frames[n]];
    if (!before || !now) continue;
    const count = now.presented - before.presented;
    if (count > 0 && count < 4 && now.mediaTime > before.mediaTime)
      steps.push((now.mediaTime - before.mediaTime) / count);
  }
  if (steps.length < 5) return otherwise;
  steps.sort((a, b) => a - b);
  return steps[Math.floor(steps.length / 2)] ?? otherwise;
}

/** How much more media than time went by over these frames, in milliseconds; null for fewer than three. */
export function hurryMs(frames: readonly ShownFrame[]): number | null {
  const [first, last] = [frames[0], frames.at(-1)];
  if (!first || !last || frames.length < 3) return null;
  return ticksToMs(last.mediaTime - first.mediaTime) - (last.shownAt - first.shownAt);
}

/**
 * Brings a paused HLS element to one frame and makes sure that it shows it. `seeked` and frame callbacks alone say too little: the
 * first also fires under an older picture, the second can fail to come for an element that is covered. So the picture itself is asked.
 */

import {
  aheadOf,
  COMES_WITHIN,
  compareFrames,
  nextHeld,
  SAME_FRAME,
  SEEK_MARGIN,
  type Stretch,
  stretches,
} from "./cut-math";

/** What a seek came to. */
export interface SeekResult {
  /** The frame that is shown, in seconds of the element; null where the browser cannot say. */
  readonly shown: number | null;
  readonly wanted: number;
  /** Whether it is the one that was wanted. */
  readonly exact: boolean;
  readonly tries: number;
}

/** What is to be shown. */
export interface SeekTarget {
  /** The frame's time in seconds of the element, asked anew for each try: a new player has another clock. Null while unknown. */
  wanted(): number | null;
  /** How far the frame may lie from it; by default it must be that very frame. */
  readonly within?: number;
  /** Where in the frame the element's clock is put: 1 ms behind its beginning, unless the frame's own time is not known. */
  readonly aim?: number;
  /** Whether positions are exact here: a browser's own HLS knows only dates. */
  exact(): boolean;
  /** Whether nothing more is coming. */
  ended(): boolean;
  /** Whether the feed is over, whatever its playlist says: the server may forget both before the end was told. */
  over(): boolean;
  /** Whether media from there, or from just before it, is being loaded at this moment. */
  loading(seconds: number): boolean;
  /** How long the last load of a piece of media took, in milliseconds; 0 while unknown. */
  loadMs(): number;
  /** Throws away what is loaded, so that it is loaded again from where the element stands. */
  flush(): void;
  /** Loads everything anew. */
  reload(): void;
  /** The oldest and the newest second that can be loaded; null while unknown. */
  window(): { readonly start: number; readonly end: number } | null;
}

const POLL_MS = 12;
const SEEKED_PATIENCE_MS = 400;
/** The right picture follows `seeked` within two frames, if it comes at all. */
const PICTURE_PATIENCE_MS = 150;
/** After so long it is tried with less behind the target than is safe: the feed may have ended or stand still there. */
const MARGIN_PATIENCE_MS = 2_500;
/** Sound and picture of the oldest segment begin this close to each other, and to what the playlist says. */
const START_REACH = 0.3;
/** A hole that nothing came to fill in all the time is stepped over, to here at most. */
const HOLE_REACH = 5;
/** How long media that is there and next may take to be loaded; hls.js (1.7.4) was seen to forget a part. */
const STUCK_MS = 700;
const STUCK_EDGE = 0.3;
/** A seek out of the buffer makes hls.js load there; asking again sooner would begin that anew. */
const LOAD_AGAIN_MS = 1_000;
/** On a slow line, nothing is called vain before so many loads could have come: playlists, initialisation, picture and sound. */
const LOADS = 6;
/** What is being loaded may take so much longer. */
const LOADING_FACTOR = 10;
/** Between two requests of one load nothing is being loaded. */
const BETWEEN_LOADS_MS = 500;
/**
 * What is tried in turns. hls.js (1.7.4) begins a segment with the part at the playhead, sound and picture each with its own, and
 * holds the segment for loaded: it never loads what lies before that part by itself.
 */
const WAYS = ["seek", "flush", "reload"] as const;
/** Frames that CMAF does not have (a hole that was filled with the picture before): then the next ones are as good. */
const LATER_STEPS = [0, 0, 0.02, 0.04, 0.08, 0.16, 0.32];

/** The time of the picture in the element, in its own seconds; null where there is none or the browser cannot say. */
export function pictureSeconds(video: HTMLVideoElement): number | null {
  if (typeof VideoFrame === "undefined" || video.readyState < 2) return null;
  try {
    const frame = new VideoFrame(video);
    const seconds = frame.timestamp / 1e6;
    frame.close();
    return seconds;
  } catch {
    return null;
  }
}

/** Seeks until the wanted frame is shown, or one behind it where there is no such frame. Ends only so, or by `signal`. */
export async function seekExact(
  video: HTMLVideoElement,
  target: SeekTarget,
  signal: AbortSignal,
): Promise<SeekResult | null> {
  const within = target.within ?? SAME_FRAME;
  const aim = target.aim ?? 0.001;
  const began = performance.now();
  let loadedAnewAt = began;
  let busyAt = Number.NEGATIVE_INFINITY;
  let loadAskedAt = Number.NEGATIVE_INFINITY;
  let asks = 0;
  let tries = 0;
  let stuckSince: number | null = null;
  while (!signal.aborted) {
    const now = performance.now();
    const wanted = target.wanted();
    const window = target.window();
    const buffer = stretches(video.buffered);
    const patient = now - began < MARGIN_PATIENCE_MS;
    if (wanted !== null && target.loading(wanted)) busyAt = now;
    const factor = now - busyAt < BETWEEN_LOADS_MS ? LOADING_FACTOR : 1;
    const vain = (since: number, ms: number) => now - since > Math.max(ms * factor, target.loadMs() * LOADS);
    const oldest = window?.start ?? Number.NEGATIVE_INFINITY;
    // Before the oldest media there is nothing to wait for, and sound and picture do not begin at the same moment.
    const first = wanted !== null && wanted < oldest + START_REACH;
    const reach = first ? START_REACH : vain(loadedAnewAt, MARGIN_PATIENCE_MS) ? HOLE_REACH : 0;
    if (wanted === null || window === null || !isStuck(buffer, wanted, window.end)) stuckSince = null;
    else stuckSince ??= now;
    if (stuckSince !== null && vain(stuckSince, STUCK_MS)) {
      stuckSince = null;
      target.reload();
    }
    const last = buffer.at(-1)?.end;
    const whole = target.ended() && window !== null && last !== undefined && last > window.end - START_REACH;
    const nothingMore = whole || (target.over() && !target.ended() && !patient);
    if (wanted !== null && last !== undefined && nothingMore && wanted + aim > last - SAME_FRAME) {
      // WebRTC showed more of it than LL-HLS will ever have: the last picture is all there is.
      await seek(video, last - 0.001, signal);
      return signal.aborted ? null : { shown: pictureSeconds(video), wanted, exact: false, tries };
    }
    const at = wanted === null ? null : nextHeld(buffer, Math.max(wanted, oldest), reach);
    if (at === null || wanted === null) {
      const there = wanted !== null && window !== null && wanted <= window.end;
      if (there && !(patient && comesByItself(buffer, wanted)) && vain(loadAskedAt, LOAD_AGAIN_MS)) {
        loadAskedAt = now;
        asks ||= Number(begunBehind(buffer, wanted));
        const way = WAYS[asks++ % WAYS.length];
        if (way === "reload") {
          loadedAnewAt = now;
          target.reload();
        } else {
          if (way === "flush") target.flush();
          video.currentTime = Math.max(wanted, window.start) + aim;
        }
      }
      await pause(POLL_MS, signal);
      continue;
    }
    if ((aheadOf(buffer, at) ?? 0) < SEEK_MARGIN && patient && !target.ended()) {
      await pause(POLL_MS, signal);
      continue;
    }
    const later = LATER_STEPS[Math.min(tries, LATER_STEPS.length - 1)] ?? 0;
    tries += 1;
    // Behind the buffer there is no picture at all.
    const held = aheadOf(buffer, at) ?? 0;
    await seek(video, at + Math.min(aim + later, Math.max(held - 0.001, aim)), signal);
    if (!target.exact() || typeof VideoFrame === "undefined")
      return { shown: null, wanted, exact: false, tries };
    const shown = await pictureNear(video, at, within, signal);
    const found = shown === null ? null : compareFrames(shown, at, within);
    if (found === "same" && shown !== null)
      return { shown, wanted, exact: compareFrames(shown, wanted, within) === "same", tries };
    // Going back would show frames again that were seen already; a little ahead loses only what there is not.
    if (found === "late" && tries > 2) return { shown, wanted, exact: false, tries };
    if (tries <= LATER_STEPS.length) continue;
    // The last frame of a stream was seen not to be decoded: what stands there is all there is.
    if (target.ended() || target.over()) return { shown, wanted, exact: false, tries };
    await pause(200, signal);
  }
  return null;
}

/**
 * Whether hls.js is on its way there: what follows the buffer is loaded next. A seek to it would only make hls.js begin anew, and
 * one that comes between a part of the picture and its sound was seen to leave a hole (1.7.4).
 */
function comesByItself(buffer: readonly Stretch[], wanted: number): boolean {
  const end = buffer.at(-1)?.end;
  return end === undefined || (wanted >= end && wanted - end < COMES_WITHIN);
}

/** Whether what is loaded begins so soon behind it that the two may share a segment. */
function begunBehind(buffer: readonly Stretch[], wanted: number): boolean {
  return buffer.some(({ start }) => start > wanted && start - wanted < COMES_WITHIN);
}

/** Whether the server has had the wanted media for a while, what comes before it was loaded, and it was not. */
function isStuck(buffer: readonly Stretch[], wanted: number, newest: number): boolean {
  const near = buffer.some(({ start, end }) => start <= wanted && wanted - end < COMES_WITHIN);
  return near && newest - wanted > SEEK_MARGIN + STUCK_EDGE && (aheadOf(buffer, wanted) ?? 0) < SEEK_MARGIN;
}

/** The frame that is shown once it is the wanted one, or the last one seen in the time that it may take to come. */
async function pictureNear(
  video: HTMLVideoElement,
  wanted: number,
  within: number,
  signal: AbortSignal,
): Promise<number | null> {
  const until = performance.now() + PICTURE_PATIENCE_MS;
  for (;;) {
    const shown = pictureSeconds(video);
    if (signal.aborted || (shown !== null && compareFrames(shown, wanted, within) === "same")) return shown;
    if (performance.now() > until) return shown;
    await pause(POLL_MS, signal);
  }
}

async function seek(video: HTMLVideoElement, seconds: number, signal: AbortSignal): Promise<void> {
  const seeked = once(video, "seeked", signal);
  video.currentTime = seconds;
  await Promise.race([seeked, pause(SEEKED_PATIENCE_MS, signal)]);
}

function once(video: HTMLVideoElement, name: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    video.addEventListener(name, () => resolve(), { once: true, signal });
  });
}

/** Waits, not longer than until it is called off. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

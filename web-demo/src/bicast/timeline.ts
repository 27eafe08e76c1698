/**
 * The one timeline, as a browser sees it. Pure.
 *
 * - {@link MediaTime}: a frame's presentation time on its feed, in ticks of 1/90000 s, never wrapping. The RTP timestamp a
 *   WebRTC viewer sees is it modulo 2^32; the CMAF presentation time is it.
 * - {@link ProgramTime}: UTC in milliseconds since 1970, by the server's clock, counted from the moment of ingest.
 */

declare const unit: unique symbol;

/** Ticks of 1/90000 s on a feed's own timeline. An integer: 2^53 ticks last 3000 years. */
export type MediaTime = number & { readonly [unit]: "media" };

/** Milliseconds since 1970, UTC by the server's clock, with fractions. */
export type ProgramTime = number & { readonly [unit]: "program" };

/** Ticks of {@link MediaTime} in a second. */
export const MEDIA_RATE = 90_000;

const RTP_RANGE = 2 ** 32;

/** A number of ticks as a {@link MediaTime}, rounded to a whole tick. */
export function mediaTime(ticks: number): MediaTime {
  return Math.round(ticks) as MediaTime;
}

/** Milliseconds since 1970 as a {@link ProgramTime}. */
export function programTime(unixMs: number): ProgramTime {
  return unixMs as ProgramTime;
}

/** The length of `ticks` in milliseconds. */
export function ticksToMs(ticks: number): number {
  return (ticks / MEDIA_RATE) * 1000;
}

/**
 * The media time nearest to `near` that an RTP timestamp can mean. Right as long as the truth lies within 13 hours (half of
 * 2^32 ticks) of `near`.
 */
export function unwrapRtp(rtp: number, near: MediaTime): MediaTime {
  const low = ((near % RTP_RANGE) + RTP_RANGE) % RTP_RANGE;
  let delta = rtp - low;
  if (delta > RTP_RANGE / 2) delta -= RTP_RANGE;
  else if (delta < -RTP_RANGE / 2) delta += RTP_RANGE;
  return (near + delta) as MediaTime;
}

/** The RTP timestamp of a media time. */
export function rtpOf(time: MediaTime): number {
  return ((time % RTP_RANGE) + RTP_RANGE) % RTP_RANGE;
}

/** What of the API's `timeline` this page needs: UTC of media time 0. */
export interface Anchor {
  /** ProgramTime of media time 0. */
  readonly anchorUnixMs: number;
  /** Ticks per second of the media time the anchor belongs to (video: 90,000). */
  readonly masterClockRate: number;
}

/** When the frame with this media time entered the server. */
export function toProgramTime(anchor: Anchor, time: MediaTime): ProgramTime {
  return programTime(anchor.anchorUnixMs + ticksToMs(time));
}

/** The media time that enters the server at `at`: the live edge of a feed without delay. */
export function toMediaTime(anchor: Anchor, at: ProgramTime): MediaTime {
  return mediaTime(((at - anchor.anchorUnixMs) / 1000) * MEDIA_RATE);
}

/** Half a frame at 60 fps, in seconds: how far a frame may lie before the playlist's idea of where its shift begins. */
const SHIFT_SLACK = 0.008;
/** Far more discontinuities than a live window holds. */
const MOST_SHIFTS = 64;

/**
 * Where hls.js put the media on the element's clock: `currentTime = mediaTime / 90000 - initPTS / timescale`, one shift per
 * discontinuity (`cc`), from its INIT_PTS_FOUND event. Fragment starts drift against the media: they only say from where on
 * a shift holds, never what it is.
 */
export class HlsTimeMap {
  #shifts: { readonly cc: number; readonly from: number; readonly shift: number }[] = [];

  /** Notes that media of discontinuity `cc` from `fromSeconds` of the element's clock on is shifted by this initPTS. */
  set(cc: number, fromSeconds: number, initPts: number, timescale: number): void {
    if (!(timescale > 0) || !Number.isFinite(initPts) || !Number.isFinite(fromSeconds)) return;
    const added = { cc, from: fromSeconds, shift: initPts / timescale };
    // hls.js may map a discontinuity anew; what it appended before keeps the old shift.
    const others = this.#shifts.filter((s) => s.cc !== cc || s.from < fromSeconds);
    this.#shifts = [...others, added].sort((a, b) => a.from - b.from).slice(-MOST_SHIFTS);
  }

  /** The media time at `seconds` of the element's clock, or null before a shift is known. */
  toMediaTime(seconds: number): MediaTime | null {
    const held = this.#shifts.findLast((s) => s.from <= seconds + SHIFT_SLACK) ?? this.#shifts[0];
    return held === undefined ? null : mediaTime((seconds + held.shift) * MEDIA_RATE);
  }

  /** The element's time of a media time, or null before a shift is known. */
  toSeconds(time: MediaTime): number | null {
    const at = (shift: number) => time / MEDIA_RATE - shift;
    const held = this.#shifts.findLast((s) => s.from <= at(s.shift) + SHIFT_SLACK) ?? this.#shifts[0];
    return held === undefined ? null : at(held.shift);
  }

  /** Whether anything is known. */
  get known(): boolean {
    return this.#shifts.length > 0;
  }

  /** Whether the media of discontinuity `cc` was loaded and is placed. */
  knows(cc: number): boolean {
    return this.#shifts.some((shift) => shift.cc === cc);
  }

  /** Forgets everything: a new hls.js instance begins anew. */
  clear(): void {
    this.#shifts = [];
  }
}

/** One exchange with `GET /v1/time`; all in milliseconds, the first two on one local clock. */
export interface ClockExchange {
  /** When the request left. */
  readonly sent: number;
  /** When the answer was here. */
  readonly received: number;
  /** What the answer said. */
  readonly server: number;
}

/** Server time minus local time, from several exchanges: the one with the shortest round trip is the least wrong. */
export class ClockEstimate {
  #kept: ClockExchange[] = [];

  /** Keeps the newest `most` exchanges, so that a drifting local clock is followed. */
  constructor(private readonly most = 12) {}

  /** Takes an exchange in. One that ends before it began or holds no numbers is ignored. */
  add(exchange: ClockExchange): void {
    const { sent, received, server } = exchange;
    if (![sent, received, server].every(Number.isFinite) || received < sent) return;
    this.#kept = [...this.#kept, exchange].slice(-this.most);
  }

  /** Exchanges kept. */
  get samples(): number {
    return this.#kept.length;
  }

  /** Milliseconds to add to the local clock; null before the first exchange. */
  get offsetMs(): number | null {
    const best = this.#best();
    return best === null ? null : best.server - (best.sent + best.received) / 2;
  }

  /** How far {@link offsetMs} can be off: half of the shortest round trip. */
  get errorMs(): number | null {
    const best = this.#best();
    return best === null ? null : (best.received - best.sent) / 2;
  }

  #best(): ClockExchange | null {
    let best: ClockExchange | null = null;
    for (const kept of this.#kept) {
      if (best === null || kept.received - kept.sent <= best.received - best.sent) best = kept;
    }
    return best;
  }
}

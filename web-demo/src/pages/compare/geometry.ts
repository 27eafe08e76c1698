/** Where things lie in the timeline picture. Pure: times in milliseconds, places in CSS pixels, shares 0 to 1. */

import type { Path } from "../../bicast/leg";

/** A rectangle of the canvas. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Where something was at a moment: how far behind the server's now, null where that is not known. */
export interface Sample {
  readonly at: number;
  readonly behindMs: number | null;
  readonly path: Path;
}

/**
 * The live edges as they can be at most: what is on a screen was at its path's edge once, and what a part holds has come over the bus
 * before. Answers about them are up to a second old, so they alone would put an edge too deep.
 */
export function boundEdges(
  told: Readonly<Record<Path, number | null>>,
  viewers: readonly (Sample | null)[],
): Readonly<Record<Path, number | null>> {
  const shown = (path: Path) =>
    viewers.flatMap((one) => (one?.path === path && one.behindMs !== null ? [one.behindMs] : []));
  const hls = told.hls === null ? null : Math.min(told.hls, ...shown("hls"));
  const most = [...shown("realtime"), ...(hls === null ? [] : [hls])];
  return { realtime: told.realtime === null ? null : Math.min(told.realtime, ...most), hls };
}

/**
 * How depth (time behind now) is laid out from top to bottom. Up to `linearMs` it is even; where somebody is deeper (they paused, or
 * rewound) the lower part goes on in powers, so that half a second and five minutes can both be seen.
 */
export interface DepthScale {
  readonly linearMs: number;
  readonly mostMs: number;
}

/** Depths that a scale may end at. */
const EVEN = [500, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000];
const DEEP = [10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000, 86_400_000];
/** Of a broken scale, the part that is even. */
const EVEN_SHARE = 0.6;
const EVEN_IN_DEEP_MS = 2_000;

/** The scale on which `deepestMs` is seen with some air below. */
export function depthScale(deepestMs: number): DepthScale {
  const wanted = Math.max(deepestMs, 0) * 1.12;
  const even = EVEN.find((step) => step >= wanted);
  if (even !== undefined) return { linearMs: even, mostMs: even };
  return {
    linearMs: EVEN_IN_DEEP_MS,
    mostMs: DEEP.find((step) => step >= wanted) ?? (DEEP.at(-1) as number),
  };
}

/** The scale to go on with: it grows at once and shrinks only when half of it is empty, so that it does not flicker. */
export function nextScale(before: DepthScale | null, deepestMs: number): DepthScale {
  const wanted = depthScale(deepestMs);
  if (before === null || wanted.mostMs >= before.mostMs) return wanted;
  return deepestMs > before.mostMs * 0.45 ? before : wanted;
}

/** How far down a depth lies. */
export function depthShare({ linearMs, mostMs }: DepthScale, behindMs: number): number {
  const depth = Math.min(Math.max(behindMs, 0), mostMs);
  if (mostMs === linearMs) return depth / mostMs;
  if (depth <= linearMs) return (depth / linearMs) * EVEN_SHARE;
  return EVEN_SHARE + (1 - EVEN_SHARE) * (Math.log(depth / linearMs) / Math.log(mostMs / linearMs));
}

/** Depths that get a line and a label, now left out. */
export function depthTicks({ linearMs, mostMs }: DepthScale): readonly number[] {
  const even = [0.5, 1].map((share) => share * linearMs);
  if (mostMs === linearMs) return even;
  return [...even, ...DEEP.filter((step) => step <= mostMs)];
}

/** Of places in order, those that keep this distance from the one before. */
export function apart(places: readonly number[], distance: number): readonly number[] {
  let last = Number.NEGATIVE_INFINITY;
  return places.filter((place) => {
    if (place - last < distance) return false;
    last = place;
    return true;
  });
}

/** `500 ms`, `1 s`, `5 min`: a round length of time. */
export function tickWords(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 60_000) return `${ms / 1_000} s`;
  return ms < 3_600_000 ? `${ms / 60_000} min` : `${ms / 3_600_000} h`;
}

/** Where a moment lies between two others; beyond them it is below 0 or above 1. */
export function timeShare(from: number, to: number, at: number): number {
  return to > from ? (at - from) / (to - from) : 1;
}

/** Steps between the ticks of a window. */
const STEPS = [
  5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 14_400_000,
];

/** How long ago the ticks of a window of this length are: at most `most` of them, now left out. */
export function windowTicks(lengthMs: number, most: number): readonly number[] {
  const step = STEPS.find((one) => lengthMs / one <= most) ?? (STEPS.at(-1) as number);
  const count = Math.min(Math.floor(lengthMs / step), most);
  return Array.from({ length: count }, (_, index) => (index + 1) * step);
}

/** Samples of one path that follow each other. Where the path changes, the next run begins where the last one ended. */
export interface Run {
  readonly path: Path;
  readonly points: readonly { readonly at: number; readonly behindMs: number }[];
}

/** A trail as lines: broken where nothing was known for longer than `gapMs`, coloured by path. */
export function runs(samples: readonly Sample[], gapMs: number): readonly Run[] {
  const found: { path: Path; points: { at: number; behindMs: number }[] }[] = [];
  for (const { at, behindMs, path } of samples) {
    if (behindMs === null) continue;
    const run = found.at(-1);
    const last = run?.points.at(-1);
    const joined = run !== undefined && last !== undefined && at - last.at <= gapMs;
    if (joined && run.path === path) run.points.push({ at, behindMs });
    else found.push({ path, points: joined ? [last, { at, behindMs }] : [{ at, behindMs }] });
  }
  return found;
}

/**
 * Places for labels of height `gap` that want to be at `wanted` (any order) and may not cover each other, between `top` and `bottom`.
 * Pushed down first, then up from the bottom: what does not fit overlaps at the top.
 */
export function spread(
  wanted: readonly number[],
  gap: number,
  top: number,
  bottom: number,
): readonly number[] {
  const order = wanted.map((y, index) => ({ y, index })).sort((a, b) => a.y - b.y);
  let least = top;
  for (const one of order) {
    one.y = Math.max(one.y, least);
    least = one.y + gap;
  }
  let most = bottom;
  for (const one of order.toReversed()) {
    one.y = Math.min(one.y, most);
    most = one.y - gap;
  }
  const places = new Array<number>(wanted.length).fill(top);
  for (const { y, index } of order) places[index] = Math.max(y, top);
  return places;
}

/** Which of these places is nearest to a point, no farther than `within`; null where none is. */
export function nearest(
  places: readonly { readonly x: number; readonly y: number }[],
  x: number,
  y: number,
  within: number,
): number | null {
  let best: number | null = null;
  let least = within;
  places.forEach((place, index) => {
    const far = Math.hypot(place.x - x, place.y - y);
    if (far <= least) {
      best = index;
      least = far;
    }
  });
  return best;
}

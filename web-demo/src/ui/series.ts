/** A latency meter's window as points for a plot. Pure. */

import { type LatencyMeter, percentile } from "../bicast/latency";

/**
 * At most `points` points, each the median of its slice of time; slices without a measurement are null, so that a plot shows a gap
 * instead of inventing a line.
 */
export function series(meter: LatencyMeter, now: number, points: number): (number | null)[] {
  const slices: number[][] = Array.from({ length: points }, () => []);
  const from = now - meter.window;
  for (const { at, ms } of meter.samples) {
    const slice = Math.floor(((at - from) / meter.window) * points);
    slices[Math.min(slice, points - 1)]?.push(ms);
  }
  return slices.map((values) => {
    if (values.length === 0) return null;
    values.sort((a, b) => a - b);
    return percentile(values, 0.5);
  });
}

/**
 * Numbers in the picture that a program can read back: the frame's number in the top rows, the wall clock in the bottom rows.
 * `bicast publish --test-pattern` and the publish page draw them; a viewer that reads the clock knows the latency from glass to
 * glass. The layout is the one of `publish/src/core/barcode.rs`: square boxes over black, white is 1, the lowest bit on the left,
 * and behind the last bit a sync box that is always white.
 */

/** One strip of boxes, in pixels of a picture. */
export interface Strip {
  readonly bits: number;
  /** Side of a box. */
  readonly side: number;
  /** First row. */
  readonly y: number;
}

/** The strip of the frame number (modulo 2^20). */
export function numberStrip(width: number): Strip {
  return { bits: 20, side: side(width, 20, 48), y: 0 };
}

/** The strip of the clock: milliseconds since 1970 modulo 2^40. */
export function clockStrip(width: number, height: number): Strip {
  const box = side(width, 40, 24);
  return { bits: 40, side: box, y: Math.max(height - box, 0) };
}

/** The boxes of `value` that are white, as x positions in units of a box; the sync box is the last one. */
export function whiteBoxes(strip: Strip, value: number): number[] {
  const white: number[] = [];
  // Not `value >> bit`: JavaScript shifts 32 bits only.
  for (let bit = 0; bit < strip.bits; bit += 1) if (Math.floor(value / 2 ** bit) % 2 === 1) white.push(bit);
  white.push(strip.bits);
  return white;
}

/** Reads the value from the luma of the strip's middle row; null where the sync box is missing or the row is too short. */
export function readStrip(strip: Strip, luma: (x: number) => number | undefined): number | null {
  const bit = (index: number): boolean | null => {
    const value = luma(index * strip.side + strip.side / 2);
    return value === undefined ? null : value > 128;
  };
  if (bit(strip.bits) !== true) return null;
  let value = 0;
  for (let index = 0; index < strip.bits; index += 1) {
    const set = bit(index);
    if (set === null) return null;
    if (set) value += 2 ** index;
  }
  return value;
}

/** The time that a clock strip means: the newest one that is not in the reader's future (with `slackMs` for clocks that differ). */
export function clockTime(value: number, nowUnixMs: number, slackMs = 1_000): number {
  const latest = nowUnixMs + slackMs;
  const range = 2 ** 40;
  return latest - ((((latest - value) % range) + range) % range);
}

function side(width: number, bits: number, wanted: number): number {
  const fits = Math.floor(width / (bits + 1) / 2) * 2;
  return Math.max(Math.min(wanted, fits), 2);
}

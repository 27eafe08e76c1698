// The two barcodes of the test picture: the frame's number along the top, the wall clock along the bottom. A strip is
// N boxes, the lowest bit on the left, and one more that is always white.

export const NUMBER = { bits: 20, side: 48 };
export const CLOCK = { bits: 40, side: 24 };

/** The side of one box in a picture of this width. */
export function side(strip, width) {
  return Math.max(2, Math.min(strip.side, Math.floor(width / (strip.bits + 1) / 2) * 2));
}

/** Draws a value into a strip whose top is at `y`. */
export function draw(context, strip, y, value) {
  const box = side(strip, context.canvas.width);
  context.fillStyle = '#000';
  context.fillRect(0, y, context.canvas.width, box);
  context.fillStyle = '#fff';
  for (let bit = 0; bit <= strip.bits; bit++) {
    // Shifts are 32 bits wide; the clock is not.
    if (bit === strip.bits || Math.floor(value / 2 ** bit) % 2 === 1) context.fillRect(bit * box, y, box, box);
  }
}

/** Buffers that are not in use: several frames are read at the same time. */
const spare = [];

/** Reads the strips of a decoded frame: `[number, clock]`, each null where there is none. Does not close the frame. */
export async function read(frame) {
  const { width, height } = frame.visibleRect;
  return [await readStrip(frame, NUMBER, width, 0), await readStrip(frame, CLOCK, width, height - side(CLOCK, width))];
}

async function readStrip(frame, strip, width, y) {
  const box = side(strip, width);
  const rect = { x: frame.visibleRect.x, y: frame.visibleRect.y + y, width: (strip.bits + 1) * box, height: box };
  const size = frame.allocationSize({ rect });
  let buffer = spare.pop();
  if (!buffer || buffer.length < size) buffer = new Uint8Array(size);
  // The first plane is luma in every format that a video decoder gives; Firefox gives pixels of four bytes instead.
  const [plane] = await frame.copyTo(buffer, { rect });
  spare.push(buffer);
  const pixel = /^(RGB|BGR)/.test(frame.format) ? 4 : 1;
  const at = (bit) => buffer[plane.offset + plane.stride * (box >> 1) + (bit * box + (box >> 1)) * pixel] > 128;
  if (!at(strip.bits)) return null;
  let value = 0;
  for (let bit = 0; bit < strip.bits; bit++) if (at(bit)) value += 2 ** bit;
  return value;
}

/** The wall clock in milliseconds, on the scale of the clock strip. */
export const wallClock = () => performance.timeOrigin + performance.now();

/** How long ago the clock strip's value was, in milliseconds (it repeats every 35 years). */
export function age(clock, now = wallClock()) {
  const span = 2 ** CLOCK.bits;
  return (((now - clock) % span) + span) % span;
}

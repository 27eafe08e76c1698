/**
 * A moving test picture on a canvas: colour bars, a sweeping hand, the wall clock, the barcodes that a viewer's program can read
 * back, and a band that flashes in step with the beep. A band and not the whole picture: a full-frame flash makes OpenH264 skip
 * frames.
 */

import { clockStrip, numberStrip, type Strip, whiteBoxes } from "../../bicast/barcode";

/** How long the flash and the beep last at each full second, in milliseconds. */
export const FLASH_MS = 100;

const BARS = ["#bfc3cc", "#c2b82f", "#35b8b4", "#3fae4a", "#b04bb8", "#c0433d", "#3c55c8"];

/** Draws frame number `frame` as of `unixMs` (UTC by the server's clock). */
export function drawTestPicture(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  frame: number,
  unixMs: number,
): void {
  const top = numberStrip(width);
  const bottom = clockStrip(width, height);
  const [from, to] = [top.side, bottom.y];
  const tall = to - from;
  const bar = width / BARS.length;
  BARS.forEach((color, index) => {
    context.fillStyle = color;
    context.fillRect(Math.floor(index * bar), from, Math.ceil(bar), tall);
  });
  drawBand(context, width, from + tall * 0.72, tall * 0.28, unixMs);
  drawHand(context, width / 2, from + tall * 0.36, Math.min(tall * 0.3, width * 0.16), unixMs);
  drawWords(context, width, from + tall * 0.72, tall * 0.28, frame, unixMs);
  drawStrip(context, width, top, frame % 2 ** 20);
  drawStrip(context, width, bottom, Math.floor(unixMs) % 2 ** 40);
}

/** The lower part: dark, with a box that runs across once a second and a band that flashes at each full second. */
function drawBand(
  context: CanvasRenderingContext2D,
  width: number,
  y: number,
  tall: number,
  unixMs: number,
): void {
  context.fillStyle = "#10141c";
  context.fillRect(0, y, width, tall);
  context.fillStyle = unixMs % 1000 < FLASH_MS ? "#ffffff" : "#222a38";
  context.fillRect(0, y, width, tall * 0.16);
  const box = tall * 0.16;
  context.fillStyle = "#ffd34d";
  context.fillRect(((unixMs % 1000) / 1000) * (width - box), y + tall * 0.84, box, box);
}

/** A hand that turns once in two seconds: what is lost or repeated shows as a jump. */
function drawHand(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  radius: number,
  unixMs: number,
): void {
  context.fillStyle = "#10141c";
  context.beginPath();
  context.arc(x, y, radius, 0, Math.PI * 2);
  context.fill();
  const angle = ((unixMs % 2000) / 2000) * Math.PI * 2 - Math.PI / 2;
  context.strokeStyle = "#ffffff";
  context.lineWidth = Math.max(radius * 0.07, 2);
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + Math.cos(angle) * radius * 0.82, y + Math.sin(angle) * radius * 0.82);
  context.stroke();
}

function drawWords(
  context: CanvasRenderingContext2D,
  width: number,
  y: number,
  tall: number,
  frame: number,
  unixMs: number,
): void {
  context.fillStyle = "#ffffff";
  context.textBaseline = "middle";
  context.font = `600 ${Math.round(tall * 0.34)}px ui-monospace, "DejaVu Sans Mono", monospace`;
  context.textAlign = "left";
  context.fillText(new Date(unixMs).toISOString().slice(11, 23), width * 0.03, y + tall * 0.5);
  context.textAlign = "right";
  context.fillText(String(frame), width * 0.97, y + tall * 0.5);
}

function drawStrip(context: CanvasRenderingContext2D, width: number, strip: Strip, value: number): void {
  context.fillStyle = "#000000";
  context.fillRect(0, strip.y, width, strip.side);
  context.fillStyle = "#ffffff";
  for (const box of whiteBoxes(strip, value))
    context.fillRect(box * strip.side, strip.y, strip.side, strip.side);
}

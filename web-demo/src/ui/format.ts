/** Numbers as people read them. Pure. A value that is not known is a dash, never a zero. */

import { span } from "../bicast/words";

const DASH = "–";

/** `2.48 Mbit/s`, `640 kbit/s`. */
export function bitrate(bps: number | null): string {
  if (bps === null || !Number.isFinite(bps)) return DASH;
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(2)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
}

export { span };

/** Milliseconds with one decimal below ten: `0.6 ms`, `12 ms`. */
export function fineMs(ms: number | null): string {
  if (ms === null || !Number.isFinite(ms)) return DASH;
  return ms < 10 ? `${ms.toFixed(1)} ms` : span(ms);
}

/** `+1.02 s` and `−0.98 s`, for differences. */
export function signedSpan(ms: number): string {
  return `${ms < 0 ? "−" : "+"}${span(Math.abs(ms))}`;
}

/** `1280 × 720`. */
export function size(width: number | null, height: number | null): string {
  return width && height ? `${width} × ${height}` : DASH;
}

/** `30 fps`, `29.97 fps`. */
export function rate(fps: number | null): string {
  if (fps === null || !Number.isFinite(fps)) return DASH;
  const rounded = Math.round(fps * 100) / 100;
  return `${Number.isInteger(rounded) ? rounded : rounded.toFixed(Math.abs(rounded - Math.round(rounded)) < 0.05 ? 0 : 1)} fps`;
}

/** A count, or a dash. */
export function count(value: number | null): string {
  return value === null ? DASH : value.toLocaleString("en");
}

/** `3 min`, `2 h 5 min`: how long ago. */
export function ago(ms: number): string {
  const seconds = Math.max(Math.floor(ms / 1000), 0);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** `05:08:59.123`: UTC time of day of milliseconds since 1970. */
export function timeOfDay(unixMs: number): string {
  return Number.isFinite(unixMs) ? new Date(unixMs).toISOString().slice(11, 23) : DASH;
}

/** A user agent in a word or two: browsers call themselves all the others. */
export function agentName(agent: string): string {
  const browsers: readonly [RegExp, string][] = [
    [/Edg\//, "Edge"],
    [/Firefox\//, "Firefox"],
    [/Chrom(e|ium)\//, "Chrome"],
    [/Safari\//, "Safari"],
  ];
  if (!agent.startsWith("Mozilla/")) return agent.split(/[\s(]/)[0] ?? agent;
  return browsers.find(([mark]) => mark.test(agent))?.[1] ?? "a browser";
}

/** A codec as people write it. */
export function codecName(codec: string): string {
  const names: Record<string, string> = {
    h264: "H.264",
    h265: "H.265",
    vp8: "VP8",
    vp9: "VP9",
    av1: "AV1",
    opus: "Opus",
    aac: "AAC",
  };
  return names[codec.toLowerCase()] ?? codec;
}

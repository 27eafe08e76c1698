/** The words that people read about states, the same in the element and on the pages. Pure. */

import type { Path } from "./leg";
import type { LegState } from "./leg-state";
import type { BicastError } from "./problem";

/** A state in words. */
export interface Told {
  readonly title: string;
  readonly detail: string | null;
  /** What the user can do about it here. */
  readonly button: string | null;
}

/** A length of time for people: `84 ms`, `1.24 s`, and a dash where it is not known. */
export function span(ms: number | null): string {
  if (ms === null || !Number.isFinite(ms)) return "–";
  return Math.abs(ms) >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${Math.round(ms)} ms`;
}

/** A time of day here, of milliseconds since 1970. */
export function clock(unixMs: number): string {
  return new Date(unixMs).toLocaleTimeString([], { hour12: false });
}

/** A length in seconds as `12 s`, `3:07` or `1:02:09`. */
export function length(seconds: number): string {
  const whole = Math.max(Math.round(seconds), 0);
  if (whole < 60) return `${whole} s`;
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** The name of a path for people. */
export function pathName(path: Path): string {
  return path === "realtime" ? "WebRTC" : "LL-HLS";
}

/** What to say over a leg's picture, and on its button; null where there is nothing to say. */
export function tellLeg(leg: {
  readonly state: LegState;
  readonly problem: BicastError | null;
  readonly blocked: boolean;
  readonly audioOnly: boolean;
  /** Why the server says that this path is not available. */
  readonly unavailable: string | null;
}): Told | null {
  if (leg.blocked && leg.state !== "live") {
    return { title: "Ready to play", detail: "This browser wants you to start it.", button: "Play" };
  }
  const told = leg.problem?.problem;
  const why = told ? [told.detail, told.hint].filter(Boolean).join(" ") : null;
  const say = (title: string, detail: string | null, button: string | null = null) => ({
    title,
    detail,
    button,
  });
  switch (leg.state) {
    case "live":
      return leg.audioOnly ? say("Sound only", "This feed has no picture.") : null;
    case "idle":
      return say("Stopped", null);
    case "connecting":
      return say("Connecting…", leg.unavailable);
    case "waiting":
      return say(
        "Waiting for the publisher",
        "Nobody is sending right now. The picture comes by itself when somebody does.",
      );
    case "stalled":
      return say("The picture stands still", "No new frames arrive. Waiting for more…");
    case "retrying":
      return say(told?.title ?? "Trying again…", leg.unavailable ?? why, "Try now");
    case "failed":
      return say(told?.title ?? "This path failed", leg.unavailable ?? why, "Try again");
    case "ended":
      return say("The feed has ended", "The feed list shows what is on now.");
  }
}

/** The words that people read about states, the same in the element and on the pages. Pure. */

import type { Path } from "./leg";
import type { LegState } from "./leg-state";
import type { BicastError } from "./problem";

/** A state in words: a headline, and the next step where there is one. */
export interface Told {
  readonly title: string;
  readonly detail: string | null;
}

/** The name of a path for people. */
export function pathName(path: Path): string {
  return path === "realtime" ? "WebRTC" : "LL-HLS";
}

/** What to say over a picture that is not live; null while it is. */
export function tellLeg(
  state: LegState,
  problem: BicastError | null,
  unavailable: string | null = null,
): Told | null {
  const told = problem?.problem;
  const why = told ? [told.detail, told.hint].filter(Boolean).join(" ") : null;
  switch (state) {
    case "live":
      return null;
    case "idle":
      return { title: "Stopped", detail: null };
    case "connecting":
      return { title: "Connecting…", detail: unavailable };
    case "waiting":
      return {
        title: "Waiting for the publisher",
        detail: "Nobody is sending right now. The picture comes back by itself when they return.",
      };
    case "stalled":
      return { title: "The picture stands still", detail: "No new frames arrive. Waiting for more…" };
    case "retrying":
      return { title: told?.title ?? "Trying again…", detail: unavailable ?? why };
    case "failed":
      return { title: told?.title ?? "This path failed", detail: unavailable ?? why };
    case "ended":
      return { title: "The feed has ended", detail: "Open the feed list to see what is on now." };
  }
}

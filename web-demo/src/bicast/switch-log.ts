/** The newest switches and what they cost. Pure. */

import type { Path } from "./leg";
import type { PathSwitch } from "./player-types";
import { type MediaTime, ticksToMs } from "./timeline";

const KEPT = 20;

/** What is known when the new picture is there. */
export interface Arrival {
  readonly to: Path;
  readonly reason: string;
  readonly now: number;
  /** When it was ordered. */
  readonly orderedAt: number;
  /** The last frame of the old picture; null where it is not known. */
  readonly left: MediaTime | null;
  /** The first frame of the new one. */
  readonly shown: MediaTime | null;
  readonly frameTicks: number;
}

/** Keeps the newest switches. */
export class SwitchLog {
  #list: readonly PathSwitch[] = [];

  /** The newest switches, oldest first. */
  get list(): readonly PathSwitch[] {
    return this.#list;
  }

  /** The newest one. */
  get last(): PathSwitch | null {
    return this.#list.at(-1) ?? null;
  }

  /** Writes a switch down. */
  add({ to, reason, now, orderedAt, left, shown, frameTicks }: Arrival): PathSwitch {
    const step = left === null || shown === null ? null : shown - left;
    const exact = step !== null && Math.abs(step) < frameTicks / 4;
    // The frame behind the old one is the next: nothing is skipped.
    const jumpMs = step === null ? null : exact ? 0 : ticksToMs(step - (step > 0 ? frameTicks : 0));
    const entry = { to, reason, at: now, tookMs: now - orderedAt, stillMs: 0, jumpMs, exact };
    this.#list = [...this.#list, entry].slice(-KEPT);
    return entry;
  }

  /** The newest one's picture stood still since then; null where that was none to LL-HLS, or it was told already. */
  stood(since: number | null, now: number): PathSwitch | null {
    const { last } = this;
    if (since === null || last?.to !== "hls") return null;
    const entry = { ...last, stillMs: now - since };
    this.#list = [...this.#list.slice(0, -1), entry];
    return entry;
  }
}

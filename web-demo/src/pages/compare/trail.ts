/** What the timeline picture remembers: where each viewer and each edge was, and every switch. Bounded in time and number. Pure. */

import type { PathSwitch } from "../../bicast/player-types";
import { span } from "../../bicast/words";
import type { Sample } from "./geometry";

/** Samples of one thing, the newest `lengthMs` of them. */
export class Trail {
  #samples: readonly Sample[] = [];

  constructor(
    private readonly lengthMs: number,
    private readonly most = 1_200,
  ) {}

  /** Oldest first. */
  get samples(): readonly Sample[] {
    return this.#samples;
  }

  /** Takes one in; times must not go back. */
  add(sample: Sample): void {
    const kept = this.#samples.filter(({ at }) => at >= sample.at - this.lengthMs);
    this.#samples = [...kept, sample].slice(-this.most);
  }

  /** The deepest since a moment; 0 where nothing is known. */
  deepest(since: number): number {
    return Math.max(0, ...this.#samples.map(({ at, behindMs }) => (at >= since ? (behindMs ?? 0) : 0)));
  }
}

/** A switch of one viewer, as the picture and the list tell it. */
export interface Mark {
  readonly who: string;
  /** By the page's steady clock. */
  readonly at: number;
  /** Where the viewer was then; null where it is not known. */
  readonly behindMs: number | null;
  readonly what: PathSwitch;
}

const KEPT = 100;

/** All switches of all viewers, the newest hundred. */
export class Marks {
  #list: readonly Mark[] = [];

  /** Oldest first. */
  get list(): readonly Mark[] {
    return this.#list;
  }

  /** Writes one down. */
  add(mark: Mark): void {
    this.#list = [...this.#list, mark].sort((a, b) => a.at - b.at).slice(-KEPT);
  }
}

/** What a switch cost the viewer, in a few words. */
export function costWords({ exact, jumpMs, to }: PathSwitch): string {
  if (jumpMs === null) return "gap not known";
  if (exact || jumpMs === 0) return "no frame lost";
  if (jumpMs < 0) return `${span(-jumpMs)} seen again`;
  return to === "realtime" ? `${span(jumpMs)} skipped to be live` : `${span(jumpMs)} lost`;
}

/** How long the picture stood still at a switch. */
export function stillWords({ stillMs }: PathSwitch): string {
  return stillMs > 0 ? `picture held ${span(stillMs)}` : "picture never stood";
}

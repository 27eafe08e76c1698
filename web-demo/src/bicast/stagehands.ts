/** Which of the elements that lie on each other is in front, and how the one behind is let go of. */

import type { Leg, Path } from "./leg";
import { otherPath } from "./path-state";
import type { Stage } from "./player-types";
import { Still } from "./still";

/** What was in front keeps its picture until the compositor has surely shown the new one. */
const RETIRE_MS = 150;

/** Works on one stage. */
export class Stagehands {
  readonly still: Still;
  #retiring: { readonly leg: Leg; readonly timer: ReturnType<typeof setTimeout> } | null = null;

  constructor(private readonly stage: Stage) {
    this.still = new Still(stage.still);
  }

  /** All three stay painted: an element that is not displayed gets no frame callbacks, and its first picture comes late. */
  show(path: Path): void {
    this.stage[path].style.zIndex = "2";
    this.stage[otherPath(path)].style.zIndex = "1";
    this.still.hide();
  }

  /** Lets go of a leg that is behind the other picture, in a moment or `atOnce`; at once, too, if it is needed again ({@link finish}). */
  retire(leg: Leg, atOnce: boolean): void {
    this.finish();
    this.#retiring = { leg, timer: setTimeout(() => this.finish(), atOnce ? 0 : RETIRE_MS) };
  }

  /** Lets go of it now. */
  finish(): void {
    if (this.#retiring === null) return;
    clearTimeout(this.#retiring.timer);
    this.#retiring.leg.stop();
    this.#retiring = null;
  }
}

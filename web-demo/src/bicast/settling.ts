/** When a WebRTC picture that decodes under the other one may be shown. Pure; times in milliseconds. */

import { hurryMs } from "./cut-math";
import type { ShownFrame } from "./frames";

/** A joining viewer is first given stored frames that flash by: what is older than this is not "there" yet. */
const FRESH_MS = 200;
/** And while they flash by nobody can say which of them will be on the screen: the last three have to have come at their own pace. */
const STEADY_MS = 25;
/** But a feed whose clock is unknown, or a slow network, must not be waited for longer than this. */
const PATIENCE_MS = 700;
/** A return that nobody asked for has to show this long that it will last. */
const PROBATION_MS = 3_000;

/** Watches the frames of one connection. */
export class Settling {
  #since: number | null = null;

  /** A new connection. */
  begin(): void {
    this.#since = null;
  }

  /** Whether the newest of these frames, oldest first, may be shown. `unasked`: nobody but the player wants it. */
  settled(frames: readonly ShownFrame[], unasked: boolean): boolean {
    const last = frames.at(-1);
    if (last === undefined) return false;
    this.#since ??= last.shownAt;
    const waited = last.shownAt - this.#since;
    if (unasked && waited < PROBATION_MS) return false;
    const hurry = hurryMs(frames.slice(-3));
    const fresh = last.latencyMs !== null && last.latencyMs < FRESH_MS;
    return (fresh && hurry !== null && Math.abs(hurry) < STEADY_MS) || waited > PATIENCE_MS;
  }
}

/** The player's keys, as people know them from other players. */

import { BACK_S, type BicastPlayerElement } from "./element";
import type { PathPlayer } from "./path-player";
import type { ScrubBar } from "./scrub-bar";

/** Jumps of the other keys, in seconds. */
const STEP_S = 5;
const PAGE_S = 60;

/**
 * Does what a key means and tells whether it means anything. `inside`: what has the focus in the player; `bar`: its scrub bar;
 * `toggleStats`: shows and hides the statistics.
 */
export function actOnKey(
  event: KeyboardEvent,
  inside: HTMLElement,
  element: BicastPlayerElement,
  player: PathPlayer,
  bar: ScrubBar,
  toggleStats: () => void,
): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return false;
  const { key } = event;
  // Buttons and the volume have keys of their own.
  if (/^(button|input)$/i.test(inside.tagName) && /^( |Enter|Arrow)/.test(key)) return false;
  const go = (seconds: number) => void player.rewind(-seconds);
  const onBar: Record<string, () => void> = {
    Home: () => bar.go(0),
    PageUp: () => go(PAGE_S),
    PageDown: () => go(-PAGE_S),
  };
  const keys: Record<string, () => void> = {
    " ": () => element.togglePlay(),
    k: () => element.togglePlay(),
    ArrowLeft: () => go(-STEP_S),
    ArrowRight: () => go(STEP_S),
    j: () => go(-BACK_S),
    l: () => go(BACK_S),
    ",": () => void player.step(-1),
    ".": () => void player.step(1),
    End: () => element.goLive(),
    m: () => element.toggleSound(),
    ArrowUp: () => {
      element.volume = Math.min(element.volume + 0.1, 1);
    },
    ArrowDown: () => {
      element.volume = Math.max(element.volume - 0.1, 0);
    },
    f: () => element.toggleFullscreen(),
    p: () => element.togglePictureInPicture(),
    i: toggleStats,
    ...(inside === bar.bar ? onBar : {}),
  };
  const act = keys[key] ?? keys[key.toLowerCase()];
  act?.();
  return act !== undefined;
}

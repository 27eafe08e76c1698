/** The scrub bar: everything that can be rewound to, where the picture is, and a preview of what is under the pointer. */

import type { PathPlayer } from "./path-player";
import { type ProgramTime, programTime } from "./timeline";
import type { Tip } from "./tip";
import { length } from "./words";

/** Closer to the live edge than this share of the bar, or than this time, live is meant. */
const LIVE_SHARE = 0.985;
const LIVE_MS = 1_500;

/** A slider over the feed's window. */
export class ScrubBar {
  #player: PathPlayer | null = null;
  /** Shows what is under the pointer, once it is there. */
  tip: Tip | null = null;
  #dragged: number | null = null;
  readonly #played: HTMLElement;

  /** `bar` is the element; its parts are looked for in it. */
  constructor(readonly bar: HTMLElement) {
    this.#played = bar.querySelector(".played") as HTMLElement;
    bar.addEventListener("pointerdown", (event) => {
      bar.setPointerCapture(event.pointerId);
      this.#dragged = this.#share(event);
      this.#preview(event);
      this.render();
    });
    bar.addEventListener("pointermove", (event) => {
      if (this.#dragged !== null) this.#dragged = this.#share(event);
      this.#preview(event);
      if (this.#dragged !== null) this.render();
    });
    bar.addEventListener("pointerup", (event) => {
      this.#dragged = null;
      this.go(this.#share(event));
    });
    bar.addEventListener("pointercancel", () => {
      this.#dragged = null;
    });
    bar.addEventListener("pointerleave", () => {
      this.tip?.hide();
    });
  }

  /** Serves this player from now on. */
  open(player: PathPlayer | null): void {
    this.#player = player;
  }

  /** Writes where everything is. */
  render(): void {
    const range = this.#range();
    const { bar } = this;
    bar.hidden = range === null;
    if (range === null) return;
    const at =
      this.#dragged ?? (Number(this.#player?.programTime ?? range.to) - range.from) / (range.to - range.from);
    this.#played.style.width = `${Math.min(Math.max(at, 0), 1) * 100}%`;
    const behind = Math.max((1 - at) * (range.to - range.from), 0) / 1000;
    bar.ariaValueMin = String(-Math.round((range.to - range.from) / 1000));
    bar.ariaValueMax = "0";
    bar.ariaValueNow = String(-Math.round(behind));
    bar.ariaValueText = behind * 1000 < LIVE_MS ? "live" : `${length(behind)} behind live`;
  }

  /** The oldest and the newest moment, in milliseconds since 1970. */
  #range(): { from: number; to: number } | null {
    const to = this.#player?.feed.clock.now() ?? null;
    const seconds = this.#player?.feed.feed?.paths.hls.windowSeconds ?? 0;
    return to === null || seconds < 2 ? null : { from: to - seconds * 1000, to };
  }

  #share(event: PointerEvent): number {
    const { left, width } = this.bar.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / Math.max(width, 1), 0), 1);
  }

  #timeAt(share: number): ProgramTime | null {
    const range = this.#range();
    return range && programTime(range.from + share * (range.to - range.from));
  }

  /** Plays from there: 0 is the oldest moment, 1 the newest. */
  go(share: number): void {
    const [time, range] = [this.#timeAt(share), this.#range()];
    if (time === null || range === null) return;
    if (share >= LIVE_SHARE || range.to - time < LIVE_MS) this.#player?.catchUpToLive();
    else void this.#player?.seekToProgramTime(time);
  }

  #preview(event: PointerEvent): void {
    const share = this.#share(event);
    const time = this.#timeAt(share);
    if (time !== null && this.#player) void this.tip?.show(this.#player.feed, share, time);
  }
}

/** The WebRTC picture that is held up, and the frame that HLS is brought to for it. */

import { beforeFirstLoss } from "./cut-math";
import type { ShownFrame } from "./frames";
import type { RealtimeLeg } from "./leg";
import { localNow } from "./server-clock";
import type { Still } from "./still";
import { type MediaTime, ticksToMs } from "./timeline";

/** Where HLS is to begin: at the frame that is held, at the edge, or at a time that the viewer chose. */
export type CutTarget =
  | { readonly kind: "held" | "edge" }
  | { readonly kind: "time"; readonly time: MediaTime };

/** At the frame that is held. */
export const HELD: CutTarget = { kind: "held" };

/** What was held up longer than this ago is not gone back to by itself: the viewer wants now. */
const HELD_AT_MOST_MS = 10_000;

/** Holds pictures of one leg up. */
export class Hold {
  /** Since when, by `localNow()`; null where none is held, or what it cost was told. */
  at: number | null = null;
  /** The newest one's place on the timeline; null where there is none. */
  frame: Promise<MediaTime | null> = Promise.resolve(null);

  constructor(
    private readonly leg: RealtimeLeg,
    private readonly still: Still,
  ) {}

  /** Holds up the picture on the screen. */
  take(): void {
    const { leg } = this;
    leg.held = true;
    this.at = localNow();
    this.frame = this.still.take(leg.video).then((frame) => {
      if (frame === null) return null;
      return frame.rtp === null ? (leg.frames.last?.mediaTime ?? null) : leg.timeOf(frame.rtp);
    });
  }
}

/** What there is to decide by. */
export interface CutFacts {
  /** What WebRTC has shown, oldest first. */
  readonly frames: readonly ShownFrame[];
  readonly frameTicks: number;
  /** The live edge; null while unknown. */
  readonly live: MediaTime | null;
  readonly paused: boolean;
  /** Since when there was trouble, by `localNow()`, where nothing of it is to be missed. */
  readonly since: number | null;
}

/** The time that HLS is to show: of that very frame, or `near` it. Null: its edge, as nothing is held, or nothing worth going back to. */
export function cutTarget(
  target: CutTarget,
  held: MediaTime | null,
  { frames, frameTicks, live, paused, since }: CutFacts,
): { readonly time: MediaTime; readonly near: boolean } | null {
  if (target.kind === "time") return { time: target.time, near: true };
  if (held === null || target.kind === "edge") return null;
  if (since !== null && !paused)
    return { time: beforeFirstLoss(frames, frameTicks, since - 1_000) ?? held, near: false };
  const old = live !== null && ticksToMs(live - held) > HELD_AT_MOST_MS;
  return old && !paused ? null : { time: held, near: false };
}

/** What a path player tells and takes. */

import type { ShownFrame } from "./frames";
import type { Path } from "./leg";
import type { LegState } from "./leg-state";
import type { BridgeState } from "./path-state";
import type { BicastError } from "./problem";
import type { MediaTime } from "./timeline";

/** What a switch cost. */
export interface PathSwitch {
  readonly to: Path;
  readonly reason: string;
  /** When the new picture was there, by `localNow()`. */
  readonly at: number;
  /** From the command to the new picture, in milliseconds. */
  readonly tookMs: number;
  /** How long the picture stood still meanwhile. */
  readonly stillMs: number;
  /** What was skipped between the two pictures, in milliseconds of media; negative: seen again. Null where it is not known. */
  readonly jumpMs: number | null;
  /** Whether both pictures were the same frame: nothing lost, nothing repeated. */
  readonly exact: boolean;
}

/** Where a seek ended. */
export interface SeekOutcome {
  readonly wanted: MediaTime;
  /** The frame that is shown; null where the browser cannot say. */
  readonly shown: MediaTime | null;
  /** Whether it is the frame nearest to the wanted time. */
  readonly exact: boolean;
}

/** A decision about the path that somebody else made (the server's policy), with its reason for people. */
export interface PathOrder {
  readonly path: Path;
  readonly reason: string;
}

/** Where such decisions come from. They count while the viewer left the choice to `auto`. */
export interface PathOrders {
  /** Calls `listener` with every order; the returned function takes it off again. */
  on(name: "order", listener: (order: PathOrder) => void): () => void;
}

/** Events of a path player. */
export interface PlayerEvents {
  /** The bridge's state, the visible leg's state, or play and pause changed. */
  state: { readonly bridge: BridgeState; readonly leg: LegState };
  switched: PathSwitch;
  seeked: SeekOutcome;
  /** The path that was asked for did not come; the old one stays. */
  gaveUp: { readonly path: Path; readonly problem: BicastError | null };
  /** A frame of the visible leg. */
  frame: ShownFrame;
}

/** The three elements, lying on each other: HLS below, then WebRTC, the canvas on top. */
export interface Stage {
  readonly realtime: HTMLVideoElement;
  readonly hls: HTMLVideoElement;
  readonly still: HTMLCanvasElement;
}

/**
 * How one player goes from one path to the other. Pure: events in, the next state and what to do out.
 *
 * | state | on the screen | HLS | WebRTC |
 * |---|---|---|---|
 * | `live` | WebRTC | not loaded | plays |
 * | `warming` | WebRTC | loads, paused, painted underneath | plays, or tries to |
 * | `holding` | the last WebRTC frame, on a canvas | is brought to that very frame | stands still |
 * | `hls` | LL-HLS | plays, or is paused or rewound | closed |
 * | `catching-up` | LL-HLS, a little faster than real time | plays | closed |
 * | `returning` | LL-HLS | plays | connects and decodes underneath |
 *
 * The old picture is let go only when the new one is there, so there is never a black one. What is ordered while a switch is
 * under way is done at once where that costs no picture, and remembered in `next` where it would.
 */

import type { Path } from "./leg";

/** Where the player stands. */
export type BridgeState = "idle" | "live" | "warming" | "holding" | "hls" | "catching-up" | "returning";

/** The state, and the path that was ordered beyond it; null where nothing more was. */
export interface Bridge {
  readonly at: BridgeState;
  readonly next: Path | null;
}

/** The state of a player that has not begun. */
export const IDLE: Bridge = { at: "idle", next: null };

/** How a viewer behind the live edge goes back to WebRTC. */
export type ReturnWay = "jump" | "catch-up";

/** What happens to it. */
export type BridgeEvent =
  | { readonly type: "start"; readonly path: Path }
  /** The first sign of trouble with WebRTC. */
  | { readonly type: "trouble" }
  /** The trouble passed. */
  | { readonly type: "calm" }
  /** To LL-HLS: `now` freezes the picture at once (a rewind, a pause, a dead line); otherwise it plays on until HLS has media. */
  | { readonly type: "leave"; readonly now: boolean }
  /** HLS holds media and knows where it lies on the timeline. */
  | { readonly type: "warmed" }
  /** HLS stands on the frame that it was to show. */
  | { readonly type: "cut" }
  /** To WebRTC. `alive`: the picture that is held up could simply go on. */
  | { readonly type: "return"; readonly how: ReturnWay; readonly alive: boolean }
  /** To the edge of HLS, faster than real time, and no further. */
  | { readonly type: "follow" }
  /** Catching up has come to the edge of HLS. */
  | { readonly type: "edge" }
  /** WebRTC has a picture of now underneath. */
  | { readonly type: "arrived" }
  /** The leg that was waited for did not come in time, or cannot. */
  | { readonly type: "lost"; readonly path: Path; readonly alive: boolean }
  | { readonly type: "stop" };

/** What to do, in this order. */
export type BridgeAct =
  | { readonly act: "start" | "show" | "stop"; readonly path: Path }
  /** Load HLS without playing it. */
  | { readonly act: "warm" }
  /** Freeze the WebRTC picture on the canvas. */
  | { readonly act: "hold" }
  /** Let the frozen picture go on. */
  | { readonly act: "release" }
  /** Bring HLS to its frame. */
  | { readonly act: "cut" }
  /** The speed of HLS follows the state. */
  | { readonly act: "pace" };

/** The path whose picture is in front in this state; null while idle. */
export function visiblePath({ at }: Bridge): Path | null {
  if (at === "idle") return null;
  return at === "live" || at === "warming" || at === "holding" ? "realtime" : "hls";
}

/** The path that is on its way in this state. */
export function comingPath({ at, next }: Bridge): Path | null {
  switch (at) {
    case "holding":
      return "hls";
    case "warming":
      return next;
    case "returning":
      return "realtime";
    case "catching-up":
      return next === "realtime" ? "realtime" : null;
    default:
      return null;
  }
}

/** The path that the player is on or going to in the end: what a switch shows as chosen. */
export function chosenPath(bridge: Bridge): Path | null {
  if (bridge.at === "holding" && bridge.next !== null) return bridge.next;
  return comingPath(bridge) ?? visiblePath(bridge);
}

/** The legs that run in this state. */
export function runningPaths({ at }: Bridge): readonly Path[] {
  if (at === "idle") return [];
  if (at === "live") return ["realtime"];
  return at === "hls" || at === "catching-up" ? ["hls"] : ["realtime", "hls"];
}

/** The other path. */
export function otherPath(path: Path): Path {
  return path === "realtime" ? "hls" : "realtime";
}

interface Step {
  readonly state: Bridge;
  readonly acts: readonly BridgeAct[];
}

const to = (at: BridgeState, ...acts: BridgeAct[]): Step => ({ state: { at, next: null }, acts });
const toward = (at: BridgeState, next: Path, ...acts: BridgeAct[]): Step => ({ state: { at, next }, acts });

const WARM: BridgeAct = { act: "warm" };
const HOLD: BridgeAct = { act: "hold" };
const CUT: BridgeAct = { act: "cut" };
const PACE: BridgeAct = { act: "pace" };
const start = (path: Path): BridgeAct => ({ act: "start", path });
const show = (path: Path): BridgeAct => ({ act: "show", path });
const stop = (path: Path): BridgeAct => ({ act: "stop", path });
/** The picture that was held up goes on. */
const GO_ON: readonly BridgeAct[] = [{ act: "release" }, show("realtime"), stop("hls")];

/** The next state and what it takes to get there. Events that mean nothing in a state change nothing. */
export function bridge(state: Bridge, event: BridgeEvent): Step {
  const same: Step = { state, acts: [] };
  const { at, next } = state;
  if (event.type === "stop") return at === "idle" ? same : to("idle", stop("realtime"), stop("hls"));
  switch (at) {
    case "idle":
      if (event.type !== "start") return same;
      return to(event.path === "realtime" ? "live" : "hls", start(event.path), show(event.path));
    case "live":
      if (event.type === "trouble") return to("warming", WARM);
      if (event.type !== "leave") return same;
      return event.now ? to("holding", WARM, HOLD, CUT) : toward("warming", "hls", WARM);
    case "warming":
      return whileWarming(state, event);
    case "holding":
      return whileHolding(state, event);
    case "hls":
      if (event.type === "follow") return toward("catching-up", "hls", PACE);
      if (event.type !== "return") return same;
      if (event.how === "catch-up") return toward("catching-up", "realtime", PACE);
      return to("returning", start("realtime"));
    case "catching-up":
      return whileCatchingUp(state, event);
    case "returning":
      if (event.type === "arrived") return to("live", show("realtime"), stop("hls"));
      if (event.type === "leave" || (event.type === "lost" && event.path === "realtime"))
        return to("hls", stop("realtime"));
      return same;
    default:
      return { state: { at, next }, acts: [] };
  }
}

function whileWarming(state: Bridge, event: BridgeEvent): Step {
  const same: Step = { state, acts: [] };
  switch (event.type) {
    case "calm":
      return state.next === null ? to("live", stop("hls")) : same;
    case "leave":
      return event.now ? to("holding", HOLD, CUT) : toward("warming", "hls");
    case "warmed":
      return state.next === "hls" ? to("holding", HOLD, CUT) : same;
    case "return":
      // HLS stays warm: what made it so may not be over.
      return to("warming");
    case "lost":
      return event.path === "hls" ? to("live", stop("hls")) : same;
    default:
      return same;
  }
}

function whileHolding(state: Bridge, event: BridgeEvent): Step {
  const same: Step = { state, acts: [] };
  switch (event.type) {
    case "cut":
      if (state.next === "realtime") return to("returning", show("hls"), stop("realtime"), start("realtime"));
      return to("hls", show("hls"), stop("realtime"));
    case "leave":
      return to("holding");
    case "return":
      return event.alive ? to("live", ...GO_ON) : toward("holding", "realtime");
    case "lost":
      // Without WebRTC the picture that is held is all there is: HLS goes on trying underneath.
      return event.path === "hls" && event.alive ? to("live", ...GO_ON) : same;
    default:
      return same;
  }
}

function whileCatchingUp(state: Bridge, event: BridgeEvent): Step {
  const same: Step = { state, acts: [] };
  switch (event.type) {
    case "edge":
      return state.next === "realtime" ? to("returning", PACE, start("realtime")) : to("hls", PACE);
    case "return":
      return event.how === "jump"
        ? to("returning", PACE, start("realtime"))
        : toward("catching-up", "realtime");
    case "follow":
      return toward("catching-up", "hls");
    case "leave":
      return to("hls", PACE);
    case "lost":
      return event.path === "hls" ? to("hls", PACE) : same;
    default:
      return same;
  }
}

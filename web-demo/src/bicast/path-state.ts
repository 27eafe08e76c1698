/**
 * How one player goes from one path to the other. Pure: events in, the next state and what to do out.
 *
 * `live` shows WebRTC and `hls` shows LL-HLS. In `holding` the HLS leg is on its way behind the WebRTC picture that is held up; in
 * `returning` the WebRTC leg is on its way behind the HLS picture. The old leg is let go only when the new one has a picture, so
 * there is never a black one. The frame-exact bridge fits in here: it pauses the picture in `holding` and answers `arrived` only
 * when the very frame that is held is the one that HLS shows.
 */

import type { Path } from "./leg";

/** Where the player stands. */
export type BridgeState = "idle" | "live" | "holding" | "hls" | "returning";

/** What happens to it. */
export type BridgeEvent =
  | { readonly type: "start"; readonly path: Path }
  | { readonly type: "switch"; readonly to: Path }
  /** The leg has a picture that may be shown. */
  | { readonly type: "arrived"; readonly path: Path }
  /** The leg that was waited for did not come in time, or cannot. */
  | { readonly type: "gave-up"; readonly path: Path }
  | { readonly type: "stop" };

/** What to do, in this order. */
export type BridgeAct =
  | { readonly act: "start"; readonly path: Path }
  | { readonly act: "reveal"; readonly path: Path }
  | { readonly act: "stop"; readonly path: Path };

/** The path whose picture is in front in this state; null while idle. */
export function visiblePath(state: BridgeState): Path | null {
  if (state === "idle") return null;
  return state === "live" || state === "holding" ? "realtime" : "hls";
}

/** The path that is on its way in this state. */
export function comingPath(state: BridgeState): Path | null {
  if (state === "holding") return "hls";
  return state === "returning" ? "realtime" : null;
}

/** The path that the player is on or going to: what a switch shows as chosen. */
export function chosenPath(state: BridgeState): Path | null {
  return comingPath(state) ?? visiblePath(state);
}

/** The other path. */
export function otherPath(path: Path): Path {
  return path === "realtime" ? "hls" : "realtime";
}

/** The next state and what it takes to get there. Events that mean nothing in a state change nothing. */
export function bridge(state: BridgeState, event: BridgeEvent): { state: BridgeState; acts: BridgeAct[] } {
  const same = { state, acts: [] };
  const settled = (path: Path): BridgeState => (path === "realtime" ? "live" : "hls");
  const visible = visiblePath(state);
  const coming = comingPath(state);
  switch (event.type) {
    case "start": {
      if (state !== "idle") return same;
      const { path } = event;
      return {
        state: settled(path),
        acts: [
          { act: "start", path },
          { act: "reveal", path },
        ],
      };
    }
    case "switch":
      if (visible === null || event.to === chosenPath(state)) return same;
      // Back to the picture that is still in front: the one on its way is not wanted any more.
      if (event.to === visible)
        return { state: settled(visible), acts: [{ act: "stop", path: otherPath(visible) }] };
      return {
        state: visible === "realtime" ? "holding" : "returning",
        acts: [{ act: "start", path: event.to }],
      };
    case "arrived":
      if (event.path !== coming) return same;
      return {
        state: settled(event.path),
        acts: [
          { act: "reveal", path: event.path },
          { act: "stop", path: otherPath(event.path) },
        ],
      };
    case "gave-up":
      if (event.path !== coming) return same;
      return { state: settled(otherPath(event.path)), acts: [{ act: "stop", path: event.path }] };
    case "stop":
      if (visible === null) return same;
      return {
        state: "idle",
        acts: [
          { act: "stop", path: "realtime" },
          { act: "stop", path: "hls" },
        ],
      };
  }
}

/** The bicast client library: everything a page needs to play or publish a feed. */

export { BicastApi, type Feed, type FeedState } from "./api";
export { BicastPlayerElement, defineBicastPlayer } from "./element";
export { FeedWatcher } from "./feed-watcher";
export type { ShownFrame } from "./frames";
export { HlsLeg, Leg, type LegStats, type Path, RealtimeLeg } from "./leg";
export type { LegState } from "./leg-state";
export { PathPlayer } from "./path-player";
export type { BridgeState, ReturnWay } from "./path-state";
export type { PathOrder, PathOrders, PathSwitch, SeekOutcome, Stage } from "./player-types";
export { BicastError, type Problem } from "./problem";
export { ServerClock } from "./server-clock";
export { ViewerChannel } from "./viewer-channel";
export { ViewerSession } from "./viewer-session";
export type { Decision, Report, Viewer } from "./viewer-wire";
export { WhepClient } from "./whep";
export { WhipClient } from "./whip";

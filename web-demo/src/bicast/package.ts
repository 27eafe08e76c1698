/** The entry of the package: importing it defines `<bicast-player>`; what the element is made of is exported. */

import { defineBicastPlayer } from "./element";

export { BicastApi } from "./api";
export { BicastPlayerElement, defineBicastPlayer } from "./element";
export { FeedWatcher } from "./feed-watcher";
export { PathPlayer } from "./path-player";
export type { BridgeState, ReturnWay } from "./path-state";
export type * from "./player-types";
export { BicastError } from "./problem";

defineBicastPlayer();

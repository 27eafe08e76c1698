/** The entry of `player.js`: one script tag on any page, and `<bicast-player>` is there. */

import { defineBicastPlayer } from "./element";

defineBicastPlayer();

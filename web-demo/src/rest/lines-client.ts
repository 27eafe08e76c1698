/** A client of `/v1/demo/lines`. Every method rejects with a `BicastError`; 404 of {@link open} says that lines are off. */

import { RestClient } from "./client";
import { type Line, type Network, parseLine } from "./lines-wire";

const path = (id = "") => `v1/demo/lines${id && `/${encodeURIComponent(id)}`}`;

/** Makes, changes and ends lines. */
export class LinesClient extends RestClient {
  /** A new line with this network. */
  open(network: Partial<Network>): Promise<Line> {
    return this.send("POST", path(), network, parseLine);
  }

  /** A line as it is; 404 where it has been removed. */
  line(id: string): Promise<Line> {
    return this.get(path(id), parseLine);
  }

  /** Changes a line at once, also for connections that are open. */
  change(id: string, network: Partial<Network>): Promise<Line> {
    return this.send("PATCH", path(id), network, parseLine);
  }

  /** Ends a line, also while the page goes away. */
  close(id: string): Promise<void> {
    return this.remove(path(id), true);
  }
}

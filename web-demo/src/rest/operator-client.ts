/** A client of what operators look at and order. Every method rejects with a `BicastError`; with tokens an `admin` one is wanted. */

import type { Path } from "../bicast/leg";
import { RestClient } from "./client";
import {
  type Admission,
  type Audience,
  type Limits,
  parseAdmission,
  parseAudience,
  parseStatus,
  parseWatcher,
  parseWatchers,
  type Status,
  type Tier,
  type Watcher,
  type WatcherPage,
} from "./operator-wire";

/** Which viewers to list, and how many. */
export interface WatcherQuery {
  readonly path?: Path | undefined;
  readonly tier?: Tier | undefined;
  readonly reason?: string | undefined;
  /** Only those behind this one. */
  readonly after?: string | undefined;
  /** 1 to 1,000. */
  readonly limit?: number | undefined;
}

const feedPath = (feed: string) => `v1/feeds/${encodeURIComponent(feed)}`;

/** Looks and orders. */
export class OperatorClient extends RestClient {
  /** The server's state, with its room on the realtime path. */
  status(): Promise<Status> {
    return this.get("v1/status", parseStatus);
  }

  /** A feed's viewers together. */
  audience(feed: string): Promise<Audience> {
    return this.get(`${feedPath(feed)}/audience`, parseAudience);
  }

  /** A page of a feed's viewers. */
  watchers(feed: string, query: WatcherQuery): Promise<WatcherPage> {
    const said = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) said.set(name, String(value));
    return this.get(`${feedPath(feed)}/viewers?${said}`, parseWatchers);
  }

  /** Keeps a viewer on a path, or leaves that to the service again. */
  move(feed: string, viewer: string, path: Path | "auto"): Promise<Watcher> {
    return this.send("PATCH", this.#viewer(feed, viewer), { path }, parseWatcher);
  }

  /** Ends a viewer. */
  end(feed: string, viewer: string): Promise<void> {
    return this.remove(this.#viewer(feed, viewer));
  }

  /** Sets the limits until the server's next start. What is left out or null is not limited. */
  setLimits(limits: Limits): Promise<Admission> {
    const said = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== null));
    return this.send("PATCH", "v1/admission", said, parseAdmission);
  }

  #viewer(feed: string, viewer: string): string {
    return `${feedPath(feed)}/viewers/${encodeURIComponent(viewer)}`;
  }
}

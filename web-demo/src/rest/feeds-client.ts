/** A client of feeds as pages show them. Every method rejects with a `BicastError`. */

import { BicastApi } from "../bicast/api";
import { type FeedTimeline, type MomentQuery, parseFeedTimeline } from "./feed-timeline";
import { type Feed, parseFeed, parseFeeds } from "./feed-wire";

/** What a player asks for, and the rest. */
export class FeedsClient extends BicastApi {
  /** All feeds. */
  feeds(signal?: AbortSignal): Promise<readonly Feed[]> {
    return this.get("v1/feeds", parseFeeds, signal);
  }

  override feed(id: string, signal?: AbortSignal): Promise<Feed> {
    return this.get(`v1/feeds/${encodeURIComponent(id)}`, parseFeed, signal);
  }

  /** Where moments of a feed lie on both paths, and where the one that is asked for does; 404 when it is not in the window. */
  timeline(id: string, at?: MomentQuery, signal?: AbortSignal): Promise<FeedTimeline> {
    const named = Object.entries(at ?? {}).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const query = named.length === 0 ? "" : `?${named.join("&")}`;
    return this.get(`v1/feeds/${encodeURIComponent(id)}/timeline${query}`, parseFeedTimeline, signal);
  }
}

/** What a player says of itself, from counts that only grow. Pure: times in milliseconds on one clock. */

import type { Path } from "./leg";
import type { MediaTime } from "./timeline";
import type { Report } from "./viewer-wire";

/** What is known of the visible leg. Null where it is not known. */
export interface ReportFacts {
  readonly path: Path;
  readonly latencyMs: number | null;
  readonly mediaTime: MediaTime | null;
  /** Whether the viewer follows the live edge. */
  readonly following: boolean;
  /** A page in the background shows nothing, whatever the line does. */
  readonly hidden: boolean;
  readonly bufferMs: number | null;
  /** Totals of this connection. */
  readonly packetsLost: number | null;
  readonly packetsReceived: number | null;
  readonly frozenMs: number | null;
  readonly roundTripMs: number | null;
  /** ICE gave up without ever having connected. */
  readonly neverConnected: boolean;
}

/** Makes reports: what has changed since the last one. */
export class Reporter {
  #last: { readonly at: number; readonly facts: ReportFacts } | null = null;

  /** The report at this moment. */
  report(now: number, facts: ReportFacts): Report {
    const before = this.#last;
    this.#last = { at: now, facts };
    const same = before !== null && before.facts.path === facts.path ? before : null;
    const known: { -readonly [K in keyof Report]: Report[K] } = {
      path: facts.path,
      atLiveEdge: facts.following,
    };
    if (facts.latencyMs !== null && facts.latencyMs >= 0) known.latencyMs = facts.latencyMs;
    if (facts.mediaTime !== null) known.mediaTime = facts.mediaTime;
    if (facts.bufferMs !== null) known.bufferMs = facts.bufferMs;
    if (facts.roundTripMs !== null) known.roundTripMs = facts.roundTripMs;
    if (facts.neverConnected) known.udpBlocked = true;
    if (same !== null && !facts.hidden && !same.facts.hidden) {
      const frozen = grown(same.facts.frozenMs, facts.frozenMs);
      const elapsed = now - same.at;
      if (frozen !== null && elapsed > 0) known.frozenRatio = Math.min(frozen / elapsed, 1);
    }
    if (same !== null) {
      const lost = grown(same.facts.packetsLost, facts.packetsLost);
      const received = grown(same.facts.packetsReceived, facts.packetsReceived);
      if (lost !== null && received !== null && lost + received > 0)
        known.lossRatio = lost / (lost + received);
    }
    return known;
  }
}

/** By how much a total has grown; null where it is not known, or a new connection has begun to count. */
function grown(before: number | null, now: number | null): number | null {
  return before === null || now === null || now < before ? null : now - before;
}

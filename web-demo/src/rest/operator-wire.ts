/** What operators are told: viewers, audiences, admission, status. Types, validated where they enter. */

import { list, nullable, number, object, oneOf, type Reader, record, text } from "../bicast/check";
import type { Path } from "../bicast/leg";
import type { Decision } from "../bicast/viewer-wire";

/** What a viewer is entitled to. */
export type Tier = "vip" | "free";

/** A feed's viewers together. */
export interface Audience {
  readonly viewers: number;
  readonly groups: readonly {
    readonly tier: Tier;
    readonly path: Path;
    readonly reason: string;
    readonly viewers: number;
  }[];
  /** Ingest to glass in milliseconds, of players at the live edge in the last 15 s. */
  readonly latency: readonly PathLatency[];
  /** Decisions since the feed's first viewer, by reason. */
  readonly decisions: Readonly<Record<string, number>>;
  readonly waiting: number;
}

/** How late the viewers of one path and tier are. */
export interface PathLatency {
  readonly path: Path;
  readonly tier: Tier;
  readonly reports: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

/** One viewer, as operators see it. */
export interface Watcher {
  readonly id: string;
  /** Null where it has not joined: a plain WHEP session. */
  readonly tier: Tier | null;
  readonly path: Path;
  readonly decision: Decision | null;
  /** Where it has been told to stay. */
  readonly ordered: Path | null;
  readonly subject: string | null;
  readonly agent: string | null;
  readonly joined: string | null;
  readonly switches: number;
  readonly waiting: { readonly shortage: string; readonly ahead: number; readonly seconds: number } | null;
  readonly player: {
    readonly secondsAgo: number;
    readonly report: { readonly latencyMs: number | null; readonly lossRatio: number | null };
  } | null;
  readonly session: {
    readonly bitrateBps: number;
    readonly lossRatio: number;
    readonly roundTripMs: number | null;
  } | null;
}

/** Viewers of a feed, a page of them. */
export interface WatcherPage {
  readonly total: number;
  readonly viewers: readonly Watcher[];
  /** What to give as `after` for those that follow. */
  readonly next: string | null;
}

/** What realtime viewers may use together; null where there is no limit. The times are in seconds. */
export interface Limits {
  readonly egress_bps: number | null;
  readonly packets_per_second: number | null;
  readonly cpu_share: number | null;
  readonly viewers: number | null;
  readonly free_for: number;
  readonly offer_for: number;
  readonly fresh_for: number;
  readonly waiting: number;
}

/** Room on the realtime path. */
export interface Admission {
  readonly limits: Limits;
  readonly used: {
    readonly egressBps: number;
    readonly packetsPerSecond: number;
    readonly cpuShare: number | null;
  };
  readonly slots: number;
  readonly offered: number;
  readonly waiting: number;
  readonly shortage: string | null;
}

/** The server as it is. */
export interface Status {
  readonly version: string;
  readonly since: string;
  readonly feeds: Readonly<Record<string, number>>;
  readonly viewers: number;
  readonly mostViewers: number;
  readonly sessions: number;
  readonly admission: Admission;
}

const path = oneOf("realtime", "hls");
const tier = oneOf("vip", "free");

const audience: Reader<Audience> = object<Audience>({
  viewers: number,
  groups: list(object({ tier, path, reason: text, viewers: number })),
  latency: list(
    object<PathLatency>({ path, tier, reports: number, p50Ms: number, p95Ms: number, p99Ms: number }),
  ),
  decisions: record(number),
  waiting: number,
});

const watcher: Reader<Watcher> = object<Watcher>({
  id: text,
  tier: nullable(tier),
  path,
  decision: nullable(object<Decision>({ path, layerCap: number, reason: text, since: text })),
  ordered: nullable(path),
  subject: nullable(text),
  agent: nullable(text),
  joined: nullable(text),
  switches: number,
  waiting: nullable(object({ shortage: text, ahead: number, seconds: number })),
  player: nullable(
    object({
      secondsAgo: number,
      report: object({ latencyMs: nullable(number), lossRatio: nullable(number) }),
    }),
  ),
  session: nullable(object({ bitrateBps: number, lossRatio: number, roundTripMs: nullable(number) })),
});

const watchers = object<WatcherPage>({ total: number, viewers: list(watcher), next: nullable(text) });

const admission: Reader<Admission> = object<Admission>({
  limits: object<Limits>({
    egress_bps: nullable(number),
    packets_per_second: nullable(number),
    cpu_share: nullable(number),
    viewers: nullable(number),
    free_for: number,
    offer_for: number,
    fresh_for: number,
    waiting: number,
  }),
  used: object({ egressBps: number, packetsPerSecond: number, cpuShare: nullable(number) }),
  slots: number,
  offered: number,
  waiting: number,
  shortage: nullable(text),
});

const status = object<Status>({
  version: text,
  since: text,
  feeds: record(number),
  viewers: number,
  mostViewers: number,
  sessions: number,
  admission,
});

/** A feed's audience, or a `WireError` that names the member that was wrong. */
export const parseAudience = (json: unknown): Audience => audience(json, "");

/** One viewer, or a `WireError`. */
export const parseWatcher = (json: unknown): Watcher => watcher(json, "");

/** A page of viewers, or a `WireError`. */
export const parseWatchers = (json: unknown): WatcherPage => watchers(json, "");

/** Room on the realtime path, or a `WireError`. */
export const parseAdmission = (json: unknown): Admission => admission(json, "");

/** The server's state, or a `WireError`. */
export const parseStatus = (json: unknown): Status => status(json, "");

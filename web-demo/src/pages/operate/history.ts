/** What the operator page remembers to plot and to list. Bounded. Pure. */

import type { Path } from "../../bicast/leg";
import type { Audience, PathLatency, Watcher } from "../../rest/operator-wire";

/** One second of a feed. */
export interface Second {
  /** Viewers by path, as the feed counts them: also those that have not joined. */
  readonly viewers: Readonly<Record<Path, number>>;
  readonly egressBps: number;
  readonly latency: Readonly<Record<Path, LatencyOf | null>>;
}

/** Ingest to glass in milliseconds. */
export interface LatencyOf {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Seconds that plots show. */
export const PLOTTED = 180;

/** The newest seconds of one feed, oldest first; null where the page did not look (it was hidden, or the server away). */
export class History {
  #seconds: readonly (Second | null)[] = [];
  #at = 0;

  get seconds(): readonly (Second | null)[] {
    return this.#seconds;
  }

  /** Takes in what was seen at `now` (milliseconds); what was missed since the last time is a hole. */
  add(now: number, second: Second): void {
    const missed =
      this.#seconds.length === 0 ? 0 : Math.min(Math.round((now - this.#at) / 1_000) - 1, PLOTTED);
    const holes = new Array<null>(Math.max(missed, 0)).fill(null);
    this.#seconds = [...this.#seconds, ...holes, second].slice(-PLOTTED);
    this.#at = now;
  }

  /** A member of each second for a plot, as many points as plots show: what is before the first is unknown. */
  points(read: (second: Second) => number | null): (number | null)[] {
    const known = this.#seconds.map((second) => (second === null ? null : read(second)));
    return [...new Array<null>(PLOTTED - known.length).fill(null), ...known];
  }
}

/** How late the viewers of a path are. Of several tiers the worst: percentiles of groups cannot be added up. */
export function latencyOf(latency: readonly PathLatency[], path: Path): LatencyOf | null {
  const on = latency.filter((one) => one.path === path);
  if (on.length === 0) return null;
  const worst = (read: (one: PathLatency) => number) => Math.max(...on.map(read));
  return { p50: worst((one) => one.p50Ms), p95: worst((one) => one.p95Ms), p99: worst((one) => one.p99Ms) };
}

/** Viewers by reason and path, most first. */
export interface ReasonCount {
  readonly path: Path;
  readonly reason: string;
  readonly vip: number;
  readonly free: number;
}

/** Why viewers are where they are. */
export function reasonsOf({ groups }: Audience): readonly ReasonCount[] {
  const found = new Map<string, ReasonCount>();
  for (const { path, reason, tier, viewers } of groups) {
    const key = `${path} ${reason}`;
    const before = found.get(key) ?? { path, reason, vip: 0, free: 0 };
    found.set(key, { ...before, [tier]: before[tier] + viewers });
  }
  return [...found.values()].sort(
    (a, b) => b.vip + b.free - a.vip - a.free || a.reason.localeCompare(b.reason),
  );
}

/** A decision about one viewer. */
export interface Decided {
  readonly viewer: string;
  readonly name: string;
  readonly path: Path;
  readonly reason: string;
  /** Milliseconds since 1970, by the server's clock. */
  readonly since: number;
}

const DECISIONS_KEPT = 100;

/** The newest decisions that were seen in lists of viewers, newest first. */
export class Decisions {
  #list: readonly Decided[] = [];

  get list(): readonly Decided[] {
    return this.#list;
  }

  /** Takes in the viewers of one answer: each tells the decision that holds for it. */
  add(viewers: readonly Watcher[]): void {
    const known = new Set(this.#list.map(({ viewer, since }) => `${viewer} ${since}`));
    const fresh = viewers.flatMap((one): Decided[] => {
      if (one.decision === null) return [];
      const { path, reason } = one.decision;
      const since = Date.parse(one.decision.since);
      return known.has(`${one.id} ${since}`)
        ? []
        : [{ viewer: one.id, name: nameOf(one), path, reason, since }];
    });
    if (fresh.length === 0) return;
    this.#list = [...this.#list, ...fresh].sort((a, b) => b.since - a.since).slice(0, DECISIONS_KEPT);
  }
}

/** A viewer's name for people: who its token says it is, or the beginning of its id. */
export function nameOf({ subject, id }: Pick<Watcher, "subject" | "id">): string {
  return subject ?? id.slice(0, 8);
}

/** Share of a limit that is used, 0 to 1; null where there is no limit. */
export function shareOf(used: number | null, limit: number | null): number | null {
  return limit === null || used === null || limit <= 0 ? null : Math.min(used / limit, 1);
}

/** Latency over time: what the big number and the plot show. Pure. */

/** One measurement. */
export interface LatencySample {
  /** When, in milliseconds on any steady clock. */
  readonly at: number;
  /** How much, in milliseconds. */
  readonly ms: number;
}

/** Median and 95th percentile of a stretch of time. */
export interface LatencySummary {
  readonly p50: number;
  readonly p95: number;
  readonly count: number;
}

/** The last `windowMs` of measurements, bounded also in number. */
export class LatencyMeter {
  readonly #samples: LatencySample[] = [];

  constructor(
    private readonly windowMs = 60_000,
    private readonly most = 7_200,
  ) {}

  /** Takes a measurement in; times must not go back. */
  add(at: number, ms: number): void {
    if (!Number.isFinite(ms)) return;
    this.#samples.push({ at, ms });
    let stale = 0;
    while (stale < this.#samples.length && (this.#samples[stale]?.at ?? 0) < at - this.windowMs) stale += 1;
    stale = Math.max(stale, this.#samples.length - this.most);
    if (stale > 0) this.#samples.splice(0, stale);
  }

  /** Median and p95 of the last `lastMs`; null without a measurement in it. */
  summary(now: number, lastMs = this.windowMs): LatencySummary | null {
    const values = this.#samples.filter((s) => s.at >= now - lastMs).map((s) => s.ms);
    if (values.length === 0) return null;
    values.sort((a, b) => a - b);
    return { p50: percentile(values, 0.5), p95: percentile(values, 0.95), count: values.length };
  }

  /** The number for people: the median of the last second, so that one late frame does not make it jump. */
  now(now: number): number | null {
    return this.summary(now, 1_000)?.p50 ?? null;
  }

  /** What is kept, oldest first. */
  get samples(): readonly LatencySample[] {
    return this.#samples;
  }

  /** Milliseconds that are kept. */
  get window(): number {
    return this.windowMs;
  }

  /** Forgets everything. */
  clear(): void {
    this.#samples.length = 0;
  }
}

/** The value below which `share` (0 to 1) of `sorted` lies (nearest rank). NaN for no values. */
export function percentile(sorted: readonly number[], share: number): number {
  const rank = Math.min(Math.max(Math.ceil(share * sorted.length) - 1, 0), sorted.length - 1);
  return sorted[rank] ?? Number.NaN;
}

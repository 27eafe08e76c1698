/** Glass to glass, where the picture shows its own clock (the test patterns do): drawn there, read here. */

import { type Barcode, readBarcode } from "../../bicast/barcode-reader";
import type { FeedWatcher } from "../../bicast/feed-watcher";
import { LatencyMeter } from "../../bicast/latency";
import type { Leg } from "../../bicast/leg";
import { localNow } from "../../bicast/server-clock";

/** One reading: which frame was in the picture, and how old it was. */
export interface GlassReading extends Barcode {
  /** From drawing to reading, by the publisher's and the server's clock; null without a clock in the picture. */
  readonly ageMs: number | null;
  /** When it was read, by `localNow()`. */
  readonly at: number;
}

const EVERY_MS = 250;
/** A picture without a barcode is looked at seldom: the publisher may change to one. */
const SELDOM_MS = 5_000;
/** A camera picture can look like a barcode for a moment; a clock that is off by more than this is none. */
const PLAUSIBLE_MS = 60_000;
const KEPT = 1_200;

/** Reads one leg's picture while it is live. */
export class GlassWatch {
  readonly #meter = new LatencyMeter(5_000);
  #readings: GlassReading[] = [];
  #nextAt = 0;
  #reading = false;

  constructor(
    private readonly leg: Leg,
    private readonly watcher: FeedWatcher,
    private readonly everyFrame: boolean,
  ) {
    leg.on("frame", () => void this.#look());
  }

  /** Median of the last seconds, in milliseconds; null where the picture has no clock. */
  now(now: number): number | null {
    return this.#meter.summary(now, 2_000)?.p50 ?? null;
  }

  /** What was read, oldest first. */
  get readings(): readonly GlassReading[] {
    return this.#readings;
  }

  async #look(): Promise<void> {
    const at = localNow();
    // While it seeks (over a gap that a publisher left) the element shows an old picture under a new time.
    if (this.#reading || this.leg.video.seeking || (!this.everyFrame && at < this.#nextAt)) return;
    this.#reading = true;
    this.#nextAt = at + SELDOM_MS;
    try {
      const server = this.watcher.clock.at(at) ?? at;
      const barcode = await readBarcode(this.leg.video, server);
      if (barcode === null) return;
      const ageMs = barcode.drawnAt === null ? null : server - barcode.drawnAt;
      if (ageMs !== null && Math.abs(ageMs) > PLAUSIBLE_MS) return;
      this.#nextAt = at + EVERY_MS;
      if (ageMs !== null) this.#meter.add(at, ageMs);
      this.#readings.push({ ...barcode, ageMs, at });
      if (this.#readings.length > KEPT) this.#readings = this.#readings.slice(-KEPT / 2);
    } catch {
      // Some browsers refuse to copy some pictures (protected, or on the graphics card): there is no number then.
      this.#nextAt = at + SELDOM_MS;
    } finally {
      this.#reading = false;
    }
  }
}

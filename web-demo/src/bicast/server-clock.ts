/** The server's clock as this browser knows it: several exchanges with `GET /v1/time`, the shortest round trip counts. */

import type { BicastApi } from "./api";
import { ClockEstimate, type ProgramTime, programTime } from "./timeline";

/**
 * This browser's steady clock in milliseconds since 1970. It does not step when the system clock is set, and the times that
 * `requestVideoFrameCallback` reports are on it (`performance.timeOrigin` + theirs).
 */
export function localNow(): number {
  return performance.timeOrigin + performance.now();
}

/** The first exchange pays for the connection; four more settle the estimate within a fraction of a second. */
const FIRST_EXCHANGES = 5;
/** A busy page delays its own answers: it goes on measuring until one came through quickly, within reason. */
const GOOD_ERROR_MS = 2;
const MOST_EARLY_EXCHANGES = 20;
const FIRST_EVERY_MS = 60;
const EARLY_EVERY_MS = 500;
const EXCHANGE_EVERY_MS = 10_000;

/** Keeps an estimate of the server's clock while it runs. */
export class ServerClock {
  readonly #estimate = new ClockEstimate();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #done = 0;

  constructor(private readonly api: BicastApi) {}

  /** Begins to measure; failures are tried again. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#exchange();
  }

  /** Stops measuring; the estimate stays. */
  stop(): void {
    this.#running = false;
    clearTimeout(this.#timer);
  }

  /** UTC by the server's clock at a moment of {@link localNow}; null before the first exchange. */
  at(local: number): ProgramTime | null {
    const offset = this.#estimate.offsetMs;
    return offset === null ? null : programTime(local + offset);
  }

  /** UTC by the server's clock; null before the first exchange. */
  now(): ProgramTime | null {
    return this.at(localNow());
  }

  /** Server minus local in milliseconds, how wrong that can be, and from how many exchanges. */
  get quality(): { readonly offsetMs: number; readonly errorMs: number; readonly samples: number } | null {
    const { offsetMs, errorMs, samples } = this.#estimate;
    return offsetMs === null || errorMs === null ? null : { offsetMs, errorMs, samples };
  }

  #wait(): number {
    if (this.#done < FIRST_EXCHANGES) return FIRST_EVERY_MS;
    const good = (this.#estimate.errorMs ?? Number.POSITIVE_INFINITY) <= GOOD_ERROR_MS;
    return good || this.#done >= MOST_EARLY_EXCHANGES ? EXCHANGE_EVERY_MS : EARLY_EVERY_MS;
  }

  async #exchange(): Promise<void> {
    const sent = localNow();
    try {
      const server = await this.api.time(AbortSignal.timeout(5_000));
      this.#estimate.add({ sent, received: localNow(), server });
    } catch {
      // The feed watcher tells the user that the server is away; the clock only goes on trying.
    }
    if (!this.#running) return;
    this.#done += 1;
    this.#timer = setTimeout(() => void this.#exchange(), this.#wait());
  }
}

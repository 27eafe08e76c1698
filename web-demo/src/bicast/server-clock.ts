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
const EXCHANGE_EVERY_MS = 15_000;

/** Keeps an estimate of the server's clock while it runs. */
export class ServerClock {
  readonly #estimate = new ClockEstimate();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;

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

  async #exchange(): Promise<void> {
    const sent = localNow();
    try {
      const server = await this.api.time(AbortSignal.timeout(5_000));
      this.#estimate.add({ sent, received: localNow(), server });
    } catch {
      // The feed watcher tells the user that the server is away; the clock only goes on trying.
    }
    if (!this.#running) return;
    const settled = this.#estimate.samples >= FIRST_EXCHANGES;
    this.#timer = setTimeout(() => void this.#exchange(), settled ? EXCHANGE_EVERY_MS : 60);
  }
}

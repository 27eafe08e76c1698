/** How long to wait before the next try. Pure: chance is an argument. */

/** Doubling waits with jitter, so that a thousand viewers of a restarted server do not return in the same instant. */
export class Backoff {
  #tries = 0;

  /** Waits grow from `firstMs` by doubling up to `mostMs`. */
  constructor(
    private readonly firstMs = 500,
    private readonly mostMs = 10_000,
  ) {}

  /** Tries since the last {@link reset}. */
  get tries(): number {
    return this.#tries;
  }

  /**
   * The wait before the next try in milliseconds: between half of the current step and all of it, by `chance` (0 to 1), but
   * never less than the server asked for.
   */
  next(chance: number, atLeastMs = 0): number {
    const step = Math.min(this.firstMs * 2 ** Math.min(this.#tries, 30), this.mostMs);
    this.#tries += 1;
    return Math.max(step * (0.5 + 0.5 * chance), atLeastMs);
  }

  /** Begins again with the shortest wait: call it when a try succeeded. */
  reset(): void {
    this.#tries = 0;
  }
}

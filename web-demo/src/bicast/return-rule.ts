/**
 * When a player that left WebRTC by itself may try it again, where no server says so. Pure; times in milliseconds. Conservative:
 * a picture that goes to and fro is worse than one that stays a second behind.
 */

/** Who was moved stays this long at least; each return that did not last makes it three times as long. */
const STAY_MS = 15_000;
const STAY_AT_MOST_MS = 10 * 60_000;
/** A return that lasted this long was right. */
const LASTED_MS = 60_000;

/** Remembers moves and returns. */
export class ReturnRule {
  #stay = STAY_MS;
  #movedAt: number | null = null;
  #returnedAt: number | null = null;

  /** The player left WebRTC because of trouble. */
  moved(now: number): void {
    const lasted = this.#returnedAt === null || now - this.#returnedAt >= LASTED_MS;
    this.#stay = lasted ? STAY_MS : Math.min(this.#stay * 3, STAY_AT_MOST_MS);
    this.#movedAt = now;
    this.#returnedAt = null;
  }

  /** The player is back on WebRTC. */
  returned(now: number): void {
    this.#movedAt = null;
    this.#returnedAt = now;
  }

  /** A try to return came to nothing. */
  failed(now: number): void {
    this.#stay = Math.min(this.#stay * 3, STAY_AT_MOST_MS);
    this.#movedAt = now;
  }

  /** The viewer decided: nothing is to be undone. */
  forget(): void {
    this.#movedAt = null;
  }

  /** Whether to try. */
  due(now: number): boolean {
    return this.#movedAt !== null && now - this.#movedAt >= this.#stay;
  }

  /** When it will be tried; null where it will not. */
  get dueAt(): number | null {
    return this.#movedAt === null ? null : this.#movedAt + this.#stay;
  }
}

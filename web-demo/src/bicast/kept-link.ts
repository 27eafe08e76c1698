/** What a WebRTC connection and an HLS player have in common: begun once, begun again when it fails, until it is stopped. */

import { Backoff } from "./backoff";
import { Emitter } from "./emitter";
import { type BicastError, toBicastError } from "./problem";

/** How a connection stands. `retrying` waits and tries by itself; `failed` needs somebody to change something. */
export type LinkState = "idle" | "connecting" | "connected" | "retrying" | "failed" | "ended";

/** What a link tells its owner. */
export interface LinkEvents {
  state: LinkState;
  /** Media came into the buffer. */
  media: undefined;
}

/** Keeps something open. */
export abstract class KeptLink extends Emitter<LinkEvents> {
  #state: LinkState = "idle";
  #problem: BicastError | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Counts attempts: what belongs to an older one is thrown away. */
  #attempt = 0;
  readonly #backoff: Backoff;

  /** Waits between tries grow from `firstMs` to `mostMs`. */
  constructor(firstMs?: number, mostMs?: number) {
    super();
    this.#backoff = new Backoff(firstMs, mostMs);
  }

  /** How it stands. */
  get state(): LinkState {
    return this.#state;
  }

  /** Why it is `retrying` or `failed`. */
  get problem(): BicastError | null {
    return this.#problem;
  }

  /** Opens, and opens again until {@link stop}. */
  start(): void {
    if (this.#state !== "idle" && this.#state !== "failed" && this.#state !== "ended") return;
    this.#backoff.reset();
    this.again();
  }

  /** Tries again now, from nothing: after a wait that has become pointless, or when media stopped coming. */
  restart(): void {
    if (this.#state === "idle") return;
    this.drop();
    this.again();
  }

  /** Lets go of everything. */
  stop(): void {
    this.drop();
    this.#problem = null;
    this.setState("idle");
  }

  /** One attempt; what it throws is why it failed. `current` says whether it is still wanted. */
  protected abstract open(current: () => boolean): Promise<void>;

  /** Lets go of what the newest attempt has opened, whatever it has got to. */
  protected abstract close(): void;

  /** Whether a failure of this kind is worth another try. */
  protected abstract retryable(error: BicastError): boolean;

  /** Begins an attempt. */
  protected again(): void {
    this.#attempt += 1;
    const attempt = this.#attempt;
    const current = () => attempt === this.#attempt;
    this.setState("connecting");
    this.open(current).catch((thrown: unknown) => current() && this.fail(toBicastError(thrown)));
  }

  /** The attempt has come to something. */
  protected up(): void {
    this.#backoff.reset();
    this.#problem = null;
    if (this.#state === "connecting") this.setState("connected");
  }

  /** The attempt has failed. */
  protected fail(error: BicastError): void {
    this.#problem = error;
    this.drop();
    if (!this.retryable(error)) {
      this.setState("failed");
      return;
    }
    this.#timer = setTimeout(() => this.again(), this.#backoff.next(Math.random(), error.retryAfterMs ?? 0));
    this.setState("retrying");
  }

  /** Ends the attempt. */
  protected drop(): void {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    this.close();
  }

  protected setState(state: LinkState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.emit("state", state);
  }
}

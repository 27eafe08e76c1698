/**
 * One viewer's line, kept for as long as the page is there: made anew where the server has removed it, changed as fast as somebody moves
 * a slider but one request at a time, and ended with the page.
 */

import { Emitter } from "../../bicast/emitter";
import { type BicastError, localProblem, toBicastError } from "../../bicast/problem";
import type { LinesClient } from "../../rest/lines-client";
import type { Line, Network } from "../../rest/lines-wire";
import { GOOD } from "./presets";

/** `off` this server has no lines · `refused` this viewer gets none, see {@link LineKeeper.problem}. */
export type LineState = "opening" | "open" | "off" | "refused";

interface Events {
  /** State, counters or network changed. */
  change: LineState;
  /** Another origin has to be watched from now on. */
  origin: string;
}

const LOOK_EVERY_MS = 2_000;

/** Keeps one line. */
export class LineKeeper extends Emitter<Events> {
  #state: LineState = "opening";
  #line: Line | null = null;
  #problem: BicastError | null = null;
  #wanted: Network = GOOD;
  #sending = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly lines: LinesClient,
    /** Scheme of the page: a page over https may not ask a line over http. */
    private readonly scheme: string = globalThis.location?.protocol ?? "http:",
  ) {
    super();
  }

  get state(): LineState {
    return this.#state;
  }

  /** The line as it was seen last; null where there is none. */
  get line(): Line | null {
    return this.#line;
  }

  /** Why there is none, in the server's words. */
  get problem(): BicastError | null {
    return this.#problem;
  }

  /** What was asked for last. */
  get network(): Network {
    return this.#wanted;
  }

  /** Asks for a line; tells its origin, or null where the viewer has to watch without one. */
  async open(): Promise<string | null> {
    try {
      const line = await this.lines.open(this.#wanted);
      if (this.scheme === "https:" && line.origin.startsWith("http:")) {
        void this.lines.close(line.id).catch(() => {});
        throw localProblem(
          "Lines need plain http",
          "This page came over https, and a browser lets it ask nothing over http.",
          "Open the page at the server's own http address, without the proxy in front.",
        );
      }
      this.#line = line;
      this.#problem = null;
      this.#setState("open");
      this.#timer ??= setInterval(() => void this.#look(), LOOK_EVERY_MS);
      return line.origin;
    } catch (thrown) {
      this.#line = null;
      this.#problem = toBicastError(thrown);
      this.#setState(this.#problem.problem.status === 404 ? "off" : "refused");
      return null;
    }
  }

  /** Makes the line so from now on. The newest wish counts. */
  set(network: Network): void {
    this.#wanted = network;
    this.emit("change", this.#state);
    void this.#send();
  }

  /** Ends it; a page that comes back opens it again. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#line) void this.lines.close(this.#line.id).catch(() => {});
    this.#line = null;
  }

  async #send(): Promise<void> {
    if (this.#sending || this.#line === null) return;
    this.#sending = true;
    try {
      for (let sent: Network | null = null; sent !== this.#wanted && this.#line !== null; ) {
        sent = this.#wanted;
        this.#line = await this.lines.change(this.#line.id, sent);
      }
      this.#problem = null;
    } catch (thrown) {
      await this.#failed(toBicastError(thrown));
    } finally {
      this.#sending = false;
      this.emit("change", this.#state);
    }
  }

  async #look(): Promise<void> {
    if (globalThis.document?.hidden || this.#sending || this.#line === null) return;
    try {
      const seen = await this.lines.line(this.#line.id);
      if (this.#line?.id === seen.id) this.#line = seen;
      this.#problem = null;
    } catch (thrown) {
      await this.#failed(toBicastError(thrown));
    }
    this.emit("change", this.#state);
  }

  /** A line that is gone (the server removes those that nothing passes) is made anew; its viewer has to move there. */
  async #failed(error: BicastError): Promise<void> {
    this.#problem = error;
    if (error.problem.status !== 404) return;
    const origin = await this.open();
    if (origin !== null) this.emit("origin", origin);
  }

  #setState(state: LineState): void {
    this.#state = state;
    this.emit("change", state);
  }
}

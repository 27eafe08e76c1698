/**
 * A viewer that has joined: it is told over a WebSocket where it is served and why, tells how that goes, and comes back by itself
 * without missing a decision. Where the service cannot be reached the player goes on by its own rules.
 */

import type { BicastApi } from "./api";
import { Backoff } from "./backoff";
import { Emitter } from "./emitter";
import type { PathOrder, PathSwitch } from "./player-types";
import { type BicastError, toBicastError } from "./problem";
import {
  type Decision,
  type Joined,
  parseMessage,
  type Report,
  reasonInWords,
  type ServerMessage,
  type Viewer,
} from "./viewer-wire";

/** `joining` no answer yet · `open` messages come · `closed` comes back by itself · `refused` needs a change · `idle` not asked for. */
export type ChannelState = "idle" | "joining" | "open" | "closed" | "refused";

interface Events {
  state: ChannelState;
  order: PathOrder;
  joined: Joined;
  message: ServerMessage;
}

/** The part of a WebSocket that is used here; tests have their own. */
export interface Socket {
  send(text: string): void;
  close(): void;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: (() => void) | null;
}

/** Who joins, and by what it speaks. */
export interface ChannelOptions {
  /** A lower tier than the token's: `free` is served over HLS only. */
  readonly tier?: "vip" | "free" | undefined;
  /** What this player is, for operators. */
  readonly agent?: string | undefined;
  /** Opens a WebSocket; the browser's own where it is left out. */
  readonly connect?: (url: string) => Socket;
}

/** Joins one feed and stays joined until it is stopped. */
export class ViewerChannel extends Emitter<Events> {
  #state: ChannelState = "idle";
  #joined: Joined | null = null;
  #viewer: Viewer | null = null;
  #decision: Decision | null = null;
  #problem: BicastError | null = null;
  #socket: Socket | null = null;
  #sequence = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Counts what was begun: answers to what is over are thrown away. */
  #attempt = 0;
  readonly #backoff = new Backoff(500, 15_000);

  constructor(
    private readonly api: BicastApi,
    readonly feed: string,
    private readonly options: ChannelOptions = {},
  ) {
    super();
  }

  /** How it stands. */
  get state(): ChannelState {
    return this.#state;
  }

  /** This viewer as the service sees it; null before it has joined. */
  get viewer(): Viewer | null {
    return this.#viewer;
  }

  /** Where it is served and why; null before it has joined. */
  get decision(): Decision | null {
    return this.#decision;
  }

  /** Why it is `closed` or `refused`. */
  get problem(): BicastError | null {
    return this.#problem;
  }

  /** Where this viewer's WHEP offers go; null before it has joined, or where its tier has no WebRTC. */
  get whepUrl(): string | null {
    const whep = this.#joined?.urls.whep;
    return whep ? this.api.url(whep) : null;
  }

  /** Joins and listens. */
  start(): void {
    if (this.#state !== "idle") return;
    this.#backoff.reset();
    globalThis.addEventListener?.("pagehide", this.#onPageHide);
    void this.#join();
  }

  /** Leaves. */
  stop(): void {
    globalThis.removeEventListener?.("pagehide", this.#onPageHide);
    this.#leave();
    this.#drop();
    this.#joined = null;
    this.#viewer = null;
    this.#decision = null;
    this.#setState("idle");
  }

  /** The service forgets who says nothing; this spares it the wait. A page that is shown again joins anew. */
  #leave(): void {
    if (this.#viewer) void this.api.leave(this.feed, this.#viewer.id).catch(() => {});
  }

  readonly #onPageHide = () => this.#leave();

  /** Tells the service what its viewer wants: a path, or that the service decides. Nothing where it has not joined. */
  async wish(path: "auto" | "realtime" | "hls"): Promise<void> {
    if (this.#viewer) await this.api.move(this.feed, this.#viewer.id, path).catch(() => {});
  }

  /** Tells how it goes. Nothing happens while the channel is not open: an old report is worth nothing. */
  report(report: Report): void {
    this.#say({ type: "report", ...report });
  }

  /** Tells of a switch as the viewer saw it. */
  switched({ to, tookMs, jumpMs }: PathSwitch): void {
    this.#say({ type: "switched", to, tookMs, jumpMs });
  }

  async #join(): Promise<void> {
    this.#attempt += 1;
    const attempt = this.#attempt;
    this.#setState("joining");
    const { tier, agent } = this.options;
    try {
      const joined = await this.api.join(this.feed, { tier, agent });
      if (attempt !== this.#attempt) return;
      this.#joined = joined;
      this.#viewer = joined.viewer;
      // What it stands at now was told by the answer already.
      this.#sequence = 0;
      this.emit("joined", joined);
      if (joined.viewer.decision) this.#decide(joined.viewer.decision);
      this.#open();
    } catch (thrown) {
      if (attempt !== this.#attempt) return;
      const error = toBicastError(thrown);
      this.#problem = error;
      if (error.retryable) this.#later(() => void this.#join(), error.retryAfterMs ?? 0);
      else this.#setState("refused");
    }
  }

  #open(): void {
    if (!this.#joined) return;
    this.#attempt += 1;
    const attempt = this.#attempt;
    const url = new URL(this.api.url(this.#joined.urls.events));
    url.protocol = url.protocol.replace("http", "ws");
    if (this.#sequence > 0) url.searchParams.set("after", String(this.#sequence));
    const connect = this.options.connect ?? ((address) => new WebSocket(address) as Socket);
    const socket = connect(url.href);
    this.#socket = socket;
    let heard = false;
    socket.onmessage = ({ data }) => {
      if (attempt !== this.#attempt) return;
      heard = true;
      this.#hear(data);
    };
    socket.onclose = () => {
      if (attempt !== this.#attempt) return;
      this.#socket = null;
      // Refused before a word was said: the viewer is forgotten there (the server was started anew), so it joins anew.
      this.#later(() => (heard ? this.#open() : void this.#join()), 0);
    };
  }

  #hear(data: unknown): void {
    let message: ServerMessage | null;
    try {
      message = parseMessage(JSON.parse(String(data)));
    } catch {
      // A message that cannot be read is one that this player does not need.
      return;
    }
    if (message === null) return;
    if ("sequence" in message) this.#sequence = Math.max(this.#sequence, message.sequence);
    switch (message.type) {
      case "hello":
        this.#backoff.reset();
        this.#problem = null;
        this.#viewer = message.viewer;
        this.#setState("open");
        if (message.viewer.decision) this.#decide(message.viewer.decision);
        break;
      case "decision":
        this.#decide(message.decision);
        break;
      case "end":
        this.#drop();
        if (message.reason === "right-ended") this.#setState("refused");
        else this.#later(() => void this.#join(), 1_000);
        break;
    }
    this.emit("message", message);
  }

  #decide(decision: Decision): void {
    const before = this.#decision;
    this.#decision = decision;
    if (before?.path === decision.path && before.reason === decision.reason) return;
    this.emit("order", { path: decision.path, reason: reasonInWords(decision.reason) });
  }

  #say(message: object): void {
    if (this.#state === "open") this.#socket?.send(JSON.stringify(message));
  }

  #later(run: () => void, atLeastMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, this.#backoff.next(Math.random(), atLeastMs));
    this.#setState("closed");
  }

  #drop(): void {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = null;
  }

  #setState(state: ChannelState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.emit("state", state);
  }
}

/** Brings a player and its event channel together: orders one way, reports the other. */

import { Emitter } from "./emitter";
import type { PathPlayer } from "./path-player";
import type { PathOrder, PathOrders } from "./player-types";
import { localProblem } from "./problem";
import { Reporter } from "./reporter";
import { localNow } from "./server-clock";
import type { ViewerChannel } from "./viewer-channel";
import { reasonInWords } from "./viewer-wire";
import { WhepClient } from "./whep";

const REPORT_EVERY_MS = 1_000;
/** The first offer waits this long to be made under the viewer's name. Without the service it is made without one. */
const JOIN_WITHIN_MS = 2_000;

/** 406: what a feed that cannot be shown over WebRTC is answered, too. The player goes to HLS. */
const noRealtime = () => localProblem("Not over WebRTC", "This viewer is served over LL-HLS.", null, 406);

/** Orders reach the player while the channel is open; without it the player has its own careful rule. */
class Relay extends Emitter<{ order: PathOrder }> implements PathOrders {
  give(order: PathOrder): void {
    this.emit("order", order);
  }
}

/** One viewer, from joining to leaving. */
export class ViewerSession {
  readonly #reporter = new Reporter();
  readonly #relay = new Relay();
  /** The path of the last order that was passed on. */
  #given: PathOrder["path"] | null = null;
  /** What the service was told last that the viewer wants, and when it has heard it. */
  #told: "auto" | "realtime" | "hls" = "auto";
  #wished: Promise<void> = Promise.resolve();
  #probe: WhepClient | null = null;
  /** Whether the service wants the line measured: it may ask while the player is still on its way to HLS. */
  #measuring = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  #offs: (() => void)[] = [];

  constructor(
    private readonly player: PathPlayer,
    readonly channel: ViewerChannel,
    private readonly token: string | null = null,
  ) {}

  /** Joins; the player may be started at once. */
  start(): void {
    const { channel, player } = this;
    const { realtime } = player.legs;
    const anonymous = realtime.whepUrl;
    let asked = "";
    realtime.whepUrl = async () => {
      await this.#joined();
      this.#wish();
      await this.#wished;
      // Who has joined and has no WebRTC asks for none without its name either.
      if (channel.viewer !== null && channel.whepUrl === null) throw noRealtime();
      asked = channel.whepUrl ?? (await anonymous());
      return asked;
    };
    this.#offs = [
      player.on("state", () => {
        this.#wish();
        if (this.#measuring) this.#measure(true);
      }),
      channel.on("joined", () => {
        this.#told = "auto";
        this.#wish();
        // It joined anew, or later than its session began: the session is to be under its name.
        const named = channel.whepUrl;
        if (named !== null && asked !== "" && asked !== named && realtime.linkState !== "idle")
          realtime.retry();
      }),
      channel.on("state", () => this.#follow()),
      channel.on("order", (order) => this.#give(order)),
      channel.on("message", (message) => {
        if (message.type === "probe") this.#measure(message.wanted);
        if (message.type === "join-again" && realtime.linkState !== "idle") realtime.retry();
      }),
      player.on("switched", (what) => channel.switched(what)),
      () => {
        realtime.whepUrl = anonymous;
        player.orders = null;
      },
    ];
    channel.start();
    this.#timer = setInterval(() => this.#report(), REPORT_EVERY_MS);
  }

  /** Leaves. */
  stop(): void {
    clearInterval(this.#timer);
    for (const off of this.#offs) off();
    this.#offs = [];
    this.#measure(false);
    this.channel.stop();
  }

  /** The service is there, or away. */
  #follow(): void {
    const { channel, player } = this;
    const open = channel.state === "open";
    player.orders = open ? this.#relay : null;
    if (!open) {
      this.#measure(false);
      return;
    }
    // What was decided while nobody listened. That WebRTC is there for it brings nobody back whom its own eyes drove away.
    const { decision } = channel;
    if (decision && (decision.path === "hls" || this.#given === "hls"))
      this.#give({ path: decision.path, reason: reasonInWords(decision.reason) });
  }

  /**
   * Who chose HLS, pauses or has rewound closes its WebRTC session on purpose: unless the service knows, that is a lost connection to it,
   * and the way back is shut for a while.
   */
  #wish(): void {
    const { chosen, wanted, following } = this.player;
    const realtime = chosen === "realtime" || (wanted === "auto" && following);
    const wish = realtime ? (wanted === "realtime" ? "realtime" : "auto") : "hls";
    if (chosen === null || wish === this.#told || this.channel.viewer === null) return;
    this.#told = wish;
    this.#wished = this.#wished.then(() => this.channel.wish(wish));
  }

  #give(order: PathOrder): void {
    if (this.channel.state !== "open") return;
    this.#given = order.path;
    if (order.path === "realtime") this.#measure(false);
    this.#relay.give(order);
  }

  /** Keeps a session beside HLS that nobody sees: what is not measured is never found good. */
  #measure(wanted: boolean): void {
    this.#measuring = wanted;
    if (!wanted) {
      this.#probe?.stop();
      this.#probe = null;
      return;
    }
    const url = this.channel.whepUrl;
    if (this.#probe !== null || url === null || this.player.visible?.path !== "hls") return;
    this.#probe = new WhepClient({ url: () => url, token: this.token });
    this.#probe.start();
  }

  /** Until it has joined, cannot, or it takes too long. */
  #joined(): Promise<void> {
    const settled = () => this.channel.state !== "joining" && this.channel.state !== "idle";
    if (settled()) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        offJoined();
        offState();
        resolve();
      };
      const timer = setTimeout(done, JOIN_WITHIN_MS);
      const offJoined = this.channel.on("joined", done);
      const offState = this.channel.on("state", () => settled() && done());
    });
  }

  #report(): void {
    const { player } = this;
    const leg = player.visible;
    if (leg === null) return;
    const { stats } = leg;
    const { linkState, iceState } = player.legs.realtime;
    this.channel.report(
      this.#reporter.report(localNow(), {
        path: leg.path,
        latencyMs: leg.frames.last?.latencyMs ?? null,
        mediaTime: leg.frames.last?.mediaTime ?? null,
        following: player.following,
        hidden: document.hidden,
        bufferMs: stats.bufferMs,
        packetsLost: stats.packetsLost,
        packetsReceived: stats.packetsReceived,
        frozenMs: stats.frozenMs,
        roundTripMs: leg.path === "realtime" ? stats.rttMs : null,
        neverConnected: player.chosen === "realtime" && linkState !== "connected" && iceState === "failed",
      }),
    );
  }
}

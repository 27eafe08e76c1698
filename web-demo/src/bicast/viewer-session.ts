/** Brings a player and its event channel together: orders one way, reports the other. */

import type { PathPlayer } from "./path-player";
import { Reporter } from "./reporter";
import { localNow } from "./server-clock";
import type { ViewerChannel } from "./viewer-channel";

const REPORT_EVERY_MS = 1_000;
/** The first offer waits this long to be made under the viewer's name. Without the service it is made without one. */
const JOIN_WITHIN_MS = 2_000;

/** One viewer, from joining to leaving. */
export class ViewerSession {
  readonly #reporter = new Reporter();
  #timer: ReturnType<typeof setInterval> | undefined;
  #offs: (() => void)[] = [];

  constructor(
    private readonly player: PathPlayer,
    readonly channel: ViewerChannel,
  ) {}

  /** Joins; the player may be started at once. */
  start(): void {
    const { channel, player } = this;
    const { realtime } = player.legs;
    const anonymous = realtime.whepUrl;
    let asked = "";
    realtime.whepUrl = async () => {
      await this.#joined();
      asked = channel.whepUrl ?? (await anonymous());
      return asked;
    };
    player.orders = channel;
    this.#offs = [
      channel.on("joined", () => {
        // It joined anew, or later than its session began: the session is to be under its name.
        const named = channel.whepUrl;
        if (named !== null && asked !== "" && asked !== named && realtime.linkState !== "idle")
          realtime.retry();
      }),
      channel.on("message", (message) => {
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
    this.channel.stop();
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
        following: player.following && !player.paused,
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

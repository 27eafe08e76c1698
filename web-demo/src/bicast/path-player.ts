/**
 * One player, two paths: a WebRTC leg and an LL-HLS leg stacked on each other, and the switch between them. The decisions are in
 * `path-state.ts`; this is the part that touches elements.
 */

import { Emitter } from "./emitter";
import type { FeedWatcher } from "./feed-watcher";
import type { ShownFrame } from "./frames";
import { HlsLeg, type Leg, type Path, RealtimeLeg } from "./leg";
import type { LegState } from "./leg-state";
import {
  type BridgeAct,
  type BridgeEvent,
  type BridgeState,
  bridge,
  chosenPath,
  comingPath,
  otherPath,
  visiblePath,
} from "./path-state";
import type { BicastError } from "./problem";
import { localNow } from "./server-clock";
import { ticksToMs } from "./timeline";

/** What a switch cost. */
export interface PathSwitch {
  readonly to: Path;
  /** From the command to the new picture, in milliseconds. The old picture played on meanwhile. */
  readonly tookMs: number;
  /** How far the position jumped: positive skipped media, negative repeats it. Null where a position was not known. */
  readonly jumpMs: number | null;
}

interface Events {
  /** The bridge's state or the visible leg's state changed. */
  state: { readonly bridge: BridgeState; readonly leg: LegState };
  switched: PathSwitch;
  /** The path that was asked for did not come; the old one stays. */
  gaveUp: { readonly path: Path; readonly problem: BicastError | null };
  frame: ShownFrame;
}

/** A leg that does not come in this time is given up. */
const GIVE_UP_MS = 12_000;
/** With path `auto`, this long without a picture over WebRTC means that this network does not let it through. */
const AUTO_PATIENCE_MS = 6_000;
/** A joining viewer is first given stored frames that flash by: what is older than this is not "there" yet. */
const FRESH_MS = 200;
/** But a feed whose clock is unknown, or a slow network, must not be waited for longer than this. */
const FRESH_PATIENCE_MS = 700;
/** HLS shows its first frame before it has settled: a few frames later it plays. */
const SETTLED_FRAMES = 3;

/** Holds both legs and moves between them. */
export class PathPlayer extends Emitter<Events> {
  readonly legs: { readonly realtime: RealtimeLeg; readonly hls: HlsLeg };
  #state: BridgeState = "idle";
  #wanted: Path | "auto" = "auto";
  #muted = true;
  #commandAt = 0;
  #comingFrames = 0;
  #comingSince = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastSwitch: PathSwitch | null = null;
  #offFeed: () => void = () => {};

  /** `videos` are two elements that lie on each other; the player decides which of them is in front. */
  constructor(
    readonly videos: { readonly realtime: HTMLVideoElement; readonly hls: HTMLVideoElement },
    readonly feed: FeedWatcher,
    token: string | null = null,
  ) {
    super();
    this.legs = {
      realtime: new RealtimeLeg(videos.realtime, feed, token),
      hls: new HlsLeg(videos.hls, feed),
    };
    for (const leg of [this.legs.realtime, this.legs.hls]) {
      leg.on("frame", (frame) => this.#onFrame(leg, frame));
      leg.on("state", (state) => this.#onLegState(leg, state));
    }
  }

  /** Where the bridge stands. */
  get state(): BridgeState {
    return this.#state;
  }

  /** The leg whose picture is in front; null while idle. */
  get visible(): Leg | null {
    const path = visiblePath(this.#state);
    return path === null ? null : this.legs[path];
  }

  /** The path it is on or going to. */
  get chosen(): Path | null {
    return chosenPath(this.#state);
  }

  /** The newest switch. */
  get lastSwitch(): PathSwitch | null {
    return this.#lastSwitch;
  }

  /** Why the visible leg is not live. */
  get problem(): BicastError | null {
    return this.visible?.problem ?? null;
  }

  /** Whether sound is off. */
  get muted(): boolean {
    return this.#muted;
  }

  set muted(muted: boolean) {
    this.#muted = muted;
    this.#applySound();
  }

  /** Begins on this path; `auto` begins with WebRTC and falls back to HLS when no picture comes. */
  start(path: Path | "auto" = "auto"): void {
    this.#wanted = path;
    this.#do({ type: "start", path: path === "hls" ? "hls" : "realtime" });
    if (path !== "auto") return;
    this.#after(AUTO_PATIENCE_MS, () => this.#fallBack());
    // A feed that cannot be shown over WebRTC (B-frames) says so: no need to wait for it.
    this.#offFeed = this.feed.on("feed", ({ paths }) => {
      if (!paths.realtime.available) this.#fallBack();
    });
  }

  /** Goes to the other path without a black picture. */
  switchTo(path: Path): void {
    this.#wanted = path;
    this.#commandAt = localNow();
    this.#do({ type: "switch", to: path });
    if (comingPath(this.#state) === path) this.#after(GIVE_UP_MS, () => this.#giveUp(path));
  }

  /** Lets go of both legs. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#offFeed();
    this.#do({ type: "stop" });
  }

  #do(event: BridgeEvent): void {
    const before = this.#state;
    const { state, acts } = bridge(before, event);
    this.#state = state;
    for (const act of acts) this.#act(act);
    if (comingPath(before) !== null && comingPath(state) === null) clearTimeout(this.#timer);
    if (state !== before) this.#tell();
  }

  #act({ act, path }: BridgeAct): void {
    const leg = this.legs[path];
    if (act === "start") {
      leg.video.muted = true;
      this.#comingFrames = 0;
      this.#comingSince = 0;
      leg.start();
    } else if (act === "reveal") {
      // Both stay painted: an element that is not displayed gets no frame callbacks, and its first picture comes late.
      this.videos[path].style.zIndex = "2";
      this.videos[otherPath(path)].style.zIndex = "1";
      this.#applySound();
    } else {
      leg.stop();
    }
  }

  #onFrame(leg: Leg, frame: ShownFrame): void {
    if (leg.path === visiblePath(this.#state)) this.emit("frame", frame);
    if (leg.path !== comingPath(this.#state)) return;
    this.#comingFrames += 1;
    this.#comingSince ||= frame.shownAt;
    if (this.#settled(leg, frame)) this.#arrive(leg, frame);
  }

  #settled(leg: Leg, frame: ShownFrame): boolean {
    if (leg.path === "hls") return this.#comingFrames >= SETTLED_FRAMES;
    const fresh = frame.latencyMs !== null && frame.latencyMs < FRESH_MS;
    return fresh || frame.shownAt - this.#comingSince > FRESH_PATIENCE_MS;
  }

  #arrive(leg: Leg, frame: ShownFrame): void {
    const from = this.legs[otherPath(leg.path)].frames.last;
    // What the old leg would show now, had it gone on: its last frame may be a while ago.
    const expected = from === null ? null : ticksToMs(from.mediaTime) + (frame.shownAt - from.shownAt);
    this.#lastSwitch = {
      to: leg.path,
      tookMs: localNow() - this.#commandAt,
      jumpMs: expected === null ? null : ticksToMs(frame.mediaTime) - expected,
    };
    this.#do({ type: "arrived", path: leg.path });
    this.emit("switched", this.#lastSwitch);
  }

  #onLegState(leg: Leg, state: LegState): void {
    const coming = leg.path === comingPath(this.#state);
    if (coming && state === "failed") this.#giveUp(leg.path);
    if (leg.path === "realtime" && state === "failed" && this.#state === "live") this.#fallBack();
    if (leg === this.visible) this.#tell();
  }

  /** Only with `auto`: a viewer who asked for a path is told what is wrong with it instead. */
  #fallBack(): void {
    const stuck = this.#state === "live" && this.legs.realtime.state !== "live";
    const { feed } = this.feed;
    // A feed that waits for its publisher, or is over, is no better on the other path.
    if (this.#wanted !== "auto" || !stuck || feed?.state !== "live") return;
    if (feed.paths.hls.available) {
      this.switchTo("hls");
      this.#wanted = "auto";
    } else {
      this.#after(1_000, () => this.#fallBack());
    }
  }

  #giveUp(path: Path): void {
    const { problem } = this.legs[path];
    this.#do({ type: "gave-up", path });
    this.emit("gaveUp", { path, problem });
  }

  #applySound(): void {
    const front = visiblePath(this.#state);
    this.videos.realtime.muted = this.#muted || front !== "realtime";
    this.videos.hls.muted = this.#muted || front !== "hls";
  }

  #after(ms: number, run: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, ms);
  }

  #tell(): void {
    this.emit("state", { bridge: this.#state, leg: this.visible?.state ?? "idle" });
  }
}

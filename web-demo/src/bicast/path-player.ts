/**
 * One player, two paths: a WebRTC element, an LL-HLS element and a canvas stacked on each other, and the bridge between them. What
 * to do when is decided in `path-state.ts`, `trouble.ts` and `return-rule.ts`; this is the part that touches elements.
 */

import { beforeFirstLoss, hurryMs, usualFrameTicks } from "./cut-math";
import { Emitter } from "./emitter";
import type { FeedWatcher } from "./feed-watcher";
import type { ShownFrame } from "./frames";
import { HlsLeg, type Leg, type Path, RealtimeLeg } from "./leg";
import type { LegState } from "./leg-state";
import { LineMonitor } from "./line-monitor";
import {
  type Bridge,
  type BridgeAct,
  type BridgeEvent,
  type BridgeState,
  bridge,
  chosenPath,
  comingPath,
  IDLE,
  otherPath,
  type ReturnWay,
  runningPaths,
  visiblePath,
} from "./path-state";
import type { PathOrder, PathOrders, PathSwitch, PlayerEvents, SeekOutcome, Stage } from "./player-types";
import { PLAY_AHEAD_S, Playhead } from "./playhead";
import { type BicastError, localProblem } from "./problem";
import { ReturnRule } from "./return-rule";
import { localNow } from "./server-clock";
import { Sound } from "./sound";
import { pictureRtp, Still } from "./still";
import { SwitchLog } from "./switch-log";
import {
  MEDIA_RATE,
  type MediaTime,
  mediaTime,
  type ProgramTime,
  ticksToMs,
  toMediaTime,
  toProgramTime,
} from "./timeline";
import type { Verdict } from "./trouble";

/** A leg that does not come in this time is given up. */
const GIVE_UP_MS = 12_000;
/** With path `auto`, this long without a picture over WebRTC means that this network does not let it through. */
const AUTO_PATIENCE_MS = 6_000;
/** A joining viewer is first given stored frames that flash by: what is older than this is not "there" yet. */
const FRESH_MS = 200;
/** And while they flash by nobody can say which of them will be on the screen: the last three have to have come at their own pace. */
const STEADY_MS = 25;
/** But a feed whose clock is unknown, or a slow network, must not be waited for longer than this. */
const FRESH_PATIENCE_MS = 700;
/** A return that nobody asked for has to show this long that it will last. */
const PROBATION_MS = 3_000;
/** What was held up longer than this ago is not gone back to by itself: the viewer wants now. */
const HELD_AT_MOST_MS = 10_000;
/** What was in front keeps its picture until the compositor has surely shown the new one. */
const RETIRE_MS = 150;
const TICK_MS = 100;
/** Latency of WebRTC before it was ever measured here. */
const USUAL_REALTIME_MS = 120;

/** Where HLS is to begin: at the frame that is held, at the edge, or at a time that the viewer chose. */
type Target = { readonly kind: "held" | "edge" } | { readonly kind: "time"; readonly time: MediaTime };
const HELD: Target = { kind: "held" };

/** Holds both legs and moves between them, to the frame. */
export class PathPlayer extends Emitter<PlayerEvents> {
  readonly legs: { readonly realtime: RealtimeLeg; readonly hls: HlsLeg };
  readonly sound: Sound;
  /** How the viewer goes back to WebRTC: at once, or faster than real time to the edge of HLS first. */
  returnWay: ReturnWay = "jump";
  /** Speed of catching up, 1.05 to 1.25. */
  catchUpRate = 1.15;
  /** Begin LL-HLS at the first frame that the network took, instead of at the picture that is held. */
  missNothing = false;
  readonly #still: Still;
  readonly #head: Playhead;
  readonly #line: LineMonitor;
  readonly #rule = new ReturnRule();
  #bridge: Bridge = IDLE;
  #wanted: Path | "auto" = "auto";
  #paused = false;
  #following = true;
  #target: Target = HELD;
  #held: Promise<MediaTime | null> = Promise.resolve(null);
  #heldAt: number | null = null;
  #reason = "";
  #commandAt = 0;
  /** Whether nobody asked for the switch that is under way. */
  #byItself = false;
  #work = new AbortController();
  #comingSince = 0;
  #realtimeMs = USUAL_REALTIME_MS;
  readonly #log = new SwitchLog();
  #retiring: { readonly leg: Leg; readonly timer: ReturnType<typeof setTimeout> } | null = null;
  #giveUpTimer: ReturnType<typeof setTimeout> | undefined;
  #tick: ReturnType<typeof setInterval> | undefined;
  #offs: (() => void)[] = [];
  #offOrders: (() => void) | null = null;

  constructor(
    readonly stage: Stage,
    readonly feed: FeedWatcher,
    token: string | null = null,
  ) {
    super();
    this.legs = {
      realtime: new RealtimeLeg(stage.realtime, feed, token),
      hls: new HlsLeg(stage.hls, feed),
    };
    this.#still = new Still(stage.still);
    this.#head = new Playhead(this.legs.hls);
    this.sound = new Sound(stage);
    this.#line = new LineMonitor(this.legs.realtime, this.legs.hls, feed, (verdict) =>
      this.#onVerdict(verdict),
    );
    this.legs.realtime.onStream = (stream) => this.sound.setStream(stream);
    this.legs.hls.link.on("media", () => this.#onMedia());
    for (const leg of [this.legs.realtime, this.legs.hls]) {
      leg.on("frame", (frame) => this.#onFrame(leg, frame));
      leg.on("state", (state) => this.#onLegState(leg, state));
    }
  }

  /** Where the bridge stands. */
  get state(): BridgeState {
    return this.#bridge.at;
  }

  /** The leg whose picture is in front; null while idle. */
  get visible(): Leg | null {
    const path = visiblePath(this.#bridge);
    return path === null ? null : this.legs[path];
  }

  /** The path it is on or going to. */
  get chosen(): Path | null {
    return chosenPath(this.#bridge);
  }

  /** What the viewer asked for. */
  get wanted(): Path | "auto" {
    return this.#wanted;
  }

  /** The newest switch. */
  get lastSwitch(): PathSwitch | null {
    return this.#log.last;
  }

  /** The newest switches, oldest first. */
  get switches(): readonly PathSwitch[] {
    return this.#log.list;
  }

  /** Why it is on the path that it is on. */
  get reason(): string {
    return this.#reason;
  }

  /** How the WebRTC line does. */
  get line(): Verdict {
    return this.#line.verdict;
  }

  /** Why the visible leg is not live. */
  get problem(): BicastError | null {
    return this.visible?.problem ?? null;
  }

  /** Whether sound is off. */
  get muted(): boolean {
    return this.sound.muted;
  }

  set muted(muted: boolean) {
    this.sound.setMuted(muted);
  }

  /** Whether the viewer stopped the picture. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Whether the player is where its path lets it be at best, and stays there. */
  get following(): boolean {
    return this.#following && !this.#paused;
  }

  /** The frame on the screen; null before the first. */
  get position(): MediaTime | null {
    const path = visiblePath(this.#bridge);
    if (path === "hls") return this.#head.position;
    return path === null ? null : (this.legs.realtime.frames.last?.mediaTime ?? null);
  }

  /** When the frame on the screen entered the server; null before it is known. */
  get programTime(): ProgramTime | null {
    const { position } = this;
    return position === null || this.feed.anchor === null ? null : toProgramTime(this.feed.anchor, position);
  }

  /** How far behind the present the picture is, in milliseconds; null before it is known. */
  get behindLiveMs(): number | null {
    const [now, shown] = [this.feed.clock.now(), this.programTime];
    return now === null || shown === null ? null : Math.max(now - shown, 0);
  }

  /** What going back to WebRTC now would skip, in milliseconds; null where the picture is WebRTC's, or nothing is known. */
  get gapMs(): number | null {
    if (visiblePath(this.#bridge) !== "hls") return null;
    const { position, behindLiveMs } = this;
    const waiting = this.#bridge.at === "returning" ? this.legs.realtime.frames.last : null;
    if (waiting !== null && position !== null) return ticksToMs(waiting.mediaTime - position);
    return behindLiveMs === null ? null : Math.max(behindLiveMs - this.#realtimeMs, 0);
  }

  /** Takes decisions about the path from here; null for this player's own careful rule. */
  set orders(orders: PathOrders | null) {
    this.#offOrders?.();
    this.#offOrders = orders?.on("order", (order) => this.#obey(order)) ?? null;
  }

  /** Begins on this path; `auto` begins with WebRTC and falls back to HLS when no picture comes. */
  start(path: Path | "auto" = "auto"): void {
    this.#wanted = path;
    this.#commandAt = localNow();
    this.#reason = path === "auto" ? "WebRTC is tried first" : "chosen by the viewer";
    this.#do({ type: "start", path: path === "hls" ? "hls" : "realtime" });
    this.#tick = setInterval(() => this.#onTick(), TICK_MS);
    // A feed that cannot be shown over WebRTC (B-frames) says so: no need to wait for it.
    this.#offs.push(this.feed.on("feed", () => this.#fallBack(false)));
  }

  /** Goes to the other path: to LL-HLS without losing a frame, to WebRTC by `returnWay`. */
  switchTo(path: Path): void {
    this.#wanted = path;
    this.#rule.forget();
    this.#byItself = false;
    if (path === "hls") this.#leave("chosen by the viewer", false);
    else this.#return("chosen by the viewer", this.returnWay);
  }

  /** Leaves the choice of the path to the player. */
  auto(): void {
    this.#wanted = "auto";
  }

  /** Stops the picture, on its frame. WebRTC cannot wait, so it goes on over LL-HLS. */
  pause(): void {
    if (this.#paused || this.#bridge.at === "idle") return;
    this.#paused = true;
    this.#following = false;
    if (runningPaths(this.#bridge).includes("realtime") || this.#bridge.at === "catching-up")
      this.#leave("paused", true);
    if (visiblePath(this.#bridge) === "hls") {
      this.#head.pause();
      this.sound.open(null);
    }
    this.#tell();
  }

  /** Goes on from the frame on the screen. */
  play(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (visiblePath(this.#bridge) === "hls") void this.#playOn(this.#work.signal, 0);
    this.#tell();
  }

  /** Shows the frame nearest to a media time. The newest call counts; an older one that it overtook resolves with null. */
  seekTo(time: MediaTime): Promise<SeekOutcome | null> {
    const { at } = this.#bridge;
    if (at === "idle") return Promise.resolve(null);
    this.#target = { kind: "time", time };
    this.#following = false;
    const done = new Promise<SeekOutcome | null>((resolve) => {
      const off = this.on("seeked", (outcome) => {
        off();
        resolve(outcome.wanted === time ? outcome : null);
      });
    });
    if (at === "live" || at === "warming") this.#leave("rewound", true);
    else if (at === "holding") this.#cut();
    else {
      if (at !== "hls") this.#do({ type: "leave", now: true });
      void this.#seekOnHls(time);
    }
    return done;
  }

  /** Shows the frame nearest to a UTC time of the server. */
  seekToProgramTime(at: ProgramTime): Promise<SeekOutcome | null> {
    const { anchor } = this.feed;
    return anchor === null ? Promise.resolve(null) : this.seekTo(toMediaTime(anchor, at));
  }

  /** Goes back by so many seconds (forward, where negative), to the nearest frame. */
  rewind(seconds: number): Promise<SeekOutcome | null> {
    const from = this.#target.kind === "time" && this.#busy ? this.#target.time : this.position;
    if (from === null) return Promise.resolve(null);
    const to = mediaTime(from - seconds * MEDIA_RATE);
    const live = this.feed.nearLive();
    if (live !== null && seconds < 0 && ticksToMs(live - to) < 1_500) {
      this.catchUpToLive("jump");
      return Promise.resolve(null);
    }
    return this.seekTo(to);
  }

  /** Pauses, and goes on by so many frames, back where negative. */
  async step(frames: number): Promise<SeekOutcome | null> {
    this.pause();
    const { position } = this;
    return position === null ? null : this.seekTo(mediaTime(position + frames * this.#frameTicks));
  }

  /** Goes to the live edge: to WebRTC where the viewer may have it, else to the edge of HLS. */
  catchUpToLive(way: ReturnWay = this.returnWay): void {
    this.#paused = false;
    this.#following = true;
    const realtime = this.#wanted !== "hls" && this.feed.feed?.paths.realtime.available !== false;
    if (realtime) this.#return("back to live", way);
    else if (this.#bridge.at === "holding") {
      this.#target = { kind: "edge" };
      this.#cut();
    } else if (this.#bridge.at === "hls") {
      this.#target = { kind: "edge" };
      this.#begin();
      if (way === "catch-up") this.#do({ type: "follow" });
      else {
        this.#head.playFromEdge();
        this.sound.open("hls");
      }
    }
    this.#tell();
  }

  /** Lets go of both legs. */
  stop(): void {
    clearTimeout(this.#giveUpTimer);
    clearInterval(this.#tick);
    for (const off of this.#offs.splice(0)) off();
    this.#offOrders?.();
    this.#do({ type: "stop" });
    this.#retireNow();
    this.#line.stop();
    this.sound.open(null);
  }

  // The bridge

  #do(event: BridgeEvent): void {
    const before = this.#bridge;
    const { state, acts } = bridge(before, event);
    this.#bridge = state;
    for (const act of acts) this.#act(act);
    if (comingPath(state) !== comingPath(before)) this.#watchComing();
    if (state.at !== before.at || state.next !== before.next) this.#tell();
  }

  #act(step: BridgeAct): void {
    switch (step.act) {
      case "start":
        this.#startLeg(step.path);
        break;
      case "show":
        this.#show(step.path);
        break;
      case "stop":
        this.#retire(this.legs[step.path]);
        break;
      case "warm":
        this.#retireNow();
        this.#head.warm();
        break;
      case "hold":
        this.#hold();
        break;
      case "release":
        this.#begin();
        this.legs.realtime.held = false;
        this.#following = true;
        void this.stage.realtime.play().catch(() => {});
        break;
      case "cut":
        this.#cut();
        break;
      case "pace":
        this.#pace();
        break;
    }
  }

  #startLeg(path: Path): void {
    this.#retireNow();
    const leg = this.legs[path];
    this.#comingSince = 0;
    if (path === "hls") this.legs.hls.link.mode = "follow";
    else this.#line.start();
    leg.start();
  }

  /** All three stay painted: an element that is not displayed gets no frame callbacks, and its first picture comes late. */
  #show(path: Path): void {
    this.stage[path].style.zIndex = "2";
    this.stage[otherPath(path)].style.zIndex = "1";
    this.#still.hide();
    if (path === "realtime") {
      this.#target = HELD;
      this.sound.open("realtime");
    } else if (!this.stage.hls.paused) this.sound.open("hls");
  }

  /** Lets go of a leg that is behind the other picture, in a moment; at once if it is needed again. */
  #retire(leg: Leg): void {
    this.#retireNow();
    if (leg.path === "realtime") this.#line.stop();
    const timer = setTimeout(() => this.#retireNow(), this.#bridge.at === "idle" ? 0 : RETIRE_MS);
    this.#retiring = { leg, timer };
  }

  #retireNow(): void {
    if (this.#retiring === null) return;
    clearTimeout(this.#retiring.timer);
    this.#retiring.leg.stop();
    this.#retiring = null;
  }

  #hold(): void {
    const { realtime } = this.legs;
    realtime.held = true;
    this.#heldAt = localNow();
    this.sound.open(null);
    this.#held = this.#still.take(realtime.video).then((frame) => {
      if (frame === null) return null;
      return frame.rtp === null ? (realtime.frames.last?.mediaTime ?? null) : realtime.timeOf(frame.rtp);
    });
  }

  /** Ends what was under way and begins something new. */
  #begin(): AbortSignal {
    this.#work.abort();
    this.#work = new AbortController();
    return this.#work.signal;
  }

  /** Whether WebRTC runs, and well enough to be gone back to at once. */
  get #alive(): boolean {
    return this.legs.realtime.linkState === "connected" && this.#line.verdict.state !== "failing";
  }

  get #busy(): boolean {
    return this.#bridge.at === "holding" || this.stage.hls.seeking;
  }

  get #frameTicks(): number {
    const rate = this.feed.feed?.tracks.find((track) => track.kind === "video")?.renditions[0]?.frameRate;
    const told = rate ? MEDIA_RATE / rate : MEDIA_RATE / 30;
    const leg = this.legs.realtime.frames.last === null ? this.legs.hls : this.legs.realtime;
    return usualFrameTicks(leg.frames.frames, told);
  }

  /** Brings HLS to its frame under the picture that is held, shows it, and lets it play. */
  #cut(): void {
    const signal = this.#begin();
    void this.#held.then(async (held) => {
      if (signal.aborted) return;
      const target = this.#cutTarget(held);
      if (target === null) {
        // Nothing is held, or nothing that is worth going back to. `#onFrame` ends the cut.
        this.#target = { kind: "edge" };
        this.#head.playFromEdge();
        return;
      }
      const found = await this.#head.toFrame(target.time, target.near ? this.#frameTicks : null, signal);
      if (found === null) return;
      this.#note("hls", held, target.near ? null : found.shown);
      this.#do({ type: "cut" });
      if (target.near) this.emit("seeked", { wanted: target.time, ...found });
      if (!this.#paused) await this.#playOn(signal, PLAY_AHEAD_S);
    });
  }

  #cutTarget(held: MediaTime | null): { readonly time: MediaTime; readonly near: boolean } | null {
    if (this.#target.kind === "time") return { time: this.#target.time, near: true };
    const live = this.feed.nearLive();
    if (held === null || this.#target.kind === "edge") return null;
    if (this.missNothing && !this.#paused) {
      const since = this.#line.troubleSince ?? this.#heldAt ?? 0;
      const { frames } = this.legs.realtime.frames;
      return { time: beforeFirstLoss(frames, this.#frameTicks, since - 1_000) ?? held, near: false };
    }
    const old = live !== null && ticksToMs(live - held) > HELD_AT_MOST_MS;
    return old && !this.#paused ? null : { time: held, near: false };
  }

  /** Plays HLS on from the frame that it stands on, as soon as `ahead` seconds lie behind it. */
  async #playOn(signal: AbortSignal, ahead: number): Promise<void> {
    const follows = await this.#head.playOn(ahead, this.#target.kind === "time", signal);
    if (follows === null || signal.aborted) return;
    this.#following = follows;
    if (visiblePath(this.#bridge) === "hls") this.sound.open("hls");
    this.#stillEnds();
    this.#tell();
  }

  async #seekOnHls(time: MediaTime): Promise<void> {
    const signal = this.#begin();
    this.#head.pause();
    this.sound.open(null);
    const found = await this.#head.toFrame(time, this.#frameTicks, signal);
    if (found === null) return;
    this.emit("seeked", { wanted: time, ...found });
    if (!this.#paused) await this.#playOn(signal, 0.3);
    this.#tell();
  }

  #pace(): void {
    const signal = this.#begin();
    if (this.#bridge.at === "catching-up") {
      this.#head.catchUp(this.catchUpRate);
      this.sound.open("hls");
    } else if (!this.#paused) void this.#playOn(signal, 0);
  }

  // Who decides

  #leave(reason: string, now: boolean): void {
    const { feed } = this.feed;
    const hasPicture =
      feed?.tracks.every((track) => track.kind !== "video" || !/vp8/i.test(track.codec)) ?? true;
    if (feed && (!feed.paths.hls.available || !hasPicture)) {
      this.#paused = false;
      const why = feed.paths.hls.reason ?? "The picture of this feed (VP8) cannot be carried over LL-HLS.";
      this.emit("gaveUp", { path: "hls", problem: localProblem("No LL-HLS", why) });
      return;
    }
    if (chosenPath(this.#bridge) !== "hls") this.#commandAt = localNow();
    if (this.#bridge.at === "live" || this.#bridge.at === "warming") this.#reason = reason;
    this.#do({ type: "leave", now });
    this.#onMedia();
  }

  #return(reason: string, how: ReturnWay): void {
    if (chosenPath(this.#bridge) === "realtime" && this.#bridge.at !== "catching-up") return;
    const { at } = this.#bridge;
    this.#commandAt = localNow();
    this.#reason = reason;
    const near = (this.#head.behindEdge ?? 0) < 0.3;
    if (at === "holding") this.#following = true;
    this.#do({ type: "return", how: near ? "jump" : how, alive: this.#alive });
  }

  #obey({ path, reason }: PathOrder): void {
    if (this.#wanted !== "auto" || !this.following) return;
    this.#byItself = true;
    if (path === "hls") this.#leave(reason, false);
    else this.#return(reason, this.returnWay);
  }

  #onVerdict({ state, reason }: Verdict): void {
    const { at } = this.#bridge;
    if (this.#wanted !== "auto" || (at !== "live" && at !== "warming")) return;
    if (state === "fine") this.#do({ type: "calm" });
    if (state === "trouble") this.#do({ type: "trouble" });
    if (state !== "failing" || comingPath(this.#bridge) === "hls") return;
    this.#byItself = true;
    this.#rule.moved(localNow());
    this.#leave(reason ?? "WebRTC failed", false);
  }

  /** Only with `auto`: a viewer who asked for a path is told what is wrong with it instead. */
  #fallBack(late: boolean): void {
    const { realtime } = this.legs;
    const { feed } = this.feed;
    const at = this.#bridge.at;
    // A feed that waits for its publisher, or is over, is no better on the other path.
    if (this.#wanted !== "auto" || (at !== "live" && at !== "warming") || realtime.state === "live") return;
    if (feed?.state !== "live" || !feed.paths.hls.available) return;
    const never = realtime.frames.last === null;
    const refused = realtime.problem?.problem.status === 406 || !feed.paths.realtime.available;
    if (!never || !(late || refused)) return;
    this.#byItself = true;
    if (!refused) this.#rule.moved(localNow());
    this.#leave(
      feed.paths.realtime.reason ?? realtime.problem?.message ?? "no picture came over WebRTC",
      true,
    );
  }

  #onTick(): void {
    const { at } = this.#bridge;
    const now = localNow();
    if (at === "live" && now - this.#commandAt > AUTO_PATIENCE_MS) this.#fallBack(true);
    if (at === "warming") this.#head.moveOn();
    if (at === "catching-up" && (this.#head.behindEdge ?? 1) < 0.1) {
      this.#following = true;
      this.#target = { kind: "edge" };
      this.#do({ type: "edge" });
    }
    if (at !== "hls" || this.#wanted !== "auto" || !this.following || this.#offOrders) return;
    if (this.#rule.due(now) && this.feed.feed?.paths.realtime.available && this.feed.flowing) {
      this.#byItself = true;
      this.#return("WebRTC is tried again", "jump");
    }
  }

  #onMedia(): void {
    if (this.#bridge.at === "warming" && comingPath(this.#bridge) === "hls" && this.legs.hls.link.ready)
      this.#do({ type: "warmed" });
  }

  #onFrame(leg: Leg, frame: ShownFrame): void {
    const { at } = this.#bridge;
    if (leg.path === visiblePath(this.#bridge)) this.emit("frame", frame);
    if (leg.path === "hls" && at === "holding" && this.#target.kind === "edge") {
      this.#note("hls", null, null);
      this.#do({ type: "cut" });
      this.sound.open("hls");
      this.#stillEnds();
      this.#following = true;
    }
    if (leg.path !== "realtime" || at !== "returning") return;
    this.#comingSince ||= frame.shownAt;
    if (this.#settled(frame)) this.#arrive(frame);
  }

  #settled(frame: ShownFrame): boolean {
    const since = frame.shownAt - this.#comingSince;
    if (this.#byItself && since < PROBATION_MS) return false;
    const fresh = frame.latencyMs !== null && frame.latencyMs < FRESH_MS;
    const hurry = hurryMs(this.legs.realtime.frames.frames.slice(-3));
    return (fresh && hurry !== null && Math.abs(hurry) < STEADY_MS) || since > FRESH_PATIENCE_MS;
  }

  #arrive(frame: ShownFrame): void {
    const { realtime } = this.legs;
    // Both at the same moment: the callback may be late, and both pictures go on.
    const [left, rtp] = [this.#head.position, pictureRtp(realtime.video)];
    this.#begin();
    this.#heldAt = null;
    this.#note("realtime", left, rtp === null ? frame.mediaTime : realtime.timeOf(rtp));
    this.#following = true;
    if (this.#byItself) this.#rule.returned(localNow());
    this.#do({ type: "arrived" });
    this.emit("switched", this.#log.last as PathSwitch);
  }

  #note(to: Path, left: MediaTime | null, shown: MediaTime | null): void {
    const { latencyMs } = this.legs.realtime.frames.last ?? {};
    if (to === "hls" && latencyMs) this.#realtimeMs = Math.min(Math.max(latencyMs, 20), 1_000);
    const { reason } = this;
    const [now, orderedAt, frameTicks] = [localNow(), this.#commandAt, this.#frameTicks];
    this.#log.add({ to, reason, now, orderedAt, left, shown, frameTicks });
  }

  /** The picture moves again: now it is known how long it stood. */
  #stillEnds(): void {
    if (this.#heldAt === null || this.#log.last?.to !== "hls") return;
    const done = this.#log.stood(localNow() - this.#heldAt);
    this.#heldAt = null;
    if (done) this.emit("switched", done);
  }

  #onLegState(leg: Leg, state: LegState): void {
    const coming = leg.path === comingPath(this.#bridge);
    const refused = leg.problem?.problem.status === 406;
    if (coming && (state === "failed" || refused)) this.#giveUp(leg.path);
    if (leg.path === "realtime") this.#fallBack(false);
    if (leg === this.visible) this.#tell();
  }

  #watchComing(): void {
    clearTimeout(this.#giveUpTimer);
    const coming = comingPath(this.#bridge);
    if (coming !== null && this.#bridge.at !== "catching-up")
      this.#giveUpTimer = setTimeout(() => this.#giveUp(coming), GIVE_UP_MS);
  }

  #giveUp(path: Path): void {
    const { problem } = this.legs[path];
    const before = this.#bridge;
    if (path === "realtime" && this.#byItself) this.#rule.failed(localNow());
    this.#do({ type: "lost", path, alive: this.#alive });
    if (this.#bridge === before) return;
    this.#paused = false;
    this.emit("gaveUp", { path, problem });
  }

  #tell(): void {
    this.emit("state", { bridge: this.#bridge.at, leg: this.visible?.state ?? "idle" });
  }
}

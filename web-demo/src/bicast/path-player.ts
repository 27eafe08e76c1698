/**
 * One player, two paths: a WebRTC element, an LL-HLS element and a canvas stacked on each other, and the bridge between them. What
 * to do when is decided in `path-state.ts`, `trouble.ts` and `return-rule.ts`; this is the part that touches elements.
 */

import { usualFrameTicks } from "./cut-math";
import { Emitter } from "./emitter";
import type { FeedWatcher } from "./feed-watcher";
import type { ShownFrame } from "./frames";
import { type CutTarget, cutTarget, HELD, Hold } from "./hold";
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
  type ReturnWay,
  runningPaths,
  visiblePath,
} from "./path-state";
import type { PathOrder, PathOrders, PathSwitch, PlayerEvents, SeekOutcome, Stage } from "./player-types";
import { PLAY_AHEAD_S, Playhead } from "./playhead";
import { type BicastError, localProblem } from "./problem";
import { ReturnRule } from "./return-rule";
import { localNow } from "./server-clock";
import { Settling } from "./settling";
import { Sound } from "./sound";
import { Stagehands } from "./stagehands";
import { pictureRtp } from "./still";
import { SwitchLog } from "./switch-log";
import { MEDIA_RATE, type MediaTime, mediaTime, type ProgramTime, ticksToMs, toMediaTime } from "./timeline";
import type { Verdict } from "./trouble";
import { fallBack, whyNoHls } from "./ways-out";

/** A leg that does not come in this time is given up. */
const GIVE_UP_MS = 12_000;
/** With path `auto`, this long without a picture over WebRTC means that this network does not let it through. */
const AUTO_PATIENCE_MS = 6_000;
const TICK_MS = 100;
/** Latency of WebRTC before it was ever measured here. */
const USUAL_REALTIME_MS = 120;

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
  readonly #hands: Stagehands;
  readonly #head: Playhead;
  readonly #line: LineMonitor;
  readonly #rule = new ReturnRule();
  #bridge: Bridge = IDLE;
  #wanted: Path | "auto" = "auto";
  #paused = false;
  #following = true;
  #target: CutTarget = HELD;
  readonly #hold: Hold;
  #reason = "";
  #commandAt = 0;
  /** Whether nobody asked for the switch that is under way. */
  #byItself = false;
  #work = new AbortController();
  /** Tells whoever waits for a seek what became of it. */
  #seekEnds: (outcome: SeekOutcome | null) => void = () => {};
  readonly #settling = new Settling();
  #realtimeMs = USUAL_REALTIME_MS;
  readonly #log = new SwitchLog();
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
    const [realtime, hls] = [new RealtimeLeg(stage.realtime, feed, token), new HlsLeg(stage.hls, feed)];
    this.legs = { realtime, hls };
    this.#hands = new Stagehands(stage);
    this.#hold = new Hold(realtime, this.#hands.still);
    this.#head = new Playhead(hls);
    this.sound = new Sound(stage);
    this.#line = new LineMonitor(realtime, hls, feed, (verdict) => this.#onVerdict(verdict));
    realtime.onStream = (stream) => this.sound.setStream(stream);
    hls.link.on("media", () => this.#onMedia());
    for (const leg of [realtime, hls]) {
      leg.on("frame", (frame) => this.#onFrame(leg, frame));
      leg.on("state", (state) => this.#onLegState(leg, state));
    }
    this.on("seeked", (outcome) => this.#seekEnds(outcome));
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
    return this.feed.programTimeOf(this.position);
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

  /** Shows the frame nearest to a media time. The newest order counts: what it overtakes, or what cannot be, resolves with null. */
  seekTo(time: MediaTime): Promise<SeekOutcome | null> {
    const { at } = this.#bridge;
    if (at === "idle") return Promise.resolve(null);
    this.#seekEnds(null);
    const done = new Promise<SeekOutcome | null>((resolve) => {
      this.#seekEnds = resolve;
    });
    this.#target = { kind: "time", time };
    this.#following = false;
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
    const busy = this.#bridge.at === "holding" || this.stage.hls.seeking;
    const from = busy && this.#target.kind === "time" ? this.#target.time : this.position;
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
    const { at } = this.#bridge;
    if (this.#wanted !== "hls" && this.feed.feed?.paths.realtime.available !== false)
      this.#return("back to live", way);
    else if (at === "holding" || at === "hls") {
      this.#target = { kind: "edge" };
      if (at === "holding") this.#cut();
      else if (way === "catch-up") this.#do({ type: "follow" });
      else {
        this.#begin();
        this.#head.playFromEdge();
        this.sound.open("hls");
      }
    }
    this.#tell();
  }

  /** Lets go of both legs. */
  stop(): void {
    this.#seekEnds(null);
    clearTimeout(this.#giveUpTimer);
    clearInterval(this.#tick);
    for (const off of this.#offs.splice(0)) off();
    this.#offOrders?.();
    this.#do({ type: "stop" });
    this.#hands.finish();
    this.#line.stop();
    this.sound.open(null);
  }

  // The bridge

  #do(event: BridgeEvent): void {
    const before = this.#bridge;
    const { state, acts } = bridge(before, event);
    this.#bridge = state;
    for (const act of acts) this.#act(act);
    const coming = comingPath(state);
    if (coming !== comingPath(before)) {
      clearTimeout(this.#giveUpTimer);
      if (coming !== null && state.at !== "catching-up")
        this.#giveUpTimer = setTimeout(() => this.#giveUp(coming), GIVE_UP_MS);
    }
    if (state.at !== before.at || state.next !== before.next) this.#tell();
  }

  #act(step: BridgeAct): void {
    const { realtime } = this.legs;
    if (step.act === "start") this.#startLeg(step.path);
    else if (step.act === "cut") this.#cut();
    else if (step.act === "pace") this.#pace();
    else if (step.act === "show") {
      this.#hands.show(step.path);
      if (step.path === "realtime") this.#target = HELD;
      if (step.path === "realtime" || !this.stage.hls.paused) this.sound.open(step.path);
    } else if (step.act === "stop") {
      if (step.path === "realtime") this.#line.stop();
      this.#hands.retire(this.legs[step.path], this.#bridge.at === "idle");
    } else if (step.act === "warm") {
      this.#hands.finish();
      this.#head.warm();
    } else if (step.act === "hold") {
      this.sound.open(null);
      this.#hold.take();
    } else {
      this.#begin();
      realtime.held = false;
      this.#following = true;
      void realtime.video.play().catch(() => {});
    }
  }

  #startLeg(path: Path): void {
    this.#hands.finish();
    this.#settling.begin();
    if (path === "hls") this.legs.hls.link.mode = "follow";
    else this.#line.start();
    this.legs[path].start();
  }

  /** Ends what was under way and begins something new. */
  #begin(): AbortSignal {
    this.#work.abort();
    this.#work = new AbortController();
    return this.#work.signal;
  }

  get #frameTicks(): number {
    const { realtime, hls } = this.legs;
    return usualFrameTicks(
      (realtime.frames.last === null ? hls : realtime).frames.frames,
      this.feed.frameRate,
    );
  }

  /** Brings HLS to its frame under the picture that is held, shows it, and lets it play. */
  #cut(): void {
    const signal = this.#begin();
    void this.#hold.frame.then(async (held) => {
      if (signal.aborted) return;
      const [live, paused, ticks] = [this.feed.nearLive(), this.#paused, this.#frameTicks];
      const since = this.missNothing ? (this.#line.troubleSince ?? this.#hold.at ?? 0) : null;
      const { frames } = this.legs.realtime.frames;
      const target = cutTarget(this.#target, held, { frames, frameTicks: ticks, live, paused, since });
      if (target === null) {
        // Nothing is held, or nothing that is worth going back to. `#onFrame` ends the cut.
        this.#target = { kind: "edge" };
        this.#head.playFromEdge();
        return;
      }
      const found = await this.#head.toFrame(target.time, target.near ? ticks : null, signal);
      if (found === null) return;
      this.#note("hls", held, target.near ? null : found.shown);
      this.#do({ type: "cut" });
      if (target.near) this.emit("seeked", { wanted: target.time, ...found });
      if (!this.#paused) await this.#playOn(signal, PLAY_AHEAD_S);
    });
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
    const why = whyNoHls(this.feed.feed);
    if (why !== null) {
      this.#stays();
      this.emit("gaveUp", { path: "hls", problem: localProblem("No LL-HLS", why) });
      return;
    }
    if (chosenPath(this.#bridge) !== "hls") this.#commandAt = localNow();
    if (this.#bridge.at === "live" || this.#bridge.at === "warming") this.#reason = reason;
    this.#do({ type: "leave", now });
    this.#onMedia();
  }

  #return(reason: string, how: ReturnWay): void {
    this.#seekEnds(null);
    if (chosenPath(this.#bridge) === "realtime" && this.#bridge.at !== "catching-up") return;
    const { at } = this.#bridge;
    this.#commandAt = localNow();
    this.#reason = reason;
    const near = (this.#head.behindEdge ?? 0) < 0.3;
    if (at === "holding") this.#following = true;
    this.#do({ type: "return", how: near ? "jump" : how, alive: this.#line.alive });
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
    const at = this.#bridge.at;
    if (this.#wanted !== "auto" || (at !== "live" && at !== "warming") || realtime.state === "live") return;
    const { problem } = realtime;
    const found = fallBack(this.feed.feed, { seen: realtime.frames.last !== null, late, problem });
    if (found === null) return;
    this.#byItself = true;
    if (!found.refused) this.#rule.moved(localNow());
    this.#leave(found.reason, true);
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
    if (this.#settling.settled(this.legs.realtime.frames.frames, this.#byItself)) this.#arrive(frame);
  }

  #arrive(frame: ShownFrame): void {
    const { realtime } = this.legs;
    // Both at the same moment: the callback may be late, and both pictures go on.
    const [left, rtp] = [this.#head.position, pictureRtp(realtime.video)];
    this.#begin();
    this.#hold.at = null;
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
    const done = this.#log.stood(this.#hold.at, localNow());
    if (done === null) return;
    this.#hold.at = null;
    this.emit("switched", done);
  }

  #onLegState(leg: Leg, state: LegState): void {
    const coming = leg.path === comingPath(this.#bridge);
    const refused = leg.problem?.problem.status === 406;
    if (coming && (state === "failed" || refused)) this.#giveUp(leg.path);
    if (leg.path === "realtime") this.#fallBack(false);
    if (leg === this.visible) this.#tell();
  }

  #giveUp(path: Path): void {
    const { problem } = this.legs[path];
    const before = this.#bridge;
    if (path === "realtime" && this.#byItself) this.#rule.failed(localNow());
    this.#do({ type: "lost", path, alive: this.#line.alive });
    if (this.#bridge === before) return;
    this.#stays();
    this.emit("gaveUp", { path, problem });
  }

  /** What was wanted of the other path is not to be had. */
  #stays(): void {
    this.#paused = false;
    if (visiblePath(this.#bridge) === "realtime") [this.#target, this.#following] = [HELD, true];
    this.#seekEnds(null);
  }

  #tell(): void {
    this.emit("state", { bridge: this.#bridge.at, leg: this.visible?.state ?? "idle" });
  }
}

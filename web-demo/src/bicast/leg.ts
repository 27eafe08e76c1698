/**
 * A leg: one path of one feed in one video element, with its state, its figures and its position on the timeline. Two of them
 * side by side are the watch page; two of them stacked are the path player.
 */

import { Emitter } from "./emitter";
import type { FeedWatcher } from "./feed-watcher";
import { FrameWatch, type ShownFrame } from "./frames";
import { HlsClient } from "./hls";
import type { LinkState } from "./kept-link";
import { type LegState, legState } from "./leg-state";
import type { BicastError } from "./problem";
import { listStats, type RtcStat, viewerStats } from "./rtc-stats";
import { localNow } from "./server-clock";
import { type MediaTime, mediaTime, unwrapRtp } from "./timeline";
import { WhepClient } from "./whep";

/** How a viewer is being served. */
export type Path = "realtime" | "hls";

/** A leg's figures. Null where they are not known or mean nothing on this path. */
export interface LegStats {
  readonly width: number | null;
  readonly height: number | null;
  readonly fps: number | null;
  readonly bitrateBps: number | null;
  /** Media that waits to be shown: the jitter buffer over WebRTC, the element's buffer over HLS. */
  readonly bufferMs: number | null;
  readonly dropped: number | null;
  /** Over WebRTC the round trip; over HLS the time to fetch a part. */
  readonly rttMs: number | null;
  readonly codec: string | null;
  readonly packetsLost: number | null;
  readonly packetsReceived: number | null;
  readonly nacks: number | null;
  readonly decodeMs: number | null;
  /** Times the picture stood still. */
  readonly freezes: number | null;
  /** Milliseconds that it stood still in all. */
  readonly frozenMs: number | null;
  readonly playbackRate: number;
}

/** What a leg tells its owner. */
export interface LegEvents {
  state: LegState;
  frame: ShownFrame;
  stats: LegStats;
}

/** What both clients have in common. */
interface Link {
  readonly state: LinkState;
  readonly problem: BicastError | null;
  start(): void;
  stop(): void;
  restart(): void;
}

const NO_STATS: LegStats = {
  width: null,
  height: null,
  fps: null,
  bitrateBps: null,
  bufferMs: null,
  dropped: null,
  rttMs: null,
  codec: null,
  packetsLost: null,
  packetsReceived: null,
  nacks: null,
  decodeMs: null,
  freezes: null,
  frozenMs: null,
  playbackRate: 1,
};

const LOOK_EVERY_MS = 250;
const STATS_EVERY_MS = 1_000;
/** A connection that shows nothing this long, while the feed is live, is replaced; each time the patience doubles. */
const RESTART_AFTER_MS = 4_000;
/** Of a stream's end so much may be left that the browser does not decode. */
const LAST_PICTURES_S = 0.3;
/** A link that has ended this long while its feed is live is not at the end: the API knows of an end within a second or two. */
const GOES_ON_MS = 4_000;

/** What both paths share: life cycle, state, frames. */
export abstract class Leg extends Emitter<LegEvents> {
  abstract readonly path: Path;
  #held = false;
  /** When it was last let go on. */
  #goesOnAt: number | null = null;
  /** Which frames were shown. */
  readonly frames: FrameWatch;
  /** When it was last started, by `localNow()`. */
  startedAt: number | null = null;
  protected abstract readonly link: Link;
  #state: LegState = "idle";
  #stats: LegStats = NO_STATS;
  #lookTimer: ReturnType<typeof setInterval> | undefined;
  #statsTimer: ReturnType<typeof setInterval> | undefined;
  #aliveAt = 0;
  #patience = RESTART_AFTER_MS;
  #available = false;
  /** Whether the feed was over since what is loaded now began. */
  #wasOver = false;
  /** Since when the link says that there is nothing more. */
  #endedAt: number | null = null;

  constructor(
    readonly video: HTMLVideoElement,
    protected readonly feed: FeedWatcher,
  ) {
    super();
    this.frames = new FrameWatch(
      video,
      feed,
      (metadata) => this.locate(metadata),
      (frame) => {
        this.emit("frame", frame);
        if (this.#state !== "live") this.#look();
      },
    );
  }

  /** What a viewer should be told. */
  get state(): LegState {
    return this.#state;
  }

  /** Whether the picture stands still on purpose: then stillness is no fault, and nobody is asked to press play. */
  get held(): boolean {
    return this.#held;
  }

  set held(held: boolean) {
    if (this.#held && !held) this.#goesOnAt = localNow();
    this.#held = held;
  }

  /** Why it is not live, where that is known. */
  get problem(): BicastError | null {
    return this.link.problem ?? (this.#state === "retrying" ? this.feed.problem : null);
  }

  /** The newest figures, once a second. */
  get stats(): LegStats {
    return this.#stats;
  }

  /** Connects and plays, muted or not as the element is. */
  start(): void {
    if (this.startedAt !== null) return;
    this.startedAt = localNow();
    this.#aliveAt = this.startedAt;
    this.frames.clear();
    this.frames.start();
    this.link.start();
    this.#lookTimer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    this.#statsTimer = setInterval(() => void this.#measure(), STATS_EVERY_MS);
    this.#look();
  }

  /** Lets go of the connection and of the picture. */
  stop(): void {
    if (this.startedAt === null) return;
    this.startedAt = null;
    clearInterval(this.#lookTimer);
    clearInterval(this.#statsTimer);
    this.frames.stop();
    this.link.stop();
    this.#stats = NO_STATS;
    this.#held = false;
    this.#goesOnAt = null;
    this.#look();
  }

  /** Whether the browser refuses to play before the user asks for it (some do even for muted video, to save power). */
  get blocked(): boolean {
    return !this.held && this.link.state === "connected" && this.video.paused && !this.video.ended;
  }

  /** Whether the feed has sound and no picture. */
  get audioOnly(): boolean {
    const tracks = this.feed.feed?.tracks ?? [];
    return tracks.length > 0 && tracks.every((track) => track.kind === "audio");
  }

  /** Whether the feed is over, as far as the server says. */
  get isOver(): boolean {
    return this.feed.feed?.state === "ended";
  }

  /** Whether there is more to show of what has ended. */
  protected get remains(): boolean {
    return false;
  }

  /** Begins again at once, or begins at all where the browser waits for the user: call it from a gesture. */
  retry(): void {
    if (this.blocked) {
      void this.video.play().catch(() => {});
      return;
    }
    if (this.link.state === "failed" || this.link.state === "ended") this.link.start();
    else this.link.restart();
  }

  /** Where this frame lies on the timeline. */
  protected abstract locate(metadata: VideoFrameCallbackMetadata): { time: MediaTime; raw: number } | null;

  /** The current figures. */
  protected abstract measure(): Promise<Partial<LegStats>>;

  #look(): void {
    const now = localNow();
    const feed = this.feed.feed?.state ?? null;
    const newest = this.frames.last?.shownAt ?? this.frames.firstAt;
    const lastFrameAt = newest === null ? null : Math.max(newest, this.#goesOnAt ?? newest);
    const { state: link, problem } = this.link;
    const unknown = problem?.problem.status === 404;
    const { audioOnly, held } = this;
    const state = legState({ link, feed, unknown, audioOnly, held, lastFrameAt, now });
    this.#heal(state, now);
    if (state === this.#state) return;
    this.#state = state;
    this.emit("state", state);
  }

  /** A server that was restarted, or a feed that began while we waited: do not wait for time-outs to find out. */
  #heal(state: LegState, now: number): void {
    // What the server has forgotten is shown as it was last: over, with its paths.
    const available = !this.isOver && (this.feed.feed?.paths[this.path].available ?? false);
    const appeared = available && !this.#available;
    this.#available = available;
    if (this.isOver) this.#wasOver = true;
    const anew = available && this.#wasOver && !this.remains;
    if (anew) this.#wasOver = false;
    if (this.link.state !== "ended") this.#endedAt = null;
    else this.#endedAt ??= now;
    // The playlists ended and the feed goes on: a publisher with other tracks has begun others.
    const goesOn =
      this.#endedAt !== null && now - this.#endedAt > GOES_ON_MS && available && this.feed.flowing;
    if (goesOn || anew || (appeared && (this.link.state === "retrying" || this.link.state === "ended"))) {
      this.#endedAt = null;
      this.link.restart();
    }
    if (state === "live") this.#patience = RESTART_AFTER_MS;
    if (this.blocked || this.held) this.#aliveAt = now;
    const hopeless = state === "stalled" || (state === "connecting" && this.link.state === "connected");
    if (!hopeless || !this.feed.flowing || this.feed.problem !== null) {
      this.#aliveAt = now;
    } else if (now - this.#aliveAt > this.#patience) {
      this.#aliveAt = now;
      this.#patience = Math.min(this.#patience * 2, 30_000);
      this.link.restart();
    }
  }

  async #measure(): Promise<void> {
    const measured = await this.measure().catch(() => ({}));
    if (this.startedAt === null) return;
    const { videoWidth, videoHeight, playbackRate } = this.video;
    this.#stats = {
      ...NO_STATS,
      width: videoWidth || null,
      height: videoHeight || null,
      fps: this.frames.fps(localNow()),
      playbackRate,
      ...measured,
    };
    this.emit("stats", this.#stats);
  }
}

/** The WebRTC leg. */
export class RealtimeLeg extends Leg {
  override readonly path = "realtime";
  protected override readonly link: WhepClient;
  #report: RtcStat[] | null = null;

  constructor(video: HTMLVideoElement, feed: FeedWatcher, token: string | null = null) {
    super(video, feed);
    this.link = new WhepClient({ url: () => this.whepUrl(), token });
    this.link.onStream = (stream) => {
      video.srcObject = stream;
      this.onStream(stream);
      if (!this.held) void video.play().catch(() => {});
    };
    // The first track may be the picture alone: now all are there.
    this.link.on("state", (state) => {
      if (state === "connected") this.onStream(this.link.stream);
    });
  }

  /** Where offers go. A viewer that has joined has an address of its own. */
  whepUrl: () => string | Promise<string> = () =>
    this.feed.api.url(`whep/${encodeURIComponent(this.feed.id)}`);

  /** Called with each new connection's stream. */
  onStream: (stream: MediaStream | null) => void = () => {};

  /** How the connection itself stands. */
  get linkState(): LinkState {
    return this.link.state;
  }

  /** What ICE says; null without a connection. */
  get iceState(): RTCIceConnectionState | null {
    return this.link.peer?.iceConnectionState ?? null;
  }

  /** The place on the timeline that an RTP timestamp means. */
  timeOf(rtp: number): MediaTime {
    // Without the anchor (the first 100 ms of a page) the newest position known, or the wire's own number, is near enough.
    return unwrapRtp(rtp, this.feed.nearLive() ?? this.frames.last?.mediaTime ?? mediaTime(rtp));
  }

  override stop(): void {
    super.stop();
    this.video.srcObject = null;
    this.onStream(null);
    this.#report = null;
  }

  protected override locate(metadata: VideoFrameCallbackMetadata) {
    const { rtpTimestamp } = metadata;
    return rtpTimestamp === undefined ? null : { time: this.timeOf(rtpTimestamp), raw: rtpTimestamp };
  }

  protected override async measure(): Promise<Partial<LegStats>> {
    const { peer } = this.link;
    if (peer === null) return {};
    const report = listStats(await peer.getStats());
    const { jitterBufferMs, framesDropped, ...stats } = viewerStats(report, this.#report);
    this.#report = report;
    return { ...stats, bufferMs: jitterBufferMs, dropped: framesDropped };
  }
}

/** The LL-HLS leg. */
export class HlsLeg extends Leg {
  override readonly path = "hls";
  override readonly link: HlsClient;
  #stalls = 0;

  constructor(video: HTMLVideoElement, feed: FeedWatcher) {
    super(video, feed);
    this.link = new HlsClient(video, feed.api.hlsUrl(feed.id));
    video.addEventListener("waiting", () => {
      if (this.state === "live") this.#stalls += 1;
    });
  }

  protected override get remains(): boolean {
    const end = this.link.complete ? (this.link.window?.end ?? 0) : 0;
    return end - this.video.currentTime > LAST_PICTURES_S;
  }

  /** Positions are exact to the frame, or only to what a date says. */
  get exact(): boolean {
    return this.link.exact;
  }

  /** The media time shown at `seconds` of the element's clock; null before it is known. */
  mediaTimeAt(seconds: number): MediaTime | null {
    return this.link.mediaTimeAt(seconds, this.feed.anchor);
  }

  /** The element's second of a media time; null before it is known. */
  secondsOf(time: MediaTime): number | null {
    return this.link.secondsOf(time, this.feed.anchor);
  }

  protected override locate(metadata: VideoFrameCallbackMetadata) {
    const time = this.mediaTimeAt(metadata.mediaTime);
    return time === null ? null : { time, raw: metadata.mediaTime };
  }

  protected override async measure(): Promise<Partial<LegStats>> {
    const { buffered, currentTime } = this.video;
    const stats = this.link.stats();
    if (buffered.length === 0) return {};
    const end = buffered.end(buffered.length - 1);
    return {
      bitrateBps: stats.bitrateBps,
      bufferMs: Math.max(end - currentTime, 0) * 1000,
      dropped: this.video.getVideoPlaybackQuality().droppedVideoFrames,
      rttMs: stats.partFetchMs,
      codec: stats.codecs,
      freezes: this.#stalls,
    };
  }
}

/**
 * LL-HLS by hls.js, with the settings that were measured to hold 1.2 s (p50) without a stall, and the browser's own HLS where
 * there is no Media Source. It knows where the media lies on the feed's timeline.
 */

import type Hls from "hls.js";
import type { ErrorData, HlsConfig, LevelDetails } from "hls.js";
import { HlsLoads } from "./hls-loads";
import { KeptLink } from "./kept-link";
import { BicastError, localProblem, parseProblem, unreachable } from "./problem";
import {
  type Anchor,
  HlsTimeMap,
  MEDIA_RATE,
  type MediaTime,
  programTime,
  toMediaTime,
  toProgramTime,
} from "./timeline";

/** What hls.js's statistics cannot say by themselves. */
export interface HlsLinkStats {
  /** Bits per second of what was loaded, over its own duration: sound and picture. */
  readonly bitrateBps: number | null;
  /** From asking for the newest part to its last byte, in milliseconds. */
  readonly partFetchMs: number | null;
  /** Of the playing variant (RFC 6381). */
  readonly codecs: string | null;
  /** Recoveries that needed a new buffer or a new player. */
  readonly recoveries: number;
}

/** How the player stands to the live edge: follows it, plays behind it at the viewer's will, or loads without playing. */
export type HlsMode = "follow" | "behind" | "warm";

/** One encoding that can be chosen. */
export interface HlsLevel {
  readonly height: number | null;
  readonly bitrateBps: number;
}

/**
 * Why these values: with hls.js's defaults a stall at the start adds a second to the target for good and nothing catches up
 * again (3.3 s). A shorter `liveSyncDuration` than 1 s does not get below 1.2 s.
 */
const CONFIG: Partial<HlsConfig> = {
  lowLatencyMode: true,
  liveSyncDuration: 1.0,
  liveSyncOnStallIncrease: 0.1,
  // A rewind of some seconds must not cost a request.
  backBufferLength: 30,
  maxBufferLength: 10,
  // CMAF needs no remuxing worth a thread, and a worker from a blob: URL would need a weaker Content-Security-Policy.
  enableWorker: false,
  // The multivariant playlist is asked for again by the back-off below, which can tell the user why.
  manifestLoadPolicy: {
    default: { maxTimeToFirstByteMs: 10_000, maxLoadTimeMs: 15_000, timeoutRetry: null, errorRetry: null },
  },
  // Blocked requests end without news while a publisher is away: go on asking, it may return. The steady pace is for a feed that
  // has just begun: hls.js takes a playlist that holds parts and no whole segment yet for empty, and asks again.
  playlistLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 12_000,
      maxLoadTimeMs: 20_000,
      timeoutRetry: { maxNumRetry: 30, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { maxNumRetry: 100, retryDelayMs: 300, maxRetryDelayMs: 300, backoff: "linear" },
    },
  },
};

/** Who follows the edge plays a little faster where that is needed. Farther behind than 10 s (a sleeping laptop, a background tab) it
 * jumps: catching up at 1.1 would take minutes. Who is behind on purpose is left there. */
const PACE: Readonly<Record<"follow" | "behind", Partial<HlsConfig>>> = {
  follow: { maxLiveSyncPlaybackRate: 1.1, liveMaxLatencyDuration: 10 },
  behind: { maxLiveSyncPlaybackRate: 1, liveMaxLatencyDuration: Number.POSITIVE_INFINITY },
};

/** A media error this soon after a recovery is not cured by another one. */
const RECOVERY_INTERVAL_MS = 5_000;

/** Sound that ends this much before its segment does, by the playlist's rounded times, has ended. An Opus frame is 0.02 s. */
const SOUND_SLACK = 0.03;

/**
 * hls.js (1.7.4) begins with sound in the middle of a segment, and where the playlist's rounded times put the segment's end a few
 * milliseconds behind its last sample, it then looks for the parts before the middle that it never loaded, finds nothing to do and
 * stands still for seconds. Who stands at the end of a segment is to go on with the next one.
 */
function steppingOn(Library: typeof Hls): Partial<HlsConfig> {
  const Base = Library.DefaultConfig.audioStreamController;
  if (!Base) return {};
  return {
    audioStreamController: class extends Base {
      protected override getNextFragment(pos: number, details: LevelDetails) {
        const found = super.getNextFragment(pos, details);
        const whole = found !== null && found.sn <= details.endSN;
        const atEnd = whole && pos > found.start && found.end > pos && found.end - pos < SOUND_SLACK;
        return atEnd ? (super.getNextFragment(found.end + 0.001, details) ?? found) : found;
      }
    },
  };
}

/** Plays one multivariant playlist in one video element, and begins again until it is stopped. */
export class HlsClient extends KeptLink {
  #hls: Hls | null = null;
  #recoveries = 0;
  #recoveredAt = 0;
  readonly loads = new HlsLoads();
  readonly #map = new HlsTimeMap();
  #mode: HlsMode = "follow";

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
  ) {
    super(300, 5_000);
  }

  /** Whether positions are exact to the frame. The browser's own HLS tells only a date. */
  get exact(): boolean {
    return this.#hls !== null;
  }

  /** How it stands to the live edge. It begins to play by itself unless it is to be `warm`. */
  get mode(): HlsMode {
    return this.#mode;
  }

  set mode(mode: HlsMode) {
    this.#mode = mode;
    if (this.#hls) Object.assign(this.#hls.config, PACE[mode === "follow" ? "follow" : "behind"]);
    if (mode !== "follow") this.video.playbackRate = 1;
  }

  /** Whether it holds media whose place on the timeline is known. */
  get ready(): boolean {
    return this.video.buffered.length > 0 && (this.#hls === null || this.#map.known);
  }

  /** The playlists of picture and sound. */
  get #details() {
    const hls = this.#hls;
    return [hls?.latestLevelDetails, hls?.audioTracks[hls.audioTrack]?.details];
  }

  /** What can be loaded, in seconds of the element; null before the playlist is here. */
  get window(): { readonly start: number; readonly end: number } | null {
    const [picture, sound] = this.#details;
    // hls.js (1.7.4) loads at the live edge whatever is sought before a playlist's first media, and sound begins later than the picture.
    const start = Math.max(...[picture, sound].flatMap((of) => of?.fragmentStart ?? []));
    if (picture) return { start, end: picture.edge };
    const { seekable } = this.video;
    return seekable.length === 0
      ? null
      : { start: seekable.start(0), end: seekable.end(seekable.length - 1) };
  }

  /** Throws away what is loaded, so that it is loaded again from where the element stands. */
  flush(): void {
    const hls = this.#hls;
    if (!hls) return;
    // It (1.7.4) would go on to hold these for loaded.
    for (const details of this.#details)
      for (const part of details?.partList ?? []) part.clearElementaryStreamInfo();
    hls.trigger((hls.constructor as typeof Hls).Events.BUFFER_FLUSHING, {
      startOffset: 0,
      endOffset: Number.POSITIVE_INFINITY,
      type: null,
    });
  }

  /** Whether the playlist has ended: nothing more is coming. */
  get complete(): boolean {
    return this.#hls?.latestLevelDetails?.live === false;
  }

  /** Where a player that follows the edge would be, in seconds of the element. */
  get livePosition(): number | null {
    return this.#hls?.liveSyncPosition ?? this.window?.end ?? null;
  }

  /** The encodings, and the one that is played (-1: whichever fits). */
  get levels(): { readonly list: readonly HlsLevel[]; readonly chosen: number; readonly playing: number } {
    const hls = this.#hls;
    const list = (hls?.levels ?? []).map(({ height, bitrate }) => ({
      height: height || null,
      bitrateBps: bitrate,
    }));
    return {
      list,
      chosen: hls?.autoLevelEnabled === false ? hls.currentLevel : -1,
      playing: hls?.currentLevel ?? -1,
    };
  }

  /** Plays this encoding from the next segment on; -1 for whichever fits. */
  chooseLevel(index: number): void {
    if (this.#hls) this.#hls.nextLevel = index;
  }

  /** The media time shown at `seconds` of the element's clock; null before it is known. */
  mediaTimeAt(seconds: number, anchor: Anchor | null): MediaTime | null {
    if (this.#hls) return this.#map.toMediaTime(seconds);
    // Safari: the date of the element's time 0, from PROGRAM-DATE-TIME.
    const { getStartDate } = this.video as HTMLVideoElement & { getStartDate?: () => Date };
    const start = getStartDate?.call(this.video).getTime() ?? Number.NaN;
    if (anchor === null || Number.isNaN(start)) return null;
    return toMediaTime(anchor, programTime(start + seconds * 1000));
  }

  /**
   * The element's time at which a media time is shown; null before it is known. Exact for what has been loaded. Behind a
   * discontinuity whose media was not loaded yet only the playlist's dates say where it lies: near enough to load it there.
   */
  secondsOf(time: MediaTime, anchor: Anchor | null): number | null {
    if (this.#hls === null) {
      const zero = this.mediaTimeAt(0, anchor);
      return zero === null ? null : (time - zero) / MEDIA_RATE;
    }
    const seconds = this.#map.toSeconds(time);
    const fragments = this.#hls.latestLevelDetails?.fragments;
    if (anchor === null || !fragments || seconds === null) return seconds;
    const date = toProgramTime(anchor, time);
    const dated = fragments.findLast(
      ({ programDateTime }) => programDateTime !== null && programDateTime <= date,
    );
    if (!dated || dated.programDateTime === null || this.#map.knows(dated.cc)) return seconds;
    return dated.start + Math.min((date - dated.programDateTime) / 1000, dated.duration);
  }

  /** Current figures. */
  stats(): HlsLinkStats {
    const level = this.#hls?.levels[Math.max(this.#hls.currentLevel, 0)];
    return {
      bitrateBps: this.loads.bitrateBps,
      partFetchMs: this.loads.lastMs,
      codecs: level?.attrs.CODECS ?? null,
      recoveries: this.#recoveries,
    };
  }

  protected override async open(current: () => boolean): Promise<void> {
    const { default: Library } = await import("hls.js");
    if (!current()) return;
    // Chromium also claims to play HLS natively, worse: ask for Media Source first.
    if (Library.isSupported()) this.#playWith(Library);
    else if (this.video.canPlayType("application/vnd.apple.mpegurl") !== "") this.#playNatively(current);
    else
      throw localProblem(
        "No HLS",
        "This browser can play neither Media Source nor HLS.",
        "Use another browser.",
      );
  }

  #playWith(Library: typeof Hls): void {
    const hls = new Library({
      ...CONFIG,
      ...PACE[this.#mode === "follow" ? "follow" : "behind"],
      ...steppingOn(Library),
      fLoader: this.loads.loader(Library),
    });
    this.#hls = hls;
    this.#map.clear();
    const { Events: Name } = Library;
    hls.on(Name.INIT_PTS_FOUND, (_, data) => {
      if (data.id === "main") this.#map.set(data.frag.cc, data.frag.start, data.initPTS, data.timescale);
    });
    hls.on(Name.FRAG_BUFFERED, () => {
      this.up();
      this.emit("media", undefined);
    });
    hls.on(Name.MANIFEST_PARSED, () => {
      if (this.#mode === "follow") void this.video.play().catch(() => {});
    });
    hls.on(Name.BUFFER_EOS, () => this.#watchForEnd(hls));
    hls.on(Name.ERROR, (_, data) => {
      if (data.fatal && this.#hls === hls) this.#onFatal(hls, data, Library);
    });
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
  }

  #playNatively(current: () => boolean): void {
    const { video } = this;
    video.src = this.url;
    const once = (name: string, act: () => void) =>
      video.addEventListener(name, () => current() && act(), { once: true });
    once("playing", () => this.up());
    once("ended", () => this.setState("ended"));
    once("error", () => this.fail(unreachable(this.url, video.error)));
    video.addEventListener("progress", () => current() && this.emit("media", undefined));
    if (this.#mode === "follow") void this.video.play().catch(() => {});
  }

  /** ENDLIST came and everything is in the buffer; it is over when the last frame was shown. */
  #watchForEnd(hls: Hls): void {
    this.video.addEventListener("ended", () => this.#hls === hls && this.setState("ended"), { once: true });
  }

  #onFatal(hls: Hls, data: ErrorData, Library: typeof Hls): void {
    this.#recoveries += 1;
    const recent = performance.now() - this.#recoveredAt < RECOVERY_INTERVAL_MS;
    if (data.type === Library.ErrorTypes.MEDIA_ERROR && !recent) {
      this.#recoveredAt = performance.now();
      hls.recoverMediaError();
      return;
    }
    this.fail(problemOfHls(data, this.url));
  }

  /** Everything is tried again: a feed that is unknown now may begin, a codec may change with the next publisher. */
  protected override retryable(): boolean {
    return true;
  }

  protected override close(): void {
    if (this.#hls) this.#hls.destroy();
    else if (this.video.src !== "") this.video.removeAttribute("src");
    this.#hls = null;
    this.loads.clear();
  }
}

/** What a fatal hls.js error means: the server's own words where it answered with problem+json. */
function problemOfHls(data: ErrorData, url: string): BicastError {
  const status = data.response?.code ?? 0;
  if (data.type === "networkError" && status > 0) {
    const xhr = data.networkDetails as Partial<XMLHttpRequest> | null | undefined;
    const body = typeof xhr?.responseText === "string" ? xhr.responseText : "";
    return new BicastError(parseProblem(body, status, data.response?.text ?? ""));
  }
  // Only a loader's error means that nothing answered; hls.js also calls playlists that it cannot follow network errors.
  const loading = /(load|timeout)/i.test(data.details);
  if (data.type === "networkError" && loading) return unreachable(data.url ?? url, data.error);
  // hls.js puts whole playlists into some messages; the first line says what it is about.
  const what = (data.error.message.split("\n")[0] ?? "").slice(0, 160);
  const hint = /codec/i.test(data.details) ? "Use a browser that knows it." : "It is tried again by itself.";
  return localProblem("Playback failed", `hls.js: ${data.details}: ${what}`, hint);
}

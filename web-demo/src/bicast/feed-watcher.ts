/** What the server says about one feed, asked for once a second, and the clock to read its times with. */

import type { BicastApi, Feed } from "./api";
import { Emitter } from "./emitter";
import { type BicastError, toBicastError } from "./problem";
import { localNow, ServerClock } from "./server-clock";
import { type Anchor, type MediaTime, type ProgramTime, toMediaTime, toProgramTime } from "./timeline";

/** What legs need to place a frame on the timeline. */
export interface TimelineSource {
  /** The mapping from media time to UTC; null before the server's first frame is known here. */
  readonly anchor: Anchor | null;
  /** UTC by the server's clock at a local moment (`localNow()`); null before it is known. */
  serverTimeAt(local: number): ProgramTime | null;
  /** A media time near the live edge, to unwrap RTP timestamps around. */
  nearLive(): MediaTime | null;
}

interface Events<F> {
  feed: F;
  problem: BicastError;
}

/** Who answers; pages have a client that reads more of a feed than a player needs. */
export interface FeedSource<F extends Feed> extends BicastApi {
  feed(id: string, signal?: AbortSignal): Promise<F>;
}

/** Longer than a poll on a busy page takes, so that one hung request does not freeze the page's knowledge. */
const TIMEOUT_MS = 5_000;
/** Status is told once a second and asked for once a second. */
const FLOWING_MS = 2_500;

/** Polls `GET /v1/feeds/{id}` and keeps the newest answer. */
export class FeedWatcher<F extends Feed = Feed> extends Emitter<Events<F>> implements TimelineSource {
  /** The server's clock, running while the watcher runs. */
  readonly clock: ServerClock;
  #feed: F | null = null;
  #feedAt = 0;
  #edge: number | null = null;
  #edgeAt = 0;
  #problem: BicastError | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;

  constructor(
    readonly api: FeedSource<F>,
    readonly id: string,
    private readonly everyMs = 1_000,
  ) {
    super();
    this.clock = new ServerClock(api);
  }

  /** The newest answer; null before the first. It stays while the server is away. */
  get feed(): F | null {
    return this.#feed;
  }

  /** When {@link feed} came, by `localNow()`. */
  get feedAt(): number {
    return this.#feedAt;
  }

  /**
   * Whether media arrives at the server, by its own live edges: a publisher that died is still called live until the server has
   * noticed. True where the server tells no edge.
   */
  get flowing(): boolean {
    return this.#feed?.state === "live" && (this.#edge === null || localNow() - this.#edgeAt < FLOWING_MS);
  }

  /** Why the last request failed; null when it did not. */
  get problem(): BicastError | null {
    return this.#problem;
  }

  /** Begins to ask. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.clock.start();
    void this.#poll();
  }

  /** Stops asking; the newest answer stays. */
  stop(): void {
    this.#running = false;
    this.clock.stop();
    clearTimeout(this.#timer);
  }

  get anchor(): Anchor | null {
    return this.#feed?.timeline ?? null;
  }

  serverTimeAt(local: number): ProgramTime | null {
    return this.clock.at(local);
  }

  nearLive(): MediaTime | null {
    const now = this.clock.now();
    return this.anchor === null || now === null ? null : toMediaTime(this.anchor, now);
  }

  /** When the frame of this media time entered the server; null where that is not known. */
  programTimeOf(time: MediaTime | null): ProgramTime | null {
    return time === null || this.anchor === null ? null : toProgramTime(this.anchor, time);
  }

  /** Pictures per second, as the server counts them; null before it has. */
  get frameRate(): number | null {
    return this.#feed?.tracks.find((track) => track.kind === "video")?.renditions[0]?.frameRate ?? null;
  }

  #noteEdge({ paths }: Feed): void {
    const edges = [paths.realtime.liveEdge, paths.hls.liveEdge].flatMap((edge) =>
      edge ? [edge.mediaTime] : [],
    );
    const newest = edges.length > 0 ? Math.max(...edges) : null;
    if (newest !== this.#edge) this.#edgeAt = localNow();
    this.#edge = newest;
  }

  async #poll(): Promise<void> {
    const began = localNow();
    try {
      const feed = await this.api.feed(this.id, AbortSignal.timeout(TIMEOUT_MS));
      this.#feed = feed;
      this.#feedAt = localNow();
      this.#noteEdge(feed);
      this.#problem = null;
      if (this.#running) this.emit("feed", feed);
    } catch (thrown) {
      this.#problem = toBicastError(thrown);
      // The server forgets a feed that is over: what we saw live and is unknown now has ended.
      if (this.#problem.problem.status === 404 && this.#feed !== null)
        this.#feed = { ...this.#feed, state: "ended" };
      if (this.#running) this.emit("problem", this.#problem);
    }
    if (!this.#running) return;
    // Until the first frame's anchor is known every tenth of a second counts: no latency can be shown without it.
    const wait = this.anchor === null && this.#problem === null ? 200 : this.everyMs;
    this.#timer = setTimeout(() => void this.#poll(), Math.max(wait - (localNow() - began), 50));
  }
}

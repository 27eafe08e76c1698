/** The LL-HLS element's playhead: to a frame, to the edge, paused, playing on, faster. It knows nothing of the other path. */

import { aheadOf, SAME_FRAME, stretches } from "./cut-math";
import type { HlsLeg } from "./leg";
import { pause, pictureSeconds, seekExact } from "./seek-exact";
import { localNow } from "./server-clock";
import { MEDIA_RATE, type MediaTime } from "./timeline";

/** Media that has to lie ahead before it plays on after a cut: with less it stalls. More only lengthens the still picture. */
export const PLAY_AHEAD_S = 0.75;
/** But a feed that stands still must not be waited for: what there is is played. */
const PLAY_PATIENCE_MS = 3_000;
/** Parts come a few times a second: when none came for so long there is nothing to wait for. */
const STUCK_MS = 600;
const LEAST_AHEAD_S = 0.15;
/** Who is this much behind where a player at the edge would be is behind on purpose. */
const FOLLOW_WITHIN_S = 1.5;
/** While HLS is loaded and not shown its clock stands still: it is moved on, so that it goes on loading. */
const WARM_BEHIND_S = 3;
/** Rates at which speech is still speech. */
const [SLOWEST_CATCH_UP, FASTEST_CATCH_UP] = [1.05, 1.25];

/** Moves the playhead of one HLS leg. */
export class Playhead {
  constructor(private readonly leg: HlsLeg) {}

  /** The frame on the screen; null before one is known. */
  get position(): MediaTime | null {
    const { video } = this.leg;
    return this.leg.mediaTimeAt(pictureSeconds(video) ?? video.currentTime);
  }

  /** How far it is behind where a player that follows the edge would be, in seconds; null before that is known. */
  get behindEdge(): number | null {
    const edge = this.leg.link.livePosition;
    return edge === null ? null : edge - this.leg.video.currentTime;
  }

  /** Loads without playing. */
  warm(): void {
    this.leg.link.mode = "warm";
    this.leg.held = true;
    this.leg.start();
  }

  /** Keeps what is loaded near the edge while nobody looks. */
  moveOn(): void {
    const { video } = this.leg;
    const { buffered } = video;
    if (buffered.length === 0 || video.readyState === 0) return;
    const end = buffered.end(buffered.length - 1);
    if (end - video.currentTime > WARM_BEHIND_S) video.currentTime = end - 1;
  }

  /** Stops on the frame on the screen. */
  pause(): void {
    this.leg.held = true;
    this.leg.link.mode = "behind";
    this.leg.video.pause();
  }

  /**
   * Stops on one frame: on that very one, or with `frameTicks` on the one nearest to a time, where frames are so far apart. Null where
   * it was called off.
   */
  async toFrame(
    time: MediaTime,
    frameTicks: number | null,
    signal: AbortSignal,
  ): Promise<{ readonly shown: MediaTime | null; readonly exact: boolean } | null> {
    const { leg } = this;
    // The last frame that begins before half a frame behind the wanted time is the nearest one.
    const half = frameTicks === null ? null : frameTicks / 2 / MEDIA_RATE;
    const found = await seekExact(
      leg.video,
      {
        wanted: () => leg.secondsOf(time),
        ...(half === null ? {} : { within: half + SAME_FRAME, aim: half }),
        exact: () => leg.exact,
        window: () => leg.link.window,
        ended: () => leg.link.complete,
        over: () => leg.isOver,
        loading: (seconds) => leg.link.loads.at(seconds),
        loadMs: () => leg.link.loads.lastMs ?? 0,
        flush: () => leg.link.flush(),
        reload: () => leg.link.restart(),
      },
      signal,
    );
    if (found === null || signal.aborted) return null;
    return { shown: found.shown === null ? null : leg.mediaTimeAt(found.shown), exact: found.exact };
  }

  /** Plays from where a player that follows the edge would be. */
  playFromEdge(): void {
    const { leg } = this;
    leg.link.mode = "follow";
    leg.held = false;
    const at = leg.link.livePosition;
    if (at !== null && leg.video.readyState > 0) leg.video.currentTime = at;
    void leg.video.play().catch(() => {});
  }

  /**
   * Plays on as soon as `ahead` seconds lie behind the playhead. `stay`: who is behind the edge wants to be. Tells whether it now
   * follows the edge; null where it was called off.
   */
  async playOn(ahead: number, stay: boolean, signal: AbortSignal): Promise<boolean | null> {
    const { leg } = this;
    const { video } = leg;
    const until = localNow() + PLAY_PATIENCE_MS;
    let [most, grewAt] = [0, localNow()];
    while (!signal.aborted && localNow() < until) {
      const held = aheadOf(stretches(video.buffered), video.currentTime) ?? 0;
      if (held >= ahead || leg.link.complete || leg.isOver) break;
      if (held > most) [most, grewAt] = [held, localNow()];
      else if (held > LEAST_AHEAD_S && localNow() - grewAt > STUCK_MS) break;
      await pause(15, signal);
    }
    if (signal.aborted) return null;
    const follows = !stay || (this.behindEdge ?? 0) < FOLLOW_WITHIN_S;
    leg.held = false;
    leg.link.mode = follows ? "follow" : "behind";
    await video.play().catch(() => {});
    return follows;
  }

  /** Plays faster than real time. */
  catchUp(rate: number): void {
    const { leg } = this;
    // hls.js leaves the rate alone in this mode.
    leg.link.mode = "behind";
    leg.held = false;
    leg.video.playbackRate = Math.min(Math.max(rate, SLOWEST_CATCH_UP), FASTEST_CATCH_UP);
    void leg.video.play().catch(() => {});
  }
}

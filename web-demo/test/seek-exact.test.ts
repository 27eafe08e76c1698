import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Stretch } from "../src/bicast/cut-math";
import { type SeekTarget, seekExact } from "../src/bicast/seek-exact";

const FRAME = 1 / 30;

/** A paused element: its buffer is set from outside, it shows the frame at its time, and `seeked` follows at once. */
class FakeVideo extends EventTarget {
  stretches: Stretch[] = [];
  readyState = 4;
  seeks: number[] = [];
  #time = 0;

  get buffered(): TimeRanges {
    const at = (n: number) => this.stretches[n] as Stretch;
    return { length: this.stretches.length, start: (n) => at(n).start, end: (n) => at(n).end };
  }

  get currentTime(): number {
    return this.#time;
  }

  set currentTime(seconds: number) {
    this.#time = seconds;
    this.seeks.push(seconds);
    queueMicrotask(() => this.dispatchEvent(new Event("seeked")));
  }

  /** The frame on the screen. */
  get picture(): number {
    const last = this.stretches.at(-1)?.end ?? 0;
    return Math.floor(Math.min(this.#time, last - 0.001) / FRAME + 1e-6) * FRAME;
  }
}

const target = (changes: Partial<SeekTarget>): SeekTarget => ({
  wanted: () => 10,
  exact: () => true,
  ended: () => false,
  over: () => false,
  loading: () => false,
  loadMs: () => 0,
  flush: () => {},
  reload: () => {},
  window: () => ({ start: 0, end: 20 }),
  ...changes,
});

describe("seekExact", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    vi.stubGlobal(
      "VideoFrame",
      class {
        readonly timestamp: number;
        constructor(video: FakeVideo) {
          this.timestamp = Math.round(video.picture * 1e6);
        }
        close() {}
      },
    );
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  /** What it comes to within so many seconds; undefined while it goes on. */
  async function run(video: FakeVideo, wanted: SeekTarget, seconds: number) {
    const work = new AbortController();
    let result: Awaited<ReturnType<typeof seekExact>> | undefined;
    void seekExact(video as unknown as HTMLVideoElement, wanted, work.signal).then((found) => {
      result = found;
    });
    await vi.advanceTimersByTimeAsync(seconds * 1000);
    const found = result;
    work.abort();
    await vi.advanceTimersByTimeAsync(1_000);
    return found;
  }

  it("goes to the very frame once enough lies behind it", async () => {
    const video = new FakeVideo();
    video.stretches = [{ start: 5, end: 10.1 }];
    expect(await run(video, target({}), 1)).toBeUndefined();
    video.stretches = [{ start: 5, end: 10.5 }];
    expect(await run(video, target({}), 1)).toMatchObject({ exact: true, tries: 1 });
    expect(video.currentTime).toBeCloseTo(10.001);
  });

  it("ends on the last picture where WebRTC had more than LL-HLS will ever have", async () => {
    const video = new FakeVideo();
    video.stretches = [{ start: 5, end: 9.98 }];
    const over = target({ ended: () => true, window: () => ({ start: 0, end: 9.981 }) });
    const found = await run(video, over, 1);
    expect(found).toMatchObject({ exact: false });
    expect(found?.shown).toBeCloseTo(299 * FRAME, 2);
    // Also where its clock would come to stand behind the last sample.
    const nearly = target({ ...over, wanted: () => 9.9795 });
    expect((await run(video, nearly, 1))?.shown).toBeCloseTo(299 * FRAME, 2);
    // But not before all of it is loaded, or while more may come.
    video.stretches = [{ start: 5, end: 8 }];
    expect(await run(video, over, 1)).toBeUndefined();
    video.stretches = [{ start: 5, end: 9.98 }];
    expect(await run(video, target({ window: () => ({ start: 0, end: 9.981 }) }), 1)).toBeUndefined();
  });

  it("ends on the last picture where the server forgot the feed before it told the end", async () => {
    const video = new FakeVideo();
    video.stretches = [{ start: 5, end: 9.98 }];
    const forgotten = target({ over: () => true, window: () => ({ start: 0, end: 11 }) });
    expect(await run(video, forgotten, 2), "what is on its way may come yet").toBeUndefined();
    expect(await run(video, forgotten, 3)).toMatchObject({ exact: false });
  });

  it("tries all ways where what is there does not come", async () => {
    const video = new FakeVideo();
    video.stretches = [{ start: 15, end: 18 }];
    const did: string[] = [];
    const forgotten = target({
      wanted: () => -590,
      flush: () => did.push("flush"),
      reload: () => {
        did.push("reload");
        video.stretches = [{ start: 0, end: 18 }];
      },
    });
    expect(await run(video, forgotten, 1.5)).toBeUndefined();
    expect([did, video.seeks.length]).toEqual([["flush"], 2]);
    expect(await run(video, forgotten, 8)).toMatchObject({ exact: false });
    expect(did).toEqual(["flush", "flush", "reload"]);
  });

  it("has a segment loaded again of which hls.js began in the middle", async () => {
    const video = new FakeVideo();
    video.stretches = [{ start: 10.2, end: 18 }];
    let flushes = 0;
    const begun = target({
      flush: () => {
        flushes += 1;
        video.stretches = [{ start: 9, end: 18 }];
      },
    });
    expect(await run(video, begun, 1)).toMatchObject({ exact: true });
    expect(flushes).toBe(1);
  });

  it("waits on a slow line for what is being loaded, and steps over a hole that nothing comes to fill", async () => {
    const video = new FakeVideo();
    video.stretches = [
      { start: 5, end: 9 },
      { start: 11, end: 18 },
    ];
    expect(await run(video, target({ loading: () => true }), 8), "it is on its way").toBeUndefined();
    expect(await run(video, target({ loadMs: () => 1_500 }), 8), "loads take long here").toBeUndefined();
    const found = await run(video, target({}), 8);
    expect(found).toMatchObject({ exact: false });
    expect(found?.shown).toBeCloseTo(11, 1);
  });

  it("calls the nearest frame the right one where it begins a little behind the moment", async () => {
    const video = new FakeVideo();
    video.stretches = [{ start: 10.01, end: 18 }];
    const nearest = target({
      within: FRAME / 2 + 0.005,
      aim: FRAME / 2,
      window: () => ({ start: 10, end: 20 }),
    });
    expect(await run(video, nearest, 4)).toMatchObject({ exact: true });
  });
});

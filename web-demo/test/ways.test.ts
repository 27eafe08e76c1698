import { describe, expect, it } from "vitest";
import type { Feed } from "../src/bicast/api";
import type { ShownFrame } from "../src/bicast/frames";
import { cutTarget, HELD } from "../src/bicast/hold";
import { localProblem } from "../src/bicast/problem";
import { Settling } from "../src/bicast/settling";
import { mediaTime } from "../src/bicast/timeline";
import { fallBack, whyNoHls } from "../src/bicast/ways-out";

const PATH = { available: true, reason: null, liveEdge: null };
const feed = (changes: {
  state?: Feed["state"];
  codec?: string;
  realtime?: Partial<Feed["paths"]["realtime"]>;
  hls?: Partial<Feed["paths"]["hls"]>;
}): Feed => ({
  state: changes.state ?? "live",
  tracks: [{ kind: "video", codec: changes.codec ?? "H264", renditions: [{ frameRate: 30 }] }],
  timeline: null,
  paths: {
    realtime: { ...PATH, ...changes.realtime },
    hls: { ...PATH, windowSeconds: 60, ...changes.hls },
  },
});

describe("ways out", () => {
  it("knows feeds that LL-HLS cannot carry, and says why", () => {
    expect(whyNoHls(null)).toBeNull();
    expect(whyNoHls(feed({}))).toBeNull();
    expect(whyNoHls(feed({ codec: "VP8" }))).toContain("VP8");
    expect(whyNoHls(feed({ hls: { available: false, reason: "there is nothing yet" } }))).toBe(
      "there is nothing yet",
    );
    // A codec that only this browser cannot play is the server's to offer and the browser's to refuse.
    expect(whyNoHls(feed({ codec: "H265" }))).toBeNull();
  });

  it("falls back where WebRTC is refused (H.265 in a browser without it), or shows nothing for too long", () => {
    const begun = { seen: false, late: false, problem: null };
    const refused = localProblem("No codec", "no codec in common", null, 406);
    expect(fallBack(feed({}), begun)).toBeNull();
    expect(fallBack(feed({ codec: "H265" }), { ...begun, problem: refused })).toEqual({
      reason: "no codec in common",
      refused: true,
    });
    expect(fallBack(feed({}), { ...begun, late: true })).toEqual({
      reason: "no picture came over WebRTC",
      refused: false,
    });
    const why = "it has B-frames";
    expect(fallBack(feed({ realtime: { available: false, reason: why } }), begun)).toEqual({
      reason: why,
      refused: true,
    });
  });

  it("stays where the other path is no better", () => {
    const late = { seen: false, late: true, problem: null };
    expect(fallBack(null, late)).toBeNull();
    expect(fallBack(feed({ state: "offline" }), late)).toBeNull();
    expect(fallBack(feed({ hls: { available: false } }), late)).toBeNull();
    expect(fallBack(feed({}), { ...late, seen: true })).toBeNull();
  });
});

const frame = (ms: number, shownAt: number, latencyMs: number | null = 40): ShownFrame => ({
  mediaTime: mediaTime(ms * 90),
  programTime: null,
  latencyMs,
  shownAt,
  presented: 1,
  raw: 0,
});

describe("Settling", () => {
  const steady = [frame(0, 1_000), frame(33, 1_033), frame(66, 1_066)];

  it("waits for fresh frames at their own pace", () => {
    const settling = new Settling();
    expect(settling.settled([], false)).toBe(false);
    expect(settling.settled(steady.slice(0, 2), false)).toBe(false);
    expect(settling.settled([frame(0, 1_000), frame(100, 1_017), frame(200, 1_033)], false)).toBe(false);
    expect(
      settling.settled(
        steady.map((one) => ({ ...one, latencyMs: 900 })),
        false,
      ),
    ).toBe(false);
    expect(settling.settled(steady, false)).toBe(true);
  });

  it("does not wait for ever, and longer where nobody asked", () => {
    const settling = new Settling();
    const slow = (at: number) => [frame(0, at - 600, 900), frame(100, at, 900)];
    expect(settling.settled(slow(1_000), false)).toBe(false);
    expect(settling.settled(slow(1_701), false)).toBe(true);
    expect(settling.settled(slow(3_900), true)).toBe(false);
    expect(settling.settled(slow(4_001), true)).toBe(true);
    settling.begin();
    expect(settling.settled(slow(9_000), false)).toBe(false);
  });
});

describe("cutTarget", () => {
  const held = mediaTime(900_000);
  const facts = { frames: [], frameTicks: 3_000, live: mediaTime(950_000), paused: false, since: null };

  it("goes on at the frame that is held, unless that is long ago and the viewer wants now", () => {
    expect(cutTarget(HELD, held, facts)).toEqual({ time: held, near: false });
    const late = { ...facts, live: mediaTime(900_000 + 11 * 90_000) };
    expect(cutTarget(HELD, held, late)).toBeNull();
    expect(cutTarget(HELD, held, { ...late, paused: true })).toEqual({ time: held, near: false });
    expect(cutTarget(HELD, null, facts)).toBeNull();
    expect(cutTarget({ kind: "edge" }, held, facts)).toBeNull();
  });

  it("goes where the viewer said, also without a picture", () => {
    const time = mediaTime(1);
    expect(cutTarget({ kind: "time", time }, null, facts)).toEqual({ time, near: true });
  });

  it("begins before the first loss where nothing is to be missed, but not for who pauses", () => {
    const frames = [frame(0, 1_000), frame(33, 1_033), frame(333, 1_066), frame(366, 1_100)].map(
      (one, n) => ({ ...one, presented: n }),
    );
    const miss = { ...facts, frames, since: 1_500 };
    expect(cutTarget(HELD, held, miss)).toEqual({ time: mediaTime(33 * 90), near: false });
    expect(cutTarget(HELD, held, { ...miss, paused: true })).toEqual({ time: held, near: false });
  });
});

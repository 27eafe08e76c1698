import { describe, expect, it } from "vitest";
import {
  aheadOf,
  beforeFirstLoss,
  compareFrames,
  hurryMs,
  nextHeld,
  usualFrameTicks,
} from "../src/bicast/cut-math";
import type { ShownFrame } from "../src/bicast/frames";
import { ReturnRule } from "../src/bicast/return-rule";
import { SwitchLog } from "../src/bicast/switch-log";
import { mediaTime } from "../src/bicast/timeline";

/** Frames of 30 per second by their numbers; each shown as it comes. */
const shown = (numbers: readonly number[], missedCallbacks: readonly number[] = []): ShownFrame[] =>
  numbers
    .map((number, n) => ({
      mediaTime: mediaTime(900_000 + number * 3_000 + (number % 3) * 300),
      programTime: null,
      latencyMs: null,
      shownAt: 1_000 + number * 33.3,
      presented: n + 1,
      raw: 0,
    }))
    .filter((_, n) => !missedCallbacks.includes(n));

const numberOf = (time: number | null) => (time === null ? null : Math.floor((time - 900_000) / 3_000));
const row = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

describe("the cut's arithmetic", () => {
  it("finds how much lies behind a time without a break", () => {
    const buffer = [
      { start: 1, end: 3 },
      { start: 4, end: 9 },
    ];
    expect(aheadOf(buffer, 2)).toBe(1);
    expect(aheadOf(buffer, 3.5)).toBeNull();
    expect(aheadOf(buffer, 3.996)).toBeCloseTo(5.004);
    expect(nextHeld(buffer, 2, 0)).toBe(2);
    expect(nextHeld(buffer, 3.5, 1)).toBe(4);
    expect(nextHeld(buffer, 3.5, 0.3)).toBeNull();
    expect(nextHeld(buffer, 9, 10)).toBeNull();
    expect(aheadOf(buffer, 9)).toBeNull();
    expect(aheadOf([], 0)).toBeNull();
  });

  it("knows an older and a newer picture from the same", () => {
    expect(compareFrames(5.0004, 5)).toBe("same");
    expect(compareFrames(4.967, 5)).toBe("early");
    expect(compareFrames(5.033, 5)).toBe("late");
    expect(compareFrames(5.012, 5, 0.0167)).toBe("same");
  });

  it("tells stored frames that flash by from frames that come at their own pace", () => {
    const at = (number: number, shownAt: number): ShownFrame =>
      ({ ...shown([number])[0], shownAt }) as ShownFrame;
    // Measured at a join: three frames within two display ticks, then one each 33 ms.
    expect(hurryMs([at(3, 0), at(6, 5), at(9, 22)])).toBeCloseTo(178);
    expect(Math.abs(hurryMs([at(9, 22), at(10, 57), at(11, 90)]) ?? 99)).toBeLessThan(25);
    // A display of 60 Hz shows frames of 30 a second after 17, 33 or 50 ms.
    expect(Math.abs(hurryMs([at(9, 0), at(10, 17), at(11, 50)]) ?? 99)).toBeLessThan(25);
    expect(hurryMs([at(9, 0), at(10, 33)])).toBeNull();
  });

  it("begins with the newest picture where none is missing, also where callbacks are", () => {
    expect(numberOf(beforeFirstLoss(shown(row(1, 60)), 3_000, 0))).toBe(60);
    expect(numberOf(beforeFirstLoss(shown(row(1, 60), [10, 30, 31, 32]), 3_000, 0))).toBe(60);
    expect(beforeFirstLoss([], 3_000, 0)).toBeNull();
  });

  it("begins before the first picture that the network took since the trouble began", () => {
    const frames = shown([...row(1, 20), ...row(23, 40), ...row(45, 60)]);
    expect(numberOf(beforeFirstLoss(frames, 3_000, 0))).toBe(20);
    expect(numberOf(beforeFirstLoss(frames, 3_000, 1_000 + 30 * 33.3))).toBe(40);
    expect(numberOf(beforeFirstLoss(frames, 3_000, 1_000 + 50 * 33.3))).toBe(60);
    // Longer ago than ten seconds is not made good.
    expect(numberOf(beforeFirstLoss(shown([1, 2, 5, ...row(6, 400)]), 3_000, 0))).toBe(400);
  });

  it("learns how far apart frames are, in spite of missing ones", () => {
    expect(usualFrameTicks(shown(row(1, 60)), 1)).toBeCloseTo(3_000, -3);
    expect(usualFrameTicks(shown(row(1, 60), [5, 6, 7, 20, 33]), 1)).toBeGreaterThan(2_300);
    expect(usualFrameTicks(shown([1, 2]), 25)).toBe(3_600);
  });
});

describe("ReturnRule", () => {
  it("waits, and three times as long after each return that did not last", () => {
    const rule = new ReturnRule();
    expect(rule.due(1e9)).toBe(false);
    rule.moved(0);
    expect([rule.due(14_999), rule.due(15_000)]).toEqual([false, true]);
    rule.returned(15_000);
    expect(rule.due(1e9)).toBe(false);
    rule.moved(20_000);
    expect([rule.due(64_999), rule.due(65_000)]).toEqual([false, true]);
    rule.failed(65_000);
    expect(rule.dueAt).toBe(65_000 + 135_000);
    rule.returned(200_000);
    rule.moved(300_000);
    expect(rule.dueAt).toBe(315_000);
  });

  it("never waits for more than ten minutes, and not at all for what the viewer chose", () => {
    const rule = new ReturnRule();
    rule.moved(0);
    for (let n = 0; n < 20; n += 1) rule.failed(0);
    expect(rule.dueAt).toBe(600_000);
    rule.forget();
    expect(rule.dueAt).toBeNull();
  });
});

describe("SwitchLog", () => {
  const arrival = { to: "hls", reason: "why", now: 2_000, orderedAt: 1_500, frameTicks: 3_000 } as const;

  it("knows the same frame from a jump, and what a jump skipped", () => {
    const log = new SwitchLog();
    const add = (left: number | null, shown: number | null) =>
      log.add({
        ...arrival,
        left: left === null ? null : mediaTime(left),
        shown: shown === null ? null : mediaTime(shown),
      });
    expect(add(90_000, 90_001)).toMatchObject({ exact: true, jumpMs: 0, tookMs: 500 });
    // The next frame skips nothing; 30 frames on, 29 were skipped.
    expect(add(90_000, 93_000)).toMatchObject({ exact: false, jumpMs: 0 });
    expect(add(90_000, 180_000).jumpMs).toBeCloseTo(966.7, 1);
    expect(add(90_000, 60_000).jumpMs).toBeCloseTo(-333.3, 1);
    expect(add(null, 60_000)).toMatchObject({ exact: false, jumpMs: null });
    expect(log.stood(1_200, 2_000)?.stillMs).toBe(800);
    expect(log.last?.stillMs).toBe(800);
    expect(log.stood(null, 3_000)).toBeNull();
    log.add({ ...arrival, to: "realtime", left: null, shown: null });
    expect(log.stood(1_200, 3_000)).toBeNull();
    for (let n = 0; n < 50; n += 1) add(0, 0);
    expect(log.list.length).toBe(20);
  });
});

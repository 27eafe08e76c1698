import { describe, expect, it } from "vitest";
import {
  ClockEstimate,
  HlsTimeMap,
  type MediaTime,
  mediaTime,
  programTime,
  rtpOf,
  toMediaTime,
  toProgramTime,
  unwrapRtp,
} from "../src/bicast/timeline";

const RANGE = 2 ** 32;

describe("unwrapRtp", () => {
  it("is the inverse of rtpOf near any position", () => {
    for (const ticks of [0, 1, 900_000, RANGE - 1, RANGE, RANGE + 1, 5 * RANGE + 123, 2 ** 45 + 7]) {
      for (const away of [0, 1, -1, 90_000, -90_000, RANGE / 2 - 1, -(RANGE / 2 - 1)]) {
        const time = mediaTime(ticks);
        expect(unwrapRtp(rtpOf(time), mediaTime(ticks + away))).toBe(time);
      }
    }
  });

  it("goes on over the wrap in both directions", () => {
    expect(unwrapRtp(2_000, mediaTime(RANGE - 1_000))).toBe(RANGE + 2_000);
    expect(unwrapRtp(RANGE - 1_000, mediaTime(RANGE + 2_000))).toBe(RANGE - 1_000);
  });

  it("takes an anchor before the origin", () => {
    expect(unwrapRtp(RANGE - 5, mediaTime(-3))).toBe(-5);
    expect(rtpOf(mediaTime(-5))).toBe(RANGE - 5);
  });
});

describe("program time", () => {
  const anchor = { anchorUnixMs: 1_795_411_719_223.456, masterClockRate: 90_000 };

  it("is the anchor plus the media time", () => {
    expect(toProgramTime(anchor, mediaTime(900_000))).toBeCloseTo(1_795_411_729_223.456, 3);
  });

  it("comes back to the same tick", () => {
    for (const ticks of [0, 3_000, 7_173_001, RANGE + 17]) {
      expect(toMediaTime(anchor, toProgramTime(anchor, mediaTime(ticks)))).toBe(ticks);
    }
  });
});

describe("HlsTimeMap", () => {
  it("is unknown before the first shift", () => {
    const map = new HlsTimeMap();
    expect(map.toMediaTime(3)).toBeNull();
    expect(map.toSeconds(mediaTime(3))).toBeNull();
  });

  it("is exact to the tick for every frame of an hour at 30 fps", () => {
    const map = new HlsTimeMap();
    const first = 954_321;
    map.set(0, 0, first, 90_000);
    for (let frame = 0; frame < 108_000; frame += 997) {
      const time = (first + frame * 3_000) as MediaTime;
      // MSE rounds to microseconds.
      const seconds = Math.round(((time - first) / 90_000) * 1e6) / 1e6;
      expect(map.toMediaTime(seconds)).toBe(time);
      expect(map.toSeconds(time)).toBeCloseTo(seconds, 5);
    }
  });

  it("keeps one shift per discontinuity, each from where it begins", () => {
    const map = new HlsTimeMap();
    map.set(0, 0, 900_000, 90_000);
    // A publisher that was away for 5 s: media time went on, the element's clock did not.
    map.set(1, 20, 900_000 + 5 * 90_000, 90_000);
    expect(map.toMediaTime(19.9)).toBe(900_000 + 19.9 * 90_000);
    expect(map.toMediaTime(20)).toBe(900_000 + 25 * 90_000);
    expect(map.toMediaTime(19.999)).toBe(900_000 + 24.999 * 90_000);
    expect(map.toSeconds(mediaTime(900_000 + 25 * 90_000))).toBeCloseTo(20, 9);
    expect(map.toSeconds(mediaTime(900_000 + 10 * 90_000))).toBeCloseTo(10, 9);
  });

  it("keeps what was appended before when a discontinuity is mapped anew", () => {
    const map = new HlsTimeMap();
    map.set(0, 0, 90_000, 90_000);
    map.set(0, 10, 180_000, 90_000);
    expect(map.toMediaTime(5)).toBe(6 * 90_000);
    expect(map.toMediaTime(11)).toBe(13 * 90_000);
    map.set(0, 10, 270_000, 90_000);
    expect(map.toMediaTime(11)).toBe(14 * 90_000);
  });

  it("takes other timescales, refuses nonsense, stays bounded", () => {
    const map = new HlsTimeMap();
    map.set(0, 0, Number.NaN, 90_000);
    map.set(0, 0, 1, 0);
    expect(map.toMediaTime(0)).toBeNull();
    map.set(0, 0, 48_000, 48_000);
    expect(map.toMediaTime(1)).toBe(180_000);
    for (let cc = 1; cc < 5_000; cc += 1) map.set(cc, cc * 10, cc, 90_000);
    expect(map.toMediaTime(49_990)).toBe(49_990 * 90_000 + 4_999);
    map.clear();
    expect(map.toMediaTime(1)).toBeNull();
  });
});

describe("ClockEstimate", () => {
  it("believes the shortest round trip", () => {
    const clock = new ClockEstimate();
    expect(clock.offsetMs).toBeNull();
    // The true offset is 500; a slow answer says 540 because its way back was longer.
    clock.add({ sent: 1_000, received: 1_100, server: 1_590 });
    expect(clock.offsetMs).toBe(540);
    clock.add({ sent: 2_000, received: 2_004, server: 2_502 });
    expect(clock.offsetMs).toBe(500);
    clock.add({ sent: 3_000, received: 3_200, server: 3_700 });
    expect(clock.offsetMs).toBe(500);
    expect(clock.errorMs).toBe(2);
  });

  it("forgets old exchanges, so that a drifting clock is followed", () => {
    const clock = new ClockEstimate(3);
    clock.add({ sent: 0, received: 1, server: 100 });
    for (let i = 1; i <= 3; i += 1)
      clock.add({ sent: i * 1_000, received: i * 1_000 + 10, server: i * 1_000 + 155 });
    expect(clock.offsetMs).toBe(150);
    expect(clock.samples).toBe(3);
  });

  it("ignores exchanges that cannot be", () => {
    const clock = new ClockEstimate();
    clock.add({ sent: 10, received: 5, server: 7 });
    clock.add({ sent: 10, received: 20, server: Number.NaN });
    expect(clock.samples).toBe(0);
    expect(programTime(1)).toBe(1);
  });
});

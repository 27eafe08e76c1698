import { describe, expect, it } from "vitest";
import { LatencyMeter, percentile } from "../src/bicast/latency";
import { series } from "../src/ui/series";

describe("LatencyMeter", () => {
  it("tells median and p95 of a window", () => {
    const meter = new LatencyMeter(60_000);
    for (let i = 1; i <= 100; i += 1) meter.add(i * 100, i);
    expect(meter.summary(10_000)).toEqual({ p50: 50, p95: 95, count: 100 });
    expect(meter.summary(10_000, 1_000)).toEqual({ p50: 95, p95: 100, count: 11 });
    expect(meter.now(10_000)).toBe(95);
    expect(meter.summary(99_000, 1_000)).toBeNull();
  });

  it("is not moved by one late frame", () => {
    const meter = new LatencyMeter();
    for (let i = 0; i < 30; i += 1) meter.add(i * 33, 40);
    meter.add(1_000, 900);
    expect(meter.now(1_000)).toBe(40);
  });

  it("stays bounded in time and in number", () => {
    const meter = new LatencyMeter(1_000, 50);
    for (let i = 0; i < 10_000; i += 1) meter.add(i, i);
    expect(meter.summary(9_999)?.count).toBe(50);
    meter.add(20_000, 1);
    expect(meter.summary(20_000)?.count).toBe(1);
  });

  it("shows gaps as gaps", () => {
    const meter = new LatencyMeter(10_000);
    meter.add(500, 10);
    meter.add(600, 30);
    meter.add(9_500, 20);
    const points = series(meter, 10_000, 10);
    expect(points).toEqual([10, null, null, null, null, null, null, null, null, 20]);
  });

  it("ignores what is not a number and forgets on request", () => {
    const meter = new LatencyMeter();
    meter.add(1, Number.NaN);
    expect(meter.summary(1)).toBeNull();
    meter.add(2, 5);
    meter.clear();
    expect(meter.now(2)).toBeNull();
  });
});

describe("percentile", () => {
  it("is the nearest rank", () => {
    expect(percentile([7], 0.95)).toBe(7);
    expect(percentile([1, 2], 0.5)).toBe(1);
    expect(percentile([1, 2, 3, 4], 0.95)).toBe(4);
    expect(percentile([], 0.5)).toBeNaN();
  });
});

import { describe, expect, it } from "vitest";
import {
  apart,
  boundEdges,
  depthScale,
  depthShare,
  depthTicks,
  nearest,
  nextScale,
  runs,
  type Sample,
  spread,
  tickWords,
  timeShare,
  windowTicks,
} from "../src/pages/compare/geometry";
import { costWords, type Mark, Marks, stillWords, Trail } from "../src/pages/compare/trail";
import { typicalLag } from "../src/ui/edge-lag";

const at = (time: number, behindMs: number | null, path: "realtime" | "hls" = "realtime"): Sample => ({
  at: time,
  behindMs,
  path,
});

describe("the depth scale", () => {
  it("is even while everybody is near live, and holds the deepest with air below", () => {
    const scale = depthScale(1_200);
    expect(scale).toEqual({ linearMs: 1_500, mostMs: 1_500 });
    expect(depthShare(scale, 0)).toBe(0);
    expect(depthShare(scale, 750)).toBe(0.5);
    expect(depthShare(scale, 99_000)).toBe(1);
    expect(depthShare(scale, -5)).toBe(0);
  });

  it("goes on in powers where somebody has rewound, without a jump where it bends", () => {
    const scale = depthScale(100_000);
    expect(scale.mostMs).toBe(300_000);
    expect(depthShare(scale, scale.linearMs)).toBeCloseTo(depthShare(scale, scale.linearMs + 0.01), 4);
    const depths = [0, 50, 1_000, 2_000, 5_000, 60_000, 300_000];
    const shares = depths.map((depth) => depthShare(scale, depth));
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBe(1);
    // A second is still a good part of the picture.
    expect(shares[2]).toBeGreaterThan(0.25);
  });

  it("has ticks inside itself, and no depth that it cannot hold", () => {
    for (const deepest of [0, 10, 900, 5_000, 7_000, 700_000, 1e12]) {
      const scale = depthScale(deepest);
      const shares = depthTicks(scale).map((tick) => depthShare(scale, tick));
      expect(shares.every((share) => share > 0 && share <= 1)).toBe(true);
      expect(new Set(shares).size).toBe(shares.length);
    }
  });

  it("grows at once and shrinks only when half of it is empty", () => {
    const wide = nextScale(null, 1_900);
    expect(nextScale(wide, 5_000).mostMs).toBe(6_000);
    expect(nextScale(depthScale(5_000), 3_400).mostMs).toBe(6_000);
    expect(nextScale(depthScale(5_000), 1_200).mostMs).toBe(1_500);
  });

  it("labels no two ticks that would cover each other", () => {
    expect(apart([0, 10, 20, 21, 40], 16)).toEqual([0, 20, 40]);
    expect(apart([], 16)).toEqual([]);
  });

  it("names its ticks", () => {
    expect([500, 1_500, 60_000, 7_200_000].map(tickWords)).toEqual(["500 ms", "1.5 s", "1 min", "2 h"]);
  });
});

describe("live edges", () => {
  it("are never deeper than what is on a screen, and WebRTC's never behind HLS's", () => {
    const told = { realtime: 700, hls: 300 };
    expect(boundEdges(told, [null, null])).toEqual({ realtime: 300, hls: 300 });
    expect(boundEdges(told, [at(0, 40), at(0, 1_200, "hls")])).toEqual({ realtime: 40, hls: 300 });
    expect(boundEdges(told, [at(0, 250, "hls"), null])).toEqual({ realtime: 250, hls: 250 });
    expect(boundEdges({ realtime: null, hls: null }, [at(0, 40), null])).toEqual({
      realtime: null,
      hls: null,
    });
    expect(boundEdges({ realtime: 20, hls: null }, [null, at(0, null)])).toEqual({ realtime: 20, hls: null });
  });
});

describe("an edge that is told by answers", () => {
  it("is the youngest answer for WebRTC, and the usual one for LL-HLS", () => {
    expect(typicalLag("realtime", [700, 20, 400])).toBe(20);
    expect(typicalLag("hls", [200, 10, 110])).toBe(110);
  });
});

describe("time across", () => {
  it("is a share of the window, beyond it outside 0 to 1", () => {
    expect([0, 50, 100, 150].map((time) => timeShare(0, 100, time))).toEqual([0, 0.5, 1, 1.5]);
    expect(timeShare(5, 5, 5)).toBe(1);
  });

  it("has as many ticks as there is room for, none beyond the window", () => {
    expect(windowTicks(60_000, 6)).toEqual([10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
    for (const length of [0, 24_000, 60_000, 290_000, 1_800_000, 86_400_000]) {
      for (const most of [3, 8]) {
        const ticks = windowTicks(length, most);
        expect(ticks.length).toBeLessThanOrEqual(most);
        expect(ticks.every((tick) => tick <= length)).toBe(true);
      }
    }
  });
});

describe("a trail", () => {
  it("is drawn in the colour of each path, joined where the path changes and broken where nothing was known", () => {
    const found = runs(
      [
        at(0, 40),
        at(250, 50),
        at(500, 900, "hls"),
        at(750, null),
        at(1_000, 800, "hls"),
        at(9_000, 700, "hls"),
      ],
      1_500,
    );
    expect(found.map(({ path, points }) => [path, points.map((point) => point.at)])).toEqual([
      ["realtime", [0, 250]],
      ["hls", [250, 500, 1_000]],
      ["hls", [9_000]],
    ]);
  });

  it("forgets what is older than its length, and never holds more than its most", () => {
    const trail = new Trail(1_000, 5);
    for (let time = 0; time <= 3_000; time += 250) trail.add(at(time, time));
    expect(trail.samples.map((one) => one.at)).toEqual([2_000, 2_250, 2_500, 2_750, 3_000]);
    for (let more = 0; more < 50; more += 1) trail.add(at(3_001, 7));
    expect(trail.samples).toHaveLength(5);
    expect(trail.deepest(0)).toBe(7);
    expect(trail.deepest(4_000)).toBe(0);
  });
});

describe("labels", () => {
  it("keep their distance and stay in the box", () => {
    const places = spread([10, 12, 11, 200, 199], 15, 5, 205);
    const sorted = [...places].sort((a, b) => a - b);
    for (let index = 1; index < sorted.length; index += 1)
      expect((sorted[index] as number) - (sorted[index - 1] as number)).toBeGreaterThanOrEqual(15);
    expect(Math.max(...places)).toBeLessThanOrEqual(205);
    // Who wants to be higher is higher.
    expect(places[0]).toBeLessThan(places[2] as number);
    expect(places[2]).toBeLessThan(places[1] as number);
    expect(spread([50], 15, 0, 100)).toEqual([50]);
    expect(spread([], 15, 0, 100)).toEqual([]);
  });
});

describe("a pointer", () => {
  it("means the nearest mark within reach", () => {
    const places = [
      { x: 10, y: 10 },
      { x: 30, y: 10 },
    ];
    expect(nearest(places, 24, 12, 20)).toBe(1);
    expect(nearest(places, 80, 80, 20)).toBeNull();
    expect(nearest([], 0, 0, 20)).toBeNull();
  });
});

describe("switches", () => {
  const what = { to: "hls", reason: "loss", at: 0, tookMs: 900, stillMs: 0, jumpMs: 0, exact: true } as const;

  it("are told by what they cost", () => {
    expect(costWords(what)).toBe("no frame lost");
    expect(costWords({ ...what, exact: false, jumpMs: null })).toBe("gap not known");
    expect(costWords({ ...what, exact: false, jumpMs: -400 })).toBe("400 ms seen again");
    expect(costWords({ ...what, exact: false, jumpMs: 1_570 })).toBe("1.57 s lost");
    expect(costWords({ ...what, to: "realtime", exact: false, jumpMs: 912 })).toBe(
      "912 ms skipped to be live",
    );
    expect(stillWords(what)).toBe("picture never stood");
    expect(stillWords({ ...what, stillMs: 320 })).toBe("picture held 320 ms");
  });

  it("are kept in order, the newest hundred", () => {
    const marks = new Marks();
    const mark = (time: number): Mark => ({ who: "VIP", at: time, behindMs: null, what });
    marks.add(mark(5));
    marks.add(mark(3));
    expect(marks.list.map((one) => one.at)).toEqual([3, 5]);
    for (let time = 10; time < 200; time += 1) marks.add(mark(time));
    expect(marks.list).toHaveLength(100);
    expect(marks.list.at(-1)?.at).toBe(199);
  });
});

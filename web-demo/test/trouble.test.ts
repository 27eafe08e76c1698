import { describe, expect, it } from "vitest";
import { type LineFacts, LineWatch } from "../src/bicast/trouble";

const GOOD: LineFacts = { hidden: false, link: "connected", serverAheadMs: 1_000 };
const NOTHING = { packetsReceived: 0, packetsLost: 0, freezes: 0, frozenMs: 0 };

/** A line with a picture, looked at ten times a second until `now` = 2000. */
function line(framesMs = 33): LineWatch {
  const watch = new LineWatch();
  for (let at = 0; at <= 2_000; at += 1) {
    if (at % framesMs === 0) watch.frames(at);
    if (at % 100 === 0) watch.look(at, GOOD);
  }
  return watch;
}

/** Looks every 100 ms and tells when each state was first seen. */
function follow(watch: LineWatch, from: number, to: number, facts: LineFacts): Record<string, number> {
  const first: Record<string, number> = {};
  for (let at = from; at <= to; at += 100) first[watch.look(at, facts).state] ??= at - from;
  return first;
}

describe("LineWatch", () => {
  it("says nothing about a line with a picture, or before the first one", () => {
    expect(line().look(2_050, GOOD).state).toBe("fine");
    expect(follow(new LineWatch(), 0, 20_000, GOOD)).toEqual({ fine: 0 });
  });

  it("sees a line that is cut at once, and gives it up in time to play over HLS within 3 s", () => {
    const { trouble, failing } = follow(line(), 2_000, 6_000, GOOD);
    expect(trouble).toBeLessThanOrEqual(500);
    expect(failing).toBeLessThanOrEqual(1_200);
  });

  it("does not blame the line where the server has nothing newer", () => {
    const seen = follow(line(), 2_000, 30_000, { ...GOOD, serverAheadMs: 30 });
    expect(seen.failing).toBeUndefined();
    expect(seen.trouble).toBeDefined();
    expect(follow(line(), 2_000, 6_000, { ...GOOD, serverAheadMs: null }).failing).toBeGreaterThan(2_000);
  });

  it("does not take a slow source for a bad line", () => {
    const watch = line(200);
    for (let at = 2_000; at < 40_000; at += 200) {
      watch.frames(at);
      expect(watch.look(at + 190, GOOD).state).toBe("fine");
    }
  });

  it("knows nothing of pictures in the background, only of the connection", () => {
    expect(follow(line(), 2_000, 9_000, { ...GOOD, hidden: true })).toEqual({ fine: 0 });
    expect(line().look(2_100, { ...GOOD, hidden: true, link: "broken" }).state).toBe("failing");
  });

  it("does not blame the line for a machine that slept", () => {
    const watch = line();
    expect(watch.look(3_600_000, GOOD).state).toBe("fine");
    expect(watch.look(3_600_100, GOOD).state).toBe("fine");
    expect(follow(watch, 3_600_200, 3_604_000, GOOD).failing).toBeDefined();
  });

  it("counts losses and freezes of the last seconds only, and of one connection", () => {
    const lossy = (share: number) => {
      const watch = line();
      watch.counts(1_000, { ...NOTHING });
      watch.counts(2_000, { ...NOTHING, packetsReceived: 1_000 * (1 - share), packetsLost: 1_000 * share });
      return watch.look(2_050, GOOD);
    };
    expect(lossy(0.01).state).toBe("fine");
    expect(lossy(0.05).state).toBe("trouble");
    expect(lossy(0.3)).toEqual({ state: "failing", reason: "30 % of packets are lost" });
    const frozen = line();
    frozen.counts(0, { ...NOTHING });
    frozen.counts(2_000, { ...NOTHING, packetsReceived: 500, freezes: 3, frozenMs: 900 });
    expect(frozen.look(2_050, GOOD).state).toBe("failing");
    const anew = line();
    anew.counts(1_000, { packetsReceived: 9_000, packetsLost: 10, freezes: 0, frozenMs: 0 });
    anew.counts(2_000, { packetsReceived: 100, packetsLost: 90, freezes: 5, frozenMs: 900 });
    expect(anew.look(2_050, GOOD).state).toBe("fine");
  });

  it("calls it over only after a while, and remembers since when", () => {
    const watch = line();
    follow(watch, 2_000, 2_600, GOOD);
    const since = watch.since;
    expect(since).toBeGreaterThan(2_000);
    let over = 0;
    for (let at = 2_700; at < 20_000 && over === 0; at += 100) {
      watch.frames(at);
      if (watch.look(at, GOOD).state === "fine") over = at;
      else expect(watch.since).toBe(since);
    }
    expect(over).toBeGreaterThan(12_000);
    expect(watch.since).toBeNull();
  });
});

import { describe, expect, it } from "vitest";
import type { Path } from "../src/bicast/leg";
import {
  type BridgeEvent,
  type BridgeState,
  bridge,
  chosenPath,
  comingPath,
  visiblePath,
} from "../src/bicast/path-state";

/** Runs events one after the other; the acts are written as `start:hls`. */
function run(events: readonly BridgeEvent[]): { state: BridgeState; acts: string[] } {
  let state: BridgeState = "idle";
  const acts: string[] = [];
  for (const event of events) {
    const next = bridge(state, event);
    state = next.state;
    acts.push(...next.acts.map(({ act, path }) => `${act}:${path}`));
  }
  return { state, acts };
}

describe("bridge", () => {
  it("makes the new path before it breaks the old one", () => {
    const { state, acts } = run([
      { type: "start", path: "realtime" },
      { type: "switch", to: "hls" },
      { type: "arrived", path: "hls" },
      { type: "switch", to: "realtime" },
      { type: "arrived", path: "realtime" },
    ]);
    expect(state).toBe("live");
    expect(acts).toEqual([
      "start:realtime",
      "reveal:realtime",
      "start:hls",
      "reveal:hls",
      "stop:realtime",
      "start:realtime",
      "reveal:realtime",
      "stop:hls",
    ]);
  });

  it("holds the old picture while the new one is on its way", () => {
    const { state } = run([
      { type: "start", path: "realtime" },
      { type: "switch", to: "hls" },
    ]);
    expect(state).toBe("holding");
    expect([visiblePath(state), comingPath(state), chosenPath(state)]).toEqual(["realtime", "hls", "hls"]);
  });

  it("stays where it is when the other path does not come", () => {
    const { state, acts } = run([
      { type: "start", path: "hls" },
      { type: "switch", to: "realtime" },
      { type: "gave-up", path: "realtime" },
    ]);
    expect(state).toBe("hls");
    expect(acts.at(-1)).toBe("stop:realtime");
  });

  it("changes its mind without showing anything else", () => {
    const { state, acts } = run([
      { type: "start", path: "realtime" },
      { type: "switch", to: "hls" },
      { type: "switch", to: "realtime" },
      { type: "arrived", path: "hls" },
    ]);
    expect(state).toBe("live");
    expect(acts.at(-1)).toBe("stop:hls");
  });

  it("keeps its promises whatever happens in whatever order", () => {
    const events: BridgeEvent[] = [
      ...(["realtime", "hls"] as const).flatMap((path): BridgeEvent[] => [
        { type: "start", path },
        { type: "switch", to: path },
        { type: "arrived", path },
        { type: "gave-up", path },
      ]),
      { type: "stop" },
    ];
    let seed = 42;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    let state: BridgeState = "idle";
    const running = new Set<Path>();
    let front: Path | null = null;
    for (let step = 0; step < 50_000; step += 1) {
      const event = events[Math.floor(random() * events.length)] as BridgeEvent;
      const next = bridge(state, event);
      for (const { act, path } of next.acts) {
        if (act === "start") running.add(path);
        if (act === "stop") running.delete(path);
        // What is brought to the front has been started, and what was in front before still runs at that moment.
        if (act === "reveal") {
          expect(running.has(path)).toBe(true);
          if (front !== null && state !== "idle") expect(running.has(front)).toBe(true);
          front = path;
        }
      }
      state = next.state;
      if (state === "idle") {
        expect(running.size).toBe(0);
        front = null;
      } else {
        expect(visiblePath(state)).toBe(front);
        const expected = new Set([visiblePath(state), comingPath(state)].filter((path) => path !== null));
        expect(running).toEqual(expected);
      }
    }
  });
});

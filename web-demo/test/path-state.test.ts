import { describe, expect, it } from "vitest";
import type { Path } from "../src/bicast/leg";
import {
  type Bridge,
  type BridgeAct,
  type BridgeEvent,
  bridge,
  chosenPath,
  comingPath,
  IDLE,
  runningPaths,
  visiblePath,
} from "../src/bicast/path-state";

const START: BridgeEvent = { type: "start", path: "realtime" };
const LEAVE: BridgeEvent = { type: "leave", now: false };
const AT_ONCE: BridgeEvent = { type: "leave", now: true };
const JUMP: BridgeEvent = { type: "return", how: "jump", alive: true };
const JUMP_FROM_DEAD: BridgeEvent = { type: "return", how: "jump", alive: false };
const CATCH_UP: BridgeEvent = { type: "return", how: "catch-up", alive: false };
const event = (type: "trouble" | "calm" | "warmed" | "cut" | "follow" | "edge" | "arrived" | "stop") =>
  ({ type }) as BridgeEvent;
const lost = (path: Path, alive: boolean): BridgeEvent => ({ type: "lost", path, alive });

const write = (step: BridgeAct) => ("path" in step ? `${step.act}:${step.path}` : step.act);

/** Runs events one after the other; acts are written as `start:hls`. */
function run(...events: BridgeEvent[]): { state: Bridge; acts: string[]; last: string[] } {
  let state = IDLE;
  let last: string[] = [];
  const acts: string[] = [];
  for (const one of events) {
    const next = bridge(state, one);
    state = next.state;
    last = next.acts.map(write);
    acts.push(...last);
  }
  return { state, acts, last };
}

describe("bridge", () => {
  it("leaves WebRTC by way of HLS that is warm and a picture that is held, and goes back underneath", () => {
    const { state, acts } = run(START, LEAVE, event("warmed"), event("cut"), JUMP, event("arrived"));
    expect(state.at).toBe("live");
    expect(acts).toEqual([
      ...["start:realtime", "show:realtime"],
      ...["warm", "hold", "cut", "show:hls", "stop:realtime"],
      ...["start:realtime", "show:realtime", "stop:hls"],
    ]);
  });

  it("plays on until HLS holds media, unless the picture has to stop at once", () => {
    const waiting = run(START, LEAVE).state;
    expect([waiting.at, visiblePath(waiting), chosenPath(waiting)]).toEqual(["warming", "realtime", "hls"]);
    expect(run(START, AT_ONCE).last).toEqual(["warm", "hold", "cut"]);
    expect(run(START, event("trouble"), AT_ONCE).last).toEqual(["hold", "cut"]);
  });

  it("loads HLS at the first sign of trouble and not before, and lets it go when the trouble has passed", () => {
    expect(runningPaths(run(START).state)).toEqual(["realtime"]);
    const warm = run(START, event("trouble"));
    expect([warm.state.at, comingPath(warm.state)]).toEqual(["warming", null]);
    expect(run(START, event("trouble"), event("warmed")).state.at).toBe("warming");
    expect(run(START, event("trouble"), event("calm")).last).toEqual(["stop:hls"]);
    // A switch that was ordered is not called off by calm.
    expect(run(START, LEAVE, event("calm")).state.next).toBe("hls");
  });

  it("changes its mind while a switch is under way", () => {
    expect(run(START, LEAVE, JUMP).state).toEqual({ at: "warming", next: null });
    const back = run(START, AT_ONCE, JUMP);
    expect([back.state.at, back.last]).toEqual(["live", ["release", "show:realtime", "stop:hls"]]);
    expect(run(START, AT_ONCE, event("cut"), JUMP, LEAVE).last).toEqual(["stop:realtime"]);
  });

  it("does not go back to a dead picture: HLS first, then WebRTC anew", () => {
    const held = run(START, AT_ONCE, JUMP_FROM_DEAD);
    expect([held.state.at, chosenPath(held.state), visiblePath(held.state)]).toEqual([
      ...["holding", "realtime", "realtime"],
    ]);
    expect(run(START, AT_ONCE, JUMP_FROM_DEAD, event("cut")).last).toEqual([
      ...["show:hls", "stop:realtime", "start:realtime"],
    ]);
    expect(run(START, AT_ONCE, JUMP_FROM_DEAD, LEAVE, event("cut")).state.at).toBe("hls");
  });

  it("keeps the picture that is held where HLS does not come and WebRTC is gone", () => {
    expect(run(START, AT_ONCE, lost("hls", false)).state.at).toBe("holding");
    expect(run(START, AT_ONCE, lost("hls", true)).last).toEqual(["release", "show:realtime", "stop:hls"]);
    expect(run(START, LEAVE, lost("hls", true)).state.at).toBe("live");
  });

  it("stays on HLS where WebRTC does not come", () => {
    const { state, last } = run({ type: "start", path: "hls" }, JUMP, lost("realtime", false));
    expect([state.at, last]).toEqual(["hls", ["stop:realtime"]]);
  });

  it("catches up first and jumps over what is left", () => {
    const begun = run({ type: "start", path: "hls" }, CATCH_UP);
    expect([begun.state.at, comingPath(begun.state), begun.last]).toEqual([
      "catching-up",
      "realtime",
      ["pace"],
    ]);
    const edge = run({ type: "start", path: "hls" }, CATCH_UP, event("edge"));
    expect([edge.state.at, edge.last]).toEqual(["returning", ["pace", "start:realtime"]]);
    const impatient = run({ type: "start", path: "hls" }, CATCH_UP, JUMP);
    expect(impatient.state.at).toBe("returning");
    const stays = run({ type: "start", path: "hls" }, event("follow"), event("edge"));
    expect([stays.state.at, stays.last]).toEqual(["hls", ["pace"]]);
  });

  it("keeps its promises whatever happens in whatever order", () => {
    const events: BridgeEvent[] = [
      START,
      { type: "start", path: "hls" },
      ...[LEAVE, AT_ONCE, JUMP, JUMP_FROM_DEAD, CATCH_UP],
      ...(["trouble", "calm", "warmed", "cut", "follow", "edge", "arrived", "stop"] as const).map(event),
      ...(["realtime", "hls"] as const).flatMap((path) => [lost(path, true), lost(path, false)]),
    ];
    let seed = 42;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    let state = IDLE;
    const running = new Set<Path>();
    const reached = new Set<string>();
    let front: Path | null = null;
    let held = false;
    // So many `expect`s take longer on a busy machine than a test may.
    const must = (kept: boolean, promise: string, step: number) => {
      if (!kept) throw new Error(`step ${step}, ${state.at}: ${promise}`);
    };
    for (let step = 0; step < 50_000; step += 1) {
      const next = bridge(state, events[Math.floor(random() * events.length)] as BridgeEvent);
      for (const one of next.acts) {
        if (one.act === "start" || one.act === "warm") {
          const path = one.act === "warm" ? "hls" : one.path;
          must(!running.has(path), `${path} is started once`, step);
          running.add(path);
        }
        // Stopping at the end of all is allowed to be too much.
        if (one.act === "stop") {
          if (next.state.at !== "idle") must(front !== one.path, "what is in front is not stopped", step);
          running.delete(one.path);
        }
        if (one.act === "show") {
          // What comes to the front runs, and so does what was there: it is never black.
          must(running.has(one.path) && (front === null || running.has(front)), "never black", step);
          front = one.path;
          held = false;
        }
        if (one.act === "hold") {
          must(front === "realtime", "WebRTC is held", step);
          held = true;
        }
        // HLS is brought to a frame only under a picture that is held.
        if (one.act === "cut") must(held, "cut under a picture that is held", step);
      }
      state = next.state;
      reached.add(state.at);
      if (state.at === "idle") {
        front = null;
        held = false;
      }
      must(visiblePath(state) === front, "the state says what is in front", step);
      must(held === (state.at === "holding"), "the state says what is held", step);
      const said = runningPaths(state);
      must(running.size === said.length && said.every((path) => running.has(path)), "and what runs", step);
    }
    expect(reached.size).toBe(7);
  });
});

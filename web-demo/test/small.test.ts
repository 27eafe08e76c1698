import { describe, expect, it } from "vitest";
import { Backoff } from "../src/bicast/backoff";
import { clockStrip, clockTime, numberStrip, readStrip, type Strip, whiteBoxes } from "../src/bicast/barcode";
import { legState, STALL_MS } from "../src/bicast/leg-state";
import { BicastError } from "../src/bicast/problem";
import { withStereoOpus } from "../src/bicast/sdp";
import * as format from "../src/ui/format";
import { niceCeiling } from "../src/ui/plot";

describe("barcode", () => {
  /** A row of luma as the strip is drawn. */
  const draw = (strip: Strip, value: number, width: number) => {
    const row = new Uint8Array(width).fill(16);
    for (const box of whiteBoxes(strip, value)) row.fill(235, box * strip.side, (box + 1) * strip.side);
    return (x: number) => row[x];
  };

  it("reads back what was drawn, at every size", () => {
    for (const [width, height] of [
      [1920, 1080],
      [1280, 720],
      [960, 540],
      [640, 360],
      [320, 180],
    ] as const) {
      for (const strip of [numberStrip(width), clockStrip(width, height)]) {
        for (const value of [0, 1, 2 ** strip.bits - 1, 0b1010101010, 1_795_411_739_123 % 2 ** strip.bits]) {
          expect(readStrip(strip, draw(strip, value, width))).toBe(value);
        }
      }
    }
  });

  it("has the boxes of the specification", () => {
    expect(numberStrip(1280)).toEqual({ bits: 20, side: 48, y: 0 });
    expect(clockStrip(1280, 720)).toEqual({ bits: 40, side: 24, y: 696 });
    expect(numberStrip(640).side).toBe(30);
    expect(clockStrip(640, 360).side).toBe(14);
    expect(numberStrip(10).side).toBe(2);
  });

  it("reads nothing from a picture without one", () => {
    expect(readStrip(numberStrip(1280), () => 16)).toBeNull();
    expect(readStrip(numberStrip(1280), () => undefined)).toBeNull();
  });

  it("means the newest time that is not in the future", () => {
    const now = 1_795_411_739_123;
    const range = 2 ** 40;
    expect(clockTime((now - 40) % range, now)).toBe(now - 40);
    expect(clockTime((now + 500) % range, now)).toBe(now + 500);
    const wrap = Math.ceil(now / range) * range;
    expect(clockTime(range - 5, wrap + 10)).toBe(wrap - 5);
  });
});

describe("Backoff", () => {
  it("doubles up to its most, with jitter, and begins again", () => {
    const backoff = new Backoff(500, 4_000);
    expect([1, 1, 1, 1, 1].map((chance) => backoff.next(chance))).toEqual([500, 1_000, 2_000, 4_000, 4_000]);
    expect(backoff.tries).toBe(5);
    backoff.reset();
    expect(backoff.next(0)).toBe(250);
    expect(backoff.next(0, 9_000)).toBe(9_000);
  });

  it("does not overflow after a night of trying", () => {
    const backoff = new Backoff();
    for (let i = 0; i < 5_000; i += 1) expect(backoff.next(1)).toBeLessThanOrEqual(10_000);
  });
});

describe("legState", () => {
  const facts = {
    link: "connected",
    feed: "live",
    unknown: false,
    audioOnly: false,
    held: false,
    lastFrameAt: null,
    now: 10_000,
  } as const;

  it("believes frames more than words", () => {
    expect(legState({ ...facts, feed: "offline", lastFrameAt: 9_900 })).toBe("live");
    expect(legState({ ...facts, link: "retrying", lastFrameAt: 9_900 })).toBe("live");
  });

  it("says what is missing", () => {
    expect(legState({ ...facts, link: "idle", lastFrameAt: 9_900 })).toBe("idle");
    expect(legState(facts)).toBe("connecting");
    expect(legState({ ...facts, audioOnly: true })).toBe("live");
    expect(legState({ ...facts, audioOnly: true, link: "connecting" })).toBe("connecting");
    expect(legState({ ...facts, lastFrameAt: 10_000 - STALL_MS })).toBe("stalled");
    expect(legState({ ...facts, feed: "offline", lastFrameAt: 1 })).toBe("waiting");
    expect(legState({ ...facts, held: true, lastFrameAt: 1 })).toBe("live");
    expect(legState({ ...facts, held: true, link: "retrying", lastFrameAt: 1 })).toBe("retrying");
    expect(legState({ ...facts, feed: "ended", lastFrameAt: 1 })).toBe("ended");
    expect(legState({ ...facts, feed: null, link: "retrying" })).toBe("retrying");
    expect(legState({ ...facts, feed: null, link: "retrying", unknown: true })).toBe("waiting");
    expect(legState({ ...facts, link: "failed" })).toBe("failed");
    expect(legState({ ...facts, link: "ended", lastFrameAt: 1 })).toBe("ended");
  });
});

describe("BicastError", () => {
  it("knows what is worth another try", () => {
    const of = (status: number) =>
      new BicastError({ type: "", title: "", status, detail: "", hint: null }).retryable;
    expect([0, 404, 409, 429, 500, 503].map(of)).toEqual([true, true, true, true, true, true]);
    expect([400, 401, 403, 406, 413, 415].map(of)).toEqual([false, false, false, false, false, false]);
  });
});

describe("withStereoOpus", () => {
  const sdp =
    "m=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=fmtp:63 111/111\r\n";

  it("adds one parameter to one line", () => {
    const changed = withStereoOpus(sdp);
    expect(changed).toContain("a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n");
    expect(changed.split("\r\n").length).toBe(sdp.split("\r\n").length);
    expect(withStereoOpus(changed)).toBe(changed);
  });

  it("leaves an offer without Opus alone", () => {
    expect(withStereoOpus("v=0\r\n")).toBe("v=0\r\n");
  });
});

describe("format", () => {
  it("writes numbers as people read them", () => {
    expect([format.bitrate(2_480_000), format.bitrate(64_000), format.bitrate(null)]).toEqual([
      "2.48 Mbit/s",
      "64 kbit/s",
      "–",
    ]);
    expect([format.span(84.4), format.span(1_240), format.span(Number.NaN)]).toEqual([
      "84 ms",
      "1.24 s",
      "–",
    ]);
    expect([format.fineMs(0.62), format.fineMs(12.3)]).toEqual(["0.6 ms", "12 ms"]);
    expect([format.rate(30), format.rate(29.97), format.rate(29.5), format.rate(null)]).toEqual([
      "30 fps",
      "30 fps",
      "29.5 fps",
      "–",
    ]);
    expect([format.signedSpan(1_020), format.signedSpan(-20)]).toEqual(["+1.02 s", "−20 ms"]);
    expect([format.ago(-5), format.ago(65_000), format.ago(7_500_000)]).toEqual([
      "0 s",
      "1 min",
      "2 h 5 min",
    ]);
    expect(format.timeOfDay(Number.NaN)).toBe("–");
    const chrome =
      "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36";
    expect(["OBS-Studio/31.0 (linux)", "bicast/0.1.0", chrome, "Mozilla/5.0"].map(format.agentName)).toEqual([
      "OBS-Studio/31.0",
      "bicast/0.1.0",
      "Chrome",
      "a browser",
    ]);
  });

  it("gives plots a round top with air above", () => {
    expect([0, 1, 34, 92, 93, 1_210].map(niceCeiling)).toEqual([1, 1.5, 40, 100, 150, 1_500]);
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MockApi } from "../mock/api";
import { BicastError } from "../src/bicast/problem";
import { LineKeeper } from "../src/pages/compare/line-keeper";
import {
  GOOD,
  neededKbps,
  networkWords,
  PRESETS,
  presetOf,
  RATES,
  rateStop,
  rateWords,
  tcpWords,
  tooSlowWords,
} from "../src/pages/compare/presets";
import type { Feed } from "../src/rest/feed-wire";
import { LinesClient } from "../src/rest/lines-client";
import { type Line, parseLine, parseLines } from "../src/rest/lines-wire";

/** The contract's own example. */
const told = {
  id: "a1",
  port: 8200,
  origin: "http://localhost:8200",
  network: { lossRatio: 0.05, delayMs: 10, jitterMs: 0, rateKbps: null, udp: true },
  passed: {
    toViewer: { udpPackets: 9, udpBytes: 9_000, udpDropped: 1, tcpBytes: 70, tcpHeld: 2 },
    fromViewer: { udpPackets: 1, udpBytes: 90, udpDropped: 0, tcpBytes: 30, tcpHeld: 0 },
  },
};

/** `fetch`, answered by the mock; each request is noted. */
function overMock(mock = new MockApi()) {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    const { pathname } = new URL(url);
    asked.push(`${init.method} ${pathname} ${init.body ?? ""}`.trim());
    const { status, body, type } = mock.answer(init.method ?? "GET", pathname, String(init.body ?? ""));
    return new Response(status === 204 ? null : body, {
      status,
      headers: { "content-type": type || "text/plain" },
    });
  });
  return asked;
}

afterEach(() => vi.unstubAllGlobals());

describe("the wire of lines", () => {
  it("reads a line, and refuses what is not one", () => {
    expect(parseLine(told)).toEqual(told);
    expect(parseLines({ lines: [told] })).toHaveLength(1);
    expect(() => parseLine({ ...told, network: { ...told.network, udp: "no" } })).toThrow("network.udp");
    expect(() => parseLine({ ...told, passed: {} })).toThrow("passed.toViewer");
  });

  it("is what the mock speaks: made, changed in part, looked at, ended", async () => {
    const asked = overMock();
    const lines = new LinesClient("http://localhost:8080/");
    const made = await lines.open({ lossRatio: 0.3 });
    expect(made.network).toEqual({ ...GOOD, lossRatio: 0.3 });
    expect(made.origin).toBe(`http://localhost:${made.port}`);
    const changed = await lines.change(made.id, { udp: false, rateKbps: 500 });
    expect(changed.network).toEqual({ ...GOOD, lossRatio: 0.3, udp: false, rateKbps: 500 });
    expect((await lines.line(made.id)).id).toBe(made.id);
    await lines.close(made.id);
    await expect(lines.line(made.id)).rejects.toMatchObject({ problem: { status: 404 } });
    expect(asked[0]).toBe('POST /v1/demo/lines {"lossRatio":0.3}');
  });

  it("refuses a network that cannot be, and more lines than there are ports", async () => {
    overMock();
    const lines = new LinesClient("http://localhost:8080/");
    await expect(lines.open({ lossRatio: 2 })).rejects.toMatchObject({ problem: { status: 400 } });
    const made = await Promise.all(Array.from({ length: 16 }, () => lines.open({})));
    expect(new Set(made.map(({ port }) => port)).size).toBe(16);
    await expect(lines.open({})).rejects.toMatchObject({ problem: { status: 503 } });
  });
});

describe("presets", () => {
  it("are known again from their network, and each is a network that the server takes", () => {
    const mock = new MockApi();
    for (const preset of PRESETS) {
      expect(presetOf({ ...preset.network })).toBe(preset);
      expect(mock.answer("POST", "/v1/demo/lines", JSON.stringify(preset.network)).status).toBe(201);
    }
    expect(presetOf({ ...GOOD, delayMs: 7 })).toBeNull();
    expect(new Set(PRESETS.map(({ id }) => id)).size).toBe(PRESETS.length);
  });

  it("say what they do, and what that is over TCP", () => {
    expect(networkWords(GOOD)).toBe("Nothing is in the way.");
    expect(networkWords({ lossRatio: 0.05, delayMs: 150, jitterMs: 20, rateKbps: 500, udp: false })).toBe(
      "No UDP passes, 5 % of packets are lost each way, 300 ms round trip are added, packets come up to 20 ms late, 500 kbit/s at most.",
    );
    expect(tcpWords(GOOD)).toBeNull();
    expect(tcpWords({ ...GOOD, lossRatio: 0.3 })).toContain("waiting");
    expect(tcpWords({ ...GOOD, udp: false })).toContain("TCP");
  });

  it("say where the feed needs more than the line carries", () => {
    const rendition = (bandwidth: number | null) => ({ bandwidth });
    const feed = (...tracks: (number | null)[][]) =>
      ({ tracks: tracks.map((rates) => ({ renditions: rates.map(rendition) })) }) as unknown as Feed;
    expect(neededKbps(feed([2_500_000, 600_000], [64_000]))).toBe(664);
    expect(neededKbps(feed([null], []))).toBeNull();
    expect(tooSlowWords({ ...GOOD, rateKbps: 500 }, 664)).toContain("664 kbit/s");
    expect(tooSlowWords({ ...GOOD, rateKbps: 750 }, 664)).toBeNull();
    expect(tooSlowWords(GOOD, 664)).toBeNull();
    expect(tooSlowWords({ ...GOOD, rateKbps: 500 }, null)).toBeNull();
  });

  it("have a stop of the slider for every rate", () => {
    RATES.forEach((rate, index) => {
      expect(rateStop(rate)).toBe(index);
    });
    expect(RATES[rateStop(480)]).toBe(500);
    expect([null, 500, 2_500, 20_000].map(rateWords)).toEqual([
      "no limit",
      "500 kbit/s",
      "2.5 Mbit/s",
      "20 Mbit/s",
    ]);
  });
});

describe("a viewer's line", () => {
  const line = (id: string): Line => ({ ...told, id, origin: `http://localhost/${id}` });
  const off = (status: number) =>
    new BicastError({ type: "about:blank", title: "", status, detail: "no", hint: null });
  const fake = () => ({
    open: vi.fn(async () => line("one")),
    line: vi.fn(async () => line("one")),
    change: vi.fn(async (id: string) => line(id)),
    close: vi.fn(async () => {}),
  });
  const keep = (lines: ReturnType<typeof fake>, scheme = "http:") =>
    new LineKeeper(lines as unknown as LinesClient, scheme);

  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("tells its origin, and that there are none where the server has none", async () => {
    const lines = fake();
    const keeper = keep(lines);
    expect(await keeper.open()).toBe("http://localhost/one");
    expect(keeper.state).toBe("open");
    keeper.close();
    lines.open.mockRejectedValue(off(404));
    const without = keep(lines);
    expect(await without.open()).toBeNull();
    expect(without.state).toBe("off");
    lines.open.mockRejectedValue(off(503));
    expect(await without.open()).toBeNull();
    expect(without.state).toBe("refused");
  });

  it("sends the newest wish only, one request at a time", async () => {
    const lines = fake();
    const keeper = keep(lines);
    await keeper.open();
    for (const delayMs of [10, 20, 30, 40]) keeper.set({ ...GOOD, delayMs });
    await vi.advanceTimersByTimeAsync(10);
    expect(lines.change.mock.calls).toEqual([
      ["one", { ...GOOD, delayMs: 10 }],
      ["one", { ...GOOD, delayMs: 40 }],
    ]);
    keeper.close();
    expect(lines.close).toHaveBeenCalledWith("one");
  });

  it("is made anew, as bad as it was, where the server has removed it", async () => {
    const lines = fake();
    const keeper = keep(lines);
    await keeper.open();
    keeper.set({ ...GOOD, lossRatio: 0.3 });
    await vi.advanceTimersByTimeAsync(10);
    const moved = vi.fn();
    keeper.on("origin", moved);
    lines.line.mockRejectedValueOnce(off(404));
    lines.open.mockResolvedValueOnce(line("two"));
    await vi.advanceTimersByTimeAsync(2_100);
    expect(lines.open).toHaveBeenLastCalledWith({ ...GOOD, lossRatio: 0.3 });
    expect(moved).toHaveBeenCalledWith("http://localhost/two");
    keeper.close();
  });

  it("is not used by a page over https, and not left behind either", async () => {
    const lines = fake();
    const keeper = keep(lines, "https:");
    expect(await keeper.open()).toBeNull();
    expect(lines.close).toHaveBeenCalledWith("one");
    expect(keeper.problem?.problem.hint).toContain("http");
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { BicastApi } from "../src/bicast/api";
import type { PathOrder } from "../src/bicast/player-types";
import { BicastError } from "../src/bicast/problem";
import { Reporter, type ReportFacts } from "../src/bicast/reporter";
import { mediaTime } from "../src/bicast/timeline";
import { type Socket, ViewerChannel } from "../src/bicast/viewer-channel";
import { type Joined, parseJoined, parseMessage } from "../src/bicast/viewer-wire";

const files = import.meta.glob<unknown>("../../tests/fixtures/wire/*.json", {
  eager: true,
  import: "default",
});
const fixture = (name: string): unknown => structuredClone(files[`../../tests/fixtures/wire/${name}.json`]);
const messages = fixture("channel-server") as { type: string }[];
const message = (type: string) => messages.find((one) => one.type === type) as object;

describe("the wire of viewers", () => {
  it("reads what the service says", () => {
    const joined = parseJoined(fixture("joined"));
    expect(joined.viewer.decision?.reason).toBe("loss");
    expect(joined.urls.whep).toContain(joined.viewer.id);
    expect(messages.map((one) => parseMessage(one)?.type)).toEqual(messages.map((one) => one.type));
  });

  it("passes over types of a newer server and refuses what is not right", () => {
    expect(parseMessage({ type: "weather", rain: true })).toBeNull();
    expect(parseMessage({ type: "toString" })).toBeNull();
    expect(() => parseMessage({ type: "decision", sequence: "one" })).toThrow("sequence");
    expect(() => parseMessage([])).toThrow();
  });
});

class FakeSocket implements Socket {
  readonly sent: string[] = [];
  closed = false;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  constructor(readonly url: string) {}
  send(text: string): void {
    this.sent.push(text);
  }
  close(): void {
    this.closed = true;
  }
  says(value: object): void {
    this.onmessage?.({ data: JSON.stringify(value) });
  }
}

function bench(answers: (Joined | BicastError)[] = []) {
  const sockets: FakeSocket[] = [];
  const joined = parseJoined(fixture("joined"));
  const join = vi.fn(() => {
    const answer = answers.shift() ?? joined;
    return answer instanceof BicastError ? Promise.reject(answer) : Promise.resolve(answer);
  });
  const leave = vi.fn(() => Promise.resolve());
  const api = { join, leave, url: (path: string) => `https://host${path}` } as unknown as BicastApi;
  const channel = new ViewerChannel(api, "demo", {
    connect: (url) => {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return socket;
    },
  });
  const orders: PathOrder[] = [];
  channel.on("order", (order) => orders.push(order));
  return { channel, sockets, join, leave, orders, last: () => sockets.at(-1) as FakeSocket };
}

const refusal = (status: number) =>
  new BicastError({ type: "about:blank", title: "", status, detail: "no", hint: null });

describe("the event channel", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("joins, obeys, reports and leaves", async () => {
    const { channel, orders, last, leave } = bench();
    channel.report({ path: "hls" });
    channel.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(orders).toEqual([{ path: "hls", reason: "too many packets are lost" }]);
    expect(channel.whepUrl).toContain("/whep/demo?viewer=");
    expect(last().url).toMatch(/^wss:\/\/host\/v1\/feeds\/demo\/viewers\/\w+\/events$/);
    last().says(message("hello"));
    expect(channel.state).toBe("open");
    expect(orders.length, "the same decision is one order").toBe(1);
    channel.report({ path: "hls", latencyMs: 1_200 });
    expect(last().sent).toEqual(['{"type":"report","path":"hls","latencyMs":1200}']);
    last().says({
      ...message("decision"),
      sequence: 3,
      decision: { path: "realtime", layerCap: 0, reason: "returned", since: "" },
    });
    expect(orders.at(-1)?.path).toBe("realtime");
    channel.stop();
    expect(last().closed && leave.mock.calls.length === 1 && channel.state).toBe("idle");
  });

  it("comes back behind the last message that it saw", async () => {
    const { channel, last, join, sockets } = bench();
    channel.start();
    await vi.advanceTimersByTimeAsync(0);
    last().says(message("hello"));
    last().onclose?.();
    expect(channel.state).toBe("closed");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sockets.length).toBe(2);
    expect(last().url).toContain("?after=2");
    expect(join).toHaveBeenCalledTimes(1);
    // Refused before a word was said: forgotten there.
    last().onclose?.();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(join).toHaveBeenCalledTimes(2);
  });

  it("tries again where that helps, and not where it does not", async () => {
    const { channel, join } = bench([refusal(503), refusal(0), refusal(403)]);
    channel.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(channel.state).toBe("closed");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(join).toHaveBeenCalledTimes(3);
    expect(channel.state).toBe("refused");
  });

  it("joins anew when it has ended, unless its right has", async () => {
    const { channel, last, join } = bench();
    channel.start();
    await vi.advanceTimersByTimeAsync(0);
    last().says(message("hello"));
    last().says(message("end"));
    await vi.advanceTimersByTimeAsync(3_000);
    expect(join).toHaveBeenCalledTimes(2);
    last().says({ type: "end", sequence: 9, reason: "right-ended" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(join).toHaveBeenCalledTimes(2);
    expect(channel.state).toBe("refused");
  });

  it("survives what cannot be read", async () => {
    const { channel, last } = bench();
    channel.start();
    await vi.advanceTimersByTimeAsync(0);
    for (const data of ["{", "null", "[]", 7, '{"type":"hello"}']) last().onmessage?.({ data });
    last().says(message("hello"));
    expect(channel.state).toBe("open");
  });
});

describe("reports", () => {
  const facts: ReportFacts = {
    path: "realtime",
    latencyMs: 140,
    mediaTime: mediaTime(900_000),
    following: true,
    hidden: false,
    bufferMs: 20,
    packetsLost: 0,
    packetsReceived: 100,
    frozenMs: 0,
    roundTripMs: 20,
    neverConnected: false,
  };

  it("tell shares of what has come since the last one", () => {
    const reporter = new Reporter();
    const first = reporter.report(0, facts);
    expect(first.lossRatio ?? first.frozenRatio, "nothing to compare with").toBeUndefined();
    const second = reporter.report(1_000, { ...facts, packetsLost: 30, packetsReceived: 170, frozenMs: 250 });
    expect(second.lossRatio).toBeCloseTo(0.3);
    expect(second.frozenRatio).toBeCloseTo(0.25);
    const anew = reporter.report(2_000, { ...facts, packetsLost: 0, packetsReceived: 5, frozenMs: 0 });
    expect(anew.lossRatio, "another connection counts from nought").toBeUndefined();
  });

  it("leave out what is not known, and do not call a hidden page frozen", () => {
    const reporter = new Reporter();
    reporter.report(0, facts);
    const hidden = reporter.report(1_000, { ...facts, hidden: true, frozenMs: 1_000, latencyMs: null });
    expect(hidden.frozenRatio).toBeUndefined();
    expect("latencyMs" in hidden).toBe(false);
    expect(reporter.report(2_000, { ...facts, path: "hls" }).lossRatio, "of another path").toBeUndefined();
    expect(reporter.report(3_000, { ...facts, path: "hls", neverConnected: true }).udpBlocked).toBe(true);
  });
});

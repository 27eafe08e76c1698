import { describe, expect, it } from "vitest";
import { MockApi } from "../mock/api";
import {
  Decisions,
  History,
  latencyOf,
  nameOf,
  PLOTTED,
  reasonsOf,
  type Second,
  shareOf,
} from "../src/pages/operate/history";
import { parseFeeds } from "../src/rest/feed-wire";
import {
  parseAdmission,
  parseAudience,
  parseStatus,
  parseWatcher,
  parseWatchers,
  type Watcher,
} from "../src/rest/operator-wire";

const files = import.meta.glob<unknown>("../../tests/fixtures/wire/*.json", {
  eager: true,
  import: "default",
});
const fixture = (name: string): unknown => structuredClone(files[`../../tests/fixtures/wire/${name}.json`]);

describe("the operator's wire", () => {
  it("reads what the server's own tests write", () => {
    expect(parseAudience(fixture("audience")).groups[0]).toEqual({
      tier: "vip",
      path: "hls",
      reason: "loss",
      viewers: 1,
    });
    expect(parseStatus(fixture("status")).admission).toEqual(parseAdmission(fixture("admission")));
    const { viewers, total } = parseWatchers(fixture("viewers"));
    expect(total).toBe(2);
    expect(viewers[0]?.decision?.reason).toBe("loss");
    expect(viewers[0]?.player?.report.latencyMs).toBe(162.5);
    expect(parseAdmission(fixture("admission")).limits.cpu_share).toBeNull();
  });

  it("refuses what is not right, and says where", () => {
    const audience = fixture("audience") as { latency: { p95Ms: unknown }[] };
    (audience.latency[0] as { p95Ms: unknown }).p95Ms = "soon";
    expect(() => parseAudience(audience)).toThrow("latency[0].p95Ms");
  });

  it("is what the mock speaks", () => {
    const mock = new MockApi();
    const get = (path: string): unknown => JSON.parse(mock.answer("GET", path).body);
    const feeds = parseFeeds(get("/v1/feeds"));
    expect(feeds.map(({ state }) => state)).toContain("live");
    parseStatus(get("/v1/status"));
    for (const { id } of feeds) {
      parseAudience(get(`/v1/feeds/${id}/audience`));
      parseWatchers(get(`/v1/feeds/${id}/viewers?limit=20`));
    }
    const { total, viewers, next } = parseWatchers(get("/v1/feeds/demo/viewers?limit=20"));
    expect(viewers).toHaveLength(20);
    const rest = parseWatchers(get(`/v1/feeds/demo/viewers?limit=1000&after=${next}`));
    expect(20 + rest.viewers.length).toBe(total);
    expect(
      parseWatchers(get("/v1/feeds/demo/viewers?tier=free")).viewers.every(({ tier }) => tier === "free"),
    ).toBe(true);
    const vip = viewers.find(({ tier, path }) => tier === "vip" && path === "realtime") as Watcher;
    const moved = mock.answer("PATCH", `/v1/feeds/demo/viewers/${vip.id}`, '{"path":"hls"}');
    expect(parseWatcher(JSON.parse(moved.body))).toMatchObject({ path: "hls", ordered: "hls" });
    const limits = { ...parseStatus(get("/v1/status")).admission.limits, viewers: 7 };
    expect(
      parseAdmission(JSON.parse(mock.answer("PATCH", "/v1/admission", JSON.stringify(limits)).body)).limits
        .viewers,
    ).toBe(7);
  });
});

describe("what is plotted", () => {
  const second = (viewers: number): Second => ({
    viewers: { realtime: viewers, hls: 0 },
    egressBps: 0,
    latency: { realtime: null, hls: null },
  });

  it("has a hole where the page did not look, and is bounded", () => {
    const history = new History();
    history.add(10_000, second(1));
    history.add(11_050, second(2));
    history.add(15_000, second(3));
    const points = history.points(({ viewers }) => viewers.realtime);
    expect(points).toHaveLength(PLOTTED);
    expect(points.slice(-6)).toEqual([1, 2, null, null, null, 3]);
    expect(points.slice(0, -6).every((point) => point === null)).toBe(true);
    for (let time = 16_000; time < 500_000; time += 1_000) history.add(time, second(4));
    expect(history.seconds).toHaveLength(PLOTTED);
    // Hidden for a day: only as many holes as are shown.
    history.add(90_000_000, second(5));
    expect(history.seconds).toHaveLength(PLOTTED);
    expect(history.seconds.filter((one) => one !== null)).toHaveLength(1);
  });

  it("takes the worst tier's latency, and none where nobody tells it", () => {
    const of = (tier: "vip" | "free", p50Ms: number, p95Ms: number) =>
      ({ path: "hls", tier, reports: 1, p50Ms, p95Ms, p99Ms: p95Ms }) as const;
    expect(latencyOf([of("vip", 900, 1_400), of("free", 1_000, 1_200)], "hls")).toEqual({
      p50: 1_000,
      p95: 1_400,
      p99: 1_400,
    });
    expect(latencyOf([of("vip", 900, 1_400)], "realtime")).toBeNull();
  });

  it("knows how much of a limit is used", () => {
    expect(shareOf(50, 200)).toBe(0.25);
    expect(shareOf(300, 200)).toBe(1);
    expect(shareOf(1, null)).toBeNull();
    expect(shareOf(null, 5)).toBeNull();
  });
});

describe("reasons and decisions", () => {
  it("are counted by path and reason, over both tiers, most first", () => {
    const group = (tier: "vip" | "free", reason: string, viewers: number) =>
      ({ tier, path: "hls", reason, viewers }) as const;
    const audience = {
      ...parseAudience(fixture("audience")),
      groups: [group("vip", "loss", 1), group("free", "tier-free", 5), group("free", "loss", 2)],
    };
    expect(reasonsOf(audience)).toEqual([
      { path: "hls", reason: "tier-free", vip: 0, free: 5 },
      { path: "hls", reason: "loss", vip: 1, free: 2 },
    ]);
  });

  it("are listed once each, newest first, a hundred at most", () => {
    const [viewer] = parseWatchers(fixture("viewers")).viewers as [Watcher];
    const decisions = new Decisions();
    const decided = (second: number): Watcher => ({
      ...viewer,
      decision: {
        path: "hls",
        layerCap: 0,
        reason: "loss",
        since: new Date(1e12 + second * 1_000).toISOString(),
      },
    });
    decisions.add([decided(1)]);
    const { list } = decisions;
    decisions.add([decided(1)]);
    expect(decisions.list).toBe(list);
    decisions.add([decided(3), { ...viewer, id: "other", decision: null }]);
    decisions.add([decided(2)]);
    expect(decisions.list.map(({ since }) => (since - 1e12) / 1_000)).toEqual([3, 2, 1]);
    for (let second = 4; second < 300; second += 1) decisions.add([decided(second)]);
    expect(decisions.list).toHaveLength(100);
    expect(nameOf(viewer)).toBe("anna");
    expect(nameOf({ subject: null, id: "5f1d0c7e9a3b" })).toBe("5f1d0c7e");
  });
});

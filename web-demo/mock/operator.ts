/** What operators look at, of the mock: an audience that comes, goes and is moved, the same at the same second everywhere. */

import type { Admission, Audience, Limits, Status, Watcher } from "../src/rest/operator-wire.ts";
import { type Answer, json, problem } from "./answer.ts";

const VIEWERS = 42;
const REASONS = ["entitled", "tier-free", "loss", "udp-blocked", "over-count", "returned"] as const;

/** The viewers and limits of one server. */
export class MockOperator {
  readonly #began = Date.now();
  readonly #ordered = new Map<string, "realtime" | "hls">();
  readonly #ended = new Set<string>();
  #limits: Limits = {
    egress_bps: 50_000_000,
    packets_per_second: null,
    cpu_share: 0.8,
    viewers: 40,
    free_for: 5,
    offer_for: 10,
    fresh_for: 5,
    waiting: 10_000,
  };

  /** Answers what operators ask for; null for what is not theirs. */
  answer(method: string, url: URL, body: string): Answer | null {
    if (url.pathname === "/v1/status") return json(200, this.#status());
    if (url.pathname === "/v1/admission") {
      if (method === "PATCH") {
        const none = { egress_bps: null, packets_per_second: null, cpu_share: null, viewers: null };
        this.#limits = { ...this.#limits, ...none, ...(JSON.parse(body) as Partial<Limits>) };
      }
      return json(200, this.#admission());
    }
    const found = /^\/v1\/feeds\/([^/]+)\/(audience|viewers)(?:\/([^/]+))?$/.exec(url.pathname);
    if (!found) return null;
    if (found[1] !== "demo") return json(200, empty(found[2] as string));
    if (found[2] === "audience") return json(200, this.#audience());
    if (method === "POST") return problem(503, "No media here", "This is the mock: nobody joins it.");
    return found[3] === undefined ? this.#list(url) : this.#order(method, found[3], body);
  }

  #order(method: string, id: string, body: string): Answer {
    const viewer = this.#viewers().find((one) => one.id === id);
    if (!viewer) return problem(404, "Unknown viewer", `There is no viewer "${id}".`);
    if (method === "DELETE") {
      this.#ended.add(id);
      return { status: 204, body: "", type: "" };
    }
    if (method === "PATCH") {
      const { path } = JSON.parse(body) as { path: "auto" | "realtime" | "hls" };
      if (path === "realtime" && viewer.tier !== "vip")
        return problem(403, "Not its tier", "Its tier has no WebRTC.", "Give it a token with the tier vip.");
      if (path === "auto") this.#ordered.delete(id);
      else this.#ordered.set(id, path);
    }
    return json(200, this.#viewers().find((one) => one.id === id) ?? viewer);
  }

  #list(url: URL): Answer {
    const is = (name: string, value: string | null) => [null, value].includes(url.searchParams.get(name));
    const after = url.searchParams.get("after") ?? "";
    const limit = Number(url.searchParams.get("limit") ?? 100);
    const all = this.#viewers().filter(
      ({ path, tier, decision }) =>
        is("path", path) && is("tier", tier) && is("reason", decision?.reason ?? null),
    );
    const viewers = all.filter(({ id }) => id > after).slice(0, limit);
    const last = viewers.at(-1)?.id ?? null;
    return json(200, { total: all.length, viewers, next: all.at(-1)?.id === last ? null : last });
  }

  /** Some viewers; one of them is moved every few seconds. */
  #viewers(): Watcher[] {
    const turn = Math.floor((Date.now() - this.#began) / 4_000);
    return Array.from({ length: VIEWERS }, (_, index): Watcher => {
      const id = (index * 2_654_435_761 + 7).toString(16).padStart(12, "0").repeat(3).slice(0, 32);
      const tier = index % 3 === 0 ? "free" : "vip";
      const moved = (index * 7 + turn) % VIEWERS < 4;
      const ordered = this.#ordered.get(id) ?? null;
      const path = ordered ?? (tier === "free" || moved ? "hls" : "realtime");
      const reason = ordered
        ? "ordered"
        : tier === "free"
          ? "tier-free"
          : moved
            ? REASONS[2 + (index % 3)]
            : "entitled";
      const since = new Date(
        this.#began + Math.max(turn - ((index * 7 + turn) % VIEWERS), 0) * 4_000,
      ).toISOString();
      const latencyMs = path === "realtime" ? 38 + (index % 9) * 6 : 940 + (index % 11) * 23;
      return {
        id,
        tier,
        path,
        decision: { path, layerCap: 0, reason: reason ?? "loss", since },
        ordered,
        subject: index % 4 === 0 ? `viewer-${index}` : null,
        agent: index % 5 === 4 ? "VLC" : "bicast-player example.org",
        joined: new Date(this.#began - index * 61_000).toISOString(),
        switches: (index * 5 + turn) % 4,
        waiting: null,
        player: { secondsAgo: 0.4, report: { latencyMs, lossRatio: reason === "loss" ? 0.21 : 0 } },
        session:
          path === "realtime"
            ? { bitrateBps: 1_480_000 + index * 1_000, lossRatio: 0.001, roundTripMs: 18 + index }
            : null,
      };
    })
      .filter(({ id }) => !this.#ended.has(id))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  #audience(): Audience {
    const viewers = this.#viewers();
    const groups = new Map<
      string,
      { tier: "vip" | "free"; path: "realtime" | "hls"; reason: string; viewers: number }
    >();
    for (const { tier, path, decision } of viewers) {
      if (tier === null || decision === null) continue;
      const key = `${tier} ${path} ${decision.reason}`;
      const group = groups.get(key) ?? { tier, path, reason: decision.reason, viewers: 0 };
      groups.set(key, { ...group, viewers: group.viewers + 1 });
    }
    const wave = Math.sin(Date.now() / 9_000);
    const turn = Math.floor((Date.now() - this.#began) / 4_000);
    return {
      viewers: viewers.length,
      groups: [...groups.values()],
      latency: [
        {
          path: "realtime",
          tier: "vip",
          reports: 24,
          p50Ms: 52 + wave * 4,
          p95Ms: 88 + wave * 9,
          p99Ms: 131 + wave * 25,
        },
        {
          path: "hls",
          tier: "free",
          reports: 14,
          p50Ms: 1_020 + wave * 30,
          p95Ms: 1_310 + wave * 60,
          p99Ms: 1_540,
        },
        {
          path: "hls",
          tier: "vip",
          reports: 4,
          p50Ms: 980 + wave * 30,
          p95Ms: 1_180 + wave * 60,
          p99Ms: 1_300,
        },
      ],
      decisions: {
        entitled: 28,
        "tier-free": 14,
        loss: 3 + turn,
        "udp-blocked": 2,
        "over-count": 5,
        returned: 2 + turn,
      },
      waiting: 2,
    };
  }

  #admission(): Admission {
    const slots = this.#viewers().filter(({ path }) => path === "realtime").length;
    const egressBps = slots * 1_500_000;
    return {
      limits: this.#limits,
      used: {
        egressBps,
        packetsPerSecond: slots * 180,
        cpuShare: 0.22 + 0.05 * Math.sin(Date.now() / 7_000),
      },
      slots,
      offered: 1,
      waiting: 2,
      shortage: "count",
    };
  }

  #status(): Status {
    return {
      version: "0.1.0",
      since: new Date(this.#began - 3_754_000).toISOString(),
      feeds: { live: 2, starting: 1, offline: 1 },
      viewers: this.#viewers().length,
      mostViewers: 100_000,
      sessions: this.#admission().slots + 1,
      admission: this.#admission(),
    };
  }
}

function empty(what: string): object {
  return what === "audience"
    ? { viewers: 0, groups: [], latency: [], decisions: {}, waiting: 0 }
    : { total: 0, viewers: [], next: null };
}

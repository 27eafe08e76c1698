/** `/v1/demo/lines` of the mock: lines that are kept and counted as if something passed them, and nothing behind them. */

import type { Line, Network, Passed } from "../src/rest/lines-wire.ts";
import { type Answer, json, problem } from "./answer.ts";

const PORTS = { first: 8_200, count: 16 };
const GOOD: Network = { lossRatio: 0, delayMs: 0, jitterMs: 0, rateKbps: null, udp: true };
/** What a number may be; `rateKbps` may be null as well. */
const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  lossRatio: [0, 1],
  delayMs: [0, 2_000],
  jitterMs: [0, 500],
  rateKbps: [64, 100_000],
};

/** The lines of one server. */
export class MockLines {
  readonly #lines = new Map<
    string,
    { readonly id: string; readonly port: number; network: Network; began: number }
  >();
  #made = 0;

  /** Answers a request under `/v1/demo/lines`; `host` is the request's own, without the port. */
  answer(method: string, path: string, body: string, host = "localhost"): Answer | null {
    const found = /^\/v1\/demo\/lines(?:\/([^/]+))?$/.exec(path);
    if (!found) return null;
    const id = found[1];
    if (id === undefined) {
      if (method === "GET")
        return json(200, { lines: [...this.#lines.keys()].map((one) => this.#line(one, host)) });
      return method === "POST" ? this.#open(body, host) : problem(405, "Not like this", "GET or POST.");
    }
    const line = this.#lines.get(id);
    if (!line)
      return problem(404, "Unknown line", `There is no line "${id}".`, "Make one: POST /v1/demo/lines");
    if (method === "DELETE") {
      this.#lines.delete(id);
      return { status: 204, body: "", type: "" };
    }
    if (method === "PATCH") {
      const wrong = check(body);
      if (typeof wrong === "string") return problem(400, "Bad network", wrong);
      line.network = { ...line.network, ...wrong };
    }
    return json(200, this.#line(id, host));
  }

  #open(body: string, host: string): Answer {
    const network = check(body);
    if (typeof network === "string") return problem(400, "Bad network", network);
    const used = new Set([...this.#lines.values()].map(({ port }) => port));
    const port = Array.from({ length: PORTS.count }, (_, index) => PORTS.first + index).find(
      (one) => !used.has(one),
    );
    if (port === undefined)
      return problem(
        503,
        "All lines are used",
        `All ${PORTS.count} lines are used.`,
        "Try again in two minutes.",
      );
    this.#made += 1;
    const id = `line-${this.#made}`;
    this.#lines.set(id, { id, port, network: { ...GOOD, ...network }, began: Date.now() });
    return { ...json(201, this.#line(id, host)), location: `/v1/demo/lines/${id}` };
  }

  #line(id: string, host: string): Line {
    const line = this.#lines.get(id);
    if (!line) throw new Error(`no line ${id}`);
    const packets = Math.round((Date.now() - line.began) * 0.28);
    const passed = (share: number): Passed => ({
      udpPackets: line.network.udp ? Math.round(packets * share * (1 - line.network.lossRatio)) : 0,
      udpBytes: line.network.udp ? packets * 1_100 : 0,
      udpDropped: Math.round(packets * share * (line.network.udp ? line.network.lossRatio : 1)),
      tcpBytes: packets * 40,
      tcpHeld: Math.round(packets * 0.01 * line.network.lossRatio),
    });
    return {
      id,
      port: line.port,
      origin: `http://${host}:${line.port}`,
      network: line.network,
      passed: { toViewer: passed(1), fromViewer: passed(0.1) },
    };
  }
}

/** Part of a network, or what is wrong with it. */
function check(body: string): Partial<Network> | string {
  let read: unknown;
  try {
    read = JSON.parse(body || "{}");
  } catch {
    return "The body is no JSON.";
  }
  if (typeof read !== "object" || read === null || Array.isArray(read)) return "The body is no object.";
  for (const [name, value] of Object.entries(read)) {
    if (name === "udp" ? typeof value === "boolean" : name === "rateKbps" && value === null) continue;
    const [least, most] = RANGES[name] ?? [1, 0];
    if (least > most) return `There is no member "${name}".`;
    if (typeof value !== "number" || value < least || value > most) return `${name} is ${least} to ${most}.`;
  }
  return read as Partial<Network>;
}

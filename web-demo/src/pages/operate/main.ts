/**
 * The operator's page: the server, its feeds, and of one feed the viewers, why they are where they are, how late, and what was decided.
 * It asks once a second while it is seen, and not at all while it is not.
 *
 * | query | meaning |
 * |---|---|
 * | `feed` | the feed to begin with; the first that is live when left out |
 */

import { type BicastError, toBicastError } from "../../bicast/problem";
import type { Feed } from "../../rest/feed-wire";
import { OperatorClient } from "../../rest/operator-client";
import type { Status } from "../../rest/operator-wire";
import { byId, h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { figures, problemNotice } from "../../ui/parts";
import { openShell } from "../../ui/shell";
import { keepToken, storedToken, tokenForm, wantsToken } from "../../ui/token";
import { AudiencePanel } from "./audience-panel";
import { CapacityPanel } from "./capacity-panel";
import { FeedsPanel } from "./feeds-panel";
import { Decisions, History, latencyOf } from "./history";
import { PlotsPanel } from "./plots-panel";
import { ViewersPanel } from "./viewers-panel";

const POLL_MS = 1_000;

openShell("operate");
const server = new URL(".", location.href).href;
let client = new OperatorClient(server, storedToken("admin"));
let chosen = new URLSearchParams(location.search).get("feed");
let history = new History();
let decisions = new Decisions();

const lead = h("p", { class: "lead", "data-testid": "operate-lead" }, "Asking the server…");
const trouble = h("div", { class: "notices" });
const gate = h("div", { class: "notices" });
const tiles = figures("total", {
  viewers: "Viewers joined",
  sessions: "WebRTC sessions",
  waiting: "Wait for a place",
  egress: "Sent over WebRTC",
  cpu: "CPU",
  live: "Feeds live",
});
tiles.classList.add("tiles");
const feeds = new FeedsPanel((feed) => choose(feed));
const about = h("h2", { class: "feed-title", "data-testid": "operate-feed" });
const plots = new PlotsPanel();
const audience = new AudiencePanel();
const capacity = new CapacityPanel((limits) => client.setLimits(limits));
const viewers = new ViewersPanel({
  move: (viewer, path) => client.move(chosen ?? "", viewer, path),
  end: (viewer) => client.end(chosen ?? "", viewer),
  again: () => void poll(),
});
const ofFeed = h(
  "div",
  { class: "of-feed", hidden: true },
  about,
  plots.element,
  h("div", { class: "pair" }, audience.reasons, audience.decisions),
  viewers.element,
);
const none = h(
  "section",
  { class: "card stack", hidden: true, "data-testid": "no-feeds" },
  h("h2", {}, "No feeds"),
  h(
    "p",
    { class: "muted" },
    "Nothing is published. ",
    h("a", { href: "./publish.html" }, "Publish from this browser"),
    ".",
  ),
);
const content = h(
  "div",
  { class: "operate", hidden: true },
  tiles,
  none,
  h("div", { class: "top-pair" }, feeds.element, capacity.element),
  ofFeed,
);
byId("main").append(
  h("div", {}, h("div", { class: "title-row" }, h("h1", {}, "Operate")), lead),
  gate,
  trouble,
  content,
);

function choose(feed: string): void {
  if (feed === chosen) return;
  chosen = feed;
  history = new History();
  decisions = new Decisions();
  viewers.reset();
  void poll();
}

/** Live first, then by name. */
function inOrder(list: readonly Feed[]): Feed[] {
  const rank = (feed: Feed) => ["live", "starting", "offline", "ended"].indexOf(feed.state);
  return [...list].sort((a, b) => rank(a) - rank(b) || a.id.localeCompare(b.id));
}

function showServer(status: Status, list: readonly Feed[]): void {
  const since = format.ago(Date.now() - Date.parse(status.since));
  setText(
    lead,
    `bicast ${status.version}, up for ${since}. ${format.count(status.mostViewers)} viewers may join.`,
  );
  const { used, waiting } = status.admission;
  tiles.set("viewers", format.count(status.viewers));
  tiles.set("sessions", format.count(status.sessions));
  tiles.set("waiting", format.count(waiting));
  tiles.set("egress", format.bitrate(used.egressBps));
  tiles.set("cpu", used.cpuShare === null ? "–" : `${Math.round(used.cpuShare * 100)} %`);
  tiles.set("live", `${format.count(status.feeds.live ?? 0)} of ${format.count(list.length)}`);
  capacity.show(status.admission);
  feeds.show(list, chosen);
  feeds.element.hidden = list.length === 0;
  none.hidden = list.length > 0;
}

async function showFeed(feed: Feed): Promise<void> {
  const { query } = viewers;
  const [together, page] = await Promise.all([client.audience(feed.id), client.watchers(feed.id, query)]);
  // Another feed was chosen while this one's answer was on its way.
  if (feed.id !== chosen) return;
  const { realtime, hls } = feed.paths;
  history.add(Date.now(), {
    viewers: { realtime: realtime.viewers, hls: hls.viewers },
    egressBps: realtime.egressBps,
    latency: { realtime: latencyOf(together.latency, "realtime"), hls: latencyOf(together.latency, "hls") },
  });
  decisions.add(page.viewers);
  setText(about, feed.id);
  plots.show(history);
  audience.show(together, decisions.list);
  viewers.show(page, together);
}

/** Everything, once. */
async function look(): Promise<void> {
  const [status, list] = await Promise.all([client.status(), client.feeds.feeds()]);
  const ordered = inOrder(list);
  chosen = ordered.find((feed) => feed.id === chosen)?.id ?? ordered[0]?.id ?? null;
  const feed = ordered.find(({ id }) => id === chosen);
  ofFeed.hidden = feed === undefined;
  showServer(status, ordered);
  content.hidden = false;
  if (feed) await showFeed(feed);
}

let timer: ReturnType<typeof setTimeout> | undefined;
let failing = "";
/** Counts polls: one that was overtaken by a click plans no further one. */
let turn = 0;

async function poll(): Promise<void> {
  clearTimeout(timer);
  turn += 1;
  const mine = turn;
  const began = performance.now();
  try {
    await look();
    if (failing !== "") trouble.replaceChildren();
    failing = "";
  } catch (thrown) {
    if (mine !== turn) return;
    const error = toBicastError(thrown);
    if (wantsToken(error)) {
      ask(error);
      return;
    }
    // An alert speaks whenever it is written: once for each kind of failure is enough.
    if (failing !== error.message) trouble.replaceChildren(problemNotice(error));
    failing = error.message;
  }
  if (mine !== turn || document.hidden) return;
  timer = setTimeout(() => void poll(), Math.max(POLL_MS - (performance.now() - began), 100));
}

function ask(error: BicastError): void {
  keepToken("admin", null);
  content.hidden = true;
  setText(lead, "");
  trouble.replaceChildren();
  gate.replaceChildren(
    tokenForm("admin", error, (token) => {
      client = new OperatorClient(server, token);
      gate.replaceChildren();
      setText(lead, "Asking the server…");
      void poll();
    }),
  );
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (gate.childElementCount === 0) void poll();
});
void poll();

/**
 * The watch page: both paths side by side, one player that goes between them, and everything on one time axis.
 *
 * | query | meaning |
 * |---|---|
 * | `feed` | the feed's id |
 * | `legs` | `both` (default), `realtime` or `hls`: which of the two players to open |
 * | `player` | `auto`, `realtime` or `hls`: open the switchable player at once, on this path |
 * | `barcode` | `all`: read the barcode of every callback, for tests; otherwise four times a second, if there is one |
 */

import { FeedWatcher } from "../../bicast/feed-watcher";
import { HlsLeg, RealtimeLeg } from "../../bicast/leg";
import { BicastError } from "../../bicast/problem";
import { localNow } from "../../bicast/server-clock";
import type { Feed } from "../../rest/feed-wire";
import { FeedsClient } from "../../rest/feeds-client";
import { byId, h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { badge, problemNotice } from "../../ui/parts";
import { openShell } from "../../ui/shell";
import { notices } from "../feeds/card";
import { TimeAxis } from "./axis";
import { Facts } from "./facts";
import { GlassWatch } from "./glass";
import { LegCard } from "./leg-card";
import { exposeProbe } from "./probe";
import { Switcher } from "./switcher";

const REFRESH_MS = 500;

openShell("watch");
const query = new URLSearchParams(location.search);
const id = query.get("feed") ?? "";
if (id === "") {
  byId("main").append(
    h("h1", {}, "Which feed?"),
    h(
      "p",
      { class: "lead" },
      "This address names no feed. ",
      h("a", { href: "./" }, "Choose one from the list"),
      ".",
    ),
  );
} else {
  open(id);
}

function open(feedId: string): void {
  document.title = `${feedId} · bicast`;
  const api = new FeedsClient(new URL(".", location.href).href);
  const watcher = new FeedWatcher(api, feedId);
  const wanted = query.get("legs");
  const everyFrame = query.get("barcode") === "all";

  const cards: LegCard[] = [];
  if (wanted !== "hls") cards.push(new LegCard((video) => new RealtimeLeg(video, watcher), watcher));
  if (wanted !== "realtime") cards.push(new LegCard((video) => new HlsLeg(video, watcher), watcher));
  for (const card of cards) {
    card.glass = new GlassWatch(card.leg, watcher, everyFrame);
    // Two sounds a second apart are noise: turning one on turns the other off.
    card.onSound = () => {
      for (const other of cards) if (other !== card) other.mute();
      switcher.mute();
    };
  }

  const state = badge("connecting");
  const lead = h("p", { class: "lead", "data-testid": "feed-lead" }, "Asking the server…");
  const trouble = h("div", { class: "notices" });
  const advice = h("div", { class: "notices", "data-testid": "advice" });
  const legs = h(
    "section",
    { class: "legs", "aria-label": "Both paths" },
    ...cards.map((card) => card.element),
  );
  legs.classList.toggle("single", cards.length === 1);
  const switcher = new Switcher(watcher, query.get("player"), () => {
    for (const card of cards) card.mute();
  });
  const axis = new TimeAxis();
  const facts = new Facts();
  const about = h(
    "section",
    { class: "card stack", "aria-labelledby": "facts-title", hidden: true },
    h("h2", { id: "facts-title" }, "The feed"),
    advice,
    facts.element,
  );
  byId("main").append(
    h(
      "div",
      {},
      h("div", { class: "title-row" }, h("h1", { "data-testid": "feed-id" }, feedId), state),
      lead,
    ),
    trouble,
    legs,
    h(
      "section",
      { class: "card", "aria-labelledby": "axis-title" },
      h("div", { class: "card-head" }, h("h2", { id: "axis-title" }, "One timeline"), axis.legend),
      axis.element,
    ),
    switcher.element,
    about,
  );

  let shownNotices = "";
  watcher.on("feed", (feed) => {
    trouble.replaceChildren();
    // The server calls a publisher that died live until it has noticed; its edges stand still at once.
    state.update(feed.state === "live" && !watcher.flowing ? "stalled" : feed.state);
    setText(lead, leadOf(feed));
    facts.update(feed);
    about.hidden = false;
    // Rebuilt only when something in them changed.
    const key = JSON.stringify([feed.warnings, feed.cadence.advice]);
    if (key !== shownNotices) advice.replaceChildren(...notices(feed));
    shownNotices = key;
  });
  let shownProblem = "";
  watcher.on("problem", (error) => {
    if (error.message !== shownProblem || trouble.childElementCount === 0)
      trouble.replaceChildren(onPage(error, watcher.feed !== null));
    shownProblem = error.message;
    state.update(error.problem.status === 404 ? (watcher.feed ? "ended" : "offline") : "retrying");
    if (watcher.feed === null) setText(lead, "");
  });

  watcher.start();
  for (const card of cards) card.leg.start();
  exposeProbe(watcher, cards, switcher);
  setInterval(() => {
    for (const card of cards) card.refresh();
    switcher.refresh();
    axis.update(
      watcher,
      cards.map((card) => card.leg),
      switcher.player?.visible ?? null,
      localNow(),
    );
    facts.clock(watcher.clock.quality);
  }, REFRESH_MS);
}

function leadOf(feed: Feed): string {
  const viewers = feed.paths.realtime.viewers + feed.paths.hls.viewers;
  const since = format.ago(Date.now() - Date.parse(feed.publisher?.since ?? feed.since));
  const watching = `${viewers} ${viewers === 1 ? "viewer" : "viewers"}`;
  switch (feed.state) {
    case "live":
      return `On for ${since}, ${watching}.`;
    case "starting":
      return "The publisher is connected; its first frame is awaited.";
    case "offline":
      return feed.tracks.length > 0
        ? "The publisher left. When it returns, the picture goes on here by itself."
        : "Nobody has published this feed yet. When somebody does, the picture comes by itself.";
    case "ended":
      return "This feed is over.";
  }
}

/** For a viewer an unknown feed is one that has not begun, which is no error; the page keeps asking. */
function onPage(error: BicastError, wasOn: boolean): HTMLElement {
  if (error.problem.status !== 404) return problemNotice(error);
  const hint = "This page keeps looking and starts by itself when somebody publishes it.";
  return problemNotice(
    new BicastError({ ...error.problem, title: wasOn ? "It has ended" : "Not on yet", hint }),
    "info",
  );
}

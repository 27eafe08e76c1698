/**
 * Side by side: one feed, watched as VIP and as free viewer, each over a network of its own that can be spoiled, and the timeline of both.
 *
 * | query | meaning |
 * |---|---|
 * | `feed` | the feed's id; the first that is live when left out |
 */

import { defineBicastPlayer } from "../../bicast/element";
import { FeedWatcher } from "../../bicast/feed-watcher";
import { type BicastError, toBicastError } from "../../bicast/problem";
import { localNow } from "../../bicast/server-clock";
import type { Feed } from "../../rest/feed-wire";
import { FeedsClient } from "../../rest/feeds-client";
import { LinesClient } from "../../rest/lines-client";
import { byId, h } from "../../ui/dom";
import { EdgeLag } from "../../ui/edge-lag";
import { badge, command, notice, problemNotice } from "../../ui/parts";
import { openShell } from "../../ui/shell";
import { keepToken, storedToken, tokenForm, wantsToken } from "../../ui/token";
import { boundEdges } from "./geometry";
import { LineKeeper } from "./line-keeper";
import { neededKbps } from "./presets";
import { SwitchList } from "./switch-list";
import { TimelinePicture } from "./timeline-picture";
import { TIER_NAMES, ViewerCard } from "./viewer-card";

const REFRESH_MS = 250;
const LIST_EVERY_MS = 3_000;
/** Not a second: edges are told once a second, and asked for in step with that they would always be as old. */
const STATUS_EVERY_MS = 730;

openShell("compare");
defineBicastPlayer();
const server = new URL(".", location.href).href;
const main = byId("main");
const query = new URLSearchParams(location.search);
void begin(query.get("feed"));

/** Finds the feed to show; asks for what is missing. */
async function begin(wanted: string | null): Promise<void> {
  const api = new FeedsClient(server, storedToken("watch"));
  try {
    if (wanted !== null) {
      await api.feed(wanted).catch((thrown: unknown) => {
        // What has not begun yet is waited for on the page.
        if (toBicastError(thrown).problem.status !== 404) throw thrown;
      });
      open(wanted, await api.feeds().catch(() => []));
      return;
    }
    const feeds = await api.feeds();
    const live = feeds.find((feed) => feed.state === "live") ?? feeds[0];
    if (live) open(live.id, feeds);
    else nothing();
  } catch (thrown) {
    refuse(toBicastError(thrown), wanted);
  }
}

/** The page without a feed to show. */
function nothing(): void {
  main.replaceChildren(
    h(
      "div",
      {},
      h("div", { class: "title-row" }, h("h1", {}, "VIP and free, side by side")),
      h("p", { class: "lead" }, "Nothing is on yet. This page begins by itself when something is."),
    ),
    h(
      "section",
      { class: "card stack", "data-testid": "nothing-on" },
      h("p", {}, h("a", { class: "button primary", href: "./publish.html" }, "Publish from this browser")),
      command(
        "or a test picture",
        `bicast publish --test-pattern --whip ${new URL("whip/demo", server).href}`,
      ),
    ),
  );
  setTimeout(() => void begin(null), LIST_EVERY_MS);
}

function refuse(error: BicastError, wanted: string | null): void {
  const again = () => void begin(wanted);
  const head = h("h1", {}, "VIP and free, side by side");
  if (!wantsToken(error)) {
    main.replaceChildren(head, problemNotice(error));
    setTimeout(again, LIST_EVERY_MS);
    return;
  }
  const form = tokenForm("watch", error, again);
  // The list of feeds is for operators: a viewer's token opens a feed that is named.
  const name = wanted === null ? feedForm() : null;
  main.replaceChildren(head, form, ...(name === null ? [] : [name]));
}

function feedForm(): HTMLElement {
  const input = h("input", {
    name: "feed",
    required: true,
    value: "demo",
    pattern: "[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}",
  });
  return h(
    "form",
    { class: "card token-form", method: "get", action: "" },
    h(
      "label",
      { class: "field" },
      h("span", {}, "Feed"),
      input,
      h("span", { class: "hint" }, "A viewer's token lists no feeds: name the one that it is for."),
    ),
    h("button", { class: "button", type: "submit" }, "Watch it"),
  );
}

function open(feedId: string, feeds: readonly Feed[]): void {
  document.title = `${feedId}, side by side · bicast`;
  const token = storedToken("watch");
  const watcher = new FeedWatcher(new FeedsClient(server, token), feedId, STATUS_EVERY_MS);
  const lines = new LinesClient(server, storedToken("admin") ?? token);
  const vip = new ViewerCard("vip", new LineKeeper(lines));
  const free = new ViewerCard("free", new LineKeeper(lines));
  const cards = [vip, free];
  const picture = new TimelinePicture(localNow);
  const list = new SwitchList();
  for (const card of cards) {
    card.onSwitch = (what) => {
      const behindMs = card.sample(localNow())?.behindMs ?? null;
      picture.marks.add({ who: TIER_NAMES[card.tier], at: what.at, behindMs, what });
    };
    card.onSound = () => {
      for (const other of cards) if (other !== card) other.mute();
    };
  }
  const state = badge("connecting");
  const trouble = h("div", { class: "notices" });
  const about = h("div", { class: "notices", "data-testid": "lines-off" });
  main.replaceChildren(
    h(
      "div",
      {},
      h(
        "div",
        { class: "title-row" },
        h("h1", {}, "VIP and free, side by side"),
        state,
        chooser(feedId, feeds),
      ),
      h(
        "p",
        { class: "lead" },
        "The same feed twice: the VIP is served over WebRTC, the free viewer over LL-HLS. Spoil a network and watch its viewer move to the very frame, and back.",
      ),
    ),
    trouble,
    about,
    h("section", { class: "legs", "aria-label": "Both viewers" }, ...cards.map((card) => card.element)),
    h(
      "section",
      { class: "card", "aria-labelledby": "timeline-title" },
      h("div", { class: "card-head" }, h("h2", { id: "timeline-title" }, "One timeline"), picture.legend),
      picture.element,
    ),
    h(
      "section",
      { class: "card", "aria-labelledby": "switches-title" },
      h("div", { class: "card-head" }, h("h2", { id: "switches-title" }, "Switches")),
      list.element,
    ),
  );

  const edges = { realtime: new EdgeLag("realtime"), hls: new EdgeLag("hls") };
  let shownProblem = "";
  watcher.on("feed", (feed) => {
    shownProblem = "";
    trouble.replaceChildren();
    state.update(feed.state === "live" && !watcher.flowing ? "stalled" : feed.state);
    for (const card of cards) card.network.needed = neededKbps(feed);
  });
  watcher.on("problem", (error) => {
    if (error.problem.status === 401) {
      // The token has expired or was taken back: another one is wanted, and this one is of no use any more.
      keepToken("watch", null);
      watcher.stop();
      for (const card of cards) card.stop();
      refuse(error, feedId);
      return;
    }
    if (shownProblem !== error.message) trouble.replaceChildren(problemNotice(error));
    shownProblem = error.message;
    state.update(watcher.feed === null ? "offline" : watcher.feed.state === "ended" ? "ended" : "retrying");
  });
  watcher.start();
  // Both lines first: a viewer that changes its server begins anew.
  void Promise.all(cards.map((card) => card.play(feedId, token))).then(() => {
    about.replaceChildren(...linesOff(vip.keeper));
  });
  addEventListener("pagehide", () => {
    for (const card of cards) card.keeper.close();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  setInterval(() => {
    const now = localNow();
    for (const card of cards) card.refresh();
    const viewers = { vip: vip.sample(now), free: free.sample(now) };
    const seconds = watcher.feed?.paths.hls.windowSeconds ?? null;
    const told = { realtime: edges.realtime.of(watcher), hls: edges.hls.of(watcher) };
    picture.add({
      now,
      edges: boundEdges(told, [viewers.vip, viewers.free]),
      viewers,
      windowMs: seconds === null ? null : seconds * 1_000,
    });
    list.show(picture.marks.list);
  }, REFRESH_MS);
}

/** What to say where networks cannot be spoiled. */
function linesOff({ state }: LineKeeper): HTMLElement[] {
  if (state !== "off") return [];
  const how =
    "To try bad networks, start it with “bicast serve --demo” (or demo.lines = true in bicast.toml). Everything else works.";
  return [notice("info", "Networks cannot be spoiled on this server", how)];
}

/** The other feeds, where there are some. */
function chooser(feedId: string, feeds: readonly Feed[]): HTMLElement | null {
  const ids = [...new Set([feedId, ...feeds.map(({ id }) => id)])].sort();
  if (ids.length < 2) return h("span", { class: "chip push", "data-testid": "feed-id" }, feedId);
  const select = h(
    "select",
    { "aria-label": "Feed", "data-testid": "feed-choice" },
    ...ids.map((id) => h("option", { value: id, selected: id === feedId }, id)),
  );
  select.addEventListener("change", () => {
    location.search = `?feed=${encodeURIComponent(select.value)}`;
  });
  return h("label", { class: "field inline push" }, select);
}

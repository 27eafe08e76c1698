/** The feed list: what is on, asked for once a second, and how to publish where nothing is. */

import { type BicastError, toBicastError } from "../../bicast/problem";
import type { Feed } from "../../rest/feed-wire";
import { FeedsClient } from "../../rest/feeds-client";
import { byId, h, setText } from "../../ui/dom";
import { problemNotice } from "../../ui/parts";
import { openShell } from "../../ui/shell";
import { FeedCard } from "./card";
import { howToPublish } from "./how-to-publish";

const POLL_MS = 1_000;

openShell("feeds");
const server = new URL(".", location.href).href;
const api = new FeedsClient(server);

const summary = h(
  "p",
  { class: "lead", "aria-live": "polite", "data-testid": "feeds-summary" },
  "Asking the server…",
);
const trouble = h("div", { class: "notices" });
const grid = h("div", { class: "feed-grid", "data-testid": "feeds" });
const help = howToPublish(server);
byId("main").append(
  h("div", {}, h("div", { class: "title-row" }, h("h1", {}, "Live feeds")), summary),
  trouble,
  grid,
  help.element,
);

const cards = new Map<string, FeedCard>();

/** Live first, then by name. */
function inOrder(feeds: readonly Feed[]): Feed[] {
  const rank = (feed: Feed) => ["live", "starting", "offline", "ended"].indexOf(feed.state);
  return [...feeds].sort((a, b) => rank(a) - rank(b) || a.id.localeCompare(b.id));
}

function show(feeds: readonly Feed[]): void {
  trouble.replaceChildren();
  const ordered = inOrder(feeds);
  for (const [id, card] of cards) {
    if (ordered.some((feed) => feed.id === id)) continue;
    card.element.remove();
    cards.delete(id);
  }
  ordered.forEach((feed, index) => {
    const card = cards.get(feed.id) ?? new FeedCard(feed.id);
    cards.set(feed.id, card);
    card.update(feed, Date.now());
    // Moving an element that is in place would take the focus from it.
    if (grid.children[index] !== card.element) grid.insertBefore(card.element, grid.children[index] ?? null);
  });
  const live = ordered.filter((feed) => feed.state === "live").length;
  grid.hidden = ordered.length === 0;
  help.update(ordered.length > 0);
  setText(summary, ordered.length === 0 ? "Nothing is on yet." : `${live} of ${ordered.length} live.`);
}

function fail(error: BicastError): void {
  trouble.replaceChildren(problemNotice(error));
  setText(summary, cards.size > 0 ? "This is what was on when the server last answered." : "");
}

let failing = "";
async function poll(): Promise<void> {
  try {
    show(await api.feeds(AbortSignal.timeout(5_000)));
    failing = "";
  } catch (thrown) {
    const error = toBicastError(thrown);
    // An alert speaks whenever it is written: once for each kind of failure is enough.
    if (failing !== error.message) fail(error);
    failing = error.message;
  }
  setTimeout(() => void poll(), document.hidden ? POLL_MS * 5 : POLL_MS);
}
void poll();

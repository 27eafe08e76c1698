/** The feeds, one row each: state, viewers by path, what is sent, what is wrong. A row chooses the feed that the page is about. */

import type { Feed } from "../../rest/feed-wire";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { badge } from "../../ui/parts";

/** The list. */
export class FeedsPanel {
  readonly element: HTMLElement;
  readonly #body = h("tbody", {});
  readonly #rows = new Map<string, Row>();

  constructor(private readonly onChoose: (feed: string) => void) {
    const head = ["Feed", "State", "Viewers", "Sent", ""];
    this.element = h(
      "section",
      { class: "card", "aria-labelledby": "feeds-title", "data-testid": "operate-feeds" },
      h("div", { class: "card-head" }, h("h2", { id: "feeds-title" }, "Feeds")),
      h(
        "div",
        { class: "table-wrap" },
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
          this.#body,
        ),
      ),
    );
  }

  /** Shows these; `chosen` is marked. */
  show(feeds: readonly Feed[], chosen: string | null): void {
    for (const [id, row] of this.#rows) {
      if (feeds.some((feed) => feed.id === id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    const most = Math.max(1, ...feeds.map((feed) => feed.paths.realtime.viewers + feed.paths.hls.viewers));
    feeds.forEach((feed, index) => {
      const row = this.#rows.get(feed.id) ?? new Row(feed.id, this.onChoose);
      this.#rows.set(feed.id, row);
      row.show(feed, most, feed.id === chosen);
      if (this.#body.children[index] !== row.element)
        this.#body.insertBefore(row.element, this.#body.children[index] ?? null);
    });
  }
}

class Row {
  readonly element: HTMLElement;
  readonly #badge = badge("starting");
  readonly #button: HTMLButtonElement;
  readonly #realtime = h("i", { "data-path": "realtime" });
  readonly #hls = h("i", { "data-path": "hls" });
  readonly #count = h("span", { class: "muted" });
  readonly #egress = h("td", { class: "num" });
  readonly #publisher = h("span", { class: "muted publisher" });
  readonly #warning = h("span", { class: "warn-chip", hidden: true });

  constructor(id: string, onChoose: (feed: string) => void) {
    this.#button = h("button", { type: "button", class: "row-button", "data-testid": `choose-${id}` }, id);
    this.#button.addEventListener("click", () => onChoose(id));
    const query = `?feed=${encodeURIComponent(id)}`;
    this.element = h(
      "tr",
      { "data-testid": `operate-${id}` },
      h("td", { class: "feed-cell" }, this.#button, this.#warning, this.#publisher),
      h("td", {}, this.#badge),
      h(
        "td",
        { class: "bar-cell" },
        h("span", { class: "split", "aria-hidden": "true" }, this.#realtime, this.#hls),
        this.#count,
      ),
      this.#egress,
      h(
        "td",
        { class: "links" },
        h("a", { href: `./watch.html${query}` }, "Watch"),
        h("a", { href: `./compare.html${query}` }, "Side by side"),
      ),
    );
  }

  show(feed: Feed, most: number, chosen: boolean): void {
    const { realtime, hls } = feed.paths;
    this.element.toggleAttribute("data-chosen", chosen);
    this.#button.ariaPressed = String(chosen);
    this.#badge.update(feed.state);
    this.#realtime.style.width = `${(realtime.viewers / most) * 100}%`;
    this.#hls.style.width = `${(hls.viewers / most) * 100}%`;
    setText(this.#count, `${format.count(realtime.viewers)} WebRTC, ${format.count(hls.viewers)} LL-HLS`);
    setText(this.#egress, format.bitrate(realtime.egressBps));
    setText(
      this.#publisher,
      feed.publisher?.agent ? `from ${format.agentName(feed.publisher.agent)}` : "no publisher",
    );
    const warnings =
      feed.warnings.length + Number(!realtime.available || !hls.available) * Number(feed.state === "live");
    this.#warning.hidden = warnings === 0;
    setText(this.#warning, warnings === 1 ? "1 warning" : `${warnings} warnings`);
    this.#warning.title = [...feed.warnings, realtime.reason, hls.reason].filter(Boolean).join(" ");
  }
}

/** One feed's viewers, a page of them: filtered, and moved or ended one by one. */

import type { Path } from "../../bicast/leg";
import { toBicastError } from "../../bicast/problem";
import { reasonInWords } from "../../bicast/viewer-wire";
import { pathName } from "../../bicast/words";
import type { WatcherQuery } from "../../rest/operator-client";
import type { Audience, Tier, Watcher, WatcherPage } from "../../rest/operator-wire";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { problemNotice } from "../../ui/parts";
import { nameOf } from "./history";

const PAGE = 20;
/** A second click within this time ends a viewer. */
const SURE_MS = 4_000;

/** What the panel asks the page to do. */
export interface Orders {
  move(viewer: string, path: Path | "auto"): Promise<unknown>;
  end(viewer: string): Promise<unknown>;
  /** The filter or the page has changed: ask at once. */
  again(): void;
}

/** The table, its filter and its pages. */
export class ViewersPanel {
  readonly element: HTMLElement;
  readonly #body = h("tbody", {});
  readonly #table: HTMLElement;
  readonly #empty = h("p", { class: "muted", hidden: true });
  readonly #total = h("span", { class: "muted", "data-testid": "viewers-total" });
  readonly #trouble = h("div", { class: "notices" });
  readonly #path: HTMLSelectElement;
  readonly #tier: HTMLSelectElement;
  readonly #reason: HTMLSelectElement;
  readonly #before: HTMLButtonElement;
  readonly #next: HTMLButtonElement;
  readonly #rows = new Map<string, Row>();
  /** The `after` of each page up to the one that is shown. */
  #pages: readonly (string | undefined)[] = [undefined];
  #following: string | null = null;
  #reasons = "";

  constructor(private readonly orders: Orders) {
    this.#path = this.#filter("Path", "filter-path", [
      ["", "Every path"],
      ["realtime", pathName("realtime")],
      ["hls", pathName("hls")],
    ]);
    this.#tier = this.#filter("Tier", "filter-tier", [
      ["", "Every tier"],
      ["vip", "VIP"],
      ["free", "Free"],
    ]);
    this.#reason = this.#filter("Reason", "filter-reason", [["", "Every reason"]]);
    this.#before = h("button", { class: "button small", type: "button", disabled: true }, "Back");
    this.#next = h("button", { class: "button small", type: "button", disabled: true }, "Next");
    this.#before.addEventListener("click", () => this.#turn(this.#pages.slice(0, -1)));
    this.#next.addEventListener("click", () => {
      if (this.#following !== null) this.#turn([...this.#pages, this.#following]);
    });
    const head = ["Viewer", "Tier", "Path", "Why", "Latency", "Loss", "Round trip", "Moves", "Order"];
    this.#table = h(
      "div",
      { class: "table-wrap" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
        this.#body,
      ),
    );
    this.element = h(
      "section",
      { class: "card", "aria-labelledby": "viewers-title", "data-testid": "operate-viewers" },
      h(
        "div",
        { class: "card-head" },
        h("h2", { id: "viewers-title" }, "Viewers"),
        this.#total,
        h("div", { class: "filters push" }, this.#path, this.#tier, this.#reason),
      ),
      this.#trouble,
      this.#table,
      this.#empty,
      h("div", { class: "pager" }, this.#before, this.#next),
    );
  }

  /** What to ask for. */
  get query(): WatcherQuery {
    return {
      path: (this.#path.value || undefined) as Path | undefined,
      tier: (this.#tier.value || undefined) as Tier | undefined,
      reason: this.#reason.value || undefined,
      after: this.#pages.at(-1),
      limit: PAGE,
    };
  }

  /** Begins anew, with another feed. */
  reset(): void {
    this.#pages = [undefined];
    this.#reason.value = "";
  }

  /** Shows a page of viewers. */
  show({ viewers, total, next }: WatcherPage, audience: Audience): void {
    this.#offerReasons(audience);
    this.#following = next;
    // The last viewer of this page has gone: the one before is shown.
    if (viewers.length === 0 && this.#pages.length > 1) this.#turn(this.#pages.slice(0, -1));
    for (const [id, row] of this.#rows) {
      if (viewers.some((viewer) => viewer.id === id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    viewers.forEach((viewer, index) => {
      const row = this.#rows.get(viewer.id) ?? new Row(viewer.id, (act) => this.#order(act));
      this.#rows.set(viewer.id, row);
      row.show(viewer);
      if (this.#body.children[index] !== row.element)
        this.#body.insertBefore(row.element, this.#body.children[index] ?? null);
    });
    setText(this.#total, format.count(total));
    this.#table.hidden = viewers.length === 0;
    this.#empty.hidden = viewers.length > 0;
    const filtered = this.#path.value || this.#tier.value || this.#reason.value;
    setText(this.#empty, filtered ? "No viewer is like that." : "Nobody has joined this feed.");
    this.#before.disabled = this.#pages.length === 1;
    this.#next.disabled = next === null;
    (this.#before.parentElement as HTMLElement).hidden = this.#pages.length === 1 && next === null;
  }

  #filter(name: string, testid: string, options: readonly (readonly [string, string])[]): HTMLSelectElement {
    const select = h(
      "select",
      { "aria-label": name, "data-testid": testid },
      ...options.map(([value, words]) => h("option", { value }, words)),
    );
    select.addEventListener("change", () => this.#turn([undefined]));
    return select;
  }

  #offerReasons({ groups, decisions }: Audience): void {
    const known = [...new Set([...groups.map(({ reason }) => reason), ...Object.keys(decisions)])].sort();
    if (known.join() === this.#reasons) return;
    this.#reasons = known.join();
    const { value } = this.#reason;
    this.#reason.replaceChildren(
      h("option", { value: "" }, "Every reason"),
      ...known.map((reason) => h("option", { value: reason }, reason.replaceAll("-", " "))),
    );
    this.#reason.value = known.includes(value) ? value : "";
  }

  #turn(pages: readonly (string | undefined)[]): void {
    this.#pages = pages.length === 0 ? [undefined] : pages;
    this.orders.again();
  }

  async #order(act: (orders: Orders) => Promise<unknown>): Promise<void> {
    try {
      await act(this.orders);
      this.#trouble.replaceChildren();
    } catch (thrown) {
      this.#trouble.replaceChildren(problemNotice(toBicastError(thrown)));
    }
    this.orders.again();
  }
}

type Order = (act: (orders: Orders) => Promise<unknown>) => Promise<void>;

class Row {
  readonly element: HTMLElement;
  readonly #name = h("td", {});
  readonly #tier = h("td", {});
  readonly #path = h("span", { class: "path-badge" });
  readonly #why = h("td", { class: "wide" });
  readonly #cells = { latency: num(), loss: num(), trip: num(), moves: num() };
  readonly #buttons: Readonly<Record<"realtime" | "hls" | "auto", HTMLButtonElement>>;
  readonly #end: HTMLButtonElement;
  #sure: ReturnType<typeof setTimeout> | undefined;
  #tierShown: string | null = null;

  constructor(id: string, order: Order) {
    const button = (path: "realtime" | "hls" | "auto", words: string, title: string) => {
      const made = h("button", { type: "button", title, "data-testid": `move-${path}` }, words);
      made.addEventListener("click", () => void order((orders) => orders.move(id, path)));
      return made;
    };
    this.#buttons = {
      realtime: button("realtime", "WebRTC", "Keep it on WebRTC"),
      hls: button("hls", "LL-HLS", "Keep it on LL-HLS"),
      auto: button("auto", "Auto", "Let the service decide"),
    };
    this.#end = h(
      "button",
      { type: "button", class: "end", title: "End this viewer", "data-testid": "end-viewer" },
      "End",
    );
    this.#end.addEventListener("click", () => {
      if (this.#end.dataset.sure !== undefined) {
        this.#calm();
        void order((orders) => orders.end(id));
        return;
      }
      this.#end.dataset.sure = "";
      setText(this.#end, "End it?");
      this.#sure = setTimeout(() => this.#calm(), SURE_MS);
    });
    this.element = h(
      "tr",
      { "data-testid": `row-${id}` },
      this.#name,
      this.#tier,
      h("td", {}, this.#path),
      this.#why,
      ...Object.values(this.#cells),
      h("td", {}, h("div", { class: "orders" }, ...Object.values(this.#buttons), this.#end)),
    );
  }

  show(viewer: Watcher): void {
    const { tier, path, decision, ordered, waiting, player, session, switches, agent } = viewer;
    setText(this.#name, nameOf(viewer));
    this.#name.title = [viewer.id, agent].filter(Boolean).join(", ");
    if (tier !== this.#tierShown)
      this.#tier.replaceChildren(
        tier === null ? "–" : h("span", { class: `tier ${tier}` }, tier === "vip" ? "VIP" : "Free"),
      );
    this.#tierShown = tier;
    this.element.dataset.path = path;
    setText(this.#path, pathName(path));
    const queue = waiting === null ? "" : ` (waits, ${format.count(waiting.ahead)} ahead)`;
    setText(this.#why, decision === null ? "has not joined" : `${reasonInWords(decision.reason)}${queue}`);
    const loss = session?.lossRatio ?? player?.report.lossRatio ?? null;
    setText(this.#cells.latency, format.span(player?.report.latencyMs ?? null));
    setText(this.#cells.loss, loss === null ? "–" : `${(loss * 100).toFixed(1)} %`);
    setText(this.#cells.trip, format.span(session?.roundTripMs ?? null));
    setText(this.#cells.moves, format.count(switches));
    const joined = tier !== null;
    this.#buttons.realtime.ariaPressed = String(ordered === "realtime");
    this.#buttons.hls.ariaPressed = String(ordered === "hls");
    this.#buttons.auto.ariaPressed = String(joined && ordered === null);
    for (const one of [...Object.values(this.#buttons), this.#end]) one.disabled = !joined;
    if (tier === "free") this.#buttons.realtime.disabled = true;
  }

  #calm(): void {
    clearTimeout(this.#sure);
    delete this.#end.dataset.sure;
    setText(this.#end, "End");
  }
}

function num(): HTMLTableCellElement {
  return h("td", { class: "num" });
}

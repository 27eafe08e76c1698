/** Every switch in words, newest first: what the diamonds of the picture say. */

import { clock, pathName, span } from "../../bicast/words";
import { h } from "../../ui/dom";
import { costWords, type Mark } from "./trail";

const SHOWN = 12;

/** The list. */
export class SwitchList {
  readonly element = h("div", { class: "table-wrap", "data-testid": "switch-list" });
  #shown: readonly Mark[] | null = null;

  /** Shows these, oldest first, where they differ from those that are shown. */
  show(marks: readonly Mark[]): void {
    if (marks === this.#shown) return;
    this.#shown = marks;
    if (marks.length === 0) {
      this.element.replaceChildren(
        h(
          "p",
          { class: "muted" },
          "No switch yet. Spoil the VIP's network, choose another path in a player's menu, pause it or rewind it.",
        ),
      );
      return;
    }
    const head = ["When", "Viewer", "To", "Measured gap", "Picture held", "Why"];
    const rows = marks
      .slice(-SHOWN)
      .reverse()
      .map(({ who, at, what }) =>
        h(
          "tr",
          {},
          h("td", { class: "num" }, clock(at)),
          h("td", {}, who),
          h("td", {}, h("span", { class: "path-badge", "data-path": what.to }, pathName(what.to))),
          h("td", {}, costWords(what)),
          h("td", { class: "num" }, what.stillMs > 0 ? span(what.stillMs) : "never"),
          h("td", { class: "wide" }, what.reason),
        ),
      );
    this.element.replaceChildren(
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, ...rows),
      ),
    );
  }
}

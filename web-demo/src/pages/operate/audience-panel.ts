/** Why viewers are where they are, and what was decided lately. */

import { reasonInWords } from "../../bicast/viewer-wire";
import { clock, pathName } from "../../bicast/words";
import type { Audience } from "../../rest/operator-wire";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { type Decided, reasonsOf } from "./history";

const SHOWN = 14;

/** Both lists. */
export class AudiencePanel {
  readonly reasons: HTMLElement;
  readonly decisions: HTMLElement;
  readonly #bars = h("div", { class: "bars", "data-testid": "reasons" });
  readonly #list = h("ol", { class: "decisions", "data-testid": "decisions" });
  readonly #counted = h("p", { class: "muted small" });
  #shown = "";
  #newest: readonly Decided[] | null = null;

  constructor() {
    this.reasons = h(
      "section",
      { class: "card", "aria-labelledby": "reasons-title" },
      h("div", { class: "card-head" }, h("h2", { id: "reasons-title" }, "Why they are where they are")),
      this.#bars,
    );
    this.decisions = h(
      "section",
      { class: "card", "aria-labelledby": "decisions-title" },
      h("div", { class: "card-head" }, h("h2", { id: "decisions-title" }, "Recent decisions")),
      this.#list,
      this.#counted,
    );
  }

  /** Shows a feed's audience and the newest decisions. */
  show(audience: Audience, decisions: readonly Decided[]): void {
    const reasons = reasonsOf(audience);
    const shown = JSON.stringify(reasons);
    if (shown !== this.#shown) {
      const most = Math.max(1, ...reasons.map(({ vip, free }) => vip + free));
      this.#bars.replaceChildren(
        ...(reasons.length === 0
          ? [
              h(
                "p",
                { class: "muted" },
                "Nobody has joined. Viewers of plain WHEP and HLS are counted above; nobody decides about them.",
              ),
            ]
          : reasons.map((one) => {
              const bar = h("i", {});
              bar.style.width = `${((one.vip + one.free) / most) * 100}%`;
              const tiers = [
                one.vip && `${format.count(one.vip)} VIP`,
                one.free && `${format.count(one.free)} free`,
              ].filter(Boolean);
              return h(
                "div",
                { class: "bar-row", "data-path": one.path, "data-reason": one.reason },
                h(
                  "span",
                  { class: "bar-name" },
                  h("span", { class: "path-badge" }, pathName(one.path)),
                  reasonInWords(one.reason),
                ),
                h("span", { class: "bar-track" }, bar),
                h("span", { class: "bar-count" }, tiers.join(", ")),
              );
            })),
      );
    }
    this.#shown = shown;
    const all = Object.values(audience.decisions).reduce((sum, count) => sum + count, 0);
    setText(
      this.#counted,
      all === 0 ? "" : `${format.count(all)} decisions since the feed's first viewer came.`,
    );
    this.#counted.hidden = all === 0;
    if (decisions === this.#newest) return;
    this.#newest = decisions;
    this.#list.replaceChildren(
      ...(decisions.length === 0
        ? [h("li", { class: "muted" }, "None yet.")]
        : decisions
            .slice(0, SHOWN)
            .map(({ name, path, reason, since }) =>
              h(
                "li",
                { "data-path": path },
                h("time", {}, clock(since)),
                h("code", {}, name),
                h("span", { class: "path-badge" }, pathName(path)),
                h("span", { class: "muted" }, reasonInWords(reason)),
              ),
            )),
    );
  }
}

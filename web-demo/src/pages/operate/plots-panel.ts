/** Three minutes of one feed: viewers by path, what is sent, and how late both paths are. */

import type { Path } from "../../bicast/leg";
import { pathName } from "../../bicast/words";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { Plot } from "../../ui/plot";
import type { History, LatencyOf, Second } from "./history";

const PATHS: readonly Path[] = ["realtime", "hls"];
const QUANTILES = ["p50", "p95", "p99"] as const;
const pathInk = { realtime: "--realtime-ink", hls: "--hls-ink" } as const;

interface Line {
  readonly key: string;
  readonly name: string;
  readonly color: string;
  readonly read: (second: Second) => number | null;
}

/** One plot with its title and the newest values as legend. */
class Card {
  readonly element: HTMLElement;
  readonly #plot: Plot;
  readonly #values: readonly HTMLElement[];

  constructor(
    title: string,
    private readonly lines: readonly Line[],
    private readonly words: (value: number | null) => string,
    private readonly floor: number,
  ) {
    const canvas = h("canvas", { class: "plot tall" });
    this.#plot = new Plot(canvas, words, title);
    this.#values = lines.map(({ key }) => h("b", { "data-testid": `plot-${key}` }, "–"));
    const legend = lines.map(({ name, color }, index) => {
      const swatch = h("i", { "aria-hidden": "true" });
      swatch.style.background = `var(${color})`;
      return h("li", {}, swatch, `${name} `, this.#values[index] ?? null);
    });
    this.element = h(
      "figure",
      { class: "card plot-card" },
      h("figcaption", {}, h("h3", {}, title), h("ul", { class: "plot-legend" }, ...legend)),
      canvas,
      h("p", { class: "plot-caption" }, h("span", {}, "3 min ago"), h("span", {}, "now")),
    );
  }

  show(history: History): void {
    const last = history.seconds.at(-1) ?? null;
    this.#plot.show(
      this.lines.map(({ color, read }) => ({ color, points: history.points(read) })),
      this.floor,
    );
    this.lines.forEach(({ read }, index) => {
      setText(this.#values[index] as HTMLElement, this.words(last === null ? null : read(last)));
    });
  }
}

const quantile = (path: Path, which: keyof LatencyOf, shade: string): Line => ({
  key: `${path}-${which}`,
  name: which,
  color: shade,
  read: ({ latency }) => latency[path]?.[which] ?? null,
});

/** The four plots. */
export class PlotsPanel {
  readonly element: HTMLElement;
  readonly #cards: readonly Card[];

  constructor() {
    const viewers = PATHS.map(
      (path): Line => ({
        key: `viewers-${path}`,
        name: pathName(path),
        color: pathInk[path],
        read: (second) => second.viewers[path],
      }),
    );
    const egress: Line = {
      key: "egress",
      name: "WebRTC",
      color: pathInk.realtime,
      read: (second) => second.egressBps,
    };
    const late = (path: Path) =>
      QUANTILES.map((which, index) => quantile(path, which, `--${path}-${index + 1}`));
    this.#cards = [
      new Card("Viewers", viewers, (value) => (value === null ? "–" : format.count(Math.round(value))), 4),
      new Card("Sent", [egress], format.bitrate, 1e6),
      new Card("Latency over WebRTC", late("realtime"), format.span, 100),
      new Card("Latency over LL-HLS", late("hls"), format.span, 1_000),
    ];
    this.element = h(
      "section",
      { class: "plots", "aria-label": "The last three minutes" },
      ...this.#cards.map((card) => card.element),
    );
  }

  /** Draws this feed's history. */
  show(history: History): void {
    for (const card of this.#cards) card.show(history);
  }
}

/** A picture of the timeline: the server's now on the right, each path's live edge and each viewer where they are behind it. */

import type { FeedWatcher } from "../../bicast/feed-watcher";
import type { Leg, Path } from "../../bicast/leg";
import { pathName } from "../../bicast/words";
import { h, setText } from "../../ui/dom";
import { EdgeLag } from "../../ui/edge-lag";
import * as format from "../../ui/format";

const PATHS: readonly Path[] = ["realtime", "hls"];
/** Lengths the axis may have, in milliseconds. */
const LENGTHS = [1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 60_000, 120_000];

/** The axis with one lane for each path, and one for the player when it is open. */
export class TimeAxis {
  readonly element = h("div", { class: "axis", "data-testid": "time-axis" });
  readonly legend = h(
    "p",
    { class: "axis-legend push" },
    h("span", {}, "▎ newest that the server has"),
    h("span", {}, "● what is on the screen here"),
  );
  readonly #lanes: Readonly<Record<Path, Lane>>;
  readonly #player = new Lane("Player", "player");
  readonly #scale = h("div", { class: "scale", "aria-hidden": "true" });
  readonly #edges = { realtime: new EdgeLag("realtime"), hls: new EdgeLag("hls") };
  #length = 0;

  constructor() {
    this.#lanes = {
      realtime: new Lane(pathName("realtime"), "realtime"),
      hls: new Lane(pathName("hls"), "hls"),
    };
    for (const path of PATHS) this.element.append(this.#lanes[path].name, this.#lanes[path].element);
    this.element.append(this.#player.name, this.#player.element, this.#scale);
    this.#player.hide(true);
    this.#rescale(0);
  }

  /** Writes where everything is: the legs in their lanes, the leg that the player shows in its own. */
  update(watcher: FeedWatcher, legs: readonly Leg[], player: Leg | null, now: number): void {
    const lags = {} as Record<Path, { edge: number | null; viewer: number | null }>;
    for (const path of PATHS) {
      const viewer = lagOf(legs.find((leg) => leg.path === path));
      // What is on the screen was at the edge once: the edge cannot be farther behind.
      const edge = this.#edges[path].of(watcher);
      lags[path] = { edge: edge !== null && viewer !== null ? Math.min(edge, viewer) : edge, viewer };
    }
    const playerLag = lagOf(player);
    const most = Math.max(
      ...PATHS.flatMap((path) => [lags[path].edge ?? 0, lags[path].viewer ?? 0]),
      playerLag ?? 0,
    );
    this.#rescale(most);
    for (const path of PATHS) this.#lanes[path].show(this.#length, lags[path].edge, lags[path].viewer);
    this.#player.hide(player === null);
    if (player !== null) {
      this.#player.element.dataset.path = player.path;
      this.#player.show(this.#length, null, playerLag);
    }
    const said = PATHS.map((path) => `${pathName(path)} ${format.span(lags[path].viewer)} behind`).join(", ");
    this.element.setAttribute("role", "img");
    this.element.setAttribute("aria-label", `Positions on the timeline at ${format.timeOfDay(now)}: ${said}`);
  }

  #rescale(most: number): void {
    const length = LENGTHS.find((option) => option >= most * 1.15) ?? Math.ceil(most / 60_000 + 1) * 60_000;
    if (length === this.#length || (length < this.#length && most > this.#length * 0.4)) return;
    this.#length = length;
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
      const back = length * (1 - share);
      const tick = h("span", {}, share === 1 ? "now" : `−${back / 1000} s`);
      tick.style.left = `${share * 100}%`;
      return tick;
    });
    this.#scale.replaceChildren(...ticks);
  }
}

/** One row of the axis. */
class Lane {
  readonly name: HTMLElement;
  readonly element: HTMLElement;
  readonly #bar = h("span", { class: "bar", hidden: true });
  readonly #edge = h("span", { class: "mark edge", hidden: true });
  readonly #viewerText = h("span", {});
  readonly #viewer = h("span", { class: "mark", hidden: true }, this.#viewerText);

  constructor(name: string, path: string) {
    this.name = h("span", { class: "lane-name" }, name);
    this.element = h("div", { class: "lane", "data-path": path }, this.#bar, this.#edge, this.#viewer);
  }

  hide(hidden: boolean): void {
    this.name.hidden = hidden;
    this.element.hidden = hidden;
  }

  show(length: number, edge: number | null, viewer: number | null): void {
    const left = (lag: number) => `${(1 - Math.min(Math.max(lag / length, 0), 1)) * 100}%`;
    this.#edge.hidden = edge === null;
    this.#viewer.hidden = viewer === null;
    this.#bar.hidden = edge === null || viewer === null;
    if (edge !== null) this.#edge.style.left = left(edge);
    if (viewer !== null) {
      this.#viewer.style.left = left(viewer);
      this.#viewer.classList.toggle("at-end", viewer / length < 0.08);
      this.#viewer.classList.toggle("at-start", viewer / length > 0.92);
      setText(this.#viewerText, format.span(viewer));
    }
    if (edge !== null && viewer !== null) {
      this.#bar.style.left = left(viewer);
      this.#bar.style.right = `${(Math.min(edge, length) / length) * 100}%`;
    }
  }
}

/** How far behind the server's now the picture on the screen is. */
function lagOf(leg: Leg | null | undefined): number | null {
  if (leg?.state !== "live") return null;
  return leg.frames.latency.now(performance.timeOrigin + performance.now());
}

/** One feed of the list. */

import { pathName } from "../../bicast/words";
import type { Feed } from "../../rest/feed-wire";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { badge, notice } from "../../ui/parts";

/** A card that is written anew where something changed. */
export class FeedCard {
  readonly element: HTMLElement;
  readonly #badge = badge("starting");
  readonly #since = h("p", { class: "muted small" });
  readonly #chips = h("div", { class: "chips" });
  readonly #paths = { realtime: pathLine("realtime"), hls: pathLine("hls") };
  readonly #notices = h("div", { class: "notices" });
  readonly #beside: HTMLElement;
  #shown = "";

  constructor(id: string) {
    const query = `?feed=${encodeURIComponent(id)}`;
    const href = `./watch.html${query}`;
    this.#beside = h("a", { class: "beside", href: `./compare.html${query}` }, "VIP and free, side by side");
    this.element = h(
      "article",
      { class: "card feed-card", "data-testid": `feed-${id}` },
      h("div", { class: "head" }, h("h2", {}, h("a", { href }, id)), this.#badge),
      this.#since,
      this.#chips,
      h("div", { class: "stack tight" }, this.#paths.realtime.element, this.#paths.hls.element),
      this.#notices,
      this.#beside,
    );
  }

  /** Shows this; `now` is milliseconds since 1970. */
  update(feed: Feed, now: number): void {
    this.#badge.update(feed.state);
    this.#beside.hidden = feed.state !== "live";
    const since = format.ago(now - Date.parse(feed.publisher?.since ?? feed.since));
    setText(this.#since, sinceWords(feed, since));
    this.#paths.realtime.update(feed.paths.realtime);
    this.#paths.hls.update(feed.paths.hls);
    const shown = JSON.stringify([feed.tracks, feed.warnings, feed.cadence.advice]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#chips.replaceChildren(...chips(feed));
    this.#notices.replaceChildren(...notices(feed));
  }
}

/** Everything the operator should read about a feed, as boxes. */
export function notices(feed: Feed): HTMLElement[] {
  const advice = feed.cadence.advice;
  const warnings = feed.warnings.filter((warning) => warning !== advice);
  return [
    ...warnings.map((warning) => notice("warning", null, warning)),
    ...(advice === null ? [] : [notice("info", "Advice", advice)]),
  ];
}

function sinceWords(feed: Feed, since: string): string {
  const by = feed.publisher ? ` by ${feed.publisher.protocol.toUpperCase()}` : "";
  const agent = feed.publisher?.agent ? ` from ${format.agentName(feed.publisher.agent)}` : "";
  switch (feed.state) {
    case "live":
      return `On for ${since}${by}${agent}`;
    case "starting":
      return `Publisher connected${by}, waiting for the first frame`;
    case "offline":
      return feed.tracks.length > 0 ? "The publisher left and may return" : "Nobody has published it yet";
    case "ended":
      return "Over";
  }
}

/** Size, rate, codecs and bitrate of a feed as small labels. */
function chips(feed: Feed): HTMLElement[] {
  const labels: string[] = [];
  for (const track of feed.tracks) {
    const rendition = track.renditions[0];
    if (rendition?.resolution)
      labels.push(format.size(rendition.resolution.width, rendition.resolution.height));
    if (rendition?.frameRate) labels.push(format.rate(rendition.frameRate));
    labels.push(format.codecName(track.codec));
    if (rendition?.bandwidth) labels.push(format.bitrate(rendition.bandwidth));
  }
  return labels.map((label) => h("span", { class: "chip" }, label));
}

function pathLine(path: "realtime" | "hls") {
  const viewers = h("span", { class: "muted", "data-testid": `viewers-${path}` });
  const why = h("span", { class: "why" });
  const element = h(
    "div",
    { class: "path-line", "data-path": path },
    h("span", { class: "swatch" }),
    h("span", {}, pathName(path)),
    viewers,
    why,
  );
  return {
    element,
    update(status: {
      readonly available: boolean;
      readonly reason: string | null;
      readonly viewers: number;
    }) {
      element.dataset.available = String(status.available);
      const watching = `${status.viewers} ${status.viewers === 1 ? "viewer" : "viewers"}`;
      setText(viewers, status.available || status.viewers > 0 ? watching : "not available");
      setText(why, status.reason ?? "");
      why.hidden = status.reason === null;
    },
  };
}

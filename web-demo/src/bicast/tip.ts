/** What is under the pointer on the scrub bar: the time, and a picture where there is one. */

import type { FeedWatcher } from "./feed-watcher";
import { Previews } from "./previews";
import type { ProgramTime } from "./timeline";
import { clock } from "./words";

/** A small card over the bar. */
export class Tip {
  readonly #card = document.createElement("div");
  readonly #canvas = document.createElement("canvas");
  readonly #time = document.createElement("span");
  #feed: FeedWatcher | null = null;
  #previews: Previews | null = null;
  #shown = 0;

  constructor(bar: HTMLElement) {
    this.#card.className = "tip";
    this.#card.ariaHidden = "true";
    this.#card.append(this.#canvas, this.#time);
    this.hide();
    this.#canvas.hidden = true;
    bar.append(this.#card);
  }

  /** A moment of a feed, at this share of the bar. The newest call counts, wherever the pointer was meanwhile. */
  async show(feed: FeedWatcher, share: number, time: ProgramTime): Promise<void> {
    if (feed !== this.#feed) this.#previews = new Previews(feed.api.hlsUrl(feed.id));
    this.#feed = feed;
    this.#card.hidden = false;
    this.#card.style.left = `${share * 100}%`;
    this.#time.textContent = clock(time);
    this.#shown += 1;
    const mine = this.#shown;
    const picture = (await this.#previews?.at(time)) ?? null;
    if (mine !== this.#shown) return;
    const canvas = this.#canvas;
    canvas.hidden = picture === null;
    if (picture === null) return;
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
  }

  hide(): void {
    this.#card.hidden = true;
  }
}

/** One viewer of the comparison: the player, how late it is, over which path and why, and what its network does. */

import type { BicastPlayerElement } from "../../bicast/element";
import type { Path } from "../../bicast/leg";
import type { PathPlayer } from "../../bicast/path-player";
import type { PathSwitch } from "../../bicast/player-types";
import { localNow } from "../../bicast/server-clock";
import { type Decision, reasonInWords } from "../../bicast/viewer-wire";
import { pathName } from "../../bicast/words";
import type { Tier } from "../../rest/operator-wire";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { figures } from "../../ui/parts";
import type { Sample } from "./geometry";
import type { LineKeeper } from "./line-keeper";
import { NetworkPanel } from "./network-panel";

/** Names of the tiers for people. */
export const TIER_NAMES: Readonly<Record<Tier, string>> = { vip: "VIP", free: "Free" };

/** A viewer's card; the player is loaded by {@link play}. */
export class ViewerCard {
  readonly element: HTMLElement;
  readonly network: NetworkPanel;
  /** Called with each switch of path. */
  onSwitch: (what: PathSwitch) => void = () => {};
  /** Called when this viewer's sound was turned on. */
  onSound: () => void = () => {};
  #player: BicastPlayerElement | null = null;
  /** Whether a picture was seen: to be brought to the path where one begins is no switch. */
  #seen = false;
  #switches = 0;
  readonly #stage = h("div", { class: "stage" }, h("div", { class: "poster" }));
  readonly #path: HTMLElement;
  readonly #number: HTMLElement;
  readonly #what = h("span", { class: "what" }, "ingest to glass");
  readonly #more = h("span", { class: "more" });
  readonly #why: HTMLElement;
  readonly #figures;

  constructor(
    readonly tier: Tier,
    readonly keeper: LineKeeper,
  ) {
    this.network = new NetworkPanel(keeper, tier);
    this.#path = h("span", { class: "path-badge", "data-testid": `path-${tier}` }, "–");
    this.#number = h("span", { class: "number", "data-testid": `latency-${tier}` }, "–");
    this.#why = h("p", { class: "why-line", role: "status", "data-testid": `why-${tier}` }, "Joining…");
    this.#figures = figures(tier, {
      rate: "Rate",
      lost: "Lost packets",
      still: "Stood still",
      switches: "Switches",
    });
    this.element = h(
      "article",
      {
        class: "card leg viewer",
        "data-testid": `viewer-${tier}`,
        "aria-label": `${TIER_NAMES[tier]} viewer`,
      },
      h(
        "div",
        { class: "leg-head" },
        h("h2", {}, h("span", { class: `tier ${tier}` }, TIER_NAMES[tier]), "viewer"),
        this.#path,
      ),
      this.#stage,
      h(
        "div",
        { class: "body" },
        h("div", {}, h("div", { class: "latency" }, this.#number, this.#what, this.#more), this.#why),
        this.#figures,
        this.network.element,
      ),
    );
    keeper.on("origin", (origin) => this.#player?.setAttribute("src", origin));
  }

  /** The player inside; null before it plays. */
  get player(): PathPlayer | null {
    return this.#player?.player ?? null;
  }

  /** Where the picture is now, for the timeline. */
  sample(at: number): Sample | null {
    const leg = this.player?.visible;
    if (!leg || !this.player) return null;
    // The median of the last second, the number that is shown, where the viewer follows live; else where the picture on the screen is.
    const steady = leg.state === "live" && this.player.following ? leg.frames.latency.now(at) : null;
    const [shown, now] = [leg.frames.last?.programTime ?? null, this.player.feed.clock.now()];
    const stands = shown === null || now === null ? null : Math.max(now - shown, 0);
    return { at, behindMs: steady ?? stands, path: leg.path };
  }

  /** Loads the player of this feed, over its line where there is one. */
  async play(feed: string, token: string | null): Promise<void> {
    const origin = this.keeper.line?.origin ?? (await this.keeper.open());
    const player = document.createElement("bicast-player") as BicastPlayerElement;
    player.dataset.testid = `player-${this.tier}`;
    player.setAttribute("feed", feed);
    player.setAttribute("tier", this.tier);
    player.ariaLabel = `${TIER_NAMES[this.tier]} viewer's player`;
    if (origin !== null) player.setAttribute("src", origin);
    if (token !== null) player.setAttribute("token", token);
    player.addEventListener("bicast-switched", (event) => {
      if (!this.#seen) return;
      this.#switches += 1;
      this.onSwitch((event as CustomEvent<PathSwitch>).detail);
    });
    player.addEventListener("bicast-sound", (event) => {
      if (!(event as CustomEvent<{ muted: boolean }>).detail.muted) this.onSound();
    });
    this.#stage.replaceChildren(player);
    this.#player = player;
  }

  /** Takes the player away. */
  stop(): void {
    this.#player?.remove();
    this.#player = null;
    this.#stage.replaceChildren(h("div", { class: "poster" }));
  }

  mute(): void {
    if (this.#player) this.#player.muted = true;
  }

  /** Writes what is known now. */
  refresh(): void {
    const { player } = this;
    const leg = player?.visible;
    if (!player || !leg) return;
    const now = localNow();
    this.element.dataset.path = leg.path;
    this.#path.dataset.path = leg.path;
    setText(this.#path, pathName(leg.path));
    this.#seen ||= leg.frames.last !== null;
    const live = leg.state === "live" && player.following;
    const sample = this.sample(now);
    setText(this.#number, format.span(sample?.behindMs ?? null));
    setText(this.#what, player.following ? "ingest to glass" : "behind live");
    const late = live ? leg.frames.latency.summary(now) : null;
    setText(this.#more, late === null ? "" : `p95 ${format.span(late.p95)} in the last minute`);
    setText(this.#why, whyWords(leg.path, player, this.#player?.channel?.decision ?? null));
    const { stats } = leg;
    this.#figures.set("rate", format.bitrate(stats.bitrateBps));
    this.#figures.set("lost", leg.path === "hls" ? "none: TCP" : format.count(stats.packetsLost));
    this.#figures.set("still", stats.freezes === null ? "–" : `${stats.freezes} ×`);
    this.#figures.set("switches", String(this.#switches));
  }
}

/** Why the viewer is where it is: what the service decided, or what the player did by itself. */
export function whyWords(
  path: Path,
  player: { readonly reason: string; readonly chosen: Path | null },
  decision: Decision | null,
): string {
  const going =
    player.chosen !== null && player.chosen !== path ? ` Going to ${pathName(player.chosen)}.` : "";
  const reason = decision?.path === (player.chosen ?? path) ? reasonInWords(decision.reason) : player.reason;
  return reason === ""
    ? `On ${pathName(path)}.`
    : `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.${going}`;
}

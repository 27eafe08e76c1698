/** One player that goes between the paths: the `<bicast-player>` element, its position, and what the last switch cost. */

import { type BicastPlayerElement, defineBicastPlayer } from "../../bicast/element";
import type { FeedWatcher } from "../../bicast/feed-watcher";
import type { Leg, Path } from "../../bicast/leg";
import type { PathPlayer } from "../../bicast/path-player";
import { otherPath } from "../../bicast/path-state";
import type { PathSwitch } from "../../bicast/player-types";
import type { BicastError } from "../../bicast/problem";
import { localNow } from "../../bicast/server-clock";
import { pathName } from "../../bicast/words";
import { h, ICONS, icon, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { figures } from "../../ui/parts";

/** The section; nothing is loaded before the user (or the address) asks for the player. */
export class Switcher {
  readonly element: HTMLElement;
  #player: BicastPlayerElement | null = null;
  readonly #stage = h("div", {});
  readonly #button: HTMLButtonElement;
  readonly #figures = figures("player", {
    path: "Path",
    latency: "Ingest to glass",
    position: "Shows (UTC)",
    media: "Media time",
    difference: "Other path",
    switched: "Last switch",
  });
  readonly #said = h("p", {
    class: "muted",
    role: "status",
    "aria-live": "polite",
    "data-testid": "player-said",
  });

  constructor(
    private readonly watcher: FeedWatcher,
    openOn: string | null,
    private readonly onSound: () => void,
  ) {
    defineBicastPlayer();
    this.#button = h(
      "button",
      { class: "button primary", type: "button", "data-testid": "switch-path", disabled: true },
      "Switch path",
    );
    this.#button.addEventListener("click", () => this.#switch());
    const start = h(
      "button",
      { class: "button primary", type: "button", "data-testid": "open-player" },
      icon(ICONS.play),
      "Play",
    );
    start.addEventListener("click", () => this.#open("auto"));
    this.#stage.append(
      h("div", { class: "poster" }, start, h("p", {}, "A third viewer, on whichever path you choose.")),
    );
    this.element = h(
      "section",
      { class: "card", "aria-labelledby": "switcher-title", "data-testid": "switcher" },
      h("div", { class: "card-head" }, h("h2", { id: "switcher-title" }, "One player, two paths")),
      h(
        "div",
        { class: "two" },
        this.#stage,
        h(
          "div",
          { class: "stack" },
          h(
            "p",
            { class: "muted" },
            "To LL-HLS the last WebRTC picture is held until LL-HLS stands on that very frame: nothing is lost, nothing comes twice. Back to WebRTC it skips the gap that is shown. There is never a black picture.",
          ),
          this.#figures,
          this.#said,
          this.#button,
        ),
      ),
    );
    if (openOn !== null) this.#open(openOn);
  }

  /** The player inside, once it is open. */
  get player(): PathPlayer | null {
    return this.#player?.player ?? null;
  }

  /** Turns the sound off. */
  mute(): void {
    if (this.player && !this.player.muted) this.#player?.toggleSound();
  }

  /** Writes what is known now. */
  refresh(): void {
    const { player } = this;
    const leg = player?.visible;
    if (!player || !leg) return;
    const frame = leg.frames.last;
    const other = otherPath(leg.path);
    this.#button.disabled = false;
    setText(this.#button, `Switch to ${pathName(otherPath(player.chosen ?? leg.path))}`);
    this.#figures.set("path", pathName(leg.path));
    this.#figures.set(
      "latency",
      format.span(leg.state === "live" ? leg.frames.latency.now(localNow()) : null),
    );
    this.#figures.set("position", frame?.programTime == null ? "–" : format.timeOfDay(frame.programTime));
    this.#figures.set("media", frame === null ? "–" : format.count(frame.mediaTime));
    this.#figures.set("difference", this.#difference(leg, other));
  }

  #open(path: string): void {
    if (this.#player) return;
    const element = document.createElement("bicast-player") as BicastPlayerElement;
    element.watcher = this.watcher;
    element.dataset.testid = "player";
    element.setAttribute("feed", this.watcher.id);
    element.setAttribute("path", path);
    element.addEventListener("bicast-switched", (event) =>
      this.#onSwitched((event as CustomEvent<PathSwitch>).detail),
    );
    element.addEventListener("bicast-gave-up", (event) => {
      const { path, problem } = (event as CustomEvent<{ path: Path; problem: BicastError | null }>).detail;
      const why = problem === null ? "it showed no picture in time." : problem.problem.detail;
      setText(this.#said, `${pathName(path)} did not come: ${why} Still on ${pathName(otherPath(path))}.`);
    });
    element.addEventListener("bicast-sound", (event) => {
      if (!(event as CustomEvent<{ muted: boolean }>).detail.muted) this.onSound();
    });
    this.#stage.replaceChildren(element);
    this.#player = element;
  }

  #switch(): void {
    const { player } = this;
    if (!player) return;
    this.#player?.switchTo(otherPath(player.chosen ?? "realtime"));
    if (player.chosen !== null) setText(this.#said, `Bringing up ${pathName(player.chosen)}…`);
    this.refresh();
  }

  #onSwitched({ to, reason, tookMs, stillMs, jumpMs, exact }: PathSwitch): void {
    this.#figures.set("switched", jumpMs === null ? "–" : exact ? "same frame" : format.signedSpan(jumpMs));
    const moved =
      jumpMs === null
        ? ""
        : exact
          ? ", on the very frame that was shown"
          : jumpMs < 0
            ? `, ${format.span(-jumpMs)} back`
            : `, ${format.span(jumpMs)} ahead`;
    const stood = stillMs > 0 ? ` The picture stood still for ${format.span(stillMs)}.` : "";
    setText(this.#said, `On ${pathName(to)} after ${format.span(tookMs)}${moved} (${reason}).${stood}`);
    this.refresh();
  }

  /** Where the newest content of the other path lies against what is shown. */
  #difference(leg: Leg, other: Path): string {
    const edge = this.watcher.feed?.paths[other].liveEdge;
    const frame = leg.frames.last;
    if (!edge || frame?.programTime == null) return "–";
    // Both moved on since they were noted: the edge when it was asked for, the frame when it was shown.
    const drift = frame.shownAt - this.watcher.feedAt;
    return `${format.signedSpan(Date.parse(edge.programTime) + drift - frame.programTime)}`;
  }
}

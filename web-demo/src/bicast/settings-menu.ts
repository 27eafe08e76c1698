/** The settings: path, quality, the way back to live, and what to do about lost frames. */

import type { PathPlayer } from "./path-player";
import { pathName } from "./words";

interface Choice {
  readonly text: string;
  readonly chosen: boolean;
  choose(): void;
}

/** A menu in a popover. */
export class SettingsMenu {
  readonly popover = document.createElement("div");

  constructor(
    private readonly openers: readonly HTMLElement[],
    /** Whether statistics are shown; the owner shows them. */
    private readonly view: { stats: boolean },
    private readonly onChange: () => void,
  ) {
    const { popover } = this;
    popover.className = "popover";
    popover.role = "menu";
    popover.ariaLabel = "Settings";
    popover.hidden = true;
    popover.addEventListener("keydown", (event) => this.#key(event));
  }

  get open(): boolean {
    return !this.popover.hidden;
  }

  /** Opens it, or closes it when it is open. */
  toggle(player: PathPlayer): void {
    if (this.open) {
      this.close();
      return;
    }
    this.#fill(player);
    this.#show(true);
    this.#items()[0]?.focus();
  }

  close(): void {
    if (!this.open) return;
    const inside = this.popover.matches(":focus-within");
    this.#show(false);
    if (inside) this.openers[0]?.focus();
  }

  #show(open: boolean): void {
    this.popover.hidden = !open;
    for (const opener of this.openers) opener.ariaExpanded = String(open);
  }

  #items(): HTMLButtonElement[] {
    return [...this.popover.querySelectorAll("button")];
  }

  #key(event: KeyboardEvent): void {
    const items = this.#items();
    const at = items.findIndex((item) => item.matches(":focus"));
    if (event.key === "Escape") this.close();
    else if (event.key === "ArrowDown") items[(at + 1) % items.length]?.focus();
    else if (event.key === "ArrowUp") items.at(at - 1)?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #fill(player: PathPlayer): void {
    const { wanted } = player;
    const paths: Choice[] = [
      { text: "Auto", chosen: wanted === "auto", choose: () => player.auto() },
      ...(["realtime", "hls"] as const).map((path) => ({
        text: pathName(path),
        chosen: wanted === path,
        choose: () => player.switchTo(path),
      })),
    ];
    const ways = (["jump", "catch-up"] as const).map((way) => ({
      text: way === "jump" ? "At once" : "Play faster until there",
      chosen: player.returnWay === way,
      choose: () => {
        player.returnWay = way;
      },
    }));
    const more: Choice[] = [
      {
        text: "Miss nothing when the line fails",
        chosen: player.missNothing,
        choose: () => {
          player.missNothing = !player.missNothing;
        },
      },
      {
        text: "Statistics",
        chosen: this.view.stats,
        choose: () => {
          this.view.stats = !this.view.stats;
        },
      },
    ];
    this.popover.replaceChildren(
      ...this.#group("Path", paths, true),
      ...this.#quality(player),
      ...this.#group("Back to live", ways, true),
      ...this.#group("More", more, false),
    );
  }

  /** Over WebRTC the server chooses what the line carries. */
  #quality(player: PathPlayer): Node[] {
    const { link } = player.legs.hls;
    const { list, chosen } = link.levels;
    if (list.length < 2) return [];
    const options = list.map(({ height, bitrateBps }, index) => ({
      text: height ? `${height} lines` : `${Math.round(bitrateBps / 1000)} kbit/s`,
      chosen: chosen === index,
      choose: () => link.chooseLevel(index),
    }));
    return this.#group(
      "Quality",
      [{ text: "Auto", chosen: chosen < 0, choose: () => link.chooseLevel(-1) }, ...options],
      true,
    );
  }

  #group(title: string, choices: readonly Choice[], one: boolean): Node[] {
    const heading = document.createElement("h3");
    heading.textContent = title;
    const buttons = choices.map(({ text, chosen, choose }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.role = one ? "menuitemradio" : "menuitemcheckbox";
      button.ariaChecked = String(chosen);
      button.addEventListener("click", () => {
        choose();
        this.close();
        this.onChange();
      });
      return button;
    });
    return [heading, ...buttons];
  }
}

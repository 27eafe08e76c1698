/** What only a viewer who touches the player needs: keys, settings, statistics, and the tip over the scrub bar. A module of its own, loaded then. */

import css from "./extras.css?inline";
import type { PathPlayer } from "./path-player";

export { actOnKey } from "./keys";

import { SettingsMenu } from "./settings-menu";
import { statLines } from "./stats-overlay";
import { Tip } from "./tip";

/** Adds them to the player's shadow tree. */
export class Extras {
  readonly menu: SettingsMenu;
  readonly tip: Tip;
  readonly #stats: HTMLElement;

  /** `openers` open the settings; `view` is what they change of the player's looks. */
  constructor(
    root: ShadowRoot,
    bar: HTMLElement,
    openers: readonly HTMLElement[],
    private readonly view: { stats: boolean },
    onChange: () => void,
  ) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    root.adoptedStyleSheets.push(sheet);
    this.#stats = document.createElement("dl");
    this.#stats.className = "stats";
    this.menu = new SettingsMenu(openers, view, onChange);
    this.tip = new Tip(bar);
    root.append(this.#stats, this.menu.popover);
  }

  /** Writes the statistics, where they are wanted. */
  render(player: PathPlayer, now: number): void {
    const list = this.#stats;
    list.hidden = !this.view.stats;
    if (list.hidden) return;
    const cells = statLines(player, now).flatMap(([name, value]) => {
      const [term, text] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      text.textContent = value;
      return [term, text];
    });
    list.replaceChildren(...cells);
  }
}

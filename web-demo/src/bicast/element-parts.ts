/** The shadow tree of `<bicast-player>`. Its markup holds no data; everything that comes from the network is set as text. */

import { ELEMENT_CSS } from "./element-style";
import type { Stage } from "./player-types";

const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M7 5h3.500v14H7zM13.500 5H17v14h-3.500z",
  back: "M12 5V2L7.500 6 12 10V7a5.500 5.500 0 1 1-5.500 5.500H4.500A7.500 7.500 0 1 0 12 5z",
  muted: "M4 9v6h4l5 4V5L8 9zM16 9.500l5 5m0-5-5 5",
  sound: "M4 9v6h4l5 4V5L8 9zM16 9a4 4 0 0 1 0 6m2.500-8.500a7.500 7.500 0 0 1 0 11",
  menu: "M4 7h9m4 0h3M4 17h3m4 0h9M15 4.500v5M9 14.500v5",
  pip: "M3 5h18v14H3zM12 12h7v5h-7z",
  full: "M4 9V4h5m6 0h5v5m0 6v5h-5m-6 0H4v-5",
} as const;

/** The name of an icon. */
export type Icon = keyof typeof ICONS;

/** Shows this icon on a button. */
export function setIcon(button: HTMLElement, icon: Icon): void {
  const path = button.querySelector("path");
  if (path?.getAttribute("d") !== ICONS[icon]) path?.setAttribute("d", ICONS[icon]);
}

const button = (name: string, icon: Icon, label: string, more = "") =>
  `<button type="button" class="icon ${name}" aria-label="${label}" title="${label}" ${more}><svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[icon]}"/></svg></button>`;

const MARKUP = `
<div class="stage" part="stage">
  <video part="video" id="hls" playsinline muted aria-label="LL-HLS picture"></video>
  <video part="video" id="realtime" playsinline muted aria-label="WebRTC picture"></video>
  <canvas id="still" aria-hidden="true"></canvas>
</div>
<div class="overlay" data-shown="false" role="status" aria-live="polite">
  <div class="words"><p class="title"></p><p class="detail"></p><button class="retry" type="button" hidden>Try again</button></div>
</div>
<dl class="stats" hidden data-testid="element-stats"></dl>
<div class="chrome" part="controls">
  <div class="bar" role="slider" tabindex="0" aria-label="Position" aria-orientation="horizontal" data-testid="element-bar">
    <div class="track"><div class="played"></div></div>
    <div class="tip" hidden aria-hidden="true"><canvas hidden></canvas><span></span></div>
  </div>
  <div class="row">
    ${button("toggle", "pause", "Pause", 'data-testid="element-play"')}
    ${button("back", "back", "Back 10 seconds")}
    <button type="button" class="live" data-testid="element-live"><i></i><span></span></button>
    <span class="status" role="status" aria-live="polite"></span>
    <span class="latency" title="Ingest to glass" data-testid="element-latency"></span>
    <button type="button" class="path" aria-haspopup="true" aria-expanded="false" data-testid="element-path"></button>
    ${button("menu", "menu", "Settings", 'aria-haspopup="true" aria-expanded="false" data-testid="element-menu"')}
    ${button("sound", "muted", "Turn sound on", 'data-testid="element-sound"')}
    <input class="volume" type="range" min="0" max="1" step="0.05" value="1" aria-label="Volume" />
    ${button("pip", "pip", "Picture in picture")}
    ${button("full", "full", "Full screen")}
  </div>
</div>
<div class="popover" role="menu" aria-label="Settings" hidden data-testid="element-settings"></div>`;

/** The parts that change. */
export interface Parts {
  readonly stage: Stage;
  readonly overlay: HTMLElement;
  readonly title: HTMLElement;
  readonly detail: HTMLElement;
  readonly retry: HTMLButtonElement;
  readonly stats: HTMLElement;
  readonly bar: HTMLElement;
  readonly toggle: HTMLButtonElement;
  readonly back: HTMLButtonElement;
  readonly live: HTMLButtonElement;
  readonly liveText: HTMLElement;
  readonly status: HTMLElement;
  readonly latency: HTMLElement;
  readonly path: HTMLButtonElement;
  readonly menu: HTMLButtonElement;
  readonly sound: HTMLButtonElement;
  readonly volume: HTMLInputElement;
  readonly pip: HTMLButtonElement;
  readonly full: HTMLButtonElement;
  readonly popover: HTMLElement;
}

/** Fills the root. */
export function buildParts(root: ShadowRoot): Parts {
  // A constructed sheet: pages whose Content-Security-Policy forbids inline styles can use the element too.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(ELEMENT_CSS);
  root.adoptedStyleSheets = [sheet];
  root.innerHTML = MARKUP;
  const find = <T extends Element>(selector: string): T => {
    const found = root.querySelector<T>(selector);
    if (!found) throw new Error(`the player's own markup has no ${selector}`);
    return found;
  };
  return {
    stage: { realtime: find("#realtime"), hls: find("#hls"), still: find("#still") },
    overlay: find(".overlay"),
    title: find(".title"),
    detail: find(".detail"),
    retry: find(".retry"),
    stats: find(".stats"),
    bar: find(".bar"),
    toggle: find(".toggle"),
    back: find(".back"),
    live: find(".live"),
    liveText: find(".live span"),
    status: find(".status"),
    latency: find(".latency"),
    path: find(".path"),
    menu: find(".menu"),
    sound: find(".sound"),
    volume: find(".volume"),
    pip: find(".pip"),
    full: find(".full"),
    popover: find(".popover"),
  };
}

/** Text only where it differs: a live region speaks with every write. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The shadow tree of `<bicast-player>`. Its markup holds no data; everything that comes from the network is set as text. */

import css from "./element.css?inline";
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
  <video part="video" class="hls" playsinline muted aria-label="LL-HLS picture"></video>
  <video part="video" class="realtime" playsinline muted aria-label="WebRTC picture"></video>
  <canvas class="still" aria-hidden="true"></canvas>
</div>
<div class="overlay" data-shown="false" role="status" aria-live="polite">
  <div class="words"><p class="title"></p><p class="detail"></p><button class="retry" type="button" hidden></button></div>
</div>
<div class="chrome" part="controls">
  <div class="bar" role="slider" tabindex="0" aria-label="Position" aria-orientation="horizontal">
    <div class="track"><div class="played"></div></div>
  </div>
  <div class="row">
    ${button("toggle", "pause", "Pause")}
    ${button("back", "back", "Back 10 seconds")}
    <button type="button" class="live"><i></i><span class="liveText"></span></button>
    <span class="status" role="status" aria-live="polite"></span>
    <span class="latency" title="Ingest to glass"></span>
    <button type="button" class="path" aria-haspopup="true" aria-expanded="false"></button>
    ${button("menu", "menu", "Settings", 'aria-haspopup="true" aria-expanded="false"')}
    ${button("sound", "muted", "Turn sound on")}
    <input class="volume" type="range" max="1" step="0.05" value="1" aria-label="Volume" />
    ${button("pip", "pip", "Picture in picture")}
    ${button("full", "full", "Full screen")}
  </div>
</div>`;

/** The parts that change. */
export interface Parts extends Stage {
  readonly overlay: HTMLElement;
  readonly title: HTMLElement;
  readonly detail: HTMLElement;
  readonly retry: HTMLButtonElement;
  readonly bar: HTMLElement;
  readonly toggle: HTMLButtonElement;
  readonly back: HTMLButtonElement;
  readonly live: HTMLButtonElement;
  readonly liveText: HTMLElement;
  readonly status: HTMLElement;
  readonly latency: HTMLElement;
  readonly path: HTMLButtonElement;
  readonly chrome: HTMLElement;
  readonly menu: HTMLButtonElement;
  readonly sound: HTMLButtonElement;
  readonly volume: HTMLInputElement;
  readonly pip: HTMLButtonElement;
  readonly full: HTMLButtonElement;
}

/** Fills the root. */
export function buildParts(root: ShadowRoot): Parts {
  // A constructed sheet: pages whose Content-Security-Policy forbids inline styles can use the element too.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  root.adoptedStyleSheets = [sheet];
  root.innerHTML = MARKUP;
  // A part is named by its class, the last one where it has several.
  const named = [...root.querySelectorAll("[class]")].map((part) => [
    part.classList.item(part.classList.length - 1),
    part,
  ]);
  return Object.fromEntries(named) as Parts;
}

/** Text only where it differs: a live region speaks with every write. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

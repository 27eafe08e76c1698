/**
 * `<bicast-player feed="demo" src="https://host" path="auto|realtime|hls" muted>`: one player on any page.
 *
 * | attribute | meaning |
 * |---|---|
 * | `feed` | the feed's id |
 * | `src` | the bicast server; this page's own origin when left out |
 * | `path` | where to begin: `auto` (default), `realtime` or `hls`; changing it switches |
 * | `token` | a bearer token, if the server wants one |
 *
 * It starts muted (browsers demand it) and offers a button for the sound. Events: `bicast-state` with
 * `{bridge, leg}`, `bicast-switched` with a `PathSwitch`, `bicast-gave-up` with `{path, problem}` when a path did not come. `element.player` is the {@link PathPlayer}.
 */

import { BicastApi } from "./api";
import { ELEMENT_CSS } from "./element-style";
import { FeedWatcher } from "./feed-watcher";
import type { Path } from "./leg";
import { PathPlayer } from "./path-player";
import type { Stage } from "./player-types";
import { localNow } from "./server-clock";
import { pathName, span, tellLeg } from "./words";

const SOUND_OFF = "M4 9v6h4l5 4V5L8 9H4zm12.5 0 4 4m0-4-4 4";
const SOUND_ON = "M4 9v6h4l5 4V5L8 9H4zm12 0a4 4 0 0 1 0 6m2.5-8.500a7.500 7.500 0 0 1 0 11";

/** The custom element. */
export class BicastPlayerElement extends HTMLElement {
  static readonly observedAttributes = ["feed", "src", "path", "token"];

  /** A watcher to share with the page; set it before the element is attached. Without one it makes its own. */
  watcher: FeedWatcher | null = null;
  #player: PathPlayer | null = null;
  #own: FeedWatcher | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #parts: Parts;

  constructor() {
    super();
    this.#parts = build(this.attachShadow({ mode: "open" }));
    this.#parts.sound.addEventListener("click", () => this.toggleSound());
    for (const path of ["realtime", "hls"] as const) {
      this.#parts.paths[path].addEventListener("click", () => this.switchTo(path));
    }
    this.#parts.retry.addEventListener("click", () => this.#player?.visible?.retry());
  }

  /** The player inside; null while the element is not attached or has no feed. */
  get player(): PathPlayer | null {
    return this.#player;
  }

  connectedCallback(): void {
    this.#open();
  }

  disconnectedCallback(): void {
    this.#close();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (!this.isConnected || before === after) return;
    if (name === "path" && this.#player) {
      if (after === "realtime" || after === "hls") this.#player.switchTo(after);
      return;
    }
    this.#close();
    this.#open();
  }

  /** Goes to this path; the attribute follows. */
  switchTo(path: Path): void {
    // Not through the attribute alone: after an automatic change of path it may say this path already.
    this.#player?.switchTo(path);
    this.setAttribute("path", path);
  }

  /** Sound on or off. Must be called from a gesture of the user to turn it on. */
  toggleSound(): void {
    if (!this.#player) return;
    this.#player.muted = !this.#player.muted;
    this.#render();
    this.dispatchEvent(new CustomEvent("bicast-sound", { detail: { muted: this.#player.muted } }));
  }

  #open(): void {
    const feed = this.getAttribute("feed");
    if (!feed || this.#player) return;
    const server = this.getAttribute("src") || new URL(".", document.baseURI).href;
    const watcher = this.watcher ?? new FeedWatcher(new BicastApi(server), feed);
    if (watcher !== this.watcher) {
      this.#own = watcher;
      watcher.start();
    }
    const player = new PathPlayer(this.#parts.stage, watcher, this.getAttribute("token"));
    this.#player = player;
    player.missNothing = this.hasAttribute("miss-nothing");
    player.on("state", (detail) => {
      this.#render();
      this.dispatchEvent(new CustomEvent("bicast-state", { detail }));
    });
    player.on("gaveUp", (detail) => this.dispatchEvent(new CustomEvent("bicast-gave-up", { detail })));
    player.on("switched", (detail) => this.dispatchEvent(new CustomEvent("bicast-switched", { detail })));
    const path = this.getAttribute("path");
    player.start(path === "realtime" || path === "hls" ? path : "auto");
    this.#timer = setInterval(() => this.#render(), 500);
    this.#render();
  }

  #close(): void {
    clearInterval(this.#timer);
    this.#player?.stop();
    this.#player = null;
    this.#own?.stop();
    this.#own = null;
  }

  #render(): void {
    const player = this.#player;
    const leg = player?.visible ?? null;
    if (!player || !leg) return;
    const { overlay, title, detail, retry, sound, paths, latency, status } = this.#parts;
    const reason = player.feed.feed?.paths[leg.path].reason ?? null;
    const { state, problem, blocked, audioOnly } = leg;
    const told = tellLeg({ state, problem, blocked, audioOnly, unavailable: reason });
    // Frames on the screen are not covered because the next ones are late: the words stand under the picture then.
    overlay.dataset.shown = String(told !== null);
    overlay.dataset.over = leg.frames.last === null ? "nothing" : "picture";
    set(title, told?.title ?? "");
    set(detail, told?.detail ?? "");
    retry.hidden = told?.button == null;
    set(retry, told?.button ?? "");
    const ms = leg.frames.latency.now(localNow());
    set(latency, ms === null || leg.state !== "live" ? "" : span(ms));
    const turning = player.state === "holding" || player.state === "returning";
    set(status, turning ? `Switching to ${pathName(player.chosen ?? "hls")}…` : "");
    sound.setAttribute("aria-pressed", String(!player.muted));
    sound.setAttribute("aria-label", player.muted ? "Turn sound on" : "Turn sound off");
    sound.querySelector("path")?.setAttribute("d", player.muted ? SOUND_OFF : SOUND_ON);
    for (const path of ["realtime", "hls"] as const) {
      paths[path].setAttribute("aria-pressed", String(player.chosen === path));
    }
  }
}

/** Registers the element under its name; more than once does no harm. */
export function defineBicastPlayer(): void {
  if (!customElements.get("bicast-player")) customElements.define("bicast-player", BicastPlayerElement);
}

interface Parts {
  readonly stage: Stage;
  readonly paths: Readonly<Record<Path, HTMLButtonElement>>;
  readonly overlay: HTMLElement;
  readonly title: HTMLElement;
  readonly detail: HTMLElement;
  readonly retry: HTMLButtonElement;
  readonly sound: HTMLButtonElement;
  readonly latency: HTMLElement;
  readonly status: HTMLElement;
}

/** The shadow tree. Its markup holds no data; everything that comes from the network is set as text. */
function build(root: ShadowRoot): Parts {
  // A constructed sheet: pages whose Content-Security-Policy forbids inline styles can use the element too.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(ELEMENT_CSS);
  root.adoptedStyleSheets = [sheet];
  root.innerHTML = `
    <div class="stage">
      <video part="video" id="hls" playsinline muted aria-label="LL-HLS picture"></video>
      <video part="video" id="realtime" playsinline muted aria-label="WebRTC picture"></video>
      <canvas part="still" id="still" aria-hidden="true"></canvas>
      <div class="overlay" data-shown="false" role="status" aria-live="polite">
        <div class="words"><p class="title"></p><p class="detail"></p><button class="retry" type="button" hidden>Try again</button></div>
      </div>
      <div class="bar">
        <div class="paths" role="group" aria-label="Path">
          <button type="button" data-path="realtime" data-testid="path-realtime">WebRTC</button>
          <button type="button" data-path="hls" data-testid="path-hls">LL-HLS</button>
        </div>
        <span class="status" role="status" aria-live="polite"></span>
        <span class="latency" title="Ingest to glass" data-testid="element-latency"></span>
        <button class="sound" type="button" data-testid="element-sound" aria-pressed="false">
          <svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><path fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" d="${SOUND_OFF}"/></svg>
        </button>
      </div>
    </div>`;
  const find = <T extends Element>(selector: string): T => {
    const found = root.querySelector<T>(selector);
    if (!found) throw new Error(`the player's own markup has no ${selector}`);
    return found;
  };
  return {
    stage: { realtime: find("#realtime"), hls: find("#hls"), still: find("#still") },
    paths: { realtime: find("[data-path=realtime]"), hls: find("[data-path=hls]") },
    overlay: find(".overlay"),
    title: find(".title"),
    detail: find(".detail"),
    retry: find(".retry"),
    sound: find(".sound"),
    latency: find(".latency"),
    status: find(".status"),
  };
}

/** Text only where it differs: a live region speaks with every write. */
function set(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * `<bicast-player feed="demo" src="https://host">`: one live feed on any page, over WebRTC or LL-HLS, with one set of controls.
 *
 * | attribute | meaning |
 * |---|---|
 * | `feed` | the feed's id |
 * | `src` | the bicast server; this page's own origin when left out |
 * | `path` | `auto` (default), `realtime` or `hls`: where to begin; changing it switches |
 * | `token` | a bearer token, if the server wants one |
 * | `return-way` | `jump` (default) or `catch-up`: how to go back to live |
 * | `miss-nothing` | when the line fails, begin LL-HLS at the first frame that was lost |
 * | `join="no"` | do not join as a viewer: bicast then decides nothing about this player, and it goes by its own rules |
 * | `tier` | `free`: ask to be served over LL-HLS only |
 * | `controls="none"` | without controls |
 *
 * Methods: `play()`, `pause()`, `seekTo(date)`, `rewind(seconds)`, `step(frames)`, `goLive()`, `switchTo(path)`, `toggleSound()`,
 * `togglePictureInPicture()`, `toggleFullscreen()`. Properties: `paused`, `muted`, `volume`, `date` (of the frame on the screen),
 * `behindLiveMs`, `player` (the {@link PathPlayer}), `channel` (the {@link ViewerChannel}). Browsers demand that it starts muted.
 *
 * Events: `play`, `pause`, `volumechange`; `bicast-state` with `{bridge, leg}`; `bicast-switched` with a `PathSwitch`;
 * `bicast-seeked` with a `SeekOutcome`; `bicast-gave-up` with `{path, problem}` when a path did not come; `bicast-sound` with `{muted}`.
 */

import { BicastApi } from "./api";
import { buildParts, type Parts, setIcon, setText } from "./element-parts";
import type { actOnKey, Extras } from "./extras";
import { FeedWatcher } from "./feed-watcher";
import type { Leg, Path } from "./leg";
import { PathPlayer } from "./path-player";
import type { ReturnWay } from "./path-state";
import type { SeekOutcome } from "./player-types";
import { ScrubBar } from "./scrub-bar";
import { localNow } from "./server-clock";
import { programTime } from "./timeline";
import { ViewerChannel } from "./viewer-channel";
import { ViewerSession } from "./viewer-session";
import { length, pathName, span, tellLeg } from "./words";

const RENDER_EVERY_MS = 250;
/** Controls leave a playing picture after so long without a pointer. */
const IDLE_MS = 2_800;
/** Shorter holds are not worth a word. */
const HOLD_WORTH_TELLING_MS = 1_500;
/** The jump of the button and of the keys beside it, in seconds. */
export const BACK_S = 10;

/** The custom element. */
export class BicastPlayerElement extends HTMLElement {
  static readonly observedAttributes = [
    "feed",
    "src",
    "path",
    "token",
    "return-way",
    "miss-nothing",
    "controls",
  ];

  /** A watcher to share with the page; set it before the element is attached. Without one it makes its own. */
  watcher: FeedWatcher | null = null;
  #player: PathPlayer | null = null;
  #own: FeedWatcher | null = null;
  #session: ViewerSession | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #touchedAt = 0;
  #holdingAt: number | null = null;
  #told = { paused: false, path: "" };
  readonly #root: ShadowRoot;
  readonly #parts: Parts;
  readonly #bar: ScrubBar;
  #extras: Extras | null = null;
  #act: typeof actOnKey | null = null;
  readonly #view = { stats: false };

  constructor() {
    super();
    this.#root = this.attachShadow({ mode: "open" });
    const parts = buildParts(this.#root);
    this.#parts = parts;
    this.#bar = new ScrubBar(parts.bar);
    const click = (button: HTMLElement, act: () => void) =>
      button.addEventListener("click", () => {
        act();
        this.#render();
      });
    click(parts.toggle, () => this.togglePlay());
    click(parts.back, () => void this.rewind(BACK_S));
    click(parts.live, () => this.goLive());
    for (const opener of [parts.menu, parts.path]) click(opener, () => void this.#toggleMenu());
    click(parts.sound, () => this.toggleSound());
    click(parts.pip, () => this.togglePictureInPicture());
    click(parts.full, () => this.toggleFullscreen());
    click(parts.retry, () => this.#spokenOf?.retry());
    click(parts.still.parentElement as HTMLElement, () =>
      this.#extras?.menu.open ? this.#extras.menu.close() : this.#touch(),
    );
    parts.still.parentElement?.addEventListener("dblclick", () => this.toggleFullscreen());
    parts.volume.addEventListener("input", () => {
      this.volume = Number(parts.volume.value);
    });
    this.addEventListener("keydown", (event) => void this.#key(event).catch(() => {}));
    for (const name of ["pointermove", "pointerdown", "focusin", "keydown"])
      this.addEventListener(name, () => {
        this.#touch();
        this.#load().catch(() => {});
      });
  }

  /** The player inside; null while the element is not attached or has no feed. */
  get player(): PathPlayer | null {
    return this.#player;
  }

  /** This viewer as the service sees it; null where it has not joined. */
  get channel(): ViewerChannel | null {
    return this.#session?.channel ?? null;
  }

  get paused(): boolean {
    return this.#player?.paused ?? true;
  }

  get muted(): boolean {
    return this.#player?.muted ?? true;
  }

  /** Off only from a gesture of the user: browsers keep it on otherwise. */
  set muted(muted: boolean) {
    if (!this.#player || this.#player.muted === muted) return;
    this.#player.muted = muted;
    this.#render();
    this.dispatchEvent(new CustomEvent("bicast-sound", { detail: { muted } }));
    this.dispatchEvent(new Event("volumechange"));
  }

  /** 0 to 1. */
  get volume(): number {
    return this.#player?.sound.volume ?? 1;
  }

  set volume(volume: number) {
    if (!this.#player) return;
    this.#player.sound.volume = volume;
    if (volume > 0) this.muted = false;
    this.dispatchEvent(new Event("volumechange"));
  }

  /** When the frame on the screen entered the server; null before that is known. */
  get date(): Date | null {
    const time = this.#player?.programTime ?? null;
    return time === null ? null : new Date(time);
  }

  /** How far behind the present the picture is; null before that is known. */
  get behindLiveMs(): number | null {
    return this.#player?.behindLiveMs ?? null;
  }

  connectedCallback(): void {
    if (!this.hasAttribute("tabindex")) this.tabIndex = 0;
    if (!this.hasAttribute("role")) this.role = "region";
    if (!this.hasAttribute("aria-label")) this.ariaLabel = "Live player";
    this.#open();
  }

  disconnectedCallback(): void {
    this.#close();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (!this.isConnected || before === after) return;
    if (name === "path" && this.#player) {
      const { wanted } = this.#player;
      // `switchTo` writes here what it has ordered already.
      if (after === "realtime" || after === "hls") after !== wanted && this.#player.switchTo(after);
      else this.#player.auto();
    } else if (name === "feed" || name === "src" || name === "token" || name === "path") {
      this.#close();
      this.#open();
    } else this.#settings();
  }

  play(): void {
    this.#player?.play();
  }

  /** Stops on the frame on the screen; the feed is kept for `play()` as far as the server keeps it. */
  pause(): void {
    this.#player?.pause();
  }

  togglePlay(): void {
    if (this.#player?.visible?.blocked) this.#player.visible.retry();
    else if (this.paused) this.play();
    else this.pause();
  }

  /** Shows the frame nearest to this moment of the server's clock. */
  async seekTo(date: Date | number): Promise<SeekOutcome | null> {
    return (await this.#player?.seekToProgramTime(programTime(Number(date)))) ?? null;
  }

  /** Goes back by so many seconds, forward where negative. */
  async rewind(seconds: number): Promise<SeekOutcome | null> {
    return (await this.#player?.rewind(seconds)) ?? null;
  }

  /** Pauses and goes on by so many frames, back where negative. */
  async step(frames: number): Promise<SeekOutcome | null> {
    return (await this.#player?.step(frames)) ?? null;
  }

  /** Goes to the live edge, on the best path that this viewer may have. */
  goLive(way?: ReturnWay): void {
    this.#player?.catchUpToLive(way);
  }

  /** Goes to this path; the attribute follows. */
  switchTo(path: Path): void {
    // Not through the attribute alone: after an automatic change of path it may say this path already.
    this.#player?.switchTo(path);
    this.setAttribute("path", path);
  }

  /** Sound on or off. Must be called from a gesture of the user to turn it on. */
  toggleSound(): void {
    this.muted = !this.muted;
  }

  /** A small window over all others, where the browser has one. */
  togglePictureInPicture(): void {
    const video = this.#player?.visible?.video;
    if (document.pictureInPictureElement) void document.exitPictureInPicture();
    else void video?.requestPictureInPicture?.().catch(() => {});
  }

  toggleFullscreen(): void {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void this.requestFullscreen?.().catch(() => {});
  }

  #open(): void {
    const feed = this.getAttribute("feed");
    if (!feed || this.#player) return;
    const server = this.getAttribute("src") || new URL(".", document.baseURI).href;
    const token = this.getAttribute("token");
    const watcher = this.watcher ?? new FeedWatcher(new BicastApi(server, token), feed);
    if (watcher !== this.watcher) {
      this.#own = watcher;
      watcher.start();
    }
    const player = new PathPlayer(this.#parts, watcher, token);
    this.#player = player;
    this.#settings();
    this.#bar.open(player);
    const pass = (name: "switched" | "seeked" | "gaveUp", event: string) =>
      player.on(name, (detail) => this.dispatchEvent(new CustomEvent(event, { detail })));
    player.on("state", (detail) => {
      this.#render();
      this.dispatchEvent(new CustomEvent("bicast-state", { detail }));
    });
    pass("gaveUp", "bicast-gave-up");
    pass("seeked", "bicast-seeked");
    pass("switched", "bicast-switched");
    if (this.getAttribute("join") !== "no") this.#join(player, watcher, token);
    const path = this.getAttribute("path");
    player.start(path === "realtime" || path === "hls" ? path : "auto");
    this.#timer = setInterval(() => this.#render(), RENDER_EVERY_MS);
    this.#touch();
    this.#render();
  }

  #join(player: PathPlayer, watcher: FeedWatcher, token: string | null): void {
    const tier = this.getAttribute("tier") === "free" ? "free" : undefined;
    const agent = `bicast-player ${location.host}`.slice(0, 128);
    const channel = new ViewerChannel(watcher.api, watcher.id, { tier, agent });
    this.#session = new ViewerSession(player, channel, token);
    this.#session.start();
  }

  #close(): void {
    clearInterval(this.#timer);
    this.#session?.stop();
    this.#session = null;
    this.#extras?.menu.close();
    this.#bar.open(null);
    this.#player?.stop();
    this.#player = null;
    this.#own?.stop();
    this.#own = null;
  }

  #settings(): void {
    const player = this.#player;
    if (!player) return;
    player.missNothing = this.hasAttribute("miss-nothing");
    player.returnWay = this.getAttribute("return-way") === "catch-up" ? "catch-up" : "jump";
  }

  /** What only who touches the player sees. Where it does not come, the next touch asks again. */
  async #load(): Promise<void> {
    const { Extras, actOnKey } = await import("./extras");
    this.#act = actOnKey;
    const { bar, menu, path } = this.#parts;
    this.#extras ??= new Extras(this.#root, bar, [menu, path], this.#view, () => this.#render());
    this.#bar.tip = this.#extras.tip;
  }

  async #toggleMenu(): Promise<void> {
    await this.#load();
    if (this.#player) this.#extras?.menu.toggle(this.#player);
  }

  #touch(): void {
    this.#touchedAt = localNow();
    this.removeAttribute("data-idle");
  }

  async #key(event: KeyboardEvent): Promise<void> {
    const inside = event.composedPath()[0] as HTMLElement;
    // Awaited only where it is not there yet: the page must not act on the key, too, and a later word comes too late.
    if (!this.#act) await this.#load();
    const toggleStats = () => {
      this.#view.stats = !this.#view.stats;
    };
    if (!this.#player || !this.#act?.(event, inside, this, this.#player, this.#bar, toggleStats)) return;
    event.preventDefault();
    this.#render();
  }

  #render(): void {
    const player = this.#player;
    const leg = player?.visible ?? null;
    if (!player || !leg) return;
    const now = localNow();
    const { state } = player;
    this.#holdingAt = state === "holding" ? (this.#holdingAt ?? now) : null;
    const patience = this.#holdingAt !== null && now - this.#holdingAt < HOLD_WORTH_TELLING_MS;
    this.#renderWords(player, patience || player.paused);
    this.#renderRow(player, now);
    this.#bar.render();
    this.#extras?.render(player, now);
    const quiet =
      now - this.#touchedAt > IDLE_MS && !player.paused && leg.state === "live" && !this.#extras?.menu.open;
    this.toggleAttribute("data-idle", quiet && !this.matches(":focus-within:focus-visible"));
    this.#parts.chrome.hidden = this.getAttribute("controls") === "none";
    if (this.#told.paused !== player.paused) this.dispatchEvent(new Event(player.paused ? "pause" : "play"));
    // Picture in picture shows one element: it follows the picture. No gesture is needed while one is open.
    const shown = document.pictureInPictureElement === this && this.#told.path !== leg.path;
    if (shown && this.#told.path !== "") void leg.video.requestPictureInPicture?.().catch(() => {});
    this.#told = { paused: player.paused, path: leg.path };
  }

  /** The leg that there is something to say of. */
  get #spokenOf(): Leg | null {
    const player = this.#player;
    // Where no picture ever came there is none to hold: what is waited for is LL-HLS.
    const waiting = player?.state === "holding" && player.legs.realtime.frames.last === null;
    return player && (waiting ? player.legs.hls : player.visible);
  }

  #renderWords(player: PathPlayer, quiet: boolean): void {
    const leg = this.#spokenOf;
    if (!leg) return;
    const { overlay, title, detail, retry, status } = this.#parts;
    const unavailable = player.feed.feed?.paths[leg.path].reason ?? null;
    const { state, problem, blocked, audioOnly } = leg;
    const told = quiet ? null : tellLeg({ state, problem, blocked, audioOnly, unavailable });
    // A picture that stands still stays in sight: the words stand over it, and not for what passes.
    const passes = leg === player.visible && player.state === "holding" && state !== "ended";
    overlay.dataset.shown = String(told !== null && !passes);
    overlay.dataset.over = leg.frames.last === null ? "nothing" : "picture";
    setText(title, told?.title ?? "");
    setText(detail, told?.detail ?? "");
    retry.hidden = told?.button == null;
    setText(retry, told?.button ?? "");
    setText(status, this.#status(player, quiet));
  }

  #status(player: PathPlayer, quiet: boolean): string {
    switch (player.state) {
      case "holding":
        return quiet ? "" : "The picture is held until LL-HLS has it…";
      case "returning":
        return player.gapMs === null ? "Back to WebRTC…" : `Back to WebRTC: skips ${span(player.gapMs)}…`;
      case "catching-up":
        return "Catching up…";
      default:
        return player.chosen === "hls" && player.state === "warming" ? "Going to LL-HLS…" : "";
    }
  }

  #renderRow(player: PathPlayer, now: number): void {
    const leg = player.visible;
    if (!leg) return;
    const { toggle, live, liveText, latency, path, sound, volume, pip } = this.#parts;
    const behind = player.behindLiveMs;
    const following = player.following;
    setIcon(toggle, player.paused ? "play" : "pause");
    toggle.ariaLabel = player.paused ? "Play" : "Pause";
    toggle.title = toggle.ariaLabel;
    live.dataset.live = String(following);
    setText(liveText, following || behind === null ? "LIVE" : `−${length(behind / 1000)}`);
    live.ariaLabel = following ? "Live" : `${length((behind ?? 0) / 1000)} behind live: go to live`;
    const ms = leg.frames.latency.now(now);
    setText(latency, ms === null || leg.state !== "live" || !following ? "" : span(ms));
    setText(path, pathName(leg.path));
    path.dataset.path = leg.path;
    path.title = player.reason;
    setIcon(sound, player.muted ? "muted" : "sound");
    sound.ariaLabel = player.muted ? "Turn sound on" : "Turn sound off";
    sound.title = sound.ariaLabel;
    volume.value = String(player.muted ? 0 : this.volume);
    pip.hidden = !document.pictureInPictureEnabled;
  }
}

/** Registers the element under its name; more than once does no harm. */
export function defineBicastPlayer(): void {
  if (!customElements.get("bicast-player")) customElements.define("bicast-player", BicastPlayerElement);
}

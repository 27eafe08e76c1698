/** One path of the comparison: picture, latency with its plot, and figures. */

import type { FeedWatcher } from "../../bicast/feed-watcher";
import type { Leg } from "../../bicast/leg";
import { localNow } from "../../bicast/server-clock";
import { pathName, type Told, tellLeg } from "../../bicast/words";
import { h, ICONS, icon, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { badge, figures } from "../../ui/parts";
import { Plot } from "../../ui/plot";
import { series } from "../../ui/series";
import type { GlassWatch } from "./glass";

/** Points of the plot: one for each half second of a minute. */
const POINTS = 120;

/** A card; `refresh` is to be called a few times a second. */
export class LegCard {
  readonly leg: Leg;
  readonly element: HTMLElement;
  /** Reads the clock in the picture, if there is one. */
  glass: GlassWatch | null = null;
  /** Called when this card's sound was turned on. */
  onSound: () => void = () => {};
  readonly #video: HTMLVideoElement;
  readonly #badge = badge("idle");
  readonly #overlay: Overlay;
  readonly #sound: HTMLButtonElement;
  readonly #number: HTMLElement;
  readonly #more: HTMLElement;
  readonly #glass: HTMLElement;
  readonly #figures;
  readonly #plot: Plot;

  constructor(
    makeLeg: (video: HTMLVideoElement) => Leg,
    private readonly watcher: FeedWatcher,
  ) {
    const video = h("video", { playsinline: true, autoplay: true });
    video.muted = true;
    this.#video = video;
    this.leg = makeLeg(video);
    const { path } = this.leg;
    const name = pathName(path);
    video.setAttribute("aria-label", `${name} picture`);
    video.dataset.testid = `video-${path}`;
    this.#overlay = overlay(() => this.leg.retry());
    this.#sound = h("button", { class: "sound", type: "button", "data-testid": `sound-${path}` });
    this.#sound.addEventListener("click", () => this.#toggleSound());
    this.#number = h("span", { class: "number", "data-testid": `latency-${path}` }, "–");
    this.#more = h("span", { class: "more" });
    this.#glass = h("p", { class: "muted small", "data-testid": `glass-${path}`, hidden: true });
    const realtime = path === "realtime";
    this.#figures = figures(path, {
      size: "Resolution",
      bitrate: "Bitrate",
      fps: "Frame rate",
      buffer: realtime ? "Jitter buffer" : "Buffer",
      dropped: "Frames dropped",
      rtt: realtime ? "Round trip" : "Part fetch",
      ...(realtime
        ? { lost: "Packets lost", decode: "Decoding a frame" }
        : { stalls: "Stalls", speed: "Speed" }),
      codec: "Codec",
    } as Record<string, string>);
    const canvas = h("canvas", { class: "plot" });
    this.#plot = new Plot(canvas, format.span, `${name} latency over the last 60 seconds`);
    this.element = h(
      "article",
      { class: "card leg", "data-path": path, "data-testid": `leg-${path}`, "aria-label": `${name} path` },
      h("div", { class: "leg-head" }, h("h2", {}, name), this.#sound, this.#badge),
      h("div", { class: "screen" }, video, this.#overlay.element),
      h(
        "div",
        { class: "body" },
        h(
          "div",
          {},
          h(
            "div",
            { class: "latency" },
            this.#number,
            h("span", { class: "what" }, "ingest to glass"),
            this.#more,
          ),
          this.#glass,
        ),
        h(
          "div",
          {},
          canvas,
          h("p", { class: "plot-caption" }, h("span", {}, "60 s ago"), h("span", {}, "now")),
        ),
        this.#figures,
      ),
    );
    this.leg.on("state", () => this.refresh());
    this.#renderSound();
  }

  /** Turns the sound off. */
  mute(): void {
    this.#video.muted = true;
    this.#renderSound();
  }

  /** Writes what is known now. */
  refresh(): void {
    const { leg } = this;
    const now = localNow();
    this.#badge.update(leg.state);
    const reason = this.watcher.feed?.paths[leg.path].reason ?? null;
    const { state, problem, blocked, audioOnly } = leg;
    const told = tellLeg({ state, problem, blocked, audioOnly, unavailable: reason });
    this.#overlay.show(told, leg.frames.last !== null);
    // Sound can be turned on only of something that plays.
    this.#sound.hidden = leg.frames.last === null && !audioOnly;
    const live = leg.state === "live";
    const { latency } = leg.frames;
    setText(this.#number, format.span(live ? latency.now(now) : null));
    const summary = latency.summary(now);
    setText(
      this.#more,
      summary === null ? "" : `60 s: p50 ${format.span(summary.p50)} · p95 ${format.span(summary.p95)}`,
    );
    this.#plot.show(
      [{ points: series(latency, now, POINTS), color: "--path" }],
      leg.path === "realtime" ? 80 : 1_000,
    );
    this.#renderGlass(now);
    this.#renderFigures();
  }

  #renderGlass(now: number): void {
    const ms = this.glass?.now(now) ?? null;
    this.#glass.hidden = ms === null;
    if (ms !== null) setText(this.#glass, `${format.span(ms)} glass to glass, by the clock in the picture`);
  }

  #renderFigures(): void {
    const { stats, path } = this.leg;
    const out = this.#figures;
    out.set("size", format.size(stats.width, stats.height));
    out.set("bitrate", format.bitrate(stats.bitrateBps));
    out.set("fps", format.rate(stats.fps));
    out.set("buffer", format.span(stats.bufferMs));
    out.set("dropped", format.count(stats.dropped));
    out.set("rtt", format.fineMs(stats.rttMs));
    out.set("codec", stats.codec?.replaceAll(",", " ") ?? "–");
    if (path === "realtime") {
      out.set("lost", format.count(stats.packetsLost));
      out.set("decode", format.fineMs(stats.decodeMs));
    } else {
      out.set("stalls", format.count(stats.freezes));
      out.set("speed", this.leg.state === "live" ? `${stats.playbackRate.toFixed(2)}×` : "–");
    }
  }

  #toggleSound(): void {
    this.#video.muted = !this.#video.muted;
    void this.#video.play().catch(() => {});
    this.#renderSound();
    if (!this.#video.muted) this.onSound();
  }

  #renderSound(): void {
    const { muted } = this.#video;
    this.#sound.replaceChildren(icon(muted ? ICONS.soundOff : ICONS.soundOn), muted ? "Unmute" : "Mute");
    this.#sound.setAttribute("aria-label", `${muted ? "Unmute" : "Mute"} ${pathName(this.leg.path)}`);
  }
}

type Overlay = ReturnType<typeof overlay>;

/** The words over a picture that is not live. */
export function overlay(onRetry: () => void) {
  const title = h("p", { class: "title" });
  const detail = h("p", { class: "detail" });
  const retry = h("button", { class: "button", type: "button", onclick: onRetry, hidden: true });
  const element = h("div", { class: "overlay", role: "status", "aria-live": "polite" }, title, detail, retry);
  return {
    element,
    show(told: Told | null, overPicture: boolean) {
      element.hidden = told === null;
      element.classList.toggle("over-picture", overPicture);
      setText(title, told?.title ?? "");
      setText(detail, told?.detail ?? "");
      retry.hidden = told?.button == null;
      setText(retry, told?.button ?? "");
    },
  };
}

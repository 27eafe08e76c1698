/** What goes out: the local picture, the sender's figures and their last minute. */

import { type RtcStat, type SenderRtcStats, senderStats } from "../../bicast/rtc-stats";
import { h } from "../../ui/dom";
import * as format from "../../ui/format";
import { figures } from "../../ui/parts";
import { Plot } from "../../ui/plot";

const POINTS = 60;

const LIMITS: Readonly<Record<string, string>> = {
  none: "nothing",
  cpu: "processor",
  bandwidth: "network",
  other: "something else",
};

/** Two cards: `picture` and `numbers`. */
export class SenderView {
  readonly picture: HTMLElement;
  readonly numbers: HTMLElement;
  /** What was measured last, for tests: see `window.__bicastSender`. */
  #last: SenderRtcStats | null = null;
  #history: (number | null)[] = Array.from({ length: POINTS }, () => null);
  readonly #video = h("video", {
    playsinline: true,
    autoplay: true,
    "aria-label": "What is sent",
    "data-testid": "preview",
  });
  readonly #empty = h(
    "div",
    { class: "overlay" },
    h("p", { class: "title" }, "Preview"),
    h("p", { class: "detail" }, "What you send is shown here."),
  );
  readonly #plot: Plot;
  readonly #figures = figures("send", {
    bitrate: "Bitrate",
    available: "Network carries",
    size: "Resolution",
    fps: "Frame rate",
    encode: "Encoding a frame",
    limited: "Held back by",
    rtt: "Round trip",
    loss: "Loss",
    nacks: "Asked again (NACK)",
    plis: "Keyframes asked (PLI)",
    keys: "Keyframes sent",
    codec: "Codec",
  });

  constructor() {
    this.#video.muted = true;
    const canvas = h("canvas", { class: "plot" });
    this.#plot = new Plot(canvas, format.bitrate, "Bitrate sent over the last 60 seconds");
    this.picture = h(
      "div",
      { class: "card preview" },
      h("div", { class: "screen" }, this.#video, this.#empty),
    );
    this.numbers = h(
      "section",
      { class: "card stack numbers", "data-path": "realtime", "aria-label": "Sender statistics" },
      h(
        "div",
        {},
        canvas,
        h("p", { class: "plot-caption" }, h("span", {}, "bitrate, 60 s ago"), h("span", {}, "now")),
      ),
      this.#figures,
    );
    Object.defineProperty(window, "__bicastSender", { get: () => this.#last });
    this.#plot.show([], 1e6);
  }

  /** Shows this stream; a camera is mirrored, as people expect of themselves. */
  show(stream: MediaStream, mirrored: boolean): void {
    this.#video.srcObject = stream;
    this.#video.style.transform = mirrored ? "scaleX(-1)" : "";
    void this.#video.play().catch(() => {});
    this.#empty.hidden = true;
  }

  /** Shows nothing. */
  clear(): void {
    this.#video.srcObject = null;
    this.#empty.hidden = false;
    this.#last = null;
    this.#history = this.#history.map(() => null);
    this.#render(senderStats([], null));
  }

  /** Takes a report in. */
  update(report: readonly RtcStat[], before: readonly RtcStat[] | null): void {
    this.#last = senderStats(report, before);
    this.#history = [...this.#history.slice(1), this.#last.bitrateBps];
    this.#render(this.#last);
  }

  /** A second without a connection. */
  gap(): void {
    this.#history = [...this.#history.slice(1), null];
    this.#render(senderStats([], null));
  }

  #render(stats: SenderRtcStats): void {
    const out = this.#figures;
    out.set("bitrate", format.bitrate(stats.bitrateBps));
    out.set("available", format.bitrate(stats.availableBps));
    out.set("size", format.size(stats.width, stats.height));
    out.set("fps", format.rate(stats.fps));
    out.set("encode", format.fineMs(stats.encodeMs));
    out.set("limited", stats.limitedBy === null ? "–" : (LIMITS[stats.limitedBy] ?? stats.limitedBy));
    out.set("rtt", format.fineMs(stats.rttMs));
    out.set("loss", stats.lossShare === null ? "–" : `${(stats.lossShare * 100).toFixed(1)} %`);
    out.set("nacks", format.count(stats.nacks));
    out.set("plis", format.count(stats.plis));
    out.set("keys", format.count(stats.keyFrames));
    out.set("codec", stats.codec ?? "–");
    this.#plot.show([{ points: this.#history, color: "--path" }], 1e6);
  }
}

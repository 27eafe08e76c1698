/** What the server knows about the feed, in words. */

import type { Cadence, Feed } from "../../rest/feed-wire";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";

type Key =
  | "publisher"
  | "tracks"
  | "cadence"
  | "parts"
  | "window"
  | "viewers"
  | "egress"
  | "timeline"
  | "clock";

const NAMES: Readonly<Record<Key, string>> = {
  publisher: "Publisher",
  tracks: "Tracks",
  cadence: "Keyframes",
  parts: "Parts and segments",
  window: "Can be rewound",
  viewers: "Viewers",
  egress: "WebRTC egress",
  timeline: "Timeline",
  clock: "Clock",
};

/** A list of facts; `update` writes what changed. */
export class Facts {
  readonly element = h("dl", { class: "facts", "data-testid": "facts" });
  readonly #cells = {} as Record<Key, HTMLElement>;

  constructor() {
    for (const key of Object.keys(NAMES) as Key[]) {
      const cell = h("dd", { "data-testid": `fact-${key}` }, "–");
      this.#cells[key] = cell;
      this.element.append(h("dt", {}, NAMES[key]), cell);
    }
  }

  /** Shows this feed. */
  update(feed: Feed): void {
    const { realtime, hls } = feed.paths;
    this.#set("publisher", publisherOf(feed));
    this.#set("tracks", feed.tracks.map(trackOf).join(" · ") || "–");
    this.#set("cadence", cadenceOf(feed.cadence));
    this.#set("parts", partsOf(feed.cadence));
    const newest = hls.newest ? `, newest is segment ${hls.newest.segment} part ${hls.newest.part}` : "";
    this.#set("window", `${format.ago(hls.windowSeconds * 1000)} over LL-HLS${newest}`);
    this.#set("viewers", `${realtime.viewers} over WebRTC, ${hls.viewers} over LL-HLS`);
    this.#set("egress", format.bitrate(realtime.egressBps));
    const map = feed.timeline;
    const anchor =
      map === null
        ? "not anchored yet"
        : `media time 0 is ${format.timeOfDay(map.anchorUnixMs)} UTC; version ${map.version}, epoch ${feed.epoch}`;
    this.#set("timeline", anchor);
  }

  /** Shows how well the server's clock is known here. */
  clock(quality: { readonly offsetMs: number; readonly errorMs: number } | null): void {
    if (quality === null) return;
    const { offsetMs, errorMs } = quality;
    this.#set(
      "clock",
      `this device is ${format.signedSpan(-offsetMs)} against the server, known to ±${format.fineMs(errorMs)}`,
    );
  }

  #set(key: Key, text: string): void {
    setText(this.#cells[key], text);
  }
}

function publisherOf({ publisher }: Feed): string {
  if (publisher === null) return "nobody right now";
  const agent = publisher.agent ? `, ${format.agentName(publisher.agent)}` : "";
  const address = publisher.address ? ` from ${publisher.address}` : "";
  return `${publisher.protocol.toUpperCase()}${address}${agent}`;
}

function trackOf(track: Feed["tracks"][number]): string {
  const rendition = track.renditions[0];
  const parts = [
    format.codecName(track.codec),
    rendition?.codecs && rendition.codecs !== track.codec ? `(${rendition.codecs})` : null,
    rendition?.resolution ? format.size(rendition.resolution.width, rendition.resolution.height) : null,
    rendition?.frameRate ? format.rate(rendition.frameRate) : null,
    track.channels > 0
      ? `${track.clockRate / 1000} kHz ${track.channels === 2 ? "stereo" : `${track.channels} ch`}`
      : null,
    rendition?.bandwidth ? format.bitrate(rendition.bandwidth) : null,
  ];
  return parts.filter((part) => part !== null).join(" ");
}

function cadenceOf(cadence: Cadence): string {
  switch (cadence.rule) {
    case "undecided":
      return "being found out from the first frames";
    case "on-request":
      return "on request: the server asks for one at each segment";
    case "self-paced":
      return "self-paced: the publisher does not answer requests, segments begin at its own keyframes";
    case "audio-only":
      return "no video: segments are cut by time";
  }
}

function partsOf(cadence: Cadence): string {
  if (cadence.partTargetMs === 0) return "–";
  const frames = cadence.framesPerPart > 0 ? `${cadence.framesPerPart} frames each` : "cut by time";
  return `parts of at most ${cadence.partTargetMs} ms, ${frames}; segments of at most ${cadence.targetDuration} s`;
}

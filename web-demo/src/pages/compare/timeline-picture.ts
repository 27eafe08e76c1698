/**
 * The one timeline, drawn live. Above, the last minute: how far behind the server's now both live edges and each viewer were, in the
 * colour of the path, with every switch. Below, everything that can be rewound to, with where each viewer is in it.
 */

import type { Path } from "../../bicast/leg";
import { pathName, span } from "../../bicast/words";
import type { Tier } from "../../rest/operator-wire";
import { color, fitCanvas } from "../../ui/canvas";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import {
  apart,
  type Box,
  type DepthScale,
  depthShare,
  depthTicks,
  nearest,
  nextScale,
  runs,
  type Sample,
  spread,
  tickWords,
  timeShare,
  windowTicks,
} from "./geometry";
import { costWords, type Mark, Marks, stillWords, Trail } from "./trail";
import { TIER_NAMES } from "./viewer-card";

/** How much the upper picture shows. */
const ZOOM_MS = 60_000;
/** Samples come four times a second; a longer silence is a hole. */
const GAP_MS = 1_500;
const EVERY_MS = 100;
/** A pointer this near to a mark means it. */
const NEAR_PX = 26;
/** Labels of depths are not nearer to each other. */
const LABEL_PX = 16;
/** Labels at the right end want this much room; narrower pictures have the legend only. */
const GUTTER_PX = 118;

const PATHS: readonly Path[] = ["realtime", "hls"];
const TIERS: readonly Tier[] = ["vip", "free"];

interface Place {
  readonly x: number;
  readonly y: number;
  readonly mark: Mark;
}

/** What is true at one moment, by the page's steady clock. */
export interface Moment {
  readonly now: number;
  readonly edges: Readonly<Record<Path, number | null>>;
  readonly viewers: Readonly<Record<Tier, Sample | null>>;
  /** How far back the feed can be watched; null before that is known. */
  readonly windowMs: number | null;
}

/** The picture, its legend and what a pointer is told. */
export class TimelinePicture {
  readonly element: HTMLElement;
  readonly legend = h("ul", { class: "tl-legend" });
  readonly marks = new Marks();
  readonly #zoom = h("canvas", { class: "tl-zoom", tabindex: 0, "data-testid": "timeline-zoom" });
  readonly #window = h("canvas", { class: "tl-window", "data-testid": "timeline-window" });
  readonly #windowTitle = h("span", {});
  readonly #tip = h("div", { class: "tl-tip", hidden: true });
  readonly #values = new Map<string, HTMLElement>();
  readonly #edges = { realtime: new Trail(ZOOM_MS + 2_000), hls: new Trail(ZOOM_MS + 2_000) };
  readonly #viewers = { vip: new Trail(ZOOM_MS + 2_000), free: new Trail(ZOOM_MS + 2_000) };
  #moment: Moment | null = null;
  #scale: DepthScale | null = null;
  #places: { readonly zoom: readonly Place[]; readonly window: readonly Place[] } = { zoom: [], window: [] };
  #chosen: Mark | null = null;
  #drawnAt = 0;

  constructor(
    /** The page's steady clock, so that the picture moves between two samples. */
    private readonly clock: () => number,
  ) {
    this.element = h(
      "div",
      { class: "timeline", "data-testid": "timeline-picture", role: "img" },
      h(
        "div",
        { class: "tl-box" },
        h("p", { class: "tl-title" }, h("strong", {}, "The last minute"), " how far behind live"),
        this.#zoom,
      ),
      h(
        "div",
        { class: "tl-box" },
        h("p", { class: "tl-title" }, h("strong", {}, "The whole window"), " ", this.#windowTitle),
        this.#window,
      ),
      this.#tip,
    );
    for (const path of PATHS) this.#legend(`edge-${path}`, `${pathName(path)} live edge`, "edge", path);
    for (const tier of TIERS) this.#legend(`position-${tier}`, TIER_NAMES[tier], `position ${tier}`, null);
    for (const [canvas, where] of [
      [this.#zoom, "zoom"],
      [this.#window, "window"],
    ] as const) {
      const point = (event: PointerEvent) => this.#point(event, canvas, where);
      canvas.addEventListener("pointermove", point);
      canvas.addEventListener("pointerdown", point);
      canvas.addEventListener("pointerleave", () => this.#choose(null, canvas));
    }
    this.#zoom.addEventListener("keydown", (event) => this.#key(event));
    this.#zoom.addEventListener("blur", () => this.#choose(null, this.#zoom));
    const draw = (at: number) => {
      requestAnimationFrame(draw);
      if (at - this.#drawnAt < EVERY_MS) return;
      this.#drawnAt = at;
      this.#draw();
    };
    requestAnimationFrame(draw);
  }

  /** Takes in what is true now; about four times a second. */
  add(moment: Moment): void {
    this.#moment = moment;
    for (const path of PATHS) this.#edges[path].add({ at: moment.now, behindMs: moment.edges[path], path });
    for (const tier of TIERS) {
      const sample = moment.viewers[tier];
      if (sample !== null) this.#viewers[tier].add(sample);
    }
    const trails = [...Object.values(this.#edges), ...Object.values(this.#viewers)];
    this.#scale = nextScale(
      this.#scale,
      Math.max(...trails.map((trail) => trail.deepest(moment.now - ZOOM_MS))),
    );
    this.#tell(moment);
  }

  #legend(key: string, name: string, look: string, path: Path | null): void {
    const value = h("b", { "data-testid": key }, "–");
    this.#values.set(key, value);
    this.legend.append(
      h(
        "li",
        { "data-path": path, "data-key": key },
        h("i", { class: look, "aria-hidden": "true" }),
        `${name} `,
        value,
      ),
    );
  }

  #tell({ edges, viewers, windowMs }: Moment): void {
    const said: string[] = [];
    const say = (key: string, name: string, ms: number | null) => {
      setText(this.#values.get(key) as HTMLElement, format.span(ms));
      if (ms !== null) said.push(`${name} ${format.span(ms)} behind now`);
    };
    for (const path of PATHS) say(`edge-${path}`, `${pathName(path)} live edge`, edges[path]);
    for (const tier of TIERS) {
      const sample = viewers[tier];
      const item = this.#values.get(`position-${tier}`)?.parentElement;
      if (item && sample) item.dataset.path = sample.path;
      say(`position-${tier}`, TIER_NAMES[tier], sample?.behindMs ?? null);
    }
    this.element.setAttribute(
      "aria-label",
      `Timeline. ${said.join(", ")}. ${this.marks.list.length} switches.`,
    );
    const length = windowMs === null ? "" : `rewinding reaches ${lengthWords(windowMs)} back`;
    setText(this.#windowTitle, length);
  }

  #draw(): void {
    if (this.#moment === null || document.hidden) return;
    const now = this.clock();
    const style = getComputedStyle(this.element);
    const zoom = this.#drawZoom(now, style);
    const window = this.#drawWindow(now, style, this.#moment);
    this.#places = { zoom, window };
  }

  #drawZoom(now: number, style: CSSStyleDeclaration): Place[] {
    const fitted = fitCanvas(this.#zoom);
    const scale = this.#scale;
    if (fitted === null || scale === null) return [];
    const { context, width, height } = fitted;
    const gutter = width > 640 ? GUTTER_PX : 12;
    const box: Box = { left: 0, top: 20, width: width - gutter, height: height - 40 };
    const x = (at: number) => box.left + timeShare(now - ZOOM_MS, now, at) * box.width;
    const y = (behindMs: number) => box.top + depthShare(scale, behindMs) * box.height;
    this.#grid(context, box, scale, style, y);
    const places = this.#switchLines(context, box, style, x, y, now);
    for (const path of PATHS) this.#edgeLine(context, this.#edges[path].samples, style, x, y, box);
    for (const tier of TIERS) this.#viewerLine(context, tier, style, x, y, now, box);
    this.#ends(context, box, style, y, gutter > 20);
    this.#diamonds(context, places, style);
    return places;
  }

  #grid(
    context: CanvasRenderingContext2D,
    box: Box,
    scale: DepthScale,
    style: CSSStyleDeclaration,
    y: (behindMs: number) => number,
  ): void {
    const right = box.left + box.width;
    context.font = `11px ${style.fontFamily}`;
    context.lineWidth = 1;
    const ticks = [0, ...depthTicks(scale)];
    const legible = apart(ticks.map(y), LABEL_PX);
    for (const ms of ticks) {
      if (!legible.includes(y(ms))) continue;
      const at = Math.round(y(ms)) + 0.5;
      context.strokeStyle = color(style, ms === 0 ? "--line-strong" : "--plot-grid");
      line(context, [box.left, at], [right, at]);
      context.fillStyle = color(style, "--text-faint");
      context.textBaseline = "bottom";
      context.textAlign = "left";
      context.fillText(ms === 0 ? "live" : `−${tickWords(ms)}`, box.left + 2, at - 2);
    }
    context.textBaseline = "top";
    for (const ago of windowTicks(ZOOM_MS, box.width < 460 ? 3 : 6)) {
      const at = right - (ago / ZOOM_MS) * box.width;
      context.textAlign = at < 20 ? "left" : "center";
      context.fillText(`−${ago / 1_000} s`, Math.max(at, 2), box.top + box.height + 6);
    }
    context.textAlign = "right";
    context.fillStyle = color(style, "--text-soft");
    context.fillText("now", right, box.top + box.height + 6);
  }

  #switchLines(
    context: CanvasRenderingContext2D,
    box: Box,
    style: CSSStyleDeclaration,
    x: (at: number) => number,
    y: (behindMs: number) => number,
    now: number,
  ): Place[] {
    const places: Place[] = [];
    let free = Number.NEGATIVE_INFINITY;
    context.font = `600 11px ${style.fontFamily}`;
    context.textBaseline = "top";
    context.textAlign = "left";
    for (const mark of this.marks.list) {
      if (mark.at < now - ZOOM_MS) continue;
      const at = x(mark.at);
      const stroke = color(style, pathColor(mark.what.to));
      context.strokeStyle = stroke;
      context.globalAlpha = this.#chosen === mark ? 1 : 0.55;
      context.lineWidth = this.#chosen === mark ? 1.75 : 1;
      context.setLineDash([3, 3]);
      line(context, [at, box.top], [at, box.top + box.height]);
      context.setLineDash([]);
      context.globalAlpha = 1;
      const words = `${mark.who} → ${pathName(mark.what.to)}`;
      const wide = context.measureText(words).width;
      const from = Math.min(Math.max(at - wide / 2, 0), box.left + box.width - wide);
      if (from > free) {
        context.fillStyle = stroke;
        context.fillText(words, from, 3);
        free = from + wide + 10;
      }
      places.push({ x: at, y: y(mark.behindMs ?? 0), mark });
    }
    return places;
  }

  #edgeLine(
    context: CanvasRenderingContext2D,
    samples: readonly Sample[],
    style: CSSStyleDeclaration,
    x: (at: number) => number,
    y: (behindMs: number) => number,
    box: Box,
  ): void {
    context.lineWidth = 1.25;
    context.setLineDash([5, 4]);
    context.globalAlpha = 0.8;
    for (const { path, points } of runs(samples, GAP_MS)) {
      context.strokeStyle = color(style, pathColor(path));
      polyline(context, points, x, y, box);
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  #viewerLine(
    context: CanvasRenderingContext2D,
    tier: Tier,
    style: CSSStyleDeclaration,
    x: (at: number) => number,
    y: (behindMs: number) => number,
    now: number,
    box: Box,
  ): void {
    const last = this.#viewers[tier].samples.at(-1);
    // Drawn up to now: a sample is up to a quarter of a second old.
    const samples =
      last && now - last.at < GAP_MS
        ? [...this.#viewers[tier].samples, { ...last, at: now }]
        : this.#viewers[tier].samples;
    context.lineWidth = tier === "vip" ? 3 : 2;
    context.lineJoin = "round";
    for (const { path, points } of runs(samples, GAP_MS)) {
      context.strokeStyle = color(style, pathColor(path));
      polyline(context, points, x, y, box);
    }
  }

  /** Where everything is now: dots on the line of now, and their names beside it. */
  #ends(
    context: CanvasRenderingContext2D,
    box: Box,
    style: CSSStyleDeclaration,
    y: (behindMs: number) => number,
    named: boolean,
  ): void {
    if (this.#moment === null) return;
    const { edges, viewers } = this.#moment;
    const right = box.left + box.width;
    const ends: { name: string; path: Path; at: number; viewer: boolean }[] = [];
    for (const path of PATHS) {
      const ms = edges[path];
      if (ms !== null) ends.push({ name: `${pathName(path)} edge`, path, at: y(ms), viewer: false });
    }
    for (const tier of TIERS) {
      const sample = viewers[tier];
      if (sample?.behindMs != null)
        ends.push({ name: TIER_NAMES[tier], path: sample.path, at: y(sample.behindMs), viewer: true });
    }
    context.strokeStyle = color(style, "--line-strong");
    context.lineWidth = 1;
    line(context, [right + 0.5, box.top - 6], [right + 0.5, box.top + box.height + 4]);
    const places = spread(
      ends.map(({ at }) => at),
      15,
      box.top - 4,
      box.top + box.height,
    );
    ends.forEach(({ name, path, at, viewer }, index) => {
      const fill = color(style, pathColor(path));
      context.fillStyle = fill;
      context.strokeStyle = fill;
      if (viewer) {
        context.beginPath();
        context.arc(right, at, 5, 0, Math.PI * 2);
        context.fill();
        context.lineWidth = 2;
        context.strokeStyle = color(style, "--surface");
        context.stroke();
        context.strokeStyle = fill;
      } else context.fillRect(right - 7, at - 1.5, 14, 3);
      if (!named) return;
      const place = places[index] ?? at;
      context.globalAlpha = 0.5;
      context.lineWidth = 1;
      line(context, [right + 8, at], [right + 20, place]);
      context.globalAlpha = 1;
      context.font = `${viewer ? "700 13px" : "500 12px"} ${style.fontFamily}`;
      context.textAlign = "left";
      context.textBaseline = "middle";
      context.fillText(name, right + 24, place);
    });
  }

  #diamonds(context: CanvasRenderingContext2D, places: readonly Place[], style: CSSStyleDeclaration): void {
    for (const { x, y, mark } of places) {
      const size = this.#chosen === mark ? 8 : 6;
      context.beginPath();
      context.moveTo(x, y - size);
      context.lineTo(x + size, y);
      context.lineTo(x, y + size);
      context.lineTo(x - size, y);
      context.closePath();
      context.fillStyle = color(style, pathColor(mark.what.to));
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = color(style, "--surface");
      context.stroke();
    }
  }

  #drawWindow(now: number, style: CSSStyleDeclaration, moment: Moment): Place[] {
    const fitted = fitCanvas(this.#window);
    if (fitted === null) return [];
    const { context, width, height } = fitted;
    const length = Math.max(moment.windowMs ?? 0, ZOOM_MS);
    const box: Box = { left: 2, top: 30, width: width - 14, height: height - 60 };
    const right = box.left + box.width;
    const x = (behindMs: number) => right - timeShare(0, length, Math.min(behindMs, length)) * box.width;
    context.font = `11px ${style.fontFamily}`;
    context.fillStyle = color(style, "--plot-grid");
    rounded(context, x(length), box.top, right - x(length), box.height);
    if (moment.windowMs !== null) {
      context.fillStyle = color(style, "--window");
      rounded(context, x(moment.windowMs), box.top, right - x(moment.windowMs), box.height);
    }
    // What the picture above shows.
    context.strokeStyle = color(style, "--line-strong");
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    context.strokeRect(x(ZOOM_MS) + 0.5, box.top - 3.5, right - x(ZOOM_MS) - 1, box.height + 7);
    context.setLineDash([]);
    context.fillStyle = color(style, "--text-faint");
    context.textBaseline = "top";
    for (const ago of windowTicks(length, width < 460 ? 3 : 8)) {
      const at = x(ago);
      context.textAlign = at < 24 ? "left" : "center";
      context.fillText(`−${tickWords(ago)}`, Math.max(at, 2), box.top + box.height + 8);
    }
    context.textAlign = "right";
    context.fillText("now", right, box.top + box.height + 8);
    for (const path of PATHS) {
      const ms = moment.edges[path];
      if (ms === null) continue;
      context.fillStyle = color(style, pathColor(path));
      context.fillRect(x(ms) - 1.5, box.top, 3, box.height);
    }
    const places = this.marks.list.flatMap((mark) => {
      const behind = now - mark.at + (mark.behindMs ?? 0);
      return behind > length ? [] : [{ x: x(behind), y: box.top + box.height / 2, mark }];
    });
    this.#diamonds(context, places, style);
    this.#pins(context, box, style, x, moment);
    return places;
  }

  /** The viewers' places in the window, above it. */
  #pins(
    context: CanvasRenderingContext2D,
    box: Box,
    style: CSSStyleDeclaration,
    x: (behindMs: number) => number,
    moment: Moment,
  ): void {
    context.font = `700 12px ${style.fontFamily}`;
    context.textBaseline = "bottom";
    let free = box.left + box.width + 12;
    // From the right: the one who is nearest to live is named first.
    const viewers = TIERS.flatMap((tier) => {
      const sample = moment.viewers[tier];
      return sample?.behindMs == null ? [] : [{ tier, path: sample.path, at: x(sample.behindMs) }];
    }).sort((a, b) => b.at - a.at);
    for (const { tier, path, at } of viewers) {
      context.fillStyle = color(style, pathColor(path));
      context.fillRect(at - 1, box.top - 8, 2, box.height + 8);
      context.beginPath();
      context.arc(at, box.top - 8, 4, 0, Math.PI * 2);
      context.fill();
      const wide = context.measureText(TIER_NAMES[tier]).width;
      const from = Math.max(Math.min(at + wide / 2, free) - wide, 0);
      context.textAlign = "left";
      context.fillText(TIER_NAMES[tier], from, box.top - 13);
      free = from - 8;
    }
  }

  #point(event: PointerEvent, canvas: HTMLCanvasElement, where: "zoom" | "window"): void {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const places = this.#places[where];
    // Above a mark's line counts as well: the diamond may be hard to hit.
    const found =
      nearest(places, x, y, NEAR_PX) ??
      nearest(
        places.map((place) => ({ ...place, y })),
        x,
        y,
        7,
      );
    this.#choose(found === null ? null : (places[found] ?? null), canvas);
  }

  #key(event: KeyboardEvent): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const places = this.#places.zoom;
    if (step === undefined || places.length === 0) return;
    event.preventDefault();
    const at = places.findIndex(({ mark }) => mark === this.#chosen);
    const next = at < 0 ? places.length - 1 : Math.min(Math.max(at + step, 0), places.length - 1);
    this.#choose(places[next] ?? null, this.#zoom);
  }

  #choose(place: Place | null, canvas: HTMLCanvasElement): void {
    this.#chosen = place?.mark ?? null;
    this.#tip.hidden = place === null;
    if (place === null) return;
    const { who, what, behindMs } = place.mark;
    this.#tip.replaceChildren(
      h("strong", { "data-path": what.to }, `${who} → ${pathName(what.to)}`),
      h("span", {}, `${costWords(what)}, ${stillWords(what)}`),
      h("span", {}, `because ${what.reason}`),
      h("span", { class: "muted" }, `took ${span(what.tookMs)}, ${span(behindMs)} behind live then`),
    );
    const left = canvas.offsetLeft + place.x;
    const half = this.#tip.offsetWidth / 2;
    this.#tip.style.left = `${Math.min(Math.max(left, half), this.element.clientWidth - half)}px`;
    this.#tip.style.top = `${canvas.offsetTop + place.y - 14}px`;
  }
}

const pathColor = (path: Path) => (path === "realtime" ? "--realtime-ink" : "--hls-ink");

function lengthWords(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1_000)} s` : `${Math.floor(ms / 60_000)} min`;
}

function line(
  context: CanvasRenderingContext2D,
  from: readonly [number, number],
  to: readonly [number, number],
): void {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

function polyline(
  context: CanvasRenderingContext2D,
  points: readonly { readonly at: number; readonly behindMs: number }[],
  x: (at: number) => number,
  y: (behindMs: number) => number,
  box: Box,
): void {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top - 6, box.width, box.height + 12);
  context.clip();
  context.beginPath();
  points.forEach(({ at, behindMs }, index) => {
    if (index === 0) context.moveTo(x(at), y(behindMs));
    else context.lineTo(x(at), y(behindMs));
  });
  context.stroke();
  context.restore();
}

function rounded(
  context: CanvasRenderingContext2D,
  left: number,
  top: number,
  width: number,
  height: number,
): void {
  context.beginPath();
  context.roundRect(left, top, Math.max(width, 0), height, 6);
  context.fill();
}

/**
 * A small live line plot on a canvas: the last minute of one or more series. Own code and not a chart library, because forty
 * lines of canvas are less than the smallest of them. Crisp on every pixel ratio; colours come from the style sheet.
 */

import { color, fitCanvas } from "./canvas";
import { setText } from "./dom";

/** One line: its points from old to new, null where nothing is known, and the CSS variable of its colour. */
export interface Series {
  readonly points: readonly (number | null)[];
  readonly color: string;
}

/** A round number that `value` and a bit of air fit under. Pure. */
export function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 1.5, 2, 3, 4, 5, 8, 10, 15].find((s) => s * power >= value * 1.08) ?? 15;
  return step * power;
}

/** Draws into one canvas; it follows the canvas's size. */
export class Plot {
  #series: readonly Series[] = [];
  #ceiling = 0;
  readonly #caption: HTMLElement;

  constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly label: (value: number) => string,
    description: string,
  ) {
    // A canvas says nothing to a screen reader; its fallback text does.
    this.#caption = document.createElement("span");
    canvas.append(this.#caption);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", description);
    new ResizeObserver(() => this.#draw()).observe(canvas);
  }

  /** Shows these series. `floor` is the least that the scale reaches, so that noise does not fill the picture. */
  show(series: readonly Series[], floor = 0): void {
    this.#series = series;
    const most = Math.max(floor, ...series.flatMap((s) => s.points.filter((p): p is number => p !== null)));
    const wanted = niceCeiling(most);
    // The scale grows at once and shrinks only when half of it is empty, so that it does not flicker.
    if (wanted > this.#ceiling || wanted < this.#ceiling * 0.55) this.#ceiling = wanted;
    setText(
      this.#caption,
      series.map((s) => this.label(s.points.findLast((p) => p !== null) ?? 0)).join(", "),
    );
    this.#draw();
  }

  #draw(): void {
    const { canvas } = this;
    const fitted = fitCanvas(canvas);
    if (fitted === null) return;
    const { context, width, height } = fitted;
    const style = getComputedStyle(canvas);
    const [top, bottom] = [10, height - 2];
    this.#grid(context, width, top, bottom, style);
    for (const series of this.#series) {
      this.#line(context, series.points, color(style, series.color), width, top, bottom);
    }
  }

  #grid(
    context: CanvasRenderingContext2D,
    width: number,
    top: number,
    bottom: number,
    style: CSSStyleDeclaration,
  ): void {
    context.strokeStyle = color(style, "--plot-grid");
    context.fillStyle = color(style, "--text-faint");
    context.font = `11px ${style.fontFamily}`;
    context.textBaseline = "bottom";
    context.lineWidth = 1;
    for (const share of [0.5, 1]) {
      const y = Math.round(bottom - share * (bottom - top)) + 0.5;
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(width, y);
      context.stroke();
      if (this.#ceiling > 0)
        context.fillText(this.label(this.#ceiling * share), 2, y + (share === 1 ? 13 : -1));
    }
  }

  #line(
    context: CanvasRenderingContext2D,
    points: readonly (number | null)[],
    stroke: string,
    width: number,
    top: number,
    bottom: number,
  ): void {
    const x = (index: number) => (index / Math.max(points.length - 1, 1)) * (width - 3);
    // An age below zero is the error of the clocks: it is drawn as zero.
    const y = (value: number) => bottom - Math.min(Math.max(value / this.#ceiling, 0), 1) * (bottom - top);
    context.strokeStyle = stroke;
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    let drawing = false;
    let newest: { x: number; y: number } | null = null;
    points.forEach((value, index) => {
      if (value === null) {
        drawing = false;
        return;
      }
      newest = { x: x(index), y: y(value) };
      if (drawing) context.lineTo(newest.x, newest.y);
      else context.moveTo(newest.x, newest.y);
      drawing = true;
    });
    context.stroke();
    if (newest === null) return;
    const { x: dotX, y: dotY } = newest as { x: number; y: number };
    context.fillStyle = stroke;
    context.beginPath();
    context.arc(Math.max(dotX, 3), dotY, 2.75, 0, Math.PI * 2);
    context.fill();
  }
}

/** What the pages' pictures share: a canvas that is crisp on every pixel ratio, and colours of the style sheet. */

/** The context of a canvas as large as it is shown, cleared, in CSS pixels; null while it is not shown. */
export function fitCanvas(
  canvas: HTMLCanvasElement,
): { readonly context: CanvasRenderingContext2D; readonly width: number; readonly height: number } | null {
  const { clientWidth: width, clientHeight: height } = canvas;
  const context = canvas.getContext("2d");
  if (!context || width === 0 || height === 0) return null;
  const ratio = globalThis.devicePixelRatio || 1;
  const [w, v] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== v) {
    canvas.width = w;
    canvas.height = v;
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** The colour that a registered variable of the style sheet has here. */
export function color(style: CSSStyleDeclaration, variable: string): string {
  return style.getPropertyValue(variable).trim() || "#888";
}

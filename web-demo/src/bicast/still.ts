/** The last WebRTC picture, held up on a canvas until HLS shows the same one. */

/** What is held up. */
export interface HeldFrame {
  /** The RTP timestamp of the very picture on the canvas; null where the browser does not tell it. */
  readonly rtp: number | null;
}

/** In a hidden tab there are no animation frames, and nothing to hurry for. */
const FRAME_PATIENCE_MS = 100;

/** Draws on one canvas that lies over both elements. */
export class Still {
  constructor(private readonly canvas: HTMLCanvasElement) {
    this.hide();
  }

  /**
   * Freezes the picture of `video` and holds it up. Null where there is none. The element is paused first, because frames reach the
   * compositor without this thread: a live element's frame could be on the canvas after its successor was on the screen. Picture and
   * number come from one VideoFrame: the newest callback may be one frame behind the element.
   */
  async take(video: HTMLVideoElement): Promise<HeldFrame | null> {
    video.pause();
    await nextFrame();
    const context = this.canvas.getContext("2d", { alpha: false });
    if (context === null || video.readyState < 2 || video.videoWidth === 0) return null;
    try {
      const frame = new VideoFrame(video);
      const { rtpTimestamp } =
        (frame as VideoFrame & { metadata?: () => { rtpTimestamp?: number } }).metadata?.() ?? {};
      this.#draw(context, frame, frame.displayWidth, frame.displayHeight);
      frame.close();
      return { rtp: rtpTimestamp ?? null };
    } catch {
      // No VideoFrame here (before Firefox 130), or not of this element: the picture at least is held.
      this.#draw(context, video, video.videoWidth, video.videoHeight);
      return { rtp: null };
    }
  }

  /** Takes the picture away. */
  hide(): void {
    this.canvas.style.visibility = "hidden";
  }

  #draw(context: CanvasRenderingContext2D, source: CanvasImageSource, width: number, height: number): void {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    context.drawImage(source, 0, 0, width, height);
    this.canvas.style.visibility = "visible";
  }
}

/** The next animation frame, or a moment in a hidden tab. */
export function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, FRAME_PATIENCE_MS);
    requestAnimationFrame(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** The last WebRTC picture, held up on a canvas until HLS shows the same one. */

/** What is held up. */
export interface HeldFrame {
  /** The RTP timestamp of the very picture on the canvas; null where the browser does not tell it. */
  readonly rtp: number | null;
}

/** In a hidden tab there are no animation frames, and nothing to hurry for. */
const FRAME_PATIENCE_MS = 100;
const MOST_LOOKS = 3;

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
      let held = this.#draw(context, video);
      // A frame that was on its way to the compositor may come after the pause: what is held is what does not change any more.
      for (let look = 0; look < MOST_LOOKS; look += 1) {
        await nextFrame();
        const again = this.#draw(context, video);
        if (again.rtp === held.rtp) break;
        held = again;
      }
      return held;
    } catch {
      // No VideoFrame here (before Firefox 130), or not of this element: the picture at least is held.
      this.canvas.width = video.videoWidth;
      this.canvas.height = video.videoHeight;
      context.drawImage(video, 0, 0);
      return { rtp: null };
    } finally {
      this.canvas.style.visibility = "visible";
    }
  }

  /** Takes the picture away. */
  hide(): void {
    this.canvas.style.visibility = "hidden";
  }

  #draw(context: CanvasRenderingContext2D, video: HTMLVideoElement): HeldFrame {
    const frame = new VideoFrame(video);
    const { displayWidth: width, displayHeight: height } = frame;
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    context.drawImage(frame, 0, 0, width, height);
    const rtp = rtpOf(frame);
    frame.close();
    return { rtp };
  }
}

/** The RTP timestamp of the picture in a WebRTC element; null where the browser does not tell it. */
export function pictureRtp(video: HTMLVideoElement): number | null {
  try {
    const frame = new VideoFrame(video);
    const rtp = rtpOf(frame);
    frame.close();
    return rtp;
  } catch {
    return null;
  }
}

function rtpOf(frame: VideoFrame): number | null {
  // Not in TypeScript's library yet.
  const { metadata } = frame as VideoFrame & { metadata?: () => { rtpTimestamp?: number } };
  return metadata?.call(frame).rtpTimestamp ?? null;
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

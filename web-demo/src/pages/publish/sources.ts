/** Where the picture and the sound come from. Every opener rejects with words that a person can act on. */

import { localProblem } from "../../bicast/problem";
import { drawTestPicture } from "./test-picture";
import { openTone } from "./tone";

/** What is sent as a picture. */
export type PictureKind = "camera" | "screen" | "canvas";
/** What is sent as sound. */
export type SoundKind = "microphone" | "tone" | "none";

/** What the user asked for. */
export interface SourceWish {
  readonly picture: PictureKind;
  readonly sound: SoundKind;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly cameraId: string;
  readonly microphoneId: string;
  /** UTC by the server's clock in milliseconds, for the clock in the test picture. */
  readonly now: () => number;
}

/** An open source. */
export interface Source {
  readonly stream: MediaStream;
  /** Called when the source ends by itself: "Stop sharing", a camera that is pulled out. */
  onEnded: () => void;
  stop(): void;
}

/** Whether camera, microphone and screen can be asked for at all: browsers offer them to secure contexts only. */
export function canCapture(): boolean {
  return globalThis.isSecureContext && navigator.mediaDevices !== undefined;
}

/** Opens picture and sound. */
export async function openSource(wish: SourceWish): Promise<Source> {
  const stops: (() => void)[] = [];
  const stream = new MediaStream();
  const source: Source = {
    stream,
    onEnded: () => {},
    stop() {
      for (const stop of stops) stop();
      for (const track of stream.getTracks()) track.stop();
    },
  };
  try {
    for (const track of await openPicture(wish, stops)) stream.addTrack(track);
    for (const track of await openSound(wish, stops)) stream.addTrack(track);
  } catch (thrown) {
    source.stop();
    throw thrown;
  }
  for (const track of stream.getTracks()) track.addEventListener("ended", () => source.onEnded());
  return source;
}

async function openPicture(wish: SourceWish, stops: (() => void)[]): Promise<MediaStreamTrack[]> {
  if (wish.picture === "canvas") return [openCanvas(wish, stops)];
  if (!canCapture()) throw insecure();
  const { width, height, fps: frameRate } = wish;
  if (wish.picture === "screen") {
    const screen = await ask("screen", () =>
      navigator.mediaDevices.getDisplayMedia({
        video: { width: { max: width }, height: { max: height }, frameRate: { max: frameRate } },
        audio: false,
      }),
    );
    const tracks = screen.getVideoTracks();
    for (const track of tracks) track.contentHint = "detail";
    return tracks;
  }
  const camera = await ask("camera", () =>
    navigator.mediaDevices.getUserMedia({
      video: {
        width: { ideal: width },
        height: { ideal: height },
        frameRate: { ideal: frameRate },
        ...(wish.cameraId === "" ? {} : { deviceId: { exact: wish.cameraId } }),
      },
    }),
  );
  return camera.getVideoTracks();
}

async function openSound(wish: SourceWish, stops: (() => void)[]): Promise<MediaStreamTrack[]> {
  if (wish.sound === "none") return [];
  if (wish.sound === "tone") {
    const tone = await openTone(wish.now);
    stops.push(() => tone.stop());
    return [tone.track];
  }
  if (!canCapture()) throw insecure();
  const microphone = await ask("microphone", () =>
    navigator.mediaDevices.getUserMedia({
      audio: wish.microphoneId === "" ? true : { deviceId: { exact: wish.microphoneId } },
    }),
  );
  return microphone.getAudioTracks();
}

/** A canvas that is drawn by a worker's ticks, so that it goes on while the tab is in the background. */
function openCanvas(wish: SourceWish, stops: (() => void)[]): MediaStreamTrack {
  const canvas = document.createElement("canvas");
  canvas.width = wish.width;
  canvas.height = wish.height;
  const context = canvas.getContext("2d", { alpha: false });
  if (!context)
    throw localProblem("No canvas", "This browser gives no 2D canvas.", "Choose camera or screen.");
  // Rate 0: a frame is taken when asked for, exactly one for each drawing. At a rate of its own the capture would take some
  // drawings twice and miss others.
  const [track] = canvas.captureStream(0).getVideoTracks() as CanvasCaptureMediaStreamTrack[];
  if (!track)
    throw localProblem("No canvas", "This browser cannot capture a canvas.", "Choose camera or screen.");
  const draw = (frame: number) => {
    drawTestPicture(context, wish.width, wish.height, frame, wish.now());
    track.requestFrame();
  };
  const ticker = new Worker(new URL("./ticker.ts", import.meta.url), { type: "module" });
  ticker.addEventListener("message", ({ data: frame }: MessageEvent<number>) => draw(frame));
  // The barcode must stay readable: rather fewer frames than a smaller picture.
  track.contentHint = "detail";
  ticker.postMessage(wish.fps);
  stops.push(() => ticker.terminate());
  return track;
}

async function ask(what: string, open: () => Promise<MediaStream>): Promise<MediaStream> {
  try {
    return await open();
  } catch (thrown) {
    const name = thrown instanceof DOMException ? thrown.name : "";
    const detail = thrown instanceof Error ? thrown.message : String(thrown);
    if (name === "NotAllowedError") {
      throw localProblem(
        `No permission for the ${what}`,
        "The browser or the system refused it.",
        "Allow it in the address bar and start again, or choose the test picture.",
      );
    }
    if (name === "NotFoundError" || name === "OverconstrainedError") {
      throw localProblem(
        `No such ${what}`,
        `This device has no ${what} that fits.`,
        "Choose another one, or the test picture.",
      );
    }
    if (name === "NotReadableError") {
      throw localProblem(
        `The ${what} is busy`,
        "Another program holds it.",
        "Close that program and start again.",
      );
    }
    throw localProblem(`The ${what} could not be opened`, detail);
  }
}

function insecure() {
  return localProblem(
    "Not a secure page",
    `Browsers give camera, microphone and screen only to https pages and to localhost; this page is ${location.origin}.`,
    "Open it over https or as http://localhost, or send the test picture.",
  );
}

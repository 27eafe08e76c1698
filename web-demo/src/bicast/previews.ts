/** Preview pictures for the scrub bar: single keyframes, decoded on their own. HLS need not be playing, or even loaded, for them. */

import { decoderDescription, firstSample, iframeVariant, type Keyframe, keyframes } from "./iframes";

const KEPT_PICTURES = 60;
const WIDTH = 192;
/** The playlist is asked for again when it is this old and something newer is wanted. */
const FRESH_MS = 2_500;

/** Loads pictures by their time. */
export class Previews {
  #variant: Promise<{ url: string; codec: string } | null> | null = null;
  #list: readonly Keyframe[] = [];
  #listAt = Number.NEGATIVE_INFINITY;
  readonly #pictures = new Map<string, Promise<ImageBitmap | null>>();
  readonly #inits = new Map<string, Promise<Uint8Array>>();

  /** `multivariant` is the address of the feed's multivariant playlist. */
  constructor(private readonly multivariant: string) {}

  /** The picture nearest before a UTC time; null where there is none, or where this browser (or page: WebCodecs wants https) cannot. */
  async at(unixMs: number): Promise<ImageBitmap | null> {
    if (typeof VideoDecoder === "undefined") return null;
    try {
      this.#variant ??= this.#findVariant();
      const variant = await this.#variant;
      if (variant === null) return null;
      await this.#refresh(variant.url, unixMs);
      const frame = this.#list.findLast(({ at }) => at <= unixMs) ?? this.#list[0];
      if (!frame) return null;
      const kept = this.#pictures.get(frame.url) ?? this.#load(frame, variant.codec).catch(() => null);
      this.#pictures.delete(frame.url);
      this.#pictures.set(frame.url, kept);
      const [oldest] = this.#pictures.keys();
      if (this.#pictures.size > KEPT_PICTURES && oldest !== undefined) this.#pictures.delete(oldest);
      return await kept;
    } catch {
      // No preview is no fault that a viewer should hear of. It is tried again with the next one.
      this.#variant = null;
      return null;
    }
  }

  async #findVariant() {
    const answer = await get(this.multivariant);
    return iframeVariant(await answer.text(), answer.url);
  }

  async #refresh(url: string, unixMs: number): Promise<void> {
    const newest = this.#list.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
    if (unixMs <= newest || performance.now() - this.#listAt < FRESH_MS) return;
    this.#listAt = performance.now();
    const answer = await get(url);
    this.#list = keyframes(await answer.text(), answer.url);
  }

  async #load(frame: Keyframe, codec: string): Promise<ImageBitmap | null> {
    const init = this.#inits.get(frame.init) ?? get(frame.init).then(bytesOf);
    this.#inits.set(frame.init, init);
    const answer = await get(frame.url, { range: `bytes=0-${frame.bytes - 1}` });
    const sample = firstSample((await bytesOf(answer)).subarray(0, frame.bytes));
    return sample === null ? null : decode(sample, codec, decoderDescription(await init));
  }
}

async function get(url: string, headers: Record<string, string> = {}): Promise<Response> {
  const answer = await fetch(url, { headers });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer;
}

const bytesOf = async (answer: Response) => new Uint8Array(await answer.arrayBuffer());

async function decode(
  data: Uint8Array,
  codec: string,
  description: Uint8Array | undefined,
): Promise<ImageBitmap> {
  return new Promise((resolve, reject) => {
    const decoder = new VideoDecoder({
      output: (frame) => {
        resolve(
          createImageBitmap(frame, { resizeWidth: WIDTH, resizeQuality: "medium" }).finally(() =>
            frame.close(),
          ),
        );
      },
      error: reject,
    });
    decoder.configure({ codec, optimizeForLatency: true, ...(description ? { description } : {}) });
    decoder.decode(new EncodedVideoChunk({ type: "key", timestamp: 0, data }));
    decoder
      .flush()
      .then(() => decoder.close())
      .catch(reject);
  });
}

import type Hls from "hls.js";
import type { FragmentLoaderConstructor, FragmentLoaderContext, Loader } from "hls.js";
import { COMES_WITHIN } from "./cut-math";

type MediaLoader = Loader<FragmentLoaderContext>;

/** Times in playlists and the element's are this close to each other, in seconds. */
const NEAR = 0.3;
/** Loaded pieces of each kind that the bitrate is measured over. */
const MEASURED = 20;

/** Watches hls.js load media: it tells when a load begins, and not when it was called off. */
export class HlsLoads {
  /** How long the last load took, in milliseconds; null before one ended. */
  lastMs: number | null = null;
  readonly #current = new Set<MediaLoader>();
  #done: Record<string, readonly { readonly bytes: number; readonly seconds: number }[]> = {};

  /** What hls.js is to load media with. */
  loader(Library: typeof Hls): FragmentLoaderConstructor {
    const loads = this;
    return class extends (Library.DefaultConfig.loader as FragmentLoaderConstructor) {
      override load(...what: Parameters<MediaLoader["load"]>) {
        loads.#current.add(this);
        super.load(...what);
      }

      override destroy() {
        loads.#ended(this);
        super.destroy();
      }
    };
  }

  /** Whether media from there, or from just before it, is being loaded at this moment; in seconds of the element. */
  at(seconds: number): boolean {
    return [...this.#current].some((one) => {
      const of = pieceOf(one);
      return of && of.start - NEAR < seconds && seconds < of.end + COMES_WITHIN;
    });
  }

  /** Bits per second of what was loaded, over its own duration: sound and picture. Null before anything was. */
  get bitrateBps(): number | null {
    const rates = Object.values(this.#done).map(
      (done) => (sum(done, ({ bytes }) => bytes) * 8) / sum(done, ({ seconds }) => seconds),
    );
    return sum(rates, (rate) => rate) || null;
  }

  clear(): void {
    this.#done = {};
    this.lastMs = null;
  }

  #ended(one: MediaLoader): void {
    const { loading, loaded } = one.stats;
    const seconds = pieceOf(one)?.duration;
    const kind = one.context?.frag.type;
    // An initialisation has no duration, and what was called off no end.
    if (!this.#current.delete(one) || !kind || !seconds || !loading.end) return;
    this.#done[kind] = [...(this.#done[kind] ?? []), { bytes: loaded, seconds }].slice(-MEASURED);
    this.lastMs = loading.end - loading.start;
  }
}

/** The part or the segment that is loaded. */
const pieceOf = ({ context }: MediaLoader) => context?.part ?? context?.frag;

function sum<T>(list: readonly T[], of: (one: T) => number): number {
  return list.reduce((total, one) => total + of(one), 0);
}

/** I-frame playlists (RFC 8216, 4.3.3.6) and what of fragmented MP4 it takes to decode one keyframe. Pure: texts and bytes in. */

/** One keyframe that can be loaded. */
export interface Keyframe {
  /** When it was shown live, in milliseconds since 1970. */
  readonly at: number;
  readonly url: string;
  /** The first so many bytes of what is at `url`. */
  readonly bytes: number;
  /** The initialization section. */
  readonly init: string;
}

/** The smallest picture's I-frame playlist that a multivariant playlist names. */
export function iframeVariant(
  text: string,
  base: string,
): { readonly url: string; readonly codec: string } | null {
  const found = [...text.matchAll(/^#EXT-X-I-FRAME-STREAM-INF:(.*)$/gm)]
    .map(([, line = ""]) => ({
      bandwidth: Number(/(?:^|,)BANDWIDTH=(\d+)/.exec(line)?.[1] ?? Number.POSITIVE_INFINITY),
      codec: /CODECS="([^",]+)/.exec(line)?.[1] ?? "",
      uri: /URI="([^"]+)"/.exec(line)?.[1] ?? "",
    }))
    .filter(({ uri, codec }) => uri !== "" && codec !== "")
    .sort((a, b) => a.bandwidth - b.bandwidth)[0];
  return found ? { url: new URL(found.uri, base).href, codec: found.codec } : null;
}

/** The keyframes of an I-frame playlist, oldest first; those without a date, or in a gap, are left out. */
export function keyframes(text: string, base: string): Keyframe[] {
  const found: Keyframe[] = [];
  let init = "";
  let at = Number.NaN;
  let bytes = 0;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#EXT-X-MAP:")) init = new URL(/URI="([^"]+)"/.exec(line)?.[1] ?? "", base).href;
    else if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) at = Date.parse(line.slice(25));
    else if (line.startsWith("#EXT-X-BYTERANGE:"))
      bytes = /^\d+@0$/.test(line.slice(17)) ? Number.parseInt(line.slice(17), 10) : 0;
    else if (line !== "" && !line.startsWith("#")) {
      if (Number.isFinite(at) && bytes > 0 && init !== "")
        found.push({ at, url: new URL(line, base).href, bytes, init });
      at = Number.NaN;
      bytes = 0;
    }
  }
  return found;
}

/** What `VideoDecoder` wants to know of the codec: the body of `avcC` or `hvcC`; undefined for codecs that need none. */
export function decoderDescription(init: Uint8Array): Uint8Array | undefined {
  for (const kind of ["avcC", "hvcC"]) {
    const name = [...kind].map((letter) => letter.charCodeAt(0));
    for (let at = 4; at + 4 <= init.length; at += 1) {
      if (!name.every((byte, n) => init[at + n] === byte)) continue;
      const size = new DataView(init.buffer, init.byteOffset).getUint32(at - 4);
      if (size >= 8 && at - 4 + size <= init.length) return init.slice(at + 4, at - 4 + size);
    }
  }
  return undefined;
}

/** The sample in the beginning of a fragment: what follows the head of its first `mdat`. Null where there is none. */
export function firstSample(fragment: Uint8Array): Uint8Array | null {
  const view = new DataView(fragment.buffer, fragment.byteOffset, fragment.byteLength);
  for (let at = 0; at + 8 <= fragment.length; ) {
    const size = view.getUint32(at);
    if (String.fromCharCode(...fragment.subarray(at + 4, at + 8)) === "mdat") return fragment.slice(at + 8);
    // Sizes of 0 and 1 (to the end, 64 bits) do not stand in front of an mdat here.
    if (size < 8) return null;
    at += size;
  }
  return null;
}

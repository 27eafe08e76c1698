import { describe, expect, it } from "vitest";
import { decoderDescription, firstSample, iframeVariant, keyframes } from "../src/bicast/iframes";

const box = (kind: string, ...body: number[]) => {
  const size = 8 + body.length;
  return [0, 0, size >> 8, size & 255, ...[...kind].map((letter) => letter.charCodeAt(0)), ...body];
};

describe("I-frame playlists", () => {
  it("finds the smallest picture's one", () => {
    const text = `#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.42c01f,opus"
video0/5/media.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=900000,CODECS="avc1.42c01f",RESOLUTION=1280x720,URI="video0/5/iframes.m3u8"
#EXT-X-I-FRAME-STREAM-INF:AVERAGE-BANDWIDTH=1,BANDWIDTH=100000,CODECS="avc1.42c00c",RESOLUTION=320x180,URI="video1/5/iframes.m3u8"`;
    expect(iframeVariant(text, "https://host/hls/demo/multivariant.m3u8")).toEqual({
      url: "https://host/hls/demo/video1/5/iframes.m3u8",
      codec: "avc1.42c00c",
    });
    expect(iframeVariant("#EXTM3U", "https://host/")).toBeNull();
  });

  it("lists keyframes with their dates, and leaves gaps out", () => {
    const text = `#EXTM3U
#EXT-X-I-FRAMES-ONLY
#EXT-X-MAP:URI="init0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-27T10:00:00.000Z
#EXTINF:2,
#EXT-X-BYTERANGE:4000@0
7.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-27T10:00:02.000Z
#EXT-X-GAP
#EXTINF:2,
8.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="init1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-27T10:00:04.500Z
#EXTINF:2,
#EXT-X-BYTERANGE:5000@0
9.m4s
`;
    const at = Date.parse("2026-11-27T10:00:00Z");
    expect(keyframes(text, "https://host/v/iframes.m3u8")).toEqual([
      { at, url: "https://host/v/7.m4s", bytes: 4_000, init: "https://host/v/init0.mp4" },
      { at: at + 4_500, url: "https://host/v/9.m4s", bytes: 5_000, init: "https://host/v/init1.mp4" },
    ]);
    expect(keyframes("what is this\n#EXT-X-BYTERANGE:x\n", "https://host/")).toEqual([]);
  });

  it("takes what a decoder needs out of fragmented MP4, and nothing out of rubbish", () => {
    const init = new Uint8Array([...box("ftyp", 1, 2), ...box("moov", ...box("avcC", 1, 66, 192, 31))]);
    expect([...(decoderDescription(init) ?? [])]).toEqual([1, 66, 192, 31]);
    expect(decoderDescription(new Uint8Array([1, 2, 3]))).toBeUndefined();
    expect(decoderDescription(new Uint8Array([255, 255, 255, 255, 97, 118, 99, 67]))).toBeUndefined();
    const fragment = new Uint8Array([...box("styp"), ...box("moof", 9, 9, 9), ...box("mdat", 5, 6, 7)]);
    expect([...(firstSample(fragment) ?? [])]).toEqual([5, 6, 7]);
    expect(firstSample(new Uint8Array(box("moof", 1)))).toBeNull();
    expect(firstSample(new Uint8Array([0, 0, 0, 1, 0, 0, 0, 0, 0]))).toBeNull();
    expect(firstSample(new Uint8Array())).toBeNull();
  });
});

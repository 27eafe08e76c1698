/** A WHIP publisher: this browser's camera, screen or canvas as a feed (RFC 9725). */

import type { BicastError } from "./problem";
import { RtcLink, type RtcLinkOptions } from "./rtc-link";

/** How to encode. */
export interface WhipEncoding {
  /** Most bits per second of video. */
  readonly maxBitrateBps: number;
  /** Most frames per second. */
  readonly maxFramerate: number;
}

/** Sends one stream. */
export class WhipClient extends RtcLink {
  constructor(
    options: RtcLinkOptions,
    private readonly stream: MediaStream,
    private readonly encoding: WhipEncoding,
  ) {
    super(options);
  }

  /** Changes the most it may send without a new connection. */
  async setMaxBitrate(bps: number): Promise<void> {
    const sender = this.peer?.getSenders().find((s) => s.track?.kind === "video");
    if (!sender) return;
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) encoding.maxBitrate = bps;
    await sender.setParameters(parameters);
  }

  protected override prepare(peer: RTCPeerConnection): void {
    const streams = [this.stream];
    for (const track of this.stream.getVideoTracks()) {
      const { maxBitrateBps: maxBitrate, maxFramerate } = this.encoding;
      const transceiver = peer.addTransceiver(track, {
        direction: "sendonly",
        streams,
        sendEncodings: [{ maxBitrate, maxFramerate }],
      });
      preferH264(transceiver);
      void keepResolution(transceiver.sender);
    }
    for (const track of this.stream.getAudioTracks()) {
      peer.addTransceiver(track, { direction: "sendonly", streams });
    }
  }

  /**
   * 409 means that somebody else publishes: taking turns with them by trying again would be no help. An unknown path (404) does
   * not become known either.
   */
  protected override retryable(error: BicastError): boolean {
    const { status } = error.problem;
    return error.retryable && status !== 409 && status !== 404;
  }
}

/**
 * Without this Chromium begins at a fraction of the picture's size and climbs for seconds, whatever the answer's start bit rate:
 * each step is another SPS, which costs the HLS viewers a discontinuity. A sender that refuses starts small.
 */
async function keepResolution(sender: RTCRtpSender): Promise<void> {
  const parameters = sender.getParameters();
  parameters.degradationPreference = "maintain-resolution";
  await sender.setParameters(parameters).catch(() => undefined);
}

/** Puts H264 first: the codec that both paths can show everywhere. The others stay, so that a server can choose. */
function preferH264(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  const h264 = codecs.filter((codec) => codec.mimeType.toLowerCase() === "video/h264");
  const others = codecs.filter((codec) => codec.mimeType.toLowerCase() !== "video/h264");
  if (h264.length > 0) transceiver.setCodecPreferences([...h264, ...others]);
}

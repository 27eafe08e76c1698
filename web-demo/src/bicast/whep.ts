/** A WHEP viewer: one feed over WebRTC (draft-ietf-wish-whep). */

import type { BicastError } from "./problem";
import { RtcLink } from "./rtc-link";
import { withStereoOpus } from "./sdp";

/** Receives one feed; its tracks arrive in {@link stream}. */
export class WhepClient extends RtcLink {
  #stream: MediaStream | null = null;
  #onStream: ((stream: MediaStream) => void) | null = null;

  /** The tracks of the current connection; a new object with every connection. */
  get stream(): MediaStream | null {
    return this.#stream;
  }

  /** Called with each new connection's stream, as soon as it has a track. */
  set onStream(listener: (stream: MediaStream) => void) {
    this.#onStream = listener;
  }

  protected override prepare(peer: RTCPeerConnection): void {
    const stream = new MediaStream();
    this.#stream = stream;
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.addTransceiver("audio", { direction: "recvonly" });
    peer.addEventListener("track", ({ track }) => {
      stream.addTrack(track);
      if (stream.getTracks().length === 1) this.#onStream?.(stream);
    });
  }

  protected override shape(sdp: string): string {
    return withStereoOpus(sdp);
  }

  /** 406 too: a returning publisher may bring a codec or an order of frames that can be shown. */
  protected override retryable(error: BicastError): boolean {
    return error.retryable || error.problem.status === 406;
  }
}

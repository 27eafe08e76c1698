/**
 * What WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) have in common: one POST with an offer, a session resource to DELETE, and
 * the patience to do it again. No trickle: the server is ICE-lite, its candidates stand in the answer and it learns ours from
 * our checks, so the offer leaves at once.
 */

import { KeptLink } from "./kept-link";
import { type BicastError, localProblem, problemOf, unreachable } from "./problem";

/** Where to and as whom. */
export interface RtcLinkOptions {
  /** The WHIP or WHEP endpoint, asked for with each try: a viewer that joins anew has another. */
  readonly url: () => string | Promise<string>;
  /** A bearer token (RFC 6750), if the server wants one. */
  readonly token?: string | null;
}

const POST_TIMEOUT_MS = 8_000;
/** ICE reports `disconnected` for passing trouble too; most of it heals within this. */
const DISCONNECTED_PATIENCE_MS = 3_000;
/** From the answer to `connected`; loopback needs 0.1 s, a bad network repeats its DTLS flights for seconds. */
const CONNECT_TIMEOUT_MS = 10_000;

/** An unanswered DELETE holds a connection open this long. */
const CLOSE_AFTER_MS = 500;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A WHIP or WHEP connection that is kept up until it is stopped. */
export abstract class RtcLink extends KeptLink {
  #peer: RTCPeerConnection | null = null;
  #resource: string | null = null;
  /** Whether the page goes away. */
  #leaving = false;

  constructor(protected readonly options: RtcLinkOptions) {
    super();
  }

  /** The current peer connection, for statistics. */
  get peer(): RTCPeerConnection | null {
    return this.#peer;
  }

  override start(): void {
    globalThis.addEventListener?.("pagehide", this.#onPageHide);
    super.start();
  }

  /** Ends the session on the server and closes. */
  override stop(): void {
    globalThis.removeEventListener?.("pagehide", this.#onPageHide);
    super.stop();
  }

  /** Adds what is sent or wanted to a new peer connection. */
  protected abstract prepare(peer: RTCPeerConnection): void | Promise<void>;

  /** Changes the browser's offer before it is used. */
  protected shape(sdp: string): string {
    return sdp;
  }

  protected override retryable(error: BicastError): boolean {
    return error.retryable;
  }

  protected override async open(current: () => boolean): Promise<void> {
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.#peer = peer;
    try {
      await this.prepare(peer);
      const offer = await peer.createOffer();
      const sdp = this.shape(offer.sdp ?? "");
      // Both at once: the offer already carries the ICE credentials, and the POST is what the viewer waits for.
      const [posted] = await Promise.all([this.#post(sdp), peer.setLocalDescription({ type: "offer", sdp })]);
      if (!current()) {
        void this.#delete(posted.resource);
        peer.close();
        return;
      }
      this.#resource = posted.resource;
      await peer.setRemoteDescription({ type: "answer", sdp: posted.answer });
      if (current()) this.#watch(peer, current);
    } catch (thrown) {
      if (!current()) peer.close();
      throw thrown;
    }
  }

  async #post(sdp: string): Promise<{ answer: string; resource: string | null }> {
    const url = await this.options.url();
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/sdp", accept: "application/sdp", ...this.#authorization() },
      body: sdp,
      signal: AbortSignal.timeout(POST_TIMEOUT_MS),
    }).catch((cause: unknown) => {
      throw unreachable(url, cause);
    });
    if (!response.ok) throw await problemOf(response);
    const location = response.headers.get("location");
    return {
      answer: await response.text(),
      // Relative to where the answer came from, which is another place after a redirect (RFC 9725, 4.2).
      resource: location === null ? null : new URL(location, response.url || url).href,
    };
  }

  #watch(peer: RTCPeerConnection, current: () => boolean): void {
    const lost = (title: string, detail: string) => {
      if (!current()) return;
      const hint =
        "It is tried again by itself. If it never connects, the server's UDP port (8189) may be blocked on the way.";
      this.fail(localProblem(title, detail, hint, 0));
    };
    let patience: ReturnType<typeof setTimeout> | undefined = setTimeout(
      () => lost("No connection", "The server answered, but no media connection came about."),
      CONNECT_TIMEOUT_MS,
    );
    const look = () => {
      if (!current()) return clearTimeout(patience);
      const state = peer.connectionState;
      if (state === "connected") {
        clearTimeout(patience);
        this.up();
      } else if (state === "disconnected") {
        clearTimeout(patience);
        patience = setTimeout(
          () => lost("Connection lost", "The media connection broke off."),
          DISCONNECTED_PATIENCE_MS,
        );
      } else if (state === "failed" || state === "closed") {
        clearTimeout(patience);
        lost("Connection lost", "The media connection ended.");
      }
    };
    peer.addEventListener("connectionstatechange", look);
    // A server that ends the session sends a DTLS close_notify; Chromium shows it here and not in connectionState.
    const transport = (peer.getReceivers()[0] ?? peer.getSenders()[0])?.transport;
    transport?.addEventListener("statechange", () => {
      if (transport.state === "closed") lost("Session ended", "The server ended the session.");
    });
    look();
  }

  protected override close(): void {
    const [peer, leaving] = [this.#peer, this.#leaving];
    this.#peer = null;
    // First the good-bye in words: a DTLS close would overtake it, and it would be answered 404.
    void Promise.race([this.#delete(this.#resource), pause(leaving ? 0 : CLOSE_AFTER_MS)]).then(() =>
      peer?.close(),
    );
    this.#resource = null;
  }

  /** Tells the server at once: otherwise it sends to nobody until its ICE consent expires. */
  async #delete(resource: string | null): Promise<void> {
    if (resource === null) return;
    const init = { method: "DELETE", keepalive: this.#leaving, headers: this.#authorization() };
    await fetch(resource, init).catch(() => {
      // Nothing to do about it: the server finds out by itself.
    });
  }

  #authorization(): Record<string, string> {
    const { token } = this.options;
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  /** The page goes away; only a keepalive request outlives it. Coming back from the back/forward cache begins anew. */
  readonly #onPageHide = (event: PageTransitionEvent): void => {
    this.#leaving = true;
    this.drop();
    this.#leaving = false;
    if (!event.persisted) return;
    globalThis.addEventListener("pageshow", () => this.again(), { once: true });
  };
}

/** The problem of a browser that has no WebRTC; null for one that has. */
export function webRtcMissing(): BicastError | null {
  if (typeof RTCPeerConnection !== "undefined") return null;
  return localProblem("No WebRTC", "This browser has no WebRTC.", "Use the LL-HLS path, or another browser.");
}

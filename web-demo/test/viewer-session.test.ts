import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Emitter } from "../src/bicast/emitter";
import type { PathPlayer } from "../src/bicast/path-player";
import type { ViewerChannel } from "../src/bicast/viewer-channel";
import { ViewerSession } from "../src/bicast/viewer-session";

class Fake extends Emitter<Record<string, unknown>> {
  override emit(name: string, value?: unknown): void {
    super.emit(name, value);
  }
}

function bench(whepUrl: string | null) {
  const anonymous = vi.fn(() => "https://host/whep/demo");
  const realtime = {
    whepUrl: anonymous as () => string | Promise<string>,
    linkState: "idle",
    iceState: "new",
    retry: vi.fn(),
  };
  const player = Object.assign(new Fake(), {
    legs: { realtime },
    visible: { path: "realtime" },
    chosen: "realtime",
    wanted: "auto",
    following: true,
    orders: null,
  });
  const channel = Object.assign(new Fake(), {
    state: "open",
    viewer: { id: "v" },
    decision: null,
    whepUrl,
    start: vi.fn(),
    stop: vi.fn(),
    wish: vi.fn(async () => {}),
    report: vi.fn(),
    switched: vi.fn(),
  });
  const session = new ViewerSession(player as unknown as PathPlayer, channel as unknown as ViewerChannel);
  session.start();
  return { session, player, channel, realtime, anonymous };
}

describe("a viewer's session", () => {
  let connections = 0;
  beforeEach(() => {
    connections = 0;
    vi.stubGlobal(
      "RTCPeerConnection",
      class {
        constructor() {
          connections += 1;
        }
        addTransceiver() {}
        addEventListener() {}
        close() {}
        // Never answered: that a connection was begun is all that is asked for.
        createOffer = () => new Promise(() => {});
      },
    );
    vi.stubGlobal("MediaStream", class {});
  });
  afterEach(() => vi.unstubAllGlobals());

  it("asks for WebRTC under its name, and for none where its tier has none", async () => {
    const vip = bench("https://host/whep/demo?viewer=v");
    expect(await vip.realtime.whepUrl()).toBe("https://host/whep/demo?viewer=v");
    vip.session.stop();
    const free = bench(null);
    await expect(free.realtime.whepUrl()).rejects.toMatchObject({ problem: { status: 406 } });
    expect(free.anonymous).not.toHaveBeenCalled();
    free.session.stop();
    expect(free.realtime.whepUrl).toBe(free.anonymous);
  });

  it("asks without a name where the service is not there", async () => {
    const { realtime, channel, session } = bench(null);
    Object.assign(channel, { state: "refused", viewer: null });
    expect(await realtime.whepUrl()).toBe("https://host/whep/demo");
    session.stop();
  });

  it("measures the line beside HLS, also when it was asked to before HLS was there", () => {
    const { session, player, channel } = bench("https://host/whep/demo?viewer=v");
    channel.emit("message", { type: "probe", wanted: true });
    expect(connections).toBe(0);
    player.visible = { path: "hls" };
    player.emit("state");
    expect(connections).toBe(1);
    player.emit("state");
    expect(connections).toBe(1);
    channel.emit("order", { path: "realtime", reason: "" });
    player.emit("state");
    expect(connections).toBe(1);
    session.stop();
  });
});

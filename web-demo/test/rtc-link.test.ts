import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LinkState } from "../src/bicast/kept-link";
import { WhepClient } from "../src/bicast/whep";
import { WhipClient } from "../src/bicast/whip";

/** As much of a peer connection as a link touches. */
class FakePeer extends EventTarget {
  static all: FakePeer[] = [];
  connectionState = "new";
  closed = false;
  answer = "";
  readonly transport = Object.assign(new EventTarget(), { state: "connected" });
  constructor() {
    super();
    FakePeer.all.push(this);
  }
  addTransceiver() {
    return { setCodecPreferences() {} };
  }
  getReceivers() {
    return [{ transport: this.transport }];
  }
  getSenders() {
    return [];
  }
  async createOffer() {
    return { type: "offer", sdp: "v=0\r\n" };
  }
  async setLocalDescription() {}
  async setRemoteDescription({ sdp }: { sdp: string }) {
    this.answer = sdp;
  }
  close() {
    this.closed = true;
  }
  become(state: string) {
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }
}

const created = () =>
  new Response("answer", {
    status: 201,
    headers: { location: "/whep/demo/s1", "content-type": "application/sdp" },
  });
const refused = (status: number, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify({ title: "No", status, detail: "not now", hint: "later" }), {
    status,
    headers,
  });

describe("RtcLink", () => {
  let posts: { url: string; init: RequestInit }[];
  let deletes: { url: string; init: RequestInit }[];
  let answers: (() => Promise<Response>)[];

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("RTCPeerConnection", FakePeer);
    vi.stubGlobal("MediaStream", class {});
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      if (init.method === "DELETE") {
        deletes.push({ url, init });
        return new Response(null, { status: 200 });
      }
      posts.push({ url, init });
      return (answers.shift() ?? (async () => created()))();
    });
    FakePeer.all = [];
    posts = [];
    deletes = [];
    answers = [];
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  const open = (token: string | null = null) => {
    const client = new WhepClient({ url: () => "http://host/whep/demo", token });
    const states: LinkState[] = [];
    client.on("state", (state) => states.push(state));
    client.start();
    return { client, states };
  };
  const settle = () => vi.advanceTimersByTimeAsync(0);

  it("posts an offer, takes the answer, and deletes the session when it stops", async () => {
    const { client, states } = open("secret");
    await settle();
    expect(posts[0]?.init.headers).toMatchObject({
      "content-type": "application/sdp",
      authorization: "Bearer secret",
    });
    expect(FakePeer.all[0]?.answer).toBe("answer");
    FakePeer.all[0]?.become("connected");
    client.stop();
    expect(states).toEqual(["connecting", "connected", "idle"]);
    expect(deletes.map(({ url }) => url)).toEqual(["http://host/whep/demo/s1"]);
    await settle();
    expect(FakePeer.all[0]?.closed).toBe(true);
  });

  it("deletes a session that was granted after it was stopped", async () => {
    let grant: (response: Response) => void = () => {};
    answers.push(() => new Promise((resolve) => (grant = resolve)));
    const { client } = open();
    await settle();
    client.stop();
    expect(deletes).toEqual([]);
    grant(created());
    await settle();
    expect(deletes.length).toBe(1);
    expect(client.state).toBe("idle");
    expect(FakePeer.all.every((peer) => peer.closed)).toBe(true);
  });

  it("tries again by itself, and as late as the server asks for", async () => {
    answers.push(async () => refused(503, { "retry-after": "7" }));
    const { client } = open();
    await settle();
    expect(client.state).toBe("retrying");
    expect(client.problem?.problem).toMatchObject({ detail: "not now", hint: "later" });
    await vi.advanceTimersByTimeAsync(6_900);
    expect(posts.length).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(posts.length).toBe(2);
    FakePeer.all[1]?.become("connected");
    expect(client.problem).toBeNull();
  });

  it("stops trying where trying does not help", async () => {
    answers.push(async () => refused(403));
    const { client } = open();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state).toBe("failed");
    expect(posts.length).toBe(1);
    client.start();
    await settle();
    expect(posts.length).toBe(2);
  });

  it("a publisher gives way to another one; a viewer waits for a feed", async () => {
    answers.push(async () => refused(409));
    const stream = { getVideoTracks: () => [], getAudioTracks: () => [] } as unknown as MediaStream;
    const publisher = new WhipClient({ url: () => "http://host/whip/demo" }, stream, {
      maxBitrateBps: 1,
      maxFramerate: 1,
    });
    publisher.start();
    await settle();
    expect(publisher.state).toBe("failed");
    answers.push(async () => refused(404));
    const { client } = open();
    await settle();
    expect(client.state).toBe("retrying");
    client.stop();
  });

  it("outlives passing trouble and replaces a connection that is gone", async () => {
    const { client } = open();
    await settle();
    const [first] = FakePeer.all;
    first?.become("connected");
    first?.become("disconnected");
    await vi.advanceTimersByTimeAsync(2_000);
    first?.become("connected");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.state).toBe("connected");
    first?.become("disconnected");
    await vi.advanceTimersByTimeAsync(3_100);
    expect(client.state).toBe("retrying");
    expect(deletes.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(posts.length).toBe(2);
    // What is left of the old connection has nothing more to say.
    first?.become("failed");
    expect(client.state).toBe("connecting");
    client.stop();
  });

  it("notices that the server ended the session, and an answer that never connects", async () => {
    const { client } = open();
    await settle();
    const [first] = FakePeer.all;
    first?.become("connected");
    if (first) first.transport.state = "closed";
    first?.transport.dispatchEvent(new Event("statechange"));
    expect(client.problem?.problem.title).toBe("Session ended");
    await vi.advanceTimersByTimeAsync(600);
    expect(posts.length).toBe(2);
    await vi.advanceTimersByTimeAsync(10_100);
    expect(client.problem?.problem.title).toBe("No connection");
    client.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state).toBe("idle");
    expect(FakePeer.all.every((peer) => peer.closed)).toBe(true);
  });

  it("says that the server does not answer", async () => {
    answers.push(async () => {
      throw new TypeError("Failed to fetch");
    });
    const { client } = open();
    await settle();
    expect(client.problem?.problem).toMatchObject({ status: 0, detail: "http://host does not answer." });
    client.stop();
  });
});

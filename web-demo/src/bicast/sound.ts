/**
 * The sound of both paths. Until the user asks for sound the elements are muted, as browsers demand. From that gesture on there is
 * one WebAudio graph with a gain for each path, so that a cut is a ramp of a few milliseconds at the same media time and not two
 * elements that click. Where the graph does not run (no WebAudio, or a browser that keeps it suspended), the elements' own
 * switches do it.
 */

import type { Path } from "./leg";

/** Long enough not to click, short enough not to be heard. */
const RAMP_S = 0.005;
/** A context that is not running by then will not be: the elements' own sound is better than none. */
const RUNNING_PATIENCE_MS = 400;

interface Graph {
  readonly context: AudioContext;
  readonly master: GainNode;
  readonly gains: Readonly<Record<Path, GainNode>>;
  realtime: MediaStreamAudioSourceNode | null;
}

/** An element can be led into one graph only, and for good. */
const GRAPHS = new WeakMap<HTMLVideoElement, Graph>();

/** Switches the sound of two elements. */
export class Sound {
  #muted = true;
  #volume = 1;
  /** The path that is heard; null while a picture is held. */
  #open: Path | null = null;
  #stream: MediaStream | null = null;

  constructor(private readonly videos: Readonly<Record<Path, HTMLVideoElement>>) {
    this.#apply();
  }

  /** The graph's context, for who wants to look at it; null while the elements' own sound is used. */
  get context(): AudioContext | null {
    return this.#graph?.context ?? null;
  }

  /** The last node before the speakers. */
  get output(): AudioNode | null {
    return this.#graph?.master ?? null;
  }

  get muted(): boolean {
    return this.#muted;
  }

  /** Sound on or off. On is to be called from a gesture of the user. */
  setMuted(muted: boolean): void {
    this.#muted = muted;
    if (!muted) void this.#begin();
    this.#apply();
  }

  /** 0 to 1. */
  get volume(): number {
    return this.#volume;
  }

  set volume(volume: number) {
    this.#volume = Math.min(Math.max(volume, 0), 1);
    this.#apply();
  }

  /** The path that is to be heard from now on; null for none. */
  open(path: Path | null): void {
    this.#open = path;
    this.#apply();
  }

  /** The stream that the WebRTC element plays; each connection has its own. */
  setStream(stream: MediaStream | null): void {
    this.#stream = stream;
    this.#connectStream();
  }

  get #graph(): Graph | null {
    return GRAPHS.get(this.videos.hls) ?? null;
  }

  async #begin(): Promise<void> {
    const graph = this.#graph;
    if (graph) {
      await graph.context.resume().catch(() => {});
      return;
    }
    if (typeof AudioContext === "undefined") return;
    const context = new AudioContext({ latencyHint: "interactive" });
    const patience = new Promise((resolve) => setTimeout(resolve, RUNNING_PATIENCE_MS));
    await Promise.race([context.resume().catch(() => {}), patience]);
    // A suspended context would silence the element and stop its clock: an element is led in only where it plays on.
    if (context.state !== "running" || this.#graph) return void context.close();
    const master = context.createGain();
    master.connect(context.destination);
    const gain = () => {
      const node = context.createGain();
      node.gain.value = 0;
      node.connect(master);
      return node;
    };
    const gains = { realtime: gain(), hls: gain() };
    context.createMediaElementSource(this.videos.hls).connect(gains.hls);
    GRAPHS.set(this.videos.hls, { context, master, gains, realtime: null });
    this.#connectStream();
    this.#apply();
  }

  #connectStream(): void {
    const graph = this.#graph;
    if (!graph) return;
    graph.realtime?.disconnect();
    graph.realtime = null;
    if (!this.#stream || this.#stream.getAudioTracks().length === 0) return;
    graph.realtime = graph.context.createMediaStreamSource(this.#stream);
    graph.realtime.connect(graph.gains.realtime);
  }

  #apply(): void {
    const { realtime, hls } = this.videos;
    const graph = this.#graph;
    if (graph === null) {
      realtime.muted = this.#muted || this.#open !== "realtime";
      hls.muted = this.#muted || this.#open !== "hls";
      realtime.volume = this.#volume;
      hls.volume = this.#volume;
      return;
    }
    // The stream needs an element to flow, the graph is what is heard of it.
    realtime.muted = true;
    hls.muted = false;
    hls.volume = 1;
    const ramp = (node: GainNode, value: number) =>
      node.gain.setTargetAtTime(value, graph.context.currentTime, RAMP_S / 3);
    for (const path of ["realtime", "hls"] as const) ramp(graph.gains[path], this.#open === path ? 1 : 0);
    ramp(graph.master, this.#muted ? 0 : this.#volume);
  }
}

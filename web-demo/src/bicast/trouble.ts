/**
 * Whether a viewer's WebRTC line is in trouble, by what this browser sees of it. Pure: times in milliseconds on one clock. Two
 * questions with two answers: at the first sign HLS is loaded, which costs a little; only when the line fails does the picture leave it.
 */

/** How the line is doing. */
export type LineState = "fine" | "trouble" | "failing";

/** A verdict and, where it is not `fine`, why. */
export interface Verdict {
  readonly state: LineState;
  readonly reason: string | null;
}

/** What `getStats()` counts, as totals of one connection. Null where the browser does not say. */
export interface LineCounts {
  readonly packetsReceived: number | null;
  readonly packetsLost: number | null;
  readonly freezes: number | null;
  /** Milliseconds that the picture stood still in all. */
  readonly frozenMs: number | null;
}

/** What is known at a moment besides frames and counts. */
export interface LineFacts {
  /** Whether the page is in the background: no frames are shown there, whatever the line does. */
  readonly hidden: boolean;
  /** How the connection calls itself. */
  readonly link: "connected" | "connecting" | "broken";
  /** How much newer than the newest frame here what the server has is, in milliseconds; null while unknown. */
  readonly serverAheadMs: number | null;
}

/** A picture that stands this long, or for so many frames, is the first sign. */
const STILL_TROUBLE_MS = 350;
const STILL_TROUBLE_FRAMES = 8;
const STILL_FAILING_MS = 900;
const STILL_FAILING_FRAMES = 15;
/** Where the server has nothing newer, the source stands still and not the line. */
const SERVER_AHEAD_MS = 300;
/** Without word from the server, this long a still picture is taken for the line's fault. */
const UNTOLD_FAILING_MS = 2_500;
/** Share of packets lost. Repairs hide the lower one; with the upper one frames are missing all the time. */
const LOSS_TROUBLE = 0.03;
const LOSS_FAILING = 0.15;
/** Share of the last seconds in which the picture stood still. */
const FROZEN_FAILING = 0.25;
/** Losses and freezes are judged over this long. */
const COUNTS_MS = 4_000;
/** Fewer packets than these say nothing about a share. */
const PACKETS_ENOUGH = 50;
/** Looks that come this much later than the one before were not kept from coming by the line. */
const ASLEEP_MS = 1_500;
/** Trouble counts as over when there was none for this long. */
const CALM_MS = 10_000;

interface Sample extends LineCounts {
  readonly at: number;
}

/** Watches one connection; a new connection needs a new one. */
export class LineWatch {
  #lastFrameAt: number | null = null;
  /** The usual distance of frames: grows slowly, so that a stall is not taken for a slow source. */
  #frameMs = 33;
  #samples: Sample[] = [];
  #troubleAt: number | null = null;
  #seenAt = 0;
  #lookedAt: number | null = null;
  #reason: string | null = null;

  /** So many frames came since the last call. */
  frames(at: number, count = 1): void {
    const step = this.#lastFrameAt === null ? null : (at - this.#lastFrameAt) / count;
    if (step !== null && step > 0 && step < 2_000) this.#frameMs += (step - this.#frameMs) * 0.05;
    this.#lastFrameAt = at;
  }

  /** New totals of the connection. */
  counts(at: number, counts: LineCounts): void {
    const before = this.#samples.at(-1);
    // Counters that went back belong to another connection.
    if (before && (counts.packetsReceived ?? 0) < (before.packetsReceived ?? 0)) this.#samples = [];
    this.#samples.push({ at, ...counts });
    while ((this.#samples[1]?.at ?? at) < at - COUNTS_MS) this.#samples.shift();
  }

  /** Since when there has been trouble without a break of {@link CALM_MS}; null where there is none. */
  get since(): number | null {
    return this.#troubleAt;
  }

  /** How the line is doing now. */
  look(now: number, facts: LineFacts): Verdict {
    // The machine slept, or the page was not let run: that no frames came meanwhile says nothing about the line.
    if (this.#lookedAt !== null && now - this.#lookedAt > ASLEEP_MS && this.#lastFrameAt !== null)
      this.#lastFrameAt = now;
    this.#lookedAt = now;
    const found = this.#judge(now, facts);
    if (found.state !== "fine") {
      this.#troubleAt ??= now;
      this.#seenAt = now;
      this.#reason = found.reason;
      return found;
    }
    if (this.#troubleAt !== null && now - this.#seenAt < CALM_MS)
      return { state: "trouble", reason: this.#reason };
    this.#troubleAt = null;
    this.#reason = null;
    return found;
  }

  #judge(now: number, facts: LineFacts): Verdict {
    // Before the first frame this is a join, not a line that fails: who waits for it knows how long.
    if (this.#lastFrameAt === null) return { state: "fine", reason: null };
    const ahead = facts.serverAheadMs;
    const still = facts.hidden ? 0 : now - this.#lastFrameAt;
    const newer = ahead === null ? still > UNTOLD_FAILING_MS : ahead > SERVER_AHEAD_MS;
    if (facts.link === "broken") {
      return newer || facts.hidden
        ? failing("the connection broke off")
        : trouble("the connection broke off");
    }
    const frozen = `no picture for ${Math.round(still / 100) / 10} s`;
    if (still > Math.max(STILL_FAILING_MS, STILL_FAILING_FRAMES * this.#frameMs) && newer)
      return failing(frozen);
    const lost = this.#lossShare();
    if (lost !== null && lost > LOSS_FAILING)
      return failing(`${Math.round(lost * 100)} % of packets are lost`);
    const frozenShare = this.#frozenShare();
    if (frozenShare !== null && frozenShare > FROZEN_FAILING) {
      return failing(`the picture stood still ${Math.round(frozenShare * 100)} % of the time`);
    }
    if (still > Math.max(STILL_TROUBLE_MS, STILL_TROUBLE_FRAMES * this.#frameMs)) return trouble(frozen);
    if (lost !== null && lost > LOSS_TROUBLE)
      return trouble(`${Math.round(lost * 100)} % of packets are lost`);
    if (this.#grown("freezes") > 0) return trouble("the picture stood still");
    return { state: "fine", reason: null };
  }

  #lossShare(): number | null {
    const lost = Math.max(this.#grown("packetsLost"), 0);
    const all = this.#grown("packetsReceived") + lost;
    return all < PACKETS_ENOUGH ? null : lost / all;
  }

  #frozenShare(): number | null {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (!first || !last || last.at - first.at < COUNTS_MS / 2) return null;
    return this.#grown("frozenMs") / (last.at - first.at);
  }

  /** How much a counter grew over what is kept. */
  #grown(member: keyof LineCounts): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    return (last?.[member] ?? 0) - (first?.[member] ?? 0);
  }
}

function trouble(reason: string): Verdict {
  return { state: "trouble", reason };
}

function failing(reason: string): Verdict {
  return { state: "failing", reason };
}

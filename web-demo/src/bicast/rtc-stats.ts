/**
 * What `RTCPeerConnection.getStats()` says, as the numbers people ask for. Pure: a report and the one before it in, rates out.
 */

/** One entry of a report: the members differ by `type` (webrtc-stats), so they are read by name. */
export interface RtcStat {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** A browser's report as a list. */
export function listStats(report: { forEach(each: (stat: RtcStat) => void): void }): RtcStat[] {
  const stats: RtcStat[] = [];
  report.forEach((stat) => {
    stats.push(stat);
  });
  return stats;
}

/** What a viewer's connection does. Null where the browser does not say. */
export interface ViewerRtcStats {
  readonly codec: string | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly fps: number | null;
  /** Bits per second, sound and picture, since the report before. */
  readonly bitrateBps: number | null;
  /** Mean time that video frames spent in the jitter buffer since the report before. */
  readonly jitterBufferMs: number | null;
  /** Mean decoding time of a frame since the report before. */
  readonly decodeMs: number | null;
  readonly framesDropped: number | null;
  readonly freezes: number | null;
  /** Milliseconds that the picture stood still in all. */
  readonly frozenMs: number | null;
  readonly packetsReceived: number | null;
  readonly packetsLost: number | null;
  readonly nacks: number | null;
  readonly rttMs: number | null;
}

/** What a publisher's connection does. Null where the browser does not say. */
export interface SenderRtcStats {
  readonly codec: string | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly fps: number | null;
  readonly bitrateBps: number | null;
  /** What the congestion control thinks the way can carry. */
  readonly availableBps: number | null;
  /** Mean encoding time of a frame since the report before. */
  readonly encodeMs: number | null;
  /** `none`, `cpu`, `bandwidth` or `other`: why the encoder does less than it was asked to. */
  readonly limitedBy: string | null;
  readonly framesEncoded: number | null;
  readonly keyFrames: number | null;
  readonly rttMs: number | null;
  /** Share of packets lost on the way, 0 to 1, by the server's last receiver report. */
  readonly lossShare: number | null;
  readonly nacks: number | null;
  readonly plis: number | null;
  readonly retransmitted: number | null;
}

/** Reads a viewer's report; `before` is the one before it, for the rates. */
export function viewerStats(now: readonly RtcStat[], before: readonly RtcStat[] | null): ViewerRtcStats {
  const video = new Pair(find(now, "inbound-rtp", "video"), find(before, "inbound-rtp", "video"));
  const audio = new Pair(find(now, "inbound-rtp", "audio"), find(before, "inbound-rtp", "audio"));
  return {
    codec: codecOf(now, video.now),
    width: video.value("frameWidth"),
    height: video.value("frameHeight"),
    fps: video.value("framesPerSecond"),
    bitrateBps: sum(video.bitrate("bytesReceived"), audio.bitrate("bytesReceived")),
    jitterBufferMs: ms(video.mean("jitterBufferDelay", "jitterBufferEmittedCount")),
    decodeMs: ms(video.mean("totalDecodeTime", "framesDecoded")),
    framesDropped: video.value("framesDropped"),
    freezes: video.value("freezeCount"),
    frozenMs: ms(video.value("totalFreezesDuration")),
    packetsReceived: video.value("packetsReceived"),
    packetsLost: video.value("packetsLost"),
    nacks: video.value("nackCount"),
    rttMs: ms(value(selectedPair(now), "currentRoundTripTime")),
  };
}

/** Reads a publisher's report; `before` is the one before it, for the rates. */
export function senderStats(now: readonly RtcStat[], before: readonly RtcStat[] | null): SenderRtcStats {
  const video = new Pair(find(now, "outbound-rtp", "video"), find(before, "outbound-rtp", "video"));
  const audio = new Pair(find(now, "outbound-rtp", "audio"), find(before, "outbound-rtp", "audio"));
  const remote = find(now, "remote-inbound-rtp", "video") ?? find(now, "remote-inbound-rtp", "audio");
  const pair = selectedPair(now);
  const limitedBy = video.now?.qualityLimitationReason;
  return {
    codec: codecOf(now, video.now),
    width: video.value("frameWidth"),
    height: video.value("frameHeight"),
    fps: video.value("framesPerSecond"),
    bitrateBps: sum(video.bitrate("bytesSent"), audio.bitrate("bytesSent")),
    availableBps: value(pair, "availableOutgoingBitrate"),
    encodeMs: ms(video.mean("totalEncodeTime", "framesEncoded")),
    limitedBy: typeof limitedBy === "string" ? limitedBy : null,
    framesEncoded: video.value("framesEncoded"),
    keyFrames: video.value("keyFramesEncoded"),
    rttMs: ms(value(remote, "roundTripTime") ?? value(pair, "currentRoundTripTime")),
    lossShare: value(remote, "fractionLost"),
    nacks: video.value("nackCount"),
    plis: video.value("pliCount"),
    retransmitted: video.value("retransmittedPacketsSent"),
  };
}

/** The same entry in this report and in the one before. */
class Pair {
  constructor(
    readonly now: RtcStat | null,
    readonly before: RtcStat | null,
  ) {}

  value(member: string): number | null {
    return value(this.now, member);
  }

  /** Bits per second that the byte counter `member` grew. */
  bitrate(member: string): number | null {
    const bytes = this.grown(member);
    const elapsed = this.grown("timestamp");
    return bytes === null || elapsed === null || elapsed <= 0 ? null : (bytes * 8 * 1000) / elapsed;
  }

  /** How much `total` grew for each one that `count` grew. */
  mean(total: string, count: string): number | null {
    const sums = this.grown(total);
    const counts = this.grown(count);
    return sums === null || counts === null || counts <= 0 ? null : sums / counts;
  }

  /** A counter that went back belongs to a new connection: nothing can be said yet. */
  private grown(member: string): number | null {
    const now = value(this.now, member);
    const before = value(this.before, member);
    if (now === null || before === null || this.now?.id !== this.before?.id) return null;
    return now < before ? null : now - before;
  }
}

function value(stat: RtcStat | null, member: string): number | null {
  const found = stat?.[member];
  return typeof found === "number" && Number.isFinite(found) ? found : null;
}

function find(report: readonly RtcStat[] | null, type: string, kind: string): RtcStat | null {
  return report?.find((stat) => stat.type === type && stat.kind === kind) ?? null;
}

function selectedPair(report: readonly RtcStat[]): RtcStat | null {
  const transport = report.find((stat) => stat.type === "transport");
  const id = transport?.selectedCandidatePairId;
  return (
    report.find((stat) => stat.type === "candidate-pair" && stat.id === id) ??
    report.find((stat) => stat.type === "candidate-pair" && stat.nominated === true) ??
    null
  );
}

function codecOf(report: readonly RtcStat[], rtp: RtcStat | null): string | null {
  const codec = report.find((stat) => stat.type === "codec" && stat.id === rtp?.codecId);
  const mime = codec?.mimeType;
  return typeof mime === "string" ? mime.replace(/^video\//i, "") : null;
}

function ms(seconds: number | null): number | null {
  return seconds === null ? null : seconds * 1000;
}

function sum(a: number | null, b: number | null): number | null {
  return a === null && b === null ? null : (a ?? 0) + (b ?? 0);
}

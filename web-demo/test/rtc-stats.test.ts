import { describe, expect, it } from "vitest";
import { type RtcStat, senderStats, viewerStats } from "../src/bicast/rtc-stats";

const at = (seconds: number, frames: number, bytes: number, id = "IT01"): RtcStat[] => [
  { type: "codec", id: "C1", mimeType: "video/H264" },
  {
    type: "inbound-rtp",
    id,
    kind: "video",
    timestamp: seconds * 1000,
    codecId: "C1",
    frameWidth: 1280,
    frameHeight: 720,
    framesPerSecond: 30,
    bytesReceived: bytes,
    framesDecoded: frames,
    totalDecodeTime: frames * 0.002,
    jitterBufferDelay: frames * 0.025,
    jitterBufferEmittedCount: frames,
    framesDropped: 1,
    packetsLost: 3,
  },
  { type: "inbound-rtp", id: "IA", kind: "audio", timestamp: seconds * 1000, bytesReceived: seconds * 8_000 },
  { type: "transport", id: "T", selectedCandidatePairId: "P2" },
  { type: "candidate-pair", id: "P1", nominated: true, currentRoundTripTime: 9 },
  { type: "candidate-pair", id: "P2", nominated: true, currentRoundTripTime: 0.0006 },
];

describe("viewerStats", () => {
  it("turns counters into rates", () => {
    const stats = viewerStats(at(11, 60, 625_000), at(10, 30, 312_500));
    expect(stats.bitrateBps).toBeCloseTo(2_500_000 + 64_000, 6);
    expect(stats.jitterBufferMs).toBeCloseTo(25, 6);
    expect(stats.decodeMs).toBeCloseTo(2, 6);
    expect(stats.rttMs).toBeCloseTo(0.6, 6);
    expect(stats).toMatchObject({
      codec: "H264",
      width: 1280,
      height: 720,
      fps: 30,
      framesDropped: 1,
      packetsLost: 3,
    });
  });

  it("knows no rate from one report, from a new connection or from a counter that went back", () => {
    expect(viewerStats(at(10, 30, 312_500), null).bitrateBps).toBeNull();
    expect(viewerStats(at(11, 5, 10, "IT02"), at(10, 30, 312_500)).decodeMs).toBeNull();
    expect(viewerStats(at(11, 5, 10), at(10, 30, 312_500)).jitterBufferMs).toBeNull();
  });

  it("says nothing where the browser says nothing", () => {
    expect(Object.values(viewerStats([], null)).every((value) => value === null)).toBe(true);
    expect(Object.values(senderStats([], null)).every((value) => value === null)).toBe(true);
  });
});

describe("senderStats", () => {
  it("reads what is asked about a publisher", () => {
    const report = (seconds: number, frames: number): RtcStat[] => [
      {
        type: "outbound-rtp",
        id: "OT",
        kind: "video",
        timestamp: seconds * 1000,
        bytesSent: frames * 10_000,
        framesEncoded: frames,
        totalEncodeTime: frames * 0.004,
        qualityLimitationReason: "cpu",
        nackCount: 2,
        pliCount: 5,
      },
      { type: "remote-inbound-rtp", id: "R", kind: "video", roundTripTime: 0.02, fractionLost: 0.01 },
      { type: "candidate-pair", id: "P", nominated: true, availableOutgoingBitrate: 4_000_000 },
    ];
    const stats = senderStats(report(12, 60), report(10, 0));
    expect(stats.bitrateBps).toBeCloseTo(2_400_000, 6);
    expect(stats.encodeMs).toBeCloseTo(4, 6);
    expect(stats).toMatchObject({
      limitedBy: "cpu",
      rttMs: 20,
      lossShare: 0.01,
      availableBps: 4e6,
      nacks: 2,
      plis: 5,
    });
  });
});

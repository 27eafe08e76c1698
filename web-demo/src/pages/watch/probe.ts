/**
 * `window.__bicast`: what the page measures, read-only, for tests and for the curious. Nothing on the page depends on it.
 *
 * ```js
 * __bicast.feed                          // the newest GET /v1/feeds/{id}, or null
 * __bicast.clock                         // {offsetMs, errorMs, samples}: server minus this browser, or null
 * __bicast.serverNow()                   // UTC in ms by the server's clock, or null
 * __bicast.legs.realtime.state           // idle connecting waiting live stalled retrying failed ended
 * __bicast.legs.hls.last                 // newest ShownFrame {mediaTime, programTime, latencyMs, shownAt, presented, raw}
 * __bicast.legs.realtime.frames()        // the last 1800 or so of them: mediaTime is exact, ticks of 1/90000 s
 * __bicast.legs.realtime.latency(10000)  // {p50, p95, count} of the last 10 s, ingest to glass, in ms
 * __bicast.legs.realtime.readings()      // barcodes: {frame, drawnAt, ageMs, rtpTimestamp, seconds, mediaTime, at}
 * __bicast.legs.realtime.firstFrameMs    // from start to the first frame on the screen
 * __bicast.player                        // {bridge, visible, chosen, lastSwitch, last} of the switchable player, or null
 * ```
 */

import type { FeedWatcher } from "../../bicast/feed-watcher";
import { HlsLeg, type Leg, type Path } from "../../bicast/leg";
import { localNow } from "../../bicast/server-clock";
import { mediaTime, unwrapRtp } from "../../bicast/timeline";
import type { GlassReading } from "./glass";
import type { LegCard } from "./leg-card";
import type { Switcher } from "./switcher";

/** Puts the probe on `window`. */
export function exposeProbe(watcher: FeedWatcher, cards: readonly LegCard[], switcher: Switcher): void {
  const legs: Partial<Record<Path, object>> = {};
  for (const card of cards) legs[card.leg.path] = legProbe(card);
  const probe = {
    version: 1,
    get feed() {
      return watcher.feed;
    },
    get clock() {
      return watcher.clock.quality;
    },
    serverNow: () => watcher.clock.now(),
    legs: Object.freeze(legs),
    get player() {
      const { player } = switcher;
      if (!player) return null;
      const { state, visible, chosen, lastSwitch } = player;
      return {
        bridge: state,
        visible: visible?.path ?? null,
        leg: visible?.state ?? null,
        chosen,
        lastSwitch,
        last: visible?.frames.last ?? null,
      };
    },
  };
  Object.defineProperty(window, "__bicast", { value: Object.freeze(probe), enumerable: true });
}

function legProbe(card: LegCard): object {
  const { leg } = card;
  return Object.freeze({
    get state() {
      return leg.state;
    },
    get problem() {
      return leg.problem?.problem ?? null;
    },
    get stats() {
      return leg.stats;
    },
    get last() {
      return leg.frames.last;
    },
    /** Frame callbacks so far. */
    get count() {
      return leg.frames.count;
    },
    get firstFrameMs() {
      const { firstAt } = leg.frames;
      return firstAt === null || leg.startedAt === null ? null : firstAt - leg.startedAt;
    },
    frames: () => [...leg.frames.frames],
    latency: (lastMs: number) => leg.frames.latency.summary(localNow(), lastMs),
    readings: () =>
      (card.glass?.readings ?? []).map((reading) => ({ ...reading, mediaTime: mediaTimeOf(leg, reading) })),
  });
}

/** The position of the very frame whose barcode was read. */
function mediaTimeOf(leg: Leg, reading: GlassReading): number | null {
  if (leg instanceof HlsLeg) return leg.mediaTimeAt(reading.seconds);
  const near = leg.frames.last?.mediaTime;
  if (reading.rtpTimestamp === null) return null;
  return unwrapRtp(reading.rtpTimestamp, near ?? mediaTime(reading.rtpTimestamp));
}

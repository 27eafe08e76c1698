/** Bad networks with names, and what a network does in words. Pure. */

import type { Feed } from "../../rest/feed-wire";
import type { Network } from "../../rest/lines-wire";

/** A line that does nothing. */
export const GOOD: Network = { lossRatio: 0, delayMs: 0, jitterMs: 0, rateKbps: null, udp: true };

/** A network with a name. */
export interface Preset {
  readonly id: string;
  readonly name: string;
  readonly network: Network;
}

/** What the buttons offer. */
export const PRESETS: readonly Preset[] = [
  { id: "good", name: "Good", network: GOOD },
  {
    id: "train",
    name: "Train ride",
    network: { ...GOOD, lossRatio: 0.01, delayMs: 40, jitterMs: 200, rateKbps: 6_000 },
  },
  { id: "loss5", name: "5 % loss", network: { ...GOOD, lossRatio: 0.05 } },
  { id: "loss30", name: "30 % loss", network: { ...GOOD, lossRatio: 0.3 } },
  { id: "slow", name: "Slow", network: { ...GOOD, rateKbps: 500 } },
  { id: "far", name: "Far away", network: { ...GOOD, delayMs: 150 } },
  { id: "no-udp", name: "No UDP", network: { ...GOOD, udp: false } },
];

/** Which preset a network is; null where it is none of them. */
export function presetOf(network: Network): Preset | null {
  const same = (one: Network) =>
    (Object.keys(GOOD) as (keyof Network)[]).every((key) => one[key] === network[key]);
  return PRESETS.find((preset) => same(preset.network)) ?? null;
}

/** What a network does, in a sentence. */
export function networkWords({ lossRatio, delayMs, jitterMs, rateKbps, udp }: Network): string {
  const parts = [
    !udp && "no UDP passes",
    lossRatio > 0 && `${percent(lossRatio)} of packets are lost each way`,
    delayMs > 0 && `${delayMs * 2} ms round trip are added`,
    jitterMs > 0 && `packets come up to ${jitterMs} ms late`,
    rateKbps !== null && `${rateWords(rateKbps)} at most`,
  ].filter((part): part is string => part !== false);
  if (parts.length === 0) return "Nothing is in the way.";
  const said = parts.join(", ");
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}.`;
}

/** What it does to TCP, which loses nothing; null where there is nothing to explain. */
export function tcpWords({ lossRatio, udp }: Network): string | null {
  if (!udp) return "LL-HLS runs over TCP and does not notice.";
  return lossRatio > 0
    ? "Over TCP (LL-HLS) nothing is lost: it is sent again, so loss shows as waiting."
    : null;
}

/** That a rate is below what the feed has at least; null where it is not, or not known. */
export function tooSlowWords({ rateKbps }: Network, neededKbps: number | null): string | null {
  if (rateKbps === null || neededKbps === null || rateKbps >= neededKbps) return null;
  return `The feed has ${rateWords(Math.round(neededKbps))}: over this line no path can carry it, and the picture has to stand still.`;
}

/** The least that a viewer of this feed is sent: the lowest layer of its picture, and its sound; null before that is measured. */
export function neededKbps({ tracks }: Pick<Feed, "tracks">): number | null {
  const lowest = tracks.flatMap(({ renditions }) => {
    const rates = renditions.flatMap(({ bandwidth }) => (bandwidth === null ? [] : [bandwidth]));
    return rates.length === 0 ? [] : [Math.min(...rates)];
  });
  return lowest.length === 0 ? null : lowest.reduce((sum, rate) => sum + rate, 0) / 1_000;
}

/** `5 %`, `0.5 %`. */
export function percent(share: number): string {
  const value = share * 100;
  return `${value < 10 && !Number.isInteger(value) ? value.toFixed(1) : Math.round(value)} %`;
}

/** `500 kbit/s`, `2.5 Mbit/s`. */
export function rateWords(kbps: number | null): string {
  if (kbps === null) return "no limit";
  return kbps < 1_000 ? `${kbps} kbit/s` : `${Number((kbps / 1_000).toFixed(1))} Mbit/s`;
}

/** Rates that the slider stops at; the last one is no limit. */
export const RATES: readonly (number | null)[] = [
  64,
  128,
  250,
  500,
  750,
  1_000,
  1_500,
  2_000,
  3_000,
  4_000,
  6_000,
  10_000,
  20_000,
  50_000,
  null,
];

/** The slider's stop that is nearest to a rate. */
export function rateStop(kbps: number | null): number {
  if (kbps === null) return RATES.length - 1;
  const off = (rate: number | null) =>
    rate === null ? Number.POSITIVE_INFINITY : Math.abs(Math.log(rate / kbps));
  return RATES.reduce<number>(
    (best, rate, index) => (off(rate) < off(RATES[best] ?? null) ? index : best),
    0,
  );
}

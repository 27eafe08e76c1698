/** What the player knows of itself, as lines of text. Pure but for the player that it reads. */

import type { PathPlayer } from "./path-player";
import { pathName, span } from "./words";

const number = (value: number | null, digits = 0) => (value === null ? "–" : value.toFixed(digits));

/** Names and values, in the order in which they are shown. */
export function statLines(player: PathPlayer, now: number): readonly (readonly [string, string])[] {
  const leg = player.visible;
  if (leg === null) return [];
  const { stats } = leg;
  const lost = stats.packetsLost;
  const all = lost === null ? null : lost + (stats.packetsReceived ?? 0);
  const level = leg.path === "hls" ? player.legs.hls.link.levels : null;
  const layer = level && level.list.length > 1 ? `, layer ${level.playing + 1} of ${level.list.length}` : "";
  const { line } = player;
  return [
    ["Path", `${pathName(leg.path)} (${player.state})`],
    ["Why", player.reason],
    ["Line", `${line.state}${line.reason ? `: ${line.reason}` : ""}`],
    ["Latency", span(leg.frames.latency.now(now))],
    ["Behind live", span(player.behindLiveMs)],
    [
      "Picture",
      `${number(stats.width)} × ${number(stats.height)}, ${number(stats.fps, 1)} fps, ${stats.codec ?? "–"}${layer}`,
    ],
    [
      "Rate",
      `${number(stats.bitrateBps === null ? null : stats.bitrateBps / 1e6, 2)} Mbit/s, × ${number(stats.playbackRate, 2)}`,
    ],
    ["Buffer", span(stats.bufferMs)],
    [
      "Lost",
      all === null || lost === null
        ? `${number(stats.dropped)} frames dropped`
        : `${lost} of ${all} packets, ${number(stats.dropped)} frames dropped`,
    ],
    ["Stood still", `${number(stats.freezes)} times`],
    ...player.switches
      .slice(-4)
      .reverse()
      .map(
        (one) =>
          [
            `→ ${pathName(one.to)}`,
            `${one.exact ? "same frame" : one.jumpMs === null ? "no gap known" : `gap ${span(one.jumpMs)}`}, still ${span(one.stillMs)}, ${span(now - one.at)} ago: ${one.reason}`,
          ] as const,
      ),
  ];
}

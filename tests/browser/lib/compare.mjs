// What both paths say of the same frames.

import assert from 'node:assert/strict';

const WRAP = 2 ** 32;

/**
 * Compares every frame that Chromium decoded from WebRTC with the frame of the same number in CMAF: the RTP timestamp
 * must be the presentation time modulo 2^32. Returns how many were compared.
 */
export function compareTimes(frames, held) {
  // Where a frame came incomplete the packager repeats the one before it: a loss, which `holes` counts, not another time.
  const filled = new Set(held.frames.filter((frame, n) => n > 0 && frame.number === held.frames[n - 1].number));
  const byTime = new Map(held.frames.map((frame) => [((frame.time % WRAP) + WRAP) % WRAP, frame]));
  const inWindow = (rtp) => {
    const [oldest, newest] = [held.frames[0].time, held.frames.at(-1).time];
    const since = (((rtp - oldest) % WRAP) + WRAP) % WRAP;
    return since <= newest - oldest;
  };
  let compared = 0;
  for (const { rtp, number } of frames) {
    if (number === null) continue;
    const same = byTime.get(rtp);
    if (same && filled.has(same)) continue;
    if (same) {
      assert.equal(same.number, number, `RTP timestamp ${rtp} is frame ${number} in WebRTC and ${same.number} in CMAF`);
      compared++;
    } else {
      // Older than the window or not packaged yet is fine; in the window without a frame of that time is not.
      assert.ok(!inWindow(rtp), `frame ${number} is at ${rtp} in WebRTC; CMAF has none at that time`);
    }
  }
  return compared;
}

/** How many frames that CMAF has are missing among those decoded, and how many were decoded twice. */
export function lostAndRepeated(frames, held) {
  const seen = frames.map((frame) => frame.rtp);
  const times = held.frames.map((frame) => ((frame.time % WRAP) + WRAP) % WRAP);
  const first = times.indexOf(seen.find((rtp) => times.includes(rtp)));
  const last = times.indexOf(seen.findLast((rtp) => times.includes(rtp)));
  assert.ok(first >= 0, `of ${seen.length} decoded frames none is among the ${times.length} of CMAF: nothing to compare`);
  const had = new Set(seen);
  const lost = times.slice(first, last + 1).filter((time) => !had.has(time)).length;
  return { lost, repeated: seen.length - had.size, of: last + 1 - first };
}

/** Numbers in CMAF: how many are left out and how many come twice. A publisher that starts anew begins at 0 again. */
export function holes(held) {
  let [lost, repeated] = [0, 0];
  held.frames.slice(1).forEach((frame, n) => {
    const before = held.frames[n];
    if (frame.number === null || before.number === null || frame.number < before.number) return;
    if (frame.number === before.number) repeated++;
    lost += Math.max(0, frame.number - before.number - 1);
  });
  return { lost, repeated };
}

/**
 * What hls.js put on the screen, by the numbers in the pictures. `presentedFrames` counts also those paints that the
 * page had no time to look at, so a frame is lost only where fewer were painted than numbers went by.
 */
export function paintedLosses(painted) {
  let [lost, repeated] = [0, 0];
  const known = painted.filter((frame) => frame.number !== null);
  assert.ok(known.length > 1, `of ${painted.length} painted frames ${known.length} could be read: nothing to count`);
  for (let n = 1; n < known.length; n++) {
    const [before, now] = [known[n - 1], known[n]];
    if (now.number < before.number) continue;
    if (now.number === before.number && now.mediaTime !== before.mediaTime) repeated++;
    lost += Math.max(0, now.number - before.number - (now.presented - before.presented));
  }
  return { lost, repeated };
}

/** The value below which `share` of the values lie. */
export function percentile(values, share) {
  const sorted = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];
}

// What both paths say of the same frames.

import assert from 'node:assert/strict';

const WRAP = 2 ** 32;

/** A presentation time as the RTP timestamp of the same frame. */
const asRtp = (time) => ((time % WRAP) + WRAP) % WRAP;

/** The publisher's own frames, without the still ones with which bicast fills up where none came. */
export const published = (held) => held.frames.filter((frame) => !frame.still);

/**
 * Compares every frame that Chromium decoded from WebRTC with the frame of the same number in CMAF: the RTP timestamp
 * must be the presentation time modulo 2^32. Returns how many were compared.
 */
export function compareTimes(frames, held) {
  const byTime = new Map(held.frames.map((frame) => [asRtp(frame.time), frame]));
  const inWindow = (rtp) => {
    const [oldest, newest] = [held.frames[0].time, held.frames.at(-1).time];
    const since = (((rtp - oldest) % WRAP) + WRAP) % WRAP;
    return since <= newest - oldest;
  };
  let compared = 0;
  for (const { rtp, number } of frames) {
    if (number === null) continue;
    const same = byTime.get(rtp);
    // Where a frame came incomplete there is a still frame instead: a loss, which `holes` counts, not another time.
    if (same?.still) continue;
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
  const times = published(held).map((frame) => asRtp(frame.time));
  const first = times.indexOf(seen.find((rtp) => times.includes(rtp)));
  const last = times.indexOf(seen.findLast((rtp) => times.includes(rtp)));
  assert.ok(first >= 0, `of ${seen.length} decoded frames none is among the ${times.length} of CMAF: nothing to compare`);
  const had = new Set(seen);
  const lost = times.slice(first, last + 1).filter((time) => !had.has(time)).length;
  return { lost, repeated: seen.length - had.size, of: last + 1 - first };
}

/**
 * How many frames of CMAF a viewer over WebRTC has to have received by now who was given `frames` to see: those from the
 * keyframe that he began with. `open` of them are newer than what he saw last, so that he may not have them.
 */
export function toBeReceived(frames, held) {
  const ours = published(held);
  const at = (rtp) => ours.findIndex((frame) => asRtp(frame.time) === rtp);
  const [seen, last] = [at(frames[0].rtp), at(frames.at(-1).rtp)];
  assert.ok(seen >= 0 && last >= seen, 'the first and the last frame seen are in CMAF');
  // Chromium may have dropped the first ones; it received them from a keyframe on.
  const first = ours.findLastIndex((frame, n) => n <= seen && frame.key);
  assert.ok(first >= 0, 'a keyframe that the viewer can have begun with');
  return { count: ours.length - first, open: ours.length - 1 - last };
}

/**
 * Numbers in CMAF: how many are left out, how many come twice, and how many still frames fill up what is left out. A
 * publisher that starts anew begins at 0 again.
 */
export function holes(held) {
  const ours = published(held);
  let [lost, repeated] = [0, 0];
  ours.slice(1).forEach((frame, n) => {
    const before = ours[n];
    if (frame.number === null || before.number === null || frame.number < before.number) return;
    if (frame.number === before.number) repeated++;
    lost += Math.max(0, frame.number - before.number - 1);
  });
  return { lost, repeated, stills: held.frames.length - ours.length };
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

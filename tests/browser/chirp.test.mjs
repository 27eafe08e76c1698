// The reader of sounds that tell their own time, against sounds that were cut by hand.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chirp, PERIOD, silence } from './lib/chirp.mjs';

const RATE = 48_000;

/** So much sound from media time `from` on, then silence, then sound from `to` on; a little noise over all of it. */
function cutSound(from, heardSeconds, silentSeconds, to) {
  const heard = heardSeconds * RATE;
  const back = heard + silentSeconds * RATE;
  return Float32Array.from({ length: back + RATE }, (_, n) => {
    const media = n < heard ? from + n / RATE : n >= back ? to + (n - back) / RATE : null;
    return (media === null ? 0 : chirp(media)) + (Math.sin(n * 12.9898) * 43758.5453 % 1) * 0.002;
  });
}

describe('sound that tells its time', () => {
  for (const [what, lost] of [['nothing', 0], ['60 ms lost', 0.06], ['35 ms heard again', -0.035], ['more than a second lost', 1.3]]) {
    test(`${what} at a silence`, () => {
      for (const from of [0.2, 1.7, PERIOD - 1.05, 11.3]) {
        const found = silence(cutSound(from, 1, 0.9, from + 1 + lost), RATE, 0.1, 2.5);
        assert.ok(found, 'the silence is found');
        assert.ok(Math.abs(found.silentMs - 900) < 6, `${found.silentMs} ms silent`);
        assert.ok(Math.abs(found.lostMs - lost * 1000) < 8, `${found.lostMs} ms lost, ${lost * 1000} were taken out, from ${from} s`);
      }
    });
  }

  test('no silence, or no sound behind it, is no reading', () => {
    const whole = cutSound(0, 2, 0, 2);
    assert.equal(silence(whole, RATE, 0.1, 1.9), null);
    assert.equal(silence(new Float32Array(3 * RATE), RATE, 0.1, 2.9), null);
  });
});

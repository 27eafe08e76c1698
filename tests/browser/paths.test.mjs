// One feed, both paths, one Chromium: the same frames with the same times, none lost, none twice, and viewers who stay
// when the publisher dies.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { barePages, launch } from './lib/browser.mjs';
import { compareTimes, holes, lostAndRepeated } from './lib/compare.mjs';
import { sleep, until } from './lib/process.mjs';
import { heldByHls, serve } from './lib/server.mjs';

const PATTERN = ['--test-pattern', '--size', '640x360', '--bitrate', '800k'];

/** Both viewers in one page. */
async function watchBoth(pages, browser, server, host) {
  const page = await pages.open(browser);
  await page.evaluate(
    async ([whep, hls]) => {
      window.realtime = await peers.watchWhep(whep, document.querySelector('#first'));
      window.hls = peers.watchHls(hls, document.querySelector('#second'));
    },
    [server.url('/whep/test', host), server.url('/hls/test/multivariant.m3u8', host)],
  );
  return page;
}

const decoded = (page) => page.evaluate(() => realtime.frames);
const painted = (page) => page.evaluate(() => hls.painted);
const lastPainted = (page) => page.evaluate(() => hls.painted.at(-1) ?? null);

/** Frames decoded so far, and those that Chromium says it received and dropped. */
const received = (page) =>
  page.evaluate(async () => {
    const reports = [...(await realtime.pc.getStats()).values()];
    const inbound = reports.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    return { frames: realtime.frames.length, dropped: inbound?.framesDropped ?? 0 };
  });

describe('one feed in Chromium over', { timeout: 300_000 }, () => {
  let browser;
  let pages;
  before(async () => {
    browser = await launch();
    pages = await barePages();
  });
  after(async () => {
    await browser?.close();
    await pages?.close();
  });

  for (const host of ['127.0.0.1', '[::1]']) {
    test(`${host}: every frame has one time on both paths, none is lost, none comes twice`, async () => {
      const server = await serve();
      try {
        server.publish('test', PATTERN, host);
        await server.live('test');
        const page = await watchBoth(pages, browser, server, host);
        await until('HLS plays', async () => (await lastPainted(page))?.number > 0);
        // The first seconds are the catching up of a join: a decoder jumps over old frames when a keyframe comes.
        await until('the join is over', async () => (await received(page)).frames > 120);
        const from = await received(page);
        await sleep(host === '127.0.0.1' ? 60_000 : 15_000);
        const held = (await heldByHls(server.url('/hls/test/multivariant.m3u8'))).video;
        const frames = await decoded(page);
        const compared = compareTimes(frames, held);
        const enough = host === '127.0.0.1' ? 1_500 : 350;
        assert.ok(compared > enough, `only ${compared} of ${frames.length} frames were compared`);
        assert.equal(held.holes, null);
        assert.deepEqual(holes(held), { lost: 0, repeated: 0 }, 'CMAF, by the numbers in the pictures');
        // What a busy browser received and did not decode it counts itself: that is no loss of the path.
        const dropped = (await received(page)).dropped - from.dropped;
        const { lost, repeated, of } = lostAndRepeated(frames.slice(from.frames), held);
        assert.ok(lost <= dropped, `WebRTC: ${lost} of ${of} frames lost, ${dropped} dropped by Chromium itself`);
        assert.equal(repeated, 0, `WebRTC, of ${of} frames`);

        // hls.js: it played without a break, and what it painted are those very frames in their order.
        const { errors, stalls } = await page.evaluate(() => ({ errors: hls.errors, stalls: hls.stalls }));
        assert.deepEqual(errors.filter((error) => error.fatal), []);
        const seen = (await painted(page)).filter((frame) => frame.number !== null);
        assert.ok(seen.length > enough / 2, `hls.js painted ${seen.length} frames; stalls: ${stalls}`);
        for (let n = 1; n < seen.length; n++) {
          assert.ok(seen[n].number >= seen[n - 1].number, `frame ${seen[n].number} after ${seen[n - 1].number}`);
        }
        const behind = frames.at(-1).number - seen.at(-1).number;
        assert.ok(behind > 0 && behind < 30 * 8, `HLS is ${behind} frames behind WebRTC`);
        await page.close();
      } finally {
        await server.close();
      }
    });
  }

  test('a publisher is killed and starts anew: both viewers go on without a reload, the times still hold', async () => {
    const server = await serve();
    try {
      const first = server.publish('test', PATTERN);
      await server.live('test');
      const page = await watchBoth(pages, browser, server);
      await until('HLS plays', async () => (await lastPainted(page))?.number > 60);
      await first.kill();
      const had = (await decoded(page)).length;
      // The server has to notice that it is gone; until then a second publisher is refused.
      let second;
      await until('a publisher is let in again', async () => {
        if (!second?.running()) second = server.publish('test', PATTERN);
        await sleep(1_000);
        return second.running() && (await server.feed('test')).epoch === 1 && (await server.feed('test')).state === 'live';
      });
      await until('WebRTC goes on', async () => (await decoded(page)).length > had + 240);
      // Numbers begin at 0 again: small ones after the restart are the second publisher's.
      await until('HLS goes on', async () => {
        const seen = await painted(page);
        const restart = seen.findLastIndex((frame, n) => n > 0 && frame.number < seen[n - 1].number);
        return restart > 0 && seen.at(-1).number > 60;
      });
      const held = (await heldByHls(server.url('/hls/test/multivariant.m3u8'))).video;
      const frames = await decoded(page);
      const compared = compareTimes(frames.slice(had + 1), held);
      assert.ok(compared > 150, `only ${compared} frames of the second publisher were compared`);
      assert.ok(held.discontinuities >= 1, 'a new publisher begins with a discontinuity');
      assert.equal(held.holes, null);
      await page.close();
    } finally {
      await server.close();
    }
  });
});

// One feed, both paths, one Chromium: the same frames with the same times, none lost, none twice, and viewers who stay
// when the publisher dies.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { barePages, launch } from './lib/browser.mjs';
import { compareTimes, holes, lostAndRepeated, toBeReceived } from './lib/compare.mjs';
import { sleep, until } from './lib/process.mjs';
import { endAndCount, heldByHls, serve } from './lib/server.mjs';

const PATTERN = ['--json', '--test-pattern', '--size', '640x360', '--bitrate', '800k'];

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

/** What Chromium itself counts of the video over WebRTC. */
const received = (page) =>
  page.evaluate(async () => {
    const reports = [...(await realtime.pc.getStats()).values()];
    return reports.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
  });

/** Waits until nothing is on its way to the page any more: the publisher has ended. */
async function settled(page) {
  let before = '';
  await until('all that was received was decoded or dropped', async () => {
    const { framesReceived, framesDecoded, framesDropped } = await received(page);
    const listed = await page.evaluate(() => realtime.frames.length);
    const now = `${framesReceived} ${framesDecoded} ${framesDropped} ${listed}`;
    const quiet = now === before;
    before = now;
    await sleep(300);
    return quiet && framesReceived === framesDecoded + framesDropped;
  });
}

/** How many frames HLS is behind WebRTC on the screen: what was shown of both at the time of the last HLS frame. */
function behindOnScreen({ realtime, hls }) {
  const readable = (frames) => frames.filter((frame) => frame.number !== null);
  const late = readable(hls).at(-1);
  const live = readable(realtime).findLast((frame) => frame.shown <= late.shown);
  return live.number - late.number;
}

describe('one feed in Chromium over', { timeout: 900_000 }, () => {
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
    test(`${host}: every frame has one time on both paths, none is lost, none comes twice`, async (t) => {
      const server = await serve();
      try {
        const publisher = server.publish('test', PATTERN, host);
        await server.live('test');
        const page = await watchBoth(pages, browser, server, host);
        // A minute of IPv4 and a quarter of one of IPv6, longer where Chromium has not the time to show them all.
        const enough = host === '127.0.0.1' ? 1_800 : 450;
        const count = () => page.evaluate(() => [realtime.frames.length, hls.painted.length]);
        await until(
          'both have shown enough frames',
          async () => {
            const [overWebrtc, overHls] = await count();
            return overWebrtc > enough && overHls > enough / 3;
          },
          240,
        );
        const shown = await page.evaluate(() => ({ realtime: realtime.painted, hls: hls.painted }));
        const { errors, stalls } = await page.evaluate(() => ({ errors: hls.errors, stalls: hls.stalls }));
        // Once it has ended, its counts are of all that it sent, and all of it is on both paths.
        const { skipped } = await endAndCount(publisher);
        await settled(page);
        const [frames, stats] = [await decoded(page), await received(page)];
        const held = (await heldByHls(server.url('/hls/test/multivariant.m3u8'))).video;

        const compared = compareTimes(frames, held);
        assert.ok(compared > enough * 0.8, `only ${compared} of ${frames.length} frames were compared`);
        // By the numbers in the pictures CMAF has every frame but those that the publisher itself left out on a busy machine.
        assert.equal(held.holes, null);
        const { lost, repeated, stills } = holes(held);
        assert.ok(lost <= skipped, `CMAF: ${lost} frames are missing, ${skipped} were left out by the publisher`);
        assert.equal(repeated, 0, 'frames that are twice in CMAF');
        assert.ok(stills === 0 || skipped > 0, `CMAF: ${stills} still frames in a feed without a hole`);

        // Chromium received every one of these frames whole. What it then drops or does not hand to the page, as it does on a
        // busy machine, is no loss of the path.
        const { count: wanted, open } = toBeReceived(frames, held);
        const { framesReceived, framesDecoded, framesDropped, packetsLost, nackCount } = stats;
        assert.ok(
          framesReceived <= wanted && framesReceived >= wanted - open,
          `WebRTC: CMAF has ${wanted} frames, Chromium received ${framesReceived} (of the last ${open} it showed none)`,
        );
        const unseen = lostAndRepeated(frames, held);
        assert.equal(unseen.repeated, 0, `WebRTC, of ${unseen.of} frames`);
        t.diagnostic(
          `WebRTC: ${framesReceived} frames received of ${wanted}; Chromium dropped ${framesDropped} and handed ` +
            `${framesDecoded - frames.length} decoded ones not to the page; ${packetsLost} packets lost, ${nackCount} NACKs`,
        );
        t.diagnostic(`HLS: ${skipped} left out by the publisher, ${lost} missing, ${stills} still frames; ${stalls} stalls`);

        // Sender reports and their answers give pages the time of capture on their own clock: the one that the picture itself shows.
        const told = shown.realtime.filter((frame) => frame.captured !== undefined && frame.age !== null);
        assert.ok(told.length > shown.realtime.length / 2, `captureTime on ${told.length} of ${shown.realtime.length} frames`);
        const apart = told.map((frame) => Math.abs(frame.shown - frame.captured - frame.age)).sort((a, b) => a - b);
        const usual = apart[Math.floor(apart.length / 2)];
        assert.ok(usual < 500, `captureTime is ${Math.round(usual)} ms from the clock in the picture`);
        t.diagnostic(`captureTime is ${Math.round(usual)} ms from the clock in the picture (median)`);

        // hls.js: it played without a break, and what it painted are those very frames in their order.
        assert.deepEqual(errors.filter((error) => error.fatal), []);
        const seen = shown.hls.filter((frame) => frame.number !== null);
        assert.ok(seen.length > enough / 4, `hls.js painted ${seen.length} frames; stalls: ${stalls}`);
        for (let n = 1; n < seen.length; n++) {
          assert.ok(seen[n].number >= seen[n - 1].number, `frame ${seen[n].number} after ${seen[n - 1].number}`);
        }
        const behind = behindOnScreen(shown);
        assert.ok(behind > 0 && behind < 30 * 30, `HLS is ${behind} frames behind WebRTC`);
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
      const restart = frames.findLastIndex((frame, n) => n > 0 && frame.number < frames[n - 1].number);
      assert.ok(restart > 0, 'numbers begin again over WebRTC, too');
      const compared = compareTimes(frames.slice(restart), held);
      assert.ok(compared > 150, `only ${compared} frames of the second publisher were compared`);
      assert.ok(held.discontinuities >= 1, 'a new publisher begins with a discontinuity');
      assert.equal(held.holes, null);
      await page.close();
    } finally {
      await server.close();
    }
  });
});

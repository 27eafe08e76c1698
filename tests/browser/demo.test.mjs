// The pages as a person uses them, in a real Chromium against a real server: publish, find, watch, switch, stop.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { barePages, launch } from './lib/browser.mjs';
import { compareTimes, published } from './lib/compare.mjs';
import { byId, checkWidth, openPage, shoot, text } from './lib/pages.mjs';
import { until } from './lib/process.mjs';
import { heldByHls, serve } from './lib/server.mjs';

/** The times of every number in a row of frames. */
function timesOf(frames) {
  const times = new Map();
  for (const { number, time } of frames) times.set(number, [...(times.get(number) ?? []), time]);
  return times;
}

describe('the demo', { timeout: 900_000 }, () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(async () => browser?.close());

  test('says what to do where nothing is on', async () => {
    const server = await serve();
    try {
      const { page, context, errors } = await openPage(browser, server.url('/'));
      await until('the list says that nothing is on', async () => /nothing/i.test(await text(page, 'feeds-summary')));
      assert.ok(await byId(page, 'how-to-publish').isVisible());
      await shoot(page, 'empty');
      await page.goto(server.url('/watch.html?feed=nobody'));
      await until('the page says that it is not on yet', async () => /not on yet/i.test(await page.locator('main').innerText()));
      await shoot(page, 'not-on');
      assert.deepEqual(errors, []);
      await context.close();
    } finally {
      await server.close();
    }
  });

  test('publishes from a browser, lists it, shows it on both paths on one timeline, and says when it stops', async (t) => {
    const server = await serve();
    const pages = await barePages();
    try {
      const sender = await openPage(browser, server.url('/publish.html?feed=show'));
      await sender.page.selectOption('select[name="size"]', '360p');
      await sender.page.fill('input[name="bitrate"]', '900');
      await byId(sender.page, 'publish-start').click();
      await until('the publish page says that it is live', async () => /is live/.test(await text(sender.page, 'publish-said')));
      await server.live('show');

      const list = await openPage(browser, server.url('/'));
      await until('the list has the feed', () => byId(list.page, 'feed-show').isVisible());
      assert.match(await text(list.page, 'feeds-summary'), /1 of 1 live/);
      await shoot(list.page, 'list');
      await list.context.close();

      const viewer = await openPage(browser, server.url('/watch.html?feed=show&barcode=all'));
      const { page } = viewer;
      for (const leg of ['realtime', 'hls']) {
        await until(`${leg} is live`, () => page.evaluate((name) => __bicast.legs[name].state === 'live', leg));
        await until(`${leg} shows its latency`, async () => /\d/.test(await text(page, `latency-${leg}`)));
        await until(`${leg} shows the resolution`, async () => /\d+\s*×\s*\d+/.test(await text(page, `${leg}-size`)));
      }
      // A third viewer, as bare as can be, tells what the frames really are.
      const bare = await pages.open(browser);
      await bare.evaluate(async (url) => {
        window.realtime = await peers.watchWhep(url, document.querySelector('#first'));
      }, server.url('/whep/show'));
      const read = () =>
        page.evaluate(() => ({
          realtime: __bicast.legs.realtime.readings(),
          hls: __bicast.legs.hls.readings(),
        }));
      // A quarter of a minute of frames, longer where Chromium has not the time to encode and show them all.
      await until(
        'enough frames were seen',
        async () => {
          const { realtime, hls } = await read();
          return (await bare.evaluate(() => realtime.frames.length)) > 450 && realtime.length > 60 && hls.length > 60;
        },
        180,
      );
      const frames = await bare.evaluate(() => realtime.frames);
      const readings = await read();
      const held = (await heldByHls(server.url('/hls/show/multivariant.m3u8'))).video;
      assert.equal(held.holes, null);
      const compared = compareTimes(frames, held);
      assert.ok(compared > 300, `only ${compared} of ${frames.length} frames of Chromium's encoder were compared`);

      // Every drawing has a number of its own, and every picture that was sent has one time: two of the publisher's pictures in CMAF
      // with one number and two times are one drawing that Chromium captured twice. A player may have shown either of them, so for
      // this number either time is right, and for all others exactly one. The page asks for one capture of each drawing, so there
      // may be few such numbers.
      const times = timesOf(published(held));
      const twice = [...times.values()].filter((list) => list.length > 1).length;
      assert.ok(twice <= 0.02 * times.size, `${twice} of ${times.size} drawings were captured twice`);
      // Only in CMAF there are still frames, marked as such, where a busy browser sent nothing: they show the number before them.
      const stills = timesOf(held.frames.filter((frame) => frame.still));
      t.diagnostic(`of ${times.size} drawings ${twice} were captured twice, ${stills.size} stood still in HLS`);
      for (const leg of ['realtime', 'hls']) {
        let right = 0;
        for (const { frame, mediaTime } of readings[leg]) {
          if (mediaTime === null || !times.has(frame)) continue;
          const known = [...times.get(frame), ...(leg === 'hls' ? (stills.get(frame) ?? []) : [])];
          assert.ok(known.some((time) => Math.abs(time - mediaTime) <= 1), `${leg}: frame ${frame} is ${known}, the page says ${mediaTime}`);
          right++;
        }
        assert.ok(right > 30, `${leg}: only ${right} of ${readings[leg].length} positions could be checked`);
      }
      await bare.close();

      // One player, two paths.
      await byId(page, 'open-player').click();
      await until('the player plays', () => page.evaluate(() => __bicast.player?.leg === 'live'));
      for (let turn = 0; turn < 2; turn++) {
        const from = await page.evaluate(() => __bicast.player.visible);
        await byId(page, 'switch-path').click();
        await until('the player is on the other path', () =>
          page.evaluate((was) => __bicast.player.visible !== was && __bicast.player.leg === 'live', from),
        );
      }
      await shoot(page, 'watch');
      await checkWidth(page, 'the watch page');

      // The publisher stops: the page says so, and goes on by itself when it comes back.
      await byId(sender.page, 'publish-stop').click();
      await until('the watch page waits', () => page.evaluate(() => __bicast.legs.realtime.state === 'waiting'));
      await shoot(page, 'offline');
      await byId(sender.page, 'publish-start').click();
      for (const leg of ['realtime', 'hls']) {
        await until(`${leg} is live again`, () => page.evaluate((name) => __bicast.legs[name].state === 'live', leg), 90);
      }
      assert.deepEqual([...viewer.errors, ...sender.errors], []);
      await viewer.context.close();
      await sender.context.close();
    } finally {
      await pages.close();
      await server.close();
    }
  });

  test('fits phones, in the dark and in the light', async () => {
    const server = await serve();
    try {
      server.publish('phone', ['--test-pattern', '--size', '640x360', '--bitrate', '800k']);
      await server.live('phone');
      for (const colorScheme of ['dark', 'light']) {
        const options = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme };
        const { page, context, errors } = await openPage(browser, server.url('/'), options);
        await until('the list has the feed', () => byId(page, 'feed-phone').isVisible());
        await checkWidth(page, 'the list');
        await shoot(page, `phone-list-${colorScheme}`);
        await page.goto(server.url('/watch.html?feed=phone'));
        await until('both paths play', () =>
          page.evaluate(() => ['realtime', 'hls'].every((leg) => __bicast.legs[leg].state === 'live')),
        );
        await checkWidth(page, 'the watch page');
        await shoot(page, `phone-watch-${colorScheme}`);
        await page.goto(server.url('/publish.html'));
        await checkWidth(page, 'the publish page');
        await shoot(page, `phone-publish-${colorScheme}`);
        assert.deepEqual(errors, []);
        await context.close();
      }
    } finally {
      await server.close();
    }
  });
});

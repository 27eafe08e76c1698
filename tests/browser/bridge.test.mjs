// The bridge in a real Chromium: what comes on the screen when a player goes from one path to the other, and back in time.
// scripts/bench-bridge measures it; here a few of each have to be right.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { blocked, comeBack, failover, goLive, judgeBlocked, judgeFailover, nearest, openPlayer, rewind } from './lib/bridge.mjs';
import { barePages, launch } from './lib/browser.mjs';
import { published } from './lib/compare.mjs';
import { sleep, until } from './lib/process.mjs';
import { relay } from './lib/relay.mjs';
import { heldByHls, serve } from './lib/server.mjs';

const PATTERN = ['--test-pattern', '--size', '640x360', '--bitrate', '800k'];

/** The publisher's frames in CMAF. */
const held = async (server) => published((await heldByHls(server.url('/hls/test/multivariant.m3u8'))).video).filter(({ number }) => number !== null);
const state = (page) => page.evaluate(() => player.state);

/** There and back so often. The bar is 95 of 100 (scripts/bench-bridge), which so few cannot tell: a way of cutting that is wrong is wrong in most. */
const TURNS = 4;
const most = (all, what, good) => {
  const count = all.filter(good).length;
  assert.ok(count * 2 >= all.length, `only ${count} of ${all.length}: ${what}`);
};

describe('the bridge', { timeout: 300_000 }, () => {
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

  test('goes to LL-HLS and back without losing, repeating or hiding a frame, and rewinds to the nearest one', async (t) => {
    const server = await serve();
    try {
      server.publish('test', PATTERN);
      await server.live('test');
      const { page, errors } = await openPlayer(browser, pages, server.url('/'), 'test', { path: 'auto' });
      await sleep(1_000);
      const [out, back] = [[], []];
      for (let turn = 0; turn < TURNS; turn++) {
        out.push(await failover(page));
        back.push(await comeBack(page));
      }
      await until('there are some seconds to go back to', async () => (await server.feed('test')).paths.hls.windowSeconds > 8);
      const rewound = await rewind(page, 6);
      await goLive(page);
      const frames = await held(server);
      const numbers = frames.map(({ number }) => number);

      assert.equal(out[0].loadedBefore, 0, 'HLS is not loaded before it is needed');
      const cuts = out.map((one) => ({ ...judgeFailover(one, numbers), told: one.told }));
      for (const { lost, repeated, of, black, told, missing } of cuts)
        t.diagnostic(`to HLS: ${lost} lost (${missing}), ${repeated} repeated of ${of}, ${black} without a frame; ${told.exact ? 'exact' : 'not exact'}, still for ${Math.round(told.stillMs)} ms`);
      assert.ok(cuts.every(({ of }) => of > 50), 'few frames were seen around a cut');
      most(cuts, 'a cut to HLS that loses, repeats and hides nothing, and is known to be exact', ({ lost, repeated, black, told }) => lost + repeated + black === 0 && told.exact);

      const returns = back.map(({ told, skipped, back: wentBack, black }) => ({ skipped, said: (told.jumpMs * 30) / 1000, wentBack, black }));
      for (const { skipped, said, wentBack, black } of returns) t.diagnostic(`back: ${skipped} frames skipped, ${said.toFixed(1)} said, ${wentBack} steps back, ${black} without a frame`);
      assert.ok(returns.every(({ skipped }) => skipped > 5), 'WebRTC is ahead of HLS');
      most(returns, 'a return that goes nowhere back and hides nothing', ({ wentBack, black }) => wentBack + black === 0);
      most(returns, 'a return whose gap is what was said, within two frames', ({ skipped, said }) => Math.abs(said - skipped) <= 2);
      assert.ok(rewound.told, 'the rewind came to an end');
      assert.ok(Math.abs(rewound.shown - nearest(frames, rewound.told.wanted)) <= 1, `frame ${rewound.shown} is shown, wanted is ${rewound.told.wanted}`);
      const asked = frames.find(({ number }) => number === rewound.before)?.time - 6 * 90_000;
      assert.ok(Math.abs(asked - rewound.told.wanted) < 3 * 3_000, `six seconds before frame ${rewound.before} is ${asked}, not ${rewound.told.wanted}`);
      assert.ok(rewound.black <= 1, `${rewound.black} pictures without a frame`);
      assert.deepEqual(errors, []);
      await page.close();
    } finally {
      await server.close();
    }
  });

  test('plays on over LL-HLS when UDP is suddenly blocked, and misses nothing where that is wanted', async (t) => {
    const server = await serve();
    const network = { loss: 0, delay: 0 };
    const between = await relay(server.url('/whep/test'), () => network);
    try {
      server.publish('test', PATTERN);
      await server.live('test');
      const { page, errors } = await openPlayer(browser, pages, between.url, 'test', { path: 'auto', 'miss-nothing': '' });
      await sleep(1_500);
      assert.equal(await state(page), 'live', 'a good line is left alone');
      const one = await blocked(page, network);
      const { lost, of, black, playingAfter } = judgeBlocked(one, (await held(server)).map(({ number }) => number));
      assert.ok(of > 50, `only ${of} frames were seen`);
      t.diagnostic(`${lost} frames lost, ${black} pictures without a frame`);
      assert.ok(lost <= 15 && black <= 1, `${lost} frames lost, ${black} pictures without a frame`);
      t.diagnostic(`moving again after ${Math.round(playingAfter)} ms (${one.told.reason})`);
      assert.deepEqual(errors, []);
      await page.close();
    } finally {
      await between.close();
      await server.close();
    }
  });

  test('obeys orders that come while it is busy, and survives a publisher that comes back meanwhile', async () => {
    const server = await serve();
    try {
      const first = server.publish('test', PATTERN);
      await server.live('test');
      const { page, errors } = await openPlayer(browser, pages, server.url('/'), 'test', { path: 'auto' });
      // Whatever comes on top of each other: the last order counts.
      await page.evaluate(async () => {
        const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        const orders = [
          () => player.switchTo('hls'),
          () => player.switchTo('realtime'),
          () => void player.rewind(2),
          () => player.pause(),
          () => player.play(),
          () => void player.step(-1),
          () => player.catchUpToLive('catch-up'),
          () => player.catchUpToLive('jump'),
        ];
        for (let n = 0; n < 40; n++) {
          orders[(n * 5 + (n >> 3)) % orders.length]();
          await wait((n % 5) * 60);
        }
        player.switchTo('hls');
      });
      await until('it is on HLS', async () => (await state(page)) === 'hls');
      await page.evaluate(() => player.switchTo('realtime'));
      await until('it is on WebRTC', () => page.evaluate(() => player.state === 'live' && player.visible.state === 'live'));

      // The publisher goes in mid-switch, and another one comes.
      await page.evaluate(() => player.switchTo('hls'));
      await first.kill();
      let second;
      await until('a publisher is let in again', async () => {
        if (!second?.running()) second = server.publish('test', PATTERN);
        await sleep(500);
        return second.running() && (await server.feed('test')).epoch === 1;
      });
      const seen = () => page.evaluate(() => player.position);
      const before = await seen();
      await until('the new publisher is shown over HLS', async () => (await state(page)) === 'hls' && (await seen()) > before + 3 * 90_000);
      assert.deepEqual(errors, []);
      await page.close();
    } finally {
      await server.close();
    }
  });
});

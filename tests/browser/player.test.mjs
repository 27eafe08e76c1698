// <bicast-player> on a customer's page: its controls, and feeds and moments that are not as one would wish them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { openPlayer } from './lib/bridge.mjs';
import { barePages, launch } from './lib/browser.mjs';
import { bicast, sleep, until } from './lib/process.mjs';
import { serve } from './lib/server.mjs';

const SECRET = 'a secret of tests that is long enough for HS256';
const PATTERN = ['--test-pattern', '--size', '320x180', '--bitrate', '300k'];

const state = (page) => page.evaluate(() => player.state);
const inside = (page, selector) => page.locator(`bicast-player ${selector}`);
/** Waits until more than so many seconds can be gone back over. */
const rewindable = (server, seconds, ask = {}) =>
  until('there are some seconds to go back to', async () => {
    const answer = await fetch(server.url('/v1/feeds/test'), ask);
    return answer.ok && (await answer.json()).paths.hls.windowSeconds > seconds;
  });
/** Goes back to live at once, and waits for it. */
const live = async (page) => {
  await page.evaluate(() => element.goLive('jump'));
  await until('it is live', () => page.evaluate(() => player.visible?.path === 'realtime' && player.following));
};
/** What stands over the picture; empty where nothing does. */
const words = (page) =>
  page.evaluate(() => {
    const overlay = element.shadowRoot.querySelector('.overlay');
    return overlay.dataset.shown === 'true' ? overlay.innerText.replace(/\s+/g, ' ') : '';
  });

describe('the player', { timeout: 300_000 }, () => {
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

  test('loads its menu, its statistics and its previews when it is touched, and they work', async () => {
    const server = await serve();
    try {
      server.publish('test', PATTERN);
      await server.live('test');
      const { page, errors } = await openPlayer(browser, pages, server.url('/'), 'test', { path: 'auto' });
      await page.setViewportSize({ width: 640, height: 360 });
      const extras = () => page.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => /\/extras-/.test(name)).length);
      assert.equal(await extras(), 0, 'nobody has touched it');
      await page.mouse.move(320, 180);
      await until('it is loaded', async () => (await extras()) === 1);

      await inside(page, '.menu').click();
      const menu = inside(page, '.popover');
      await until('the menu is open', () => menu.isVisible());
      assert.deepEqual(await menu.locator('[aria-checked=true]').allInnerTexts(), ['Auto', 'At once']);
      await menu.getByText('LL-HLS').click();
      await until('it goes to HLS', async () => (await state(page)) === 'hls');
      assert.ok(!(await menu.isVisible()), 'what was chosen closes the menu');
      await inside(page, '.path').click();
      await until('the menu is open', () => menu.isVisible());
      assert.deepEqual(await menu.locator('[aria-checked=true]').allInnerTexts(), ['LL-HLS', 'At once']);
      await page.keyboard.press('Escape');
      await until('the menu is closed', async () => !(await menu.isVisible()));

      await page.keyboard.press('i');
      await until('the statistics tell of the switch', async () => /→ LL-HLS\s+same frame/.test(await inside(page, '.stats').innerText()));
      await page.keyboard.press('i');
      await until('the statistics are gone', async () => !(await inside(page, '.stats').isVisible()));

      await until('there is something to go back to', async () => (await server.feed('test')).paths.hls.windowSeconds > 4);
      const bar = await inside(page, '.bar').boundingBox();
      await until('the tip has a picture', async () => {
        await page.mouse.move(bar.x + bar.width * (0.2 + Math.random() * 0.5), bar.y + bar.height / 2);
        await sleep(300);
        return inside(page, '.tip canvas').isVisible();
      });
      assert.match(await inside(page, '.tip span').innerText(), /^\d\d:\d\d:\d\d$/);
      const drawn = await inside(page, '.tip canvas').evaluate((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Set(data).size;
      });
      assert.ok(drawn > 8, `only ${drawn} values in the preview`);
      assert.deepEqual(errors, []);
      await page.close();
    } finally {
      await server.close();
    }
  });

  test('says that a feed of VP8 cannot be rewound, and plays on', async () => {
    const server = await serve();
    try {
      const sender = await pages.open(browser);
      await sender.evaluate(async (whip) => {
        const canvas = document.querySelector('canvas');
        [canvas.width, canvas.height] = [320, 180];
        window.sending = await peers.publish(whip, canvas, { bitrate: 400_000, fps: 15, codec: 'VP8' });
      }, server.url('/whip/test'));
      await until('it is known that HLS has no VP8', async () => /VP8/.test((await server.feed('test')).paths.hls.reason ?? ''));
      const { page, errors } = await openPlayer(browser, pages, server.url('/'), 'test', { path: 'auto' });
      const told = await page.evaluate(async () => {
        const gaveUp = [];
        element.addEventListener('bicast-gave-up', ({ detail }) => gaveUp.push(`${detail.path}: ${detail.problem.message}`));
        const outcome = await element.rewind(2);
        element.switchTo('hls');
        return { outcome, gaveUp, following: player.following };
      });
      assert.equal(told.outcome, null, 'the rewind comes to an end');
      assert.equal(told.gaveUp.length, 2);
      for (const why of told.gaveUp) assert.match(why, /^hls: .*VP8/);
      assert.ok(told.following, 'it is still at live');
      const shown = await page.evaluate(() => player.position);
      await until('the picture goes on', () => page.evaluate((shown) => player.state === 'live' && player.position > shown + 90_000, shown));
      assert.deepEqual(errors, []);
      await page.close();
      await sender.close();
    } finally {
      await server.close();
    }
  });

  test('says what is missing where a feed is of H.265 and the browser knows it over neither path', async () => {
    const server = await serve();
    try {
      server.publish('test', PATTERN);
      await server.live('test');
      const page = await browser.newPage();
      const errors = [];
      page.on('pageerror', (error) => errors.push(error.stack ?? String(error)));
      // As the server answers for such a feed.
      const cors = { 'access-control-allow-origin': '*' };
      await page.route('**/whep/**', (route) =>
        route.request().method() === 'OPTIONS'
          ? route.continue()
          : route.fulfill({
              status: 406,
              contentType: 'application/problem+json',
              headers: cors,
              body: JSON.stringify({ type: '/problems/no-common-codec', title: 'No codec in common', status: 406, detail: 'The feed is H.265.', hint: 'Use another browser.' }),
            }),
      );
      await page.route('**/multivariant.m3u8', async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, body: (await answer.text()).replace(/avc1\.[0-9a-f]+/gi, 'hvc1.1.6.L93.B0') });
      });
      await page.goto(`${pages.origin}player?${new URLSearchParams({ server: server.url('/'), feed: 'test', path: 'auto', join: 'no' })}`);
      await until('it tries HLS', async () => (await page.evaluate(() => window.player?.legs.hls.problem ?? null)) !== null);
      await until('it says so', async () => /codec/i.test(await words(page)));
      assert.ok(await inside(page, '.retry').isVisible(), 'and what can be done');
      // Neither path is asked without a pause.
      const asked = () => page.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => /whep|multivariant/.test(name)).length);
      const before = await asked();
      await sleep(3_000);
      assert.ok((await asked()) - before < 12, `${(await asked()) - before} requests in three seconds`);
      assert.deepEqual(errors, []);
      await page.close();
    } finally {
      await server.close();
    }
  });

  test('goes back to the very frame, twice, and over a slow line, too', async () => {
    const server = await serve();
    try {
      server.publish('test', PATTERN);
      await rewindable(server, 10);
      const { page, errors } = await openPlayer(browser, pages, server.url('/'), 'test', { path: 'auto' });
      const back = async () => {
        const rewound = await page.evaluate(() => element.rewind(5));
        assert.ok(rewound?.exact, `it is the wanted frame: ${JSON.stringify(rewound)}`);
        await live(page);
      };
      await back();
      // What was loaded for the way there and back begins in the middle of a segment, sound and picture each with its own part.
      await back();
      // Before the oldest picture there is the oldest one. Its parts are in no playlist any more, and its sound begins a little later.
      const oldest = await page.evaluate(async () => {
        await element.rewind(4);
        return Promise.race([element.rewind(1_000), new Promise((gaveUp) => setTimeout(gaveUp, 20_000, null))]);
      });
      assert.ok(oldest !== null && (await page.evaluate(() => element.behindLiveMs)) > 9_000, `it is the oldest: ${JSON.stringify(oldest)}`);
      await live(page);
      await page.route('**/hls/**', async (route) => {
        await sleep(500);
        await route.continue().catch(() => {});
      });
      await back();
      assert.deepEqual(errors, []);
      await page.close();
    } finally {
      await server.close();
    }
  });

  test('says why nothing more comes when its token ends while it has rewound', async () => {
    const env = { ...process.env, BICAST_AUTH__SECRET: SECRET };
    const mint = (...args) => execFileSync(bicast, ['token', 'mint', '--feed', 'test', ...args], { env, encoding: 'utf8' }).trim();
    const server = await serve({ set: [`auth.secret=${SECRET}`] });
    try {
      server.publish('test', [...PATTERN, '--token', mint('--rights', 'publish')]);
      const ask = { headers: { authorization: `Bearer ${mint('--rights', 'watch', '--tier', 'vip')}` } };
      await rewindable(server, 8, ask);
      const token = mint('--rights', 'watch', '--tier', 'vip', '--expires', '12s');
      const { page, errors } = await openPlayer(browser, pages, server.url('/'), 'test', { path: 'auto', token });
      const rewound = await page.evaluate(() => element.rewind(5));
      assert.ok(rewound?.exact, `the rewind ends at its frame: ${JSON.stringify(rewound)}`);
      await until('it says that the token is no good any more', async () => /token/i.test(await words(page)), 60);
      // And a new one is all that it takes.
      await page.evaluate((fresh) => element.setAttribute('token', fresh), mint('--rights', 'watch', '--tier', 'vip'));
      await until('it plays again', () => page.evaluate(() => element.player.visible?.state === 'live'));
      assert.deepEqual(errors, []);
      await page.close();
    } finally {
      await server.close();
    }
  });

  test('says that the feed has ended when that happens in the middle of a switch, and begins again with it', async () => {
    const server = await serve({ set: ['feed.publisher_grace=1'] });
    try {
      const publisher = server.publish('test', PATTERN);
      await server.live('test');
      const { page, errors } = await openPlayer(browser, pages, server.url('/'), 'test', { path: 'auto' });
      await page.evaluate(() => player.switchTo('hls'));
      await publisher.stop();
      await until('it says that it has ended', async () => /ended/i.test(await words(page)), 40);
      server.publish('test', PATTERN);
      const at = await page.evaluate(() => player.position);
      await until('the next one is shown', () => page.evaluate((at) => player.visible.state === 'live' && player.position !== at, at), 60);
      assert.deepEqual(errors, []);
      await page.close();
    } finally {
      await server.close();
    }
  });
});

// The pages that show bicast: VIP and free side by side with their timeline, and the operator's, against a real server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { byId, checkWidth, openPage, shoot, text } from './lib/pages.mjs';
import { bicast, until } from './lib/process.mjs';
import { serve } from './lib/server.mjs';

const PATTERN = ['--test-pattern', '--size', '640x360', '--bitrate', '600k'];
const FEED = 'show';
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const SECRET = 'a secret of tests that is long enough for HS256';

/** `1.24 s` and `84 ms` as milliseconds; null for a dash. */
function milliseconds(words) {
  const found = /^([\d.]+) (ms|s)$/.exec(words.trim());
  return found ? Number(found[1]) * (found[2] === 's' ? 1000 : 1) : null;
}

/** What one player of the comparison does. */
const player = (page, tier) =>
  page.evaluate((who) => {
    const inside = document.querySelector(`[data-testid="player-${who}"]`)?.player;
    const leg = inside?.visible;
    return leg ? { at: inside.state, path: leg.path, state: leg.state, frames: leg.frames.count } : null;
  }, tier);

const plays = (page, tier, path) =>
  until(`the ${tier} viewer plays over ${path}`, async () => {
    const found = await player(page, tier);
    return found?.path === path && found.state === 'live' ? found : null;
  });

describe('the pages', { timeout: 600_000 }, () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(async () => browser?.close());

  describe('of a server without tokens', () => {
    let server;
    before(async () => {
      server = await serve();
      server.publish(FEED, PATTERN);
      await server.live(FEED);
    });
    after(async () => server?.close());

    test('show VIP and free side by side on one timeline, and the operator moves a viewer by a click', async () => {
      const { page, context, errors } = await openPage(browser, server.url('/compare.html'));
      const vip = await plays(page, 'vip', 'realtime');
      const free = await plays(page, 'free', 'hls');
      for (const [tier, frames] of [
        ['vip', vip.frames],
        ['free', free.frames],
      ])
        await until(`the ${tier} viewer's picture moves on`, async () => (await player(page, tier)).frames > frames);
      assert.match(await text(page, 'why-vip'), /WebRTC is there for you/);
      assert.match(await text(page, 'why-free'), /tier is served over HLS/);
      assert.equal(await text(page, 'path-vip'), 'WebRTC');
      assert.equal(await text(page, 'path-free'), 'LL-HLS');
      // The free viewer never asked for WebRTC, not even at the beginning.
      const watching = (await server.json(`/v1/feeds/${FEED}/viewers`)).viewers;
      assert.deepEqual(
        watching.map(({ tier, path, switches }) => [tier, path, switches]).sort(),
        [
          ['free', 'hls', 0],
          ['vip', 'realtime', 0],
        ],
      );
      assert.match(await text(page, 'switch-list'), /No switch yet/);

      // One timeline: both edges and both viewers, the VIP nearer to live.
      const position = await until('the timeline has both edges and both viewers', async () => {
        const found = {};
        for (const key of ['edge-realtime', 'edge-hls', 'position-vip', 'position-free']) {
          found[key] = milliseconds(await text(page, key));
          if (found[key] === null) return null;
        }
        return found;
      });
      assert.ok(position['position-vip'] < position['position-free'], JSON.stringify(position));
      assert.ok(position['edge-realtime'] <= position['edge-hls'], JSON.stringify(position));
      assert.ok(position['edge-realtime'] <= position['position-vip'], JSON.stringify(position));
      assert.ok(position['edge-hls'] < position['position-free'], JSON.stringify(position));
      assert.match(await byId(page, 'timeline-picture').getAttribute('aria-label'), /VIP \S+ m?s behind now, Free \S+ m?s behind now/);
      for (const canvas of ['timeline-zoom', 'timeline-window']) {
        const colours = await until(`${canvas} is drawn`, () =>
          byId(page, canvas).evaluate((element) => {
            const { data } = element.getContext('2d').getImageData(0, 0, element.width, element.height);
            const seen = new Set();
            for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200) seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
            return seen.size > 3 ? [...seen] : null;
          }),
        );
        const wanted = await page.evaluate(() => {
          const style = getComputedStyle(document.querySelector('.timeline'));
          return ['--realtime-ink', '--hls-ink'].map((name) => style.getPropertyValue(name).match(/\d+/g).slice(0, 3).map(Number));
        });
        for (const [r, g, b] of wanted) assert.ok(colours.includes((r << 16) | (g << 8) | b), `${canvas} shows nothing in ${r}, ${g}, ${b}`);
      }
      // Without `--demo` it says how networks can be spoiled, and offers nothing that would not work.
      assert.match(await text(page, 'lines-off'), /bicast serve --demo/);
      assert.ok(!(await byId(page, 'network-vip').isVisible()));
      await checkWidth(page, 'the side by side page');
      await shoot(page, 'compare');

      const operator = await openPage(browser, server.url('/operate.html'));
      await until('it counts both viewers', async () => (await text(operator.page, 'total-viewers')) === '2');
      await until('both paths have one', async () =>
        [await text(operator.page, 'plot-viewers-realtime'), await text(operator.page, 'plot-viewers-hls')].every((count) => count === '1'),
      );
      await until('latencies of both paths are told', async () =>
        [await text(operator.page, 'plot-realtime-p95'), await text(operator.page, 'plot-hls-p95')].every((one) => milliseconds(one) > 0),
      );
      assert.match(await text(operator.page, 'reasons'), /WebRTC is there for you.*1 VIP/);
      const { viewers } = await server.json(`/v1/feeds/${FEED}/viewers?tier=vip`);
      const row = byId(operator.page, `row-${viewers[0].id}`);
      // A free viewer has no WebRTC to be moved to.
      await byId(operator.page, 'filter-tier').selectOption('free');
      await until('only the free viewer is listed', async () => (await text(operator.page, 'viewers-total')) === '1' && !(await row.isVisible()));
      assert.ok(await byId(operator.page, 'move-realtime').isDisabled());
      await byId(operator.page, 'filter-tier').selectOption('');
      await row.getByTestId('move-hls').click();
      await plays(page, 'vip', 'hls');
      await until('the page says who asked', async () => /It was asked for/.test(await text(page, 'why-vip')));
      await until('the switch is in the list with its gap', async () => /VIPLL-HLSno frame lost.*it was asked for/.test(await text(page, 'switch-list')));
      await until('the decision is listed', async () => /it was asked for/.test(await text(operator.page, 'decisions')));
      // The mark in the picture tells the same.
      const zoom = byId(page, 'timeline-zoom');
      await zoom.focus();
      await page.keyboard.press('ArrowLeft');
      await until('the mark is told', async () => /VIP → LL-HLSno frame lost/.test(await page.locator('.tl-tip').textContent()));
      await row.getByTestId('move-auto').click();
      await plays(page, 'vip', 'realtime');
      await until('both switches are listed', async () => (await byId(page, 'switch-list').locator('tbody tr').count()) === 2);
      await shoot(page, 'compare-moved');

      // Limits: set by the form, held by the server.
      await byId(operator.page, 'limits-edit').click();
      await byId(operator.page, 'limit-viewers').fill('7');
      await byId(operator.page, 'limits-save').click();
      await until('the limit holds', async () => (await server.json('/v1/admission')).limits.viewers === 7);
      await until('it is shown', async () => /1 of 7/.test(await text(operator.page, 'meter-viewers')));
      await byId(operator.page, 'limit-viewers').fill('');
      await byId(operator.page, 'limits-save').click();
      await until('it is gone again', async () => (await server.json('/v1/admission')).limits.viewers === undefined);

      // Ended by two clicks; the player joins again as another viewer.
      await row.getByTestId('end-viewer').click();
      await row.getByTestId('end-viewer').click();
      await until('another viewer is there', async () => {
        const now = (await server.json(`/v1/feeds/${FEED}/viewers?tier=vip`)).viewers;
        return now.length === 1 && now[0].id !== viewers[0].id;
      });
      await checkWidth(operator.page, "the operator's page");
      await shoot(operator.page, 'operate');
      assert.deepEqual([...errors, ...operator.errors], []);
      await operator.context.close();
      await context.close();
    });

    test('asks for nothing while nobody sees the page', async () => {
      const { page, context } = await openPage(browser, server.url('/operate.html'));
      await until('it shows something', async () => /up for/.test(await text(page, 'operate-lead')));
      let asked = 0;
      page.on('request', () => {
        asked += 1;
      });
      await page.evaluate(() => {
        Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true });
        window.away = true;
        document.dispatchEvent(new Event('visibilitychange'));
      });
      // What was on its way may come to its end.
      await page.waitForTimeout(500);
      const before = asked;
      await page.waitForTimeout(2_500);
      assert.equal(asked, before);
      await page.evaluate(() => {
        window.away = false;
        document.dispatchEvent(new Event('visibilitychange'));
      });
      await until('it asks again', () => asked > before);
      await context.close();
    });

    test('fit phones, in the dark and in the light', async () => {
      for (const colorScheme of ['dark', 'light']) {
        const { page, context, errors } = await openPage(browser, server.url('/compare.html'), { ...PHONE, colorScheme });
        await plays(page, 'free', 'hls');
        await checkWidth(page, 'the side by side page');
        await shoot(page, `phone-compare-${colorScheme}`);
        await page.goto(server.url('/operate.html'));
        await until('it shows the feed', async () => (await text(page, 'operate-feed')) === FEED);
        await checkWidth(page, "the operator's page");
        await shoot(page, `phone-operate-${colorScheme}`);
        assert.deepEqual(errors, []);
        await context.close();
      }
    });
  });

  test('say what to do where nothing is on', async () => {
    const server = await serve();
    try {
      const { page, context, errors } = await openPage(browser, server.url('/compare.html'));
      await until('it says how to begin', () => byId(page, 'nothing-on').isVisible());
      await shoot(page, 'compare-empty');
      await page.goto(server.url('/operate.html'));
      await until('it says that there are no feeds', () => byId(page, 'no-feeds').isVisible());
      await shoot(page, 'operate-empty');
      // The page begins by itself.
      await page.goto(server.url('/compare.html'));
      server.publish('late', PATTERN);
      await plays(page, 'free', 'hls');
      assert.deepEqual(errors, []);
      await context.close();
    } finally {
      await server.close();
    }
  });

  test('ask for a token where the server wants one, and forget it with the tab', async () => {
    const env = { ...process.env, BICAST_AUTH__SECRET: SECRET };
    const mint = (...args) => execFileSync(bicast, ['token', 'mint', ...args], { env, encoding: 'utf8' }).trim();
    const server = await serve({ set: [`auth.secret=${SECRET}`] });
    try {
      server.publish('demo', [...PATTERN, '--token', mint('--feed', 'demo', '--rights', 'publish')]);
      const admin = mint('--feed', '*', '--rights', 'admin');
      const vip = mint('--feed', 'demo', '--rights', 'watch', '--tier', 'vip', '--viewer', 'anna');
      const { page, context, errors } = await openPage(browser, server.url('/operate.html'));
      await until('it asks for a token', () => byId(page, 'token-admin').isVisible());
      await shoot(page, 'operate-token');
      await byId(page, 'token').fill(vip);
      await byId(page, 'token-use').click();
      await until('it says that this one does not reach so far', () => byId(page, 'token-admin').locator('.notice.error').isVisible());
      await byId(page, 'token').fill(admin);
      await byId(page, 'token-use').click();
      await until('it shows the feed', async () => (await text(page, 'operate-feed')) === 'demo');

      await page.goto(server.url('/compare.html?feed=demo'));
      await until("it asks for a viewer's token", () => byId(page, 'token-watch').isVisible());
      await byId(page, 'token').fill(vip);
      await byId(page, 'token-use').click();
      await plays(page, 'vip', 'realtime');
      await plays(page, 'free', 'hls');
      const kept = await page.evaluate(() => [Object.keys(sessionStorage).sort(), JSON.stringify(localStorage), document.cookie]);
      assert.deepEqual(kept, [['bicast-token-admin', 'bicast-token-watch'], '{}', '']);
      assert.deepEqual(errors, []);
      await context.close();
    } finally {
      await server.close();
    }
  });
});

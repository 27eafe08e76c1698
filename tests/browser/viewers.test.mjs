// A `<bicast-player>` that has joined: the service's decisions move it, its reports reach the service, and what the service sees of a
// bad line is the line that this Chromium has.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openPlayer } from './lib/bridge.mjs';
import { barePages, launch } from './lib/browser.mjs';
import { until } from './lib/process.mjs';
import { relay } from './lib/relay.mjs';
import { serve } from './lib/server.mjs';

const PATTERN = ['--json', '--test-pattern', '--size', '640x360', '--bitrate', '600k'];
const FEED = 'test';

describe('a viewer in Chromium', { timeout: 600_000 }, () => {
  let browser;
  let pages;
  let server;
  const api = async (path, method = 'GET', body = undefined) => {
    const answer = await fetch(server.url(path), { method, body });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
    return answer.status === 204 ? null : answer.json();
  };
  const joined = async () => (await api(`/v1/feeds/${FEED}/viewers`)).viewers.filter(({ tier }) => tier !== null);
  /** The one viewer that has joined, once it is as `wanted` says. */
  const viewer = (what, wanted) =>
    until(what, async () => {
      const [one] = await joined();
      return one && wanted(one) ? one : null;
    });

  before(async () => {
    browser = await launch();
    pages = await barePages();
    server = await serve();
    server.publish(FEED, PATTERN);
    await server.live(FEED);
  });
  after(async () => {
    await browser?.close();
    await pages?.close();
    await server?.stop();
  });

  test('joins, is moved by an operator to the frame, and reports how it goes', async () => {
    const { page, errors } = await openPlayer(browser, pages, server.url('/'), FEED, { path: 'auto' });
    try {
      const one = await viewer('its session is live and it has reported', ({ session, player }) => session?.state === 'live' && player?.report.latencyMs > 0);
      assert.equal(one.path, 'realtime');
      assert.equal(one.decision.reason, 'entitled');
      assert.equal(one.channels, 1);
      assert.ok(one.player.report.mediaTime > 0 && one.player.report.atLiveEdge, JSON.stringify(one.player));
      const own = `/v1/feeds/${FEED}/viewers/${one.id}`;
      await api(own, 'PATCH', JSON.stringify({ path: 'hls' }));
      const told = await until('it plays over HLS', () => page.evaluate(() => player.state === 'hls' && player.lastSwitch));
      assert.ok(told.exact, `not to the frame: ${JSON.stringify(told)}`);
      assert.equal(told.reason, 'it was asked for');
      await viewer('it says so', ({ player }) => player.report.path === 'hls');
      await api(own, 'PATCH', JSON.stringify({ path: 'auto' }));
      await until('it plays over WebRTC again', () => page.evaluate(() => player.state === 'live'));
      // Who goes to HLS of its own accord has lost nothing: the way back stays open, however often.
      for (let turn = 0; turn < 4; turn++) {
        await page.evaluate(() => player.switchTo('hls'));
        await viewer('it has closed its session', ({ session, ordered }) => session === null && ordered === 'hls');
        await until('it plays over HLS', () => page.evaluate(() => player.state === 'hls'));
        await page.evaluate(() => (player.auto(), player.catchUpToLive('jump')));
        await until('it is back', () => page.evaluate(() => player.state === 'live'), 15);
      }
      const again = await viewer('the service decides again', ({ ordered }) => ordered === null);
      assert.equal(again.decision.reason, 'entitled');
      await until('its latency is counted', async () => (await api(`/v1/feeds/${FEED}/audience`)).latency.length > 0);
      await api(own, 'DELETE');
      await viewer('it has joined again', ({ id }) => id !== one.id);
      assert.deepEqual(errors, []);
      await page.goto('about:blank');
      await until('it has left', async () => (await joined()).length === 0);
    } finally {
      await page.close();
    }
  });

  for (const [what, bad, reasons] of [
    ['loses 30 %', { loss: 0.3 }, ['loss', 'loss-unrepaired', 'connection-lost', 'freezes']],
    // The picture has 600 kbit/s and is the only layer there is.
    ['takes two thirds of the picture', { rate: 400_000 }, ['rate-below-lowest-layer', 'loss', 'round-trip', 'connection-lost', 'freezes']],
  ]) {
    test(`is moved off a line that ${what}, and back when that is good again`, async (t) => {
      const network = { loss: 0, delay: 10 };
      const line = await relay(server.url(`/whep/${FEED}`), () => network);
      const { page } = await openPlayer(browser, pages, line.url, FEED, { path: 'auto' });
      try {
        const one = await viewer('its session is live', ({ session }) => session?.state === 'live' && session.roundTripMs !== null);
        assert.equal(one.path, 'realtime');
        await until('it has settled', async () => (await joined())[0]?.session.seconds > 8);
        Object.assign(network, bad);
        const onset = Date.now();
        const moved = await viewer('it is moved to HLS', ({ path }) => path === 'hls');
        assert.ok(reasons.includes(moved.decision.reason), JSON.stringify(moved.decision));
        t.diagnostic(`decided ${Date.parse(moved.decision.since) - onset} ms after the onset: ${moved.decision.reason}`);
        const { lossRatio, nackRecovery, estimateBps, lowestLayerBps } = moved.decision.evidence.measured;
        t.diagnostic(`measured then: ${JSON.stringify({ lossRatio, nackRecovery, estimateBps, lowestLayerBps })}`);
        const shown = await until('it plays over HLS', () => page.evaluate(() => player.state === 'hls' && player.lastSwitch));
        t.diagnostic(`HLS was shown ${Math.round(shown.at - onset)} ms after the onset: ${shown.reason}`);
        Object.assign(network, { loss: 0, rate: undefined });
        const good = Date.now();
        const back = await viewer('it is moved back', ({ path }) => path === 'realtime');
        assert.equal(back.decision.reason, 'returned');
        t.diagnostic(`moved back ${Date.parse(back.decision.since) - good} ms after the line was good again`);
        await until('it plays over WebRTC again', () => page.evaluate(() => player.state === 'live'));
        await page.goto('about:blank');
        await until('it has left', async () => (await joined()).length === 0);
      } finally {
        await page.close();
        await line.close();
      }
    });
  }

  test('is served over HLS from the beginning where nothing gets through', async (t) => {
    const line = await relay(server.url(`/whep/${FEED}`), () => ({ loss: 1, delay: 0 }));
    const { page } = await openPlayer(browser, pages, line.url, FEED, { path: 'auto' });
    try {
      const one = await viewer('it is served over HLS', ({ path }) => path === 'hls');
      assert.equal(one.decision.reason, 'udp-blocked');
      t.diagnostic(`decided ${Date.parse(one.decision.since) - Date.parse(one.joined)} ms after it joined`);
      await until('it plays over HLS', () => page.evaluate(() => player.state === 'hls'));
      await page.goto('about:blank');
      await until('it has left', async () => (await joined()).length === 0);
    } finally {
      await page.close();
      await line.close();
    }
  });
});

// Debian's Firefox, which has no H.264 for WebRTC: it watches a VP8 feed of Chromium's, and publishes one that Chromium watches.
// Every frame that both browsers see has one RTP timestamp.

import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { barePages, launch } from './lib/browser.mjs';
import { firefoxIsMissing, launchFirefox } from './lib/firefox.mjs';
import { until } from './lib/process.mjs';
import { serve } from './lib/server.mjs';

// Firefox gathers no candidate on loopback, whatever its preferences say; from any other address it reaches 127.0.0.1.
const loopbackOnly = Object.values(networkInterfaces())
  .flat()
  .every(({ internal }) => internal);
const skip = loopbackOnly ? 'this machine has only loopback addresses, which Firefox does not use for WebRTC' : firefoxIsMissing();

const FPS = 15;

describe('Firefox', { timeout: 180_000, skip }, () => {
  const browsers = {};
  let pages;
  let server;
  before(async () => {
    pages = await barePages();
    server = await serve();
    browsers.firefox = await launchFirefox();
    browsers.chromium = await launch();
  });
  after(async () => {
    for (const browser of Object.values(browsers)) await browser.close();
    await pages?.close();
    await server?.close();
  });

  /** Publishes 320x180 in VP8 from a page of the browser. */
  async function publish(browser, id, sound = true) {
    const page = await pages.open(browser);
    await page.evaluate(
      async ([whip, settings]) => {
        const canvas = document.querySelector('canvas');
        [canvas.width, canvas.height] = [320, 180];
        window.sending = await peers.publish(whip, canvas, { bitrate: 400_000, codec: 'VP8', ...settings });
        return null;
      },
      [server.url(`/whip/${id}`), { fps: FPS, sound }],
    );
    await until('the feed is live', async () => (await server.feed(id)).state === 'live');
    const { tracks } = await server.feed(id);
    assert.deepEqual(tracks.map(({ codec }) => codec), ['vp8', 'opus']);
    return page;
  }

  /** Watches in a page of the browser. */
  async function watch(browser, id) {
    const page = await pages.open(browser);
    await page.evaluate(
      async (whep) => {
        // Firefox cannot read a track frame by frame; what it paints can be read in both.
        const decoded = 'MediaStreamTrackProcessor' in window;
        window.viewer = await peers.watchWhep(whep, document.querySelector('#first'), { decoded });
        return null;
      },
      server.url(`/whep/${id}`),
    );
    return page;
  }

  /** What it has shown: number in the picture, RTP timestamp. */
  const shown = async (page) => {
    const frames = await page.evaluate(() => viewer.painted.map(({ number, rtp }) => ({ number, rtp })));
    return frames.filter(({ number }) => number !== null);
  };

  test('watches VP8 that Chromium publishes: the same frames at the same times as Chromium sees', async () => {
    const publisher = await publish(browsers.chromium, 'chromium');
    const [firefox, chromium] = [await watch(browsers.firefox, 'chromium'), await watch(browsers.chromium, 'chromium')];
    await until('Firefox shows three seconds', async () => (await shown(firefox)).length > 3 * FPS);
    const frames = await shown(firefox);
    // What it showed first, Chromium may not have seen: that joined later.
    const times = new Map((await chromium.evaluate(() => viewer.frames)).map(({ number, rtp }) => [number, rtp]));
    const common = frames.filter(({ number }) => times.has(number));
    for (const { number, rtp } of common) assert.equal(rtp, times.get(number), `frame ${number}`);
    assert.ok(common.length > FPS, `only ${common.length} of ${frames.length} frames were seen by both`);
    for (let n = 1; n < frames.length; n++) {
      assert.ok(frames[n].number >= frames[n - 1].number, `frame ${frames[n].number} after ${frames[n - 1].number}`);
    }
    await until('Firefox hears the tone', () =>
      firefox.evaluate(async () => {
        const reports = [...(await viewer.pc.getStats()).values()];
        return reports.some(({ kind, totalAudioEnergy }) => kind === 'audio' && totalAudioEnergy > 0);
      }),
    );
    for (const page of [firefox, chromium, publisher]) await page.close();
  });

  test('publishes VP8 that Chromium watches', async () => {
    const publisher = await publish(browsers.firefox, 'firefox', 'microphone');
    const viewer = await watch(browsers.chromium, 'firefox');
    await until('Chromium shows three seconds', async () => (await shown(viewer)).length > 3 * FPS);
    // A muted element's sound does not count in Chromium's statistics: listen to it.
    const [loudness] = await viewer.evaluate(() => {
      return peers.loudness(viewer.pc.getReceivers().find(({ track }) => track.kind === 'audio').track);
    });
    assert.ok(loudness > 0.01, `the tone is heard: ${loudness}`);
    const { paths } = await server.feed('firefox');
    assert.match(paths.hls.reason, /^Only the sound is on HLS: VP8/);
    for (const page of [viewer, publisher]) await page.close();
  });
});

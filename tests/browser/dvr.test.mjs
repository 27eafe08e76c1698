// A gateway with a DVR that is stopped and started: who watches over HLS plays on without loading anything anew.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { until } from './lib/process.mjs';
import { serve } from './lib/server.mjs';

const PATTERN = ['--test-pattern', '--size', '640x360', '--bitrate', '800k'];

describe('a gateway with a DVR', { timeout: 300_000 }, () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(async () => browser?.close());

  for (const [how, end] of [['stopped', (server) => server.stop()], ['killed', (server) => server.kill()]]) {
    test(`may be ${how} and started under a player, which goes on`, async (t) => {
      const folder = mkdtempSync(path.join(tmpdir(), 'bicast-dvr-'));
      const set = [`packager.dvr.directory=${folder}`];
      let server = await serve({ set });
      try {
        server.publish('test', PATTERN);
        await server.live('test');
        const context = await browser.newContext();
        const page = await context.newPage();
        await page.goto(server.url('/watch.html?feed=test'));
        const hls = () => page.evaluate(() => {
          const { state, last, stats } = __bicast.legs.hls;
          return { state, shown: last?.programTime ?? null, recoveries: stats?.recoveries ?? 0 };
        });
        await until('HLS is shown', async () => (await hls()).state === 'live');
        await until('something is stored', async () => (await server.feed('test')).paths.hls.storedSeconds > 4);
        await page.evaluate(() => {
          window.video = [...document.querySelectorAll('video')].find((video) => video.src.startsWith('blob:'));
          window.before = { source: video.src, time: video.currentTime };
        });

        await end(server);
        server = await serve({ set, listen: server.http });
        const { programTime } = (await server.feed('test')).paths.hls.liveEdge;
        server.publish('test', PATTERN);
        const left = Date.parse(programTime);
        await until('what came after the restart is shown', async () => {
          const { state, shown } = await hls();
          return state === 'live' && shown > left + 500;
        });
        const { recoveries } = await hls();
        const now = await page.evaluate(() => ({ source: video.src, time: video.currentTime, was: before }));
        assert.equal(now.source, now.was.source, 'the same player, not another one');
        assert.ok(now.time > now.was.time);
        assert.equal(recoveries, 0);
        t.diagnostic(`played ${(now.time - now.was.time).toFixed(1)} s over the restart`);
        await context.close();
      } finally {
        await server.close();
        rmSync(folder, { recursive: true, force: true });
      }
    });
  }
});

// Joins: from the first request to a picture that moves, at moments spread over the group of pictures.

import { percentile } from '../lib/compare.mjs';
import { sleep, until } from '../lib/process.mjs';
import { serve } from '../lib/server.mjs';

const LIVE = 100; // ms: a moving frame is at most this much older than what a settled viewer sees

/** 20 joins by WHEP and 20 by LL-HLS. */
export async function joins({ browser, pages, quick, say }) {
  const count = quick ? 5 : 20;
  const server = await serve();
  try {
    server.publish('join', ['--test-pattern', '--size', '1280x720', '--fps', '30', '--bitrate', '2500k']);
    await server.live('join');
    const page = await pages.open(browser);

    // What a settled viewer sees is the measure of "live".
    await page.evaluate(async (url) => {
      window.realtime = await peers.watchWhep(url, document.querySelector('#first'), { decoded: false });
    }, server.url('/whep/join'));
    await sleep(12_000);
    const settled = await page.evaluate(() => realtime.painted.slice(-150).map((frame) => frame.age));
    const live = percentile(settled, 0.5) + LIVE;
    await page.evaluate(() => peers.leave(realtime, document.querySelector('#first')));

    const whep = [];
    for (let n = 0; n < count; n++) {
      await sleep(700 + ((n * 373) % 2000));
      await page.evaluate(async (url) => {
        window.realtime = await peers.watchWhep(url, document.querySelector('#first'), { decoded: false });
      }, server.url('/whep/join'));
      const took = await until('moving frames over WebRTC', () => page.evaluate(joinedRealtime, live), 30);
      whep.push(took);
      await page.evaluate(() => peers.leave(realtime, document.querySelector('#first')));
    }
    say(`    WHEP      ${whep.map(Math.round).join(' ')} ms`);

    const hls = [];
    for (let n = 0; n < count; n++) {
      await sleep(700 + ((n * 373) % 2000));
      await page.evaluate((url) => {
        window.hls = peers.watchHls(url, document.querySelector('#second'));
      }, server.url('/hls/join/multivariant.m3u8'));
      hls.push(await until('moving frames over HLS', () => page.evaluate(joinedHls), 30));
      await page.evaluate(() => peers.destroy(hls, document.querySelector('#second')));
    }
    say(`    LL-HLS    ${hls.map(Math.round).join(' ')} ms`);
    await page.close();
    const of = (values) => ({ count, p50: percentile(values, 0.5), p95: percentile(values, 0.95), values });
    return { settled: percentile(settled, 0.5), whep: of(whep), hls: of(hls) };
  } finally {
    await server.close();
  }
}

/** When the first frame was shown that is live and followed by another one; null until then. Runs in the page. */
function joinedRealtime(live) {
  const at = realtime.painted.findIndex((frame, n) => {
    const next = realtime.painted[n + 1];
    return frame.age !== null && frame.age <= live && next && next.number > frame.number;
  });
  return at < 0 ? null : realtime.painted[at].shown - realtime.posted;
}

/** When the second picture was shown: the first that moved. Runs in the page. */
function joinedHls() {
  const at = hls.painted.findIndex((frame, n) => n > 0 && frame.number > hls.painted[n - 1].number);
  return at < 0 ? null : hls.painted[at].shown - hls.began;
}

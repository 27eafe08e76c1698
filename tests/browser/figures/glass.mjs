// Glass to glass: the wall clock in the picture against the moment it is painted, publisher and viewers on one clock.

import { percentile } from '../lib/compare.mjs';
import { sleep, until } from '../lib/process.mjs';
import { serve } from '../lib/server.mjs';

const summary = (painted, from) => {
  const ages = painted.slice(from).map((frame) => frame.age).filter((age) => age !== null);
  return { p50: percentile(ages, 0.5), p95: percentile(ages, 0.95), frames: ages.length };
};

/** The floor, then WebRTC, then LL-HLS: one viewer at a time, so that each has the machine to itself. */
export async function glassToGlass({ browser, pages, quick, say }) {
  const seconds = quick ? 10 : 40;
  const settle = 8;

  const alone = await pages.open(browser);
  await alone.evaluate(async () => {
    window.floor = await peers.loop(document.querySelector('canvas'), document.querySelector('#first'));
  });
  await sleep(settle * 1000);
  const floorFrom = await alone.evaluate(() => floor.painted.length);
  await sleep(seconds * 1000);
  const floor = summary(await alone.evaluate(() => floor.painted), floorFrom);
  await alone.close();
  say(`    floor     p50 ${Math.round(floor.p50)} ms, p95 ${Math.round(floor.p95)} ms (${floor.frames} frames)`);

  const server = await serve();
  try {
    const publisher = await pages.open(browser);
    await publisher.evaluate(async (url) => {
      window.published = await peers.publish(url, document.querySelector('canvas'));
    }, server.url('/whip/glass'));
    await server.live('glass');
    // The first seconds of a browser's encoder are smaller pictures: wait for the full size.
    await until('the publisher sends 720 lines', () =>
      publisher.evaluate(async () => {
        const stats = [...(await published.pc.getStats()).values()];
        return stats.find((one) => one.type === 'outbound-rtp' && one.kind === 'video')?.frameHeight === 720;
      }),
    );

    const viewer = await pages.open(browser);
    await viewer.evaluate(async (url) => {
      window.realtime = await peers.watchWhep(url, document.querySelector('#first'), { decoded: false });
    }, server.url('/whep/glass'));
    await sleep(settle * 1000);
    const webrtcFrom = await viewer.evaluate(() => realtime.painted.length);
    await sleep(seconds * 1000);
    const webrtc = summary(await viewer.evaluate(() => realtime.painted), webrtcFrom);
    say(`    WebRTC    p50 ${Math.round(webrtc.p50)} ms, p95 ${Math.round(webrtc.p95)} ms (${webrtc.frames} frames)`);
    await viewer.evaluate(() => peers.leave(realtime, document.querySelector('#first')));

    await viewer.evaluate((url) => {
      window.hls = peers.watchHls(url, document.querySelector('#second'));
    }, server.url('/hls/glass/multivariant.m3u8'));
    await sleep(settle * 1000);
    const hlsFrom = await viewer.evaluate(() => hls.painted.length);
    await sleep(seconds * 1000);
    const hls = summary(await viewer.evaluate(() => hls.painted), hlsFrom);
    const stalls = await viewer.evaluate(() => hls.stalls);
    say(`    LL-HLS    p50 ${Math.round(hls.p50)} ms, p95 ${Math.round(hls.p95)} ms (${hls.frames} frames, ${stalls} stalls)`);
    await viewer.close();
    await publisher.close();
    return { floor, webrtc, hls: { ...hls, stalls } };
  } finally {
    await server.close();
  }
}

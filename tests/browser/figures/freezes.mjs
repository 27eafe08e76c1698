// A viewer behind a bad network: how often its picture stands still although every loss is asked for again.

import { relay } from '../lib/relay.mjs';
import { sleep, until } from '../lib/process.mjs';
import { serve } from '../lib/server.mjs';

const PATTERN = ['--test-pattern', '--size', '1280x720', '--fps', '30', '--bitrate', '2500k'];
const LOSS = 0.05;
const ONE_WAY_MS = 25;
/** A picture that stands longer than this is a freeze. */
const FREEZE_MS = 200;

/** Freezes in `runs` runs of `seconds` each, at 5 % loss each way and 50 ms round trip. */
export async function freezes({ browser, pages, quick, say }) {
  const [runs, seconds] = quick ? [1, 20] : [3, 60];
  const server = await serve();
  try {
    server.publish('lossy', PATTERN);
    await server.live('lossy');
    const found = [];
    for (let run = 0; run < runs; run++) found.push(await watch(browser, pages, server, seconds, run + 1, say));
    const all = found.flatMap(({ gaps }) => gaps);
    return { runs, seconds, loss: LOSS, roundTripMs: 2 * ONE_WAY_MS, count: all.length, longest: Math.max(0, ...found.map(({ longest }) => longest)), found };
  } finally {
    await server.close();
  }
}

async function watch(browser, pages, server, seconds, seed, say) {
  // The join is not what is measured here: the network turns bad when the picture moves.
  let bad = false;
  const between = await relay(server.url('/whep/lossy'), () => ({ loss: bad ? LOSS : 0, delay: ONE_WAY_MS }), seed);
  const page = await pages.open(browser);
  try {
    await page.evaluate(async (whep) => {
      window.viewer = await peers.watchWhep(whep, document.querySelector('#first'), { decoded: false });
    }, between.url);
    const painted = () => page.evaluate(() => viewer.painted.length);
    await until('the picture moves', async () => (await painted()) > 60);
    bad = true;
    await sleep(2_000);
    const from = await painted();
    await sleep(seconds * 1000);
    const shown = (await page.evaluate(() => viewer.painted.map(({ shown }) => shown))).slice(from);
    const gaps = shown.slice(1).map((at, n) => at - shown[n]);
    const stats = await page.evaluate(async () => {
      const reports = [...(await viewer.pc.getStats()).values()];
      const { freezeCount, nackCount, pliCount, packetsLost, framesDropped, framesPerSecond, retransmittedPacketsReceived } = reports.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
      return { freezeCount, nackCount, pliCount, packetsLost, framesDropped, framesPerSecond, retransmittedPacketsReceived };
    });
    const result = { frames: shown.length, gaps: gaps.filter((gap) => gap > FREEZE_MS), longest: Math.max(0, ...gaps), stats, relay: { ...between.counts } };
    say(`    ${shown.length} frames painted, ${result.gaps.length} gaps over ${FREEZE_MS} ms, the longest ${Math.round(result.longest)} ms; ${JSON.stringify({ ...stats, ...result.relay })}`);
    return result;
  } finally {
    await page.evaluate(() => viewer.pc.close()).catch(() => {});
    await page.close();
    await between.close();
  }
}

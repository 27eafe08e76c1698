// What failovers and returns leave behind in a page that stays open.

import { openPlayer } from '../lib/bridge.mjs';
import { sleep, until } from '../lib/process.mjs';
import { serve } from '../lib/server.mjs';

const FEED = 'to-and-fro';

/** What the page holds after a collection: heap in bytes, nodes, listeners, peer connections, elements of the player. */
export async function cost(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  await session.send('Performance.enable');
  const { metrics } = await session.send('Performance.getMetrics');
  await session.detach();
  const of = (name) => metrics.find((one) => one.name === name)?.value ?? Number.NaN;
  const elements = await page.evaluate(() => element.shadowRoot.querySelectorAll('*').length);
  return { heap: of('JSHeapUsedSize'), nodes: of('Nodes'), listeners: of('JSEventListeners'), peers: of('RTCPeerConnections'), elements };
}

/** One page, to LL-HLS and back so often: what it held after the first ten turns (its buffers are full then) and at the end. */
export async function backAndForth(browser, pages, turns) {
  const server = await serve();
  const costs = [];
  try {
    server.publish(FEED, ['--test-pattern', '--size', '640x360', '--bitrate', '800k']);
    await server.live(FEED);
    const { page } = await openPlayer(browser, pages, server.url('/'), FEED, { path: 'realtime' });
    await sleep(1_000);
    for (let turn = 0; turn < turns; turn++) {
      await page.evaluate(() => player.switchTo('hls'));
      await until('HLS plays', () => page.evaluate(() => player.state === 'hls' && !player.stage.hls.paused), 20);
      await sleep(500);
      await page.evaluate(() => player.switchTo('realtime'));
      await until('WebRTC plays', () => page.evaluate(() => player.state === 'live'), 20);
      // What was let go of is closed half a second later.
      await sleep(1_000);
      if (turn === Math.min(9, turns - 2) || turn === turns - 1) costs.push({ run: turn, ...(await cost(page)) });
    }
    return { costs, viewers: (await server.feed(FEED)).paths.realtime.viewers };
  } finally {
    await server.close();
  }
}

/** The table's row. */
export function leftBehind(turns, { costs, viewers }) {
  const [first, last] = [costs[0], costs.at(-1)];
  const grown = last.heap / first.heap - 1;
  const more = (name) => last[name] - first[name];
  const same = ['nodes', 'listeners', 'peers', 'elements'].every((name) => more(name) <= 0);
  return [
    `${turns} failovers and returns in one page: heap from run ${first.run + 1} to ${last.run + 1}; nodes, listeners, peer connections, elements more; connections`,
    `${(grown * 100).toFixed(1)} % (${(last.heap / 1e6).toFixed(1)} MB); ${more('nodes')}, ${more('listeners')}, ${more('peers')}, ${more('elements')}; ${viewers}`,
    'no growth; 1',
    grown < 0.1 && same && viewers === 1,
  ];
}

// Players of others in a real Chromium at the live edge of LL-HLS: minutes of three renditions with forced changes, and a publisher that
// leaves and returns again and again.
//
//   scripts/bench-players [--json] [--seconds 600] [--every 10] [--returns 200]

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { barePages, launch } from '../lib/browser.mjs';
import { percentile } from '../lib/compare.mjs';
import { ROOT, sleep, until } from '../lib/process.mjs';
import { serve } from '../lib/server.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const json = process.argv.includes('--json');
const [seconds, every, returns] = [option('--seconds', 600), option('--every', 10), option('--returns', 200)];
const say = (text) => process.stderr.write(`${text}\n`);
const LAYERS = ['layer-high.mp4', 'layer-middle.mp4', 'layer-low.mp4'].flatMap((file) => ['--layer', path.join(ROOT, 'target/test-assets', file)]);
const HEIGHTS = [180, 272, 360];
/** Up and down by one and by two. */
const ORDER = [0, 1, 2, 0, 2, 1];

async function open(browser, pages, name, address) {
  const page = await browser.newPage({ viewport: { width: 640, height: 360 } });
  await page.goto(`${pages.origin}edge`);
  await page.waitForFunction(() => window.edge);
  const renditions = await page.evaluate(([name, address]) => edge.open(name, address), [name, address]);
  await until(`${name} plays`, () => page.evaluate(() => edge.shown().frames > 30));
  return { page, renditions };
}

/** One player for `seconds`, moved to another rendition `every` so many of them. */
async function atTheEdge(browser, pages, name, address) {
  const { page, renditions } = await open(browser, pages, name, address);
  if (renditions !== HEIGHTS.length) throw new Error(`${name} sees ${renditions} renditions`);
  await sleep(5_000);
  await page.evaluate(() => edge.begin());
  let [asked, reached] = [0, 0];
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    const wanted = ORDER[asked++ % ORDER.length];
    await page.evaluate((wanted) => edge.choose(wanted), wanted);
    await sleep(Math.min(every * 1000, Math.max(end - Date.now(), 0)));
    if ((await page.evaluate(() => edge.shown().height)) === HEIGHTS[wanted]) reached++;
    if (asked % 6 === 0) say(`    ${name}: ${asked * every} s, ${(await page.evaluate(() => edge.seen.stalls.length))} stalls`);
  }
  const seen = await page.evaluate(() => edge.seen);
  await page.close();
  return { name, asked, reached, ...seen };
}

/** Bytes that a process holds in memory. */
const resident = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

async function heap(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  await session.detach();
  return usedSize;
}

/** A publisher that is killed and started again under hls.js. */
async function comesAndGoes(browser, pages) {
  // A window that is full long before half of the returns: what grows after that is not media.
  const server = await serve({ set: ['feed.window=60'] });
  const pattern = ['--test-pattern', '--size', '320x180', '--bitrate', '200k', '--retry'];
  try {
    let publisher = server.publish('again', pattern);
    await server.live('again');
    const { page } = await open(browser, pages, 'hls.js', server.url('/hls/again/multivariant.m3u8'));
    await page.evaluate(() => edge.begin());
    const { source } = await page.evaluate(() => edge.shown());
    const memory = [];
    let back = 0;
    for (let n = 1; n <= returns; n++) {
      await publisher.kill();
      publisher = server.publish('again', pattern);
      await until('the publisher is back', async () => (await server.feed('again')).state === 'live');
      // Two seconds of new pictures: it plays what the new publisher sends, not what was left of the old one.
      const { frames } = await page.evaluate(() => edge.shown());
      await until(`hls.js plays on after return ${n}`, () => page.evaluate((frames) => edge.shown().frames >= frames + 60, frames), 30);
      back++;
      if (n % 20 === 0 || n === returns) {
        memory.push({ n, server: resident(server.child.pid), page: await heap(page) });
        const { server: bytes, page: used } = memory.at(-1);
        say(`    ${n} of ${returns}: server ${(bytes / 1e6).toFixed(1)} MB, page ${(used / 1e6).toFixed(1)} MB`);
      }
    }
    const seen = await page.evaluate(() => edge.seen);
    const same = (await page.evaluate(() => edge.shown().source)) === source;
    await page.close();
    return { back, memory, same, ...seen };
  } finally {
    await server.close();
  }
}

const browser = await launch();
const pages = await barePages();
say(`1/2 hls.js and shaka-player beside each other, ${seconds} s, another rendition every ${every} s`);
const server = await serve();
let players = [];
try {
  server.publish('three', LAYERS);
  await server.live('three');
  const address = server.url('/hls/three/multivariant.m3u8');
  players = seconds > 0 ? await Promise.all(['hls.js', 'shaka'].map((name) => atTheEdge(browser, pages, name, address))) : [];
} finally {
  await server.close();
}
say(`2/2 a publisher that is killed and returns ${returns} times, under hls.js`);
const again = returns > 0 ? await comesAndGoes(browser, pages) : null;
await browser.close();
await pages.close();

const table = players.map(({ name, asked, reached, stalls, waiting, fatal, latencies, errors }) => {
  const longest = Math.max(0, ...stalls.map(({ ms }) => ms));
  const told = Object.entries(errors).map(([what, times]) => `${times} ${what}`).join(', ') || 'none';
  const measured = `${stalls.length} stalls (longest ${Math.round(longest)} ms), ${waiting} times waiting, ${fatal.length} fatal${fatal.length > 0 ? `: ${fatal.join(', ')}` : ''} (${told} not fatal); ${reached} of ${asked} changes; latency p50 ${percentile(latencies, 0.5).toFixed(2)} s, p95 ${percentile(latencies, 0.95).toFixed(2)} s`;
  return [`${name}, ${seconds} s, three renditions`, measured, '0 stalls, 0 fatal', stalls.length === 0 && fatal.length === 0 && reached === asked];
});
if (again) {
  const [first, last] = [again.memory[Math.min(4, again.memory.length - 1)], again.memory.at(-1)];
  const grown = (of) => `${(((of(last) - of(first)) / of(first)) * 100).toFixed(1)} %`;
  const measured = `played on after ${again.back}, ${again.fatal.length} fatal, ${again.same ? 'never loaded anew' : 'loaded anew'}; from return ${first.n} to ${last.n} the server grew ${grown((one) => one.server)} (${(last.server / 1e6).toFixed(0)} MB), the page ${grown((one) => one.page)} (${(last.page / 1e6).toFixed(1)} MB)`;
  table.push([`a publisher that returns ${returns} times, hls.js`, measured, 'plays on, no growth', again.back === returns && again.fatal.length === 0 && again.same && last.server < first.server * 1.05 && last.page < first.page * 1.1]);
}
const about = {
  when: new Date().toISOString(),
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim(),
  cpu: os.cpus()[0]?.model ?? 'unknown',
  cores: os.cpus().length,
};
if (json) {
  console.log(JSON.stringify({ about, figures: table.map(([name, measured, bar, met]) => ({ name, measured, bar, met })), players, again }, null, 2));
} else {
  console.log(`\nMeasured ${about.when} at ${about.commit}, ${about.cores} x ${about.cpu}, loopback.\n`);
  console.log('| figure | measured | bar | |\n|---|---|---|---|');
  for (const [name, measured, bar, met] of table) console.log(`| ${name} | ${measured} | ${bar} | ${met ? 'met' : 'MISSED'} |`);
}
if (table.some(([, , , met]) => !met)) process.exitCode = 1;

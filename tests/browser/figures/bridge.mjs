// The bridge's table of figures: a player moved between its paths in a real Chromium, judged by what came on the screen.
//
//   scripts/bench-bridge [--json] [--runs N] [--few N]     N failovers and returns (60), N of the rest (20)
//   scripts/bench-bridge --back-and-forth N                only what N failovers and returns leave behind in one page

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { blocked, comeBack, failover, goLive, judgeBlocked, judgeFailover, nearest, openPlayer, rewind } from '../lib/bridge.mjs';
import { barePages, launch } from '../lib/browser.mjs';
import { silence } from '../lib/chirp.mjs';
import { percentile, published } from '../lib/compare.mjs';
import { bicast, ROOT, sleep, until } from '../lib/process.mjs';
import { relay } from '../lib/relay.mjs';
import { heldByHls, serve } from '../lib/server.mjs';
import { chirpClip, hear, openRecorder } from '../lib/sound.mjs';
import { backAndForth, cost, leftBehind } from './back-and-forth.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const json = process.argv.includes('--json');
const runs = option('--runs', 60);
const few = option('--few', 20);
const turns = option('--back-and-forth', 0);
const say = (text) => process.stderr.write(`${text}\n`);
const ms = (value) => (Number.isFinite(value) ? `${Math.round(value)} ms` : 'not measured');
const PATTERN = ['--test-pattern', '--size', '640x360', '--bitrate', '800k'];
const FEED = 'bridge';

if (!existsSync(bicast)) {
  say(`${bicast} is missing: build it, or name another one with TEST_BICAST.`);
  process.exit(2);
}

/** The player as an npm package, without hls.js: what a page loads to play, and what is loaded when a viewer touches the player. */
function packageSizes() {
  const dist = path.join(ROOT, 'web-demo/package/dist');
  const size = (file) => gzipSync(readFileSync(path.join(dist, file)), { level: 9 }).length;
  const files = readdirSync(dist).filter((file) => file.endsWith('.js'));
  const toPlay = size('bicast-player.js');
  return { toPlay, later: files.reduce((sum, file) => sum + size(file), 0) - toPlay };
}

/** The frames in CMAF, gathered while they are there. */
class Held {
  #frames = new Map();

  async add(server) {
    for (const frame of published((await heldByHls(server.url(`/hls/${FEED}/multivariant.m3u8`))).video)) {
      if (frame.number !== null) this.#frames.set(frame.number, frame);
    }
  }

  get frames() {
    return [...this.#frames.values()].sort((a, b) => a.number - b.number);
  }

  get numbers() {
    return this.frames.map(({ number }) => number);
  }
}

async function toAndFro(browser, pages) {
  const server = await serve();
  const held = new Held();
  const [out, back] = [[], []];
  const costs = [];
  try {
    server.publish(FEED, PATTERN);
    await server.live(FEED);
    const { page, errors } = await openPlayer(browser, pages, server.url('/'), FEED, { path: 'realtime' });
    await sleep(2_000);
    for (let run = 0; run < runs; run++) {
      out.push(await failover(page));
      back.push(await comeBack(page));
      if (run % 8 === 7 || run === runs - 1) await held.add(server);
      if (run === Math.min(9, runs - 1) || run === runs - 1) costs.push({ run, ...(await cost(page)) });
      if (run % 10 === 9) say(`    ${run + 1} of ${runs}`);
    }
    const viewers = (await server.feed(FEED)).paths.realtime.viewers;
    return { out: out.map((one) => ({ ...judgeFailover(one, held.numbers), told: one.told, loadedBefore: one.loadedBefore })), back, costs, viewers, errors };
  } finally {
    await server.close();
  }
}

async function blocks(browser, pages) {
  const server = await serve();
  const held = new Held();
  const network = { loss: 0, delay: 0 };
  const between = await relay(server.url(`/whep/${FEED}`), () => network);
  const found = [];
  try {
    server.publish(FEED, PATTERN);
    await server.live(FEED);
    for (let run = 0; run < few; run++) {
      // A page each: a player that was moved is in no hurry to go back.
      const { page } = await openPlayer(browser, pages, between.url, FEED, { path: 'auto', 'miss-nothing': '' });
      await sleep(2_000);
      found.push(await blocked(page, network));
      await page.close();
      if (run % 8 === 7 || run === few - 1) await held.add(server);
    }
    return found.map((one) => ({ ...judgeBlocked(one, held.numbers), told: one.told }));
  } finally {
    await between.close();
    await server.close();
  }
}

async function rewinds(browser, pages) {
  const server = await serve();
  const held = new Held();
  const found = [];
  try {
    server.publish(FEED, PATTERN);
    await server.live(FEED);
    const { page } = await openPlayer(browser, pages, server.url('/'), FEED, { path: 'auto' });
    await until('there are ten seconds to go back to', async () => (await server.feed(FEED)).paths.hls.windowSeconds > 12);
    for (let run = 0; run < few; run++) {
      await sleep(500 + Math.random() * 500);
      found.push(await rewind(page, 10));
      await goLive(page);
      if (run % 8 === 7 || run === few - 1) await held.add(server);
    }
    const { frames } = held;
    const times = new Map(frames.map(({ number, time }) => [number, time]));
    return found.map(({ told, before, shown, black }) => ({
      off: told === null ? null : shown - nearest(frames, told.wanted),
      // Whether what was wanted is ten seconds before the frame that was on the screen.
      askedOff: told === null ? null : (told.wanted - (times.get(before) - 10 * 90_000)) / 3_000,
      black,
    }));
  } finally {
    await server.close();
  }
}

/** Failovers of a feed whose sound tells its own time. */
async function sounds(browser, pages) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'bicast-'));
  const clip = path.join(folder, 'chirp.mp4');
  await chirpClip(clip, 120);
  const server = await serve();
  const found = [];
  try {
    server.publish(FEED, [clip]);
    await server.live(FEED);
    const { page } = await openPlayer(browser, pages, server.url('/'), FEED, { path: 'realtime' });
    await openRecorder(page, pages);
    await sleep(3_000);
    for (let run = 0; run < few; run++) {
      const heard = await hear(page, "player.switchTo('hls')", { before: 700 + Math.random() * 1000, after: 4_000 });
      found.push({ ...silence(heard.samples, heard.rate, heard.called - 0.2, heard.called + 3.5), slipMs: heard.slipMs });
      await page.evaluate(() => player.switchTo('realtime'));
      await until('the player is back', () => page.evaluate(() => player.state === 'live'));
      await sleep(1_500);
    }
    return found;
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
}

const browser = await launch();
const pages = await barePages();
if (turns > 0) {
  say(`${turns} failovers and returns in one page`);
  const found = await backAndForth(browser, pages, turns);
  await browser.close();
  await pages.close();
  const [name, measured, bar, met] = leftBehind(turns, found);
  console.log(json ? JSON.stringify(found, null, 2) : `| ${name} | ${measured} | ${bar} | ${met ? 'met' : 'MISSED'} |`);
  process.exit(met ? 0 : 1);
}
say(`1/4 ${runs} failovers and returns`);
const moved = await toAndFro(browser, pages);
say(`2/4 ${few} times UDP is blocked`);
const cut = await blocks(browser, pages);
say(`3/4 ${few} rewinds`);
const rewound = await rewinds(browser, pages);
say(`4/4 ${few} failovers with sound`);
const heard = await sounds(browser, pages);
await browser.close();
await pages.close();

const share = (list, test) => list.filter(test).length / list.length;
const most = (list, of) => Math.max(...list.map(of));
const none = ({ lost, repeated }) => lost + repeated === 0;
const words = (list, test) => `${list.filter(test).length} of ${list.length}`;
const excess = moved.out.map(({ still, difference }) => still - difference);
/** Of a sound device that keeps its pace: where it does not, what is heard late is not the player's doing. */
const SLIP_MS = 40;
const paced = heard.filter(({ slipMs, lostMs }) => slipMs <= SLIP_MS && lostMs !== undefined).map(({ lostMs }) => lostMs);
const offBy = percentile(paced.map(Math.abs), 0.95);
const { toPlay, later } = packageSizes();
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
const gapOff = moved.back.map(({ told, skipped }) => Math.abs(told.jumpMs - (skipped * 1000) / 30) / (1000 / 30));
const table = [
  ['forced failover: frames lost / repeated', `0 / 0 in ${words(moved.out, none)}; most ${most(moved.out, (one) => one.lost)} / ${most(moved.out, (one) => one.repeated)}`, '0 / 0 in 95 %, never more than 1 / 1', share(moved.out, none) >= 0.95 && moved.out.every(({ lost, repeated }) => lost <= 1 && repeated <= 1)],
  ['HLS requests before the first command', `${moved.out[0].loadedBefore}`, '0', moved.out[0].loadedBefore === 0],
  ['longest still picture at that cut, over the difference of latencies', `p50 ${ms(percentile(excess, 0.5))}, most ${ms(Math.max(...excess))} (still p50 ${ms(percentile(moved.out.map(({ still }) => still), 0.5))})`, '200 ms', Math.max(...excess) <= 200],
  ['sound lost or repeated at that cut', `p95 ${ms(offBy)}, ${ms(Math.min(...paced))} to ${ms(Math.max(...paced))} (${paced.length} of ${heard.length} cuts; in the others the sound device slipped, or nothing was read)`, 'p95 80 ms', offBy <= 80 && paced.length * 2 >= heard.length],
  ['UDP suddenly blocked: playing over HLS after', `p50 ${ms(percentile(cut.map((one) => one.playingAfter), 0.5))}, most ${ms(most(cut, (one) => one.playingAfter))}`, '3000 ms', most(cut, (one) => one.playingAfter) <= 3_000],
  ['the same with "miss nothing": frames lost', `0 in ${words(cut, ({ lost }) => lost === 0)}; most ${most(cut, ({ lost }) => lost)}`, '0', cut.every(({ lost }) => lost === 0)],
  ['return: longest still picture; unreadable pictures', `p50 ${ms(percentile(moved.back.map(({ still }) => still), 0.5))}, most ${ms(most(moved.back, ({ still }) => still))}; ${moved.back.reduce((sum, { black }) => sum + black, 0)}`, '100 ms; 0', moved.back.every(({ still, black }) => still <= 100 && black === 0)],
  ['return: skipped content against the gap shown', `most ${Math.max(...gapOff).toFixed(1)} frames off, ${moved.back.filter(({ back }) => back > 0).length} went back`, '2 frames', Math.max(...gapOff) <= 2 && moved.back.every(({ back }) => back === 0)],
  ['rewind 10 s from WebRTC: the frame nearest to the wanted time', `${words(rewound, ({ off }) => off === 0)}; most ${most(rewound, ({ off }) => Math.abs(off ?? Number.NaN))} off; asked for within ${most(rewound, ({ askedOff }) => Math.abs(askedOff)).toFixed(1)} frames`, '95 %, never more than 1', share(rewound, ({ off }) => off === 0) >= 0.95 && rewound.every(({ off }) => off !== null && Math.abs(off) <= 1)],
  leftBehind(runs, moved),
  ['player package without hls.js, gzip', `${kib(toPlay)} to play; settings, statistics and previews, loaded when touched: ${kib(later)}`, '25 KiB to play', toPlay <= 25 * 1024],
];
const about = {
  when: new Date().toISOString(),
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim(),
  cpu: os.cpus()[0]?.model ?? 'unknown',
  cores: os.cpus().length,
  runs,
  few,
};
if (json) {
  console.log(JSON.stringify({ about, figures: table.map(([name, measured, bar, met]) => ({ name, measured, bar, met })), moved, cut, rewound, heard }, null, 2));
} else {
  console.log(`\nMeasured ${about.when} at ${about.commit}, ${about.cores} x ${about.cpu}, loopback, 640x360, 30 frames/s.\n`);
  console.log('| figure | measured | bar | |\n|---|---|---|---|');
  for (const [name, measured, bar, met] of table) console.log(`| ${name} | ${measured} | ${bar} | ${met ? 'met' : 'MISSED'} |`);
  if (moved.errors.length > 0) console.log(`\nErrors in the page:\n${moved.errors.join('\n')}`);
}
if (table.some(([, , , met]) => !met)) process.exitCode = 1;

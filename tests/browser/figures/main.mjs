// The table of figures: what a person's browser sees of one feed on both paths, measured on this machine, now.
//
//   scripts/figures [--json] [--quick]      release build; --quick takes fewer samples (never for publishing)

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { barePages, launch } from '../lib/browser.mjs';
import { bicast, ROOT } from '../lib/process.mjs';
import { freezes } from './freezes.mjs';
import { glassToGlass } from './glass.mjs';
import { joins } from './joins.mjs';
import { losses } from './losses.mjs';
import { restarts } from './restarts.mjs';

const json = process.argv.includes('--json');
const quick = process.argv.includes('--quick');
const say = (text) => process.stderr.write(`${text}\n`);
const ms = (value) => (Number.isFinite(value) ? `${Math.round(value)} ms` : 'not measured');

if (!existsSync(bicast)) {
  say(`${bicast} is missing: run make bench, which builds it.`);
  process.exit(2);
}

/** One row: its name, what was measured in words, the bar in words, whether it is met. */
function rows(glass, join, loss, freeze, again, bench) {
  const floorBar = glass.floor.p95 + 60;
  return [
    ['identity: frames compared with CMAF (Chromium, aiortc)', `${loss.compared} + ${loss.aiortc}, ${loss.unequal} unequal`, 'all equal', loss.unequal === 0 && loss.compared > 0 && loss.aiortc > 0],
    ['page to page without a server (the floor), p95', ms(glass.floor.p95), 'printed', null],
    ['glass to glass in Chromium, WebRTC, p95', ms(glass.webrtc.p95), `floor + 60 ms = ${ms(floorBar)}`, glass.webrtc.p95 <= floorBar],
    ['glass to glass in Chromium, LL-HLS with hls.js, p95', ms(glass.hls.p95), '1500 ms', glass.hls.p95 <= 1500],
    [`WHEP: POST to moving frames, p95 of ${join.whep.count}`, ms(join.whep.p95), '250 ms', join.whep.p95 <= 250],
    [`LL-HLS: multivariant to moving frames, p95 of ${join.hls.count}`, ms(join.hls.p95), '1200 ms', join.hls.p95 <= 1200],
    [`frames lost or repeated in ${loss.seconds} s, WebRTC`, `${loss.webrtc.lost} lost, ${loss.webrtc.repeated} repeated`, '0', loss.webrtc.lost + loss.webrtc.repeated === 0],
    [`frames lost or repeated in ${loss.seconds} s, HLS`, `${loss.hls.lost} lost, ${loss.hls.repeated} repeated${loss.hls.unpainted ? ` (${loss.hls.unpainted} not painted by a busy browser)` : ''}`, '0', loss.hls.lost + loss.hls.repeated === 0],
    [`freezes over 200 ms, ${freeze.loss * 100} % loss each way, ${freeze.roundTripMs} ms round trip, ${freeze.runs} x ${freeze.seconds} s`, `${freeze.count} (the longest gap ${ms(freeze.longest)})`, 'at most 1', freeze.count <= 1],
    ['publisher killed and restarted: both go on, times hold', loss.restart.ok ? `yes (${loss.restart.compared} frames)` : `no: ${loss.restart.why}`, 'yes', loss.restart.ok],
    [`publisher killed and restarted ${again.count} times: same connection, picture back after the new one's first, longest`, `${again.connected ? '' : 'connection lost, '}${ms(again.longest)}`, '1000 ms', again.connected && again.longest <= 1000],
    ['fan-out CPU per packet and viewer against its floor', bench.ok ? 'below' : bench.why, 'printed', null],
  ];
}

/** The fan-out benchmark's own table. */
function fanOut() {
  const program = path.join(path.dirname(bicast), 'bicast-bench');
  if (!existsSync(program)) return { ok: false, why: 'bicast-bench is not built', text: '' };
  const run = spawnSync(program, [], { encoding: 'utf8', timeout: 600_000 });
  return { ok: run.status === 0, why: run.stderr.trim().split('\n').at(-1), text: run.stdout };
}

const browser = await launch();
const pages = await barePages();
const settings = { browser, pages, quick, say };
say('1/6 glass to glass (Chromium publishes; floor, WebRTC, LL-HLS one after the other)');
const glass = await glassToGlass(settings);
say('2/6 joins (bicast publish --test-pattern)');
const join = await joins(settings);
say('3/6 losses, identity, restart');
const loss = await losses(settings);
say('4/6 freezes behind a bad network');
const freeze = await freezes(settings);
say('5/6 restarts of the publisher');
const again = await restarts(settings);
await browser.close();
await pages.close();
say('6/6 fan-out against its floor');
const bench = fanOut();

const table = rows(glass, join, loss, freeze, again, bench);
const about = {
  when: new Date().toISOString(),
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim(),
  cpu: os.cpus()[0]?.model ?? 'unknown',
  cores: os.cpus().length,
  chromium: browser.version(),
  quick,
};
if (json) {
  const figures = table.map(([name, measured, bar, met]) => ({ name, measured, bar, met }));
  console.log(JSON.stringify({ about, figures, glass, join, loss, freeze, again, fanOut: bench.text }, null, 2));
} else {
  console.log(`\nMeasured ${about.when} at ${about.commit}, ${about.cores} x ${about.cpu}, Chromium ${about.chromium}${quick ? ', QUICK RUN' : ''}`);
  console.log('Loopback, 1280x720, 30 frames/s, 2.5 Mbit/s.\n');
  console.log('| figure | measured | bar | |\n|---|---|---|---|');
  for (const [name, measured, bar, met] of table) {
    console.log(`| ${name} | ${measured} | ${bar} | ${met === null ? '' : met ? 'met' : 'MISSED'} |`);
  }
  console.log(`\nFan-out:\n\n${bench.text || bench.why}`);
}

// A table to publish has no missed bar; a quick look has too few samples to judge.
if (!quick && table.some(([, , , met]) => met === false)) process.exitCode = 1;

// The SFU's rows of the table of figures, with their bars. scripts/bench-sfu starts it.

import { execFileSync, spawnSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { bicast, viewers } from './run.mjs';

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    'server-core': { type: 'string', default: '0' },
    'generator-core': { type: 'string', default: '1' },
  },
});
const quick = flags.quick;
const say = (text) => process.stderr.write(`${text}\n`);
const place = { serverCore: Number(flags['server-core']), generatorCore: Number(flags['generator-core']), say };
if (os.cpus().length < 2 || place.serverCore === place.generatorCore) {
  say('Two cores are needed: one for the server, one for the load generator.');
  process.exit(2);
}

const FEEDS = 25;
const LOAD = 0.7;
const table = [];

/** Adds a row. A run that does not count meets no bar and misses none. */
function row(name, measured, bar, met, summary) {
  const reasons = summary?.void ?? [];
  table.push({ name, measured, bar, met: reasons.length ? null : met, void: reasons });
}
const ms = (value) => (value === undefined || value === null ? 'not measured' : `${value.toFixed(1)} ms`);
const percent = (value) => (value === undefined || value === null ? '?' : `${(value * 100).toFixed(0)} %`);
const failed = (summary) => Object.values(summary.failed).reduce((sum, count) => sum + count, 0);

/** Whether every viewer got everything. */
const held = (summary) =>
  summary.stayed === summary.viewers && failed(summary) === 0 && summary.lost === 0 && summary.silentSeconds === 0 && summary.packetsPerSecondAndViewer > 305;

function fanOut() {
  say('fan-out against its floor and against webrtc');
  const flags = quick ? ['--frames', '150', '--rival-frames', '90'] : ['--rivals', '100'];
  const run = spawnSync('taskset', ['-c', `${place.serverCore},${place.generatorCore}`, path.join(path.dirname(bicast), 'bicast-bench'), '--json', ...flags], { encoding: 'utf8', timeout: 280_000 });
  if (run.status !== 0) throw new Error(run.stderr.trim() || 'bicast-bench failed');
  const { ratio, floor, path: ours, rival, viewers: count } = JSON.parse(run.stdout);
  row(`CPU per packet and viewer against the floor, ${count} viewers`, `${ratio.toFixed(2)} x (${ours.medianNs.toFixed(0)} of ${floor.medianNs.toFixed(0)} ns)`, '1.5 x', ratio <= 1.5);
  row(`CPU against webrtc peer connections, ${rival.viewers} viewers`, `${rival.timesLess.toFixed(1)} times less (${rival.pathNs.toFixed(0)} of ${rival.webrtcNs.toFixed(0)} ns)`, '8 times less', rival.timesLess >= 8);
}

async function capacity() {
  const counts = quick ? [300] : [1500, 2000, 2500, 3000];
  let best;
  let last;
  for (const count of counts) {
    say(`${count} viewers of one feed`);
    last = await viewers(place, ['--viewers', count, '--ramp', '120/s', '--duration', quick ? 4 : 15, '--settle', 5]);
    if (count === counts[0]) {
      const kib = last.server.bytesPerViewer / 1024;
      row(`memory per viewer, receiving, ${count} viewers`, `${kib.toFixed(1)} KiB`, '48 KiB', kib <= 48, last);
    }
    if (last.void.length || !held(last)) break;
    best = last;
  }
  const shown = best ?? last;
  const limit = last === best ? '' : `; ${last.viewers}: ${last.void.length ? 'the generator’s limit' : 'not held'}`;
  row('viewers held at 310 packets/s, no loss, one core', `${best ? best.viewers : 0} at ${percent(shown.server.steadyCores)} of the core (generator ${percent(shown.generatorBusiest)})${limit}`, '1500', Boolean(best) && best.viewers >= 1500, best ? undefined : last);
}

async function joins() {
  say('joins on a light feed');
  const light = ['--video-packets', 1, '--fps', 5, '--keyframe-packets', 2, '--no-audio'];
  // As many as the bar says: a server that is not fast enough falls behind, and what a second of its core costs otherwise is
  // shared by as many joins as there can be.
  const summary = await viewers(place, [...light, '--viewers', quick ? 300 : 2000, '--ramp', '800/s', '--duration', 2]);
  const rate = summary.server.joinsPerCoreSecond;
  const met = failed(summary) === 0 && summary.connected === summary.viewers && rate >= 800;
  row('complete joins per second and core, HTTP included', `${rate.toFixed(0)} (${summary.connected} came at 800/s: POST to moving frames p99 ${ms(summary.moving?.p99)})`, '800', met, summary);
}

async function latency() {
  const feeds = ['--feeds', FEEDS, '--settle', 5];
  say(`latency: how many viewers of ${FEEDS} feeds are ${percent(LOAD)} of a core`);
  const probe = quick ? 250 : 800;
  const first = await viewers(place, [...feeds, '--viewers', probe, '--ramp', '120/s', '--duration', 4]);
  // What publishers and packaging cost does not grow with viewers; so the guess stays a little below.
  const count = quick ? probe : Math.round((probe * LOAD) / first.server.steadyCores / FEEDS) * FEEDS;
  say(`latency: ${count} viewers`);
  const summary = quick ? first : await viewers(place, [...feeds, '--viewers', count, '--ramp', '120/s', '--duration', 20]);
  const measured = `${ms(summary.latency?.p99)} at ${percent(summary.server.steadyCores)}, ${count} viewers of ${FEEDS} feeds (p50 ${ms(summary.latency?.p50)})`;
  row('latency added at 70 % load, p99', measured, '5 ms', Boolean(summary.latency) && summary.latency.p99 <= 5 && summary.lost === 0, summary);
}

async function rush(name, more, bar) {
  const count = quick ? 100 : 500;
  say(`${count} joins in 2 s, ${name}`);
  const summary = await viewers(place, ['--gop', 10, '--settle', 17, ...more, '--viewers', count, '--ramp', '2s', '--duration', 2]);
  // The requests that keep the segments of HLS short go on meanwhile, at the rate they had before.
  const own = summary.keyframeRequestsPerSecondBefore * summary.joiningSeconds;
  const requests = Math.max(0, summary.keyframeRequestsJoining - own);
  const met = failed(summary) === 0 && summary.moving?.count === count && summary.moving.max <= bar && requests <= 3;
  row(`${count} joins in 2 s, keyframe every 10 s, ${name}: POST to moving frames`, `longest ${ms(summary.moving?.max)} (p50 ${ms(summary.moving?.p50)}); ${summary.keyframeRequestsJoining} keyframe requests meanwhile, ${own.toFixed(1)} of them for HLS`, `${bar} ms, 3 requests`, met, summary);
}

fanOut();
await capacity();
await joins();
await latency();
await rush('PLI answered', [], 1_000);
await rush('deaf publisher', ['--deaf'], 2_000);

const about = {
  when: new Date().toISOString(),
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
  cpu: os.cpus()[0]?.model ?? 'unknown',
  cores: os.cpus().length,
  quick,
};
const verdict = (entry) => (entry.void.length ? 'VOID' : entry.met ? 'met' : 'MISSED');
if (flags.json) {
  console.log(JSON.stringify({ about, figures: table }, null, 2));
} else {
  console.log(`\nMeasured ${about.when} at ${about.commit}, ${about.cores} x ${about.cpu}, server and generator on one core each${quick ? ', QUICK RUN' : ''}\n`);
  console.log('| figure | measured | bar | |\n|---|---|---|---|');
  for (const entry of table) console.log(`| ${entry.name} | ${entry.measured} | ${entry.bar} | ${verdict(entry)} |`);
  for (const entry of table.filter((entry) => entry.void.length)) console.log(`\nVOID: ${entry.name}: ${entry.void.join('; ')}.`);
}
// A table to publish has neither missed bars nor void rows; a quick look has too few samples to judge.
if (!quick && table.some((entry) => entry.void.length || !entry.met)) process.exitCode = 1;

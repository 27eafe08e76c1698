// Where no UDP gets through: Chromium publishes and watches over TCP, and prefers UDP where it does.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { barePages, launch } from './lib/browser.mjs';
import { compareTimes, lostAndRepeated } from './lib/compare.mjs';
import { sleep, until } from './lib/process.mjs';
import { heldByHls, serve } from './lib/server.mjs';

const PATTERN = ['--test-pattern', '--size', '640x360', '--bitrate', '800k'];

/** Watches in a new page. `options` are those of `peers.watchWhep`. */
async function watch(pages, browser, server, options = {}) {
  const page = await pages.open(browser);
  await page.evaluate(
    async ([whep, options]) => {
      window.viewer = await peers.watchWhep(whep, document.querySelector('#first'), options);
    },
    [server.url('/whep/test'), options],
  );
  return page;
}

const frames = (page) => page.evaluate(() => viewer.frames);
const enough = (page, count) => until(`${count} frames`, async () => (await frames(page)).length >= count);

/** The protocol of the pair that Chromium chose, and what came over it. */
const chosen = (page, who) =>
  page.evaluate(async (who) => {
    const stats = await window[who].pc.getStats();
    const reports = [...stats.values()];
    const { selectedCandidatePairId } = reports.find(({ type }) => type === 'transport');
    const sound = reports.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
    const pictures = reports.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    return {
      protocol: stats.get(stats.get(selectedCandidatePairId)?.localCandidateId)?.protocol,
      sound: sound?.packetsReceived,
      lost: (sound?.packetsLost ?? 0) + (pictures?.packetsLost ?? 0),
      dropped: pictures?.framesDropped ?? 0,
    };
  }, who);

/** A TCP relay in front of a port: its connections can be cut. */
async function relay(port) {
  const sockets = new Set();
  let accepted = 0;
  const server = net.createServer((near) => {
    accepted++;
    const far = net.connect(port, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: server.address().port,
    accepted: () => accepted,
    cut: () => sockets.forEach((socket) => socket.destroy()),
    close: () => {
      server.close();
      sockets.forEach((socket) => socket.destroy());
    },
  };
}

describe('over TCP in Chromium', { timeout: 300_000 }, () => {
  let browser;
  let pages;
  before(async () => {
    browser = await launch();
    pages = await barePages();
  });
  after(async () => {
    await browser?.close();
    await pages?.close();
  });

  test('a viewer without UDP sees every frame with its time, and one with UDP uses that', async () => {
    const server = await serve();
    try {
      server.publish('test', PATTERN);
      await server.live('test');
      const udp = await watch(pages, browser, server);
      await enough(udp, 30);
      assert.equal((await chosen(udp, 'viewer')).protocol, 'udp');
      await udp.close();
      const page = await watch(pages, browser, server, { overTcp: true });
      await enough(page, 120);
      const from = { frames: (await frames(page)).length, ...(await chosen(page, 'viewer')) };
      assert.equal(from.protocol, 'tcp');
      await sleep(15_000);
      const held = (await heldByHls(server.url('/hls/test/multivariant.m3u8'))).video;
      const seen = await frames(page);
      const compared = compareTimes(seen, held);
      assert.ok(compared > 350, `only ${compared} of ${seen.length} frames were compared`);
      const now = await chosen(page, 'viewer');
      const { lost, repeated, of } = lostAndRepeated(seen.slice(from.frames), held);
      assert.ok(lost <= now.dropped - from.dropped, `${lost} of ${of} frames lost`);
      assert.equal(repeated, 0, `of ${of} frames`);
      assert.ok(now.sound - from.sound > 500, `${now.sound - from.sound} packets of sound in 15 s`);
      assert.equal(now.lost, 0, 'TCP loses no packet');
      await page.close();
    } finally {
      await server.close();
    }
  });

  test('a publisher without UDP is received whole', async () => {
    const server = await serve();
    try {
      const page = await pages.open(browser);
      await page.evaluate(async (whip) => {
        window.publisher = await peers.publish(whip, document.querySelector('canvas'), { bitrate: 1_500_000, overTcp: true });
      }, server.url('/whip/test'));
      await server.live('test');
      assert.equal((await chosen(page, 'publisher')).protocol, 'tcp');
      await sleep(10_000);
      const held = (await heldByHls(server.url('/hls/test/multivariant.m3u8'))).video;
      assert.ok(held.frames.length > 200, `${held.frames.length} frames`);
      assert.equal(held.holes, null);
      const metrics = await (await fetch(server.url('/metrics'))).text();
      const counted = (name) => Number(metrics.match(new RegExp(`^${name} (.*)$`, 'm'))?.[1] ?? 0);
      assert.ok(counted('bicast_ingest_packets_total') > 500, metrics);
      assert.equal(counted('bicast_ingest_lost_packets_total'), 0);
      assert.ok(counted('bicast_tcp_connections') > 0);
      await page.close();
    } finally {
      await server.close();
    }
  });

  test('a connection that is cut is replaced: the pictures go on in the same session', async () => {
    const server = await serve();
    const line = await relay(server.tcp);
    try {
      server.publish('test', PATTERN);
      await server.live('test');
      const page = await watch(pages, browser, server, { overTcp: line.port });
      await enough(page, 60);
      const before = line.accepted();
      line.cut();
      const had = (await frames(page)).length;
      await until('pictures go on', async () => (await frames(page)).length > had + 120);
      assert.ok(line.accepted() > before, 'over a new connection');
      assert.equal(await page.evaluate(() => viewer.pc.connectionState), 'connected');
      await page.close();
    } finally {
      line.close();
      await server.close();
    }
  });
});

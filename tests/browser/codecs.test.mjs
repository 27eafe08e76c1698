// The codecs beside H.264, published and watched by Chromium, over both paths where there is a place for them in CMAF: VP8 has
// none, HLS gets its sound and says why. A publisher that returns with another codec sends its viewers away to join again.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { barePages, launch } from './lib/browser.mjs';
import { ROOT, until } from './lib/process.mjs';
import { serve } from './lib/server.mjs';

const FPS = 15;

/** A page that draws 320x180 and publishes it. */
async function publish(pages, browser, url, options) {
  const page = await pages.open(browser);
  await page.evaluate(
    async ([whip, settings]) => {
      const canvas = document.querySelector('canvas');
      [canvas.width, canvas.height] = [320, 180];
      window.sending = await peers.publish(whip, canvas, { bitrate: 400_000, ...settings });
    },
    [url, { fps: FPS, ...options }],
  );
  return page;
}

/** A page with two viewers of the same feed. */
async function watch(pages, browser, url, options = {}) {
  const page = await pages.open(browser);
  await page.evaluate(
    async ([whep, settings]) => {
      window.viewers = [];
      for (const id of ['#first', '#second']) {
        window.viewers.push(await peers.watchWhep(whep, document.querySelector(id), settings));
      }
    },
    [url, options],
  );
  return page;
}

/** The frames whose number could be read, of each viewer. */
const readable = (page) =>
  page.evaluate(() => viewers.map(({ frames }) => frames.filter(({ number }) => number !== null)));

/** What Chromium says of the codec that it decodes video with. */
const decodes = (page) =>
  page.evaluate(async () => {
    const reports = [...(await viewers[0].pc.getStats()).values()];
    const inbound = reports.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    return reports.find(({ id }) => id === inbound?.codecId)?.mimeType ?? null;
  });

/** Numbers and timestamps grow together, at 90 kHz by the clock in the picture; both viewers have the same ones. */
function checkTimes([one, other]) {
  const behind = (from, to) => (((to - from) % 2 ** 32) + 2 ** 32) % 2 ** 32;
  for (const frames of [one, other]) {
    for (let n = 1; n < frames.length; n++) {
      const [before, now] = [frames[n - 1], frames[n]];
      assert.ok(now.number > before.number, `frame ${now.number} after ${before.number}`);
      const ticks = behind(before.rtp, now.rtp);
      assert.ok(ticks > 0 && ticks < 90_000 * 60, `${before.rtp}, then ${now.rtp}`);
    }
    const [first, last] = [frames[0], frames.at(-1)];
    const [media, drawn] = [behind(first.rtp, last.rtp) / 90, last.clock - first.clock];
    // Chromium stamps a frame when it takes it from the canvas, somewhat after it was drawn.
    assert.ok(Math.abs(media - drawn) < 500, `${media} ms by RTP, ${drawn} ms by the clock in the picture`);
  }
  const times = new Map(one.map(({ number, rtp }) => [number, rtp]));
  const common = other.filter(({ number }) => times.has(number));
  for (const { number, rtp } of common) assert.equal(rtp, times.get(number), `frame ${number}`);
  assert.ok(common.length > FPS, `only ${common.length} frames were seen by both viewers`);
}

/** The connections that the server ended: it says so by DTLS, which Chromium shows in the transport. */
const ended = (page) =>
  page.evaluate(() => viewers.filter(({ pc }) => pc.getReceivers()[0].transport.state === 'closed').length);

describe('in Chromium', { timeout: 240_000 }, () => {
  let browser;
  let pages;
  let server;
  before(async () => {
    browser = await launch();
    pages = await barePages();
    server = await serve();
  });
  after(async () => {
    await browser?.close();
    await pages?.close();
    await server?.close();
  });

  /** Publishes a feed and waits until two WebRTC viewers have seen three seconds of it. */
  async function overWebrtc(codec) {
    const id = codec.toLowerCase();
    const publisher = await publish(pages, browser, server.url(`/whip/${id}`), { codec });
    await until('the feed is live', async () => (await server.feed(id)).state === 'live');
    const viewer = await watch(pages, browser, server.url(`/whep/${id}`));
    await until('both viewers see three seconds', async () => {
      return (await readable(viewer)).every((frames) => frames.length > 3 * FPS);
    });
    assert.equal(await decodes(viewer), `video/${codec}`);
    checkTimes(await readable(viewer));
    const { tracks, paths } = await server.feed(id);
    assert.deepEqual(tracks.map((track) => track.codec), [id, 'opus']);
    assert.equal(paths.realtime.available, true);
    await viewer.close();
    return { id, publisher, paths };
  }

  const multivariant = (id) =>
    until('HLS has the feed', async () => {
      const answer = await fetch(server.url(`/hls/${id}/multivariant.m3u8`));
      return answer.ok && answer.text();
    });

  test('VP8 goes from page to page; HLS has the sound and says why it has no more', async () => {
    const { id, publisher, paths } = await overWebrtc('VP8');
    assert.equal(paths.hls.available, false);
    assert.match(paths.hls.reason, /^Only the sound is on HLS: VP8 video is not packaged/);
    assert.match(await multivariant(id), /CODECS="opus"/);
    await publisher.close();
  });

  for (const [codec, name] of [
    ['VP9', /CODECS="vp09\.00\.\d\d\.08,opus"/],
    ['AV1', /CODECS="av01\.0\.\d\d[MH]\.08,opus"/],
  ]) {
    test(`${codec} goes from page to page, and plays in hls.js with the same frames`, async () => {
      const { id, publisher } = await overWebrtc(codec);
      assert.match(await multivariant(id), name);
      const page = await pages.open(browser);
      await page.evaluate((url) => {
        window.hls = peers.watchHls(url, document.querySelector('#first'));
      }, server.url(`/hls/${id}/multivariant.m3u8`));
      const painted = () =>
        page.evaluate(() => hls.painted.filter(({ number }) => number !== null));
      await until('hls.js shows three seconds', async () => (await painted()).length > 3 * FPS);
      const shown = await painted();
      for (let n = 1; n < shown.length; n++) {
        assert.ok(shown[n].number > shown[n - 1].number, `frame ${shown[n].number} after ${shown[n - 1].number}`);
      }
      // At the start it may wait for its buffer: it has just joined at the live edge.
      const errors = await page.evaluate(() => hls.errors.filter(({ details }) => details !== 'bufferStalledError'));
      assert.deepEqual(errors, []);
      assert.equal((await server.feed(id)).paths.hls.reason, null);
      await page.close();
      await publisher.close();
    });
  }

  test('AAC plays in hls.js, and over WebRTC the picture comes without it', async () => {
    const clip = path.join(ROOT, 'target/test-assets/clip.mp4');
    const publisher = server.publish('aac', [clip, '--keep-aac']);
    await server.live('aac');
    assert.match(await multivariant('aac'), /CODECS="avc1\.[0-9a-f]{6},mp4a\.40\.2"/);
    const page = await pages.open(browser);
    await page.evaluate((url) => {
      window.hls = peers.watchHls(url, document.querySelector('#first'));
    }, server.url('/hls/aac/multivariant.m3u8'));
    const played = () =>
      page.evaluate(() => {
        const { currentTime, webkitAudioDecodedByteCount, played } = document.querySelector('#first');
        return { currentTime, sound: webkitAudioDecodedByteCount, from: played.length > 0 ? played.start(0) : currentTime };
      });
    await until('hls.js plays five seconds', async () => {
      const { currentTime, from } = await played();
      return currentTime - from > 5;
    });
    const { sound } = await played();
    assert.ok(sound > 10_000, `${sound} bytes of sound were decoded`);
    const errors = await page.evaluate(() => hls.errors.filter(({ details }) => details !== 'bufferStalledError'));
    assert.deepEqual(errors, []);
    await page.close();

    const viewer = await watch(pages, browser, server.url('/whep/aac'));
    const kinds = () =>
      viewer.evaluate(async () => {
        const reports = [...(await viewers[0].pc.getStats()).values()].filter(({ type }) => type === 'inbound-rtp');
        return reports.filter((report) => (report.framesDecoded ?? report.packetsReceived) > 20).map(({ kind }) => kind);
      });
    await until('pictures come', async () => (await kinds()).includes('video'));
    assert.deepEqual(await kinds(), ['video']);
    const { paths, warnings } = await server.feed('aac');
    assert.equal(paths.realtime.available, false);
    assert.match(paths.realtime.reason, /the sound is AAC/);
    assert.ok(warnings.includes(paths.realtime.reason));
    await viewer.close();
    await publisher.stop();
  });

  test('a publisher that returns with another codec: viewers are told, and join again', async () => {
    const [whip, whep] = [server.url('/whip/change'), server.url('/whep/change')];
    const first = await publish(pages, browser, whip, { codec: 'VP8' });
    await until('the feed is live', async () => (await server.feed('change')).state === 'live');
    const viewer = await watch(pages, browser, whep);
    await until('VP8 is seen', async () => (await readable(viewer)).every((frames) => frames.length > 5));
    await first.evaluate(() => fetch(sending.session, { method: 'DELETE' }));
    await first.close();
    await until('the publisher is gone', async () => (await server.feed('change')).state === 'offline');
    assert.equal(await ended(viewer), 0, 'a publisher that only left sends nobody away');

    const second = await publish(pages, browser, whip, { codec: 'H264' });
    await until('both connections end', async () => (await ended(viewer)) === 2);
    const [session] = await viewer.evaluate(() => viewers.map((one) => one.session));
    assert.equal((await fetch(session, { method: 'DELETE' })).status, 404, 'the session is over on the server too');
    const again = await watch(pages, browser, whep);
    await until('H264 is seen', async () => (await readable(again)).every((frames) => frames.length > 2 * FPS));
    assert.equal(await decodes(again), 'video/H264');
    checkTimes(await readable(again));
    const { paths } = await until('HLS has the picture', async () => {
      const feed = await server.feed('change');
      return feed.paths.hls.available && feed;
    });
    assert.equal(paths.hls.reason, null);
    for (const page of [viewer, again, second]) await page.close();
  });

  test('stereo and in-band FEC reach a viewer who wants them, and mono one who does not say so', async () => {
    const publisher = await publish(pages, browser, server.url('/whip/stereo'), {
      codec: 'VP8',
      leftOnly: true,
      opus: ';sprop-stereo=1',
    });
    await until('the feed is live', async () => (await server.feed('stereo')).state === 'live');
    const sides = async (opus) => {
      const viewer = await watch(pages, browser, server.url('/whep/stereo'), { opus });
      const [fmtp, loudness] = await viewer.evaluate(async () => {
        const { pc } = viewers[0];
        const track = pc.getReceivers().find((receiver) => receiver.track.kind === 'audio').track;
        return [/^a=fmtp:111 (.*)$/m.exec(pc.remoteDescription.sdp)[1], await peers.loudness(track)];
      });
      await viewer.close();
      return { fmtp, loudness };
    };
    const stereo = await sides(';stereo=1');
    for (const parameter of ['useinbandfec=1', 'stereo=1', 'sprop-stereo=1']) {
      assert.ok(stereo.fmtp.split(';').includes(parameter), `${parameter}: ${stereo.fmtp}`);
    }
    const [left, right] = stereo.loudness;
    assert.ok(left > 0.01 && right < left / 100, `left ${left}, right ${right}`);
    // What Chromium makes of it where its own offer does not ask for stereo: no answer changes that.
    const mono = await sides('');
    assert.match(mono.fmtp, /sprop-stereo=1/);
    assert.ok(mono.loudness.length === 1 || mono.loudness[1] > mono.loudness[0] / 2, `${mono.loudness}`);
    await publisher.close();
  });
});

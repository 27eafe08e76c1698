// A minute of both paths side by side, frame by frame; then the publisher is killed and starts anew.

import path from 'node:path';
import { compareTimes, holes, lostAndRepeated, paintedLosses } from '../lib/compare.mjs';
import { ROOT, sleep, start, until } from '../lib/process.mjs';
import { heldByHls, serve } from '../lib/server.mjs';

const PATTERN = ['--test-pattern', '--size', '1280x720', '--fps', '30', '--bitrate', '2500k'];

/** Losses and repeats of 60 s, the identity's counts, and the restart. */
export async function losses({ browser, pages, quick, say }) {
  const seconds = quick ? 15 : 60;
  const server = await serve();
  const multivariant = server.url('/hls/loss/multivariant.m3u8');
  const held = async () => (await heldByHls(multivariant)).video;
  try {
    const first = server.publish('loss', PATTERN);
    await server.live('loss');
    const page = await pages.open(browser);
    await page.evaluate(
      async ([whep, url]) => {
        window.realtime = await peers.watchWhep(whep, document.querySelector('#first'));
        window.hls = peers.watchHls(url, document.querySelector('#second'));
      },
      [server.url('/whep/loss'), multivariant],
    );
    await sleep(6_000);
    const counts = () =>
      page.evaluate(() => [
        realtime.frames.length,
        hls.painted.length,
        document.querySelector('#second').getVideoPlaybackQuality().droppedVideoFrames,
      ]);
    const from = await counts();
    await sleep(seconds * 1000);
    // What the browser itself says it left unpainted: told beside the losses, not taken off them.
    const unpainted = (await counts())[2] - from[2];
    const frames = (await page.evaluate(() => realtime.frames)).slice(from[0]);
    const painted = (await page.evaluate(() => hls.painted)).slice(from[1]);
    const inCmaf = await held();
    let [compared, unequal] = [0, 0];
    try {
      compared = compareTimes(frames, inCmaf);
    } catch (error) {
      unequal++;
      say(`    ${error.message}`);
    }
    const webrtc = lostAndRepeated(frames, inCmaf);
    // The HLS path loses a frame in the packager (a hole in CMAF) or in the player (a number that was never painted).
    const [inStream, onScreen] = [holes(inCmaf), paintedLosses(painted)];
    const hls = { lost: inStream.lost + onScreen.lost, unpainted, repeated: inStream.repeated + onScreen.repeated, inStream, onScreen };
    say(`    WebRTC ${webrtc.lost} lost, ${webrtc.repeated} repeated of ${webrtc.of}; HLS in CMAF ${JSON.stringify(inStream)}, on screen ${JSON.stringify(onScreen)} of ${painted.length}, ${unpainted} left unpainted by the browser`);

    const aiortc = await aiortcCompares(server, held, say);
    const restart = await restarts(server, page, first, held);
    await page.close();
    return { seconds, compared, unequal: unequal + aiortc.unequal, aiortc: aiortc.compared, webrtc, hls, restart };
  } finally {
    await server.close();
  }
}

/** aiortc watches for ten seconds: each of its frames against CMAF. */
async function aiortcCompares(server, held, say) {
  const view = start('aiortc', path.join(ROOT, '.venv/bin/python'), [
    path.join(ROOT, 'tests/aiortc/view.py'), '--whep', server.url('/whep/loss'), '--local', '127.0.0.1', '--seconds', '10',
  ]);
  const { code } = await view.exited;
  await sleep(300);
  const line = view.output().split('\n').findLast((text) => text.startsWith('{'));
  if (code !== 0 || !line) {
    say(`    aiortc failed: ${view.output().split('\n').slice(-5).join(' / ')}`);
    return { compared: 0, unequal: 0 };
  }
  const frames = JSON.parse(line).frames.map(([number, rtp]) => ({ number, rtp }));
  await sleep(1_500);
  try {
    return { compared: compareTimes(frames, await held()), unequal: 0 };
  } catch (error) {
    say(`    aiortc: ${error.message}`);
    return { compared: 0, unequal: 1 };
  }
}

/** Kills the publisher and starts it anew; both viewers have to go on by themselves. */
async function restarts(server, page, first, held) {
  await first.kill();
  const had = await page.evaluate(() => realtime.frames.length);
  let second;
  try {
    await until('a publisher is let in again', async () => {
      if (!second?.running()) second = server.publish('loss', PATTERN);
      await sleep(1_000);
      const { epoch, state } = await server.feed('loss');
      return second.running() && epoch === 1 && state === 'live';
    });
    await until('WebRTC goes on', () => page.evaluate((n) => realtime.frames.length > n + 300, had));
    await until('HLS goes on', () =>
      page.evaluate(() => {
        const restart = hls.painted.findLastIndex((frame, n) => n > 0 && frame.number < hls.painted[n - 1].number);
        return restart > 0 && hls.painted.at(-1).number > 90;
      }),
    );
    const frames = (await page.evaluate(() => realtime.frames)).slice(had + 1);
    const compared = compareTimes(frames, await held());
    return { ok: compared > 100, compared, why: `only ${compared} frames compared` };
  } catch (error) {
    return { ok: false, compared: 0, why: error.message };
  }
}

// A publisher that is killed and started again, over and over: how long after the new one's first picture its viewer has a picture.

import { until } from '../lib/process.mjs';
import { serve } from '../lib/server.mjs';

const PATTERN = ['--retry', '--test-pattern', '--size', '1280x720', '--fps', '30', '--bitrate', '2500k'];

/** 20 restarts under one viewer. The times are from the drawing of the new publisher's first picture to its being decoded, in ms. */
export async function restarts({ browser, pages, quick, say }) {
  const count = quick ? 4 : 20;
  const server = await serve();
  try {
    let publisher = server.publish('again', PATTERN);
    await server.live('again');
    const page = await pages.open(browser);
    const session = await page.evaluate(async (url) => {
      window.realtime = await peers.watchWhep(url, document.querySelector('#first'));
      return realtime.session;
    }, server.url('/whep/again'));
    const times = [];
    for (let n = 0; n < count; n++) {
      await until('a second of pictures', () => page.evaluate(() => realtime.frames.at(-1)?.number >= 30));
      await publisher.kill();
      const had = await page.evaluate(() => realtime.frames.length);
      publisher = server.publish('again', PATTERN);
      // Whatever comes of the new publisher first: a picture that the viewer did not get makes the time longer, not shorter.
      const first = await until('the picture is back', () =>
        page.evaluate((had) => {
          const back = realtime.frames.findIndex((frame, n) => n >= Math.max(had, 1) && frame.number !== null && frame.number < realtime.frames[n - 1].number);
          if (back < 0) return null;
          const { number, age } = realtime.frames[back];
          return { number, age };
        }, had),
      );
      times.push(first.age + (first.number * 1000) / 30);
    }
    const same = await page.evaluate(() => realtime.pc.connectionState);
    await page.close();
    say(`    ${times.map(Math.round).join(' ')} ms`);
    return { count, session, longest: Math.max(...times), connected: same === 'connected', times };
  } finally {
    await server.close();
  }
}

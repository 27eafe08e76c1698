// One `<bicast-player>` on a customer's page, moved between its paths, and what of it came on the screen.
//
// Verdicts come from the screen and from CMAF alone. What the player says of itself is asked for only where the question is whether
// it says the truth.

import { sleep, until } from './process.mjs';
import { changes, longestStill, lostAndRepeated, record, unreadable, VIEW } from './screen.mjs';

/** Frames per second of the test pattern. */
export const FPS = 30;
const now = () => performance.timeOrigin + performance.now();

/** Opens a page with one player of `feed`; `server` is the origin that it is to use. */
export async function openPlayer(browser, pages, server, feed, attributes = {}) {
  const page = await browser.newPage({ viewport: VIEW });
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.stack ?? String(error)));
  const query = new URLSearchParams({ server, feed, ...attributes });
  await page.goto(`${pages.origin}player?${query}`);
  await page.waitForFunction(() => window.player?.visible?.state === 'live');
  return { page, errors };
}

/** Runs `act` in the page and waits until the player has switched; tells the switch as the player saw it. */
async function switched(page, act, argument) {
  return page.evaluate(
    async ([act, argument]) => {
      const done = new Promise((resolve, reject) => {
        const off = player.on('switched', (one) => {
          off();
          resolve(one);
        });
        setTimeout(() => reject(new Error(`no switch came: ${player.state}, ${player.legs.hls.state}`)), 20_000);
      });
      new Function('argument', act)(argument);
      return done;
    },
    [act, argument],
  );
}

/** How far the screen is behind the drawing of the frames, up to one constant, in ms: the median over a stretch of time. */
function lag(screen, from, to) {
  const lags = changes(screen)
    .filter(({ at }) => at >= from && at <= to)
    .map(({ at, number }) => at - (number * 1000) / FPS)
    .sort((a, b) => a - b);
  return lags[lags.length >> 1] ?? null;
}

const HLS_SETTLES_MS = 2_500;
const BEFORE_MS = 700;

/** WebRTC to LL-HLS on command. `screen` is kept for the verdict, which needs the numbers in CMAF. */
export async function failover(page) {
  const recorded = await record(page);
  await sleep(BEFORE_MS + Math.random() * 1000);
  const loadedBefore = await page.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => name.includes('/hls/')).length);
  const from = now();
  const told = await switched(page, "player.switchTo('hls')");
  await sleep(HLS_SETTLES_MS);
  return { screen: await recorded.stop(), from, to: now(), told, loadedBefore };
}

/** What a failover cost, by the screen. `held` are the numbers in CMAF. */
export function judgeFailover({ screen, from, to }, held) {
  const seen = lostAndRepeated(screen, held, from - BEFORE_MS, to);
  const still = longestStill(screen, from - 100, to);
  const resumed = from + stillEnd(screen, from, to);
  const [before, after] = [lag(screen, from - BEFORE_MS, from), lag(screen, resumed, resumed + 1000)];
  return { ...seen, still, difference: after - before, black: unreadable(screen) };
}

/** When, after `from`, the longest still picture ended. */
function stillEnd(screen, from, to) {
  const seen = changes(screen).filter(({ at }) => at >= from - 100 && at <= to);
  let [most, end] = [0, 0];
  for (let n = 1; n < seen.length; n++) {
    const stood = seen[n].at - seen[n - 1].at;
    if (stood > most) [most, end] = [stood, seen[n].at - from];
  }
  return end;
}

/** LL-HLS to WebRTC on command. */
export async function comeBack(page, way = 'jump') {
  const recorded = await record(page);
  await sleep(BEFORE_MS + Math.random() * 1000);
  const from = now();
  const gapBefore = await page.evaluate(() => player.gapMs);
  const told = await switched(page, "player.returnWay = argument; player.switchTo('realtime')", way);
  const to = now();
  await sleep(1_000);
  const screen = await recorded.stop();
  const seen = changes(screen).filter(({ at }) => at >= from && at <= to + 500);
  let [skipped, back] = [0, 0];
  for (let n = 1; n < seen.length; n++) {
    const step = seen[n].number - seen[n - 1].number;
    skipped = Math.max(skipped, step - 1);
    if (step < 0) back++;
  }
  return { told, gapBefore, skipped, back, still: longestStill(screen, from, to + 500), black: unreadable(screen) };
}

/** Back by `seconds` from what is shown; the frame that the screen then stands on. The player stays paused there. */
export async function rewind(page, seconds) {
  const recorded = await record(page);
  await sleep(BEFORE_MS);
  const from = now();
  const told = await page.evaluate(async (seconds) => {
    player.pause();
    return player.rewind(seconds);
  }, seconds);
  await sleep(400);
  const screen = await recorded.stop();
  const before = changes(screen).findLast(({ at }) => at <= from + 20)?.number ?? null;
  return { told, before, shown: changes(screen).at(-1)?.number ?? null, black: unreadable(screen) };
}

/** The number in CMAF of the frame nearest to a media time. */
export const nearest = (frames, time) =>
  frames.reduce((best, frame) => (Math.abs(frame.time - time) < Math.abs(best.time - time) ? frame : best)).number;

/** Lets the player go on, at the live edge over WebRTC. */
export async function goLive(page) {
  await page.evaluate(() => {
    player.auto();
    player.catchUpToLive('jump');
  });
  await until('the player is live', () => page.evaluate(() => player.state === 'live' && player.legs.realtime.state === 'live'));
}

/** The network takes all UDP at a moment; `network` is the relay's. */
export async function blocked(page, network) {
  const recorded = await record(page);
  await sleep(BEFORE_MS + Math.random() * 1000);
  const from = now();
  network.loss = 1;
  await until('the player is on HLS', () => page.evaluate(() => player.state === 'hls'), 20);
  await sleep(2_500);
  network.loss = 0;
  return { screen: await recorded.stop(), from, to: now(), told: await page.evaluate(() => player.lastSwitch) };
}

/** What a blocked line cost: when the picture moved again, and what was lost. */
export function judgeBlocked({ screen, from, to }, held) {
  const seen = lostAndRepeated(screen, held, from - BEFORE_MS, to);
  return { ...seen, playingAfter: stillEnd(screen, from, to), black: unreadable(screen) };
}

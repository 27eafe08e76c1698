// What the compositor put out, by Chromium's own screencast: it knows nothing of the page, and the page nothing of it.

import { spawn } from 'node:child_process';
import { NUMBER, side } from '../bare/barcode.js';

/** Only the strip with the number is in the window: small pictures, so that none is left out on a busy machine. */
export const VIEW = { width: 640, height: 60 };

/** Records a page's picture until `stop`, which tells `[{at, number}]`: `at` in ms since 1970, `number` null where none can be read. */
export async function record(page) {
  const session = await page.context().newCDPSession(page);
  const frames = [];
  session.on('Page.screencastFrame', ({ data, metadata, sessionId }) => {
    session.send('Page.screencastFrameAck', { sessionId }).catch(() => {});
    frames.push({ at: metadata.timestamp * 1000, jpeg: Buffer.from(data, 'base64') });
  });
  await session.send('Page.startScreencast', { format: 'jpeg', quality: 60, everyNthFrame: 1 });
  return {
    count: () => frames.length,
    stop: async () => {
      await session.send('Page.stopScreencast');
      await session.detach();
      const numbers = await read(frames.map(({ jpeg }) => jpeg));
      return frames.map(({ at }, n) => ({ at, number: numbers[n] ?? null }));
    },
  };
}

/** The number in each picture. */
async function read(pictures) {
  if (pictures.length === 0) return [];
  const size = VIEW.width * VIEW.height;
  const gray = await run('ffmpeg', ['-v', 'error', '-f', 'mjpeg', '-i', 'pipe:0', '-vf', `scale=${VIEW.width}:${VIEW.height}`, '-f', 'rawvideo', '-pix_fmt', 'gray', '-fps_mode', 'passthrough', 'pipe:1'], Buffer.concat(pictures));
  if (gray.length !== size * pictures.length) throw new Error(`${pictures.length} pictures went into ffmpeg, ${gray.length / size} came out`);
  return pictures.map((_, n) => readNumber(gray.subarray(n * size, (n + 1) * size)));
}

function readNumber(luma) {
  const box = side(NUMBER, VIEW.width);
  const at = (bit) => luma[(box >> 1) * VIEW.width + bit * box + (box >> 1)];
  // Neither black nor white is no box: a mixture of two pictures, or something on top of it.
  const bits = Array.from({ length: NUMBER.bits + 1 }, (_, bit) => (at(bit) > 180 ? 1 : at(bit) < 75 ? 0 : null));
  if (bits.includes(null) || bits[NUMBER.bits] !== 1) return null;
  return bits.slice(0, NUMBER.bits).reduce((sum, bit, n) => sum + bit * 2 ** n, 0);
}

function run(program, args, input) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const [out, errors] = [[], []];
    child.stdout.on('data', (data) => out.push(data));
    child.stderr.on('data', (data) => errors.push(data));
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve(Buffer.concat(out)) : reject(new Error(`${program}: ${Buffer.concat(errors)}`))));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/** Each number once, with when it came on the screen; unreadable pictures are left out and counted by `unreadable`. */
export function changes(screen) {
  const seen = [];
  for (const { at, number } of screen) {
    if (number !== null && number !== seen.at(-1)?.number) seen.push({ at, number });
  }
  return seen;
}

/** Pictures without a number after the first one with one: black, or something else. */
export function unreadable(screen) {
  const first = screen.findIndex(({ number }) => number !== null);
  return first < 0 ? screen.length : screen.slice(first).filter(({ number }) => number === null).length;
}

/** The longest time that one picture stood between two moments. */
export function longestStill(screen, from, to) {
  const seen = changes(screen).filter(({ at }) => at >= from && at <= to);
  return Math.max(0, ...seen.slice(1).map(({ at }, n) => at - seen[n].at));
}

/**
 * How many of the `held` numbers (those in CMAF, in their order) between two moments never came on the screen, and how many came
 * again after they, or a later one, had been there.
 */
export function lostAndRepeated(screen, held, from, to) {
  const seen = changes(screen).filter(({ at }) => at >= from && at <= to);
  if (seen.length === 0) return { lost: 0, repeated: 0, of: 0, missing: [] };
  let repeated = 0;
  let most = -1;
  for (const { number } of seen) {
    if (number <= most) repeated++;
    most = Math.max(most, number);
  }
  const had = new Set(seen.map(({ number }) => number));
  const wanted = held.filter((number) => number >= seen[0].number && number <= most);
  const missing = wanted.filter((number) => !had.has(number));
  return { lost: missing.length, repeated, of: wanted.length, missing };
}

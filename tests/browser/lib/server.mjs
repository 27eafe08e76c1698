// A bicast to test: the built program on free ports, with its pages.

import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { bicast, probe, ROOT, start, until } from './process.mjs';

/** Starts `bicast serve`, where nothing else is said on ports that the system chooses. `ready` is null where it ended instead. */
async function spawnServer(env, { listen = ['127.0.0.1:0', '[::1]:0'], set = [] }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'bicast-'));
  const ready = path.join(folder, 'ready.json');
  const web = path.join(ROOT, 'web-demo/dist');
  writeFileSync(
    path.join(folder, 'bicast.toml'),
    `[http]\nlisten = ${JSON.stringify(listen)}\nweb_root = ${JSON.stringify(web)}\n\n[sfu]\nudp_port = 0\n`,
  );
  const running = start('serve', bicast, ['serve', '--ready-file', ready, ...set.flatMap((one) => ['--set', one])], { cwd: folder, env });
  await until('bicast is ready', () => existsSync(ready) || !running.running());
  return { running, ready: existsSync(ready) ? JSON.parse(readFileSync(ready, 'utf8')) : null };
}

/** Starts `bicast serve` with its defaults but for the ports and what is `set`, and waits until it is ready. */
export async function serve(options = {}) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BICAST_')));
  let { running, ready } = await spawnServer(env, options);
  // It asks the system for a free UDP port on IPv4 and takes the same on IPv6, where somebody else may sit.
  for (let again = 0; ready === null && again < 2 && /already in use/.test(running.output()); again++) {
    ({ running, ready } = await spawnServer(env, options));
  }
  if (ready === null) throw new Error(`it ended: ${running.output()}`);
  const { http } = ready;
  /** Each family has a port of its own. */
  const url = (where, host = '127.0.0.1') => `http://${http.find((address) => address.startsWith(`${host}:`))}${where}`;
  const json = async (where) => {
    const response = await fetch(url(where));
    if (!response.ok) throw new Error(`${where}: ${response.status}: ${await response.text()}`);
    return response.json();
  };
  const children = [];
  return {
    ...running,
    url,
    json,
    /** The addresses of HTTP. */
    http,
    /** The TCP port of WebRTC. */
    tcp: Number(ready.tcp[0].split(':').at(-1)),
    feed: (id) => json(`/v1/feeds/${id}`),
    /**
     * Waits until the feed is live, and until HLS has a whole segment: hls.js 1.7 takes a playlist of parts alone for an
     * empty one and gives up after two tries (levelEmptyError).
     */
    live: async (id) => {
      await until(`feed ${id} is live`, async () => (await json(`/v1/feeds/${id}`)).state === 'live');
      await until('HLS can be played', async () => {
        const playlist = await fetch(url(`/hls/${id}/video0/media.m3u8`));
        return playlist.ok && (await playlist.text()).includes('#EXTINF');
      });
    },
    /** Starts a `bicast publish`. */
    publish: (id, args, host) => {
      const child = start('publish', bicast, ['publish', '--whip', url(`/whip/${id}`, host), ...args], { env });
      children.push(child);
      return child;
    },
    /** Ends everything; a panic in the log fails the test. */
    close: async () => {
      for (const child of children) await child.kill();
      await running.kill();
      const log = running.output();
      if (/panicked/.test(log)) throw new Error(`bicast panicked:\n${log}`);
    },
  };
}

/** Ends a `bicast publish --json` in order, and tells what it counted in all. */
export async function endAndCount(publisher) {
  await publisher.stop();
  const last = publisher.output().trim().split('\n').at(-1);
  const counted = JSON.parse(last);
  if (counted.state !== 'stopped') throw new Error(`the publisher's last word is ${last}`);
  return counted;
}

/** What the HLS path holds, frame by frame, with the numbers in the pictures. */
export async function heldByHls(multivariant) {
  const { stdout } = await promisify(execFile)(probe, [multivariant, '--barcode'], { maxBuffer: 1 << 28 });
  const { renditions } = JSON.parse(stdout);
  return { video: renditions.find((r) => r.video), audio: renditions.find((r) => !r.video) };
}

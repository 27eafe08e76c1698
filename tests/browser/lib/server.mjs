// A bicast to test: the built program on free ports, with its pages.

import { execFile } from 'node:child_process';
import dgram from 'node:dgram';
import { mkdtempSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { bicast, probe, ROOT, start, until } from './process.mjs';

async function freeTcp() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '::', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function freeUdp() {
  const socket = dgram.createSocket('udp6');
  await new Promise((resolve) => socket.bind(0, '::', resolve));
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

/** Starts `bicast serve` with its defaults but for the ports, and waits until it is ready. */
export async function serve() {
  const [port, udp] = [await freeTcp(), await freeUdp()];
  const folder = mkdtempSync(path.join(tmpdir(), 'bicast-'));
  const web = path.join(ROOT, 'web-demo/dist');
  writeFileSync(
    path.join(folder, 'bicast.toml'),
    `[http]\nlisten = ["127.0.0.1:${port}", "[::1]:${port}"]\nweb_root = ${JSON.stringify(web)}\n\n[sfu]\nudp_port = ${udp}\n`,
  );
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BICAST_')));
  const running = start('serve', bicast, ['serve'], { cwd: folder, env });
  const url = (where, host = '127.0.0.1') => `http://${host}:${port}${where}`;
  const json = async (where) => {
    const response = await fetch(url(where));
    if (!response.ok) throw new Error(`${where}: ${response.status}: ${await response.text()}`);
    return response.json();
  };
  await until('bicast is ready', async () => {
    if (!running.running()) throw new Error(`it ended: ${running.output()}`);
    return (await fetch(url('/readyz'))).ok;
  });
  const children = [];
  return {
    ...running,
    url,
    udp,
    json,
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

/** What the HLS path holds, frame by frame, with the numbers in the pictures. */
export async function heldByHls(multivariant) {
  const { stdout } = await promisify(execFile)(probe, [multivariant, '--barcode'], { maxBuffer: 1 << 28 });
  const { renditions } = JSON.parse(stdout);
  return { video: renditions.find((r) => r.video), audio: renditions.find((r) => !r.video) };
}

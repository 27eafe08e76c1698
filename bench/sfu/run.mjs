// One measurement: a server on one core, `bicast bench viewers` on another, and its summary.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';

export const bicast = process.env.TEST_BICAST;

/** The exit code of a run that does not count. */
const VOID = 3;
const READY_MS = 15_000;
/** A run that takes longer is stuck. */
const RUN_MS = 280_000;

/** A TCP port that nobody uses. */
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function serve(core) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'bicast-bench-'));
  const ready = path.join(folder, 'ready.json');
  const port = await freePort();
  const child = spawn(
    'taskset',
    ['-c', String(core), bicast, 'serve', '--http-listen', `127.0.0.1:${port}`, '--udp-port', '0', '--log-level', 'warn', '--ready-file', ready],
    { cwd: folder, stdio: 'ignore' },
  );
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGTERM');
    const patience = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(patience);
    rmSync(folder, { recursive: true, force: true });
  };
  for (const until = Date.now() + READY_MS; Date.now() < until; ) {
    try {
      const { url, pid } = JSON.parse(readFileSync(ready, 'utf8'));
      return { url: url.replace(/\/$/, ''), pid, stop };
    } catch {
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  await stop();
  throw new Error('bicast serve did not become ready');
}

/**
 * Runs `bicast bench viewers` with these flags against a fresh server and returns its summary. A run that could not be
 * made is an error; one that does not count says why in `void`.
 */
export async function viewers({ serverCore, generatorCore, say }, flags) {
  const server = await serve(serverCore);
  try {
    const child = spawn(
      bicast,
      ['bench', 'viewers', '--whep', `${server.url}/whep/load`, '--publish', '--cpu', String(generatorCore), '--server-pid', String(server.pid), '--json', ...flags.map(String)],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const patience = setTimeout(() => child.kill('SIGKILL'), RUN_MS);
    let errors = '';
    child.stderr.on('data', (text) => (errors += text));
    const ended = new Promise((resolve) => child.once('close', resolve));
    let summary;
    for await (const line of readline.createInterface({ input: child.stdout })) {
      const object = JSON.parse(line);
      if (object.summary) summary = object.summary;
      else say(`  ${object.second} s ${object.phase}: ${object.connected} connected, ${Math.round(object.packetsPerSecond)} packets/s, lost ${object.lost}`);
    }
    const code = await ended;
    clearTimeout(patience);
    if (!summary || (code !== 0 && code !== VOID)) throw new Error(errors.trim() || `bench viewers ended with ${code}`);
    return summary;
  } finally {
    await server.stop();
  }
}

// Children that end with the test.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.resolve(import.meta.dirname, '../../..');
const LOGS = path.join(ROOT, 'target/test-logs');
let started = 0;

/** The folder with the built programs: TEST_BICAST names another `bicast`. */
export const bicast = process.env.TEST_BICAST ?? path.join(ROOT, 'target/debug/bicast');
export const probe = path.join(path.dirname(bicast), 'bicast-probe');

/** Starts a program with its output in a file. */
export function start(name, program, args, options = {}) {
  mkdirSync(LOGS, { recursive: true });
  const log = path.join(LOGS, `${process.pid}-browser-${started++}-${name}.log`);
  // Written by the child itself: what it said is there when it has ended, and it never waits for this process to read.
  const out = openSync(log, 'w');
  const child = spawn(program, args, { stdio: ['ignore', out, out], ...options });
  closeSync(out);
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }), (error) => ({ error }));
  const running = () => child.exitCode === null && child.signalCode === null;
  return {
    child,
    log,
    exited,
    running,
    output: () => readFileSync(log, 'utf8'),
    kill: async () => {
      if (running()) child.kill('SIGKILL');
      await exited;
    },
    stop: async () => {
      if (running()) child.kill('SIGTERM');
      return exited;
    },
  };
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the answer is truthy; says what was waited for when it never is. */
export async function until(what, ask, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  let why = '';
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch (error) {
      why = `: ${error.message}`;
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s${why}`);
    await sleep(50);
  }
}

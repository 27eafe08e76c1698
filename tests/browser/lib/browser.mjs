// A real Chromium, and a place to serve bare pages from.

import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
  // Two pages share one window's attention: neither may be slowed down for being behind the other.
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

/** TEST_CHROMIUM names another one. */
const EXECUTABLE =
  process.env.TEST_CHROMIUM ??
  ['chromium', 'chromium-browser', 'google-chrome'].map((name) => `/usr/bin/${name}`).find((file) => existsSync(file));

/** Launches Chromium. */
export function launch() {
  return chromium.launch({ executablePath: EXECUTABLE, headless: true, args: FLAGS });
}

const FILES = {
  '/': ['../bare/index.html', 'text/html'],
  '/peers.js': ['../bare/peers.js', 'text/javascript'],
  '/barcode.js': ['../bare/barcode.js', 'text/javascript'],
  '/player': ['../bare/player.html', 'text/html'],
  '/recorder.js': ['../bare/recorder.js', 'text/javascript'],
  '/edge': ['../bare/edge.html', 'text/html'],
  '/edge.js': ['../bare/edge.js', 'text/javascript'],
  '/hls.js': [createRequire(import.meta.url).resolve('hls.js/dist/hls.min.js'), 'text/javascript'],
  '/shaka.js': [createRequire(import.meta.url).resolve('shaka-player'), 'text/javascript'],
};

/** Serves the bare pages on another origin than bicast's, as a customer's page would be. */
export async function barePages() {
  const server = createServer((request, response) => {
    const file = FILES[new URL(request.url, 'http://x').pathname];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': file[1] });
    return createReadStream(path.resolve(import.meta.dirname, file[0])).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${server.address().port}/`;
  return {
    /** Opens a bare page with `window.peers`. */
    open: async (browser) => {
      const page = await browser.newPage();
      page.on('pageerror', (error) => process.stderr.write(`page error: ${error.stack ?? error}\n`));
      await page.goto(origin);
      await page.waitForFunction(() => window.ready);
      return page;
    },
    origin,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

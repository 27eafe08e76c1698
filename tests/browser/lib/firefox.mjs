// A real Firefox, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/): Playwright drives only a Firefox of its own
// making, and this is about the one that people have. Pages look to tests as Playwright's do, as far as tests need it.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { WebSocket } from 'ws';
import { start, until } from './process.mjs';

/** TEST_FIREFOX names another one. Not `firefox`: Ubuntu's is a snap, which sees no profile in a temporary folder. */
const EXECUTABLE = process.env.TEST_FIREFOX ?? '/usr/bin/firefox-esr';

/** Why there is no Firefox to test with; false where there is one. */
export const firefoxIsMissing = () =>
  existsSync(EXECUTABLE) ? false : `there is no ${EXECUTABLE}; TEST_FIREFOX can name another Firefox`;

const PREFERENCES = {
  // Pictures play without a click, as with Chromium's --autoplay-policy.
  'media.autoplay.default': 0,
  // A microphone that hums. An AudioContext would need a sound card to run: where there is none, Firefox never starts it.
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  // Nothing is fetched from Mozilla, and the profile is a new one every time.
  'app.normandy.enabled': false,
  'app.update.disabledForTesting': true,
  'browser.aboutwelcome.enabled': false,
  'browser.safebrowsing.update.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.update.enabled': false,
  'media.gmp-manager.updateEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.enabled': false,
};

/** Launches Firefox with a profile of its own. */
export async function launchFirefox() {
  const profile = mkdtempSync(path.join(tmpdir(), 'firefox-'));
  const lines = Object.entries(PREFERENCES).map((entry) => `user_pref(${entry.map((part) => JSON.stringify(part)).join(', ')});`);
  writeFileSync(path.join(profile, 'user.js'), lines.join('\n'));
  const args = ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'];
  // Firefox as root refuses to run where HOME is somebody else's, as it is under sudo.
  const running = start('firefox', EXECUTABLE, args, { env: { ...process.env, HOME: profile } });
  const end = async () => {
    await running.kill();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const address = await until('Firefox listens', () => {
      if (!running.running()) throw new Error(`it ended: ${running.output()}`);
      return /WebDriver BiDi listening on (ws:\S+)/.exec(running.output())?.[1];
    });
    const session = await Session.open(`${address}/session`);
    const { capabilities } = await session.send('session.new', { capabilities: {} });
    await session.send('session.subscribe', { events: ['log.entryAdded'] });
    return {
      version: capabilities.browserVersion,
      newPage: () => Page.open(session),
      close: async () => {
        session.close();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** One WebSocket: commands with their answers, and events. */
class Session {
  #socket;
  #waiting = new Map();
  #last = 0;
  #listeners = [];

  static async open(url) {
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    return new Session(socket);
  }

  constructor(socket) {
    this.#socket = socket;
    socket.on('message', (data) => this.#receive(JSON.parse(data)));
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Firefox is gone'));
    });
  }

  #receive(message) {
    if (message.type === 'event') {
      for (const listener of this.#listeners) listener(message.method, message.params);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === 'success') waiting?.resolve(message.result);
    else waiting?.reject(new Error(`${message.error}: ${message.message}`));
  }

  send(method, params) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  on(listener) {
    this.#listeners.push(listener);
  }

  close() {
    this.#socket.close();
  }
}

class Page {
  #session;
  #context;

  static async open(session) {
    const { context } = await session.send('browsingContext.create', { type: 'tab' });
    return new Page(session, context);
  }

  constructor(session, context) {
    this.#session = session;
    this.#context = context;
  }

  /** The one event that tests ask for: errors that nothing in the page caught. */
  on(event, listener) {
    if (event !== 'pageerror') throw new Error(`no such event: ${event}`);
    this.#session.on((method, { type, level, text, source }) => {
      if (method === 'log.entryAdded' && type === 'javascript' && level === 'error' && source.context === this.#context) {
        listener(text);
      }
    });
  }

  async goto(url) {
    await this.#session.send('browsingContext.navigate', { context: this.#context, url, wait: 'complete' });
  }

  /** Runs a function in the page. Argument and answer go as JSON. */
  async evaluate(body, argument = null) {
    const { type, result, exceptionDetails } = await this.#session.send('script.callFunction', {
      functionDeclaration: `async (json) => JSON.stringify((await (${body})(JSON.parse(json))) ?? null)`,
      arguments: [{ type: 'string', value: JSON.stringify(argument) }],
      awaitPromise: true,
      target: { context: this.#context },
    });
    if (type === 'exception') throw new Error(`in the page: ${exceptionDetails.text}`);
    return JSON.parse(result.value);
  }

  waitForFunction(body) {
    return until(`${body}`, () => this.evaluate(body));
  }

  async close() {
    await this.#session.send('browsingContext.close', { context: this.#context });
  }
}

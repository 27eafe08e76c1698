// The demo's pages as a person sees them: opened, measured, photographed.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './process.mjs';

const SHOTS = path.join(ROOT, 'target/test-logs/pages');

/** What has this `data-testid`. */
export const byId = (page, id) => page.locator(`[data-testid="${id}"]`);

/** The text of what has this `data-testid`. */
export const text = async (page, id) => (await byId(page, id).textContent()) ?? '';

/** A page whose errors fail the test. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.stack ?? String(error)));
  await page.goto(url);
  return { page, context, errors };
}

/** Nothing may reach past the right edge: on a phone that makes the page slide sideways. */
export async function checkWidth(page, where) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(over, 0, `${where} is ${over} px too wide`);
}

/** Keeps a picture of the whole page for people. */
export async function shoot(page, name) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: true });
}

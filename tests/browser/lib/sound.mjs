// What a page's player lets be heard, recorded at the last node of its WebAudio graph by code that shares nothing else with it.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { EXPRESSION } from './chirp.mjs';
import { sleep } from './process.mjs';

const RATE = 48_000;

/** Makes a clip whose sound tells its own time; the picture is ffmpeg's test picture. */
export async function chirpClip(file, seconds) {
  const picture = ['-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=30', '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '60', '-bf', '0', '-pix_fmt', 'yuv420p'];
  const [input, codec] = [picture.slice(0, 4), picture.slice(4)];
  const sound = ['-f', 'lavfi', '-i', `aevalsrc=exprs='${EXPRESSION}':s=${RATE}`];
  await promisify(execFile)('ffmpeg', ['-v', 'error', '-y', ...input, ...sound, ...codec, '-c:a', 'aac', '-b:a', '128k', '-ac', '2', '-t', String(seconds), '-movflags', '+faststart', file]);
}

/** Turns the sound on and puts the recorder behind it; `pages` is where its worklet comes from. */
export async function openRecorder(page, pages) {
  await page.evaluate(async (worklet) => {
    player.muted = false;
    while (player.sound.output === null) await new Promise((resolve) => setTimeout(resolve, 20));
    const { context, output } = player.sound;
    await context.audioWorklet.addModule(worklet);
    const node = new AudioWorkletNode(context, 'recorder', { numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
    output.connect(node);
    window.recorder = { context, blocks: [], clock: [] };
    node.port.onmessage = ({ data }) => recorder.blocks.push(data);
    // The sound device's clock against the page's: where it stands still, what is heard late is no fault of the player.
    setInterval(() => recorder.clock.push([performance.now(), context.currentTime * 1000]), 50);
  }, `${pages.origin}recorder.js`);
}

/**
 * Runs `act` in the page and tells what was heard from `before` ms before it to `after` ms behind it: `samples` with their `rate`, the
 * second at which `act` was called, and by how much the sound device's clock fell behind meanwhile.
 */
export async function hear(page, act, { before, after }) {
  await page.evaluate(() => {
    recorder.blocks = [];
    recorder.clock = [];
  });
  await sleep(before);
  const called = await page.evaluate((act) => {
    const at = recorder.context.currentTime;
    new Function(act)();
    return at;
  }, act);
  await sleep(after);
  const { text, from, rate, clock } = await page.evaluate(() => {
    const [first, last] = [recorder.blocks[0], recorder.blocks.at(-1)];
    const samples = new Int16Array(last.from - first.from + last.samples.length);
    for (const block of recorder.blocks) block.samples.forEach((value, n) => { samples[block.from - first.from + n] = Math.max(-1, Math.min(1, value)) * 32_767; });
    const bytes = new Uint8Array(samples.buffer);
    let text = '';
    for (let at = 0; at < bytes.length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
    return { text: btoa(text), from: first.from, rate: recorder.context.sampleRate, clock: recorder.clock };
  });
  const bytes = Buffer.from(text, 'base64');
  const samples = Float32Array.from({ length: bytes.length / 2 }, (_, n) => bytes.readInt16LE(n * 2) / 32_767);
  const behind = clock.map(([wall, sound]) => wall - sound);
  return { samples, rate, called: called - from / rate, slipMs: Math.max(...behind) - Math.min(...behind) };
}

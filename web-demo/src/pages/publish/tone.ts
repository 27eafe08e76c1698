/** A beep at each full second of the server's clock, in step with the flash of the test picture. */

import { FLASH_MS } from "./test-picture";

/** Beeps are put on the sound card's own schedule this far ahead, so that a busy page does not make them late. */
const AHEAD_MS = 400;
const FREQUENCY_HZ = 1000;
/** Ramps this long: a hard edge is a click. */
const RAMP_SECONDS = 0.003;

/** A generated sound track. */
export interface Tone {
  readonly track: MediaStreamTrack;
  stop(): void;
}

/** Starts beeping; needs a gesture of the user before it. `now` is UTC in milliseconds. */
export async function openTone(now: () => number): Promise<Tone> {
  const context = new AudioContext({ sampleRate: 48_000, latencyHint: "interactive" });
  await context.resume();
  const out = context.createMediaStreamDestination();
  const gate = context.createGain();
  gate.gain.value = 0;
  const oscillator = context.createOscillator();
  oscillator.frequency.value = FREQUENCY_HZ;
  oscillator.connect(gate).connect(out);
  oscillator.start();
  let last = 0;
  const schedule = () => {
    const second = Math.ceil(now() / 1000) * 1000;
    const ahead = second - now();
    if (second === last || ahead > AHEAD_MS) return;
    last = second;
    const at = context.currentTime + ahead / 1000;
    const end = at + FLASH_MS / 1000;
    gate.gain.setValueAtTime(0, at);
    gate.gain.linearRampToValueAtTime(0.25, at + RAMP_SECONDS);
    gate.gain.setValueAtTime(0.25, end - RAMP_SECONDS);
    gate.gain.linearRampToValueAtTime(0, end);
  };
  const timer = setInterval(schedule, AHEAD_MS / 4);
  const [track] = out.stream.getAudioTracks();
  if (!track) throw new Error("the audio graph has no track");
  return {
    track,
    stop() {
      clearInterval(timer);
      track.stop();
      void context.close();
    },
  };
}

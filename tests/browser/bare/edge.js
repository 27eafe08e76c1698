// Players of others at the live edge, and what a viewer would complain of: pictures that stand, errors that end it.

/* global Hls, shaka */
const video = document.querySelector('#video');
/** A picture that stands for so long is a stall, in ms: seven frames of 30 a second. */
const STANDS_MS = 250;

/** What has happened since `open`. Times are of performance.now(), in ms. */
export const seen = { frames: 0, stalls: [], waiting: 0, fatal: [], errors: {}, switches: 0, loads: 0, latencies: [] };
let last = null;
let player = null;

function frame(now, { mediaTime }) {
  video.requestVideoFrameCallback(frame);
  seen.frames++;
  last = { at: now, mediaTime };
}

/** A stall is over when the next picture comes; one that lasts is told with its length so far. */
function watch() {
  let standing = null;
  setInterval(() => {
    const now = performance.now();
    if (last === null || now - last.at < STANDS_MS) {
      standing = null;
      return;
    }
    if (standing === null) {
      standing = { at: last.at, mediaTime: last.mediaTime, ms: 0 };
      seen.stalls.push(standing);
    }
    standing.ms = now - last.at;
  }, 50);
}

const count = (name) => {
  seen.errors[name] = (seen.errors[name] ?? 0) + 1;
};

const players = {
  'hls.js': async (address) => {
    const hls = new Hls({ lowLatencyMode: true });
    hls.on(Hls.Events.ERROR, (_, { fatal, details }) => (fatal ? seen.fatal.push(details) : count(details)));
    hls.on(Hls.Events.LEVEL_SWITCHED, () => seen.switches++);
    hls.on(Hls.Events.MANIFEST_LOADED, () => seen.loads++);
    hls.loadSource(address);
    hls.attachMedia(video);
    await new Promise((resolve) => hls.once(Hls.Events.MANIFEST_PARSED, resolve));
    return {
      count: () => hls.levels.length,
      // Levels are in the order of their bandwidth.
      choose: (n) => {
        hls.nextLevel = n;
      },
      latency: () => hls.latency,
    };
  },
  shaka: async (address) => {
    shaka.polyfill.installAll();
    const one = new shaka.Player();
    await one.attach(video);
    one.configure({ streaming: { lowLatencyMode: true }, abr: { enabled: false } });
    one.addEventListener('error', ({ detail }) => {
      const name = `${detail.category}.${detail.code}`;
      if (detail.severity === shaka.util.Error.Severity.CRITICAL) seen.fatal.push(name);
      else count(name);
    });
    one.addEventListener('variantchanged', () => seen.switches++);
    one.addEventListener('loading', () => seen.loads++);
    await one.load(address);
    const tracks = () => one.getVariantTracks().sort((a, b) => a.bandwidth - b.bandwidth);
    return {
      count: () => tracks().length,
      choose: (n) => one.selectVariantTrack(tracks()[n], false),
      latency: () => one.getStats().liveLatency,
    };
  },
};

/** Opens a player and plays; tells how many renditions it may choose from. */
export async function open(name, address) {
  video.requestVideoFrameCallback(frame);
  player = await players[name](address);
  await video.play();
  return player.count();
}

/** From now on: what came before is how it began. */
export function begin() {
  Object.assign(seen, { frames: 0, stalls: [], waiting: 0, fatal: [], errors: {}, switches: 0, latencies: [] });
  video.addEventListener('waiting', () => seen.waiting++);
  watch();
  setInterval(() => seen.latencies.push(player.latency()), 1000);
}

/** Plays rendition `n` from the next segment on. */
export const choose = (n) => player.choose(n);

/** The size of the picture that is shown, and where it stands. */
export const shown = () => ({ height: video.videoHeight, time: video.currentTime, frames: seen.frames, source: video.src });

// A sound that tells its own time: a tone that rises steadily and falls back every few seconds, so that its pitch is its media time.
// Pure: samples in, times out.

/** Seconds from one fall to the next; what is lost or repeated is told from others only up to half of this. */
export const PERIOD = 4;
const LOWEST_HZ = 600;
const HZ_PER_SECOND = 1_500;

/** The tone for ffmpeg's `aevalsrc`. */
export const EXPRESSION = `0.4*sin(2*PI*(${LOWEST_HZ}*mod(t,${PERIOD})+${HZ_PER_SECOND / 2}*pow(mod(t,${PERIOD}),2)))`;

/** The tone at a moment in seconds, -0.4 to 0.4. */
export function chirp(seconds) {
  const at = ((seconds % PERIOD) + PERIOD) % PERIOD;
  return 0.4 * Math.sin(2 * Math.PI * (LOWEST_HZ * at + (HZ_PER_SECOND / 2) * at * at));
}

/** Root mean square below which nothing is heard. The tone's own is 0.28. */
const SILENT = 0.03;
const EDGE_SECONDS = 0.0025;
const WINDOW = 1024;

/** A difference of media times, within half a period. */
const wrap = (seconds) => seconds - PERIOD * Math.round(seconds / PERIOD);

function level(samples, from, to) {
  let sum = 0;
  for (let n = from; n < to; n++) sum += samples[n] ** 2;
  return Math.sqrt(sum / Math.max(to - from, 1));
}

/** The media time, modulo the period, in the middle of the window that begins at `from`; null where no single tone stands out. */
export function timeAt(samples, from, rate) {
  const power = spectrum(samples, from);
  let peak = 1;
  let all = 0;
  for (let bin = 1; bin < power.length - 1; bin++) {
    all += power[bin];
    if (power[bin] > power[peak]) peak = bin;
  }
  const near = power[peak - 1] + power[peak] + power[peak + 1];
  if (!(near > 0.6 * all)) return null;
  // The vertex of a parabola through the logarithms: exact for a Gaussian peak, and a Hann window's is nearly one.
  const [a, b, c] = [power[peak - 1], power[peak], power[peak + 1]].map((value) => Math.log(value + 1e-20));
  const bin = peak + (a - c) / (2 * (a - 2 * b + c));
  return ((bin * rate) / WINDOW - LOWEST_HZ) / HZ_PER_SECOND;
}

/** Power in each bin of a Hann window. */
function spectrum(samples, from) {
  const re = new Float64Array(WINDOW);
  const im = new Float64Array(WINDOW);
  for (let n = 0; n < WINDOW; n++) {
    let place = 0;
    for (let bit = 1, value = n; bit < WINDOW; bit <<= 1, value >>= 1) place = (place << 1) | (value & 1);
    re[place] = samples[from + n] * (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW));
  }
  for (let size = 2; size <= WINDOW; size <<= 1) {
    for (let start = 0; start < WINDOW; start += size) {
      for (let n = 0; n < size / 2; n++) {
        const angle = (-2 * Math.PI * n) / size;
        const [even, odd] = [start + n, start + n + size / 2];
        const r = re[odd] * Math.cos(angle) - im[odd] * Math.sin(angle);
        const i = re[odd] * Math.sin(angle) + im[odd] * Math.cos(angle);
        [re[odd], im[odd]] = [re[even] - r, im[even] - i];
        [re[even], im[even]] = [re[even] + r, im[even] + i];
      }
    }
  }
  return Float64Array.from({ length: WINDOW / 2 }, (_, bin) => re[bin] ** 2 + im[bin] ** 2);
}

/** Media time minus the recording's own, the median over the windows between two samples; null where none can be read. */
function offset(samples, rate, from, to) {
  const read = [];
  for (let at = Math.max(from, 0); at + WINDOW <= Math.min(to, samples.length); at += Math.round(rate * 0.005)) {
    const time = timeAt(samples, at, rate);
    if (time !== null) read.push(time - (at + WINDOW / 2) / rate);
  }
  if (read.length === 0) return null;
  const [first] = read;
  const apart = read.map((one) => wrap(one - first)).sort((a, b) => a - b);
  return first + apart[apart.length >> 1];
}

/** Sound that is read on each side of a cut, in seconds. */
const SIDE_SECONDS = 0.08;

/**
 * The longest silence between two moments of a recording (seconds from its beginning), and the media that lies between the sounds on
 * both sides of it: positive where it was lost, negative where it came twice. Null where there is no silence, or no tone beside it.
 */
export function silence(samples, rate, from, to) {
  const step = Math.round(rate * EDGE_SECONDS);
  let [best, begin] = [null, null];
  const last = Math.min(Math.round(to * rate), samples.length - step);
  for (let at = Math.round(from * rate); at <= last; at += step) {
    if (level(samples, at, at + step) < SILENT) begin ??= at;
    else {
      if (begin !== null && (best === null || at - begin > best.end - best.begin)) best = { begin, end: at };
      begin = null;
    }
  }
  if (best === null) return null;
  const side = Math.round(SIDE_SECONDS * rate);
  const before = offset(samples, rate, best.begin - side, best.begin);
  const after = offset(samples, rate, best.end, best.end + side);
  if (before === null || after === null) return null;
  const silentMs = ((best.end - best.begin) / rate) * 1000;
  const lostMs = wrap(best.end / rate + after - (best.begin / rate + before)) * 1000;
  return { at: best.begin / rate, silentMs, lostMs };
}

// The smallest publisher and viewers that a browser can be: nothing of the demo's player is in here, so that what a
// test sees is bicast's doing.

import { age, draw, CLOCK, NUMBER, read, side, wallClock } from './barcode.js';

/** As if nothing but TCP got through: an answer without its UDP candidates, with another TCP port where one is given. */
function withoutUdp(sdp, overTcp) {
  const tcp = sdp.replace(/^a=candidate:\S+ \d+ udp .*\r\n/gim, '');
  return overTcp === true ? tcp : tcp.replace(/^(a=candidate:.*) \d+ typ host tcptype passive/gm, `$1 ${overTcp} typ host tcptype passive`);
}

/** POSTs an offer and takes the answer. Returns the session's URL and when the POST was sent. */
async function exchange(pc, url, { opus = '', overTcp = false } = {}) {
  const offer = await pc.createOffer();
  // There is no other place than the description to say what Opus should be (RFC 7587, 7.1).
  await pc.setLocalDescription({ type: 'offer', sdp: offer.sdp.replace(/useinbandfec=1/, `$&${opus}`) });
  const posted = performance.now();
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp' },
    body: pc.localDescription.sdp,
  });
  if (response.status !== 201) throw new Error(`${url}: ${response.status}: ${await response.text()}`);
  const session = new URL(response.headers.get('Location'), url).href;
  const sdp = await response.text();
  await pc.setRemoteDescription({ type: 'answer', sdp: overTcp ? withoutUdp(sdp, overTcp) : sdp });
  return { session, posted };
}

/** Watches by WHEP. Every decoded frame is kept: RTP timestamp, number and clock in the picture, when it was decoded. */
export async function watchWhep(url, video, { decoded = true, opus = '', overTcp = false } = {}) {
  const pc = new RTCPeerConnection();
  const state = { pc, frames: [], painted: [], posted: null, session: null };
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addTransceiver('audio', { direction: 'recvonly' });
  pc.ontrack = ({ track, streams }) => {
    video.srcObject ??= streams[0] ?? new MediaStream([track]);
    if (track.kind === 'video' && decoded) collect(track, state);
  };
  watchPaint(video, state);
  Object.assign(state, await exchange(pc, url, { opus, overTcp }));
  return state;
}

/** Every frame that the decoder gives, also those that are never painted. */
async function collect(track, state) {
  // A deep queue: a stall of this page must not look like a loss.
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 300 }).readable.getReader();
  for (;;) {
    const { value: frame, done } = await reader.read();
    if (done) return;
    const at = performance.now();
    const rtp = frame.metadata().rtpTimestamp;
    const [number, clock] = await read(frame);
    frame.close();
    state.frames.push({ rtp, number, clock, at, age: clock === null ? null : age(clock, performance.timeOrigin + at) });
  }
}

/** Every frame that is painted: what a person sees and when. */
function watchPaint(video, state) {
  video.requestVideoFrameCallback(async (_, metadata) => {
    if (state.gone) return;
    watchPaint(video, state);
    let frame;
    try {
      frame = new VideoFrame(video);
    } catch {
      return; // nothing decoded yet, or the element was cleared
    }
    // A callback that comes late finds a newer picture in the element than the one it is about: that one is not counted.
    const rtpTimestamp = frame.metadata?.().rtpTimestamp;
    const same =
      metadata.rtpTimestamp === undefined
        ? Math.abs(frame.timestamp / 1e6 - metadata.mediaTime) < 0.005
        : rtpTimestamp === undefined || rtpTimestamp === metadata.rtpTimestamp;
    const [number, clock] = same ? await read(frame) : [null, null];
    frame.close();
    state.painted.push({
      number,
      mediaTime: metadata.mediaTime,
      rtp: metadata.rtpTimestamp,
      presented: metadata.presentedFrames,
      shown: metadata.expectedDisplayTime,
      // On the page's clock; there once sender reports have related the clocks of both ends.
      captured: metadata.captureTime,
      // When it reaches the screen, not when this callback got its turn.
      age: clock === null ? null : age(clock, performance.timeOrigin + metadata.expectedDisplayTime),
    });
  });
}

/** Watches by LL-HLS with hls.js, set to stay close to the live edge. */
export function watchHls(url, video, config = {}) {
  const hls = new Hls({
    lowLatencyMode: true,
    liveSyncDuration: 1.0,
    liveMaxLatencyDuration: 6,
    maxLiveSyncPlaybackRate: 1.1,
    liveSyncOnStallIncrease: 0.1,
    ...config,
  });
  const state = { hls, painted: [], errors: [], stalls: 0, fragments: [], initPTS: null, began: null };
  hls.on(Hls.Events.ERROR, (_, data) => {
    state.errors.push({ at: performance.now(), details: data.details, fatal: data.fatal, reason: `${data.reason ?? data.error}` });
    if (data.details === 'bufferStalledError') state.stalls++;
  });
  hls.on(Hls.Events.INIT_PTS_FOUND, (_, { id, initPTS, timescale }) => {
    if (id === 'main') state.initPTS = initPTS / timescale;
  });
  watchPaint(video, state);
  state.began = performance.now();
  hls.loadSource(url);
  hls.attachMedia(video);
  video.play().catch(() => {});
  return state;
}

/** Ends a WHEP viewer and says goodbye. */
export async function leave(state, video) {
  state.gone = true;
  video.srcObject = null;
  state.pc.close();
  await fetch(state.session, { method: 'DELETE' });
}

/** Ends an hls.js viewer. */
export function destroy(state, video) {
  state.gone = true;
  state.hls.destroy();
  video.removeAttribute('src');
  video.load();
}

/** Draws numbered pictures with the wall clock at `fps` on a canvas, and a band that moves. */
export function picture(canvas, fps = 30) {
  const context = canvas.getContext('2d', { alpha: false });
  const stream = canvas.captureStream(0);
  const [track] = stream.getVideoTracks();
  // Where the specification has it, and where Firefox has it.
  const capture = track.requestFrame ? track : stream;
  const state = { track, number: 0, drawn: [] };
  const began = performance.now();
  const clockTop = canvas.height - side(CLOCK, canvas.width);
  const paint = () => {
    const n = state.number++;
    context.fillStyle = '#345';
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = '#c96';
    context.fillRect((n * 7) % canvas.width, canvas.height / 3, canvas.width / 8, canvas.height / 3);
    draw(context, NUMBER, 0, n % 2 ** NUMBER.bits);
    draw(context, CLOCK, clockTop, Math.round(wallClock()) % 2 ** CLOCK.bits);
    capture.requestFrame();
    // Timers of a worker are not used: a page in front of everybody keeps its timers exact to a millisecond or two.
    setTimeout(paint, Math.max(0, began + ((n + 1) * 1000) / fps - performance.now()));
  };
  paint();
  return state;
}

/** One codec (`H264`, `VP8`, `VP9`, `AV1`), at a bitrate that stays where it is put. */
async function prepareSender(pc, track, bitrate, codec = 'H264') {
  const transceiver = pc.addTransceiver(track, { direction: 'sendonly', sendEncodings: [{ maxBitrate: bitrate, maxFramerate: 30 }] });
  const { codecs } = RTCRtpSender.getCapabilities('video');
  transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => [`video/${codec}`, 'video/rtx'].includes(mimeType)));
  const parameters = transceiver.sender.getParameters();
  parameters.degradationPreference = 'maintain-resolution';
  await transceiver.sender.setParameters(parameters);
  return transceiver;
}

/** A tone that nobody hears, so that the feed has sound: on both sides, or on the left one only. */
function tone(leftOnly) {
  const context = new AudioContext();
  const oscillator = context.createOscillator();
  const gain = context.createGain();
  const out = context.createMediaStreamDestination();
  gain.gain.value = 0.05;
  oscillator.connect(gain);
  const merger = context.createChannelMerger(2);
  gain.connect(merger, 0, 0);
  if (!leftOnly) gain.connect(merger, 0, 1);
  merger.connect(out);
  oscillator.start();
  return out.stream.getAudioTracks()[0];
}

/** Publishes a canvas by WHIP, with a tone (`sound: 'microphone'`: with that) unless `sound` is false. */
export async function publish(url, canvas, options = {}) {
  const { bitrate = 2_500_000, sound = true, codec, fps, leftOnly = false, opus, overTcp } = options;
  const pc = new RTCPeerConnection();
  const drawing = picture(canvas, fps);
  await prepareSender(pc, drawing.track, bitrate, codec);
  const microphone = async () => (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
  if (sound) pc.addTransceiver(sound === 'microphone' ? await microphone() : tone(leftOnly), { direction: 'sendonly' });
  return { pc, drawing, ...(await exchange(pc, url, { opus, overTcp })) };
}

/** The loudness of the two sides of a track, over half a second of it. */
export async function loudness(track) {
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  const sums = [];
  let seconds = 0;
  while (seconds < 0.5) {
    const { value: data } = await reader.read();
    for (let side = 0; side < data.numberOfChannels; side++) {
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: side, format: 'f32-planar' });
      sums[side] = samples.reduce((sum, sample) => sum + sample * sample, sums[side] ?? 0);
    }
    seconds += data.numberOfFrames / data.sampleRate;
    data.close();
  }
  await reader.cancel();
  return sums;
}

/** The floor: canvas -> encoder -> decoder -> video element in one page, no server between. */
export async function loop(canvas, video, { bitrate = 2_500_000 } = {}) {
  const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
  from.onicecandidate = ({ candidate }) => to.addIceCandidate(candidate);
  to.onicecandidate = ({ candidate }) => from.addIceCandidate(candidate);
  const drawing = picture(canvas);
  await prepareSender(from, drawing.track, bitrate);
  const state = { drawing, from, to, frames: [], painted: [] };
  to.ontrack = ({ track, streams, receiver }) => {
    // The same wish that bicast's playout-delay extension expresses.
    receiver.jitterBufferTarget = 0;
    video.srcObject ??= streams[0] ?? new MediaStream([track]);
  };
  watchPaint(video, state);
  await from.setLocalDescription(await from.createOffer());
  await to.setRemoteDescription(from.localDescription);
  await to.setLocalDescription(await to.createAnswer());
  await from.setRemoteDescription(to.localDescription);
  return state;
}

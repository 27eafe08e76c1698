// A bad network between one viewer and bicast: a relay of UDP in user space, for kernels without netem.

import dgram from 'node:dgram';
import { createServer, request as httpRequest } from 'node:http';
import { connect } from 'node:net';

/** What a slow line keeps before it drops: the buffer of a usual access router. */
const QUEUE_MS = 200;

/** Reproducible chance (mulberry32). */
function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const socket = (port, host) =>
  new Promise((resolve, reject) => {
    const made = dgram.createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 }).once('error', reject);
    made.bind(port, host, () => resolve(made));
  });

/** An answer that names one candidate only: the relay's. */
function through(sdp, port) {
  const [first] = sdp.match(/^a=candidate:.*\budp\b.*127\.0\.0\.1.*$/im) ?? [];
  if (!first) throw new Error(`no UDP candidate for 127.0.0.1 in the answer: ${sdp}`);
  const target = Number(first.split(' ')[5]);
  const ours = first.trim().replace(/ 127\.0\.0\.1 \d+ /, ` 127.0.0.1 ${port} `);
  let named = false;
  const lines = sdp.split('\r\n').flatMap((line) => {
    if (!line.startsWith('a=candidate:')) return [line];
    if (named && !line.includes(first.trim())) return [];
    named = true;
    return line.trim() === first.trim() ? [ours] : [];
  });
  return { target, answer: lines.join('\r\n') };
}

/** Passes a request on to another origin, as it is. */
function pass(request, response, origin) {
  const { method, headers } = request;
  const onward = httpRequest(new URL(request.url, origin), { method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}

/**
 * Stands between a viewer and `whep`, an address of WHEP: `url` takes the offers, the media goes through here. What is asked for
 * under another path than `/` is passed on to the same server, a POST to WHEP there included: a page may use it as its server.
 * `network()` says, at any moment, how it is: `loss` is the share of datagrams lost each way, `delay` their time each way in ms, `rate`
 * the bits per second that it takes towards the viewer, behind a queue of `QUEUE_MS`.
 */
export async function relay(whep, network, seed = 1) {
  const [front, back] = [await socket(0, '127.0.0.1'), await socket(0, '127.0.0.1')];
  const random = chance(seed);
  const counts = { toViewer: 0, toServer: 0, lost: 0 };
  const timers = new Set();
  let viewer;
  let target;
  let free = 0;
  /** How long a datagram waits behind the ones before it; null where the queue is full. */
  const queued = (bytes, rate) => {
    const now = performance.now();
    if (Math.max(free - now, 0) > QUEUE_MS) return null;
    free = Math.max(free, now) + (bytes * 8_000) / rate;
    return free - now;
  };
  const forward = (way, bytes, send) => {
    const { loss, delay, rate } = network();
    counts[way]++;
    const waits = rate && way === 'toViewer' ? queued(bytes, rate) : 0;
    if (waits === null || random() < loss) {
      counts.lost++;
      return;
    }
    const timer = setTimeout(() => {
      timers.delete(timer);
      send();
    }, delay + waits);
    timers.add(timer);
  };
  front.on('message', (data, { port, address }) => {
    viewer = { port, address };
    if (target) forward('toServer', data.length, () => back.send(data, target, '127.0.0.1'));
  });
  back.on('message', (data) => {
    if (viewer) forward('toViewer', data.length, () => front.send(data, viewer.port, viewer.address));
  });
  const http = createServer(async (request, response) => {
    const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*', 'Access-Control-Expose-Headers': '*' };
    // A viewer that has joined says who it is in the query.
    const [asked, query] = request.url.split('?');
    const offer = request.method === 'POST' && ['/', new URL(whep).pathname].includes(asked);
    if (!offer && asked !== '/') return pass(request, response, whep);
    if (request.method !== 'POST') return response.writeHead(request.method === 'OPTIONS' ? 204 : 405, cors).end();
    let body = '';
    for await (const text of request) body += text;
    const answered = await fetch(query ? `${whep}?${query}` : whep, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body });
    let text = await answered.text();
    if (answered.status === 201) ({ target, answer: text } = through(text, front.address().port));
    const location = answered.headers.get('Location');
    const headers = { ...cors, 'Content-Type': answered.headers.get('Content-Type') };
    if (location) headers.Location = new URL(location, whep).href;
    return response.writeHead(answered.status, headers).end(text);
  });
  // WebSockets: what goes over them is none of our business.
  const channels = new Set();
  http.on('upgrade', (request, socket, head) => {
    const { hostname, port } = new URL(whep);
    const onward = connect(port, hostname, () => {
      const headers = request.rawHeaders.map((text, n) => (n % 2 ? `${text}\r\n` : `${text}: `)).join('');
      onward.write(`${request.method} ${request.url} HTTP/1.1\r\n${headers}\r\n`);
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    for (const [one, other] of [[socket, onward], [onward, socket]]) {
      channels.add(one);
      one.on('error', () => other.destroy()).on('close', () => channels.delete(one) && other.destroy());
    }
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${http.address().port}/`,
    counts,
    close: async () => {
      for (const timer of timers) clearTimeout(timer);
      front.close();
      back.close();
      for (const channel of channels) channel.destroy();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

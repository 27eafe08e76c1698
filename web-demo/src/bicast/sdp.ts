/** The few changes that an offer of the browser needs. Pure text in, text out. */

/**
 * Says that stereo Opus is wanted. Browsers decode to mono unless their own description carries `stereo=1` (RFC 7587, 6.1),
 * and the WebRTC API has no other place to say it.
 */
export function withStereoOpus(sdp: string): string {
  const payload = /^a=rtpmap:(\d+) opus\/48000\/2/im.exec(sdp)?.[1];
  if (payload === undefined) return sdp;
  const line = new RegExp(`^(a=fmtp:${payload} )(.*?)(\\r?)$`, "m");
  return sdp.replace(line, (whole, head: string, parameters: string, end: string) =>
    /(^|;)\s*stereo=/.test(parameters) ? whole : `${head}${parameters};stereo=1${end}`,
  );
}

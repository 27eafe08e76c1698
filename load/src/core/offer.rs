//! The SDP that viewers and the synthetic feed's publisher offer. The viewer's is close to Chromium's, so that a server
//! does for it what it does for a browser: retransmission streams, playout delay, every codec.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::ice::{Credentials, HOST_PRIORITY};

/// Who offers.
#[derive(Debug, Clone, Copy)]
pub struct LocalEnd<'a> {
    /// The session's number, any.
    pub session: u64,
    /// ICE name and password.
    pub credentials: &'a Credentials,
    /// SHA-256 of the certificate: `AB:CD:…`.
    pub fingerprint: &'a str,
    /// Where the socket is bound.
    pub address: SocketAddr,
}

/// Payload type, encoding, format parameters of what viewers take.
const VIDEO: [(u8, &str, &str); 7] = [
    (102, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    (104, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"),
    (106, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f"),
    (96, "VP8/90000", ""),
    (98, "VP9/90000", "profile-id=0"),
    (45, "AV1/90000", "level-idx=5;profile=0;tier=0"),
    (108, "H265/90000", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
];
const OPUS: (u8, &str, &str) = (111, "opus/48000/2", "minptime=10;useinbandfec=1");

/// The synthetic feed's streams.
pub const VIDEO_SSRC: u32 = 0x0b1c_a571;
/// See [`VIDEO_SSRC`].
pub const AUDIO_SSRC: u32 = 0x0b1c_a572;
/// Payload type of the synthetic video.
pub const VIDEO_PAYLOAD: u8 = 102;
/// Payload type of the synthetic sound.
pub const AUDIO_PAYLOAD: u8 = 111;

/// A viewer's offer: one video and one audio section, to receive.
#[must_use]
pub fn viewer(end: &LocalEnd<'_>) -> String {
    let mut out = session(end, 2);
    let formats: Vec<String> =
        VIDEO.iter().map(|(payload, ..)| format!("{payload} {}", payload + 1)).collect();
    section(&mut out, end, "video", 0, &formats.join(" "), "recvonly");
    for (id, uri) in
        [(4, "urn:3gpp:video-orientation"), (5, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay")]
    {
        line(&mut out, format_args!("a=extmap:{id} {uri}"));
    }
    for (payload, encoding, parameters) in VIDEO {
        codec(&mut out, payload, encoding, parameters);
        for feedback in ["nack", "nack pli", "ccm fir"] {
            line(&mut out, format_args!("a=rtcp-fb:{payload} {feedback}"));
        }
        codec(&mut out, payload + 1, "rtx/90000", &format!("apt={payload}"));
    }
    section(&mut out, end, "audio", 1, &OPUS.0.to_string(), "recvonly");
    codec(&mut out, OPUS.0, OPUS.1, OPUS.2);
    out
}

/// The publisher's offer: H.264 and, with `audio`, Opus, to send.
#[must_use]
pub fn publisher(end: &LocalEnd<'_>, audio: bool) -> String {
    let mut out = session(end, if audio { 2 } else { 1 });
    section(&mut out, end, "video", 0, &VIDEO_PAYLOAD.to_string(), "sendonly");
    codec(&mut out, VIDEO_PAYLOAD, VIDEO[0].1, VIDEO[0].2);
    for feedback in ["nack", "nack pli", "ccm fir"] {
        line(&mut out, format_args!("a=rtcp-fb:{VIDEO_PAYLOAD} {feedback}"));
    }
    source(&mut out, VIDEO_SSRC);
    if audio {
        section(&mut out, end, "audio", 1, &AUDIO_PAYLOAD.to_string(), "sendonly");
        codec(&mut out, AUDIO_PAYLOAD, OPUS.1, OPUS.2);
        source(&mut out, AUDIO_SSRC);
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{text}\r\n");
}

fn session(end: &LocalEnd<'_>, sections: usize) -> String {
    let mut out = String::with_capacity(4_096);
    line(&mut out, format_args!("v=0"));
    line(&mut out, format_args!("o=- {} 2 IN IP4 127.0.0.1", end.session));
    line(&mut out, format_args!("s=-"));
    line(&mut out, format_args!("t=0 0"));
    let mids: Vec<String> = (0..sections).map(|mid| mid.to_string()).collect();
    line(&mut out, format_args!("a=group:BUNDLE {}", mids.join(" ")));
    line(&mut out, format_args!("a=msid-semantic: WMS *"));
    out
}

fn section(out: &mut String, end: &LocalEnd<'_>, kind: &str, mid: u8, formats: &str, direction: &str) {
    let (address, port) = (end.address.ip(), end.address.port());
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    line(out, format_args!("m={kind} {port} UDP/TLS/RTP/SAVPF {formats}"));
    line(out, format_args!("c=IN {family} {address}"));
    line(out, format_args!("a=candidate:1 1 udp {HOST_PRIORITY} {address} {port} typ host"));
    line(out, format_args!("a=end-of-candidates"));
    line(out, format_args!("a=ice-ufrag:{}", end.credentials.ufrag));
    line(out, format_args!("a=ice-pwd:{}", end.credentials.pwd));
    line(out, format_args!("a=fingerprint:sha-256 {}", end.fingerprint));
    line(out, format_args!("a=setup:actpass"));
    line(out, format_args!("a=mid:{mid}"));
    line(out, format_args!("a={direction}"));
    line(out, format_args!("a=rtcp-mux"));
    line(out, format_args!("a=rtcp-rsize"));
}

fn codec(out: &mut String, payload: u8, encoding: &str, parameters: &str) {
    line(out, format_args!("a=rtpmap:{payload} {encoding}"));
    if !parameters.is_empty() {
        line(out, format_args!("a=fmtp:{payload} {parameters}"));
    }
}

fn source(out: &mut String, ssrc: u32) {
    line(out, format_args!("a=msid:bench bench-{ssrc}"));
    line(out, format_args!("a=ssrc:{ssrc} cname:bench"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> [String; 3] {
        let credentials = Credentials { ufrag: "ufrag".into(), pwd: "password-of-22-characters".into() };
        let end = LocalEnd {
            session: 7,
            credentials: &credentials,
            fingerprint: "AB:CD",
            address: "127.0.0.1:5000".parse().unwrap(),
        };
        [viewer(&end), publisher(&end, true), publisher(&end, false)]
    }

    #[test]
    fn offers_are_sdp_for_an_independent_reader() {
        for (text, sections) in texts().iter().zip([2, 2, 1]) {
            let read = rtc::sdp::SessionDescription::unmarshal(&mut std::io::Cursor::new(text)).unwrap();
            assert_eq!(read.media_descriptions.len(), sections);
        }
    }

    #[test]
    fn payload_types_are_used_once_and_every_line_ends() {
        for text in texts() {
            let mut payloads: Vec<&str> =
                text.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split(' ').next()).collect();
            let all = payloads.len();
            payloads.sort_unstable();
            payloads.dedup();
            assert_eq!(payloads.len(), all);
            assert!(text.ends_with("\r\n") && text.lines().all(|line| line.contains('=')));
        }
    }
}

//! The texts of the negotiation, line by line: the same bytes for the same offer, with what browsers need to start at
//! full size.

use std::fmt::Write as _;

use bicast_shared::media::{Codec, TrackKind, parameter};

use super::negotiate::{EXTENSION_URIS, Negotiation, Plan, Taken};
use crate::core::candidates::{self, Candidate};
use crate::core::format::is_stereo;
use crate::core::sdp::OfferedCodec;

/// Our side of the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Local {
    /// A number for the `o=` line, different in every session.
    pub(crate) session_id: u64,
    /// ICE ufrag.
    pub(crate) ufrag: String,
    /// ICE password.
    pub(crate) pwd: String,
    /// SHA-256 fingerprint of our certificate, in capitals with colons.
    pub(crate) fingerprint: String,
    /// Where we can be reached, best first.
    pub(crate) candidates: Vec<Candidate>,
}

/// What the answer tells an encoder about its bitrate, in kbit/s (`x-google-*`: libwebrtc's own parameters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BitrateHints {
    /// Where the bandwidth estimate starts. Without it a browser begins at 300 kbit/s, at a fraction of its size.
    pub(crate) start_kbps: Option<u32>,
    /// The least that it goes down to.
    pub(crate) min_kbps: Option<u32>,
    /// The most that it takes.
    pub(crate) max_kbps: Option<u32>,
}

/// The answer to the publisher.
pub(crate) fn answer(decided: &Negotiation, local: &Local, hints: BitrateHints) -> String {
    let mut text = String::with_capacity(4_096);
    head(&mut text, local.session_id);
    line(&mut text, "a=ice-lite");
    line(&mut text, &format!("a=group:BUNDLE{}", mids(decided)));
    line(&mut text, "a=msid-semantic: WMS *");
    let mut first = true;
    for plan in &decided.sections {
        match plan {
            Plan::Reject { media, protocol, formats, mid } => {
                line(&mut text, &format!("m={media} 0 {protocol} {formats}"));
                line(&mut text, "c=IN IP4 0.0.0.0");
                if let Some(mid) = mid {
                    line(&mut text, &format!("a=mid:{mid}"));
                }
                line(&mut text, "a=inactive");
                // Without meaning here (RFC 8829, 5.3.1), but GStreamer takes no answer with a section that has none.
                transport(&mut text, local);
            }
            Plan::Take(taken) => {
                section(&mut text, taken, local, hints);
                if std::mem::take(&mut first) {
                    candidates::lines(&local.candidates).for_each(|candidate| line(&mut text, &candidate));
                }
            }
        }
    }
    text
}

/// The fragment that answers an ICE restart (RFC 9725, 4.3.3).
pub(crate) fn restart_fragment(decided: &Negotiation, local: &Local) -> String {
    let mut text = String::with_capacity(512);
    line(&mut text, "a=ice-lite");
    line(&mut text, &format!("a=group:BUNDLE{}", mids(decided)));
    if let Some(taken) = decided.taken().next() {
        media(&mut text, taken, &[taken.offered.payload_type]);
        line(&mut text, &format!("a=mid:{}", taken.mid));
        credentials(&mut text, local);
        candidates::lines(&local.candidates).for_each(|candidate| line(&mut text, &candidate));
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push_str("\r\n");
}

fn head(text: &mut String, session_id: u64) {
    line(text, "v=0");
    line(text, &format!("o=- {session_id} 1 IN IP4 127.0.0.1"));
    line(text, "s=-");
    line(text, "t=0 0");
}

fn mids(decided: &Negotiation) -> String {
    decided.taken().fold(String::new(), |mut mids, taken| {
        let _ = write!(mids, " {}", taken.mid);
        mids
    })
}

fn media(text: &mut String, taken: &Taken, payload_types: &[u8]) {
    let kind = match taken.track.kind() {
        TrackKind::Video => "video",
        TrackKind::Audio => "audio",
    };
    let types: Vec<String> = payload_types.iter().map(u8::to_string).collect();
    line(text, &format!("m={kind} 9 UDP/TLS/RTP/SAVPF {}", types.join(" ")));
    line(text, "c=IN IP4 0.0.0.0");
}

fn credentials(text: &mut String, local: &Local) {
    line(text, &format!("a=ice-ufrag:{}", local.ufrag));
    line(text, &format!("a=ice-pwd:{}", local.pwd));
}

/// How a section's transport is reached and secured; all of them have the same.
fn transport(text: &mut String, local: &Local) {
    credentials(text, local);
    line(text, &format!("a=fingerprint:sha-256 {}", local.fingerprint));
    line(text, "a=setup:passive");
}

fn rtpmap(text: &mut String, offered: &OfferedCodec) {
    let channels = if offered.channels > 1 { format!("/{}", offered.channels) } else { String::new() };
    line(
        text,
        &format!("a=rtpmap:{} {}/{}{channels}", offered.payload_type, offered.name, offered.clock_rate),
    );
}

fn section(text: &mut String, taken: &Taken, local: &Local, hints: BitrateHints) {
    let offered = &taken.offered;
    let payload_types: Vec<u8> = [Some(offered.payload_type), taken.rtx].into_iter().flatten().collect();
    media(text, taken, &payload_types);
    transport(text, local);
    line(text, &format!("a=mid:{}", taken.mid));
    for (uri, id) in EXTENSION_URIS.iter().zip(taken.extensions.ids()) {
        if let Some(id) = id {
            line(text, &format!("a=extmap:{id} {uri}"));
        }
    }
    line(text, "a=recvonly");
    line(text, "a=rtcp-mux");
    line(text, "a=rtcp-rsize");
    rtpmap(text, offered);
    let fmtp = fmtp(taken.track.codec, &offered.fmtp, hints);
    if !fmtp.is_empty() {
        line(text, &format!("a=fmtp:{} {fmtp}", offered.payload_type));
    }
    for kind in ["transport-cc", "nack", "nack pli", "ccm fir"] {
        if offered.feedback.iter().any(|feedback| feedback == kind) {
            line(text, &format!("a=rtcp-fb:{} {kind}", offered.payload_type));
        }
    }
    if let Some(rtx) = taken.rtx {
        line(text, &format!("a=rtpmap:{rtx} rtx/90000"));
        line(text, &format!("a=fmtp:{rtx} apt={}", offered.payload_type));
    }
    for rid in &taken.layers {
        line(text, &format!("a=rid:{rid} recv"));
    }
    if !taken.layers.is_empty() {
        line(text, &format!("a=simulcast:recv {}", taken.layers.join(";")));
    }
}

/// The publisher's own parameters, and what we add to them.
fn fmtp(codec: Codec, offered: &str, hints: BitrateHints) -> String {
    let mut parameters = offered.to_owned();
    let mut add = |name: &str, value: &str| {
        if parameter(&parameters, name).is_none() {
            if !parameters.is_empty() {
                parameters.push(';');
            }
            let _ = write!(parameters, "{name}={value}");
        }
    };
    match codec.kind() {
        // What describes AAC is not ours to change.
        TrackKind::Audio if codec != Codec::Opus => {}
        TrackKind::Video => {
            let hints = [("start", hints.start_kbps), ("min", hints.min_kbps), ("max", hints.max_kbps)];
            for (name, kbps) in hints {
                if let Some(kbps) = kbps {
                    add(&format!("x-google-{name}-bitrate"), &kbps.to_string());
                }
            }
        }
        // In an answer these say what we like to receive (RFC 7587, 7.1). In-band FEC: a viewer's decoder makes a lost packet
        // good with it. Stereo: what the publisher says that it sends; an encoder sends mono to who does not ask.
        TrackKind::Audio => {
            add("useinbandfec", "1");
            if is_stereo(offered) {
                add("stereo", "1");
            }
        }
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::super::negotiate::tests::{AAC, decide, with_aac};
    use super::*;
    use crate::core::candidates::tests::udp;
    use crate::core::sdp::tests::{PUBLISHER as CHROMIUM, SIMULCAST};

    fn local() -> Local {
        Local {
            session_id: 7,
            ufrag: "OurU".into(),
            pwd: "our-password-of-24-chars".into(),
            fingerprint: "AB:CD".into(),
            candidates: vec![udp("127.0.0.1:8189"), udp("[::1]:8189")],
        }
    }

    const HINTS: BitrateHints = BitrateHints { start_kbps: Some(4_000), min_kbps: None, max_kbps: None };

    #[test]
    fn the_whole_answer_to_chromium() {
        let text = answer(&decide(CHROMIUM, false).unwrap(), &local(), HINTS);
        let expected = "v=0
o=- 7 1 IN IP4 127.0.0.1
s=-
t=0 0
a=ice-lite
a=group:BUNDLE 0 1
a=msid-semantic: WMS *
m=video 9 UDP/TLS/RTP/SAVPF 107 108
c=IN IP4 0.0.0.0
a=ice-ufrag:OurU
a=ice-pwd:our-password-of-24-chars
a=fingerprint:sha-256 AB:CD
a=setup:passive
a=mid:0
a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:3 urn:3gpp:video-orientation
a=recvonly
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:107 H264/90000
a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f;x-google-start-bitrate=4000
a=rtcp-fb:107 transport-cc
a=rtcp-fb:107 nack
a=rtcp-fb:107 nack pli
a=rtcp-fb:107 ccm fir
a=rtpmap:108 rtx/90000
a=fmtp:108 apt=107
a=candidate:1 1 udp 2130706431 127.0.0.1 8189 typ host
a=candidate:2 1 udp 2130706175 ::1 8189 typ host
a=end-of-candidates
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=ice-ufrag:OurU
a=ice-pwd:our-password-of-24-chars
a=fingerprint:sha-256 AB:CD
a=setup:passive
a=mid:1
a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=recvonly
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtcp-fb:111 transport-cc
";
        assert_eq!(text.replace("\r\n", "\n"), expected);
    }

    #[test]
    fn layers_are_answered_in_their_order() {
        let text = answer(&decide(SIMULCAST, true).unwrap(), &local(), HINTS);
        assert!(text.contains("a=rid:f recv\r\na=rid:h recv\r\na=rid:q recv\r\na=simulcast:recv f;h;q\r\n"));
        let text = answer(&decide(SIMULCAST, false).unwrap(), &local(), HINTS);
        assert!(!text.contains("a=rid") && !text.contains("simulcast"));
    }

    #[test]
    fn stereo_is_asked_for_where_it_is_sent() {
        let stereo = CHROMIUM.replace("minptime=10;", "minptime=10;sprop-stereo=1;");
        let text = answer(&decide(&stereo, false).unwrap(), &local(), HINTS);
        assert!(text.contains("a=fmtp:111 minptime=10;sprop-stereo=1;useinbandfec=1;stereo=1\r\n"));
    }

    #[test]
    fn in_band_fec_is_asked_for_unless_the_publisher_has_none() {
        let fmtp = |offered: &str| {
            let offer = CHROMIUM.replace("minptime=10;useinbandfec=1", offered);
            let text = answer(&decide(&offer, false).unwrap(), &local(), HINTS);
            text.lines().find_map(|line| line.strip_prefix("a=fmtp:111 ")).unwrap().to_owned()
        };
        assert_eq!(fmtp("minptime=10"), "minptime=10;useinbandfec=1");
        assert_eq!(fmtp("useinbandfec=0"), "useinbandfec=0");
        let silent = CHROMIUM.replace("a=fmtp:111 minptime=10;useinbandfec=1\r\n", "");
        let text = answer(&decide(&silent, false).unwrap(), &local(), HINTS);
        assert!(text.contains("a=fmtp:111 useinbandfec=1\r\n"), "{text}");
    }

    #[test]
    fn aac_is_answered_as_it_was_described() {
        let text = answer(&decide(&with_aac(CHROMIUM), false).unwrap(), &local(), HINTS);
        let section = text.split("m=audio").nth(1).unwrap();
        assert!(section.starts_with(" 9 UDP/TLS/RTP/SAVPF 97\r\n"), "{section}");
        assert!(section.contains("a=rtpmap:97 MPEG4-GENERIC/44100/2\r\n"), "{section}");
        assert!(section.contains(&format!("a=fmtp:97 {AAC}\r\n")), "{section}");
    }

    #[test]
    fn rejected_sections_keep_their_place() {
        let more = format!("{CHROMIUM}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n");
        let text = answer(&decide(&more, false).unwrap(), &local(), HINTS);
        assert!(text.ends_with(
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=inactive\r\n\
             a=ice-ufrag:OurU\r\na=ice-pwd:our-password-of-24-chars\r\na=fingerprint:sha-256 AB:CD\r\na=setup:passive\r\n"
        ));
        assert!(text.contains("a=group:BUNDLE 0 1\r\n"));
    }
}

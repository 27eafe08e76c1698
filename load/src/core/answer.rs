//! What a server's answer says: where it is, and what comes under which payload type.

use std::net::SocketAddr;

use bicast_shared::media::{Codec, TrackKind};

use super::ice::Credentials;

/// Entries of one kind that are kept.
const MAX_ENTRIES: usize = 64;

/// Which end of the DTLS handshake the server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// It waits for our ClientHello.
    Passive,
    /// It sends its own.
    Active,
}

/// One track that was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnsweredTrack {
    /// How it is coded.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// Ticks per second of its timestamps.
    pub clock_rate: u32,
    /// The payload type of its retransmissions (RFC 4588).
    pub rtx: Option<u8>,
    /// Its SSRC, where the answer tells.
    pub ssrc: Option<u32>,
}

impl AnsweredTrack {
    /// Whether it is video.
    #[must_use]
    pub fn is_video(&self) -> bool {
        self.codec.kind() == TrackKind::Video
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The server's ICE name and password.
    pub credentials: Credentials,
    /// Hash algorithm in lower case and digest of its certificate.
    pub fingerprint: (String, Vec<u8>),
    /// Its end of DTLS.
    pub setup: Setup,
    /// Its UDP addresses, the preferred ones first.
    pub candidates: Vec<SocketAddr>,
    /// The tracks that it took.
    pub tracks: Vec<AnsweredTrack>,
}

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// A line is missing.
    #[error("the answer has no {0}")]
    Missing(&'static str),
    /// Nothing in it comes.
    #[error("the answer accepts none of the tracks")]
    Nothing,
}

#[derive(Default)]
struct Transport {
    ufrag: Option<String>,
    pwd: Option<String>,
    fingerprint: Option<(String, Vec<u8>)>,
    setup: Option<Setup>,
    candidates: Vec<(u32, SocketAddr)>,
}

#[derive(Default)]
struct Section {
    rejected: bool,
    formats: Vec<u8>,
    encodings: Vec<(u8, String, u32)>,
    apt: Vec<(u8, u8)>,
    ssrc: Option<u32>,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// Where something is missing that a connection needs.
    pub fn parse(text: &str) -> Result<Self, BadAnswer> {
        let mut transport = Transport::default();
        let mut sections: Vec<Section> = Vec::new();
        for line in text.lines().map(str::trim_end) {
            match line.split_once('=') {
                Some(("m", value)) if sections.len() < MAX_ENTRIES => sections.push(Section::begin(value)),
                Some(("a", value)) => {
                    let (name, value) = value.split_once(':').unwrap_or((value, ""));
                    // Everything is bundled: the first transport is the one, at session level or in a section that
                    // was not rejected.
                    if sections.last().is_none_or(|section| !section.rejected) {
                        transport.attribute(name, value.trim());
                    }
                    if let Some(section) = sections.last_mut() {
                        section.attribute(name, value.trim());
                    }
                }
                _ => {}
            }
        }
        let tracks: Vec<AnsweredTrack> = sections.iter().filter_map(Section::track).collect();
        if tracks.is_empty() {
            return Err(BadAnswer::Nothing);
        }
        transport.candidates.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        Ok(Self {
            credentials: Credentials {
                ufrag: transport.ufrag.ok_or(BadAnswer::Missing("a=ice-ufrag"))?,
                pwd: transport.pwd.ok_or(BadAnswer::Missing("a=ice-pwd"))?,
            },
            fingerprint: transport.fingerprint.ok_or(BadAnswer::Missing("a=fingerprint that is known"))?,
            setup: transport.setup.unwrap_or(Setup::Passive),
            candidates: transport.candidates.into_iter().map(|(_, address)| address).collect(),
            tracks,
        })
    }

    /// The candidates that a socket at `local` can reach, those on `preferred` first: the address that HTTP went to is
    /// known to be reachable.
    #[must_use]
    pub fn reachable(&self, local: SocketAddr, preferred: Option<std::net::IpAddr>) -> Vec<SocketAddr> {
        let family = |address: &&SocketAddr| address.is_ipv4() == local.is_ipv4();
        let mut found: Vec<SocketAddr> = self.candidates.iter().filter(family).copied().collect();
        found.dedup();
        found.sort_by_key(|address| Some(address.ip()) != preferred);
        found
    }
}

impl Transport {
    fn attribute(&mut self, name: &str, value: &str) {
        let keep = |slot: &mut Option<String>| {
            slot.get_or_insert_with(|| value.to_owned());
        };
        match name {
            "ice-ufrag" => keep(&mut self.ufrag),
            "ice-pwd" => keep(&mut self.pwd),
            "setup" if self.setup.is_none() => {
                self.setup = Some(if value == "active" { Setup::Active } else { Setup::Passive });
            }
            "fingerprint" if self.fingerprint.is_none() => self.fingerprint = fingerprint(value),
            "candidate" if self.candidates.len() < MAX_ENTRIES => self.candidates.extend(candidate(value)),
            _ => {}
        }
    }
}

/// `sha-256 AB:CD:…`; none for hashes that nobody should use.
fn fingerprint(value: &str) -> Option<(String, Vec<u8>)> {
    let (name, hex) = value.split_once(' ')?;
    let digest: Option<Vec<u8>> =
        hex.trim().split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    let name = name.to_ascii_lowercase();
    let size = match name.as_str() {
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => return None,
    };
    digest.filter(|digest| digest.len() == size).map(|digest| (name, digest))
}

/// Priority and address of a UDP candidate of the first component (RFC 8839, 5.1).
fn candidate(value: &str) -> Option<(u32, SocketAddr)> {
    let mut words = value.split_ascii_whitespace().skip(1);
    let (component, protocol) = (words.next()?, words.next()?);
    let priority = words.next()?.parse().ok()?;
    let address = SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (component == "1" && protocol.eq_ignore_ascii_case("udp")).then_some((priority, address))
}

impl Section {
    fn begin(value: &str) -> Self {
        let mut words = value.split_ascii_whitespace().skip(1);
        let rejected = words.next().is_none_or(|port| port == "0");
        let formats = words.skip(1).filter_map(|word| word.parse().ok()).take(MAX_ENTRIES);
        Self { rejected, formats: formats.collect(), ..Self::default() }
    }

    fn attribute(&mut self, name: &str, value: &str) {
        if self.encodings.len() >= MAX_ENTRIES || self.apt.len() >= MAX_ENTRIES {
            return;
        }
        if name == "ssrc" && self.ssrc.is_none() {
            self.ssrc = value.split(' ').next().and_then(|ssrc| ssrc.parse().ok());
        }
        let Some((payload, rest)) = value.split_once(' ') else {
            self.rejected |= name == "inactive";
            return;
        };
        let Ok(payload) = payload.parse::<u8>() else { return };
        match name {
            "rtpmap" => {
                let mut parts = rest.split('/');
                let name = parts.next().unwrap_or_default().to_owned();
                let rate = parts.next().and_then(|rate| rate.parse().ok());
                self.encodings.extend(rate.map(|rate| (payload, name, rate)));
            }
            "fmtp" => {
                let apt = rest.split(';').find_map(|pair| pair.trim().strip_prefix("apt="));
                self.apt.extend(apt.and_then(|apt| apt.parse().ok()).map(|apt| (payload, apt)));
            }
            _ => {}
        }
    }

    /// The first format that is media.
    fn track(&self) -> Option<AnsweredTrack> {
        let encoding = |payload: &u8| self.encodings.iter().find(|(known, ..)| known == payload);
        let (payload_type, name, clock_rate) = self
            .formats
            .iter()
            .filter_map(encoding)
            .find(|(_, name, _)| Codec::from_sdp_name(name).is_some())
            .filter(|_| !self.rejected)?;
        let rtx = self.apt.iter().find(|(_, apt)| apt == payload_type).map(|(rtx, _)| *rtx);
        Some(AnsweredTrack {
            codec: Codec::from_sdp_name(name)?,
            payload_type: *payload_type,
            clock_rate: (*clock_rate).max(1),
            rtx,
            ssrc: self.ssrc,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const BICAST: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n\
        a=group:BUNDLE 0 1\r\nm=video 9 UDP/TLS/RTP/SAVPF 102 103\r\na=mid:0\r\na=ice-ufrag:server\r\n\
        a=ice-pwd:password-of-the-server-here\r\n\
        a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
        a=setup:passive\r\na=sendonly\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 profile-level-id=42e01f\r\n\
        a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
        a=ssrc:1000 cname:x\r\na=ssrc:1001 cname:x\r\n\
        a=candidate:1 1 udp 10 127.0.0.1 8189 typ host\r\na=candidate:2 1 udp 20 ::1 8189 typ host\r\n\
        a=candidate:3 1 udp 30 192.0.2.5 8189 typ host\r\na=candidate:4 1 tcp 90 192.0.2.5 443 typ host tcptype passive\r\n\
        a=candidate:5 1 udp 90 abc.local 4 typ host\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\n";

    #[test]
    fn an_answer_says_where_and_what() {
        let answer = Answer::parse(BICAST).unwrap();
        assert_eq!(answer.credentials.ufrag, "server");
        assert_eq!(answer.fingerprint.1.len(), 32);
        assert_eq!(answer.setup, Setup::Passive);
        let video = AnsweredTrack {
            codec: Codec::H264,
            payload_type: 102,
            clock_rate: 90_000,
            rtx: Some(103),
            ssrc: Some(1_000),
        };
        let audio = AnsweredTrack {
            codec: Codec::Opus,
            payload_type: 111,
            clock_rate: 48_000,
            rtx: None,
            ssrc: None,
        };
        assert_eq!(answer.tracks, [video, audio]);
        let v4 = "0.0.0.0:1".parse().unwrap();
        let reachable: Vec<String> =
            answer.reachable(v4, Some([127, 0, 0, 1].into())).iter().map(ToString::to_string).collect();
        assert_eq!(reachable, ["127.0.0.1:8189", "192.0.2.5:8189"]);
        assert_eq!(answer.reachable("[::]:1".parse().unwrap(), None).len(), 1);
    }

    #[test]
    fn rejected_sections_are_no_tracks() {
        let text = BICAST.replace("m=audio 9", "m=audio 0");
        assert_eq!(Answer::parse(&text).unwrap().tracks.len(), 1);
        let text = text.replace("m=video 9", "m=video 0");
        assert_eq!(Answer::parse(&text), Err(BadAnswer::Nothing));
        let inactive = BICAST.replace("a=sendonly", "a=inactive");
        assert_eq!(Answer::parse(&inactive), Err(BadAnswer::Nothing));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, name) in [("a=ice-pwd", "a=ice-pwd"), ("a=fingerprint", "a=fingerprint that is known")] {
            let text: String = BICAST
                .lines()
                .filter(|text| !text.starts_with(line))
                .map(|text| format!("{text}\n"))
                .collect();
            assert_eq!(Answer::parse(&text), Err(BadAnswer::Missing(name)));
        }
        assert_eq!(Answer::parse(""), Err(BadAnswer::Nothing));
    }
}

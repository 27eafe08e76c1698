//! What an offer says: the lines of RFC 8866 that ingest cares for, in a bounded structure. Unknown lines are skipped,
//! as RFC 8866, 5 demands; a line that is needed and broken is an error that names it.

/// Media sections in one offer. A browser with camera, microphone and a data channel has 3.
const MAX_SECTIONS: usize = 32;
/// Lines in one offer. Chromium's largest (all codecs, three layers) have about 250.
const MAX_LINES: usize = 4_000;
/// Entries of one kind (codecs, extensions, rids, ssrcs) kept of one section.
const MAX_ENTRIES: usize = 128;

/// An SDP offer as far as ingest reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    /// Mids of the first `a=group:BUNDLE`.
    pub(crate) bundle: Vec<String>,
    /// Attributes of the session level, which sections inherit.
    pub(crate) transport: Transport,
    /// The media sections in their order.
    pub(crate) sections: Vec<Section>,
}

/// Transport attributes, at session level or in a section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Transport {
    /// `a=ice-ufrag`.
    pub(crate) ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub(crate) pwd: Option<String>,
    /// `a=fingerprint`: algorithm (lower case) and value.
    pub(crate) fingerprint: Option<(String, String)>,
    /// `a=setup`.
    pub(crate) setup: Option<String>,
}

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Section {
    /// `audio`, `video`, `application`, …
    pub(crate) media: String,
    /// 0 says that the section is not in use.
    pub(crate) port: u16,
    /// `UDP/TLS/RTP/SAVPF`.
    pub(crate) proto: String,
    /// The formats as written: payload types for RTP.
    pub(crate) formats: Vec<String>,
    /// `a=mid`.
    pub(crate) mid: Option<String>,
    /// Whether the offerer sends in it (`sendonly`, `sendrecv` or nothing said).
    pub(crate) sends: bool,
    /// `a=rtcp-mux`.
    pub(crate) rtcp_mux: bool,
    /// Its codecs, in the order of the formats.
    pub(crate) codecs: Vec<OfferedCodec>,
    /// `a=extmap`: id and URI.
    pub(crate) extensions: Vec<(u16, String)>,
    /// `a=rid:… send` in the order of `a=simulcast:send` where there is one.
    pub(crate) rids: Vec<String>,
    /// Whether `a=simulcast:send` was there.
    pub(crate) simulcast: bool,
    /// `a=ssrc-group:FID`: media and retransmission SSRC.
    pub(crate) repair: Vec<(u32, u32)>,
    /// Distinct SSRCs of `a=ssrc` lines, in their order.
    pub(crate) ssrcs: Vec<u32>,
    /// Its own transport attributes.
    pub(crate) transport: Transport,
}

/// One payload type of a section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OfferedCodec {
    /// The payload type, 0 to 127.
    pub(crate) payload_type: u8,
    /// The encoding name, as written.
    pub(crate) name: String,
    /// Ticks per second.
    pub(crate) clock_rate: u32,
    /// Channels; 0 where not said.
    pub(crate) channels: u8,
    /// The `a=fmtp` parameters, as written.
    pub(crate) fmtp: String,
    /// The `a=rtcp-fb` values for it (and for `*`), as written.
    pub(crate) feedback: Vec<String>,
}

/// Why a text is not an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SdpError {
    #[error("it is empty")]
    Empty,
    #[error("it does not begin with v=0")]
    NoVersion,
    #[error("it has more than {MAX_LINES} lines")]
    TooManyLines,
    #[error("it has more than {MAX_SECTIONS} media sections")]
    TooManySections,
    #[error("line {line}: {text:?} is not of the form letter=value")]
    NotALine { line: usize, text: String },
    #[error("line {line}: {what}: {text:?}")]
    Bad { line: usize, what: &'static str, text: String },
    #[error("it has no media section (m=)")]
    NoMedia,
}

impl Offer {
    /// Reads an offer. Line ends may be CRLF or LF.
    pub(crate) fn parse(text: &str) -> Result<Self, SdpError> {
        if text.trim().is_empty() {
            return Err(SdpError::Empty);
        }
        let mut offer = Self::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if number > MAX_LINES {
                return Err(SdpError::TooManyLines);
            }
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                continue;
            }
            let (kind, value) =
                split_line(line).ok_or_else(|| SdpError::NotALine { line: number, text: shorten(line) })?;
            if index == 0 && (kind != 'v' || value.trim() != "0") {
                return Err(SdpError::NoVersion);
            }
            let bad = |what| SdpError::Bad { line: number, what, text: shorten(line) };
            match kind {
                'm' => {
                    if offer.sections.len() >= MAX_SECTIONS {
                        return Err(SdpError::TooManySections);
                    }
                    let section = Section::parse(value).ok_or_else(|| bad("a broken m= line"))?;
                    offer.sections.push(section);
                }
                'a' => {
                    let (name, value) = value.split_once(':').unwrap_or((value, ""));
                    match offer.sections.last_mut() {
                        Some(section) => section.attribute(name, value).map_err(bad)?,
                        None => offer.attribute(name, value).map_err(bad)?,
                    }
                }
                _ => {}
            }
        }
        for section in &mut offer.sections {
            section.settle();
        }
        if offer.sections.is_empty() { Err(SdpError::NoMedia) } else { Ok(offer) }
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        if name == "group" && self.bundle.is_empty() {
            let mut words = value.split_ascii_whitespace();
            if words.next() == Some("BUNDLE") {
                self.bundle = words.take(MAX_SECTIONS).map(str::to_owned).collect();
            }
            return Ok(());
        }
        self.transport.attribute(name, value)
    }
}

impl Transport {
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "ice-ufrag" => self.ufrag = Some(ice_text(value, 4).ok_or("a broken ICE ufrag")?),
            "ice-pwd" => self.pwd = Some(ice_text(value, 22).ok_or("a broken ICE password")?),
            "fingerprint" => {
                // Several are allowed (RFC 8122, 5): the first that we can check is kept.
                let known = |have: &Option<(String, String)>| {
                    have.as_ref().is_some_and(|(algorithm, _)| KNOWN_HASHES.contains(&algorithm.as_str()))
                };
                let parsed = fingerprint(value).ok_or("a broken fingerprint")?;
                if !known(&self.fingerprint) {
                    self.fingerprint = Some(parsed);
                }
            }
            "setup" => self.setup = Some(shorten(value.trim())),
            _ => {}
        }
        Ok(())
    }
}

/// Hashes of a certificate fingerprint that are strong enough to be checked.
pub(crate) const KNOWN_HASHES: [&str; 3] = ["sha-256", "sha-384", "sha-512"];

impl Section {
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let media = words.next()?.to_owned();
        let port = words.next()?.split('/').next()?.parse().ok()?;
        let proto = words.next()?.to_owned();
        let formats: Vec<String> = words.take(MAX_ENTRIES).map(str::to_owned).collect();
        let ok = media.len() <= 32 && proto.len() <= 64 && formats.iter().all(|format| format.len() <= 64);
        (ok && !formats.is_empty()).then(|| Self {
            media,
            port,
            proto,
            formats,
            sends: true,
            ..Self::default()
        })
    }

    /// Whether it carries RTP.
    pub(crate) fn is_rtp(&self) -> bool {
        self.proto.contains("RTP/")
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "mid" => self.mid = Some(mid(value).ok_or("a broken mid")?),
            "sendrecv" | "sendonly" => self.sends = true,
            "recvonly" | "inactive" => self.sends = false,
            "rtcp-mux" => self.rtcp_mux = true,
            "rtpmap" if self.is_rtp() => self.rtpmap(value).ok_or("a broken rtpmap")?,
            "fmtp" if self.is_rtp() => {
                let (format, parameters) = value.split_once(' ').unwrap_or((value, ""));
                if let Some(codec) = self.codec(format) {
                    codec.fmtp = parameters.trim().chars().take(1_000).collect();
                }
            }
            "rtcp-fb" if self.is_rtp() => self.feedback(value),
            "extmap" => {
                let (id, uri) = extension(value).ok_or("a broken extmap")?;
                if self.extensions.len() < MAX_ENTRIES {
                    self.extensions.push((id, uri));
                }
            }
            "rid" => {
                let mut words = value.split_ascii_whitespace();
                let (id, direction) = (words.next().unwrap_or_default(), words.next());
                if !token(id) {
                    return Err("a broken rid");
                }
                if direction == Some("send")
                    && self.rids.len() < MAX_ENTRIES
                    && !self.rids.iter().any(|r| r == id)
                {
                    self.rids.push(id.to_owned());
                }
            }
            "simulcast" => self.order_layers(value),
            "ssrc-group" => {
                let mut words = value.split_ascii_whitespace();
                if words.next() == Some("FID") && self.repair.len() < MAX_ENTRIES {
                    let ssrcs: Option<Vec<u32>> = words.map(|word| word.parse().ok()).collect();
                    match ssrcs.as_deref() {
                        Some([media, repair]) => self.repair.push((*media, *repair)),
                        _ => return Err("a broken ssrc-group"),
                    }
                }
            }
            "ssrc" => {
                let id = value.split([' ', ':']).next().unwrap_or_default();
                let ssrc = id.parse().map_err(|_| "a broken ssrc")?;
                if self.ssrcs.len() < MAX_ENTRIES && !self.ssrcs.contains(&ssrc) {
                    self.ssrcs.push(ssrc);
                }
            }
            _ => self.transport.attribute(name, value)?,
        }
        Ok(())
    }

    fn codec(&mut self, format: &str) -> Option<&mut OfferedCodec> {
        let payload_type: u8 = format.parse().ok()?;
        self.codecs.iter_mut().find(|codec| codec.payload_type == payload_type)
    }

    fn rtpmap(&mut self, value: &str) -> Option<()> {
        let (format, encoding) = value.split_once(' ')?;
        let payload_type = format.parse().ok().filter(|pt| *pt < 128)?;
        let mut parts = encoding.trim().split('/');
        let name = parts.next().filter(|name| token(name))?.to_owned();
        let clock_rate = parts.next()?.parse().ok().filter(|rate| *rate > 0)?;
        let channels = match parts.next() {
            Some(channels) => channels.parse().ok()?,
            None => 0,
        };
        if self.codecs.len() < MAX_ENTRIES
            && self.codecs.iter().all(|codec| codec.payload_type != payload_type)
        {
            self.codecs.push(OfferedCodec {
                payload_type,
                name,
                clock_rate,
                channels,
                ..OfferedCodec::default()
            });
        }
        Some(())
    }

    fn feedback(&mut self, value: &str) {
        let Some((format, kind)) = value.split_once(' ') else { return };
        let kind: String = kind.trim().chars().take(64).collect();
        let all = format == "*";
        for codec in &mut self.codecs {
            if (all || format.parse() == Ok(codec.payload_type)) && codec.feedback.len() < 32 {
                codec.feedback.push(kind.clone());
            }
        }
    }

    /// `a=simulcast:send hi;mid,alt;~lo`: the rids in the order of preference (RFC 8853, 5.2). The line comes after the
    /// rids in every browser; a rid that it does not name keeps its place at the end.
    fn order_layers(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        while let (Some(direction), Some(list)) = (words.next(), words.next()) {
            if direction != "send" {
                continue;
            }
            self.simulcast = true;
            let wanted: Vec<&str> =
                list.split([';', ',']).map(|rid| rid.trim_start_matches('~')).take(MAX_ENTRIES).collect();
            self.rids.sort_by_key(|rid| wanted.iter().position(|w| w == rid).unwrap_or(usize::MAX));
        }
    }

    /// Puts the codecs into the order of the formats: that is the offerer's preference (RFC 3264, 5.1).
    fn settle(&mut self) {
        let formats = &self.formats;
        let place =
            |codec: &OfferedCodec| formats.iter().position(|format| format.parse() == Ok(codec.payload_type));
        self.codecs.retain(|codec| place(codec).is_some());
        self.codecs.sort_by_key(|codec| place(codec));
    }
}

pub(crate) fn split_line(line: &str) -> Option<(char, &str)> {
    let (kind, value) = line.split_once('=')?;
    let mut chars = kind.chars();
    let kind = chars.next().filter(char::is_ascii_lowercase)?;
    chars.next().is_none().then_some((kind, value))
}

/// An ICE ufrag or password: `min` to 256 of ALPHA DIGIT + / (RFC 8839, 5.4). Some senders use - and = too.
pub(crate) fn ice_text(value: &str, min: usize) -> Option<String> {
    let value = value.trim();
    let ok = (min..=256).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'=' | b'_'));
    ok.then(|| value.to_owned())
}

fn fingerprint(value: &str) -> Option<(String, String)> {
    let (algorithm, hex) = value.trim().split_once(' ')?;
    let hex = hex.trim();
    let octets = hex.split(':').all(|octet| octet.len() == 2 && octet.bytes().all(|b| b.is_ascii_hexdigit()));
    (octets && hex.len() <= 200 && token(algorithm))
        .then(|| (algorithm.to_ascii_lowercase(), hex.to_ascii_uppercase()))
}

fn mid(value: &str) -> Option<String> {
    let value = value.trim();
    token(value).then(|| value.to_owned())
}

fn extension(value: &str) -> Option<(u16, String)> {
    let mut words = value.split_ascii_whitespace();
    let id = words.next()?.split('/').next()?.parse().ok()?;
    let uri = words.next()?;
    (uri.len() <= 200).then(|| (id, uri.to_owned()))
}

/// A token of RFC 8866, 9, at most 64 characters: it may stand in our own texts.
fn token(value: &str) -> bool {
    (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b))
}

/// The first 80 characters, for messages.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
pub(crate) mod tests;

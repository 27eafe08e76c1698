//! What an offer says: the lines of RFC 8866 that a publisher or a viewer needs, in a bounded structure. Unknown lines
//! are skipped, as RFC 8866, 5 demands; a line that is needed and broken is an error that names it.

use bicast_shared::media::parameter;

use super::fingerprint::{Fingerprint, Read};

/// Media sections in one offer. A browser with camera, microphone and a data channel has 3, whepsrc offers 4.
const MAX_SECTIONS: usize = 32;
/// Lines in one offer. Chromium's largest (all codecs, three layers) have about 250.
const MAX_LINES: usize = 4_000;
/// Entries of one kind (codecs, extensions, rids, ssrcs) kept of one section.
const MAX_ENTRIES: usize = 128;

/// An SDP offer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    /// Mids of the first `a=group:BUNDLE`.
    pub(crate) bundle: Vec<String>,
    /// The media sections in their order.
    pub(crate) sections: Vec<Section>,
}

/// The offerer's end of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Transport {
    /// `a=ice-ufrag`.
    pub(crate) ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub(crate) pwd: Option<String>,
    /// The first `a=fingerprint` that can be checked.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The hash of an `a=fingerprint` that cannot.
    pub(crate) other_hash: Option<String>,
    /// `a=setup`.
    pub(crate) setup: Option<String>,
}

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Section {
    /// `audio`, `video`, `application`, …
    pub(crate) media: String,
    /// 0 says that the section is not in use, unless it is bundle-only.
    pub(crate) port: u16,
    /// `UDP/TLS/RTP/SAVPF`.
    pub(crate) protocol: String,
    /// The formats as written: payload types for RTP.
    pub(crate) formats: Vec<String>,
    /// `a=mid`.
    pub(crate) mid: Option<String>,
    /// Whether the offerer sends in it (`sendonly`, `sendrecv` or nothing said).
    pub(crate) sends: bool,
    /// Whether the offerer takes media in it (`recvonly`, `sendrecv` or nothing said).
    pub(crate) receives: bool,
    /// `a=bundle-only`.
    pub(crate) bundle_only: bool,
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
    /// Its transport, with what the session level says filled in.
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

impl OfferedCodec {
    /// A parameter of `a=fmtp`.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.fmtp, name)
    }
}

/// Why a text is not an offer: the end of a sentence that begins with "The offer cannot be used:".
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
        let mut session = Transport::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if number > MAX_LINES {
                return Err(SdpError::TooManyLines);
            }
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            let (kind, value) =
                split_line(line).ok_or_else(|| SdpError::NotALine { line: number, text: shorten(line) })?;
            if index == 0 && (kind != 'v' || value.trim() != "0") {
                return Err(SdpError::NoVersion);
            }
            let bad = |what| SdpError::Bad { line: number, what, text: shorten(line) };
            if has_forbidden(value) {
                return Err(bad(FORBIDDEN));
            }
            match kind {
                'm' if offer.sections.len() >= MAX_SECTIONS => return Err(SdpError::TooManySections),
                'm' => offer.sections.push(Section::parse(value).ok_or_else(|| bad("a broken m= line"))?),
                'a' => {
                    let (name, value) = value.split_once(':').unwrap_or((value, ""));
                    match offer.sections.last_mut() {
                        Some(section) => section.attribute(name, value).map_err(bad)?,
                        None if name == "group" => offer.group(value),
                        None => session.attribute(name, value).map_err(bad)?,
                    }
                }
                _ => {}
            }
        }
        for section in &mut offer.sections {
            section.settle();
            section.transport.inherit(&session);
        }
        if offer.sections.is_empty() { Err(SdpError::NoMedia) } else { Ok(offer) }
    }

    fn group(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        if self.bundle.is_empty() && words.next() == Some("BUNDLE") {
            self.bundle = words.take(MAX_SECTIONS).map(str::to_owned).collect();
        }
    }
}

impl Transport {
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "ice-ufrag" => self.ufrag = Some(ice_text(value, 4).ok_or("a broken ICE ufrag")?),
            "ice-pwd" => self.pwd = Some(ice_text(value, 22).ok_or("a broken ICE password")?),
            "fingerprint" => match Fingerprint::read(value).ok_or("a broken fingerprint")? {
                Read::Usable(fingerprint) => {
                    self.fingerprint.get_or_insert(fingerprint);
                }
                Read::OtherHash(name) => self.other_hash = Some(name),
            },
            "setup" => self.setup = Some(shorten(value.trim())),
            _ => {}
        }
        Ok(())
    }

    /// Fills in what the session level says and the section does not.
    fn inherit(&mut self, session: &Self) {
        let or = |own: &mut Option<String>, other: &Option<String>| {
            if own.is_none() {
                own.clone_from(other);
            }
        };
        or(&mut self.ufrag, &session.ufrag);
        or(&mut self.pwd, &session.pwd);
        or(&mut self.setup, &session.setup);
        or(&mut self.other_hash, &session.other_hash);
        if self.fingerprint.is_none() {
            self.fingerprint.clone_from(&session.fingerprint);
        }
    }
}

impl Section {
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let media = words.next()?.to_owned();
        let port = words.next()?.split('/').next()?.parse().ok()?;
        let protocol = words.next()?.to_owned();
        let formats: Vec<String> = words.take(MAX_ENTRIES).map(str::to_owned).collect();
        let ok = media.len() <= 32 && protocol.len() <= 64 && formats.iter().all(|format| format.len() <= 64);
        (ok && !formats.is_empty()).then(|| Self {
            media,
            port,
            protocol,
            formats,
            sends: true,
            receives: true,
            ..Self::default()
        })
    }

    /// Whether media is wanted in it. Port 0 says no, unless it is bundle-only: then it says that the section has no transport of its
    /// own (RFC 8843, 6), as GStreamer and Firefox write with the bundle policy `max-bundle`.
    pub(crate) const fn is_in_use(&self) -> bool {
        self.port != 0 || self.bundle_only
    }

    /// Whether it carries RTP.
    pub(crate) fn is_rtp(&self) -> bool {
        self.protocol.contains("RTP/")
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "mid" => self.mid = Some(mid(value).ok_or("a broken mid")?),
            "sendrecv" => (self.sends, self.receives) = (true, true),
            "sendonly" => (self.sends, self.receives) = (true, false),
            "recvonly" => (self.sends, self.receives) = (false, true),
            "inactive" => (self.sends, self.receives) = (false, false),
            "bundle-only" => self.bundle_only = true,
            "rtcp-mux" => self.rtcp_mux = true,
            "rtpmap" if self.is_rtp() => self.rtpmap(value).ok_or("a broken rtpmap")?,
            "fmtp" if self.is_rtp() => self.fmtp(value),
            "rtcp-fb" if self.is_rtp() => self.feedback(value),
            "extmap" => {
                let extension = extension(value).ok_or("a broken extmap")?;
                if self.extensions.len() < MAX_ENTRIES {
                    self.extensions.push(extension);
                }
            }
            "rid" => self.rid(value).ok_or("a broken rid")?,
            "simulcast" => self.order_layers(value),
            "ssrc-group" => self.ssrc_group(value).ok_or("a broken ssrc-group")?,
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

    /// The entry of a payload type: made by whichever of its lines comes first. None when there are too many.
    fn codec(&mut self, payload_type: u8) -> Option<&mut OfferedCodec> {
        let at = self.codecs.iter().position(|codec| codec.payload_type == payload_type);
        if at.is_none() && self.codecs.len() < MAX_ENTRIES {
            self.codecs.push(OfferedCodec { payload_type, ..OfferedCodec::default() });
        }
        let last = self.codecs.len().checked_sub(1)?;
        self.codecs.get_mut(at.unwrap_or(last)).filter(|codec| codec.payload_type == payload_type)
    }

    fn rtpmap(&mut self, value: &str) -> Option<()> {
        let (format, encoding) = value.split_once(' ')?;
        let payload_type = payload_type(format)?;
        let mut parts = encoding.trim().split('/');
        let name = parts.next().filter(|name| is_token(name))?;
        let clock_rate = parts.next()?.parse().ok().filter(|rate| *rate > 0)?;
        let channels = match parts.next() {
            Some(channels) => channels.parse().ok()?,
            None => 0,
        };
        if let Some(codec) = self.codec(payload_type).filter(|codec| codec.name.is_empty()) {
            name.clone_into(&mut codec.name);
            (codec.clock_rate, codec.channels) = (clock_rate, channels);
        }
        Some(())
    }

    fn fmtp(&mut self, value: &str) {
        let (format, parameters) = value.split_once(' ').unwrap_or((value, ""));
        if let Some(codec) = payload_type(format).and_then(|payload_type| self.codec(payload_type)) {
            codec.fmtp = parameters.trim().chars().take(1_000).collect();
        }
    }

    fn feedback(&mut self, value: &str) {
        let Some((format, kind)) = value.split_once(' ') else { return };
        let kind: String = kind.trim().chars().take(64).collect();
        let all = format == "*";
        for codec in &mut self.codecs {
            if (all || payload_type(format) == Some(codec.payload_type)) && codec.feedback.len() < 32 {
                codec.feedback.push(kind.clone());
            }
        }
    }

    fn rid(&mut self, value: &str) -> Option<()> {
        let mut words = value.split_ascii_whitespace();
        let id = words.next().filter(|id| is_token(id))?;
        let is_new = !self.rids.iter().any(|rid| rid == id);
        if words.next() == Some("send") && is_new && self.rids.len() < MAX_ENTRIES {
            self.rids.push(id.to_owned());
        }
        Some(())
    }

    fn ssrc_group(&mut self, value: &str) -> Option<()> {
        let mut words = value.split_ascii_whitespace();
        if words.next() == Some("FID") && self.repair.len() < MAX_ENTRIES {
            let (media, repair) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            words.next().is_none().then(|| self.repair.push((media, repair)))?;
        }
        Some(())
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
        let place = |codec: &OfferedCodec| {
            formats.iter().position(|format| payload_type(format) == Some(codec.payload_type))
        };
        self.codecs.retain(|codec| !codec.name.is_empty() && place(codec).is_some());
        self.codecs.sort_by_key(|codec| place(codec));
    }
}

/// What [`has_forbidden`] found, for messages.
pub(super) const FORBIDDEN: &str = "a NUL or a carriage return";

/// Whether a line's value has what none may have (RFC 8866, 9: byte-string). Values are repeated in our own texts, and a
/// bare carriage return would end a line there.
pub(super) fn has_forbidden(value: &str) -> bool {
    value.contains(['\0', '\r'])
}

/// A line's letter and value.
pub(super) fn split_line(line: &str) -> Option<(char, &str)> {
    let (kind, value) = line.split_once('=')?;
    let mut chars = kind.chars();
    let kind = chars.next().filter(char::is_ascii_lowercase)?;
    chars.next().is_none().then_some((kind, value))
}

/// An ICE ufrag or password: `min` to 256 of ALPHA DIGIT + / (RFC 8839, 5.4). Some senders use - and = too.
pub(super) fn ice_text(value: &str, min: usize) -> Option<String> {
    let value = value.trim();
    let ok = (min..=256).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'=' | b'_'));
    ok.then(|| value.to_owned())
}

/// The value of an `a=mid` line.
pub(super) fn mid(value: &str) -> Option<String> {
    let value = value.trim();
    is_token(value).then(|| value.to_owned())
}

/// One spelling a number: an answer to `0111` that says `111` would name a format that was not offered.
fn payload_type(format: &str) -> Option<u8> {
    format.parse().ok().filter(|payload_type: &u8| *payload_type < 128 && payload_type.to_string() == format)
}

fn extension(value: &str) -> Option<(u16, String)> {
    let mut words = value.split_ascii_whitespace();
    let id = words.next()?.split('/').next()?.parse().ok()?;
    let uri = words.next()?;
    (uri.len() <= 200).then(|| (id, uri.to_owned()))
}

/// A token of RFC 8866, 9, at most 64 characters: it may stand in our own texts.
pub(super) fn is_token(value: &str) -> bool {
    (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b))
}

/// The first 80 characters, for messages.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
pub(crate) mod tests;

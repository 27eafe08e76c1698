//! What a viewer's offer says, as far as sending to it needs (RFC 8866, 8829). Unknown lines are skipped; a line that
//! is needed and broken is an error that names it.

/// Media sections of one offer; whepsrc offers 4.
const MAX_SECTIONS: usize = 32;
/// Entries of one kind kept of one section.
const MAX_ENTRIES: usize = 128;

/// A viewer's offer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    /// Mids of `a=group:BUNDLE`.
    pub(crate) bundle: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Section {
    /// `audio`, `video`, `application`.
    pub(crate) media: String,
    /// 0: not in use, unless it is bundled.
    pub(crate) port: u16,
    pub(crate) protocol: String,
    /// The format list, as written.
    pub(crate) formats: Vec<String>,
    pub(crate) mid: Option<String>,
    /// Whether the viewer takes media in it.
    pub(crate) receives: bool,
    pub(crate) bundle_only: bool,
    pub(crate) rtcp_mux: bool,
    pub(crate) codecs: Vec<OfferedCodec>,
    /// `a=extmap`: id and URI.
    pub(crate) extensions: Vec<(u8, String)>,
    /// Transport, with what the session level says filled in.
    pub(crate) transport: Transport,
}

/// One payload type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OfferedCodec {
    pub(crate) payload_type: u8,
    pub(crate) name: String,
    pub(crate) clock_rate: u32,
    /// `a=fmtp`, as written.
    pub(crate) fmtp: String,
}

impl OfferedCodec {
    /// A parameter of `a=fmtp`.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.fmtp, name)
    }
}

/// A parameter of a list like `apt=96;x=1`.
pub(crate) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| key.trim().eq_ignore_ascii_case(name).then_some(value.trim()))
}

/// What the viewer's end of the connection is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Transport {
    pub(crate) ufrag: Option<String>,
    pub(crate) pwd: Option<String>,
    /// The first fingerprint whose hash we know.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) setup: Option<String>,
}

/// The hash of the certificate that the viewer will show (RFC 8122).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) hash: Hash,
    pub(crate) digest: Vec<u8>,
}

/// Hashes that are strong enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Fingerprint {
    /// Whether it is this certificate's.
    pub(crate) fn matches(&self, certificate: &[u8]) -> bool {
        let algorithm = match self.hash {
            Hash::Sha256 => &ring::digest::SHA256,
            Hash::Sha384 => &ring::digest::SHA384,
            Hash::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, certificate).as_ref() == self.digest
    }
}

/// Why a text is not an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SdpError {
    #[error("The SDP does not begin with v=0.")]
    NoVersion,
    #[error("Line {0} of the SDP is not of the form letter=value: {1:?}.")]
    NotALine(usize, String),
    #[error("Line {0} of the SDP has {1}: {2:?}.")]
    Bad(usize, &'static str, String),
    #[error("The SDP has more than {MAX_SECTIONS} media sections.")]
    TooMany,
    #[error("The SDP has no media section (m=).")]
    NoMedia,
}

impl Offer {
    /// Reads an offer; lines may end with CRLF or LF.
    pub(crate) fn parse(text: &str) -> Result<Self, SdpError> {
        let mut offer = Self::default();
        let mut session = Transport::default();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end())) {
            let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
                if line.is_empty() {
                    continue;
                }
                return Err(if number == 1 {
                    SdpError::NoVersion
                } else {
                    SdpError::NotALine(number, cut(line))
                });
            };
            if number == 1 && line != "v=0" {
                return Err(SdpError::NoVersion);
            }
            let bad = |what| SdpError::Bad(number, what, cut(line));
            match kind {
                "m" if offer.sections.len() == MAX_SECTIONS => return Err(SdpError::TooMany),
                "m" => offer.sections.push(Section::parse(value).ok_or_else(|| bad("a broken m= line"))?),
                "a" => {
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
        if offer.sections.is_empty() {
            return Err(if text.starts_with("v=0") { SdpError::NoMedia } else { SdpError::NoVersion });
        }
        for transport in offer.sections.iter_mut().map(|section| &mut section.transport) {
            transport.inherit(&session);
        }
        Ok(offer)
    }

    fn group(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        if words.next() == Some("BUNDLE") && self.bundle.is_empty() {
            self.bundle = words.take(MAX_SECTIONS).map(str::to_owned).collect();
        }
    }
}

impl Section {
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let section = Self {
            media: words.next()?.to_owned(),
            port: words.next()?.split('/').next()?.parse().ok()?,
            protocol: words.next()?.to_owned(),
            formats: words.take(MAX_ENTRIES).map(str::to_owned).collect(),
            receives: true,
            ..Self::default()
        };
        (!section.formats.is_empty()).then_some(section)
    }

    /// Whether it carries RTP over DTLS-SRTP.
    pub(crate) fn is_media(&self) -> bool {
        matches!(self.media.as_str(), "audio" | "video") && self.protocol.contains("RTP/")
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "mid" => self.mid = Some(value.trim().to_owned()),
            "sendrecv" | "recvonly" => self.receives = true,
            "sendonly" | "inactive" => self.receives = false,
            "bundle-only" => self.bundle_only = true,
            "rtcp-mux" => self.rtcp_mux = true,
            "rtpmap" => self.rtpmap(value).ok_or("a broken rtpmap")?,
            "fmtp" => {
                let (format, parameters) = value.split_once(' ').unwrap_or((value, ""));
                let payload_type = format.parse::<u8>().ok();
                // fmtp may stand before its rtpmap: both make the entry.
                if let Some(payload_type) = payload_type.filter(|_| self.codecs.len() < MAX_ENTRIES) {
                    self.codec(payload_type).fmtp = parameters.trim().to_owned();
                }
            }
            "extmap" => {
                let (id, uri) = value.trim().split_once(' ').ok_or("a broken extmap")?;
                let id =
                    id.split('/').next().unwrap_or_default().parse::<u16>().map_err(|_| "a broken extmap")?;
                let uri = uri.split_ascii_whitespace().next().unwrap_or_default();
                if let Some(id) = u8::try_from(id).ok().filter(|_| self.extensions.len() < MAX_ENTRIES) {
                    self.extensions.push((id, uri.to_owned()));
                }
            }
            _ => self.transport.attribute(name, value)?,
        }
        Ok(())
    }

    fn rtpmap(&mut self, value: &str) -> Option<()> {
        let (format, encoding) = value.split_once(' ')?;
        let payload_type = format.parse::<u8>().ok().filter(|pt| *pt < 128)?;
        let mut parts = encoding.trim().split('/');
        let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let clock_rate = parts.next()?.parse().ok()?;
        if self.codecs.len() < MAX_ENTRIES {
            let codec = self.codec(payload_type);
            codec.name = name;
            codec.clock_rate = clock_rate;
        }
        Some(())
    }

    fn codec(&mut self, payload_type: u8) -> &mut OfferedCodec {
        let at = self.codecs.iter().position(|codec| codec.payload_type == payload_type);
        let at = at.unwrap_or_else(|| {
            self.codecs.push(OfferedCodec { payload_type, ..OfferedCodec::default() });
            self.codecs.len() - 1
        });
        &mut self.codecs[at]
    }
}

impl Transport {
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let value = value.trim();
        match name {
            // RFC 8839, 5.4: 4 to 256 and 22 to 256 characters.
            "ice-ufrag" if !(4..=256).contains(&value.len()) => return Err("a broken ICE ufrag"),
            "ice-pwd" if !(22..=256).contains(&value.len()) => return Err("a broken ICE password"),
            "ice-ufrag" => self.ufrag = Some(value.to_owned()),
            "ice-pwd" => self.pwd = Some(value.to_owned()),
            "setup" => self.setup = Some(value.to_owned()),
            "fingerprint" => {
                let fingerprint = fingerprint(value).map_err(|()| "a broken fingerprint")?;
                if self.fingerprint.is_none() {
                    self.fingerprint = fingerprint;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn inherit(&mut self, session: &Self) {
        let or = |own: &mut Option<String>, other: &Option<String>| {
            if own.is_none() {
                own.clone_from(other);
            }
        };
        or(&mut self.ufrag, &session.ufrag);
        or(&mut self.pwd, &session.pwd);
        or(&mut self.setup, &session.setup);
        if self.fingerprint.is_none() {
            self.fingerprint.clone_from(&session.fingerprint);
        }
    }
}

/// None for a hash that we do not know, of which there may be several lines (RFC 8122, 5).
fn fingerprint(value: &str) -> Result<Option<Fingerprint>, ()> {
    let (name, hex) = value.split_once(' ').ok_or(())?;
    let digest: Vec<u8> = hex
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .map_err(|_| ())?;
    let (hash, size) = match name.to_ascii_lowercase().as_str() {
        "sha-256" => (Hash::Sha256, 32),
        "sha-384" => (Hash::Sha384, 48),
        "sha-512" => (Hash::Sha512, 64),
        _ => return Ok(None),
    };
    if digest.len() == size { Ok(Some(Fingerprint { hash, digest })) } else { Err(()) }
}

fn cut(line: &str) -> String {
    line.chars().take(80).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The lines of a Chromium offer (two receiving transceivers) that matter here.
    pub(crate) const CHROMIUM: &str = include_str!("fixtures/chromium-offer.sdp");

    #[test]
    fn a_browsers_offer_is_read() {
        let offer = Offer::parse(CHROMIUM).unwrap();
        assert_eq!(offer.bundle, ["0", "1"]);
        assert_eq!(offer.sections.len(), 2);
        let video = &offer.sections[0];
        assert!(video.is_media() && video.receives && video.rtcp_mux);
        assert_eq!(video.mid.as_deref(), Some("0"));
        let h264 = video.codecs.iter().find(|codec| codec.payload_type == 108).unwrap();
        assert_eq!((h264.name.as_str(), h264.clock_rate), ("H264", 90_000));
        assert_eq!(h264.parameter("Packetization-Mode"), Some("1"));
        assert_eq!(h264.parameter("apt"), None);
        assert!(video.extensions.iter().any(|(id, uri)| *id == 5 && uri.ends_with("playout-delay")));
        let transport = &offer.sections[1].transport;
        assert_eq!(transport.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(transport.setup.as_deref(), Some("actpass"));
        assert_eq!(transport.fingerprint.as_ref().unwrap().digest.len(), 32);
    }

    #[test]
    fn session_level_transport_counts_for_every_section() {
        let text = "v=0\na=ice-ufrag:abcd\na=setup:actpass\nm=audio 9 X 0\nm=video 9 X 1\na=ice-ufrag:efgh\n";
        let offer = Offer::parse(text).unwrap();
        assert_eq!(offer.sections[0].transport.ufrag.as_deref(), Some("abcd"));
        assert_eq!(offer.sections[1].transport.ufrag.as_deref(), Some("efgh"));
        assert_eq!(offer.sections[1].transport.setup.as_deref(), Some("actpass"));
    }

    #[test]
    fn what_is_broken_is_named() {
        let message = |text: &str| Offer::parse(text).unwrap_err().to_string();
        assert!(message("").contains("v=0"));
        assert!(message("hello").contains("v=0"));
        assert!(message("v=0\nnonsense\n").contains("Line 2"));
        assert!(message("v=0\r\ns=-\r\n").contains("no media section"));
        assert!(message("v=0\nm=video x y\n").contains("Line 2 of the SDP has a broken m= line"));
        assert!(message("v=0\nm=video 9 P 96\na=rtpmap:96 H264\n").contains("rtpmap"));
        assert!(message("v=0\nm=video 9 P 96\na=ice-pwd:short\n").contains("ICE password"));
        assert!(message("v=0\nm=video 9 P 96\na=fingerprint:sha-256 AA:BB\n").contains("fingerprint"));
        let many = format!("v=0\n{}", "m=video 9 P 96\n".repeat(40));
        assert!(message(&many).contains("more than 32"));
    }

    #[test]
    fn any_cut_of_an_offer_is_survived() {
        for end in (0..CHROMIUM.len()).filter(|end| CHROMIUM.is_char_boundary(*end)) {
            let _ = Offer::parse(&CHROMIUM[..end]);
        }
    }
}

//! What is taken of an offer: one video and one audio section, one codec each, so that the codec of a track never
//! changes during a publisher's stay; everything else is rejected in the answer.

use bicast_shared::id::{RenditionId, TrackId};
use bicast_shared::media::aac::{AacConfig, AacRefusal};
use bicast_shared::media::{Codec, RenditionInfo, TrackInfo, TrackKind, parameter};
use bicast_shared::time::ClockRate;

use crate::core::fingerprint::{Fingerprint, HASHES};
use crate::core::format::is_single_stream;
use crate::core::sdp::{Offer, OfferedCodec, Section};

/// Layers of one track.
const MAX_LAYERS: usize = 4;

/// Video codecs that are taken, for people and for the problem's `accepted` member.
pub(crate) const VIDEO: [&str; 5] = ["H264", "VP8", "VP9", "AV1", "H265"];
/// Audio codecs that are taken.
pub(crate) const AUDIO: [&str; 2] = ["opus", "MPEG4-GENERIC"];

/// The offer, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiation {
    /// One entry for every section of the offer, in its order.
    pub(crate) sections: Vec<Plan>,
    /// The publisher's ICE ufrag.
    pub(crate) ufrag: String,
    /// The publisher's ICE password.
    pub(crate) pwd: String,
    /// The certificate that the publisher must show.
    pub(crate) fingerprint: Fingerprint,
}

/// What becomes of one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Answered with port 0: its media, protocol, formats and mid.
    Reject { media: String, protocol: String, formats: String, mid: Option<String> },
    /// Received.
    Take(Box<Taken>),
}

/// A section that is received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Its `a=mid`.
    pub(crate) mid: String,
    /// The track it becomes.
    pub(crate) track: TrackInfo,
    /// The chosen codec, as it was offered.
    pub(crate) offered: OfferedCodec,
    /// The payload type of its retransmissions (RFC 4588), if offered.
    pub(crate) rtx: Option<u8>,
    /// The header extensions in use.
    pub(crate) extensions: Extensions,
    /// The rids of the layers that are received; empty without simulcast.
    pub(crate) layers: Vec<String>,
    /// The SSRC of the media and of its retransmissions where the offer names them.
    pub(crate) announced: Option<(u32, Option<u32>)>,
}

/// Ids of the RTP header extensions in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extensions {
    pub(crate) mid: Option<u8>,
    pub(crate) rid: Option<u8>,
    pub(crate) repaired_rid: Option<u8>,
    pub(crate) transport_cc: Option<u8>,
    pub(crate) orientation: Option<u8>,
}

/// The URIs of [`Extensions`], in its order.
pub(crate) const EXTENSION_URIS: [&str; 5] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:3gpp:video-orientation",
];

/// Why an offer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("none of its {kind} codecs is taken here: it offers {}", list(offered))]
    NoCodec { kind: &'static str, offered: Vec<String>, accepted: &'static [&'static str] },
    #[error("its AAC (MPEG4-GENERIC) is not taken here: {0}")]
    Aac(#[from] AacRefusal),
    #[error("no section of it sends audio or video (a=sendonly or a=sendrecv)")]
    SendsNothing,
    #[error("the {media} section has no a=mid")]
    NoMid { media: String },
    #[error("the mid {mid:?} stands for two sections")]
    SameMid { mid: String },
    #[error("the sections {missing:?} are not in a=group:BUNDLE; one transport carries all media here")]
    NotBundled { missing: Vec<String> },
    #[error("the section with mid {mid:?} does not offer a=rtcp-mux")]
    NoRtcpMux { mid: String },
    #[error("the section with mid {mid:?} is {protocol}; UDP/TLS/RTP/SAVPF is needed")]
    Protocol { mid: String, protocol: String },
    #[error("payload type {payload_type} stands for a codec in two bundled sections")]
    SamePayloadType { payload_type: u8 },
    #[error("it has no {0}")]
    NoTransport(&'static str),
    #[error("its fingerprint uses {0:?}; {HASHES} is needed")]
    WeakFingerprint(String),
    #[error(
        "it says a=setup:{0}; the publisher must be able to begin the DTLS handshake (actpass or active)"
    )]
    Setup(String),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Decides on an offer. `known` are the tracks that the feed had before: a track keeps its id when a publisher returns
/// with the same kind. With `simulcast` all layers are received, without it the publisher's first.
pub(crate) fn negotiate(offer: &Offer, known: &[TrackInfo], simulcast: bool) -> Result<Negotiation, Refusal> {
    let video = pick(offer, TrackKind::Video)?;
    let audio = pick(offer, TrackKind::Audio)?;
    let Some(leader) = [video, audio].into_iter().flatten().map(|(at, _)| at).min() else {
        return Err(Refusal::SendsNothing);
    };
    let ids = TrackIds { known };
    let mut taken: Vec<(usize, Taken)> = Vec::new();
    for (at, codec) in [video, audio].into_iter().flatten() {
        let section = &offer.sections[at];
        taken.push((
            at,
            take(section, codec, ids.next(codec_of(codec).map_or(TrackKind::Video, Codec::kind)), simulcast)?,
        ));
    }
    check_bundle(offer, &taken)?;
    let (ufrag, pwd, fingerprint) = transport(&offer.sections[leader])?;
    let sections = offer
        .sections
        .iter()
        .enumerate()
        .map(|(at, section)| match taken.iter().find(|(taken_at, _)| *taken_at == at) {
            Some((_, taken)) => Plan::Take(Box::new(taken.clone())),
            None => Plan::Reject {
                media: section.media.clone(),
                protocol: section.protocol.clone(),
                formats: section.formats.join(" "),
                mid: section.mid.clone(),
            },
        })
        .collect();
    Ok(Negotiation { sections, ufrag, pwd, fingerprint })
}

impl Negotiation {
    /// The sections that are received.
    pub(crate) fn taken(&self) -> impl Iterator<Item = &Taken> {
        self.sections.iter().filter_map(|plan| match plan {
            Plan::Take(taken) => Some(&**taken),
            Plan::Reject { .. } => None,
        })
    }

    /// The tracks of the feed, in the order of their ids.
    pub(crate) fn tracks(&self) -> Vec<TrackInfo> {
        let mut tracks: Vec<TrackInfo> = self.taken().map(|taken| taken.track.clone()).collect();
        tracks.sort_by_key(|track| track.id);
        tracks
    }
}

/// Our codec for an offered one; none for `rtx`, `red`, … and for what cannot be forwarded.
fn codec_of(offered: &OfferedCodec) -> Option<Codec> {
    let codec = Codec::from_sdp_name(&offered.name)?;
    let rate = match codec {
        Codec::Aac => return aac(offered).is_ok().then_some(codec),
        Codec::Opus => ClockRate::OPUS,
        Codec::H265 if !is_single_stream(&offered.fmtp) => return None,
        _ => ClockRate::VIDEO,
    };
    (offered.clock_rate == rate.hz()).then_some(codec)
}

/// What an offered AAC is.
fn aac(offered: &OfferedCodec) -> Result<AacConfig, AacRefusal> {
    AacConfig::from_fmtp(&offered.fmtp, offered.clock_rate)
}

/// The first section of `kind` that sends with a codec we take, and that codec. AAC only where there is no Opus, which viewers hear
/// over both paths.
fn pick(offer: &Offer, kind: TrackKind) -> Result<Option<(usize, &OfferedCodec)>, Refusal> {
    let (name, accepted): (_, &'static [&'static str]) = match kind {
        TrackKind::Video => ("video", &VIDEO),
        TrackKind::Audio => ("audio", &AUDIO),
    };
    let mut offered = Vec::new();
    let mut asked = false;
    let mut second_choice = None;
    let mut refused = None;
    for (at, section) in offer.sections.iter().enumerate() {
        if section.media != name || !section.sends || !section.is_in_use() {
            continue;
        }
        asked = true;
        let usable = section.codecs.iter().filter(|codec| codec_of(codec).is_some_and(|c| c.kind() == kind));
        match usable.min_by_key(|codec| rank(codec)) {
            Some(best) if codec_of(best) == Some(Codec::Aac) => {
                second_choice.get_or_insert((at, best));
            }
            Some(best) => return Ok(Some((at, best))),
            None => {}
        }
        let aac_codecs =
            section.codecs.iter().filter(|codec| Codec::from_sdp_name(&codec.name) == Some(Codec::Aac));
        refused = refused.or_else(|| aac_codecs.filter_map(|codec| aac(codec).err()).next());
        offered.extend(section.codecs.iter().map(|codec| codec.name.clone()));
    }
    offered.dedup();
    match (second_choice, refused) {
        (Some(choice), _) => Ok(Some(choice)),
        (None, Some(why)) => Err(why.into()),
        (None, None) if asked => Err(Refusal::NoCodec { kind: name, offered, accepted }),
        (None, None) => Ok(None),
    }
}

/// Lower is better; equal ranks keep the publisher's order. H264 first: it is what the HLS path and every viewer can
/// play. Packetization mode 0 has no fragments, so that its encoder must cut slices to the size of a packet.
fn rank(offered: &OfferedCodec) -> u8 {
    match codec_of(offered) {
        Some(Codec::H264) => match parameter(&offered.fmtp, "packetization-mode") {
            Some("1") => 0,
            None | Some("0") => 1,
            // Interleaved: frames would have to be put back into decoding order first.
            Some(_) => 9,
        },
        Some(Codec::Aac) => 3,
        _ => 2,
    }
}

fn take(section: &Section, offered: &OfferedCodec, id: TrackId, simulcast: bool) -> Result<Taken, Refusal> {
    let mid = section.mid.clone().ok_or_else(|| Refusal::NoMid { media: section.media.clone() })?;
    if !matches!(section.protocol.as_str(), "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP" | "RTP/SAVPF") {
        return Err(Refusal::Protocol { mid, protocol: section.protocol.clone() });
    }
    if !section.rtcp_mux {
        return Err(Refusal::NoRtcpMux { mid });
    }
    let codec = codec_of(offered).unwrap_or(Codec::H264);
    let rate = ClockRate::new(offered.clock_rate);
    let extensions = Extensions::from_offer(section);
    let layers: Vec<String> = if simulcast && section.simulcast && extensions.rid.is_some() {
        section.rids.iter().take(MAX_LAYERS).cloned().collect()
    } else {
        Vec::new()
    };
    // `a=rtpmap` may leave the channels of AAC out.
    let channels = match codec {
        Codec::Aac => aac(offered)?.channels(),
        _ => offered.channels,
    };
    let mut track = TrackInfo::single(id, codec, rate, channels, offered.fmtp.clone());
    if !layers.is_empty() {
        let rendition =
            |(n, rid): (u8, &String)| RenditionInfo { id: RenditionId(n), rid: Some(rid.clone()) };
        track.renditions = (0..).zip(&layers).map(rendition).collect();
    }
    let repairs = |codec: &&OfferedCodec| {
        codec.name.eq_ignore_ascii_case("rtx")
            && parameter(&codec.fmtp, "apt").and_then(|apt| apt.parse().ok()) == Some(offered.payload_type)
    };
    let rtx = section.codecs.iter().find(repairs).map(|codec| codec.payload_type);
    let announced = match (layers.is_empty(), section.repair.first(), section.ssrcs.first()) {
        (true, Some((media, repair)), _) => Some((*media, Some(*repair))),
        (true, None, Some(media)) => Some((*media, None)),
        _ => None,
    };
    Ok(Taken { mid, track, offered: offered.clone(), rtx, extensions, layers, announced })
}

impl Extensions {
    fn from_offer(section: &Section) -> Self {
        // One-byte ids only: 1 to 14 (RFC 8285, 4.2). An id for two URIs is the offerer's mistake: the first counts.
        let id = |uri: &str| {
            let (id, _) = section.extensions.iter().find(|(_, offered)| offered == uri)?;
            let first = section.extensions.iter().find(|(other, _)| other == id)?;
            u8::try_from(*id).ok().filter(|id| (1..=14).contains(id) && first.1 == uri)
        };
        let [mid, rid, repaired_rid, transport_cc, orientation] = EXTENSION_URIS.map(id);
        Self { mid, rid, repaired_rid, transport_cc, orientation }
    }

    /// The ids, in the order of [`EXTENSION_URIS`].
    pub(crate) const fn ids(self) -> [Option<u8>; 5] {
        [self.mid, self.rid, self.repaired_rid, self.transport_cc, self.orientation]
    }
}

fn check_bundle(offer: &Offer, taken: &[(usize, Taken)]) -> Result<(), Refusal> {
    for (n, (_, one)) in taken.iter().enumerate() {
        for (_, other) in &taken[n + 1..] {
            if one.mid == other.mid {
                return Err(Refusal::SameMid { mid: one.mid.clone() });
            }
            let types = |taken: &Taken| [Some(taken.offered.payload_type), taken.rtx];
            if let Some(payload_type) =
                types(one).into_iter().flatten().find(|pt| types(other).contains(&Some(*pt)))
            {
                return Err(Refusal::SamePayloadType { payload_type });
            }
        }
    }
    let missing: Vec<String> =
        taken.iter().map(|(_, taken)| taken.mid.clone()).filter(|mid| !offer.bundle.contains(mid)).collect();
    // A single section needs no group: there is nothing to bundle it with.
    if missing.is_empty() || taken.len() == 1 { Ok(()) } else { Err(Refusal::NotBundled { missing }) }
}

fn transport(leader: &Section) -> Result<(String, String, Fingerprint), Refusal> {
    let own = &leader.transport;
    let ufrag = own.ufrag.as_ref().ok_or(Refusal::NoTransport("a=ice-ufrag"))?;
    let pwd = own.pwd.as_ref().ok_or(Refusal::NoTransport("a=ice-pwd"))?;
    let fingerprint = own.fingerprint.as_ref().ok_or_else(|| match &own.other_hash {
        Some(hash) => Refusal::WeakFingerprint(hash.clone()),
        None => Refusal::NoTransport("a=fingerprint"),
    })?;
    match own.setup.as_deref() {
        None | Some("actpass" | "active") => Ok((ufrag.clone(), pwd.clone(), fingerprint.clone())),
        Some(other) => Err(Refusal::Setup(other.to_owned())),
    }
}

/// Gives tracks their ids. Every kind has its own for good, whatever was published in between: viewers and HLS renditions
/// of a feed that was audio only for an epoch find its video where it was.
struct TrackIds<'a> {
    known: &'a [TrackInfo],
}

impl TrackIds<'_> {
    fn next(&self, kind: TrackKind) -> TrackId {
        if let Some(track) = self.known.iter().find(|track| track.kind() == kind) {
            return track.id;
        }
        let own = TrackId(u8::from(kind == TrackKind::Audio));
        if self.known.iter().all(|track| track.id != own) {
            return own;
        }
        self.known.iter().map(|track| track.id.next()).max().unwrap_or(own)
    }
}

#[cfg(test)]
#[path = "negotiate_tests.rs"]
pub(crate) mod tests;

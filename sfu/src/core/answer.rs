//! From a viewer's offer to our answer: which section gets which track, under which payload types, and the SDP text.
//!
//! Every line of the answer was tried in browsers; the comments name those whose absence or presence matters.

use std::fmt::Write as _;

use bicast_shared::feed::info::FeedInfo;
use bicast_shared::id::{RenditionId, StreamKey};
use bicast_shared::media::{Codec, TrackInfo, TrackKind};
use bicast_shared::time::ClockRate;

use super::candidates::{self, Candidate};
use super::fingerprint::{Fingerprint, HASHES};
use super::format;
use super::rewrite::TrackSpec;
use super::sdp::{Offer, OfferedCodec, Section};
use bicast_shared::feed::settings::Playout;

const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
const ORIENTATION: &str = "urn:3gpp:video-orientation";
const CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// What was agreed with a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The tracks it gets, at most one of a kind.
    pub(crate) tracks: Vec<AgreedTrack>,
    /// Kinds that the viewer would take and the feed has no track of.
    pub(crate) missing: Vec<TrackKind>,
    /// The viewer's ufrag: its checks name it.
    pub(crate) remote_ufrag: String,
    /// The certificate that it must show.
    pub(crate) fingerprint: Fingerprint,
}

/// One track that a viewer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgreedTrack {
    /// Which section of the offer.
    pub(crate) section: usize,
    pub(crate) key: StreamKey,
    pub(crate) codec: Codec,
    pub(crate) clock_rate: ClockRate,
    pub(crate) spec: TrackSpec,
    /// The viewer's own `a=fmtp` parameters of the payload type, and what we add to them.
    fmtp: String,
    encoding: String,
}

impl AgreedTrack {
    /// Whether what the feed has now can be sent under what was agreed.
    pub(crate) fn carries(&self, now: &TrackInfo) -> bool {
        now.codec == self.codec && format::distance(self.codec, &now.fmtp, &self.fmtp).is_some()
    }
}

/// Why an offer cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It lacks what a connection needs; the text ends a sentence.
    Broken(String),
    /// Nothing in it can be sent.
    Unusable { why: String, offered: Vec<String>, accepted: Vec<String> },
}

/// What a viewer wants beside what its offer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// What its player is asked to optimise.
    pub(crate) playout: Playout,
    /// Which encoding of the picture; none for the best that runs.
    pub(crate) rendition: Option<RenditionId>,
}

/// Decides what a viewer gets. `random` gives SSRCs and the beginnings of sequence numbers.
pub(crate) fn negotiate(
    offer: &Offer,
    feed: &FeedInfo,
    wishes: Wishes,
    mut random: impl FnMut() -> u32,
) -> Result<Agreement, Refusal> {
    let mut tracks: Vec<AgreedTrack> = Vec::new();
    let mut missing_kinds: Vec<TrackKind> = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    for (index, section) in offer.sections.iter().enumerate().filter(|(_, section)| is_media(section)) {
        let first = tracks.first().map(|track| &offer.sections[track.section]);
        match choose(offer, section, first, feed, &tracks) {
            Ok((track, codec)) => {
                let spec = spec(section, codec, wishes.playout, &tracks, &mut random);
                let wished = wishes.rendition.filter(|_| track.kind() == TrackKind::Video);
                let rendition = wished.unwrap_or_else(|| feed.best_rendition(track));
                tracks.push(AgreedTrack {
                    section: index,
                    key: StreamKey::new(track.id, rendition),
                    codec: track.codec,
                    clock_rate: track.clock_rate,
                    spec,
                    fmtp: format::answered(track, codec),
                    encoding: encoding(track, codec),
                });
            }
            Err(why) => {
                let kind = kind_of(section);
                if is_wanted(section) && feed.track(kind).is_none() && !missing_kinds.contains(&kind) {
                    missing_kinds.push(kind);
                }
                reasons.push(format!("{}: {why}", section.media));
            }
        }
    }
    let Some(transport) = tracks.first().map(|track| &offer.sections[track.section].transport) else {
        let offered = offer.sections.iter().flat_map(offered_codecs).collect();
        let accepted = feed.tracks.iter().map(|track| {
            format!("{}: {}", section_kind(track.kind()), format::describe(track.codec, &track.fmtp))
        });
        let why =
            if reasons.is_empty() { "no audio or video section".to_owned() } else { reasons.join("; ") };
        return Err(Refusal::Unusable { why, offered, accepted: accepted.collect() });
    };
    let missing = |what: &str| Refusal::Broken(format!("it has no a={what} line"));
    if transport.pwd.is_none() {
        return Err(missing("ice-pwd"));
    }
    // An ICE-lite server waits for the other side's ClientHello.
    if let Some(setup) = transport.setup.as_deref().filter(|setup| !matches!(*setup, "actpass" | "active")) {
        return Err(Refusal::Broken(format!("it says a=setup:{setup}; actpass or active is needed")));
    }
    Ok(Agreement {
        remote_ufrag: transport.ufrag.clone().ok_or_else(|| missing("ice-ufrag"))?,
        fingerprint: transport
            .fingerprint
            .clone()
            .ok_or_else(|| missing(&format!("fingerprint ({HASHES})")))?,
        tracks,
        missing: missing_kinds,
    })
}

/// Whether it carries sound or pictures over RTP.
fn is_media(section: &Section) -> bool {
    matches!(section.media.as_str(), "audio" | "video") && section.is_rtp()
}

fn kind_of(section: &Section) -> TrackKind {
    if section.media == "video" { TrackKind::Video } else { TrackKind::Audio }
}

/// Whether the viewer would take media in this section.
fn is_wanted(section: &Section) -> bool {
    section.receives && section.is_in_use()
}

fn choose<'a>(
    offer: &Offer,
    section: &'a Section,
    first: Option<&Section>,
    feed: &'a FeedInfo,
    taken: &[AgreedTrack],
) -> Result<(&'a TrackInfo, &'a OfferedCodec), String> {
    if !section.is_in_use() {
        return Err("the section is switched off".into());
    }
    if !section.receives {
        return Err("the viewer does not want to receive in it (a=recvonly or a=sendrecv)".into());
    }
    if !section.rtcp_mux {
        return Err("a=rtcp-mux is needed".into());
    }
    let bundled = |section: &Section| section.mid.as_ref().is_some_and(|mid| offer.bundle.contains(mid));
    if first.is_some_and(|first| !bundled(first) || !bundled(section)) {
        return Err("only sections of one a=group:BUNDLE can share the connection".into());
    }
    let kind = kind_of(section);
    let track = feed.track(kind).ok_or_else(|| format!("the feed has no {}", section.media))?;
    if taken.iter().any(|other| other.key.track == track.id) {
        return Err("the track is sent in another section".into());
    }
    if kind == TrackKind::Video && feed.b_frames {
        return Err(B_FRAMES.into());
    }
    let codec = pick(section, track).ok_or_else(|| {
        let offered = offered_codecs(section).join(", ");
        format!("the feed is {}, offered were {offered}", format::describe(track.codec, &track.fmtp))
    })?;
    Ok((track, codec))
}

/// Why video with B-frames is kept off this path, with the next step.
pub(crate) const B_FRAMES: &str = "the video has B-frames, which browsers cannot show over WebRTC; \
     watch it over HLS, or set the encoder to no B-frames (x264: bframes=0 or tune zerolatency)";

/// The payload type under which a track can be sent, the nearest where several fit; the viewer's order decides between
/// equals.
fn pick<'a>(section: &'a Section, track: &TrackInfo) -> Option<&'a OfferedCodec> {
    let distance = |codec: &'a OfferedCodec| {
        let fits = codec.clock_rate == track.clock_rate.hz()
            && Codec::from_sdp_name(&codec.name) == Some(track.codec)
            && section.formats.iter().any(|format| format.parse() == Ok(codec.payload_type));
        let distance = format::distance(track.codec, &track.fmtp, &codec.fmtp).filter(|_| fits)?;
        Some((distance, codec))
    };
    section.codecs.iter().filter_map(distance).min_by_key(|(distance, _)| *distance).map(|(_, codec)| codec)
}

fn spec(
    section: &Section,
    codec: &OfferedCodec,
    playout: Playout,
    taken: &[AgreedTrack],
    random: &mut impl FnMut() -> u32,
) -> TrackSpec {
    let mut used: Vec<u32> = taken
        .iter()
        .flat_map(|track| [Some(track.spec.ssrc), track.spec.rtx.map(|(ssrc, _)| ssrc)])
        .flatten()
        .collect();
    let mut ssrc = || {
        loop {
            let ssrc = random();
            // Browsers report under SSRC 1.
            if ssrc > 0xff && !used.contains(&ssrc) {
                used.push(ssrc);
                return ssrc;
            }
        }
    };
    let video = section.media == "video";
    let apt = codec.payload_type.to_string();
    let repair = section
        .codecs
        .iter()
        .find(|rtx| rtx.name.eq_ignore_ascii_case("rtx") && rtx.parameter("apt") == Some(&apt))
        .filter(|_| video);
    let extension = |uri: &str| {
        let known = section.extensions.iter().find(|(id, known)| known == uri && (1..=14).contains(id));
        known.and_then(|(id, _)| u8::try_from(*id).ok())
    };
    let of_video = |uri: &str| extension(uri).filter(|_| video);
    TrackSpec {
        ssrc: ssrc(),
        payload_type: codec.payload_type,
        rtx: repair.map(|rtx| (ssrc(), rtx.payload_type)),
        playout_delay: of_video(PLAYOUT_DELAY).filter(|_| playout == Playout::LowestLatency),
        orientation: of_video(ORIENTATION),
        capture_time: extension(CAPTURE_TIME),
        first_index: low(random()),
        first_rtx_index: low(random()),
    }
}

/// A beginning below 2^14: far enough from the first rollover for any receiver to take the counter for 0.
fn low(random: u32) -> u16 {
    u16::try_from(random & 0x3fff).unwrap_or(0)
}

fn encoding(track: &TrackInfo, codec: &OfferedCodec) -> String {
    match track.kind() {
        TrackKind::Video => format!("{}/{}", codec.name, codec.clock_rate),
        // Opus is always said to have two (RFC 7587, 7).
        TrackKind::Audio if track.codec == Codec::Opus => format!("{}/{}/2", codec.name, codec.clock_rate),
        TrackKind::Audio => format!("{}/{}/{}", codec.name, codec.clock_rate, track.channels.max(1)),
    }
}

fn section_kind(kind: TrackKind) -> &'static str {
    if kind == TrackKind::Video { "video" } else { "audio" }
}

fn offered_codecs(section: &Section) -> Vec<String> {
    let helpers = ["rtx", "red", "ulpfec", "flexfec-03", "telephone-event", "CN"];
    let mut names: Vec<String> = Vec::new();
    for codec in section.codecs.iter().filter(|codec| !helpers.contains(&codec.name.as_str())) {
        let name = format!("{}: {}", section.media, format::describe_offered(codec));
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What our end of the connection is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalEnd<'a> {
    pub(crate) session: u64,
    pub(crate) ufrag: &'a str,
    pub(crate) pwd: &'a str,
    /// SHA-256 of our certificate.
    pub(crate) fingerprint: &'a str,
    pub(crate) candidates: &'a [Candidate],
    /// The name of the media stream: what the page sees as the stream's id.
    pub(crate) stream: &'a str,
}

impl LocalEnd<'_> {
    /// How a section's transport is reached and secured; all of them have the same.
    fn transport(&self) -> [String; 4] {
        [
            format!("a=ice-ufrag:{}", self.ufrag),
            format!("a=ice-pwd:{}", self.pwd),
            format!("a=fingerprint:sha-256 {}", self.fingerprint),
            "a=setup:passive".to_owned(),
        ]
    }
}

/// Writes the answer: one section for every one of the offer, in its order.
pub(crate) fn write(offer: &Offer, agreement: &Agreement, end: &LocalEnd<'_>) -> String {
    let mut out = String::with_capacity(2_048);
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail. A missing last line end is a parse error in browsers.
        let _ = write!(out, "{text}\r\n");
    };
    let section_of = |track: &AgreedTrack| offer.sections.get(track.section);
    let mids = agreement.tracks.iter().filter_map(section_of).filter_map(|section| section.mid.as_deref());
    let mids =
        mids.filter(|mid| offer.bundle.iter().any(|bundled| bundled == mid)).collect::<Vec<_>>().join(" ");
    line(format_args!("v=0"));
    line(format_args!("o=- {} 1 IN IP4 127.0.0.1", end.session));
    line(format_args!("s=-"));
    line(format_args!("t=0 0"));
    line(format_args!("a=ice-lite"));
    if !mids.is_empty() {
        line(format_args!("a=group:BUNDLE {mids}"));
    }
    line(format_args!("a=msid-semantic: WMS *"));
    let mut transport_told = false;
    for (index, section) in offer.sections.iter().enumerate() {
        let Some(track) = agreement.tracks.iter().find(|track| track.section == index) else {
            line(format_args!("m={} 0 {} {}", section.media, section.protocol, section.formats.join(" ")));
            line(format_args!("c=IN IP4 0.0.0.0"));
            if let Some(mid) = &section.mid {
                line(format_args!("a=mid:{mid}"));
            }
            line(format_args!("a=inactive"));
            // Without meaning here (RFC 8829, 5.3.1), but GStreamer takes no answer with a section that has none.
            end.transport().iter().for_each(|text| line(format_args!("{text}")));
            // The webrtc crate looks up the format of a rejected section too, and refuses an answer that does not map it.
            for codec in &section.codecs {
                let channels = if codec.name.eq_ignore_ascii_case("opus") { "/2" } else { "" };
                line(format_args!(
                    "a=rtpmap:{} {}/{}{channels}",
                    codec.payload_type, codec.name, codec.clock_rate
                ));
            }
            continue;
        };
        let pt = track.spec.payload_type;
        let rtx = track.spec.rtx;
        let formats = rtx.map_or_else(|| pt.to_string(), |(_, rtx)| format!("{pt} {rtx}"));
        line(format_args!("m={} 9 {} {formats}", section.media, section.protocol));
        line(format_args!("c=IN IP4 0.0.0.0"));
        if let Some(mid) = &section.mid {
            line(format_args!("a=mid:{mid}"));
        }
        end.transport().iter().for_each(|text| line(format_args!("{text}")));
        line(format_args!("a=sendonly"));
        line(format_args!("a=rtcp-mux"));
        line(format_args!("a=rtcp-rsize"));
        line(format_args!("a=rtpmap:{pt} {}", track.encoding));
        if !track.fmtp.is_empty() {
            line(format_args!("a=fmtp:{pt} {}", track.fmtp));
        }
        if section.media == "video" {
            for feedback in ["nack", "nack pli", "ccm fir"] {
                line(format_args!("a=rtcp-fb:{pt} {feedback}"));
            }
        }
        // With our answers to it, pages get captureTime in requestVideoFrameCallback (RFC 3611 in Chromium).
        line(format_args!("a=rtcp-fb:{pt} rrtr"));
        if let Some((_, rtx)) = rtx {
            line(format_args!("a=rtpmap:{rtx} rtx/{}", track.clock_rate.hz()));
            line(format_args!("a=fmtp:{rtx} apt={pt}"));
        }
        for (id, uri) in [
            (track.spec.playout_delay, PLAYOUT_DELAY),
            (track.spec.orientation, ORIENTATION),
            (track.spec.capture_time, CAPTURE_TIME),
        ] {
            if let Some(id) = id {
                line(format_args!("a=extmap:{id} {uri}"));
            }
        }
        let ssrc = track.spec.ssrc;
        line(format_args!("a=msid:{} {}", end.stream, section.media));
        if let Some((rtx, _)) = rtx {
            line(format_args!("a=ssrc-group:FID {ssrc} {rtx}"));
        }
        // Each SSRC of the group needs its own line: Chromium fails to add the stream otherwise.
        for ssrc in [Some(ssrc), rtx.map(|(ssrc, _)| ssrc)].into_iter().flatten() {
            line(format_args!("a=ssrc:{ssrc} cname:{}", end.ufrag));
            line(format_args!("a=ssrc:{ssrc} msid:{} {}", end.stream, section.media));
        }
        if !std::mem::replace(&mut transport_told, true) {
            candidates::lines(end.candidates).for_each(|candidate| line(format_args!("{candidate}")));
        }
    }
    out
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;

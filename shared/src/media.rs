//! Codecs, tracks and renditions, and how to see in an RTP payload where decoding can begin.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{RenditionId, StreamKey, TrackId};
use crate::time::ClockRate;

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// How a track is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Codec {
    /// H.264 / AVC, RFC 6184.
    H264,
    /// H.265 / HEVC, RFC 7798.
    H265,
    /// VP8, RFC 7741.
    Vp8,
    /// VP9, RFC 9628.
    Vp9,
    /// AV1, the AOM's RTP specification.
    Av1,
    /// Opus, RFC 7587.
    Opus,
    /// AAC as access units (it comes from RTMP and files, never from WebRTC).
    Aac,
}

impl Codec {
    /// Picture or sound.
    #[must_use]
    pub const fn kind(self) -> TrackKind {
        match self {
            Self::H264 | Self::H265 | Self::Vp8 | Self::Vp9 | Self::Av1 => TrackKind::Video,
            Self::Opus | Self::Aac => TrackKind::Audio,
        }
    }

    /// The encoding name of SDP's `a=rtpmap`.
    #[must_use]
    pub const fn sdp_name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Opus => "opus",
            Self::Aac => "mpeg4-generic",
        }
    }

    /// The codec that SDP calls `name` (names are case-insensitive, RFC 8866, 6.6).
    #[must_use]
    pub fn from_sdp_name(name: &str) -> Option<Self> {
        [Self::H264, Self::H265, Self::Vp8, Self::Vp9, Self::Av1, Self::Opus, Self::Aac]
            .into_iter()
            .find(|codec| codec.sdp_name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Opus => "Opus",
            Self::Aac => "AAC",
        })
    }
}

/// One track of a feed as its publisher described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackInfo {
    /// Its number on the feed.
    pub id: TrackId,
    /// How it is coded.
    pub codec: Codec,
    /// Ticks per second of its RTP timestamps.
    pub clock_rate: ClockRate,
    /// Channels of sound; 0 for video.
    pub channels: u8,
    /// The publisher's `a=fmtp` parameters, e.g. `profile-level-id=42e01f;packetization-mode=1`.
    pub fmtp: String,
    /// Its encodings, at least one.
    pub renditions: Vec<RenditionInfo>,
}

impl TrackInfo {
    /// A track with a single encoding.
    #[must_use]
    pub fn single(id: TrackId, codec: Codec, clock_rate: ClockRate, channels: u8, fmtp: String) -> Self {
        let renditions = vec![RenditionInfo { id: RenditionId(0), rid: None }];
        Self { id, codec, clock_rate, channels, fmtp, renditions }
    }

    /// Picture or sound.
    #[must_use]
    pub const fn kind(&self) -> TrackKind {
        self.codec.kind()
    }

    /// The stream keys of all its encodings.
    pub fn streams(&self) -> impl Iterator<Item = StreamKey> + '_ {
        self.renditions.iter().map(|rendition| StreamKey::new(self.id, rendition.id))
    }
}

/// One encoding of a track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenditionInfo {
    /// Its number in the track.
    pub id: RenditionId,
    /// The simulcast `rid` it came under (RFC 8851), if any.
    pub rid: Option<String>,
}

/// Whether this RTP payload shows that its frame is one at which decoding can begin.
///
/// It looks at one packet, so a frame is a keyframe as soon as one of its packets says so. H.264 says it with an IDR
/// slice or an SPS, alone, in a STAP-A or in any fragment of an FU-A (its header repeats the type): encoders such as
/// x264 send the parameter sets as a STAP-A in front of the IDR with the same timestamp. Audio frames always are.
#[must_use]
pub fn starts_decoding(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264_keyframe(payload),
        Codec::H265 => h265_keyframe(payload),
        Codec::Vp8 => vp8_keyframe(payload),
        Codec::Vp9 => vp9_keyframe(payload),
        // AV1 aggregation header: the N bit says "first packet of a coded video sequence".
        Codec::Av1 => payload.first().is_some_and(|b| b & 0x08 != 0),
        Codec::Opus | Codec::Aac => true,
    }
}

/// Whether what a decoder needs of a keyframe begins in this RTP payload: with it, nothing of use is missing in front.
/// H.264 and H.265 begin with their parameter sets, the others with the first packet of the frame.
#[must_use]
pub fn begins_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264_sps(payload).is_some(),
        Codec::H265 => match payload {
            // An aggregation packet with a VPS or SPS, or either alone (H.265, table 7-1; RFC 7798, 4.4).
            [first, _, rest @ ..] if (first >> 1) & 0x3f == 48 => {
                aggregated(rest).any(|unit| unit.first().is_some_and(|b| matches!((b >> 1) & 0x3f, 32 | 33)))
            }
            [first, ..] => matches!((first >> 1) & 0x3f, 32 | 33),
            [] => false,
        },
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus | Codec::Aac => starts_decoding(codec, payload),
    }
}

/// The H.264 sequence parameter set in this RTP payload, alone or in a STAP-A. When it changes, the picture's size or
/// profile may have, and CMAF needs a new initialization section.
#[must_use]
pub fn h264_sps(payload: &[u8]) -> Option<&[u8]> {
    let is_sps = |unit: &&[u8]| unit.first().is_some_and(|b| b & 0x1f == 7);
    match payload {
        [first, rest @ ..] if first & 0x1f == 24 => aggregated(rest).find(is_sps),
        _ => Some(payload).filter(is_sps),
    }
}

fn h264_keyframe(payload: &[u8]) -> bool {
    let is_key = |nal: u8| matches!(nal & 0x1f, 5 | 7);
    match payload {
        [first, rest @ ..] if first & 0x1f == 24 => {
            aggregated(rest).any(|unit| unit.first().is_some_and(|b| is_key(*b)))
        }
        [first, header, ..] if matches!(first & 0x1f, 28 | 29) => is_key(*header),
        [first, ..] => is_key(*first),
        [] => false,
    }
}

fn h265_keyframe(payload: &[u8]) -> bool {
    // BLA, IDR, CRA are 16..=21; VPS, SPS, PPS are 32..=34 (H.265, table 7-1).
    let is_key = |kind: u8| matches!(kind, 16..=21 | 32..=33);
    match payload {
        [first, _, rest @ ..] => match (first >> 1) & 0x3f {
            48 => aggregated(rest).any(|unit| unit.first().is_some_and(|b| is_key((b >> 1) & 0x3f))),
            49 => rest.first().is_some_and(|header| is_key(header & 0x3f)),
            kind => is_key(kind),
        },
        _ => false,
    }
}

/// The units of an aggregation packet: each behind its 16-bit length. Stops at the first length that lies.
fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let unit = tail.get(..length)?;
        rest = tail.get(length..)?;
        Some(unit)
    })
}

fn vp8_keyframe(payload: &[u8]) -> bool {
    let Some((&first, mut rest)) = payload.split_first() else { return false };
    // Only the first packet of partition 0 has the frame header (RFC 7741, 4.2 and 4.3).
    if first & 0x10 == 0 || first & 0x07 != 0 {
        return false;
    }
    if first & 0x80 != 0 {
        let Some((&extension, tail)) = rest.split_first() else { return false };
        rest = tail;
        if extension & 0x80 != 0 {
            let Some(&picture_id) = rest.first() else { return false };
            rest = rest.get(if picture_id & 0x80 != 0 { 2 } else { 1 }..).unwrap_or_default();
        }
        let fixed = usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
        rest = rest.get(fixed..).unwrap_or_default();
    }
    rest.first().is_some_and(|b| b & 1 == 0)
}

fn vp9_keyframe(payload: &[u8]) -> bool {
    // P = 0 (not inter-predicted) and B = 1 (start of a frame), in spatial layer 0 (RFC 9628, 4.2).
    let Some(&first) = payload.first() else { return false };
    if first & 0x40 != 0 || first & 0x08 == 0 {
        return false;
    }
    if first & 0x20 == 0 {
        return true;
    }
    let picture_id =
        if first & 0x80 == 0 { 0 } else { 1 + usize::from(payload.get(1).is_some_and(|b| b & 0x80 != 0)) };
    payload.get(1 + picture_id).is_some_and(|layer| (layer >> 1) & 0x07 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_keyframes_are_seen_in_every_packet_form() {
        let key = |payload: &[u8]| starts_decoding(Codec::H264, payload);
        assert!(key(&[0x65, 1]), "IDR");
        assert!(key(&[0x67, 1]), "SPS");
        assert!(!key(&[0x61, 1]), "P slice");
        assert!(key(&[0x78, 0, 1, 0x09, 0, 2, 0x67, 0x42]), "STAP-A with AUD and SPS");
        assert!(!key(&[0x78, 0, 1, 0x09, 0, 2, 0x68, 0x42]), "STAP-A without an SPS");
        assert!(key(&[0x7c, 0x85]), "first fragment of an IDR");
        assert!(key(&[0x7c, 0x05]), "middle fragment of an IDR");
        assert!(!key(&[0x7c, 0x81]), "fragment of a P slice");
        assert!(!key(&[]) && !key(&[0x78]) && !key(&[0x78, 0xff, 0xff, 0x67]), "truncated");
    }

    #[test]
    fn the_sps_is_found_alone_and_in_company() {
        assert_eq!(h264_sps(&[0x67, 1, 2]), Some(&[0x67, 1, 2][..]));
        assert_eq!(h264_sps(&[0x78, 0, 1, 0x09, 0, 2, 0x67, 0x42, 0, 1, 0x68]), Some(&[0x67, 0x42][..]));
        for none in [&[][..], &[0x65, 1], &[0x78], &[0x78, 0, 9, 0x67], &[0x7c, 0x87, 1]] {
            assert_eq!(h264_sps(none), None);
        }
    }

    #[test]
    fn vp8_keyframes_hide_behind_the_payload_descriptor() {
        let key = |payload: &[u8]| starts_decoding(Codec::Vp8, payload);
        assert!(key(&[0x10, 0x00]));
        assert!(!key(&[0x10, 0x01]));
        assert!(key(&[0x90, 0x80, 0x80, 0x01, 0x00]), "15-bit picture id");
        assert!(!key(&[0x00, 0x00]), "not the start of a partition");
        assert!(!key(&[0x90, 0x80]) && !key(&[0x90]) && !key(&[]));
    }

    #[test]
    fn vp9_av1_and_h265_keyframes_are_seen() {
        let key = |codec, payload: &[u8]| starts_decoding(codec, payload);
        // VP9 (RFC 9628, 4.2): I P L F B E V Z, with a 15-bit picture id.
        assert!(key(Codec::Vp9, &[0x88, 0x80, 0x01]), "key picture, first packet");
        assert!(!key(Codec::Vp9, &[0xc8, 0x80, 0x01]), "inter-predicted");
        assert!(!key(Codec::Vp9, &[0x80, 0x80, 0x01]), "not the beginning of a frame");
        assert!(key(Codec::Vp9, &[0xa8, 0x80, 0x01, 0x00]), "spatial layer 0");
        assert!(!key(Codec::Vp9, &[0xa8, 0x80, 0x01, 0x02]), "spatial layer 1");
        // AV1 (RTP payload format, 4.4): Z Y W W N.
        assert!(key(Codec::Av1, &[0x18, 0x0a]), "a new coded video sequence");
        assert!(!key(Codec::Av1, &[0x10, 0x32]));
        // H.265: IDR_W_RADL 19, TRAIL_R 1, VPS 32, FU 49, AP 48.
        assert!(key(Codec::H265, &[19 << 1, 1]) && key(Codec::H265, &[32 << 1, 1]));
        assert!(!key(Codec::H265, &[1 << 1, 1]));
        assert!(key(Codec::H265, &[49 << 1, 1, 0x80 | 19]) && !key(Codec::H265, &[49 << 1, 1, 0x80 | 1]));
        assert!(key(Codec::H265, &[48 << 1, 1, 0, 2, 32 << 1, 1, 0, 2, 33 << 1, 1]));
    }

    #[test]
    fn a_keyframe_begins_with_what_a_decoder_needs_first() {
        assert!(begins_keyframe(Codec::H264, &[0x67, 1]) && !begins_keyframe(Codec::H264, &[0x65, 1]));
        assert!(begins_keyframe(Codec::H265, &[32 << 1, 1]) && !begins_keyframe(Codec::H265, &[19 << 1, 1]));
        assert!(begins_keyframe(Codec::H265, &[48 << 1, 1, 0, 2, 33 << 1, 1]));
        assert!(begins_keyframe(Codec::Vp8, &[0x10, 0x00]) && !begins_keyframe(Codec::Vp8, &[0x00, 0x00]));
    }

    #[test]
    fn every_payload_of_three_bytes_is_survived() {
        for codec in [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1] {
            for n in 0..=0x00ff_ffff_u32 {
                if n % 7 == 0 {
                    std::hint::black_box(starts_decoding(codec, &n.to_le_bytes()[..3]));
                    std::hint::black_box(begins_keyframe(codec, &n.to_le_bytes()[..3]));
                }
            }
        }
    }
}

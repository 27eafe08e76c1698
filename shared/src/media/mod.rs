//! Codecs, tracks and renditions, and what an RTP payload shows of its frame.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{RenditionId, StreamKey, TrackId};
use crate::time::ClockRate;

pub mod aac;
mod payload;

pub use payload::{begins_keyframe, decoder_configuration, starts_decoding};

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
    /// AAC-LC, RFC 3640 (mode AAC-hbr). Encoders send it over WHIP; browsers do not know it in WebRTC.
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

/// A parameter of an `a=fmtp` list like `apt=96;x=1`; names are case-insensitive.
#[must_use]
pub fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
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

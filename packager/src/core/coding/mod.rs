//! What a stream's keyframes say to a player: the codec's name with its profile, the picture's size, and the sample entry of the
//! init segment. One file a codec.

use bicast_shared::media::Codec;
use bytes::{BufMut, Bytes, BytesMut};
use mp4_atom::Visual;

use crate::core::depacketizer::{AccessUnit, vp9::superframe};

pub mod av1;
pub mod h264;
pub mod h265;
pub mod still;
pub mod vp9;

/// Parameter sets kept of one kind; real encoders send one or two.
const MOST: usize = 8;
/// The longest side of a picture, in pixels: what the largest levels of these codecs allow.
const LONGEST_SIDE: u32 = 16_384;

/// Why a keyframe cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadParameters {
    /// Something without which nothing can be decoded has not come.
    #[error("the stream has sent no {0} yet")]
    Missing(&'static str),
    /// Something cannot be read, or belongs to nothing.
    #[error("the {0} cannot be read: {1}")]
    Unreadable(&'static str, String),
    /// A picture that no player takes.
    #[error("a picture of {0}x{1} pixels")]
    Size(u32, u32),
    /// Not a codec that is packaged.
    #[error("{0} video is not packaged")]
    Codec(Codec),
}

/// What is in force from one change of a stream's keyframes to the next: what an init segment is made of.
#[derive(Debug)]
pub struct VideoConfig {
    /// RFC 6381, e.g. `avc1.42c01f`.
    pub codecs: String,
    /// Width in pixels after cropping.
    pub width: u16,
    /// Height in pixels after cropping.
    pub height: u16,
    /// How many frames may come earlier than they are shown; none when the stream does not say.
    pub reorder_frames: Option<u32>,
    /// What only its codec knows.
    pub coding: Coding,
}

/// The parameters of a codec.
#[derive(Debug)]
pub enum Coding {
    /// H.264.
    H264(h264::Parameters),
    /// H.265.
    H265(h265::Parameters),
    /// AV1.
    Av1(av1::Parameters),
    /// VP9.
    Vp9(vp9::Parameters),
}

impl VideoConfig {
    /// The config in force from a keyframe on: what came with it, and of a kind of parameter set that did not come, those of
    /// `previous`. None when nothing changes.
    ///
    /// # Errors
    /// [`BadParameters`] when the keyframe cannot be decoded with what is known.
    pub fn of_keyframe(
        codec: Codec,
        unit: &AccessUnit,
        previous: Option<&Self>,
    ) -> Result<Option<Self>, BadParameters> {
        let previous = previous.map(|config| &config.coding);
        match codec {
            Codec::H264 => h264::of_keyframe(unit, previous),
            Codec::H265 => h265::of_keyframe(unit, previous),
            Codec::Av1 => av1::of_keyframe(unit, previous),
            Codec::Vp9 => vp9::of_keyframe(unit, previous),
            other => Err(BadParameters::Codec(other)),
        }
    }

    /// Its entry in the init segment's `stsd`. None when a parameter set is too large for it.
    #[must_use]
    pub fn sample_entry(&self) -> Option<mp4_atom::Codec> {
        let (width, height) = (self.width, self.height);
        let visual = Visual { data_reference_index: 1, width, height, ..Visual::default() };
        match &self.coding {
            Coding::H264(parameters) => parameters.sample_entry(visual),
            Coding::H265(parameters) => Some(parameters.sample_entry(visual)),
            Coding::Av1(parameters) => Some(parameters.sample_entry(visual)),
            Coding::Vp9(parameters) => Some(parameters.sample_entry(visual)),
        }
    }
}

/// A frame's units as a sample has them: NAL units behind their 32-bit lengths, OBUs one after the other, VP9 frames as a
/// superframe.
#[must_use]
pub fn sample(codec: Codec, units: &[Bytes]) -> Bytes {
    match codec {
        Codec::Av1 => units.concat().into(),
        Codec::Vp9 => superframe(units),
        _ => length_prefixed(units),
    }
}

/// NAL units, each behind its 32-bit length.
#[must_use]
pub fn length_prefixed(units: &[Bytes]) -> Bytes {
    let mut out = BytesMut::with_capacity(units.iter().map(|unit| unit.len() + 4).sum());
    for unit in units {
        out.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
        out.put_slice(unit);
    }
    out.freeze()
}

/// A picture's sides, if a player takes them.
fn sides(width: u32, height: u32) -> Result<(u16, u16), BadParameters> {
    let side = |pixels: u32| u16::try_from(pixels).ok().filter(|_| (1..=LONGEST_SIDE).contains(&pixels));
    side(width).zip(side(height)).ok_or(BadParameters::Size(width, height))
}

/// What a NAL unit carries: without its header of `header` bytes and the emulation prevention bytes (H.264, 7.3.1; H.265, 7.3.1.1).
/// Takes any bytes.
fn payload(unit: &[u8], header: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit.iter().skip(header) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// The parameter sets in force of a kind: those that came, else those that were.
fn in_force(new: &[Bytes], old: Option<&Vec<Bytes>>) -> Vec<Bytes> {
    if new.is_empty() {
        return old.cloned().unwrap_or_default();
    }
    let mut distinct: Vec<Bytes> = Vec::new();
    for unit in new {
        if !distinct.contains(unit) && distinct.len() < MOST {
            distinct.push(unit.clone());
        }
    }
    distinct
}

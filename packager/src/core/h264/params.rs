//! Parameter sets: which are in force, and what they say to a player.

use std::fmt;

use bytes::Bytes;
use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::sps::{PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::BitReader;

use crate::core::depacketizer::h264::AccessUnit;

/// Parameter sets kept of one kind; real encoders send one or two.
const MOST: usize = 8;

/// Why a keyframe's parameter sets cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadParameters {
    /// No SPS has come, or no PPS.
    #[error("the stream has sent no {0} yet")]
    Missing(&'static str),
    /// An SPS that cannot be read.
    #[error("an SPS cannot be read: {0}")]
    Sps(String),
    /// A PPS that cannot be read, or one that belongs to no SPS.
    #[error("a PPS cannot be read: {0}")]
    Pps(String),
    /// A picture that no player takes.
    #[error("a picture of {0}x{1} pixels")]
    Size(u32, u32),
}

/// The parameter sets of a stream's keyframes from one change to the next: what an init segment is made of.
pub struct VideoConfig {
    /// Sequence parameter sets, as sent.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, as sent.
    pub pps: Vec<Bytes>,
    /// RFC 6381: `avc1.42c01f`.
    pub codecs: String,
    /// Width in pixels after cropping.
    pub width: u16,
    /// Height in pixels after cropping.
    pub height: u16,
    /// How many frames may come earlier than they are shown; none when the stream does not say.
    pub reorder_frames: Option<u32>,
    /// `chroma_format_idc` and the bit depths of luma and chroma, which avcC repeats for the High profiles.
    pub chroma: (u8, u8, u8),
    /// For reading slice headers.
    pub(super) context: Context,
}

impl fmt::Debug for VideoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoConfig")
            .field("codecs", &self.codecs)
            .field("size", &(self.width, self.height))
            .finish_non_exhaustive()
    }
}

impl VideoConfig {
    /// The config in force from a keyframe on: the sets that came with it, and of a kind that did not come, those of
    /// `previous`. None when nothing changes.
    ///
    /// # Errors
    /// [`BadParameters`] when the keyframe cannot be decoded with what is known.
    pub fn of_keyframe(unit: &AccessUnit, previous: Option<&Self>) -> Result<Option<Self>, BadParameters> {
        let pick = |new: &[Bytes], old: fn(&Self) -> &Vec<Bytes>| {
            if new.is_empty() { previous.map(old).cloned().unwrap_or_default() } else { distinct(new) }
        };
        let sps = pick(&unit.sps, |config| &config.sps);
        let pps = pick(&unit.pps, |config| &config.pps);
        if previous.is_some_and(|previous| previous.sps == sps && previous.pps == pps) {
            return Ok(None);
        }
        Self::read(sps, pps).map(Some)
    }

    fn read(sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Self, BadParameters> {
        let mut context = Context::new();
        for unit in &sps {
            context.put_seq_param_set(read_sps(unit)?);
        }
        for unit in &pps {
            let parsed = PicParameterSet::from_bits(&context, BitReader::new(&*payload(unit)))
                .map_err(|error| BadParameters::Pps(format!("{error:?}")))?;
            context.put_pic_param_set(parsed);
        }
        let first = sps.first().ok_or(BadParameters::Missing("SPS"))?;
        if pps.is_empty() {
            return Err(BadParameters::Missing("PPS"));
        }
        let parsed = read_sps(first)?;
        let (width, height) =
            parsed.pixel_dimensions().map_err(|error| BadParameters::Sps(format!("{error:?}")))?;
        let side = |pixels: u32| u16::try_from(pixels).ok().filter(|side| (1..=16_384).contains(side));
        let (Some(w), Some(h)) = (side(width), side(height)) else {
            return Err(BadParameters::Size(width, height));
        };
        let &[_, profile, constraints, level, ..] = &first[..] else {
            return Err(BadParameters::Sps("too short".into()));
        };
        let chroma = &parsed.chroma_info;
        let chroma_format = u8::try_from(chroma.chroma_format.to_u32()).unwrap_or(1);
        Ok(Self {
            codecs: format!("avc1.{profile:02x}{constraints:02x}{level:02x}"),
            width: w,
            height: h,
            reorder_frames: reorder_frames(&parsed),
            chroma: (chroma_format, chroma.bit_depth_luma_minus8 + 8, chroma.bit_depth_chroma_minus8 + 8),
            sps,
            pps,
            context,
        })
    }
}

fn read_sps(unit: &Bytes) -> Result<SeqParameterSet, BadParameters> {
    SeqParameterSet::from_bits(BitReader::new(&*payload(unit)))
        .map_err(|error| BadParameters::Sps(format!("{error:?}")))
}

/// What a NAL unit carries: without its header and emulation prevention bytes (H.264, 7.3.1). Takes any bytes.
pub(super) fn payload(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit.iter().skip(1) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// How many frames may be decoded before one that is shown earlier (`max_num_reorder_frames`). Baseline has no B slices,
/// and picture order count type 2 means that the orders are the same.
fn reorder_frames(sps: &SeqParameterSet) -> Option<u32> {
    let told = sps.vui_parameters.as_ref().and_then(|vui| vui.bitstream_restrictions.as_ref());
    if let Some(restrictions) = told {
        return Some(restrictions.max_num_reorder_frames.min(16));
    }
    let baseline = sps.profile().profile_idc() == 66;
    let same_order = matches!(sps.pic_order_cnt, PicOrderCntType::TypeTwo);
    (baseline || same_order).then_some(0)
}

fn distinct(units: &[Bytes]) -> Vec<Bytes> {
    let mut distinct: Vec<Bytes> = Vec::new();
    for unit in units {
        if !distinct.contains(unit) && distinct.len() < MOST {
            distinct.push(unit.clone());
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written by x264 for 64x64 High with two B-frames, and by OpenH264 for 320x180 (184 lines, cropped) constrained
    // baseline.
    pub(crate) fn keyframe(sps: &[u8], pps: &[u8]) -> AccessUnit {
        AccessUnit {
            sps: vec![Bytes::copy_from_slice(sps)],
            pps: vec![Bytes::copy_from_slice(pps)],
            keyframe: true,
            picture: true,
            intact: true,
            units: Vec::new(),
        }
    }

    const HIGH_SPS: [u8; 25] = [
        0x67, 0x64, 0x00, 0x0a, 0xac, 0xd9, 0x44, 0x26, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03,
        0x00, 0xf0, 0x3c, 0x48, 0x96, 0x58, 0, 0,
    ];

    #[test]
    fn a_keyframe_without_parameter_sets_needs_earlier_ones() {
        let bare = AccessUnit { keyframe: true, picture: true, intact: true, ..AccessUnit::default() };
        assert_eq!(VideoConfig::of_keyframe(&bare, None).unwrap_err(), BadParameters::Missing("SPS"),);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_reason() {
        for (sps, pps) in [(&[0x67_u8, 0x42][..], &[0x68_u8, 0xce][..]), (&HIGH_SPS[..6], &[0x68, 0xce])] {
            let error = VideoConfig::of_keyframe(&keyframe(sps, pps), None).unwrap_err();
            assert!(matches!(error, BadParameters::Sps(_)), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(sps: Vec<u8>, pps: Vec<u8>, at in 4..25_usize, flip: u8) {
            drop(VideoConfig::of_keyframe(&keyframe(&sps, &pps), None));
            let mut sps = HIGH_SPS;
            sps[at] ^= flip;
            drop(VideoConfig::of_keyframe(&keyframe(&sps, &pps), None));
        }
    }
}

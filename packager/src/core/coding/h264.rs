//! H.264: parameter sets.

use std::fmt;

use bytes::Bytes;
use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::sps::{PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::BitReader;
use mp4_atom::{Avc1, Avcc, AvccExt, Visual};

use super::{BadParameters, Coding, VideoConfig, in_force, payload, sides};
use crate::core::depacketizer::AccessUnit;

/// The parameter sets in force.
pub struct Parameters {
    /// Sequence parameter sets, as sent.
    sps: Vec<Bytes>,
    /// Picture parameter sets, as sent.
    pps: Vec<Bytes>,
    /// `chroma_format_idc` and the bit depths of luma and chroma, which avcC repeats for the High profiles.
    chroma: (u8, u8, u8),
    /// For reading slice headers.
    pub(super) context: Context,
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters").field("sps", &self.sps).field("pps", &self.pps).finish_non_exhaustive()
    }
}

impl Parameters {
    /// `avc1` with its avcC; none when a parameter set is missing or too short.
    pub(super) fn sample_entry(&self, visual: Visual) -> Option<mp4_atom::Codec> {
        let &[_, profile, constraints, level, ..] = &self.sps.first()?[..] else { return None };
        // The profiles that carry their chroma format in the SPS repeat it in avcC (ISO/IEC 14496-15, 5.3.3.1).
        let ext = (!matches!(profile, 66 | 77 | 88)).then(|| AvccExt {
            chroma_format: self.chroma.0,
            bit_depth_luma: self.chroma.1,
            bit_depth_chroma: self.chroma.2,
            sequence_parameter_sets_ext: Vec::new(),
        });
        let avcc = Avcc {
            configuration_version: 1,
            avc_profile_indication: profile,
            profile_compatibility: constraints,
            avc_level_indication: level,
            length_size: 4,
            sequence_parameter_sets: self.sps.iter().map(|unit| unit.to_vec()).collect(),
            picture_parameter_sets: self.pps.iter().map(|unit| unit.to_vec()).collect(),
            ext,
        };
        Some(Avc1 { visual, avcc, ..Avc1::default() }.into())
    }
}

pub(super) fn of_keyframe(
    unit: &AccessUnit,
    previous: Option<&Coding>,
) -> Result<Option<VideoConfig>, BadParameters> {
    let previous = match previous {
        Some(Coding::H264(parameters)) => Some(parameters),
        _ => None,
    };
    let sps = in_force(&unit.sps, previous.map(|previous| &previous.sps));
    let pps = in_force(&unit.pps, previous.map(|previous| &previous.pps));
    if previous.is_some_and(|previous| previous.sps == sps && previous.pps == pps) {
        return Ok(None);
    }
    read(sps, pps).map(Some)
}

fn read(sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<VideoConfig, BadParameters> {
    let mut context = Context::new();
    for unit in &sps {
        context.put_seq_param_set(read_sps(unit)?);
    }
    for unit in &pps {
        let parsed = PicParameterSet::from_bits(&context, BitReader::new(&*payload(unit, 1)))
            .map_err(|error| BadParameters::Unreadable("PPS", format!("{error:?}")))?;
        context.put_pic_param_set(parsed);
    }
    let first = sps.first().ok_or(BadParameters::Missing("SPS"))?;
    if pps.is_empty() {
        return Err(BadParameters::Missing("PPS"));
    }
    let parsed = read_sps(first)?;
    let (width, height) =
        parsed.pixel_dimensions().map_err(|error| BadParameters::Unreadable("SPS", format!("{error:?}")))?;
    let (width, height) = sides(width, height)?;
    let &[_, profile, constraints, level, ..] = &first[..] else {
        return Err(BadParameters::Unreadable("SPS", "too short".into()));
    };
    let chroma = &parsed.chroma_info;
    let chroma_format = u8::try_from(chroma.chroma_format.to_u32()).unwrap_or(1);
    Ok(VideoConfig {
        codecs: format!("avc1.{profile:02x}{constraints:02x}{level:02x}"),
        width,
        height,
        reorder_frames: reorder_frames(&parsed),
        coding: Coding::H264(Parameters {
            chroma: (chroma_format, chroma.bit_depth_luma_minus8 + 8, chroma.bit_depth_chroma_minus8 + 8),
            sps,
            pps,
            context,
        }),
    })
}

fn read_sps(unit: &Bytes) -> Result<SeqParameterSet, BadParameters> {
    SeqParameterSet::from_bits(BitReader::new(&*payload(unit, 1)))
        .map_err(|error| BadParameters::Unreadable("SPS", format!("{error:?}")))
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

#[cfg(test)]
mod tests {
    use bicast_shared::media::Codec;

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
            ..AccessUnit::default()
        }
    }

    const HIGH_SPS: [u8; 25] = [
        0x67, 0x64, 0x00, 0x0a, 0xac, 0xd9, 0x44, 0x26, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03,
        0x00, 0xf0, 0x3c, 0x48, 0x96, 0x58, 0, 0,
    ];

    #[test]
    fn a_keyframe_without_parameter_sets_needs_earlier_ones() {
        let bare = AccessUnit { keyframe: true, picture: true, intact: true, ..AccessUnit::default() };
        assert_eq!(
            VideoConfig::of_keyframe(Codec::H264, &bare, None).unwrap_err(),
            BadParameters::Missing("SPS"),
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_reason() {
        for (sps, pps) in [(&[0x67_u8, 0x42][..], &[0x68_u8, 0xce][..]), (&HIGH_SPS[..6], &[0x68, 0xce])] {
            let error = VideoConfig::of_keyframe(Codec::H264, &keyframe(sps, pps), None).unwrap_err();
            assert!(matches!(error, BadParameters::Unreadable("SPS", _)), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(sps: Vec<u8>, pps: Vec<u8>, at in 4..25_usize, flip: u8) {
            drop(VideoConfig::of_keyframe(Codec::H264, &keyframe(&sps, &pps), None));
            let mut sps = HIGH_SPS;
            sps[at] ^= flip;
            drop(VideoConfig::of_keyframe(Codec::H264, &keyframe(&sps, &pps), None));
        }
    }
}

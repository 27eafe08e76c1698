//! H.265: parameter sets. Only the beginning of an SPS is of interest, and is read here: readers of whole ones that exist compute
//! unchecked with what they read, which anyone may have sent.

use bytes::Bytes;
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};
use mp4_atom::{Hvc1, HvcCArray, Hvcc, Visual};

use super::{BadParameters, Coding, VideoConfig, in_force, payload, sides};
use crate::core::depacketizer::AccessUnit;
use crate::core::depacketizer::h265::nal;

/// The parameter sets in force.
#[derive(Debug)]
pub struct Parameters {
    vps: Vec<Bytes>,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    first: Sps,
}

/// What an SPS says about its stream (H.265, 7.3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sps {
    sub_layers: u8,
    nested: bool,
    /// `general_profile_space` to `general_level_idc` (7.3.3).
    profile: [u8; 12],
    chroma_format: u8,
    width: u32,
    height: u32,
    luma_depth: u8,
    chroma_depth: u8,
    reorder_frames: u32,
}

impl Parameters {
    /// `hvc1` with its hvcC: the parameter sets stand there only.
    pub(super) fn sample_entry(&self, visual: Visual) -> mp4_atom::Codec {
        let sps = &self.first;
        let [head, rest @ ..] = sps.profile;
        let [c0, c1, c2, c3, f0, f1, f2, f3, f4, f5, level] = rest;
        let array = |nal_unit_type, units: &[Bytes]| HvcCArray {
            completeness: true,
            nal_unit_type,
            nalus: units.iter().map(|unit| unit.to_vec()).collect(),
        };
        let hvcc = Hvcc {
            configuration_version: 1,
            general_profile_space: head >> 6,
            general_tier_flag: head & 0x20 != 0,
            general_profile_idc: head & 0x1f,
            general_profile_compatibility_flags: [c0, c1, c2, c3],
            general_constraint_indicator_flags: [f0, f1, f2, f3, f4, f5],
            general_level_idc: level,
            chroma_format_idc: sps.chroma_format,
            bit_depth_luma_minus8: sps.luma_depth - 8,
            bit_depth_chroma_minus8: sps.chroma_depth - 8,
            num_temporal_layers: sps.sub_layers,
            temporal_id_nested: sps.nested,
            length_size_minus_one: 3,
            arrays: vec![array(nal::VPS, &self.vps), array(nal::SPS, &self.sps), array(nal::PPS, &self.pps)],
            ..Hvcc::new()
        };
        Hvc1 { visual, hvcc, ..Hvc1::default() }.into()
    }
}

pub(super) fn of_keyframe(
    unit: &AccessUnit,
    previous: Option<&Coding>,
) -> Result<Option<VideoConfig>, BadParameters> {
    let previous = match previous {
        Some(Coding::H265(parameters)) => Some(parameters),
        _ => None,
    };
    let vps = in_force(&unit.vps, previous.map(|previous| &previous.vps));
    let sps = in_force(&unit.sps, previous.map(|previous| &previous.sps));
    let pps = in_force(&unit.pps, previous.map(|previous| &previous.pps));
    if previous.is_some_and(|before| before.vps == vps && before.sps == sps && before.pps == pps) {
        return Ok(None);
    }
    for (sets, name) in [(&vps, "VPS"), (&pps, "PPS")] {
        if sets.is_empty() {
            return Err(BadParameters::Missing(name));
        }
    }
    let first = read_sps(sps.first().ok_or(BadParameters::Missing("SPS"))?)?;
    let (width, height) = sides(first.width, first.height)?;
    Ok(Some(VideoConfig {
        codecs: codecs(&first.profile),
        width,
        height,
        reorder_frames: Some(first.reorder_frames),
        coding: Coding::H265(Parameters { vps, sps, pps, first }),
    }))
}

/// ISO/IEC 14496-15, E.3: `hvc1.1.6.L93.b0`.
fn codecs(profile: &[u8; 12]) -> String {
    let [head, c0, c1, c2, c3, constraints @ .., level] = *profile;
    let space = ["", "A", "B", "C"][usize::from(head >> 6)];
    let compatibility = u32::from_be_bytes([c0, c1, c2, c3]).reverse_bits();
    let tier = if head & 0x20 != 0 { 'H' } else { 'L' };
    let mut name = format!("hvc1.{space}{}.{compatibility:x}.{tier}{level}", head & 0x1f);
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        name.push_str(&format!(".{byte:x}"));
    }
    name
}

fn read_sps(unit: &Bytes) -> Result<Sps, BadParameters> {
    let rbsp = payload(unit, 2);
    let wrong = |why: String| BadParameters::Unreadable("SPS", why);
    let sps = parse(&rbsp).map_err(|error| wrong(format!("{error:?}")))?;
    sps.ok_or_else(|| wrong("a value is out of its range".into()))
}

/// None where a value is out of the range that the standard gives it.
fn parse(rbsp: &[u8]) -> Result<Option<Sps>, BitReaderError> {
    let mut bits = BitReader::new(rbsp);
    bits.skip(4, "sps_video_parameter_set_id")?;
    let below: u8 = bits.read::<3, u8>("sps_max_sub_layers_minus1")?;
    let nested = bits.read_bit("sps_temporal_id_nesting_flag")?;
    let mut profile = [0; 12];
    for byte in &mut profile {
        *byte = bits.read::<8, u8>("general_profile_tier_level")?;
    }
    skip_sub_layers(&mut bits, below)?;
    bits.read_ue("sps_seq_parameter_set_id")?;
    let chroma_format = bits.read_ue("chroma_format_idc")?;
    if chroma_format == 3 {
        bits.skip(1, "separate_colour_plane_flag")?;
    }
    let (width, height) =
        (bits.read_ue("pic_width_in_luma_samples")?, bits.read_ue("pic_height_in_luma_samples")?);
    let mut crop = [0_u32; 4];
    if bits.read_bit("conformance_window_flag")? {
        for side in &mut crop {
            *side = bits.read_ue("conf_win_offset")?;
        }
    }
    let [luma_depth, chroma_depth] =
        [bits.read_ue("bit_depth_luma_minus8")?, bits.read_ue("bit_depth_chroma_minus8")?];
    bits.read_ue("log2_max_pic_order_cnt_lsb_minus4")?;
    let each = bits.read_bit("sps_sub_layer_ordering_info_present_flag")?;
    let mut reorder_frames = 0;
    for _ in if each { 0 } else { below }..=below {
        bits.read_ue("sps_max_dec_pic_buffering_minus1")?;
        reorder_frames = bits.read_ue("sps_max_num_reorder_pics")?;
        bits.read_ue("sps_max_latency_increase_plus1")?;
    }
    // Offsets count in units of chroma samples (table 6-1).
    let unit = (if matches!(chroma_format, 1 | 2) { 2 } else { 1 }, if chroma_format == 1 { 2 } else { 1 });
    let cropped = |side: u32, by: [u32; 2], unit: u32| {
        by[0].checked_add(by[1]).and_then(|sum| sum.checked_mul(unit)).and_then(|cut| side.checked_sub(cut))
    };
    let [left, right, top, bottom] = crop;
    let depth = |above: u32| u8::try_from(above).ok().filter(|above| *above <= 8).map(|above| above + 8);
    Ok((|| {
        Some(Sps {
            sub_layers: below + 1,
            nested,
            profile,
            chroma_format: u8::try_from(chroma_format).ok().filter(|format| *format <= 3)?,
            width: cropped(width, [left, right], unit.0)?,
            height: cropped(height, [top, bottom], unit.1)?,
            luma_depth: depth(luma_depth)?,
            chroma_depth: depth(chroma_depth)?,
            reorder_frames: Some(reorder_frames).filter(|frames| *frames <= 16)?,
        })
    })())
}

/// The profiles and levels of the lower temporal layers (7.3.3).
fn skip_sub_layers(bits: &mut impl BitRead, below: u8) -> Result<(), BitReaderError> {
    let mut present = Vec::new();
    for _ in 0..below {
        present.push((bits.read_bit("sub_layer_profile")?, bits.read_bit("sub_layer_level")?));
    }
    if below > 0 {
        bits.skip(u32::from(8 - below) * 2, "reserved_zero_2bits")?;
    }
    for (profile, level) in present {
        if profile {
            bits.skip(88, "sub_layer_profile")?;
        }
        if level {
            bits.skip(8, "sub_layer_level_idc")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bicast_shared::media::Codec;

    use super::*;

    // Written by x265 for 1280x720 Main, level 3.1.
    const SPS: [u8; 42] = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
        0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x02, 0x00, 0x00,
        0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x78,
    ];

    fn keyframe(sps: &[u8]) -> AccessUnit {
        AccessUnit {
            vps: vec![Bytes::from_static(&[0x40, 1, 0x0c])],
            sps: vec![Bytes::copy_from_slice(sps)],
            pps: vec![Bytes::from_static(&[0x44, 1, 0xc1])],
            keyframe: true,
            picture: true,
            intact: true,
            ..AccessUnit::default()
        }
    }

    #[test]
    fn the_sps_tells_name_size_and_order() {
        let config = VideoConfig::of_keyframe(Codec::H265, &keyframe(&SPS), None).unwrap().unwrap();
        assert_eq!(config.codecs, "hvc1.1.6.L93.90");
        assert_eq!((config.width, config.height), (1_280, 720));
        let same = VideoConfig::of_keyframe(Codec::H265, &keyframe(&SPS), Some(&config)).unwrap();
        assert!(same.is_none());
        assert!(config.sample_entry().is_some());
    }

    #[test]
    fn what_is_missing_or_cut_short_is_said() {
        let bare = AccessUnit { keyframe: true, picture: true, intact: true, ..AccessUnit::default() };
        let error = VideoConfig::of_keyframe(Codec::H265, &bare, None).unwrap_err();
        assert_eq!(error, BadParameters::Missing("VPS"));
        for length in 0..24 {
            let error = VideoConfig::of_keyframe(Codec::H265, &keyframe(&SPS[..length]), None).unwrap_err();
            assert!(matches!(error, BadParameters::Unreadable("SPS", _)), "{length}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(sps: Vec<u8>, at in 2..42_usize, flip: u8) {
            drop(VideoConfig::of_keyframe(Codec::H265, &keyframe(&sps), None));
            let mut sps = SPS;
            sps[at] ^= flip;
            if let Ok(Some(config)) = VideoConfig::of_keyframe(Codec::H265, &keyframe(&sps), None) {
                assert!(config.sample_entry().is_some());
            }
        }
    }
}

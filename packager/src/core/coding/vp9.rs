//! VP9: the uncompressed header of a keyframe (VP9, 6.2).

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};
use mp4_atom::{Visual, Vp09, VpcC};

use super::{BadParameters, Coding, VideoConfig, sides};
use crate::core::depacketizer::AccessUnit;

/// What a keyframe's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    profile: u8,
    bit_depth: u8,
    color_space: u8,
    full_range: bool,
    subsampling: (bool, bool),
    width: u32,
    height: u32,
}

impl Parameters {
    /// `vp09` with its vpcC ("VP Codec ISO Media File Format Binding", 4).
    pub(super) fn sample_entry(&self, visual: Visual) -> mp4_atom::Codec {
        // ISO/IEC 23091-2 code points of VP9's colour spaces; 2 is "unspecified".
        let (primaries, transfer, matrix) = match self.color_space {
            1 | 3 => (6, 6, 6),
            2 => (1, 1, 1),
            4 => (7, 7, 7),
            5 => (9, 14, 9),
            7 => (1, 13, 0),
            _ => (2, 2, 2),
        };
        let vpcc = VpcC {
            profile: self.profile,
            level: self.level(),
            bit_depth: self.bit_depth,
            chroma_subsampling: match self.subsampling {
                (true, true) => 1,
                (true, false) => 2,
                _ => 3,
            },
            video_full_range_flag: self.full_range,
            color_primaries: primaries,
            transfer_characteristics: transfer,
            matrix_coefficients: matrix,
            codec_initialization_data: Vec::new(),
        };
        Vp09 { visual, vpcc, ..Vp09::default() }.into()
    }

    /// Ten times the lowest level (VP9, Annex A) for a picture of this size, at up to 60 frames a second.
    fn level(&self) -> u8 {
        const LEVELS: [(u8, u64, u64); 10] = [
            (10, 829_440, 36_864),
            (11, 2_764_800, 73_728),
            (20, 4_608_000, 122_880),
            (21, 9_216_000, 245_760),
            (30, 20_736_000, 552_960),
            (31, 36_864_000, 983_040),
            (40, 83_558_400, 2_228_224),
            (41, 160_432_128, 2_228_224),
            (50, 311_951_360, 8_912_896),
            (51, 588_251_136, 8_912_896),
        ];
        let size = u64::from(self.width) * u64::from(self.height);
        let fits = |&&(_, rate, most): &&(u8, u64, u64)| size <= most && size * 60 <= rate;
        LEVELS.iter().find(fits).map_or(60, |(level, ..)| *level)
    }
}

pub(super) fn of_keyframe(
    unit: &AccessUnit,
    previous: Option<&Coding>,
) -> Result<Option<VideoConfig>, BadParameters> {
    let frame = unit.units.first().ok_or(BadParameters::Missing("frame"))?;
    let read =
        parse(frame).map_err(|error| BadParameters::Unreadable("frame header", format!("{error:?}")))?;
    let parameters =
        read.ok_or_else(|| BadParameters::Unreadable("frame header", "it is not a keyframe's".into()))?;
    if matches!(previous, Some(Coding::Vp9(before)) if *before == parameters) {
        return Ok(None);
    }
    let (width, height) = sides(parameters.width, parameters.height)?;
    let (profile, level, depth) = (parameters.profile, parameters.level(), parameters.bit_depth);
    Ok(Some(VideoConfig {
        codecs: format!("vp09.{profile:02}.{level:02}.{depth:02}"),
        width,
        height,
        // Frames that are not shown when they come stand in a superframe with one that is.
        reorder_frames: Some(0),
        coding: Coding::Vp9(parameters),
    }))
}

/// None where it is not the header of a keyframe.
fn parse(frame: &[u8]) -> Result<Option<Parameters>, BitReaderError> {
    let head = frame.get(..16).unwrap_or(frame);
    let mut bits = BitReader::new(head);
    let marker: u8 = bits.read::<2, u8>("frame_marker")?;
    let [low, high] = [bits.read_bit("profile_low_bit")?, bits.read_bit("profile_high_bit")?];
    let profile = u8::from(low) + 2 * u8::from(high);
    if profile == 3 {
        bits.skip(1, "reserved_zero")?;
    }
    let [again, inter] = [bits.read_bit("show_existing_frame")?, bits.read_bit("frame_type")?];
    bits.skip(2, "show_frame, error_resilient_mode")?;
    let sync: u32 = bits.read::<24, u32>("frame_sync_code")?;
    if marker != 2 || again || inter || sync != 0x49_83_42 {
        return Ok(None);
    }
    let bit_depth = match profile {
        0 | 1 => 8,
        _ if bits.read_bit("ten_or_twelve_bit")? => 12,
        _ => 10,
    };
    let color_space: u8 = bits.read::<3, u8>("color_space")?;
    let (full_range, subsampling) = if color_space == 7 {
        if profile & 1 == 1 {
            bits.skip(1, "reserved_zero")?;
        }
        (true, (false, false))
    } else {
        let full_range = bits.read_bit("color_range")?;
        let subsampling = if profile & 1 == 1 {
            let both = (bits.read_bit("subsampling_x")?, bits.read_bit("subsampling_y")?);
            bits.skip(1, "reserved_zero")?;
            both
        } else {
            (true, true)
        };
        (full_range, subsampling)
    };
    let width = u32::from(bits.read::<16, u16>("frame_width_minus_1")?) + 1;
    let height = u32::from(bits.read::<16, u16>("frame_height_minus_1")?) + 1;
    Ok(Some(Parameters { profile, bit_depth, color_space, full_range, subsampling, width, height }))
}

#[cfg(test)]
mod tests {
    use bicast_shared::media::Codec;
    use bytes::Bytes;

    use super::*;

    fn keyframe(frame: &[u8]) -> AccessUnit {
        AccessUnit { units: vec![Bytes::copy_from_slice(frame)], keyframe: true, ..AccessUnit::default() }
    }

    /// Profile 0, 8 bits, colour space 0, 640x360.
    const HEADER: [u8; 10] = [0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70, 0x00];

    #[test]
    fn the_header_tells_profile_and_size() {
        let config = VideoConfig::of_keyframe(Codec::Vp9, &keyframe(&HEADER), None).unwrap().unwrap();
        assert_eq!((config.codecs.as_str(), config.width, config.height), ("vp09.00.30.08", 640, 360));
        assert!(VideoConfig::of_keyframe(Codec::Vp9, &keyframe(&HEADER), Some(&config)).unwrap().is_none());
        for bad in [
            &HEADER[..4],
            &[0x86, 0x49, 0x83, 0x42, 0, 0, 0, 0, 0, 0],
            &[0x82, 1, 2, 3, 4, 5, 6, 7, 8, 9],
            &[],
        ] {
            assert!(VideoConfig::of_keyframe(Codec::Vp9, &keyframe(bad), None).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(frame: Vec<u8>, at in 0..10_usize, flip: u8) {
            drop(VideoConfig::of_keyframe(Codec::Vp9, &keyframe(&frame), None));
            let mut header = HEADER;
            header[at] ^= flip;
            if let Ok(Some(config)) = VideoConfig::of_keyframe(Codec::Vp9, &keyframe(&header), None) {
                assert!(config.sample_entry().is_some());
            }
        }
    }
}

//! AV1: the sequence header.

use bytes::Bytes;
use mp4_atom::{Av01, Av1c, Visual};
use scuffle_av1::ObuHeader;
use scuffle_av1::seq::SequenceHeaderObu;

use super::{BadParameters, Coding, VideoConfig, sides};
use crate::core::depacketizer::AccessUnit;

/// The sequence header in force, as sent and read.
#[derive(Debug)]
pub struct Parameters {
    obu: Bytes,
    sequence: SequenceHeaderObu,
}

impl Parameters {
    /// `av01` with its av1C (AV1-ISOBMFF, 2.2 and 2.3).
    pub(super) fn sample_entry(&self, visual: Visual) -> mp4_atom::Codec {
        let (sequence, color) = (&self.sequence, &self.sequence.color_config);
        let point = sequence.operating_points.first();
        let av1c = Av1c {
            seq_profile: sequence.seq_profile,
            seq_level_idx_0: point.map_or(0, |point| point.seq_level_idx),
            seq_tier_0: point.is_some_and(|point| point.seq_tier),
            high_bitdepth: color.bit_depth > 8,
            twelve_bit: color.bit_depth > 10,
            monochrome: color.mono_chrome,
            chroma_subsampling_x: color.subsampling_x,
            chroma_subsampling_y: color.subsampling_y,
            chroma_sample_position: color.chroma_sample_position,
            initial_presentation_delay: None,
            config_obus: self.obu.to_vec(),
        };
        Av01 { visual, av1c, ..Av01::default() }.into()
    }
}

/// 256 zero bits in a row have so many whole bytes at least.
const ZEROS: usize = 31;

pub(super) fn of_keyframe(
    unit: &AccessUnit,
    previous: Option<&Coding>,
) -> Result<Option<VideoConfig>, BadParameters> {
    let previous = match previous {
        Some(Coding::Av1(parameters)) => Some(parameters),
        _ => None,
    };
    let obu = match (unit.sps.first(), previous) {
        (Some(obu), Some(previous)) if *obu == previous.obu => return Ok(None),
        (Some(obu), _) => obu.clone(),
        (None, Some(_)) => return Ok(None),
        (None, None) => return Err(BadParameters::Missing("sequence header")),
    };
    // The reader's counter of zero bits (uvlc, AV1 specification 4.10.3) has eight bits. So many zeros mean nothing anyhow.
    if obu.windows(ZEROS).any(|bytes| bytes.iter().all(|byte| *byte == 0)) {
        return Err(BadParameters::Unreadable("sequence header", "too many zeros in a row".into()));
    }
    let mut bytes = &obu[..];
    let sequence = ObuHeader::parse(&mut bytes)
        .and_then(|header| SequenceHeaderObu::parse(header, &mut bytes))
        .map_err(|error| BadParameters::Unreadable("sequence header", error.to_string()))?;
    let pixels = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
    let (width, height) = sides(pixels(sequence.max_frame_width), pixels(sequence.max_frame_height))?;
    let point = sequence.operating_points.first();
    let (level, tier) =
        point.map_or((0, 'M'), |point| (point.seq_level_idx, if point.seq_tier { 'H' } else { 'M' }));
    Ok(Some(VideoConfig {
        // AV1-ISOBMFF, 5.
        codecs: format!(
            "av01.{}.{level:02}{tier}.{:02}",
            sequence.seq_profile, sequence.color_config.bit_depth
        ),
        width,
        height,
        // A temporal unit holds exactly one shown frame, and they come in the order of showing.
        reorder_frames: Some(0),
        coding: Coding::Av1(Parameters { obu, sequence }),
    }))
}

#[cfg(test)]
mod tests {
    use bicast_shared::media::Codec;

    use super::*;

    // Written by SVT-AV1 for 320x180.
    const SEQUENCE: [u8; 13] = [0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xff, 0xbc, 0x02, 0x18, 0x40, 0x08];

    fn keyframe(sequence: &[u8]) -> AccessUnit {
        AccessUnit {
            sps: vec![Bytes::copy_from_slice(sequence)],
            keyframe: true,
            picture: true,
            intact: true,
            ..AccessUnit::default()
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, at in 0..13_usize, flip: u8) {
            drop(VideoConfig::of_keyframe(Codec::Av1, &keyframe(&bytes), None));
            let mut sequence = SEQUENCE;
            sequence[at] ^= flip;
            if let Ok(Some(config)) = VideoConfig::of_keyframe(Codec::Av1, &keyframe(&sequence), None) {
                assert!(config.sample_entry().is_some());
            }
        }
    }

    #[test]
    fn a_keyframe_without_a_sequence_header_needs_an_earlier_one() {
        let bare = AccessUnit { keyframe: true, ..AccessUnit::default() };
        let error = VideoConfig::of_keyframe(Codec::Av1, &bare, None).unwrap_err();
        assert_eq!(error, BadParameters::Missing("sequence header"));
    }
}

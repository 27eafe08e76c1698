//! What a stream says of itself.

use std::sync::Arc;

use arbitrary::Unstructured;
use bicast_shared::media::Codec;
use bytes::Bytes;
use h264_reader::Context;
use h264_reader::nal::NalHeader;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::slice::{SliceFamily, SliceHeader};
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, decode_nal};
use mp4_atom::{Any, DecodeMaybe};

use super::{below, bytes};
use crate::core::cmaf::init;
use crate::core::coding::VideoConfig;
use crate::core::depacketizer::AccessUnit;
use crate::core::stand_in::StandIn;

/// SPS and PPS.
type Known = (&'static [u8], &'static [u8]);

/// Parameter sets by x264: 64x64 High with B-frames, and 160x90 constrained baseline.
const KNOWN: [Known; 2] = [
    (
        &[
            0x67, 0x64, 0x00, 0x0a, 0xac, 0xd9, 0x44, 0x26, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00,
            0x03, 0x00, 0xf0, 0x3c, 0x48, 0x96, 0x58,
        ],
        &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0],
    ),
    (
        &[
            0x67, 0x42, 0xc0, 0x0b, 0xda, 0x0a, 0x37, 0xe4, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00,
            0x00, 0x03, 0x00, 0xf2, 0x3c, 0x50, 0xaa, 0x80,
        ],
        &[0x68, 0xce, 0x03, 0x1c, 0x80],
    ),
];

/// Parameter sets, known, changed or made up, and slices of pictures under them.
pub fn parameters(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    let codecs = [Codec::H264, Codec::H264, Codec::H265, Codec::Av1, Codec::Vp9];
    let codec = codecs[usize::try_from(below(&mut steps, 5)).unwrap()];
    let mut unit = AccessUnit { keyframe: true, picture: true, intact: true, ..AccessUnit::default() };
    if codec == Codec::H264 {
        unit.sps.push(set(&mut steps, 0x67, |known| known.0));
        unit.pps.push(set(&mut steps, 0x68, |known| known.1));
    } else {
        for sets in [&mut unit.vps, &mut unit.sps, &mut unit.pps, &mut unit.units] {
            sets.push(Bytes::copy_from_slice(bytes(&mut steps, 100)));
        }
    }
    let Ok(Some(config)) = VideoConfig::of_keyframe(codec, &unit, None) else { return };
    assert!((1..=16_384).contains(&config.width) && (1..=16_384).contains(&config.height));
    assert!(
        config.codecs.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'),
        "{}",
        config.codecs
    );
    assert!(config.reorder_frames.is_none_or(|frames| frames <= 16));
    let same = VideoConfig::of_keyframe(codec, &unit, Some(&config));
    assert!(matches!(same, Ok(None)), "nothing has changed");
    if let Some(file) = init::video(&config) {
        init_segment(&file, codec, &config, &unit);
    }
    if codec != Codec::H264 {
        return;
    }
    let bare = AccessUnit { sps: Vec::new(), pps: Vec::new(), ..unit.clone() };
    let same = VideoConfig::of_keyframe(codec, &bare, Some(&config));
    assert!(matches!(same, Ok(None)), "the sets before stay");
    let mut stand_in = StandIn::new(codec);
    stand_in.set_config(Arc::new(config));
    while !steps.is_empty() {
        let keyframe = steps.arbitrary().unwrap_or(false);
        let header = if keyframe { 0x65 } else { 0x41 };
        let slice: Bytes = [&[header][..], bytes(&mut steps, 80)].concat().into();
        stand_in.show(std::slice::from_ref(&slice), keyframe);
        if let Some(sample) = stand_in.still() {
            still(&unit, &slice, &sample);
        }
        if let Some(again) = stand_in.keyframe() {
            assert!(again.len() > 4);
        }
    }
}

fn set(steps: &mut Unstructured<'_>, header: u8, of: fn(&Known) -> &'static [u8]) -> Bytes {
    let known = of(&KNOWN[usize::try_from(below(steps, 2)).unwrap()]);
    let mut set = known.to_vec();
    match below(steps, 4) {
        0 => {}
        3 => set = [&[header][..], bytes(steps, 60)].concat(),
        changes => {
            for _ in 0..changes {
                let at = 1 + steps.choose_index(set.len() - 1).unwrap_or(0);
                set[at] ^= steps.arbitrary().unwrap_or(0);
            }
        }
    }
    set.into()
}

/// An independent reader finds the size and H.264's sets in the init segment.
fn init_segment(file: &Bytes, codec: Codec, config: &VideoConfig, unit: &AccessUnit) {
    let mut rest = &file[..];
    let Ok(Some(Any::Ftyp(_))) = Any::decode_maybe(&mut rest) else { panic!("no ftyp") };
    let Ok(Some(Any::Moov(moov))) = Any::decode_maybe(&mut rest) else { panic!("no moov") };
    assert!(rest.is_empty());
    let entry = moov.trak[0].mdia.minf.stbl.stsd.codecs.first();
    let visual = match (codec, entry) {
        (Codec::H264, Some(mp4_atom::Codec::Avc1(entry))) => {
            assert!(entry.avcc.sequence_parameter_sets.iter().eq(unit.sps.iter().map(|set| &set[..])));
            assert!(entry.avcc.picture_parameter_sets.iter().eq(unit.pps.iter().map(|set| &set[..])));
            &entry.visual
        }
        (Codec::H265, Some(mp4_atom::Codec::Hvc1(entry))) => &entry.visual,
        (Codec::Av1, Some(mp4_atom::Codec::Av01(entry))) => &entry.visual,
        (Codec::Vp9, Some(mp4_atom::Codec::Vp09(entry))) => &entry.visual,
        (codec, entry) => panic!("{codec} is described as {entry:?}"),
    };
    assert_eq!((visual.width, visual.height), (config.width, config.height));
}

/// A still frame is a P picture right behind the one that is shown, and a NAL unit like any other.
fn still(sets: &AccessUnit, slice: &[u8], sample: &Bytes) {
    let (length, unit) = sample.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().unwrap()), u32::try_from(unit.len()).unwrap());
    let forbidden = |three: &[u8]| three[..2] == [0, 0] && three[2] < 3;
    assert!(!unit.windows(3).any(forbidden), "a start code inside: {unit:x?}");
    // Sets with bytes that no NAL unit may have are taken as decoders take them, but not by this reader.
    let (Ok(sps), Ok(pps)) = (decode_nal(&sets.sps[0]), decode_nal(&sets.pps[0])) else { return };
    let mut context = Context::new();
    context.put_seq_param_set(SeqParameterSet::from_bits(BitReader::new(&*sps)).unwrap());
    context.put_pic_param_set(PicParameterSet::from_bits(&context, BitReader::new(&*pps)).unwrap());
    let read = |unit: &[u8]| {
        let rbsp = decode_nal(unit).ok()?.into_owned();
        let header = NalHeader::new(unit[0]).unwrap();
        let (header, sps, _) =
            SliceHeader::from_bits(&context, &mut BitReader::new(&rbsp[..]), header, None).ok()?;
        Some((header, sps.log2_max_frame_num()))
    };
    // The picture may have bytes behind its header that no NAL unit may have; ours may not.
    let (written, bits) = read(unit).expect("an independent reader takes it");
    assert_eq!((written.first_mb_in_slice, written.slice_type.family), (0, SliceFamily::P));
    if let Some((shown, _)) = read(slice) {
        let modulus = 1_u32 << bits;
        assert_eq!(u32::from(written.frame_num), (u32::from(shown.frame_num) + 1) % modulus);
    }
}

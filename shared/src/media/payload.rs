//! What one RTP payload shows of its frame: whether decoding can begin there, and how the stream is coded.

use super::Codec;

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

/// The bytes of this RTP payload that tell a decoder how its stream is coded, where they are in it whole: the sequence
/// parameter set of H.264 and H.265, alone or in company, AV1's sequence header, the beginning of a VP9 keyframe's header. When
/// they change, the picture's size or profile may have, and CMAF needs a new initialization section.
#[must_use]
pub fn decoder_configuration(codec: Codec, payload: &[u8]) -> Option<&[u8]> {
    match codec {
        Codec::H264 => h264_sps(payload),
        Codec::H265 => h265_sps(payload),
        Codec::Av1 => av1_sequence_header(payload),
        // Sync code, colours and size (VP9, 6.2).
        Codec::Vp9 if vp9_keyframe(payload) => payload.get(vp9_descriptor(payload)?..)?.get(1..9),
        _ => None,
    }
}

fn h264_sps(payload: &[u8]) -> Option<&[u8]> {
    let is_sps = |unit: &&[u8]| unit.first().is_some_and(|b| b & 0x1f == 7);
    match payload {
        [first, rest @ ..] if first & 0x1f == 24 => aggregated(rest).find(is_sps),
        _ => Some(payload).filter(is_sps),
    }
}

fn h265_sps(payload: &[u8]) -> Option<&[u8]> {
    let is_sps = |unit: &&[u8]| unit.first().is_some_and(|b| (b >> 1) & 0x3f == 33);
    match payload {
        [first, _, rest @ ..] if (first >> 1) & 0x3f == 48 => aggregated(rest).find(is_sps),
        _ => Some(payload).filter(is_sps),
    }
}

/// A packet that begins a coded video sequence has its header in front, behind a temporal delimiter at most (AV1's RTP payload
/// format, 4.4 and 5).
fn av1_sequence_header(payload: &[u8]) -> Option<&[u8]> {
    let (&header, mut rest) = payload.split_first()?;
    if header & 0x88 != 0x08 {
        return None;
    }
    let count = usize::from(header >> 4 & 3);
    for index in 1..=2 {
        let element = if index == count {
            // Its end is the packet's, unless it goes on in the next one.
            if header & 0x40 != 0 {
                return None;
            }
            std::mem::take(&mut rest)
        } else {
            let bytes = rest.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
            let length =
                rest[..bytes].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
            let element = rest.get(bytes..bytes + length)?;
            rest = &rest[bytes + length..];
            element
        };
        if element.first().is_some_and(|b| (b >> 3) & 0x0f == 1) {
            return Some(element);
        }
    }
    None
}

/// How long a VP9 payload descriptor without a scalability structure or references is, which a keyframe's is unless it says how
/// its layers are built.
fn vp9_descriptor(payload: &[u8]) -> Option<usize> {
    let (&flags, rest) = payload.split_first()?;
    let picture_id = match flags & 0x80 != 0 {
        true if rest.first()? & 0x80 != 0 => 2,
        true => 1,
        false => 0,
    };
    let layers = match (flags & 0x20 != 0, flags & 0x10 != 0) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    };
    let at = 1 + picture_id + layers;
    if flags & 0x02 == 0 {
        return Some(at);
    }
    let structure = *payload.get(at)?;
    let (spatial, sizes, groups) =
        (usize::from(structure >> 5) + 1, structure & 0x10 != 0, structure & 0x08 != 0);
    let mut at = at + 1 + if sizes { spatial * 4 } else { 0 };
    if groups {
        let count = *payload.get(at)?;
        at += 1;
        for _ in 0..count {
            at += 1 + usize::from(*payload.get(at)? >> 2 & 3);
        }
    }
    Some(at)
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
    fn the_decoder_configuration_is_found_alone_and_in_company() {
        let h264 = |payload| decoder_configuration(Codec::H264, payload);
        assert_eq!(h264(&[0x67, 1, 2]), Some(&[0x67, 1, 2][..]));
        assert_eq!(h264(&[0x78, 0, 1, 0x09, 0, 2, 0x67, 0x42, 0, 1, 0x68]), Some(&[0x67, 0x42][..]));
        for none in [&[][..], &[0x65, 1], &[0x78], &[0x78, 0, 9, 0x67], &[0x7c, 0x87, 1]] {
            assert_eq!(h264(none), None);
        }
        let h265 = |payload| decoder_configuration(Codec::H265, payload);
        assert_eq!(h265(&[33 << 1, 1, 2]), Some(&[33 << 1, 1, 2][..]));
        let together = [48 << 1, 1, 0, 2, 32 << 1, 1, 0, 3, 33 << 1, 1, 9];
        assert_eq!(h265(&together), Some(&[33 << 1, 1, 9][..]));
        assert_eq!(h265(&[19 << 1, 1, 2]), None);
        let av1 = |payload| decoder_configuration(Codec::Av1, payload);
        assert_eq!(av1(&[0x28, 2, 0x08, 7, 0x30, 1]), Some(&[0x08, 7][..]), "two elements");
        assert_eq!(av1(&[0x38, 1, 0x10, 2, 0x08, 7, 0x30]), Some(&[0x08, 7][..]), "behind a delimiter");
        assert_eq!(av1(&[0x18, 0x08, 7]), Some(&[0x08, 7][..]), "alone");
        for none in [
            &[0x58, 0x08, 7][..],
            &[0x10, 0x08, 7],
            &[0x98, 0x08],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x08, 9, 8],
        ] {
            assert_eq!(av1(none), None, "{none:x?}");
        }
        let vp9 = |payload| decoder_configuration(Codec::Vp9, payload);
        let header = [0x82, 0x49, 0x83, 0x42, 0, 0x27, 0xf0, 0x16, 0x70, 5];
        let key = [&[0x88, 0x80, 0x01][..], &header].concat();
        assert_eq!(vp9(&key), Some(&header[1..9]));
        let structured = [&[0x0a, 0x18, 0, 64, 0, 64, 1, 0x04, 0x01][..], &header].concat();
        assert_eq!(vp9(&structured), Some(&header[1..9]));
        assert_eq!(vp9(&[0xc8, 0x80, 0x01, 0x86, 1, 2, 3, 4, 5, 6, 7, 8, 9]), None);
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
                    std::hint::black_box(decoder_configuration(codec, &n.to_le_bytes()[..3]));
                }
            }
        }
    }
}

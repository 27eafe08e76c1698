//! Frames out of RTP payloads.

use arbitrary::Unstructured;
use bicast_shared::media::Codec;
use bytes::Bytes;

use super::{aac, below, bytes};
use crate::core::depacketizer::{AccessUnit, Depacketizer, h264, h265, opus};

/// Any payloads, a frame packetized and lossless, or one with a packet missing.
pub fn depacketize(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    match below(&mut steps, 8) {
        0 | 1 => {
            let codecs = [Codec::H264, Codec::H265, Codec::Av1, Codec::Vp9];
            let codec = codecs[usize::try_from(below(&mut steps, 4)).unwrap()];
            anything(&mut steps, codec);
        }
        2 | 3 => round_trip(&mut steps, &H264),
        4 | 5 => round_trip(&mut steps, &H265),
        6 => aac::anything(&mut steps),
        _ => aac::round_trip(&mut steps),
    }
}

/// Whatever comes: a frame has nothing that a player does not need, nothing that was not sent, and tells the truth.
fn anything(steps: &mut Unstructured<'_>, codec: Codec) {
    let mut depacketizer = Depacketizer::new(codec).unwrap();
    let (mut sent, mut packets) = (0, 0);
    while !steps.is_empty() {
        match below(steps, 16) {
            0 => depacketizer.handle_lost(),
            1 => {
                let unit = depacketizer.finish();
                assert_eq!(unit.is_some(), packets > 0);
                if let Some(unit) = unit {
                    check(&unit, codec, sent);
                }
                (sent, packets) = (0, 0);
            }
            _ => {
                let payload = Bytes::copy_from_slice(bytes(steps, 80));
                packets += usize::from(!payload.is_empty());
                sent += payload.len();
                depacketizer.handle_payload(&payload, steps.arbitrary().unwrap_or(false));
                opus_duration(&payload);
            }
        }
    }
}

fn check(unit: &AccessUnit, codec: Codec, sent: usize) {
    let all = || unit.units.iter().chain(&unit.vps).chain(&unit.sps).chain(&unit.pps);
    // An OBU may get a size of up to eight bytes that its packet had left out, and a sequence header is kept twice.
    let most = if codec == Codec::Av1 { sent * 10 } else { sent };
    assert!(all().map(Bytes::len).sum::<usize>() <= most, "no more than was sent");
    assert!(all().all(|unit| !unit.is_empty()));
    assert!(!unit.keyframe || unit.picture);
    if codec != Codec::H264 {
        return;
    }
    use h264::nal;
    assert!(all().all(|unit| unit.len() >= 2 && unit[0] & 0x80 == 0));
    assert!(unit.units.iter().all(|unit| matches!(nal::kind(unit), nal::SLICE | nal::IDR | 6)));
    assert!(unit.sps.iter().all(|unit| nal::kind(unit) == nal::SPS));
    assert!(unit.pps.iter().all(|unit| nal::kind(unit) == nal::PPS));
    let has = |kind| unit.units.iter().any(|unit| nal::kind(unit) == kind);
    assert_eq!((unit.keyframe, unit.picture), (has(nal::IDR), has(nal::IDR) || has(nal::SLICE)));
}

/// How a codec of NAL units packetizes: RFC 6184, 5.6 to 5.8, or RFC 7798, 4.4.
struct Packets {
    codec: Codec,
    kind: fn(&[u8]) -> u8,
    /// A NAL unit's header of this kind.
    header: fn(u8) -> Vec<u8>,
    aggregation: &'static [u8],
    /// In front of a fragment of the unit with this header: all but the bits that say where it stands.
    fragment: fn(&[u8]) -> Vec<u8>,
    kinds: [u8; 8],
    /// What goes to the decoder, and into `vps`, `sps` and `pps`.
    decoded: &'static [u8],
    sets: [u8; 3],
}

const H264: Packets = Packets {
    codec: Codec::H264,
    kind: h264::nal::kind,
    header: |kind| vec![0x60 | kind],
    aggregation: &[0x78],
    fragment: |unit| vec![unit[0] & 0x60 | 28, unit[0] & 0x1f],
    kinds: [1, 5, 7, 8, 9, 6, 12, 1],
    decoded: &[1, 5, 6],
    sets: [0, 7, 8],
};

const H265: Packets = Packets {
    codec: Codec::H265,
    kind: h265::nal::kind,
    header: |kind| vec![kind << 1, 1],
    aggregation: &[48 << 1, 1],
    fragment: |unit| vec![49 << 1, 1, unit[0] >> 1 & 0x3f],
    kinds: [1, 19, 32, 33, 34, 39, 35, 21],
    decoded: &[1, 19, 21, 39],
    sets: [32, 33, 34],
};

/// A frame in any of the packet forms comes out as it went in; without one of its packets it is never taken for whole.
fn round_trip(steps: &mut Unstructured<'_>, packets: &Packets) {
    let mut units: Vec<Bytes> = Vec::new();
    for _ in 0..=below(steps, 6) {
        let header = (packets.header)(packets.kinds[usize::try_from(below(steps, 8)).unwrap()]);
        units.push([&header[..], &[1], bytes(steps, 200)].concat().into());
    }
    let payloads = packetize(steps, packets, &units);
    let unit = frame(packets.codec, &payloads, None).unwrap();
    assert!(unit.intact, "{payloads:x?}");
    let of = |kinds: &[u8]| -> Vec<Bytes> {
        units.iter().filter(|unit| kinds.contains(&(packets.kind)(unit))).cloned().collect()
    };
    assert_eq!(unit.units, of(packets.decoded));
    let [vps, sps, pps] = packets.sets.map(|kind| of(&[kind]));
    assert_eq!((&unit.vps, &unit.sps, &unit.pps), (&vps, &sps, &pps));
    let lost = steps.choose_index(payloads.len()).unwrap_or(0);
    if let Some(unit) = frame(packets.codec, &payloads, Some(lost)) {
        // A keyframe that begins with its parameter sets has nothing to miss in front.
        let may = lost == 0 && unit.keyframe && !unit.sps.is_empty();
        assert!(!unit.intact || may, "packet {lost} of {payloads:x?} was lost");
    }
}

fn frame(codec: Codec, payloads: &[Bytes], lost: Option<usize>) -> Option<AccessUnit> {
    let mut depacketizer = Depacketizer::new(codec).unwrap();
    for (n, payload) in payloads.iter().enumerate() {
        if lost == Some(n) {
            depacketizer.handle_lost();
        } else {
            depacketizer.handle_payload(payload, n + 1 == payloads.len());
        }
    }
    depacketizer.finish()
}

/// Single NAL units, several in one packet, one in any pieces.
fn packetize(steps: &mut Unstructured<'_>, packets: &Packets, units: &[Bytes]) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    let mut rest = units;
    while let Some((unit, behind)) = rest.split_first() {
        match below(steps, 3) {
            0 => {
                payloads.push(unit.clone());
                rest = behind;
            }
            1 => {
                let (together, behind) = rest.split_at(1 + steps.choose_index(rest.len()).unwrap_or(0));
                let mut whole = packets.aggregation.to_vec();
                for unit in together {
                    whole.extend(u16::try_from(unit.len()).unwrap().to_be_bytes());
                    whole.extend_from_slice(unit);
                }
                payloads.push(whole.into());
                rest = behind;
            }
            _ => {
                let head = (packets.header)(0).len();
                let mut body = &unit[head..];
                let mut first = true;
                while first || !body.is_empty() {
                    let size = 1 + steps.choose_index(body.len()).unwrap_or(0);
                    // One fragment alone must not say that it is the first and the last.
                    if first && size >= body.len() {
                        payloads.push(unit.clone());
                        break;
                    }
                    let (piece, left) = body.split_at(size);
                    let mut payload = (packets.fragment)(unit);
                    if let Some(flags) = payload.last_mut() {
                        *flags |= u8::from(first) << 7 | u8::from(left.is_empty()) << 6;
                    }
                    payload.extend_from_slice(piece);
                    payloads.push(payload.into());
                    (body, first) = (left, false);
                }
                rest = behind;
            }
        }
    }
    payloads
}

fn opus_duration(packet: &[u8]) {
    if let Some(ticks) = opus::duration(packet) {
        assert!((120..=5_760).contains(&ticks) && ticks % 120 == 0);
    }
}

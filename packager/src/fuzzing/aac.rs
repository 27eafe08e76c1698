//! AAC out of RTP payloads.

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use bicast_shared::media::aac::FRAME;
use bytes::Bytes;

use super::{below, bytes};
use crate::core::depacketizer::aac::Payloads;

/// Whatever comes: no more than was sent comes out, and nothing empty.
pub(super) fn anything(steps: &mut Unstructured<'_>) {
    let (mut payloads, mut out) = (Payloads::default(), Vec::new());
    let (mut sent, mut at) = (0, 0);
    while !steps.is_empty() {
        match below(steps, 16) {
            0 => drop(payloads.handle_lost()),
            1 => at += i64::from(FRAME),
            _ => {
                let mut payload = bytes(steps, 80).to_vec();
                // Most would fail at the first look.
                if payload.len() > 4 && below(steps, 4) > 0 {
                    payload[..2].copy_from_slice(&[0, 16]);
                    payload[2..4]
                        .copy_from_slice(&(u16::try_from(below(steps, 100)).unwrap() << 3).to_be_bytes());
                }
                sent += payload.len();
                let _ = payloads.handle(at, &payload.into(), &mut out);
            }
        }
    }
    assert!(out.iter().map(|(_, unit)| unit.len()).sum::<usize>() <= sent, "no more than was sent");
    assert!(out.iter().all(|(_, unit)| !unit.is_empty()));
}

/// Access units in any of the packet forms come out as they went in; where a packet is lost, those of other packets do.
pub(super) fn round_trip(steps: &mut Unstructured<'_>) {
    let units: Vec<Bytes> =
        (0..=below(steps, 12)).map(|_| [&[1], bytes(steps, 300)].concat().into()).collect();
    let packets = packetize(steps, &units);
    assert_eq!(receive(&packets, None), (0..).zip(units.clone()).collect(), "{packets:x?}");
    let lost = steps.choose_index(packets.len()).unwrap_or(0);
    let expected: BTreeMap<usize, Bytes> =
        (0..).zip(units).filter(|(n, _)| !packets[lost].0.contains(n)).collect();
    assert_eq!(receive(&packets, Some(lost)), expected, "packet {lost} of {packets:x?} was lost");
}

/// The access units that came out, by their times.
fn receive(packets: &[(Vec<usize>, Bytes)], lost: Option<usize>) -> BTreeMap<usize, Bytes> {
    let (mut payloads, mut out) = (Payloads::default(), Vec::new());
    for (n, (units, payload)) in packets.iter().enumerate() {
        if lost == Some(n) {
            payloads.handle_lost();
            continue;
        }
        let at = i64::try_from(units[0]).unwrap() * i64::from(FRAME);
        let outcome = payloads.handle(at, payload, &mut out);
        assert!(outcome.is_ok() || lost.is_some(), "{payload:x?}");
    }
    out.into_iter().map(|(at, unit)| (usize::try_from(at / i64::from(FRAME)).unwrap(), unit)).collect()
}

/// RFC 3640, 2.5 and 3.2: one access unit in a packet, several, or one in any pieces. With each packet, which ones it is of.
fn packetize(steps: &mut Unstructured<'_>, units: &[Bytes]) -> Vec<(Vec<usize>, Bytes)> {
    let packet = |units: &[Bytes], media: &[u8]| -> Bytes {
        let mut packet = u16::try_from(units.len() * 16).unwrap().to_be_bytes().to_vec();
        packet.extend(units.iter().flat_map(|unit| u16::try_from(unit.len() << 3).unwrap().to_be_bytes()));
        packet.extend_from_slice(media);
        packet.into()
    };
    let mut packets = Vec::new();
    let mut at = 0;
    while at < units.len() {
        if below(steps, 2) == 0 {
            let count = 1 + steps.choose_index(units.len() - at).unwrap_or(0);
            let together = &units[at..at + count];
            packets.push(((at..at + count).collect(), packet(together, &together.concat())));
            at += count;
        } else {
            let mut rest = &units[at][..];
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(1 + steps.choose_index(rest.len()).unwrap_or(0));
                packets.push((vec![at], packet(&units[at..=at], piece)));
                rest = left;
            }
            at += 1;
        }
    }
    packets
}

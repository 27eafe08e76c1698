//! H.264 from RTP (RFC 6184): single NAL units, STAP-A and FU-A, the forms of packetization modes 0 and 1.

use bytes::Bytes;

use super::fragment::Fragment;
use super::{AccessUnit, Damaged};

/// The NAL unit types that matter here (H.264, table 7-1).
pub mod nal {
    /// A slice of a picture that is not an IDR.
    pub const SLICE: u8 = 1;
    /// A slice of an IDR picture.
    pub const IDR: u8 = 5;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Access unit delimiter.
    pub const AUD: u8 = 9;

    /// The type of a NAL unit; 0 for an empty one.
    #[must_use]
    pub fn kind(unit: &[u8]) -> u8 {
        unit.first().map_or(0, |b| b & 0x1f)
    }
}

/// The packets of a frame.
#[derive(Debug, Default)]
pub struct Payloads {
    fragment: Fragment,
}

impl Payloads {
    pub(super) fn handle(&mut self, payload: &Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
        match nal::kind(payload) {
            1..=23 => {
                let cut = self.fragment.finish();
                add(payload.clone(), unit).and(cut)
            }
            24 => {
                let cut = self.fragment.finish();
                let units = aggregated(payload, 1);
                units.into_iter().try_for_each(|one| add(one.ok_or(Damaged)?, unit)).and(cut)
            }
            28 => self.fragment(payload, unit),
            // STAP-B, MTAP and FU-B belong to packetization mode 2, which is never negotiated.
            _ => Err(Damaged),
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Damaged> {
        self.fragment.finish()
    }

    fn fragment(&mut self, payload: &Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
        let &[indicator, header, ref body @ ..] = &payload[..] else { return Err(Damaged) };
        let (first, last) = (header & 0x80 != 0, header & 0x40 != 0);
        let cut = if first { self.fragment.begin(&[indicator & 0xe0 | header & 0x1f]) } else { Ok(()) };
        self.fragment.extend(body)?;
        if last && let Some(whole) = self.fragment.take() {
            add(whole, unit)?;
        }
        cut
    }
}

/// The units of an aggregation packet, each behind its 16-bit length, which begin at `at`. None for one whose length lies:
/// the last.
pub(super) fn aggregated(payload: &Bytes, mut at: usize) -> Vec<Option<Bytes>> {
    let mut units = Vec::new();
    while at < payload.len() {
        let length = payload.get(at..at + 2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        let end = length.filter(|length| *length > 0).map(|length| at + 2 + length);
        let Some(end) = end.filter(|end| *end <= payload.len()) else {
            units.push(None);
            break;
        };
        units.push(Some(payload.slice(at + 2..end)));
        at = end;
    }
    units
}

fn add(nal: Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
    let &header = nal.first().ok_or(Damaged)?;
    if header & 0x80 != 0 || nal.len() < 2 {
        // forbidden_zero_bit: somebody on the way says that the unit is broken; a header alone is no unit.
        return if matches!(header & 0x1f, 1..=5 | 7 | 8) { Err(Damaged) } else { Ok(()) };
    }
    match header & 0x1f {
        nal::SLICE | nal::IDR => {
            unit.picture = true;
            unit.keyframe |= header & 0x1f == nal::IDR;
            unit.units.push(nal);
        }
        // SEI
        6 => unit.units.push(nal),
        nal::SPS => unit.sps.push(nal),
        nal::PPS => unit.pps.push(nal),
        // Data partitioning (2 to 4) is of the Extended profile, which no browser decodes.
        2..=4 => return Err(Damaged),
        // Delimiters, fillers, ends of sequence and the layers of SVC: MSE needs none of them.
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bicast_shared::media::Codec;

    use super::*;
    use crate::core::depacketizer::Depacketizer;

    fn unit(payloads: &[&[u8]]) -> AccessUnit {
        let mut depacketizer = Depacketizer::new(Codec::H264).unwrap();
        for payload in payloads {
            depacketizer.handle_payload(&Bytes::copy_from_slice(payload), false);
        }
        depacketizer.finish().unwrap()
    }

    #[test]
    fn every_packet_form_gives_its_units_and_nothing_a_player_does_not_need() {
        let stap = [0x78, 0, 2, 0x09, 0xf0, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3];
        let got = unit(&[&stap, &[0x7c, 0x85, 1, 2], &[0x7c, 0x05, 3], &[0x7c, 0x45, 4], &[0x65, 9, 9]]);
        assert_eq!(got.sps, [Bytes::from_static(&[0x67, 1, 2])]);
        assert_eq!(got.pps, [Bytes::from_static(&[0x68, 3])]);
        assert_eq!(got.units, [Bytes::from_static(&[0x65, 1, 2, 3, 4]), Bytes::from_static(&[0x65, 9, 9])]);
        assert!(got.keyframe && got.picture && got.intact);
    }

    #[test]
    fn damage_is_seen() {
        let lie: &[u8] = &[0x78, 0, 9, 0x61, 1];
        let zero: &[u8] = &[0x78, 0, 0, 0, 2, 0x61, 1];
        let no_start: &[u8] = &[0x7c, 0x41, 1, 2];
        let no_end: &[u8] = &[0x7c, 0x81, 1, 2];
        let short: &[u8] = &[0x7c];
        let forbidden: &[u8] = &[0xe1, 1, 2];
        let mtap: &[u8] = &[0x7a, 1, 2];
        for bad in [lie, zero, no_start, no_end, short, forbidden, mtap] {
            assert!(!unit(&[bad, &[0x61, 1]]).intact, "{bad:x?}");
        }
        assert!(!unit(&[&[0x7c, 0x81, 1], &[0x61, 2, 2]]).intact, "a fragment without its end");
        assert!(!unit(&[&[0x67, 1, 2]]).picture, "parameter sets alone are no picture");
        assert!(unit(&[&[0x61, 1]]).intact);
    }
}

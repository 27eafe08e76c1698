//! H.265 from RTP (RFC 7798): single NAL units, aggregation packets and fragmentation units. `sprop-max-don-diff` is never
//! negotiated, so that no packet carries a decoding order number.

use bytes::Bytes;

use super::fragment::Fragment;
use super::h264::aggregated;
use super::{AccessUnit, Damaged};

/// The NAL unit types that matter here (H.265, table 7-1).
pub mod nal {
    /// The first and the last of the types of pictures at which decoding can begin: BLA, IDR and CRA.
    pub const IRAP: std::ops::RangeInclusive<u8> = 16..=21;
    /// The last type of a slice.
    pub const LAST_SLICE: u8 = 31;
    /// Video parameter set.
    pub const VPS: u8 = 32;
    /// Sequence parameter set.
    pub const SPS: u8 = 33;
    /// Picture parameter set.
    pub const PPS: u8 = 34;
    /// SEI messages in front of a picture, and behind it.
    pub const SEI: std::ops::RangeInclusive<u8> = 39..=40;

    /// The type of a NAL unit; that of a delimiter for an empty one.
    #[must_use]
    pub fn kind(unit: &[u8]) -> u8 {
        unit.first().map_or(35, |b| (b >> 1) & 0x3f)
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
            48 => {
                let cut = self.fragment.finish();
                let units = aggregated(payload, 2);
                units.into_iter().try_for_each(|one| add(one.ok_or(Damaged)?, unit)).and(cut)
            }
            49 => self.fragment(payload, unit),
            // PACI packets (50) are an extension that nobody negotiates.
            50.. => Err(Damaged),
            _ => {
                let cut = self.fragment.finish();
                add(payload.clone(), unit).and(cut)
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Damaged> {
        self.fragment.finish()
    }

    fn fragment(&mut self, payload: &Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
        let &[first, second, header, ref body @ ..] = &payload[..] else { return Err(Damaged) };
        let (begins, ends) = (header & 0x80 != 0, header & 0x40 != 0);
        let head = [first & 0x81 | (header & 0x3f) << 1, second];
        let cut = if begins { self.fragment.begin(&head) } else { Ok(()) };
        self.fragment.extend(body)?;
        if ends && let Some(whole) = self.fragment.take() {
            add(whole, unit)?;
        }
        cut
    }
}

fn add(nal: Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
    let &[first, second, _, ..] = &nal[..] else {
        // A header alone is no unit; ends of sequence and of bitstream have nothing else.
        return if matches!(nal::kind(&nal), 35..=37) { Ok(()) } else { Err(Damaged) };
    };
    if first & 0x80 != 0 {
        return Err(Damaged);
    }
    if (first & 1) << 5 | second >> 3 > 0 {
        // A layer of a scalable or multiview stream: players decode the base layer.
        return Ok(());
    }
    match nal::kind(&nal) {
        nal::VPS => unit.vps.push(nal),
        nal::SPS => unit.sps.push(nal),
        nal::PPS => unit.pps.push(nal),
        kind @ ..=nal::LAST_SLICE => {
            unit.picture = true;
            unit.keyframe |= nal::IRAP.contains(&kind);
            unit.units.push(nal);
        }
        kind if nal::SEI.contains(&kind) => unit.units.push(nal),
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
        let mut depacketizer = Depacketizer::new(Codec::H265).unwrap();
        for payload in payloads {
            depacketizer.handle_payload(&Bytes::copy_from_slice(payload), false);
        }
        depacketizer.finish().unwrap()
    }

    #[test]
    fn every_packet_form_gives_its_units() {
        let together = [48 << 1, 1, 0, 3, 32 << 1, 1, 9, 0, 3, 33 << 1, 1, 8, 0, 3, 34 << 1, 1, 7];
        let fragments: [&[u8]; 2] = [&[49 << 1, 1, 0x80 | 19, 1], &[49 << 1, 1, 0x40 | 19, 2]];
        let got = unit(&[&[35 << 1, 1, 0x50], &together, fragments[0], fragments[1], &[19 << 1, 1, 3]]);
        assert_eq!(got.vps, [Bytes::from_static(&[32 << 1, 1, 9])]);
        assert_eq!(got.sps, [Bytes::from_static(&[33 << 1, 1, 8])]);
        assert_eq!(got.pps, [Bytes::from_static(&[34 << 1, 1, 7])]);
        assert_eq!(
            got.units,
            [Bytes::from_static(&[19 << 1, 1, 1, 2]), Bytes::from_static(&[19 << 1, 1, 3])]
        );
        assert!(got.keyframe && got.picture && got.intact);
        assert!(!unit(&[&[1 << 1, 1, 5]]).keyframe);
        assert!(unit(&[&[1 << 1, 8 | 1, 5], &[1 << 1, 1, 5]]).units.len() == 1, "the base layer only");
    }

    #[test]
    fn damage_is_seen() {
        let no_start: &[u8] = &[49 << 1, 1, 0x40 | 1, 2];
        let no_end: &[u8] = &[49 << 1, 1, 0x80 | 1, 2];
        let lie: &[u8] = &[48 << 1, 1, 0, 9, 2, 1, 1];
        let paci: &[u8] = &[50 << 1, 1, 1];
        let forbidden: &[u8] = &[0x80 | 1 << 1, 1, 1];
        for bad in [no_start, no_end, lie, paci, forbidden, &[49 << 1, 1], &[1 << 1]] {
            assert!(!unit(&[bad, &[1 << 1, 1, 5]]).intact, "{bad:x?}");
        }
    }
}

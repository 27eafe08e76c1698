//! H.264 from RTP (RFC 6184): single NAL units, STAP-A and FU-A, the forms of packetization modes 0 and 1.
//!
//! Whether a frame survived a loss is decided strictly: what cannot be proven whole counts as damaged, because a decoder
//! shows anything else as a smeared picture until the next keyframe.

use bytes::{Bytes, BytesMut};

/// A frame larger than this is damaged: nothing real is, and memory must be bounded.
const LARGEST: usize = 8 << 20;

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

/// A frame's NAL units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessUnit {
    /// The slices and SEI messages, in order. Delimiters, fillers and parameter sets are left out.
    pub units: Vec<Bytes>,
    /// The sequence parameter sets that came with it.
    pub sps: Vec<Bytes>,
    /// The picture parameter sets that came with it.
    pub pps: Vec<Bytes>,
    /// Whether it is an IDR picture: the truth of its slices, not of a packet's stamp.
    pub keyframe: bool,
    /// Whether it holds a picture at all.
    pub picture: bool,
    /// Whether everything that was sent of it is here.
    pub intact: bool,
}

/// Collects the packets of a frame.
#[derive(Debug, Default)]
pub struct Depacketizer {
    unit: AccessUnit,
    fragment: Option<BytesMut>,
    bytes: usize,
    packets: usize,
    damaged: bool,
    /// Packets were lost before the first one of this frame came.
    hole_before: bool,
    /// Packets were lost since the newest one that came.
    hole: bool,
    /// The newest packet said that it is the frame's last (RTP's marker).
    ended: bool,
}

impl Depacketizer {
    /// Packets are missing here.
    pub fn handle_lost(&mut self) {
        self.hole = true;
        // What was lost behind a frame's last packet belongs to other frames.
        self.damaged |= self.packets > 0 && !self.ended;
    }

    /// Takes the next packet of the current frame; `marker` is RTP's. Empty payloads (padding probes) are ignored.
    pub fn handle_payload(&mut self, payload: &Bytes, marker: bool) {
        if payload.is_empty() {
            return;
        }
        if std::mem::take(&mut self.hole) {
            self.hole_before |= self.packets == 0;
            self.damaged |= self.packets > 0;
        }
        self.ended = marker;
        self.packets += 1;
        self.bytes += payload.len();
        if self.bytes > LARGEST {
            self.damaged = true;
            return;
        }
        match nal::kind(payload) {
            1..=23 => {
                self.end_fragment();
                self.add(payload.clone());
            }
            24 => {
                self.end_fragment();
                self.aggregate(payload);
            }
            28 => self.fragment(payload),
            // STAP-B, MTAP and FU-B belong to packetization mode 2, which is never negotiated.
            _ => self.damaged = true,
        }
    }

    /// Whether the newest packet said that it is its frame's last.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended && !self.hole
    }

    /// The frame is over: gives what was collected, and begins the next one. None when no packet of it came.
    pub fn finish(&mut self) -> Option<AccessUnit> {
        self.end_fragment();
        if self.packets == 0 {
            return None;
        }
        let next = Self { hole: self.hole, ..Self::default() };
        let Self { unit, damaged, hole_before, .. } = std::mem::replace(self, next);
        // After a hole the first packets of this frame may be missing. Only a keyframe that begins with its parameter
        // sets is known to begin where it should.
        let whole = !hole_before || (unit.keyframe && !unit.sps.is_empty());
        Some(AccessUnit { intact: !damaged && whole, ..unit })
    }

    fn add(&mut self, unit: Bytes) {
        let Some(&header) = unit.first() else {
            self.damaged = true;
            return;
        };
        if header & 0x80 != 0 || unit.len() < 2 {
            // forbidden_zero_bit: somebody on the way says that the unit is broken; a header alone is no unit.
            self.damaged |= matches!(header & 0x1f, 1..=5 | 7 | 8);
            return;
        }
        match header & 0x1f {
            nal::SLICE | nal::IDR => {
                self.unit.picture = true;
                self.unit.keyframe |= header & 0x1f == nal::IDR;
                self.unit.units.push(unit);
            }
            // SEI
            6 => self.unit.units.push(unit),
            nal::SPS => self.unit.sps.push(unit),
            nal::PPS => self.unit.pps.push(unit),
            // Data partitioning (2 to 4) is of the Extended profile, which no browser decodes.
            2..=4 => self.damaged = true,
            // Delimiters, fillers, ends of sequence and the layers of SVC: MSE needs none of them.
            _ => {}
        }
    }

    fn aggregate(&mut self, payload: &Bytes) {
        let mut at = 1;
        while at < payload.len() {
            let length = payload.get(at..at + 2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
            let end = length.map(|length| at + 2 + length).filter(|end| *end <= payload.len());
            let Some(end) = end.filter(|end| *end > at + 2) else {
                self.damaged = true;
                return;
            };
            self.add(payload.slice(at + 2..end));
            at = end;
        }
    }

    fn fragment(&mut self, payload: &Bytes) {
        let &[indicator, header, ref body @ ..] = &payload[..] else {
            self.damaged = true;
            return;
        };
        let (first, last) = (header & 0x80 != 0, header & 0x40 != 0);
        if first {
            self.end_fragment();
            let mut fragment = BytesMut::with_capacity(body.len() * 4);
            fragment.extend_from_slice(&[indicator & 0xe0 | header & 0x1f]);
            self.fragment = Some(fragment);
        }
        let Some(fragment) = &mut self.fragment else {
            self.damaged = true;
            return;
        };
        fragment.extend_from_slice(body);
        if last && let Some(whole) = self.fragment.take() {
            self.add(whole.freeze());
        }
    }

    /// A fragmented unit that something else follows has lost its end.
    fn end_fragment(&mut self) {
        if self.fragment.take().is_some() {
            self.damaged = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(payloads: &[&[u8]]) -> AccessUnit {
        let mut depacketizer = Depacketizer::default();
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

    #[test]
    fn after_a_hole_only_a_keyframe_with_its_parameter_sets_is_whole() {
        let mut depacketizer = Depacketizer::default();
        let mut after_hole = |payloads: &[&'static [u8]]| {
            depacketizer.handle_lost();
            for payload in payloads {
                depacketizer.handle_payload(&Bytes::from_static(payload), true);
            }
            depacketizer.finish().unwrap().intact
        };
        assert!(!after_hole(&[&[0x61, 1]]));
        assert!(!after_hole(&[&[0x65, 1]]));
        assert!(after_hole(&[&[0x67, 1], &[0x68, 1], &[0x65, 1]]));
        let slice = Bytes::from_static(&[0x61, 1]);
        depacketizer.handle_payload(&slice, false);
        depacketizer.handle_lost();
        depacketizer.handle_payload(&slice, true);
        assert!(!depacketizer.finish().unwrap().intact, "a hole inside");
        assert!(depacketizer.finish().is_none());
        depacketizer.handle_payload(&slice, true);
        assert!(depacketizer.finish().unwrap().intact, "the hole is forgotten");
        depacketizer.handle_payload(&slice, false);
        depacketizer.handle_lost();
        assert!(!depacketizer.finish().unwrap().intact, "its end is missing");
        depacketizer.handle_payload(&slice, true);
        depacketizer.handle_lost();
        assert!(!depacketizer.finish().unwrap().intact, "its beginning may be missing");
        depacketizer.handle_payload(&slice, true);
        assert!(!depacketizer.finish().unwrap().intact, "the frame behind the hole");
        depacketizer.handle_payload(&slice, true);
        depacketizer.handle_lost();
        assert!(depacketizer.finish().unwrap().intact, "it had ended before the hole");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(payloads: Vec<Vec<u8>>) {
            let mut depacketizer = Depacketizer::default();
            for payload in payloads {
                depacketizer.handle_payload(&Bytes::from(payload), false);
            }
            if let Some(unit) = depacketizer.finish() {
                assert!(unit.picture || !unit.keyframe);
                assert!(unit.units.iter().all(|unit| unit.len() > 1));
            }
        }
    }
}

//! RTP payloads to access units. One file a codec says what its packets look like; which frames survived a loss is decided
//! here, the same for all. None knows of time, loss timers or playlists.
//!
//! Whether a frame survived is decided strictly: what cannot be proven whole counts as damaged, because a decoder shows
//! anything else as a smeared picture until the next keyframe.

use bicast_shared::media::Codec;
use bytes::Bytes;

pub mod aac;
pub mod av1;
pub mod fragment;
pub mod h264;
pub mod h265;
pub mod opus;
pub mod vp9;

/// A frame larger than this is damaged: nothing real is, and memory must be bounded.
const LARGEST: usize = 8 << 20;

/// A frame, in the units of its codec: NAL units, OBUs with their sizes, or VP9 frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessUnit {
    /// What a decoder is given, in order. What it does not need (delimiters, fillers) is left out, and so are the parameter
    /// sets of H.264 and H.265, which stand in the init segment.
    pub units: Vec<Bytes>,
    /// The video parameter sets that came with it (H.265).
    pub vps: Vec<Bytes>,
    /// The sequence parameter sets that came with it; AV1's sequence headers.
    pub sps: Vec<Bytes>,
    /// The picture parameter sets that came with it.
    pub pps: Vec<Bytes>,
    /// Whether decoding can begin with it: the truth of its slices, not of a packet's stamp.
    pub keyframe: bool,
    /// Whether it holds a picture at all.
    pub picture: bool,
    /// Whether everything that was sent of it is here.
    pub intact: bool,
}

impl AccessUnit {
    /// Takes over the parameter sets of a kind that it does not have itself.
    pub fn complete_with(&mut self, other: Self) {
        let pairs = [(&mut self.vps, other.vps), (&mut self.sps, other.sps), (&mut self.pps, other.pps)];
        for (own, other) in pairs {
            if own.is_empty() {
                *own = other;
            }
        }
    }

    /// Whether it brings parameter sets.
    #[must_use]
    pub const fn has_parameters(&self) -> bool {
        !self.vps.is_empty() || !self.sps.is_empty() || !self.pps.is_empty()
    }
}

/// A packet that shows its frame to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

/// The packets of one codec.
#[derive(Debug)]
enum Payloads {
    H264(h264::Payloads),
    H265(h265::Payloads),
    Av1(av1::Payloads),
    Vp9(vp9::Payloads),
}

impl Payloads {
    fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::H264 => Some(Self::H264(h264::Payloads::default())),
            Codec::H265 => Some(Self::H265(h265::Payloads::default())),
            Codec::Av1 => Some(Self::Av1(av1::Payloads::default())),
            Codec::Vp9 => Some(Self::Vp9(vp9::Payloads::default())),
            _ => None,
        }
    }

    fn handle(&mut self, payload: &Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
        match self {
            Self::H264(payloads) => payloads.handle(payload, unit),
            Self::H265(payloads) => payloads.handle(payload, unit),
            Self::Av1(payloads) => payloads.handle(payload, unit),
            Self::Vp9(payloads) => payloads.handle(payload, unit),
        }
    }

    /// The frame's last packet has been there.
    fn finish(&mut self) -> Result<(), Damaged> {
        match self {
            Self::H264(payloads) => payloads.finish(),
            Self::H265(payloads) => payloads.finish(),
            Self::Av1(payloads) => payloads.finish(),
            Self::Vp9(payloads) => payloads.finish(),
        }
    }

    /// Whether nothing of this keyframe can be missing in front: the others begin with their parameter sets, VP9's packets say
    /// which one is the first.
    const fn begins_whole(&self, unit: &AccessUnit) -> bool {
        unit.keyframe && (matches!(self, Self::Vp9(_)) || !unit.sps.is_empty())
    }
}

/// Collects the packets of a frame.
#[derive(Debug)]
pub struct Depacketizer {
    payloads: Payloads,
    unit: AccessUnit,
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
    /// For video coded as `codec`; none where it is not packaged.
    #[must_use]
    pub fn new(codec: Codec) -> Option<Self> {
        Some(Self {
            payloads: Payloads::of(codec)?,
            unit: AccessUnit::default(),
            bytes: 0,
            packets: 0,
            damaged: false,
            hole_before: false,
            hole: false,
            ended: false,
        })
    }

    /// Packets are missing here.
    pub const fn handle_lost(&mut self) {
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
        self.damaged |= self.bytes > LARGEST || self.payloads.handle(payload, &mut self.unit).is_err();
    }

    /// Whether the newest packet said that it is its frame's last.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended && !self.hole
    }

    /// The frame is over: gives what was collected, and begins the next one. None when no packet of it came.
    pub fn finish(&mut self) -> Option<AccessUnit> {
        self.damaged |= self.payloads.finish().is_err();
        if self.packets == 0 {
            return None;
        }
        let mut unit = std::mem::take(&mut self.unit);
        unit.keyframe &= unit.picture;
        // After a hole the first packets of this frame, or what it depends on, may be missing.
        let whole = !self.hole_before || self.payloads.begins_whole(&unit);
        let intact = !self.damaged && whole;
        (self.bytes, self.packets) = (0, 0);
        (self.damaged, self.hole_before, self.ended) = (false, false, false);
        Some(AccessUnit { intact, ..unit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_hole_only_a_keyframe_with_its_parameter_sets_is_whole() {
        let mut depacketizer = Depacketizer::new(Codec::H264).unwrap();
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

    #[test]
    fn what_is_too_large_for_a_frame_is_not_kept() {
        let mut depacketizer = Depacketizer::new(Codec::H265).unwrap();
        // The middle of a fragment without end.
        let packet = Bytes::from(vec![49 << 1, 1, 19].into_iter().chain([7; 60_000]).collect::<Vec<u8>>());
        let first = Bytes::from_static(&[49 << 1, 1, 0x80 | 19, 1]);
        depacketizer.handle_payload(&first, false);
        for _ in 0..1_000 {
            depacketizer.handle_payload(&packet, false);
        }
        let unit = depacketizer.finish().unwrap();
        assert!(!unit.intact && unit.units.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(payloads: Vec<Vec<u8>>) {
            for codec in [Codec::H264, Codec::H265, Codec::Av1, Codec::Vp9] {
                let mut depacketizer = Depacketizer::new(codec).unwrap();
                for payload in &payloads {
                    depacketizer.handle_payload(&Bytes::copy_from_slice(payload), false);
                }
                if let Some(unit) = depacketizer.finish() {
                    assert!(unit.picture || !unit.keyframe || !unit.intact);
                    assert!(unit.units.iter().all(|unit| !unit.is_empty()));
                }
            }
        }
    }
}

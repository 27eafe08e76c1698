//! One track as one viewer sees it: its SSRCs, payload types and sequence numbers.
//!
//! Sequence numbers are the feed's (`stamp.sequence`) plus an offset, so a NACK names a packet of the feed without any
//! state per packet. Timestamps are the media time itself: the same for every viewer.

use std::time::Duration;

use bicast_shared::packet::MediaPacket;

use super::seal::{Header, SealError, Sealer};

/// Packets from a change on that carry the playout-delay extension. The first frame's are needed; a keyframe has rarely
/// more packets than this, and a player keeps what it was told last.
const PLAYOUT_PACKETS: i64 = 250;
/// Changes that are remembered for packets that are sent again; they come seconds apart.
const PLAYOUT_CHANGES: usize = 8;
/// The longest delay that the extension can say, in its unit of 10 ms.
const MOST_TENS: u16 = 0xfff;
/// A gap larger than this would leave the receiver's guess of the rollover counter behind (RFC 3711, 3.3.1: 2^15).
const MAX_GAP: i64 = 1 << 14;

/// What was agreed with the viewer about one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrackSpec {
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    /// SSRC and payload type of retransmissions (RFC 4588), where the viewer takes them.
    pub(crate) rtx: Option<(u32, u8)>,
    /// Ids of header extensions, 1 to 14.
    pub(crate) playout_delay: Option<u8>,
    pub(crate) orientation: Option<u8>,
    pub(crate) capture_time: Option<u8>,
    /// Where the sequence numbers begin: below 2^15, so that the receiver takes the rollover counter for 0.
    pub(crate) first_index: u16,
    pub(crate) first_rtx_index: u16,
}

/// Which packet of the feed has which index.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    sequence: i64,
    index: u64,
}

/// The least delay that a player is asked for, from a packet of the feed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Playout {
    from: i64,
    /// In units of 10 ms; 0 asks for every picture at once.
    tens: u16,
}

/// One track of one viewer.
#[derive(Debug)]
pub(crate) struct Track {
    spec: TrackSpec,
    mapping: Option<Mapping>,
    /// One more than the highest index given out.
    next_index: u64,
    next_rtx_index: u64,
    /// From which packet of the feed on players are asked to wait so long. By packets and not by time, because one that is sent again
    /// must be the same.
    playout: Vec<Playout>,
}

impl Track {
    pub(crate) fn new(spec: TrackSpec) -> Self {
        Self {
            spec,
            mapping: None,
            next_index: u64::from(spec.first_index),
            next_rtx_index: u64::from(spec.first_rtx_index),
            playout: Vec::new(),
        }
    }

    /// Begins, or goes on after packets that nobody will get, at this packet of the feed: it has the next index, and
    /// nothing before it can be sent or asked for any more.
    pub(crate) fn begin(&mut self, sequence: i64) {
        self.mapping = Some(Mapping { sequence, index: self.next_index });
        if self.playout.is_empty() {
            self.playout.push(Playout { from: sequence, tens: 0 });
        }
    }

    /// Asks the player to hold pictures back at least so long from the next packet on.
    pub(crate) fn set_playout(&mut self, least: Duration) {
        let Some(mapping) = self.mapping.filter(|_| self.spec.playout_delay.is_some()) else { return };
        let since = i64::try_from(self.next_index - mapping.index).unwrap_or(i64::MAX);
        let tens = u16::try_from(least.as_millis() / 10).unwrap_or(MOST_TENS).min(MOST_TENS);
        if self.playout.len() >= PLAYOUT_CHANGES {
            self.playout.remove(0);
        }
        self.playout.push(Playout { from: mapping.sequence.saturating_add(since), tens });
    }

    /// Seals a packet of the feed for this viewer; nothing for one from before the beginning.
    pub(crate) fn write(
        &mut self,
        packet: &MediaPacket,
        sealer: &mut Sealer,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, SealError> {
        let sequence = packet.stamp.sequence;
        let ahead = |track: &Self, mapping: Mapping| {
            sequence - mapping.sequence - i64::try_from(track.next_index - mapping.index).unwrap_or(i64::MAX)
        };
        match self.mapping {
            Some(mapping) if ahead(self, mapping) <= MAX_GAP => {}
            _ => self.begin(sequence),
        }
        let Some(index) = self.index_of(sequence) else { return Ok(None) };
        self.next_index = self.next_index.max(index + 1);
        self.seal(packet, index, sealer, out).map(Some)
    }

    /// The packet of the feed that a NACK names, if it was sent and can be sent again.
    pub(crate) fn sequence_of(&self, wire: u16) -> Option<i64> {
        let mapping = self.mapping?;
        let newest = self.next_index.checked_sub(1)?;
        #[expect(clippy::cast_possible_truncation, reason = "the sequence number is the low 16 bits")]
        let behind = (newest as u16).wrapping_sub(wire);
        let index = newest.checked_sub(u64::from(behind))?;
        let since = i64::try_from(index.checked_sub(mapping.index)?).ok()?;
        Some(mapping.sequence + since)
    }

    /// Seals a packet that was sent before once more: in the retransmission stream where there is one, else as it was.
    pub(crate) fn write_again(
        &mut self,
        packet: &MediaPacket,
        sealer: &mut Sealer,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, SealError> {
        let Some(index) = self.index_of(packet.stamp.sequence).filter(|index| *index < self.next_index)
        else {
            return Ok(None);
        };
        let Some((ssrc, payload_type)) = self.spec.rtx else {
            return self.seal(packet, index, sealer, out).map(Some);
        };
        #[expect(clippy::cast_possible_truncation, reason = "the sequence number is the low 16 bits")]
        let original = (index as u16).to_be_bytes();
        let mut block = [0; MAX_EXTENSIONS];
        let header = Header {
            ssrc,
            index: self.next_rtx_index,
            payload_type,
            marker: packet.marker,
            timestamp: packet.stamp.media_time.rtp(),
            extensions: self.extensions(packet, &mut block),
        };
        self.next_rtx_index += 1;
        sealer.seal(&header, &original, &packet.payload, out).map(Some)
    }

    fn index_of(&self, sequence: i64) -> Option<u64> {
        let mapping = self.mapping?;
        let since = u64::try_from(sequence - mapping.sequence).ok()?;
        Some(mapping.index + since)
    }

    fn seal(
        &self,
        packet: &MediaPacket,
        index: u64,
        sealer: &mut Sealer,
        out: &mut Vec<u8>,
    ) -> Result<usize, SealError> {
        let mut block = [0; MAX_EXTENSIONS];
        let header = Header {
            ssrc: self.spec.ssrc,
            index,
            payload_type: self.spec.payload_type,
            marker: packet.marker,
            timestamp: packet.stamp.media_time.rtp(),
            extensions: self.extensions(packet, &mut block),
        };
        sealer.seal(&header, &[], &packet.payload, out)
    }

    /// The extension block in RFC 8285's one-byte form.
    fn extensions<'a>(&self, packet: &MediaPacket, block: &'a mut [u8; MAX_EXTENSIONS]) -> &'a [u8] {
        let sequence = packet.stamp.sequence;
        let playout = self.spec.playout_delay.and_then(|id| {
            let change = self.playout.iter().rev().find(|change| change.from <= sequence)?;
            (sequence - change.from < PLAYOUT_PACKETS).then_some((id, change.tens))
        });
        let orientation = self.spec.orientation.zip(packet.orientation);
        let mut at = 4;
        if let Some((id, tens)) = playout {
            // Minimum and maximum delay, 12 bits each. 0 and 0 is libwebrtc's mode for lowest latency; above a minimum the player's own
            // estimate counts.
            let most = if tens == 0 { 0 } else { MOST_TENS };
            let [_, a, b, c] = (u32::from(tens) << 12 | u32::from(most)).to_be_bytes();
            block[at..at + 4].copy_from_slice(&[id << 4 | 2, a, b, c]);
            at += 4;
        }
        if let Some((id, value)) = orientation {
            block[at] = id << 4;
            block[at + 1] = value;
            at += 4;
        }
        if let Some(id) = self.spec.capture_time {
            // On every packet, so that all of a frame have one size; of the stamp, so that a packet sent again is the same.
            block[at] = id << 4 | 7;
            block[at + 1..at + 9].copy_from_slice(&packet.stamp.program_time.ntp().to_be_bytes());
            at += 12;
        }
        if at == 4 {
            return &[];
        }
        block[0] = 0xbe;
        block[1] = 0xde;
        block[3] = u8::try_from(at / 4 - 1).unwrap_or(0);
        &block[..at]
    }
}

const MAX_EXTENSIONS: usize = 24;

#[cfg(test)]
mod tests {
    use bicast_shared::time::MediaTime;
    use rtc_shared::marshal::Unmarshal as _;
    use rtc_srtp::context::Context;
    use rtc_srtp::protection_profile::ProtectionProfile;

    use super::super::history::tests::packet;
    use super::super::seal::tests::keys;
    use super::*;

    const PROFILE: ProtectionProfile = ProtectionProfile::AeadAes128Gcm;

    fn spec(rtx: bool) -> TrackSpec {
        TrackSpec {
            ssrc: 1_000,
            payload_type: 108,
            rtx: rtx.then_some((1_001, 109)),
            playout_delay: Some(5),
            orientation: Some(4),
            capture_time: None,
            first_index: 65_530 - 32_768,
            first_rtx_index: 7,
        }
    }

    struct Rig {
        track: Track,
        sealer: Sealer,
        reader: Context,
    }

    impl Rig {
        fn new(rtx: bool) -> Self {
            let crypto = rtc::crypto::default_provider().unwrap();
            let keys = keys(PROFILE);
            let (key, salt) = (&keys.local_master_key, &keys.local_master_salt);
            Self {
                track: Track::new(spec(rtx)),
                sealer: Sealer::new(PROFILE, &keys, &crypto).unwrap(),
                reader: Context::new(key, salt, PROFILE, None, None, crypto.crypto()).unwrap(),
            }
        }

        fn open(&mut self, sealed: &[u8]) -> rtp::Packet {
            let plain = self.reader.decrypt_rtp(sealed).unwrap();
            rtp::Packet::unmarshal(&mut &plain[..]).unwrap()
        }

        fn send(&mut self, packet: &MediaPacket) -> Option<Vec<u8>> {
            let mut out = Vec::new();
            self.track.write(packet, &mut self.sealer, &mut out).unwrap().map(|_| out)
        }
    }

    #[test]
    fn numbers_run_on_over_the_wrap_and_timestamps_are_the_media_time() {
        let mut rig = Rig::new(true);
        let start = i64::from(u32::MAX) - 5_000;
        for n in 0..40_000 {
            let sealed = rig.send(&packet(500 + n, start + n * 3_000, n == 0)).unwrap();
            let opened = rig.open(&sealed);
            let expected = (u64::from(spec(true).first_index) + n.unsigned_abs()) as u16;
            assert_eq!(opened.header.sequence_number, expected);
            assert_eq!(opened.header.timestamp, MediaTime(start + n * 3_000).rtp());
            assert_eq!((opened.header.ssrc, opened.header.payload_type), (1_000, 108));
            assert_eq!(opened.header.extension, n < PLAYOUT_PACKETS);
            if n == 0 {
                assert_eq!(opened.header.get_extension(5).unwrap()[..], [0, 0, 0]);
            }
        }
    }

    #[test]
    fn a_nack_finds_the_packet_and_it_comes_again_in_either_way() {
        for rtx in [true, false] {
            let mut rig = Rig::new(rtx);
            let mut sent = Vec::new();
            for n in 0..10 {
                sent.push(rig.send(&packet(n, n * 3_000, n == 0)).unwrap());
            }
            let wire = u16::from_be_bytes([sent[4][2], sent[4][3]]);
            assert_eq!(rig.track.sequence_of(wire), Some(4));
            assert_eq!(rig.track.sequence_of(wire.wrapping_sub(5)), None, "from before the beginning");
            assert_eq!(rig.track.sequence_of(wire.wrapping_add(6)), None, "not sent yet");
            let mut again = Vec::new();
            let repeated = packet(4, 12_000, false);
            rig.track.write_again(&repeated, &mut rig.sealer, &mut again).unwrap().unwrap();
            if rtx {
                let opened = rig.open(&again);
                assert_eq!((opened.header.ssrc, opened.header.payload_type), (1_001, 109));
                assert_eq!(opened.header.sequence_number, 7);
                assert_eq!(opened.payload[..2], wire.to_be_bytes());
                assert_eq!(opened.payload[2..], repeated.payload[..]);
            } else {
                assert_eq!(again, sent[4], "the same bytes: the same nonce must not protect others");
            }
        }
    }

    #[test]
    fn packets_from_before_the_beginning_are_left_out() {
        let mut rig = Rig::new(true);
        rig.track.begin(10);
        assert!(rig.send(&packet(9, 0, false)).is_none());
        assert!(rig.send(&packet(11, 0, false)).is_some());
        assert!(rig.send(&packet(10, 0, false)).is_some());
    }

    #[test]
    fn after_a_hole_numbers_go_on_and_old_ones_are_never_used_again() {
        let mut rig = Rig::new(false);
        let first = rig.send(&packet(0, 0, true)).unwrap();
        rig.track.begin(5_000);
        let second = rig.send(&packet(5_000, 9_000, true)).unwrap();
        assert_eq!(second[3], first[3].wrapping_add(1), "no gap to ask for");
        let wire = u16::from_be_bytes([first[2], first[3]]);
        assert_eq!(rig.track.sequence_of(wire), None);
        assert!(rig.send(&packet(4_999, 0, false)).is_none(), "its number belongs to another packet");
        let far = rig.send(&packet(5_000 + MAX_GAP + 2, 9_000, true)).unwrap();
        assert_eq!(
            far[3],
            second[3].wrapping_add(1),
            "a huge gap is closed: the rollover counter stays known"
        );
        rig.open(&first);
        rig.open(&second);
        rig.open(&far);
    }

    #[test]
    fn the_time_of_capture_is_told_and_told_again_in_the_same_bytes() {
        let mut rig = Rig::new(false);
        rig.track = Track::new(TrackSpec { capture_time: Some(9), ..spec(false) });
        let mut first = packet(0, 0, true);
        first.stamp.program_time =
            bicast_shared::time::ProgramTime::from_unix_nanos(1_795_411_739_500_000_000);
        first.orientation = Some(2);
        let sealed = rig.send(&first).unwrap();
        let opened = rig.open(&sealed);
        let ntp = opened.header.get_extension(9).unwrap();
        assert_eq!(ntp[..], first.stamp.program_time.ntp().to_be_bytes());
        assert_eq!(opened.header.get_extension(5).unwrap()[..], [0, 0, 0]);
        assert_eq!(opened.header.get_extension(4).unwrap()[..], [2]);
        let mut again = Vec::new();
        rig.track.write_again(&first, &mut rig.sealer, &mut again).unwrap().unwrap();
        assert_eq!(again, sealed);
    }

    #[test]
    fn a_change_of_the_delay_holds_from_a_packet_on_and_what_is_sent_again_stays_the_same() {
        let mut rig = Rig::new(false);
        let sent: Vec<Vec<u8>> = (0..1_000)
            .map(|n| {
                if n == 500 {
                    rig.track.set_playout(Duration::from_millis(210));
                }
                rig.send(&packet(n, n * 300, n == 0)).unwrap()
            })
            .collect();
        for (n, sealed) in (0_i64..).zip(&sent) {
            let told = rig.open(sealed).header.get_extension(5).map(|told| told.to_vec());
            let expected = match n {
                0..250 => Some(vec![0, 0, 0]),
                500..750 => Some(vec![0x01, 0x5f, 0xff]),
                _ => None,
            };
            assert_eq!(told, expected, "packet {n}");
        }
        for _ in 0..20 {
            rig.track.set_playout(Duration::from_secs(3_600));
        }
        assert_eq!(rig.track.playout.len(), PLAYOUT_CHANGES);
        let mut rig = Rig::new(false);
        let first = rig.send(&packet(0, 0, true)).unwrap();
        rig.track.set_playout(Duration::from_millis(100));
        let mut again = Vec::new();
        rig.track.write_again(&packet(0, 0, true), &mut rig.sealer, &mut again).unwrap();
        assert_eq!(again, first);
    }

    #[test]
    fn orientation_travels_with_the_packets_that_have_it() {
        let mut rig = Rig::new(true);
        let mut turned = packet(0, 0, true);
        turned.orientation = Some(1);
        let sealed = rig.send(&turned).unwrap();
        let opened = rig.open(&sealed);
        assert_eq!(opened.header.get_extension(4).unwrap()[..], [1]);
        assert_eq!(opened.header.get_extension(5).unwrap()[..], [0, 0, 0]);
    }
}

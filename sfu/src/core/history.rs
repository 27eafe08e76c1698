//! What a worker holds of one stream: the packets that viewers may still join at or ask for again. One for all viewers.

use std::time::{Duration, Instant};

use bicast_shared::feed::ring::{PacketRing, RingLimits};
use bicast_shared::media::{Codec, begins_keyframe};
use bicast_shared::packet::MediaPacket;

/// The most packets that are held, and slots by sequence number.
const MOST: usize = 8_192;
/// Packets at the end that may still be missing: the publisher's retransmissions are on their way.
const REPAIRABLE: i64 = 32;

/// The newest packets of a stream, in the order of arrival (positions) and findable by sequence number.
#[derive(Debug)]
pub(crate) struct History {
    ring: PacketRing,
    /// Sequence number and position, at `sequence` modulo their count.
    slots: Vec<(i64, u64)>,
    newest_sequence: i64,
    /// Where reading went on after packets that never came here.
    resumed: u64,
    meter: Meter,
}

/// Packets a second, counted a second at a time.
#[derive(Debug, Default)]
struct Meter {
    since: Option<Instant>,
    count: u64,
    rate: u64,
}

impl Meter {
    fn count(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= Duration::from_secs(1) {
            self.rate = std::mem::take(&mut self.count);
            self.since = Some(now);
        }
        self.count += 1;
    }
}

impl History {
    /// An empty history of at most `packets` (up to 8,192) packets.
    pub(crate) fn new(packets: usize) -> Self {
        let packets = packets.clamp(1, MOST);
        let limits = RingLimits { packets, ..RingLimits::default() };
        Self {
            ring: PacketRing::new(limits),
            // Twice as many as packets: numbers of packets that were lost on the way take a slot as well.
            slots: vec![(i64::MIN, 0); (packets * 2).next_power_of_two().min(MOST)],
            newest_sequence: i64::MIN,
            resumed: 0,
            meter: Meter::default(),
        }
    }

    /// What is pushed next does not follow on what was pushed before: packets in between are lost.
    pub(crate) fn resume(&mut self) {
        self.resumed = self.ring.head();
    }

    /// Takes a packet. False for one whose sequence number was taken before or is too old to know: it must not be sent,
    /// because viewers' nonces are made of it.
    pub(crate) fn push(&mut self, packet: MediaPacket) -> bool {
        let sequence = packet.stamp.sequence;
        let (slot, count) = (self.slot(sequence), self.slots.len() as i64);
        if self.slots[slot].0 >= sequence || sequence <= self.newest_sequence.saturating_sub(count) {
            return false;
        }
        self.slots[slot] = (sequence, self.ring.head());
        self.meter.count(packet.received);
        self.newest_sequence = self.newest_sequence.max(sequence);
        self.ring.push(packet);
        true
    }

    /// Where a sequence number's slot is.
    fn slot(&self, sequence: i64) -> usize {
        sequence.rem_euclid(self.slots.len() as i64).unsigned_abs() as usize
    }

    /// Packets a second, of the last whole second.
    pub(crate) const fn rate(&self) -> u64 {
        self.meter.rate
    }

    /// The position after the newest packet.
    pub(crate) fn head(&self) -> u64 {
        self.ring.head()
    }

    /// The position of the oldest packet.
    pub(crate) fn tail(&self) -> u64 {
        self.ring.tail()
    }

    pub(crate) fn get(&self, position: u64) -> Option<&MediaPacket> {
        self.ring.get(position)
    }

    /// The packet with this sequence number, if it is held.
    pub(crate) fn by_sequence(&self, sequence: i64) -> Option<&MediaPacket> {
        let (held, position) = self.slots[self.slot(sequence)];
        if held == sequence { self.ring.get(position) } else { None }
    }

    /// The newest packet.
    pub(crate) fn newest(&self) -> Option<&MediaPacket> {
        self.ring.get(self.ring.head().checked_sub(1)?)
    }

    /// Where the newest keyframe begins.
    pub(crate) fn newest_keyframe(&self) -> Option<u64> {
        self.ring.newest_keyframe()
    }

    /// The sequence number that the keyframe at a position begins with, whatever order its packets came in. None while
    /// its first packet may be missing: what comes before the packets held could belong to it.
    pub(crate) fn keyframe_start(&self, position: u64, codec: Codec) -> Option<i64> {
        let mut packet = self.ring.get(position)?;
        let time = packet.stamp.media_time;
        loop {
            let sequence = packet.stamp.sequence;
            match self.by_sequence(sequence - 1) {
                Some(before) if before.stamp.media_time == time => packet = before,
                Some(_) => return Some(sequence),
                None => {
                    let first_here = position == self.tail() || position == self.resumed;
                    return (first_here || begins_keyframe(codec, &packet.payload)).then_some(sequence);
                }
            }
        }
    }

    /// The stored group of pictures: from the newest keyframe to the newest packet.
    pub(crate) fn stored_group(&self, codec: Codec) -> Option<StoredGroup> {
        let position = self.newest_keyframe()?;
        let first = self.keyframe_start(position, codec)?;
        let packets = self.head() - position;
        let end = self.newest_sequence - REPAIRABLE;
        let whole = (first..=end).all(|sequence| self.by_sequence(sequence).is_some());
        Some(StoredGroup { position, first, packets, whole })
    }
}

/// A keyframe and everything after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredGroup {
    /// Where the packet of the keyframe stands that came first.
    pub(crate) position: u64,
    /// The sequence number that the keyframe begins with.
    pub(crate) first: i64,
    /// How many packets there are.
    pub(crate) packets: u64,
    /// Whether nothing is missing in it, but for the newest packets that may still come.
    pub(crate) whole: bool,
}

#[cfg(test)]
pub(crate) mod tests {
    use bicast_shared::time::MediaTime;
    use bytes::Bytes;

    use super::*;

    /// A video packet whose payload says which it is.
    pub(crate) fn packet(sequence: i64, media_time: i64, keyframe: bool) -> MediaPacket {
        let payload = Bytes::from(sequence.to_be_bytes().to_vec());
        let received = bicast_shared::clock::now();
        let mut packet = MediaPacket::unowned(sequence, MediaTime(media_time), payload, received);
        packet.stamp.keyframe = keyframe;
        packet
    }

    fn frame(sequence: i64) -> MediaPacket {
        packet(sequence, sequence * 3_000, sequence % 30 == 0)
    }

    #[test]
    fn packets_are_found_by_sequence_whatever_order_they_came_in() {
        let mut history = History::new(100);
        for sequence in [0, 2, 1, 4, 3, -1] {
            assert!(history.push(frame(sequence)), "{sequence}");
        }
        for sequence in -1..5 {
            assert_eq!(history.by_sequence(sequence).unwrap().stamp.sequence, sequence);
        }
        assert!(
            history.by_sequence(5).is_none() && history.by_sequence(history.slots.len() as i64 + 1).is_none()
        );
    }

    #[test]
    fn a_sequence_number_is_taken_once() {
        let mut history = History::new(10);
        for sequence in 0..20_000 {
            assert!(history.push(frame(sequence)));
            assert!(!history.push(frame(sequence)), "a duplicate");
        }
        assert!(!history.push(frame(20_000 - history.slots.len() as i64 - 1)), "too old to know");
        assert!(!history.push(frame(19_985)), "gone from the ring, but it was here");
        assert!(history.by_sequence(19_985).is_none() && history.by_sequence(19_995).is_some());
    }

    #[test]
    fn a_group_with_a_hole_is_not_whole() {
        let mut history = History::new(1_000);
        for sequence in 25..100 {
            history.push(frame(sequence));
        }
        let group = history.stored_group(Codec::H264).unwrap();
        assert_eq!((group.first, group.packets, group.whole), (90, 10, true));
        let mut holed = History::new(1_000);
        for sequence in (60..89).filter(|n| *n != 65) {
            holed.push(frame(sequence));
        }
        assert!(holed.stored_group(Codec::H264).unwrap().whole, "a fresh gap may still be repaired");
        (100..140).for_each(|sequence| assert!(holed.push(packet(sequence, sequence * 3_000, false))));
        assert!(!holed.stored_group(Codec::H264).unwrap().whole);
        assert!(History::new(10).stored_group(Codec::H264).is_none());
    }

    #[test]
    fn a_keyframe_whose_first_packet_is_late_has_no_beginning_yet() {
        let mut history = History::new(1_000);
        (0..10).for_each(|sequence| assert!(history.push(packet(sequence, sequence * 3_000, sequence == 0))));
        // A keyframe of the packets 10 to 13, of which the first is overtaken.
        for sequence in [11, 12, 13] {
            history.push(packet(sequence, 30_000, true));
        }
        let position = history.newest_keyframe().unwrap();
        assert_eq!(
            (history.keyframe_start(position, Codec::H264), history.stored_group(Codec::H264)),
            (None, None)
        );
        history.push(packet(10, 30_000, true));
        assert_eq!(history.keyframe_start(position, Codec::H264), Some(10));
        assert_eq!(
            history.stored_group(Codec::H264).map(|group| (group.first, group.whole)),
            Some((10, true))
        );
    }

    #[test]
    fn a_keyframe_behind_lost_packets_is_a_beginning_where_nothing_of_it_can_be_missing() {
        let mut history = History::new(1_000);
        (0..10).for_each(|sequence| assert!(history.push(packet(sequence, sequence * 3_000, sequence == 0))));
        // The reader lagged: it goes on at a keyframe.
        history.resume();
        history.push(packet(50, 150_000, true));
        assert_eq!(history.stored_group(Codec::H264).map(|group| group.first), Some(50));
        // The packet before this one was lost for good; it begins with its parameter sets.
        let mut keyframe = packet(60, 180_000, true);
        keyframe.payload = Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f]);
        history.push(keyframe);
        assert_eq!(history.stored_group(Codec::H264).map(|group| group.first), Some(60));
    }
}

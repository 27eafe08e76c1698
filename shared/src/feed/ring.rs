//! A bounded ring of a stream's packets. Pure: readers hold positions in it; the bus wakes them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::packet::MediaPacket;

/// How much a ring holds before its oldest packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingLimits {
    /// Packets, at least 1.
    pub packets: usize,
    /// Bytes of payload. One packet always fits.
    pub bytes: usize,
    /// What came within this time of the newest packet is held. What is older goes when it is before the newest keyframe: nobody can begin there,
    /// and a reader that is so late goes on at that keyframe.
    pub time: Duration,
}

impl Default for RingLimits {
    /// 12 s of a 5 Mbit/s video: a group of pictures of 10 s can be handed to a viewer who joins.
    fn default() -> Self {
        Self { packets: 8_192, bytes: 8 << 20, time: Duration::from_secs(3) }
    }
}

/// Packets of one stream in the order of arrival. A position counts the packets ever pushed.
#[derive(Debug)]
pub struct PacketRing {
    limits: RingLimits,
    packets: VecDeque<MediaPacket>,
    bytes: usize,
    /// The position of the oldest packet held.
    tail: u64,
    /// Positions of the first packet of each keyframe held (of the frame, not of the packet that showed it).
    keyframes: VecDeque<u64>,
}

impl PacketRing {
    /// An empty ring.
    #[must_use]
    pub fn new(limits: RingLimits) -> Self {
        Self { limits, packets: VecDeque::new(), bytes: 0, tail: 0, keyframes: VecDeque::new() }
    }

    /// The position after the newest packet: where the next one will stand.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.tail + self.packets.len() as u64
    }

    /// The position of the oldest packet held (the head when empty).
    #[must_use]
    pub const fn tail(&self) -> u64 {
        self.tail
    }

    /// Appends a packet and lets the oldest go where the limits ask for it. Tells whether an access unit may be whole with it: it is the
    /// last of one, the first behind one whose end was not told (sound, a lost marker), or late.
    pub fn push(&mut self, packet: MediaPacket) -> bool {
        let whole = packet.marker
            || self.packets.back().is_none_or(|newest| {
                let goes_on = newest.stamp.epoch == packet.stamp.epoch
                    && newest.stamp.sequence < packet.stamp.sequence
                    && (newest.marker || newest.stamp.media_time == packet.stamp.media_time);
                !goes_on
            });
        if packet.stamp.keyframe {
            self.note_keyframe(&packet);
        }
        self.bytes += packet.payload.len();
        self.packets.push_back(packet);
        while self.packets.len() > 1
            && (self.packets.len() > self.limits.packets
                || self.bytes > self.limits.bytes
                || self.oldest_is_needless())
        {
            if let Some(gone) = self.packets.pop_front() {
                self.bytes -= gone.payload.len();
            }
            self.tail += 1;
            while self.keyframes.front().is_some_and(|at| *at < self.tail) {
                self.keyframes.pop_front();
            }
        }
        whole
    }

    fn oldest_is_needless(&self) -> bool {
        let (Some(oldest), Some(newest)) = (self.packets.front(), self.packets.back()) else { return false };
        let age = newest.received.saturating_duration_since(oldest.received);
        age > self.limits.time && self.newest_keyframe().is_none_or(|at| at > self.tail)
    }

    /// The packet at a position, if it is held.
    #[must_use]
    pub fn get(&self, position: u64) -> Option<&MediaPacket> {
        self.packets.get(usize::try_from(position.checked_sub(self.tail)?).ok()?)
    }

    /// The position of the first packet of the newest keyframe held: decoding can begin there.
    #[must_use]
    pub fn newest_keyframe(&self) -> Option<u64> {
        self.keyframes.back().copied()
    }

    /// Where a reader at `position` goes on: there, or, when the ring has run past it, at the newest keyframe (at the
    /// head where there is none). The second value counts the packets that it lost.
    #[must_use]
    pub fn resume(&self, position: u64) -> (u64, u64) {
        if position >= self.tail {
            return (position.min(self.head()), 0);
        }
        let at = self.newest_keyframe().unwrap_or_else(|| self.head());
        (at, at - position)
    }

    fn note_keyframe(&mut self, packet: &MediaPacket) {
        let frame = packet.stamp.media_time;
        let known = self.keyframes.back().and_then(|at| self.get(*at));
        if known
            .is_some_and(|first| first.stamp.media_time == frame && first.stamp.epoch == packet.stamp.epoch)
        {
            return;
        }
        // A keyframe may begin with packets that do not show it (an AUD, an SEI): go back to the frame's first one.
        let before = self.packets.iter().rev().take_while(|p| p.stamp.media_time == frame).count();
        self.keyframes.push_back(self.head() - before as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::packet;

    fn ring(packets: usize, bytes: usize) -> PacketRing {
        PacketRing::new(RingLimits { packets, bytes, ..RingLimits::default() })
    }

    #[test]
    fn what_is_old_goes_but_not_what_decoding_begins_with() {
        let start = packet(0, 0, false, 1).received;
        let mut ring = ring(100, 1 << 20);
        let push = |ring: &mut PacketRing, n: u32, keyframe: bool| {
            let received = start + Duration::from_secs(u64::from(n));
            ring.push(MediaPacket { received, ..packet(n.into(), i64::from(n) * 90_000, keyframe, 1) });
        };
        for n in 0..10 {
            push(&mut ring, n, n == 2);
        }
        assert_eq!(
            (ring.tail(), ring.newest_keyframe()),
            (2, Some(2)),
            "a long group of pictures is held whole"
        );
        push(&mut ring, 10, true);
        assert_eq!(
            (ring.tail(), ring.newest_keyframe()),
            (7, Some(10)),
            "who is a little late loses nothing"
        );
        let mut sound = PacketRing::new(RingLimits::default());
        for n in 0..10 {
            push(&mut sound, n, false);
        }
        assert_eq!((sound.tail(), sound.head()), (6, 10));
    }

    #[test]
    fn the_oldest_packets_go_by_count_and_by_bytes() {
        let mut by_count = ring(3, 1 << 20);
        let mut by_bytes = ring(100, 25);
        for n in 0..5 {
            by_count.push(packet(n, n * 3_000, false, 10));
            by_bytes.push(packet(n, n * 3_000, false, 10));
        }
        assert_eq!((by_count.tail(), by_count.head()), (2, 5));
        assert_eq!((by_bytes.tail(), by_bytes.head()), (3, 5));
        assert!(by_count.get(1).is_none() && by_count.get(5).is_none());
        assert_eq!(by_count.get(2).unwrap().stamp.sequence, 2);
        let mut huge = ring(100, 5);
        huge.push(packet(0, 0, true, 10));
        assert_eq!(huge.head(), 1, "one packet always fits");
        assert!(huge.get(0).is_some());
    }

    #[test]
    fn a_keyframe_begins_at_the_first_packet_of_its_frame() {
        let mut ring = ring(100, 1 << 20);
        ring.push(packet(0, 0, false, 1));
        ring.push(packet(1, 3_000, false, 1));
        ring.push(packet(2, 3_000, true, 1));
        ring.push(packet(3, 3_000, true, 1));
        ring.push(packet(4, 6_000, false, 1));
        assert_eq!(ring.newest_keyframe(), Some(1));
    }

    #[test]
    fn a_unit_is_whole_with_its_marker_with_the_next_or_with_what_was_missing() {
        let mut ring = ring(100, 1 << 20);
        let mut push = |sequence: i64, media_time: i64, marker: bool| {
            ring.push(MediaPacket { marker, ..packet(sequence, media_time, false, 1) })
        };
        assert!(push(0, 0, true), "the first");
        assert!(!push(1, 3_000, false) && !push(2, 3_000, false) && push(4, 3_000, true));
        assert!(push(3, 3_000, false), "it was missing");
        assert!(push(5, 6_000, true) && !push(6, 9_000, false) && push(7, 12_000, false), "a lost marker");
        assert!(push(8, 15_000, false) && push(9, 18_000, false), "sound has no markers");
    }

    #[test]
    fn a_lagging_reader_skips_to_the_newest_keyframe_and_knows_what_it_lost() {
        let mut ring = ring(4, 1 << 20);
        for n in 0..10 {
            ring.push(packet(n, n * 3_000, n == 8, 1));
        }
        assert_eq!(ring.resume(7), (7, 0));
        assert_eq!(ring.resume(2), (8, 6));
        assert_eq!(ring.resume(99), (10, 0), "a position from the future is brought back");
        for n in 10..14 {
            ring.push(packet(n, n * 3_000, false, 1));
        }
        assert_eq!(ring.resume(2), (14, 12), "no keyframe left: the head");
    }
}

//! Packets of an epoch that cannot be packaged yet: its cadence takes a second to be decided, and it begins with its first
//! segment.

use std::collections::VecDeque;

use bicast_shared::id::Epoch;
use bicast_shared::packet::MediaPacket;

/// Packets and bytes that are held at most; the oldest go.
const MOST: (usize, usize) = (16_384, 32 << 20);

/// Packets that wait, in the order of arrival.
#[derive(Debug, Default)]
pub struct Held {
    packets: VecDeque<MediaPacket>,
    bytes: usize,
    /// The newest epoch that has a segment here, and that segment.
    first: Option<(Epoch, u64)>,
}

impl Held {
    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The first segment of an epoch, if a packet of it is here.
    #[must_use]
    pub fn first_segment(&self, epoch: Epoch) -> Option<u64> {
        self.first.filter(|(of, _)| *of == epoch).map(|(_, number)| number)
    }

    /// Adds a packet.
    pub fn push(&mut self, packet: MediaPacket) {
        let epoch = packet.stamp.epoch;
        if let Some(segment) = packet.stamp.segment.filter(|_| self.first.is_none_or(|(of, _)| of < epoch)) {
            self.first = Some((epoch, segment.0));
        }
        self.bytes += packet.payload.len();
        self.packets.push_back(packet);
        while self.packets.len() > MOST.0 || self.bytes > MOST.1 {
            let Some(gone) = self.packets.pop_front() else { return };
            self.bytes -= gone.payload.len();
        }
    }

    /// The packets of an epoch. Those of earlier ones go; those of later ones wait on.
    pub fn take(&mut self, epoch: Epoch) -> Vec<MediaPacket> {
        let (later, mut taken): (VecDeque<_>, Vec<_>) = {
            let (later, rest): (Vec<_>, Vec<_>) =
                self.packets.drain(..).partition(|packet| packet.stamp.epoch > epoch);
            (later.into(), rest)
        };
        taken.retain(|packet| packet.stamp.epoch == epoch);
        self.bytes = later.iter().map(|packet| packet.payload.len()).sum();
        self.packets = later;
        taken
    }
}

#[cfg(test)]
mod tests {
    use bicast_shared::id::SegmentNumber;

    use super::*;
    use crate::core::testing::packet;

    fn of(epoch: u32, segment: Option<u64>, bytes: usize) -> MediaPacket {
        let mut packet: MediaPacket = packet(0, 0).epoch(epoch).into();
        packet.stamp.segment = segment.map(SegmentNumber);
        packet.payload = vec![0; bytes].into();
        packet
    }

    #[test]
    fn an_epoch_is_taken_and_later_ones_wait_on() {
        let mut held = Held::default();
        for (epoch, segment) in
            [(1, None), (1, Some(4)), (2, None), (1, Some(5)), (3, Some(9)), (3, Some(10))]
        {
            held.push(of(epoch, segment, 1));
        }
        assert_eq!(held.first_segment(Epoch(3)), Some(9));
        assert_eq!(held.first_segment(Epoch(2)), None);
        assert_eq!(held.take(Epoch(2)).len(), 1, "those of epoch 1 are gone");
        assert_eq!(held.take(Epoch(3)).len(), 2);
        assert!(held.is_empty() && held.bytes == 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut held = Held::default();
        for _ in 0..40 {
            held.push(of(0, None, 1 << 20));
        }
        assert_eq!((held.packets.len(), held.bytes), (32, 32 << 20));
        for _ in 0..MOST.0 * 2 {
            held.push(of(0, None, 0));
        }
        assert!(held.packets.len() <= MOST.0);
    }
}

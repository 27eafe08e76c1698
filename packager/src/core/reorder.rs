//! A jitter buffer: gives a stream's packets in the order of sending. In-order packets pass at once; a missing one is
//! waited for (NACK and RTX repairs come late), then declared lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bicast_shared::id::Epoch;
use bicast_shared::packet::MediaPacket;

/// How long and how many packets a missing one is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Since the first packet after the hole came. Three round trips of a NACK over 80 ms fit in 250 ms.
    pub time: Duration,
    /// Packets held behind the hole.
    pub packets: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { time: Duration::from_millis(250), packets: 1_024 }
    }
}

/// What comes out, in order.
#[derive(Debug)]
pub enum Ordered {
    /// The next packet.
    Packet(MediaPacket),
    /// So many packets are missing here and are not waited for any longer.
    Lost(u64),
}

/// The jitter buffer of one stream.
#[derive(Debug)]
pub struct Reorder {
    patience: Patience,
    /// The epoch and sequence number of the packet that comes next.
    next: Option<(Epoch, i64)>,
    waiting: BTreeMap<i64, MediaPacket>,
    late: u64,
}

impl Reorder {
    /// An empty buffer.
    #[must_use]
    pub const fn new(patience: Patience) -> Self {
        Self { patience, next: None, waiting: BTreeMap::new(), late: 0 }
    }

    /// Packets that came after they had been declared lost (or twice), since the beginning.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Takes a packet as it came and appends what is in order now.
    pub fn handle_packet(&mut self, packet: MediaPacket, out: &mut Vec<Ordered>) {
        let stamp = packet.stamp;
        let (epoch, next) = *self.next.get_or_insert((stamp.epoch, stamp.sequence));
        if stamp.epoch < epoch || (stamp.epoch == epoch && stamp.sequence < next) {
            self.late += 1;
            return;
        }
        if stamp.epoch > epoch {
            // What the old publisher did not send will not come any more; where the new one begins is not a hole.
            self.flush(out);
            self.next = Some((stamp.epoch, stamp.sequence));
        }
        if self.waiting.insert(stamp.sequence, packet).is_some() {
            self.late += 1;
        }
        self.release(out);
        while self.waiting.len() > self.patience.packets {
            self.give_up(out);
        }
    }

    /// Declares lost what has been waited for long enough.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Ordered>) {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            self.give_up(out);
        }
    }

    /// When [`Self::handle_timeout`] should next be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.values().next().map(|first| first.received + self.patience.time)
    }

    /// Gives everything that is held, with its holes: nothing more will come.
    pub fn flush(&mut self, out: &mut Vec<Ordered>) {
        while !self.waiting.is_empty() {
            self.give_up(out);
        }
    }

    fn release(&mut self, out: &mut Vec<Ordered>) {
        let Some((_, next)) = &mut self.next else { return };
        while let Some(packet) = self.waiting.remove(next) {
            *next = next.saturating_add(1);
            out.push(Ordered::Packet(packet));
        }
    }

    fn give_up(&mut self, out: &mut Vec<Ordered>) {
        let (Some((_, next)), Some(first)) = (&mut self.next, self.waiting.keys().next()) else { return };
        let missing = first.saturating_sub(*next).unsigned_abs();
        if missing > 0 {
            out.push(Ordered::Lost(missing));
        }
        *next = *first;
        self.release(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{at, packet};

    fn shape(out: &[Ordered]) -> Vec<i64> {
        out.iter()
            .map(|event| match event {
                Ordered::Packet(packet) => packet.stamp.sequence,
                Ordered::Lost(count) => -i64::try_from(*count).unwrap(),
            })
            .collect()
    }

    #[test]
    fn packets_in_order_pass_at_once_and_a_repair_releases_what_waited() {
        let mut reorder = Reorder::new(Patience::default());
        let mut out = Vec::new();
        for n in [5, 6, 9, 8] {
            reorder.handle_packet(packet(n, 0).received(at(n)).into(), &mut out);
        }
        assert_eq!(shape(&out), [5, 6]);
        assert_eq!(reorder.poll_timeout(), Some(at(8) + Duration::from_millis(250)));
        reorder.handle_packet(packet(7, 0).into(), &mut out);
        assert_eq!(shape(&out), [5, 6, 7, 8, 9]);
        assert_eq!(reorder.poll_timeout(), None);
        reorder.handle_packet(packet(7, 0).into(), &mut out);
        assert_eq!((out.len(), reorder.late()), (5, 1), "the same packet twice");
    }

    #[test]
    fn a_hole_is_given_up_after_its_time_and_not_before() {
        let mut reorder = Reorder::new(Patience::default());
        let mut out = Vec::new();
        for n in [1, 4, 5, 9] {
            reorder.handle_packet(packet(n, 0).received(at(n * 10)).into(), &mut out);
        }
        reorder.handle_timeout(at(40 + 249), &mut out);
        assert_eq!(shape(&out), [1]);
        reorder.handle_timeout(at(40 + 250), &mut out);
        assert_eq!(shape(&out), [1, -2, 4, 5], "the second hole has its own time");
        reorder.handle_timeout(at(90 + 250), &mut out);
        assert_eq!(shape(&out), [1, -2, 4, 5, -3, 9]);
    }

    #[test]
    fn a_full_buffer_gives_up_early_and_an_epoch_begins_without_a_hole() {
        let mut reorder = Reorder::new(Patience { time: Duration::from_secs(9), packets: 3 });
        let mut out = Vec::new();
        for n in [0, 2, 3, 4, 5] {
            reorder.handle_packet(packet(n, 0).into(), &mut out);
        }
        assert_eq!(shape(&out), [0, -1, 2, 3, 4, 5]);
        out.clear();
        reorder.handle_packet(packet(7, 0).into(), &mut out);
        reorder.handle_packet(packet(100, 0).epoch(1).into(), &mut out);
        reorder.handle_packet(packet(8, 0).into(), &mut out);
        assert_eq!(shape(&out), [-1, 7, 100]);
        assert_eq!(reorder.late(), 1, "the old epoch is over");
    }
}

//! Packets of a picture in several encodings, on their way to the tracks: each waits until it is known which segment its frame
//! belongs to.
//!
//! The owner cannot tell while it waits for the last layer's keyframe: packets from that time on carry no segment, until one
//! comes that does. Then it is known for all up to it.

use std::collections::VecDeque;

use bicast_shared::id::{Epoch, SegmentNumber};
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::MediaTime;

/// Packets that wait at most: the owner waits for 150 ms. Beyond, they go on as they stand.
const MOST: usize = 4_096;
/// Segments that late packets can belong to.
const REMEMBERED: usize = 16;

/// A segment as the first packet told it.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Its number.
    pub number: SegmentNumber,
    /// Whose stay it belongs to.
    pub epoch: Epoch,
    /// Where it begins.
    pub start: MediaTime,
    /// The mapping to UTC that holds for it, in all renditions.
    pub map_version: u32,
}

/// Where the packets wait.
#[derive(Debug, Default)]
pub struct Gate {
    held: VecDeque<MediaPacket>,
    cuts: VecDeque<Cut>,
    /// In the newest epoch every cut up to here is known.
    known: Option<(Epoch, MediaTime)>,
}

impl Gate {
    /// Takes a packet. Gives the segment that it is the first to tell of, if it is.
    pub fn push(&mut self, packet: MediaPacket) -> Option<Cut> {
        let told = self.tell(&packet);
        self.held.push_back(packet);
        told
    }

    /// Takes what a packet of another track tells.
    pub fn tell(&mut self, packet: &MediaPacket) -> Option<Cut> {
        let stamp = packet.stamp;
        let number = stamp.segment?;
        let newest = self.cuts.back().map(|cut| cut.number);
        let cut =
            Cut { number, epoch: stamp.epoch, start: stamp.segment_start, map_version: stamp.map_version };
        let is_new = newest.is_none_or(|newest| number > newest);
        if is_new {
            self.cuts.push_back(cut);
            if self.cuts.len() > REMEMBERED {
                self.cuts.pop_front();
            }
        }
        is_new.then_some(cut)
    }

    /// In this epoch everything up to `at` is known.
    pub fn advance(&mut self, epoch: Epoch, at: MediaTime) {
        let known = (epoch, at);
        self.known = Some(self.known.map_or(known, |before| before.max(known)));
    }

    /// How far the newest epoch's cuts are known.
    #[must_use]
    pub fn known(&self) -> Option<MediaTime> {
        self.known.map(|(_, at)| at)
    }

    /// The packets that wait.
    pub fn held(&self) -> impl Iterator<Item = &MediaPacket> {
        self.held.iter()
    }

    /// The packets whose segment is known now, with it, in the order of arrival; all of them with `all`.
    pub fn release(&mut self, all: bool) -> Vec<MediaPacket> {
        let surplus = self.held.len().saturating_sub(MOST);
        let mut out = Vec::new();
        let mut waiting = VecDeque::new();
        for (n, mut packet) in self.held.drain(..).enumerate() {
            let stamp = &mut packet.stamp;
            let known = self.known.is_some_and(|known| (stamp.epoch, stamp.media_time) <= known);
            if !known && !all && n >= surplus {
                waiting.push_back(packet);
                continue;
            }
            let at = stamp.media_time;
            let cut = self.cuts.iter().rev().find(|cut| cut.epoch == stamp.epoch && cut.start <= at);
            stamp.segment = cut.map(|cut| cut.number);
            if let Some(cut) = cut {
                (stamp.segment_start, stamp.map_version) = (cut.start, cut.map_version);
            }
            out.push(packet);
        }
        self.held = waiting;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing;

    fn packet(at: i64, segment: Option<(u64, i64)>) -> MediaPacket {
        let mut packet: MediaPacket = testing::packet(at, at).into();
        packet.stamp.segment = segment.map(|(number, _)| SegmentNumber(number));
        packet.stamp.segment_start = MediaTime(segment.map_or(0, |(_, start)| start));
        packet.stamp.map_version = u32::try_from(at).unwrap();
        packet
    }

    fn push(gate: &mut Gate, at: i64, segment: Option<(u64, i64)>) -> Vec<(i64, Option<u64>)> {
        let told = gate.push(packet(at, segment));
        if segment.is_some() {
            gate.advance(Epoch(0), MediaTime(at));
        }
        assert_eq!(told.is_some(), segment.is_some_and(|(_, start)| start == at), "{at}");
        let out = gate.release(false);
        out.iter().map(|p| (p.stamp.media_time.0, p.stamp.segment.map(|number| number.0))).collect()
    }

    #[test]
    fn packets_wait_until_their_segment_is_known() {
        let mut gate = Gate::default();
        assert_eq!(push(&mut gate, 10, Some((3, 10))), [(10, Some(3))]);
        assert_eq!(push(&mut gate, 20, Some((3, 10))), [(20, Some(3))]);
        assert_eq!(push(&mut gate, 30, None), []);
        assert_eq!(push(&mut gate, 40, None), []);
        assert_eq!(push(&mut gate, 25, Some((3, 10))), [(25, Some(3))], "late, and nothing of it is open");
        let mut last = packet(30, Some((4, 30)));
        last.stamp.map_version = 7;
        assert!(gate.push(last).is_some());
        gate.advance(Epoch(0), MediaTime(30));
        let out = gate.release(false);
        assert!(out.iter().all(|p| p.stamp.segment == Some(SegmentNumber(4)) && p.stamp.map_version == 7));
        assert_eq!(out.len(), 2);
        assert_eq!(push(&mut gate, 50, Some((4, 30))), [(40, Some(4)), (50, Some(4))]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut gate = Gate::default();
        push(&mut gate, 10, Some((0, 10)));
        let out: usize = (0..2 * MOST as i64).map(|n| push(&mut gate, 20 + n, None).len()).sum();
        assert_eq!((out, gate.held().count()), (MOST, MOST));
    }
}

//! What waits to be written to one TCP connection.
//!
//! It is short on purpose: what a viewer is behind with waits in the stream's history, where it is held once for all
//! viewers and can still be dropped. Once sealed it can only be sent.

use std::collections::VecDeque;

use super::frames::HEADER;

/// Bytes up to which pictures are added. A quarter of a second of 4 Mbit/s.
pub(crate) const PICTURES: usize = 128 << 10;
/// Bytes up to which anything is added: sound, RTCP, STUN and DTLS go on where pictures have to wait.
pub(crate) const ANYTHING: usize = 192 << 10;
/// Memory that an empty outbox may keep.
const KEEP: usize = 16 << 10;

/// Frames in their order, as bytes of the stream.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: VecDeque<u8>,
}

impl Outbox {
    /// Adds a frame with its length in front. False when there is no room: it is lost, as a datagram might be.
    pub(crate) fn push(&mut self, frame: &[u8]) -> bool {
        let Ok(length) = u16::try_from(frame.len()) else { return false };
        if self.bytes.len() + HEADER + frame.len() > ANYTHING {
            return false;
        }
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(frame);
        true
    }

    /// How many bytes can be added below `limit`.
    pub(crate) fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.bytes.len())
    }

    /// Whether pictures that had to wait may go on. Not before half of it is empty: each time costs a visit.
    pub(crate) fn has_drained(&self) -> bool {
        self.bytes.len() <= PICTURES / 2
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What to write next.
    pub(crate) fn next(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// Takes away what was written of [`Self::next`].
    pub(crate) fn written(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP {
            self.bytes = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::Deframer;
    use super::*;

    #[test]
    fn frames_leave_whole_and_in_order_however_they_are_written() {
        let mut outbox = Outbox::default();
        let (mut deframer, mut came, mut sent) = (Deframer::default(), Vec::new(), Vec::new());
        for n in 0..2_000_usize {
            let frame = vec![n.to_be_bytes()[7]; n % 1_300 + 1];
            if outbox.push(&frame) {
                sent.push(frame);
            }
            let count = outbox.next().len().min(n % 1_100);
            let written = outbox.next()[..count].to_vec();
            outbox.written(count);
            deframer.push(&written, |frame| came.push(frame.to_vec())).unwrap();
        }
        while !outbox.is_empty() {
            let rest = outbox.next().to_vec();
            outbox.written(rest.len());
            deframer.push(&rest, |frame| came.push(frame.to_vec())).unwrap();
        }
        assert!(sent.len() < 2_000, "it was full for a while");
        assert_eq!(came, sent);
        assert!(outbox.bytes.capacity() <= KEEP, "an idle viewer costs nothing");
    }

    #[test]
    fn it_is_bounded_and_tells_its_room() {
        let mut outbox = Outbox::default();
        assert!(!outbox.push(&[0; 70_000]), "no frame has room for it");
        let frame = [1; 1_000];
        while outbox.room(PICTURES) >= HEADER + frame.len() {
            assert!(outbox.push(&frame));
        }
        assert!(!outbox.has_drained() && outbox.push(&frame), "what is no picture still gets in");
        let more = (0..10_000).filter(|_| outbox.push(&frame)).count();
        assert!(more < 80, "{more}");
        assert_eq!(outbox.room(PICTURES), 0);
        outbox.written(outbox.bytes.len() - PICTURES / 2);
        assert!(outbox.has_drained());
    }
}

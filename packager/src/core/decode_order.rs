//! Decode times. RTP has none; without B-frames they are the presentation times.
//!
//! With B-frames the i-th frame sent gets the (i - d)-th smallest presentation time, where d is how many frames the
//! stream holds back (its reorder depth): that time is known when the frame comes, never later than the frame's own, and
//! grows. Presentation times stay exact: the difference is written as the composition offset, signed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Deeper than H.264 allows (16) is a broken stream.
const DEEPEST: usize = 16;

/// Derives decode times, in ticks.
#[derive(Debug)]
pub struct DecodeOrder {
    depth: usize,
    held: BinaryHeap<Reverse<i64>>,
    first: i64,
    sent: usize,
    frame: i64,
    last: Option<i64>,
}

impl DecodeOrder {
    /// For frames that last about `frame` ticks.
    #[must_use]
    pub const fn new(frame: i64) -> Self {
        Self { depth: 0, held: BinaryHeap::new(), first: 0, sent: 0, frame, last: None }
    }

    /// The stream says how many frames it holds back.
    pub fn set_depth(&mut self, depth: usize) {
        self.depth = depth.min(DEEPEST);
    }

    /// Forgets the frames so far: the next one begins a timeline of its own.
    pub fn restart(&mut self) {
        self.held.clear();
        self.sent = 0;
        self.last = None;
    }

    /// The decode time of the next frame sent, to be shown at `presentation`; `given` is the source's own, where it has
    /// one. Always later than the one before.
    pub fn next(&mut self, presentation: i64, given: Option<i64>) -> i64 {
        let derived = given.unwrap_or_else(|| self.derive(presentation));
        let time = self.last.map_or(derived, |last| derived.max(last + 1));
        self.last = Some(time);
        time
    }

    fn derive(&mut self, presentation: i64) -> i64 {
        if self.sent == 0 {
            self.first = presentation;
        }
        // A frame to be shown before one that was already passed on: the stream holds back more than it said.
        let earliest = self.last.filter(|_| self.sent > 0);
        if earliest.is_some_and(|last| presentation < last) {
            self.depth = (self.depth + 1).min(DEEPEST);
        }
        self.held.push(Reverse(presentation));
        let index = self.sent;
        self.sent += 1;
        if self.held.len() > self.depth
            && let Some(Reverse(time)) = self.held.pop()
        {
            return time;
        }
        match self.last {
            // Only the first frames of a stream come before anything can be passed on.
            Some(last) if index >= self.depth => last + 1,
            _ => {
                let ahead = self.depth.saturating_sub(index);
                self.first - i64::try_from(ahead).unwrap_or(0) * self.frame
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_b_frames_decode_time_is_presentation_time() {
        let mut order = DecodeOrder::new(3_000);
        for time in [900_000, 903_012, 905_990, 999_999] {
            assert_eq!(order.next(time, None), time);
        }
    }

    #[test]
    fn with_b_frames_decode_times_grow_evenly_and_never_pass_the_presentation() {
        // I0 P3 B1 B2 P6 B4 B5, the middle B used as a reference would need depth 2: here 1 is enough.
        let mut order = DecodeOrder::new(100);
        order.set_depth(1);
        let shown = [0, 300, 100, 200, 600, 400, 500, 900, 700, 800];
        let decoded: Vec<i64> = shown.iter().map(|time| order.next(*time, None)).collect();
        assert_eq!(decoded, [-100, 0, 100, 200, 300, 400, 500, 600, 700, 800]);
        assert!(shown.iter().zip(&decoded).all(|(shown, decoded)| decoded <= shown));
    }

    #[test]
    fn a_stream_that_holds_back_more_than_it_said_is_followed() {
        let mut order = DecodeOrder::new(100);
        let shown = [0, 400, 200, 100, 300, 800, 600, 500, 700, 1_200, 1_000, 900, 1_100];
        let decoded: Vec<i64> = shown.iter().map(|time| order.next(*time, None)).collect();
        assert!(decoded.windows(2).all(|pair| pair[1] > pair[0]), "{decoded:?}");
        assert!(decoded[5..].iter().zip(&shown[5..]).all(|(decoded, shown)| decoded <= shown), "{decoded:?}");
    }

    #[test]
    fn the_sources_own_decode_time_is_taken() {
        let mut order = DecodeOrder::new(100);
        assert_eq!(order.next(200, Some(0)), 0);
        assert_eq!(order.next(500, Some(100)), 100);
        assert_eq!(order.next(300, Some(100)), 101, "but it must grow");
    }
}

//! The least room that there has been lately.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::budget::Amounts;

/// Remembers lows in pieces of a sixteenth of the window, so that however often the room changes there are few of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Lows {
    pieces: VecDeque<Piece>,
    /// The room since the last change.
    current: Option<Amounts>,
}

#[derive(Debug, Clone)]
struct Piece {
    first: Instant,
    last: Instant,
    least: Amounts,
}

const PIECES: u32 = 16;

impl Lows {
    /// The room is this from now on.
    pub(super) fn note(&mut self, now: Instant, room: Amounts, window: Duration) {
        // Until now it was the former: that belongs to the window that ends now, too.
        let least = self.current.map_or(room, |before| before.least(room));
        self.current = Some(room);
        let since = |at: Instant| now.saturating_duration_since(at);
        match self.pieces.back_mut() {
            Some(piece) if since(piece.first) < window / PIECES => {
                piece.last = now;
                piece.least = piece.least.least(least);
            }
            _ => self.pieces.push_back(Piece { first: now, last: now, least }),
        }
        while self.pieces.front().is_some_and(|piece| since(piece.last) > window) {
            self.pieces.pop_front();
        }
    }

    /// The least since the window began.
    pub(super) fn least(&self) -> Option<Amounts> {
        self.pieces.iter().map(|piece| piece.least).reduce(Amounts::least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewers(viewers: u64) -> Amounts {
        Amounts { viewers, bits: 1_000 - viewers, ..Amounts::default() }
    }

    #[test]
    fn a_low_is_remembered_for_the_window_and_in_each_amount() {
        let start = bicast_shared::clock::now();
        let window = Duration::from_secs(16);
        let mut lows = Lows::default();
        let mut at = |millis: u64, room: u64| {
            lows.note(start + Duration::from_millis(millis), viewers(room), window);
            let least = lows.least().unwrap();
            (least.viewers, least.bits)
        };
        assert_eq!(at(0, 5), (5, 995));
        assert_eq!(at(1_000, 2), (2, 995));
        // It was 2 until 9 s, and the window has to pass from there on.
        assert_eq!(at(9_000, 7), (2, 993));
        assert_eq!(at(25_000, 7), (2, 993));
        assert_eq!(at(26_001, 7), (7, 993));
    }

    #[test]
    fn few_pieces_are_kept_however_often_it_changes() {
        let start = bicast_shared::clock::now();
        let mut lows = Lows::default();
        for n in 0..100_000 {
            lows.note(start + Duration::from_micros(n * 100), viewers(n % 7), Duration::from_secs(1));
        }
        assert!(lows.pieces.len() <= 18, "{}", lows.pieces.len());
        assert_eq!(lows.least().unwrap().viewers, 0);
    }
}

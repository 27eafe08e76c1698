//! An even row of sound frames out of a track that is played over and over.
//!
//! A round is rarely a whole number of frames long. An encoder's row has no seams, so the frames of the row are a frame apart for ever,
//! and each is the one of the track that is nearest to its place: sound is never further from its picture than half a frame.

use bicast_shared::time::ClockRate;

use crate::core::looping::Loop;

/// The row: which frame of the track comes when.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    round: Loop,
    rate: ClockRate,
    /// Ticks of `rate` in a frame.
    frame: i64,
    /// Where the first frame of the track stands in a round: before its beginning where it is priming.
    first: i64,
    /// Frames in the track.
    count: i64,
    /// The round of the newest frame.
    k: u64,
}

impl Grid {
    /// The row of a track of `count` frames of `frame` ticks of `rate`, the first of them at `first`.
    #[must_use]
    pub fn new(round: Loop, rate: ClockRate, frame: u32, first: i64, count: usize) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Self { round, rate, frame: i64::from(frame).max(1), first, count, k: 0 }
    }

    /// When frame `n` of the row is played, in ticks.
    #[must_use]
    pub fn ticks(&self, n: u64) -> i64 {
        i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(self.frame)
    }

    /// Which frame of the track is frame `n` of the row; none where the track has nothing there. `n` must not go back.
    pub fn take(&mut self, n: u64) -> Option<usize> {
        let at = self.ticks(n);
        let half = self.frame / 2;
        while self.round.start(self.k + 1, self.rate) <= at.saturating_add(half) {
            self.k += 1;
        }
        let index = (at - self.round.start(self.k, self.rate) - self.first + half).div_euclid(self.frame);
        usize::try_from(index).ok().filter(|_| index < self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ClockRate = ClockRate::new(44_100);

    #[test]
    fn every_frame_is_within_half_a_frame_of_its_place_for_a_hundred_rounds() {
        // 5.28 s of picture, and sound that begins with 1024 samples of priming and ends a little later.
        let round = Loop::new(5_280, ClockRate::new(1_000));
        let length = round.start(1, RATE);
        let count = 230;
        let mut grid = Grid::new(round, RATE, 1_024, -1_024, count);
        let (mut before, mut seams) = (None, 0);
        for n in 0..22_739_u64 {
            let index = grid.take(n).unwrap();
            let place = round.start(grid.k, RATE) - 1_024 + i64::try_from(index).unwrap() * 1_024;
            assert!((place - grid.ticks(n)).abs() <= 512, "frame {n}");
            if before != index.checked_sub(1) {
                assert_eq!(index, 1, "priming is never sent");
                seams += 1;
            }
            before = Some(index);
        }
        // The first one counts.
        assert_eq!((grid.k, seams), (99, 100), "{length}");
    }

    #[test]
    fn where_the_track_has_nothing_there_is_none() {
        let round = Loop::new(10 * 1_024, RATE);
        let mut grid = Grid::new(round, RATE, 1_024, 2_048, 5);
        let row: Vec<_> = (0..20).map(|n| grid.take(n)).collect();
        let one = [None, None, Some(0), Some(1), Some(2), Some(3), Some(4), None, None, None];
        assert_eq!(row, [one, one].concat());
    }
}

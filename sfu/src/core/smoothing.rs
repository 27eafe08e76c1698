//! How long one viewer's player is asked to hold pictures back (the playout-delay extension): not at all on a good line; on one that
//! loses, as long as packets that are sent again need to come. A picture that is shown at once has no time to be repaired: behind 5 %
//! loss it stands still for a fifth of a second some times a minute.

use std::time::{Duration, Instant};

/// From this share of packets asked for again on a line loses.
const LOSSY: f64 = 0.01;
/// Seconds in a row that it has to: a browser that joins may ask for hundreds of packets once.
const SECONDS: u32 = 2;
/// Packets in a second below which a share says nothing.
const ENOUGH: u64 = 30;
/// How long a line has to be good before pictures are shown at once again: each change is seen.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// A packet may be lost and the next two answers to its NACK, too.
const ROUNDS: u32 = 3;
/// Between the loss and the NACK: browsers look for gaps every 20 ms.
const NOTICED: Duration = Duration::from_millis(20);
const SHORTEST: Duration = Duration::from_millis(60);
const LONGEST: Duration = Duration::from_millis(500);
/// Differences that are not worth a change.
const SLACK: Duration = Duration::from_millis(40);

/// What one viewer is asked for.
#[derive(Debug, Default)]
pub(crate) struct Smoothing {
    delay: Duration,
    /// Packets sent and asked for at the last look.
    seen: (u64, u64),
    lossy_seconds: u32,
    lossy_at: Option<Instant>,
}

impl Smoothing {
    /// Looks at the counts of packets sent and asked for again, once a second. Tells the delay where it changes.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        packets: u64,
        asked: u64,
        round_trip: Option<Duration>,
    ) -> Option<Duration> {
        let (sent, lost) = (packets.saturating_sub(self.seen.0), asked.saturating_sub(self.seen.1));
        self.seen = (packets, asked);
        let lossy = sent >= ENOUGH && lost as f64 >= sent as f64 * LOSSY;
        self.lossy_seconds = if lossy { self.lossy_seconds + 1 } else { 0 };
        if self.lossy_seconds >= SECONDS {
            self.lossy_at = Some(now);
            let round = round_trip.unwrap_or(SHORTEST) + NOTICED;
            let wanted = (round * ROUNDS).clamp(SHORTEST, LONGEST);
            if wanted.abs_diff(self.delay) > SLACK {
                self.delay = wanted;
                return Some(wanted);
            }
        } else if !lossy && self.lossy_at.is_some_and(|at| now.saturating_duration_since(at) >= GOOD_FOR) {
            self.lossy_at = None;
            self.delay = Duration::ZERO;
            return Some(Duration::ZERO);
        }
        None
    }

    /// What is asked for now.
    pub(crate) const fn delay(&self) -> Duration {
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Option<Duration> = Some(Duration::from_millis(50));

    /// What is told in each of these seconds, in milliseconds: 300 packets each, of which so many are asked for again.
    fn told(smoothing: &mut Smoothing, lost: &[u64], from: u64, start: Instant) -> Vec<Option<u128>> {
        let (mut packets, mut asked) = smoothing.seen;
        let seconds = lost.iter().zip(from..);
        seconds
            .map(|(lost, second)| {
                packets += 300;
                asked += lost;
                let delay = smoothing.tick(start + Duration::from_secs(second), packets, asked, FAR);
                delay.map(|delay| delay.as_millis())
            })
            .collect()
    }

    #[test]
    fn a_line_that_loses_has_time_for_three_rounds_and_gives_it_back_when_it_is_good() {
        let start = bicast_shared::clock::now();
        let mut smoothing = Smoothing::default();
        assert_eq!(
            told(&mut smoothing, &[0, 900, 0, 2, 2], 0, start),
            [None; 5],
            "a burst, and next to nothing"
        );
        assert_eq!(told(&mut smoothing, &[15, 15, 15], 5, start), [None, Some(210), None]);
        assert_eq!(told(&mut smoothing, &[0; 29], 8, start), [None; 29]);
        assert_eq!(told(&mut smoothing, &[15, 0, 15], 37, start), [None, Some(0), None], "half a minute");
        assert_eq!(smoothing.delay(), Duration::ZERO);
    }

    #[test]
    fn the_delay_is_bounded_and_small_differences_are_left_alone() {
        let start = bicast_shared::clock::now();
        let mut smoothing = Smoothing::default();
        let mut at = |second: u64, round_trip| {
            smoothing.tick(start + Duration::from_secs(second), second * 300, second * 30, round_trip)
        };
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(at(1, ms(40)), None);
        assert_eq!(at(2, ms(40)), ms(180));
        assert_eq!(at(3, ms(50)), None);
        assert_eq!(at(4, ms(90)), ms(330));
        assert_eq!(at(5, ms(60_000)), ms(500));
        assert_eq!(at(6, ms(0)), ms(60));
    }
}

//! Counts and distributions of many viewers, small enough to be handed on every second.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// A distribution of times, in steps of 0.1 %.
#[derive(Debug, Clone, Default)]
pub struct Spread(Option<Histogram<u64>>);

/// Nothing measured here takes longer, in microseconds.
const LONGEST: u64 = 600_000_000;

impl Spread {
    /// Adds a time.
    pub fn record(&mut self, time: Duration) {
        let histogram = self.0.take().or_else(|| Histogram::new_with_bounds(1, LONGEST, 3).ok());
        self.0 = histogram.map(|mut histogram| {
            histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST).max(1));
            histogram
        });
    }

    /// Adds another distribution.
    pub fn add(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            // Both have the same bounds, so that it cannot fail.
            (Some(own), Some(other)) => drop(own.add(other)),
            (None, Some(other)) => self.0 = Some(other.clone()),
            _ => {}
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The time below which this share of them is; none of none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        Some(Duration::from_micros(histogram.value_at_quantile(share)))
    }
}

/// What viewers have counted since the last tally was taken.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// RTP packets of media streams, each number once.
    pub packets: u64,
    /// Their bytes, as UDP payload.
    pub bytes: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after they had been asked for.
    pub repaired: u64,
    /// Packets that came late, unasked.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets in retransmission streams.
    pub retransmissions: u64,
    /// RTP packets that belong to nothing that was agreed, or came before the keys.
    pub unknown: u64,
    /// Packets opened and found authentic.
    pub authenticated: u64,
    /// Packets opened and found forged or damaged.
    pub forged: u64,
    /// Packets asked for again (NACK), each question.
    pub asked: u64,
    /// Keyframes asked for (PLI).
    pub keyframes_asked: u64,
    /// From the POST to the SRTP keys.
    pub connect: Spread,
    /// From the POST to the first complete keyframe.
    pub keyframe: Spread,
    /// From the POST to the first complete frame after it.
    pub moving: Spread,
    /// From the sending of the synthetic feed's packets to their arrival, while the run is steady.
    pub latency: Spread,
    /// Viewers that are over, by reason.
    pub over: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.repaired += other.repaired;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.retransmissions += other.retransmissions;
        self.unknown += other.unknown;
        self.authenticated += other.authenticated;
        self.forged += other.forged;
        self.asked += other.asked;
        self.keyframes_asked += other.keyframes_asked;
        self.connect.add(&other.connect);
        self.keyframe.add(&other.keyframe);
        self.moving.add(&other.moving);
        self.latency.add(&other.latency);
        for (why, count) in &other.over {
            *self.over.entry(why).or_default() += count;
        }
    }

    /// Notes a viewer that is over.
    pub fn end(&mut self, why: &'static str) {
        *self.over.entry(why).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_add_up() {
        let (mut a, mut b) = (Spread::default(), Spread::default());
        assert_eq!(a.quantile(0.5), None);
        (1..=50).for_each(|ms| a.record(Duration::from_millis(ms)));
        (51..=100).for_each(|ms| b.record(Duration::from_millis(ms)));
        let mut sum = Spread::default();
        sum.add(&a);
        sum.add(&b);
        sum.add(&Spread::default());
        assert_eq!(sum.count(), 100);
        let near = |share: f64, ms: f64| {
            let found = sum.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((found - ms).abs() < ms * 0.002, "{share}: {found}");
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
        near(1.0, 100.0);
        sum.record(Duration::from_secs(10_000));
        assert!(sum.quantile(1.0).unwrap() >= Duration::from_secs(600), "held at the bound, not lost");
    }

    #[test]
    fn tallies_add_up() {
        let mut a = Tally { packets: 3, ..Tally::default() };
        a.end("x");
        let mut sum = Tally::default();
        sum.add(&a);
        sum.add(&a);
        assert_eq!((sum.packets, sum.over["x"]), (6, 2));
    }
}

//! How fast one viewer may be given packets that are not live: the stored group of pictures and retransmissions.

use std::time::{Duration, Instant};

/// 4 packets a millisecond: 38 Mbit/s, at which no packet was lost in a browser's socket buffer. Half of it made the
/// viewer's jitter buffer believe in a slow network. A feed of more than half of it is given twice its rate: who joins would
/// never catch up otherwise.
const PER_MILLISECOND: u64 = 4;
/// Milliseconds that a late timer may catch up with: the largest burst.
const BURST: u64 = 8;

/// A token bucket of packets.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Up to when tokens were given out.
    since: Option<Instant>,
    tokens: u64,
}

impl Pacer {
    pub(crate) const fn new() -> Self {
        Self { since: None, tokens: BURST * PER_MILLISECOND }
    }

    /// How many packets may be sent now of streams that have `rate` packets a second.
    pub(crate) fn available(&mut self, now: Instant, rate: u64) -> usize {
        let since = *self.since.get_or_insert(now);
        let millis = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            self.since = Some(since + Duration::from_millis(millis));
            let pace = PER_MILLISECOND.max(rate.saturating_mul(2) / 1_000);
            self.tokens = (BURST * pace).min(self.tokens.saturating_add(millis.saturating_mul(pace)));
        }
        usize::try_from(self.tokens).unwrap_or(usize::MAX)
    }

    /// Takes tokens for packets sent.
    pub(crate) fn spend(&mut self, packets: usize) {
        self.tokens = self.tokens.saturating_sub(packets as u64);
    }
}

/// How many retransmissions one viewer gets: a viewer that asks for everything again is not served twice.
#[derive(Debug)]
pub(crate) struct RepairBudget {
    since: Option<Instant>,
    tokens: u64,
}

impl RepairBudget {
    /// One NACK can ask for 1,000 packets; more than 500 a second for long is a path that cannot carry the stream.
    const BURST: u64 = 1_500;
    const PER_SECOND: u64 = 500;

    pub(crate) const fn new() -> Self {
        Self { since: None, tokens: Self::BURST }
    }

    /// Takes one token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let millis = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        let gained = millis.saturating_mul(Self::PER_SECOND) / 1_000;
        if gained > 0 {
            self.since = Some(now);
            self.tokens = Self::BURST.min(self.tokens.saturating_add(gained));
        }
        let ok = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_packets_a_millisecond_and_a_bounded_burst() {
        let start = bicast_shared::clock::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pacer = Pacer::new();
        let mut sent = 0;
        for ms in 0..=500 {
            let count = pacer.available(at(ms), 300);
            assert!(count <= 32);
            pacer.spend(count);
            sent += count;
        }
        assert_eq!(sent, 32 + 2_000);
        assert_eq!(pacer.available(at(10_000), 300), 32, "a pause is not saved up");
    }

    #[test]
    fn a_fast_feed_is_caught_up_with() {
        let start = bicast_shared::clock::now();
        let mut pacer = Pacer::new();
        let mut sent = 0;
        for ms in 0..=1_000 {
            let count = pacer.available(start + Duration::from_millis(ms), 6_000);
            pacer.spend(count);
            sent += count;
        }
        assert_eq!(sent, 32 + 12_000, "twice its rate");
    }

    #[test]
    fn a_greedy_viewer_is_held_to_its_budget() {
        let start = bicast_shared::clock::now();
        let mut budget = RepairBudget::new();
        let served = (0..10_000_u64).filter(|n| budget.take(start + Duration::from_micros(n * 200))).count();
        assert!((2_400..=2_501).contains(&served), "{served} in 2 s");
    }
}

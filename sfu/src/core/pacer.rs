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
}

//! How much of something one peer may have.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What a [`TokenBucket`] gains and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) per_second: u64,
    pub(crate) burst: u64,
}

/// A token bucket. Full at first.
#[derive(Debug, Default)]
pub(crate) struct TokenBucket {
    /// Up to when tokens were given out, and how many there are; none before the first.
    level: Option<(Instant, u64)>,
}

impl TokenBucket {
    /// Takes a token, if there is one. The allowance may change from one to the next.
    pub(crate) fn take(&mut self, now: Instant, allowance: Allowance) -> bool {
        let Allowance { per_second, burst } = allowance;
        let (since, tokens) = self.level.unwrap_or((now, burst));
        let nanos = u64::try_from(now.saturating_duration_since(since).as_nanos()).unwrap_or(u64::MAX);
        let gained = u128::from(nanos) * u128::from(per_second) / 1_000_000_000;
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        // What does not make a whole token yet is not lost.
        let since = if gained > 0 {
            since + Duration::from_nanos(gained.saturating_mul(1_000_000_000) / per_second.max(1))
        } else {
            since
        };
        let tokens = tokens.saturating_add(gained).min(burst);
        self.level = Some((since, tokens.saturating_sub(1)));
        tokens > 0
    }
}

/// Limits what single addresses have done for them, for work that is done before anybody knows whether they are honest.
/// Counts in windows of a second; the oldest of many addresses are not looked for.
#[derive(Debug, Default)]
pub(crate) struct PerAddress {
    began: Option<Instant>,
    counts: HashMap<SocketAddr, u32>,
}

impl PerAddress {
    /// Addresses counted in a window. Those beyond it pass: who can send from as many is not held by counting.
    const MAX: usize = 4_096;
    const WINDOW: Duration = Duration::from_secs(1);

    /// Counts one from `address`, and tells whether it is within `limit` this second.
    pub(crate) fn may_pass(&mut self, now: Instant, address: SocketAddr, limit: u32) -> bool {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= Self::WINDOW) {
            self.began = Some(now);
            self.counts.clear();
        }
        if self.counts.len() >= Self::MAX && !self.counts.contains_key(&address) {
            return true;
        }
        let count = self.counts.entry(address).or_default();
        *count = count.saturating_add(1);
        *count <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Allowance = Allowance { per_second: 3, burst: 2 };

    #[test]
    fn a_burst_then_the_rate_and_no_fraction_is_lost() {
        let start = bicast_shared::clock::now();
        let mut bucket = TokenBucket::default();
        let taken: Vec<bool> = (0..4).map(|_| bucket.take(start, SLOW)).collect();
        assert_eq!(taken, [true, true, false, false]);
        // Asked far more often than it gains.
        let of_ten_seconds =
            (1..=100_000_u64).filter(|n| bucket.take(start + Duration::from_micros(n * 100), SLOW));
        assert_eq!(of_ten_seconds.count(), 30);
    }

    #[test]
    fn a_pause_is_worth_a_burst_and_not_more() {
        let start = bicast_shared::clock::now();
        let mut bucket = TokenBucket::default();
        assert!(bucket.take(start, SLOW));
        let later = start + Duration::from_secs(1_000_000_000);
        assert_eq!((0..10).filter(|_| bucket.take(later, SLOW)).count(), 2);
        let nothing = Allowance { per_second: 0, burst: 0 };
        assert!(!TokenBucket::default().take(start, nothing));
    }

    #[test]
    fn one_address_is_held_others_pass_and_the_table_is_bounded() {
        let start = bicast_shared::clock::now();
        let address = |n: u16| SocketAddr::from(([192, 0, 2, 1], n));
        let mut gate = PerAddress::default();
        assert_eq!((0..100).filter(|_| gate.may_pass(start, address(1), 10)).count(), 10);
        assert!(gate.may_pass(start, address(2), 10));
        assert!(gate.may_pass(start + Duration::from_secs(1), address(1), 10), "another second");
        for n in 0..=u16::MAX {
            gate.may_pass(start + Duration::from_secs(1), address(n), 10);
        }
        assert_eq!(gate.counts.len(), PerAddress::MAX);
    }
}

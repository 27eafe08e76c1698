//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits that double from half a second to eight.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);
/// A session that lasted this long was a good one: what follows is a new trouble, not the old one.
const GOOD: Duration = Duration::from_secs(10);

impl Backoff {
    /// The wait after an attempt that was connected for `lasted`. `jitter` (0 to 1) spreads publishers that lost the
    /// same server: they come back within a quarter of the wait of each other. A server that says when (`Retry-After`)
    /// is obeyed.
    pub fn after(&mut self, lasted: Duration, asked: Option<Duration>, jitter: f64) -> Duration {
        if lasted >= GOOD {
            self.failures = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.failures.min(8)).min(LONGEST);
        self.failures += 1;
        let wait = wait.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0));
        asked.map_or(wait, |asked| asked.clamp(wait, Duration::from_secs(60)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_eight_seconds_and_start_over_after_a_good_session() {
        let mut backoff = Backoff::default();
        let mut next = |lasted| backoff.after(Duration::from_secs(lasted), None, 0.0).as_millis();
        assert_eq!(
            [next(0), next(0), next(1), next(0), next(0), next(0)],
            [500, 1_000, 2_000, 4_000, 8_000, 8_000]
        );
        assert_eq!([next(60), next(0)], [500, 1_000]);
    }

    #[test]
    fn a_server_that_says_when_is_obeyed_within_reason() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(Duration::ZERO, Some(Duration::from_secs(5)), 0.5), Duration::from_secs(5));
        assert_eq!(
            backoff.after(Duration::ZERO, Some(Duration::from_secs(9_999)), 0.0),
            Duration::from_secs(60)
        );
        assert_eq!(backoff.after(Duration::ZERO, None, 1.0), Duration::from_millis(1_500));
    }
}

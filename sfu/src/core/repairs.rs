//! What one viewer asked to be sent again (RFC 4585, generic NACK): in the order asked, each packet once per round trip, and no
//! more than its streams are worth.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::bucket::{Allowance, TokenBucket};

/// Packets that wait to be sent again; more are not remembered, the viewer asks again. A browser may ask for 1,000 at once.
const WAITING: usize = 1_024;
/// The shortest round trip that is believed: a NACK that crosses the packet on its way asks in vain.
const ROUND_TRIP: Duration = Duration::from_millis(10);
/// The longest: a viewer that reports nonsense must still get its packets.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(500);
/// How often what was sent again is forgotten.
const MEMORY: Duration = Duration::from_secs(1);

/// Number of the viewer's track, and the packet's extended sequence number there.
pub(crate) type Wanted = (usize, i64);

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    waiting: VecDeque<Wanted>,
    budget: TokenBucket,
    /// Those that were granted lately.
    granted: HashMap<Wanted, Granted>,
    cleaned: Option<Instant>,
    counts: Counts,
}

/// When a wish was granted last, and whether that was because what was sent before had not come.
#[derive(Debug, Clone, Copy)]
struct Granted {
    at: Instant,
    again: bool,
}

/// What became of the packets that a viewer missed, each counted once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Packets that it asked for.
    pub(crate) missing: u64,
    /// Of these, packets that it asked for again a round trip after they had been sent again.
    pub(crate) late: u64,
}

/// What an asking viewer has at most, of streams that have `rate` packets a second: each of them once more.
fn allowance(rate: u64) -> Allowance {
    Allowance { per_second: rate.max(100), burst: rate.saturating_mul(2).max(1_000) }
}

impl Repairs {
    /// Takes a wish. `rate` is the packets that the viewer's streams have each second. False where the viewer has had what it may,
    /// or too many wishes wait.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        wanted: Wanted,
        rate: u64,
        round_trip: Option<Duration>,
    ) -> bool {
        if self.cleaned.is_none_or(|at| now.saturating_duration_since(at) >= MEMORY) {
            self.cleaned = Some(now);
            self.granted.retain(|_, granted| now.saturating_duration_since(granted.at) < LONGEST_ROUND_TRIP);
        }
        let patience = round_trip.unwrap_or(ROUND_TRIP).clamp(ROUND_TRIP, LONGEST_ROUND_TRIP);
        let granted = self.granted.get(&wanted).copied();
        if granted.is_some_and(|granted| now.saturating_duration_since(granted.at) < patience) {
            return true;
        }
        self.counts.missing += u64::from(granted.is_none());
        self.counts.late += u64::from(granted.is_some_and(|granted| !granted.again));
        let before = self.waiting.len();
        // What was lost twice is sent twice: there is no time for many more rounds.
        for _ in 0..1 + usize::from(granted.is_some()) {
            if self.waiting.len() < WAITING && self.budget.take(now, allowance(rate)) {
                self.granted.insert(wanted, Granted { at: now, again: granted.is_some() });
                self.waiting.push_back(wanted);
            }
        }
        self.waiting.len() > before
    }

    /// What became of the packets that it missed.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// The one whose turn it is.
    pub(crate) fn first(&self) -> Option<Wanted> {
        self.waiting.front().copied()
    }

    /// That one is done with.
    pub(crate) fn done(&mut self) {
        self.waiting.pop_front();
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(repairs: &mut Repairs) -> Vec<i64> {
        let mut all = Vec::new();
        while let Some((_, sequence)) = repairs.first() {
            all.push(sequence);
            repairs.done();
        }
        all
    }

    #[test]
    fn a_packet_on_its_way_is_not_sent_again_before_it_can_have_come() {
        let start = bicast_shared::clock::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut repairs = Repairs::default();
        let far = Some(Duration::from_millis(100));
        for (ms, sequence) in [(0, 1), (20, 1), (20, 2), (99, 1), (100, 1)] {
            repairs.ask(after(ms), (0, sequence), 300, far);
        }
        assert_eq!(drain(&mut repairs), [1, 2, 1, 1], "and what was lost again is sent twice");
        repairs.ask(after(100), (1, 1), 300, far);
        assert_eq!(drain(&mut repairs), [1], "of another track");
        repairs.ask(after(605), (0, 2), 300, Some(Duration::from_secs(3_600)));
        assert_eq!(drain(&mut repairs), [2, 2], "a round trip of an hour is nonsense");
    }

    #[test]
    fn a_missing_packet_is_counted_once_and_once_more_where_its_repair_did_not_come() {
        let start = bicast_shared::clock::now();
        let mut repairs = Repairs::default();
        let round_trip = Some(Duration::from_millis(50));
        let mut ask = |ms, sequence| {
            repairs.ask(start + Duration::from_millis(ms), (0, sequence), 300, round_trip);
            repairs.counts()
        };
        assert_eq!(ask(0, 1), Counts { missing: 1, late: 0 });
        assert_eq!(ask(20, 1), Counts { missing: 1, late: 0 }, "it is on its way");
        assert_eq!(ask(60, 1), Counts { missing: 1, late: 1 });
        assert_eq!(ask(120, 1), Counts { missing: 1, late: 1 }, "and late once");
        assert_eq!(ask(130, 2), Counts { missing: 2, late: 1 });
    }

    #[test]
    fn who_asks_for_everything_for_ever_gets_its_streams_once_more_and_nothing_grows() {
        let start = bicast_shared::clock::now();
        let mut repairs = Repairs::default();
        let (mut sent, mut refused) = (0, 0);
        // 60 s, 5,000 wishes each.
        for n in 0..300_000_u64 {
            let sequence = i64::try_from(n % 2_000).unwrap_or(0);
            let taken = repairs.ask(start + Duration::from_micros(n * 200), (0, sequence), 300, None);
            refused += usize::from(!taken);
            sent += drain(&mut repairs).len();
            assert!(repairs.granted.len() <= 2_000);
        }
        assert!((18_900..=19_100).contains(&sent), "{sent}: the burst and 300 a second");
        assert!(refused > 280_000, "{refused}: the others are told of");
    }

    #[test]
    fn a_thousand_at_once_are_taken_and_no_more_than_the_queue_holds() {
        let now = bicast_shared::clock::now();
        let mut repairs = Repairs::default();
        assert!((0..1_000).all(|sequence| repairs.ask(now, (0, sequence), 300, None)));
        assert_eq!(repairs.len(), 1_000);
        let mut repairs = Repairs::default();
        let taken = (0..9_000).filter(|sequence| repairs.ask(now, (0, *sequence), 100_000, None)).count();
        assert_eq!(taken, WAITING);
        assert_eq!(repairs.len(), WAITING);
        repairs.clear();
        assert!(repairs.is_empty());
    }
}

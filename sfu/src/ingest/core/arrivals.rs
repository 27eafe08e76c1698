//! One stream's sequence numbers: what is new, what came twice, what is missing and when to ask for it again.
//!
//! Nothing is held back: a packet goes on as soon as it is known to be new. Asking (NACK) waits a moment for packets that
//! were only overtaken, repeats once per round trip, and gives up when the packet would come too late for any viewer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How far back a packet is still taken, in sequence numbers: 3 s of a 5 Mbit/s video.
const WINDOW: i64 = 2_048;
/// A larger jump is a new beginning, not a loss (RFC 3550, A.1 has 3,000; a 5 Mbit/s video has 500 a second).
const MAX_GAP: i64 = 1_000;
/// Consecutive packets from far behind after which their numbering is believed.
const RESTART_AFTER: u32 = 5;
/// Packets that are asked for at a time. More are lost to a cut line, and a keyframe is cheaper.
const MAX_MISSING: usize = 400;
/// Time for an overtaken packet to come by itself.
const REORDER: Duration = Duration::from_millis(10);
/// How often a packet is asked for.
const MAX_TRIES: u8 = 10;
/// Age at which a missing packet is given up.
const GIVE_UP: Duration = Duration::from_millis(1_000);

/// What a packet is to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Seen for the first time.
    New,
    /// It was missing and had been asked for.
    Recovered,
    /// Seen before.
    Duplicate,
    /// From so far back that nobody waits for it.
    TooOld,
}

/// The sequence numbers of one stream.
#[derive(Debug)]
pub(crate) struct Arrivals {
    highest: Option<i64>,
    /// Bit n: whether the packet with sequence number = n modulo the window was seen.
    seen: Box<[u64; (WINDOW / 64) as usize]>,
    missing: BTreeMap<i64, Missing>,
    behind: (u32, u16),
    rtt: Option<Duration>,
    lost: u64,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    since: Instant,
    asked: Option<Instant>,
    tries: u8,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Self {
            highest: None,
            seen: Box::new([0; (WINDOW / 64) as usize]),
            missing: BTreeMap::new(),
            behind: (0, 0),
            rtt: None,
            lost: 0,
        }
    }

    /// Takes note of a packet.
    pub(crate) fn arrive(&mut self, now: Instant, sequence_number: u16) -> Arrival {
        let Some(highest) = self.highest else {
            // One round up, so that packets from before the first one have positive numbers too.
            self.restart(i64::from(sequence_number) + 65_536);
            return Arrival::New;
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^16 is meant")]
        let ahead = i64::from(sequence_number.wrapping_sub(highest as u16).cast_signed());
        let sequence = highest + ahead;
        if ahead <= -WINDOW {
            return self.take_far_behind(sequence_number, sequence);
        }
        if ahead > 0 {
            if ahead > MAX_GAP {
                self.lost += ahead.unsigned_abs() - 1;
                self.restart(sequence);
                return Arrival::New;
            }
            self.advance(now, highest, sequence);
            return Arrival::New;
        }
        if self.mark(sequence) {
            return Arrival::Duplicate;
        }
        match self.missing.remove(&sequence) {
            Some(Missing { asked: Some(asked), tries, .. }) => {
                // After a repetition nobody knows which request was answered (Karn's rule).
                if tries == 1 {
                    let sample = now.saturating_duration_since(asked);
                    self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
                }
                Arrival::Recovered
            }
            _ => Arrival::New,
        }
    }

    /// The sequence numbers to ask for now.
    pub(crate) fn poll_nacks(&mut self, now: Instant) -> Vec<u16> {
        let retry = self.retry();
        let mut due = Vec::new();
        let mut lost = 0;
        self.missing.retain(|sequence, missing| {
            if now.saturating_duration_since(missing.since) >= GIVE_UP || missing.tries >= MAX_TRIES {
                lost += 1;
                return false;
            }
            if now >= missing.due(retry) {
                missing.asked = Some(now);
                missing.tries += 1;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "modulo 2^16 is meant"
                )]
                due.push(*sequence as u16);
            }
            true
        });
        self.lost += lost;
        due
    }

    /// When [`Self::poll_nacks`] has something to do next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let retry = self.retry();
        self.missing.values().map(|missing| missing.due(retry).min(missing.since + GIVE_UP)).min()
    }

    /// Packets that never came.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Round trip to the publisher as its repairs show it.
    pub(crate) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    fn retry(&self) -> Duration {
        let (least, most) = (Duration::from_millis(40), Duration::from_millis(250));
        self.rtt.map_or(Duration::from_millis(60), |rtt| (rtt + Duration::from_millis(20)).clamp(least, most))
    }

    fn advance(&mut self, now: Instant, highest: i64, sequence: i64) {
        for skipped in highest + 1..sequence {
            self.clear(skipped);
            self.missing.insert(skipped, Missing { since: now, asked: None, tries: 0 });
        }
        if self.missing.len() > MAX_MISSING {
            self.lost += self.missing.len() as u64;
            self.missing.clear();
        }
        self.clear(sequence);
        self.mark(sequence);
        self.highest = Some(sequence);
        self.behind.0 = 0;
    }

    fn take_far_behind(&mut self, sequence_number: u16, sequence: i64) -> Arrival {
        let (count, last) = self.behind;
        let in_order = sequence_number == last.wrapping_add(1);
        self.behind = (if in_order { count + 1 } else { 1 }, sequence_number);
        if self.behind.0 < RESTART_AFTER {
            return Arrival::TooOld;
        }
        self.restart(sequence + 65_536);
        Arrival::New
    }

    fn restart(&mut self, sequence: i64) {
        self.lost += self.missing.len() as u64;
        self.missing.clear();
        self.seen.fill(0);
        self.behind.0 = 0;
        self.highest = Some(sequence);
        self.mark(sequence);
    }

    /// Marks a number as seen and tells whether it was before.
    fn mark(&mut self, sequence: i64) -> bool {
        let (word, bit) = Self::place(sequence);
        let before = self.seen[word] & bit != 0;
        self.seen[word] |= bit;
        before
    }

    fn clear(&mut self, sequence: i64) {
        let (word, bit) = Self::place(sequence);
        self.seen[word] &= !bit;
    }

    fn place(sequence: i64) -> (usize, u64) {
        let index = sequence.rem_euclid(WINDOW);
        (usize::try_from(index / 64).unwrap_or(0), 1 << (index % 64))
    }
}

impl Missing {
    fn due(&self, retry: Duration) -> Instant {
        self.asked.map_or(self.since + REORDER, |asked| asked + retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        bicast_shared::clock::now()
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn an_overtaken_packet_is_not_asked_for() {
        let (t, mut stream) = (start(), Arrivals::new());
        stream.arrive(t, 10);
        stream.arrive(t, 12);
        assert_eq!(stream.poll_timeout(), Some(t + ms(10)));
        assert_eq!(stream.poll_nacks(t + ms(5)), [0_u16; 0]);
        assert_eq!(stream.arrive(t + ms(5), 11), Arrival::New);
        assert_eq!((stream.poll_timeout(), stream.lost()), (None, 0));
    }

    #[test]
    fn a_missing_packet_is_asked_for_once_per_round_trip_and_given_up_after_a_second() {
        let (t, mut stream) = (start(), Arrivals::new());
        stream.arrive(t, 65_535);
        stream.arrive(t, 2);
        assert_eq!(stream.poll_nacks(t + ms(10)), [0, 1]);
        assert_eq!(stream.poll_nacks(t + ms(50)), [0_u16; 0]);
        assert_eq!(stream.arrive(t + ms(30), 0), Arrival::Recovered);
        assert_eq!(stream.rtt(), Some(ms(20)));
        assert_eq!(stream.poll_nacks(t + ms(50)), [1], "20 ms + 20 ms after the first");
        let mut asked = 2;
        for n in 51..2_000 {
            asked += stream.poll_nacks(t + ms(n)).len();
        }
        assert_eq!((asked, stream.lost()), (usize::from(MAX_TRIES), 1));
        assert_eq!(stream.poll_timeout(), None);
    }

    #[test]
    fn duplicates_are_told_within_the_window_and_across_the_wrap() {
        let (t, mut stream) = (start(), Arrivals::new());
        for n in 0..5_000_u16 {
            assert_eq!(stream.arrive(t, n.wrapping_add(64_000)), Arrival::New, "{n}");
            assert_eq!(stream.arrive(t, n.wrapping_add(64_000)), Arrival::Duplicate);
        }
        assert_eq!(stream.arrive(t, 64_000_u16.wrapping_add(4_999 - 2_047)), Arrival::Duplicate);
        assert_eq!(stream.arrive(t, 64_000_u16.wrapping_add(4_999 - 2_048)), Arrival::TooOld);
        assert_eq!(stream.lost(), 0);
    }

    #[test]
    fn packets_from_before_the_first_are_new_once() {
        let (t, mut stream) = (start(), Arrivals::new());
        stream.arrive(t, 0);
        assert_eq!(stream.arrive(t, 65_535), Arrival::New);
        assert_eq!(stream.arrive(t, 65_535), Arrival::Duplicate);
    }

    #[test]
    fn a_jump_is_a_new_beginning_in_both_directions() {
        let (t, mut stream) = (start(), Arrivals::new());
        stream.arrive(t, 100);
        assert_eq!(stream.arrive(t, 20_000), Arrival::New);
        assert_eq!(stream.poll_timeout(), None, "nobody asks for 19,899 packets");
        for n in 0..4 {
            assert_eq!(stream.arrive(t, 7_000 + n), Arrival::TooOld);
        }
        assert_eq!(stream.arrive(t, 7_004), Arrival::New);
        assert_eq!(stream.arrive(t, 7_005), Arrival::New);
        assert_eq!(stream.arrive(t, 7_005), Arrival::Duplicate);
    }

    #[test]
    fn a_cut_line_does_not_ask_for_everything() {
        let (t, mut stream) = (start(), Arrivals::new());
        stream.arrive(t, 0);
        stream.arrive(t, 900);
        assert_eq!(stream.poll_nacks(t + ms(10)), [0_u16; 0]);
        assert_eq!(stream.lost(), 899);
    }
}

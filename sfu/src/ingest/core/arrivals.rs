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
/// Age at which it is given up where nobody can be asked for it: only overtaken packets still come.
const GIVE_UP_UNASKED: Duration = Duration::from_millis(30);
/// Age, or three round trips if that is more, at which asking is taken to have failed: the picture has been broken long
/// enough for a keyframe to be the quicker cure, although the packet is still asked for.
const STALLED: Duration = Duration::from_millis(250);

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
    stalls: u64,
    /// Whether the sender can be asked (NACK).
    asks: bool,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    since: Instant,
    asked: Option<Instant>,
    tries: u8,
    stalled: bool,
}

impl Arrivals {
    /// `asks` says whether the sender answers NACKs.
    pub(crate) fn new(asks: bool) -> Self {
        Self {
            highest: None,
            seen: Box::new([0; (WINDOW / 64) as usize]),
            missing: BTreeMap::new(),
            behind: (0, 0),
            rtt: None,
            lost: 0,
            stalls: 0,
            asks,
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
                self.stalls += 1;
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
        let (retry, give_up, stalled) = (self.retry(), self.give_up(), self.stalled_after());
        let asks = self.asks;
        let mut due = Vec::new();
        let (mut lost, mut stalls) = (0, 0);
        self.missing.retain(|sequence, missing| {
            let age = now.saturating_duration_since(missing.since);
            if age >= give_up || missing.tries >= MAX_TRIES {
                lost += 1;
                stalls += u64::from(!missing.stalled);
                return false;
            }
            if age >= stalled && !missing.stalled {
                missing.stalled = true;
                stalls += 1;
            }
            if asks && now >= missing.due(retry) {
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
        self.stalls += stalls;
        due
    }

    /// When [`Self::poll_nacks`] has something to do next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let (retry, give_up, stalled) = (self.retry(), self.give_up(), self.stalled_after());
        let next = |missing: &Missing| {
            let end = missing.since + if missing.stalled { give_up } else { stalled.min(give_up) };
            if self.asks { missing.due(retry).min(end) } else { end }
        };
        self.missing.values().map(next).min()
    }

    /// Packets whose repair has failed or takes too long: each is counted once.
    pub(crate) const fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Packets that never came.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Round trip to the publisher as its repairs show it.
    pub(crate) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    fn give_up(&self) -> Duration {
        if self.asks { GIVE_UP } else { GIVE_UP_UNASKED }
    }

    fn stalled_after(&self) -> Duration {
        self.rtt.map_or(STALLED, |rtt| STALLED.max(rtt * 3))
    }

    fn retry(&self) -> Duration {
        let (least, most) = (Duration::from_millis(40), Duration::from_millis(250));
        self.rtt.map_or(Duration::from_millis(60), |rtt| (rtt + Duration::from_millis(20)).clamp(least, most))
    }

    fn advance(&mut self, now: Instant, highest: i64, sequence: i64) {
        for skipped in highest + 1..sequence {
            self.clear(skipped);
            self.missing.insert(skipped, Missing { since: now, asked: None, tries: 0, stalled: false });
        }
        if self.missing.len() > MAX_MISSING {
            self.abandon();
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

    fn abandon(&mut self) {
        self.lost += self.missing.len() as u64;
        self.stalls += self.missing.values().filter(|missing| !missing.stalled).count() as u64;
        self.missing.clear();
    }

    fn restart(&mut self, sequence: i64) {
        self.abandon();
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
        let (t, mut stream) = (start(), Arrivals::new(true));
        stream.arrive(t, 10);
        stream.arrive(t, 12);
        assert_eq!(stream.poll_timeout(), Some(t + ms(10)));
        assert_eq!(stream.poll_nacks(t + ms(5)), [0_u16; 0]);
        assert_eq!(stream.arrive(t + ms(5), 11), Arrival::New);
        assert_eq!((stream.poll_timeout(), stream.lost()), (None, 0));
    }

    #[test]
    fn a_missing_packet_is_asked_for_once_per_round_trip_and_given_up_after_a_second() {
        let (t, mut stream) = (start(), Arrivals::new(true));
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
    fn a_repair_that_takes_too_long_is_told_once_while_asking_goes_on() {
        let (t, mut stream) = (start(), Arrivals::new(true));
        stream.arrive(t, 1);
        stream.arrive(t, 3);
        assert_eq!((stream.poll_nacks(t + ms(10)), stream.stalls()), (vec![2], 0));
        stream.poll_nacks(t + ms(249));
        assert_eq!(stream.stalls(), 0);
        stream.poll_nacks(t + ms(250));
        assert_eq!((stream.stalls(), stream.lost()), (1, 0));
        stream.poll_nacks(t + ms(1_000));
        assert_eq!((stream.stalls(), stream.lost()), (1, 1), "the same packet");
    }

    #[test]
    fn who_cannot_be_asked_is_not_waited_for() {
        let (t, mut stream) = (start(), Arrivals::new(false));
        stream.arrive(t, 1);
        stream.arrive(t, 3);
        assert_eq!(stream.poll_timeout(), Some(t + ms(30)));
        assert_eq!((stream.poll_nacks(t + ms(29)), stream.lost()), (vec![], 0));
        assert_eq!((stream.poll_nacks(t + ms(30)), stream.lost(), stream.stalls()), (vec![], 1, 1));
        assert_eq!(stream.poll_timeout(), None);
    }

    #[test]
    fn duplicates_are_told_within_the_window_and_across_the_wrap() {
        let (t, mut stream) = (start(), Arrivals::new(true));
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
        let (t, mut stream) = (start(), Arrivals::new(true));
        stream.arrive(t, 0);
        assert_eq!(stream.arrive(t, 65_535), Arrival::New);
        assert_eq!(stream.arrive(t, 65_535), Arrival::Duplicate);
    }

    #[test]
    fn a_jump_is_a_new_beginning_in_both_directions() {
        let (t, mut stream) = (start(), Arrivals::new(true));
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
        let (t, mut stream) = (start(), Arrivals::new(true));
        stream.arrive(t, 0);
        stream.arrive(t, 900);
        assert_eq!(stream.poll_nacks(t + ms(10)), [0_u16; 0]);
        assert_eq!(stream.lost(), 899);
    }
}

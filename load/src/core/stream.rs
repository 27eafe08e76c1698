//! The continuity of one stream's sequence numbers: what is missing, what to ask for again, what is lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_rtcp::reception_report::ReceptionReport;

/// A packet that is missing this long is first waited for: networks change the order of packets.
const PATIENCE: Duration = Duration::from_millis(10);
/// Between two questions for the same packet: a little more than most round trips.
const ASK_AGAIN: Duration = Duration::from_millis(60);
/// After this long a missing packet is lost: no player would have waited longer.
const GIVE_UP: Duration = Duration::from_secs(1);
/// Missing packets remembered of one stream; browsers ask for about as many.
const MAX_HOLES: usize = 1_024;
/// A larger jump of the numbers is not asked for: that much is lost.
const MAX_GAP: i64 = 1_024;
/// A step back beyond this is no late packet: the sender has begun again.
const MAX_LATE: i64 = 8_192;

/// What a packet was to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// New, in order or ahead of some that are missing. The first one of a stream is, too.
    New,
    /// One that was missing.
    Filled {
        /// Whether it had been asked for.
        asked: bool,
    },
    /// One that had come before, or was given up.
    Again,
    /// From before the first packet.
    Early,
}

#[derive(Debug, Clone, Copy)]
struct Hole {
    sequence: i64,
    since: Instant,
    ask_at: Instant,
    asked: bool,
}

/// One stream (SSRC).
#[derive(Debug)]
pub struct Stream {
    ssrc: u32,
    clock_rate: u32,
    begun: Instant,
    first: i64,
    highest: i64,
    received: u64,
    holes: VecDeque<Hole>,
    /// When something about a hole is due.
    due: Option<Instant>,
    lost: u64,
    /// RFC 3550, 6.4.1: the transit of the packet before and the smoothed jitter, in 1/16 of a tick.
    transit: Option<i64>,
    jitter: i64,
    /// Expected and received at the last report.
    reported: (u64, u64),
    /// The middle of the last sender report's NTP time, and when it came.
    sender_report: Option<(u32, Instant)>,
}

impl Stream {
    /// A stream that begins with the packet `sequence`, which must then be pushed.
    #[must_use]
    pub fn new(now: Instant, ssrc: u32, clock_rate: u32, sequence: u16) -> Self {
        // One turn ahead, so that unwrapped numbers never become negative.
        let first = (1 << 16) + i64::from(sequence);
        Self {
            ssrc,
            clock_rate,
            begun: now,
            first,
            highest: first - 1,
            received: 0,
            holes: VecDeque::new(),
            due: None,
            lost: 0,
            transit: None,
            jitter: 0,
            reported: (0, 0),
            sender_report: None,
        }
    }

    /// The stream's SSRC.
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The number of packet `sequence`, unwrapped.
    #[must_use]
    #[inline]
    pub const fn unwrapped(&self, sequence: u16) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the low 16 bits are meant"
        )]
        let ahead = sequence.wrapping_sub(self.highest as u16).cast_signed();
        self.highest + ahead as i64
    }

    /// Takes a packet.
    #[inline]
    pub fn push(&mut self, now: Instant, sequence: u16, timestamp: u32) -> Arrival {
        let number = self.unwrapped(sequence);
        if number == self.highest + 1 {
            self.highest = number;
            self.received += 1;
            self.note_jitter(now, timestamp);
            return Arrival::New;
        }
        self.out_of_order(now, number)
    }

    fn out_of_order(&mut self, now: Instant, number: i64) -> Arrival {
        if number > self.highest {
            let gap = number - self.highest - 1;
            if gap > MAX_GAP {
                self.lost += gap.unsigned_abs();
            } else {
                for sequence in self.highest + 1..number {
                    self.miss(now, sequence);
                }
            }
            self.highest = number;
            self.received += 1;
            return Arrival::New;
        }
        if let Some(asked) = self.fill(number) {
            self.received += 1;
            return Arrival::Filled { asked };
        }
        if self.highest - number > MAX_LATE {
            self.highest = number;
            self.received += 1;
            self.holes.clear();
            return Arrival::New;
        }
        if number < self.first { Arrival::Early } else { Arrival::Again }
    }

    fn miss(&mut self, now: Instant, sequence: i64) {
        if self.holes.len() == MAX_HOLES {
            self.holes.pop_front();
            self.lost += 1;
        }
        self.holes.push_back(Hole { sequence, since: now, ask_at: now + PATIENCE, asked: false });
        self.due = Some(self.due.map_or(now + PATIENCE, |due| due.min(now + PATIENCE)));
    }

    /// Notes that packet `number` came, by whatever way. None where it was not missing, else whether it was asked for.
    pub fn fill(&mut self, number: i64) -> Option<bool> {
        let at = self.holes.binary_search_by_key(&number, |hole| hole.sequence).ok()?;
        self.holes.remove(at).map(|hole| hole.asked)
    }

    /// Gives up what is missing for too long, and appends to `ask` what to ask for now.
    pub fn handle_timeout(&mut self, now: Instant, ask: &mut Vec<u16>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        while self.holes.front().is_some_and(|hole| now.saturating_duration_since(hole.since) >= GIVE_UP) {
            self.holes.pop_front();
            self.lost += 1;
        }
        self.due = None;
        for hole in &mut self.holes {
            if hole.ask_at <= now {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "the low 16 bits are meant"
                )]
                ask.push(hole.sequence as u16);
                hole.asked = true;
                hole.ask_at = now + ASK_AGAIN;
            }
            let next = hole.ask_at.min(hole.since + GIVE_UP);
            self.due = Some(self.due.map_or(next, |due| due.min(next)));
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// What was lost for good since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// The end: what is missing is lost.
    pub fn finish(&mut self) {
        self.lost += self.holes.len() as u64;
        self.holes.clear();
        self.due = None;
    }

    /// Notes a sender report's NTP time.
    pub fn sender_report(&mut self, now: Instant, ntp: u64) {
        self.sender_report = Some((u32::try_from(ntp >> 16 & 0xffff_ffff).unwrap_or(0), now));
    }

    fn note_jitter(&mut self, now: Instant, timestamp: u32) {
        let since = now.saturating_duration_since(self.begun).as_micros();
        let ticks = i64::try_from(since).unwrap_or(0) * i64::from(self.clock_rate) / 1_000_000;
        // Differences of transits are small; both may have wrapped.
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32, as the timestamp is")]
        let transit = (ticks as i32).wrapping_sub(timestamp.cast_signed());
        let transit = i64::from(transit);
        if let Some(before) = self.transit.replace(transit) {
            let change = (transit - before).abs();
            if change < i64::from(self.clock_rate) {
                self.jitter += change - ((self.jitter + 8) >> 4);
            }
        }
    }

    /// What a receiver report says of it (RFC 3550, 6.4.1).
    pub fn report(&mut self, now: Instant) -> ReceptionReport {
        let expected = (self.highest - self.first + 1).max(0).unsigned_abs();
        let (expected_before, received_before) =
            std::mem::replace(&mut self.reported, (expected, self.received));
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(self.received - received_before);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0);
        let (last_sender_report, delay) = self.sender_report.map_or((0, 0), |(middle, at)| {
            let held = now.saturating_duration_since(at).as_secs_f64() * 65_536.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates at 18 hours"
            )]
            let held = held as u32;
            (middle, held)
        });
        ReceptionReport {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            total_lost: u32::try_from(expected.saturating_sub(self.received))
                .unwrap_or(u32::MAX)
                .min(0x7f_ffff),
            last_sequence_number: u32::try_from((self.highest - (1 << 16)) & 0xffff_ffff).unwrap_or(0),
            jitter: u32::try_from(self.jitter >> 4).unwrap_or(0),
            last_sender_report,
            delay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        bicast_shared::clock::now()
    }

    fn stream(now: Instant, first: u16) -> Stream {
        let mut stream = Stream::new(now, 7, 90_000, first);
        assert_eq!(stream.push(now, first, 0), Arrival::New);
        stream
    }

    #[test]
    fn numbers_run_on_over_the_wrap() {
        let now = start();
        let mut stream = stream(now, 65_000);
        for n in 1..200_000_u32 {
            let sequence = u16::try_from((65_000 + n) & 0xffff).unwrap();
            assert_eq!(stream.push(now, sequence, n), Arrival::New);
        }
        stream.finish();
        assert_eq!(stream.take_lost(), 0);
        let report = stream.report(now);
        assert_eq!((report.total_lost, report.fraction_lost), (0, 0));
        assert_eq!(report.last_sequence_number, 65_000 + 199_999);
    }

    #[test]
    fn a_late_packet_is_not_asked_for_and_a_missing_one_is() {
        let now = start();
        let at = |ms: u64| now + Duration::from_millis(ms);
        let mut stream = stream(now, 10);
        assert_eq!(stream.push(at(0), 14, 0), Arrival::New);
        assert_eq!(stream.push(at(1), 12, 0), Arrival::Filled { asked: false });
        assert_eq!(stream.push(at(1), 12, 0), Arrival::Again);
        let mut ask = Vec::new();
        stream.handle_timeout(at(5), &mut ask);
        assert!(ask.is_empty(), "it may only be late");
        assert_eq!(stream.poll_timeout(), Some(at(10)));
        stream.handle_timeout(at(10), &mut ask);
        assert_eq!(ask, [11, 13]);
        assert_eq!(stream.push(at(20), 11, 0), Arrival::Filled { asked: true });
        ask.clear();
        stream.handle_timeout(at(70), &mut ask);
        assert_eq!(ask, [13]);
        stream.handle_timeout(at(999), &mut ask);
        assert_eq!(stream.take_lost(), 0);
        stream.handle_timeout(at(1_060), &mut ask);
        assert_eq!((stream.take_lost(), stream.poll_timeout()), (1, None));
        assert_eq!(stream.push(at(1_100), 13, 0), Arrival::Again, "given up");
    }

    #[test]
    fn holes_are_bounded_and_jumps_are_lost_at_once() {
        let now = start();
        let mut stream = stream(now, 0);
        let mut sequence = 0_u16;
        for _ in 0..3_000 {
            sequence = sequence.wrapping_add(2);
            stream.push(now, sequence, 0);
        }
        assert_eq!(stream.holes.len(), MAX_HOLES);
        assert_eq!(stream.take_lost(), 3_000 - MAX_HOLES as u64);
        stream.push(now, sequence.wrapping_add(5_001), 0);
        assert_eq!(stream.take_lost(), 5_000);
        stream.finish();
        assert_eq!(stream.take_lost(), MAX_HOLES as u64);
    }

    #[test]
    fn a_sender_that_begins_again_and_packets_from_before_the_start_are_no_loss() {
        let now = start();
        let mut stream = stream(now, 20_000);
        assert_eq!(stream.push(now, 19_990, 0), Arrival::Early);
        assert_eq!(stream.push(now, 100, 0), Arrival::New);
        assert_eq!(stream.push(now, 101, 0), Arrival::New);
        stream.finish();
        assert_eq!(stream.take_lost(), 0);
    }

    #[test]
    fn reports_tell_the_loss_since_the_last_one_and_the_senders_clock() {
        let now = start();
        let mut stream = stream(now, 0);
        for sequence in (1..100).filter(|n| n % 4 != 0) {
            stream.push(now, sequence, 0);
        }
        stream.sender_report(now, 0x1234_5678_9abc_def0);
        let report = stream.report(now + Duration::from_millis(500));
        assert_eq!((report.total_lost, report.fraction_lost), (24, 61));
        assert_eq!((report.last_sender_report, report.delay), (0x5678_9abc, 32_768));
        assert_eq!(stream.report(now).fraction_lost, 0);
    }

    #[test]
    fn jitter_is_the_smoothed_difference_of_transits() {
        let now = start();
        let mut stream = Stream::new(now, 7, 90_000, 0);
        for n in 0..500_u32 {
            let late = u64::from(n % 2) * 10_000;
            stream.push(
                now + Duration::from_micros(u64::from(n) * 33_333 + late),
                u16::try_from(n).unwrap(),
                n * 3_000,
            );
        }
        let jitter = stream.report(now).jitter;
        assert!((800..1_000).contains(&jitter), "{jitter} ticks of 10 ms each way");
    }
}

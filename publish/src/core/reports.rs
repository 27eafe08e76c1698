//! RTCP's times: what a sender report says, and what a receiver report tells about the way there and back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bicast_shared::time::{ClockRate, ProgramTime};

/// The one clock of a publisher's session: media time 0 of every track is `start`, and `start` was `utc`.
///
/// Sender reports of all tracks are computed from it and from nothing measured on the way, so audio and video relate
/// to each other exactly, whatever time encoding, pacing and scheduling took.
#[derive(Debug, Clone, Copy)]
pub struct MediaClock {
    start: Instant,
    utc: ProgramTime,
}

impl MediaClock {
    /// A clock that started at `start`, when UTC was `utc`.
    #[must_use]
    pub fn new(start: Instant, utc: ProgramTime) -> Self {
        Self { start, utc }
    }

    /// When media time 0 is.
    #[must_use]
    pub fn start(self) -> Instant {
        self.start
    }

    /// The times of a sender report made at `now` for a track at `rate` whose first RTP timestamp was `base`: the NTP
    /// time and the RTP timestamp that belongs to it (RFC 3550, 6.4.1).
    #[must_use]
    pub fn report(self, now: Instant, rate: ClockRate, base: u32) -> (u64, u32) {
        let elapsed = now.saturating_duration_since(self.start);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "RTP timestamps wrap")]
        let ticks = rate.ticks(elapsed) as u32;
        ((self.utc + elapsed).ntp(), base.wrapping_add(ticks))
    }
}

/// Measures the round trip from the reports of one track.
#[derive(Debug, Default)]
pub struct RoundTrip {
    sent: VecDeque<(u32, Instant)>,
}

/// Reports that are remembered: a receiver reports on a sender report within a few seconds or never.
const REMEMBERED: usize = 16;

impl RoundTrip {
    /// A sender report with this NTP time left at `now`.
    pub fn sent(&mut self, ntp: u64, now: Instant) {
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((middle(ntp), now));
    }

    /// The round trip that a reception report received at `now` shows: it names the sender report it saw last
    /// (`last`, LSR) and how long ago that was (`delay`, DLSR, in 1/65536 s). None when it names none of ours.
    #[must_use]
    pub fn received(&self, last: u32, delay: u32, now: Instant) -> Option<Duration> {
        let (_, sent) = *self.sent.iter().rev().find(|(middle, _)| *middle == last && last != 0)?;
        let held = Duration::from_nanos(u64::from(delay) * 1_000_000_000 / 65_536);
        now.saturating_duration_since(sent).checked_sub(held).or(Some(Duration::ZERO))
    }
}

/// The middle 32 bits of an NTP time, as reception reports name it.
fn middle(ntp: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the middle bits are wanted")]
    let middle = (ntp >> 16) as u32;
    middle
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
mod tests {
    use super::*;

    #[test]
    fn reports_of_both_tracks_name_the_same_moment() {
        let start = Instant::now();
        let utc = ProgramTime::from_unix_nanos(1_795_411_739_000_000_000);
        let clock = MediaClock::new(start, utc);
        for millis in [0, 33, 1_000, 86_400_000] {
            // Made 3 ms apart: each is right for its own moment.
            let at = start + Duration::from_millis(millis);
            let (ntp_v, video) = clock.report(at, ClockRate::VIDEO, 7);
            let (ntp_a, audio) = clock.report(at + Duration::from_millis(3), ClockRate::OPUS, u32::MAX);
            let origin = |ntp: u64, rtp: u32, base: u32, rate: ClockRate| {
                ProgramTime::from_ntp(ntp).unix_nanos() - rate.nanos(i64::from(rtp.wrapping_sub(base)))
            };
            if millis < 40_000_000 {
                let apart = origin(ntp_v, video, 7, ClockRate::VIDEO)
                    - origin(ntp_a, audio, u32::MAX, ClockRate::OPUS);
                assert!(apart.abs() < 25_000, "{apart} ns apart at {millis}");
            }
        }
    }

    #[test]
    fn the_round_trip_leaves_out_what_the_receiver_held() {
        let now = Instant::now();
        let mut trip = RoundTrip::default();
        for second in 0..40_u64 {
            trip.sent((1_000 + second) << 32 | 0x1234_5678, now + Duration::from_secs(second));
        }
        let last = middle(1_035 << 32 | 0x1234_5678);
        let back = now + Duration::from_millis(35_520);
        assert_eq!(trip.received(last, 65_536 / 2, back), Some(Duration::from_millis(20)));
        assert_eq!(
            trip.received(last, 65_536 * 9, back),
            Some(Duration::ZERO),
            "a receiver that exaggerates"
        );
        assert_eq!(trip.received(middle(1_001 << 32 | 0x1234_5678), 0, back), None, "forgotten");
        assert_eq!(trip.received(0, 0, back), None, "none seen yet");
    }
}

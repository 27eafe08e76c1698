//! Reception statistics of one SSRC and the report block that tells the publisher (RFC 3550, 6.4 and A.3, A.8).

use std::time::Instant;

use bicast_shared::time::ClockRate;
use rtc_rtcp::reception_report::ReceptionReport;

/// What is counted of one SSRC as it comes from the wire (repairs have an SSRC of their own and are not in it).
#[derive(Debug)]
pub(crate) struct Reception {
    rate: ClockRate,
    began: Instant,
    first: u32,
    highest: u32,
    received: u32,
    before: (u32, u32),
    transit: Option<f64>,
    jitter: f64,
    report: Option<(u32, Instant)>,
}

impl Reception {
    /// Begins with the first packet.
    pub(crate) fn new(now: Instant, rate: ClockRate, sequence_number: u16) -> Self {
        let first = u32::from(sequence_number);
        Self {
            rate,
            began: now,
            first,
            highest: first,
            received: 0,
            before: (0, 0),
            transit: None,
            jitter: 0.0,
            report: None,
        }
    }

    /// Counts a packet.
    pub(crate) fn packet(&mut self, now: Instant, sequence_number: u16, timestamp: u32) {
        self.received = self.received.wrapping_add(1);
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^16 is meant")]
        let ahead = sequence_number.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        }
        let arrival = now.saturating_duration_since(self.began).as_secs_f64() * f64::from(self.rate.hz());
        let transit = arrival - f64::from(timestamp);
        if let Some(last) = self.transit {
            let difference = (transit - last).abs();
            // A wrap of the timestamp (or a jump of the publisher's) is not jitter.
            if difference < f64::from(self.rate.hz()) * 10.0 {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
        self.transit = Some(transit);
    }

    /// Takes note of a sender report.
    pub(crate) fn sender_report(&mut self, now: Instant, ntp: u64) {
        #[expect(clippy::cast_possible_truncation, reason = "the middle 32 bits are meant")]
        let middle = (ntp >> 16) as u32;
        self.report = Some((middle, now));
    }

    /// The report block, and the beginning of the next interval.
    pub(crate) fn block(&mut self, now: Instant, ssrc: u32) -> ReceptionReport {
        let expected = self.highest.wrapping_sub(self.first).wrapping_add(1);
        let in_interval = (expected.wrapping_sub(self.before.0), self.received.wrapping_sub(self.before.1));
        self.before = (expected, self.received);
        let lost = in_interval.0.saturating_sub(in_interval.1);
        let fraction_lost = (lost << 8).checked_div(in_interval.0).unwrap_or(0);
        let (last_sender_report, delay) = self.report.map_or((0, 0), |(middle, at)| {
            // In units of 1/65,536 s.
            let delay = now.saturating_duration_since(at).as_nanos() * 65_536 / 1_000_000_000;
            (middle, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        ReceptionReport {
            ssrc,
            fraction_lost: u8::try_from(fraction_lost).unwrap_or(u8::MAX),
            total_lost: expected.saturating_sub(self.received).min(0x007f_ffff),
            last_sequence_number: self.highest,
            jitter: self.jitter_ticks(),
            last_sender_report,
            delay,
        }
    }

    fn jitter_ticks(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to ten seconds of ticks"
        )]
        let ticks = self.jitter as u32;
        ticks
    }

    /// Jitter of the arrival times, in milliseconds.
    pub(crate) fn jitter_ms(&self) -> f64 {
        self.jitter * 1_000.0 / f64::from(self.rate.hz())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn loss_is_told_per_interval_and_in_total_across_the_wrap() {
        let t = bicast_shared::clock::now();
        let mut reception = Reception::new(t, ClockRate::VIDEO, 65_530);
        for n in 0..20_u16 {
            if n % 4 != 3 {
                reception.packet(t, 65_530_u16.wrapping_add(n), u32::from(n) * 3_000);
            }
        }
        let block = reception.block(t, 5);
        assert_eq!((block.ssrc, block.last_sequence_number), (5, 65_530 + 18));
        assert_eq!((block.total_lost, block.fraction_lost), (4, u8::try_from(4 * 256 / 19).unwrap()));
        reception.packet(t, 65_530_u16.wrapping_add(19), 0);
        let block = reception.block(t, 5);
        assert_eq!((block.total_lost, block.fraction_lost), (4, 0));
    }

    #[test]
    fn the_publisher_can_compute_the_round_trip() {
        let t = bicast_shared::clock::now();
        let mut reception = Reception::new(t, ClockRate::OPUS, 0);
        assert_eq!(reception.block(t, 1).last_sender_report, 0);
        reception.sender_report(t, 0x1122_3344_5566_7788);
        let block = reception.block(t + Duration::from_millis(500), 1);
        assert_eq!((block.last_sender_report, block.delay), (0x3344_5566, 32_768));
    }

    #[test]
    fn a_steady_stream_has_no_jitter_and_a_wrap_adds_none() {
        let t = bicast_shared::clock::now();
        let mut reception = Reception::new(t, ClockRate::VIDEO, 0);
        let mut timestamp = u32::MAX - 30_000;
        for n in 0..100_u16 {
            reception.packet(t + Duration::from_millis(u64::from(n) * 10), n, timestamp);
            timestamp = timestamp.wrapping_add(900);
        }
        assert!(reception.jitter_ms() < 0.001, "{}", reception.jitter_ms());
    }
}

//! The kinds of time and the maths between them. Each has a type; no bare number of ticks crosses a function.
//!
//! - [`MediaTime`]: a frame's presentation time on its feed, in ticks of the track's clock rate. 64 bits, never wraps.
//! - [`ProgramTime`]: UTC, what EXT-X-PROGRAM-DATE-TIME says.
//! - `std::time::Instant`: when something arrived; always an argument in a core.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A clock rate: ticks per second. Video is 90,000, Opus 48,000, AAC its sample rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClockRate(u32);

impl ClockRate {
    /// RTP's clock for every video codec.
    pub const VIDEO: Self = Self(90_000);
    /// RTP's clock for Opus, whatever rate it was sampled at (RFC 7587, 4.1).
    pub const OPUS: Self = Self(48_000);

    /// A clock of `hz` ticks per second; 0 is taken as 1, so that no division can fail.
    #[must_use]
    pub const fn new(hz: u32) -> Self {
        Self(if hz == 0 { 1 } else { hz })
    }

    /// Ticks per second, at least 1.
    #[must_use]
    pub const fn hz(self) -> u32 {
        self.0
    }

    /// How many ticks fit in `duration`, rounded to the nearest.
    #[must_use]
    pub fn ticks(self, duration: Duration) -> i64 {
        scale(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX), i64::from(self.0), NANOS)
    }

    /// The length of `ticks`, in nanoseconds, rounded to the nearest; negative for negative ticks.
    #[must_use]
    pub fn nanos(self, ticks: i64) -> i64 {
        scale(ticks, NANOS, i64::from(self.0))
    }
}

const NANOS: i64 = 1_000_000_000;

/// `value * numerator / denominator` in 128 bits, rounded to the nearest, halves away from zero; saturates.
#[must_use]
pub fn scale(value: i64, numerator: i64, denominator: i64) -> i64 {
    let product = i128::from(value) * i128::from(numerator);
    let denominator = i128::from(if denominator == 0 { 1 } else { denominator });
    let half = denominator.abs() / 2;
    let rounded = if (product < 0) == (denominator < 0) {
        (product.abs() + half) / denominator.abs()
    } else {
        -((product.abs() + half) / denominator.abs())
    };
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

/// A presentation time on a feed's own timeline: ticks of the clock of the track it belongs to.
///
/// Two `MediaTime`s of tracks with different clock rates must not be compared: convert with [`MediaTime::to_rate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// Where every feed begins: 10 s, so that decode times before the first presentation time (B-frames) and lip sync
    /// corrections never go below zero, which `tfdt` could not write.
    #[must_use]
    pub fn origin(rate: ClockRate) -> Self {
        Self(i64::from(rate.hz()) * 10)
    }

    /// The RTP timestamp that every WebRTC viewer receives for this time: it modulo 2^32.
    #[must_use]
    pub const fn rtp(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32 is meant")]
        let low = self.0 as u32;
        low
    }

    /// This time of a track at `from` in ticks of another clock, rounded to the nearest.
    #[must_use]
    pub fn to_rate(self, from: ClockRate, to: ClockRate) -> Self {
        Self(scale(self.0, i64::from(to.hz()), i64::from(from.hz())))
    }
}

impl Add<i64> for MediaTime {
    type Output = Self;

    fn add(self, ticks: i64) -> Self {
        Self(self.0.saturating_add(ticks))
    }
}

impl Sub for MediaTime {
    type Output = i64;

    fn sub(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// UTC, to the nanosecond, as time since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProgramTime(i64);

impl ProgramTime {
    /// From nanoseconds since 1970.
    #[must_use]
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, as tokens count them.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Milliseconds since 1970, with fractions: what JavaScript calls a time.
    #[must_use]
    pub fn unix_millis(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "microseconds survive until the year 2255")]
        let micros = (self.0 / 1_000) as f64;
        micros / 1_000.0
    }

    /// This time as a 64-bit NTP timestamp (RFC 5905): seconds since 1900 and a binary fraction.
    #[must_use]
    pub fn ntp(self) -> u64 {
        let seconds = self.0.div_euclid(NANOS) + NTP_TO_UNIX;
        let fraction = (i128::from(self.0.rem_euclid(NANOS)) << 32) / i128::from(NANOS);
        #[expect(
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "NTP's era wraps in 2036"
        )]
        let ntp = ((seconds as u64) << 32) | (fraction as u64);
        ntp
    }

    /// The time that a 64-bit NTP timestamp of the current era means.
    #[must_use]
    pub fn from_ntp(ntp: u64) -> Self {
        let seconds = i64::try_from(ntp >> 32).unwrap_or(0) - NTP_TO_UNIX;
        let nanos = i64::try_from(((ntp & 0xffff_ffff) * 1_000_000_000 + (1 << 31)) >> 32).unwrap_or(0);
        Self(seconds.saturating_mul(NANOS).saturating_add(nanos))
    }

    /// `2026-11-23T05:08:59.123Z`: RFC 3339 with milliseconds, as EXT-X-PROGRAM-DATE-TIME wants it.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let millis = scale(self.0, 1, 1_000_000);
        let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let (year, month, day) = civil(days);
        let (h, m, s, ms) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1_000 % 60, in_day % 1_000);
        format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }
}

/// Why a text is not a time that can be reckoned with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadProgramTime {
    /// Not the form of RFC 3339.
    #[error("it is not written like 2026-11-23T05:08:59.123Z or 2026-11-23T06:08:59.123+01:00 (RFC 3339)")]
    Form,
    /// The form is right, and there is no such day or time of day.
    #[error("there is no such day or time of day")]
    NoSuchTime,
    /// Before 1970, or so late that nanoseconds since then do not fit in 64 bits.
    #[error("it is not between 1970 and 2262")]
    Range,
}

impl FromStr for ProgramTime {
    type Err = BadProgramTime;

    /// RFC 3339, 5.6. A leap second is the first second of the next minute; of fractions of a second nanoseconds are read.
    fn from_str(text: &str) -> Result<Self, BadProgramTime> {
        let (date, rest) = text.split_at_checked(10).ok_or(BadProgramTime::Form)?;
        let (clock, rest) = rest.split_at_checked(9).ok_or(BadProgramTime::Form)?;
        let [year, month, day] = fields(date, [(0, 4), (5, 7), (8, 10)], &[(4, b"-"), (7, b"-")])?;
        let [hour, minute, second] =
            fields(clock, [(1, 3), (4, 6), (7, 9)], &[(0, b"Tt "), (3, b":"), (6, b":")])?;
        let (fraction, zone) = match rest.strip_prefix('.') {
            None => (0, rest),
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let (digits, zone) = rest.split_at(digits);
                let nanos = format!("{digits:0<9}");
                let read = nanos.get(..9).and_then(|nanos| nanos.parse().ok());
                (read.filter(|_| !digits.is_empty()).ok_or(BadProgramTime::Form)?, zone)
            }
        };
        let east = match zone.as_bytes() {
            [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), ..] if zone.len() == 6 => {
                let [hours, minutes] = fields(zone, [(1, 3), (4, 6)], &[(3, b":")])?;
                if hours > 23 || minutes > 59 {
                    return Err(BadProgramTime::NoSuchTime);
                }
                let seconds = hours * 3_600 + minutes * 60;
                if *sign == b'+' { seconds } else { -seconds }
            }
            _ => return Err(BadProgramTime::Form),
        };
        let days = days(year, month, day);
        if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 60 {
            return Err(BadProgramTime::NoSuchTime);
        }
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - east;
        let nanos = seconds.checked_mul(NANOS).and_then(|nanos| nanos.checked_add(fraction));
        nanos.filter(|_| seconds >= 0).map(Self).ok_or(BadProgramTime::Range)
    }
}

/// The numbers at these places of a text that has one of these characters at those.
fn fields<const N: usize>(
    text: &str,
    at: [(usize, usize); N],
    between: &[(usize, &[u8])],
) -> Result<[i64; N], BadProgramTime> {
    let bytes = text.as_bytes();
    let is_there = |(at, any): &(usize, &[u8])| bytes.get(*at).is_some_and(|byte| any.contains(byte));
    let mut numbers = [0; N];
    for (number, (from, to)) in numbers.iter_mut().zip(at) {
        for byte in bytes.get(from..to).ok_or(BadProgramTime::Form)? {
            let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0')).ok_or(BadProgramTime::Form)?;
            *number = *number * 10 + digit;
        }
    }
    if between.iter().all(is_there) { Ok(numbers) } else { Err(BadProgramTime::Form) }
}

/// The day counted from 1970-01-01 of a year, month and day: [`civil`] the other way round.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Seconds between 1900 and 1970.
const NTP_TO_UNIX: i64 = 2_208_988_800;

/// Year, month and day of a day counted from 1970-01-01 (proleptic Gregorian; days are counted from March so that
/// the leap day comes last).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl Add<Duration> for ProgramTime {
    type Output = Self;

    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sub for ProgramTime {
    /// Nanoseconds.
    type Output = i64;

    fn sub(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for ProgramTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl fmt::Display for ProgramTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_instants_in_different_scales_are_equal_only_after_conversion() {
        let video = MediaTime(90_000);
        let audio = MediaTime(48_000);
        assert_ne!(video, audio);
        assert_eq!(video.to_rate(ClockRate::VIDEO, ClockRate::OPUS), audio);
    }

    #[test]
    fn scaling_rounds_to_the_nearest_on_both_sides_of_zero() {
        assert_eq!(scale(1, 1, 2), 1);
        assert_eq!(scale(-1, 1, 2), -1);
        assert_eq!(scale(1, 1, 3), 0);
        assert_eq!(scale(-2, 1, 3), -1);
        assert_eq!(scale(i64::MAX, 2, 1), i64::MAX);
        assert_eq!(scale(5, 1, 0), 5);
    }

    #[test]
    fn rtp_is_media_time_modulo_two_to_the_32() {
        assert_eq!(MediaTime((1 << 32) + 5).rtp(), 5);
        assert_eq!(MediaTime(-1).rtp(), u32::MAX);
    }

    #[test]
    fn ntp_round_trips_within_a_nanosecond() {
        for nanos in [0, 1, 999_999_999, 1_795_411_739_123_456_789] {
            let t = ProgramTime::from_unix_nanos(nanos);
            assert!((ProgramTime::from_ntp(t.ntp()) - t).abs() <= 1);
        }
        assert_eq!(ProgramTime::from_unix_nanos(0).ntp() >> 32, 2_208_988_800);
    }

    #[test]
    fn rfc3339_knows_leap_days_and_rounds_to_the_millisecond() {
        let at = |s: i64| ProgramTime::from_unix_nanos(s * NANOS).rfc3339();
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_795_410_539), "2026-11-23T05:08:59.000Z");
        assert_eq!(ProgramTime::from_unix_nanos(999_600_000).rfc3339(), "1970-01-01T00:00:01.000Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59.000Z");
    }

    #[test]
    fn rfc3339_reads_back_what_it_wrote() {
        for seconds in (0..9_000_000_000).step_by(86_399 * 7 + 13) {
            let time = ProgramTime(seconds * NANOS + 123_000_000);
            assert_eq!(time.rfc3339().parse(), Ok(time), "{time}");
        }
        let read = |text: &str| text.parse().map(ProgramTime::unix_nanos);
        let noon = 1_795_435_200 * NANOS;
        for (text, nanos) in [
            ("2026-11-23T12:00:00Z", noon),
            ("2026-11-23t12:00:00z", noon),
            ("2026-11-23 12:00:00.5Z", noon + NANOS / 2),
            ("2026-11-23T12:00:00.1234567899Z", noon + 123_456_789),
            ("2026-11-23T13:00:00+01:00", noon),
            ("2026-11-22T23:30:00-12:30", noon),
            ("2026-11-23T11:59:60Z", noon),
        ] {
            assert_eq!(read(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc3339_is_told_why() {
        use BadProgramTime::{Form, NoSuchTime, Range};
        for (text, why) in [
            ("", Form),
            ("now", Form),
            ("2026-11-23", Form),
            ("2026-11-23T12:00:00", Form),
            ("2026-11-23T12:00:00 01:00", Form),
            ("2026-11-23T12:00:00.Z", Form),
            ("2026-11-23T12:00:00Zulu", Form),
            ("2026-1a-23T12:00:00Z", Form),
            ("2026/11/23T12:00:00Z", Form),
            ("+026-11-23T12:00:00Z", Form),
            ("2026-11-2\u{e9}T12:00:00Z", Form),
            ("2026-02-29T12:00:00Z", NoSuchTime),
            ("2026-13-01T12:00:00Z", NoSuchTime),
            ("2026-00-01T12:00:00Z", NoSuchTime),
            ("2026-11-23T24:00:00Z", NoSuchTime),
            ("2026-11-23T12:00:00+24:00", NoSuchTime),
            ("1969-12-31T23:59:59Z", Range),
            ("2263-01-01T00:00:00Z", Range),
        ] {
            assert_eq!(text.parse::<ProgramTime>(), Err(why), "{text}");
        }
    }
}

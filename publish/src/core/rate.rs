//! Frame rates as fractions, so that the ten-thousandth frame stands where it should.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bicast_shared::time::{ClockRate, scale};

/// Frames per second as a fraction: 30/1, 30000/1001.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    frames: u32,
    seconds: u32,
}

/// Why a text is not a [`FrameRate`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a frame rate: write 1 to 120, as in 30, 29.97, 12.5 or 30000/1001")]
pub struct BadFrameRate(String);

impl FrameRate {
    /// `frames` in `seconds`; none outside 1 to 120 frames per second.
    #[must_use]
    pub fn new(frames: u32, seconds: u32) -> Option<Self> {
        let fits = seconds > 0 && frames >= seconds && u64::from(frames) <= u64::from(seconds) * 120;
        fits.then_some(Self { frames, seconds })
    }

    /// When frame `n` is due, counted from frame 0.
    #[must_use]
    pub fn due(self, n: u64) -> Duration {
        Duration::from_nanos(u64::try_from(self.at(n, 1_000_000_000)).unwrap_or(u64::MAX))
    }

    /// The RTP timestamp of frame `n`, counted from frame 0, in ticks of the video clock (90 kHz).
    #[must_use]
    pub fn ticks(self, n: u64) -> i64 {
        self.at(n, i64::from(ClockRate::VIDEO.hz()))
    }

    /// The number of the last frame that is due at `elapsed`.
    #[must_use]
    pub fn frame_at(self, elapsed: Duration) -> u64 {
        let per_second = u128::from(self.frames);
        let frames = elapsed.as_nanos() * per_second / (u128::from(self.seconds) * 1_000_000_000);
        u64::try_from(frames).unwrap_or(u64::MAX)
    }

    /// The time from one frame to the next.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.due(1)
    }

    /// Frames per second.
    #[must_use]
    pub fn hz(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    fn at(self, n: u64, per_second: i64) -> i64 {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        scale(n.saturating_mul(i64::from(self.seconds)), per_second, i64::from(self.frames))
    }
}

impl FromStr for FrameRate {
    type Err = BadFrameRate;

    fn from_str(text: &str) -> Result<Self, BadFrameRate> {
        let bad = || BadFrameRate(text.chars().take(40).collect());
        let parse = |part: &str| part.parse::<u32>().map_err(|_| bad());
        let (frames, seconds) = match (text.split_once('/'), text.split_once('.')) {
            (Some((frames, seconds)), _) => (parse(frames)?, parse(seconds)?),
            // What people call 23.976, 29.97 and 59.94 are thousand-and-firsts (NTSC); taken as decimals they drift
            // by a frame every few hours.
            _ if matches!(text, "23.976" | "23.98") => (24_000, 1_001),
            _ if text == "29.97" => (30_000, 1_001),
            _ if text == "59.94" => (60_000, 1_001),
            (None, Some((whole, fraction))) if (1..=3).contains(&fraction.len()) => {
                let unit = 10_u32.pow(u32::try_from(fraction.len()).unwrap_or(0));
                let whole = parse(whole)?.checked_mul(unit).ok_or_else(bad)?;
                (whole.checked_add(parse(fraction)?).ok_or_else(bad)?, unit)
            }
            _ => (parse(text)?, 1),
        };
        Self::new(frames, seconds).ok_or_else(bad)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 1 { write!(f, "{}", self.frames) } else { write!(f, "{:.2}", self.hz()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> FrameRate {
        text.parse().unwrap()
    }

    #[test]
    fn thirty_frames_are_three_thousand_ticks_apart() {
        let thirty = rate("30");
        for n in 0..10_000 {
            assert_eq!(thirty.ticks(n + 1) - thirty.ticks(n), 3_000);
        }
        assert_eq!(thirty.due(30), Duration::from_secs(1));
    }

    #[test]
    fn ntsc_rates_do_not_drift() {
        let ntsc = rate("29.97");
        assert_eq!(ntsc, rate("30000/1001"));
        assert_eq!(ntsc.ticks(30_000 * 1_000), 1_001 * 90_000 * 1_000);
        assert_eq!(ntsc.ticks(1), 3_003);
    }

    #[test]
    fn the_frame_at_its_own_due_time_is_itself() {
        for text in ["30", "25", "29.97", "12.5", "60"] {
            let rate = rate(text);
            for n in [0, 1, 2, 3, 1_000, 123_457] {
                assert_eq!(rate.frame_at(rate.due(n) + Duration::from_nanos(1)), n, "{text} {n}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0", "-1", "fast", "1/0", "30/", "0.5", "121", "1.23456", "4294967295.9"] {
            assert!(text.parse::<FrameRate>().is_err(), "{text}");
        }
    }
}

//! When which viewer joins.

use std::str::FromStr;
use std::time::Duration;

/// How viewers come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ramp {
    /// So many each second.
    PerSecond(f64),
    /// All within this time.
    Within(Duration),
}

impl Ramp {
    /// When viewer `n` (from 0) of `viewers` joins, counted from the start. Evenly spread.
    #[must_use]
    pub fn due(&self, n: usize, viewers: usize) -> Duration {
        match self {
            Self::PerSecond(rate) => Duration::from_secs_f64(n as f64 / rate),
            Self::Within(time) => time.mul_f64(n as f64 / viewers.max(1) as f64),
        }
    }

    /// How long it takes until the last one has come.
    #[must_use]
    pub fn length(&self, viewers: usize) -> Duration {
        self.due(viewers.saturating_sub(1), viewers)
    }
}

impl FromStr for Ramp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, per_second) = match text.strip_suffix("/s") {
            Some(number) => (number, true),
            None => (text.strip_suffix('s').unwrap_or(text), false),
        };
        let value = number.trim().parse::<f64>().ok().filter(|value| (0.0..=100_000.0).contains(value));
        match value {
            Some(rate) if per_second && rate >= 0.1 => Ok(Self::PerSecond(rate)),
            Some(seconds) if !per_second => Ok(Self::Within(Duration::from_secs_f64(seconds))),
            _ => Err("write it like 250/s (joins a second) or 2s (all of them within)".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_understood() {
        assert_eq!("250/s".parse(), Ok(Ramp::PerSecond(250.0)));
        assert_eq!("2".parse(), Ok(Ramp::Within(Duration::from_secs(2))));
        assert_eq!("0.5s".parse(), Ok(Ramp::Within(Duration::from_millis(500))));
        for wrong in ["", "/s", "0/s", "-1", "NaN/s", "inf", "many", "5/m"] {
            assert!(wrong.parse::<Ramp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn viewers_come_evenly() {
        let rate = Ramp::PerSecond(200.0);
        assert_eq!(rate.due(0, 10), Duration::ZERO);
        assert_eq!(rate.due(100, 1_000), Duration::from_millis(500));
        let within = Ramp::Within(Duration::from_secs(2));
        assert_eq!(within.due(250, 500), Duration::from_secs(1));
        assert!(within.length(500) < Duration::from_secs(2));
        assert_eq!(within.length(0), Duration::ZERO);
    }
}

//! What an operator may set about failover.

use std::time::Duration;

use bicast_shared::feed::settings::seconds;
use serde::{Deserialize, Serialize};

/// When a value is bad, and when it is good again. What lies between is neither, so that a value that trembles about one limit
/// moves nobody to and fro.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// From here on it is bad.
    pub bad: f64,
    /// Up to here it is good.
    pub good: f64,
}

/// When a viewer leaves the realtime path, and when it returns. The defaults keep these promises: off a line that lets no UDP through
/// within 2 s, off one that loses 30 % or is slower than the lowest layer within 3 s, not once off a good one, and at most four
/// changes of path a minute whatever happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySettings {
    /// Share of packets lost before any repair (0.01 to 1). Bad from 0.15 on: at 5 % NACKs still mend nearly all in time, at 15 % one packet
    /// in forty-five is lost twice, and each such loss stops the picture.
    pub loss: Band,
    /// From this share of packets lost on (0.01 to 1) a lower layer would not help, and HLS is next at once. 0.25: of fewer packets the
    /// same share is lost.
    pub loss_severe: f64,
    /// Share of packets that stay lost after repairs: loss times what NACKs do not recover (0.001 to 1). Bad from 0.05 on: with 300 packets a second
    /// no second would pass without a broken picture.
    pub unrepaired: Band,
    /// Round trip in seconds (0.05 to 30). Bad from 1 on: nothing that is lost comes again before it is too late, and HLS is hardly
    /// further behind.
    pub round_trip: Band,
    /// Interarrival jitter in seconds (0.01 to 10). Bad from 0.2 on: the player's buffer grows to several times that.
    pub jitter: Band,
    /// The estimated rate of the line divided by the lowest layer's rate (0.1 to 10); less is worse. Bad below 1, good only from 1.2 on: without
    /// room to spare the first keyframe after a return would fill the line again.
    pub rate: Band,
    /// Share of time in which the picture stood still (0.01 to 1). Bad from 0.3 on.
    pub frozen: Band,

    /// How long the line has to be bad, in seconds (0.1 to 30), by two reports at least. 1: with a report a second that tells of
    /// the second before, the worst case from the onset to the decision is 2.8 s.
    #[serde(with = "seconds")]
    pub bad_for: Duration,
    /// How long pictures have to stand still, in seconds (0.1 to 60), by two reports at least. 3: longer than `bad_for`, because only the player says it, and
    /// a hidden page or a busy machine freezes, too.
    #[serde(with = "seconds")]
    pub frozen_for: Duration,
    /// How long ICE may take to connect, in seconds (0.2 to 30). 1.8: three checks of a line with half a second of round trip, and the decision still falls
    /// within 2 s.
    #[serde(with = "seconds")]
    pub connect_within: Duration,
    /// How long a viewer may take to begin connecting, in seconds (1 to 120). 10: pages load slowly, and waiting costs nothing.
    #[serde(with = "seconds")]
    pub appear_within: Duration,
    /// How long a connection may be interrupted, in seconds (0 to 30). 0.7: whoever tells of the interruption has waited already.
    #[serde(with = "seconds")]
    pub interrupted_for: Duration,
    /// How long a value that was reported holds, in seconds (0.5 to 60). 3: twice the longest time between two receiver reports of browsers.
    #[serde(with = "seconds")]
    pub fresh_for: Duration,
    /// How long after a beginning (of a stay on the realtime path, of a publisher, of a path that had not been there) nothing is concluded
    /// from it, in seconds (0 to 60). 3: the first picture and the first repairs are over.
    #[serde(with = "seconds")]
    pub settle: Duration,

    /// How long a viewer stays on HLS at least, in seconds (1 to 3,600). 15: with `growth` it makes three changes in the worst minute, and whoever has
    /// been moved is not moved back at once.
    #[serde(with = "seconds")]
    pub hold: Duration,
    /// The same where nothing is known about the line, so that returning is a trial, in seconds (1 to 86,400). 120: a trial that fails is seen.
    #[serde(with = "seconds")]
    pub trial_hold: Duration,
    /// By how much both grow each time when a return did not last (1 to 10). 3: after two failures in a row it is minutes.
    pub growth: f64,
    /// What they grow to at most, in seconds (1 to 86,400). 600.
    #[serde(with = "seconds")]
    pub longest_hold: Duration,
    /// How long the line has to have been good for a return, without a break, in seconds (1 to 600). 8: longer than the bursts of a line
    /// that changes every 5 s.
    #[serde(with = "seconds")]
    pub good_for: Duration,
    /// A return has lasted after so many seconds (1 to 86,400). 60.
    #[serde(with = "seconds")]
    pub lasting: Duration,
    /// Retry budget: returns because of the line within `returns_window` (1 to 100). 5.
    pub returns: u32,
    /// In seconds (1 to 86,400). 900: with 5 returns, a line that is good for a minute and then bad is left alone in the end.
    #[serde(with = "seconds")]
    pub returns_window: Duration,
    /// Changes of path a minute, for whatever reason (2 to 60). 4. Returns are left out for it, never rescues: it keeps room for one.
    pub switches_a_minute: u32,
    /// How long the line has to have been good for a higher layer, in seconds (1 to 600). 10.
    #[serde(with = "seconds")]
    pub raise_after: Duration,
}

impl Default for PolicySettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let millis = Duration::from_millis;
        Self {
            loss: Band { bad: 0.15, good: 0.05 },
            loss_severe: 0.25,
            unrepaired: Band { bad: 0.05, good: 0.02 },
            round_trip: Band { bad: 1.0, good: 0.6 },
            jitter: Band { bad: 0.2, good: 0.1 },
            rate: Band { bad: 1.0, good: 1.2 },
            frozen: Band { bad: 0.3, good: 0.05 },
            bad_for: seconds(1),
            frozen_for: seconds(3),
            connect_within: millis(1_800),
            appear_within: seconds(10),
            interrupted_for: millis(700),
            fresh_for: seconds(3),
            settle: seconds(3),
            hold: seconds(15),
            trial_hold: seconds(120),
            growth: 3.0,
            longest_hold: seconds(600),
            good_for: seconds(8),
            lasting: seconds(60),
            returns: 5,
            returns_window: seconds(900),
            switches_a_minute: 4,
            raise_after: seconds(10),
        }
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadSetting {
    /// It is outside its range.
    #[error("{key} is {value}, but has to be {least} to {most}")]
    OutOfRange {
        /// Its name.
        key: &'static str,
        /// What it is, in its unit.
        value: f64,
        /// The least it may be.
        least: f64,
        /// The most it may be.
        most: f64,
    },
    /// Two do not fit together.
    #[error("{key} is {value}, but has to be {rule}")]
    Unordered {
        /// The name of one of them.
        key: &'static str,
        /// What it is, in its unit.
        value: f64,
        /// What it has to be, in words.
        rule: &'static str,
    },
}

impl BadSetting {
    /// Its name.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::OutOfRange { key, .. } | Self::Unordered { key, .. } => key,
        }
    }
}

/// A value within its range; anything that compares with nothing is outside.
pub(crate) fn in_range(key: &'static str, value: f64, least: f64, most: f64) -> Result<(), BadSetting> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(BadSetting::OutOfRange { key, value, least, most })
    }
}

impl PolicySettings {
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), BadSetting> {
        let bands = [
            ("loss", self.loss, 0.01, 1.0),
            ("unrepaired", self.unrepaired, 0.001, 1.0),
            ("round_trip", self.round_trip, 0.05, 30.0),
            ("jitter", self.jitter, 0.01, 10.0),
            ("rate", self.rate, 0.1, 10.0),
            ("frozen", self.frozen, 0.01, 1.0),
        ];
        for (key, band, least, most) in bands {
            in_range(key, band.bad, least, most)?;
            // Good may be 0: a line is then good only without any fault.
            in_range(key, band.good, 0.0, most)?;
            let (ordered, rule) = if key == "rate" {
                (band.good > band.bad, "more for good than for bad")
            } else {
                (band.good < band.bad, "less for good than for bad")
            };
            if !ordered {
                return Err(BadSetting::Unordered { key, value: band.good, rule });
            }
        }
        let durations = [
            ("bad_for", self.bad_for, 0.1, 30.0),
            ("frozen_for", self.frozen_for, 0.1, 60.0),
            ("connect_within", self.connect_within, 0.2, 30.0),
            ("appear_within", self.appear_within, 1.0, 120.0),
            ("interrupted_for", self.interrupted_for, 0.0, 30.0),
            ("fresh_for", self.fresh_for, 0.5, 60.0),
            ("settle", self.settle, 0.0, 60.0),
            ("hold", self.hold, 1.0, 3_600.0),
            ("trial_hold", self.trial_hold, 1.0, 86_400.0),
            ("longest_hold", self.longest_hold, 1.0, 86_400.0),
            ("good_for", self.good_for, 1.0, 600.0),
            ("lasting", self.lasting, 1.0, 86_400.0),
            ("returns_window", self.returns_window, 1.0, 86_400.0),
            ("raise_after", self.raise_after, 1.0, 600.0),
        ];
        for (key, value, least, most) in durations {
            in_range(key, value.as_secs_f64(), least, most)?;
        }
        in_range("loss_severe", self.loss_severe, 0.01, 1.0)?;
        in_range("growth", self.growth, 1.0, 10.0)?;
        in_range("returns", self.returns.into(), 1.0, 100.0)?;
        in_range("switches_a_minute", self.switches_a_minute.into(), 2.0, 60.0)?;
        let order = [
            (
                "longest_hold",
                self.longest_hold,
                self.hold.max(self.trial_hold),
                "at least hold and trial_hold",
            ),
            ("trial_hold", self.trial_hold, self.hold, "at least hold"),
        ];
        for (key, value, least, rule) in order {
            if value < least {
                return Err(BadSetting::Unordered { key, value: value.as_secs_f64(), rule });
            }
        }
        Ok(())
    }

    /// From when on a network has been good until a viewer is on the realtime path again, at most: the bound that the settings
    /// promise.
    #[must_use]
    pub fn returns_within(&self) -> Duration {
        let minute = Duration::from_secs(60);
        self.longest_hold.max(self.returns_window).max(minute) + self.good_for + self.fresh_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(PolicySettings::default().check(), Ok(()));
        let says = |change: fn(&mut PolicySettings)| {
            let mut settings = PolicySettings::default();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        assert_eq!(says(|s| s.bad_for = Duration::from_secs(31)), "bad_for is 31, but has to be 0.1 to 30");
        assert_eq!(says(|s| s.loss.bad = f64::NAN), "loss is NaN, but has to be 0.01 to 1");
        assert_eq!(says(|s| s.loss.good = 0.15), "loss is 0.15, but has to be less for good than for bad");
        assert_eq!(says(|s| s.rate.good = 1.0), "rate is 1, but has to be more for good than for bad");
        assert_eq!(says(|s| s.growth = 0.5), "growth is 0.5, but has to be 1 to 10");
        assert_eq!(says(|s| s.switches_a_minute = 1), "switches_a_minute is 1, but has to be 2 to 60");
        assert_eq!(
            says(|s| s.longest_hold = Duration::from_secs(100)),
            "longest_hold is 100, but has to be at least hold and trial_hold"
        );
        assert_eq!(
            says(|s| s.trial_hold = Duration::from_secs(1)),
            "trial_hold is 1, but has to be at least hold"
        );
    }

    #[test]
    fn settings_are_read_in_seconds_and_what_is_left_out_is_the_default() {
        let read: PolicySettings =
            serde_json::from_str(r#"{"hold": 20.5, "loss": {"bad": 0.2, "good": 0.1}}"#).unwrap();
        let expected = PolicySettings {
            hold: Duration::from_millis(20_500),
            loss: Band { bad: 0.2, good: 0.1 },
            ..PolicySettings::default()
        };
        assert_eq!(read, expected);
        let written = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<PolicySettings>(&written).unwrap(), expected);
        assert!(serde_json::from_str::<PolicySettings>(r#"{"hold_first": 1}"#).is_err());
        assert!(serde_json::from_str::<PolicySettings>(r#"{"hold": -1}"#).is_err());
    }
}

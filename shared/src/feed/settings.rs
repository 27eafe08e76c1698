//! How feeds are treated: what holds for all of them, and what differs for some.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{FeedId, has_form};

/// How a feed is treated. Decided when the feed begins; a request may change it while it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedSettings {
    /// How long a feed stays when its publisher left, in seconds (0 to 86,400).
    #[serde(with = "seconds")]
    pub publisher_grace: Duration,
    /// Length that segments aim at, in seconds (1 to 10).
    #[serde(with = "seconds")]
    pub segment_target: Duration,
    /// Length that parts aim at, in seconds (0.1 to 1).
    #[serde(with = "seconds")]
    pub part_target: Duration,
    /// How much media playlists list, in seconds (20 to 86,400).
    #[serde(with = "seconds")]
    pub window: Duration,
    /// What the players of realtime viewers are asked to optimise, unless a viewer says something else.
    pub playout: Playout,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            publisher_grace: Duration::from_secs(30),
            segment_target: Duration::from_secs(2),
            part_target: Duration::from_millis(200),
            window: Duration::from_secs(1_800),
            playout: Playout::default(),
        }
    }
}

/// A setting outside the range that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfRange {
    /// Its name.
    pub key: &'static str,
    /// What it is, in seconds.
    pub value: f64,
    /// The least it may be, in seconds.
    pub least: f64,
    /// The most it may be, in seconds.
    pub most: f64,
}

impl FeedSettings {
    /// # Errors
    /// The first setting that is out of its range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let ranges = [
            ("publisher_grace", self.publisher_grace, 0.0, 86_400.0),
            ("segment_target", self.segment_target, 1.0, 10.0),
            ("part_target", self.part_target, 0.1, 1.0),
            ("window", self.window, 20.0, 86_400.0),
        ];
        let wrong = ranges.into_iter().find(|(_, value, least, most)| {
            let value = value.as_secs_f64();
            value < *least || value > *most
        });
        match wrong {
            Some((key, value, least, most)) => {
                Err(OutOfRange { key, value: value.as_secs_f64(), least, most })
            }
            None => Ok(()),
        }
    }
}

/// What a viewer's player is asked to optimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Playout {
    /// Show every frame as soon as it is decoded: the playout-delay extension with 0/0 on the first frames. Lip sync
    /// is then as good as the arrival of both.
    #[default]
    LowestLatency,
    /// Let the player hold pictures back until the sound fits.
    LipSync,
}

impl Playout {
    /// All modes.
    pub const ALL: [Self; 2] = [Self::LowestLatency, Self::LipSync];

    /// Its name in settings and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LowestLatency => "lowest-latency",
            Self::LipSync => "lip-sync",
        }
    }
}

/// Which feeds are meant: an id in which `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeedPattern(String);

/// Why a text is not a [`FeedPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} matches no feed id: use 1 to 64 of A-Z a-z 0-9 - _ . and * for any characters")]
pub struct BadFeedPattern(String);

impl FeedPattern {
    /// Whether every feed is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.bytes().all(|b| b == b'*')
    }

    /// Whether this feed is meant.
    #[must_use]
    pub fn matches(&self, id: &FeedId) -> bool {
        // The first piece begins the id, the last one ends it, those between come in their order: taking each as early as it
        // comes leaves the most for the others.
        let mut pieces = self.0.split('*');
        let Some(mut rest) = id.as_str().strip_prefix(pieces.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = rest.get(at + piece.len()..).unwrap_or_default();
        }
        rest.ends_with(last)
    }
}

impl FromStr for FeedPattern {
    type Err = BadFeedPattern;

    fn from_str(text: &str) -> Result<Self, BadFeedPattern> {
        if has_form(text, |b| b == b'*') {
            Ok(Self(text.into()))
        } else {
            Err(BadFeedPattern(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for FeedPattern {
    type Error = BadFeedPattern;

    fn try_from(text: String) -> Result<Self, BadFeedPattern> {
        text.parse()
    }
}

impl From<FeedPattern> for String {
    fn from(pattern: FeedPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for FeedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What differs for some feeds. What it leaves out stays as it is for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedRule {
    /// Which feeds.
    #[serde(rename = "match")]
    pub pattern: FeedPattern,
    /// [`FeedSettings::publisher_grace`]
    #[serde(default, with = "seconds::optional", skip_serializing_if = "Option::is_none")]
    pub publisher_grace: Option<Duration>,
    /// [`FeedSettings::segment_target`]
    #[serde(default, with = "seconds::optional", skip_serializing_if = "Option::is_none")]
    pub segment_target: Option<Duration>,
    /// [`FeedSettings::part_target`]
    #[serde(default, with = "seconds::optional", skip_serializing_if = "Option::is_none")]
    pub part_target: Option<Duration>,
    /// [`FeedSettings::window`]
    #[serde(default, with = "seconds::optional", skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// [`FeedSettings::playout`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playout: Option<Playout>,
}

impl FeedRule {
    /// These settings with what this rule says laid over them.
    #[must_use]
    pub fn over(&self, settings: &FeedSettings) -> FeedSettings {
        FeedSettings {
            publisher_grace: self.publisher_grace.unwrap_or(settings.publisher_grace),
            segment_target: self.segment_target.unwrap_or(settings.segment_target),
            part_target: self.part_target.unwrap_or(settings.part_target),
            window: self.window.unwrap_or(settings.window),
            playout: self.playout.unwrap_or(settings.playout),
        }
    }
}

/// The settings of every feed that may come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedPolicy {
    /// What holds where no rule says something else.
    pub all: FeedSettings,
    /// All that match a feed hold for it, the later ones over the earlier ones.
    pub rules: Vec<FeedRule>,
}

impl FeedPolicy {
    /// How this feed is treated.
    #[must_use]
    pub fn of(&self, id: &FeedId) -> FeedSettings {
        let matching = self.rules.iter().filter(|rule| rule.pattern.matches(id));
        matching.fold(self.all.clone(), |settings, rule| rule.over(&settings))
    }
}

impl From<FeedSettings> for FeedPolicy {
    fn from(all: FeedSettings) -> Self {
        Self { all, rules: Vec::new() }
    }
}

/// Durations in settings files: seconds, with a fraction where one is needed. For `#[serde(with = "...")]`.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// # Errors
    /// Those of the format.
    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(value.as_secs_f64())
    }

    /// # Errors
    /// Where it is no number, or one below 0 or too large for a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| D::Error::custom("seconds must be 0 or more"))
    }

    pub(super) mod optional {
        use std::time::Duration;

        use serde::{Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            value: &Option<Duration>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, to),
                None => to.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Duration>, D::Error> {
            super::deserialize(from).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> FeedPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        let id: FeedId = "studio-1.main".parse().unwrap();
        for yes in ["studio-1.main", "*", "studio-*", "*.main", "st*.m*n", "*studio-1.main*", "s**n", "*-*.*"]
        {
            assert!(pattern(yes).matches(&id), "{yes}");
        }
        for no in ["studio", "studio-1.main2", "*-2*", "main*", "*.mai", "*n-1.main*n", "studio-1.main*n"] {
            assert!(!pattern(no).matches(&id), "{no}");
        }
        assert!(pattern("*").is_all() && !pattern("*a").is_all());
        // One text is not both the beginning and the end.
        assert!(!pattern("ab*ba").matches(&"aba".parse().unwrap()));
        for mode in Playout::ALL {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        }
        for bad in ["", "a b", ".a", "a/b", "ä"] {
            assert!(bad.parse::<FeedPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn later_rules_are_laid_over_earlier_ones() {
        let rule = |pattern: &str, window: Option<u64>, playout: Option<Playout>| FeedRule {
            pattern: pattern.parse().unwrap(),
            publisher_grace: None,
            segment_target: None,
            part_target: None,
            window: window.map(Duration::from_secs),
            playout,
        };
        let rules = vec![
            rule("studio-*", Some(60), Some(Playout::LipSync)),
            rule("studio-1", Some(90), None),
            rule("other", Some(30), None),
        ];
        let policy = FeedPolicy { all: FeedSettings::default(), rules };
        let of = |id: &str| {
            let settings = policy.of(&id.parse().unwrap());
            (settings.window.as_secs(), settings.playout)
        };
        assert_eq!(of("studio-1"), (90, Playout::LipSync));
        assert_eq!(of("studio-2"), (60, Playout::LipSync));
        assert_eq!(of("demo"), (1800, Playout::LowestLatency));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        assert_eq!(FeedSettings::default().check(), Ok(()));
        let wrong = FeedSettings { part_target: Duration::from_secs(2), ..FeedSettings::default() };
        assert_eq!(wrong.check().unwrap_err().key, "part_target");
        let wrong = FeedSettings { window: Duration::from_secs(5), ..FeedSettings::default() };
        assert_eq!(
            wrong.check().unwrap_err(),
            OutOfRange { key: "window", value: 5.0, least: 20.0, most: 86_400.0 }
        );
    }
}

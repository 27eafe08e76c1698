//! The configuration: one section for each room, read from a file, the environment and flags.
//!
//! | module | holds |
//! |---|---|
//! | `load` | the sources and their precedence: flags > environment > file > defaults |
//! | `error` | what is wrong, with file, line and the nearest known key |
//! | `auth`, `http`, `log` | the process's own sections |

mod auth;
mod error;
mod http;
mod load;
mod log;

use std::borrow::Cow;

use bicast_shared::feed::settings::{FeedPolicy, FeedRule, FeedSettings};
use serde::{Deserialize, Serialize};

pub use self::auth::{AuthConfig, Secret};
pub use self::error::ConfigError;
pub(crate) use self::http::everywhere;
pub use self::http::{HttpConfig, TcpConfig, TlsConfig};
pub use self::load::{DEFAULT_FILE, ENV_PREFIX, Setting, SettingValue, Sources};
pub use self::log::{LogConfig, LogFormat};

/// Everything that can be set. Parsed and checked as a whole before anything is opened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The HTTP side: listeners, limits, the web demo's files.
    pub http: HttpConfig,
    /// Tokens.
    pub auth: AuthConfig,
    /// Logs.
    pub log: LogConfig,
    /// How feeds are treated.
    pub feed: FeedSettings,
    /// What differs for some feeds: only in files and with `--set`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub feeds: Vec<FeedRule>,
    /// The WebRTC side.
    pub sfu: bicast_sfu::Config,
    /// The LL-HLS side.
    pub packager: bicast_packager::Config,
    /// The REST API.
    pub signaling: bicast_signaling::Config,
    /// What is for demonstrations only.
    pub demo: bicast_line::Config,
}

/// The file with every setting at its default and what it means: what `bicast config --default` prints.
pub const EXAMPLE: &str = include_str!("../../../bicast.example.toml");

/// A setting whose value makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Its name with its section: `feed.part_target`; `feeds.0.part_target` in the first of the `[[feeds]]`.
    pub key: Cow<'static, str>,
    /// What it is and what it may be.
    pub message: String,
}

impl Config {
    /// Reads all sources and checks the result.
    ///
    /// # Errors
    /// A source that cannot be read, unknown keys, wrong types, and values out of range.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        load::load(sources)
    }

    /// The first setting whose value makes no sense. What only a room can judge, it judges when it starts.
    ///
    /// # Errors
    /// That setting.
    pub fn check(&self) -> Result<(), Invalid> {
        self.http.check()?;
        self.auth.check()?;
        self.log.check()?;
        check_feed("feed", &self.feed)?;
        for (n, rule) in self.feeds.iter().enumerate() {
            check_feed(&format!("feeds.{n}"), &rule.over(&self.feed))?;
        }
        in_range("sfu.limits.tcp_connections", self.sfu.limits.tcp_connections, 1, 1_000_000, "")?;
        in_range("sfu.limits.handshake_seconds", self.sfu.limits.handshake_seconds, 1, 120, " s")?;
        in_range("sfu.limits.consent_seconds", self.sfu.limits.consent_seconds, 5, 600, " s")?;
        in_range("sfu.ingest.connect_seconds", self.sfu.ingest.connect_seconds, 1, 600, " s")?;
        in_range("sfu.ingest.silence_seconds", self.sfu.ingest.silence_seconds, 1, 600, " s")?;
        in_range("packager.max_megabytes_per_feed", self.packager.max_megabytes_per_feed, 1, u32::MAX, "")?;
        in_range("packager.max_waiting_requests", self.packager.max_waiting_requests, 1, u32::MAX, "")?;
        in_range("packager.loss_patience_ms", self.packager.loss_patience_ms, 0, 5_000, " ms")?;
        in_range("packager.start_wait_seconds", self.packager.start_wait_seconds, 0, 60, " s")?;
        in_range("packager.memory_seconds", self.packager.memory_seconds, 20, 86_400, " s")?;
        let stored = self.packager.dvr.max_megabytes_per_feed;
        in_range("packager.dvr.max_megabytes_per_feed", stored, 1, u32::MAX, "")?;
        in_range("signaling.ended_retention", self.signaling.ended_retention, 0, 86_400, " s")?;
        in_range("signaling.viewers", self.signaling.viewers, 1, 10_000_000, "")?;
        in_range("signaling.viewer_timeout", self.signaling.viewer_timeout, 5, 3_600, " s")?;
        let bad = |section: &str, bad: &bicast_signaling::policy::BadSetting| Invalid {
            key: format!("signaling.{section}.{}", bad.key()).into(),
            message: bad.to_string(),
        };
        self.signaling.admission.check().map_err(|wrong| bad("admission", &wrong))?;
        self.signaling.failover.check().map_err(|wrong| bad("failover", &wrong))
    }

    /// How each feed is treated.
    #[must_use]
    pub fn feed_policy(&self) -> FeedPolicy {
        FeedPolicy { all: self.feed.clone(), rules: self.feeds.clone() }
    }

    /// The configuration as a file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

fn check_feed(section: &str, settings: &FeedSettings) -> Result<(), Invalid> {
    settings.check().map_err(|wrong| {
        let key = format!("{section}.{}", wrong.key);
        Invalid { key: key.into(), message: out_of_range(wrong.value, wrong.least, wrong.most, " s") }
    })
}

/// Checks that a value lies in its range.
fn in_range<T: Copy + PartialOrd + std::fmt::Display>(
    key: &'static str,
    value: T,
    least: T,
    most: T,
    unit: &str,
) -> Result<(), Invalid> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Invalid { key: key.into(), message: out_of_range(value, least, most, unit) })
}

fn out_of_range<T: std::fmt::Display>(value: T, least: T, most: T, unit: &str) -> String {
    format!("{value}{unit} is out of range: it may be {least} to {most}{unit}")
}

#[cfg(test)]
mod tests;

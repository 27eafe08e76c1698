//! Settings of the WHIP side.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How publishers are received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// Publishers at the same time; further ones get 503.
    pub publishers: usize,
    /// Where a browser's bandwidth estimate starts, in kbit/s (100 to 100,000); 0 leaves it to the browser, which then
    /// begins at 300 kbit/s and a fraction of the picture's size.
    pub start_bitrate_kbps: u32,
    /// The least that a browser's encoder goes down to, in kbit/s; 0 leaves it to the browser.
    pub min_bitrate_kbps: u32,
    /// The most that a browser's encoder takes, in kbit/s; 0 leaves it to the browser (Chromium: 2,500 for 720p).
    pub max_bitrate_kbps: u32,
    /// Whether all simulcast layers that a publisher offers are received, four at most. Without it only its first layer is.
    pub simulcast: bool,
    /// Seconds from the POST to a finished handshake (at least 1), after which the feed's name is free again.
    pub connect_seconds: u64,
    /// Seconds without any authentic packet (at least 1) after which a publisher is gone and the feed's grace period
    /// begins.
    pub silence_seconds: u64,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            publishers: 1_000,
            start_bitrate_kbps: 4_000,
            min_bitrate_kbps: 0,
            max_bitrate_kbps: 0,
            simulcast: true,
            connect_seconds: 15,
            // Browsers check consent every 2.5 s, aiortc and libjuice every 4 to 6 s with media between.
            silence_seconds: 6,
        }
    }
}

impl IngestConfig {
    /// How long a session may take to connect.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_seconds.max(1))
    }

    /// How long a publisher may be silent.
    pub(crate) fn silence_timeout(&self) -> Duration {
        Duration::from_secs(self.silence_seconds.max(1))
    }
}

//! The packager's settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::feed::Limits;
use crate::core::reorder::Patience;

/// The packager's settings: the section `[packager]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Megabytes of media kept per feed. When they are reached before the feed's window is full, it is shorter. Playlists that
    /// were ended because their feed went on with other kinds of tracks may keep as much again, for the length of the window.
    pub max_megabytes_per_feed: u32,
    /// Playlist and part requests that may wait at the same time, over all feeds. One more is answered 503.
    pub max_waiting_requests: u32,
    /// Milliseconds that a missing RTP packet is waited for before its frame is given up (0 to 5,000).
    pub loss_patience_ms: u32,
    /// Seconds that a request for the multivariant playlist of a starting feed waits until it can be played.
    pub start_wait_seconds: u32,
    /// Feeds that are still served after they ended, for the length of their window.
    pub max_ended_feeds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_megabytes_per_feed: 512,
            max_waiting_requests: 20_000,
            loss_patience_ms: 250,
            start_wait_seconds: 8,
            max_ended_feeds: 32,
        }
    }
}

impl Config {
    pub(crate) fn start_wait(&self) -> Duration {
        Duration::from_secs(u64::from(self.start_wait_seconds.min(60)))
    }

    /// Bytes of media kept of a feed.
    pub(crate) fn bytes_per_feed(&self) -> usize {
        (self.max_megabytes_per_feed.max(1) as usize) << 20
    }

    /// How much is kept of a feed with such a window.
    pub(crate) fn limits(&self, window: Duration) -> Limits {
        let time = Duration::from_millis(u64::from(self.loss_patience_ms.min(5_000)));
        Limits {
            window,
            held: window,
            bytes: self.bytes_per_feed(),
            stored_bytes: 0,
            patience: Patience { time, ..Patience::default() },
        }
    }
}

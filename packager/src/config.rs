//! The packager's settings.

use std::path::{Path, PathBuf};
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
    /// Seconds of media kept in memory per feed, and so the most that playlists list while nothing is stored (20 to 86,400).
    pub memory_seconds: u32,
    /// What is stored.
    pub dvr: DvrConfig,
}

/// Segments on disk: the section `[packager.dvr]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DvrConfig {
    /// The folder where segments are stored, so that viewers can rewind over a feed's whole window, also after a restart. It is
    /// this process's alone. Where it is empty, everything is kept in memory.
    pub directory: PathBuf,
    /// Megabytes stored per feed. When they are reached before the feed's window is full, it is shorter.
    pub max_megabytes_per_feed: u32,
}

impl Default for DvrConfig {
    fn default() -> Self {
        Self { directory: PathBuf::new(), max_megabytes_per_feed: 16_384 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_megabytes_per_feed: 512,
            max_waiting_requests: 20_000,
            loss_patience_ms: 250,
            start_wait_seconds: 8,
            max_ended_feeds: 32,
            memory_seconds: 300,
            dvr: DvrConfig::default(),
        }
    }
}

impl DvrConfig {
    pub(crate) fn directory(&self) -> Option<&Path> {
        Some(self.directory.as_path()).filter(|directory| !directory.as_os_str().is_empty())
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

    /// How much can be listed of a feed with such a window.
    pub(crate) fn window(&self, window: Duration) -> Duration {
        if self.dvr.directory().is_some() { window } else { window.min(self.memory()) }
    }

    fn memory(&self) -> Duration {
        Duration::from_secs(u64::from(self.memory_seconds.max(20)))
    }

    /// How much is kept of a feed with such a window, of which some see everything `late`.
    pub(crate) fn limits(&self, window: Duration, late: Duration) -> Limits {
        let time = Duration::from_millis(u64::from(self.loss_patience_ms.min(5_000)));
        let window = self.window(window);
        Limits {
            window,
            held: window.min(self.memory()),
            late,
            bytes: self.bytes_per_feed(),
            stored_bytes: (self.dvr.max_megabytes_per_feed.max(1) as usize) << 20,
            patience: Patience { time, ..Patience::default() },
        }
    }
}

//! The `[signaling]` section of the configuration.

use serde::{Deserialize, Serialize};

use crate::admission::Budget;
use crate::policy::PolicySettings;

/// Settings of the REST API, of viewers and of the decisions about them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long the API still shows a feed that has ended, in seconds (0 to 86,400). 0 forgets it at once.
    pub ended_retention: u64,
    /// How many feeds that were made by request (`POST /v1/feeds`) may be there at a time; 0 makes none.
    pub max_created_feeds: u32,
    /// Viewers that may have joined at the same time (1 to 10,000,000), on both paths together. Those over HLS need not join.
    pub viewers: usize,
    /// How long a viewer is remembered that has no event channel open, no WebRTC session, and says nothing, in seconds (5 to 3,600).
    pub viewer_timeout: u64,
    /// What realtime viewers may use of this server. Who comes when it is used up is served over HLS and waits.
    pub admission: Budget,
    /// When a viewer is moved from one path to the other.
    pub failover: PolicySettings,
}

impl Default for Config {
    /// Feeds as long as the packager's window by default: while there is something to rewind to.
    fn default() -> Self {
        Self {
            ended_retention: 300,
            max_created_feeds: 1_000,
            viewers: 100_000,
            viewer_timeout: 60,
            admission: Budget::default(),
            failover: PolicySettings::default(),
        }
    }
}

//! The `[signaling]` section of the configuration.

use serde::{Deserialize, Serialize};

/// Settings of the REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long the API still shows a feed that has ended, in seconds (0 to 86,400). 0 forgets it at once.
    pub ended_retention: u64,
}

impl Default for Config {
    /// As long as the packager's window by default: while there is something to rewind to.
    fn default() -> Self {
        Self { ended_retention: 300 }
    }
}

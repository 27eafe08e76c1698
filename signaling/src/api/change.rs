//! The JSON of feeds that are made and changed by request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FeedSettings;

/// A feed to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewFeed {
    /// The name that it is to have: 1 to 64 of `A-Z a-z 0-9 - _ .`, not beginning with a dot.
    #[schema(example = "studio", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")]
    pub id: String,
    /// What differs from the configuration.
    #[serde(default)]
    pub settings: SomeSettings,
}

/// A change of a feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FeedChange {
    /// What is to be other than it is.
    #[serde(default)]
    pub settings: SomeSettings,
}

/// Settings of a feed, of which those that are left out stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SomeSettings {
    /// Seconds that it waits for its publisher to return. A feed that was made by request waits until it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0, maximum = 86_400)]
    pub publisher_grace: Option<f64>,
    /// Seconds that segments aim at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 10)]
    pub segment_target: Option<f64>,
    /// Seconds that parts aim at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0.1, maximum = 1)]
    pub part_target: Option<f64>,
    /// Seconds of media that playlists list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 20, maximum = 86_400)]
    pub window: Option<f64>,
    /// `lowest-latency` or `lip-sync`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "lowest-latency", pattern = "^(lowest-latency|lip-sync)$")]
    pub playout: Option<String>,
}

/// What a change has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettingsUpdate {
    /// All settings, as they are now.
    pub settings: FeedSettings,
    /// Those that have changed and hold already: `window` (a longer one fills with what comes), `playout` (for viewers who join from now on),
    /// `publisherGrace` (a publisher that is away has all of it from now on).
    #[schema(example = json!(["window"]))]
    pub at_once: Vec<String>,
    /// Those that have changed and hold from the next publisher on, because playlists that are live may not change their headers:
    /// `segmentTarget`, `partTarget`. `cadence` tells what holds now.
    #[schema(example = json!(["segmentTarget"]))]
    pub next_publisher: Vec<String>,
}

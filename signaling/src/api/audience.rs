//! A feed's viewers together: how many on which path and why, how late, and how often they were moved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::viewers::{Path, ReasonCode, Shortage, Tier};
use crate::admission::Budget;

/// A feed's viewers together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audience {
    /// Viewers that have joined.
    pub viewers: usize,
    /// How many for each combination of tier, path and reason that there is.
    pub groups: Vec<Group>,
    /// How late they are: what players at the live edge said within the last 15 seconds.
    pub latency: Vec<Latency>,
    /// Decisions since the feed's first viewer came, by their reasons' names.
    pub decisions: BTreeMap<String, u64>,
    /// Viewers that wait for room on the realtime path.
    pub waiting: usize,
}

/// Viewers that are served alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Their tier.
    pub tier: Tier,
    /// Their path.
    pub path: Path,
    /// Why.
    pub reason: ReasonCode,
    /// How many.
    pub viewers: usize,
}

/// Ingest to glass, by what players report, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Whose path.
    pub path: Path,
    /// Whose tier.
    pub tier: Tier,
    /// How many players' reports that is of.
    pub reports: usize,
    /// Half of them are not later than this.
    pub p50_ms: f64,
    /// 95 of 100.
    pub p95_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
}

/// For how many viewers there is room on the realtime path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Admission {
    /// What they may use together.
    pub limits: Budget,
    /// What they use.
    pub used: Used,
    /// Viewers with a place, those who are offered one included.
    pub slots: usize,
    /// Places that were offered and are not taken up yet.
    pub offered: usize,
    /// Viewers that wait.
    pub waiting: usize,
    /// What there is too little of for the one who waits longest; null where nobody waits.
    pub shortage: Option<Shortage>,
}

/// What realtime viewers use together, as measured in the last second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// Bits per second.
    pub egress_bps: u64,
    /// Packets per second.
    pub packets_per_second: u64,
    /// Share of all cores that this process uses, 0 to 1; null before it was measured.
    pub cpu_share: Option<f64>,
}

/// What this server is and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// Since when it runs (RFC 3339, UTC).
    #[schema(example = "2026-11-23T05:08:59.123Z", format = DateTime)]
    pub since: String,
    /// Feeds by state: `starting`, `live`, `offline`, `ended`.
    pub feeds: BTreeMap<String, usize>,
    /// Viewers that have joined.
    pub viewers: usize,
    /// How many may.
    pub most_viewers: usize,
    /// WebRTC sessions that are connected, joined or not.
    pub sessions: u32,
    /// Room on the realtime path.
    pub admission: Admission,
}

//! Viewers: where each is served and why, what its player says, and what its WebRTC session is sent.

use bicast_shared::auth;
use bicast_shared::status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::admission::Shortage;
pub use crate::policy::{Evidence, Path, ReasonCode};

/// What a viewer is entitled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// HLS.
    Free,
    /// WebRTC, and HLS where that is better.
    Vip,
}

impl From<auth::Tier> for Tier {
    fn from(tier: auth::Tier) -> Self {
        match tier {
            auth::Tier::Free => Self::Free,
            auth::Tier::Vip => Self::Vip,
        }
    }
}

impl From<Tier> for auth::Tier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Free => Self::Free,
            Tier::Vip => Self::Vip,
        }
    }
}

/// What a viewer that joins may say about itself. All of it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Join {
    /// A lower tier than its token gives: a `vip` may ask to be served as `free`. Where no tokens are wanted, `vip` if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// What it is, for operators: 1 to 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "web-demo 0.1", min_length = 1, max_length = 128)]
    pub agent: Option<String>,
}

/// What to change about a viewer. What is left out stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// The path to move it to and keep it on; `auto` lets the failover policy decide again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Wish>,
    /// Layers below the highest that it has to stay, 0 to 3, beside what the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 3)]
    pub layer_cap: Option<u8>,
}

/// A path that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// What the policy says.
    Auto,
    /// Over WebRTC.
    Realtime,
    /// Over HLS.
    Hls,
}

/// Viewers of a feed, a page at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Viewers {
    /// How many there are in all that the filter lets through.
    #[schema(minimum = 0)]
    pub total: usize,
    /// Sorted by id.
    pub viewers: Vec<Viewer>,
    /// What to give as `after` for those that follow; null where none do.
    pub next: Option<String>,
}

/// One viewer: one that has joined, or a WebRTC session of somebody who has not (any WHEP client).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Viewer {
    /// Its name here. Of a viewer that has joined it is as good as a key: with it, it is moved and ended.
    #[schema(example = "5f1d0c7e9a3b4f2d8c6976e5b5410415")]
    pub id: String,
    /// The feed that it watches.
    #[schema(example = "demo")]
    pub feed: String,
    /// What it is entitled to; null where it has not joined.
    pub tier: Option<Tier>,
    /// How it is served.
    pub path: Path,
    /// Why so, and on what grounds; null where it has not joined: nobody decides about it then.
    pub decision: Option<Decision>,
    /// Where it has been told to stay; null where the policy decides.
    pub ordered: Option<Path>,
    /// For what it waits, while it waits for room on the realtime path.
    pub waiting: Option<Waiting>,
    /// The viewer's id in its token (`sub`), if it has one.
    #[schema(example = "anna")]
    pub subject: Option<String>,
    /// What it said it is.
    pub agent: Option<String>,
    /// When it joined (RFC 3339, UTC); null where it has not.
    #[schema(example = "2026-11-23T05:08:59.123Z", format = DateTime)]
    pub joined: Option<String>,
    /// Event channels that are open.
    pub channels: u32,
    /// Times that it was moved from one path to the other.
    pub switches: u64,
    /// What its player said last; null before it has said anything.
    pub player: Option<Player>,
    /// Its WebRTC session; null where it has none.
    pub session: Option<Session>,
}

/// Where a viewer is served, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The path.
    pub path: Path,
    /// On the realtime path: how many layers below the highest it has to stay.
    pub layer_cap: u8,
    /// Why.
    pub reason: ReasonCode,
    /// Since when (RFC 3339, UTC).
    #[schema(example = "2026-11-23T05:08:59.123Z", format = DateTime)]
    pub since: String,
    /// What led to it.
    pub evidence: Evidence,
}

/// A place in the queue for the realtime path.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// What there is too little of.
    pub shortage: Shortage,
    /// How many are before it.
    pub ahead: usize,
    /// Seconds that it has waited.
    pub seconds: f64,
}

/// What a viewer that has joined is told: everything it needs to watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// Itself.
    pub viewer: Viewer,
    /// Where both paths are, relative to this server.
    pub urls: Urls,
    /// The mapping between both; null until the first frame has come.
    pub timeline: Option<super::Timeline>,
}

/// A viewer's addresses, relative to this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Urls {
    /// Where to POST its WHEP offer; null where its tier has no WebRTC.
    #[schema(example = "/whep/demo?viewer=5f1d0c7e9a3b4f2d8c6976e5b5410415")]
    pub whep: Option<String>,
    /// The multivariant playlist.
    #[schema(example = "/hls/demo/multivariant.m3u8")]
    pub hls: String,
    /// Its event channel: a WebSocket, or Server-Sent Events for who asks for `text/event-stream`.
    #[schema(example = "/v1/feeds/demo/viewers/5f1d0c7e9a3b4f2d8c6976e5b5410415/events")]
    pub events: String,
    /// Where a player without a WebSocket posts its reports.
    #[schema(example = "/v1/feeds/demo/viewers/5f1d0c7e9a3b4f2d8c6976e5b5410415/reports")]
    pub reports: String,
}

/// What a player said of itself last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Player {
    /// How long ago, in seconds.
    pub seconds_ago: f64,
    /// What it said.
    pub report: super::channel::Report,
}

/// A WebRTC session: what it is sent and how it arrives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its name here; constant while it lasts.
    #[schema(example = "8c6976e5b5410415")]
    pub id: String,
    /// What it is doing.
    pub state: SessionState,
    /// Seconds since it asked to join.
    pub seconds: f64,
    /// The worker thread that serves it.
    pub worker: u32,
    /// Bits per second that it was sent in the last second, RTP and SRTP included.
    pub bitrate_bps: u64,
    /// Packets that it was sent.
    pub packets: u64,
    /// Bytes that it was sent.
    pub bytes: u64,
    /// Packets that it was sent again.
    pub retransmitted: u64,
    /// Packets that it asked for again (NACK).
    pub nacks: u64,
    /// Keyframes that it asked for (PLI, FIR).
    pub keyframe_requests: u64,
    /// Lost of what it was sent lately, 0 to 1, by its last receiver report.
    pub loss_ratio: f64,
    /// Interarrival jitter in milliseconds, by its last receiver report.
    pub jitter_ms: f64,
    /// Round trip in milliseconds; null before it is known.
    pub round_trip_ms: Option<f64>,
    /// How long its player is asked to hold pictures back so that lost packets can be repaired, in milliseconds; 0 on a good line.
    pub playout_delay_ms: u64,
    /// Packets that wait to be sent to it.
    pub queue: u64,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Its handshake is not complete.
    Connecting,
    /// It has no picture until a keyframe comes.
    Waiting,
    /// It is given stored packets, or some that were lost.
    CatchingUp,
    /// It gets what comes as it comes.
    Live,
}

impl From<status::ViewerState> for SessionState {
    fn from(state: status::ViewerState) -> Self {
        match state {
            status::ViewerState::Connecting => Self::Connecting,
            status::ViewerState::Waiting => Self::Waiting,
            status::ViewerState::CatchingUp => Self::CatchingUp,
            status::ViewerState::Live => Self::Live,
        }
    }
}

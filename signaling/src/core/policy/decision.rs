//! What the policy says: where a viewer is served, why, and on what grounds.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::observation::Measured;
use crate::core::admission::Shortage;

/// How a viewer is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// Over WebRTC.
    Realtime,
    /// Over HLS.
    Hls,
}

impl Path {
    /// Its name in the API and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::Hls => "hls",
        }
    }
}

/// Why a viewer is served as it is. The names are part of the API, of events and of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// Realtime: its tier has it, and nothing speaks against it.
    Entitled,
    /// HLS: its tier has no other path.
    TierFree,
    /// HLS: the feed cannot be watched over WebRTC (B-frames, a codec that browsers do not take).
    FeedWithoutRealtime,
    /// The feed cannot be watched over HLS (VP8). A viewer of the realtime path stays there however bad its line is; one of the free tier waits.
    FeedWithoutHls,
    /// The feed can be watched over neither path; the viewer stays where it is.
    FeedWithoutPaths,
    /// Nobody publishes; the viewer stays where it is until somebody does.
    PublisherAway,
    /// HLS: the viewer has not begun to connect.
    NeverConnected,
    /// HLS: ICE did not connect; the viewer's network lets no UDP through (nor TCP at this port).
    UdpBlocked,
    /// HLS: the WebRTC connection was there and broke.
    ConnectionLost,
    /// The line loses too many packets.
    Loss,
    /// Too few of the lost packets could be repaired.
    LossUnrepaired,
    /// The round trip is too long for repairs.
    RoundTrip,
    /// Packets arrive too unevenly.
    Jitter,
    /// The line carries less than the lowest layer needs.
    RateBelowLowestLayer,
    /// The player's picture stood still too often.
    Freezes,
    /// HLS until there is room: the server's bits per second are used up.
    OverBitrate,
    /// HLS until there is room: the server's packets per second are used up.
    OverPacketRate,
    /// HLS until there is room: the server's CPU is used up.
    OverCpu,
    /// HLS until there is room: as many viewers as are allowed watch over WebRTC.
    OverCount,
    /// Realtime again: the line has been good for long enough.
    Returned,
    /// Realtime again, to try: nothing bad has been heard of the line for long, nor enough good.
    Trial,
    /// Realtime: there is room now, or the feed has that path now.
    Available,
    /// The line is good again, and the viewer, who had stayed, may have more again.
    Recovered,
    /// Somebody said so: the viewer itself or an operator. The policy is not asked until that is taken back.
    Ordered,
}

impl ReasonCode {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Entitled,
        Self::TierFree,
        Self::FeedWithoutRealtime,
        Self::FeedWithoutHls,
        Self::FeedWithoutPaths,
        Self::PublisherAway,
        Self::NeverConnected,
        Self::UdpBlocked,
        Self::ConnectionLost,
        Self::Loss,
        Self::LossUnrepaired,
        Self::RoundTrip,
        Self::Jitter,
        Self::RateBelowLowestLayer,
        Self::Freezes,
        Self::OverBitrate,
        Self::OverPacketRate,
        Self::OverCpu,
        Self::OverCount,
        Self::Returned,
        Self::Trial,
        Self::Available,
        Self::Recovered,
        Self::Ordered,
    ];

    /// Its name in the API, in events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entitled => "entitled",
            Self::TierFree => "tier-free",
            Self::FeedWithoutRealtime => "feed-without-realtime",
            Self::FeedWithoutHls => "feed-without-hls",
            Self::FeedWithoutPaths => "feed-without-paths",
            Self::PublisherAway => "publisher-away",
            Self::NeverConnected => "never-connected",
            Self::UdpBlocked => "udp-blocked",
            Self::ConnectionLost => "connection-lost",
            Self::Loss => "loss",
            Self::LossUnrepaired => "loss-unrepaired",
            Self::RoundTrip => "round-trip",
            Self::Jitter => "jitter",
            Self::RateBelowLowestLayer => "rate-below-lowest-layer",
            Self::Freezes => "freezes",
            Self::OverBitrate => "over-bitrate",
            Self::OverPacketRate => "over-packet-rate",
            Self::OverCpu => "over-cpu",
            Self::OverCount => "over-count",
            Self::Returned => "returned",
            Self::Trial => "trial",
            Self::Available => "available",
            Self::Recovered => "recovered",
            Self::Ordered => "ordered",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Shortage> for ReasonCode {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Bitrate => Self::OverBitrate,
            Shortage::PacketRate => Self::OverPacketRate,
            Shortage::Cpu => Self::OverCpu,
            Shortage::Count => Self::OverCount,
        }
    }
}

/// What speaks against a viewer's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// It never began to connect.
    NoSession,
    /// It could not connect.
    Blocked,
    /// Its connection broke.
    Lost,
    /// The estimated rate.
    Rate,
    /// Loss before repair.
    Loss,
    /// Loss after repair.
    Unrepaired,
    /// The round trip.
    RoundTrip,
    /// The jitter.
    Jitter,
    /// Pictures that stand still.
    Frozen,
}

impl From<Signal> for ReasonCode {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::NoSession => Self::NeverConnected,
            Signal::Blocked => Self::UdpBlocked,
            Signal::Lost => Self::ConnectionLost,
            Signal::Rate => Self::RateBelowLowestLayer,
            Signal::Loss => Self::Loss,
            Signal::Unrepaired => Self::LossUnrepaired,
            Signal::RoundTrip => Self::RoundTrip,
            Signal::Jitter => Self::Jitter,
            Signal::Frozen => Self::Freezes,
        }
    }
}

/// Where a viewer is served from now on, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// The path.
    pub path: Path,
    /// On the realtime path: how many layers below the highest the viewer has to stay; 0 for all that its line carries.
    pub layer_cap: u8,
    /// Why.
    pub reason: ReasonCode,
    /// Since when this holds, on the server's monotonic clock.
    pub since: Instant,
    /// What led to it.
    pub evidence: Evidence,
}

/// What led to a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What spoke against the line; none where nothing did.
    pub signal: Option<Signal>,
    /// The values at the decision.
    pub measured: Measured,
    /// For how long the signal had been bad, in milliseconds.
    pub bad_for_ms: u64,
    /// For how long the line had been good without a break, in milliseconds.
    pub good_for_ms: u64,
    /// How long the viewer stays on HLS now at least, in milliseconds; 0 where it is not held there.
    pub held_for_ms: u64,
    /// Returns in a row that did not last.
    pub failed_returns: u32,
    /// Returns that are left in the retry budget.
    pub returns_left: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_on_the_wire_are_their_names() {
        for code in ReasonCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
            let read: ReasonCode = serde_json::from_value(code.name().into()).unwrap();
            assert_eq!(read, code);
        }
        assert!(serde_json::from_str::<ReasonCode>("\"whatever\"").is_err());
        let names: std::collections::BTreeSet<_> = ReasonCode::ALL.map(ReasonCode::name).into();
        assert_eq!(names.len(), ReasonCode::ALL.len());
    }
}

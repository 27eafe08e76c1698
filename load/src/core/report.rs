//! What a run says, every second and at its end. The same for people ([`super::text`]) and, serialized, for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::publisher::Published;
use super::tally::{Spread, Tally};

/// Where the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Viewers join.
    Ramp,
    /// All have been asked in; their pictures may still be coming.
    Settle,
    /// Nothing changes any more: latency and rates count.
    Steady,
}

impl Phase {
    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ramp => "ramp",
            Self::Settle => "settle",
            Self::Steady => "steady",
        }
    }
}

/// One second.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Since the first viewer, in seconds.
    pub second: u64,
    /// Where the run is.
    pub phase: Phase,
    /// POSTs sent so far.
    pub asked: u64,
    /// Viewers that are connected now.
    pub connected: u64,
    /// Viewers of these that have a moving picture.
    pub moving: u64,
    /// Viewers that failed or ended so far.
    pub failed: u64,
    /// Connected viewers to which nothing came in this second.
    pub silent: u64,
    /// Media packets per second, all viewers together.
    pub packets_per_second: f64,
    /// Bits per second, all viewers together.
    pub bits_per_second: f64,
    /// Packets lost in this second.
    pub lost: u64,
    /// Packets repaired in this second.
    pub repaired: u64,
    /// Latency added, where the feed is ours.
    pub latency: Option<Times>,
    /// Share of the generator's core.
    pub generator_busy: Option<f64>,
    /// Cores that the server used.
    pub server_cores: Option<f64>,
    /// Its resident memory in bytes.
    pub server_bytes: Option<u64>,
}

/// A distribution of times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// Half are below.
    pub p50: f64,
    /// 95 of 100 are below.
    pub p95: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Times {
    /// None of none.
    #[must_use]
    pub fn of(spread: &Spread) -> Option<Self> {
        let at = |share| spread.quantile(share).map(|time| time.as_secs_f64() * 1e3);
        Some(Self { count: spread.count(), p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)?, max: at(1.0)? })
    }
}

/// What the server used, read from `/proc/PID`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerUse {
    /// CPU seconds from the first POST until the last viewer had its picture.
    pub join_seconds: f64,
    /// Joins that a whole core could do in a second at that price, forwarding meanwhile included.
    pub joins_per_core_second: f64,
    /// Cores used while steady, on average.
    pub steady_cores: Option<f64>,
    /// CPU per packet and viewer while steady, in microseconds.
    pub micros_per_packet: Option<f64>,
    /// Resident memory before the first viewer, in bytes.
    pub bytes_before: u64,
    /// ... and at the end.
    pub bytes_after: u64,
    /// The difference, for each viewer that was there.
    pub bytes_per_viewer: f64,
}

/// The run as a whole.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Viewers that were to come.
    pub viewers: u64,
    /// Viewers that connected.
    pub connected: u64,
    /// Viewers that were still there at the end.
    pub stayed: u64,
    /// The others, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Seconds from the first POST to the end.
    pub seconds: f64,
    /// Seconds of these that were steady.
    pub steady_seconds: f64,
    /// From POST to SRTP keys.
    pub connect: Option<Times>,
    /// From POST to the first complete keyframe.
    pub keyframe: Option<Times>,
    /// From POST to the first complete frame after it.
    pub moving: Option<Times>,
    /// Latency added while steady, of the sampled packets, where the feed is ours.
    pub latency: Option<Times>,
    /// Media packets while steady, per second and viewer.
    pub packets_per_second_and_viewer: Option<f64>,
    /// Media packets while steady, per second.
    pub packets_per_second: Option<f64>,
    /// Bits while steady, per second.
    pub bits_per_second: Option<f64>,
    /// All media packets.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after they had been asked for.
    pub repaired: u64,
    /// Packets that came late, unasked.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets in retransmission streams.
    pub retransmissions: u64,
    /// Packets of nothing that was agreed.
    pub unknown: u64,
    /// NACKed packets, each question.
    pub asked: u64,
    /// PLIs sent.
    pub keyframes_asked: u64,
    /// Seconds in which a connected viewer got nothing, summed over viewers while steady.
    pub silent_seconds: u64,
    /// Packets that the kernel dropped because a UDP receive buffer was full, of any process here.
    pub receive_buffer_drops: Option<u64>,
    /// The share of packets that was to be opened.
    pub authenticate: f64,
    /// Packets found authentic.
    pub authenticated: u64,
    /// Packets found forged.
    pub forged: u64,
    /// Share of the generator's core: on average while steady.
    pub generator_busy: Option<f64>,
    /// ... and in the busiest second of all.
    pub generator_busiest: Option<f64>,
    /// What the server used.
    pub server: Option<ServerUse>,
    /// What the synthetic feed's publisher did.
    pub published: Option<Published>,
    /// Requests for keyframes that reached it before the first viewer came, per second: the server's own, for its segments.
    pub keyframe_requests_per_second_before: Option<f64>,
    /// Requests for keyframes that reached it while viewers joined, the server's own among them.
    pub keyframe_requests_joining: Option<u64>,
    /// How long that was, in seconds.
    pub joining_seconds: Option<f64>,
    /// Why the run is void.
    pub void: Vec<String>,
}

impl Summary {
    /// The counts of a run; everything else is still to be filled in.
    #[must_use]
    pub fn of(tally: &Tally, viewers: u64, failed: BTreeMap<String, u64>) -> Self {
        Self {
            viewers,
            connected: tally.connect.count(),
            stayed: 0,
            failed,
            seconds: 0.0,
            steady_seconds: 0.0,
            connect: Times::of(&tally.connect),
            keyframe: Times::of(&tally.keyframe),
            moving: Times::of(&tally.moving),
            latency: Times::of(&tally.latency),
            packets_per_second_and_viewer: None,
            packets_per_second: None,
            bits_per_second: None,
            packets: tally.packets,
            lost: tally.lost,
            repaired: tally.repaired,
            late: tally.late,
            duplicates: tally.duplicates,
            retransmissions: tally.retransmissions,
            unknown: tally.unknown,
            asked: tally.asked,
            keyframes_asked: tally.keyframes_asked,
            silent_seconds: 0,
            receive_buffer_drops: None,
            authenticate: 0.0,
            authenticated: tally.authenticated,
            forged: tally.forged,
            generator_busy: None,
            generator_busiest: None,
            server: None,
            published: None,
            keyframe_requests_per_second_before: None,
            keyframe_requests_joining: None,
            joining_seconds: None,
            void: Vec::new(),
        }
    }
}

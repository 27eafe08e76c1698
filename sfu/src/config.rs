//! The room's settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::ingest::IngestConfig;

/// How the WebRTC side listens and what it allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one UDP port of all peers; 0 takes any free one.
    pub udp_port: u16,
    /// The addresses to listen on. IPv6 is left out silently where the machine has none and this is the default.
    pub bind: Vec<IpAddr>,
    /// Threads that own viewers; 0 means one per core.
    pub workers: usize,
    /// The addresses that peers are told, where they are not those of this machine (behind a NAT, in a container).
    pub public_addresses: Vec<IpAddr>,
    /// What a viewer's player is asked to optimise.
    pub playout: Playout,
    /// Bounds on what viewers can take.
    pub limits: Limits,
    /// How publishers are received.
    pub ingest: IngestConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            udp_port: 8189,
            bind: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            workers: 0,
            public_addresses: Vec::new(),
            playout: Playout::default(),
            limits: Limits::default(),
            ingest: IngestConfig::default(),
        }
    }
}

/// What a viewer's player is asked to optimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Playout {
    /// Show every frame as soon as it is decoded: the playout-delay extension with 0/0 on the first frames. Lip sync
    /// is then as good as the arrival of both.
    #[default]
    LowestLatency,
    /// Let the player hold pictures back until the sound fits.
    LipSync,
}

/// Bounds on what viewers can take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Viewers at the same time; further ones get 503.
    pub viewers: usize,
    /// Viewers that have not finished their handshake at the same time; further ones get 503.
    pub handshakes: usize,
    /// Seconds that a handshake may take (1 to 120).
    pub handshake_seconds: u64,
    /// Seconds without an authenticated STUN check after which a viewer is gone (RFC 7675 says 30).
    pub consent_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { viewers: 10_000, handshakes: 1_000, handshake_seconds: 15, consent_seconds: 30 }
    }
}

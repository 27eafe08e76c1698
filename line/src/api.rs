//! What the routes of lines send.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::network::Network;

/// All lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lines {
    /// In the order of their ports.
    pub lines: Vec<Line>,
}

/// A line: one viewer's own bad network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// Its name in these routes.
    #[schema(example = "7GkWnT4yq0bRzH2M")]
    pub id: String,
    /// Its TCP and UDP port.
    #[schema(example = 8200)]
    pub port: u16,
    /// Where a viewer asks for what it would ask the gateway for: the host is the one that this request was sent to. Always plain http.
    #[schema(example = "http://localhost:8200")]
    pub origin: String,
    /// How bad it is now.
    pub network: Network,
    /// What has passed since it is there.
    pub passed: Passed,
}

/// What has passed a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passed {
    /// From the gateway to the viewer.
    pub to_viewer: Direction,
    /// From the viewer to the gateway.
    pub from_viewer: Direction,
}

/// What has passed in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Direction {
    /// UDP packets that arrived.
    pub udp_packets: u64,
    /// Their bytes, without headers of UDP and IP.
    pub udp_bytes: u64,
    /// UDP packets that did not: lost, blocked, or too many for the rate.
    pub udp_dropped: u64,
    /// Bytes that arrived over TCP.
    pub tcp_bytes: u64,
    /// TCP segments that were held as if they had been lost and sent again.
    pub tcp_held: u64,
}

/// What went wrong and what to do about it (RFC 9457): as in all other routes.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "a description; problems are made by bicast_shared")]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
    hint: Option<String>,
}

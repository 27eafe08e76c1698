//! What became of asking a candidate.

use std::net::SocketAddr;

use serde::Serialize;

use super::address::Reach;
use super::sdp::{Candidate, Transport};

/// What asking an address came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(crate) enum Outcome {
    /// It answered with what only the session's owner could write.
    Answered {
        /// From the request to its answer, in milliseconds.
        round_trip_ms: f64,
        /// Our address as the server sees it.
        seen_as: SocketAddr,
    },
    /// Something came back that is no such answer.
    Wrong { why: String },
    /// The host says that nothing listens there.
    Refused,
    /// This machine cannot send there.
    Unreachable { why: String },
    /// Nothing came back.
    Silent,
}

/// A candidate, and what asking it came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Probed {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    pub(crate) reach: Reach,
    /// Whether peers are told it; otherwise it was asked only to know whether the port answers on this machine.
    pub(crate) offered: bool,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

impl Probed {
    pub(crate) fn new(candidate: Candidate, offered: bool, outcome: Outcome) -> Self {
        let Candidate { transport, address } = candidate;
        Self { transport, address, reach: Reach::of(address.ip()), offered, outcome }
    }

    pub(crate) const fn answered(&self) -> bool {
        matches!(self.outcome, Outcome::Answered { .. })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_get_one_flat_object() {
        let candidate = Candidate { transport: Transport::Udp, address: "10.0.0.1:8189".parse().unwrap() };
        let seen_as = "10.0.0.2:5000".parse().unwrap();
        let answered = Probed::new(candidate, true, Outcome::Answered { round_trip_ms: 0.25, seen_as });
        assert_eq!(
            serde_json::to_value(&answered).unwrap(),
            json!({
                "transport": "udp", "address": "10.0.0.1:8189", "reach": "private", "offered": true,
                "outcome": "answered", "roundTripMs": 0.25, "seenAs": "10.0.0.2:5000"
            })
        );
        let silent = serde_json::to_value(Probed::new(candidate, false, Outcome::Silent)).unwrap();
        assert_eq!(silent["outcome"], "silent");
    }
}

//! Everything that speaks WebRTC: WHIP in, WHEP out, and the packets between.
//!
//! | module | owns |
//! |---|---|
//! | `port` | the one UDP port: which datagram is whose |
//! | `socket` | bound sockets, batches in and out |
//! | `ingest` | publishers (WHIP): one session task each, writes to the feed bus |
//! | `core` | pure: STUN, SRTP sealing, rewriting, history, joining, pacing, reports, SDP |

mod config;
mod core;
mod error;
mod http;
mod ingest;
mod port;
mod shared;
mod socket;

pub use config::{Config, Limits, Playout};
pub use error::Error;

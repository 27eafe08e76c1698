//! Everything that speaks WebRTC: WHIP in, WHEP out, and the packets between.
//!
//! | module | owns |
//! |---|---|
//! | `port` | the one UDP port: which datagram is whose |
//! | `socket` | bound sockets, batches in and out |
//! | `handshake` | the DTLS server of one peer: publishers' and viewers' |
//! | `ingest` | publishers (WHIP): one session task each, writes to the feed bus |
//! | `whep` | viewers' HTTP routes |
//! | `worker` | viewers: one thread per core, each owns its viewers outright, reads the feed bus |
//! | `core` | pure: STUN, SRTP sealing, rewriting, history, joining, pacing, reports, SDP |
//! | `status` | what the other rooms are told |
//! | [`fanout`] | the packet path alone, for measuring |

mod config;
mod core;
mod error;
#[doc(hidden)]
pub mod fanout;
mod handshake;
mod http;
mod ingest;
mod port;
mod sfu;
mod shared;
mod socket;
mod status;
#[cfg(test)]
mod tests;
mod whep;
mod worker;

pub use config::{Config, Limits, Playout};
pub use error::Error;
pub use ingest::IngestConfig;
pub use sfu::Sfu;
pub use socket::BUFFER_BYTES as UDP_BUFFER_BYTES;

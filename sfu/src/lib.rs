//! Everything that speaks WebRTC: WHIP in, WHEP out, and the packets between.
//!
//! | module | owns |
//! |---|---|
//! | `addresses` | which addresses peers are told |
//! | `port` | the one port of all peers: which datagram is whose |
//! | `socket` | bound UDP sockets, batches in and out |
//! | `tcp` | ICE-TCP: listeners, whose a connection is, publishers' connections |
//! | `handshake` | the DTLS server of one peer: publishers' and viewers' |
//! | `ice_servers` | STUN and TURN servers that peers are told of |
//! | `ingest` | publishers (WHIP): one session task each, writes to the feed bus |
//! | `whep` | viewers' HTTP routes |
//! | `worker` | viewers: one thread per core, each owns its viewers outright, reads the feed bus |
//! | `core` | pure: STUN, SRTP sealing, rewriting, history, joining, pacing, reports, SDP |
//! | `status` | what the other rooms are told |
//! | [`fanout`] | the packet path alone, for measuring |

mod addresses;
mod config;
mod core;
mod error;
#[doc(hidden)]
pub mod fanout;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handshake;
mod http;
mod ice_servers;
mod ingest;
mod port;
mod sfu;
mod shared;
mod socket;
mod status;
mod tcp;
#[cfg(test)]
mod tests;
mod whep;
mod worker;

pub use config::{Config, Limits, TcpPort};
pub use error::Error;
pub use ice_servers::IceServer;
pub use ingest::IngestConfig;
pub use sfu::Sfu;
pub use socket::BUFFER_BYTES as UDP_BUFFER_BYTES;

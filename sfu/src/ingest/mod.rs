//! Publishers: WHIP in (RFC 9725).
//!
//! | module | owns |
//! |---|---|
//! | [`whip`] | the HTTP routes and who publishes what |
//! | [`session`] | one publisher: a task that reads the transport and writes the feed |
//! | [`standby`] | a publisher that waits behind another one |
//! | [`transport`] | ICE-lite, DTLS, SRTP of one publisher, without input or output of its own |
//! | [`core`] | pure: the offer, the answer, streams, repairs, feedback |
//! | [`counts`] | counters to metrics |
//! | [`config`] | settings |

mod config;
pub(crate) mod core;
mod counts;
mod session;
mod standby;
#[cfg(test)]
mod tests;
mod transport;
mod whip;

pub use config::IngestConfig;
pub(crate) use whip::{Whip, router};

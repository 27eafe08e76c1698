//! What the fuzz targets (`fuzz/`) do with this crate. Each takes any bytes, reads steps out of them, and asserts what has to
//! hold whatever they are. They stand here because they look inside; `cargo test` replays the seeds through them.
//!
//! | target | what it tests |
//! |---|---|
//! | `demux` | what a datagram is; STUN; the guard in front of DTLS and the look into the ClientHello |
//! | `dtls` | the handshake up to the DTLS library, with its timers |
//! | `rtcp` | compound RTCP of viewers and of publishers |
//! | `sdp` | offers and fragments, and the answers to them |
//! | `rewrite` | a publisher's packets to a viewer's SRTP and back |
//! | `ingest` | sequence numbers, NACK, arrival times and streams of a publisher |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says what is wrong by panicking"
)]

mod demux;
mod dtls;
mod ingest;
mod rewrite;
mod rtcp;
mod sdp;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use std::sync::OnceLock;
use std::time::Instant;

use arbitrary::Unstructured;
use bicast_shared::feed::info::{Cadence, FeedInfo, FeedState};
use bicast_shared::id::{Epoch, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::time::{ClockRate, ProgramTime};

pub use demux::demux;
pub use dtls::dtls;
pub use ingest::ingest;
pub use rewrite::rewrite;
pub use rtcp::rtcp;
pub use sdp::sdp;

/// The moment at which the virtual time of every run begins.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(bicast_shared::clock::now)
}

/// A number below `end`, which must not be 0; 0 when the bytes are used up.
fn below(steps: &mut Unstructured<'_>, end: u32) -> u32 {
    steps.int_in_range(0..=end - 1).unwrap_or(0)
}

/// At most `most` of the bytes that are left.
fn bytes<'a>(steps: &mut Unstructured<'a>, most: u32) -> &'a [u8] {
    let length = usize::try_from(below(steps, most + 1)).unwrap().min(steps.len());
    steps.bytes(length).unwrap_or_default()
}

/// A live feed with these tracks.
fn feed(tracks: Vec<TrackInfo>) -> FeedInfo {
    FeedInfo {
        id: "demo".parse().unwrap(),
        settings: Arc::default(),
        is_kept: false,
        state: FeedState::Live,
        epoch: Epoch(0),
        tracks,
        publisher: None,
        standby: None,
        cadence: Cadence::default(),
        map: None,
        b_frames: false,
        layers: Vec::new(),
        since: ProgramTime::default(),
    }
}

fn video(codec: Codec, fmtp: &str) -> TrackInfo {
    TrackInfo::single(TrackId(0), codec, ClockRate::VIDEO, 0, fmtp.to_owned())
}

fn sound(fmtp: &str) -> TrackInfo {
    TrackInfo::single(TrackId(1), Codec::Opus, ClockRate::OPUS, 2, fmtp.to_owned())
}

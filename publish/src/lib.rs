//! `bicast publish`: a WHIP client that sends a file in a loop, or a test pattern.
//!
//! | module | role |
//! |---|---|
//! | [`core`] | pure: pictures, bar codes, payloads, timing, texts |
//! | [`source`] | where frames come from: the test pattern, a clip |
//! | [`encoder`] | H.264 and Opus |
//! | `lane` | one track on its way: a thread that produces, a task that sends |
//! | `feedback` | RTCP: sender reports out, keyframe requests and reports in |
//! | `peer` | the `webrtc` crate's peer connection |
//! | [`whip`] | HTTP |
//! | `session` | one stay at the server, from offer to good-bye |
//! | `command`, `args`, `display` | the command line around it |
//!
//! Programs (tests, load generators) use the pieces: [`core::pattern::TestPattern`] draws,
//! [`encoder::H264Encoder`] encodes, [`core::h264::packetize`] makes RTP payloads, [`core::barcode`] reads numbers
//! back, [`source::Input`] gives ready frames, and [`publish`] does it all.

mod args;
mod command;
pub mod core;
mod display;
pub mod encoder;
pub mod error;
mod feedback;
mod lane;
mod peer;
mod session;
pub mod source;
pub mod whip;

pub use args::{Args, Token};
pub use command::{publish, run};
pub use error::Error;

//! The pure half: pictures, bars, payloads, timing and texts. No clock, no sockets, no threads; time is an argument.

pub mod barcode;
pub mod budget;
pub mod endpoint;
mod font;
pub mod grid;
pub mod h264;
pub mod looping;
pub mod pacing;
pub mod pattern;
pub mod picture;
pub mod rate;
pub mod reply;
pub mod reports;
pub mod retry;
pub mod samples;
pub mod sdp;
pub mod stats;
pub mod tone;

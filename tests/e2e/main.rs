//! End to end tests: one binary, real processes, real sockets, real media.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is a test's verdict, also in what tests share"
)]

mod aac;
mod architecture;
mod attacks;
mod bad_input;
mod codecs;
mod delay_ends;
mod delays;
mod delivery;
mod dvr;
mod epochs;
mod feeds;
mod gstreamer;
mod identity;
mod instruments;
mod lines;
mod load;
mod low_latency;
mod media_in;
mod peers;
mod players;
mod renditions;
mod restarts;
mod rules;
mod scene;
mod sessions;
mod shield;
mod shutdown;
mod takeover;
mod timeline;
mod tokens;
mod viewers;

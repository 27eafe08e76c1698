//! The built `bicast` as a process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may fail loudly"
)]

mod doctor;
#[cfg(unix)]
mod live;
mod serve;
mod support;

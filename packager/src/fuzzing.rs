//! What the fuzz targets (`fuzz/`) do with this crate. Each takes any bytes, reads steps out of them, and asserts what has to
//! hold whatever they are. `cargo test` replays the seeds through them.
//!
//! | target | what it tests |
//! |---|---|
//! | `depacketize` | RTP payloads to frames and back, with losses; access units of AAC; Opus durations |
//! | `parameters` | parameter sets, the init segment that is made of them, still frames |
//! | `query` | delivery directives, and what they and the rest of a query do to a playlist |
//! | `boxes` | fragments as they are written and read |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says what is wrong by panicking"
)]

mod aac;
mod boxes;
mod depacketize;
mod parameters;
mod query;
#[cfg(test)]
mod tests;

use arbitrary::Unstructured;

pub use boxes::boxes;
pub use depacketize::depacketize;
pub use parameters::parameters;
pub use query::query;

/// A number below `end`, which must not be 0; 0 when the bytes are used up.
fn below(steps: &mut Unstructured<'_>, end: u32) -> u32 {
    steps.int_in_range(0..=end - 1).unwrap_or(0)
}

/// At most `most` of the bytes that are left.
fn bytes<'a>(steps: &mut Unstructured<'a>, most: u32) -> &'a [u8] {
    let length = usize::try_from(below(steps, most + 1)).unwrap().min(steps.len());
    steps.bytes(length).unwrap_or_default()
}

//! LL-HLS from outside, anyone's: `bicast check hls` follows an origin at the live edge and says which rules it keeps;
//! `bicast bench hls` lets many players do so and measures what they get.

mod check;
mod core;
mod fetch;
mod follow;
mod players;
mod probe;
mod tls;

pub use check::{CheckArgs, check};
pub use players::{HlsArgs, bench_hls};

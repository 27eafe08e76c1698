//! `bicast check hls`: follows anyone's LL-HLS origin at the live edge and says which rules it keeps.

mod check;
mod core;
mod fetch;
mod follow;
mod probe;
mod tls;

pub use check::{CheckArgs, check};

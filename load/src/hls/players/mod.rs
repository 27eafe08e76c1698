//! `bicast bench hls`: a load generator for LL-HLS origins, ours or another's.
//!
//! | module | role |
//! |---|---|
//! | `args` | the command line |
//! | `find` | what clients will follow |
//! | `line` | a client's connections |
//! | `player` | one client |
//! | `watch` | the counts of every second |
//! | `run` | the command |
//!
//! What keeps it light: a playlist is unpacked and read once, however many clients get the same bytes; media is counted and
//! dropped as it comes; addresses are taken apart when they are first read.

mod args;
mod find;
mod line;
mod player;
mod run;
mod watch;

pub use args::HlsArgs;
pub use run::bench_hls;

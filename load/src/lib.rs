//! `bicast bench viewers`: a load generator for WHEP servers, ours or another's. Real ICE, DTLS and SRTP for every viewer,
//! light enough that one core receives for thousands.
//!
//! | module | role |
//! |---|---|
//! | [`core`] | pure: the viewer, the synthetic feed's publisher, counts, the verdict |
//! | [`engine`] | a thread that owns viewers and their sockets |
//! | `sender` | the publisher's thread |
//! | [`wire`] | a socket of one of them |
//! | `http` | WHEP and WHIP |
//! | [`procfs`] | what the server's process and our core use |
//! | `monitor` | the counts of every second, and the summary |
//! | `run`, [`args`] | the command |
//! | `hls` | `bicast check hls`: the rules of LL-HLS, seen from outside; `bicast bench hls`: many players at the live edge |
//!
//! What keeps `bench viewers` light: packets come in runs (UDP GRO), a socket is read once for all that waits in it, only a sample of
//! the packets is decrypted, the thread sleeps a fraction of a millisecond between rounds so that one round serves many
//! sockets, and latency is taken from the kernel's time stamps, so that sleeping costs no accuracy.

pub mod args;
pub mod core;
pub mod engine;
mod hls;
mod http;
mod monitor;
pub mod procfs;
mod run;
mod sender;
pub mod wire;

pub use args::Args;
pub use hls::{CheckArgs, HlsArgs, bench_hls, check};
pub use run::{Void, run};

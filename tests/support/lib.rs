//! What the end to end tests share: a bicast to test, peers whose every timestamp the test decides, and a reader of
//! LL-HLS that knows nothing of how bicast writes it.
//!
//! | module | holds |
//! |---|---|
//! | [`server`] | [`server::Server`]: the built `bicast`, started on free ports, its log shown when a test fails |
//! | [`process`] | children (publishers, players) that end with the test |
//! | [`http`] | a small HTTP client |
//! | [`connection`] | one HTTP connection, HTTP/2 or TLS, kept open |
//! | [`edge`] | [`edge::Edge`]: the real nginx and Varnish in front of a server, with the files of `deploy/` |
//! | [`clip`] | H.264 read from MP4 files, every frame marked with a number of its own |
//! | [`peer`] | [`peer::RtpPublisher`] and [`peer::RtpViewer`]: WHIP and WHEP with raw RTP on both ends |
//! | [`origin`] | [`origin::Origin`]: an LL-HLS origin with the trouble that the test wants |
//! | [`numbers`] | RTP sequence numbers over their wrap, and which are missing |
//! | [`raw`] | peers whose every datagram is in the test's hands: for attacks and for moving about |
//! | [`playback`] | sends a clip with chosen clocks, sender reports and starts |
//! | [`cmaf`] | samples of CMAF fragments with their presentation times |
//! | [`hls`] | playlists, and all frames that a feed's window holds |
//! | [`figures`] | what the programs that measure have in common |
//! | [`barcode`] | the frame number in the picture, read by decoding with ffmpeg |
//! | [`wait`] | waiting for a condition with a generous deadline |

pub mod barcode;
pub mod channel;
pub mod clip;
pub mod cmaf;
pub mod connection;
pub mod edge;
pub mod figures;
pub mod hls;
pub mod http;
pub mod numbers;
pub mod origin;
pub mod peer;
pub mod playback;
pub mod process;
pub mod raw;
pub mod server;
pub mod wait;

use std::path::PathBuf;

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), Into::into)
}

/// A file of `target/test-assets`.
///
/// # Errors
/// Where it is missing, with the command that makes it.
pub fn asset(name: &str) -> anyhow::Result<PathBuf> {
    let path = root().join("target/test-assets").join(name);
    anyhow::ensure!(path.is_file(), "{} is missing: run scripts/setup test", path.display());
    Ok(path)
}

//! What a feed costs in memory beside its media.

use std::time::Duration;

use anyhow::Context as _;
use bicast_load::procfs;
use bicast_tests::figures::progress;
use bicast_tests::hls;
use bicast_tests::raw::RawPublisher;
use bicast_tests::server::Server;
use serde::Serialize;

use super::verdict;

/// Bytes for each feed, at most.
const MOST: f64 = 4.0 * 1024.0 * 1024.0;
/// Seconds of media that are kept: the window is full, and older media is gone, long before it is measured.
const WINDOW: u64 = 20;
const SETTLE: Duration = Duration::from_secs(WINDOW * 3);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    feeds: u32,
    /// Bytes: what each feed after the first added, what its playlists list of it, and the difference.
    added: f64,
    listed: f64,
    beside: f64,
    met: bool,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let mib = |bytes: f64| bytes / (1024.0 * 1024.0);
        format!(
            "Memory of a feed, {} feeds: {:.2} MiB, of which its playlists list {:.2}; {:.2} MiB beside it; bar {} MiB: {}",
            self.feeds,
            mib(self.added),
            mib(self.listed),
            mib(self.beside),
            mib(MOST),
            verdict(self.met)
        )
    }
}

pub(crate) async fn measure(feeds: u32) -> anyhow::Result<Report> {
    let server = Server::start_with(&["--set", &format!("feed.window={WINDOW}")]).await?;
    let resident =
        || procfs::process(server.process.id()).map(|used| used.bytes).context("the server is gone");
    let url = |number: u32| server.url(&format!("/whip/memory-{number}"));
    let mut publishers = vec![RawPublisher::connect(&url(0)).await?];
    progress(&format!("one feed, {} s", SETTLE.as_secs()));
    tokio::time::sleep(SETTLE).await;
    let first = resident()?;
    for number in 1..feeds {
        publishers.push(RawPublisher::connect(&url(number)).await?);
    }
    progress(&format!("{feeds} feeds, {} s", SETTLE.as_secs()));
    tokio::time::sleep(SETTLE).await;
    let all = resident()?;
    let mut listed = 0;
    for number in 1..feeds {
        let multivariant = server.hls_plays(&format!("memory-{number}")).await?;
        for playlist in hls::renditions(&multivariant).await? {
            let window = hls::window(&playlist).await?;
            listed += window.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>();
        }
    }
    server.check_unharmed().await?;
    #[expect(clippy::cast_precision_loss, reason = "less than 2^52")]
    let each = |bytes: u64| bytes as f64 / f64::from(feeds - 1);
    let (added, listed) = (each(all.saturating_sub(first)), each(listed as u64));
    let beside = added - listed;
    Ok(Report { feeds, added, listed, beside, met: beside <= MOST })
}

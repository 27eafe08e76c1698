//! How soon a feed can be played.

use std::time::Duration;

use anyhow::Context as _;
use bicast_load::core::stamp;
use bicast_shared::clock;
use bicast_tests::figures::progress;
use bicast_tests::figures::quantile;
use bicast_tests::raw::RawPublisher;
use bicast_tests::server::Server;
use bicast_tests::{hls, http};
use serde::Serialize;

use super::verdict;

/// Milliseconds, at most.
const MOST: f64 = 1_000.0;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    starts: u32,
    /// Milliseconds.
    p50: f64,
    max: f64,
    met: bool,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        format!(
            "First keyframe sent to the playlist that lists it, {} publishers: p50 {:.0} ms, most {:.0} ms; bar {MOST} ms: {}",
            self.starts,
            self.p50,
            self.max,
            verdict(self.met)
        )
    }
}

pub(crate) async fn measure(starts: u32) -> anyhow::Result<Report> {
    let server = Server::start().await?;
    let mut took = Vec::new();
    for number in 0..starts {
        let feed = format!("start-{number}");
        let player = tokio::spawn(first_part(server.url(&format!("/hls/{feed}/multivariant.m3u8"))));
        let _publisher = RawPublisher::connect(&server.url(&format!("/whip/{feed}"))).await?;
        let (part, at) = tokio::time::timeout(PATIENCE, player).await.context("nothing to play")???;
        let body = http::get(&part).await?.success()?.body;
        // The first packet in it is the keyframe's.
        let sent = body.windows(stamp::SIZE).find_map(stamp::read).context("a part without a time in it")?;
        #[expect(clippy::cast_precision_loss, reason = "less than seconds")]
        took.push(at.saturating_sub(sent) as f64 / 1e6);
        if number % 5 == 4 {
            progress(&format!("{} of {starts} publishers started", number + 1));
        }
    }
    server.check_unharmed().await?;
    took.sort_by(f64::total_cmp);
    let (p50, max) = (quantile(&took, 50), quantile(&took, 100));
    Ok(Report { starts, p50, max, met: max <= MOST })
}

/// Asks for a feed that is about to begin until a media playlist of its picture lists a part; that part, and when it was listed.
async fn first_part(multivariant: String) -> anyhow::Result<(String, u64)> {
    loop {
        let answer = http::get(&multivariant).await?;
        if answer.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        let playlists = hls::renditions(&multivariant).await?;
        let playlist = playlists.first().context("no rendition")?;
        loop {
            let answer = http::get(playlist).await?.success()?;
            let at = u64::try_from(clock::utc().unix_nanos())?;
            let listed = hls::MediaPlaylist::parse(&answer.text())?;
            if let Some(part) = listed.segments.first().and_then(|segment| segment.parts.first()) {
                return Ok((hls::resolve(playlist, part)?, at));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

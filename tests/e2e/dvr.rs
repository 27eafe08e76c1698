//! A gateway that is stopped, or killed, and started again: its playlists go on where they were.

use std::path::PathBuf;

use bicast_tests::hls::{self, MediaPlaylist};
use bicast_tests::http;
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};

use crate::scene::FEED;

/// Segments of a second: so the live part, which is held in memory, is 14 s long.
const SHORT: &str = "feed.segment_target=1";
const PATTERN: [&str; 5] = ["--test-pattern", "--size", "320x180", "--bitrate", "200k"];

/// A folder for stored segments, empty at first.
fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = bicast_tests::root().join(format!("target/test-logs/{}-dvr-{name}", std::process::id()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(folder)
}

async fn start(folder: &std::path::Path) -> anyhow::Result<Server> {
    let directory = format!("packager.dvr.directory={}", folder.display());
    Server::start_with(&["--set", SHORT, "--set", &directory]).await
}

/// The paths of the media playlists of the feed.
async fn paths(server: &Server) -> anyhow::Result<Vec<String>> {
    let multivariant = server.hls_plays(FEED).await?;
    hls::renditions(&multivariant).await?.iter().map(|url| hls::path(url)).collect()
}

/// The whole segments of a playlist: number, length, date, and whether there is nothing in it.
fn whole(playlist: &MediaPlaylist) -> Vec<(u64, f64, Option<String>, bool)> {
    let whole = playlist.segments.iter().filter(|segment| segment.duration > 0.0);
    whole.map(|s| (s.number, s.duration, s.program_date_time.clone(), s.gap)).collect()
}

/// Stops or kills a gateway that has been on for `seconds`, starts another one, and follows what a viewer sees.
async fn restart(name: &str, seconds: f64, killed: bool) -> anyhow::Result<()> {
    let folder = folder(name)?;
    let mut server = start(&folder).await?;
    let publisher = server.publish(FEED, &PATTERN)?;
    let before = paths(&server).await?;
    server
        .feed_is(FEED, "enough is stored", |feed| {
            feed["paths"]["hls"]["storedSeconds"].as_f64() > Some(seconds)
        })
        .await?;
    let mut left = Vec::new();
    for path in &before {
        let playlist = hls::playlist(&server.url(path)).await?;
        let first =
            http::get(&server.url(&format!("{}/0.m4s", path.trim_end_matches("/media.m3u8")))).await?;
        left.push((playlist, first.success()?.body));
    }
    if killed {
        server.process.kill()?;
    } else {
        server.stop().await?;
    }
    drop(publisher);

    let server = start(&folder).await?;
    assert_eq!(server.feed(FEED).await?["state"], "offline", "it waits for its publisher");
    assert_eq!(paths(&server).await?, before, "the same playlists");
    for (path, (then, first)) in before.iter().zip(&left) {
        let now = hls::playlist(&server.url(path)).await?;
        assert!(!now.ended);
        let (then, now) = (whole(then), whole(&now));
        // The newest before a kill may not have been stored: it is a gap, with its own number.
        let known = if killed { then.len() - 1 } else { then.len() };
        assert_eq!(now[..known], then[..known]);
        // One more may have been stored since the playlist was read. Behind a gap there is nothing.
        let beyond = now.get(then.len()..);
        let holds = beyond.is_some_and(|beyond| {
            beyond.is_sorted_by_key(|segment| segment.3)
                && (killed || beyond.iter().all(|segment| !segment.3))
        });
        assert!(holds, "{then:?} before, {now:?} now");
        let again =
            http::get(&server.url(&format!("{}/0.m4s", path.trim_end_matches("/media.m3u8")))).await?;
        assert_eq!(again.success()?.body, *first);
    }

    let publisher = server.publish(FEED, &PATTERN)?;
    for (path, (then, _)) in before.iter().zip(&left) {
        let url = server.url(path);
        let after = wait::until("the publisher is back in the playlist", GENEROUS, || async {
            let playlist = hls::playlist(&url).await?;
            let back = playlist.segments.iter().position(|segment| segment.discontinuity);
            Ok(back.filter(|back| whole(&playlist).len() > back + 3).map(|_| playlist))
        })
        .await?;
        assert_eq!(after.discontinuities(), 1);
        assert_eq!(after.segments[0].number, 0, "all of it can be rewound to");
        assert!(after.segments.windows(2).all(|pair| pair[1].number == pair[0].number + 1));
        assert_eq!(after.target_duration, then.target_duration);
        let window = hls::window(&url).await?;
        let gaps = after.segments.iter().filter(|segment| segment.gap).count();
        if killed {
            assert!((1..=20).contains(&gaps), "{gaps} gaps");
            window.check_contiguous_around_gaps()?;
        } else {
            assert_eq!(gaps, 0);
            window.check_contiguous()?;
        }
    }
    assert_eq!(server.metric("bicast_dvr_errors_total").await?, 0.0);
    drop(publisher);
    server.check_unharmed().await
}

#[tokio::test]
async fn a_gateway_that_is_stopped_and_started_goes_on_with_its_playlists() -> anyhow::Result<()> {
    restart("stopped", 18.0, false).await
}

#[tokio::test]
async fn a_gateway_that_is_killed_goes_on_with_what_was_stored() -> anyhow::Result<()> {
    restart("killed", 5.0, true).await
}

#[tokio::test]
async fn a_feed_whose_publisher_does_not_come_back_ends() -> anyhow::Result<()> {
    let folder = folder("alone")?;
    let directory = format!("packager.dvr.directory={}", folder.display());
    let arguments = ["--set", SHORT, "--set", &directory, "--set", "feed.publisher_grace=2"];
    let mut server = Server::start_with(&arguments).await?;
    let publisher = server.publish(FEED, &PATTERN)?;
    let before = paths(&server).await?;
    server
        .feed_is(FEED, "something is stored", |feed| {
            feed["paths"]["hls"]["storedSeconds"].as_f64() > Some(2.0)
        })
        .await?;
    server.stop().await?;
    drop(publisher);
    let server = Server::start_with(&arguments).await?;
    let url = server.url(&before[0]);
    wait::until("the playlist ends", GENEROUS, || async {
        let playlist = hls::playlist(&url).await?;
        Ok(playlist.ended.then_some(()))
    })
    .await?;
    assert_eq!(server.feed(FEED).await?["state"], "ended");
    hls::window(&url).await?;
    Ok(())
}

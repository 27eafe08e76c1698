//! Delay classes where something ends: the playlists, the feed, the process. Who stays behind sees that end, too, and no sooner than it may.

use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::hls;
use bicast_tests::http::{self, Response};
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use hyper::Method;
use serde_json::json;

use crate::delays::{picture, space, there, watching};
use crate::scene::FEED;
use crate::tokens::{ask, mint, plays, publisher, start};

/// As JSON, by who may do everything.
async fn order(
    server: &Server,
    method: Method,
    path: &str,
    body: &serde_json::Value,
) -> anyhow::Result<Response> {
    let bearer = format!("Bearer {}", mint(&["--feed", "*", "--rights", "admin"])?);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    http::request_with(method, &server.url(path), &headers, body.to_string()).await
}

/// The address of the picture's playlist in this space.
async fn picture_in(server: &Server, below: &str) -> anyhow::Result<String> {
    let multivariant = there(server, &format!("{below}/multivariant.m3u8")).await?.text();
    Ok(server.url(&format!("{below}/{}/media.m3u8", picture(&multivariant)?)))
}

async fn text(url: &str) -> anyhow::Result<String> {
    Ok(http::get(url).await?.success()?.text())
}

fn has_ended(playlist: &str) -> bool {
    playlist.ends_with("#EXT-X-ENDLIST\n")
}

#[tokio::test]
async fn playlists_that_end_because_others_begin_end_for_who_stays_behind() -> anyhow::Result<()> {
    const BEHIND: Duration = Duration::from_secs(4);
    let server = start(&["--set", "auth.delay_classes=tv=4"]).await?;
    let feed = format!("/v1/feeds/{FEED}");
    let new = json!({"id": FEED, "settings": {"segmentTarget": 1}});
    order(&server, Method::POST, "/v1/feeds", &new).await?.success()?;
    let publish = mint(&["--feed", FEED, "--rights", "publish"])?;
    let encoder = publisher(&server, &publish)?;
    let live = plays(&server, &watching("anna", &[])?).await?;
    let below = space(&server, &watching("ben", &["--delay", "tv"])?).await?;
    let late = picture_in(&server, &below).await?;
    let folder = picture(&http::get(&server.url(&live)).await?.success()?.text())?.to_owned();
    let before = server.url(&live.replace("multivariant.m3u8", &format!("{folder}/media.m3u8")));

    // The playlists' header cannot say this: others begin with the next publisher.
    let change = json!({"settings": {"segmentTarget": 3}});
    order(&server, Method::PATCH, &feed, &change).await?.success()?;
    drop(encoder);
    let admin = mint(&["--feed", FEED, "--rights", "admin"])?;
    wait::until("nobody publishes", GENEROUS, || async {
        let feed = ask(&server, Method::GET, &feed, Some(&admin)).await?.success()?.json()?;
        Ok((feed["state"] == "offline").then_some(()))
    })
    .await?;
    let _again = publisher(&server, &publish)?;
    let last = wait::until("the playlist has ended", GENEROUS, || async {
        let text = text(&before).await?;
        Ok(has_ended(&text).then_some(text))
    })
    .await?;
    let seen = clock::now();
    assert!(!has_ended(&text(&late).await?), "it ends when that is due");
    let end = wait::until("it has ended for who stays behind", GENEROUS, || async {
        let text = text(&late).await?;
        Ok(has_ended(&text).then_some(text))
    })
    .await?;
    let waited = clock::now().saturating_duration_since(seen);
    assert!(waited + Duration::from_millis(300) >= BEHIND, "it ended after {waited:?}");
    assert_eq!(end, last, "nothing is missing at its end");
    let part = last.lines().rev().find_map(|line| line.strip_suffix(".m4s")).context("no segment")?;
    let file = format!("{part}.m4s");
    let of = |playlist: &str| playlist.replace("media.m3u8", &file);
    assert_eq!(http::get(&of(&late)).await?.success()?.body, http::get(&of(&before)).await?.success()?.body);
    server.check_unharmed().await
}

#[tokio::test]
async fn a_feed_that_ends_is_there_as_long_for_who_stays_behind_as_for_who_does_not() -> anyhow::Result<()> {
    // One class is further behind than a feed is served after its end, another is not.
    let server = start(&["--set", "auth.delay_classes=near=2,far=22", "--set", "feed.window=20"]).await?;
    let encoder = publisher(&server, &mint(&["--feed", FEED, "--rights", "publish"])?)?;
    let live = plays(&server, &watching("anna", &[])?).await?;
    let near = picture_in(&server, &space(&server, &watching("ben", &["--delay", "near"])?).await?).await?;
    let far = space(&server, &watching("carl", &["--delay", "far"])?).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ended = order(&server, Method::DELETE, &format!("/v1/feeds/{FEED}"), &json!({})).await?;
    assert_eq!(ended.status, 204);
    let over = clock::now();
    drop(encoder);
    let far = picture_in(&server, &far).await?;
    for (late, behind) in [(near, 2), (far, 22)] {
        wait::until("it has ended", GENEROUS, || async { Ok(has_ended(&text(&late).await?).then_some(())) })
            .await?;
        assert!(clock::now() >= over + Duration::from_secs(behind), "{behind} s");
        let segment = hls::playlist(&late).await?.segments.pop().context("no segment")?.number;
        let file = late.replace("media.m3u8", &format!("{segment}.m4s"));
        http::get(&file).await?.success()?;
    }
    assert_eq!(http::get(&server.url(&live)).await?.status, 404, "the live edge is gone already");
    server.check_unharmed().await
}

#[tokio::test]
async fn after_a_restart_what_is_due_is_there_at_once_and_nothing_else() -> anyhow::Result<()> {
    const BEHIND: Duration = Duration::from_secs(16);
    let folder = bicast_tests::root().join(format!("target/test-logs/{}-dvr-late", std::process::id()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let directory = format!("packager.dvr.directory={}", folder.display());
    let arguments =
        ["--set", "auth.delay_classes=tv=16", "--set", &directory, "--set", "feed.segment_target=1"];
    let mut server = start(&arguments).await?;
    let encoder = publisher(&server, &mint(&["--feed", FEED, "--rights", "publish"])?)?;
    let admin = mint(&["--feed", FEED, "--rights", "admin"])?;
    wait::until("enough is stored", GENEROUS, || async {
        let feed = ask(&server, Method::GET, &format!("/v1/feeds/{FEED}"), Some(&admin)).await?;
        let stored = feed.success()?.json()?["paths"]["hls"]["storedSeconds"].as_f64();
        Ok((stored > Some(24.0)).then_some(()))
    })
    .await?;
    let late = watching("ben", &["--delay", "tv"])?;
    let before = picture_in(&server, &space(&server, &late).await?).await?;
    let before = hls::path(&before)?;
    server.stop().await?;
    drop(encoder);

    let server = start(&arguments).await?;
    let url = server.url(&before);
    let now = clock::utc();
    let playlist = hls::playlist(&url).await.context("at once")?;
    assert!(!playlist.ended && playlist.segments.len() >= 4, "{playlist:?}");
    let newest = playlist.segments.iter().rfind(|segment| segment.duration > 0.0).context("no segment")?;
    let date = newest.program_date_time.as_deref().context("no date")?;
    let end = clock_of(date)? + newest.duration;
    let behind = seconds(now.unix_nanos()) - end;
    assert!(behind >= BEHIND.as_secs_f64() - 0.2, "the newest is {behind} s old");
    let grown = wait::until("it grows as that is due", GENEROUS, || async {
        let playlist = hls::playlist(&url).await?;
        Ok((playlist.segments.len() > 6).then_some(playlist))
    })
    .await?;
    assert!(!grown.ended);
    server.check_unharmed().await
}

#[tokio::test]
async fn a_server_that_stops_ends_playlists_where_they_are_due() -> anyhow::Result<()> {
    let mut server = start(&["--set", "auth.delay_classes=tv=4"]).await?;
    let _encoder = publisher(&server, &mint(&["--feed", FEED, "--rights", "publish"])?)?;
    plays(&server, &watching("anna", &[])?).await?;
    let late = picture_in(&server, &space(&server, &watching("ben", &["--delay", "tv"])?).await?).await?;
    let watching = tokio::spawn(async move {
        let (mut last, mut failed) = (String::new(), 0);
        while failed < 20 {
            match text(&late).await {
                Ok(text) => last = text,
                Err(_) => failed += 1,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        last
    });
    server.stop().await?;
    let last = watching.await?;
    assert!(has_ended(&last), "{last}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a tenth of a second is enough")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

/// Seconds since 1970 of a date such as `2026-01-02T03:04:05.678Z`.
fn clock_of(date: &str) -> anyhow::Result<f64> {
    let date: bicast_shared::time::ProgramTime = date.parse().map_err(|_| anyhow::anyhow!("{date}"))?;
    Ok(seconds(date.unix_nanos()))
}

//! Feeds that are made, changed and ended by request.

use std::time::Duration;

use bicast_tests::hls;
use bicast_tests::http::{self, Response};
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use hyper::Method;
use serde_json::{Value, json};

use crate::scene::FEED;

const PATTERN: [&str; 6] = ["--retry", "--test-pattern", "--size", "320x180", "--bitrate", "200k"];

async fn send(server: &Server, method: Method, path: &str, body: &Value) -> anyhow::Result<Response> {
    http::request(method, &server.url(path), Some("application/json"), body.to_string()).await
}

#[tokio::test]
async fn a_feed_is_made_published_changed_and_ended() -> anyhow::Result<()> {
    // Published by itself it would be gone after a second.
    let server = Server::start_with(&["--set", "feed.publisher_grace=1"]).await?;
    let feed = format!("/v1/feeds/{FEED}");
    let new = json!({"id": FEED, "settings": {"segmentTarget": 1, "playout": "lip-sync"}});
    let made = send(&server, Method::POST, "/v1/feeds", &new).await?.success()?;
    assert_eq!((made.status, made.header("location")), (201, feed.as_str()));
    assert_eq!(send(&server, Method::POST, "/v1/feeds", &new).await?.status, 409);
    let list = http::get(&server.url("/v1/feeds")).await?.success()?.json()?;
    assert_eq!((&list["feeds"][0]["id"], &list["feeds"][0]["state"]), (&FEED.into(), &"offline".into()));
    let whep = server.url(&format!("/whep/{FEED}"));
    let watch = http::request(Method::POST, &whep, Some("application/sdp"), "").await?;
    assert!(watch.status >= 400, "there is nothing to watch");

    let publisher = server.publish(FEED, &PATTERN)?;
    server.feed_is(FEED, "the feed is live", |feed| feed["state"] == "live").await?;
    let multivariant = server.hls_plays(FEED).await?;
    let short = hls::renditions(&multivariant).await?.remove(0);
    // A segment of 2 s would make it 3.
    assert_eq!(hls::playlist(&short).await?.target_duration, 2);

    let change = json!({"settings": {"segmentTarget": 3, "window": 20, "publisherGrace": 5}});
    let changed = send(&server, Method::PATCH, &feed, &change).await?.success()?.json()?;
    assert_eq!(changed["atOnce"], json!(["publisherGrace", "window"]));
    assert_eq!(changed["nextPublisher"], json!(["segmentTarget"]));
    assert_eq!(changed["settings"]["playout"], "lip-sync");
    assert_eq!(hls::playlist(&short).await?.target_duration, 2, "a playlist keeps its header");

    drop(publisher);
    server.feed_is(FEED, "nobody publishes", |feed| feed["state"] == "offline").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.feed(FEED).await?["state"], "offline", "it stays");
    let _again = server.publish(FEED, &PATTERN)?;
    let long = wait::until("playlists of the new length", GENEROUS, || async {
        let media = hls::renditions(&multivariant).await?.remove(0);
        Ok((media != short).then_some(media))
    })
    .await?;
    let playlist = wait::until("a whole segment of it", GENEROUS, || async {
        let playlist = hls::playlist(&long).await?;
        Ok(playlist.segments.iter().any(|segment| segment.duration > 2.5).then_some(playlist))
    })
    .await?;
    assert_eq!(playlist.target_duration, 5);
    assert_eq!(server.feed(FEED).await?["cadence"]["targetDuration"], 5);
    assert!(hls::playlist(&short).await?.ended, "the one before is over");

    assert_eq!(http::request(Method::DELETE, &server.url(&feed), None, "").await?.status, 204);
    assert_eq!(send(&server, Method::PATCH, &feed, &change).await?.status, 404);
    server.check_unharmed().await
}

#[tokio::test]
async fn a_window_that_is_made_shorter_is_so_at_once() -> anyhow::Result<()> {
    let server = Server::start_with(&["--set", "feed.segment_target=1"]).await?;
    let _publisher = server.publish(FEED, &PATTERN)?;
    server.hls_plays(FEED).await?;
    let seconds = |feed: &Value| feed["paths"]["hls"]["windowSeconds"].as_f64().unwrap_or(0.0);
    server.feed_is(FEED, "more than the shortest window", |feed| seconds(feed) > 26.0).await?;
    let change = json!({"settings": {"window": 20}});
    send(&server, Method::PATCH, &format!("/v1/feeds/{FEED}"), &change).await?.success()?;
    server.feed_is(FEED, "it is shorter", |feed| seconds(feed) < 22.5).await?;
    server.check_unharmed().await
}

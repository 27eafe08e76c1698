//! A publisher takes a feed over from another one: at its own keyframe, with the viewers that are there.

use std::time::Duration;

use bicast_tests::clip::Clip;
use bicast_tests::hls::Window;
use bicast_tests::http;
use bicast_tests::peer::{RtpPublisher, RtpViewer};
use bicast_tests::playback::Playback;
use bicast_tests::server::{LOOPBACK, Server};
use hyper::Method;

use crate::scene::{self, BOTH, FEED};

/// Numbers of the second publisher's pictures, which no picture of the first has.
const SECOND: u32 = 5_000;
/// Pictures that the second one sends.
const PICTURES: usize = 420;

/// What the second publisher sends: its own clocks, a keyframe every 60 pictures, and deaf to requests.
fn second() -> Playback {
    Playback {
        first_number: SECOND,
        pictures: PICTURES,
        video_start: 4_000_000_000,
        audio_start: 99,
        ..Playback::default()
    }
}

/// Checks what a viewer saw and what HLS holds: the second publisher's pictures from a keyframe on and without a hole, all
/// with one time on both paths.
fn check(seen: &[(u32, u32)], video: &Window, compared_at_least: usize) -> anyhow::Result<()> {
    let (first, second): (Vec<u32>, Vec<u32>) = seen.iter().map(|(n, _)| *n).partition(|n| *n < SECOND);
    assert!(first.len() > 60, "only {} pictures of the first publisher", first.len());
    assert_eq!((second[0] - SECOND) % 60, 0, "picture {} is no keyframe", second[0]);
    let order: Vec<bool> = seen.iter().map(|(n, _)| *n >= SECOND).collect();
    assert!(order.is_sorted(), "both publishers' pictures are mixed");
    let compared = scene::compare(seen, &video.numbered());
    assert!(compared > compared_at_least, "only {compared} frames on both paths");
    // A segment whose cut finds no keyframe of a deaf publisher may be left out, if it is said.
    video.check_contiguous_around_gaps()
}

#[tokio::test]
async fn a_standby_publisher_takes_over_when_it_is_told() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut first = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    let takeover = server.url(&format!("/v1/feeds/{FEED}/takeover"));
    let nobody = http::request(Method::POST, &takeover, None, "").await?;
    assert_eq!(nobody.status, 409, "{}", nobody.text());

    let url = server.url(&format!("/whip/{FEED}?standby=true"));
    let mut standby = RtpPublisher::connect(&url, LOOPBACK[0], &BOTH).await?;
    server.feed_is(FEED, "somebody stands by", |feed| !feed["standby"].is_null()).await?;
    let refused =
        RtpPublisher::connect(&url, LOOPBACK[0], &BOTH).await.err().map(|error| format!("{error:#}"));
    assert!(refused.as_ref().is_some_and(|why| why.contains("409")), "a third publisher: {refused:?}");

    let before = Playback { pictures: 900, ..Playback::default() };
    let after = second();
    let (told, played) = {
        let playing_first = async {
            // It is told to leave: its connection breaks under it.
            let _ = before.run(&clip, &mut first).await;
        };
        let told = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            http::request(Method::POST, &takeover, None, "").await
        };
        tokio::select! {
            both = async { tokio::join!(told, after.run(&clip, &mut standby)) } => both,
            () = async { playing_first.await; std::future::pending().await } => unreachable!("it waits for ever"),
        }
    };
    assert_eq!(told?.status, 202);
    played?;
    let seen = scene::unbroken(SECOND..=SECOND + 419, || viewer.numbered()).await?;
    let video = scene::video_up_to(&server, SECOND + 390).await?;
    check(&seen, &video, 250)?;
    let feed = server.feed(FEED).await?;
    assert_eq!((&feed["epoch"], &feed["standby"]), (&1.into(), &serde_json::Value::Null), "{feed:#}");
    let gone = http::request(Method::DELETE, &first.session, None, "").await?;
    assert_eq!(gone.status, 404, "the first publisher's session is over");
    standby.leave().await?;
    server.check_unharmed().await
}

#[tokio::test]
async fn a_publisher_that_died_is_replaced_at_once() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    // By itself the server would give the dead one's session up when this test is long over.
    let server = Server::start_with(&["--set", "sfu.ingest.silence_seconds=600"]).await?;
    // A runtime of its own, so that it can be ended under the publisher without a word to the server.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let whip = server.url(&format!("/whip/{FEED}"));
    let mut first =
        runtime.spawn(async move { RtpPublisher::connect(&whip, LOOPBACK[0], &BOTH).await }).await??;
    server.feed_is(FEED, "the feed has its publisher", |feed| !feed["publisher"].is_null()).await?;
    let viewer: RtpViewer = scene::viewer(&server).await?;
    Playback { pictures: 150, ..Playback::default() }.run(&clip, &mut first).await?;
    runtime.shutdown_background();
    drop(first);
    // It has to be silent for a second.
    let mut again = scene::next_publisher(&server).await?;
    server.feed_is(FEED, "it is its turn", |feed| !feed["standby"].is_null() || feed["epoch"] == 1).await?;
    second().run(&clip, &mut again).await?;
    let seen = scene::unbroken(SECOND..=SECOND + 419, || viewer.numbered()).await?;
    let video = scene::video_up_to(&server, SECOND + 390).await?;
    check(&seen, &video, 250)?;
    assert!(seen.iter().any(|(number, _)| *number == SECOND), "it began with its first keyframe");
    server.check_unharmed().await
}

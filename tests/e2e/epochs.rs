//! Publishers that leave, return, die and are replaced: one feed, one timeline, viewers who stay.

use std::time::Duration;

use bicast_tests::clip::Clip;
use bicast_tests::http;
use bicast_tests::peer::RtpPublisher;
use bicast_tests::playback::Playback;
use bicast_tests::server::{LOOPBACK, Server};

use crate::scene::{self, BOTH, FEED};

/// Plays two epochs, the second with other clocks, and checks that one viewer and one playlist saw both.
async fn two_epochs(say_goodbye: bool) -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    // A runtime of its own, so that it can be ended under the publisher.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let whip = server.url(&format!("/whip/{FEED}"));
    let mut first =
        runtime.spawn(async move { RtpPublisher::connect(&whip, LOOPBACK[0], &BOTH).await }).await??;
    server.feed_is(FEED, "the feed has its publisher", |feed| !feed["publisher"].is_null()).await?;
    let viewer = scene::viewer(&server).await?;
    let before = Playback { pictures: 240, ..Playback::default() };
    before.run(&clip, &mut first).await?;
    if say_goodbye {
        first.leave().await?;
        runtime.shutdown_background();
    } else {
        // Gone without a word: not even its DTLS says good-bye.
        runtime.shutdown_background();
        drop(first);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut second = scene::next_publisher(&server).await?;
    let after = Playback {
        first_number: 1_000,
        pictures: 300,
        video_start: 4_000_000_000,
        audio_start: 1,
        ..Playback::default()
    };
    after.run(&clip, &mut second).await?;

    let video = scene::video_up_to(&server, 1_000 + 270).await?;
    let seen = scene::seen_up_to(&viewer, 1_000 + 299).await?;
    let in_hls = video.numbered();
    let compared = scene::compare(&seen, &in_hls);
    let of_second = seen.iter().filter(|(number, _)| *number >= 1_000 && in_hls.contains_key(number)).count();
    assert!(
        compared > 300 && of_second > 150,
        "only {compared} frames compared, {of_second} of the second publisher"
    );

    // Time runs on: what the second publisher sent comes after everything of the first, by about the pause.
    let end = in_hls.iter().filter(|(number, _)| **number < 1_000).map(|(_, time)| *time).max().unwrap();
    let begin = in_hls.iter().filter(|(number, _)| **number >= 1_000).map(|(_, time)| *time).min().unwrap();
    assert!(begin - end >= 90_000, "the second epoch begins {} ticks after the first ended", begin - end);
    video.check_contiguous()?;
    assert!(video.playlist.discontinuities() >= 1, "{}", video.playlist.text);
    let feed = server.feed(FEED).await?;
    assert_eq!(feed["epoch"], 1, "{feed:#}");
    server.check_unharmed().await
}

#[tokio::test]
async fn a_publisher_leaves_and_another_takes_over() -> anyhow::Result<()> {
    two_epochs(true).await
}

#[tokio::test]
async fn a_publisher_dies_and_returns() -> anyhow::Result<()> {
    two_epochs(false).await
}

#[tokio::test]
async fn a_second_publisher_on_a_live_feed_is_refused_and_harms_nobody() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    let playback = Playback { pictures: 150, ..Playback::default() };
    let intruder = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        RtpPublisher::connect(&server.url(&format!("/whip/{FEED}")), LOOPBACK[0], &BOTH).await
    };
    let (played, refused) = tokio::join!(playback.run(&clip, &mut publisher), intruder);
    played?;
    let refused = format!("{:#}", refused.err().expect("a second publisher was let in"));
    assert!(refused.contains("409"), "{refused}");
    scene::seen_unbroken_up_to(&viewer, 149).await?;
    Ok(())
}

#[tokio::test]
async fn a_feed_that_is_ended_by_the_api_is_over_for_all() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    Playback { pictures: 150, ..Playback::default() }.run(&clip, &mut publisher).await?;
    let multivariant = server.hls_plays(FEED).await?;
    let media = bicast_tests::hls::renditions(&multivariant).await?.remove(0);
    let url = server.url(&format!("/v1/feeds/{FEED}"));
    http::request(hyper::Method::DELETE, &url, None, "").await?.success()?;
    bicast_tests::wait::until("the playlist ends", bicast_tests::wait::GENEROUS, || async {
        let playlist = bicast_tests::hls::playlist(&media).await?;
        Ok(playlist.ended.then_some(()))
    })
    .await?;
    server.check_unharmed().await
}

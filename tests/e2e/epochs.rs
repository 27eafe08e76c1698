//! Publishers that leave, return, die and are replaced: one feed, one timeline, viewers who stay.

use std::time::Duration;

use bicast_tests::clip::Clip;
use bicast_tests::hls;
use bicast_tests::http;
use bicast_tests::peer::{Kind, RtpPublisher, RtpViewer};
use bicast_tests::playback::Playback;
use bicast_tests::server::{LOOPBACK, Server};

use crate::scene::{self, BOTH, FEED};

/// How a publisher goes.
#[derive(Clone, Copy)]
enum Leaves {
    /// With a DELETE of its session.
    Properly,
    /// Without a word: not even its DTLS says good-bye.
    Silently,
    /// Without a word, and somebody else sends the DELETE: a page that was reloaded.
    ByOther,
}

/// Plays two epochs of so many pictures, the second with other clocks after `away`, and checks that one viewer and one
/// playlist saw both.
async fn two_epochs(leaves: Leaves, away: Duration, pictures: [usize; 2]) -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    // A runtime of its own, so that it can be ended under the publisher.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let whip = server.url(&format!("/whip/{FEED}"));
    let mut first =
        runtime.spawn(async move { RtpPublisher::connect(&whip, LOOPBACK[0], &BOTH).await }).await??;
    server.feed_is(FEED, "the feed has its publisher", |feed| !feed["publisher"].is_null()).await?;
    let viewer = scene::viewer(&server).await?;
    let before = Playback { pictures: pictures[0], ..Playback::default() };
    before.run(&clip, &mut first).await?;
    let media = hls::renditions(&server.hls_plays(FEED).await?).await?;
    match leaves {
        Leaves::Properly => {
            first.leave().await?;
            runtime.shutdown_background();
        }
        Leaves::Silently => {
            runtime.shutdown_background();
            drop(first);
        }
        Leaves::ByOther => {
            let session = first.session.clone();
            runtime.shutdown_background();
            drop(first);
            http::request(hyper::Method::DELETE, &session, None, "").await?.success()?;
            let again = http::request(hyper::Method::DELETE, &session, None, "").await?;
            assert_eq!(again.status, 404, "a session ends once: {}", again.text());
            server.feed_is(FEED, "nobody publishes", |feed| feed["state"] == "offline").await?;
        }
    }
    tokio::time::sleep(away).await;

    let mut second = scene::next_publisher(&server).await?;
    let after = Playback {
        first_number: 1_000,
        pictures: pictures[1],
        video_start: 4_000_000_000,
        audio_start: 1,
        ..Playback::default()
    };
    after.run(&clip, &mut second).await?;

    let video = scene::video_up_to(&server, 1_000 + u32::try_from(pictures[1])? - 30).await?;
    let seen = scene::seen_up_to(&viewer, 1_000 + u32::try_from(pictures[1])? - 1).await?;
    let in_hls = video.numbered();
    let compared = scene::compare(&seen, &in_hls);
    let of_second = seen.iter().filter(|(number, _)| *number >= 1_000 && in_hls.contains_key(number)).count();
    assert!(
        compared > (pictures[0] + pictures[1]) * 5 / 9 && of_second > pictures[1] / 2,
        "only {compared} frames compared, {of_second} of the second publisher"
    );

    // Time runs on: what the second publisher sent comes after everything of the first, by about the pause.
    let end = in_hls.iter().filter(|(number, _)| **number < 1_000).map(|(_, time)| *time).max().unwrap();
    let begin = in_hls.iter().filter(|(number, _)| **number >= 1_000).map(|(_, time)| *time).min().unwrap();
    let least = i64::try_from(away.as_millis())? * 90;
    assert!(begin - end >= least, "the second epoch begins {} ticks after the first ended", begin - end);
    video.check_contiguous()?;
    assert!(video.playlist.discontinuities() >= 1, "{}", video.playlist.text);
    // The same playlists go on.
    assert_eq!(hls::renditions(&server.hls_plays(FEED).await?).await?, media);
    let feed = server.feed(FEED).await?;
    assert_eq!(feed["epoch"], 1, "{feed:#}");
    server.check_unharmed().await
}

#[tokio::test]
async fn a_publisher_leaves_and_another_takes_over() -> anyhow::Result<()> {
    two_epochs(Leaves::Properly, Duration::from_secs(1), [240, 300]).await
}

#[tokio::test]
async fn a_publisher_dies_and_returns() -> anyhow::Result<()> {
    two_epochs(Leaves::Silently, Duration::from_secs(1), [240, 300]).await
}

#[tokio::test]
async fn a_publisher_returns_after_ten_seconds() -> anyhow::Result<()> {
    two_epochs(Leaves::Properly, Duration::from_secs(10), [120, 180]).await
}

#[tokio::test]
async fn a_dead_publishers_session_is_deleted_and_another_takes_over() -> anyhow::Result<()> {
    two_epochs(Leaves::ByOther, Duration::ZERO, [120, 210]).await
}

#[tokio::test]
async fn a_publisher_returns_without_its_picture() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut first = scene::publisher(&server).await?;
    Playback { pictures: 150, ..Playback::default() }.run(&clip, &mut first).await?;
    let multivariant = server.hls_plays(FEED).await?;
    let before = hls::renditions(&multivariant).await?;
    first.leave().await?;

    let mut second = scene::next_publisher_of(&server, &[Kind::Audio]).await?;
    // Who watched with the picture has to join again.
    let whep = server.url(&format!("/whep/{FEED}"));
    let viewer = RtpViewer::connect(&whep, LOOPBACK[0], &[Kind::Audio]).await?;
    scene::send_sound(&mut second, 1_000, 350, 77).await?;
    let sound = scene::sound_up_to(&server, 1_000 + 320).await?;
    let heard = scene::heard_unbroken_up_to(&viewer, 1_000 + 349).await?;
    let compared = scene::compare(&heard, &scene::sounds(&sound).into_iter().collect());
    assert!(compared > 250, "only {compared} of 350 packets were compared");
    sound.check_contiguous()?;

    // The playlists with a picture are over and can still be fetched; those that live have the sound alone.
    let after = hls::renditions(&multivariant).await?;
    assert_eq!(after.len(), 1, "{after:?}");
    assert!(!before.contains(&after[0]));
    let mut newest = 0;
    for media in &before {
        let window = hls::window(media).await?;
        assert!(window.playlist.ended && !window.frames.is_empty(), "{}", window.playlist.text);
        newest = newest.max(window.playlist.segments.last().map_or(0, |segment| segment.number));
    }
    assert_eq!(sound.playlist.segments[0].number, newest + 1, "numbers run on");
    let feed = server.feed(FEED).await?;
    assert_eq!(feed["tracks"].as_array().map(Vec::len), Some(1), "{feed:#}");
    assert_eq!(feed["paths"]["hls"]["available"], true, "{feed:#}");
    server.check_unharmed().await
}

#[tokio::test]
async fn a_feed_that_is_ended_while_its_publisher_is_away_begins_anew_with_the_next() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut first = scene::publisher(&server).await?;
    Playback { pictures: 120, ..Playback::default() }.run(&clip, &mut first).await?;
    let before = hls::renditions(&server.hls_plays(FEED).await?).await?.remove(0);
    first.leave().await?;
    server.feed_is(FEED, "nobody publishes", |feed| feed["state"] == "offline").await?;
    let url = server.url(&format!("/v1/feeds/{FEED}"));
    http::request(hyper::Method::DELETE, &url, None, "").await?.success()?;

    let mut second = scene::next_publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    let playback = Playback { first_number: 1_000, pictures: 180, ..Playback::default() };
    playback.run(&clip, &mut second).await?;
    let video = scene::video_up_to(&server, 1_000 + 150).await?;
    let numbered = video.numbered();
    assert!(numbered.keys().all(|number| *number >= 1_000), "frames of a feed that was ended");
    let compared = scene::compare(&viewer.numbered(), &numbered);
    assert!(compared > 90, "only {compared} frames compared");
    // Its first packet stands at 10 s, be it a picture or a sound sent just before.
    let first = video.frames[0].sample.presentation;
    assert!((900_000..945_000).contains(&first), "not a timeline of its own: {first}");
    assert_eq!(video.playlist.segments[0].number, 0);
    assert_eq!(http::get(&before).await?.status, 404, "nobody mixes the two");
    assert_eq!(server.feed(FEED).await?["epoch"], 0);
    server.check_unharmed().await
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

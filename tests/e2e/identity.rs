//! Invariant 1 of the timeline: the RTP timestamp that a viewer receives is the CMAF presentation time, for every frame,
//! whatever the encoder's clocks and sender reports do.

use bicast_tests::clip::Clip;
use bicast_tests::peer::{Kind, RtpViewer};
use bicast_tests::playback::{Playback, Reports};
use bicast_tests::server::{LOOPBACK, Server};

use crate::scene::{self, FEED};

/// Plays a clip as told and checks every frame of it on both paths, and the sound's place beside the picture.
async fn check(playback: Playback) -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    playback.run(&clip, &mut publisher).await?;

    // The newest frame of all waits in the part that is being made.
    let last = playback.first_number + u32::try_from(playback.pictures)? - 30;
    let video = scene::video_up_to(&server, last).await?;
    let audio = scene::audio(&server).await?;
    let seen = scene::seen_unbroken_up_to(&viewer, last + 29).await?;
    let compared = scene::compare(&seen, &video.numbered());
    scene::check_unbroken("HLS", video.frames.iter().filter_map(|frame| frame.number));
    assert!(
        compared > playback.pictures / 2,
        "only {compared} of {} frames were compared",
        playback.pictures
    );
    video.check_contiguous()?;
    audio.check_contiguous()?;
    assert_eq!(video.playlist.discontinuities(), 0, "{}", video.playlist.text);
    let late = scene::sound_is_late(&playback, &clip, &video, &audio);
    assert!(late.abs() < 0.06, "sound is {late:.3} s late in CMAF");
    server.check_unharmed().await
}

#[tokio::test]
async fn with_true_sender_reports() -> anyhow::Result<()> {
    check(Playback { pictures: 600, ..Playback::default() }).await
}

#[tokio::test]
async fn with_sender_reports_that_are_one_hour_off() -> anyhow::Result<()> {
    check(Playback { reports: Reports::Off(3_600), ..Playback::default() }).await?;
    check(Playback { reports: Reports::Off(-3_600), ..Playback::default() }).await
}

#[tokio::test]
async fn with_sender_reports_since_boot() -> anyhow::Result<()> {
    check(Playback { reports: Reports::SinceBoot, ..Playback::default() }).await
}

#[tokio::test]
async fn without_sender_reports() -> anyhow::Result<()> {
    check(Playback { reports: Reports::None, ..Playback::default() }).await
}

#[tokio::test]
async fn with_clocks_that_drift_apart() -> anyhow::Result<()> {
    check(Playback { video_ppm: 200, audio_ppm: -200, pictures: 600, ..Playback::default() }).await?;
    check(Playback { video_ppm: -200, audio_ppm: 200, pictures: 600, ..Playback::default() }).await
}

#[tokio::test]
async fn over_the_wrap_of_both_rtp_clocks() -> anyhow::Result<()> {
    // The video wraps after 4 s, the sound after 5 s.
    let (video_start, audio_start) = (0_u32.wrapping_sub(4 * 90_000), 0_u32.wrapping_sub(5 * 48_000));
    check(Playback { video_start, audio_start, ..Playback::default() }).await
}

#[tokio::test]
async fn with_sound_that_begins_seconds_after_the_picture() -> anyhow::Result<()> {
    check(Playback { audio_late_ms: 2_500, ..Playback::default() }).await
}

#[tokio::test]
async fn with_sound_that_begins_seconds_before_the_picture() -> anyhow::Result<()> {
    check(Playback { audio_late_ms: -2_500, ..Playback::default() }).await
}

/// B-frames are shown in another order than they are sent: the identity is on presentation times, HLS has them all, and
/// the feed says why WebRTC does not.
#[tokio::test]
async fn with_b_frames_on_presentation_times() -> anyhow::Result<()> {
    let clip = Clip::open("small-bframes.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let playback = Playback { pictures: 360, ..Playback::default() };
    playback.run(&clip, &mut publisher).await?;
    let video = scene::video_up_to(&server, u32::try_from(playback.pictures)? - 60).await?;
    let (first, origin) = video
        .frames
        .iter()
        .find_map(|frame| Some((usize::try_from(frame.number?).ok()?, frame.sample.presentation)))
        .expect("no frame");
    let mut compared = 0;
    for frame in &video.frames {
        let Some(number) = frame.number else { continue };
        let number = usize::try_from(number)?;
        let shown = clip.looped(number).1 - clip.looped(first).1;
        assert_eq!(frame.sample.presentation - origin, shown, "frame {number}");
        assert!(
            frame.sample.presentation >= i64::try_from(frame.sample.decode)?,
            "shown before it is decoded"
        );
        compared += 1;
    }
    assert!(compared > playback.pictures / 2, "only {compared} frames");
    scene::check_unbroken("HLS", video.frames.iter().filter_map(|frame| frame.number));
    video.check_contiguous()?;
    let feed = server.feed(FEED).await?;
    assert_eq!(feed["paths"]["realtime"]["available"], false, "{feed:#}");
    let reason = feed["paths"]["realtime"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("B-frame"), "the reason does not say what is wrong: {reason:?}");
    server.check_unharmed().await
}

/// A feed with a picture only has the same timeline rules.
#[tokio::test]
async fn with_one_track_only() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher_of(&server, &[Kind::Video]).await?;
    let whep = server.url(&format!("/whep/{FEED}"));
    let viewer = RtpViewer::connect(&whep, LOOPBACK[0], &[Kind::Video]).await?;
    let playback = Playback { reports: Reports::None, ..Playback::default() };
    playback.run_video(&clip, &mut publisher).await?;
    let last = u32::try_from(playback.pictures)? - 1;
    let video = scene::video_up_to(&server, last - 29).await?;
    let seen = scene::seen_unbroken_up_to(&viewer, last).await?;
    let compared = scene::compare(&seen, &video.numbered());
    assert!(compared > playback.pictures / 2, "only {compared} frames were compared");
    video.check_contiguous()?;
    server.check_unharmed().await
}

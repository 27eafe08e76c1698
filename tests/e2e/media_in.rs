//! Media that is broken or changes in mid-stream: the HLS path begins anew where it has to, the WebRTC path goes on.

use std::time::Duration;

use bicast_shared::clock;
use bicast_tests::barcode;
use bicast_tests::clip::Clip;
use bicast_tests::peer::{Kind, RtpPublisher};
use bicast_tests::playback::Playback;
use bicast_tests::server::Server;
use bytes::Bytes;

use crate::scene::{self, FEED};

/// What happens to one picture on its way.
enum Fate {
    /// It arrives.
    Whole,
    /// These payloads arrive instead.
    Instead(Vec<Bytes>),
    /// Its packets get lost on the way.
    Lost,
}

/// Sends `pictures` pictures of a clip at 30 per second; `fate` decides over each.
async fn send(
    clip: &Clip,
    pictures: usize,
    to: &mut RtpPublisher,
    fate: impl Fn(usize, &[Bytes]) -> Fate,
) -> anyhow::Result<()> {
    let playback = Playback::default();
    let began = clock::now();
    for n in 0..pictures {
        let at = began + Duration::from_micros(33_333 * u64::try_from(n)?);
        tokio::time::sleep_until(at.into()).await;
        let payloads = clip.payloads(clip.looped(n).0, u32::try_from(n)?);
        let timestamp = playback.timestamp(clip, n);
        match fate(n, &payloads) {
            Fate::Whole => to.frame(Kind::Video, timestamp, &payloads).await?,
            Fate::Instead(payloads) => to.frame(Kind::Video, timestamp, &payloads).await?,
            Fate::Lost => to.lose(Kind::Video, u16::try_from(payloads.len())?)?,
        }
    }
    Ok(())
}

#[tokio::test]
async fn corrupt_h264_neither_stops_the_feed_nor_reaches_hls_as_a_hole() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    // Forbidden bits, unknown types, aggregations whose lengths lie, fragments without a beginning, nothing at all.
    let nonsense: Vec<Bytes> = [
        &[0xff_u8; 40][..],
        &[0x78, 0xff, 0xff, 0x67],
        &[0x78, 0x00],
        &[0x7c, 0x05, 1, 2, 3],
        &[0x7c],
        &[0x67],
        &[0x68, 0x80],
        &[0x61, 0x00, 0x00, 0x00, 0x00],
        &[0x1e, 0, 0, 0],
        &[0],
    ]
    .into_iter()
    .map(Bytes::copy_from_slice)
    .collect();
    send(&clip, 420, &mut publisher, |n, payloads| match n {
        150..160 => Fate::Instead(vec![nonsense[n - 150].clone()]),
        200..205 => {
            Fate::Instead(payloads.iter().map(|payload| payload.slice(..payload.len() / 2)).collect())
        }
        _ => Fate::Whole,
    })
    .await?;
    let video = scene::video_up_to(&server, 390).await?;
    // The last frame of all: WebRTC went on.
    let seen = scene::seen_up_to(&viewer, 419).await?;
    let compared = scene::compare(&seen, &video.numbered());
    assert!(compared > 200, "only {compared} frames on both paths");
    video.check_contiguous()?;
    server.check_unharmed().await
}

#[tokio::test]
async fn lost_packets_leave_out_frames_but_no_time() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    send(&clip, 420, &mut publisher, |n, _| if (190..193).contains(&n) { Fate::Lost } else { Fate::Whole })
        .await?;
    let video = scene::video_up_to(&server, 390).await?;
    let numbered = video.numbered();
    assert!((190..193).all(|n| !numbered.contains_key(&n)), "frames that were never sent are in HLS");
    let compared = scene::compare(&scene::seen_up_to(&viewer, 419).await?, &numbered);
    assert!(compared > 200, "only {compared} frames on both paths");
    video.check_contiguous()?;
    server.check_unharmed().await
}

#[tokio::test]
async fn without_parameter_sets_hls_waits_and_webrtc_goes_on() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    // The first payload of a keyframe is the STAP-A with both sets: leave it out for the first 8 s.
    send(&clip, 540, &mut publisher, |n, payloads| {
        if n < 240 && clip.looped(n).0.key { Fate::Instead(payloads[1..].to_vec()) } else { Fate::Whole }
    })
    .await?;
    let video = scene::video_up_to(&server, 500).await?;
    let seen = scene::seen_unbroken_up_to(&viewer, 539).await?;
    let first = video.frames.iter().find_map(|frame| frame.number).unwrap();
    assert!(first >= 240, "frame {first} is in HLS, which nobody could have decoded");
    let compared = scene::compare(&seen, &video.numbered());
    assert!(compared > 150, "only {compared} frames on both paths");
    server.check_unharmed().await
}

#[tokio::test]
async fn a_new_resolution_begins_a_new_init_segment_and_the_timeline_runs_on() -> anyhow::Result<()> {
    let (small, large) = (Clip::open("small.mp4")?, Clip::open("small-480.mp4")?);
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    let playback = Playback::default();
    let began = clock::now();
    for n in 0..540_usize {
        tokio::time::sleep_until((began + Duration::from_micros(33_333 * u64::try_from(n)?)).into()).await;
        // Both have a keyframe every 60 frames: the change falls on one.
        let (clip, at) = if n < 240 { (&small, n) } else { (&large, n - 240) };
        let payloads = clip.payloads(clip.looped(at).0, u32::try_from(n)?);
        publisher.frame(Kind::Video, playback.timestamp(&small, n), &payloads).await?;
    }
    let video = scene::video_up_to(&server, 500).await?;
    assert_eq!(video.inits.len(), 2, "init segments:\n{}", video.playlist.text);
    assert_eq!(video.playlist.discontinuities(), 1, "{}", video.playlist.text);
    scene::check_unbroken("HLS", video.frames.iter().filter_map(|frame| frame.number));
    let seen = scene::seen_unbroken_up_to(&viewer, 539).await?;
    let compared = scene::compare(&seen, &video.numbered());
    assert!(compared > 300, "only {compared} frames on both paths");
    // Both halves decode with their own init segment.
    let decoded = barcode::of_window(&video)?;
    assert_eq!(decoded.len(), video.frames.len());
    let feed = server.feed(FEED).await?;
    let size = &feed["tracks"][0]["renditions"][0]["resolution"];
    assert_eq!((size["width"].as_u64(), size["height"].as_u64()), (Some(480), Some(272)), "{feed:#}");
    server.check_unharmed().await
}

//! Media that is broken or changes in mid-stream: the HLS path begins anew where it has to, the WebRTC path goes on.

use std::cell::Cell;
use std::time::Duration;

use bicast_shared::clock;
use bicast_tests::barcode;
use bicast_tests::clip::Clip;
use bicast_tests::hls;
use bicast_tests::peer::{Kind, RtpPublisher, RtpViewer};
use bicast_tests::playback::Playback;
use bicast_tests::server::{LOOPBACK, Server};
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

#[tokio::test]
async fn a_feed_of_sound_only_is_on_both_paths_at_the_same_times() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let mut publisher = scene::publisher_of(&server, &[Kind::Audio]).await?;
    let whep = server.url(&format!("/whep/{FEED}"));
    let viewer = RtpViewer::connect(&whep, LOOPBACK[0], &[Kind::Audio]).await?;
    // The timestamps wrap after 3 s.
    scene::send_sound(&mut publisher, 0, 450, 0_u32.wrapping_sub(3 * 48_000)).await?;

    let sound = scene::sound_up_to(&server, 420).await?;
    let in_hls = scene::sounds(&sound);
    scene::check_unbroken("HLS", in_hls.iter().map(|(number, _)| *number));
    let heard = scene::heard_unbroken_up_to(&viewer, 449).await?;
    let compared = scene::compare(&heard, &in_hls.into_iter().collect());
    assert!(compared > 350, "only {compared} of 450 packets were compared");
    sound.check_contiguous()?;
    assert_eq!((sound.playlist.discontinuities(), sound.playlist.target_duration), (0, 2));
    assert!(sound.playlist.text.contains("#EXT-X-INDEPENDENT-SEGMENTS"), "{}", sound.playlist.text);
    let feed = server.feed(FEED).await?;
    assert_eq!(feed["cadence"]["rule"], "audio-only", "{feed:#}");
    assert_eq!(feed["paths"]["hls"]["available"], true, "{feed:#}");
    server.check_unharmed().await
}

/// What a camera does when a picture is due.
enum Camera {
    On,
    Off,
    /// Nothing more is sent.
    Over,
}

/// Sends sound and, where the camera is on, pictures, until it is over.
async fn send_both(
    clip: &Clip,
    to: &mut RtpPublisher,
    camera: impl Fn(usize) -> Camera,
) -> anyhow::Result<()> {
    let playback = Playback::default();
    let began = clock::now();
    let mut sounds = 0_u16;
    for n in 0.. {
        let at = Duration::from_micros(33_333 * u64::try_from(n)?);
        while Duration::from_millis(20) * u32::from(sounds) <= at {
            tokio::time::sleep_until((began + Duration::from_millis(20) * u32::from(sounds)).into()).await;
            let [high, low] = sounds.to_be_bytes();
            let packet = Bytes::copy_from_slice(&[0xf8, high, low]);
            to.frame(Kind::Audio, playback.audio_start + u32::from(sounds) * 960, &[packet]).await?;
            sounds += 1;
        }
        tokio::time::sleep_until((began + at).into()).await;
        match camera(n) {
            Camera::On => {
                let payloads = clip.payloads(clip.looped(n).0, u32::try_from(n)?);
                to.frame(Kind::Video, playback.timestamp(clip, n), &payloads).await?;
            }
            Camera::Off => {}
            Camera::Over => break,
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_camera_that_is_turned_on_late_finds_its_sound_on_hls() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    let multivariant = server.url(&format!("/hls/{FEED}/multivariant.m3u8"));
    // It is turned on when all has been seen that is to be seen in the dark, at a keyframe of the clip.
    let (seen_dark, first) = (Cell::new(false), Cell::new(None));
    let dark = async {
        let sound = scene::sound_up_to(&server, 250).await?;
        let alone = hls::renditions(&multivariant).await?;
        anyhow::ensure!(alone.len() == 1, "not the sound alone: {alone:?}");
        sound.check_contiguous()?;
        let feed = server.feed(FEED).await?;
        anyhow::ensure!(feed["cadence"]["rule"] == "audio-only", "{feed:#}");
        anyhow::Ok(alone[0].clone())
    };
    let dark = async {
        let alone = dark.await;
        seen_dark.set(true);
        alone
    };
    let camera = |n: usize| {
        if seen_dark.get() && first.get().is_none() && clip.looped(n).0.key {
            first.set(Some(n));
        }
        match first.get() {
            None => Camera::Off,
            Some(first) if n < first + 240 => Camera::On,
            Some(_) => Camera::Over,
        }
    };
    let (sent, sound_alone) = tokio::join!(send_both(&clip, &mut publisher, camera), dark);
    sent?;
    let first = u32::try_from(first.get().unwrap())?;
    let video = scene::video_up_to(&server, first + 210).await?;
    let seen = scene::seen_unbroken_up_to(&viewer, first + 239).await?;
    let compared = scene::compare(&seen, &video.numbered());
    assert!(compared > 150, "only {compared} of 240 pictures were compared");
    video.check_contiguous()?;
    let both = hls::renditions(&multivariant).await?;
    assert_eq!(both.len(), 2, "{both:?}");
    let over = hls::playlist(&sound_alone?).await?;
    assert!(over.ended, "{}", over.text);
    // Over WebRTC nothing happened to the sound: 20 ms of it for each 33 of a picture.
    let heard = scene::heard_unbroken_up_to(&viewer, (first + 239) * 5 / 3).await?;
    assert!(heard.windows(2).all(|pair| pair[1].1 == pair[0].1.wrapping_add(960)));
    server.check_unharmed().await
}

#[tokio::test]
async fn a_camera_that_is_turned_off_for_a_while_does_not_stop_its_sound_on_hls() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    // An encoder that does not answer is given segments of up to 10 s: longer than that it has to be dark, and until its sound
    // of that time, 8 s of it, was heard.
    let (heard_dark, back) = (Cell::new(false), Cell::new(None));
    let meanwhile = async {
        let heard = scene::sound_up_to(&server, 600).await;
        heard_dark.set(true);
        heard
    };
    // The next keyframe of the clip; it is sent for two seconds more.
    let keyframe = |back: usize| (back..).find(|n| clip.looped(*n).0.key).unwrap();
    let camera = |n: usize| {
        if n >= 500 && heard_dark.get() && back.get().is_none() {
            back.set(Some(n));
        }
        match back.get() {
            None if n < 120 => Camera::On,
            None => Camera::Off,
            Some(back) if n < keyframe(back) + 60 => Camera::On,
            Some(_) => Camera::Over,
        }
    };
    let (sent, heard) = tokio::join!(send_both(&clip, &mut publisher, camera), meanwhile);
    sent?;
    heard?;
    // From its next keyframe on the picture is there again.
    let keyframe = u32::try_from(keyframe(back.get().unwrap()))?;
    let video = scene::video_up_to(&server, keyframe + 20).await?;
    let numbered = video.numbered();
    assert!(
        (keyframe..keyframe + 20).all(|n| numbered.contains_key(&n)),
        "from {keyframe} on: {:?}",
        numbered.keys().max()
    );
    let compared = scene::compare(&scene::seen_up_to(&viewer, keyframe + 59).await?, &numbered);
    assert!(compared > 130, "only {compared} pictures were compared");
    video.check_contiguous()?;
    let sound = scene::audio(&server).await?;
    sound.check_contiguous()?;
    scene::check_unbroken("HLS", scene::sounds(&sound).into_iter().map(|(number, _)| number));
    for playlist in [&video.playlist, &sound.playlist] {
        assert_eq!(playlist.discontinuities(), 0, "{}", playlist.text);
        assert!(playlist.segments.windows(2).all(|pair| pair[1].number == pair[0].number + 1));
    }
    let last = |playlist: &hls::MediaPlaylist| playlist.segments.last().map(|segment| segment.number);
    assert!(last(&sound.playlist) >= last(&video.playlist), "the same numbers for the same time");
    server.check_unharmed().await
}

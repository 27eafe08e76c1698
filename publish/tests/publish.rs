//! `bicast publish` against a WHIP server made of the `webrtc` crate: what arrives is what was drawn.
#![expect(clippy::disallowed_methods, reason = "tests measure real time")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod server;

use std::time::{Duration, Instant};

use bicast_publish::core::barcode::read_number;
use bicast_publish::core::endpoint::Endpoint;
use bicast_publish::{Args, publish};
use clap::Parser;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use server::{Heard, Server};
use tokio::sync::watch;
use tokio::time::timeout;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    publish: Args,
}

fn args(whip: &Endpoint, line: &str) -> Args {
    let words = ["publish", "--quiet", "--whip", whip.as_str()].into_iter().chain(line.split_whitespace());
    Command::parse_from(words).publish
}

/// A publisher in the background.
struct Publisher {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

fn start(server: &Server, line: &str) -> Publisher {
    let (stop, stopped) = watch::channel(false);
    Publisher { stop, task: tokio::spawn(publish(args(&server.endpoint(), line), stopped)) }
}

impl Publisher {
    async fn end(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        timeout(Duration::from_secs(5), self.task).await.expect("ends when told to").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_pattern_arrives_frame_by_frame() {
    let mut server = Server::start().await;
    let publisher = start(&server, "--test-pattern --size 320x180 --bitrate 300k --gop 60");
    let mut decoder = Decoder::new().unwrap();
    let mut frames = server::Frames::default();
    let (mut times, mut numbers, mut audio) = (Vec::new(), Vec::new(), Vec::new());
    let mut asked: Option<(Instant, usize)> = None;
    let mut answered = None;
    while times.len() < 90 {
        match server.heard().await {
            Heard::Video(packet) => {
                let Some(frame) = frames.push(&packet) else { continue };
                if let Some((at, n)) = asked.filter(|_| frame.keyframe && answered.is_none()) {
                    answered = Some((at.elapsed(), times.len() - n));
                }
                times.push(frame.timestamp);
                let picture = decoder.decode(&frame.annex_b).unwrap().expect("a picture for every frame");
                numbers.push(read_number(picture.y(), picture.strides().0, 320).expect("a number"));
                if times.len() == 40 {
                    server.ask_for_keyframe().await;
                    asked = Some((Instant::now(), times.len()));
                }
            }
            Heard::Audio(packet) => audio.push((packet.header.sequence_number, packet.header.timestamp)),
            Heard::Report(_) => {}
        }
    }
    assert_eq!(numbers, (0..90).collect::<Vec<u32>>(), "every frame, in order, from 0 on");
    assert!(times.windows(2).all(|t| t[1].wrapping_sub(t[0]) == 3_000), "{times:?}");
    assert!(audio.len() > 100);
    assert!(audio.windows(2).all(|a| a[1].1.wrapping_sub(a[0].1) == 960 && a[1].0 == a[0].0.wrapping_add(1)));
    let (after, frames) = answered.expect("a keyframe on request");
    assert!(frames <= 2 && after < Duration::from_millis(250), "{frames} frames, {after:?}");

    publisher.end().await.unwrap();
    assert_eq!(server.deleted().await, 1, "the session is deleted at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn sender_reports_put_sound_and_picture_on_one_clock() {
    let mut server = Server::start().await;
    let publisher = start(&server, "--test-pattern --size 320x180 --bitrate 300k");
    let (mut first_video, mut first_audio) = (None, None);
    let mut origins: Vec<(bool, i64)> = Vec::new();
    while origins.iter().filter(|(video, _)| *video).count() < 3
        || origins.iter().filter(|(video, _)| !*video).count() < 3
    {
        match server.heard().await {
            Heard::Video(packet) => _ = first_video.get_or_insert(packet.header),
            Heard::Audio(packet) => _ = first_audio.get_or_insert(packet.header),
            Heard::Report(report) => {
                let (Some(video), Some(audio)) = (&first_video, &first_audio) else { continue };
                let is_video = report.ssrc == video.ssrc;
                let (base, rate) =
                    if is_video { (video.timestamp, 90_000) } else { (audio.timestamp, 48_000) };
                let nanos = i64::from(report.rtp_time.wrapping_sub(base)) * 1_000_000_000 / rate;
                let utc = bicast_shared::time::ProgramTime::from_ntp(report.ntp_time).unix_nanos();
                origins.push((is_video, utc - nanos));
            }
        }
    }
    publisher.end().await.unwrap();
    // When the first frame and the first packet of sound were, by each of the reports: one and the same moment. The
    // receiving side sometimes misses the first packet of a track: then it is a whole packet (20 ms) or frame later.
    let first = origins[0].1;
    for (video, origin) in &origins {
        let apart = (origin - first).abs();
        let apart = if *video == origins[0].0 {
            apart
        } else {
            (apart % 20_000_000).min(20_000_000 - apart % 20_000_000)
        };
        assert!(apart < 100_000, "video {video}: {apart} ns off in {origins:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_loops_without_a_seam() {
    let clip = server::clip(25, 20);
    let mut server = Server::start().await;
    let publisher = start(&server, &format!("{}", clip.path().display()));
    let mut frames = server::Frames::default();
    let (mut times, mut keys, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    let mut decoder = Decoder::new().unwrap();
    while times.len() < 65 {
        if let Heard::Video(packet) = server.heard().await
            && let Some(frame) = frames.push(&packet)
        {
            let picture = decoder.decode(&frame.annex_b).unwrap().expect("a picture for every frame");
            numbers.push(read_number(picture.y(), picture.strides().0, 320).expect("a number"));
            keys.push(frame.keyframe);
            times.push(frame.timestamp);
        }
    }
    publisher.end().await.unwrap();
    assert!(times.windows(2).all(|t| t[1].wrapping_sub(t[0]) == 3_600), "{times:?}");
    assert!(numbers.iter().enumerate().all(|(i, n)| usize::try_from(*n).unwrap() == i % 20), "{numbers:?}");
    assert!(keys.iter().enumerate().all(|(i, key)| *key == (i % 10 == 0)), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returning_server_is_published_to_again() {
    let mut server = Server::start().await;
    server.refuse_next(503);
    let publisher = start(&server, "--test-pattern --size 320x180 --bitrate 300k --no-audio --retry");
    let Heard::Video(first) = server.heard().await else { panic!("no video after a refusal") };
    server.drop_peers().await;
    // The next session is a new stream with numbers of its own.
    loop {
        if let Heard::Video(packet) = server.heard().await
            && packet.header.ssrc != first.header.ssrc
        {
            break;
        }
    }
    publisher.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_the_next_step() {
    let (_keep, stopped) = watch::channel(false);
    let nobody: Endpoint = "http://127.0.0.1:9/whip/demo".parse().unwrap();
    let error = publish(args(&nobody, "--test-pattern"), stopped.clone()).await.unwrap_err().to_string();
    assert!(error.contains("connection refused") && error.contains("bicast serve"), "{error}");

    let server = Server::start().await;
    for (status, word) in [(401, "--token"), (404, "/whip/"), (409, "--retry"), (406, "refused")] {
        server.refuse_next(status);
        let args = args(&server.endpoint(), "--test-pattern --size 320x180 --no-audio");
        let error = publish(args, stopped.clone()).await.unwrap_err().to_string();
        assert!(error.contains(word), "{status}: {error}");
    }
}

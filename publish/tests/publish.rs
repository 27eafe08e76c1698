//! `bicast publish` against a WHIP server made of the `webrtc` crate: what arrives is what was drawn.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod server;
mod skipped;

use std::collections::BTreeMap;

use bicast_publish::core::barcode::read_number;
use bicast_publish::core::endpoint::Endpoint;
use bicast_publish::{Args, publish};
use clap::Parser;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use server::{Frame, Frames, Heard, PATIENCE, Server, Unwrap};
use skipped::Skipped;
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
        timeout(PATIENCE, self.task).await.expect("ends when told to").unwrap()
    }
}

/// A frame of the pictures that this crate draws (320 pixels wide), as it arrived.
#[derive(Debug, Clone, Copy)]
struct Seen {
    number: u32,
    timestamp: u32,
    keyframe: bool,
}

/// Decodes frames and reads their numbers.
struct Reader {
    frames: Frames,
    decoder: Decoder,
}

impl Reader {
    fn new() -> Self {
        Self { frames: Frames::default(), decoder: Decoder::new().unwrap() }
    }

    /// Takes a packet; the frames that are whole now.
    fn read(&mut self, packet: rtc::rtp::Packet) -> Vec<Seen> {
        let frames = self.frames.push(packet);
        frames
            .into_iter()
            .map(|Frame { timestamp, keyframe, annex_b }| {
                let picture = self.decoder.decode(&annex_b).unwrap().expect("a picture for every frame");
                let number = read_number(picture.y(), picture.strides().0, 320).expect("a number");
                Seen { number, timestamp, keyframe }
            })
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_pattern_arrives_frame_by_frame() {
    let skipped = Skipped::count().await;
    let mut server = Server::start().await;
    // A minute from one keyframe to the next: one that comes before is an answer.
    let publisher = start(&server, "--test-pattern --size 320x180 --bitrate 300k --gop 60");
    let mut reader = Reader::new();
    let mut unwrap = Unwrap::default();
    let (mut seen, mut audio) = (Vec::<Seen>::new(), BTreeMap::new());
    // How many frames there were when a keyframe was asked for, and when it came.
    let (mut asked, mut answered) = (None, None);
    let mut missed = false;
    while seen.len() < 90 || answered.is_none() {
        assert!(seen.len() < 900, "no keyframe on request in 30 s");
        match server.heard().await {
            Heard::Video(packet) => {
                let ends_frame = packet.header.marker;
                seen.extend(reader.read(packet));
                answered = asked.and_then(|asked| (asked..seen.len()).find(|n| seen[*n].keyframe));
                if ends_frame && !reader.frames.begun() {
                    // The receiving side missed the first keyframe: another one begins the row.
                    missed = true;
                    server.ask_for_keyframe().await;
                } else if seen.len() >= 40 && asked.is_none() {
                    asked = Some(seen.len());
                    server.ask_for_keyframe().await;
                }
            }
            Heard::Audio(packet) => {
                audio.insert(unwrap.next(packet.header.sequence_number), packet.header.timestamp);
            }
            Heard::Report(_) => {}
        }
    }
    publisher.end().await.unwrap();
    assert_eq!(server.deleted().await, 1, "the session is deleted at the end");

    // Every frame and every packet of sound, in order; only what the publisher itself left out is missing.
    assert!(seen[0].keyframe);
    let unasked = &seen[1..asked.unwrap()];
    assert!(
        missed || unasked.iter().all(|frame| !frame.keyframe),
        "a keyframe that nobody asked for: {unasked:?}"
    );
    let mut missing = 0;
    for pair in seen.windows(2) {
        let (before, frame) = (pair[0], pair[1]);
        assert!(frame.number > before.number, "{frame:?} follows {before:?}");
        let frames = frame.number - before.number;
        assert_eq!(
            frame.timestamp.wrapping_sub(before.timestamp),
            3_000 * frames,
            "{frame:?} follows {before:?}"
        );
        missing += u64::from(frames - 1);
    }
    assert!(missing <= skipped.video(), "{missing} frames are missing, {} were left out", skipped.video());
    assert!(audio.len() > 100);
    let (numbers, times): (Vec<i64>, Vec<u32>) = audio.into_iter().unzip();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "packets of sound are missing: {numbers:?}"
    );
    let mut missing = 0;
    for pair in times.windows(2) {
        let step = pair[1].wrapping_sub(pair[0]);
        assert!(
            step % 960 == 0 && (960..48_000 * 60).contains(&step),
            "{step} ticks to the next packet of sound"
        );
        missing += u64::from(step / 960 - 1);
    }
    assert!(missing <= skipped.audio(), "{missing} packets are missing, {} were left out", skipped.audio());
}

#[tokio::test(flavor = "multi_thread")]
async fn sender_reports_put_sound_and_picture_on_one_clock() {
    let _alone = Skipped::count().await;
    let mut server = Server::start().await;
    let publisher = start(&server, "--test-pattern --size 320x180 --bitrate 300k --gop 1");
    let mut reader = Reader::new();
    // The RTP timestamp of media time 0 and whose it is: for the picture by its number, for the sound by its first packet.
    let (mut video, mut audio) = (None, None);
    let mut origins: Vec<(bool, i64)> = Vec::new();
    while origins.iter().filter(|(video, _)| *video).count() < 3
        || origins.iter().filter(|(video, _)| !*video).count() < 3
    {
        match server.heard().await {
            Heard::Video(packet) => {
                let ssrc = packet.header.ssrc;
                for frame in reader.read(packet) {
                    let zero = frame.timestamp.wrapping_sub(3_000 * frame.number);
                    assert_eq!(*video.get_or_insert((ssrc, zero)), (ssrc, zero), "{frame:?}");
                }
            }
            Heard::Audio(packet) => {
                _ = audio.get_or_insert((packet.header.ssrc, packet.header.timestamp));
            }
            Heard::Report(report) => {
                let (Some(video), Some(audio)) = (video, audio) else { continue };
                let is_video = report.ssrc == video.0;
                let (base, rate) = if is_video { (video.1, 90_000) } else { (audio.1, 48_000) };
                let nanos = i64::from(report.rtp_time.wrapping_sub(base)) * 1_000_000_000 / rate;
                let utc = bicast_shared::time::ProgramTime::from_ntp(report.ntp_time).unix_nanos();
                origins.push((is_video, utc - nanos));
            }
        }
    }
    publisher.end().await.unwrap();
    // When media time 0 was, by each of the reports: one and the same moment. The receiving side sometimes misses the first
    // packets of the sound: then the first that came is whole packets (20 ms) later.
    let first = |wanted: bool| origins.iter().find(|(video, _)| *video == wanted).unwrap().1;
    for (video, origin) in &origins {
        let apart = (origin - first(*video)).abs();
        assert!(apart < 100_000, "video {video}: {apart} ns off in {origins:?}");
    }
    let apart = (first(false) - first(true)).rem_euclid(20_000_000);
    let apart = apart.min(20_000_000 - apart);
    assert!(apart < 100_000, "sound and picture are {apart} ns apart in {origins:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_loops_without_a_seam() {
    let skipped = Skipped::count().await;
    // 20 frames at 25 a second, every tenth a keyframe.
    let clip = server::clip(25, 20);
    let mut server = Server::start().await;
    let publisher = start(&server, &format!("{}", clip.path().display()));
    let mut reader = Reader::new();
    let mut seen = Vec::<Seen>::new();
    while seen.len() < 65 {
        if let Heard::Video(packet) = server.heard().await {
            seen.extend(reader.read(packet));
        }
    }
    publisher.end().await.unwrap();
    // The place in the clip follows from the time alone, round after round.
    let first = seen[0];
    let (mut place, mut missing) = (first.number, 0);
    assert!(first.keyframe);
    for (n, frame) in seen.iter().enumerate() {
        let before = if n == 0 { frame } else { &seen[n - 1] };
        let ticks = frame.timestamp.wrapping_sub(before.timestamp);
        assert!(ticks % 3_600 == 0 && (n == 0) == (ticks == 0), "{frame:?} follows {before:?}");
        place += ticks / 3_600;
        missing += u64::from((ticks / 3_600).saturating_sub(1));
        assert_eq!((frame.number, frame.keyframe), (place % 20, place % 10 == 0), "frame {n} of {seen:?}");
    }
    assert!(missing <= skipped.video(), "{missing} frames are missing, {} were left out", skipped.video());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returning_server_is_published_to_again() {
    let _alone = Skipped::count().await;
    let mut server = Server::start().await;
    server.refuse_next(503);
    let publisher = start(&server, "--test-pattern --size 320x180 --bitrate 300k --no-audio --retry");
    let first = server.video().await;
    server.drop_peers().await;
    // The next session is a new stream with numbers of its own.
    while server.video().await.header.ssrc == first.header.ssrc {}
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

//! Other people's software: ffmpeg, aiortc, a real clip; and IPv6.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bicast_tests::barcode;
use bicast_tests::hls;
use bicast_tests::peer::RtpViewer;
use bicast_tests::process::{self, Process};
use bicast_tests::server::{LOOPBACK, Server};
use bicast_tests::wait::{self, GENEROUS};
use serde_json::Value;

use crate::scene::{self, FEED};

/// A script of `tests/aiortc`, run by the environment that the set-up made.
fn aiortc(script: &str, arguments: &[&str]) -> anyhow::Result<Process> {
    let root = bicast_tests::root();
    let python = root.join(".venv/bin/python");
    anyhow::ensure!(python.is_file(), "{} is missing: run scripts/setup test", python.display());
    let mut command = Command::new(python);
    command.arg(root.join("tests/aiortc").join(script)).args(arguments);
    Process::start(script, &mut command)
}

/// The last line of JSON that a peer has printed so far.
fn newest_line(peer: &Process) -> anyhow::Result<Value> {
    let output = peer.output();
    let line = output.lines().rev().find(|line| line.starts_with('{') && line.ends_with('}'));
    Ok(serde_json::from_str(line.with_context(|| format!("no report: {output}"))?)?)
}

/// What a peer reports when it is done.
async fn report(peer: &mut Process) -> anyhow::Result<Value> {
    let status = peer.ended(Duration::from_secs(120)).await?;
    anyhow::ensure!(status.success(), "{status}: {}", peer.output());
    newest_line(peer)
}

/// Asks a peer to end; what it reports then.
async fn stop(peer: &mut Process) -> anyhow::Result<Value> {
    let status = peer.stop().await?;
    anyhow::ensure!(status.success(), "{status}: {}", peer.output());
    newest_line(peer)
}

/// Frames that a `bicast publish --json` says it left out because the machine was too slow for its encoder.
fn left_out(report: &Value) -> anyhow::Result<usize> {
    Ok(usize::try_from(report["skipped"].as_u64().with_context(|| format!("no count: {report}"))?)?)
}

/// What ffprobe reads of the whole window: `(codec, width, height)` of every stream.
fn probe(url: &str) -> anyhow::Result<Value> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_streams", "-show_format", "-of", "json", url]);
    let output = process::run(&mut ffprobe, &[])?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "ffprobe: {complaint}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Eight seconds of the feed through ffmpeg's HLS player and decoders: how many frames came out, and what it complained of.
fn play_with_ffmpeg(url: &str) -> anyhow::Result<(usize, String)> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-hide_banner", "-nostdin", "-loglevel", "warning", "-i", url, "-t", "8"])
        .args(["-map", "0:v:0", "-map", "0:a:0", "-f", "framecrc", "-"]);
    let output = process::run(&mut ffmpeg, &[])?;
    anyhow::ensure!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    let frames =
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("0,")).count();
    Ok((frames, String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[tokio::test]
async fn a_real_clip_published_by_bicast_plays_on_both_paths() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let clip = bicast_tests::asset("clip.mp4")?;
    let mut publisher = server.publish(FEED, &["--json", clip.to_str().context("path")?])?;
    let multivariant = server.hls_plays(FEED).await?;
    let viewer = scene::viewer(&server).await?;
    let feed = server.feed_is(FEED, "six seconds of HLS", |feed| {
        feed["paths"]["hls"]["windowSeconds"].as_f64() > Some(7.0)
    });
    let feed = feed.await?;
    assert_eq!(feed["tracks"][0]["codec"], "h264");
    assert!(publisher.running(), "{}", publisher.output());

    let url = multivariant.clone();
    let (streams, played) =
        tokio::task::spawn_blocking(move || (probe(&url), play_with_ffmpeg(&url))).await?;
    let streams = streams?;
    let find = |kind: &str| {
        let all = streams["streams"].as_array().into_iter().flatten();
        all.into_iter().find(|stream| stream["codec_type"] == kind).cloned().unwrap_or_default()
    };
    let (video, audio) = (find("video"), find("audio"));
    assert_eq!(
        (&video["codec_name"], &video["width"], &video["height"]),
        (&"h264".into(), &1280.into(), &720.into())
    );
    assert_eq!((&audio["codec_name"], &audio["channels"]), (&"opus".into(), &2.into()));
    let window = hls::window(&hls::renditions(&multivariant).await?[0]).await?;
    let skipped = left_out(&stop(&mut publisher).await?)?;
    let (frames, complaints) = played?;
    assert!(
        frames + skipped > 150,
        "ffmpeg decoded {frames} frames in 8 s of 25 fps, {skipped} were left out: {complaints}"
    );
    for trouble in ["error", "corrupt", "concealing", "missing", "Non-monotonous"] {
        assert!(!complaints.contains(trouble), "ffmpeg: {complaints}");
    }
    // Where frames are left out there is a gap: the clip is CABAC, which still frames do not fit into.
    if skipped == 0 {
        window.check_contiguous()?;
    }
    // The clip's frames carry no mark: compare the sets of times. Each frame seen over WebRTC is in HLS.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32 is meant")]
    let times: Vec<u32> = window.frames.iter().map(|frame| frame.sample.presentation as u32).collect();
    let (oldest, newest) = (times[0], times[times.len() - 1]);
    let mut seen: Vec<u32> = viewer.video().iter().map(|packet| packet.timestamp).collect();
    seen.dedup();
    let within: Vec<u32> = seen.into_iter().filter(|time| (oldest..=newest).contains(time)).collect();
    assert!(within.len() > 100, "only {} frames on both paths", within.len());
    for time in within {
        assert!(times.contains(&time), "the frame with timestamp {time} is not in HLS");
    }
    server.check_unharmed().await
}

/// Every frame that was published is on both paths at one time, and the numbers in the pictures say that none is missing but
/// those that a busy machine's encoder left out, as the publisher itself counts.
#[tokio::test]
async fn the_test_pattern_counts_its_frames_without_a_hole_over_ipv6() -> anyhow::Result<()> {
    /// From one frame to the next: 30 frames a second.
    const TICKS: i64 = 3_000;
    let server = Server::start().await?;
    let host = LOOPBACK[1];
    let pattern = ["--json", "--test-pattern", "--size", "640x360", "--bitrate", "800k"];
    let mut publisher = server.publish_on(host, FEED, &pattern)?;
    server.feed_is(FEED, "the feed is live", |feed| feed["state"] == "live").await?;
    let whep = server.url_on(host, &format!("/whep/{FEED}"));
    let viewer = RtpViewer::connect(&whep, host, &scene::BOTH).await?;
    server
        .feed_is(FEED, "ten seconds of HLS", |feed| {
            feed["paths"]["hls"]["windowSeconds"].as_f64() > Some(10.0)
        })
        .await?;
    // Once it has ended, its count is of everything that it sent.
    let skipped = left_out(&stop(&mut publisher).await?)?;
    let multivariant = server.url_on(host, &format!("/hls/{FEED}/multivariant.m3u8"));
    let window = hls::window(&hls::renditions(&multivariant).await?[0]).await?;
    window.check_contiguous()?;
    let numbers = barcode::of_window(&window)?;

    let (stills, pictures): (Vec<_>, Vec<_>) =
        numbers.into_iter().zip(&window.frames).partition(|(_, frame)| frame.sample.disposable);
    assert!(stills.is_empty() || skipped > 0, "{} still frames in a feed without a hole", stills.len());
    let pictures: Vec<(u32, i64)> = pictures
        .into_iter()
        .map(|(number, frame)| (number.expect("a picture without its number"), frame.sample.presentation))
        .collect();
    let mut missing = 0;
    for pair in pictures.windows(2) {
        let ((before, earlier), (number, time)) = (pair[0], pair[1]);
        assert!(number > before, "frame {number} follows frame {before}");
        assert_eq!(
            time - earlier,
            i64::from(number - before) * TICKS,
            "from frame {before} to frame {number} in HLS"
        );
        missing += usize::try_from(number - before - 1)?;
    }
    assert!(missing <= skipped, "{missing} frames are missing in HLS, {skipped} were left out");

    let times: BTreeSet<i64> = pictures.iter().map(|(_, time)| *time).collect();
    let last = *times.last().context("no picture")?;
    let seen = wait::until("WebRTC has every frame of HLS", GENEROUS, || async {
        let seen: BTreeSet<i64> =
            viewer.video().iter().map(|packet| i64::from(packet.timestamp)).filter(|t| *t <= last).collect();
        let first = *seen.first().context("nothing was seen")?;
        let lost: Vec<&i64> = times.range(first..).filter(|time| !seen.contains(time)).collect();
        anyhow::ensure!(lost.is_empty(), "without those at {lost:?}");
        Ok(Some(seen))
    })
    .await?;
    let first = *times.first().context("no picture")?;
    for time in seen.range(first..) {
        assert!(times.contains(time), "the frame with timestamp {time} is not in HLS");
    }
    let both = seen.intersection(&times).count();
    assert!(both > 100, "only {both} frames on both paths");
    server.check_unharmed().await
}

/// aiortc as publisher (its own H.264 encoder, its own sender reports) and as viewer, neither of which shares code with
/// bicast or a browser.
#[tokio::test]
async fn aiortc_publishes_and_watches_and_every_frame_has_one_time() -> anyhow::Result<()> {
    for host in LOOPBACK {
        let server = Server::start().await?;
        let (whip, whep) = (server.url_on(host, "/whip/test"), server.url_on(host, "/whep/test"));
        let address = host.to_string();
        let mut publisher = aiortc("publish.py", &["--whip", &whip, "--local", &address])?;
        server.feed_is(FEED, "the feed is live", |feed| feed["state"] == "live").await?;
        let mut viewer =
            aiortc("view.py", &["--whep", &whep, "--local", &address, "--seconds", "90", "--frames", "300"])?;
        let seen = report(&mut viewer).await?;
        let multivariant = server.hls_plays(FEED).await?;
        let window = hls::window(&hls::renditions(&multivariant).await?[0]).await?;
        window.check_contiguous()?;
        let numbers = barcode::of_window(&window)?;
        let in_hls: HashMap<u32, i64> = numbers
            .iter()
            .zip(&window.frames)
            .filter(|(_, frame)| !frame.sample.disposable)
            .filter_map(|(number, frame)| Some(((*number)?, frame.sample.presentation)))
            .collect();
        let frames = seen["frames"].as_array().context("no frames")?;
        let pairs: Vec<(u32, u32)> = frames
            .iter()
            .filter_map(|frame| {
                let number = |n: usize| u32::try_from(frame[n].as_u64()?).ok();
                Some((number(0)?, number(1)?))
            })
            .collect();
        let compared = scene::compare(&pairs, &in_hls);
        assert!(compared > 150, "only {compared} of {} frames compared over {host}", pairs.len());
        let played = tokio::task::spawn_blocking(move || play_with_ffmpeg(&multivariant)).await??;
        assert!(played.0 > 100, "ffmpeg decoded {} frames: {}", played.0, played.1);
        stop(&mut publisher).await?;
        server.check_unharmed().await?;
    }
    Ok(())
}

/// Every path that a page needs, over both families, with the headers that a page on another origin needs.
#[tokio::test]
async fn pages_and_api_answer_over_both_families_with_cors() -> anyhow::Result<()> {
    let server = Server::start().await?;
    for host in LOOPBACK {
        for path in ["/", "/v1/feeds", "/v1/time", "/v1/openapi.json", "/metrics", "/healthz", "/readyz"] {
            let url = server.url_on(host, path);
            let answer = wait::until(path, GENEROUS, || async {
                Ok(Some(bicast_tests::http::get(&url).await?.success()?))
            })
            .await?;
            assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        }
    }
    let time = bicast_tests::http::get(&server.url("/v1/time")).await?;
    assert_eq!(time.header("cache-control"), "no-store");
    Ok(())
}

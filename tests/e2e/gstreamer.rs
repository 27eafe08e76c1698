//! GStreamer's WebRTC stack (`webrtcbin`: libnice, its own DTLS, SRTP and RTP) as publisher and as viewer.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bicast_tests::barcode;
use bicast_tests::hls;
use bicast_tests::process::Process;
use bicast_tests::server::Server;
use serde_json::Value;

use crate::scene::FEED;

/// A script of `tests/gstreamer`. Debian's bindings belong to Debian's Python.
pub(crate) fn gstreamer(script: &str, arguments: &[&str]) -> anyhow::Result<Process> {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(bicast_tests::root().join("tests/gstreamer").join(script)).args(arguments);
    Process::start(script, &mut command)
}

/// The report that a peer prints at its end.
fn report(peer: &Process) -> anyhow::Result<Value> {
    let output = peer.output();
    let line = output.lines().rev().find(|line| line.starts_with('{'));
    Ok(serde_json::from_str(line.with_context(|| format!("no report: {output}"))?)?)
}

/// What a viewer that waits for `frames` pictures saw.
pub(crate) async fn watch(whep: &str, frames: &str) -> anyhow::Result<Value> {
    let arguments = ["--whep", whep, "--frames", frames, "--local", "127.0.0.1"];
    let mut viewer = gstreamer("view.py", &arguments)?;
    let status = viewer.ended(Duration::from_secs(120)).await?;
    anyhow::ensure!(status.success(), "{status}: {}", viewer.output());
    report(&viewer)
}

/// Its answer has a section for the sound that is refused.
#[tokio::test]
async fn gstreamer_takes_an_answer_with_a_refused_section() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let whip = server.url("/whip/test");
    let arguments = ["--whip", whip.as_str(), "--local", "127.0.0.1", "--no-audio"];
    let mut publisher = gstreamer("publish.py", &arguments)?;
    server.feed_is(FEED, "the feed is live", |feed| feed["state"] == "live").await?;
    let seen = watch(&server.url("/whep/test"), "30").await?;
    assert_eq!(
        (seen["frames"].as_array().map_or(0, Vec::len) >= 30, seen["sounds"].as_u64()),
        (true, Some(0))
    );
    let status = publisher.stop().await?;
    anyhow::ensure!(status.success(), "{status}: {}", publisher.output());
    server.check_unharmed().await
}

#[tokio::test]
async fn gstreamer_publishes_and_watches_and_no_frame_is_lost() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let (whip, whep) = (server.url("/whip/test"), server.url("/whep/test"));
    let mut publisher = gstreamer("publish.py", &["--whip", &whip, "--local", "127.0.0.1"])?;
    let feed = server.feed_is(FEED, "the feed is live", |feed| feed["state"] == "live").await?;
    let codecs: Vec<_> =
        feed["tracks"].as_array().into_iter().flatten().map(|track| &track["codec"]).collect();
    assert_eq!(codecs, ["h264", "opus"]);

    let seen = watch(&whep, "240").await?;
    let numbers: Vec<Option<u64>> =
        seen["frames"].as_array().into_iter().flatten().map(Value::as_u64).collect();
    let numbers: Vec<u64> =
        numbers.into_iter().collect::<Option<_>>().context("a picture without its number")?;
    assert!(numbers.len() >= 240, "only {} frames were decoded", numbers.len());
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "WebRTC: frame {} follows frame {}", pair[1], pair[0]);
    }
    assert!(seen["sounds"].as_u64() > Some(100), "{} buffers of sound", seen["sounds"]);

    let status = publisher.stop().await?;
    anyhow::ensure!(status.success(), "{status}: {}", publisher.output());
    let sent = report(&publisher)?["sent"].as_u64().context("no count")?;
    let multivariant = server.hls_plays(FEED).await?;
    let window = hls::window(&hls::renditions(&multivariant).await?[0]).await?;
    window.check_contiguous()?;
    let mut shown: HashMap<u32, i64> = HashMap::new();
    for (number, frame) in barcode::of_window(&window)?.iter().zip(&window.frames) {
        let number = number.context("a picture without its number")?;
        if !frame.sample.disposable {
            assert!(shown.insert(number, frame.sample.presentation).is_none(), "frame {number} twice");
        }
    }
    let (first, last) = (shown.keys().min().copied(), shown.keys().max().copied());
    let (first, last) = first.zip(last).context("no pictures in HLS")?;
    assert_eq!(
        shown.len(),
        usize::try_from(last - first + 1)?,
        "frames are missing between {first} and {last}"
    );
    // Those before the connection stood were not sent to anybody.
    assert!(numbers.iter().all(|number| shown.contains_key(&u32::try_from(*number).unwrap_or(u32::MAX))));
    assert!(u64::from(last) < sent && shown.len() > 240);
    server.check_unharmed().await
}

//! AAC from publishers: as GStreamer sends it, and as `bicast publish` takes it out of a file. Over HLS it is what was sent, to the
//! sample; over WebRTC the pictures come without it, and everybody is told why.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bicast_tests::hls::{self, Window};
use bicast_tests::http;
use bicast_tests::process;
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use serde_json::Value;

use crate::gstreamer::{gstreamer, watch};
use crate::rules;
use crate::scene::FEED;

/// The window of the feed's sound once it is `seconds` long.
async fn sound(multivariant: &str, rate: u32, seconds: u32) -> anyhow::Result<Window> {
    let url = hls::renditions(multivariant).await?.pop().context("no rendition of sound")?;
    wait::until("the sound is long enough", GENEROUS, || async {
        let window = hls::window(&url).await?;
        let ticks: u64 = window.frames.iter().map(|frame| u64::from(frame.sample.duration)).sum();
        Ok((ticks >= u64::from(rate) * u64::from(seconds)).then_some(window))
    })
    .await
}

/// Init and media as one file.
fn file(window: &Window) -> anyhow::Result<Vec<u8>> {
    let (init, _) = window.inits.values().next().context("no init segment")?;
    let media = window.pieces.iter().flat_map(|piece| piece.bytes.iter());
    Ok(init.iter().chain(media).copied().collect())
}

/// What ffprobe says of the sound in a file: codec, profile, rate, channels.
fn probe(file: &[u8]) -> anyhow::Result<String> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "stream=codec_name,profile,sample_rate,channels"]);
    let output = process::run(ffprobe.args(["-of", "csv=p=0", "-"]), file)?;
    anyhow::ensure!(output.stderr.is_empty(), "ffprobe: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Decoded by ffmpeg without a complaint, at its own rate, in one channel.
fn decode(file: &[u8]) -> anyhow::Result<Vec<i16>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i", "-", "-ac", "1", "-f", "s16le", "-"]);
    let output = process::run(&mut ffmpeg, file)?;
    anyhow::ensure!(output.stderr.is_empty(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect())
}

/// The feed says why its sound is not on WebRTC, with the next step.
async fn check_told(server: &Server, rate: u64) -> anyhow::Result<()> {
    let told =
        |feed: &Value| feed["paths"]["realtime"]["reason"].as_str().is_some_and(|why| why.contains("AAC"));
    let feed = server.feed_is(FEED, "the feed says why", told).await?;
    let track = feed["tracks"].as_array().into_iter().flatten().find(|track| track["kind"] == "audio");
    let track = track.context("no sound")?;
    assert_eq!((track["codec"].as_str(), track["clockRate"].as_u64()), (Some("aac"), Some(rate)), "{track}");
    let warnings = feed["warnings"].to_string();
    assert!(warnings.contains("the sound is AAC") && warnings.contains("publish Opus"), "{warnings}");
    assert_eq!(feed["paths"]["realtime"]["available"], false, "who joins is sent to where there is sound");
    assert_eq!(feed["paths"]["hls"]["available"], true);
    Ok(())
}

#[tokio::test]
async fn gstreamer_publishes_aac_which_hls_plays_and_webrtc_leaves_out() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let whip = server.url(&format!("/whip/{FEED}"));
    let mut publisher = gstreamer("publish.py", &["--whip", &whip, "--local", "127.0.0.1", "--aac"])?;
    let multivariant = server.hls_plays(FEED).await?;
    check_told(&server, 44_100).await?;
    let text = http::get(&multivariant).await?.success()?.text();
    assert!(text.contains(",mp4a.40.2\""), "{text}");

    let window = sound(&multivariant, 44_100, 12).await?;
    window.check_contiguous()?;
    assert!(
        window
            .inits
            .values()
            .all(|(_, init)| (init.sample_entry.as_str(), init.timescale) == ("mp4a", 44_100))
    );
    // 1024 samples, and the steps by which sound follows the master clock.
    assert!(window.frames.iter().all(|frame| (1_021..=1_027).contains(&frame.sample.duration)));
    let file = file(&window)?;
    assert_eq!(probe(&file)?, "aac,LC,44100,2");
    let samples = decode(&file)?;
    assert_eq!(samples.len(), window.frames.len() * 1_024, "each access unit is decoded");
    // A tone of 440 Hz without a hole: three seconds from the fourth one on, behind the encoder's beginning.
    let tone = samples.get(44_100 * 3..44_100 * 6).context("too short")?;
    let crossings = tone.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    assert!((1_318..=1_322).contains(&crossings), "{crossings} periods in 3 s");
    assert!(tone.chunks(441).all(|chunk| chunk.iter().any(|sample| sample.unsigned_abs() > 1_000)));

    let seen = watch(&server.url(&format!("/whep/{FEED}")), "60").await?;
    let pictures = seen["frames"].as_array().map_or(0, Vec::len);
    assert!(pictures >= 60 && seen["sounds"] == 0, "{pictures} pictures, {} sounds", seen["sounds"]);
    let status = publisher.stop().await?;
    anyhow::ensure!(status.success(), "{status}: {}", publisher.output());
    server.check_unharmed().await
}

/// The access units of a clip's sound, read by another program than publishes them.
fn access_units(clip: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i", clip, "-map", "0:a:0", "-c", "copy", "-f", "adts", "-"]);
    let output = process::run(&mut ffmpeg, &[])?;
    let mut rest = &output.stdout[..];
    let mut units = Vec::new();
    while let [0xff, 0xf1, _, a, b, c, ..] = *rest {
        let length = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c >> 5);
        units.push(rest[7..length].to_vec());
        rest = &rest[length..];
    }
    anyhow::ensure!(units.len() > 100 && rest.is_empty(), "{} access units", units.len());
    Ok(units)
}

#[tokio::test]
async fn a_files_aac_is_on_hls_byte_for_byte_and_keeps_the_rules() -> anyhow::Result<()> {
    let server = rules::secure(&[]).await?;
    let clip = bicast_tests::asset("clip.mp4")?;
    let clip = clip.to_str().context("a path of text")?;
    let _publisher = server.publish(FEED, &[clip, "--keep-aac"])?;
    let multivariant = server.hls_plays(FEED).await?;
    rules::kept(&rules::check(&server, FEED, "8").await?, &[69, 70, 76, 78]);
    let rate = server.feed(FEED).await?["tracks"][1]["clockRate"].as_u64().context("no rate")?;
    check_told(&server, rate).await?;
    let window = sound(&multivariant, u32::try_from(rate)?, 8).await?;
    window.check_contiguous()?;
    let sent = access_units(clip)?;
    // From any place on, over the seams of the loop: each follows the one before in the file, or begins the next round.
    let (mut before, mut seams) = (None, 0);
    for frame in &window.frames {
        let follows =
            before.and_then(|n: usize| sent.get(n + 1)).is_some_and(|unit| *unit == frame.sample.data[..]);
        let at = if follows {
            before.map(|n| n + 1)
        } else {
            sent.iter().position(|unit| *unit == frame.sample.data[..])
        };
        seams += usize::from(!follows);
        before = Some(at.context("an access unit that is not in the file")?);
    }
    let rounds = window.frames.len() / sent.len() + 2;
    assert!(seams <= rounds, "{seams} seams in {} access units of {}", window.frames.len(), sent.len());
    assert_eq!(decode(&file(&window)?)?.len(), window.frames.len() * 1_024);
    server.check_unharmed().await
}

/// What is not taken is refused at once, with the reason.
#[tokio::test]
async fn he_aac_is_refused_with_what_to_set() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
        a=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
        a=fmtp:97 mode=AAC-hbr;config=2b118800;sizelength=13;indexlength=3;indexdeltalength=3\r\n";
    let answer = http::post_sdp(&server.url(&format!("/whip/{FEED}")), offer).await?;
    let problem = answer.json()?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert_eq!(answer.status, 406, "{problem}");
    assert!(detail.contains("object type 5") && detail.contains("set the encoder to AAC-LC"), "{problem}");
    wait::until("nothing was begun", Duration::from_secs(1), || async {
        Ok(server.feed(FEED).await.err().map(drop))
    })
    .await
}

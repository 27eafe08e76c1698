//! Video of other codecs than H.264 on the HLS path: encoded and packetized by ffmpeg, sent in by WHIP, fetched as CMAF and decoded
//! by ffmpeg again, each frame with its number in the picture.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bicast_tests::barcode::{self, BITS};
use bicast_tests::hls;
use bicast_tests::peer::{Coding, Kind, RtpPublisher};
use bicast_tests::process::Process;
use bicast_tests::server::{LOOPBACK, Server};
use bicast_tests::wait::{self, GENEROUS};
use bytes::Bytes;
use tokio::net::UdpSocket;

use crate::scene::FEED;

/// Seconds that are published.
const SECONDS: u32 = 12;
const FPS: u32 = 30;

/// Bars of 32 pixels: the lowest bit first, and one that is always white (`bicast_tests::barcode`).
fn numbered() -> String {
    let bit = |n: usize| {
        let x = n * 32;
        let on = if n == BITS { String::new() } else { format!(":enable='mod(floor(n/2^{n}),2)'") };
        format!("drawbox=x={x}:y=0:w=32:h=32:c=white:t=fill{on}")
    };
    let bits: Vec<String> = (0..=BITS).map(bit).collect();
    format!("drawbox=x=0:y=0:w=iw:h=32:c=black:t=fill,{}", bits.join(","))
}

/// ffmpeg, which sends RTP to `port` in real time.
fn encoder(port: u16, codec: &[&str]) -> anyhow::Result<Process> {
    let source = format!("testsrc2=size=672x192:rate={FPS}:duration={SECONDS}");
    let target = format!("rtp://127.0.0.1:{port}?pkt_size=1100");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", &source])
        .args(["-vf", &numbered(), "-pix_fmt", "yuv420p", "-threads", "1"])
        .args(codec)
        .args(["-f", "rtp", &target]);
    Process::start("ffmpeg", &mut command)
}

/// Publishes what ffmpeg sends until it has sent all. Returns how many frames that were.
async fn publish(server: &Server, coding: Coding, codec: &[&str]) -> anyhow::Result<u32> {
    let whip = server.url(&format!("/whip/{FEED}"));
    let mut publisher = RtpPublisher::connect_coded(&whip, LOOPBACK[0], &[Kind::Video], coding).await?;
    let socket = UdpSocket::bind((LOOPBACK[0], 0)).await?;
    let mut ffmpeg = encoder(socket.local_addr()?.port(), codec)?;
    let mut datagram = vec![0; 2_000];
    let (mut frame, mut frames) = (Vec::new(), 0);
    while frames < SECONDS * FPS {
        let received = tokio::time::timeout(GENEROUS, socket.recv(&mut datagram)).await;
        let length = received.with_context(|| format!("ffmpeg is silent: {}", ffmpeg.output()))??;
        // A header of 12 bytes: ffmpeg writes neither contributors nor extensions.
        let packet = &datagram[..length];
        anyhow::ensure!(packet[0] == 0x80 && length > 12, "an unusual packet");
        frame.push(Bytes::copy_from_slice(&packet[12..]));
        if packet[1] & 0x80 != 0 {
            let timestamp = u32::from_be_bytes(packet[4..8].try_into()?);
            publisher.frame(Kind::Video, timestamp, &std::mem::take(&mut frame)).await?;
            frames += 1;
        }
    }
    ffmpeg.ended(Duration::from_secs(20)).await?;
    publisher.leave().await?;
    Ok(frames)
}

/// Publishes, and checks that HLS shows every frame, at its time, under `codecs`. Returns whether frames were decoded in another order
/// than shown.
async fn check(coding: Coding, codec: &[&str], entry: &str, codecs: &str) -> anyhow::Result<bool> {
    let server = Server::start().await?;
    let frames = publish(&server, coding, codec).await?;
    let multivariant = server.hls_plays(FEED).await?;
    let text = bicast_tests::http::get(&multivariant).await?.success()?.text();
    let video = hls::renditions(&multivariant).await?.remove(0);
    let window = wait::until("all frames are in HLS", GENEROUS, || async {
        let window = hls::window(&video).await?;
        anyhow::ensure!(window.frames.len() >= frames as usize, "{} frames", window.frames.len());
        Ok(Some(window))
    })
    .await?;
    assert!(text.contains(codecs), "{codecs} is not in\n{text}");
    assert!(window.inits.values().all(|(_, init)| init.sample_entry == entry));
    window.check_contiguous()?;
    let numbers = barcode::of_window(&window)?;
    let mut shown = BTreeMap::new();
    for (frame, number) in window.frames.iter().zip(numbers) {
        shown.insert(number.context("a picture without a number")?, frame.sample.presentation);
    }
    assert_eq!(shown.keys().copied().collect::<Vec<_>>(), (0..frames).collect::<Vec<_>>());
    let first = shown[&0];
    for (number, at) in &shown {
        assert_eq!(at - first, i64::from(*number) * 90_000 / i64::from(FPS), "frame {number}");
    }
    let syncs = window.frames.iter().filter(|frame| frame.sample.sync).count();
    assert_eq!(syncs, usize::try_from(SECONDS / 2)?, "a keyframe every two seconds");
    Ok(window.frames.windows(2).any(|pair| pair[1].sample.presentation < pair[0].sample.presentation))
}

#[tokio::test]
async fn h265_with_b_frames_is_packaged_to_the_frame() -> anyhow::Result<()> {
    let codec = [
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-b:v",
        "400k",
        "-x265-params",
        "keyint=60:min-keyint=60:scenecut=0:bframes=2:b-adapt=0:b-pyramid=0:open-gop=0:repeat-headers=1:log-level=none",
    ];
    assert!(check(Coding::H265, &codec, "hvc1", "hvc1.1.6.L").await?, "with B-frames");
    Ok(())
}

#[tokio::test]
async fn vp9_is_packaged_to_the_frame() -> anyhow::Result<()> {
    let codec = [
        "-c:v",
        "libvpx-vp9",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
        "-lag-in-frames",
        "0",
        "-b:v",
        "400k",
        "-g",
        "60",
        "-keyint_min",
        "60",
        "-error-resilient",
        "1",
        // Its packetizer dates from before RFC 9628.
        "-strict",
        "experimental",
    ];
    assert!(!check(Coding::Vp9, &codec, "vp09", "vp09.00.").await?, "without B-frames");
    Ok(())
}

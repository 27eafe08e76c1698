//! The CPU that packaging takes, beside ffmpeg.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bicast_load::procfs;
use bicast_tests::figures::progress;
use bicast_tests::peer::{Kind, Received, RtpViewer};
use bicast_tests::process::Process;
use bicast_tests::server::{self, LOOPBACK, Server};
use bicast_tests::wait::{self, GENEROUS};
use bytes::{BufMut as _, BytesMut};
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;

use super::verdict;

const FEED: &str = "packaging";
/// Of what ffmpeg needs, at most.
const MOST: f64 = 0.5;
/// How often packets are passed on to ffmpeg.
const EVERY: Duration = Duration::from_millis(5);
/// Both have begun when this is over: ffmpeg looks at what comes for five seconds before it writes anything.
const SETTLE: Duration = Duration::from_secs(10);
/// Seconds between two words about how far it is.
const WORD: u64 = 60;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    seconds: u64,
    packets: u64,
    /// Milliseconds of CPU for a second of media: the packager alone.
    packager: f64,
    ffmpeg: f64,
    /// The whole server, with a WebRTC publisher and a WebRTC viewer.
    server: f64,
    /// The packager's by ffmpeg's.
    ratio: f64,
    met: bool,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        format!(
            "CPU for a second of 1280x720 at 2.5 Mbit/s ({} packets in {} s): bicast's packager {:.2} ms, ffmpeg {:.2} ms; {:.2} of it, \
             bar {MOST}: {}. The whole server, with a WebRTC publisher and a viewer: {:.2} ms",
            self.packets,
            self.seconds,
            self.packager,
            self.ffmpeg,
            self.ratio,
            verdict(self.met),
            self.server
        )
    }
}

/// One of a packager's two streams.
struct Stream {
    socket: UdpSocket,
    to: SocketAddr,
    payload_type: u8,
}

impl Stream {
    async fn new(to: SocketAddr, payload_type: u8) -> anyhow::Result<Self> {
        Ok(Self { socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?, to, payload_type })
    }

    /// Sends packets as they came, without encryption.
    async fn send(&self, packets: &[Received]) -> anyhow::Result<()> {
        for packet in packets {
            let mut bytes = BytesMut::with_capacity(12 + packet.payload.len());
            bytes.put_u8(0x80);
            bytes.put_u8(self.payload_type | if packet.marker { 0x80 } else { 0 });
            bytes.put_u16(packet.sequence);
            bytes.put_u32(packet.timestamp);
            bytes.put_u32(u32::from(self.payload_type));
            bytes.put(packet.payload.clone());
            self.socket.send_to(&bytes, self.to).await?;
        }
        Ok(())
    }
}

/// Two free UDP ports, each with the next one free for RTCP.
async fn ports() -> anyhow::Result<[SocketAddr; 2]> {
    let mut found = Vec::new();
    // The system hands out ports in no order; a pair is found soon.
    for _ in 0..100 {
        let one = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = one.local_addr()?;
        let port = address.port();
        if port % 2 == 0 && UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1)).await.is_ok() {
            found.push(address);
        }
        if let [video, audio] = found[..] {
            return Ok([video, audio]);
        }
    }
    anyhow::bail!("no free pair of ports")
}

fn ffmpeg([video, audio]: [SocketAddr; 2]) -> anyhow::Result<Process> {
    let folder = bicast_tests::root().join(format!("target/test-logs/{}-packaging", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let description = format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=video {} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n\
         m=audio {} RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n",
        video.port(),
        audio.port()
    );
    let source = folder.join("feed.sdp");
    std::fs::write(&source, description)?;
    let mut command = Command::new("ffmpeg");
    command.current_dir(&folder).args([
        "-nostdin",
        "-v",
        "error",
        "-protocol_whitelist",
        "file,udp,rtp",
        "-i",
    ]);
    command.arg(&source).args(["-c", "copy", "-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", "2"]);
    command.args(["-hls_list_size", "30", "-hls_flags", "delete_segments", "out.m3u8"]);
    Process::start("ffmpeg", &mut command)
}

/// Our packager alone, from the same packets.
fn packager([video, audio]: [SocketAddr; 2]) -> anyhow::Result<Process> {
    let program = server::bicast()?.with_file_name("bicast-packaging");
    let mut command = Command::new(program);
    command.args(["--video", &video.port().to_string(), "--audio", &audio.port().to_string()]);
    Process::start("packager", &mut command)
}

pub(crate) async fn measure(seconds: u64) -> anyhow::Result<Report> {
    let server = Server::start_with(&["--set", "feed.window=60"]).await?;
    let _publisher = server
        .publish(FEED, &["--test-pattern", "--size", "1280x720", "--fps", "30", "--bitrate", "2500k"])?;
    server.hls_plays(FEED).await?;
    let viewer =
        RtpViewer::connect(&server.url(&format!("/whep/{FEED}")), LOOPBACK[0], &[Kind::Video, Kind::Audio])
            .await?;
    let (to, ours) = (ports().await?, ports().await?);
    let mut streams = Vec::new();
    for [video, audio] in [to, ours] {
        streams.push((Stream::new(video, 96).await?, Stream::new(audio, 97).await?));
    }
    let (mut other, mut alone) = (ffmpeg(to)?, packager(ours)?);
    let pids = [alone.id(), other.id(), server.process.id()];
    let cpu = || -> anyhow::Result<[f64; 3]> {
        let used = pids.map(|pid| procfs::process(pid).map(|used| used.cpu));
        Ok([
            used[0].context("the packager is gone")?,
            used[1].context("ffmpeg is gone")?,
            used[2].context("the server is gone")?,
        ])
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = tokio::time::Instant::now();
    let (mut from, mut packets, mut told) = (None, 0, 0);
    let end = begun + SETTLE + Duration::from_secs(seconds);
    while tokio::time::Instant::now() < end {
        ticks.tick().await;
        let (pictures, sounds) = viewer.take();
        for (video, audio) in &streams {
            video.send(&pictures).await?;
            audio.send(&sounds).await?;
        }
        let passed = begun.elapsed();
        if passed >= SETTLE {
            if from.is_none() {
                from = Some(cpu()?);
                packets = 0;
            }
            let so_far = (passed - SETTLE).as_secs() / WORD;
            if so_far > told {
                told = so_far;
                progress(&format!("CPU: {} of {seconds} s", so_far * WORD));
            }
        }
        packets += (pictures.len() + sounds.len()) as u64;
    }
    let (from, to) = (from.context("too short")?, cpu()?);
    anyhow::ensure!(other.running(), "ffmpeg has ended: {}", other.output());
    written(&other).await?;
    anyhow::ensure!(alone.running() && alone.output().contains("playable"), "{}", alone.output());
    server.check_unharmed().await?;
    #[expect(clippy::cast_precision_loss, reason = "less than an hour")]
    let each = |n: usize| (to[n] - from[n]) * 1_000.0 / seconds as f64;
    let (packager, ffmpeg, server) = (each(0), each(1), each(2));
    let ratio = packager / ffmpeg;
    Ok(Report { seconds, packets, packager, ffmpeg, server, ratio, met: ratio <= MOST })
}

/// A rival that writes nothing costs nothing: its playlist has to list segments.
async fn written(ffmpeg: &Process) -> anyhow::Result<()> {
    let folder = bicast_tests::root().join(format!("target/test-logs/{}-packaging", std::process::id()));
    wait::until("ffmpeg's playlist lists segments", GENEROUS, || async {
        let text = std::fs::read_to_string(folder.join("out.m3u8")).unwrap_or_default();
        anyhow::ensure!(text.matches("#EXTINF").count() >= 2, "{text}\n{}", ffmpeg.output());
        Ok(Some(()))
    })
    .await
}

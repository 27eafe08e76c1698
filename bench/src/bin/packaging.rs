//! The packager alone, for a comparison with other packagers that read RTP: it takes one feed as plain RTP (RFC 3550) on two UDP ports, as
//! from an SDP file, and packages it in memory. No WebRTC, no HTTP. One thread, because there is one feed.
//!
//! It says when the feed can be played, and at its end how many parts were written.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bicast_packager::{Config, Packager};
use bicast_shared::auth::DelayClasses;
use bicast_shared::clock;
use bicast_shared::feed::bus::{FeedBus, FeedPublisher};
use bicast_shared::feed::info::PublisherInfo;
use bicast_shared::feed::owner::RtpInput;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::{RenditionId, StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::time::ClockRate;
use bytes::{Bytes, BytesMut};
use clap::Parser;
use rtc_shared::marshal::Unmarshal as _;
use tokio::net::UdpSocket;

const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
const AUDIO: StreamKey = StreamKey::new(TrackId(1), RenditionId(0));
/// How long packets are collected, as the SFU does: those of a frame come together.
const COLLECT: Duration = Duration::from_millis(1);
/// No packet of a WebRTC publisher is longer.
const LONGEST: usize = 2_048;
/// The name that the feed has here.
const FEED: &str = "feed";

/// Packages H264 and Opus that come as plain RTP.
#[derive(Debug, Parser)]
struct Args {
    /// UDP port on 127.0.0.1 for H264
    #[arg(long)]
    video: u16,
    /// UDP port on 127.0.0.1 for Opus
    #[arg(long)]
    audio: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let bus = FeedBus::new(FeedSettings::default(), RingLimits::default());
    let packager = Packager::start(Config::default(), DelayClasses::default(), bus.clone()).await?;
    let tracks = vec![
        TrackInfo::single(VIDEO.track, Codec::H264, ClockRate::VIDEO, 0, String::new()),
        TrackInfo::single(AUDIO.track, Codec::Opus, ClockRate::OPUS, 2, String::new()),
    ];
    let info = PublisherInfo { protocol: "rtp".into(), agent: None, address: None, since: clock::utc() };
    let feed = FEED.parse().context("the feed's name")?;
    let publisher = bus.publish(&feed, tracks, info).context("the feed is taken")?;
    tokio::select! {
        ended = tokio::spawn(receive(publisher, args)) => ended??,
        ended = tell(&packager) => ended?,
        ended = tokio::signal::ctrl_c() => ended?,
    }
    let newest = packager.status().borrow().feeds.values().find_map(|feed| feed.newest);
    packager.shutdown().await;
    writeln!(std::io::stdout(), "newest segment and part: {newest:?}")?;
    Ok(())
}

/// Says once that the feed can be played, and then nothing, so as not to cost anything.
async fn tell(packager: &Packager) -> Result<()> {
    let mut status = packager.status();
    let playable = status.wait_for(|all| all.feeds.values().any(|feed| feed.playable)).await?.feeds.len();
    writeln!(std::io::stdout(), "playable: {playable}")?;
    std::future::pending().await
}

/// Takes what has come each time that something has, as the SFU does: not one by one, and none waits for longer than [`COLLECT`].
async fn receive(mut publisher: FeedPublisher, args: Args) -> Result<()> {
    let [video, audio] =
        [args.video, args.audio].map(|port| UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    let sockets = [(VIDEO, video.await?), (AUDIO, audio.await?)];
    let mut buffer = BytesMut::new();
    loop {
        tokio::select! {
            ready = sockets[0].1.readable() => ready?,
            ready = sockets[1].1.readable() => ready?,
        }
        tokio::time::sleep(COLLECT).await;
        for (key, socket) in &sockets {
            loop {
                buffer.reserve(LONGEST);
                match socket.try_recv_buf(&mut buffer) {
                    Ok(_) => take(&mut publisher, *key, buffer.split().freeze()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// What is not RTP is passed over: the ports are known to who started this.
fn take(publisher: &mut FeedPublisher, key: StreamKey, mut datagram: Bytes) {
    let Ok(packet) = rtp::Packet::unmarshal(&mut datagram) else { return };
    let input = RtpInput {
        sequence_number: packet.header.sequence_number,
        timestamp: packet.header.timestamp,
        marker: packet.header.marker,
        payload: packet.payload,
        orientation: None,
        composition_offset: None,
    };
    publisher.rtp(clock::now(), key, input);
}

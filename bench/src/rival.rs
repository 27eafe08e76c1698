//! The same feed served by the `webrtc` crate's asynchronous peer connections, one for each viewer, and by our path, in
//! turns of one frame.
//!
//! The peer connections have the crate's default interceptors and what it needs to serve a browser; they run on its own
//! reactor threads. Their viewers are those of the load generator, connected over real sockets, on a thread of its own.
//! So the peer connections' cost is what the process used, without the viewers' thread and without our path's turns.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bicast_load::core::answer::Answer;
use bicast_load::core::ice::Credentials;
use bicast_load::core::offer::{self, LocalEnd};
use bicast_load::core::transport::{Identity, Start};
use bicast_load::core::viewer::{Sample, Viewer};
use bicast_load::engine::Engine;
use bicast_load::wire::Wire;
use bicast_shared::clock;
use bicast_shared::packet::MediaPacket;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCSessionDescription, Registry, SettingEngineBuilder, register_default_interceptors,
};

use crate::clocks::{process_nanos, thread_nanos};
use crate::path::Path;
use crate::source::Source;

/// Payload type that the load generator offers for constrained baseline.
const PAYLOAD_TYPE: u8 = 102;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);
const PATIENCE: Duration = Duration::from_secs(30);

/// What came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Comparison {
    /// Viewers of each kind.
    pub(crate) viewers: usize,
    /// Frames measured.
    pub(crate) frames: usize,
    /// CPU per packet and viewer in nanoseconds.
    pub(crate) webrtc_ns: f64,
    /// ... and that of our path, in the same run.
    pub(crate) path_ns: f64,
    /// How many times less ours is.
    pub(crate) times_less: f64,
    /// Packets that the peer connections' viewers received, of those that were written for them.
    pub(crate) received: f64,
}

/// Serves `viewers` of each kind for so many frames, in real time.
pub(crate) fn compare(viewers: usize, frames: usize, packets: usize, payload: usize) -> Result<Comparison> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let engine = Engine::start(None)?;
        let mut peers = Vec::new();
        for n in 0..viewers {
            peers.push(connect(&engine, n).await.with_context(|| format!("peer connection {n}"))?);
        }
        connected(&engine, viewers as u64).await?;
        let mut path = Path::new(viewers)?;
        let mut source = Source::new(packets, payload);
        path.warm_up(&mut source)?;
        for _ in 0..30 {
            let frame = source.next();
            write(&mut peers, &frame).await?;
            sleep(FRAME).await;
        }
        let before = engine.take().await?;
        let (process, mut ours, mut aside) = (process_nanos(), 0.0, 0.0);
        let mut due = tokio::time::Instant::now();
        for _ in 0..frames {
            due += FRAME;
            let start = thread_nanos();
            let mut frame = source.next();
            let ours_now = path.frame(&mut frame.clone())?;
            path.drain();
            aside += thread_nanos() - start;
            ours += ours_now;
            write(&mut peers, &frame).await?;
            frame.clear();
            sleep_until(due).await;
        }
        // What is still queued is served, too.
        sleep(Duration::from_millis(200)).await;
        let all = process_nanos() - process;
        let after = engine.take().await?;
        let engine_nanos = (after.cpu - before.cpu).as_secs_f64() * 1e9;
        let count = (frames * packets * viewers) as f64;
        let webrtc = (all - engine_nanos - aside) / count;
        for peer in &peers {
            let _ = peer.connection.close().await;
        }
        engine.finish().await?;
        Ok(Comparison {
            viewers,
            frames,
            webrtc_ns: webrtc,
            path_ns: ours / count,
            times_less: webrtc * count / ours,
            received: after.tally.packets as f64 / count,
        })
    })
}

/// A peer connection of the server and its track.
struct Peer {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    sequence: u16,
}

/// Gives every peer connection the packets of a frame.
async fn write(peers: &mut [Peer], frame: &[MediaPacket]) -> Result<()> {
    for peer in peers {
        for packet in frame {
            let header = rtc::rtp::Header {
                version: 2,
                marker: packet.marker,
                payload_type: PAYLOAD_TYPE,
                sequence_number: peer.sequence,
                timestamp: packet.stamp.media_time.rtp(),
                ssrc: peer.ssrc,
                ..rtc::rtp::Header::default()
            };
            peer.sequence = peer.sequence.wrapping_add(1);
            peer.track.write_rtp(rtc::rtp::Packet { header, payload: packet.payload.clone() }).await?;
        }
    }
    Ok(())
}

async fn connected(engine: &Engine, viewers: u64) -> Result<()> {
    let all = async {
        while engine.take().await?.connected < viewers {
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, all).await.context("the peer connections did not all connect")?
}

/// A viewer of the load generator and the peer connection that serves it.
async fn connect(engine: &Engine, n: usize) -> Result<Peer> {
    let wire = Wire::bind(IpAddr::from([127, 0, 0, 1]))?;
    let identity = Arc::new(Identity::generate()?);
    let local = Credentials { ufrag: format!("viewer{n:06}"), pwd: "password-of-a-viewer-here".into() };
    let end = LocalEnd {
        session: 1,
        credentials: &local,
        fingerprint: &identity.fingerprint,
        address: wire.local(),
    };
    let (peer, answer) = serve(&offer::viewer(&end), n).await?;
    let answer = Answer::parse(&answer)?;
    let candidates = answer.reachable(wire.local(), None);
    ensure!(!candidates.is_empty(), "the answer has no candidate");
    let now = clock::now();
    let seed = rand::random();
    let start = Start { now, identity, local, answer: &answer, candidates, seed };
    engine.add(Viewer::new(start, now, Sample::new(0.0, 0)), wire).await?;
    Ok(peer)
}

/// Answers an offer as a WHEP server on the crate would.
async fn serve(offer: &str, n: usize) -> Result<(Peer, String)> {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let codec = RTCRtpCodec {
        mime_type: "video/H264".into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
        rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli")],
    };
    let mut media = MediaEngine::default();
    let parameters = RTCRtpCodecParameters { rtp_codec: codec.clone(), payload_type: PAYLOAD_TYPE };
    media.register_codec(parameters, RtpCodecKind::Video)?;
    let registry = register_default_interceptors(Registry::new(), &mut media)?;
    let (gathered, mut all) = watch::channel(false);
    let connection: Arc<dyn PeerConnection> = Arc::new(
        PeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_interceptor_registry(registry)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    // A second socket for each otherwise.
                    .with_multicast_dns_mode(MulticastDnsMode::Disabled)
                    .with_include_loopback_candidate(true)
                    .build(),
            )
            .with_handler(Arc::new(Gathering(gathered)))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await?,
    );
    let ssrc = 0x1000 + u32::try_from(n)?;
    let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "feed".into(),
        "video".into(),
        "video".into(),
        RtpCodecKind::Video,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec,
            active: true,
            ..Default::default()
        }],
    )));
    connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await?;
    connection.set_remote_description(RTCSessionDescription::offer(offer.to_owned())?).await?;
    let answer = connection.create_answer(None).await?;
    connection.set_local_description(answer).await?;
    timeout(PATIENCE, all.wait_for(|done| *done)).await.context("gathering candidates")??;
    let answer = connection.local_description().await.context("no answer")?.sdp;
    Ok((Peer { connection, track, ssrc, sequence: 0 }, answer))
}

struct Gathering(watch::Sender<bool>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Gathering {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.send_replace(true);
        }
    }
}

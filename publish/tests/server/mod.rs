//! A WHIP server for the tests: axum and the `webrtc` crate, which keeps what it hears.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use bicast_publish::core::endpoint::Endpoint;
use bicast_publish::core::h264::is_keyframe;
use bicast_publish::core::pattern::TestPattern;
use bicast_publish::core::rate::FrameRate;
use bicast_publish::encoder::H264Encoder;
use bicast_shared::time::ProgramTime;
use bytes::Bytes;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Attribute, Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCSessionDescription, Registry, SettingEngineBuilder, register_default_interceptors,
};

/// How long anything may take before a test gives up: long enough for a machine that does four other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What the server heard.
pub(crate) enum Heard {
    Video(rtc::rtp::Packet),
    Audio(rtc::rtp::Packet),
    Report(SenderReport),
}

pub(crate) struct Server {
    shared: Arc<Shared>,
    port: u16,
    heard: mpsc::Receiver<Heard>,
}

struct Shared {
    heard: mpsc::Sender<Heard>,
    refuse: AtomicU16,
    deleted: AtomicU32,
    peers: Mutex<Vec<Arc<dyn PeerConnection>>>,
    video: Mutex<Option<Arc<dyn TrackRemote>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let (tx, heard) = mpsc::channel(10_000);
        let shared = Arc::new(Shared {
            heard: tx,
            refuse: AtomicU16::new(0),
            deleted: AtomicU32::new(0),
            peers: Mutex::default(),
            video: Mutex::default(),
        });
        let routes = Router::new()
            .route("/whip/test", post(whip))
            .route("/whip/test/{session}", delete(end))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { shared, port, heard }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        format!("http://127.0.0.1:{}/whip/test", self.port).parse().unwrap()
    }

    pub(crate) async fn heard(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv()).await.expect("something within a minute").unwrap()
    }

    /// The next packet of video.
    pub(crate) async fn video(&mut self) -> rtc::rtp::Packet {
        loop {
            if let Heard::Video(packet) = self.heard().await {
                return packet;
            }
        }
    }

    pub(crate) async fn ask_for_keyframe(&self) {
        let track = self.shared.video.lock().unwrap().clone().unwrap();
        let media_ssrc = track.ssrcs().await[0];
        track.write_rtcp(vec![Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc })]).await.unwrap();
    }

    /// Answers the next POST with this status.
    pub(crate) fn refuse_next(&self, status: u16) {
        self.shared.refuse.store(status, Relaxed);
    }

    /// Drops all peers, as a server that is restarted does.
    pub(crate) async fn drop_peers(&self) {
        let peers = std::mem::take(&mut *self.shared.peers.lock().unwrap());
        for peer in peers {
            peer.close().await.unwrap();
        }
    }

    pub(crate) async fn deleted(&self) -> u32 {
        self.shared.deleted.load(Relaxed)
    }
}

async fn end(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.deleted.fetch_add(1, Relaxed);
    StatusCode::OK
}

async fn whip(State(shared): State<Arc<Shared>>, offer: String) -> Response {
    let refuse = shared.refuse.swap(0, Relaxed);
    if refuse != 0 {
        return StatusCode::from_u16(refuse).unwrap().into_response();
    }
    let mut engine = MediaEngine::default();
    engine.register_default_codecs().unwrap();
    let registry = register_default_interceptors(Registry::new(), &mut engine).unwrap();
    let registry = registry.with(Slot::from(14_000), Deliver::default());
    let (gathered_tx, mut gathered) = watch::channel(false);
    let setting = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_include_loopback_candidate(true)
        .build();
    let peer: Arc<dyn PeerConnection> = Arc::new(
        PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_setting_engine(setting)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler { shared: Arc::clone(&shared), gathered: gathered_tx }))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .unwrap(),
    );
    peer.set_remote_description(RTCSessionDescription::offer(offer).unwrap()).await.unwrap();
    let answer = peer.create_answer(None).await.unwrap();
    peer.set_local_description(answer).await.unwrap();
    gathered.wait_for(|&done| done).await.unwrap();
    let answer = peer.local_description().await.unwrap().sdp;
    shared.peers.lock().unwrap().push(peer);
    let headers = [("Content-Type", "application/sdp"), ("Location", "/whip/test/1")];
    (StatusCode::CREATED, headers, answer).into_response()
}

struct Handler {
    shared: Arc<Shared>,
    gathered: watch::Sender<bool>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let video = track.kind().await == RtpCodecKind::Video;
        if video {
            *self.shared.video.lock().unwrap() = Some(Arc::clone(&track));
        }
        let heard = self.shared.heard.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                match event {
                    TrackRemoteEvent::OnRtpPacket(packet) if video => {
                        heard.send(Heard::Video(packet)).await.unwrap();
                    }
                    TrackRemoteEvent::OnRtpPacket(packet) => heard.send(Heard::Audio(packet)).await.unwrap(),
                    TrackRemoteEvent::OnRtcpPacket(packets) => {
                        for report in packets.iter().filter_map(|p| p.as_any().downcast_ref::<SenderReport>())
                        {
                            heard.send(Heard::Report(report.clone())).await.unwrap();
                        }
                    }
                    TrackRemoteEvent::OnEnded => break,
                    _ => {}
                }
            }
        });
    }
}

/// Lets the test see the sender reports, which otherwise end in the connection.
#[derive(Default)]
struct Deliver {
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Deliver {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut message: TaggedPacket) -> Result<(), Error> {
        if matches!(message.message.packet, Packet::Rtcp(_)) {
            message.message.add(Attribute::DeliverToApplication);
        }
        self.read.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for Deliver {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

/// Counts sequence numbers on over their wrap, in whatever order they come.
#[derive(Default)]
pub(crate) struct Unwrap(Option<i64>);

impl Unwrap {
    pub(crate) fn next(&mut self, sequence: u16) -> i64 {
        let newest = self.0.unwrap_or_else(|| i64::from(sequence));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^16 is meant")]
        let ahead = sequence.wrapping_sub(newest as u16).cast_signed();
        let number = newest + i64::from(ahead);
        self.0 = Some(newest.max(number));
        number
    }
}

/// Puts packets together to frames, in the order they were sent, from the first keyframe that is whole: the receiving side
/// sometimes misses the first packet of a track.
#[derive(Default)]
pub(crate) struct Frames {
    unwrap: Unwrap,
    /// Packets that came and whose turn it is not yet.
    waiting: BTreeMap<i64, rtc::rtp::Packet>,
    /// Whose turn it is; none before the first keyframe.
    next: Option<i64>,
    nals: Vec<Bytes>,
    open: Vec<u8>,
}

pub(crate) struct Frame {
    pub(crate) timestamp: u32,
    pub(crate) keyframe: bool,
    pub(crate) annex_b: Vec<u8>,
}

/// Packets that may wait for one that is lost and will be sent again: some seconds.
const MOST_WAITING: usize = 1_000;

impl Frames {
    /// Whether the first keyframe has come.
    pub(crate) fn begun(&self) -> bool {
        self.next.is_some()
    }

    /// Takes a packet and gives the frames that are whole now.
    pub(crate) fn push(&mut self, packet: rtc::rtp::Packet) -> Vec<Frame> {
        let number = self.unwrap.next(packet.header.sequence_number);
        if self.next.is_none() && begins_keyframe(&packet.payload) {
            self.next = Some(number);
        }
        let Some(mut next) = self.next else { return Vec::new() };
        if number >= next {
            self.waiting.insert(number, packet);
        }
        let mut frames = Vec::new();
        while let Some(packet) = self.waiting.remove(&next) {
            next += 1;
            frames.extend(self.take(&packet));
        }
        self.next = Some(next);
        assert!(self.waiting.len() < MOST_WAITING, "packet {next} is missing and does not come again");
        frames
    }

    /// The packet whose turn it is.
    fn take(&mut self, packet: &rtc::rtp::Packet) -> Option<Frame> {
        let payload = &packet.payload;
        match payload[0] & 0x1f {
            24 => self.nals.extend(aggregated(payload)),
            28 => {
                if payload[1] & 0x80 != 0 {
                    self.open = vec![payload[0] & 0xe0 | payload[1] & 0x1f];
                }
                self.open.extend_from_slice(&payload[2..]);
                if payload[1] & 0x40 != 0 {
                    self.nals.push(std::mem::take(&mut self.open).into());
                }
            }
            _ => self.nals.push(payload.clone()),
        }
        if !packet.header.marker {
            return None;
        }
        let nals = std::mem::take(&mut self.nals);
        let annex_b = nals.iter().flat_map(|nal| [&[0, 0, 0, 1], &nal[..]].concat()).collect();
        Some(Frame { timestamp: packet.header.timestamp, keyframe: is_keyframe(&nals), annex_b })
    }
}

/// The NAL units of a STAP-A.
fn aggregated(payload: &Bytes) -> Vec<Bytes> {
    let mut nals = Vec::new();
    let mut rest = &payload[1..];
    while let [a, b, tail @ ..] = rest {
        let (nal, tail) = tail.split_at(usize::from(u16::from_be_bytes([*a, *b])));
        nals.push(Bytes::copy_from_slice(nal));
        rest = tail;
    }
    nals
}

/// Whether a keyframe begins with this packet: parameter sets come first.
fn begins_keyframe(payload: &Bytes) -> bool {
    match payload[0] & 0x1f {
        24 => aggregated(payload).first().is_some_and(|nal| nal[0] & 0x1f == 7),
        kind => kind == 7,
    }
}

/// An MP4 file that goes away with its handle.
pub(crate) struct TempClip(std::path::PathBuf);

impl TempClip {
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempClip {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A clip of `frames` numbered frames at `hz` frames per second, a keyframe every ten, without sound.
pub(crate) fn clip(hz: u32, frames: u64) -> TempClip {
    let rate = FrameRate::new(hz, 1).unwrap();
    let mut pattern = TestPattern::new(320, 180, rate);
    let mut encoder = H264Encoder::new(rate, 300_000, 10).unwrap();
    let coded: Vec<Vec<Bytes>> = (0..frames)
        .map(|n| encoder.encode(pattern.draw(n, ProgramTime::from_unix_nanos(0)), false).unwrap())
        .collect();

    let path = std::env::temp_dir().join(format!("bicast-clip-{}-{hz}-{frames}.mp4", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    let config = mp4::Mp4Config {
        major_brand: "isom".parse().unwrap(),
        minor_version: 512,
        compatible_brands: vec!["isom".parse().unwrap()],
        timescale: 1_000,
    };
    let mut writer = mp4::Mp4Writer::write_start(std::io::BufWriter::new(file), &config).unwrap();
    writer
        .add_track(&mp4::TrackConfig {
            track_type: mp4::TrackType::Video,
            timescale: 12_800,
            language: "und".into(),
            media_conf: mp4::MediaConfig::AvcConfig(mp4::AvcConfig {
                width: 320,
                height: 180,
                seq_param_set: coded[0][0].to_vec(),
                pic_param_set: coded[0][1].to_vec(),
            }),
        })
        .unwrap();
    let delta = 12_800 / hz;
    for (n, nals) in coded.iter().enumerate() {
        let avcc: Vec<u8> = nals
            .iter()
            .filter(|nal| !matches!(nal[0] & 0x1f, 7 | 8))
            .flat_map(|nal| [&u32::try_from(nal.len()).unwrap().to_be_bytes()[..], nal].concat())
            .collect();
        let sample = mp4::Mp4Sample {
            start_time: u64::from(delta) * n as u64,
            duration: delta,
            rendering_offset: 0,
            is_sync: is_keyframe(nals),
            bytes: avcc.into(),
        };
        writer.write_sample(1, &sample).unwrap();
    }
    writer.write_end().unwrap();
    TempClip(path)
}

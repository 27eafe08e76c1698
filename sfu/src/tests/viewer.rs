//! A viewer on `rtc`'s own peer connection, with a lossy network in front of it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bytes::BytesMut;
use parking_lot::Mutex;
use rtc::interceptor::{Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::peer_connection::configuration::interceptor_registry::configure_nack;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_rtcp::sender_report::SenderReport;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

const VIDEO_PT: u8 = 102;
const RTX_PT: u8 = 103;
const AUDIO_PT: u8 = 111;

/// A packet that arrived.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) sequence_number: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
}

/// A sender report that arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    pub(super) is_video: bool,
    pub(super) ntp: u64,
    pub(super) rtp_timestamp: u32,
}

/// What a viewer has seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connected: bool,
    pub(super) closed: bool,
    pub(super) video: Vec<Received>,
    pub(super) audio: Vec<Received>,
    lost: usize,
    video_ssrc: u32,
    reports: Vec<(u32, u64, u32)>,
}

/// Handle of a viewer that runs in a task.
pub(super) struct Viewer {
    seen: Arc<Mutex<Seen>>,
    begin: Option<oneshot::Sender<String>>,
}

impl Viewer {
    /// A viewer and its offer. Every `lose`th RTP packet is lost on the way to it.
    pub(super) async fn new(ip: IpAddr, rtx: bool, lose: usize) -> (Self, String) {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        let (peer, offer) = build(socket.local_addr().unwrap(), rtx, seen.clone());
        let (begin, answer) = oneshot::channel();
        let run = Run { peer, socket, seen: seen.clone(), lose, count: 0 };
        tokio::spawn(run.run(answer));
        (Self { seen, begin: Some(begin) }, offer)
    }

    /// Begins with the answer.
    pub(super) fn begin(&mut self, answer: &str) {
        self.begin.take().unwrap().send(answer.to_owned()).unwrap();
    }

    /// Waits up to 10 s.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        for _ in 0..500 {
            if condition(&self.seen.lock()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let seen = self.seen.lock();
        panic!("{what}: not within 10 s ({} video, {} audio packets)", seen.video.len(), seen.audio.len());
    }

    /// The packets so far: video and audio.
    pub(super) fn take(&self) -> (Vec<Received>, Vec<Received>) {
        let mut seen = self.seen.lock();
        (std::mem::take(&mut seen.video), std::mem::take(&mut seen.audio))
    }

    pub(super) fn videos(&self) -> Vec<Received> {
        self.seen.lock().video.clone()
    }

    pub(super) fn lost(&self) -> usize {
        self.seen.lock().lost
    }

    pub(super) fn reports(&self) -> Vec<Report> {
        let seen = self.seen.lock();
        let report = |(ssrc, ntp, rtp_timestamp): &(u32, u64, u32)| Report {
            is_video: *ssrc == seen.video_ssrc,
            ntp: *ntp,
            rtp_timestamp: *rtp_timestamp,
        };
        let mut reports: Vec<Report> = seen.reports.iter().map(report).collect();
        reports.sort_by_key(|report| !report.is_video);
        if reports.iter().any(|report| report.is_video) && reports.iter().any(|report| !report.is_video) {
            reports
        } else {
            Vec::new()
        }
    }
}

struct Run {
    peer: RTCPeerConnection,
    socket: UdpSocket,
    seen: Arc<Mutex<Seen>>,
    lose: usize,
    count: usize,
}

impl Run {
    async fn run(mut self, answer: oneshot::Receiver<String>) {
        let Ok(answer) = answer.await else { return };
        let answer = RTCSessionDescription::answer(answer).unwrap();
        self.peer.set_remote_description(clock::now(), answer).unwrap();
        let mut buffer = vec![0; 2_048];
        loop {
            self.flush().await;
            let now = clock::now();
            let wake = self.peer.poll_timeout().unwrap_or(now + Duration::from_secs(1));
            let wake = wake.clamp(now + Duration::from_millis(1), now + Duration::from_millis(50));
            tokio::select! {
                Ok((size, from)) = self.socket.recv_from(&mut buffer) => {
                    let bytes = &buffer[..size];
                    if self.is_lost(bytes) {
                        continue;
                    }
                    if bytes[0] == 21 {
                        self.seen.lock().closed = true;
                    }
                    let message = TaggedBytesMut {
                        now: clock::now(),
                        transport: TransportContext {
                            local_addr: self.socket.local_addr().unwrap(),
                            peer_addr: from,
                            transport_protocol: TransportProtocol::UDP,
                            ecn: None,
                        },
                        message: BytesMut::from(bytes),
                    };
                    let _ = self.peer.handle_read(message);
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    let _ = self.peer.handle_timeout(clock::now());
                }
            }
        }
    }

    /// Only first sends of video are lost: what is sent again gets through.
    fn is_lost(&mut self, bytes: &[u8]) -> bool {
        let is_video = bytes[0] & 0xc0 == 0x80 && bytes[1] & 0x7f == VIDEO_PT;
        if !is_video {
            return false;
        }
        self.count += 1;
        let lost = self.lose > 0 && self.count.is_multiple_of(self.lose);
        self.seen.lock().lost += usize::from(lost);
        lost
    }

    async fn flush(&mut self) {
        while let Some(message) = self.peer.poll_write() {
            let _ = self.socket.send_to(&message.message, message.transport.peer_addr).await;
        }
        while let Some(event) = self.peer.poll_event() {
            if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(RTCPeerConnectionState::Connected) =
                event
            {
                self.seen.lock().connected = true;
            }
        }
        while let Some(message) = self.peer.poll_read() {
            let RTCMessage::RtpPacket(_, packet) = message.message else { continue };
            let received = Received {
                sequence_number: packet.header.sequence_number,
                timestamp: packet.header.timestamp,
                marker: packet.header.marker,
                payload: packet.payload.to_vec(),
            };
            let mut seen = self.seen.lock();
            match packet.header.payload_type {
                VIDEO_PT => {
                    seen.video_ssrc = packet.header.ssrc;
                    seen.video.push(received);
                }
                AUDIO_PT => seen.audio.push(received),
                _ => {}
            }
        }
    }
}

fn build(local: SocketAddr, rtx: bool, seen: Arc<Mutex<Seen>>) -> (RTCPeerConnection, String) {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let codec = |mime: &str, clock_rate, channels, fmtp: &str, rtcp_feedback| RTCRtpCodec {
        mime_type: mime.into(),
        clock_rate,
        channels,
        sdp_fmtp_line: fmtp.into(),
        rtcp_feedback,
    };
    let nack = vec![feedback("nack", ""), feedback("nack", "pli")];
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    let mut media = MediaEngine::default();
    let mut register = |rtp_codec, payload_type, kind| {
        media.register_codec(RTCRtpCodecParameters { rtp_codec, payload_type }, kind).unwrap();
    };
    register(codec("video/H264", 90_000, 0, h264, nack), VIDEO_PT, RtpCodecKind::Video);
    if rtx {
        register(codec("video/rtx", 90_000, 0, "apt=102", vec![]), RTX_PT, RtpCodecKind::Video);
    }
    register(codec("audio/opus", 48_000, 2, "", vec![]), AUDIO_PT, RtpCodecKind::Audio);
    let registry = configure_nack(Registry::new(), &mut media);
    let registry = registry.with(Slot::from(14_000), Watch { seen, ..Watch::default() });
    let mut peer = RTCPeerConnectionBuilder::new()
        .with_media_engine(media)
        // Retransmissions come 60 packets later here, near the default window of 64.
        .with_setting_engine(
            SettingEngineBuilder::new()
                .with_include_loopback_candidate(true)
                .with_srtp_replay_protection_window(1_024)
                .build(),
        )
        .with_interceptor_registry(registry)
        .build(clock::now())
        .unwrap();
    for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            ..RTCRtpTransceiverInit::default()
        };
        peer.add_transceiver_from_kind(kind, Some(init)).unwrap();
    }
    let (ip, port) = (local.ip(), local.port());
    let candidate = format!("candidate:1 1 udp 2130706431 {ip} {port} typ host");
    peer.add_local_candidate(RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() }).unwrap();
    let offer = peer.create_offer(None).unwrap();
    peer.set_local_description(clock::now(), offer.clone()).unwrap();
    (peer, offer.sdp)
}

/// Notes the sender reports that arrive.
#[derive(Default)]
struct Watch {
    seen: Arc<Mutex<Seen>>,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Watch {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for report in packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<SenderReport>()) {
                self.seen.lock().reports.push((report.ssrc, report.ntp_time, report.rtp_time));
            }
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

impl Interceptor for Watch {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

//! A publisher on `rtc`'s own peer connection: the other end of everything that ingest does itself.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rtc::interceptor::{Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_rtcp::packet::Packet as RtcpPacket;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

const VIDEO_SSRC: u32 = 0x1000;
const AUDIO_SSRC: u32 = 0x2000;
const VIDEO_PT: u8 = 102;
const AUDIO_PT: u8 = 111;

/// Handle of a publisher that runs in a task.
pub(super) struct Publisher {
    commands: mpsc::UnboundedSender<Command>,
    seen: Arc<Mutex<Seen>>,
    begin: Option<oneshot::Sender<String>>,
}

#[derive(Default)]
struct Seen {
    connected: bool,
    closed: bool,
    nacks: Vec<u16>,
    keyframe_requests: usize,
}

enum Command {
    Rtp { video: bool, packet: rtp::Packet },
    SenderReport { video: bool, ntp: u64, rtp: u32 },
    Raw(Vec<u8>),
    Close,
    Vanish,
}

impl Publisher {
    /// A publisher and its offer.
    pub(super) async fn new(ip: IpAddr) -> (Self, String) {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        let (peer, senders, offer) = build(socket.local_addr().unwrap(), seen.clone());
        let (commands, queue) = mpsc::unbounded_channel();
        let (begin, answer) = oneshot::channel();
        let run = Run { peer, senders, socket, seen: seen.clone(), server: None };
        tokio::spawn(run.run(answer, queue));
        (Self { commands, seen, begin: Some(begin) }, offer)
    }

    /// Begins with the answer.
    pub(super) fn begin(&mut self, answer: &str) {
        self.begin.take().unwrap().send(answer.to_owned()).unwrap();
    }

    pub(super) fn video(&self, sequence_number: u16, timestamp: u32, payload: Vec<u8>) {
        self.rtp(true, sequence_number, timestamp, payload);
    }

    pub(super) fn audio(&self, sequence_number: u16, timestamp: u32, payload: Vec<u8>) {
        self.rtp(false, sequence_number, timestamp, payload);
    }

    fn rtp(&self, video: bool, sequence_number: u16, timestamp: u32, payload: Vec<u8>) {
        let (ssrc, payload_type) = if video { (VIDEO_SSRC, VIDEO_PT) } else { (AUDIO_SSRC, AUDIO_PT) };
        let header = rtp::Header {
            version: 2,
            marker: true,
            ssrc,
            payload_type,
            sequence_number,
            timestamp,
            ..rtp::Header::default()
        };
        self.send(Command::Rtp { video, packet: rtp::Packet { header, payload: payload.into() } });
    }

    pub(super) fn sender_report(&self, video: bool, ntp: u64, rtp: u32) {
        self.send(Command::SenderReport { video, ntp, rtp });
    }

    /// Sends bytes as they are, from the publisher's address.
    pub(super) fn raw(&self, bytes: Vec<u8>) {
        self.send(Command::Raw(bytes));
    }

    /// Sends a sealed packet of a payload type that was not negotiated.
    pub(super) fn unknown_streams(&self) {
        for payload_type in [0, 96, 127] {
            let header = rtp::Header {
                version: 2,
                ssrc: VIDEO_SSRC,
                payload_type,
                sequence_number: 9,
                ..rtp::Header::default()
            };
            let packet = rtp::Packet { header, payload: Bytes::from_static(b"?") };
            self.send(Command::Rtp { video: true, packet });
        }
    }

    /// Says goodbye by DTLS.
    pub(super) fn close(&self) {
        self.send(Command::Close);
    }

    /// Is gone without a word.
    pub(super) fn vanish(&self) {
        self.send(Command::Vanish);
    }

    pub(super) async fn connected(&self) {
        self.until(|seen| seen.connected.then_some(())).await;
    }

    pub(super) async fn closed(&self) {
        self.until(|seen| seen.closed.then_some(())).await;
    }

    /// The first sequence number that was asked for.
    pub(super) async fn nacked(&self) -> u16 {
        self.until(|seen| seen.nacks.first().copied()).await
    }

    pub(super) async fn keyframe_requested(&self) {
        self.until(|seen| (seen.keyframe_requests > 0).then_some(())).await;
    }

    async fn until<T>(&self, condition: impl Fn(&Seen) -> Option<T>) -> T {
        for _ in 0..1_000 {
            if let Some(value) = condition(&self.seen.lock()) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within 10 s");
    }

    fn send(&self, command: Command) {
        assert!(self.commands.send(command).is_ok(), "the publisher runs");
    }
}

struct Run {
    peer: RTCPeerConnection,
    senders: [RTCRtpSenderId; 2],
    socket: UdpSocket,
    seen: Arc<Mutex<Seen>>,
    server: Option<SocketAddr>,
}

impl Run {
    async fn run(
        mut self,
        answer: oneshot::Receiver<String>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        let Ok(answer) = answer.await else { return };
        let answer = RTCSessionDescription::answer(answer).unwrap();
        self.peer.set_remote_description(clock::now(), answer).unwrap();
        let mut buffer = vec![0; 2_048];
        let mut closing = false;
        loop {
            self.flush().await;
            if closing {
                return;
            }
            let now = clock::now();
            let wake = self
                .peer
                .poll_timeout()
                .unwrap_or(now + Duration::from_secs(1))
                .max(now + Duration::from_millis(1));
            tokio::select! {
                Ok((size, from)) = self.socket.recv_from(&mut buffer) => {
                    self.server = Some(from);
                    if buffer[0] == 21 {
                        self.seen.lock().closed = true;
                    }
                    let _ = self.peer.handle_read(self.tagged(&buffer[..size], from));
                }
                command = commands.recv() => match command {
                    Some(Command::Vanish) | None => return,
                    Some(Command::Close) => {
                        self.peer.close().unwrap();
                        closing = true;
                    }
                    Some(Command::Raw(bytes)) => {
                        let _ = self.socket.send_to(&bytes, self.server.unwrap()).await;
                    }
                    Some(other) => self.write(other),
                },
                () = tokio::time::sleep_until(wake.into()) => {
                    let _ = self.peer.handle_timeout(clock::now());
                }
            }
        }
    }

    fn write(&mut self, command: Command) {
        let now = clock::now();
        let sender = |run: &mut Self, video: bool| run.senders[usize::from(!video)];
        match command {
            Command::Rtp { video, packet } => {
                let id = sender(self, video);
                // A payload type that was not negotiated is refused by the library: that is its affair.
                let _ = self.peer.rtp_sender(id).unwrap().write_rtp(now, packet);
            }
            Command::SenderReport { video, ntp, rtp } => {
                let id = sender(self, video);
                let ssrc = if video { VIDEO_SSRC } else { AUDIO_SSRC };
                let report = SenderReport { ssrc, ntp_time: ntp, rtp_time: rtp, ..SenderReport::default() };
                self.peer.rtp_sender(id).unwrap().write_rtcp(now, vec![Box::new(report)]).unwrap();
            }
            _ => {}
        }
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
        while self.peer.poll_read().is_some() {}
    }

    fn tagged(&self, bytes: &[u8], from: SocketAddr) -> TaggedBytesMut {
        TaggedBytesMut {
            now: clock::now(),
            transport: TransportContext {
                local_addr: self.socket.local_addr().unwrap(),
                peer_addr: from,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: BytesMut::from(bytes),
        }
    }
}

fn build(local: SocketAddr, seen: Arc<Mutex<Seen>>) -> (RTCPeerConnection, [RTCRtpSenderId; 2], String) {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let video = RTCRtpCodec {
        mime_type: "video/H264".into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
        rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli")],
    };
    let audio = RTCRtpCodec {
        mime_type: "audio/opus".into(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".into(),
        rtcp_feedback: vec![],
    };
    let mut media = MediaEngine::default();
    let parameters =
        |codec: &RTCRtpCodec, payload_type| RTCRtpCodecParameters { rtp_codec: codec.clone(), payload_type };
    media.register_codec(parameters(&video, VIDEO_PT), RtpCodecKind::Video).unwrap();
    media.register_codec(parameters(&audio, AUDIO_PT), RtpCodecKind::Audio).unwrap();
    let mut peer = RTCPeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_setting_engine(SettingEngineBuilder::new().with_include_loopback_candidate(true).build())
        .with_interceptor_registry(
            Registry::new().with(Slot::from(14_000), Watch { seen, ..Watch::default() }),
        )
        .build(clock::now())
        .unwrap();
    let mut add = |kind, ssrc, codec: &RTCRtpCodec| {
        let coding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..RTCRtpCodingParameters::default()
            },
            codec: codec.clone(),
            ..RTCRtpEncodingParameters::default()
        };
        let id = format!("track-{ssrc}");
        peer.add_track(MediaStreamTrack::new("stream".into(), id.clone(), id, kind, vec![coding])).unwrap()
    };
    let senders =
        [add(RtpCodecKind::Video, VIDEO_SSRC, &video), add(RtpCodecKind::Audio, AUDIO_SSRC, &audio)];
    let (ip, port) = (local.ip(), local.port());
    let candidate = format!("candidate:1 1 udp 2130706431 {ip} {port} typ host");
    peer.add_local_candidate(RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() }).unwrap();
    let offer = peer.create_offer(None).unwrap();
    peer.set_local_description(clock::now(), offer.clone()).unwrap();
    (peer, senders, offer.sdp)
}

/// Notes the RTCP that arrives.
#[derive(Default)]
struct Watch {
    seen: Arc<Mutex<Seen>>,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Watch {
    fn note(&self, packet: &dyn RtcpPacket) {
        let mut seen = self.seen.lock();
        if let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() {
            seen.nacks.extend(nack.nacks.iter().flat_map(|pair| pair.packet_list()));
        }
        if packet.as_any().is::<PictureLossIndication>() {
            seen.keyframe_requests += 1;
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Watch {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            packets.iter().for_each(|packet| self.note(&**packet));
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

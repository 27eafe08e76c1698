//! What test publishers and test viewers stand on: `rtc`'s own peer connection on a socket, H.264 and Opus, and a look
//! at the RTCP that arrives.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bytes::BytesMut;
use rtc::interceptor::{Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_rtcp::packet::Packet as RtcpPacket;
use tokio::net::UdpSocket;

pub(crate) const VIDEO_PT: u8 = 102;
pub(crate) const RTX_PT: u8 = 103;
pub(crate) const AUDIO_PT: u8 = 111;

/// A peer connection and its socket.
pub(crate) struct Peer {
    pub(crate) connection: RTCPeerConnection,
    socket: UdpSocket,
    /// Where the last datagram came from.
    server: Option<SocketAddr>,
}

/// What came about.
pub(crate) enum Came {
    /// A datagram, not yet given to the connection: [`Peer::take`] does.
    Datagram(Vec<u8>),
    /// A timer, already handled.
    Timeout,
}

impl Peer {
    /// A peer on a new socket on `local`'s address that is told of RTCP by `heard`.
    pub(crate) async fn new(
        local: SocketAddr,
        media: MediaEngine,
        interceptors: Registry,
        heard: impl FnMut(&dyn RtcpPacket) + Send + Sync + 'static,
    ) -> Self {
        let socket = UdpSocket::bind(local).await.unwrap();
        let connection = RTCPeerConnectionBuilder::new()
            .with_media_engine(media)
            // Retransmissions come 60 packets later here, near the default window of 64.
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_include_loopback_candidate(true)
                    .with_srtp_replay_protection_window(1_024)
                    .build(),
            )
            .with_interceptor_registry(interceptors.with(Slot::from(14_000), Tap::new(heard)))
            .build(clock::now())
            .unwrap();
        Self { connection, socket, server: None }
    }

    /// The offer, with one candidate: the socket's address.
    pub(crate) fn offer(&mut self) -> String {
        let local = self.socket.local_addr().unwrap();
        let candidate = format!("candidate:1 1 udp 2130706431 {} {} typ host", local.ip(), local.port());
        let candidate = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
        self.connection.add_local_candidate(candidate).unwrap();
        let offer = self.connection.create_offer(None).unwrap();
        self.connection.set_local_description(clock::now(), offer.clone()).unwrap();
        offer.sdp
    }

    pub(crate) fn answered(&mut self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).unwrap();
        self.connection.set_remote_description(clock::now(), answer).unwrap();
    }

    /// Waits for a datagram or a timer, at most 50 ms.
    pub(crate) async fn next(&mut self) -> Came {
        let now = clock::now();
        let wake = self.connection.poll_timeout().unwrap_or(now + Duration::from_secs(1));
        let wake = wake.clamp(now + Duration::from_millis(1), now + Duration::from_millis(50));
        let mut buffer = vec![0; 2_048];
        tokio::select! {
            Ok((size, from)) = self.socket.recv_from(&mut buffer) => {
                buffer.truncate(size);
                self.server = Some(from);
                Came::Datagram(buffer)
            }
            () = tokio::time::sleep_until(wake.into()) => {
                let _ = self.connection.handle_timeout(clock::now());
                Came::Timeout
            }
        }
    }

    /// Gives a datagram to the connection.
    pub(crate) fn take(&mut self, datagram: &[u8]) {
        let _ = self.connection.handle_read(TaggedBytesMut {
            now: clock::now(),
            transport: TransportContext {
                local_addr: self.socket.local_addr().unwrap(),
                peer_addr: self.server.unwrap(),
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: BytesMut::from(datagram),
        });
    }

    /// Sends bytes as they are to where the last datagram came from.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.send_to(bytes, self.server.unwrap()).await;
    }

    /// Sends what the connection wants to send. Tells whether it has just connected.
    pub(crate) async fn flush(&mut self) -> bool {
        while let Some(message) = self.connection.poll_write() {
            let _ = self.socket.send_to(&message.message, message.transport.peer_addr).await;
        }
        let mut connected = false;
        while let Some(event) = self.connection.poll_event() {
            connected |= matches!(
                event,
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(RTCPeerConnectionState::Connected)
            );
        }
        connected
    }

    /// Says goodbye; [`Self::flush`] sends it.
    pub(crate) fn close(&mut self) {
        self.connection.close().unwrap();
    }

    /// The next RTP packet that arrived.
    pub(crate) fn rtp(&mut self) -> Option<rtp::Packet> {
        while let Some(message) = self.connection.poll_read() {
            if let RTCMessage::RtpPacket(_, packet) = message.message {
                return Some(packet);
            }
        }
        None
    }
}

/// H.264 with NACK and PLI.
pub(crate) fn h264() -> RTCRtpCodec {
    let feedback = |parameter: &str| RTCPFeedback { typ: "nack".into(), parameter: parameter.into() };
    RTCRtpCodec {
        mime_type: "video/H264".into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
        rtcp_feedback: vec![feedback(""), feedback("pli")],
    }
}

pub(crate) fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "audio/opus".into(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".into(),
        rtcp_feedback: vec![],
    }
}

/// H.264 and Opus, and retransmissions in a stream of their own where `rtx` says so.
pub(crate) fn media(rtx: bool) -> MediaEngine {
    let mut media = MediaEngine::default();
    let mut register = |rtp_codec, payload_type, kind| {
        media.register_codec(RTCRtpCodecParameters { rtp_codec, payload_type }, kind).unwrap();
    };
    register(h264(), VIDEO_PT, RtpCodecKind::Video);
    if rtx {
        let codec = RTCRtpCodec {
            mime_type: "video/rtx".into(),
            clock_rate: 90_000,
            sdp_fmtp_line: format!("apt={VIDEO_PT}"),
            ..RTCRtpCodec::default()
        };
        register(codec, RTX_PT, RtpCodecKind::Video);
    }
    register(opus(), AUDIO_PT, RtpCodecKind::Audio);
    media
}

/// An interceptor that shows the RTCP that arrives to a closure and changes nothing.
struct Tap<F> {
    heard: F,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl<F> Tap<F> {
    fn new(heard: F) -> Self {
        Self { heard, read: VecDeque::new(), write: VecDeque::new() }
    }
}

impl<F: FnMut(&dyn RtcpPacket)> Protocol<TaggedPacket, TaggedPacket, ()> for Tap<F> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            packets.iter().for_each(|packet| (self.heard)(&**packet));
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

impl<F: FnMut(&dyn RtcpPacket) + Send + Sync> Interceptor for Tap<F> {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

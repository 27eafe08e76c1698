//! The one file that builds the `webrtc` crate's peer connection: offer, answer, tracks to write to, state to watch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bicast_shared::time::ClockRate;
use bytes::Bytes;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackResponderBuilder, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::watch;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
    SrtpProtectionProfile,
};
use webrtc::rtp_transceiver::RtpTransceiver;

use crate::core::sdp;
use crate::error::Error;
use crate::feedback::{Feedback, Reports, TrackClock};
use crate::source::SoundCoding;

/// What is offered, and to whom.
#[derive(Debug, Clone)]
pub(crate) struct PeerSettings {
    /// The `profile-level-id` of the video; none without video.
    pub(crate) profile: Option<String>,
    /// In how many encodings the video comes, at least 1.
    pub(crate) layers: usize,
    /// How the sound is sent; none without sound.
    pub(crate) sound: Option<SoundCoding>,
    /// The server's addresses, to find out from which of ours they are reached.
    pub(crate) servers: Vec<IpAddr>,
}

/// A peer connection that only sends.
pub(crate) struct Peer {
    connection: Arc<dyn PeerConnection>,
    state: watch::Receiver<RTCPeerConnectionState>,
    feedback: Arc<Feedback>,
    tracks: Vec<OutTrack>,
    offer: String,
}

/// A track of the connection and what it was offered as.
struct OutTrack {
    kind: RtpCodecKind,
    track: Arc<TrackLocalStaticRTP>,
    transceiver: Arc<dyn RtpTransceiver>,
    codec: RTCRtpCodecParameters,
    /// One for each encoding.
    clocks: Vec<TrackClock>,
}

/// Writes the packets of one track: numbers them and stamps them.
pub(crate) struct Writer {
    track: Arc<TrackLocalStaticRTP>,
    clock: TrackClock,
    payload_type: u8,
    sequence: u16,
    /// The `rid` of its encoding, and the id of the header extension that says it (RFC 8852).
    rid: Option<(u8, Bytes)>,
}

const H264_PAYLOAD: u8 = 102;
const OPUS_PAYLOAD: u8 = 111;
const AAC_PAYLOAD: u8 = 97;
/// The header extensions by which a receiver tells encodings apart (RFC 8852, RFC 9143).
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
/// Packets kept for retransmission: more than three seconds at 2.5 Mbit/s.
const NACK_HISTORY: u16 = 1_024;
/// Host candidates only, so nothing has to be asked on the network.
const GATHERING: Duration = Duration::from_secs(5);

impl Peer {
    /// Builds the connection and gathers its candidates.
    pub(crate) async fn new(settings: &PeerSettings) -> Result<Self, Error> {
        let video = settings.profile.as_deref().map(h264);
        let audio = settings.sound.map(sound);
        let mut engine = MediaEngine::default();
        let mut planned = Vec::new();
        for (kind, codec) in video
            .map(|codec| (RtpCodecKind::Video, codec))
            .into_iter()
            .chain(audio.map(|codec| (RtpCodecKind::Audio, codec)))
        {
            engine.register_codec(codec.clone(), kind)?;
            let layers = if kind == RtpCodecKind::Video { settings.layers } else { 1 };
            let clock = |_| TrackClock {
                // 0 means "none" to some.
                ssrc: rand::random_range(1..=u32::MAX),
                rate: ClockRate::new(codec.rtp_codec.clock_rate),
                base: rand::random(),
                video: kind == RtpCodecKind::Video,
            };
            let clocks: Vec<_> = (0..layers).map(clock).collect();
            planned.push((kind, codec, clocks));
        }
        if settings.layers > 1 {
            for uri in [MID, RID] {
                let extension = RTCRtpHeaderExtensionCapability { uri: uri.into() };
                engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
            }
        }

        let feedback = Arc::new(Feedback::default());
        let cname = format!("{:016x}", rand::random::<u64>());
        let clocks: Vec<_> = planned.iter().flat_map(|(_, _, clocks)| clocks.clone()).collect();
        let registry = Registry::new()
            .with(Slot::NackResponder, NackResponderBuilder::new().with_size(NACK_HISTORY).build())
            .with(Slot::SenderReport, Reports::new(Arc::clone(&feedback), &clocks, &cname));
        let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
        let (gathered_tx, mut gathered) = watch::channel(false);
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_configuration(RTCConfigurationBuilder::default().build())
                .with_media_engine(engine)
                .with_setting_engine(setting_engine())
                .with_interceptor_registry(registry)
                .with_handler(Arc::new(Handler { state: state_tx, gathered: gathered_tx }))
                .with_udp_addrs(local_addresses(&settings.servers))
                .build()
                .await?,
        );
        let mut tracks = Vec::new();
        for (kind, codec, clocks) in planned {
            let track = Arc::new(TrackLocalStaticRTP::new(media_track(kind, &codec, &clocks, &cname)));
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Sendonly,
                ..RTCRtpTransceiverInit::default()
            };
            let local = Arc::clone(&track) as Arc<dyn TrackLocal>;
            let transceiver = connection.add_transceiver_from_track(local, Some(init)).await?;
            tracks.push(OutTrack { kind, track, transceiver, codec, clocks });
        }
        let offer = connection.create_offer(None).await?;
        connection.set_local_description(offer).await?;
        // Whatever was gathered by then is offered; a candidate that is missing is one way less to connect.
        let _ = tokio::time::timeout(GATHERING, gathered.wait_for(|&done| done)).await;
        let offer =
            connection.local_description().await.map(|description| description.sdp).unwrap_or_default();
        Ok(Self { connection, state, feedback, tracks, offer })
    }

    /// The SDP offer, candidates included.
    pub(crate) fn offer(&self) -> &str {
        &self.offer
    }

    /// What the server says about what it receives.
    pub(crate) fn feedback(&self) -> &Arc<Feedback> {
        &self.feedback
    }

    /// The connection's state, to be watched.
    pub(crate) fn state(&self) -> watch::Receiver<RTCPeerConnectionState> {
        self.state.clone()
    }

    /// Takes the server's answer.
    pub(crate) async fn accept(&self, answer: &str) -> Result<(), Error> {
        for track in &self.tracks {
            let (kind, codec, next) = match track.kind {
                RtpCodecKind::Audio if track.codec.payload_type == AAC_PAYLOAD => {
                    ("audio", "AAC", "Leave --keep-aac out: it is sent as Opus then.")
                }
                RtpCodecKind::Audio => ("audio", "Opus", "Leave the sound out with --no-audio."),
                _ => ("video", "H.264", "Check which codecs the server accepts."),
            };
            if !sdp::takes(answer, kind) {
                return Err(Error::TrackRefused { kind, codec: codec.into(), next });
            }
        }
        let answer = RTCSessionDescription::answer(answer.to_owned())?;
        Ok(self.connection.set_remote_description(answer).await?)
    }

    /// The writer of an encoding of the video, or of the sound; none when there is no such track. Once each, after the answer.
    pub(crate) async fn writer(&self, layer: Option<usize>) -> Result<Option<Writer>, Error> {
        let video = layer.is_some();
        let Some(out) = self.tracks.iter().find(|out| (out.kind == RtpCodecKind::Video) == video) else {
            return Ok(None);
        };
        let layer = layer.unwrap_or(0);
        let Some(clock) = out.clocks.get(layer).copied() else { return Ok(None) };
        let sender = out.transceiver.sender().await?;
        let parameters = match sender {
            Some(sender) => Some(sender.get_parameters().await?.rtp_parameters),
            None => None,
        };
        let codec = parameters.as_ref().and_then(|parameters| parameters.codecs.first());
        let extensions = parameters.iter().flat_map(|parameters| &parameters.header_extensions);
        let id = extensions.into_iter().find(|extension| extension.uri == RID).map(|extension| extension.id);
        let id = id.and_then(|id| u8::try_from(id).ok()).filter(|_| out.clocks.len() > 1);
        Ok(Some(Writer {
            track: Arc::clone(&out.track),
            clock,
            payload_type: codec.map_or(out.codec.payload_type, |codec| codec.payload_type),
            // Far from the wrap: a receiver that misses the first packets must not guess the rollover wrong
            // (RFC 3711, 3.3.1).
            sequence: rand::random_range(0..0x4000),
            rid: id.map(|id| (id, layer.to_string().into())),
        }))
    }

    /// Ends the connection.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "closing the peer connection");
        }
    }
}

impl Writer {
    /// Sends one packet of the frame at `ticks`; waits while the connection's queue is full.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(crate) async fn write(&mut self, ticks: i64, marker: bool, payload: Bytes) -> Result<(), Error> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "RTP timestamps wrap")]
        let ticks = ticks as u32;
        let mut header = rtc::rtp::Header {
            version: 2,
            marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence,
            timestamp: self.clock.base.wrapping_add(ticks),
            ssrc: self.clock.ssrc,
            ..rtc::rtp::Header::default()
        };
        if let Some((id, rid)) = &self.rid {
            header.set_extension(*id, rid.clone())?;
        }
        self.sequence = self.sequence.wrapping_add(1);
        Ok(self.track.write_rtp(rtc::rtp::Packet { header, payload }).await?)
    }
}

struct Handler {
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: watch::Sender<bool>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "peer connection");
        self.state.send_replace(state);
    }
}

fn setting_engine() -> webrtc::peer_connection::SettingEngine {
    SettingEngineBuilder::new()
        // A second socket and a name instead of an address: nothing a server could resolve.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_include_loopback_candidate(true)
        // GCM costs both sides less than half of what CM with HMAC-SHA1 does.
        .with_srtp_protection_profiles(vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ])
        // The default checks a pair of addresses five times a second: half of the time to connect would be waiting.
        .with_ice_connection_attempts(Some(Duration::from_millis(50)), Some(40))
        // A publisher that notices late that its server is gone comes back late.
        .with_ice_timeouts(
            Some(Duration::from_secs(3)),
            Some(Duration::from_secs(4)),
            Some(Duration::from_secs(1)),
        )
        .build()
}

fn h264(profile: &str) -> RTCRtpCodecParameters {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: MIME_TYPE_H264.to_owned(),
            clock_rate: ClockRate::VIDEO.hz(),
            channels: 0,
            sdp_fmtp_line: format!(
                "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
            ),
            rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")],
        },
        payload_type: H264_PAYLOAD,
    }
}

fn sound(coding: SoundCoding) -> RTCRtpCodecParameters {
    match coding {
        SoundCoding::Opus => opus(),
        SoundCoding::Aac(config) => RTCRtpCodecParameters {
            rtp_codec: RTCRtpCodec {
                mime_type: "audio/MPEG4-GENERIC".to_owned(),
                clock_rate: config.rate().hz(),
                channels: config.channels().into(),
                sdp_fmtp_line: config.fmtp(),
                rtcp_feedback: vec![],
            },
            payload_type: AAC_PAYLOAD,
        },
    }
}

fn opus() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: MIME_TYPE_OPUS.to_owned(),
            clock_rate: ClockRate::OPUS.hz(),
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1".to_owned(),
            rtcp_feedback: vec![],
        },
        payload_type: OPUS_PAYLOAD,
    }
}

/// A track with an encoding for each of `clocks`; several have their number as `rid`.
fn media_track(
    kind: RtpCodecKind,
    codec: &RTCRtpCodecParameters,
    clocks: &[TrackClock],
    stream: &str,
) -> MediaStreamTrack {
    let coding = |(n, clock): (usize, &TrackClock)| RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(clock.ssrc),
            rid: if clocks.len() > 1 { n.to_string() } else { String::new() },
            ..RTCRtpCodingParameters::default()
        },
        codec: codec.rtp_codec.clone(),
        active: true,
        ..RTCRtpEncodingParameters::default()
    };
    let name = if kind == RtpCodecKind::Video { "video" } else { "audio" };
    let codings = clocks.iter().enumerate().map(coding).collect();
    MediaStreamTrack::new(stream.to_owned(), format!("{stream}-{name}"), name.into(), kind, codings)
}

/// The addresses to bind: each local one from which the server is reached, and all other interfaces, since the
/// server's media address may be another one than its HTTP address.
fn local_addresses(servers: &[IpAddr]) -> Vec<SocketAddr> {
    let mut ips: Vec<IpAddr> = servers.iter().filter_map(|&server| route_to(server)).collect();
    if servers.iter().any(IpAddr::is_loopback) {
        ips.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    }
    // A wildcard stands for every interface but loopback. Where there is no other it would become a candidate that
    // nobody can send to, so a route to somewhere is asked for first (addresses for documentation; nothing is sent).
    let outside = [
        (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ];
    ips.extend(outside.into_iter().filter(|&(there, _)| route_to(there).is_some()).map(|(_, any)| any));
    if ips.is_empty() {
        ips.push(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for ip in ips {
        let address = SocketAddr::new(ip, 0);
        if !addresses.contains(&address) && UdpSocket::bind(address).is_ok() {
            addresses.push(address);
        }
    }
    addresses
}

/// The local address from which `there` is reached; none without a route.
fn route_to(there: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((there, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_this_machine_is_reached_over_loopback() {
        let addresses = local_addresses(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        assert!(addresses.contains(&SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)), "{addresses:?}");
    }

    #[tokio::test]
    async fn the_offer_is_complete() {
        let settings = PeerSettings {
            profile: Some("42e01f".into()),
            layers: 1,
            sound: Some(SoundCoding::Opus),
            servers: vec![Ipv4Addr::LOCALHOST.into()],
        };
        let peer = Peer::new(&settings).await.unwrap();
        let offer = peer.offer();
        for line in [
            "m=video 9 UDP/TLS/RTP/SAVPF 102",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "a=rtpmap:102 H264/90000",
            "a=rtcp-fb:102 nack pli",
            "profile-level-id=42e01f",
            "a=sendonly",
            "a=setup:actpass",
            " 127.0.0.1 ",
            "a=ssrc:",
        ] {
            assert!(offer.contains(line), "{line} is missing in\n{offer}");
        }
        peer.close().await;
    }
}

//! WHIP and WHEP with raw RTP on both ends: the test decides every timestamp that is sent and sees every one received.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use hyper::Method;
use parking_lot::Mutex;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc_rtcp::sender_report::SenderReport;
use tokio::sync::watch;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, configure_nack, configure_rtcp_reports,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

use crate::clip;
use crate::http;
use crate::numbers::Extender;
use crate::playback;
use crate::wait::GENEROUS;

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// H.264.
    Video,
    /// Opus.
    Audio,
}

/// How a publisher's video is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// H.264, constrained baseline.
    H264,
    /// H.265, main.
    H265,
    /// VP9, profile 0.
    Vp9,
}

const VIDEO_PAYLOAD_TYPE: u8 = 102;
const AUDIO_PAYLOAD_TYPE: u8 = 111;

/// A publisher by WHIP that sends just what it is told to.
pub struct RtpPublisher {
    connection: Arc<dyn PeerConnection>,
    tracks: Vec<Sending>,
    /// The session's URL (WHIP's Location).
    pub session: String,
}

struct Sending {
    kind: Kind,
    ssrc: u32,
    sequence: u16,
    packets: u32,
    octets: u32,
    track: Arc<TrackLocalStaticRTP>,
}

impl RtpPublisher {
    /// Publishes to `url` (`http://HOST:PORT/whip/FEED`) from a socket on `local`, with a track of each kind in `kinds`.
    ///
    /// # Errors
    /// Where the server refuses or no connection comes about.
    pub async fn connect(url: &str, local: IpAddr, kinds: &[Kind]) -> anyhow::Result<Self> {
        Self::connect_coded(url, local, kinds, Coding::H264).await
    }

    /// The same with video coded as `coding`.
    ///
    /// # Errors
    /// Where the server refuses or no connection comes about.
    pub async fn connect_coded(
        url: &str,
        local: IpAddr,
        kinds: &[Kind],
        coding: Coding,
    ) -> anyhow::Result<Self> {
        let (connection, state) = connection(local, false, coding).await?;
        let mut tracks = Vec::new();
        for (n, &kind) in (1_u32..).zip(kinds) {
            let ssrc = 0x0b1c_a570 + n;
            let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
                "feed".into(),
                format!("{kind:?}"),
                format!("{kind:?}"),
                rtp_kind(kind),
                vec![RTCRtpEncodingParameters {
                    rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
                    codec: codec(kind, coding).rtp_codec,
                    ..Default::default()
                }],
            )));
            connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await?;
            tracks.push(Sending { kind, ssrc, sequence: 1_000, packets: 0, octets: 0, track });
        }
        let session = negotiate(&*connection, state, url, None).await?;
        Ok(Self { connection, tracks, session })
    }

    fn sending(&mut self, kind: Kind) -> anyhow::Result<&mut Sending> {
        self.tracks.iter_mut().find(|sending| sending.kind == kind).context("no such track was offered")
    }

    /// Sends one frame: its payloads with one timestamp, the marker on the last.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn frame(&mut self, kind: Kind, timestamp: u32, payloads: &[Bytes]) -> anyhow::Result<()> {
        let sending = self.sending(kind)?;
        for (n, payload) in payloads.iter().enumerate() {
            let header = rtp::Header {
                version: 2,
                marker: n + 1 == payloads.len(),
                payload_type: if kind == Kind::Video { VIDEO_PAYLOAD_TYPE } else { AUDIO_PAYLOAD_TYPE },
                sequence_number: sending.sequence,
                timestamp,
                ssrc: sending.ssrc,
                ..Default::default()
            };
            sending.sequence = sending.sequence.wrapping_add(1);
            sending.packets = sending.packets.wrapping_add(1);
            sending.octets = sending.octets.wrapping_add(u32::try_from(payload.len())?);
            sending.track.write_rtp(rtp::Packet { header, payload: payload.clone() }).await?;
        }
        Ok(())
    }

    /// Leaves out `count` sequence numbers: those packets are lost for good.
    ///
    /// # Errors
    /// Where no such track was offered.
    pub fn lose(&mut self, kind: Kind, count: u16) -> anyhow::Result<()> {
        let sending = self.sending(kind)?;
        sending.sequence = sending.sequence.wrapping_add(count);
        Ok(())
    }

    /// Sends a sender report: `ntp` (64-bit NTP format) is the time of `timestamp`.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn report(&mut self, kind: Kind, ntp: u64, timestamp: u32) -> anyhow::Result<()> {
        let sending = self.sending(kind)?;
        let report = SenderReport {
            ssrc: sending.ssrc,
            ntp_time: ntp,
            rtp_time: timestamp,
            packet_count: sending.packets,
            octet_count: sending.octets,
            ..Default::default()
        };
        sending.track.write_rtcp(vec![Box::new(report)]).await?;
        Ok(())
    }

    /// Says goodbye (DELETE) and closes.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn leave(self) -> anyhow::Result<()> {
        http::request(Method::DELETE, &self.session, None, Bytes::new()).await?.success()?;
        self.connection.close().await?;
        Ok(())
    }
}

/// One RTP packet as a viewer received it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// Its sequence number.
    pub sequence: u16,
    /// Its marker bit.
    pub marker: bool,
    /// Its payload.
    pub payload: Bytes,
}

#[derive(Default)]
struct Inbox {
    video: Vec<Received>,
    audio: Vec<Received>,
}

/// A viewer by WHEP that keeps every RTP packet it receives.
pub struct RtpViewer {
    connection: Arc<dyn PeerConnection>,
    inbox: Arc<Mutex<Inbox>>,
    /// The session's URL (WHEP's Location).
    pub session: String,
}

impl RtpViewer {
    /// Watches the tracks `kinds` of `url` (`http://HOST:PORT/whep/FEED`) from a socket on `local`.
    ///
    /// # Errors
    /// Where the server refuses or no connection comes about.
    pub async fn connect(url: &str, local: IpAddr, kinds: &[Kind]) -> anyhow::Result<Self> {
        Self::connect_as(url, None, local, kinds).await
    }

    /// The same with a token.
    ///
    /// # Errors
    /// As [`RtpViewer::connect`].
    pub async fn connect_as(
        url: &str,
        token: Option<&str>,
        local: IpAddr,
        kinds: &[Kind],
    ) -> anyhow::Result<Self> {
        let (connection, state) = connection(local, true, Coding::H264).await?;
        let inbox = Arc::clone(&state.inbox);
        for kind in kinds.iter().copied().map(rtp_kind) {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                ..Default::default()
            };
            connection.add_transceiver_from_kind(kind, Some(init)).await?;
        }
        let session = negotiate(&*connection, state, url, token).await?;
        Ok(Self { connection, inbox, session })
    }

    /// All video packets so far, in the order of arrival.
    #[must_use]
    pub fn video(&self) -> Vec<Received> {
        self.inbox.lock().video.clone()
    }

    /// All audio packets so far, in the order of arrival.
    #[must_use]
    pub fn audio(&self) -> Vec<Received> {
        self.inbox.lock().audio.clone()
    }

    /// Takes what has come since the last time, video and audio: a viewer that stays for long keeps nothing then.
    #[must_use]
    pub fn take(&self) -> (Vec<Received>, Vec<Received>) {
        let Inbox { video, audio } = std::mem::take(&mut *self.inbox.lock());
        (video, audio)
    }

    /// The marked frames so far: number and RTP timestamp, each once, in the order they were sent. A packet that was lost
    /// on the way and sent again stands where it belongs.
    #[must_use]
    pub fn numbered(&self) -> Vec<(u32, u32)> {
        let numbered = in_order(self.video())
            .into_iter()
            .filter_map(|packet| Some((clip::marked(&packet.payload)?, packet.timestamp)));
        let mut frames: Vec<(u32, u32)> = numbered.collect();
        frames.dedup();
        frames
    }

    /// The packets of sound so far that a test sent: number and RTP timestamp, each once, in the order they were sent.
    #[must_use]
    pub fn sounds(&self) -> Vec<(u32, u32)> {
        let numbered = in_order(self.audio()).into_iter().filter_map(|packet| {
            Some((u32::try_from(playback::sound_number(&packet.payload)?).ok()?, packet.timestamp))
        });
        numbered.collect()
    }

    /// Says goodbye (DELETE) and closes.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn leave(self) -> anyhow::Result<()> {
        http::request(Method::DELETE, &self.session, None, Bytes::new()).await?.success()?;
        self.connection.close().await?;
        Ok(())
    }
}

/// Packets in the order they were sent, each once.
fn in_order(packets: Vec<Received>) -> Vec<Received> {
    let mut extender = Extender::default();
    let mut ordered = BTreeMap::new();
    for packet in packets {
        ordered.entry(extender.extend(packet.sequence)).or_insert(packet);
    }
    ordered.into_values().collect()
}

/// An offer with every line that a viewer of bicast needs, and no connection behind it.
///
/// # Errors
/// Where no offer can be made.
pub async fn viewer_offer() -> anyhow::Result<String> {
    let (connection, _) = connection(IpAddr::from([127, 0, 0, 1]), true, Coding::H264).await?;
    let init =
        RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Recvonly, ..Default::default() };
    connection.add_transceiver_from_kind(RtpCodecKind::Video, Some(init)).await?;
    let offer = connection.create_offer(None).await?.sdp;
    connection.close().await?;
    Ok(offer)
}

/// What the connection's callbacks report.
#[derive(Clone)]
struct State {
    gathered: watch::Sender<bool>,
    connection: watch::Sender<RTCPeerConnectionState>,
    inbox: Arc<Mutex<Inbox>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for State {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.connection.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let inbox = Arc::clone(&self.inbox);
        let is_video = track.kind().await == RtpCodecKind::Video;
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
                let received = Received {
                    timestamp: packet.header.timestamp,
                    sequence: packet.header.sequence_number,
                    marker: packet.header.marker,
                    payload: packet.payload,
                };
                let mut inbox = inbox.lock();
                if is_video { inbox.video.push(received) } else { inbox.audio.push(received) }
            }
        });
    }
}

/// A connection with video and Opus. A publisher's has no report interceptor: the test writes the sender reports.
async fn connection(
    local: IpAddr,
    reports: bool,
    coding: Coding,
) -> anyhow::Result<(Arc<dyn PeerConnection>, State)> {
    let mut media = MediaEngine::default();
    media.register_codec(codec(Kind::Video, coding), RtpCodecKind::Video)?;
    media.register_codec(codec(Kind::Audio, coding), RtpCodecKind::Audio)?;
    let mut registry = configure_nack(Registry::new(), &mut media);
    if reports {
        registry = configure_rtcp_reports(registry);
    }
    let state = State {
        gathered: watch::Sender::new(false),
        connection: watch::Sender::new(RTCPeerConnectionState::New),
        inbox: Arc::default(),
    };
    let address = std::net::SocketAddr::new(local, 0).to_string();
    let connection = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(state.clone()))
        .with_udp_addrs(vec![address])
        .build()
        .await?;
    Ok((Arc::new(connection), state))
}

/// Offer, answer, connected. Returns the session's URL.
async fn negotiate(
    connection: &dyn PeerConnection,
    state: State,
    url: &str,
    token: Option<&str>,
) -> anyhow::Result<String> {
    let offer = connection.create_offer(None).await?;
    connection.set_local_description(offer).await?;
    let mut gathered = state.gathered.subscribe();
    tokio::time::timeout(GENEROUS, gathered.wait_for(|done| *done))
        .await
        .context("gathering candidates")??;
    let offer = connection.local_description().await.context("no local description")?;
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/sdp")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let answer = http::request_with(Method::POST, url, &headers, offer.sdp).await?.success()?;
    anyhow::ensure!(answer.status == 201, "status {} instead of 201", answer.status);
    let session = crate::hls::resolve(url, answer.header("location"))?;
    connection.set_remote_description(RTCSessionDescription::answer(answer.text())?).await?;
    let mut connected = state.connection.subscribe();
    let done = connected.wait_for(|state| {
        matches!(state, RTCPeerConnectionState::Connected | RTCPeerConnectionState::Failed)
    });
    let reached = *tokio::time::timeout(GENEROUS, done).await.context("connecting")??;
    anyhow::ensure!(reached == RTCPeerConnectionState::Connected, "the connection failed");
    Ok(session)
}

fn rtp_kind(kind: Kind) -> RtpCodecKind {
    match kind {
        Kind::Video => RtpCodecKind::Video,
        Kind::Audio => RtpCodecKind::Audio,
    }
}

fn codec(kind: Kind, coding: Coding) -> RTCRtpCodecParameters {
    let (mime, clock_rate, channels, fmtp, payload_type) = match kind {
        Kind::Video => {
            let (mime, fmtp) = match coding {
                Coding::H264 => {
                    ("video/H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
                }
                Coding::H265 => ("video/H265", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
                Coding::Vp9 => ("video/VP9", "profile-id=0"),
            };
            (mime, 90_000, 0, fmtp, VIDEO_PAYLOAD_TYPE)
        }
        Kind::Audio => ("audio/opus", 48_000, 2, "minptime=10;useinbandfec=1", AUDIO_PAYLOAD_TYPE),
    };
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime.into(),
            clock_rate,
            channels,
            sdp_fmtp_line: fmtp.into(),
            rtcp_feedback: vec![],
        },
        payload_type,
    }
}

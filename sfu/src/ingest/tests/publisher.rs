//! A publisher on `rtc`'s own peer connection: the other end of everything that ingest does itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::clock;
use bytes::Bytes;
use parking_lot::Mutex;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc_rtcp::packet::Packet as RtcpPacket;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use tokio::sync::{mpsc, oneshot};

use crate::tests::peer::{AUDIO_PT, Came, Peer, VIDEO_PT, h264, media, opus};

const VIDEO_SSRC: u32 = 0x1000;
const AUDIO_SSRC: u32 = 0x2000;

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
        let (mut peer, senders) = build(ip, seen.clone()).await;
        let offer = peer.offer();
        let (commands, queue) = mpsc::unbounded_channel();
        let (begin, answer) = oneshot::channel();
        let run = Run { peer, senders, seen: seen.clone() };
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
    peer: Peer,
    senders: [RTCRtpSenderId; 2],
    seen: Arc<Mutex<Seen>>,
}

impl Run {
    async fn run(
        mut self,
        answer: oneshot::Receiver<String>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        let Ok(answer) = answer.await else { return };
        self.peer.answered(&answer);
        let mut closing = false;
        loop {
            if self.peer.flush().await {
                self.seen.lock().connected = true;
            }
            while self.peer.rtp().is_some() {}
            if closing {
                return;
            }
            tokio::select! {
                came = self.peer.next() => {
                    let Came::Datagram(bytes) = came else { continue };
                    if bytes[0] == 21 {
                        self.seen.lock().closed = true;
                    }
                    self.peer.take(&bytes);
                }
                command = commands.recv() => match command {
                    Some(Command::Vanish) | None => return,
                    Some(Command::Close) => {
                        self.peer.close();
                        closing = true;
                    }
                    Some(Command::Raw(bytes)) => self.peer.send_raw(&bytes).await,
                    Some(other) => self.write(other),
                },
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
                let _ = self.peer.connection.rtp_sender(id).unwrap().write_rtp(now, packet);
            }
            Command::SenderReport { video, ntp, rtp } => {
                let id = sender(self, video);
                let ssrc = if video { VIDEO_SSRC } else { AUDIO_SSRC };
                let report = SenderReport { ssrc, ntp_time: ntp, rtp_time: rtp, ..SenderReport::default() };
                let mut sender = self.peer.connection.rtp_sender(id).unwrap();
                sender.write_rtcp(now, vec![Box::new(report)]).unwrap();
            }
            _ => {}
        }
    }
}

async fn build(ip: IpAddr, seen: Arc<Mutex<Seen>>) -> (Peer, [RTCRtpSenderId; 2]) {
    let heard = move |packet: &dyn RtcpPacket| {
        let mut seen = seen.lock();
        if let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() {
            seen.nacks.extend(nack.nacks.iter().flat_map(|pair| pair.packet_list()));
        }
        if packet.as_any().is::<PictureLossIndication>() {
            seen.keyframe_requests += 1;
        }
    };
    let mut peer = Peer::new(SocketAddr::new(ip, 0), media(false), Registry::new(), heard).await;
    let mut add = |kind, ssrc, codec: RTCRtpCodec| {
        let coding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..RTCRtpCodingParameters::default()
            },
            codec,
            ..RTCRtpEncodingParameters::default()
        };
        let id = format!("track-{ssrc}");
        let track = MediaStreamTrack::new("stream".into(), id.clone(), id, kind, vec![coding]);
        peer.connection.add_track(track).unwrap()
    };
    let senders =
        [add(RtpCodecKind::Video, VIDEO_SSRC, h264()), add(RtpCodecKind::Audio, AUDIO_SSRC, opus())];
    (peer, senders)
}

//! A viewer on `rtc`'s own peer connection, with a lossy network in front of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::configure_nack;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc_rtcp::sender_report::SenderReport;
use tokio::sync::oneshot;

use super::peer::{AUDIO_PT, Came, Peer, VIDEO_PT, media};

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
        let mut peer = build(ip, rtx, seen.clone()).await;
        let offer = peer.offer();
        let (begin, answer) = oneshot::channel();
        let run = Run { peer, seen: seen.clone(), lose, count: 0 };
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
    peer: Peer,
    seen: Arc<Mutex<Seen>>,
    lose: usize,
    count: usize,
}

impl Run {
    async fn run(mut self, answer: oneshot::Receiver<String>) {
        let Ok(answer) = answer.await else { return };
        self.peer.answered(&answer);
        loop {
            if self.peer.flush().await {
                self.seen.lock().connected = true;
            }
            self.read();
            let Came::Datagram(bytes) = self.peer.next().await else { continue };
            if self.is_lost(&bytes) {
                continue;
            }
            if bytes[0] == 21 {
                self.seen.lock().closed = true;
            }
            self.peer.take(&bytes);
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

    fn read(&mut self) {
        while let Some(packet) = self.peer.rtp() {
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

async fn build(ip: IpAddr, rtx: bool, seen: Arc<Mutex<Seen>>) -> Peer {
    let mut media = media(rtx);
    let interceptors = configure_nack(Registry::new(), &mut media);
    let mut peer = Peer::new(SocketAddr::new(ip, 0), media, interceptors, move |packet| {
        if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
            seen.lock().reports.push((report.ssrc, report.ntp_time, report.rtp_time));
        }
    })
    .await;
    for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            ..RTCRtpTransceiverInit::default()
        };
        peer.connection.add_transceiver_from_kind(kind, Some(init)).unwrap();
    }
    peer
}

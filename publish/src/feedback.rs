//! The RTCP end of a session, as one interceptor of the `webrtc` crate: sends our sender reports, and reads what the
//! server says about what it receives.
//!
//! Why our own sender reports: the crate's interceptor takes the moment at which it sees a frame's first packet for the
//! moment at which it was captured, so a slow encode or a late wake-up at the wrong moment shifts sound against picture
//! by as much. Ours are computed from the session's one clock ([`MediaClock`]).
//!
//! Why it reads RTCP itself: the crate delivers a compound packet by the first report in it, and an empty receiver
//! report in front swallows the keyframe request behind it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bicast_shared::time::ClockRate;
use bytes::Bytes;
use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

use crate::core::reports::{MediaClock, RoundTrip};

/// One track, as its sender reports need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrackClock {
    pub(crate) ssrc: u32,
    pub(crate) rate: ClockRate,
    /// The RTP timestamp of media time 0.
    pub(crate) base: u32,
    pub(crate) video: bool,
}

/// What a session hears from the server, and the clock it starts with. Shared by the connection and the session.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    clock: OnceLock<MediaClock>,
    keyframe: AtomicBool,
    plis: AtomicU64,
    nacks: AtomicU64,
    round_trip: AtomicU64,
    loss: AtomicU64,
}

impl Feedback {
    /// Starts the session's clock; sender reports leave from now on.
    pub(crate) fn start(&self, clock: MediaClock) {
        let _ = self.clock.set(clock);
    }

    /// Whether a keyframe was asked for since the last call.
    pub(crate) fn take_keyframe_request(&self) -> bool {
        self.keyframe.swap(false, Relaxed)
    }

    pub(crate) fn plis(&self) -> u64 {
        self.plis.load(Relaxed)
    }

    pub(crate) fn nacks(&self) -> u64 {
        self.nacks.load(Relaxed)
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        // Stored plus one, so that 0 is "none yet".
        let stored = self.round_trip.load(Relaxed);
        stored.checked_sub(1).map(Duration::from_micros)
    }

    pub(crate) fn loss(&self) -> Option<f64> {
        let stored = self.loss.load(Relaxed);
        let fraction = u8::try_from(stored.checked_sub(1)?).ok()?;
        Some(f64::from(fraction) / 256.0)
    }
}

struct Stream {
    clock: TrackClock,
    trip: RoundTrip,
    packets: u32,
    octets: u32,
}

/// The interceptor.
pub(crate) struct Reports {
    feedback: Arc<Feedback>,
    cname: Bytes,
    streams: HashMap<u32, Stream>,
    next: Option<Instant>,
    early: u32,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

const INTERVAL: Duration = Duration::from_secs(1);
/// The first reports come quickly: until the server has one of each track it can only guess how they relate.
const EARLY: Duration = Duration::from_millis(100);
const EARLY_REPORTS: u32 = 3;

impl Reports {
    pub(crate) fn new(feedback: Arc<Feedback>, tracks: &[TrackClock], cname: &str) -> Self {
        let stream =
            |&clock: &TrackClock| Stream { clock, trip: RoundTrip::default(), packets: 0, octets: 0 };
        Self {
            feedback,
            cname: Bytes::copy_from_slice(cname.as_bytes()),
            streams: tracks.iter().map(|track| (track.ssrc, stream(track))).collect(),
            next: None,
            early: 0,
            read: VecDeque::new(),
            write: VecDeque::new(),
        }
    }

    fn receive(&mut self, packet: &dyn rtc::rtcp::Packet, now: Instant) {
        let packet = packet.as_any();
        if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
            self.feedback.keyframe.store(true, Relaxed);
            self.feedback.plis.fetch_add(1, Relaxed);
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let asked = nack.nacks.iter().map(|pair| 1 + u64::from(pair.lost_packets.count_ones())).sum();
            self.feedback.nacks.fetch_add(asked, Relaxed);
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            self.reported(&report.reports, now);
        } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
            self.reported(&report.reports, now);
        }
    }

    fn reported(&mut self, reports: &[ReceptionReport], now: Instant) {
        let video = self.streams.values().any(|stream| stream.clock.video);
        for report in reports {
            let Some(stream) = self.streams.get(&report.ssrc) else { continue };
            if let Some(trip) = stream.trip.received(report.last_sender_report, report.delay, now) {
                let micros = u64::try_from(trip.as_micros()).unwrap_or(u64::MAX - 1);
                self.feedback.round_trip.store(micros + 1, Relaxed);
            }
            if stream.clock.video == video {
                self.feedback.loss.store(u64::from(report.fraction_lost) + 1, Relaxed);
            }
        }
    }

    fn report(&mut self, clock: MediaClock, now: Instant) {
        for (&ssrc, stream) in &mut self.streams {
            if stream.packets == 0 {
                continue;
            }
            let (ntp_time, rtp_time) = clock.report(now, stream.clock.rate, stream.clock.base);
            stream.trip.sent(ntp_time, now);
            let report = SenderReport {
                ssrc,
                ntp_time,
                rtp_time,
                packet_count: stream.packets,
                octet_count: stream.octets,
                ..SenderReport::default()
            };
            let name = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: self.cname.clone() };
            let description = SourceDescription {
                chunks: vec![SourceDescriptionChunk { source: ssrc, items: vec![name] }],
            };
            self.write.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(report), Box::new(description)])),
            });
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                self.receive(packet.as_ref(), message.now);
            }
        }
        self.read.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &message.message.packet
            && let Some(stream) = self.streams.get_mut(&packet.header.ssrc)
        {
            stream.packets = stream.packets.wrapping_add(1);
            let octets = u32::try_from(packet.payload.len()).unwrap_or(0);
            stream.octets = stream.octets.wrapping_add(octets);
            self.next.get_or_insert(message.now + EARLY / 10);
        }
        self.write.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.next.is_some_and(|next| now >= next) {
            let wait = if self.early < EARLY_REPORTS { EARLY } else { INTERVAL };
            self.early += 1;
            self.next = Some(now + wait);
            if let Some(&clock) = self.feedback.clock.get() {
                self.report(clock, now);
            }
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.next
    }
}

impl Interceptor for Reports {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
mod tests {
    use super::*;
    use bicast_shared::time::ProgramTime;

    fn tagged(now: Instant, packet: Packet) -> TaggedPacket {
        TaggedPacket { now, transport: TransportContext::default(), message: AttributedPacket::new(packet) }
    }

    fn rtp(ssrc: u32) -> Packet {
        let header = rtc::rtp::Header { version: 2, ssrc, ..rtc::rtp::Header::default() };
        Packet::Rtp(rtc::rtp::Packet { header, payload: Bytes::from_static(&[1; 100]) })
    }

    fn reports(start: Instant) -> (Reports, Arc<Feedback>) {
        let feedback = Arc::new(Feedback::default());
        feedback.start(MediaClock::new(start, ProgramTime::from_unix_nanos(1_795_411_739_000_000_000)));
        let video = TrackClock { ssrc: 1, rate: ClockRate::VIDEO, base: 500, video: true };
        let audio = TrackClock { ssrc: 2, rate: ClockRate::OPUS, base: 900, video: false };
        (Reports::new(Arc::clone(&feedback), &[video, audio], "me"), feedback)
    }

    fn written(reports: &mut Reports) -> Vec<SenderReport> {
        std::iter::from_fn(|| reports.poll_write())
            .filter_map(|tagged| match tagged.message.packet {
                Packet::Rtcp(packets) => packets[0].as_any().downcast_ref::<SenderReport>().cloned(),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn reports_follow_the_clock_and_not_the_packets() {
        let start = Instant::now();
        let (mut reports, _) = reports(start);
        // The first packets come 70 ms late: that must not show.
        let late = start + Duration::from_millis(70);
        reports.handle_write(tagged(late, rtp(1))).unwrap();
        reports.handle_write(tagged(late, rtp(2))).unwrap();
        let at = start + Duration::from_secs(1);
        reports.handle_timeout(at).unwrap();
        let sent = written(&mut reports);
        assert_eq!(sent.len(), 2);
        for report in sent {
            let second = if report.ssrc == 1 { 500 + 90_000 } else { 900 + 48_000 };
            assert_eq!(report.rtp_time, second);
            let utc = ProgramTime::from_ntp(report.ntp_time).unix_nanos();
            assert!((utc - 1_795_411_740_000_000_000).abs() < 2);
            assert_eq!((report.packet_count, report.octet_count), (1, 100));
        }
    }

    #[test]
    fn a_keyframe_request_behind_an_empty_report_is_heard() {
        let now = Instant::now();
        let (mut reports, feedback) = reports(now);
        let empty: Box<dyn rtc::rtcp::Packet> = Box::new(ReceiverReport::default());
        let pli: Box<dyn rtc::rtcp::Packet> =
            Box::new(PictureLossIndication { sender_ssrc: 9, media_ssrc: 1 });
        reports.handle_read(tagged(now, Packet::Rtcp(vec![empty, pli]))).unwrap();
        assert!(feedback.take_keyframe_request());
        assert!(!feedback.take_keyframe_request());
        assert_eq!(feedback.plis(), 1);
        assert!(reports.poll_read().is_some(), "passed on");
    }

    #[test]
    fn round_trip_and_loss_come_from_reception_reports() {
        let start = Instant::now();
        let (mut reports, feedback) = reports(start);
        reports.handle_write(tagged(start, rtp(1))).unwrap();
        let sent_at = start + Duration::from_secs(1);
        reports.handle_timeout(sent_at).unwrap();
        let sent = written(&mut reports);
        let block = ReceptionReport {
            ssrc: 1,
            fraction_lost: 64,
            last_sender_report: u32::try_from(sent[0].ntp_time >> 16 & 0xffff_ffff).unwrap(),
            delay: 65_536 / 4,
            ..ReceptionReport::default()
        };
        let report = ReceiverReport { reports: vec![block], ..ReceiverReport::default() };
        let back = sent_at + Duration::from_millis(258);
        reports.handle_read(tagged(back, Packet::Rtcp(vec![Box::new(report)]))).unwrap();
        assert_eq!(feedback.round_trip(), Some(Duration::from_millis(8)));
        assert_eq!(feedback.loss(), Some(0.25));
    }
}

//! One viewer: connects, checks the number of every packet, opens a sample of them, and reports as a browser does.
//!
//! Opening a packet costs ten times as much as looking at its header. So only a sample is opened, evenly spread over
//! all viewers and streams, and everything until the first picture is complete, because a keyframe shows in the payload
//! only.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bicast_shared::media;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};

use super::answer::AnsweredTrack;
use super::ice::Transmit;
use super::picture::{FirstPicture, Piece, Progress};
use super::rtp::{self, Head, Kind};
use super::stamp;
use super::stream::{Arrival, Stream};
use super::tally::Tally;
use super::transport::{Event, Start, Transport};

/// Receiver reports, and the least time between two requests for a keyframe.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Streams of one viewer: two media, their retransmissions, and what a server may change them to.
const MAX_STREAMS: usize = 8;

/// What everything that happens needs to know.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// The monotonic clock.
    pub now: Instant,
    /// When the datagram reached this machine, in nanoseconds since the Unix epoch.
    pub arrived: u64,
    /// Whether latency counts now: nobody joins any more.
    pub steady: bool,
}

/// How one of every so many packets is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    every: u32,
    count: u32,
}

impl Sample {
    /// This share (0 to 1) of the packets. `offset` sets viewers apart, so that not all open the same packet.
    #[must_use]
    pub fn new(share: f64, offset: u32) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates: never")]
        let every = if share > 0.0 { (1.0 / share).round().max(1.0) as u32 } else { 0 };
        Self { every, count: offset.checked_rem(every).unwrap_or(0) }
    }

    #[inline]
    const fn next(&mut self) -> bool {
        if self.every == 0 {
            return false;
        }
        self.count += 1;
        if self.count >= self.every {
            self.count = 0;
            return true;
        }
        false
    }
}

/// A viewer.
pub struct Viewer {
    transport: Transport,
    tracks: Vec<AnsweredTrack>,
    streams: Vec<Known>,
    sample: Sample,
    /// The SSRC of its reports.
    ssrc: u32,
    /// When its POST was sent.
    posted: Instant,
    report_due: Option<Instant>,
    keyframe_due: Option<Instant>,
    keyframe_asked: Option<Instant>,
    picture: Option<Box<FirstPicture>>,
    progress: Progress,
    heard: bool,
    ask: Vec<u16>,
}

/// A stream that has come, and which track it is.
struct Known {
    track: usize,
    stream: Stream,
    /// Whether it holds retransmissions of the track.
    repairs: bool,
}

impl Viewer {
    /// A viewer whose offer was answered. `posted` is when the offer was sent.
    #[must_use]
    pub fn new(start: Start<'_>, posted: Instant, sample: Sample) -> Self {
        let has_video = start.answer.tracks.iter().any(AnsweredTrack::is_video);
        Self {
            tracks: start.answer.tracks.clone(),
            ssrc: start.seed.first_chunk().map_or(1, |ssrc| u32::from_be_bytes(*ssrc) | 1),
            transport: Transport::new(start),
            streams: Vec::new(),
            sample,
            posted,
            report_due: None,
            keyframe_due: None,
            keyframe_asked: None,
            picture: has_video.then(Box::default),
            progress: if has_video { Progress::Nothing } else { Progress::Moving },
            heard: false,
            ask: Vec::new(),
        }
    }

    /// Whether it has its keys.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.transport.is_connected()
    }

    /// Whether it has a moving picture.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.progress == Progress::Moving
    }

    /// Whether any media came since the last call.
    pub const fn take_heard(&mut self) -> bool {
        std::mem::replace(&mut self.heard, false)
    }

    /// Takes a datagram; what has to be sent is appended to `out`.
    #[inline]
    pub fn handle(
        &mut self,
        at: At,
        from: SocketAddr,
        bytes: &[u8],
        tally: &mut Tally,
        out: &mut Vec<Transmit>,
    ) -> Event {
        match Kind::of(bytes) {
            Some(Kind::Rtp) => {
                self.rtp(at, bytes, tally);
                Event::Nothing
            }
            Some(Kind::Rtcp) => self.rtcp(at.now, bytes, tally),
            Some(_) => {
                let event = self.transport.handle(at.now, from, bytes, out);
                if event == Event::Connected {
                    self.connected(at.now, tally);
                }
                event
            }
            None => Event::Nothing,
        }
    }

    fn connected(&mut self, now: Instant, tally: &mut Tally) {
        tally.connect.record(now.saturating_duration_since(self.posted));
        self.report_due = Some(now + REPORT_INTERVAL);
        self.keyframe_due = self.picture.is_some().then(|| now + REPORT_INTERVAL);
    }

    #[inline]
    fn rtp(&mut self, at: At, bytes: &[u8], tally: &mut Tally) {
        let Some(head) = Head::read(bytes).filter(|_| self.is_connected()) else {
            tally.unknown += 1;
            return;
        };
        let known = self.streams.iter().position(|known| known.stream.ssrc() == head.ssrc);
        let is_new = known.is_none();
        let Some(index) = known.or_else(|| self.meet(at.now, &head)) else {
            tally.unknown += 1;
            return;
        };
        let known = &mut self.streams[index];
        self.heard = true;
        let track = known.track;
        if known.repairs {
            tally.retransmissions += 1;
            return self.repair(at.now, track, &head, bytes, tally);
        }
        let arrival = known.stream.push(at.now, head.sequence, head.timestamp);
        match arrival {
            Arrival::New => {}
            Arrival::Filled { asked: true } => tally.repaired += 1,
            Arrival::Filled { asked: false } => tally.late += 1,
            Arrival::Again | Arrival::Early => {
                tally.duplicates += u64::from(arrival == Arrival::Again);
                return;
            }
        }
        tally.packets += 1;
        tally.bytes += bytes.len() as u64;
        let number = known.stream.unwrapped(head.sequence);
        let sampled = self.sample.next();
        if sampled || is_new || self.picture.is_some() && self.tracks[track].is_video() {
            self.open(at, track, number, &head, bytes, sampled, tally);
        }
    }

    /// A stream that was not seen before: what it is, its payload type says.
    fn meet(&mut self, now: Instant, head: &Head) -> Option<usize> {
        if self.streams.len() == MAX_STREAMS {
            return None;
        }
        let payload_type = head.payload_type;
        let is_media = |track: &AnsweredTrack| track.payload_type == payload_type;
        let repairs = |track: &AnsweredTrack| track.rtx == Some(payload_type);
        let track = self.tracks.iter().position(|track| is_media(track) || repairs(track))?;
        let stream = Stream::new(now, head.ssrc, self.tracks[track].clock_rate, head.sequence);
        self.streams.push(Known { track, stream, repairs: repairs(&self.tracks[track]) });
        Some(self.streams.len() - 1)
    }

    #[expect(clippy::too_many_arguments, reason = "everything that is known of one packet")]
    fn open(
        &mut self,
        at: At,
        track: usize,
        number: i64,
        head: &Head,
        bytes: &[u8],
        sampled: bool,
        tally: &mut Tally,
    ) {
        let Some(plain) = self.transport.open_rtp(bytes) else {
            tally.forged += 1;
            return;
        };
        tally.authenticated += 1;
        let payload = rtp::payload(&plain).unwrap_or_default();
        if sampled
            && at.steady
            && let Some(sent) = stamp::read(payload)
        {
            tally.latency.record(Duration::from_nanos(at.arrived.saturating_sub(sent)));
        }
        self.watch(at.now, track, number, head, payload, tally);
    }

    /// Looks whether the picture has come.
    fn watch(
        &mut self,
        now: Instant,
        track: usize,
        number: i64,
        head: &Head,
        payload: &[u8],
        tally: &mut Tally,
    ) {
        let track = &self.tracks[track];
        let Some(picture) = self.picture.as_mut().filter(|_| track.is_video()) else { return };
        let progress = picture.push(Piece {
            sequence: number,
            timestamp: head.timestamp,
            marker: head.marker,
            keyframe: media::starts_decoding(track.codec, payload),
        });
        let since = now.saturating_duration_since(self.posted);
        if self.progress < Progress::Keyframe && progress >= Progress::Keyframe {
            tally.keyframe.record(since);
            self.keyframe_due = None;
        }
        if progress == Progress::Moving {
            tally.moving.record(since);
            self.picture = None;
        }
        self.progress = progress;
    }

    /// A retransmission (RFC 4588): the number of the packet that it repeats stands in front of the payload.
    fn repair(&mut self, now: Instant, track: usize, head: &Head, bytes: &[u8], tally: &mut Tally) {
        let Some(plain) = self.transport.open_rtp(bytes) else {
            tally.forged += 1;
            return;
        };
        tally.authenticated += 1;
        let payload = rtp::payload(&plain).unwrap_or_default();
        let Some((original, payload)) = payload.split_first_chunk::<2>() else { return };
        let media = self.streams.iter_mut().find(|known| known.track == track && !known.repairs);
        let Some(media) = media else { return };
        let number = media.stream.unwrapped(u16::from_be_bytes(*original));
        match media.stream.fill(number) {
            Some(asked) => {
                tally.repaired += u64::from(asked);
                tally.late += u64::from(!asked);
                tally.packets += 1;
                tally.bytes += bytes.len() as u64;
                self.watch(now, track, number, head, payload, tally);
            }
            None => tally.duplicates += 1,
        }
    }

    fn rtcp(&mut self, now: Instant, bytes: &[u8], tally: &mut Tally) -> Event {
        if !self.is_connected() {
            tally.unknown += 1;
            return Event::Nothing;
        }
        let Some(mut plain) = self.transport.open_rtcp(bytes) else {
            tally.forged += 1;
            return Event::Nothing;
        };
        tally.authenticated += 1;
        for packet in rtc_rtcp::packet::unmarshal(&mut plain).unwrap_or_default() {
            let packet = packet.as_any();
            if let Some(report) = packet.downcast_ref::<SenderReport>() {
                let meant = self.streams.iter_mut().find(|known| known.stream.ssrc() == report.ssrc);
                if let Some(known) = meant {
                    known.stream.sender_report(now, report.ntp_time);
                }
            } else if packet.is::<Goodbye>() {
                return Event::Over("goodbye from the server");
            }
        }
        Event::Nothing
    }

    /// Does what is due: checks, questions for what is missing, reports.
    pub fn handle_timeout(&mut self, now: Instant, tally: &mut Tally, out: &mut Vec<Transmit>) -> Event {
        let event = self.transport.handle_timeout(now, out);
        if event != Event::Nothing || !self.is_connected() {
            return event;
        }
        let mut packets: Vec<Box<dyn rtc_rtcp::Packet>> = Vec::new();
        for known in &mut self.streams {
            self.ask.clear();
            known.stream.handle_timeout(now, &mut self.ask);
            let lost = known.stream.take_lost();
            if known.repairs {
                // What was lost of a retransmission shows in its media stream.
                continue;
            }
            tally.lost += lost;
            if lost > 0 && self.tracks[known.track].is_video() && self.keyframe_due.is_none() {
                // A decoder would stop here.
                let earliest = self.keyframe_asked.map(|asked| asked + REPORT_INTERVAL);
                self.keyframe_due = Some(earliest.map_or(now, |earliest| earliest.max(now)));
            }
            if !self.ask.is_empty() {
                tally.asked += self.ask.len() as u64;
                packets.push(Box::new(TransportLayerNack {
                    sender_ssrc: self.ssrc,
                    media_ssrc: known.stream.ssrc(),
                    nacks: nack_pairs_from_sequence_numbers(&self.ask),
                }));
            }
        }
        if self.keyframe_due.is_some_and(|due| due <= now) {
            self.keyframe_due = (self.progress < Progress::Keyframe).then(|| now + REPORT_INTERVAL);
            if let Some(media_ssrc) = self.video_ssrc() {
                self.keyframe_asked = Some(now);
                tally.keyframes_asked += 1;
                packets.push(Box::new(PictureLossIndication { sender_ssrc: self.ssrc, media_ssrc }));
            }
        }
        if self.report_due.is_some_and(|due| due <= now) {
            self.report_due = Some(now + REPORT_INTERVAL);
            let media = self.streams.iter_mut().filter(|known| !known.repairs);
            let reports = media.map(|known| known.stream.report(now)).collect();
            packets.push(Box::new(ReceiverReport { ssrc: self.ssrc, reports, ..ReceiverReport::default() }));
        }
        // Each in its own datagram (reduced size, RFC 5506): some servers read a compound by its first packet only.
        for packet in packets {
            self.transport.send_rtcp(&[packet], out);
        }
        Event::Nothing
    }

    fn video_ssrc(&self) -> Option<u32> {
        let track = self.tracks.iter().position(AnsweredTrack::is_video)?;
        let seen = self.streams.iter().find(|known| known.track == track && !known.repairs);
        seen.map(|known| known.stream.ssrc()).or(self.tracks[track].ssrc)
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let missing = self.streams.iter().filter_map(|known| known.stream.poll_timeout()).min();
        let own = [self.report_due, self.keyframe_due, missing];
        own.into_iter().flatten().fold(self.transport.poll_timeout(), Instant::min)
    }

    /// The end of the run: what is still missing is lost.
    pub fn finish(&mut self, tally: &mut Tally) {
        for known in self.streams.iter_mut().filter(|known| !known.repairs) {
            known.stream.finish();
            tally.lost += known.stream.take_lost();
        }
    }
}

#[cfg(test)]
#[path = "viewer_tests.rs"]
mod tests;

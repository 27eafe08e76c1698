//! The publisher of the synthetic feed: a WHIP session's media side.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bicast_shared::time::ProgramTime;
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::feed::{self, OPUS_FRAME, Picture, Shape, Video};
use super::ice::Transmit;
use super::offer::{AUDIO_PAYLOAD, AUDIO_SSRC, VIDEO_PAYLOAD, VIDEO_SSRC};
use super::rtp::Kind;
use super::transport::{Event, Start, Transport};

/// Sender reports: quickly at first, a server needs one of each track to relate them.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const FIRST_REPORT: Duration = Duration::from_millis(60);
/// A publisher that the machine held up longer leaves out what it missed.
const MAX_BEHIND: Duration = Duration::from_millis(500);
/// Pictures waiting for the pacer; beyond it none are made.
const MAX_WAITING: usize = 64;
/// Sealed video packets kept to be sent again: two seconds.
const KEPT: usize = 600;

/// What publishers have done and were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// RTP packets sent.
    pub packets: u64,
    /// Keyframes among the pictures.
    pub keyframes: u64,
    /// Requests for a keyframe that the server sent.
    pub keyframe_requests: u64,
    /// Packets that the server asked for again.
    pub asked: u64,
}

impl Published {
    /// Adds another publisher's.
    pub const fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.keyframes += other.keyframes;
        self.keyframe_requests += other.keyframe_requests;
        self.asked += other.asked;
    }
}

/// How the feed is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manner {
    /// Whether requests for keyframes are ignored, as many hardware encoders do.
    pub deaf: bool,
    /// Video packets leave at most at so many times their average rate, as libwebrtc's pacer does it (2.5); none sends
    /// a picture's packets at once, as most hardware encoders do.
    pub pace: Option<f64>,
    /// How much later than the connection the media begins, and a part of a picture's time more: feeds that were
    /// published together send neither their pictures nor their keyframes together.
    pub phase: Duration,
}

/// A publisher.
pub struct Publisher {
    transport: Transport,
    shape: Shape,
    manner: Manner,
    video: Video,
    wanted: bool,
    phase: Duration,
    /// When the media began: time 0 of both tracks.
    begun: Option<Instant>,
    frames: u64,
    waiting: VecDeque<Waiting>,
    /// The pacer lets nothing pass before.
    next_packet: Duration,
    sounds: u64,
    report_due: Option<Instant>,
    tracks: [Sending; 2],
    kept: VecDeque<(u16, Transmit)>,
    published: Published,
    plain: Vec<u8>,
}

/// A picture of which packets are still to be sent.
struct Waiting {
    picture: Picture,
    /// When it was taken, since the beginning.
    time: Duration,
    /// Packets sent.
    sent: usize,
}

#[derive(Default)]
struct Sending {
    sequence: u16,
    packets: u32,
    octets: u32,
}

impl Publisher {
    /// A publisher whose offer was answered.
    #[must_use]
    pub fn new(start: Start<'_>, shape: Shape, manner: Manner) -> Self {
        let share = f64::from(start.seed[0]) / 256.0;
        Self {
            transport: Transport::new(start),
            shape,
            manner,
            video: Video::new(shape),
            wanted: false,
            phase: manner.phase + Duration::from_secs_f64(share / shape.frames_per_second),
            begun: None,
            frames: 0,
            waiting: VecDeque::new(),
            next_packet: Duration::ZERO,
            sounds: 0,
            report_due: None,
            tracks: Default::default(),
            kept: VecDeque::new(),
            published: Published::default(),
            plain: Vec::new(),
        }
    }

    /// What it has done so far.
    #[must_use]
    pub const fn published(&self) -> Published {
        self.published
    }

    /// Whether media flows.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.begun.is_some()
    }

    /// Takes a datagram.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Transmit>) -> Event {
        match Kind::of(bytes) {
            Some(Kind::Rtcp) => {
                self.rtcp(bytes, out);
                Event::Nothing
            }
            Some(Kind::Rtp) | None => Event::Nothing,
            Some(_) => {
                let event = self.transport.handle(now, from, bytes, out);
                if event == Event::Connected {
                    self.begun = Some(now + self.phase);
                    self.report_due = Some(now + FIRST_REPORT);
                }
                event
            }
        }
    }

    fn rtcp(&mut self, bytes: &[u8], out: &mut Vec<Transmit>) {
        let Some(mut plain) = self.transport.open_rtcp(bytes) else { return };
        for packet in rtc_rtcp::packet::unmarshal(&mut plain).unwrap_or_default() {
            let packet = packet.as_any();
            if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
                self.published.keyframe_requests += 1;
                self.wanted = !self.manner.deaf;
            } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                for sequence in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
                    self.published.asked += 1;
                    // The same bytes: the same nonce must not protect others.
                    let again =
                        self.kept.iter().find(|(kept, _)| *kept == sequence && nack.media_ssrc == VIDEO_SSRC);
                    out.extend(again.map(|(_, transmit)| transmit.clone()));
                }
            }
        }
    }

    /// Sends what is due at `now`, which is `utc`.
    pub fn handle_timeout(&mut self, now: Instant, utc: ProgramTime, out: &mut Vec<Transmit>) -> Event {
        let event = self.transport.handle_timeout(now, out);
        let Some(begun) = self.begun.filter(|_| event == Event::Nothing) else { return event };
        let since = now.saturating_duration_since(begun);
        self.skip_missed(since);
        let nanos = u64::try_from(utc.unix_nanos()).unwrap_or(0);
        while begun + self.frame_time(self.frames) <= now {
            self.take_picture();
        }
        self.send_pictures(since, nanos, out);
        while self.shape.audio && begun + sound_time(self.sounds) <= now {
            self.send_sound(nanos, out);
        }
        if self.report_due.is_some_and(|due| due <= now) {
            self.report_due = Some(now + REPORT_INTERVAL);
            self.report(since, utc, out);
        }
        Event::Nothing
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let due = self.transport.poll_timeout();
        let Some(begun) = self.begun else { return due };
        let sound = self.shape.audio.then(|| begun + sound_time(self.sounds));
        let packet = self.waiting.front().map(|front| begun + front.time.max(self.next_packet));
        let own = [Some(begun + self.frame_time(self.frames)), packet, sound, self.report_due];
        own.into_iter().flatten().fold(due, Instant::min)
    }

    fn frame_time(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.shape.frames_per_second)
    }

    fn skip_missed(&mut self, since: Duration) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of frames")]
        if since.saturating_sub(self.frame_time(self.frames)) > MAX_BEHIND {
            self.frames = (since.as_secs_f64() * self.shape.frames_per_second) as u64;
            self.sounds = (since.as_secs_f64() / OPUS_FRAME.as_secs_f64()) as u64;
        }
    }

    fn take_picture(&mut self) {
        let time = self.frame_time(self.frames);
        self.frames += 1;
        if self.waiting.len() < MAX_WAITING {
            let picture = self.video.next_picture(std::mem::take(&mut self.wanted));
            self.published.keyframes += u64::from(picture.keyframe);
            self.waiting.push_back(Waiting { picture, time, sent: 0 });
        }
    }

    /// Sends what the pacer lets pass until `since`.
    fn send_pictures(&mut self, since: Duration, nanos: u64, out: &mut Vec<Transmit>) {
        let gap = self.manner.pace.map_or(Duration::ZERO, |factor| {
            Duration::from_secs_f64(1.0 / (factor * self.shape.packets_per_second).max(1.0))
        });
        while let Some(front) = self.waiting.front_mut() {
            let at = front.time.max(self.next_packet);
            if at > since {
                break;
            }
            let (picture, time, n) = (front.picture, front.time, front.sent);
            front.sent += 1;
            if front.sent == picture.packets {
                self.waiting.pop_front();
            }
            // A late timer catches up with a few packets, not with all.
            self.next_packet = at.max(since.saturating_sub(gap * 4)) + gap;
            self.send_video(&picture, n, ticks(time, 90_000), nanos, out);
        }
    }

    fn send_video(
        &mut self,
        picture: &Picture,
        n: usize,
        timestamp: u32,
        nanos: u64,
        out: &mut Vec<Transmit>,
    ) {
        let sequence = self.begin_packet(0, n + 1 == picture.packets, timestamp);
        let before = self.plain.len();
        self.video.payload(picture, n, nanos, &mut self.plain);
        if let Some(sent) = self.seal(0, before) {
            if self.kept.len() == KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back((sequence, sent.clone()));
            out.push(sent);
        }
    }

    fn send_sound(&mut self, nanos: u64, out: &mut Vec<Transmit>) {
        self.begin_packet(1, false, ticks(sound_time(self.sounds), 48_000));
        self.sounds += 1;
        let before = self.plain.len();
        feed::opus(nanos, &mut self.plain);
        out.extend(self.seal(1, before));
    }

    fn begin_packet(&mut self, track: usize, marker: bool, timestamp: u32) -> u16 {
        let (payload_type, ssrc) =
            if track == 0 { (VIDEO_PAYLOAD, VIDEO_SSRC) } else { (AUDIO_PAYLOAD, AUDIO_SSRC) };
        let sequence = self.tracks[track].sequence;
        self.plain.clear();
        self.plain.extend([0x80, u8::from(marker) << 7 | payload_type]);
        self.plain.extend(sequence.to_be_bytes());
        self.plain.extend(timestamp.to_be_bytes());
        self.plain.extend(ssrc.to_be_bytes());
        sequence
    }

    fn seal(&mut self, track: usize, before: usize) -> Option<Transmit> {
        let sent = self.transport.seal_rtp(&self.plain)?;
        let sending = &mut self.tracks[track];
        sending.sequence = sending.sequence.wrapping_add(1);
        sending.packets = sending.packets.wrapping_add(1);
        let octets = u32::try_from(self.plain.len() - before).unwrap_or(0);
        sending.octets = sending.octets.wrapping_add(octets);
        self.published.packets += 1;
        Some(sent)
    }

    fn report(&mut self, since: Duration, utc: ProgramTime, out: &mut Vec<Transmit>) {
        let clocks = [(VIDEO_SSRC, 90_000), (AUDIO_SSRC, 48_000)];
        for ((ssrc, rate), sending) in clocks.into_iter().zip(&self.tracks) {
            if sending.packets == 0 {
                continue;
            }
            let report = SenderReport {
                ssrc,
                ntp_time: utc.ntp(),
                rtp_time: ticks(since, rate),
                packet_count: sending.packets,
                octet_count: sending.octets,
                ..SenderReport::default()
            };
            let name = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: "bench".into() };
            let names = SourceDescription {
                chunks: vec![SourceDescriptionChunk { source: ssrc, items: vec![name] }],
            };
            self.transport.send_rtcp(&[Box::new(report), Box::new(names)], out);
        }
    }
}

fn sound_time(number: u64) -> Duration {
    Duration::from_secs_f64(number as f64 * OPUS_FRAME.as_secs_f64())
}

/// The RTP timestamp of a time since the beginning; wraps.
fn ticks(time: Duration, rate: u32) -> u32 {
    let ticks = (time.as_nanos() * u128::from(rate) + 500_000_000) / 1_000_000_000;
    u32::try_from(ticks & 0xffff_ffff).unwrap_or(0)
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod tests;

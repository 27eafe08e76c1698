//! One publisher's media: which stream a packet belongs to, repairs unwrapped, duplicates dropped; and what goes back:
//! NACK, transport-wide feedback, receiver reports, keyframe requests.
//!
//! Streams are told apart by payload type and rid, not by announced SSRCs: announcements may be missing (layers, aiortc)
//! or wrong, and the payload types of bundled sections differ. All tables are bounded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bicast_shared::feed::owner::RtpInput;
use bicast_shared::id::{StreamKey, TrackId};
use bicast_shared::media::TrackKind;
use bytes::Bytes;
use rtc_rtcp::packet::Packet as RtcpPacket;
use rtc_rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::raw_packet::RawPacket;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};

use super::arrivals::{Arrival, Arrivals};
use super::negotiate::{Negotiation, Taken};
use super::report::Reception;
use super::twcc::ArrivalTimes;

/// SSRCs known at a time. Three layers with repairs and an audio are 7.
const MAX_SSRCS: usize = 32;
/// Silence after which another SSRC may carry on a stream (an encoder that restarted).
const TAKEOVER: Duration = Duration::from_secs(1);
/// Between two receiver reports.
const REPORT: Duration = Duration::from_secs(1);
/// NACKs in one RTCP packet: 60 pairs are 256 bytes.
const MAX_NACKS: usize = 60;

/// A compound RTCP packet.
pub(crate) type Compound = Vec<Box<dyn RtcpPacket>>;

/// What a packet led to.
#[derive(Debug)]
pub(crate) enum Output {
    /// For the feed, in the order of arrival.
    Rtp { now: Instant, key: StreamKey, input: RtpInput },
    /// For the feed.
    SenderReport { now: Instant, key: StreamKey, ntp: u64, rtp_timestamp: u32 },
    /// Video packets of this track will never come: its picture needs a keyframe.
    Broken(TrackId),
}

/// What is counted of a publisher, since it came.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Counters {
    /// RTP packets that went on to the feed.
    pub(crate) packets: u64,
    /// Their payload.
    pub(crate) payload_bytes: u64,
    /// Bits per second over the last second, headers excluded.
    pub(crate) bitrate_bps: u64,
    /// Packets that never came.
    pub(crate) lost: u64,
    /// Packets that came because they were asked for.
    pub(crate) recovered: u64,
    /// Packets that came twice (browsers also probe with repeats).
    pub(crate) duplicates: u64,
    /// Sequence numbers asked for.
    pub(crate) nacks: u64,
    /// Keyframe requests sent.
    pub(crate) keyframe_requests: u64,
    /// Packets of an SSRC or a layer that belongs to nothing.
    pub(crate) unknown_ssrc: u64,
    /// Packets of a payload type that was not negotiated.
    pub(crate) unknown_payload_type: u64,
    /// Round trip as repairs show it.
    pub(crate) rtt: Option<Duration>,
    /// The largest jitter of the streams, in milliseconds.
    pub(crate) jitter_ms: f64,
}

/// The receiving half of a publisher's session.
#[derive(Debug)]
pub(crate) struct Receiver {
    ssrc: u32,
    sections: Vec<Taken>,
    sources: HashMap<u32, Source>,
    streams: BTreeMap<StreamKey, Stream>,
    arrival_times: ArrivalTimes,
    transport_cc: bool,
    outputs: VecDeque<Output>,
    rtcp: VecDeque<Compound>,
    next_report: Option<Instant>,
    fir_count: u8,
    counters: Counters,
    rate: Rate,
}

/// What an SSRC carries.
#[derive(Debug, Clone, Copy)]
struct Source {
    key: StreamKey,
    payload_type: u8,
    repairs: bool,
}

#[derive(Debug)]
struct Stream {
    section: usize,
    ssrc: Option<u32>,
    last: Option<Instant>,
    arrivals: Arrivals,
    reception: Option<Reception>,
    lost: u64,
    stalls: u64,
    /// Whether its sender answers NACKs.
    nack: bool,
}

impl Receiver {
    /// `ssrc` is ours, in what we send. `origin` is any time before the first packet.
    pub(crate) fn new(origin: Instant, ssrc: u32, decided: &Negotiation) -> Self {
        let sections: Vec<Taken> = decided.taken().cloned().collect();
        let mut streams = BTreeMap::new();
        let mut sources = HashMap::new();
        for (section, taken) in sections.iter().enumerate() {
            for key in taken.track.streams() {
                streams.insert(key, Stream::new(section, None, taken.has_nack()));
            }
            let (Some((media, repair)), Some(key)) = (taken.announced, taken.track.streams().next()) else {
                continue;
            };
            sources.insert(media, Source { key, payload_type: taken.offered.payload_type, repairs: false });
            streams.insert(key, Stream::new(section, Some(media), taken.has_nack()));
            if let (Some(repair), Some(payload_type)) = (repair, taken.rtx) {
                sources.insert(repair, Source { key, payload_type, repairs: true });
            }
        }
        let transport_cc = sections.iter().any(Taken::has_transport_cc);
        Self {
            ssrc,
            sections,
            sources,
            streams,
            arrival_times: ArrivalTimes::new(origin),
            transport_cc,
            outputs: VecDeque::new(),
            rtcp: VecDeque::new(),
            next_report: None,
            fir_count: 0,
            counters: Counters::default(),
            rate: Rate::new(origin),
        }
    }

    /// Takes an RTP packet, decrypted.
    pub(crate) fn handle_rtp(&mut self, now: Instant, packet: rtp::Packet) {
        let header = &packet.header;
        self.next_report.get_or_insert(now + REPORT);
        let Some(source) = self.source(now, header) else { return };
        let Some(section) = self.streams.get(&source.key).map(|stream| stream.section) else { return };
        let taken = &self.sections[section];
        if let Some(number) = extension(header, taken.extensions.transport_cc).filter(|_| self.transport_cc)
            && let Ok(number) = <[u8; 2]>::try_from(&number[..])
        {
            self.arrival_times.arrive(now, u16::from_be_bytes(number));
        }
        let orientation =
            extension(header, taken.extensions.orientation).and_then(|value| value.first().copied());
        let mut input = RtpInput {
            sequence_number: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: packet.payload,
            orientation,
            composition_offset: None,
        };
        if source.repairs {
            // RFC 4588, 4: the original sequence number stands in front of the original payload. Padding that probes
            // the line has neither.
            if input.payload.len() < 2 {
                return;
            }
            let original = input.payload.split_to(2);
            input.sequence_number = u16::from_be_bytes([original[0], original[1]]);
        }
        self.media(now, source, input);
    }

    /// Takes the packets of one RTCP datagram, decrypted. Each is looked at by itself, whatever it is bundled with.
    pub(crate) fn handle_rtcp(&mut self, now: Instant, packets: &[Box<dyn RtcpPacket>]) {
        for packet in packets {
            let Some(report) = packet.as_any().downcast_ref::<SenderReport>() else { continue };
            let Some(source) = self.sources.get(&report.ssrc).filter(|source| !source.repairs) else {
                continue;
            };
            let key = source.key;
            if let Some(reception) = self.streams.get_mut(&key).and_then(|stream| stream.reception.as_mut()) {
                reception.sender_report(now, report.ntp_time);
            }
            let (ntp, rtp_timestamp) = (report.ntp_time, report.rtp_time);
            self.outputs.push_back(Output::SenderReport { now, key, ntp, rtp_timestamp });
        }
    }

    /// Asks for keyframes of these tracks: all their layers, in one compound packet.
    pub(crate) fn request_keyframe(&mut self, tracks: &[TrackId]) {
        let mut compound: Compound = Vec::new();
        for (key, stream) in &self.streams {
            let taken = &self.sections[stream.section];
            let Some(media_ssrc) = stream.ssrc.filter(|_| tracks.contains(&key.track)) else { continue };
            if taken.track.kind() != TrackKind::Video {
                continue;
            }
            let offers = |kind: &str| taken.offered.feedback.iter().any(|feedback| feedback == kind);
            // FIR only for who knows nothing else: it says "now, whatever it costs".
            if offers("nack pli") || !offers("ccm fir") {
                compound.push(Box::new(PictureLossIndication { sender_ssrc: self.ssrc, media_ssrc }));
            } else {
                self.fir_count = self.fir_count.wrapping_add(1);
                let fir = vec![FirEntry { ssrc: media_ssrc, sequence_number: self.fir_count }];
                compound.push(Box::new(FullIntraRequest { sender_ssrc: self.ssrc, media_ssrc, fir }));
            }
        }
        if !compound.is_empty() {
            self.counters.keyframe_requests += 1;
            self.rtcp.push_back(compound);
        }
    }

    /// Does what is due: asks again, reports.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut broken: Vec<TrackId> = Vec::new();
        for (key, stream) in &mut self.streams {
            let Some(media_ssrc) = stream.ssrc else { continue };
            let taken = &self.sections[stream.section];
            let due = stream.arrivals.poll_nacks(now);
            self.counters.nacks += due.len() as u64;
            for due in due.chunks(MAX_NACKS) {
                let nacks = nack_pairs_from_sequence_numbers(due);
                self.rtcp.push_back(vec![Box::new(TransportLayerNack {
                    sender_ssrc: self.ssrc,
                    media_ssrc,
                    nacks,
                })]);
            }
            let (lost, stalls) = (stream.arrivals.lost(), stream.arrivals.stalls());
            self.counters.lost += lost - stream.lost;
            stream.lost = lost;
            if stalls > stream.stalls {
                stream.stalls = stalls;
                if taken.track.kind() == TrackKind::Video && !broken.contains(&key.track) {
                    broken.push(key.track);
                }
            }
        }
        self.outputs.extend(broken.into_iter().map(Output::Broken));
        let any_ssrc = self.streams.values().find_map(|stream| stream.ssrc).unwrap_or(0);
        for feedback in self.arrival_times.poll_feedback(now, self.ssrc, any_ssrc) {
            self.rtcp.push_back(vec![Box::new(RawPacket(feedback))]);
        }
        if self.next_report.is_some_and(|due| due <= now) {
            self.next_report = Some(now + REPORT);
            self.report(now);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let asking = self.streams.values().filter_map(|stream| stream.arrivals.poll_timeout());
        asking.chain(self.arrival_times.poll_timeout()).chain(self.next_report).min()
    }

    /// What the packets led to.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// RTCP for the publisher.
    pub(crate) fn poll_rtcp(&mut self) -> Option<Compound> {
        self.rtcp.pop_front()
    }

    /// The counters as they stand.
    pub(crate) fn counters(&mut self, now: Instant) -> Counters {
        let mut counters = self.counters;
        counters.bitrate_bps = self.rate.bps(now);
        counters.rtt = self.streams.values().filter_map(|stream| stream.arrivals.rtt()).min();
        let jitter =
            self.streams.values().filter_map(|stream| stream.reception.as_ref()).map(Reception::jitter_ms);
        counters.jitter_ms = jitter.fold(0.0, f64::max);
        counters
    }

    fn media(&mut self, now: Instant, source: Source, input: RtpInput) {
        let Some(stream) = self.streams.get_mut(&source.key) else { return };
        stream.last = Some(now);
        if !source.repairs {
            let rate = self.sections[stream.section].track.clock_rate;
            let reception =
                stream.reception.get_or_insert_with(|| Reception::new(now, rate, input.sequence_number));
            reception.packet(now, input.sequence_number, input.timestamp);
        }
        match stream.arrivals.arrive(now, input.sequence_number) {
            Arrival::New => {}
            Arrival::Recovered => self.counters.recovered += 1,
            Arrival::Duplicate | Arrival::TooOld => {
                self.counters.duplicates += 1;
                return;
            }
        }
        self.counters.packets += 1;
        self.counters.payload_bytes += input.payload.len() as u64;
        self.rate.add(now, input.payload.len());
        self.outputs.push_back(Output::Rtp { now, key: source.key, input });
    }

    /// Finds out what the packet's SSRC carries, and remembers it.
    fn source(&mut self, now: Instant, header: &rtp::Header) -> Option<Source> {
        if let Some(source) = self.sources.get(&header.ssrc) {
            if source.payload_type == header.payload_type {
                return Some(*source);
            }
            self.counters.unknown_payload_type += 1;
            return None;
        }
        let found = self.sections.iter().find_map(|taken| {
            if taken.offered.payload_type == header.payload_type {
                Some((taken, false))
            } else {
                (taken.rtx == Some(header.payload_type)).then_some((taken, true))
            }
        });
        let Some((taken, repairs)) = found else {
            self.counters.unknown_payload_type += 1;
            return None;
        };
        let key = layer(taken, repairs, header);
        let key = key.filter(|key| self.sources.len() < MAX_SSRCS && self.may_carry(now, *key, repairs));
        let Some(key) = key else {
            self.counters.unknown_ssrc += 1;
            return None;
        };
        let source = Source { key, payload_type: header.payload_type, repairs };
        if !repairs
            && let Some(stream) = self.streams.get_mut(&key)
            && stream.ssrc.replace(header.ssrc).is_some()
        {
            // The SSRC before it, and that of its repairs.
            self.sources.retain(|_, source| source.key != key);
            stream.begin_again();
        }
        self.sources.insert(header.ssrc, source);
        Some(source)
    }

    /// Whether another SSRC may carry this stream now.
    fn may_carry(&self, now: Instant, key: StreamKey, repairs: bool) -> bool {
        let Some(stream) = self.streams.get(&key) else { return false };
        let silent = stream.last.is_none_or(|last| now.saturating_duration_since(last) >= TAKEOVER);
        if repairs {
            // A repair is only understood once its stream is known; its SSRC may change freely.
            return stream.ssrc.is_some();
        }
        stream.ssrc.is_none() || silent
    }

    fn report(&mut self, now: Instant) {
        let mut reports = Vec::new();
        for stream in self.streams.values_mut() {
            if let (Some(ssrc), Some(reception)) = (stream.ssrc, stream.reception.as_mut()) {
                reports.push(reception.block(now, ssrc));
            }
        }
        if !reports.is_empty() {
            self.rtcp.push_back(vec![Box::new(ReceiverReport {
                ssrc: self.ssrc,
                reports,
                profile_extensions: Bytes::new(),
            })]);
        }
    }
}

impl Stream {
    fn new(section: usize, ssrc: Option<u32>, nack: bool) -> Self {
        let arrivals = Arrivals::new(nack);
        Self { section, ssrc, last: None, arrivals, reception: None, lost: 0, stalls: 0, nack }
    }

    /// Another SSRC carries on: its numbers have nothing to do with the old ones.
    fn begin_again(&mut self) {
        self.arrivals = Arrivals::new(self.nack);
        self.reception = None;
        self.lost = 0;
        self.stalls = 0;
    }
}

impl Taken {
    fn has_nack(&self) -> bool {
        self.offered.feedback.iter().any(|feedback| feedback == "nack")
    }

    fn has_transport_cc(&self) -> bool {
        self.extensions.transport_cc.is_some() && self.offered.feedback.iter().any(|f| f == "transport-cc")
    }
}

/// The stream of a section that a packet of an unknown SSRC belongs to.
fn layer(taken: &Taken, repairs: bool, header: &rtp::Header) -> Option<StreamKey> {
    if taken.layers.is_empty() {
        return taken.track.streams().next();
    }
    let id = if repairs { taken.extensions.repaired_rid } else { taken.extensions.rid };
    let rid = extension(header, id)?;
    let rendition = taken
        .track
        .renditions
        .iter()
        .find(|r| r.rid.as_ref().is_some_and(|name| name.as_bytes() == &rid[..]))?;
    Some(StreamKey::new(taken.track.id, rendition.id))
}

fn extension(header: &rtp::Header, id: Option<u8>) -> Option<Bytes> {
    header.get_extension(id?)
}

/// Bits in the last whole second.
#[derive(Debug)]
struct Rate {
    began: Instant,
    bytes: u64,
    bps: u64,
}

impl Rate {
    const fn new(now: Instant) -> Self {
        Self { began: now, bytes: 0, bps: 0 }
    }

    fn add(&mut self, now: Instant, bytes: usize) {
        self.turn(now);
        self.bytes += bytes as u64;
    }

    fn bps(&mut self, now: Instant) -> u64 {
        self.turn(now);
        self.bps
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began);
        if passed >= Duration::from_secs(1) {
            let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).max(1);
            self.bps = self.bytes.saturating_mul(8_000_000) / micros;
            self.bytes = 0;
            self.began = now;
        }
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;

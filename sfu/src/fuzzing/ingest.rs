//! A publisher's media after decryption: its own keys protect nobody from its packets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use bicast_shared::id::TrackId;
use bicast_shared::media::{Codec, begins_keyframe, decoder_configuration, starts_decoding};
use bytes::Bytes;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, SymbolTypeTcc, TransportLayerCc};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc_shared::marshal::Unmarshal as _;

use super::{below, bytes, start};
use crate::core::sdp::Offer;
use crate::ingest::core::arrivals::{Arrival, Arrivals};
use crate::ingest::core::negotiate::{Negotiation, Taken, negotiate};
use crate::ingest::core::receiver::{Output, Receiver};
use crate::ingest::core::twcc::ArrivalTimes;

const OFFER: &str = include_str!("../core/fixtures/chromium-publisher.sdp");
const LAYERS: &str = include_str!("../core/fixtures/chromium-simulcast.sdp");

/// Keyframe detection, one stream's numbers, arrival times, or a whole publisher.
pub fn ingest(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    match below(&mut steps, 5) {
        0 => payload(steps.take_rest()),
        1 => arrivals(&mut steps),
        2 => arrival_times(&mut steps),
        _ => publisher(&mut steps),
    }
}

fn payload(payload: &[u8]) {
    for codec in [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus, Codec::Aac] {
        let (starts, begins) = (starts_decoding(codec, payload), begins_keyframe(codec, payload));
        // H.265's VPS alone may come in a packet of its own, before the picture that it is for.
        assert!(!begins || starts || codec == Codec::H265, "{codec}: a keyframe begins that is none");
    }
    let configured = decoder_configuration(Codec::H264, payload);
    assert!(configured.is_none() || starts_decoding(Codec::H264, payload));
}

/// The numbers of one stream against a set.
fn arrivals(steps: &mut Unstructured<'_>) {
    let mut now = start();
    let mut stream = Arrivals::new(steps.arbitrary().unwrap_or(true));
    let mut newest = i64::from(steps.arbitrary().unwrap_or(65_000_u16)) + 65_536;
    let low = |number: i64| u16::try_from(number & 0xffff).unwrap();
    assert_eq!(stream.arrive(now, low(newest)), Arrival::New);
    let first = newest;
    let mut seen = BTreeSet::from([newest]);
    let (mut skipped, mut filled) = (BTreeSet::new(), 0_u64);
    let mut asked: BTreeMap<u16, u32> = BTreeMap::new();
    let (mut behind, mut turns) = (0, 0);
    while !steps.is_empty() && turns < 300 {
        turns += 1;
        match below(steps, 8) {
            0 => now += Duration::from_millis(u64::from(below(steps, 400))),
            1 => {
                for number in stream.poll_nacks(now) {
                    let whole = newest - i64::from(low(newest).wrapping_sub(number));
                    assert!(skipped.contains(&whole), "{whole} is asked for");
                    *asked.entry(number).or_default() += 1;
                }
                assert!(stream.poll_timeout().is_none_or(|due| due > now), "nothing is left to do now");
            }
            turn => {
                let step = match turn {
                    2 => i64::from(below(steps, 40)) * i64::from(below(steps, 25)) + 1,
                    3 => -i64::from(below(steps, 3_000)),
                    4 | 5 => -i64::from(below(steps, 30)),
                    _ => 1,
                };
                let number = newest + step;
                let arrival = stream.arrive(now, low(number));
                if step <= -2_048 {
                    behind += 1;
                    if behind >= 5 {
                        // Enough of them in a row are a new beginning: another matter.
                        return;
                    }
                    assert_eq!(arrival, Arrival::TooOld);
                    continue;
                }
                if step > 0 {
                    behind = 0;
                    skipped.extend(newest + 1..number);
                    newest = number;
                }
                if seen.insert(number) {
                    assert!(matches!(arrival, Arrival::New | Arrival::Recovered), "{arrival:?}");
                    let was_skipped = skipped.remove(&number);
                    filled += u64::from(was_skipped);
                    if arrival == Arrival::Recovered {
                        assert!(was_skipped && asked.contains_key(&low(number)), "nobody asked for it");
                    }
                } else {
                    assert_eq!(arrival, Arrival::Duplicate);
                }
                assert!(number >= first - 2_048);
            }
        }
    }
    for _ in 0..3 {
        now += Duration::from_secs(2);
        stream.poll_nacks(now);
    }
    assert_eq!(stream.poll_timeout(), None, "everything is given up after a second");
    let never = skipped.len() as u64;
    assert!((never..=never + filled).contains(&stream.lost()), "{never} {filled} {}", stream.lost());
    assert!(asked.values().all(|times| *times <= 10 * 65_536));
}

/// What the feedback says came, came then.
fn arrival_times(steps: &mut Unstructured<'_>) {
    let origin = start();
    let mut now = origin;
    let mut times = ArrivalTimes::new(origin);
    let mut sequence: u16 = steps.arbitrary().unwrap_or(65_530);
    let mut came: BTreeMap<u16, Vec<Duration>> = BTreeMap::new();
    let mut since: BTreeSet<u16> = BTreeSet::new();
    let (mut count, mut turns) = (0, 0);
    while !steps.is_empty() && turns < 300 {
        turns += 1;
        let step = match below(steps, 8) {
            0 => steps.arbitrary().unwrap_or(0),
            1 => u16::try_from(below(steps, 20)).unwrap().wrapping_neg(),
            2 => u16::try_from(below(steps, 500)).unwrap(),
            3 => {
                now += Duration::from_micros(u64::from(below(steps, 20_000_000)));
                1
            }
            _ => 1,
        };
        now += Duration::from_micros(u64::from(below(steps, 3_000)));
        sequence = sequence.wrapping_add(step);
        times.arrive(now, sequence);
        came.entry(sequence).or_default().push(now - origin);
        since.insert(sequence);
        count += 1;
        let due = times.poll_timeout().expect("something is to be told");
        if due > now {
            continue;
        }
        let packets = times.poll_feedback(now, 1, 2);
        assert_eq!(times.poll_timeout(), None);
        let mut told = BTreeSet::new();
        for packet in &packets {
            assert!(packet.len() < 1_300 && packet.len() % 4 == 0);
            for (number, at) in read(packet) {
                let near = |arrival: &Duration| arrival.as_micros().abs_diff(at) <= 250;
                assert!(came.get(&number).is_some_and(|all| all.iter().any(near)), "{number} at {at} us");
                told.insert(number);
            }
        }
        assert!(count > 2_000 || told == since, "told {told:?} of {since:?}");
        since.clear();
        count = 0;
    }
}

/// What a publisher reads out of a feedback: sequence numbers and microseconds since the origin.
fn read(packet: &Bytes) -> Vec<(u16, u128)> {
    let feedback = TransportLayerCc::unmarshal(&mut packet.clone()).expect("an independent reader takes it");
    let mut at = i64::from(feedback.reference_time) * 64_000;
    let mut deltas = feedback.recv_deltas.iter();
    let mut statuses = Vec::new();
    for chunk in &feedback.packet_chunks {
        match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                statuses.extend((0..run.run_length).map(|_| run.packet_status_symbol));
            }
            PacketStatusChunk::StatusVectorChunk(vector) => {
                statuses.extend(vector.symbol_list.iter().copied());
            }
        }
    }
    assert!(statuses.len() >= usize::from(feedback.packet_status_count));
    statuses.truncate(usize::from(feedback.packet_status_count));
    let mut found = Vec::new();
    for (n, symbol) in (0..).zip(statuses) {
        if symbol != SymbolTypeTcc::PacketNotReceived {
            at += deltas.next().expect("a delta for every packet that came").delta;
            let number = feedback.base_sequence_number.wrapping_add(n);
            found.push((number, u128::try_from(at).expect("not before the origin")));
        }
    }
    assert_eq!(deltas.next(), None, "a delta too many");
    found
}

struct Bench {
    decided: Negotiation,
    receiver: Receiver,
    now: Instant,
    /// RTP packets that were handed in, and that came out.
    given: u64,
    taken: u64,
    nacks: u64,
}

fn publisher(steps: &mut Unstructured<'_>) {
    let layers = steps.arbitrary().unwrap_or(false);
    let offer = Offer::parse(if layers { LAYERS } else { OFFER }).unwrap();
    let decided = negotiate(&offer, &[], layers).unwrap();
    let now = start();
    let receiver = Receiver::new(now, 99, &decided);
    let mut bench = Bench { decided, receiver, now, given: 0, taken: 0, nacks: 0 };
    let (mut numbers, mut turns) = ([0_u16; 8], 0);
    while !steps.is_empty() && turns < 150 {
        turns += 1;
        match below(steps, 8) {
            0 => {
                bench.now += Duration::from_millis(u64::from(below(steps, 1_500)));
                bench.turn();
            }
            1 => {
                if let Ok(packet) = rtp::Packet::unmarshal(&mut Bytes::copy_from_slice(bytes(steps, 120))) {
                    bench.rtp(packet);
                }
            }
            2 => {
                let mut compound = Bytes::copy_from_slice(bytes(steps, 120));
                if let Ok(packets) = rtc_rtcp::packet::unmarshal(&mut compound) {
                    bench.receiver.handle_rtcp(bench.now, &packets);
                }
                bench.drain();
            }
            3 => {
                bench.receiver.request_keyframe(&[TrackId(0), TrackId(1)]);
                bench.drain();
            }
            _ => {
                let packet = media(steps, &bench.decided, &mut numbers);
                bench.rtp(packet);
            }
        }
    }
    bench.turn();
}

/// A packet as a publisher sends it, mostly.
fn media(steps: &mut Unstructured<'_>, decided: &Negotiation, numbers: &mut [u16; 8]) -> rtp::Packet {
    let sections: Vec<&Taken> = decided.taken().collect();
    let taken = sections[steps.choose_index(sections.len()).unwrap_or(0)];
    let repairs = steps.ratio(1, 4).unwrap_or(false);
    let stream = below(steps, 8);
    let number = &mut numbers[usize::try_from(stream).unwrap()];
    *number = match below(steps, 8) {
        0 => steps.arbitrary().unwrap_or(0),
        1 => number.wrapping_sub(u16::try_from(below(steps, 40)).unwrap()),
        2 => number.wrapping_add(u16::try_from(below(steps, 900)).unwrap()),
        _ => number.wrapping_add(1),
    };
    let payload_type = if repairs { taken.rtx.unwrap_or(0) } else { taken.offered.payload_type };
    let mut header = rtp::Header {
        version: 2,
        ssrc: stream + 1_110,
        payload_type,
        sequence_number: *number,
        timestamp: steps.arbitrary().unwrap_or(0),
        marker: steps.arbitrary().unwrap_or(false),
        ..rtp::Header::default()
    };
    if !taken.layers.is_empty() {
        let id = if repairs { taken.extensions.repaired_rid } else { taken.extensions.rid };
        let rid = &taken.layers[steps.choose_index(taken.layers.len()).unwrap_or(0)];
        header.set_extension(id.unwrap_or(1), Bytes::copy_from_slice(rid.as_bytes())).unwrap();
    }
    if let Some(id) = taken.extensions.transport_cc {
        let value = steps.arbitrary().unwrap_or(0_u16).to_be_bytes();
        header.set_extension(id, Bytes::copy_from_slice(&value)).unwrap();
    }
    rtp::Packet { header, payload: Bytes::copy_from_slice(bytes(steps, 16)) }
}

impl Bench {
    fn rtp(&mut self, packet: rtp::Packet) {
        self.given += 1;
        self.receiver.handle_rtp(self.now, packet);
        self.drain();
    }

    fn turn(&mut self) {
        self.receiver.handle_timeout(self.now);
        self.drain();
        assert!(self.receiver.poll_timeout().is_none_or(|due| due > self.now), "nothing is left to do now");
    }

    fn drain(&mut self) {
        let streams: Vec<_> = self.decided.taken().flat_map(|taken| taken.track.streams()).collect();
        let mut outputs = 0;
        while let Some(output) = self.receiver.poll_output() {
            outputs += 1;
            match output {
                Output::Rtp { key, .. } => {
                    assert!(streams.contains(&key));
                    self.taken += 1;
                }
                Output::SenderReport { key, .. } => assert!(streams.contains(&key)),
                Output::Broken(track) => assert!(streams.iter().any(|key| key.track == track)),
            }
        }
        assert!(outputs <= 64, "{outputs} outputs of one input");
        let mut compounds = 0;
        while let Some(compound) = self.receiver.poll_rtcp() {
            compounds += 1;
            for packet in &compound {
                if let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() {
                    self.nacks += nack.nacks.iter().map(|pair| pair.packet_list().len() as u64).sum::<u64>();
                }
            }
            let bytes = rtc_rtcp::packet::marshal(&compound).unwrap();
            assert!(bytes.len() < 1_400);
            assert_eq!(rtc_rtcp::packet::unmarshal(&mut bytes.clone()).unwrap().len(), compound.len());
        }
        // Four streams of 400 missing packets in NACKs of 60, 2,000 arrival times, a report.
        assert!(compounds <= 2_100, "{compounds} packets at once");
        let counters = self.receiver.counters(self.now);
        assert_eq!((counters.packets, counters.nacks), (self.taken, self.nacks));
        assert!(self.taken <= self.given && counters.recovered <= counters.packets);
    }
}

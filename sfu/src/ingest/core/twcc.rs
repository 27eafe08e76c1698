//! Transport-wide congestion control, the receiver's half: when which packet arrived, told to the publisher every 50 ms
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). A browser's bandwidth estimate lives on it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

/// Between two feedbacks. libwebrtc's own receivers use 50 to 250 ms; the start of a stream is where it counts.
const INTERVAL: Duration = Duration::from_millis(50);
/// Packets told in one feedback; more go into another.
const MAX_STATUSES: i64 = 400;
/// Packets remembered until they are told. 50 ms of 100 Mbit/s are 500.
const MAX_PENDING: usize = 2_000;
/// One tick of a receive delta: 250 us.
const TICK: i64 = 250;
/// One tick of the reference time: 64 ms.
const REFERENCE: i64 = 64_000;

/// Arrival times that were not told yet.
#[derive(Debug)]
pub(crate) struct ArrivalTimes {
    origin: Instant,
    newest: Option<i64>,
    pending: BTreeMap<i64, i64>,
    told: Option<i64>,
    due: Option<Instant>,
    count: u8,
}

impl ArrivalTimes {
    /// Times are told relative to `origin`.
    pub(crate) const fn new(origin: Instant) -> Self {
        Self { origin, newest: None, pending: BTreeMap::new(), told: None, due: None, count: 0 }
    }

    /// Takes note of a packet with this transport-wide sequence number.
    pub(crate) fn arrive(&mut self, now: Instant, sequence_number: u16) {
        let sequence = match self.newest {
            None => i64::from(sequence_number) + 65_536,
            Some(newest) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "modulo 2^16 is meant"
                )]
                let ahead = sequence_number.wrapping_sub(newest as u16).cast_signed();
                newest + i64::from(ahead)
            }
        };
        self.newest = Some(self.newest.map_or(sequence, |newest| newest.max(sequence)));
        if self.pending.len() >= MAX_PENDING {
            return;
        }
        let micros = now.saturating_duration_since(self.origin).as_micros();
        self.pending.entry(sequence).or_insert(i64::try_from(micros).unwrap_or(i64::MAX));
        self.due.get_or_insert(now + INTERVAL);
    }

    /// When [`Self::poll_feedback`] has something to say.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The feedback packets that are due: whole RTCP packets.
    pub(crate) fn poll_feedback(&mut self, now: Instant, sender_ssrc: u32, media_ssrc: u32) -> Vec<Bytes> {
        let mut packets = Vec::new();
        if self.due.is_none_or(|due| now < due) {
            return packets;
        }
        self.due = None;
        while let Some((&oldest, _)) = self.pending.first_key_value() {
            // What lies between the last feedback and the oldest arrival was lost: the publisher has to know.
            let base = match self.told {
                Some(told) if told < oldest && oldest - told <= MAX_STATUSES / 2 => told + 1,
                _ => oldest,
            };
            packets.push(self.feedback(base, sender_ssrc, media_ssrc));
        }
        packets
    }

    fn feedback(&mut self, base: i64, sender_ssrc: u32, media_ssrc: u32) -> Bytes {
        let first = self.pending.first_key_value().map_or(0, |(_, at)| *at);
        let reference = first.div_euclid(REFERENCE);
        let mut last = reference * REFERENCE;
        let mut symbols: Vec<u8> = Vec::new();
        let mut deltas = BytesMut::new();
        while let Some((&sequence, &at)) = self.pending.first_key_value() {
            let skipped = sequence - base - i64::try_from(symbols.len()).unwrap_or(0);
            let delta = (at - last).div_euclid(TICK);
            let (Ok(small), fits) = (i16::try_from(delta), sequence - base < MAX_STATUSES) else { break };
            if !fits {
                break;
            }
            symbols.extend((0..skipped).map(|_| 0));
            // Symbols: 0 not received, 1 a delta of one byte, 2 of two bytes.
            if let Ok(tiny) = u8::try_from(small) {
                symbols.push(1);
                deltas.put_u8(tiny);
            } else {
                symbols.push(2);
                deltas.put_i16(small);
            }
            // In ticks, so that rounding does not add up.
            last += delta * TICK;
            self.told = Some(self.told.map_or(sequence, |told| told.max(sequence)));
            self.pending.remove(&sequence);
        }
        let mut body = BytesMut::with_capacity(64 + symbols.len() + deltas.len());
        body.put_u32(sender_ssrc);
        body.put_u32(media_ssrc);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "fields of 16 and 24 bits, by design"
        )]
        {
            body.put_u16(base as u16);
            body.put_u16(symbols.len() as u16);
            body.put_u32(((reference as u32) << 8) | u32::from(self.count));
        }
        self.count = self.count.wrapping_add(1);
        put_chunks(&mut body, &symbols);
        body.extend_from_slice(&deltas);
        finish(&body)
    }
}

/// Status chunks: a run for seven or more equal symbols, else a vector of seven two-bit symbols.
fn put_chunks(body: &mut BytesMut, mut symbols: &[u8]) {
    while let Some(&symbol) = symbols.first() {
        let run = symbols.iter().take_while(|s| **s == symbol).count();
        if run >= 7 {
            let length = u16::try_from(run).unwrap_or(0x1fff).min(0x1fff);
            body.put_u16((u16::from(symbol) << 13) | length);
            symbols = &symbols[usize::from(length)..];
        } else {
            let (now, rest) = symbols.split_at(symbols.len().min(7));
            let vector =
                (0..7).fold(0b11_u16, |bits, n| (bits << 2) | u16::from(now.get(n).copied().unwrap_or(0)));
            body.put_u16(vector);
            symbols = rest;
        }
    }
}

/// Header (205, format 15) and padding to 32 bits.
fn finish(body: &[u8]) -> Bytes {
    let padding = (4 - body.len() % 4) % 4;
    let words = (body.len() + padding) / 4;
    let mut packet = BytesMut::with_capacity(4 + body.len() + padding);
    packet.put_u8(0x80 | (u8::from(padding > 0) << 5) | 15);
    packet.put_u8(205);
    packet.put_u16(u16::try_from(words).unwrap_or(u16::MAX));
    packet.extend_from_slice(body);
    for n in 1..=padding {
        packet.put_u8(if n == padding { u8::try_from(padding).unwrap_or(0) } else { 0 });
    }
    packet.freeze()
}

#[cfg(test)]
mod tests {
    use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
        PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
    };
    use rtc_shared::marshal::Unmarshal as _;

    use super::*;

    /// What a publisher reads out of a feedback: sequence number and arrival in microseconds since the origin.
    fn read(packet: &Bytes) -> Vec<(u16, Option<i64>)> {
        let feedback = TransportLayerCc::unmarshal(&mut packet.clone()).unwrap();
        let mut at = i64::from(feedback.reference_time) * REFERENCE;
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
        statuses.truncate(usize::from(feedback.packet_status_count));
        assert_eq!(statuses.len(), usize::from(feedback.packet_status_count));
        let read = statuses.iter().enumerate().map(|(n, symbol)| {
            let sequence = feedback.base_sequence_number.wrapping_add(u16::try_from(n).unwrap());
            let received = *symbol != SymbolTypeTcc::PacketNotReceived;
            (
                sequence,
                received.then(|| {
                    at += deltas.next().unwrap().delta;
                    at
                }),
            )
        });
        read.collect()
    }

    fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn arrivals_gaps_and_reordering_are_told_as_they_were() {
        let t = bicast_shared::clock::now();
        let mut times = ArrivalTimes::new(t);
        let arrivals: [(u16, u64); 5] =
            [(65_534, 1_000_000), (65_535, 1_000_500), (1, 1_010_000), (0, 1_010_250), (9, 1_049_000)];
        for (sequence, at) in arrivals {
            times.arrive(t + us(at), sequence);
        }
        assert!(times.poll_feedback(t + us(1_049_999), 1, 2).is_empty());
        assert_eq!(times.poll_timeout(), Some(t + us(1_050_000)));
        let packets = times.poll_feedback(t + us(1_050_000), 1, 2);
        let [packet] = packets.as_slice() else { panic!("{packets:?}") };
        let told = read(packet);
        assert_eq!(told.len(), 12);
        for (sequence, at) in arrivals {
            let found = told.iter().find(|(s, _)| *s == sequence).unwrap().1.unwrap();
            assert!(i64::try_from(at).unwrap().abs_diff(found) <= 250, "{sequence}: {at} {found}");
        }
        assert_eq!(told.iter().filter(|(_, at)| at.is_none()).count(), 7);
        assert_eq!(times.poll_timeout(), None);
    }

    #[test]
    fn a_loss_between_two_feedbacks_is_told_in_the_second() {
        let t = bicast_shared::clock::now();
        let mut times = ArrivalTimes::new(t);
        times.arrive(t, 10);
        times.poll_feedback(t + INTERVAL, 1, 2);
        times.arrive(t + INTERVAL, 14);
        let packets = times.poll_feedback(t + INTERVAL * 2, 1, 2);
        let told = read(&packets[0]);
        assert_eq!(
            told.iter().map(|(s, at)| (*s, at.is_some())).collect::<Vec<_>>(),
            [(11, false), (12, false), (13, false), (14, true)]
        );
    }

    #[test]
    fn a_long_burst_is_told_completely_in_several_packets() {
        let t = bicast_shared::clock::now();
        let mut times = ArrivalTimes::new(t);
        for n in 0..1_500_u16 {
            times.arrive(t + us(u64::from(n) * 30), n);
        }
        let packets = times.poll_feedback(t + INTERVAL, 1, 2);
        let told: Vec<u16> =
            packets.iter().flat_map(read).filter(|(_, at)| at.is_some()).map(|(s, _)| s).collect();
        assert_eq!(told, (0..1_500).collect::<Vec<u16>>());
        assert!(packets.iter().all(|packet| packet.len() < 1_000));
    }

    #[test]
    fn hostile_numbers_stay_bounded() {
        let t = bicast_shared::clock::now();
        let mut times = ArrivalTimes::new(t);
        let mut sequence = 1_u16;
        for n in 0..20_000_u64 {
            sequence = sequence.wrapping_mul(25_173).wrapping_add(13_849);
            times.arrive(t + us(n * 7_000), sequence);
        }
        assert!(times.pending.len() <= MAX_PENDING);
        let packets = times.poll_feedback(t + Duration::from_secs(200), 1, 2);
        assert!(times.pending.is_empty() && packets.len() <= MAX_PENDING);
        for packet in &packets {
            read(packet);
        }
    }
}

use std::time::Duration;

use bicast_shared::id::RenditionId;
use rtc_rtcp::packet as rtcp_packet;

use super::super::negotiate::tests::decide;
use super::*;
use crate::core::sdp::tests::{PUBLISHER as CHROMIUM, SIMULCAST};

const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
const AUDIO: StreamKey = StreamKey::new(TrackId(1), RenditionId(0));

struct Bench {
    receiver: Receiver,
    t: Instant,
}

impl Bench {
    fn new(offer: &str, layers: bool) -> Self {
        let t = bicast_shared::clock::now();
        Self { receiver: Receiver::new(t, 99, &decide(offer, layers).unwrap()), t }
    }

    fn rtp(&mut self, ssrc: u32, pt: u8, seq: u16, payload: &[u8]) -> Option<(StreamKey, RtpInput)> {
        self.rtp_with(ssrc, pt, seq, payload, &[])
    }

    fn rtp_with(
        &mut self,
        ssrc: u32,
        payload_type: u8,
        sequence_number: u16,
        payload: &[u8],
        extensions: &[(u8, &[u8])],
    ) -> Option<(StreamKey, RtpInput)> {
        let mut header = rtp::Header {
            version: 2,
            ssrc,
            payload_type,
            sequence_number,
            timestamp: 7,
            ..rtp::Header::default()
        };
        for (id, value) in extensions {
            header.set_extension(*id, Bytes::copy_from_slice(value)).unwrap();
        }
        self.receiver.handle_rtp(self.t, rtp::Packet { header, payload: Bytes::copy_from_slice(payload) });
        match self.receiver.poll_output() {
            Some(Output::Rtp { key, input, .. }) => Some((key, input)),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    fn after(&mut self, ms: u64) -> Vec<Compound> {
        self.t += Duration::from_millis(ms);
        self.receiver.handle_timeout(self.t);
        std::iter::from_fn(|| self.receiver.poll_rtcp()).collect()
    }
}

fn find<T: 'static>(compounds: &[Compound]) -> Vec<&T> {
    compounds.iter().flatten().filter_map(|packet| packet.as_any().downcast_ref::<T>()).collect()
}

#[test]
fn packets_go_on_at_once_in_the_order_of_arrival() {
    let mut bench = Bench::new(CHROMIUM, false);
    let (key, input) = bench.rtp(1111, 107, 10, b"a").unwrap();
    assert_eq!((key, input.sequence_number, &input.payload[..]), (VIDEO, 10, &b"a"[..]));
    assert_eq!(bench.rtp(1111, 107, 12, b"c").unwrap().1.sequence_number, 12);
    assert_eq!(bench.rtp(1111, 107, 11, b"b").unwrap().1.sequence_number, 11);
    assert!(bench.rtp(1111, 107, 11, b"b").is_none(), "a duplicate");
    assert_eq!(bench.rtp(3333, 111, 1, b"x").unwrap().0, AUDIO);
    assert_eq!(bench.rtp(1111, 107, 13, b"").unwrap().1.payload.len(), 0, "padding counts");
}

#[test]
fn repairs_are_unwrapped_and_probing_repeats_dropped() {
    let mut bench = Bench::new(CHROMIUM, false);
    bench.rtp(1111, 107, 10, b"a");
    bench.rtp(1111, 107, 12, b"c");
    let rtcp = bench.after(10);
    let nacks = find::<TransportLayerNack>(&rtcp);
    assert_eq!((nacks[0].media_ssrc, nacks[0].nacks[0].packet_list()), (1111, vec![11]));
    let (key, input) = bench.rtp(2222, 108, 500, b"\x00\x0bb").unwrap();
    assert_eq!((key, input.sequence_number, &input.payload[..]), (VIDEO, 11, &b"b"[..]));
    assert!(bench.rtp(2222, 108, 501, b"\x00\x0cc").is_none(), "a probe with a packet that was there");
    assert!(bench.rtp(2222, 108, 502, b"\x00").is_none() && bench.rtp(2222, 108, 503, b"").is_none());
    let t = bench.t;
    let counters = bench.receiver.counters(t);
    assert_eq!((counters.packets, counters.recovered, counters.duplicates, counters.nacks), (3, 1, 1, 1));
    assert_eq!(counters.lost, 0);
}

#[test]
fn a_packet_that_never_comes_is_told_once() {
    let mut bench = Bench::new(CHROMIUM, false);
    bench.rtp(1111, 107, 10, b"a");
    bench.rtp(1111, 107, 12, b"c");
    let mut broken = 0;
    for _ in 0..30 {
        bench.after(50);
        while let Some(output) = bench.receiver.poll_output() {
            assert!(matches!(output, Output::Broken(TrackId(0))));
            broken += 1;
        }
    }
    assert_eq!(broken, 1);
}

#[test]
fn sender_reports_are_seen_wherever_they_stand_in_a_compound() {
    let mut bench = Bench::new(CHROMIUM, false);
    bench.rtp(1111, 107, 10, b"a");
    let report = |ssrc, rtp_time| -> Box<dyn RtcpPacket> {
        Box::new(SenderReport { ssrc, ntp_time: 5 << 32, rtp_time, ..SenderReport::default() })
    };
    let empty: Box<dyn RtcpPacket> = Box::new(ReceiverReport::default());
    bench
        .receiver
        .handle_rtcp(bench.t, &[empty, report(1111, 1), report(3333, 2), report(2222, 3), report(4, 4)]);
    let seen: Vec<_> = std::iter::from_fn(|| bench.receiver.poll_output())
        .map(|output| match output {
            Output::SenderReport { key, ntp, rtp_timestamp, .. } => (key, ntp, rtp_timestamp),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, [(VIDEO, 5 << 32, 1), (AUDIO, 5 << 32, 2)]);
    let rtcp = bench.after(1_000);
    let reports = find::<ReceiverReport>(&rtcp);
    assert_eq!((reports[0].reports[0].last_sender_report, reports[0].reports[0].delay), (5 << 16, 65_536));
}

#[test]
fn keyframes_of_all_layers_are_asked_for_in_one_packet() {
    let mut bench = Bench::new(SIMULCAST, true);
    for (ssrc, rid) in [(1, "f"), (2, "h"), (3, "q")] {
        let (key, _) = bench.rtp_with(ssrc, 107, 5, b"x", &[(10, rid.as_bytes()), (9, b"0")]).unwrap();
        assert_eq!(key, StreamKey::new(TrackId(0), RenditionId(u8::try_from(ssrc).unwrap() - 1)));
    }
    bench.receiver.request_keyframe(&[TrackId(0), TrackId(1)]);
    let compound = bench.receiver.poll_rtcp().unwrap();
    let asked: Vec<u32> =
        find::<PictureLossIndication>(&[compound]).iter().map(|pli| pli.media_ssrc).collect();
    assert_eq!(asked, [1, 2, 3]);
    assert!(bench.receiver.poll_rtcp().is_none());
    // A repair of a layer is told by its repaired rid, and without a rid nothing is guessed.
    let (key, input) = bench.rtp_with(20, 108, 1, b"\x00\x04y", &[(11, b"h")]).unwrap();
    assert_eq!((key.rendition, input.sequence_number), (RenditionId(1), 4));
    assert!(bench.rtp(50, 107, 1, b"z").is_none());
    assert!(bench.rtp_with(51, 107, 1, b"z", &[(10, b"nonsense")]).is_none());
}

#[test]
fn fir_is_only_for_who_knows_no_pli() {
    let mut bench = Bench::new(&CHROMIUM.replace("a=rtcp-fb:107 nack pli\r\n", ""), false);
    bench.rtp(1111, 107, 5, b"x");
    bench.receiver.request_keyframe(&[TrackId(0)]);
    let compounds = [bench.receiver.poll_rtcp().unwrap()];
    assert_eq!(find::<FullIntraRequest>(&compounds)[0].fir[0], FirEntry { ssrc: 1111, sequence_number: 1 });
}

#[test]
fn arrival_times_are_told_every_50_ms() {
    let mut bench = Bench::new(CHROMIUM, false);
    bench.rtp_with(1111, 107, 1, b"a", &[(4, &[0, 1])]);
    bench.rtp_with(3333, 111, 1, b"b", &[(4, &[0, 2])]);
    bench.rtp_with(2222, 108, 1, b"", &[(4, &[0, 3])]);
    assert!(bench.after(40).is_empty());
    let rtcp = bench.after(10);
    let feedback = find::<RawPacket>(&rtcp);
    assert_eq!(feedback.len(), 1);
    let parsed = rtcp_packet::unmarshal(&mut feedback[0].0.clone()).unwrap();
    assert_eq!(&feedback[0].0[12..16], &[0, 1, 0, 3], "base 1, three packets");
    assert_eq!(parsed.len(), 1);
}

#[test]
fn without_announced_ssrcs_payload_types_decide() {
    let bare: String = CHROMIUM.split_inclusive("\r\n").filter(|line| !line.starts_with("a=ssrc")).collect();
    let mut bench = Bench::new(&bare, false);
    assert!(bench.rtp(8, 108, 1, b"\x00\x01x").is_none(), "a repair of nothing");
    assert_eq!(bench.rtp(5, 107, 1, b"x").unwrap().0, VIDEO);
    assert_eq!(bench.rtp(6, 111, 1, b"x").unwrap().0, AUDIO);
    assert_eq!(bench.rtp(8, 108, 1, b"\x00\x00x").unwrap().0, VIDEO);
}

#[test]
fn a_restarted_encoder_may_carry_on_but_nobody_may_push_in() {
    let mut bench = Bench::new(CHROMIUM, false);
    bench.rtp(1111, 107, 1, b"x");
    assert!(bench.rtp(7777, 107, 1, b"y").is_none());
    bench.after(1_000);
    assert_eq!(bench.rtp(7777, 107, 1, b"y").unwrap().0, VIDEO);
    let t = bench.t;
    assert_eq!(bench.receiver.counters(t).unknown_ssrc, 1);
}

#[test]
fn garbage_is_counted_and_bounded() {
    let mut bench = Bench::new(CHROMIUM, false);
    bench.rtp(1111, 107, 1, b"x");
    for ssrc in 10_000..20_000 {
        assert!(bench.rtp(ssrc, 107, 1, b"x").is_none());
        assert!(bench.rtp(ssrc, 77, 1, b"x").is_none());
    }
    assert!(bench.rtp(1111, 96, 2, b"x").is_none(), "a payload type that was rejected");
    // Repairs under ever new SSRCs, with ever other sequence numbers.
    for n in 0..10_000_u16 {
        let [a, b] = n.wrapping_mul(7_919).to_be_bytes();
        bench.rtp(u32::from(n) + 50_000, 108, n, &[a, b, 1]);
    }
    assert!(bench.receiver.sources.len() <= MAX_SSRCS);
    let t = bench.t;
    let counters = bench.receiver.counters(t);
    assert_eq!(counters.unknown_payload_type, 10_001);
    assert!(counters.unknown_ssrc > 10_000);
    for _ in 0..100 {
        for compound in bench.after(20) {
            assert!(rtcp_packet::marshal(&compound).unwrap().len() < 1_400);
        }
        while bench.receiver.poll_output().is_some() {}
    }
}

#[test]
fn the_bitrate_is_that_of_the_last_second() {
    let mut bench = Bench::new(CHROMIUM, false);
    for n in 0..100 {
        bench.rtp(1111, 107, n, &[0; 1_250]);
        bench.t += Duration::from_millis(20);
    }
    let t = bench.t;
    let bps = bench.receiver.counters(t).bitrate_bps;
    assert!((490_000..=510_000).contains(&bps), "{bps}");
}

#[test]
fn authentic_nonsense_is_survived() {
    // A publisher's own keys protect nobody from its packets: well-formed ones with bytes changed, cut and appended.
    use rtc_shared::marshal::{Marshal as _, Unmarshal as _};
    let mut bench = Bench::new(SIMULCAST, true);
    let mut header = rtp::Header { version: 2, ssrc: 1, payload_type: 107, ..rtp::Header::default() };
    header.set_extension(10, Bytes::from_static(b"f")).unwrap();
    header.set_extension(4, Bytes::from_static(&[0, 1])).unwrap();
    let media = rtp::Packet { header, payload: Bytes::from_static(&[0x65; 40]) }.marshal().unwrap();
    let compound: Compound = vec![
        Box::new(SenderReport { ssrc: 1, ..SenderReport::default() }),
        Box::new(ReceiverReport { ssrc: 1, ..ReceiverReport::default() }),
        Box::new(TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc: 2,
            nacks: nack_pairs_from_sequence_numbers(&[1, 2, 30]),
        }),
    ];
    let control = rtcp_packet::marshal(&compound).unwrap();
    // The other kinds that a publisher may send: SDES, BYE, APP, feedback of both sorts, XR.
    let kinds = [200_u8, 201, 202, 203, 204, 205, 206, 207, 208];
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below.max(1)
    };
    for n in 0..40_000_usize {
        let mut bytes = if n % 2 == 0 { media.to_vec() } else { control.to_vec() };
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            bytes[at] = next(256).to_le_bytes()[0];
        }
        if n % 4 == 3 {
            bytes[0] = 0x80 | next(64).to_le_bytes()[0];
            bytes[1] = kinds[next(kinds.len())];
        }
        bytes.truncate(1 + next(bytes.len() + 8));
        let mut buffer = Bytes::from(bytes);
        if n % 2 == 0 {
            let Ok(packet) = rtp::Packet::unmarshal(&mut buffer) else { continue };
            bench.receiver.handle_rtp(bench.t, packet);
        } else {
            let Ok(packets) = rtcp_packet::unmarshal(&mut buffer) else { continue };
            bench.receiver.handle_rtcp(bench.t, &packets);
        }
        while bench.receiver.poll_output().is_some() {}
        if n % 100 == 0 {
            bench.after(30);
        }
    }
    assert!(bench.receiver.sources.len() <= MAX_SSRCS);
}

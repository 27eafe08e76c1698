use bicast_shared::media::{Codec, starts_decoding};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::super::rtp::{Head, payload};
use super::super::test_server::{ADDRESS, Server, start};
use super::*;

struct Rig {
    begun: Instant,
    now: Instant,
    server: Server,
    publisher: Publisher,
    out: Vec<Transmit>,
}

impl Rig {
    fn new(deaf: bool) -> Self {
        Self::with(Manner { deaf, pace: None, phase: Duration::ZERO })
    }

    fn with(manner: Manner) -> Self {
        let now = bicast_shared::clock::now();
        let server = Server::new(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm);
        let answer = server.answer();
        let publisher = Publisher::new(start(now, &answer), Shape::default(), manner);
        let mut rig = Self { begun: now, now, server, publisher, out: Vec::new() };
        for _ in 0..20 {
            rig.tick(0);
        }
        assert!(rig.publisher.is_live());
        rig
    }

    fn tick(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        let utc = ProgramTime::from_unix_nanos(
            1_795_411_739_000_000_000 + i64::try_from((self.now - self.begun).as_nanos()).unwrap(),
        );
        self.publisher.handle_timeout(self.now, utc, &mut self.out);
        let sent = std::mem::take(&mut self.out);
        for bytes in self.server.handle(self.now, &sent) {
            self.publisher.handle(self.now, ADDRESS.parse().unwrap(), &bytes, &mut self.out);
        }
    }

    fn say(&mut self, packet: Box<dyn rtc_rtcp::Packet>) {
        let bytes = self.server.seal_rtcp(&[packet]);
        self.publisher.handle(self.now, ADDRESS.parse().unwrap(), &bytes, &mut self.out);
    }

    fn keyframes(&self) -> usize {
        let is_keyframe = |plain: &&Vec<u8>| {
            let head = Head::read(plain).unwrap();
            let payload = payload(plain).unwrap();
            head.ssrc == VIDEO_SSRC && payload[0] & 0x1f == 24 && starts_decoding(Codec::H264, payload)
        };
        self.server.rtp.iter().filter(is_keyframe).count()
    }
}

#[test]
fn ten_seconds_are_3100_packets_in_order_with_true_clocks() {
    let mut rig = Rig::new(false);
    // Just short of the sixth keyframe.
    for _ in 0..1_990 {
        rig.tick(5);
    }
    let count = rig.server.rtp.len();
    assert!((3_040..3_130).contains(&count), "{count}");
    assert_eq!(rig.publisher.published().packets, count as u64);
    for (ssrc, rate) in [(VIDEO_SSRC, 90_000), (AUDIO_SSRC, 48_000)] {
        let heads: Vec<Head> = rig
            .server
            .rtp
            .iter()
            .map(|plain| Head::read(plain).unwrap())
            .filter(|head| head.ssrc == ssrc)
            .collect();
        assert!(heads.iter().enumerate().all(|(n, head)| usize::from(head.sequence) == n));
        let last = heads.last().unwrap().timestamp;
        assert!(last.abs_diff(rate * 10) <= rate / 10, "{last}");
        let report = rig
            .server
            .rtcp
            .iter()
            .filter_map(|packet| packet.as_any().downcast_ref::<SenderReport>())
            .rfind(|report| report.ssrc == ssrc)
            .unwrap();
        // The media begins 9/256 of a picture's time after the connection: the seed says so.
        let phase = 1_000_000_000 * 9 / 256 / 30;
        let utc = ProgramTime::from_ntp(report.ntp_time).unix_nanos() - 1_795_411_739_000_000_000 - phase;
        let ticks = utc * i64::from(rate) / 1_000_000_000;
        assert!((ticks - i64::from(report.rtp_time)).abs() < 3, "{ticks} {}", report.rtp_time);
    }
    assert_eq!(rig.keyframes(), 5);
}

#[test]
fn a_wanted_keyframe_comes_unless_it_is_deaf() {
    for deaf in [false, true] {
        let mut rig = Rig::new(deaf);
        (0..20).for_each(|_| rig.tick(5));
        assert_eq!(rig.keyframes(), 1);
        rig.say(Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc: VIDEO_SSRC }));
        (0..20).for_each(|_| rig.tick(5));
        assert_eq!(rig.keyframes(), if deaf { 1 } else { 2 });
        assert_eq!(rig.publisher.published().keyframe_requests, 1);
    }
}

#[test]
fn a_packet_that_is_asked_for_comes_again() {
    let mut rig = Rig::new(false);
    (0..40).for_each(|_| rig.tick(5));
    let before = rig.server.rtp.len();
    let nacks = rtc_rtcp::transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers(&[
        7, 9, 60_000,
    ]);
    rig.say(Box::new(TransportLayerNack { sender_ssrc: 1, media_ssrc: VIDEO_SSRC, nacks }));
    let sent = std::mem::take(&mut rig.out);
    rig.server.handle(rig.now, &sent);
    let again: Vec<u16> =
        rig.server.rtp[before..].iter().map(|plain| Head::read(plain).unwrap().sequence).collect();
    assert_eq!(again, [7, 9]);
    assert_eq!(rig.publisher.published().asked, 3);
}

#[test]
fn a_publisher_that_was_held_up_leaves_out_what_it_missed() {
    let mut rig = Rig::new(false);
    rig.tick(100);
    let before = rig.server.rtp.len();
    rig.tick(10_000);
    assert!(rig.server.rtp.len() - before < 200, "{}", rig.server.rtp.len() - before);
}

#[test]
fn a_pacer_spreads_a_pictures_packets_and_keeps_the_rate() {
    let mut rig = Rig::with(Manner { deaf: false, pace: Some(2.5), phase: Duration::ZERO });
    let mut most = 0;
    let mut seen = rig.server.rtp.len();
    for _ in 0..9_950 {
        rig.tick(1);
        most = most.max(rig.server.rtp.len() - seen);
        seen = rig.server.rtp.len();
    }
    assert!(most <= 4, "{most} packets in a millisecond");
    assert!((3_000..3_130).contains(&seen), "{seen}");
    let heads = rig.server.rtp.iter().map(|plain| Head::read(plain).unwrap());
    let video: Vec<Head> = heads.filter(|head| head.ssrc == VIDEO_SSRC).collect();
    assert!(video.windows(2).all(|pair| pair[0].marker == (pair[0].timestamp != pair[1].timestamp)));
}

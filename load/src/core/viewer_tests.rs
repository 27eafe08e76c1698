use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::super::test_server::{ADDRESS, Server, start};
use super::*;

const VIDEO: u32 = 1_000;
const RTX: u32 = 1_001;
const SOUND: u32 = 2_000;

struct Rig {
    now: Instant,
    server: Server,
    viewer: Viewer,
    tally: Tally,
    out: Vec<Transmit>,
    steady: bool,
}

impl Rig {
    fn new(profile: SrtpProtectionProfile, share: f64) -> Self {
        let now = bicast_shared::clock::now();
        let server = Server::new(profile);
        let answer = server.answer();
        let start = start(now, &answer);
        let viewer = Viewer::new(start, now, Sample::new(share, 0));
        Self { now, server, viewer, tally: Tally::default(), out: Vec::new(), steady: false }
    }

    /// One that has its keys.
    fn connected(profile: SrtpProtectionProfile, share: f64) -> Self {
        let mut rig = Self::new(profile, share);
        assert_eq!(rig.tick(0), Event::Nothing);
        for _ in 0..20 {
            let sent = std::mem::take(&mut rig.out);
            for bytes in rig.server.handle(rig.now, &sent) {
                rig.give(&bytes);
            }
        }
        assert!(rig.viewer.is_connected());
        assert_eq!(rig.tally.connect.count(), 1);
        rig
    }

    fn gcm(share: f64) -> Self {
        Self::connected(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, share)
    }

    fn give(&mut self, bytes: &[u8]) -> Event {
        let at = At { now: self.now, arrived: 5_000_000_000, steady: self.steady };
        self.viewer.handle(at, ADDRESS.parse().unwrap(), bytes, &mut self.tally, &mut self.out)
    }

    fn video(&mut self, sequence: u16, marker: bool, frame: u32, payload: &[u8]) {
        let bytes = self.server.seal(VIDEO, 102, sequence, marker, frame, payload);
        self.give(&bytes);
    }

    fn tick(&mut self, ms: u64) -> Event {
        self.now += Duration::from_millis(ms);
        self.viewer.handle_timeout(self.now, &mut self.tally, &mut self.out)
    }

    /// What the server was told since the last call.
    fn told(&mut self) -> Vec<Box<dyn rtc_rtcp::Packet>> {
        let sent = std::mem::take(&mut self.out);
        self.server.handle(self.now, &sent);
        std::mem::take(&mut self.server.rtcp)
    }
}

#[test]
fn a_viewer_connects_and_authenticates_with_either_profile() {
    for profile in
        [SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80]
    {
        let mut rig = Rig::connected(profile, 1.0);
        for n in 0..100 {
            rig.video(n, true, u32::from(n), &[0x65, 1, 2]);
        }
        assert_eq!((rig.tally.packets, rig.tally.authenticated, rig.tally.forged), (100, 100, 0));
        assert_eq!((rig.tally.keyframe.count(), rig.tally.moving.count()), (1, 1));
        assert!(rig.viewer.is_moving() && rig.viewer.take_heard() && !rig.viewer.take_heard());
    }
}

#[test]
fn only_a_sample_is_opened_once_the_picture_moves_and_it_is_spread_evenly() {
    let mut rig = Rig::gcm(0.1);
    rig.video(0, true, 0, &[0x65, 1]);
    rig.video(1, true, 1, &[0x41, 1]);
    let before = rig.tally.authenticated;
    for n in 2..1_002 {
        rig.video(n, true, u32::from(n), &[0x41, 1]);
    }
    assert_eq!(rig.tally.authenticated - before, 100);
    assert!((0..100).all(|_| !Sample::new(0.0, 7).next()));
}

#[test]
fn a_forged_packet_in_the_sample_is_counted() {
    let mut rig = Rig::gcm(1.0);
    rig.video(0, true, 0, &[0x65, 1]);
    let mut bytes = rig.server.seal(VIDEO, 102, 1, true, 1, &[0x41, 1, 2, 3]);
    bytes[14] ^= 1;
    rig.give(&bytes);
    assert_eq!((rig.tally.authenticated, rig.tally.forged), (1, 1));
}

#[test]
fn a_hole_is_asked_for_and_filled_by_a_retransmission() {
    let mut rig = Rig::gcm(0.01);
    for n in [0, 1, 3, 4] {
        rig.video(n, true, u32::from(n), &[0x65, 1]);
    }
    assert!(rig.told().is_empty());
    rig.tick(12);
    let told = rig.told();
    let nack = told.iter().find_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>()).unwrap();
    assert_eq!((nack.media_ssrc, nack.nacks[0].packet_list()), (VIDEO, vec![2]));
    let again = rig.server.seal(RTX, 103, 500, true, 2, &[0, 2, 0x41, 1]);
    rig.give(&again);
    assert_eq!((rig.tally.repaired, rig.tally.retransmissions, rig.tally.packets), (1, 1, 5));
    rig.give(&again);
    assert_eq!(rig.tally.duplicates, 1);
    rig.viewer.finish(&mut rig.tally);
    assert_eq!(rig.tally.lost, 0);
}

#[test]
fn what_stays_missing_is_lost_and_a_keyframe_is_asked_for_once_a_second() {
    let mut rig = Rig::gcm(0.01);
    for n in [0, 1, 3, 5] {
        rig.video(n, true, u32::from(n), &[0x65, 1]);
    }
    let mut requests = 0;
    for n in 0..150_u16 {
        rig.tick(10);
        rig.video(6 + n, true, 6 + u32::from(n), &[0x41, 1]);
        requests += rig.told().iter().filter(|packet| packet.as_any().is::<PictureLossIndication>()).count();
    }
    assert_eq!((rig.tally.lost, requests), (2, 1));
}

#[test]
fn without_a_keyframe_it_asks_every_second_and_reports() {
    let mut rig = Rig::gcm(0.01);
    let (mut requests, mut reports) = (0, 0);
    for n in 0..35_u16 {
        rig.video(n, true, u32::from(n), &[0x41, 1]);
        rig.tick(100);
        for packet in rig.told() {
            requests += usize::from(packet.as_any().is::<PictureLossIndication>());
            if let Some(report) = packet.as_any().downcast_ref::<ReceiverReport>() {
                reports += 1;
                assert_eq!(report.reports[0].ssrc, VIDEO);
            }
        }
    }
    assert_eq!((requests, reports), (3, 3));
    assert_eq!(rig.tally.keyframe.count(), 0);
}

#[test]
fn latency_is_taken_from_stamps_of_sampled_packets_while_steady() {
    let mut rig = Rig::gcm(1.0);
    let mut payload = vec![0x65, 1];
    stamp::write(5_000_000_000 - 3_000_000, &mut payload);
    rig.video(0, true, 0, &payload);
    assert_eq!(rig.tally.latency.count(), 0, "viewers still join");
    rig.steady = true;
    rig.video(1, true, 1, &payload);
    let sound = rig.server.seal(SOUND, 111, 9, false, 1, &payload);
    rig.give(&sound);
    assert_eq!(rig.tally.latency.count(), 2);
    assert!(
        rig.tally.latency.quantile(0.5).unwrap().abs_diff(Duration::from_millis(3))
            < Duration::from_micros(10)
    );
}

#[test]
fn goodbyes_and_silence_end_it() {
    let mut rig = Rig::gcm(0.1);
    let bytes = rig.server.seal_rtcp(&[Box::new(Goodbye { sources: vec![VIDEO], ..Goodbye::default() })]);
    assert_eq!(rig.give(&bytes), Event::Over("goodbye from the server"));

    let mut rig = Rig::gcm(0.1);
    let mut over = Event::Nothing;
    for _ in 0..400 {
        over = rig.tick(100);
        rig.out.clear();
        if over != Event::Nothing {
            break;
        }
    }
    assert_eq!(over, Event::Over("consent expired"));

    let mut rig = Rig::new(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, 0.1);
    assert_eq!(rig.tick(15_000), Event::Over("no answer to checks"));
}

#[test]
fn a_certificate_that_is_not_the_answers_ends_it() {
    let mut rig = Rig::new(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, 0.1);
    rig.server = Server::new(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm);
    rig.tick(0);
    let mut events = Vec::new();
    for _ in 0..10 {
        let sent = std::mem::take(&mut rig.out);
        let back = rig.server.handle(rig.now, &sent);
        events.extend(back.iter().map(|bytes| rig.give(bytes)).filter(|event| *event != Event::Nothing));
        if events.len() > 1 {
            break;
        }
    }
    assert_eq!(events[1], Event::Over("wrong certificate"));
}

#[test]
fn garbage_is_counted_and_survived() {
    let mut rig = Rig::gcm(1.0);
    let mut random = 1_u32;
    for n in 0..20_000_usize {
        let bytes: Vec<u8> = (0..n % 100)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                random.to_be_bytes()[0]
            })
            .collect();
        rig.give(&bytes);
    }
    assert_eq!(rig.tally.authenticated, 0);
    assert!(rig.viewer.streams.len() <= MAX_STREAMS);
}

//! A worker on virtual time: what its viewers are sent when, read from the sockets they listen on.

use std::net::UdpSocket;

use bicast_shared::feed::bus::{FeedBus, FeedPublisher};
use bicast_shared::feed::info::{FeedInfo, PublisherInfo};
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::{RenditionId, StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::ClockRate;
use rtc_shared::marshal::Unmarshal as _;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::seat::{Seats, Session};
use super::*;
use crate::config::Config;
use crate::core::answer::{Wishes, negotiate};
use crate::core::hello::tests::{datagram, hello};
use crate::core::history::tests::packet;
use crate::core::ice::Credentials;
use crate::core::sdp::Offer;
use crate::core::sdp::tests::VIEWER as CHROMIUM;
use crate::core::seal::tests::keys;
use crate::core::stun::tests::check;
use crate::port::{Owner, Port};
use crate::shared::Identity;
use bicast_shared::feed::settings::Playout;

const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));

pub(super) struct Rig {
    pub(super) worker: Worker,
    publisher: FeedPublisher,
    pub(super) seats: Seats,
    pub(super) now: Instant,
    screen: UdpSocket,
    pub(super) context: Context,
}

impl Rig {
    pub(super) fn new() -> Self {
        let bus = FeedBus::new(FeedSettings::default(), RingLimits::default());
        let fmtp = "packetization-mode=1;profile-level-id=42e01f".to_owned();
        let tracks = vec![TrackInfo::single(TrackId(0), Codec::H264, ClockRate::VIDEO, 0, fmtp)];
        let info = PublisherInfo { protocol: "test".into(), agent: None, address: None, since: clock::utc() };
        let publisher = bus.publish(&"demo".parse().unwrap(), tracks, info).unwrap();
        let socket = Socket::bind_group("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let shared = Arc::new(Shared {
            config: Config::default(),
            bus,
            port: Port::new(vec![socket.duplicate().unwrap()], Vec::new(), Vec::new(), Vec::new()),
            identity: Identity::generate().unwrap(),
            door: std::sync::OnceLock::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let worker = Worker::new(0, shared, vec![socket], Arc::default(), Arc::new(Notify::new()));
        let screen = UdpSocket::bind("127.0.0.1:0").unwrap();
        screen.set_nonblocking(true).unwrap();
        let profile = ProtectionProfile::AeadAes128Gcm;
        let keys = keys(profile);
        let crypto = rtc::crypto::default_provider().unwrap();
        let (key, salt) = (&keys.local_master_key, &keys.local_master_salt);
        let context = Context::new(key, salt, profile, None, None, crypto.crypto()).unwrap();
        Self { worker, publisher, seats: Seats::default(), now: clock::now(), screen, context }
    }

    fn parts(&self, id: &str) -> (Agreement, Registration, Seat) {
        let offer = Offer::parse(CHROMIUM).unwrap();
        let info = self.publisher.feed().info();
        let mut n = 0x1_0000;
        let random = || {
            n += 1;
            n
        };
        let agreement =
            negotiate(&offer, &info, Wishes { playout: Playout::LowestLatency, rendition: None }, random)
                .unwrap();
        let session = Session {
            feed: info.id.clone(),
            worker: 0,
            etag: String::new(),
            remote_ufrag: agreement.remote_ufrag.clone(),
            grant: None,
            label: None,
        };
        let limits = &self.worker.shared.config.limits;
        let (seat, _) = self.seats.take(self.now, limits, id.into(), session).unwrap();
        (agreement, self.worker.shared.port.register(id, Owner::Worker(0)), seat)
    }

    /// A viewer that is connected.
    pub(super) fn connect(&mut self) {
        let (agreement, registration, seat) = self.parts("viewer");
        let feed = self.publisher.feed().clone();
        let credentials = Credentials::new("viewer", "password", "browser");
        let remote = self.screen.local_addr().unwrap();
        let keys = keys(ProtectionProfile::AeadAes128Gcm);
        self.worker
            .insert_connected(
                self.now,
                &feed,
                "viewer".into(),
                agreement,
                registration,
                credentials,
                seat,
                keys,
                remote,
            )
            .unwrap();
    }

    /// Somebody else who keeps the stream's history on this worker but never connects.
    pub(super) fn keep_history(&mut self) {
        let (agreement, registration, seat) = self.parts("other");
        let feed = self.publisher.feed().clone();
        let joining = Joining {
            id: "other".into(),
            feed,
            agreement,
            ufrag: "other".into(),
            pwd: "p".repeat(32),
            registration,
            seat,
            label: None,
        };
        self.worker.join(self.now, joining);
    }

    /// Somebody else whose checks from the screen's address were authentic. Gives both addresses.
    fn check_in(&mut self) -> (SocketAddr, SocketAddr) {
        self.keep_history();
        let (local, remote) = (self.worker.sockets[0].local(), self.screen.local_addr().unwrap());
        let names = format!(
            "other:{}",
            Offer::parse(CHROMIUM).unwrap().sections[0].transport.ufrag.as_ref().unwrap()
        );
        self.worker.receive(self.now, local, remote, &check(&names, &"p".repeat(32), true, false));
        self.screen.recv(&mut [0; 2_000]).unwrap();
        (local, remote)
    }

    /// Packets `from` to `to` of the stream; frames of ten packets, `keyframes` says which begin a group.
    pub(super) fn forward(&mut self, from: i64, to: i64, keyframes: impl Fn(i64) -> bool, hole: bool) {
        let mut packets: Vec<MediaPacket> =
            (from..to).map(|n| packet(n, n / 10 * 3_000, n % 10 == 0 && keyframes(n))).collect();
        let feed = self.publisher.feed().id().clone();
        self.worker.take_and_forward(self.now, &feed, VIDEO, &mut packets, hole);
        // The timers' task has its turn next.
        self.worker.handle_timeout(self.now);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.worker.handle_timeout(self.now);
    }

    /// The feed's sequence numbers of the media packets that have arrived, as their payloads say; checks that the wire's
    /// numbers have no holes.
    fn shown(&mut self, last_wire: &mut Option<u16>) -> Vec<i64> {
        let mut buffer = [0; 2_000];
        let mut shown = Vec::new();
        while let Ok(size) = self.screen.recv(&mut buffer) {
            if buffer[0] >> 6 != 2 || (192..=223).contains(&buffer[1]) {
                continue;
            }
            let plain = self.context.decrypt_rtp(&buffer[..size]).unwrap();
            let packet = rtp::Packet::unmarshal(&mut &plain[..]).unwrap();
            let wire = packet.header.sequence_number;
            if let Some(last) = last_wire.replace(wire) {
                assert_eq!(wire, last.wrapping_add(1));
            }
            shown.push(i64::from_be_bytes(packet.payload[..8].try_into().unwrap()));
        }
        shown
    }

    fn change(&mut self, change: impl FnOnce(&mut FeedInfo)) -> bool {
        let mut info = FeedInfo::clone(&self.publisher.feed().info());
        change(&mut info);
        let feed = self.publisher.feed().clone();
        self.worker.feed_changed(self.now, &feed, &Arc::new(info))
    }
}

#[test]
fn a_stored_group_is_paced_and_joins_the_live_packets_without_a_seam() {
    let mut rig = Rig::new();
    rig.keep_history();
    rig.forward(0, 500, |n| n == 100, false);
    rig.connect();
    let mut wire = None;
    let mut shown = rig.shown(&mut wire);
    assert_eq!(shown, (100..132).collect::<Vec<i64>>(), "the first burst, from the keyframe on");
    let mut next = 500;
    for _ in 0..130 {
        rig.pass(Duration::from_millis(1));
        let burst = rig.shown(&mut wire);
        assert!(burst.len() <= 8, "{} packets in a millisecond", burst.len());
        shown.extend(burst);
        // Live packets come in meanwhile.
        if next < 560 {
            rig.forward(next, next + 1, |_| false, false);
            next += 1;
            shown.extend(rig.shown(&mut wire));
        }
    }
    assert!(!rig.worker.is_behind());
    rig.pass(Duration::from_millis(50));
    rig.forward(next, next + 30, |_| false, false);
    shown.extend(rig.shown(&mut wire));
    assert_eq!(shown, (100..590).collect::<Vec<i64>>(), "everything once, in order; live at the end");
}

#[test]
fn after_a_hole_nothing_comes_before_a_keyframe_and_numbers_go_on() {
    let mut rig = Rig::new();
    rig.connect();
    let mut wire = None;
    rig.forward(0, 20, |n| n == 0, false);
    assert_eq!(rig.shown(&mut wire).len(), 20);
    rig.forward(500, 520, |_| false, true);
    assert!(rig.shown(&mut wire).is_empty());
    rig.pass(Duration::from_millis(100));
    rig.forward(520, 540, |n| n == 530, false);
    assert_eq!(rig.shown(&mut wire), (530..540).collect::<Vec<i64>>());
}

#[test]
fn a_huge_live_frame_is_paced() {
    let mut rig = Rig::new();
    rig.connect();
    let mut wire = None;
    rig.forward(0, 10, |n| n == 0, false);
    rig.pass(Duration::from_millis(20));
    rig.shown(&mut wire);
    rig.forward(10, 310, |_| false, false);
    let first = rig.shown(&mut wire);
    assert!(first.len() <= 32, "{}", first.len());
    let mut count = first.len();
    for _ in 0..80 {
        rig.pass(Duration::from_millis(1));
        count += rig.shown(&mut wire).len();
    }
    assert_eq!(count, 300);
}

#[test]
fn pictures_with_b_frames_stop_and_come_back_with_a_keyframe() {
    let mut rig = Rig::new();
    rig.connect();
    let mut wire = None;
    rig.forward(0, 10, |n| n == 0, false);
    assert_eq!(rig.shown(&mut wire).len(), 10);
    assert!(rig.change(|info| info.b_frames = true));
    rig.forward(10, 30, |n| n == 20, false);
    assert!(rig.shown(&mut wire).is_empty());
    assert!(rig.change(|info| info.b_frames = false));
    rig.pass(Duration::from_millis(50));
    rig.forward(30, 50, |n| n == 40, false);
    assert_eq!(rig.shown(&mut wire), (40..50).collect::<Vec<i64>>());
}

#[test]
fn another_codec_or_the_end_of_the_feed_ends_the_session() {
    let mut rig = Rig::new();
    rig.connect();
    assert!(rig.change(|info| info.tracks[0].codec = Codec::Vp8));
    assert!(rig.seats.get("viewer").is_none());
    let mut rig = Rig::new();
    rig.connect();
    assert!(!rig.change(|info| info.state = bicast_shared::feed::info::FeedState::Ended));
    assert!(rig.seats.get("viewer").is_none());
    assert!(rig.worker.report.lock().feeds.is_empty());
}

#[test]
fn a_viewer_whose_tracks_went_or_came_joins_again_once_media_arrives() {
    use bicast_shared::feed::info::FeedState;
    let opus = || TrackInfo::single(TrackId(1), Codec::Opus, ClockRate::OPUS, 2, String::new());
    let mut rig = Rig::new();
    rig.connect();
    assert!(rig.change(|info| (info.state, info.tracks) = (FeedState::Starting, vec![opus()])));
    assert!(rig.seats.get("viewer").is_some(), "no media yet");
    assert!(rig.change(|info| (info.state, info.tracks) = (FeedState::Live, vec![opus()])));
    assert!(rig.seats.get("viewer").is_none(), "its video is gone");
    // Chromium's offer has audio, the feed has none.
    let mut rig = Rig::new();
    rig.connect();
    assert!(rig.change(|info| info.state = FeedState::Live));
    assert!(rig.seats.get("viewer").is_some(), "nothing has changed for it");
    assert!(rig.change(|info| {
        info.state = FeedState::Live;
        info.tracks.push(opus());
    }));
    assert!(rig.seats.get("viewer").is_none(), "there is sound now");
}

#[test]
fn a_viewer_has_a_keyframe_asked_for_once_a_second() {
    let mut rig = Rig::new();
    rig.connect();
    let start = rig.now;
    let viewer = rig.worker.viewers[0].as_mut().unwrap();
    let mut pli = vec![0x81, 206, 0, 2, 0, 0, 0, 1];
    pli.extend(viewer.tracks[0].agreed.spec.ssrc.to_be_bytes());
    let wanted = (0..300).filter(|n| {
        let now = start + Duration::from_millis(10 * n);
        viewer.handle_rtcp(now, &pli, 300, &mut Vec::new()).wants_keyframe == Some(VIDEO)
    });
    assert_eq!(wanted.collect::<Vec<_>>(), [0, 100, 200], "of a hundred a second");
}

#[test]
fn half_open_handshakes_and_silent_viewers_are_forgotten() {
    let mut rig = Rig::new();
    rig.keep_history();
    rig.connect();
    rig.pass(Duration::from_secs(14));
    assert!(rig.seats.get("other").is_some());
    rig.pass(Duration::from_secs(2));
    assert!(rig.seats.get("other").is_none(), "15 s for a handshake");
    rig.pass(Duration::from_secs(13));
    assert!(rig.seats.get("viewer").is_some());
    rig.pass(Duration::from_secs(2));
    assert!(rig.seats.get("viewer").is_none(), "30 s without a check");
    let worker = &rig.worker;
    assert!(worker.by_address.is_empty() && worker.by_ufrag.is_empty() && worker.by_session.is_empty());
    assert!(worker.timers.is_empty() && worker.behind.is_empty());
    let stranger = "127.0.0.1:9".parse().unwrap();
    let local = worker.sockets[0].local();
    rig.worker.receive(rig.now, local, stranger, &[22; 100]);
}

#[test]
fn a_refused_handshake_is_told_why() {
    let mut rig = Rig::new();
    let (local, remote) = rig.check_in();
    // A cipher suite that is not spoken here (TLS_RSA_WITH_NULL_MD5).
    let mut body = hello(&[7]);
    body[38..40].copy_from_slice(&[0, 1]);
    rig.worker.receive(rig.now, local, remote, &datagram(&body, 0, body.len()));
    let mut answer = [0; 2_000];
    let size = rig.screen.recv(&mut answer).unwrap();
    assert_eq!((answer[0], answer[size - 2]), (21, 2), "a fatal alert");
}

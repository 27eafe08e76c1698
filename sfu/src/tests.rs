//! Viewers against a running [`Sfu`]: real sockets, an independent WebRTC stack at the other end.

pub(crate) mod net;
pub(crate) mod peer;
mod tcp;
mod viewer;

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bicast_shared::clock;
use bicast_shared::feed::bus::{FeedBus, FeedPublisher, FeedSubscriber, StartAt};
use bicast_shared::feed::info::PublisherInfo;
use bicast_shared::feed::owner::RtpInput;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::{FeedSettings, Playout};
use bicast_shared::id::{FeedId, RenditionId, StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::ClockRate;
use serde_json::Value;
use tower::ServiceExt as _;

use self::net::Net;
use self::viewer::{Received, Viewer};
use crate::core::sdp::tests::VIEWER as CHROMIUM;
use crate::{Config, Limits, Sfu, TcpPort};

const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
const AUDIO: StreamKey = StreamKey::new(TrackId(1), RenditionId(0));
/// Packets of one video frame.
const SLICES: u16 = 3;

/// A running SFU and one feed on it.
struct Rig {
    sfu: Sfu,
    bus: FeedBus,
    router: Router,
}

/// The feed's publisher, and all that it put on the bus.
struct Source {
    publisher: FeedPublisher,
    readers: [FeedSubscriber; 2],
    stamped: Vec<MediaPacket>,
    frame: u32,
    /// Frames since the last keyframe.
    gop: u32,
}

struct Reply {
    status: StatusCode,
    headers: header::HeaderMap,
    text: String,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Rig {
    async fn new(ip: &str) -> Self {
        Self::with(ip, |_| {}).await
    }

    async fn with(ip: &str, change: impl FnOnce(&mut Config)) -> Self {
        let settings =
            FeedSettings { publisher_grace: Duration::from_millis(300), ..FeedSettings::default() };
        Self::on(FeedBus::new(settings, RingLimits::default()), ip, change).await
    }

    async fn on(bus: FeedBus, ip: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config =
            Config { udp_port: 0, bind: vec![ip.parse().unwrap()], workers: 2, ..Config::default() };
        change(&mut config);
        let sfu = Sfu::start(config, bus.clone()).await.unwrap();
        let router = sfu.router();
        Self { sfu, bus, router }
    }

    fn publish(&self) -> Source {
        let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned();
        let tracks = vec![
            TrackInfo::single(TrackId(0), Codec::H264, ClockRate::VIDEO, 0, h264),
            TrackInfo::single(TrackId(1), Codec::Opus, ClockRate::OPUS, 2, String::new()),
        ];
        let info = PublisherInfo { protocol: "test".into(), agent: None, address: None, since: clock::utc() };
        let publisher = self.bus.publish(&feed(), tracks, info).unwrap();
        let reader = |key| publisher.feed().subscribe(key, StartAt::Newest).unwrap();
        let readers = [reader(VIDEO), reader(AUDIO)];
        Source { publisher, readers, stamped: Vec::new(), frame: 0, gop: 60 }
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn post(&self, offer: &str) -> Reply {
        self.request("POST", "/whep/demo", &[("content-type", "application/sdp")], offer.to_owned()).await
    }

    async fn patch(&self, path: &str, if_match: Option<&str>, body: &str) -> Reply {
        let mut headers = vec![("content-type", "application/trickle-ice-sdpfrag")];
        headers.extend(if_match.map(|tag| ("if-match", tag)));
        self.request("PATCH", path, &headers, body.to_owned()).await
    }

    /// A connected viewer and its session's path. Every `lose`th RTP packet does not reach it; 0 for none.
    async fn watch(&self, rtx: bool, lose: usize) -> (Viewer, Reply) {
        let ip = self.sfu.udp_addrs()[0].ip();
        self.watch_over(Net::udp(ip).await, rtx, lose).await
    }

    /// The same over TCP.
    async fn watch_by_tcp(&self) -> (Viewer, Reply) {
        let ip = self.sfu.tcp_addrs()[0].ip();
        self.watch_over(Net::tcp(ip), true, 0).await
    }

    async fn watch_over(&self, net: Net, rtx: bool, lose: usize) -> (Viewer, Reply) {
        let (mut viewer, offer) = Viewer::new(net, rtx, lose);
        let reply = self.post(&offer).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        viewer.begin(&reply.text);
        viewer.until("connected", |seen| seen.connected).await;
        (viewer, reply)
    }

    async fn viewers(&self, count: u32) {
        let mut status = self.sfu.status();
        let reached = status.wait_for(|status| status.feeds.get(&feed()).is_some_and(|f| f.viewers == count));
        tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap().unwrap();
    }
}

impl Source {
    /// One frame of video and its share of audio, as one would arrive at 30 frames a second.
    fn push(&mut self) {
        let (now, n) = (clock::now(), self.frame);
        let video_time = (u32::MAX - 90_000).wrapping_add(n * 3_000);
        for slice in 0..SLICES {
            // An SPS in front shows the keyframe; the counter makes every payload one of its kind.
            let unit = if n % self.gop == 0 { if slice == 0 { 0x67 } else { 0x65 } } else { 0x61 };
            let mut payload = vec![unit];
            payload.extend((n * u32::from(SLICES) + u32::from(slice)).to_be_bytes());
            payload.resize(if slice + 1 == SLICES { 400 } else { 1_100 }, 0x55);
            let sequence = (n.wrapping_mul(SLICES.into()) as u16).wrapping_add(65_000).wrapping_add(slice);
            self.publisher.rtp(now, VIDEO, input(sequence, video_time, slice + 1 == SLICES, payload));
        }
        let audio = [&[0x78][..], &n.to_be_bytes()].concat();
        self.publisher.rtp(now, AUDIO, input(n as u16, n * 1_600, false, audio));
        self.frame += 1;
        for reader in &mut self.readers {
            reader.try_read(&mut self.stamped, 1_000);
        }
    }

    async fn run(&mut self, frames: u32) {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..frames {
            ticks.tick().await;
            self.push();
        }
    }

    /// What a viewer must have got: by payload, the timestamp and marker of every packet.
    fn expected(&self, key: StreamKey) -> HashMap<Vec<u8>, (u32, bool)> {
        let of_stream = self.stamped.iter().filter(|packet| packet.key == key);
        of_stream.map(|p| (p.payload.to_vec(), (p.stamp.media_time.rtp(), p.marker))).collect()
    }
}

fn input(sequence_number: u16, timestamp: u32, marker: bool, payload: Vec<u8>) -> RtpInput {
    let payload = payload.into();
    RtpInput { sequence_number, timestamp, marker, payload, orientation: None, composition_offset: None }
}

fn feed() -> FeedId {
    "demo".parse().unwrap()
}

/// Every packet from the first received one on is there once, in one unbroken row of sequence numbers, with exactly the
/// bus's timestamp.
fn check(received: &[Received], expected: &HashMap<Vec<u8>, (u32, bool)>, last: &[u8]) -> usize {
    let mut rows: Vec<&Received> = received.iter().collect();
    let first = rows.first().unwrap().sequence_number;
    rows.sort_by_key(|packet| packet.sequence_number.wrapping_sub(first));
    for pair in rows.windows(2) {
        assert_eq!(
            pair[1].sequence_number,
            pair[0].sequence_number.wrapping_add(1),
            "a hole or a repetition"
        );
    }
    for packet in &rows {
        let (timestamp, marker) = expected[&packet.payload];
        assert_eq!((packet.timestamp, packet.marker), (timestamp, marker));
    }
    assert_eq!(rows.last().unwrap().payload, last);
    rows.len()
}

async fn whole_path(ip: &str, tcp: bool) {
    let rig = Rig::new(ip).await;
    let mut source = rig.publish();
    // Joining in the middle of a group: the stored one comes first.
    source.run(20).await;
    let (viewer, _) = if tcp { rig.watch_by_tcp().await } else { rig.watch(true, 0).await };
    source.run(200).await;
    let last = |source: &Source, key| {
        source.stamped.iter().rfind(|packet| packet.key == key).unwrap().payload.to_vec()
    };
    let (video_end, audio_end) = (last(&source, VIDEO), last(&source, AUDIO));
    viewer
        .until("the last packets", |seen| {
            seen.video.iter().any(|p| p.payload == video_end)
                && seen.audio.iter().any(|p| p.payload == audio_end)
        })
        .await;
    let (video, audio) = viewer.take();
    let count = check(&video, &source.expected(VIDEO), &video_end);
    assert_eq!(count, 220 * usize::from(SLICES), "all, from the stored keyframe on");
    assert_eq!(video[0].payload[0], 0x67, "beginning with the keyframe's first packet");
    assert!(check(&audio, &source.expected(AUDIO), &audio_end) >= 195);
    rig.viewers(1).await;
    rig.sfu.shutdown().await;
    viewer.until("goodbye", |seen| seen.closed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_every_packet_with_its_media_time_over_ipv4() {
    whole_path("127.0.0.1", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_every_packet_with_its_media_time_over_ipv6() {
    whole_path("::1", false).await;
}

async fn lossy_path(rtx: bool) {
    let rig = Rig::new("127.0.0.1").await;
    let mut source = rig.publish();
    source.run(5).await;
    let (viewer, _) = rig.watch(rtx, 13).await;
    source.run(300).await;
    // Losses at the end show with what follows.
    let end = source.stamped.iter().rfind(|packet| packet.key == VIDEO).unwrap().payload.to_vec();
    for _ in 0..400 {
        source.run(1).await;
        let complete = {
            let expected = source.expected(VIDEO);
            let upto = viewer.videos();
            upto.iter().any(|p| p.payload == end)
                && (0..305 * u32::from(SLICES)).all(|n| {
                    upto.iter()
                        .any(|p| p.payload[1..5] == n.to_be_bytes() && expected.contains_key(&p.payload))
                })
        };
        if complete {
            assert!(viewer.lost() > 40, "{} were lost on purpose", viewer.lost());
            let repaired = rig.sfu.status().borrow().feeds[&feed()].retransmitted;
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            let later = rig.sfu.status().borrow().feeds[&feed()].retransmitted;
            assert!(later.max(repaired) >= 40, "{later} repaired");
            return rig.sfu.shutdown().await;
        }
    }
    panic!("not repaired: {} of {} packets", viewer.videos().len(), 305 * SLICES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_are_repaired_in_a_stream_of_their_own() {
    lossy_path(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_are_repaired_without_rtx() {
    lossy_path(false).await;
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let rig = Rig::new("127.0.0.1").await;
    assert_eq!(rig.post(CHROMIUM).await.problem()["feed"], "demo", "nobody publishes it yet");
    let _source = rig.publish();
    let sdp = ("content-type", "application/sdp");
    let status = async |path: &str, kind: (&str, &str), body: String| {
        let reply = rig.request("POST", path, &[kind], body).await;
        assert_eq!(reply.problem()["status"], reply.status.as_u16());
        reply.status.as_u16()
    };
    assert_eq!(status("/whep/nope", sdp, CHROMIUM.into()).await, 404);
    assert_eq!(status("/whep/.x", sdp, CHROMIUM.into()).await, 400);
    assert_eq!(status("/whep/demo", ("content-type", "text/plain"), CHROMIUM.into()).await, 415);
    assert_eq!(status("/whep/demo", sdp, "x".repeat(70_000)).await, 413);
    assert_eq!(status("/whep/demo", sdp, "v=0\r\nnonsense\r\n".into()).await, 400);
    let unusable = rig.post(&CHROMIUM.replace("H264", "H263").replace("opus", "speex")).await;
    assert_eq!(unusable.status, StatusCode::NOT_ACCEPTABLE);
    let problem = unusable.problem();
    assert!(problem["offered"].as_array().unwrap().contains(&"video: VP8".into()));
    assert!(problem["accepted"].as_array().unwrap().contains(&"audio: Opus".into()));
    let options = rig.request("OPTIONS", "/whep/demo", &[], "").await;
    assert_eq!((options.status.as_u16(), options.header("accept-post")), (204, "application/sdp"));
    assert!(!options.headers.contains_key("link"));
    rig.sfu.shutdown().await;
}

#[tokio::test]
async fn a_feed_has_its_own_playout_mode() {
    let settings = FeedSettings { playout: Playout::LipSync, ..FeedSettings::default() };
    let rig = Rig::on(FeedBus::new(settings, RingLimits::default()), "127.0.0.1", |_| {}).await;
    let _source = rig.publish();
    let join = async |query: &str| {
        let path = format!("/whep/demo{query}");
        rig.request("POST", &path, &[("content-type", "application/sdp")], CHROMIUM).await.text
    };
    assert!(!join("").await.contains("playout-delay"));
    assert!(join("?playout=lowest-latency").await.contains("playout-delay"), "the viewer's word goes first");
    rig.sfu.shutdown().await;
}

#[tokio::test]
async fn a_viewer_may_choose_its_playout_mode() {
    let rig = Rig::new("127.0.0.1").await;
    let _source = rig.publish();
    let join = async |query: &str| {
        let path = format!("/whep/demo{query}");
        rig.request("POST", &path, &[("content-type", "application/sdp")], CHROMIUM).await
    };
    let is_lowest_latency = |reply: &Reply| {
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        reply.text.contains("playout-delay")
    };
    assert!(is_lowest_latency(&join("").await), "as the settings say");
    assert!(is_lowest_latency(&join("?playout=lowest-latency").await));
    assert!(!is_lowest_latency(&join("?x=1&playout=lip-sync").await));
    let unknown = join("?playout=fast").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    let problem = unknown.problem();
    assert_eq!(problem["accepted"], serde_json::json!(["lowest-latency", "lip-sync"]));
    assert!(problem["detail"].as_str().unwrap().contains("\"fast\""));
    rig.sfu.shutdown().await;
}

#[tokio::test]
async fn stun_and_turn_servers_are_told_to_viewers_and_publishers() {
    let servers = serde_json::json!([
        "stun:stun.example.net",
        { "url": "turn:turn.example.net?transport=tcp", "username": "u", "credential": "c" }
    ]);
    let servers: Vec<crate::IceServer> = serde_json::from_value(servers).unwrap();
    let rig = Rig::with("127.0.0.1", |config| config.ice_servers = servers).await;
    let _source = rig.publish();
    let sdp = [("content-type", "application/sdp")];
    for reply in [
        rig.post(CHROMIUM).await,
        rig.request("POST", "/whip/other", &sdp, crate::core::sdp::tests::PUBLISHER).await,
        rig.request("OPTIONS", "/whep/demo", &[], "").await,
        rig.request("OPTIONS", "/whip/demo", &[], "").await,
    ] {
        assert!(reply.status.is_success(), "{}", reply.text);
        let links: Vec<&str> = reply.headers.get_all("link").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(
            links,
            [
                "<stun:stun.example.net>; rel=\"ice-server\"",
                "<turn:turn.example.net?transport=tcp>; rel=\"ice-server\"; username=\"u\"; \
                 credential=\"c\"; credential-type=\"password\"",
            ]
        );
    }
    rig.sfu.shutdown().await;
    let broken: Vec<crate::IceServer> = serde_json::from_str(r#"["http://x"]"#).unwrap();
    let config = Config { ice_servers: broken, ..Config::default() };
    let error = Sfu::start(config, rig.bus.clone()).await.err().unwrap().to_string();
    assert!(error.contains("sfu.ice_servers is http://x: write stun:HOST"), "{error}");
}

#[tokio::test]
async fn sessions_are_patched_and_deleted_by_the_rules() {
    let rig = Rig::new("127.0.0.1").await;
    let _source = rig.publish();
    let reply = rig.post(CHROMIUM).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let (path, tag) = (reply.header("location").to_owned(), reply.header("etag").to_owned());
    assert!(path.starts_with("/whep/demo/") && tag.len() > 4);
    assert_eq!(reply.header("accept-patch"), "application/trickle-ice-sdpfrag");
    let trickle = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";
    assert_eq!(rig.patch(&path, Some(&tag), trickle).await.status, StatusCode::NO_CONTENT);
    assert_eq!(rig.patch(&path, None, trickle).await.problem()["status"], 428);
    let mismatch = rig.patch(&path, Some("\"other\""), trickle).await;
    assert_eq!((mismatch.status.as_u16(), mismatch.header("etag")), (412, tag.as_str()));
    assert_eq!(rig.patch(&path, Some("*"), trickle).await.problem()["status"], 422);
    assert_eq!(rig.patch(&path, Some(&tag), "junk").await.problem()["status"], 400);
    let restart = rig.patch(&path, Some("*"), &trickle.replace("EsAw", "NewU")).await;
    assert_eq!(restart.status, StatusCode::OK);
    let new_tag = restart.header("etag");
    assert!(new_tag != tag && restart.text.contains(&format!("a=ice-ufrag:{}", new_tag.trim_matches('"'))));
    assert_eq!(rig.patch(&path, Some(&tag), trickle).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(rig.request("DELETE", &path, &[], "").await.status, StatusCode::OK);
    assert_eq!(rig.request("DELETE", &path, &[], "").await.problem()["status"], 404);
    assert_eq!(rig.patch(&path, Some(new_tag), trickle).await.problem()["status"], 404);
    rig.sfu.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_go_on_through_garbage_and_over_epochs_and_end_with_the_feed() {
    let rig = Rig::new("127.0.0.1").await;
    let mut source = rig.publish();
    source.run(10).await;
    let (viewer, reply) = rig.watch(true, 0).await;
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = rig.sfu.udp_addrs()[0];
    for n in 0..2_000_u32 {
        let mut bytes = vec![u8::try_from(n % 256).unwrap(); (n % 1_300) as usize + 1];
        if n % 3 == 0 {
            // A forged check for the viewer's own session.
            let ufrag = reply.header("etag").trim_matches('"').to_owned();
            bytes = crate::core::stun::tests::check(&format!("{ufrag}:x"), "guess", true, false);
        }
        let _ = noise.send_to(&bytes, target);
    }
    source.run(30).await;
    drop(source);
    // The next publisher within the grace period: the same connection, the same row of numbers.
    let mut source = rig.publish();
    source.frame = 6_000;
    source.run(40).await;
    let end = source.stamped.iter().rfind(|packet| packet.key == VIDEO).unwrap().clone();
    viewer.until("the second epoch", |seen| seen.video.iter().any(|p| p.payload == end.payload[..])).await;
    let (video, _) = viewer.take();
    let newest = video.iter().rfind(|p| p.payload == end.payload[..]).unwrap();
    assert_eq!(newest.timestamp, end.stamp.media_time.rtp());
    for pair in video.windows(2) {
        assert_eq!(pair[1].sequence_number, pair[0].sequence_number.wrapping_add(1), "over the epochs, too");
    }
    drop(source);
    viewer.until("goodbye after the grace period", |seen| seen.closed).await;
    rig.sfu.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_follow_the_feeds_map() {
    let rig = Rig::new("127.0.0.1").await;
    let mut source = rig.publish();
    source.run(5).await;
    let (viewer, _) = rig.watch(true, 0).await;
    // Both streams' reports of one clock, as a publisher sends them: they relate audio and video.
    for _ in 0..500 {
        source.run(1).await;
        let ntp = clock::utc().ntp();
        let n = source.frame;
        let (video, audio) = ((u32::MAX - 90_000).wrapping_add(n * 3_000), n * 1_600);
        source.publisher.sender_report(clock::now(), VIDEO, ntp, video);
        source.publisher.sender_report(clock::now(), AUDIO, ntp, audio);
        if viewer.reports().len() >= 2 {
            break;
        }
    }
    let reports = viewer.reports();
    assert!(reports.len() >= 2, "within 2.5 s: {reports:?}");
    let map = source.publisher.feed().info().map.clone().unwrap();
    let newest = source.stamped.iter().rfind(|packet| packet.key == VIDEO).unwrap();
    let newest_utc = map.program_time(TrackId(0), ClockRate::VIDEO, newest.stamp.media_time);
    let report = reports.iter().find(|report| report.is_video).unwrap();
    // The report's pair, moved to the newest packet, names the newest packet's time within the map's own movement.
    let ticks = i64::from(newest.stamp.media_time.rtp().wrapping_sub(report.rtp_timestamp).cast_signed());
    let at_report = bicast_shared::time::ProgramTime::from_ntp(report.ntp).unix_nanos();
    let error = at_report + ClockRate::VIDEO.nanos(ticks) - newest_utc.unix_nanos();
    assert!(error.abs() < 20_000_000, "{error} ns");
    rig.sfu.shutdown().await;
}

#[tokio::test]
async fn the_live_edge_is_told_while_nobody_watches() {
    let rig = Rig::new("127.0.0.1").await;
    let mut source = rig.publish();
    source.run(30).await;
    let newest = source.stamped.iter().rfind(|packet| packet.key == VIDEO).unwrap().stamp.media_time;
    let mut status = rig.sfu.status();
    let told = status.wait_for(|status| {
        let edge = status.feeds.get(&feed()).and_then(|feed| feed.live_edge);
        edge.is_some_and(|edge| edge.media_time == newest)
    });
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
    rig.sfu.shutdown().await;
}

#[tokio::test]
async fn a_port_in_use_names_the_setting() {
    let rig = Rig::new("127.0.0.1").await;
    let config = Config {
        udp_port: rig.sfu.udp_addrs()[0].port(),
        bind: vec!["127.0.0.1".parse().unwrap()],
        ..Config::default()
    };
    let bus: FeedBus = rig.bus.clone();
    let error = Sfu::start(config, bus).await.err().unwrap().to_string();
    assert!(error.contains("sfu.udp_port") && error.contains("127.0.0.1"), "{error}");
    let nothing = Config { bind: Vec::new(), ..Config::default() };
    assert!(Sfu::start(nothing, rig.bus.clone()).await.is_err());
    let arc: Arc<_> = rig.sfu.status().borrow().clone();
    assert!(arc.feeds.is_empty());
    rig.sfu.shutdown().await;
}

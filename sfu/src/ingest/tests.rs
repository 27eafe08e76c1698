//! A whole publisher against the routes and the port: packets, reports, requests, coming and going.

mod publisher;

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bicast_shared::clock;
use bicast_shared::feed::bus::{FeedBus, FeedSubscriber, StartAt};
use bicast_shared::feed::info::FeedState;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::{Epoch, FeedId, RenditionId, StreamKey, TrackId};
use bicast_shared::packet::MediaPacket;
use bytes::Bytes;
use quinn_udp::RecvMeta;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use self::publisher::Publisher;
use super::config::IngestConfig;
use super::whip;
use crate::config::Config;
use crate::core::sdp::tests::PUBLISHER as CHROMIUM;
use crate::core::stun::tests::check;
use crate::port::{Datagram, Port, Via};
use crate::shared::{Identity, Shared};
use crate::socket::Socket;
use crate::tcp::{self, Refused};

const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
const AUDIO: StreamKey = StreamKey::new(TrackId(1), RenditionId(0));

/// The WHIP side alone, on a port of its own.
struct Rig {
    shared: Arc<Shared>,
    router: Router,
}

impl Rig {
    fn new(bind: &str, settings: IngestConfig) -> Self {
        let address: SocketAddr = bind.parse().unwrap();
        let sockets = Socket::bind_group(address, 1).unwrap();
        let readers: Vec<Socket> = sockets.iter().map(|socket| socket.duplicate().unwrap()).collect();
        let listener = tcp::bind(address).unwrap();
        let port = Port::new(sockets, vec![listener.local_addr().unwrap()], Vec::new(), Vec::new());
        for reader in readers {
            tokio::spawn(pump(port.clone(), reader));
        }
        let settings_of_feeds =
            FeedSettings { publisher_grace: Duration::from_secs(2), ..FeedSettings::default() };
        let shared = Arc::new(Shared {
            config: Config { ingest: settings, ..Config::default() },
            bus: FeedBus::new(settings_of_feeds, RingLimits::default()),
            port,
            identity: Identity::generate().unwrap(),
            door: std::sync::OnceLock::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        tcp::listen(&shared, vec![listener]).unwrap();
        let router = whip::router(whip::Whip::new(shared.clone()));
        Self { shared, router }
    }

    fn on_loopback() -> Self {
        Self::new("127.0.0.1:0", IngestConfig::default())
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let header =
            |name| parts.headers.get(name).map(|v: &header::HeaderValue| v.to_str().unwrap().to_owned());
        Reply {
            status: parts.status,
            location: header(header::LOCATION),
            etag: header(header::ETAG),
            accept_post: header(header::HeaderName::from_static("accept-post")),
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn post(&self, feed: &str, offer: &str) -> Reply {
        let path = format!("/whip/{feed}");
        self.request("POST", &path, &[("content-type", "application/sdp")], offer.to_owned()).await
    }

    async fn patch(&self, path: &str, if_match: Option<&str>, body: &str) -> Reply {
        let mut headers = vec![("content-type", "application/trickle-ice-sdpfrag")];
        headers.extend(if_match.map(|tag| ("if-match", tag)));
        self.request("PATCH", path, &headers, body.to_owned()).await
    }

    /// A publisher that is connected to `feed`, and its session's path.
    async fn publish(&self, feed: &str) -> (Publisher, String) {
        let ip = self.shared.port.local_addrs()[0].ip();
        self.publish_by(Publisher::new(ip).await, feed).await
    }

    /// The same over TCP.
    async fn publish_by_tcp(&self, feed: &str) -> (Publisher, String) {
        let ip = self.shared.port.listening()[0].ip();
        self.publish_by(Publisher::over_tcp(ip), feed).await
    }

    async fn publish_by(
        &self,
        (mut publisher, offer): (Publisher, String),
        feed: &str,
    ) -> (Publisher, String) {
        let reply = self.post(feed, &offer).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        publisher.begin(&reply.text);
        publisher.connected().await;
        self.until(feed, |rig, feed| rig.shared.bus.feed(feed).is_some_and(|f| f.info().publisher.is_some()))
            .await;
        (publisher, reply.location.unwrap())
    }

    async fn until(&self, feed: &str, condition: impl Fn(&Self, &FeedId) -> bool) {
        let feed: FeedId = feed.parse().unwrap();
        for _ in 0..500 {
            if condition(self, &feed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not within 10 s");
    }

    fn state(&self, feed: &FeedId) -> Option<(FeedState, Epoch)> {
        self.shared.bus.feed(feed).map(|feed| (feed.info().state, feed.info().epoch))
    }

    fn subscribe(&self, feed: &str, key: StreamKey) -> FeedSubscriber {
        let feed = self.shared.bus.feed(&feed.parse().unwrap()).unwrap();
        feed.subscribe(key, StartAt::Newest).unwrap()
    }
}

struct Reply {
    status: StatusCode,
    location: Option<String>,
    etag: Option<String>,
    accept_post: Option<String>,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// What the room's workers do with the socket, for the routes alone.
async fn pump(port: Port, socket: Socket) {
    let readiness = socket.readiness().unwrap();
    let mut buffers = vec![vec![0_u8; 65_536]; 8];
    loop {
        readiness.readable().await.unwrap();
        let mut meta = vec![RecvMeta::default(); buffers.len()];
        let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let received =
            readiness.try_io(tokio::io::Interest::READABLE, || socket.receive(&mut slices, &mut meta));
        let Ok(received) = received else { continue };
        for (meta, buffer) in meta.iter().zip(&buffers).take(received) {
            for bytes in buffer[..meta.len].chunks(meta.stride.max(1)) {
                let datagram = Datagram {
                    via: Via::Udp,
                    local: socket.local_for(meta.dst_ip),
                    remote: meta.addr,
                    received: clock::now(),
                    bytes: Bytes::copy_from_slice(bytes),
                };
                match port.route(bytes, meta.addr) {
                    Ok(owner) => drop(port.deliver(&owner, datagram)),
                    Err(reason) => port.ignore(Via::Udp, reason),
                }
            }
        }
    }
}

async fn read(subscriber: &mut FeedSubscriber, count: usize) -> Vec<MediaPacket> {
    let mut packets = Vec::new();
    while packets.len() < count {
        let read = tokio::time::timeout(Duration::from_secs(10), subscriber.read(&mut packets, count));
        read.await.expect("packets within 10 s").expect("the feed is there");
    }
    packets
}

async fn media_arrives(bind: &str, tcp: bool) {
    let rig = Rig::new(bind, IngestConfig::default());
    let (publisher, _) = match tcp {
        true => rig.publish_by_tcp("demo").await,
        false => rig.publish("demo").await,
    };
    let info = rig.shared.bus.feed(&"demo".parse().unwrap()).unwrap().info();
    let who = info.publisher.clone().unwrap();
    assert_eq!(who.protocol, "whip");
    assert!(who.address.unwrap().contains(&rig.shared.port.local_addrs()[0].ip().to_string()));
    assert_eq!(info.tracks.len(), 2);
    let (mut video, mut audio) = (rig.subscribe("demo", VIDEO), rig.subscribe("demo", AUDIO));
    // Across the wrap of the sequence numbers.
    for n in 0..200_u16 {
        let payload = [&[if n == 0 { 0x65 } else { 0x61 }][..], &n.to_be_bytes()].concat();
        publisher.video(65_500_u16.wrapping_add(n), u32::from(n) * 3_000, payload);
        publisher.audio(n, u32::from(n) * 960, n.to_be_bytes().to_vec());
    }
    let packets = read(&mut video, 200).await;
    for (n, packet) in (0_u16..).zip(&packets) {
        assert_eq!(&packet.payload[1..], n.to_be_bytes());
        assert_eq!(packet.stamp.sequence, i64::from(n));
        assert_eq!(packet.stamp.media_time - packets[0].stamp.media_time, i64::from(n) * 3_000);
    }
    assert!(packets[0].stamp.keyframe && !packets[1].stamp.keyframe);
    let packets = read(&mut audio, 200).await;
    assert!((0_u16..).zip(&packets).all(|(n, packet)| packet.payload[..] == n.to_be_bytes()));
}

#[tokio::test]
async fn media_arrives_in_order_over_ipv4() {
    media_arrives("127.0.0.1:0", false).await;
}

#[tokio::test]
async fn media_arrives_in_order_over_ipv6() {
    media_arrives("[::1]:0", false).await;
}

#[tokio::test]
async fn media_arrives_in_order_over_tcp_and_ipv4() {
    media_arrives("127.0.0.1:0", true).await;
}

#[tokio::test]
async fn media_arrives_in_order_over_tcp_and_ipv6() {
    media_arrives("[::1]:0", true).await;
}

#[tokio::test]
async fn a_publisher_over_tcp_is_asked_told_and_sent_home_as_any_other() {
    let rig = Rig::on_loopback();
    let (publisher, path) = rig.publish_by_tcp("demo").await;
    let mut video = rig.subscribe("demo", VIDEO);
    publisher.video(0, 0, vec![0x65, 0]);
    publisher.video(2, 6_000, vec![0x61, 2]);
    assert_eq!(publisher.nacked().await, 1);
    read(&mut video, 2).await;
    rig.shared.bus.feed(&"demo".parse().unwrap()).unwrap().request_keyframe(TrackId(0));
    publisher.keyframe_requested().await;
    assert_eq!(rig.request("DELETE", &path, &[], "").await.status, StatusCode::OK);
    publisher.closed().await;
}

#[tokio::test]
async fn a_connection_that_only_names_a_publisher_is_not_its() {
    let rig = Rig::on_loopback();
    let (_publisher, path) = rig.publish("demo").await;
    let tag = rig.patch(&path, Some("\"?\""), "a=mid:0\r\n").await.etag.unwrap();
    let check = check(&format!("{}:x", tag.trim_matches('"')), "guess", true, false);
    let mut stream = tokio::net::TcpStream::connect(rig.shared.port.listening()[0]).await.unwrap();
    stream.write_all(&rtc_shared::tcp_framing::frame_packet(&check)).await.unwrap();
    assert_eq!(stream.read(&mut [0; 100]).await.unwrap_or(0), 0, "closed without an answer");
    rig.until("demo", |rig, _| rig.shared.port.refused(Refused::NotAuthentic) == 1).await;
}

#[tokio::test]
async fn sender_reports_relate_the_tracks() {
    let rig = Rig::on_loopback();
    let (publisher, _) = rig.publish("demo").await;
    let ntp = clock::utc().ntp();
    for n in 0..90_u16 {
        publisher.video(n, u32::from(n) * 3_000, vec![if n == 0 { 0x65 } else { 0x61 }, 0]);
        publisher.audio(n, u32::from(n) * 960, vec![0xf8]);
        if n == 45 {
            publisher.sender_report(true, ntp, 135_000);
            publisher.sender_report(false, ntp, 43_200);
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    rig.until("demo", |rig, feed| {
        let map = rig.shared.bus.feed(feed).and_then(|feed| feed.info().map.clone());
        map.is_some_and(|map| map.tracks.len() == 2 && map.tracks.iter().all(|track| track.related))
    })
    .await;
}

#[tokio::test]
async fn keyframe_requests_and_nacks_reach_the_publisher() {
    let rig = Rig::on_loopback();
    let (publisher, _) = rig.publish("demo").await;
    let mut video = rig.subscribe("demo", VIDEO);
    publisher.video(0, 0, vec![0x65, 0]);
    publisher.video(1, 3_000, vec![0x61, 1]);
    publisher.video(3, 9_000, vec![0x61, 3]);
    assert_eq!(publisher.nacked().await, 2);
    publisher.video(2, 6_000, vec![0x61, 2]);
    let sequence: Vec<i64> = read(&mut video, 4).await.iter().map(|packet| packet.stamp.sequence).collect();
    assert_eq!(sequence, [0, 1, 3, 2]);
    rig.shared.bus.feed(&"demo".parse().unwrap()).unwrap().request_keyframe(TrackId(0));
    publisher.keyframe_requested().await;
}

#[tokio::test]
async fn one_publisher_at_a_time_and_the_next_begins_an_epoch() {
    let rig = Rig::on_loopback();
    let (first, path) = rig.publish("demo").await;
    first.video(0, 0, vec![0x65, 0]);
    rig.until("demo", |rig, feed| rig.state(feed) == Some((FeedState::Live, Epoch(0)))).await;

    let second = rig.post("demo", CHROMIUM).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    let problem = second.json();
    assert_eq!(
        (problem["type"].as_str(), problem["feed"].as_str()),
        (Some("/problems/feed-taken"), Some("demo"))
    );
    let since = problem["since"].as_str().unwrap();
    assert!(problem["detail"].as_str().unwrap().contains(since) && since.ends_with('Z'));

    assert_eq!(rig.request("DELETE", &path, &[], "").await.status, StatusCode::OK);
    let feed: FeedId = "demo".parse().unwrap();
    assert_eq!(rig.state(&feed), Some((FeedState::Offline, Epoch(0))), "offline when DELETE returns");
    assert_eq!(rig.request("DELETE", &path, &[], "").await.status, StatusCode::NOT_FOUND);
    first.closed().await;

    let (second, _) = rig.publish("demo").await;
    second.video(500, 77_000, vec![0x65, 0]);
    rig.until("demo", |rig, feed| rig.state(feed) == Some((FeedState::Live, Epoch(1)))).await;
    // Goodbye by DTLS is as good as a DELETE.
    second.close();
    rig.until("demo", |rig, feed| rig.state(feed) == Some((FeedState::Offline, Epoch(1)))).await;
}

#[tokio::test]
async fn a_post_holds_the_name_and_a_publisher_that_does_not_come_frees_it() {
    let rig = Rig::new("127.0.0.1:0", IngestConfig { connect_seconds: 1, ..IngestConfig::default() });
    assert_eq!(rig.post("demo", CHROMIUM).await.status, StatusCode::CREATED);
    assert_eq!(rig.post("demo", CHROMIUM).await.status, StatusCode::CONFLICT);
    assert!(rig.shared.bus.feed(&"demo".parse().unwrap()).is_none(), "no feed before media can come");
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(rig.post("demo", CHROMIUM).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_publisher_with_another_certificate_than_its_offer_named_is_sent_away_at_once() {
    let rig = Rig::on_loopback();
    let (mut publisher, offer) = Publisher::new("127.0.0.1".parse().unwrap()).await;
    let forged = offer.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:");
    let forged: String = forged
        .split_inclusive("\r\n")
        .map(|line| match line.strip_prefix("a=fingerprint:") {
            Some(rest) => format!("a=fingerprint:{}\r\n", &rest[..rest.trim_end().len() - 3]),
            None => line.to_owned(),
        })
        .collect();
    let reply = rig.post("demo", &forged).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    publisher.begin(&reply.text);
    publisher.closed().await;
    // The name is free before the time to connect is over.
    for _ in 0..100 {
        if rig.post("demo", CHROMIUM).await.status == StatusCode::CREATED {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the session still holds the name");
}

#[tokio::test]
async fn a_publisher_that_vanishes_leaves_its_feed_to_the_next() {
    let rig = Rig::new("127.0.0.1:0", IngestConfig { silence_seconds: 1, ..IngestConfig::default() });
    let (publisher, _) = rig.publish("demo").await;
    publisher.video(0, 0, vec![0x65, 0]);
    rig.until("demo", |rig, feed| rig.state(feed).is_some_and(|(state, _)| state == FeedState::Live)).await;
    publisher.vanish();
    rig.until("demo", |rig, feed| rig.state(feed).is_some_and(|(state, _)| state == FeedState::Offline))
        .await;
    rig.publish("demo").await;
}

#[tokio::test]
async fn an_ended_feed_sends_its_publisher_home_and_so_does_closing() {
    let rig = Rig::on_loopback();
    let (publisher, _) = rig.publish("a").await;
    assert!(rig.shared.bus.end(&"a".parse().unwrap()));
    publisher.closed().await;
    let (publisher, _) = rig.publish("b").await;
    rig.shared.closing.cancel();
    rig.shared.tasks.close();
    rig.shared.tasks.wait().await;
    publisher.closed().await;
    assert_eq!(rig.post("c", CHROMIUM).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn candidates_trickle_and_ice_restarts_under_the_rules_of_the_rfc() {
    const CANDIDATE: &str = "a=mid:0\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";
    const RESTART: &str = "a=ice-ufrag:newone\r\na=ice-pwd:0123456789abcdefghijklmn\r\n";
    let rig = Rig::on_loopback();
    let (port, (_publisher, offer)) =
        (rig.shared.port.local_addrs()[0], Publisher::new("127.0.0.1".parse().unwrap()).await);
    let reply = rig.post("demo", &offer).await;
    let (path, tag) = (reply.location.unwrap(), reply.etag.unwrap());
    assert!(reply.text.contains(&format!("{} typ host", port.port())));
    assert_eq!(rig.patch(&path, Some(&tag), CANDIDATE).await.status, StatusCode::NO_CONTENT);
    assert_eq!(rig.patch(&path, None, CANDIDATE).await.status, StatusCode::PRECONDITION_REQUIRED);
    let stale = rig.patch(&path, Some("\"other\""), CANDIDATE).await;
    assert_eq!((stale.status, stale.etag.as_deref()), (StatusCode::PRECONDITION_FAILED, Some(&*tag)));
    assert_eq!(rig.patch(&path, Some(&tag), "nonsense").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(rig.patch(&path, Some("*"), "a=mid:0\r\n").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let restarted = rig.patch(&path, Some("*"), RESTART).await;
    assert_eq!(restarted.status, StatusCode::OK);
    assert!(restarted.text.contains("a=ice-lite\r\n") && restarted.text.contains("a=ice-pwd:"));
    let new_tag = restarted.etag.unwrap();
    assert_ne!(new_tag, tag);
    assert_eq!(rig.patch(&path, Some(&tag), CANDIDATE).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(rig.patch(&path, Some(&new_tag), CANDIDATE).await.status, StatusCode::NO_CONTENT);
    let wrong = rig.request("PATCH", &path, &[("content-type", "application/sdp")], CANDIDATE).await;
    assert_eq!(wrong.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(rig.patch("/whip/demo/nobody", Some(&tag), CANDIDATE).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bad_requests_are_refused_precisely() {
    let rig = Rig::new("127.0.0.1:0", IngestConfig { publishers: 1, ..IngestConfig::default() });
    let options = rig.request("OPTIONS", "/whip/demo", &[], "").await;
    assert_eq!(options.accept_post.as_deref(), Some("application/sdp"));
    assert_eq!(rig.post(".hidden", CHROMIUM).await.status, StatusCode::BAD_REQUEST);
    let wrong = rig.request("POST", "/whip/demo", &[("content-type", "text/plain")], CHROMIUM).await;
    assert_eq!(wrong.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let large = rig.post("demo", &"a".repeat(65 << 10)).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    let broken = rig.post("demo", "v=0\r\nm=video\r\n").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert_eq!(broken.json()["detail"], "The offer cannot be used: line 2: a broken m= line: \"m=video\".");
    let none = CHROMIUM.replace("H264/", "H266/").replace("VP8/", "VC1/").replace("AV1/", "X/");
    let refused = rig.post("demo", &none).await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    let problem = refused.json();
    assert!(problem["offered"].as_array().unwrap().contains(&"H266".into()), "{problem}");
    assert!(problem["accepted"].as_array().unwrap().contains(&"H264".into()));
    assert_eq!(rig.post("demo", CHROMIUM).await.status, StatusCode::CREATED);
    let full = rig.post("other", CHROMIUM).await;
    assert_eq!(
        (full.status, full.json()["type"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("/problems/too-many-publishers"))
    );
}

#[tokio::test]
async fn garbage_after_the_handshake_changes_nothing() {
    let rig = Rig::on_loopback();
    let (publisher, _) = rig.publish("demo").await;
    let mut video = rig.subscribe("demo", VIDEO);
    publisher.video(0, 0, vec![0x65, 0]);
    // From the publisher's own address: random bytes in the shape of every protocol.
    for n in 0..2_000_u32 {
        let mut bytes =
            vec![[0_u8, 20, 22, 21, 128, 144, 200][n as usize % 7], [107, 200, 72, 254][n as usize % 4]];
        bytes.extend((0..n % 120).map(|i| (i.wrapping_mul(n) >> 3).to_be_bytes()[3]));
        publisher.raw(bytes);
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    publisher.unknown_streams();
    publisher.video(1, 3_000, vec![0x61, 1]);
    let packets = read(&mut video, 2).await;
    assert_eq!(&packets[1].payload[..], [0x61, 1]);
    assert_eq!(rig.state(&"demo".parse().unwrap()), Some((FeedState::Live, Epoch(0))));
}

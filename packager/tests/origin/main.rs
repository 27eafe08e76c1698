//! The origin over HTTP, fed through the real bus in real time.

#![expect(clippy::unwrap_used, reason = "a test's helper fails the test by panicking")]

mod dvr;
mod publisher;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use bicast_packager::core::cmaf::probe;
use bicast_packager::{Config, Packager};
use bicast_shared::auth::DelayClasses;
use bicast_shared::clock;
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::FeedSettings;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::publisher::Publisher;

struct Origin {
    bus: FeedBus,
    packager: Packager,
}

impl Origin {
    async fn start(config: Config) -> Self {
        Self::start_with(config, FeedSettings::default()).await
    }

    async fn start_with(config: Config, settings: FeedSettings) -> Self {
        let bus = FeedBus::new(settings, RingLimits::default());
        let packager = Packager::start(config, DelayClasses::default(), bus.clone()).await.unwrap();
        Self { bus, packager }
    }

    fn router(&self) -> Router {
        self.packager.router()
    }
}

async fn get_with(router: Router, path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn get(router: Router, path: &str) -> Response {
    get_with(router, path, &[]).await
}

/// The folder of a rendition of the feed as it is now: what the URL without an instance leads to.
async fn folder(origin: &Origin, rendition: &str) -> String {
    let moved = get(origin.router(), &format!("/hls/demo/{rendition}/media.m3u8?token=1")).await;
    assert_eq!(moved.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(cache(&moved), "no-store");
    let location = moved.headers()[header::LOCATION].to_str().unwrap();
    let instance = location.strip_suffix("/media.m3u8?token=1").unwrap();
    assert!(!instance.is_empty() && !instance.contains('/'));
    format!("/hls/demo/{rendition}/{instance}")
}

async fn bytes(response: Response) -> bytes::Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn text(response: Response) -> String {
    String::from_utf8(bytes(response).await.to_vec()).unwrap()
}

fn cache(response: &Response) -> &str {
    response.headers()[header::CACHE_CONTROL].to_str().unwrap()
}

fn uris(playlist: &str) -> Vec<&str> {
    playlist.lines().filter(|line| !line.starts_with('#')).collect()
}

fn part_uris(playlist: &str) -> Vec<&str> {
    let parts = playlist.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
    parts.map(|line| line.split_once("URI=\"").unwrap().1.split_once('"').unwrap().0).collect()
}

fn hint(playlist: &str) -> &str {
    let line = playlist.lines().find(|line| line.starts_with("#EXT-X-PRELOAD-HINT")).unwrap();
    line.split_once("URI=\"").unwrap().1.split_once('"').unwrap().0
}

fn newest(playlist: &str) -> (u64, u64) {
    let name = part_uris(playlist).pop().unwrap().rsplit('/').next().unwrap();
    let (segment, part) = name.trim_end_matches(".m4s").split_once('.').unwrap();
    (segment.parse().unwrap(), part.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_from_its_first_frame_to_its_end() {
    let origin = Origin::start(Config::default()).await;
    let unknown = get(origin.router(), "/hls/demo/multivariant.m3u8").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(unknown.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(text(unknown).await.contains("\"feed\":\"demo\""));

    let publishing = Publisher::start(&origin.bus, "demo");
    // The request waits until the feed can be played.
    let begun = clock::now();
    let multivariant = get(origin.router(), "/hls/demo/multivariant.m3u8").await;
    assert_eq!(multivariant.status(), StatusCode::OK);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let multivariant = text(multivariant).await;
    assert!(
        multivariant.contains("CODECS=\"avc1.42c00b,opus\",RESOLUTION=160x90,FRAME-RATE=30.000"),
        "{multivariant}"
    );

    for rendition in ["video0", "audio0"] {
        let folder = folder(&origin, rendition).await;
        let name = folder.strip_prefix("/hls/demo/").unwrap();
        assert!(multivariant.contains(&format!("{name}/media.m3u8")), "{multivariant}");
    }
    blocking_reload(&origin).await;
    hinted_part(&origin).await;
    media(&origin, &publishing).await;
    compression_and_validators(&origin).await;
    mistakes(&origin).await;

    let status = origin.packager.status().borrow().clone();
    let feed = &status.feeds[&"demo".parse().unwrap()];
    assert!(feed.playable && feed.newest.is_some() && feed.live_edge.is_some());
    assert_eq!(feed.renditions[0].resolution, Some((160, 90)));
    assert_eq!(feed.lost_access_units, 0);
    assert!(feed.viewers >= 1);

    // A waiting request is released when the feed ends.
    let video = folder(&origin, "video0").await;
    let playlist = text(get(origin.router(), &format!("{video}/media.m3u8")).await).await;
    let (msn, _) = newest(&playlist);
    let path = format!("{video}/media.m3u8?_HLS_msn={}&_HLS_part=9", msn + 1);
    let router = origin.router();
    let waiting = tokio::spawn(async move { get(router, &path).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    origin.bus.end(&"demo".parse().unwrap());
    let last = tokio::time::timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap();
    assert!(text(last).await.ends_with("#EXT-X-ENDLIST\n"));
    drop(publishing);
    origin.packager.shutdown().await;
    assert_eq!(
        get(origin.router(), "/hls/demo/multivariant.m3u8").await.status(),
        StatusCode::OK,
        "still served"
    );
}

async fn blocking_reload(origin: &Origin) {
    let video = folder(origin, "video0").await;
    let first = get(origin.router(), &format!("{video}/media.m3u8")).await;
    assert_eq!(cache(&first), "max-age=2", "half a target duration");
    assert_eq!(first.headers()[header::CONTENT_TYPE], "application/vnd.apple.mpegurl");
    let mut playlist = text(first).await;
    for _ in 0..12 {
        let (msn, part) = newest(&playlist);
        let path = format!("{video}/media.m3u8?_HLS_msn={msn}&_HLS_part={}", part + 1);
        let begun = clock::now();
        let (a, b) = tokio::join!(get(origin.router(), &path), get(origin.router(), &path));
        let waited = begun.elapsed();
        assert!(waited < Duration::from_millis(400), "{waited:?}");
        assert_eq!(cache(&a), "max-age=18", "six target durations");
        let (a, b) = (text(a).await, text(b).await);
        assert_eq!(a, b, "all waiters get the same");
        assert!(newest(&a) > (msn, part));
        let instance = video.rsplit('/').next().unwrap();
        assert!(a.contains(&format!("#EXT-X-RENDITION-REPORT:URI=\"../../audio0/{instance}/media.m3u8\"")));
        playlist = a;
    }
}

async fn hinted_part(origin: &Origin) {
    let video = folder(origin, "video0").await;
    for _ in 0..6 {
        let playlist = text(get(origin.router(), &format!("{video}/media.m3u8")).await).await;
        let path = format!("{video}/{}", hint(&playlist));
        let part = tokio::time::timeout(Duration::from_secs(1), get(origin.router(), &path)).await.unwrap();
        assert_eq!(part.status(), StatusCode::OK, "{path}");
        let data = bytes(part).await;
        assert!(probe::samples(&data).unwrap().len() <= 7);
    }
}

async fn media(origin: &Origin, publishing: &Publisher) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let video = folder(origin, "video0").await;
    let playlist = text(get(origin.router(), &format!("{video}/media.m3u8")).await).await;
    let segment = uris(&playlist)[0];
    let path = format!("{video}/{segment}");
    let response = get(origin.router(), &path).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "video/mp4");
    let whole = bytes(response).await;
    let mut parts = Vec::new();
    for uri in part_uris(&playlist).iter().filter(|uri| uri.starts_with(segment.trim_end_matches("m4s"))) {
        parts.extend_from_slice(&bytes(get(origin.router(), &format!("{video}/{uri}")).await).await);
    }
    assert!(whole == parts, "a segment is its parts");
    // The identity: RTP's timestamp, continued by the feed, is the presentation time.
    let sent = publishing.sent();
    let samples = probe::samples(&whole).unwrap();
    assert!(samples.len() > 15);
    let offset = samples[0].presentation - i64::from(sent[0]);
    assert!(samples.iter().zip(&sent).all(|(sample, rtp)| sample.presentation - i64::from(*rtp) == offset));
    let ranged = get_with(origin.router(), &path, &[(header::RANGE, "bytes=4-7")]).await;
    assert_eq!(ranged.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(&bytes(ranged).await[..], b"styp");
    let init = bytes(get(origin.router(), &init_uri(origin, "audio0").await).await).await;
    assert_eq!(&init[4..8], b"ftyp");
}

async fn init_uri(origin: &Origin, rendition: &str) -> String {
    let folder = folder(origin, rendition).await;
    let playlist = text(get(origin.router(), &format!("{folder}/media.m3u8")).await).await;
    let line = playlist.lines().find(|line| line.starts_with("#EXT-X-MAP")).unwrap();
    format!("{folder}/{}", line.split('"').nth(1).unwrap())
}

async fn compression_and_validators(origin: &Origin) {
    let path = "/hls/demo/multivariant.m3u8";
    let plain = get(origin.router(), path).await;
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    let zipped = get_with(origin.router(), path, &[(header::ACCEPT_ENCODING, "gzip, br")]).await;
    assert_eq!(zipped.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(zipped.headers()[header::VARY], "accept-encoding");
    let path = init_uri(origin, "video0").await;
    let etag = get(origin.router(), &path).await.headers()[header::ETAG].to_str().unwrap().to_owned();
    let again = get_with(origin.router(), &path, &[(header::IF_NONE_MATCH, &etag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(bytes(again).await.is_empty());
}

async fn mistakes(origin: &Origin) {
    let video = folder(origin, "video0").await;
    let media = format!("{video}/media.m3u8");
    let playlist = text(get(origin.router(), &media).await).await;
    let (msn, _) = newest(&playlist);
    let instance = video.rsplit('/').next().unwrap();
    for (path, status) in [
        (format!("{media}?_HLS_part=1"), 400),
        (format!("{media}?_HLS_msn=-1"), 400),
        (format!("{media}?_HLS_msn={}", msn + 9), 400),
        (format!("{media}?_HLS_msn={}&_HLS_part=99", msn + 1), 400),
        (format!("{media}?_HLS_msn=0"), 200),
        (format!("{media}?_HLS_unknown=x&token=1"), 200),
        ("/hls/demo/video9/media.m3u8".to_owned(), 404),
        (format!("/hls/demo/video9/{instance}/media.m3u8"), 404),
        (format!("/hls/demo/video0/media.m3u8?_HLS_msn={}", msn + 9), 400),
        ("/hls/demo/video0/media.m3u8?_HLS_msn=x".to_owned(), 400),
        ("/hls/demo/video0/0123abc/media.m3u8".to_owned(), 404),
        ("/hls/demo/video0/0123abc/media.m3u8?_HLS_msn=1&_HLS_part=2".to_owned(), 404),
        ("/hls/.hidden/multivariant.m3u8".to_owned(), 400),
        (format!("/hls/demo/video0/{instance}/{}.0.m4s", msn + 7), 404),
        (format!("/hls/demo/video0/{instance}/{}.m4s", msn + 1), 404),
        (format!("/hls/demo/video0/{instance}/00.m4s"), 404),
        (format!("/hls/demo/video0/{instance}/init7.mp4"), 404),
        ("/hls/demo/video0/other/0.m4s".to_owned(), 404),
        (format!("/hls/demo/video0/{instance}/x"), 404),
    ] {
        let begun = clock::now();
        let response = get(origin.router(), &path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(begun.elapsed() < Duration::from_millis(100), "{path} at once");
        assert!(response.headers().contains_key(header::CACHE_CONTROL), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_returns_with_other_tracks_is_found_under_another_instance() {
    let origin = Origin::start(Config::default()).await;
    let first = Publisher::start(&origin.bus, "demo");
    let both = text(get(origin.router(), "/hls/demo/multivariant.m3u8").await).await;
    assert!(both.contains("video0/") && both.contains("audio0/"), "{both}");
    let (old_video, old_audio) = (folder(&origin, "video0").await, folder(&origin, "audio0").await);
    first.leave().await;
    // Until the packager knows it, too, and has written what it had.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let playlist = text(get(origin.router(), &format!("{old_audio}/media.m3u8")).await).await;
    let (msn, _) = newest(&playlist);
    let waits = |path: String| {
        let router = origin.router();
        tokio::spawn(async move { get(router, &path).await })
    };
    let hinted = waits(format!("{old_audio}/{}", hint(&playlist)));
    let reload = waits(format!("{old_audio}/media.m3u8?_HLS_msn={}&_HLS_part=3", msn + 1));
    let sound = publisher::tracks().split_off(1);
    let _second = Publisher::start_with(&origin.bus, "demo", sound);

    // Who waited for the old instance is told that it is over, and that it is not, who asks for the feed.
    let last = reload.await.unwrap();
    assert_eq!(last.status(), StatusCode::OK);
    let last = text(last).await;
    assert!(last.ends_with("#EXT-X-ENDLIST\n"), "{last}");
    assert_eq!(hinted.await.unwrap().status(), StatusCode::NOT_FOUND);
    let sound = text(get(origin.router(), "/hls/demo/multivariant.m3u8").await).await;
    assert!(!sound.contains("video0") && sound.contains("CODECS=\"opus\""), "{sound}");
    let new_audio = folder(&origin, "audio0").await;
    assert_ne!(new_audio, old_audio);
    let playlist = text(get(origin.router(), &format!("{new_audio}/media.m3u8")).await).await;
    assert!(!playlist.contains("ENDLIST") && !playlist.contains("RENDITION-REPORT"), "{playlist}");
    let first = uris(&playlist)[0];
    assert!(first.trim_end_matches(".m4s").parse::<u64>().unwrap() > msn, "numbers run on");

    // What the old one lists can still be fetched, by its own name only.
    for (folder, rendition) in [(&old_video, "video0"), (&old_audio, "audio0")] {
        let playlist = text(get(origin.router(), &format!("{folder}/media.m3u8")).await).await;
        assert!(playlist.ends_with("#EXT-X-ENDLIST\n"));
        for file in uris(&playlist).iter().chain(&part_uris(&playlist)).chain(&["init0.mp4"]) {
            let found = get(origin.router(), &format!("{folder}/{file}")).await;
            assert_eq!(found.status(), StatusCode::OK, "{rendition} {file}");
        }
    }
    let mixed = format!("{new_audio}/{}", uris(&last)[0]);
    assert_eq!(get(origin.router(), &mixed).await.status(), StatusCode::NOT_FOUND);
    let current = get(origin.router(), "/hls/demo/video0/media.m3u8").await;
    assert_eq!(current.status(), StatusCode::NOT_FOUND);
    let status = origin.packager.status().borrow().clone();
    let feed = &status.feeds[&"demo".parse().unwrap()];
    assert_eq!(feed.renditions.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["audio0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_places_are_limited_and_given_back() {
    let origin =
        Origin::start(Config { max_waiting_requests: 1, start_wait_seconds: 1, ..Config::default() }).await;
    let id = "empty".parse().unwrap();
    let _publisher = origin.bus.publish(&id, publisher::tracks(), publisher::info()).unwrap();
    let path = "/hls/empty/multivariant.m3u8";
    let first = tokio::spawn(get(origin.router(), path));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = get(origin.router(), path).await;
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(second).await.contains("too-many-waiting"));
    let first = first.await.unwrap();
    assert_eq!(first.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(first.headers()[header::RETRY_AFTER], "1");
    assert!(text(first).await.contains("feed-starting"));
    let again = tokio::spawn(get(origin.router(), path));
    tokio::time::sleep(Duration::from_millis(100)).await;
    again.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let third = get(origin.router(), path).await;
    assert!(text(third).await.contains("feed-starting"), "the place of who hung up is free");
}

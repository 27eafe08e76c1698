//! The routes, asked without a server.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use bicast_shared::clock;
use bicast_shared::feed::bus::{FeedBus, FeedPublisher};
use bicast_shared::feed::info::PublisherInfo;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::{FeedId, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::status::timeline::{Answer, Asked, Outline, OutsideWindow, TimelineSource};
use bicast_shared::status::{
    PackagerFeedStatus, PackagerStatus, SfuFeedStatus, SfuStatus, ViewerSource, ViewerStatus,
};
use bicast_shared::time::ClockRate;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::{Config, Signaling};

struct Bench {
    bus: FeedBus,
    router: Router,
    sfu: watch::Sender<Arc<SfuStatus>>,
    packager: watch::Sender<Arc<PackagerStatus>>,
}

impl Bench {
    fn new(config: &Config) -> Self {
        let bus = FeedBus::new(FeedSettings::default(), RingLimits::default());
        let (sfu, packager) = (watch::Sender::default(), watch::Sender::default());
        let signaling =
            Signaling::new(config, bus.clone(), sfu.subscribe(), packager.subscribe(), Some(Arc::new(Two)))
                .ask_about_times(Arc::new(Clockwork));
        Self { bus, router: signaling.router(), sfu, packager }
    }

    fn publish(&self, id: &str) -> FeedPublisher {
        let track = TrackInfo::single(TrackId(0), Codec::H264, ClockRate::VIDEO, 0, String::new());
        let publisher = PublisherInfo {
            protocol: "whip".into(),
            agent: Some("test".into()),
            address: None,
            since: clock::utc(),
        };
        self.bus.publish(&id.parse().unwrap(), vec![track], publisher).unwrap()
    }

    async fn ask(&self, method: &str, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn json(&self, method: &str, path: &str) -> (StatusCode, Value) {
        let response = self.ask(method, path).await;
        let status = response.status();
        (status, serde_json::from_slice(&body(response).await).unwrap())
    }

    /// The same with a body that says that it is JSON.
    async fn send(&self, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (status, serde_json::from_slice(&self::body(response).await).unwrap())
    }

    /// The state that the API gives, once it is `want`.
    async fn until_state(&self, id: &str, want: &str) {
        let looked = tokio::time::timeout(Duration::from_secs(5), async {
            while self.json("GET", &format!("/v1/feeds/{id}")).await.1["state"] != want {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        looked.await.unwrap_or_else(|_| panic!("{id} does not become {want}"));
    }
}

async fn body(response: Response) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn feeds_come_and_go() {
    let bench = Bench::new(&Config::default());
    assert_eq!(bench.json("GET", "/v1/feeds").await.1, serde_json::json!({"feeds": []}));
    let publisher = bench.publish("b");
    let _other = bench.publish("a");
    let (status, feeds) = bench.json("GET", "/v1/feeds").await;
    assert_eq!(status, 200);
    let ids: Vec<_> = feeds["feeds"].as_array().unwrap().iter().map(|f| f["id"].clone()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(bench.json("GET", "/v1/feeds/b").await.1["publisher"]["agent"], "test");

    assert_eq!(bench.ask("DELETE", "/v1/feeds/b").await.status(), 204);
    bench.until_state("b", "ended").await;
    assert_eq!(bench.json("GET", "/v1/feeds/b").await.1["publisher"], Value::Null);
    assert_eq!(bench.ask("DELETE", "/v1/feeds/b").await.status(), 204, "can be repeated");
    drop(publisher);

    let _again = bench.publish("b");
    assert_ne!(bench.json("GET", "/v1/feeds/b").await.1["state"], "ended");
    assert_eq!(bench.json("GET", "/v1/feeds").await.1["feeds"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_feed_is_made_changed_and_ended_by_request() {
    let bench = Bench::new(&Config { max_created_feeds: 2, ..Config::default() });
    let request = Request::post("/v1/feeds").header("content-type", "application/json; charset=utf-8");
    let request = request.body(Body::from(r#"{"id": "x", "settings": {"window": 600}}"#)).unwrap();
    let made = bench.router.clone().oneshot(request).await.unwrap();
    assert_eq!(
        (made.status().as_u16(), &made.headers()[header::LOCATION]),
        (201, &"/v1/feeds/x".parse().unwrap())
    );
    let made: Value = serde_json::from_slice(&body(made).await).unwrap();
    assert_eq!(bench.json("GET", "/v1/feeds/x").await.1, made);
    assert_eq!((&made["state"], &made["kept"]), (&"offline".into(), &true.into()));
    assert_eq!(
        (&made["settings"]["window"], &made["settings"]["segmentTarget"]),
        (&600.0.into(), &2.0.into())
    );
    let why = made["paths"]["realtime"]["reason"].as_str().unwrap();
    assert!(why.contains("POST /whip/x"), "{why}");
    assert_eq!(bench.json("GET", "/v1/feeds").await.1["feeds"][0]["id"], "x");

    let body = r#"{"settings": {"window": 60, "partTarget": 0.5}}"#;
    let (status, update) = bench.send("PATCH", "/v1/feeds/x", body).await;
    assert_eq!(status, 200);
    assert_eq!((&update["atOnce"][0], &update["nextPublisher"][0]), (&"window".into(), &"partTarget".into()));
    assert_eq!(bench.json("GET", "/v1/feeds/x").await.1["settings"], update["settings"]);
    let (_, again) = bench.send("PATCH", "/v1/feeds/x", body).await;
    assert_eq!((&again["atOnce"], &again["nextPublisher"]), (&serde_json::json!([]), &serde_json::json!([])));

    for (method, path, body, status, kind) in [
        ("POST", "/v1/feeds", r#"{"id": "x"}"#, 409, "feed-exists"),
        ("POST", "/v1/feeds", r#"{"id": "y", "settings": {"window": 1}}"#, 400, "bad-setting"),
        ("POST", "/v1/feeds", r#"{"id": "y", "setting": {}}"#, 400, "bad-body"),
        ("POST", "/v1/feeds", r#"{"id": ".y"}"#, 400, "bad-feed-id"),
        ("PATCH", "/v1/feeds/x", r#"{"settings": {"windw": 1}}"#, 400, "unknown-setting"),
        ("PATCH", "/v1/feeds/x", &" ".repeat(20_000), 413, "body-too-large"),
        ("PATCH", "/v1/feeds/y", "{}", 404, "unknown-feed"),
    ] {
        let (found, problem) = bench.send(method, path, body).await;
        assert_eq!(found, status, "{body:.80}: {problem}");
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{body:.80}");
    }
    let (status, problem) = bench.json("POST", "/v1/feeds").await;
    assert_eq!((status.as_u16(), &problem["type"]), (415, &"/problems/wrong-content-type".into()));
    assert_eq!(
        bench.json("GET", "/v1/feeds/x").await.1["settings"],
        update["settings"],
        "nothing of it was taken"
    );

    assert_eq!(bench.send("POST", "/v1/feeds", r#"{"id": "y"}"#).await.0, 201);
    let (status, problem) = bench.send("POST", "/v1/feeds", r#"{"id": "z"}"#).await;
    assert_eq!((status.as_u16(), &problem["type"]), (503, &"/problems/too-many-feeds".into()));
    assert_eq!(bench.ask("DELETE", "/v1/feeds/x").await.status(), 204);
    assert_eq!(bench.send("PATCH", "/v1/feeds/x", "{}").await.0, 404, "it is over");
    assert_eq!(bench.send("POST", "/v1/feeds", r#"{"id": "x"}"#).await.0, 201, "its name is free");
    assert_ne!(bench.json("GET", "/v1/feeds/x").await.1["state"], "ended");
}

#[tokio::test]
async fn a_standby_publisher_is_shown_and_told_to_take_over() {
    let bench = Bench::new(&Config::default());
    let takeover = "/v1/feeds/x/takeover";
    assert_eq!(bench.json("POST", takeover).await.0, 404);
    let _publisher = bench.publish("x");
    let (status, problem) = bench.json("POST", takeover).await;
    assert_eq!(
        (status.as_u16(), problem["type"].as_str().map(|kind| kind.ends_with("no-standby"))),
        (409, Some(true))
    );
    let info = PublisherInfo {
        protocol: "whip".into(),
        agent: Some("b".into()),
        address: None,
        since: clock::utc(),
    };
    let mut standby = bench.bus.stand_by(&"x".parse().unwrap(), info).unwrap();
    assert_eq!(bench.json("GET", "/v1/feeds/x").await.1["standby"]["agent"], "b");
    assert_eq!(bench.ask("POST", takeover).await.status(), 202);
    assert!(standby.ready().await);
    drop(standby);
    assert_eq!(bench.json("GET", "/v1/feeds/x").await.1["standby"], Value::Null);
}

/// Two viewers, whatever the feed.
struct Two;

impl ViewerSource for Two {
    fn viewers(&self, _: &FeedId) -> Pin<Box<dyn Future<Output = Vec<ViewerStatus>> + Send>> {
        Box::pin(async { ["8c6976e5b5410415", "9d"].map(crate::core::viewers::tests::status).into() })
    }

    fn end(&self, _: &str) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async { 0 })
    }
}

/// The times of the examples in the description: of the feed `x`, while it is asked for the RTP timestamp 5.
struct Clockwork;

impl TimelineSource for Clockwork {
    fn outline(&self, feed: &FeedId) -> Option<Outline> {
        (feed.as_str() == "x").then(crate::core::timeline::tests::outline)
    }

    fn locate(&self, feed: &FeedId, asked: Asked) -> Answer {
        let answer = self.outline(feed).map(|outline| {
            let outside = OutsideWindow { window: outline.window, is_ahead: true };
            let is_known = asked == Asked::Rtp(5);
            is_known.then(crate::core::timeline::tests::located).ok_or(outside)
        });
        Box::pin(async { answer })
    }
}

#[tokio::test]
async fn a_moment_is_told_in_all_its_names_or_why_not() {
    let bench = Bench::new(&Config::default());
    let (status, problem) = bench.json("GET", "/v1/feeds/x/timeline").await;
    assert_eq!((status.as_u16(), &problem["type"]), (404, &"/problems/unknown-feed".into()));
    let _publishers = (bench.publish("x"), bench.publish("y"));
    let response = bench.ask("GET", "/v1/feeds/x/timeline").await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let outline: Value = serde_json::from_slice(&body(response).await).unwrap();
    let example = crate::openapi::example("timeline");
    assert_eq!((&outline["epochs"], &outline["window"]), (&example["epochs"], &example["window"]));
    assert_eq!((&outline["feed"], &outline["position"]), (&"x".into(), &Value::Null));
    let (status, located) = bench.json("GET", "/v1/feeds/x/timeline?rtpTimestamp=5").await;
    assert_eq!(status, 200);
    assert_eq!(located["position"], crate::openapi::example("timeline-position")["position"]);
    for (query, status, kind) in [
        ("rtpTimestamp=6", 404, "outside-window"),
        ("programTime=2026-11-23T06%3A09%3A12%2B01:00", 404, "outside-window"),
        ("programTime=2026-11-23T06:09:12+01:00", 400, "bad-position"),
        ("rtpTimestamp=5&mediaTime=5", 400, "bad-position"),
        ("rtpTimestamp=%ff", 400, "bad-position"),
        ("x", 400, "bad-position"),
    ] {
        let (found, problem) = bench.json("GET", &format!("/v1/feeds/x/timeline?{query}")).await;
        assert_eq!(found, status, "{query}: {problem}");
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{query}");
    }
    let (status, problem) = bench.json("GET", "/v1/feeds/y/timeline?mediaTime=5").await;
    assert_eq!((status.as_u16(), &problem["window"]), (404, &Value::Null), "nothing of it is on HLS");
    let nothing = bench.json("GET", "/v1/feeds/y/timeline").await.1;
    assert_eq!((&nothing["window"], &nothing["epochs"]), (&Value::Null, &Value::Array(Vec::new())));
}

#[tokio::test]
async fn viewers_are_listed_a_page_at_a_time() {
    let bench = Bench::new(&Config::default());
    assert_eq!(bench.json("GET", "/v1/feeds/x/viewers").await.0, 404);
    let _publisher = bench.publish("x");
    let (status, viewers) = bench.json("GET", "/v1/feeds/x/viewers?limit=1").await;
    assert_eq!(status, 200);
    assert_eq!(
        (viewers["total"].as_u64(), &viewers["viewers"][0]["id"]),
        (Some(2), &"8c6976e5b5410415".into())
    );
    assert_eq!(viewers["viewers"][0]["path"], "realtime", "a session of nobody that has joined");
    let next = format!("/v1/feeds/x/viewers?after={}", viewers["next"].as_str().unwrap());
    assert_eq!(bench.json("GET", &next).await.1["viewers"][0]["id"], "9d");
    for bad in ["limit=0", "limit=1001", "limit=x"] {
        let (status, problem) = bench.json("GET", &format!("/v1/feeds/x/viewers?{bad}")).await;
        assert_eq!(status, 400, "{problem}");
    }
}

#[tokio::test]
async fn an_ended_feed_is_forgotten_at_once_where_that_is_set() {
    let bench = Bench::new(&Config { ended_retention: 0, ..Config::default() });
    let _publisher = bench.publish("x");
    assert_eq!(bench.ask("DELETE", "/v1/feeds/x").await.status(), 204);
    assert_eq!(bench.ask("GET", "/v1/feeds/x").await.status(), 404);
    assert_eq!(bench.ask("DELETE", "/v1/feeds/x").await.status(), 404);
}

#[tokio::test]
async fn reports_of_the_rooms_are_shown_as_they_come() {
    let bench = Bench::new(&Config::default());
    let _publisher = bench.publish("x");
    let id: FeedId = "x".parse().unwrap();
    let sfu = SfuFeedStatus { viewers: 7, ..SfuFeedStatus::default() };
    bench.sfu.send_replace(Arc::new(SfuStatus { feeds: [(id.clone(), sfu)].into() }));
    let packager = PackagerFeedStatus { playable: true, viewers: 9, ..PackagerFeedStatus::default() };
    bench.packager.send_replace(Arc::new(PackagerStatus { feeds: [(id, packager)].into() }));
    let (_, feed) = bench.json("GET", "/v1/feeds/x").await;
    assert_eq!(feed["paths"]["realtime"]["viewers"], 7);
    assert_eq!(feed["paths"]["hls"]["viewers"], 9);
    assert_eq!(feed["paths"]["hls"]["available"], true);
}

#[tokio::test]
async fn an_unknown_feed_is_a_problem_that_names_it() {
    let bench = Bench::new(&Config::default());
    for method in ["GET", "DELETE"] {
        let response = bench.ask(method, "/v1/feeds/nosuch").await;
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let problem: Value = serde_json::from_slice(&body(response).await).unwrap();
        assert_eq!(problem["feed"], "nosuch");
    }
}

#[tokio::test]
async fn an_id_that_cannot_be_one_is_said_to_be_so() {
    let bench = Bench::new(&Config::default());
    for bad in
        ["/v1/feeds/a%20b", "/v1/feeds/.hidden", "/v1/feeds/%ff", &format!("/v1/feeds/{}", "x".repeat(65))]
    {
        let (status, problem) = bench.json("GET", bad).await;
        assert_eq!(status, 400, "{bad}");
        assert_eq!(problem["type"], "/problems/bad-feed-id", "{bad}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_what_is_allowed() {
    let bench = Bench::new(&Config::default());
    let response = bench.ask("POST", "/v1/feeds/x").await;
    assert_eq!(response.status(), 405);
    let allow = response.headers()[header::ALLOW].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("HEAD") && allow.contains("DELETE"), "{allow}");
    let problem: Value = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!(problem["type"], "/problems/method-not-allowed");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let bench = Bench::new(&Config::default());
    let response = bench.ask("HEAD", "/v1/feeds").await;
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key(header::CONTENT_LENGTH));
    assert!(body(response).await.is_empty());
}

#[tokio::test]
async fn the_time_is_now_and_never_stored() {
    let bench = Bench::new(&Config::default());
    let before = clock::utc().unix_millis();
    let response = bench.ask("GET", "/v1/time").await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let time: crate::api::Time = serde_json::from_slice(&body(response).await).unwrap();
    assert!(before <= time.unix_ms && time.unix_ms <= clock::utc().unix_millis());
    assert_eq!(time.utc.len(), "2026-11-23T05:08:59.123Z".len());
}

#[tokio::test]
async fn the_description_has_every_route_and_resolves() {
    let bench = Bench::new(&Config::default());
    let (status, document) = bench.json("GET", "/v1/openapi.json").await;
    assert_eq!(status, 200);
    for (path, methods) in [
        ("/v1/feeds", &["get", "post"][..]),
        ("/v1/feeds/{id}", &["get", "delete", "patch"]),
        ("/v1/feeds/{id}/timeline", &["get"]),
        ("/v1/time", &["get"]),
        ("/v1/openapi.json", &["get"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    let text = document.to_string();
    for reference in text.split("\"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference} does not resolve");
    }
}

#[tokio::test]
async fn the_description_has_the_fields_and_values_that_are_sent() {
    let bench = Bench::new(&Config::default());
    let (_, document) = bench.json("GET", "/v1/openapi.json").await;
    let schemas = &document["components"]["schemas"];
    let sent = crate::openapi::example("feed-live");
    let properties = |schema: &str| -> Vec<String> {
        schemas[schema]["properties"].as_object().unwrap().keys().cloned().collect()
    };
    for (schema, value) in [
        ("Feed", &sent),
        ("Publisher", &sent["publisher"]),
        ("Track", &sent["tracks"][0]),
        ("Rendition", &sent["tracks"][0]["renditions"][0]),
        ("Cadence", &sent["cadence"]),
        ("Timeline", &sent["timeline"]),
        ("RealtimePath", &sent["paths"]["realtime"]),
        ("HlsPath", &sent["paths"]["hls"]),
    ] {
        let mut sent: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        let mut described = properties(schema);
        sent.sort();
        described.sort();
        assert_eq!(sent, described, "{schema}");
    }
    for (schema, value) in [
        ("FeedState", &sent["state"]),
        ("TrackKind", &sent["tracks"][0]["kind"]),
        ("CadenceRule", &sent["cadence"]["rule"]),
    ] {
        assert!(schemas[schema]["enum"].as_array().unwrap().contains(value), "{schema} {value}");
    }
    let sent = crate::openapi::example("timeline-position");
    let place = &sent["position"]["renditions"][0];
    for (schema, value) in [
        ("FeedTimeline", &sent),
        ("TimelineWindow", &sent["window"]),
        ("TimelineMoment", &sent["window"]["oldest"]),
        ("TimelineEpoch", &sent["epochs"][0]),
        ("LiveEdges", &sent["liveEdges"]),
        ("RenditionPosition", place),
        ("SegmentPosition", &place["segment"]),
        ("PartPosition", &place["segment"]["part"]),
        ("ByteRange", &place["segment"]["byteRange"]),
        ("FramePosition", &place["segment"]["frame"]),
    ] {
        let mut sent: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        let mut described = properties(schema);
        sent.sort();
        described.sort();
        assert_eq!(sent, described, "{schema}");
    }
    let mut problem: Vec<_> = properties("Problem");
    problem.push("feed".into());
    problem.sort();
    let mut sent: Vec<_> = crate::openapi::example("problem").as_object().unwrap().keys().cloned().collect();
    sent.sort();
    assert_eq!(sent, problem);
}

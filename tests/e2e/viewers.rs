//! Viewers that join a real server: where each is served and why, what it is told, who may not, and what bad players reach.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use bicast_tests::channel::{Channel, Heard, Viewer, join, normal};
use bicast_tests::http::{self, Response};
use bicast_tests::peer::{Kind, RtpViewer, viewer_offer};
use bicast_tests::process::Process;
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scene::{self, FEED};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PICTURE: [&str; 5] = ["--test-pattern", "--size", "320x180", "--bitrate", "200k"];

async fn running(arguments: &[&str]) -> anyhow::Result<(Server, Process)> {
    let server = Server::start_with(arguments).await?;
    let publisher = server.publish(FEED, &PICTURE)?;
    server.hls_plays(FEED).await?;
    server.feed_is(FEED, "the feed is live", |feed| feed["paths"]["realtime"]["available"] == true).await?;
    Ok((server, publisher))
}

fn kind(answer: &Response) -> anyhow::Result<String> {
    let problem = answer.json()?;
    anyhow::ensure!(problem["status"] == answer.status && problem["hint"].is_string(), "{problem}");
    Ok(problem["type"].as_str().unwrap_or_default().trim_start_matches("/problems/").to_owned())
}

async fn delete(server: &Server, path: &str) -> anyhow::Result<Response> {
    http::request(Method::DELETE, &server.url(path), None, "").await
}

/// Waits until the API shows the viewer so.
async fn is(
    server: &Server,
    viewer: &Viewer,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    wait::until(what, GENEROUS, || async {
        let shown = viewer.look(server).await?;
        if wanted(&shown) { Ok(Some(shown)) } else { anyhow::bail!("it is {shown:#}") }
    })
    .await
}

#[tokio::test]
async fn a_viewer_joins_watches_is_moved_and_ends() -> anyhow::Result<()> {
    let (server, _publisher) = running(&[]).await?;
    let viewer = Viewer::join(&server, FEED, r#"{"agent": "the tests"}"#, None).await?;
    let told = &viewer.joined["viewer"];
    assert_eq!((&told["path"], &told["tier"]), (&json!("realtime"), &json!("vip")));
    assert_eq!(told["decision"]["reason"], "entitled");
    assert!(viewer.joined["timeline"]["anchorUnixMs"].is_number());
    assert_eq!(http::get(&viewer.url(&server, "hls")?).await?.status, 200);

    let mut channel = viewer.listen(&server, "").await?;
    assert_eq!(channel.until("hello").await?["sequence"], 1);
    assert_eq!(channel.until("feed").await?["state"], "live");
    channel.until("timeline").await?;

    let session = RtpViewer::connect(&viewer.url(&server, "whep")?, LOCAL, &[Kind::Video]).await?;
    let shown =
        is(&server, &viewer, "its session is live", |shown| shown["session"]["state"] == "live").await?;
    assert_eq!((&shown["channels"], &shown["agent"]), (&json!(1), &json!("the tests")));
    channel.say(r#"{"type":"report","path":"realtime","latencyMs":140.5,"fromTheFuture":1}"#).await?;
    is(&server, &viewer, "its report is there", |shown| shown["player"]["report"]["latencyMs"] == 140.5)
        .await?;
    let audience = http::get(&server.url(&format!("/v1/feeds/{FEED}/audience"))).await?.json()?;
    assert_eq!(audience["latency"][0]["p95Ms"], 140.5, "{audience:#}");

    // A stranger's session beside it.
    let stranger = RtpViewer::connect(&server.url(&format!("/whep/{FEED}")), LOCAL, &[Kind::Video]).await?;
    let listed = |query: &str| {
        let url = server.url(&format!("/v1/feeds/{FEED}/viewers{query}"));
        async move { http::get(&url).await?.success()?.json() }
    };
    let all = wait::until("both are listed", GENEROUS, || async {
        Ok(Some(listed("").await?).filter(|all| all["total"] == 2))
    });
    let all = all.await?;
    let tiers: Vec<_> =
        all["viewers"].as_array().context("no list")?.iter().map(|one| &one["tier"]).collect();
    assert!(tiers.contains(&&Value::Null) && tiers.contains(&&json!("vip")), "{all:#}");
    assert_eq!(listed("?tier=vip&path=realtime&reason=entitled").await?["total"], 1);
    assert_eq!(listed("?path=hls").await?["total"], 0);
    stranger.leave().await?;

    let moved = viewer.change(&server, r#"{"path": "hls"}"#).await?.success()?.json()?;
    assert_eq!((&moved["path"], &moved["ordered"]), (&json!("hls"), &json!("hls")));
    let decision = channel.until("decision").await?;
    assert_eq!(
        (&decision["decision"]["path"], &decision["decision"]["reason"]),
        (&json!("hls"), &json!("ordered"))
    );
    assert_eq!(decision["sequence"], 2);
    // Its session was left alone; a new one is not for it now.
    let offer = viewer_offer().await?;
    let again = http::post_sdp(&viewer.url(&server, "whep")?, &offer).await?;
    assert_eq!((again.status, kind(&again)?.as_str()), (409, "served-over-hls"));

    viewer.change(&server, r#"{"path": "auto"}"#).await?.success()?;
    assert_eq!(channel.until("decision").await?["decision"]["path"], "realtime");

    assert_eq!(delete(&server, &viewer.path).await?.status, 204);
    assert_eq!(channel.until("end").await?["reason"], "ended");
    assert_eq!(channel.next().await?, Heard::Closed(Some((normal(), "the viewer has ended".into()))));
    let gone = http::get(&server.url(&viewer.path)).await?;
    assert_eq!((gone.status, kind(&gone)?.as_str()), (410, "viewer-ended"));
    wait::until("its session is closed", GENEROUS, || async {
        Ok((listed("").await?["total"] == 0).then_some(()))
    })
    .await?;
    drop(session);
    Ok(())
}

#[tokio::test]
async fn who_comes_back_misses_no_decision() -> anyhow::Result<()> {
    let (server, _publisher) = running(&[]).await?;
    let viewer = Viewer::join(&server, FEED, "", None).await?;
    let mut channel = viewer.listen(&server, "").await?;
    channel.until("hello").await?;
    channel.close().await?;
    for path in ["hls", "auto"] {
        viewer.change(&server, &format!(r#"{{"path": "{path}"}}"#)).await?.success()?;
    }
    let mut channel = viewer.listen(&server, "?after=1").await?;
    let hello = channel.until("hello").await?;
    assert_eq!((&hello["sequence"], &hello["missed"]), (&json!(3), &json!(0)));
    for (sequence, path) in [(2, "hls"), (3, "realtime")] {
        let decision = channel.until("decision").await?;
        assert_eq!((&decision["sequence"], &decision["decision"]["path"]), (&json!(sequence), &json!(path)));
    }
    assert_eq!(channel.within(Duration::from_millis(600), "decision").await?, Vec::<Value>::new());

    // Server-Sent Events say the same.
    let mut events = tokio::net::TcpStream::connect(server.http()).await?;
    let path = viewer.joined["urls"]["events"].as_str().context("no events")?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\nlast-event-id: 2\r\n\r\n");
    events.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !(text.contains("\"type\":\"timeline\"") && text.contains("\"type\":\"feed\"")) {
        let read = tokio::time::timeout(GENEROUS, events.read(&mut buffer)).await??;
        anyhow::ensure!(read > 0, "it has ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(text.contains("content-type: text/event-stream") && text.contains("id: 3"), "{text}");
    assert_eq!(text.matches("\"type\":\"decision\"").count(), 1, "{text}");

    assert_eq!(delete(&server, &format!("/v1/feeds/{FEED}")).await?.status, 204);
    assert_eq!(channel.until("end").await?["reason"], "feed-ended");
    Ok(())
}

#[tokio::test]
async fn a_viewer_whose_network_lets_nothing_through_is_told_hls() -> anyhow::Result<()> {
    let (server, _publisher) = running(&[]).await?;
    let viewer = Viewer::join(&server, FEED, "", None).await?;
    let mut channel = viewer.listen(&server, "").await?;
    let offer = viewer_offer().await?;
    assert_eq!(http::post_sdp(&viewer.url(&server, "whep")?, &offer).await?.status, 201);
    let decision = channel.until("decision").await?["decision"].clone();
    assert_eq!((&decision["path"], &decision["reason"]), (&json!("hls"), &json!("udp-blocked")));
    assert_eq!(decision["evidence"]["signal"], "blocked", "{decision:#}");
    assert!(server.metric("bicast_viewer_switches_total").await? >= 1.0);
    Ok(())
}

#[tokio::test]
async fn a_full_server_serves_over_hls_and_restores_when_there_is_room() -> anyhow::Result<()> {
    let quick = ["--set", "signaling.failover.hold=1", "--set", "signaling.admission.free_for=0.5"];
    let (server, _publisher) = running(&quick).await?;
    let limits = server.url("/v1/admission");
    let set = |body: &'static str| http::request(Method::PATCH, &limits, Some("application/json"), body);
    assert_eq!(set(r#"{"viewers": 1, "free_for": 0.5}"#).await?.success()?.json()?["limits"]["viewers"], 1);

    let first = Viewer::join(&server, FEED, "", None).await?;
    let session = RtpViewer::connect(&first.url(&server, "whep")?, LOCAL, &[Kind::Video]).await?;
    let second = Viewer::join(&server, FEED, "", None).await?;
    let told = &second.joined["viewer"];
    assert_eq!((&told["path"], &told["decision"]["reason"]), (&json!("hls"), &json!("over-count")));
    let mut channel = second.listen(&server, "").await?;
    is(&server, &second, "it waits", |shown| shown["waiting"]["shortage"] == "count").await?;
    // Neither a stranger nor who waits gets in by asking the SFU.
    let offer = viewer_offer().await?;
    let refused = http::post_sdp(&server.url(&format!("/whep/{FEED}")), &offer).await?;
    assert_eq!((refused.status, kind(&refused)?.as_str()), (503, "no-room"));
    let refused = http::post_sdp(&second.url(&server, "whep")?, &offer).await?;
    assert_eq!((refused.status, kind(&refused)?.as_str()), (409, "served-over-hls"));
    // A lower limit takes nothing from who is there.
    set(r#"{"viewers": 1, "egress_bps": 100000, "free_for": 0.5}"#).await?.success()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(first.look(&server).await?["path"], "realtime");
    set(r#"{"viewers": 1, "free_for": 0.5}"#).await?.success()?;

    assert_eq!(delete(&server, &first.path).await?.status, 204);
    let mut decision = Value::Null;
    while decision["path"] != "realtime" {
        decision = channel.until("decision").await?["decision"].clone();
    }
    assert_eq!(decision["reason"], "available");
    let session = (session, RtpViewer::connect(&second.url(&server, "whep")?, LOCAL, &[Kind::Video]).await?);
    let status = http::get(&server.url("/v1/status")).await?.json()?;
    assert_eq!((&status["viewers"], &status["admission"]["slots"]), (&json!(1), &json!(1)), "{status:#}");
    drop(session);
    Ok(())
}

#[tokio::test]
async fn who_is_told_to_join_again_stays_on_the_realtime_path() -> anyhow::Result<()> {
    let (server, mut publisher) = running(&[]).await?;
    let viewer = Viewer::join(&server, FEED, "", None).await?;
    let mut channel = viewer.listen(&server, "").await?;
    channel.until("hello").await?;
    let session = RtpViewer::connect(&viewer.url(&server, "whep")?, LOCAL, &[Kind::Video]).await?;
    is(&server, &viewer, "its session is live", |shown| shown["session"]["state"] == "live").await?;

    publisher.stop().await?;
    server.feed_is(FEED, "nobody publishes", |feed| feed["state"] == "offline").await?;
    let mut sound = scene::next_publisher_of(&server, &[Kind::Audio]).await?;
    channel.until("join-again").await?;
    // The session goes with the media: a publisher that sends nothing may yet fail.
    let _sending =
        tokio::spawn(async move { scene::send_sound(&mut sound, 0, 3_000, 0).await.map(|()| sound) });
    is(&server, &viewer, "its session is over", |shown| shown["session"].is_null()).await?;
    // Ten looks of the server later: a player on a slow line takes that long to begin another.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let again = RtpViewer::connect(&viewer.url(&server, "whep")?, LOCAL, &[Kind::Audio]).await?;
    let shown = is(&server, &viewer, "it has another", |shown| !shown["session"].is_null()).await?;
    assert_eq!((&shown["path"], &shown["switches"]), (&json!("realtime"), &json!(0)), "{shown:#}");
    drop((session, again));
    Ok(())
}

#[tokio::test]
async fn offers_at_once_get_as_many_sessions_as_there_are_places() -> anyhow::Result<()> {
    let (server, _publisher) = running(&["--set", "signaling.admission.viewers=5"]).await?;
    let url = server.url(&format!("/whep/{FEED}"));
    let offer = viewer_offer().await?;
    let answers = futures_util::future::try_join_all((0..20).map(|_| http::post_sdp(&url, &offer))).await?;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(503)), (5, 15), "each place is given once");
    // Whoever leaves gives its place back, whether or not it ever connected.
    let mine = answers.iter().find(|answer| answer.status == 201).context("no session")?;
    let session = mine.header("location").to_owned();
    assert_eq!(delete(&server, &session).await?.status, 200);
    assert_eq!(http::post_sdp(&url, &offer).await?.status, 201);
    assert_eq!(http::post_sdp(&url, &offer).await?.status, 503);
    Ok(())
}

#[tokio::test]
async fn a_name_has_two_sessions_however_often_it_asks() -> anyhow::Result<()> {
    let (server, _publisher) = running(&[]).await?;
    let viewer = Viewer::join(&server, FEED, "", None).await?;
    let offer = viewer_offer().await?;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let answer = http::post_sdp(&viewer.url(&server, "whep")?, &offer).await?;
        sessions.push(answer.success()?.header("location").to_owned());
    }
    let mut ended = Vec::new();
    for session in &sessions {
        ended.push(delete(&server, session).await?.status);
    }
    assert_eq!(ended, [404, 404, 404, 200, 200], "the two newest are there");
    Ok(())
}

#[tokio::test]
async fn bad_words_are_answered_and_harm_nobody() -> anyhow::Result<()> {
    let (server, _publisher) = running(&[]).await?;
    let honest = Viewer::join(&server, FEED, "", None).await?;
    let mut honest_channel = honest.listen(&server, "").await?;
    honest_channel.until("hello").await?;
    let long = format!(r#"{{"agent": "{}"}}"#, "x".repeat(5_000));
    for (body, status, what) in [
        ("{", 400, "bad-body"),
        (r#"{"tier": "gold"}"#, 400, "bad-body"),
        (r#"{"admin": true}"#, 400, "bad-body"),
        (r#"{"agent": ""}"#, 400, "bad-body"),
        ("\u{0}\u{1}", 400, "bad-body"),
        (long.as_str(), 413, "body-too-large"),
    ] {
        let answer = join(&server, FEED, body, None).await?;
        assert_eq!(
            (answer.status, answer.json()?["type"].as_str()),
            (status, Some(format!("/problems/{what}").as_str()))
        );
    }
    assert_eq!(join(&server, "nosuch", "", None).await?.status, 404);
    for (body, status) in
        [("", 400), (r#"{"path": "pigeon"}"#, 400), (r#"{"layerCap": 9}"#, 400), (r#"{"layerCap": 1}"#, 200)]
    {
        assert_eq!(honest.change(&server, body).await?.status, status, "{body}");
    }
    assert_eq!(honest_channel.until("decision").await?["decision"]["layerCap"], 1);
    let of_another = honest.path.replace(FEED, "other");
    assert_eq!(http::get(&server.url(&of_another)).await?.status, 404, "a viewer of another feed");
    let report = |text: String| {
        let url = honest.url(&server, "reports");
        async move { http::request(Method::POST, &url?, Some("application/json"), text).await }
    };
    assert_eq!(report(r#"{"type":"report","latencyMs":1e308}"#.into()).await?.status, 204);
    assert_eq!(report(r#"{"type":"report","latencyMs":"late"}"#.into()).await?.status, 400);
    assert_eq!(report(r#"{"type":"shout"}"#.into()).await?.status, 400);
    let mut flooded = false;
    for _ in 0..60 {
        flooded |= report(r#"{"type":"report"}"#.into()).await?.status == 429;
    }
    assert!(flooded, "sixty reports at once were taken");

    let liar = Viewer::join(&server, FEED, "", None).await?;
    let mut channel = liar.listen(&server, "").await?;
    channel.until("hello").await?;
    channel.say("what?").await?;
    assert!(
        channel.until("problem").await?["detail"].as_str().context("no detail")?.contains("cannot be used")
    );
    for _ in 0..30 {
        channel.say(r#"{"type":"report","latencyMs":-1,"lossRatio":55,"roundTripMs":1e300}"#).await?;
    }
    assert!(channel.until("problem").await?["detail"].as_str().context("no detail")?.contains("a second"));
    channel.send_bytes(vec![0; 64]).await?;
    channel.closed().await?;
    let mut channel = liar.listen(&server, "").await?;
    channel.until("hello").await?;
    channel.say(&"x".repeat(100_000)).await.ok();
    channel.closed().await?;

    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(liar.listen(&server, "").await?);
    }
    assert!(liar.listen(&server, "").await.is_err(), "a fifth channel");
    let not_a_channel = http::get(&liar.url(&server, "events")?).await?;
    assert_eq!(not_a_channel.status, 429);
    drop(open);
    let plain = wait::until("the channels are closed", GENEROUS, || async {
        let answer = http::get(&liar.url(&server, "events")?).await?;
        Ok(Some(answer).filter(|answer| answer.status != 429))
    });
    let plain = plain.await?;
    assert_eq!((plain.status, kind(&plain)?.as_str()), (400, "bad-channel"));
    assert!(Channel::open(&server.url("/v1/feeds/test/viewers/nosuch/events")).await.is_err());

    // Nobody else noticed.
    honest.change(&server, r#"{"path": "hls"}"#).await?.success()?;
    assert_eq!(honest_channel.until("decision").await?["decision"]["path"], "hls");
    assert!(server.metric("bicast_viewer_messages_refused_total").await? >= 2.0);
    Ok(())
}

//! Tokens at every door of a real server: who is let in, each refusal by its name, keys exchanged in mid-stream, and rights that end.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bicast_tests::channel::{self, Viewer};
use bicast_tests::edge::Edge;
use bicast_tests::http::{self, Response};
use bicast_tests::process::{self, Process};
use bicast_tests::server::{self, Server, token};
use bicast_tests::wait::{self, GENEROUS};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use crate::scene::FEED;

const SECRET: &str = "a secret of the tests, not of anything else";
const PICTURE: [&str; 5] = ["--test-pattern", "--size", "320x180", "--bitrate", "200k"];

/// A token of this secret.
fn mint_with(secret: &str, arguments: &[&str]) -> anyhow::Result<String> {
    token(&[&["--set", &format!("auth.secret={secret}")], arguments].concat())
}

pub(crate) fn mint(arguments: &[&str]) -> anyhow::Result<String> {
    mint_with(SECRET, arguments)
}

pub(crate) async fn start(more: &[&str]) -> anyhow::Result<Server> {
    let secret = format!("auth.secret={SECRET}");
    let mut arguments = vec!["--set", &secret];
    arguments.extend(more);
    Server::start_with(&arguments).await
}

pub(crate) async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<Response> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/sdp")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    http::request_with(method, &server.url(path), &headers, "").await
}

/// The kind of the problem that an answer is, after checking that it tells what a client needs.
pub(crate) fn kind(answer: &Response) -> anyhow::Result<String> {
    anyhow::ensure!(matches!(answer.status, 401 | 403), "{}: {}", answer.status, answer.text());
    let challenge = answer.header("www-authenticate");
    anyhow::ensure!(challenge.starts_with("Bearer realm="), "{challenge}");
    anyhow::ensure!(answer.header("access-control-allow-origin") == "*", "pages cannot read it");
    anyhow::ensure!(answer.header("cache-control") == "no-store", "it could be kept for others");
    let problem = answer.json()?;
    anyhow::ensure!(problem["status"] == answer.status && problem["hint"].is_string(), "{problem}");
    let kind = problem["type"].as_str().context("no type")?;
    Ok(kind.trim_start_matches("/problems/token-").to_owned())
}

/// The doors, each with a request that gets past them, though not further: there is no such feed, or no offer.
const DOORS: [(Method, &str); 13] = [
    (Method::POST, "/whip/test"),
    (Method::DELETE, "/whip/test/session"),
    (Method::POST, "/whep/test"),
    (Method::OPTIONS, "/whep/test"),
    (Method::GET, "/hls/test/multivariant.m3u8"),
    (Method::GET, "/hls/test/video0/1/5.m4s"),
    (Method::GET, "/v1/feeds/test"),
    (Method::GET, "/v1/feeds/test/timeline?mediaTime=1"),
    (Method::GET, "/v1/feeds"),
    (Method::DELETE, "/v1/feeds/test"),
    (Method::POST, "/v1/feeds/test/viewers"),
    (Method::GET, "/v1/feeds/test/viewers"),
    (Method::GET, "/v1/feeds/test/audience"),
];

pub(crate) fn publisher(server: &Server, token: &str) -> anyhow::Result<Process> {
    let mut arguments = PICTURE.to_vec();
    arguments.extend(["--token", token]);
    server.publish(FEED, &arguments)
}

pub(crate) async fn plays(server: &Server, token: &str) -> anyhow::Result<String> {
    let path = format!("/t/{token}/hls/{FEED}/multivariant.m3u8");
    wait::until("HLS can be played", GENEROUS, || async {
        let answer = http::get(&server.url(&path)).await?;
        anyhow::ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        Ok(Some(()))
    })
    .await?;
    Ok(path)
}

#[tokio::test]
async fn every_door_refuses_every_bad_token_by_its_name() -> anyhow::Result<()> {
    let server = start(&["--set", "auth.issuer=the-tests"]).await?;
    let issued = ["--set", "auth.issuer=the-tests"];
    let all = ["--feed", "test", "--rights", "publish,watch,admin", "--tier", "vip"];
    let make = |more: &[&str]| mint(&[&all[..], &issued, more].concat());
    let good = make(&[])?;
    let (message, signature) = good.rsplit_once('.').context("no signature")?;
    let (header, claims) = message.split_once('.').context("no claims")?;
    // {"alg":"none"}
    let unsigned = format!("eyJhbGciOiJub25lIn0.{claims}.");
    let bad = [
        ("forged", mint_with(&SECRET.replace("tests", "thief"), &[&all[..], &issued].concat())?),
        ("forged", format!("{message}.{}", signature.chars().rev().collect::<String>())),
        ("unsigned", unsigned),
        ("malformed", format!("{header}.{claims}")),
        ("malformed", "password".to_owned()),
        ("too-long", "x".repeat(9_000)),
        ("audience", make(&["--set", "auth.audience=another-server"])?),
        ("issuer", mint(&all)?),
        ("expired", make(&["--expires", "1s"])?),
    ];
    let other_feed = mint(
        &[&["--feed", "tes", "--rights", "publish,watch,admin", "--tier", "vip"], &issued[..]].concat(),
    )?;
    // The one that expires, and the leeway.
    tokio::time::sleep(Duration::from_secs(4)).await;
    for (method, path) in DOORS {
        assert_eq!(kind(&ask(&server, method.clone(), path, None).await?)?, "missing", "{method} {path}");
        for (name, token) in &bad {
            let answer = ask(&server, method.clone(), path, Some(token)).await?;
            assert_eq!(&kind(&answer)?, name, "{method} {path}");
            assert_eq!(answer.status, 401, "{method} {path}");
        }
        let answer = ask(&server, method.clone(), path, Some(&good)).await?;
        assert!(!matches!(answer.status, 401 | 403), "{method} {path}: {}", answer.text());
        let answer = ask(&server, method.clone(), path, Some(&other_feed)).await?;
        if path == "/v1/feeds" {
            assert_eq!(answer.status, 200, "the list has what the token is for");
        } else {
            assert_eq!((kind(&answer)?.as_str(), answer.status), ("feed", 403), "{method} {path}");
        }
    }
    // They open ports of the server.
    for (method, path) in [(Method::POST, "/v1/demo/lines"), (Method::PATCH, "/v1/demo/lines/line")] {
        assert_eq!(kind(&ask(&server, method.clone(), path, None).await?)?, "missing", "{method} {path}");
        assert_eq!(kind(&ask(&server, method, path, Some(&good)).await?)?, "some-feeds", "{path}");
    }
    // In the path, where only HLS takes it.
    for (name, token) in &bad {
        let target = format!("/t/{token}/hls/test/multivariant.m3u8");
        let answer = ask(&server, Method::GET, &target, None).await?;
        assert_eq!(&kind(&answer)?, name, "{target}");
    }
    assert_eq!(
        ask(&server, Method::GET, &format!("/t/{good}/hls/test/multivariant.m3u8"), None).await?.status,
        404
    );
    assert_eq!(ask(&server, Method::GET, &format!("/t/{good}/v1/feeds"), None).await?.status, 404);
    // Every way of writing the same path is the same door.
    for path in ["/hls/te%73t/multivariant.m3u8", "/v1/feeds/%74est"] {
        assert_eq!(kind(&ask(&server, Method::GET, path, Some(&other_feed)).await?)?, "feed", "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/v1/time", "/v1/openapi.json"] {
        assert_eq!(ask(&server, Method::GET, path, None).await?.status, 200, "{path}");
    }
    for reason in
        ["missing", "forged", "unsigned", "malformed", "too-long", "audience", "issuer", "expired", "feed"]
    {
        let counted = server.metric_of("bicast_auth_refusals_total", ("reason", reason)).await?;
        assert!(counted >= 8.0, "{reason}: {counted}");
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn a_right_opens_its_own_doors_only() -> anyhow::Result<()> {
    let server = start(&[]).await?;
    let token = |rights: &str, tier: &str| mint(&["--feed", "*", "--rights", rights, "--tier", tier]);
    let (publish, free) = (token("publish", "vip")?, token("watch", "free")?);
    let (vip, admin) = (token("watch", "vip")?, token("admin", "vip")?);
    // Per door: what publish, free, vip and admin are refused with.
    let table: [[&str; 4]; DOORS.len()] = [
        ["", "right", "right", "right"],
        ["", "right", "right", "right"],
        ["right", "tier", "", "right"],
        ["right", "tier", "", "right"],
        ["right", "", "", "right"],
        ["right", "", "", "right"],
        ["", "", "", ""],
        ["", "", "", ""],
        ["right", "right", "right", ""],
        ["right", "right", "right", ""],
        ["right", "", "", "right"],
        ["right", "right", "right", ""],
        ["right", "right", "right", ""],
    ];
    for ((method, path), row) in DOORS.into_iter().zip(table) {
        for (token, refusal) in [&publish, &free, &vip, &admin].into_iter().zip(row) {
            let answer = ask(&server, method.clone(), path, Some(token)).await?;
            if refusal.is_empty() {
                assert!(!matches!(answer.status, 401 | 403), "{method} {path}: {}", answer.text());
            } else {
                assert_eq!(kind(&answer)?, refusal, "{method} {path}");
                assert_eq!(answer.status, 403, "{method} {path}");
            }
        }
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn a_feed_is_published_and_watched_with_tokens_over_both_paths() -> anyhow::Result<()> {
    let server = start(&[]).await?;
    let mut refused = publisher(&server, &mint(&["--feed", "other", "--rights", "publish"])?)?;
    refused.ended(GENEROUS).await?;
    assert!(refused.output().contains("not for the feed"), "{}", refused.output());

    let _publisher = publisher(&server, &mint(&["--feed", "te*", "--rights", "publish"])?)?;
    let (anna, bea) = (
        mint(&["--feed", FEED, "--rights", "watch"])?,
        mint(&["--feed", "*", "--rights", "watch", "--tier", "vip"])?,
    );
    let path = plays(&server, &anna).await?;

    // One text and the same bytes for both, with the token in the path, in a header, or anybody's.
    let of = async |token: &str| -> anyhow::Result<(String, String, Bytes)> {
        let base = server.url(&path.replace(&anna, token));
        let multivariant = http::get(&base).await?.success()?.text();
        let uri = multivariant
            .lines()
            .find(|line| !line.starts_with('#') && !line.is_empty())
            .context("no variant")?;
        let media = bicast_tests::hls::resolve(&base, uri)?;
        assert!(media.contains(token), "{media}");
        let text = http::get(&media).await?.success()?.text();
        let first = text
            .lines()
            .find(|line| line.ends_with(".m4s") && !line.starts_with('#'))
            .context("no segment")?
            .to_owned();
        let segment = http::get(&bicast_tests::hls::resolve(&media, &first)?).await?.success()?;
        Ok((multivariant, first, segment.body))
    };
    wait::until("there is a segment", GENEROUS, || async { Ok(Some(of(&anna).await?)) }).await?;
    let (first, second) = (of(&anna).await?, of(&bea).await?);
    assert_eq!(first.0, second.0);
    assert!(!first.0.contains(&anna) && !first.0.contains("/t/"), "{}", first.0);
    if first.1 == second.1 {
        assert_eq!(first.2, second.2);
    }
    let bearer =
        ask(&server, Method::GET, &format!("/hls/{FEED}/multivariant.m3u8"), Some(&bea)).await?.success()?;
    assert_eq!(bearer.text(), first.0);
    // The address without an instance leads on, and the token goes along.
    let moved = http::get(&server.url(&format!("/t/{anna}/hls/{FEED}/video0/media.m3u8"))).await?;
    let next = bicast_tests::hls::resolve(
        &server.url(&format!("/t/{anna}/hls/{FEED}/video0/media.m3u8")),
        moved.header("location"),
    )?;
    assert!(moved.status == 307 && next.contains(&anna), "{} {next}", moved.status);
    http::get(&next).await?.success()?;

    let mut bench = Command::new(server::bicast()?);
    bench.args(["bench", "viewers", "--json", "--viewers", "3", "--duration", "2", "--whep"]);
    bench.args([&server.url(&format!("/whep/{FEED}")), "--token", &bea]);
    let output = tokio::task::spawn_blocking(move || process::run(&mut bench, &[])).await??;
    let last = String::from_utf8(output.stdout)?.lines().last().map(str::to_owned).context("no summary")?;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&last)?["summary"]["connected"], 3, "{last}");

    let admin = mint(&["--feed", "x-*", "--rights", "admin"])?;
    let list = ask(&server, Method::GET, "/v1/feeds", Some(&admin)).await?.success()?.json()?;
    assert_eq!(list["feeds"], serde_json::json!([]), "others' feeds are not in the list");
    server.check_unharmed().await
}

#[tokio::test]
async fn feeds_are_made_and_changed_by_who_administers_them() -> anyhow::Result<()> {
    let server = start(&[]).await?;
    let some = mint(&["--feed", "x-*", "--rights", "admin"])?;
    let no = mint(&["--feed", "*", "--rights", "publish,watch", "--tier", "vip"])?;
    let send = async |method: Method, path: &str, token: &str, body: &'static str| {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        http::request_with(method, &server.url(path), &headers, body).await
    };
    for (token, body, refused) in [(&no, r#"{"id": "x-1"}"#, "right"), (&some, r#"{"id": "y-1"}"#, "feed")] {
        assert_eq!(kind(&send(Method::POST, "/v1/feeds", token, body).await?)?, refused, "{body}");
    }
    let made = send(Method::POST, "/v1/feeds", &some, r#"{"id": "x-1"}"#).await?.success()?;
    assert_eq!((made.status, made.header("location")), (201, "/v1/feeds/x-1"));
    let change = r#"{"settings": {"window": 60}}"#;
    assert_eq!(kind(&send(Method::PATCH, "/v1/feeds/x-1", &no, change).await?)?, "right");
    assert_eq!(kind(&send(Method::PATCH, "/v1/feeds/y-1", &some, change).await?)?, "feed");
    let changed = send(Method::PATCH, "/v1/feeds/x-1", &some, change).await?.success()?.json()?;
    assert_eq!(changed["atOnce"], serde_json::json!(["window"]));
    server.check_unharmed().await
}

#[tokio::test]
async fn a_right_that_ends_ends_both_paths() -> anyhow::Result<()> {
    let server = start(&[]).await?;
    let admin = mint(&["--feed", "*", "--rights", "admin"])?;
    let feed_is = async |what: &str, wanted: &dyn Fn(&serde_json::Value) -> bool| {
        wait::until(what, GENEROUS, || async {
            let feed = ask(&server, Method::GET, &format!("/v1/feeds/{FEED}"), Some(&admin)).await?.json()?;
            anyhow::ensure!(wanted(&feed), "the feed is {feed:#}");
            Ok(Some(()))
        })
        .await
    };
    let viewers = |count: u64| move |feed: &serde_json::Value| feed["paths"]["realtime"]["viewers"] == count;
    let sends = mint(&["--feed", FEED, "--rights", "publish", "--id", "encoder"])?;
    let mut encoder = publisher(&server, &sends)?;
    let watch =
        |more: &[&str]| mint(&[&["--feed", FEED, "--rights", "watch", "--tier", "vip"], more].concat());
    let path = plays(&server, &watch(&[])?).await?;
    let hls = async |token: &str| {
        ask(&server, Method::GET, &format!("/hls/{FEED}/multivariant.m3u8"), Some(token)).await
    };
    anyhow::ensure!(path.contains("/hls/"));
    let bench = |token: &str| {
        let mut bench = Command::new(server::bicast()?);
        bench.args(["bench", "viewers", "--json", "--viewers", "2", "--duration", "300", "--whep"]);
        Process::start("bench", bench.args([&server.url(&format!("/whep/{FEED}")), "--token", token]))
    };

    let short = watch(&["--expires", "12s"])?;
    let _first = bench(&short)?;
    feed_is("both are there", &viewers(2)).await?;
    feed_is("both had to go", &viewers(0)).await?;
    assert_eq!(kind(&hls(&short).await?)?, "expired");
    assert_eq!(server.metric("bicast_auth_sessions_ended_total").await?, 2.0);

    let anna = watch(&["--viewer", "anna"])?;
    let _second = bench(&anna)?;
    feed_is("both are there", &viewers(2)).await?;
    assert_eq!(hls(&anna).await?.status, 200);
    let revoke = async |path: &str| ask(&server, Method::DELETE, path, Some(&admin)).await;
    assert_eq!(kind(&ask(&server, Method::DELETE, "/v1/viewers/anna/tokens", Some(&anna)).await?)?, "right");
    let of_some = mint(&["--feed", "te*", "--rights", "admin"])?;
    let answer = ask(&server, Method::DELETE, "/v1/viewers/anna/tokens", Some(&of_some)).await?;
    assert_eq!(kind(&answer)?, "some-feeds");
    assert_eq!(revoke("/v1/viewers/anna/tokens").await?.status, 204);
    assert_eq!(kind(&hls(&anna).await?)?, "revoked");
    feed_is("both had to go", &viewers(0)).await?;
    assert_eq!(hls(&watch(&["--viewer", "bea"])?).await?.status, 200, "nobody else's");

    assert_eq!(revoke("/v1/tokens/encoder").await?.status, 204);
    feed_is("nobody publishes", &|feed| feed["state"] == "offline").await?;
    encoder.ended(GENEROUS).await?;
    let answer = ask(&server, Method::POST, &format!("/whip/{FEED}"), Some(&sends)).await?;
    assert_eq!(kind(&answer)?, "revoked");
    assert_eq!(server.metric("bicast_auth_sessions_ended_total").await?, 5.0);
    server.check_unharmed().await
}

#[tokio::test]
async fn a_viewer_that_has_joined_ends_with_its_right_and_is_told() -> anyhow::Result<()> {
    let server = start(&[]).await?;
    let _publisher = publisher(&server, &mint(&["--feed", FEED, "--rights", "publish"])?)?;
    let token = |tier: &str, viewer: &str| {
        mint(&["--feed", FEED, "--rights", "watch", "--tier", tier, "--viewer", viewer])
    };
    let (free, vip) = (token("free", "bea")?, token("vip", "anna")?);
    plays(&server, &vip).await?;
    let refused = channel::join(&server, FEED, r#"{"tier": "vip"}"#, Some(&free)).await?;
    assert_eq!((refused.status, refused.json()?["type"].as_str()), (403, Some("/problems/tier")));

    let bea = Viewer::join(&server, FEED, "", Some(&free)).await?;
    assert_eq!(bea.joined["viewer"]["decision"]["reason"], "tier-free");
    assert!(bea.joined["urls"]["whep"].is_null(), "its tier has no WebRTC");
    let anna = Viewer::join(&server, FEED, "", Some(&vip)).await?;
    assert_eq!(anna.joined["viewer"]["path"], "realtime");
    let mut channel = anna.listen(&server, "").await?;
    assert_eq!(channel.until("hello").await?["viewer"]["subject"], "anna");

    // One's address is no key to another's, nor to what only administrators see.
    let guessed = anna.path.replace(anna.id(), &"0".repeat(32));
    assert_eq!(http::get(&server.url(&guessed)).await?.status, 404);

    let admin = mint(&["--feed", "*", "--rights", "admin"])?;
    let revoked = ask(&server, Method::DELETE, "/v1/viewers/anna/tokens", Some(&admin)).await?;
    assert_eq!(revoked.status, 204);
    assert_eq!(channel.until("end").await?["reason"], "right-ended");
    assert_eq!(http::get(&server.url(&anna.path)).await?.status, 410);
    assert_eq!(http::get(&server.url(&bea.path)).await?.status, 200, "nobody else's");
    assert_eq!(kind(&channel::join(&server, FEED, "", Some(&vip)).await?)?, "revoked");

    let of_one = mint(&["--feed", FEED, "--rights", "admin"])?;
    assert_eq!(ask(&server, Method::GET, "/v1/admission", Some(&of_one)).await?.status, 403);
    assert_eq!(ask(&server, Method::GET, "/v1/admission", Some(&admin)).await?.status, 200);
    server.check_unharmed().await
}

#[tokio::test]
async fn a_viewer_is_there_as_often_as_its_token_says() -> anyhow::Result<()> {
    let server = start(&[]).await?;
    let _encoder = publisher(&server, &mint(&["--feed", FEED, "--rights", "publish"])?)?;
    plays(&server, &mint(&["--feed", FEED, "--rights", "watch"])?).await?;
    let one =
        mint(&["--feed", FEED, "--rights", "watch", "--tier", "vip", "--viewer", "anna", "--viewers", "1"])?;
    let bearer = format!("Bearer {one}");
    let whep = server.url(&format!("/whep/{FEED}"));
    let join = async || {
        let headers = [("content-type", "application/sdp"), ("authorization", bearer.as_str())];
        http::request_with(Method::POST, &whep, &headers, bicast_tests::peer::viewer_offer().await?).await
    };
    let first = join().await?;
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(kind(&join().await?)?, "viewers");
    let session = bicast_tests::hls::resolve(&whep, first.header("location"))?;
    let leave = [("authorization", bearer.as_str())];
    assert_eq!(http::request_with(Method::DELETE, &session, &leave, "").await?.status, 200);
    assert_eq!(join().await?.status, 201);

    let hls = server.url(&format!("/hls/{FEED}/multivariant.m3u8"));
    let player = async |agent: &str| {
        let headers = [("user-agent", agent), ("authorization", bearer.as_str())];
        http::request_with(Method::GET, &hls, &headers, "").await
    };
    assert_eq!(player("one").await?.status, 200);
    assert_eq!(kind(&player("two").await?)?, "viewers");
    assert_eq!(player("one").await?.status, 200, "who is there goes on");
    server.check_unharmed().await
}

#[tokio::test]
async fn the_edge_checks_tokens_and_serves_all_from_one_cache() -> anyhow::Result<()> {
    let server = start(&[]).await?;
    let _encoder = publisher(&server, &mint(&["--feed", FEED, "--rights", "publish"])?)?;
    let watch = |viewer: &str| mint(&["--feed", FEED, "--rights", "watch", "--viewer", viewer]);
    let (anna, bea) = (watch("anna")?, watch("bea")?);
    let path = plays(&server, &anna).await?;
    let own = mint(&["--feed", "*", "--rights", "watch", "--viewer", "edge"])?;
    let edge = Edge::with_token(&server, FEED, Some(&own)).await?;
    let mut connection = edge.connect().await?;
    let playlist = format!("/hls/{FEED}/multivariant.m3u8");
    assert_eq!(kind(&connection.get(&playlist, &[]).await?)?, "missing");
    let other = mint(&["--feed", "other", "--rights", "watch"])?;
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(kind(&connection.get(&playlist, &[("authorization", &bearer(&other))]).await?)?, "feed");
    assert_eq!(kind(&connection.get(&path.replace(&anna, &other), &[]).await?)?, "feed");
    assert_eq!(kind(&connection.get(&path.replace(&anna, "x.y.z"), &[]).await?)?, "malformed");

    let by_path = connection.get(&path, &[]).await?.success()?;
    let by_header = connection.get(&playlist, &[("authorization", &bearer(&bea))]).await?.success()?;
    assert_eq!(by_path.body, by_header.body);
    let video =
        by_path.text().lines().find(|line| line.ends_with("media.m3u8")).context("no variant")?.to_owned();
    let init = format!("{}/init0.mp4", video.trim_end_matches("/media.m3u8"));
    let of = |token: &str| format!("/t/{token}/hls/{FEED}/{init}");
    let first = connection.get(&of(&anna), &[]).await?.success()?;
    let second = connection.get(&of(&bea), &[]).await?.success()?;
    assert_eq!(first.body, second.body);
    assert_eq!(second.header("x-cache"), "hit", "another viewer's token is the same address in the cache");
    assert_eq!(kind(&connection.get(&of(&other), &[]).await?)?, "feed", "what is cached is no door either");

    // No way of writing an address makes the edge check one feed and the origin serve another.
    for written in [
        format!("/hls/other/../{FEED}/multivariant.m3u8"),
        format!("/hls/{FEED}/../other/multivariant.m3u8"),
        format!("/hls/{FEED}/multivariant.m3u8/../../other/x"),
        format!("/hls/{FEED}/multivariant.m3u8%2F..%2F..%2Fother%2Fx"),
        format!("/hls/other%2F..%2F{FEED}/multivariant.m3u8"),
        format!("/hls//{FEED}/multivariant.m3u8"),
        format!("//hls/{FEED}/multivariant.m3u8"),
        format!("/hls/%74est/{init}"),
        format!("/t/{other}/hls/{FEED}/{init}"),
        format!("/t/{other}/../hls/{FEED}/{init}"),
        format!("/t/x/hls/other/../{FEED}/{init}"),
    ] {
        let answer = connection.get(&written, &[("authorization", &bearer(&other))]).await?;
        assert!(matches!(answer.status, 400..=404), "{written}: {}", answer.status);
    }

    let admin = mint(&["--feed", "*", "--rights", "admin"])?;
    // Asked about just before: the edge keeps the answer for as long as it ever does.
    assert_eq!(connection.get(&of(&anna), &[]).await?.status, 200);
    let revoked = ask(&server, Method::DELETE, "/v1/viewers/anna/tokens", Some(&admin)).await?;
    assert_eq!(revoked.status, 204);
    let since = bicast_shared::clock::now();
    let mut connection = edge.connect().await?;
    let mut status = 200;
    let deadline = since + GENEROUS;
    while status == 200 && bicast_shared::clock::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
        status = connection.get(&of(&anna), &[]).await?.status;
    }
    assert_eq!(status, 401, "a right that was taken back ends at the edge");
    println!("taken back: ended at the edge after {:.1} s", since.elapsed().as_secs_f64());
    assert_eq!(connection.get(&of(&bea), &[]).await?.status, 200);
    server.check_unharmed().await
}

#[tokio::test]
async fn keys_are_exchanged_while_the_server_runs() -> anyhow::Result<()> {
    let folder = bicast_tests::root().join(format!("target/test-logs/{}-keys", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (old_key, old) = ed25519(&folder, "old")?;
    let (new_key, new) = ed25519(&folder, "new")?;
    let set = folder.join("jwks.json");
    let write = |keys: &[&serde_json::Value]| -> anyhow::Result<()> {
        let beside = folder.join("jwks.tmp");
        std::fs::write(&beside, serde_json::json!({ "keys": keys }).to_string())?;
        Ok(std::fs::rename(&beside, &set)?)
    };
    write(&[&old])?;
    let named = format!("auth.jwks_file={}", set.display());
    let server = Server::start_with(&["--set", &named]).await?;
    let mint = |key: &str, kid: &str, more: &[&str]| {
        token(&[&["--feed", FEED, "--key-file", key, "--kid", kid], more].concat())
    };
    let publish = mint(&old_key, "old", &["--rights", "publish"])?;
    let (before, after) =
        (mint(&old_key, "old", &["--rights", "watch"])?, mint(&new_key, "new", &["--rights", "watch"])?);
    let mut running = publisher(&server, &publish)?;
    let path = plays(&server, &before).await?;
    let with = |token: &str| server.url(&path.replace(&before, token));
    assert_eq!(kind(&http::get(&with(&after)).await?)?, "unknown-key");

    let is = async |token: &str, wanted: u16| {
        wait::until("the keys are in force", GENEROUS, || async {
            let status = http::get(&with(token)).await?.status;
            anyhow::ensure!(status == wanted, "status {status}");
            Ok(Some(()))
        })
        .await
    };
    write(&[&old, &new])?;
    is(&after, 200).await?;
    is(&before, 200).await?;
    // A broken file changes nothing.
    std::fs::write(&set, "{")?;
    wait::until("it was looked at", GENEROUS, || async {
        let failed = server.metric_of("bicast_auth_key_reloads_total", ("result", "failed")).await?;
        Ok((failed > 0.0).then_some(()))
    })
    .await?;
    is(&before, 200).await?;
    write(&[&new])?;
    is(&before, 401).await?;
    assert_eq!(kind(&http::get(&with(&before)).await?)?, "unknown-key");
    is(&after, 200).await?;
    assert!(running.running(), "who was let in stays: {}", running.output());
    server.check_unharmed().await
}

/// A private key in a file, and its public half as a JWK.
fn ed25519(folder: &std::path::Path, kid: &str) -> anyhow::Result<(String, serde_json::Value)> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let file = folder.join(format!("{kid}.pem"));
    std::fs::write(&file, pair.serialize_pem())?;
    let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    Ok((file.display().to_string(), serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})))
}

#[tokio::test]
async fn keys_come_from_an_address_and_an_unknown_one_is_asked_for() -> anyhow::Result<()> {
    let folder = bicast_tests::root().join(format!("target/test-logs/{}-fetched", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (first_key, first) = ed25519(&folder, "first")?;
    let (second_key, second) = ed25519(&folder, "second")?;
    let set = Arc::new(Mutex::new(serde_json::json!({ "keys": [first.clone()] })));
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("auth.jwks_url=http://{}/keys", listener.local_addr()?);
    tokio::spawn(answer(listener, {
        let (set, asked) = (set.clone(), asked.clone());
        move |_| {
            asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            (200, set.lock().to_string())
        }
    }));
    let server = Server::start_with(&["--set", &url]).await?;
    let mint =
        |key: &str, kid: &str| token(&["--feed", "*", "--rights", "watch", "--key-file", key, "--kid", kid]);
    let (one, two) = (mint(&first_key, "first")?, mint(&second_key, "second")?);
    let status = async |token: &str| ask(&server, Method::GET, "/hls/x/multivariant.m3u8", Some(token)).await;
    wait::until("the keys were fetched", GENEROUS, || async {
        Ok((status(&one).await?.status == 404).then_some(()))
    })
    .await?;
    // Strangers make it ask once, not once each.
    for n in 0..20 {
        let stranger = mint(&second_key, &format!("stranger-{n}"))?;
        assert_eq!(kind(&status(&stranger).await?)?, "unknown-key");
    }
    let before = asked.load(std::sync::atomic::Ordering::SeqCst);
    assert!(before <= 3, "{before} requests");
    *set.lock() = serde_json::json!({ "keys": [first, second] });
    wait::until("the new key is known", GENEROUS, || async {
        Ok((status(&two).await?.status == 404).then_some(()))
    })
    .await?;
    assert_eq!(status(&one).await?.status, 404, "the old one stays");
    server.check_unharmed().await
}

#[tokio::test]
async fn a_webhook_decides_about_good_tokens_and_without_it_nobody_is_let_in() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("auth.webhook_url=http://{}/decide", listener.local_addr()?);
    let (says, heard) =
        (Arc::new(Mutex::new((403, r#"{"reason": "not paid"}"#))), Arc::new(Mutex::new(Vec::new())));
    tokio::spawn(answer(listener, {
        let (says, heard) = (says.clone(), heard.clone());
        move |question| {
            heard.lock().extend(serde_json::from_slice::<serde_json::Value>(question).ok());
            let (status, body) = *says.lock();
            (status, body.to_owned())
        }
    }));
    let server = start(&["--set", &url]).await?;
    let token = mint(&["--feed", "*", "--rights", "publish,watch", "--tier", "vip", "--viewer", "anna"])?;
    for (method, path) in &DOORS[..3] {
        let answer = ask(&server, method.clone(), path, Some(&token)).await?;
        if *method == Method::POST {
            assert_eq!(kind(&answer)?, "denied", "{method} {path}");
            assert!(answer.text().contains("not paid"), "{}", answer.text());
        } else {
            assert_eq!(answer.status, 404, "sessions were decided when they began");
        }
    }
    let asked: Vec<serde_json::Value> = heard.lock().clone();
    let acts: Vec<_> = asked.iter().map(|asked| asked["act"].clone()).collect();
    assert_eq!(acts, ["publish", "watch-realtime"]);
    assert_eq!((&asked[0]["feed"], &asked[0]["viewer"]), (&"test".into(), &"anna".into()));
    let forged = mint_with(&SECRET.replace("tests", "thief"), &["--feed", "*", "--rights", "publish"])?;
    assert_eq!(kind(&ask(&server, Method::POST, "/whip/test", Some(&forged)).await?)?, "forged");
    assert_eq!(heard.lock().len(), 2, "it is not asked about bad tokens");

    let hls = "/hls/test/multivariant.m3u8";
    *says.lock() = (200, "");
    for _ in 0..5 {
        assert_eq!(ask(&server, Method::GET, hls, Some(&token)).await?.status, 404);
    }
    assert_eq!(heard.lock().len(), 3, "asked once for a viewer's requests");
    *says.lock() = (403, "");
    let answer = ask(&server, Method::POST, "/v1/feeds/test/viewers", Some(&token)).await?;
    assert_eq!(kind(&answer)?, "denied", "who may not watch joins nothing either");
    assert_eq!(heard.lock().last().context("not asked")?["act"], "join");
    *says.lock() = (500, "");
    let answer = ask(&server, Method::POST, "/whip/test", Some(&token)).await?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("/problems/token-undecided"), "{}", answer.text());
    assert_eq!(heard.lock().len(), 6, "asked twice");
    // Players ask again and again while nobody answers.
    let bea = mint(&["--feed", "*", "--rights", "watch", "--viewer", "bea"])?;
    let many = (0..20).map(|_| ask(&server, Method::GET, hls, Some(&bea)));
    for answer in futures_util::future::try_join_all(many).await? {
        assert_eq!(answer.status, 503);
    }
    assert_eq!(heard.lock().len(), 8, "one question for all of them, put twice");
    server.check_unharmed().await
}

/// Answers every request with what is said of its body: a status and a text.
async fn answer(
    listener: tokio::net::TcpListener,
    say: impl Fn(&[u8]) -> (u16, String) + Clone + Send + 'static,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let say = say.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let say = say.clone();
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let (status, text) = say(&body);
                let response = hyper::Response::builder().status(status).body(Full::new(Bytes::from(text)));
                anyhow::Ok(response?)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

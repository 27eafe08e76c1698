//! Delay classes: viewers who must stay behind find what is due for them, and nothing else, at the server and at the edge.

use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::edge::Edge;
use bicast_tests::hls;
use bicast_tests::http::{self, Response};
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use hyper::Method;

use crate::scene::FEED;
use crate::tokens::{ask, kind, mint, plays, publisher, start};

const BEHIND: Duration = Duration::from_secs(4);
/// Clocks are read at both ends of what is compared.
const NEARLY: Duration = Duration::from_millis(3_900);

async fn classes() -> anyhow::Result<Server> {
    start(&["--set", "auth.delay_classes=tv=4,stadium=30"]).await
}

pub(crate) fn watching(viewer: &str, more: &[&str]) -> anyhow::Result<String> {
    mint(&[&["--feed", FEED, "--rights", "watch", "--tier", "vip", "--viewer", viewer], more].concat())
}

/// Where somebody who must stay behind is sent on to, as a path with its token.
pub(crate) async fn space(server: &Server, token: &str) -> anyhow::Result<String> {
    let answer = http::get(&server.url(&format!("/t/{token}/hls/{FEED}/multivariant.m3u8?x=1"))).await?;
    anyhow::ensure!(answer.status == 307, "status {}: {}", answer.status, answer.text());
    assert!(answer.header("cache-control").contains("no-store"), "it is for this token only");
    let feed = answer
        .header("location")
        .strip_prefix("../")
        .and_then(|rest| rest.strip_suffix("/multivariant.m3u8?x=1"));
    Ok(format!("/t/{token}/hls/{}", feed.context("another place")?))
}

/// What is there once it is.
pub(crate) async fn there(server: &Server, path: &str) -> anyhow::Result<Response> {
    wait::until("it is due", GENEROUS, || async {
        let answer = http::get(&server.url(path)).await?;
        anyhow::ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        Ok(Some(answer))
    })
    .await
}

/// Whether a playlist lists a part: a hint names it, too.
fn lists(playlist: &str, part: &str) -> bool {
    let uri = format!("URI=\"{part}\"");
    playlist.lines().any(|line| line.starts_with("#EXT-X-PART:") && line.contains(&uri))
}

/// The folder of the picture, below a multivariant playlist.
pub(crate) fn picture(multivariant: &str) -> anyhow::Result<&str> {
    let line = multivariant.lines().find_map(|line| line.strip_suffix("/media.m3u8"));
    line.context("no variant")
}

#[tokio::test]
async fn who_must_stay_behind_finds_what_is_due_and_nothing_before() -> anyhow::Result<()> {
    let server = classes().await?;
    let _encoder = publisher(&server, &mint(&["--feed", FEED, "--rights", "publish"])?)?;
    let live = watching("anna", &[])?;
    let late = watching("ben", &["--delay", "tv"])?;
    let multivariant = http::get(&server.url(&plays(&server, &live).await?)).await?.text();
    let folder = picture(&multivariant)?;
    let at_live = format!("/t/{live}/hls/{FEED}/{folder}");
    let below = space(&server, &late).await?;
    let at_late = format!("{below}/{folder}");
    there(&server, &format!("{below}/multivariant.m3u8")).await?;

    // A part that is there for everybody else is not there for them, by its name or hinted, until it is due; it is the same then.
    // It is waited for, so that it is as new as can be.
    let text = http::get(&server.url(&format!("{at_live}/media.m3u8"))).await?.success()?.text();
    let (segment, part) = hls::hinted_part(&text)?;
    let newest = format!("{segment}.{part}.m4s");
    let next = format!("{at_live}/media.m3u8?_HLS_msn={segment}&_HLS_part={part}");
    assert!(lists(&http::get(&server.url(&next)).await?.success()?.text(), &newest));
    let seen = clock::now();
    let bytes = http::get(&server.url(&format!("{at_live}/{newest}"))).await?.success()?.body;
    let early = http::get(&server.url(&format!("{at_late}/{newest}"))).await?;
    assert_eq!((early.status, &early.json()?["type"]), (404, &"/problems/unknown-media".into()));
    wait::until("the part is listed", GENEROUS, || async {
        let text = http::get(&server.url(&format!("{at_late}/media.m3u8"))).await?.success()?.text();
        let (segment, part) = hls::hinted_part(&text)?;
        if lists(&text, &newest) {
            return Ok(Some(()));
        }
        // As a player does: the next playlist is waited for.
        let next = format!("{at_late}/media.m3u8?_HLS_msn={segment}&_HLS_part={part}");
        http::get(&server.url(&next)).await?.success()?;
        Ok(None)
    })
    .await?;
    let waited = clock::now().saturating_duration_since(seen);
    assert!(waited >= NEARLY, "it was there after {waited:?}, and the class is {BEHIND:?} behind");
    assert_eq!(http::get(&server.url(&format!("{at_late}/{newest}"))).await?.success()?.body, bytes);

    // Nothing else is open to them, and what is theirs is open to those who may see more.
    let other = watching("carl", &["--delay", "stadium"])?;
    for (path, reason) in [
        (format!("{at_live}/media.m3u8").replace(&live, &late), "delayed"),
        (format!("{at_live}/{newest}").replace(&live, &late), "delayed"),
        (format!("{at_late}/media.m3u8").replace(&late, &other), "delayed"),
        (format!("{below}/multivariant.m3u8").replace(&late, &other), "delayed"),
        (format!("/t/{late}/hls/{FEED}/allowed"), "delayed"),
    ] {
        let answer = http::get(&server.url(&path)).await?;
        assert_eq!((answer.status, kind(&answer)?.as_str()), (403, reason), "{path}");
    }
    http::get(&server.url(&format!("{at_late}/media.m3u8").replace(&late, &live))).await?.success()?;
    let guessed = format!("/t/{late}/hls/{FEED}~{}/multivariant.m3u8", "0".repeat(64));
    assert_eq!(http::get(&server.url(&guessed)).await?.status, 404);
    let unknown = watching("dora", &["--delay", "nowhere"])?;
    let answer = ask(&server, Method::GET, &format!("/hls/{FEED}/multivariant.m3u8"), Some(&unknown)).await?;
    assert_eq!(kind(&answer)?, "delayed", "a class that is not there leads nowhere");
    let answer = ask(&server, Method::POST, &format!("/whep/{FEED}"), Some(&late)).await?;
    assert_eq!(kind(&answer)?, "delayed", "WebRTC is never behind");
    let bearer = format!("Bearer {late}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let joined =
        http::request_with(Method::POST, &server.url(&format!("/v1/feeds/{FEED}/viewers")), &headers, "{}")
            .await?;
    let viewer = &joined.success()?.json()?["viewer"];
    assert_eq!((&viewer["tier"], &viewer["path"]), (&"free".into(), &"hls".into()));
    server.check_unharmed().await
}

#[tokio::test]
async fn the_edge_shares_what_is_due_and_keeps_the_live_edge_from_those_who_must_stay_behind()
-> anyhow::Result<()> {
    let server = classes().await?;
    let _encoder = publisher(&server, &mint(&["--feed", FEED, "--rights", "publish"])?)?;
    let live = watching("anna", &[])?;
    let (ben, carl) = (watching("ben", &["--delay", "tv"])?, watching("carl", &["--delay", "tv"])?);
    let multivariant = http::get(&server.url(&plays(&server, &live).await?)).await?.text();
    let folder = picture(&multivariant)?;
    let below = space(&server, &ben).await?;
    there(&server, &format!("{below}/multivariant.m3u8")).await?;
    let own = mint(&["--feed", "*", "--rights", "watch", "--viewer", "edge"])?;
    let edge = Edge::with_token(&server, FEED, Some(&own)).await?;
    let mut connection = edge.connect().await?;

    let init = format!("{folder}/init0.mp4");
    let at_live = |token: &str| format!("/t/{token}/hls/{FEED}/{init}");
    let cached = connection.get(&at_live(&live), &[]).await?.success()?;
    let refused = connection.get(&at_live(&ben), &[]).await?;
    assert_eq!((refused.status, kind(&refused)?.as_str()), (403, "delayed"), "what is cached is no door");
    let entrance = connection.get(&format!("/t/{ben}/hls/{FEED}/multivariant.m3u8"), &[]).await?;
    let place = below.rsplit_once('/').context("no feed")?.1;
    assert_eq!(entrance.status, 307);
    assert_eq!(entrance.header("location"), format!("../{place}/multivariant.m3u8"));
    connection.get(&format!("{below}/multivariant.m3u8"), &[]).await?.success()?;
    let first = connection.get(&format!("{below}/{init}"), &[]).await?.success()?;
    let second = connection.get(&format!("{below}/{init}").replace(&ben, &carl), &[]).await?.success()?;
    assert_eq!((first.body.as_ref(), second.body.as_ref()), (cached.body.as_ref(), cached.body.as_ref()));
    assert_eq!(first.header("x-cache"), "miss", "the live edge's entry is another one");
    assert_eq!(second.header("x-cache"), "hit", "the viewers of a class share theirs");

    // What is neither yes nor no is said by the gateway: a player has to know that it must begin anew, and pages must be able to read it.
    let guessed = format!("{FEED}~{}", "0".repeat(64));
    for (place, status, problem) in [(guessed.as_str(), 404, "unknown-feed"), (".x", 400, "bad-feed-id")] {
        let answer = connection.get(&format!("/t/{ben}/hls/{place}/multivariant.m3u8"), &[]).await?;
        assert_eq!(
            (answer.status, &answer.json()?["type"]),
            (status, &format!("/problems/{problem}").into())
        );
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
    server.check_unharmed().await
}

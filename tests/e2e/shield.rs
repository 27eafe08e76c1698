//! The shield of `deploy/`: the real nginx and the real Varnish in front of the origin. What players get is what the origin has, and the
//! origin is asked for it once, however many they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::channel::{Channel, Viewer};
use bicast_tests::connection::Http2;
use bicast_tests::edge::Edge;
use bicast_tests::hls;
use bicast_tests::http;
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::scene::FEED;

const PLAYERS: usize = 50;
/// How long the players follow the live edge.
const FOLLOWED: Duration = Duration::from_secs(8);

/// Everything that players were given, by its path.
type Given = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Follows the live edge as a player does: waits for the playlist that has the next part, and fetches that part.
async fn follow(mut connection: Http2, playlist: String, given: Given) -> anyhow::Result<()> {
    let folder = playlist.rsplit_once('/').context("no folder")?.0.to_owned();
    let first = connection.get(&playlist, &[]).await?;
    anyhow::ensure!(first.status == 200, "{}", first.status);
    let mut text = String::from_utf8(first.body.to_vec())?;
    let began = clock::now();
    while clock::now().duration_since(began) < FOLLOWED {
        let (segment, part) = hls::hinted_part(&text)?;
        let name = format!("{segment}.{part}.m4s");
        let blocking = format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}");
        let answer = connection.get(&blocking, &[]).await?;
        anyhow::ensure!(answer.status == 200, "{blocking}: {}", answer.status);
        text = String::from_utf8(answer.body.to_vec())?;
        let media = connection.get(&format!("{folder}/{name}"), &[]).await?;
        anyhow::ensure!(media.status == 200, "{name}: {}", media.status);
        let mut given = given.lock();
        for (path, body) in [(blocking, answer.body), (format!("{folder}/{name}"), media.body)] {
            if let Some(before) = given.insert(path.clone(), body.clone()) {
                anyhow::ensure!(before == body, "{path} is not the same for everybody");
            }
        }
    }
    Ok(())
}

/// Requests for media of this kind that reached the origin.
async fn at_origin(server: &Server, kind: &str) -> anyhow::Result<f64> {
    server.metric_of("bicast_hls_requests_total", ("kind", kind)).await
}

#[tokio::test]
async fn fifty_players_are_one_to_the_origin_and_get_what_it_has() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let edge = Edge::before(&server, FEED).await?;
    let playlist = hls::path(&playlists[0])?;

    let before = [at_origin(&server, "part").await?, at_origin(&server, "media_blocking").await?];
    let given = Given::default();
    let mut players = Vec::new();
    for _ in 0..PLAYERS {
        let connection = edge.connect().await?;
        players.push(tokio::spawn(follow(connection, playlist.clone(), Arc::clone(&given))));
    }
    for player in players {
        player.await??;
    }
    let asked = [
        at_origin(&server, "part").await? - before[0],
        at_origin(&server, "media_blocking").await? - before[1],
    ];
    let given = std::mem::take(&mut *given.lock());
    let is_part = |path: &str| path.ends_with(".m4s");
    let distinct = given.keys().filter(|path| is_part(path)).count();
    assert!(distinct > 20, "{distinct} parts");
    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    let (parts, versions) = (distinct as f64, (given.len() - distinct) as f64);
    assert!(asked[0] <= parts * 1.02 + 1.0, "{} requests for {parts} parts reached the origin", asked[0]);
    assert!(
        asked[1] <= versions * 1.02 + 1.0,
        "{} requests for {versions} playlists reached the origin",
        asked[1]
    );
    for (path, body) in given.iter().filter(|(path, _)| is_part(path)) {
        let own = http::get(&server.url(path)).await?.success()?;
        assert_eq!(own.body, body, "{path}");
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn who_asks_too_early_keeps_nothing_from_the_others() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let edge = Edge::before(&server, FEED).await?;
    let playlist = hls::path(&playlists[0])?;
    let folder = playlist.rsplit_once('/').context("no folder")?.0.to_owned();
    let newest = http::get(&server.url(&playlist)).await?.success()?.text();
    let next = hls::hinted_part(&newest)?.0 + 1;
    // Names can be guessed: of what is not there yet, and of what is still growing.
    let (part, whole) = (format!("{folder}/{next}.1.m4s"), format!("{folder}/{next}.m4s"));
    let reload = format!("{playlist}?_HLS_msn={}&_HLS_part=0", next + 2);
    let mut eager = edge.connect().await?;
    let wait_for = async |name: &str, wanted: &str| {
        wait::until(name, GENEROUS, || {
            let url = server.url(&playlist);
            let wanted = wanted.to_owned();
            async move {
                let text = http::get(&url).await?.success()?.text();
                Ok(text
                    .lines()
                    .any(|line| {
                        let names = line == wanted || line.contains(&format!("\"{wanted}\""));
                        names && !line.contains("HINT")
                    })
                    .then_some(()))
            }
        })
        .await
    };
    let mut early = 0;
    while hls::hinted_part(&http::get(&server.url(&playlist)).await?.success()?.text())? < (next, 0) {
        for name in [&part, &whole] {
            let answer = eager.get(name, &[]).await?;
            early += usize::from(answer.status == 404);
        }
        let refused = eager.get(&reload, &[]).await?;
        assert!(refused.status == 400 && refused.header("cache-control") == "no-store", "{refused:?}");
    }
    assert!(early >= 2, "nobody asked too early");

    wait_for("the part is listed", &format!("{next}.1.m4s")).await?;
    let before = at_origin(&server, "part").await?;
    let mut players = Vec::new();
    for _ in 0..20 {
        let (mut connection, part) = (edge.connect().await?, part.clone());
        players.push(tokio::spawn(async move { connection.get(&part, &[]).await }));
    }
    for player in players {
        assert_eq!(player.await??.status, 200, "it is there");
    }
    assert_eq!(
        at_origin(&server, "part").await? - before,
        1.0,
        "and it is still fetched for all of them at once"
    );
    let growing = eager.get(&whole, &[]).await?;
    wait_for("the segment is whole", &format!("{next}.m4s")).await?;
    assert_eq!(eager.get(&whole, &[]).await?.status, 200, "{} before", growing.status);
    server.check_unharmed().await
}

#[tokio::test]
async fn what_the_edge_passes_on_refuses_and_hides() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let path = hls::path(&playlists[0])?;
    let edge = Edge::before(&server, FEED).await?;
    let mut connection = edge.connect().await?;

    let feeds = connection.get("/v1/feeds", &[]).await?;
    assert_eq!(feeds.status, 200, "the API");
    assert_eq!(connection.get("/metrics", &[]).await?.status, 404, "for the inside only");
    for (query, status) in
        [("?_HLS_part=1", 400), ("?_HLS_msn=999999", 400), ("?_HLS_msn=-1", 400), ("", 200)]
    {
        let answer = connection.get(&format!("{path}{query}"), &[("origin", "https://example.com")]).await?;
        assert_eq!(answer.status, status, "{query}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{query}");
    }
    let folder = path.rsplit_once('/').context("no folder")?.0;
    let missing = connection.get(&format!("{folder}/999999.m4s"), &[]).await?;
    assert_eq!((missing.status, missing.header("content-type")), (404, "application/problem+json"));
    let zipped = connection.get(&path, &[("accept-encoding", "gzip")]).await?;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let init = format!("{folder}/init0.mp4");
    let whole = connection.get(&init, &[]).await?;
    let some = connection.get(&init, &[("range", "bytes=4-7")]).await?;
    assert_eq!((some.status, &some.body[..]), (206, &whole.body[4..8]));
    // The same thing under another spelling is the same thing in the cache.
    for spelling in ["?", "?b=2&a=1", "?a=1&b=2"] {
        assert_eq!(connection.get(&format!("{init}{spelling}"), &[]).await?.status, 200, "{spelling}");
    }
    let again = connection.get(&format!("{init}?b=2&a=1"), &[]).await?;
    assert_eq!(again.header("x-cache"), "hit");
    Ok(())
}

#[tokio::test]
async fn event_channels_go_through_the_edge() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    server.hls_plays(FEED).await?;
    let edge = Edge::before(&server, FEED).await?;
    let viewer = Viewer::join(&server, FEED, "", None).await?;
    let path = viewer.joined["urls"]["events"].as_str().context("no events")?;
    let mut channel = Channel::over(edge.connect_http1().await?, path).await?;
    assert_eq!(channel.until("hello").await?["viewer"]["channels"], 1);
    viewer.change(&server, r#"{"path": "hls"}"#).await?.success()?;
    assert_eq!(channel.until("decision").await?["decision"]["reason"], "ordered");
    channel.say(r#"{"type":"report","latencyMs":1200}"#).await?;
    wait::until("its report is there", GENEROUS, || async {
        Ok((viewer.look(&server).await?["player"]["report"]["latencyMs"] == 1200.0).then_some(()))
    })
    .await
}

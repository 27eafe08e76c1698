//! `bicast bench hls` as people run it: against a real server, against one that has trouble, and against what is no LL-HLS.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Context as _;
use bicast_tests::origin::{Manner, Origin, PART, PART_BYTES, Trouble};
use bicast_tests::server::{self, Server};
use bicast_tests::{process, wait};
use serde_json::{Value, json};

use crate::scene::FEED;

/// A run that does not count, because this machine was busy with something else.
const VOID: i32 = 3;

async fn bench(url: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(server::bicast()?);
    command.args(["bench", "hls", url, "--json"]).args(arguments);
    tokio::task::spawn_blocking(move || process::run(&mut command, &[])).await?
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The seconds of a run that could be made, and its summary.
fn read(output: &Output) -> anyhow::Result<(Vec<Value>, Value)> {
    let code = output.status.code();
    anyhow::ensure!(code == Some(0) || code == Some(VOID), "{code:?}: {}", errors(output));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let summary = lines.pop().context("it printed nothing")?["summary"].clone();
    let void = summary["void"].as_array().context("no verdict")?;
    anyhow::ensure!(
        void.is_empty() == (code == Some(0)),
        "its exit code says what its report says: {summary}"
    );
    Ok((lines, summary))
}

fn count(summary: &Value, name: &str) -> u64 {
    let value = summary[name].as_u64();
    assert!(value.is_some(), "no {name}: {summary}");
    value.unwrap_or_default()
}

/// Requests of a kind that the server has answered.
async fn answered(server: &Server, kind: &str) -> anyhow::Result<f64> {
    server.metric_of("bicast_hls_requests_total", ("kind", kind)).await
}

async fn reaches<F: Future<Output = anyhow::Result<f64>>>(
    what: &str,
    least: f64,
    value: impl Fn() -> F,
) -> anyhow::Result<f64> {
    wait::until(what, wait::GENEROUS, || async {
        let value = value().await?;
        Ok((value >= least).then_some(value))
    })
    .await
}

/// The whole of a feed, from every player's first part to its end: then nothing is under way when it is counted.
#[tokio::test]
async fn every_player_gets_every_part_until_the_feed_ends() -> anyhow::Result<()> {
    const CLIENTS: [u64; 2] = [12, 8];
    let all = CLIENTS.iter().sum::<u64>() as f64;
    // Few and long parts, for a machine that is busy.
    let feed = ["--set", "feed.part_target=1", "--set", "feed.publisher_grace=1"];
    let server = Server::start_with(&[&feed[..], &["--set", "http.tls.listen=127.0.0.1:0"]].concat()).await?;
    let mut publisher =
        server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    let plain = server.hls_plays(FEED).await?;
    let port = server.https.context("no HTTPS")?.port();
    let secure = format!("https://localhost:{port}/hls/{FEED}/multivariant.m3u8");
    let published = || server.metric("bicast_hls_parts_total");

    let before = published().await?;
    // HTTP/1.1 and HTTP/2; far longer than the feed goes on.
    let run = |url: String, clients: u64| {
        tokio::spawn(async move {
            let clients = clients.to_string();
            bench(&url, &["--clients", &clients, "--ramp", "40/s", "--duration", "600", "--insecure"]).await
        })
    };
    let runs = [run(plain, CLIENTS[0]), run(secure, CLIENTS[1])];
    // Each loads the initialization sections of picture and sound once it knows where it begins: what is new from then on is
    // new for all.
    reaches("all players have begun", all * 2.0, || answered(&server, "init")).await?;
    // What may be listed and not counted yet is one of picture and one of sound.
    let least = published().await? + 3.0;
    let begun = reaches("the feed goes on", least, published).await?;
    reaches("the feed goes on for a while", begun + 10.0, published).await?;
    publisher.stop().await?;

    let mut loaded = 0;
    for (run, clients) in runs.into_iter().zip(CLIENTS) {
        let (seconds, summary) = read(&run.await??)?;
        let end = published().await?;
        assert_eq!((count(&summary, "connected"), count(&summary, "ended")), (clients, clients), "{summary}");
        assert_eq!(count(&summary, "playlistsFollowed"), 2, "picture and sound");
        assert_eq!((&summary["failed"], &summary["errors"]), (&json!({}), &json!({})));
        assert_eq!((count(&summary, "skips"), count(&summary, "gaps")), (0, 0));
        assert_eq!(summary["mode"], "blocking");
        let fresh = count(&summary, "freshParts") as f64 / clients as f64;
        assert!(fresh >= end - begun && fresh <= end - before, "{fresh} of {begun} to {end}: {summary}");
        assert!(count(&summary, "bytes") > 1_000 * count(&summary, "parts") && !seconds.is_empty());
        loaded += count(&summary, "parts");
    }
    assert_eq!(
        answered(&server, "part").await?,
        loaded as f64,
        "what the players count is what the server gave"
    );
    assert_eq!(answered(&server, "init").await?, all * 2.0, "once for each playlist");
    assert!(answered(&server, "media_blocking").await? >= all * 2.0 * 3.0);
    server.check_unharmed().await
}

/// Parts that were given, beginning with the first that all players got: each to each of them, until the run is over.
fn given_to_all(origin: &Origin, clients: u64) -> Vec<u64> {
    let served = origin.served();
    let mut from_first = served.iter().skip_while(|(_, times)| **times < clients).collect::<Vec<_>>();
    // At the end some have what others wait for.
    while from_first.last().is_some_and(|(_, times)| **times < clients) {
        from_first.pop();
    }
    let places: Vec<u64> = from_first.iter().map(|(place, _)| **place).collect();
    assert!(places.windows(2).all(|two| two[0] + 1 == two[1]), "each part: {served:?}");
    assert!(from_first.iter().all(|(_, times)| **times == clients), "once to each: {served:?}");
    places
}

#[tokio::test]
async fn an_origin_that_stops_makes_every_player_stand_still() -> anyhow::Result<()> {
    const CLIENTS: u64 = 5;
    let stop = Duration::from_secs(3);
    // Twelve parts after all have come.
    let trouble = Trouble::Stops(CLIENTS * 12, stop);
    let origin = Origin::start(Manner { blocks: true, trouble }).await?;
    let flags = ["--clients", "5", "--ramp", "100/s", "--duration", "9"];
    let (seconds, summary) = read(&bench(&origin.url(), &flags).await?)?;
    stalled(&summary, CLIENTS, stop)?;
    assert!(seconds.iter().any(|second| second["standingStill"] == CLIENTS), "{seconds:?}");
    assert_eq!((count(&summary, "playing"), count(&summary, "skips")), (CLIENTS, 0), "all went on");
    assert_eq!(summary["errors"], json!({}));
    assert!(given_to_all(&origin, CLIENTS).contains(&origin.marked().context("it never stopped")?));
    let (parts, served) = (count(&summary, "parts"), origin.served().values().sum::<u64>());
    assert!((parts..=parts + CLIENTS).contains(&served), "{served} of {parts}");
    assert!(count(&summary, "bytes") > parts * PART_BYTES as u64);
    Ok(())
}

/// Each player stood still, and for as long as it must: nobody had more ahead than the three parts that players stay behind, and
/// the one that had just come.
fn stalled(summary: &Value, clients: u64, nothing_for: Duration) -> anyhow::Result<()> {
    assert_eq!(count(summary, "playersWithStalls"), clients, "{summary}");
    assert!(count(summary, "stalls") >= clients);
    let least = (nothing_for - PART * 4).as_secs_f64() * clients as f64;
    let stalled = summary["stalledSeconds"].as_f64().context("no time")?;
    assert!(stalled >= least, "{stalled} s of {least} s: {summary}");
    Ok(())
}

#[tokio::test]
async fn one_part_that_is_given_late_is_a_stall_and_a_late_delivery() -> anyhow::Result<()> {
    const CLIENTS: u64 = 3;
    let late = Duration::from_secs(3);
    // Players are in their steady phase for long by then.
    let trouble = Trouble::Late(CLIENTS * 24, late);
    let origin = Origin::start(Manner { blocks: true, trouble }).await?;
    let flags = ["--clients", "3", "--ramp", "100/s", "--duration", "14"];
    let (_, summary) = read(&bench(&origin.url(), &flags).await?)?;
    assert!(given_to_all(&origin, CLIENTS).contains(&origin.marked().context("it was never late")?));
    stalled(&summary, CLIENTS, late)?;
    assert_eq!((&summary["errors"], count(&summary, "playing")), (&json!({}), CLIENTS));
    let longest = summary["delivery"]["max"].as_f64().context("no times")?;
    assert!(longest >= late.as_secs_f64() * 1_000.0 * 0.99, "{longest} ms");
    Ok(())
}

#[tokio::test]
async fn parts_that_do_not_come_are_errors_and_empty_the_buffer() -> anyhow::Result<()> {
    let origin = Origin::start(Manner { blocks: true, trouble: Trouble::Loses }).await?;
    let (_, summary) = read(&bench(&origin.url(), &["--clients", "2", "--duration", "5"]).await?)?;
    let missing = count(&summary["errors"], "part: HTTP 404");
    assert!(missing >= 6, "{summary}");
    // One of four parts: after three seconds nothing is left of three quarters of a second.
    assert_eq!(count(&summary, "playersWithStalls"), 2, "{summary}");
    assert_eq!(count(&summary, "playing"), 2, "players go on without it");
    assert_eq!(summary["failed"], json!({}));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_polled_and_what_is_no_playlist_is_told() -> anyhow::Result<()> {
    let origin = Origin::start(Manner { blocks: false, trouble: Trouble::None }).await?;
    let output = bench(&origin.url(), &["--clients", "2", "--duration", "3"]).await?;
    let (_, summary) = read(&output)?;
    assert_eq!(summary["mode"], "polling");
    assert!(errors(&output).contains("it is polled"), "{}", errors(&output));
    assert!(count(&summary, "freshParts") >= 10 && count(&summary, "skips") == 0, "{summary}");

    let server = Server::start().await?;
    for (url, says) in [
        (server.url("/hls/nobody/multivariant.m3u8"), "404"),
        (server.url("/readyz"), "no HLS playlist"),
        (format!("https://127.0.0.1:{}/x.m3u8", server.http().port()), "http:// instead"),
        ("http://127.0.0.1:9/x.m3u8".to_owned(), "Is the server running"),
    ] {
        let output = bench(&url, &["--clients", "1", "--duration", "1", "--insecure"]).await?;
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(errors(&output).contains(says), "{url}: {}", errors(&output));
    }
    server.check_unharmed().await
}

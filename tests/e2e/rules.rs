//! The rules of LL-HLS on a running server, as `bicast check hls` sees them over TLS and HTTP/2.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bicast_tests::process;
use bicast_tests::server::{self, Server};
use serde_json::Value;

use crate::scene::FEED;

/// What a run of a few seconds must have seen: a report that saw nothing proves nothing.
const SEEN: [u64; 42] = [
    1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 18, 20, 21, 28, 29, 30, 31, 33, 35, 36, 37, 39, 40, 41, 44,
    48, 49, 50, 51, 54, 59, 61, 62, 64, 65, 66, 69, 70, 71,
];

pub(crate) async fn check(server: &Server, feed: &str, seconds: &str) -> anyhow::Result<Vec<Value>> {
    let https = server.https.context("no HTTPS")?;
    let url = format!("https://localhost:{}/hls/{feed}/multivariant.m3u8", https.port());
    let mut command = Command::new(server::bicast()?);
    command.args(["check", "hls", &url, "--insecure", "--json", "--seconds", seconds]);
    let output = tokio::task::spawn_blocking(move || process::run(&mut command, &[])).await??;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let fails = report["fail"].as_u64();
    assert_eq!(
        output.status.code(),
        Some(i32::from(fails != Some(0))),
        "its exit code says what its report says"
    );
    report["rules"].as_array().cloned().context("no rules")
}

pub(crate) fn all_kept(rules: &[Value]) {
    let broken: Vec<_> = rules.iter().filter(|rule| rule["verdict"] == "fail").collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let passed: Vec<_> = rules
        .iter()
        .filter(|rule| rule["verdict"] == "pass")
        .filter_map(|rule| rule["rule"].as_u64())
        .collect();
    let missing: Vec<_> = SEEN.iter().filter(|rule| !passed.contains(rule)).collect();
    assert!(missing.is_empty(), "not seen: {missing:?}");
}

pub(crate) async fn secure() -> anyhow::Result<Server> {
    Server::start_with(&["--set", "http.tls.listen=127.0.0.1:0"]).await
}

#[tokio::test]
async fn the_rules_hold_at_24_25_and_30_pictures_a_second() -> anyhow::Result<()> {
    let server = secure().await?;
    let (mut publishers, mut feeds) = (Vec::new(), Vec::new());
    for fps in ["24", "25", "30"] {
        let feed = format!("{FEED}-{fps}");
        let pattern = ["--test-pattern", "--size", "320x180", "--bitrate", "200k", "--fps", fps];
        publishers.push(server.publish(&feed, &pattern)?);
        server.hls_plays(&feed).await?;
        feeds.push(feed);
    }
    for feed in feeds {
        all_kept(&check(&server, &feed, "8").await?);
    }
    Ok(())
}

#[tokio::test]
async fn the_rules_hold_across_a_publishers_return() -> anyhow::Result<()> {
    let server = secure().await?;
    let pattern = ["--retry", "--test-pattern", "--size", "320x180", "--bitrate", "200k"];
    let mut publisher = server.publish(FEED, &pattern)?;
    server.hls_plays(FEED).await?;
    let restart = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        publisher.kill()?;
        publisher = server.publish(FEED, &pattern)?;
        anyhow::Ok(())
    };
    let (rules, restarted) = tokio::join!(check(&server, FEED, "16"), restart);
    restarted?;
    let rules = rules?;
    all_kept(&rules);
    let epoch = server.feed(FEED).await?["epoch"].as_u64();
    assert!(epoch >= Some(1), "the publisher has returned: {epoch:?}");
    Ok(())
}

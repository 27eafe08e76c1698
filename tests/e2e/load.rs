//! `bicast bench viewers` as people run it: whole runs against a real server, and what it says of runs that cannot count.

use std::process::{Command, Output};

use bicast_tests::process;
use bicast_tests::server::{self, Server};
use serde_json::Value;

use crate::scene::FEED;

/// A run that does not count, because this machine was busy with something else.
const VOID: i32 = 3;

async fn bench(whep: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(server::bicast()?);
    command.args(["bench", "viewers", "--whep", whep, "--json"]).args(arguments);
    tokio::task::spawn_blocking(move || process::run(&mut command, &[])).await?
}

/// All lines of a run but the last, and its summary.
fn read(output: &Output) -> anyhow::Result<(Vec<Value>, Value)> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let last = lines
        .pop()
        .ok_or_else(|| anyhow::anyhow!("it printed nothing: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((lines, last["summary"].clone()))
}

#[tokio::test]
async fn a_run_counts_every_packet_of_every_viewer() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let arguments = [
        "--publish",
        "--viewers",
        "20",
        "--ramp",
        "20/s",
        "--duration",
        "4",
        "--authenticate",
        "100%",
        "--settle",
        "3",
    ];
    let output = bench(&server.url(&format!("/whep/{FEED}")), &arguments).await?;
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(VOID), "{code:?}: {}", String::from_utf8_lossy(&output.stderr));
    let (seconds, summary) = read(&output)?;

    assert_eq!(summary["connected"], 20);
    assert_eq!(summary["stayed"], 20);
    assert_eq!(summary["failed"], serde_json::json!({}));
    assert_eq!(summary["moving"]["count"], 20, "everybody saw a picture that moves");
    assert_eq!(summary["forged"], 0);
    // All were asked to be opened, and the feed has some 310 a second for each.
    let packets = summary["packets"].as_u64().unwrap_or(0);
    let authentic = summary["authenticated"].as_u64().unwrap_or(0);
    assert!(packets > 20 * 4 * 250, "{packets} packets");
    assert!(authentic > packets * 9 / 10, "{authentic} of {packets} packets were opened");
    assert!(seconds.len() >= 4, "{} lines of progress", seconds.len());
    assert!(summary["published"]["packets"].as_u64() > Some(1_000));
    // Loss is possible on a busy machine, and then it is told.
    if code == Some(0) {
        assert_eq!(summary["void"], serde_json::json!([]));
    } else {
        assert!(summary["void"].as_array().is_some_and(|why| !why.is_empty()), "{summary}");
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn a_server_that_refuses_is_quoted_and_the_run_could_not_be_made() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let output = bench(&server.url("/whep/nobody"), &["--viewers", "3", "--duration", "1"]).await?;
    assert_eq!(output.status.code(), Some(1));
    let (_, summary) = read(&output)?;
    assert_eq!(summary["connected"], 0);
    let failed = summary["failed"].as_object().cloned().unwrap_or_default();
    assert_eq!(failed.values().filter_map(Value::as_u64).sum::<u64>(), 3, "{failed:?}");
    assert!(failed.keys().all(|why| why.contains("404")), "{failed:?}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("no viewer connected"), "{error}");

    let output = bench("http://127.0.0.1:9/whep/demo", &["--viewers", "1", "--duration", "1"]).await?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

//! `bicast-bench-channels`: many viewers join one server, each with its event channel open, and all report while decisions are made.
//! Tells how long after a decision its viewer has heard of it, with all of them decided at once and one by one, and what the server used.
//!
//! A decision's own time (`since`) and this program's clock are the same machine's. All are decided at once when the publisher leaves
//! (`publisher-away`), one by one when each viewer is ordered to HLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bicast_load::procfs;
use bicast_shared::clock;
use bicast_shared::time::ProgramTime;
use bicast_tests::channel::{Channel, Heard, Viewer};
use bicast_tests::figures::{print, progress, quantile};
use bicast_tests::server::Server;
use clap::Parser;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

const FEED: &str = "channels";
/// A decision reaches 99 of 100 within this, in milliseconds.
const MOST: f64 = 100.0;
/// How long reports flow before anything is measured.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures how fast decisions reach their viewers.
#[derive(Parser)]
struct Args {
    /// Viewers, each with a channel
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    viewers: u32,
    /// Reports a second, of all of them together
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    reports: u32,
    /// Seconds in which viewers are ordered to HLS one by one
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The core that the server is bound to
    #[arg(long, default_value_t = 0)]
    server_core: u32,
    /// The core that this program is bound to
    #[arg(long, default_value_t = 1)]
    generator_core: u32,
}

/// A decision that a viewer has heard of: why, and how long after it was made, in milliseconds.
struct Told {
    reason: String,
    late_ms: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = Server::start_with(&[]).await?;
    let mut publisher =
        server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    server.hls_plays(FEED).await?;
    bind(server.process.id(), args.server_core)?;
    procfs::pin(args.generator_core);
    bind(publisher.id(), args.generator_core)?;

    let (told, mut heard) = mpsc::unbounded_channel();
    let sent = Arc::new(AtomicU64::new(0));
    let mut viewers = Vec::new();
    let mut tasks = JoinSet::new();
    for number in 0..args.viewers {
        let viewer = Viewer::join(&server, FEED, "", None).await?;
        let channel = viewer.listen(&server, "").await?;
        let every = Duration::from_secs_f64(f64::from(args.viewers) / f64::from(args.reports.max(1)));
        let begin = every.mul_f64(f64::from(number) / f64::from(args.viewers));
        let talk = (args.reports > 0).then_some((begin, every));
        tasks.spawn(follow(channel, talk, told.clone(), sent.clone()));
        viewers.push(viewer);
        if number % 100 == 99 {
            progress(&format!("{} of {} viewers have joined", number + 1, args.viewers));
        }
    }
    tokio::time::sleep(SETTLE).await;
    while heard.try_recv().is_ok() {}

    progress("one by one ...");
    let before = (clock::now(), sent.load(Ordering::Relaxed), cpu(&server)?);
    let mut ticks = interval(Duration::from_secs(args.seconds) / args.viewers);
    for viewer in &viewers {
        ticks.tick().await;
        viewer.change(&server, r#"{"path": "hls"}"#).await?.success()?;
    }
    let seconds = clock::now().saturating_duration_since(before.0).as_secs_f64();
    let reports = (sent.load(Ordering::Relaxed) - before.1) as f64 / seconds;
    let used = (cpu(&server)? - before.2) / seconds;
    let one_by_one = collect(&mut heard, "ordered", viewers.len()).await?;
    for viewer in &viewers {
        viewer.change(&server, r#"{"path": "auto"}"#).await?.success()?;
    }
    tokio::time::sleep(SETTLE).await;
    while heard.try_recv().is_ok() {}

    progress("all at once ...");
    publisher.stop().await?;
    let at_once = collect(&mut heard, "publisher-away", viewers.len()).await?;
    server.check_unharmed().await?;

    let row = |name: &str, of: &[f64]| {
        let verdict = if quantile(of, 99) <= MOST { "met" } else { "MISSED" };
        format!(
            "{name:<28} {:>7} {:>8.1} {:>8.1} {:>8.1}   bar p99 {MOST} ms: {verdict}",
            of.len(),
            quantile(of, 50),
            quantile(of, 99),
            of.last().copied().unwrap_or(f64::NAN)
        )
    };
    print(&format!(
        "{} viewers with a channel each, {reports:.0} reports a second, server on one core: {:.0} % of it\n\
         {:<28} {:>7} {:>8} {:>8} {:>8}   milliseconds from the decision to its viewer\n{}\n{}",
        viewers.len(),
        used * 100.0,
        "",
        "heard",
        "p50",
        "p99",
        "most",
        row("one by one", &one_by_one),
        row("all at once", &at_once),
    ));
    Ok(())
}

/// Follows a channel and reports, until the server closes it.
async fn follow(
    mut channel: Channel,
    talk: Option<(Duration, Duration)>,
    told: mpsc::UnboundedSender<Told>,
    sent: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let (begin, every) = talk.unwrap_or((Duration::from_secs(3_600), Duration::from_secs(3_600)));
    tokio::time::sleep(begin.min(every)).await;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = channel.next() => match message? {
                Heard::Closed(_) => return Ok(()),
                Heard::Said(message) => {
                    let now = clock::utc().unix_millis();
                    if let Some(one) = decision(&message, now) {
                        let _ = told.send(one);
                    }
                }
            },
            _ = ticks.tick(), if talk.is_some() => {
                channel.say(r#"{"type":"report","path":"hls","latencyMs":1200,"bufferMs":800,"atLiveEdge":true,"frozenRatio":0}"#).await?;
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn decision(message: &Value, now: f64) -> Option<Told> {
    let decision = message.get("decision")?;
    let since = decision["since"].as_str()?.parse::<ProgramTime>().ok()?.unix_millis();
    Some(Told { reason: decision["reason"].as_str()?.to_owned(), late_ms: now - since })
}

/// How late so many decisions for this reason were, sorted.
async fn collect(
    heard: &mut mpsc::UnboundedReceiver<Told>,
    reason: &str,
    count: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut late = Vec::new();
    while late.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(30), heard.recv()).await;
        let told = next.with_context(|| format!("only {} of {count} were told", late.len()))?;
        let told = told.context("all channels are closed")?;
        if told.reason == reason {
            late.push(told.late_ms);
        }
    }
    late.sort_by(f64::total_cmp);
    Ok(late)
}

fn cpu(server: &Server) -> anyhow::Result<f64> {
    Ok(procfs::process(server.process.id()).context("the server is gone")?.cpu)
}

/// Binds all threads of a process to a core.
fn bind(process: u32, core: u32) -> anyhow::Result<()> {
    let mut command = std::process::Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", &core.to_string(), &process.to_string()]);
    let output = command.output().context("taskset (util-linux)")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

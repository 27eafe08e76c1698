//! The command: publishes where that was asked for, lets the viewers come, measures, says goodbye.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use url::Url;

use crate::args::{Args, feed_url};
use crate::core::answer::Answer;
use crate::core::ice::Credentials;
use crate::core::offer::{self, LocalEnd};
use crate::core::publisher::Publisher;
use crate::core::report::{Phase, Summary};
use crate::core::transport::{Identity, Start};
use crate::core::viewer::{Sample, Viewer};
use crate::engine::Engine;
use crate::http::{Http, Refused};
use crate::monitor::{Monitor, Offers};
use crate::procfs;
use crate::sender::Sender;
use crate::wire::{Wire, local_ip};

/// HTTP requests under way at the same time; more wait, and their join time begins when they are sent.
const REQUESTS: usize = 256;
/// How long the last viewers are waited for.
const SETTLE: Duration = Duration::from_secs(10);
/// What was sent before the end is given this long to arrive.
const LINGER: Duration = Duration::from_millis(200);
/// For all goodbyes together.
const GOODBYE: Duration = Duration::from_secs(10);

/// A run that does not count.
#[derive(Debug, thiserror::Error)]
#[error("this run is void: {}", .0.join("; "))]
pub struct Void(pub Vec<String>);

/// Makes a run and prints what comes of it.
///
/// # Errors
/// [`Void`] where it does not count; everything else where it could not be made.
#[expect(clippy::needless_pass_by_value, reason = "a command consumes its arguments")]
pub fn run(args: Args) -> anyhow::Result<()> {
    settle_down(args.cpu, args.threads)?;
    let summary = block_on(load(&args))?;
    print_summary(args.json, &summary, &summary.table())?;
    anyhow::ensure!(summary.connected > 0, "no viewer connected{}", first_reason(&summary));
    if summary.void.is_empty() { Ok(()) } else { Err(Void(summary.void).into()) }
}

/// Keeps this process where it was told to run, and lets it have as many sockets as there are viewers.
pub(crate) fn settle_down(cpu: Option<u32>, threads: u32) -> anyhow::Result<()> {
    if let Some(core) = cpu {
        for core in core..core + threads {
            anyhow::ensure!(
                procfs::has_core(core),
                "this machine gives us no core {core} (--cpu, --threads)"
            );
        }
        procfs::pin(core);
    }
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    Ok(())
}

fn first_reason(summary: &Summary) -> String {
    summary.failed.keys().next().map_or_else(String::new, |why| format!(": {why}"))
}

/// Makes a measurement on this thread.
pub(crate) fn block_on<S>(measured: impl Future<Output = anyhow::Result<S>>) -> anyhow::Result<S> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(measured)
}

/// Prints what came of a run: its `table` to people, all of it to programs.
pub(crate) fn print_summary(json: bool, summary: &impl Serialize, table: &str) -> anyhow::Result<()> {
    if json {
        print(&serde_json::to_string(&serde_json::json!({ "summary": summary }))?);
    } else {
        print(&format!("\n{}", table.trim_end()));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are the product")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

async fn load(args: &Args) -> anyhow::Result<Summary> {
    let here = Here::find(args).await?;
    let whip = args.whip()?;
    let mut published = None;
    if let Some(whip) = &whip {
        published = Some(publish(&here, args, whip).await?);
        sleep(args.feed.settle).await;
    }
    let engines: Vec<Engine> = (0..args.threads)
        .map(|n| Engine::start(args.cpu.map(|core| core + n)))
        .collect::<anyhow::Result<_>>()?;
    let monitor = Monitor::new(args.server_pid, args.cpu.map(|core| (core, args.threads)), engines.len());
    anyhow::ensure!(
        args.server_pid.is_none_or(|pid| procfs::process(pid).is_some()),
        "--server-pid: there is no such process on this machine"
    );
    let engines: Arc<[Engine]> = engines.into();
    let joining = Joining {
        here: here.clone(),
        args: args.clone(),
        engines,
        offers: Arc::default(),
        sessions: Arc::default(),
    };
    let outcome = watch(&joining, monitor, published.as_ref().map(|(sender, _)| sender)).await;
    // Goodbye in any case: a server that is measured again should not still be busy with us.
    let sessions = std::mem::take(&mut *joining.sessions.lock());
    let _ = tokio::time::timeout(GOODBYE, leave(&here.http, sessions)).await;
    if let Some((_, sessions)) = &published {
        let _ = tokio::time::timeout(GOODBYE, leave(&here.http, sessions.clone())).await;
    }
    let mut summary = outcome?;
    summary.published = published.map(|(sender, _)| sender.published());
    Ok(summary)
}

/// What all sessions of the run share.
#[derive(Clone)]
struct Here {
    http: Http,
    identity: Arc<Identity>,
    /// The address that our packets to the server leave from, and the server's.
    local: IpAddr,
    server: IpAddr,
}

impl Here {
    async fn find(args: &Args) -> anyhow::Result<Self> {
        let host = args.whep.host_str().context("--whep has no host")?;
        let port = args.whep.port_or_known_default().unwrap_or(80);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut found =
            tokio::net::lookup_host((host, port)).await.with_context(|| format!("cannot find {host}"))?;
        let server = found.next().with_context(|| format!("{host} has no address"))?;
        let http = Http::new(args.token.as_deref(), args.whep.scheme() == "https")?;
        let identity = Identity::generate().context("cannot make a certificate")?;
        let local = local_ip(server).with_context(|| format!("no way to {server}"))?;
        Ok(Self { http, identity: Arc::new(identity), local, server: server.ip() })
    }

    /// A socket with credentials of its own, and the offer made of them by `write`.
    fn prepare(
        &self,
        write: impl FnOnce(&LocalEnd<'_>) -> String,
    ) -> Result<(Wire, Credentials, String), Refused> {
        let wire = Wire::bind(self.local).map_err(|error| Refused(format!("no socket: {}", error.kind())))?;
        let credentials = Credentials { ufrag: name(8), pwd: name(32) };
        let end = LocalEnd {
            session: rand::random::<u64>() >> 2,
            credentials: &credentials,
            fingerprint: &self.identity.fingerprint,
            address: wire.local(),
        };
        let offer = write(&end);
        Ok((wire, credentials, offer))
    }

    fn read(&self, answer: &str, local: SocketAddr) -> Result<(Answer, Vec<SocketAddr>), Refused> {
        let answer = Answer::parse(answer).map_err(|error| Refused(error.to_string()))?;
        let candidates = answer.reachable(local, Some(self.server));
        Ok((answer, candidates))
    }

    fn start<'a>(&self, local: Credentials, answer: &'a Answer, candidates: Vec<SocketAddr>) -> Start<'a> {
        let identity = self.identity.clone();
        Start { now: clock::now(), identity, local, answer, candidates, seed: rand::random() }
    }
}

/// Letters and digits, as ICE wants them (RFC 8839, 5.4).
fn name(length: usize) -> String {
    use rand::Rng as _;
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect()
}

/// Publishes all feeds; the sessions are to be ended whatever happens.
async fn publish(here: &Here, args: &Args, whip: &Url) -> anyhow::Result<(Sender, Vec<Url>)> {
    let shape = args.feed.shape();
    let (mut feeds, mut sessions) = (Vec::new(), Vec::new());
    for n in 0..args.feeds {
        let whip = feed_url(whip, n, args.feeds);
        let refused = |refused: Refused| anyhow::anyhow!("cannot publish to {whip}: {}", refused.0);
        let (wire, credentials, offer) =
            here.prepare(|end| offer::publisher(end, shape.audio)).map_err(refused)?;
        let session = here.http.post(&whip, &offer).await.map_err(refused)?;
        sessions.extend(session.url);
        let (answer, candidates) = here.read(&session.answer, wire.local()).map_err(refused)?;
        let start = here.start(credentials, &answer, candidates);
        feeds.push((Publisher::new(start, shape, args.feed.manner(n, args.feeds)), wire));
    }
    let mut sender = Sender::start(feeds, args.cpu)?;
    sender.live().await?;
    Ok((sender, sessions))
}

/// The viewers on their way.
#[derive(Clone)]
struct Joining {
    here: Here,
    args: Args,
    engines: Arc<[Engine]>,
    offers: Arc<Mutex<Offers>>,
    sessions: Arc<Mutex<Vec<Url>>>,
}

impl Joining {
    /// Lets all come, each at its time.
    async fn ramp(self) {
        let (begun, viewers) = (tokio::time::Instant::now(), self.args.viewers as usize);
        let requests = Arc::new(Semaphore::new(REQUESTS));
        let mut tasks = JoinSet::new();
        for n in 0..viewers {
            sleep_until(begun + self.args.ramp.due(n, viewers)).await;
            let Ok(permit) = requests.clone().acquire_owned().await else { return };
            self.offers.lock().asked += 1;
            let joining = self.clone();
            tasks.spawn(async move {
                let _permit = permit;
                if let Err(Refused(why)) = joining.join(n).await {
                    *joining.offers.lock().failed.entry(why).or_default() += 1;
                }
            });
            // Those that are done are forgotten.
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn join(&self, n: usize) -> Result<(), Refused> {
        let (wire, credentials, offer) = self.here.prepare(offer::viewer)?;
        let posted = clock::now();
        let feed = u32::try_from(n).unwrap_or(0) % self.args.feeds;
        let whep = feed_url(&self.args.whep, feed, self.args.feeds);
        let session = self.here.http.post(&whep, &offer).await?;
        self.sessions.lock().extend(session.url);
        let (answer, candidates) = self.here.read(&session.answer, wire.local())?;
        let sample = Sample::new(self.args.authenticate, u32::try_from(n).unwrap_or(0));
        let start = self.here.start(credentials, &answer, candidates);
        let viewer = Viewer::new(start, posted, sample);
        let engine =
            self.engines.get(n % self.engines.len().max(1)).ok_or_else(|| Refused("no thread".into()))?;
        engine.add(viewer, wire).await.map_err(|error| Refused(error.to_string()))
    }
}

/// Watches the run until its end and sums it up.
async fn watch(joining: &Joining, mut monitor: Monitor, sender: Option<&Sender>) -> anyhow::Result<Summary> {
    let viewers = u64::from(joining.args.viewers);
    let ramp = tokio::spawn(joining.clone().ramp());
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut phase = Phase::Ramp;
    // When the phase began, and the run.
    let mut since = clock::now();
    let begun = since;
    let requests = || sender.map(|sender| sender.published().keyframe_requests);
    let requests_before = requests();
    let (mut requests_joining, mut joining_seconds) = (None, None);
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut stop => break,
        }
        let offers = joining.offers.lock().clone();
        let second = monitor.second(&joining.engines, phase, &offers).await?;
        if joining.args.json {
            print(&serde_json::to_string(&second)?);
        } else {
            print(&second.line());
        }
        if let Some(why) = sender.and_then(Sender::over) {
            anyhow::bail!("the synthetic feed broke off: {why}");
        }
        let (now, held) = (clock::now(), clock::now().saturating_duration_since(since));
        let next = match phase {
            Phase::Ramp if ramp.is_finished() => Phase::Settle,
            // At least a second, so that none of the steady ones has the last join in it.
            Phase::Settle if monitor.is_settled(viewers, &offers) || held >= SETTLE => {
                monitor.joined();
                requests_joining =
                    requests().zip(requests_before).map(|(now, before)| now.saturating_sub(before));
                joining_seconds =
                    requests_joining.map(|_| now.saturating_duration_since(begun).as_secs_f64());
                for engine in &*joining.engines {
                    engine.set_steady(true).await?;
                }
                Phase::Steady
            }
            Phase::Steady if held + Duration::from_millis(500) >= joining.args.duration => break,
            same => same,
        };
        if next != phase {
            (phase, since) = (next, now);
        }
    }
    ramp.abort();
    sleep(LINGER).await;
    let offers = joining.offers.lock().clone();
    let mut summary = monitor.finish(&joining.engines, viewers, joining.args.authenticate, &offers).await?;
    let settled = joining.args.feed.settle.as_secs_f64();
    summary.keyframe_requests_per_second_before =
        requests_before.filter(|_| settled > 0.0).map(|before| before as f64 / settled);
    summary.keyframe_requests_joining = requests_joining;
    summary.joining_seconds = joining_seconds;
    Ok(summary)
}

/// Says goodbye to the server for all viewers.
async fn leave(http: &Http, sessions: Vec<Url>) {
    let requests = Arc::new(Semaphore::new(REQUESTS));
    let mut tasks = JoinSet::new();
    for session in sessions {
        let Ok(permit) = requests.clone().acquire_owned().await else { return };
        let http = http.clone();
        tasks.spawn(async move {
            let _permit = permit;
            http.delete(&session).await;
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

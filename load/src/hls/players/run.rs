//! The command: looks at the origin, lets the clients come, measures.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::args::HlsArgs;
use super::find::{self, Plan};
use super::line::Net;
use super::player::{Party, client};
use super::watch::Watch;
use crate::core::report::Phase;
use crate::hls::core::board::Board;
use crate::hls::core::edge::Address;
use crate::hls::core::figures::{Clients, Summary};
use crate::procfs;
use crate::run::{Void, block_on, print, print_summary, settle_down};

/// How long the last clients are waited for.
const SETTLE: Duration = Duration::from_secs(10);

/// Makes a run and prints what comes of it.
///
/// # Errors
/// [`Void`] where it does not count; everything else where it could not be made.
#[expect(clippy::needless_pass_by_value, reason = "a command consumes its arguments")]
pub fn bench_hls(args: HlsArgs) -> anyhow::Result<()> {
    settle_down(args.cpu, args.threads)?;
    let summary = block_on(load(&args))?;
    print_summary(args.json, &summary, &summary.table())?;
    let why = summary.failed.keys().next().map_or_else(String::new, |why| format!(": {why}"));
    anyhow::ensure!(summary.connected > 0, "no client got an answer{why}");
    if summary.void.is_empty() { Ok(()) } else { Err(Void(summary.void).into()) }
}

/// A thread with a runtime of its own; it ends when this is dropped.
struct Thread {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Thread {
    fn start(core: Option<u32>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start the async runtime")?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("clients".into());
        thread
            .spawn(move || {
                if let Some(core) = core {
                    procfs::pin(core);
                }
                // An error means that the other end is dropped, and says the same.
                let _ = runtime.block_on(stopped);
            })
            .context("cannot start a thread")?;
        Ok(Self { handle, _stop: stop })
    }
}

async fn load(args: &HlsArgs) -> anyhow::Result<Summary> {
    anyhow::ensure!(
        args.server_pid.is_none_or(|pid| procfs::process(pid).is_some()),
        "--server-pid: there is no such process on this machine"
    );
    let plan = find::find(args).await?;
    let mut says = std::io::stderr();
    for remark in &plan.remarks {
        // Whoever closed it does not want to know.
        let _ = writeln!(says, "{remark}");
    }
    let threads: Vec<Thread> = (0..args.threads)
        .map(|n| Thread::start(args.cpu.map(|core| core + n)))
        .collect::<anyhow::Result<_>>()?;
    let party = party(args, &plan)?;
    let handles: Vec<Handle> = threads.iter().map(|thread| thread.handle.clone()).collect();
    let mut watch = Watch::new(args.server_pid, args.cpu.map(|core| (core, args.threads)), handles.len());
    let ramp = tokio::spawn(ramp(args.clone(), Arc::clone(&party), handles.clone()));
    seconds(args, &mut watch, &party, &handles, || ramp.is_finished()).await?;
    let summary = watch.finish(&party, u64::from(args.clients), plan.mode);
    // After the last counts: what is cut off by our leaving is nobody's failure.
    ramp.abort();
    Ok(summary)
}

fn party(args: &HlsArgs, plan: &Plan) -> anyhow::Result<Arc<Party>> {
    let playlists = plan.playlists.iter().map(Address::of).collect::<Option<_>>();
    Ok(Arc::new(Party {
        net: Arc::new(Net::new(args)?),
        multivariant: plan.multivariant.clone(),
        playlists: playlists.context("a playlist is neither http nor https")?,
        board: Mutex::new(Board::new(&plan.playlists)),
        clients: Mutex::new(Clients::default()),
    }))
}

/// Ends a client when it is dropped.
struct Ending(AbortHandle);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets all come, each at its time, and holds on to them.
async fn ramp(args: HlsArgs, party: Arc<Party>, threads: Vec<Handle>) -> Vec<Ending> {
    let (begun, clients) = (tokio::time::Instant::now(), args.clients as usize);
    let mut all = Vec::with_capacity(clients);
    for (n, thread) in (0..clients).zip(threads.iter().cycle()) {
        sleep_until(begun + args.ramp.due(n, clients)).await;
        party.clients.lock().asked += 1;
        all.push(Ending(thread.spawn(client(Arc::clone(&party), n)).abort_handle()));
    }
    all
}

/// Watches the run until its end, or until somebody interrupts it.
async fn seconds(
    args: &HlsArgs,
    watch: &mut Watch,
    party: &Party,
    threads: &[Handle],
    all_have_come: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut phase = Phase::Ramp;
    let mut since = clock::now();
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut stop => return Ok(()),
        }
        let second = watch.second(threads, party, phase).await?;
        print(&if args.json { serde_json::to_string(&second)? } else { second.line() });
        let (now, held) = (clock::now(), clock::now().saturating_duration_since(since));
        let over = {
            let clients = party.clients.lock();
            clients.over() + clients.ended
        };
        if over >= u64::from(args.clients) {
            return Ok(());
        }
        let next = match phase {
            Phase::Ramp if all_have_come() => Phase::Settle,
            // At least a second, so that none of the steady ones has the last join in it.
            Phase::Settle if watch.is_settled(u64::from(args.clients), over) || held >= SETTLE => {
                party.board.lock().set_steady();
                Phase::Steady
            }
            Phase::Steady if held + Duration::from_millis(500) >= args.duration => return Ok(()),
            same => same,
        };
        if next != phase {
            (phase, since) = (next, now);
        }
    }
}

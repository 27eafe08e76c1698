//! Takes the counts every second and makes lines and the summary of them.

use std::time::{Duration, Instant};

use bicast_shared::clock;
use tokio::runtime::Handle;

use super::player::Party;
use crate::core::report::Phase;
use crate::core::verdict;
use crate::engine::thread_time;
use crate::hls::core::board::{Counts, Standing};
use crate::hls::core::figures::{Mode, Run, Second, Steady, Summary, Used};
use crate::monitor::Reading;

/// The counts of a run.
pub(crate) struct Watch {
    server_pid: Option<u32>,
    cores: Option<(u32, u32)>,
    begun: Instant,
    before: Reading,
    seconds: u64,
    total: Counts,
    steady: Steady,
    busiest: Option<f64>,
    standing: Standing,
}

impl Watch {
    pub(crate) fn new(server_pid: Option<u32>, cores: Option<(u32, u32)>, threads: usize) -> Self {
        let before = Reading::take(server_pid, cores, vec![Duration::ZERO; threads]);
        Self {
            server_pid,
            cores,
            begun: before.at,
            before,
            seconds: 0,
            total: Counts::default(),
            steady: Steady::default(),
            busiest: None,
            standing: Standing::default(),
        }
    }

    /// Whether every client plays or has failed.
    pub(crate) fn is_settled(&self, clients: u64, over: u64) -> bool {
        self.standing.playing + over >= clients
    }

    /// A second is over.
    pub(crate) async fn second(
        &mut self,
        threads: &[Handle],
        party: &Party,
        phase: Phase,
    ) -> anyhow::Result<Second> {
        let mut times = Vec::with_capacity(threads.len());
        for thread in threads {
            times.push(thread.spawn(async { thread_time() }).await?);
        }
        let now = Reading::take(self.server_pid, self.cores, times);
        let elapsed = now.at.saturating_duration_since(self.before.at).as_secs_f64().max(1e-3);
        let (counts, standing) = {
            let mut board = party.board.lock();
            (board.take(), board.standing(clock::now()))
        };
        let cpu = now.server.zip(self.before.server).map(|(now, before)| now.cpu - before.cpu);
        let used = Used {
            busy: now.busy_since(&self.before, elapsed),
            server_cores: cpu.map(|cpu| cpu / elapsed),
            server_bytes: now.server.map(|server| server.bytes),
        };
        self.seconds += 1;
        self.busiest = self.busiest.into_iter().chain(used.busy).reduce(f64::max);
        self.total.add(&counts);
        if phase == Phase::Steady {
            self.steady.add(elapsed, &counts, used);
        }
        self.standing = standing;
        self.before = now;
        let clients = party.clients.lock();
        Ok(Second::of((self.seconds, phase, elapsed), &clients, standing, &counts, used))
    }

    /// The end: the last counts, and what came of it all.
    pub(crate) fn finish(mut self, party: &Party, clients: u64, mode: Mode) -> Summary {
        let now = clock::now();
        let standing = {
            let mut board = party.board.lock();
            let standing = board.finish(now);
            self.total.add(&board.take());
            standing
        };
        let run = Run {
            clients,
            mode,
            playlists: party.playlists.len() as u64,
            time: now.saturating_duration_since(self.begun),
            busiest: self.busiest,
            server_bytes: self.before.server.map(|server| server.bytes),
        };
        let advice = "fewer clients, a slower ramp, or more --threads";
        let void = verdict::too_busy(self.busiest, advice).into_iter().collect();
        Summary::of(run, &party.clients.lock(), standing, &self.total, &self.steady, void)
    }
}

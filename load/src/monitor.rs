//! Takes the counts every second and makes lines and the summary of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bicast_shared::clock;

use crate::core::report::{Phase, Second, ServerUse, Summary, Times};
use crate::core::tally::Tally;
use crate::core::verdict::{self, Facts};
use crate::engine::{Engine, Snapshot};
use crate::procfs;

/// What happened to the offers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offers {
    /// POSTs sent.
    pub(crate) asked: u64,
    /// Those that were refused or could not be used, by reason.
    pub(crate) failed: BTreeMap<String, u64>,
}

/// The counts of a run.
pub(crate) struct Monitor {
    server_pid: Option<u32>,
    /// The first core that the generator is kept on, and how many.
    cores: Option<(u32, u32)>,
    begun: Instant,
    seconds: u64,
    before: Reading,
    total: Tally,
    connected: u64,
    moving: u64,
    server_at_start: Option<procfs::Use>,
    server_joined: Option<procfs::Use>,
    drops_at_start: Option<u64>,
    steady: Steady,
    busiest: Option<f64>,
}

/// What a second is the difference of.
pub(crate) struct Reading {
    pub(crate) at: Instant,
    threads: Vec<Duration>,
    cores: Vec<(f64, f64)>,
    pub(crate) server: Option<procfs::Use>,
}

/// Sums over the steady seconds.
#[derive(Debug, Default)]
struct Steady {
    seconds: f64,
    packets: u64,
    bytes: u64,
    silent: u64,
    viewer_seconds: f64,
    busy: f64,
    busy_known: bool,
    server_cpu: Option<f64>,
}

impl Monitor {
    pub(crate) fn new(server_pid: Option<u32>, cores: Option<(u32, u32)>, threads: usize) -> Self {
        let before = Reading::take(server_pid, cores, vec![Duration::ZERO; threads]);
        Self {
            server_pid,
            cores,
            begun: before.at,
            seconds: 0,
            total: Tally::default(),
            connected: 0,
            moving: 0,
            server_at_start: before.server,
            server_joined: None,
            drops_at_start: procfs::receive_buffer_drops(),
            steady: Steady::default(),
            busiest: None,
            before,
        }
    }

    /// Viewers that are over, failed offers not counted.
    fn over(&self) -> u64 {
        self.total.over.values().sum()
    }

    /// Whether every viewer has a moving picture or has failed.
    pub(crate) fn is_settled(&self, viewers: u64, offers: &Offers) -> bool {
        self.moving + self.over() + offers.failed.values().sum::<u64>() >= viewers
    }

    /// Everybody has a picture: what the server used until now was for joining.
    pub(crate) fn joined(&mut self) {
        self.server_joined = self.server_pid.and_then(procfs::process);
    }

    /// A second is over.
    pub(crate) async fn second(
        &mut self,
        engines: &[Engine],
        phase: Phase,
        offers: &Offers,
    ) -> anyhow::Result<Second> {
        let mut snapshots = Vec::with_capacity(engines.len());
        for engine in engines {
            snapshots.push(engine.take().await?);
        }
        Ok(self.add(&snapshots, phase, offers))
    }

    fn add(&mut self, snapshots: &[Snapshot], phase: Phase, offers: &Offers) -> Second {
        let threads = snapshots.iter().map(|snapshot| snapshot.cpu).collect();
        let now = Reading::take(self.server_pid, self.cores, threads);
        let elapsed = now.at.saturating_duration_since(self.before.at).as_secs_f64().max(1e-3);
        let mut tally = Tally::default();
        snapshots.iter().for_each(|snapshot| tally.add(&snapshot.tally));
        let sum = |field: fn(&Snapshot) -> u64| snapshots.iter().map(field).sum::<u64>();
        self.connected = sum(|snapshot| snapshot.connected);
        self.moving = sum(|snapshot| snapshot.moving);
        let silent = sum(|snapshot| snapshot.silent);
        self.total.add(&tally);
        self.seconds += 1;

        let busy = now.busy_since(&self.before, elapsed);
        self.busiest = self.busiest.into_iter().chain(busy).reduce(f64::max);
        let server_cpu = now.server.zip(self.before.server).map(|(now, before)| now.cpu - before.cpu);
        if phase == Phase::Steady {
            let steady = &mut self.steady;
            steady.seconds += elapsed;
            steady.packets += tally.packets;
            steady.bytes += tally.bytes;
            steady.silent += silent;
            steady.viewer_seconds += elapsed * self.connected as f64;
            steady.busy += busy.unwrap_or(0.0) * elapsed;
            steady.busy_known |= busy.is_some();
            steady.server_cpu =
                server_cpu.map(|cpu| steady.server_cpu.unwrap_or(0.0) + cpu).or(steady.server_cpu);
        }
        let second = Second {
            second: self.seconds,
            phase,
            asked: offers.asked,
            connected: self.connected,
            moving: self.moving,
            failed: self.over() + offers.failed.values().sum::<u64>(),
            silent,
            packets_per_second: tally.packets as f64 / elapsed,
            bits_per_second: tally.bytes as f64 * 8.0 / elapsed,
            lost: tally.lost,
            repaired: tally.repaired,
            latency: Times::of(&tally.latency),
            generator_busy: busy,
            server_cores: server_cpu.map(|cpu| cpu / elapsed),
            server_bytes: now.server.map(|server| server.bytes),
        };
        self.before = now;
        second
    }

    /// The end: the last counts, and what came of it all.
    pub(crate) async fn finish(
        mut self,
        engines: &[Engine],
        viewers: u64,
        share: f64,
        offers: &Offers,
    ) -> anyhow::Result<Summary> {
        let server = self.server_pid.and_then(procfs::process);
        let seconds = clock::now().saturating_duration_since(self.begun).as_secs_f64();
        for engine in engines {
            self.total.add(&engine.finish().await?.tally);
        }
        let mut failed = offers.failed.clone();
        for (why, count) in &self.total.over {
            *failed.entry((*why).to_owned()).or_default() += count;
        }
        let mut summary = Summary::of(&self.total, viewers, failed);
        summary.stayed = self.connected;
        summary.seconds = seconds;
        summary.authenticate = share;
        summary.silent_seconds = self.steady.silent;
        summary.generator_busiest = self.busiest;
        let drops = procfs::receive_buffer_drops().zip(self.drops_at_start);
        summary.receive_buffer_drops = drops.map(|(now, before)| now.saturating_sub(before));
        let steady = &self.steady;
        if steady.seconds > 0.0 {
            summary.steady_seconds = steady.seconds;
            summary.packets_per_second = Some(steady.packets as f64 / steady.seconds);
            summary.bits_per_second = Some(steady.bytes as f64 * 8.0 / steady.seconds);
            summary.packets_per_second_and_viewer =
                (steady.viewer_seconds > 0.0).then(|| steady.packets as f64 / steady.viewer_seconds);
            summary.generator_busy = steady.busy_known.then(|| steady.busy / steady.seconds);
        }
        summary.server = self.server_use(server, summary.connected);
        summary.void = verdict::void(&Facts {
            busiest: self.busiest,
            authenticated: summary.authenticated,
            forged: summary.forged,
            share,
            connected: summary.connected,
        });
        Ok(summary)
    }

    fn server_use(&self, last: Option<procfs::Use>, connected: u64) -> Option<ServerUse> {
        let (start, last) = (self.server_at_start?, last?);
        let joined = self.server_joined.unwrap_or(last);
        let join_seconds = joined.cpu - start.cpu;
        let steady_cpu = self.steady.server_cpu.filter(|_| self.steady.seconds > 0.0);
        let grown = last.bytes.saturating_sub(start.bytes) as f64;
        Some(ServerUse {
            join_seconds,
            joins_per_core_second: if join_seconds > 0.0 { connected as f64 / join_seconds } else { 0.0 },
            steady_cores: steady_cpu.map(|cpu| cpu / self.steady.seconds),
            micros_per_packet: steady_cpu
                .filter(|_| self.steady.packets > 0)
                .map(|cpu| cpu * 1e6 / self.steady.packets as f64),
            bytes_before: start.bytes,
            bytes_after: last.bytes,
            bytes_per_viewer: grown / self.connected.max(1) as f64,
        })
    }
}

impl Reading {
    pub(crate) fn take(server_pid: Option<u32>, cores: Option<(u32, u32)>, threads: Vec<Duration>) -> Self {
        let cores = cores.map_or(0..0, |(first, count)| first..first + count);
        Self {
            at: clock::now(),
            threads,
            cores: cores.filter_map(procfs::core).collect(),
            server: server_pid.and_then(procfs::process),
        }
    }

    /// The busiest of our cores: of those that we are kept on, whatever runs there; else of our threads, each of which
    /// has at most one.
    pub(crate) fn busy_since(&self, before: &Self, elapsed: f64) -> Option<f64> {
        if self.cores.is_empty() {
            let threads = self.threads.iter().zip(&before.threads);
            return threads
                .map(|(now, before)| now.saturating_sub(*before).as_secs_f64() / elapsed)
                .reduce(f64::max);
        }
        let cores = self.cores.iter().zip(&before.cores);
        cores
            .filter(|(now, before)| now.1 > before.1)
            .map(|(now, before)| (now.0 - before.0) / (now.1 - before.1))
            .reduce(f64::max)
    }
}

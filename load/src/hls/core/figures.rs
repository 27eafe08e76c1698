//! What a run says, every second and at its end: for people, and, serialized, for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::board::{Counts, Standing};
use crate::core::report::{Phase, Times};
use crate::core::text::{grouped, spread, used};

/// How clients learn of what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Mode {
    /// By blocking reload.
    Blocking,
    /// By asking again and again, for one playlist at least.
    Polling,
}

/// How the clients stand, apart from their players.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    /// That have been sent off.
    pub(crate) asked: u64,
    /// That have had an answer.
    pub(crate) connected: u64,
    /// That have seen the feed end.
    pub(crate) ended: u64,
    /// That have given up, by reason.
    pub(crate) failed: BTreeMap<String, u64>,
}

impl Clients {
    pub(crate) fn over(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// What the generator and the server used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Share of the generator's busiest core.
    pub(crate) busy: Option<f64>,
    /// Cores of the server.
    pub(crate) server_cores: Option<f64>,
    /// Its resident memory in bytes.
    pub(crate) server_bytes: Option<u64>,
}

/// One second.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Second {
    second: u64,
    phase: Phase,
    asked: u64,
    connected: u64,
    playing: u64,
    standing_still: u64,
    failed: u64,
    requests_per_second: f64,
    playlists_per_second: f64,
    parts_per_second: f64,
    bits_per_second: f64,
    errors: u64,
    delivery: Option<Times>,
    generator_busy: Option<f64>,
    server_cores: Option<f64>,
    server_bytes: Option<u64>,
}

impl Second {
    pub(crate) fn of(
        (second, phase, elapsed): (u64, Phase, f64),
        clients: &Clients,
        standing: Standing,
        counts: &Counts,
        used: Used,
    ) -> Self {
        let rate = |count: u64| count as f64 / elapsed;
        Self {
            second,
            phase,
            asked: clients.asked,
            connected: clients.connected,
            playing: standing.playing,
            standing_still: standing.dry,
            failed: clients.over(),
            requests_per_second: rate(counts.requests),
            playlists_per_second: rate(counts.playlists),
            parts_per_second: rate(counts.parts),
            bits_per_second: rate(counts.bytes) * 8.0,
            errors: counts.errors.values().sum(),
            delivery: Times::of(&counts.delivery),
            generator_busy: used.busy,
            server_cores: used.server_cores,
            server_bytes: used.server_bytes,
        }
    }

    /// One line, most telling first.
    pub(crate) fn line(&self) -> String {
        let mut line = format!(
            "{:>4} s {:<6} {:>5} asked {:>5} playing  {:>7} requests/s {:>7} parts/s {:>7.1} Mbit/s",
            self.second,
            self.phase.word(),
            self.asked,
            self.playing,
            grouped(self.requests_per_second),
            grouped(self.parts_per_second),
            self.bits_per_second / 1e6,
        );
        // Writing to a String cannot fail.
        for (name, count) in
            [("standing still", self.standing_still), ("failed", self.failed), ("errors", self.errors)]
        {
            if count > 0 {
                let _ = write!(line, "  {name} {count}");
            }
        }
        if let Some(times) = &self.delivery {
            let _ = write!(line, "  delivery {:.1}/{:.1} ms", times.p50, times.p99);
        }
        line + &used(self.generator_busy, self.server_cores, self.server_bytes)
    }
}

/// Sums over the steady seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steady {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) playlists: u64,
    pub(crate) parts: u64,
    pub(crate) bytes: u64,
    pub(crate) busy: Option<f64>,
    pub(crate) server_cpu: Option<f64>,
}

impl Steady {
    pub(crate) fn add(&mut self, elapsed: f64, counts: &Counts, used: Used) {
        let more = |sum: Option<f64>, share: Option<f64>| {
            share.map(|share| sum.unwrap_or(0.0) + share * elapsed).or(sum)
        };
        self.seconds += elapsed;
        self.requests += counts.requests;
        self.playlists += counts.playlists;
        self.parts += counts.parts;
        self.bytes += counts.bytes;
        self.busy = more(self.busy, used.busy);
        self.server_cpu = more(self.server_cpu, used.server_cores);
    }
}

/// The run as a whole.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Clients that were to come.
    pub(crate) clients: u64,
    /// Clients that had an answer.
    pub(crate) connected: u64,
    /// Clients whose players still ran at the end.
    pub(crate) playing: u64,
    /// Clients that saw the feed end.
    pub(crate) ended: u64,
    /// Clients that gave up, by reason.
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) mode: Mode,
    /// Media playlists that each client followed.
    pub(crate) playlists_followed: u64,
    /// From the first client to the end.
    pub(crate) seconds: f64,
    pub(crate) steady_seconds: f64,
    pub(crate) requests: u64,
    pub(crate) playlists: u64,
    /// Parts loaded in full (segments, where there are no parts).
    pub(crate) parts: u64,
    /// Those of them that came into being while their client was there.
    pub(crate) fresh_parts: u64,
    /// Parts that were listed as gaps.
    pub(crate) gaps: u64,
    /// How often a client fell out of what its playlist lists, and left parts out.
    pub(crate) skips: u64,
    pub(crate) bytes: u64,
    /// Requests that brought nothing, by reason.
    pub(crate) errors: BTreeMap<String, u64>,
    /// While steady, per second.
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) playlists_per_second: Option<f64>,
    pub(crate) parts_per_second: Option<f64>,
    pub(crate) bits_per_second: Option<f64>,
    /// From the first sight of a part by any client to its last byte, while steady.
    pub(crate) delivery: Option<Times>,
    /// From the program time of a part's end to its last byte, while steady; none where clocks are known to differ.
    pub(crate) age: Option<Times>,
    /// Stalls of all players.
    pub(crate) stalls: u64,
    pub(crate) stalled_seconds: f64,
    /// Players that had any.
    pub(crate) players_with_stalls: u64,
    /// Share of the generator's core: on average while steady, and in the busiest second of all.
    pub(crate) generator_busy: Option<f64>,
    pub(crate) generator_busiest: Option<f64>,
    /// Cores of the server while steady, where its process is known, and its memory at the end.
    pub(crate) server_cores: Option<f64>,
    pub(crate) server_bytes: Option<u64>,
    /// Why the run is void.
    pub(crate) void: Vec<String>,
}

/// What a run was, apart from its counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) clients: u64,
    pub(crate) mode: Mode,
    pub(crate) playlists: u64,
    pub(crate) time: Duration,
    pub(crate) busiest: Option<f64>,
    pub(crate) server_bytes: Option<u64>,
}

impl Summary {
    pub(crate) fn of(
        run: Run,
        clients: &Clients,
        standing: Standing,
        total: &Counts,
        steady: &Steady,
        void: Vec<String>,
    ) -> Self {
        let known = steady.seconds > 0.0;
        let rate = |count: u64| known.then(|| count as f64 / steady.seconds);
        Self {
            clients: run.clients,
            connected: clients.connected,
            playing: standing.playing,
            ended: clients.ended,
            failed: clients.failed.clone(),
            mode: run.mode,
            playlists_followed: run.playlists,
            seconds: run.time.as_secs_f64(),
            steady_seconds: steady.seconds,
            requests: total.requests,
            playlists: total.playlists,
            parts: total.parts,
            fresh_parts: total.fresh,
            gaps: total.gaps,
            skips: total.skips,
            bytes: total.bytes,
            errors: total.errors.clone(),
            requests_per_second: rate(steady.requests),
            playlists_per_second: rate(steady.playlists),
            parts_per_second: rate(steady.parts),
            bits_per_second: rate(steady.bytes).map(|bytes| bytes * 8.0),
            delivery: Times::of(&total.delivery),
            age: Times::of(&total.age).filter(|_| total.early == 0),
            stalls: standing.stalls,
            stalled_seconds: standing.stalled.as_secs_f64(),
            players_with_stalls: standing.with_stalls,
            generator_busy: steady.busy.filter(|_| known).map(|sum| sum / steady.seconds),
            generator_busiest: run.busiest,
            server_cores: steady.server_cpu.filter(|_| known).map(|sum| sum / steady.seconds),
            server_bytes: run.server_bytes,
            void,
        }
    }

    /// The table at the end.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let mut row = |name: &str, text: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {name:<18} {text}");
        };
        let failed: u64 = self.failed.values().sum();
        row(
            "clients",
            format!(
                "{} connected of {}, {} playing at the end, {failed} failed{}",
                self.connected,
                self.clients,
                self.playing,
                if self.ended > 0 { format!(", {} saw the feed end", self.ended) } else { String::new() }
            ),
        );
        for (why, count) in &self.failed {
            row("", format!("{count} x {why}"));
        }
        if self.mode == Mode::Polling {
            row("", "by polling: a playlist cannot be waited for".into());
        }
        if let (Some(requests), Some(playlists), Some(parts), Some(bits)) =
            (self.requests_per_second, self.playlists_per_second, self.parts_per_second, self.bits_per_second)
        {
            row(
                "steady",
                format!(
                    "{} requests/s: {} playlists/s, {} parts/s; {:.1} Mbit/s, over {:.0} s",
                    grouped(requests),
                    grouped(playlists),
                    grouped(parts),
                    bits / 1e6,
                    self.steady_seconds
                ),
            );
        }
        if let Some(times) = &self.delivery {
            row("part delivery", spread(times));
        }
        if let Some(times) = &self.age {
            row("behind its time", spread(times));
        }
        row(
            "stalls",
            format!(
                "{}, of {} players; {:.1} s in all",
                self.stalls, self.players_with_stalls, self.stalled_seconds
            ),
        );
        row(
            "loaded",
            format!(
                "{} requests, {} playlists, {} parts, {:.1} MB; {} gaps, {} times something left out",
                grouped(self.requests as f64),
                grouped(self.playlists as f64),
                grouped(self.parts as f64),
                self.bytes as f64 / 1e6,
                self.gaps,
                self.skips
            ),
        );
        for (why, count) in &self.errors {
            row("", format!("{count} x {why}"));
        }
        if let Some(busiest) = self.generator_busiest {
            let mean = self
                .generator_busy
                .map_or(String::new(), |busy| format!("{:.0} % of its core steady, ", busy * 100.0));
            row("generator", format!("{mean}{:.0} % in the busiest second", busiest * 100.0));
        }
        if let Some(cores) = self.server_cores {
            let bytes = self.server_bytes.unwrap_or(0) as f64 / 1_048_576.0;
            row("server", format!("{:.0} % of a core steady, {bytes:.1} MiB at the end", cores * 100.0));
        }
        for why in &self.void {
            let _ = writeln!(out, "\nVOID: {why}.");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(total: &Counts, steady: &Steady, void: Vec<String>) -> Summary {
        let run = Run {
            clients: 10,
            mode: Mode::Blocking,
            playlists: 2,
            time: Duration::from_secs(9),
            busiest: Some(0.5),
            server_bytes: None,
        };
        let failed = BTreeMap::from([("playlist: HTTP 404".to_owned(), 3)]);
        let clients = Clients { asked: 10, connected: 7, ended: 0, failed };
        let standing =
            Standing { playing: 7, dry: 1, stalls: 4, stalled: Duration::from_millis(2_500), with_stalls: 2 };
        Summary::of(run, &clients, standing, total, steady, void)
    }

    #[test]
    fn rates_are_of_the_steady_seconds_only() {
        let mut total = Counts { requests: 1_000, parts: 400, bytes: 1_000_000, ..Counts::default() };
        total.delivery.record(Duration::from_millis(7));
        let mut steady = Steady::default();
        let second = Counts { requests: 100, parts: 40, playlists: 50, bytes: 50_000, ..Counts::default() };
        let used = Used { busy: Some(0.25), server_cores: None, server_bytes: None };
        steady.add(2.0, &second, used);
        steady.add(2.0, &second, Used { busy: Some(0.75), ..used });
        let summary = summary(&total, &steady, Vec::new());
        assert_eq!((summary.requests_per_second, summary.parts_per_second), (Some(50.0), Some(20.0)));
        assert_eq!((summary.bits_per_second, summary.generator_busy), (Some(200_000.0), Some(0.5)));
        assert_eq!((summary.requests, summary.server_cores), (1_000, None));
        let table = summary.table();
        for piece in ["7 connected of 10", "3 x playlist: HTTP 404", "4, of 2 players; 2.5 s", "p50 7."] {
            assert!(table.contains(piece), "{piece}: {table}");
        }
        assert!(!table.contains("VOID") && !table.contains("polling"), "{table}");
    }

    #[test]
    fn a_run_without_a_steady_second_has_no_rates() {
        let summary = summary(&Counts::default(), &Steady::default(), vec!["why".into()]);
        assert!(summary.requests_per_second.is_none() && summary.delivery.is_none());
        assert!(summary.table().ends_with("\nVOID: why.\n"));
    }

    #[test]
    fn the_age_is_not_told_where_clocks_differ() {
        let mut total = Counts::default();
        total.age.record(Duration::from_millis(90));
        assert!(summary(&total, &Steady::default(), Vec::new()).age.is_some());
        total.early = 1;
        assert!(summary(&total, &Steady::default(), Vec::new()).age.is_none());
    }
}

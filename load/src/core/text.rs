//! Lines and tables for people.

use std::fmt::Write as _;

use super::report::{Second, Summary, Times};

impl Second {
    /// One line, most telling first.
    #[must_use]
    pub fn line(&self) -> String {
        let phase = self.phase.word();
        let mut line = format!(
            "{:>4} s {phase:<6} {:>5} asked {:>5} connected {:>5} moving  {:>8} packets/s {:>7.1} Mbit/s  lost {}",
            self.second,
            self.asked,
            self.connected,
            self.moving,
            grouped(self.packets_per_second),
            self.bits_per_second / 1e6,
            self.lost
        );
        for (name, count) in [("repaired", self.repaired), ("failed", self.failed), ("silent", self.silent)] {
            if count > 0 {
                let _ = write!(line, "  {name} {count}");
            }
        }
        if let Some(latency) = &self.latency {
            let _ = write!(line, "  latency {:.2}/{:.2} ms", latency.p50, latency.p99);
        }
        line + &used(self.generator_busy, self.server_cores, self.server_bytes)
    }
}

/// What a second cost: the share of the generator's core, the server's cores and its memory, as far as each is known.
pub(crate) fn used(generator: Option<f64>, cores: Option<f64>, bytes: Option<u64>) -> String {
    let mut text = String::new();
    if let Some(busy) = generator {
        let _ = write!(text, "  generator {:.0} %", busy * 100.0);
    }
    if let Some(cores) = cores {
        let _ = write!(text, "  server {:.0} %", cores * 100.0);
    }
    if let Some(bytes) = bytes {
        let _ = write!(text, " {:.0} MiB", bytes as f64 / 1_048_576.0);
    }
    text
}

impl Summary {
    /// The table at the end.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut row = |name: &str, text: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {name:<22} {text}");
        };
        let failed: u64 = self.failed.values().sum();
        row(
            "viewers",
            format!(
                "{} connected of {}, {} stayed, {failed} failed",
                self.connected, self.viewers, self.stayed
            ),
        );
        for (why, count) in &self.failed {
            row("", format!("{count} x {why}"));
        }
        for (name, times) in [
            ("POST to connected", self.connect),
            ("POST to keyframe", self.keyframe),
            ("POST to moving frames", self.moving),
            ("latency added", self.latency),
        ] {
            if let Some(times) = times {
                row(name, spread(&times));
            }
        }
        if let (Some(all), Some(each), Some(bits)) =
            (self.packets_per_second, self.packets_per_second_and_viewer, self.bits_per_second)
        {
            row(
                "steady",
                format!(
                    "{} packets/s, {each:.1} to each viewer, {:.2} Gbit/s, over {:.0} s",
                    grouped(all),
                    bits / 1e9,
                    self.steady_seconds
                ),
            );
        }
        row(
            "lost",
            format!(
                "{} of {} packets; {} repaired, {} late, {} twice, {} silent viewer seconds",
                self.lost,
                grouped(self.packets as f64),
                self.repaired,
                self.late,
                self.duplicates,
                self.silent_seconds
            ),
        );
        if let Some(drops) = self.receive_buffer_drops.filter(|drops| *drops > 0) {
            row(
                "",
                format!(
                    "{drops} datagrams did not fit into a receive buffer here: look at them before blaming the network"
                ),
            );
        }
        row(
            "asked of the server",
            format!("{} packets again, {} keyframes", self.asked, self.keyframes_asked),
        );
        row(
            "authenticated",
            format!(
                "{} packets ({:.1} % and all until the first picture), {} forged",
                grouped(self.authenticated as f64),
                self.authenticate * 100.0,
                self.forged
            ),
        );
        if let Some(busiest) = self.generator_busiest {
            let mean = self
                .generator_busy
                .map_or(String::new(), |busy| format!("{:.0} % of its core steady, ", busy * 100.0));
            row("generator", format!("{mean}{:.0} % in the busiest second", busiest * 100.0));
        }
        if let Some(server) = &self.server {
            if let (Some(cores), Some(micros)) = (server.steady_cores, server.micros_per_packet) {
                row(
                    "server",
                    format!("{:.1} % of a core steady, {micros:.2} us per packet and viewer", cores * 100.0),
                );
            }
            row(
                "server memory",
                format!(
                    "{:.1} KiB for each viewer ({:.1} MiB before, {:.1} MiB after)",
                    server.bytes_per_viewer / 1_024.0,
                    server.bytes_before as f64 / 1_048_576.0,
                    server.bytes_after as f64 / 1_048_576.0
                ),
            );
            row(
                "server joins",
                format!(
                    "{:.2} CPU seconds: {:.0} joins per second and core",
                    server.join_seconds, server.joins_per_core_second
                ),
            );
        }
        if let Some(published) = &self.published {
            row(
                "published",
                format!(
                    "{} packets, {} keyframes; the server asked for {} keyframes and {} packets",
                    grouped(published.packets as f64),
                    published.keyframes,
                    published.keyframe_requests,
                    published.asked
                ),
            );
        }
        if let (Some(requests), Some(seconds)) = (self.keyframe_requests_joining, self.joining_seconds) {
            let before = self.keyframe_requests_per_second_before.map_or(String::new(), |rate| {
                format!("; {:.1} would have come anyway, at the rate before", rate * seconds)
            });
            row("while joining", format!("{requests} keyframes asked for in {seconds:.1} s{before}"));
        }
        for why in &self.void {
            let _ = writeln!(out, "\nVOID: {why}.");
        }
        out
    }
}

pub(crate) fn spread(times: &Times) -> String {
    format!(
        "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, longest {:.1} ms (of {})",
        times.p50, times.p95, times.p99, times.max, times.count
    )
}

/// A whole number with its thousands set apart.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::tally::Tally;
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0.0), "0");
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(465_000.0), "465,000");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }

    #[test]
    fn a_void_run_says_so_last() {
        let mut tally = Tally { packets: 1_000, ..Tally::default() };
        tally.keyframe.record(Duration::from_millis(40));
        let failed = BTreeMap::from([("HTTP 503".to_owned(), 2)]);
        let mut summary = Summary::of(&tally, 10, failed);
        assert!(!summary.table().contains("VOID"));
        summary.void = vec!["the generator was busy".into()];
        let table = summary.table();
        assert!(table.ends_with("\nVOID: the generator was busy.\n"), "{table}");
        assert!(
            table.contains("2 x HTTP 503") && table.contains("POST to keyframe       p50 40."),
            "{table}"
        );
    }
}

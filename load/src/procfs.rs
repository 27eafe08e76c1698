//! What processes and cores use, from `/proc`. Where there is none, nothing is known.

use std::fs;

/// Ticks per second of the times in `/proc`: what Linux shows to user space, on every architecture.
const TICKS: f64 = 100.0;

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Use {
    /// CPU seconds, user and system.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub bytes: u64,
}

/// Reads a process's use; none when it is gone or not to be seen.
#[must_use]
pub fn process(pid: u32) -> Option<Use> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(Use { cpu: cpu_seconds(&stat)?, bytes: resident_pages(&statm)? * rustix::param::page_size() as u64 })
}

/// Busy and all seconds of a core since the machine started.
#[must_use]
pub fn core(number: u32) -> Option<(f64, f64)> {
    busy(&fs::read_to_string("/proc/stat").ok()?, number)
}

/// Datagrams dropped because a receive buffer was full, in this network namespace.
#[must_use]
pub fn receive_buffer_drops() -> Option<u64> {
    let count = |file: &str, name: &str| Some((fs::read_to_string(file).ok()?, name.to_owned()));
    let four = count("/proc/net/snmp", "Udp").and_then(|(text, name)| snmp(&text, &name))?;
    let six = fs::read_to_string("/proc/net/snmp6").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("Udp6RcvbufErrors"))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Some(four + six.unwrap_or(0))
}

/// Keeps this thread, and those that it will start, on one core. Without effect where that cannot be.
pub fn pin(core: u32) {
    #[cfg(target_os = "linux")]
    {
        let mut cores = rustix::thread::CpuSet::new();
        cores.set(core as usize);
        let _ = rustix::thread::sched_setaffinity(None, &cores);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

/// Whether this thread may run on that core.
#[must_use]
pub fn has_core(core: u32) -> bool {
    #[cfg(target_os = "linux")]
    {
        (core as usize) < rustix::thread::CpuSet::MAX_CPU
            && rustix::thread::sched_getaffinity(None).is_ok_and(|cores| cores.is_set(core as usize))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = core;
        false
    }
}

/// Fields 14 and 15 of proc_pid_stat(5); the name in field 2 may hold anything, spaces and brackets too.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// The second field of proc_pid_statm(5).
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A `cpuN` line of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal. Stolen time is nobody's here.
fn busy(stat: &str, number: u32) -> Option<(f64, f64)> {
    let name = format!("cpu{number}");
    let line = stat.lines().find(|line| line.split_ascii_whitespace().next() == Some(&name))?;
    let fields: Vec<f64> =
        line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6].into_iter().filter_map(|index| fields.get(index)).sum::<f64>();
    let all = fields.iter().take(8).sum::<f64>();
    Some((busy / TICKS, all / TICKS))
}

/// RcvbufErrors of a protocol: the second of its two lines has the numbers to the first one's names.
fn snmp(text: &str, protocol: &str) -> Option<u64> {
    let prefix = format!("{protocol}:");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    let names = lines.next()?.split_ascii_whitespace();
    let numbers = lines.next()?.split_ascii_whitespace();
    names.zip(numbers).find(|(name, _)| *name == "RcvbufErrors")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 9";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(resident_pages("1000 77 3 4 0 6 0"), Some(77));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    fn a_cores_busy_time_is_neither_idle_nor_stolen() {
        let stat = "cpu 1 1 1 1\ncpu0 9 9 9 9 9 9 9 9\ncpu1 100 20 30 700 50 5 45 50 0 0\n";
        assert_eq!(busy(stat, 1), Some((2.0, 10.0)));
        assert_eq!(busy(stat, 7), None);
    }

    #[test]
    fn the_right_line_of_the_counters_is_read() {
        let text = "Tcp: A\nTcp: 1\nUdp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 5 17 3\nUdpLite: RcvbufErrors\nUdpLite: 9\n";
        assert_eq!(snmp(text, "Udp"), Some(17));
        assert_eq!(snmp(text, "Sctp"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let own = process(std::process::id()).unwrap();
        assert!(own.bytes > 100_000 && own.cpu >= 0.0);
        assert!(process(u32::MAX).is_none());
    }
}

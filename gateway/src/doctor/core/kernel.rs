//! What the kernel's limits and settings mean for a server that sends media to many.

use super::report::{Area, Finding, Level};
use super::route::DefaultRoute;

/// What was read on this machine; none where it could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The operating system's name. The settings below are Linux's.
    pub(crate) system: &'static str,
    /// `net.core.rmem_max` and `net.core.wmem_max` as text: the most bytes that a socket may ask for.
    pub(crate) rmem_max: Option<String>,
    pub(crate) wmem_max: Option<String>,
    /// `net.ipv4.tcp_congestion_control` and those that could be chosen.
    pub(crate) congestion_control: Option<String>,
    pub(crate) congestion_controls: Option<String>,
    /// `net.core.default_qdisc`.
    pub(crate) qdisc: Option<String>,
    /// `net.ipv4.tcp_slow_start_after_idle`: 1 where an idle connection begins again with initcwnd.
    pub(crate) slow_start_after_idle: Option<String>,
    /// What `ip route show default` says, and `ip -6`.
    pub(crate) routes: Option<String>,
    pub(crate) routes_v6: Option<String>,
    /// Files that a process may have open at most: the hard limit, up to which `serve` raises its own.
    pub(crate) open_files: Option<u64>,
    /// Datagrams that one system call can send (UDP GSO).
    pub(crate) gso_segments: Option<usize>,
}

/// What the server needs of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// Bytes that it asks of the kernel for each UDP socket's buffers.
    pub(crate) udp_buffer: usize,
    /// `http.max_connections`.
    pub(crate) connections: usize,
}

/// Open files beyond connections: sockets, logs, the pages.
const OTHER_FILES: u64 = 256;
/// Segments that a connection begins with, unless the route says otherwise (RFC 6928).
const DEFAULT_INITCWND: u32 = 10;
/// Segments that it should begin with, so that a part of [`PART_SEGMENTS`] takes two round trips.
const WANTED_INITCWND: u32 = 30;
/// Segments of 1,448 bytes in an LL-HLS part: 0.2 s at 2.5 Mbit/s are 62,500 bytes.
const PART_SEGMENTS: u32 = 44;

/// Judges what was read.
pub(crate) fn judge(facts: &Facts, needs: Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.system == "linux" {
        let buffers = [("rmem_max", &facts.rmem_max, "received"), ("wmem_max", &facts.wmem_max, "sent")];
        findings
            .extend(buffers.map(|(name, text, what)| buffer(name, text.as_deref(), what, needs.udp_buffer)));
    }
    findings.extend(facts.gso_segments.map(gso));
    findings.extend(facts.open_files.map(|limit| open_files(limit, needs.connections)));
    if facts.system == "linux" {
        findings.push(congestion_control(facts));
        findings.extend(qdisc(facts));
        findings.extend(slow_start(facts));
        findings.extend(first_window(facts));
    } else {
        let text = format!(
            "Socket buffers, congestion control and initcwnd were not looked at: this is {}, and only Linux's are known.",
            facts.system
        );
        findings.push(finding("system", Level::Note, text));
    }
    findings
}

fn finding(check: &'static str, level: Level, text: impl Into<String>) -> Finding {
    Finding::new(Area::Kernel, check, level, text)
}

fn buffer(name: &'static str, text: Option<&str>, what: &str, wanted: usize) -> Finding {
    let check = if name == "rmem_max" { "rmem-max" } else { "wmem-max" };
    let wanted = wanted as u64;
    let Some(bytes) = text.and_then(|text| text.trim().parse::<u64>().ok()) else {
        let text = format!("net.core.{name} cannot be read here, as in some containers: look on the host.");
        return finding(check, Level::Note, text);
    };
    if bytes >= wanted {
        return finding(check, Level::Ok, format!("net.core.{name} is {} bytes.", grouped(bytes)));
    }
    let text = format!(
        "net.core.{name} is {} bytes, of {} that bicast asks for: bursts of {what} packets are lost.",
        grouped(bytes),
        grouped(wanted)
    );
    finding(check, Level::Warning, text)
        .next("Raise it, then restart bicast:")
        .command(format!("sudo sysctl -w net.core.{name}={wanted}"))
}

fn gso(segments: usize) -> Finding {
    if segments > 1 {
        return finding(
            "gso",
            Level::Ok,
            format!("UDP GSO: one system call sends up to {segments} datagrams."),
        );
    }
    let text = "UDP GSO is not there: every datagram costs a system call, and fewer viewers fit on a core.";
    finding("gso", Level::Warning, text)
        .next("Linux has it from 4.18 on; gVisor and some virtual machines do not. To see what the device does:")
        .command("ethtool -k DEVICE | grep udp-segmentation")
}

fn open_files(limit: u64, connections: usize) -> Finding {
    let wanted = connections as u64 + OTHER_FILES;
    if limit >= wanted {
        let text = format!("A process may have {} files open.", grouped(limit));
        return finding("open-files", Level::Ok, text);
    }
    let text = format!(
        "A process may have {} files open; http.max_connections = {connections} needs {}: further viewers over HLS \
         would wait.",
        grouped(limit),
        grouped(wanted)
    );
    finding("open-files", Level::Warning, text)
        .next("Raise the limit where bicast is started (systemd: LimitNOFILE=):")
        .command(format!("sudo prlimit --pid $$ --nofile={}", wanted.next_power_of_two()))
}

fn congestion_control(facts: &Facts) -> Finding {
    let name = "net.ipv4.tcp_congestion_control";
    let Some(current) = trimmed(facts.congestion_control.as_deref()) else {
        return finding(
            "congestion-control",
            Level::Note,
            format!("{name} cannot be read here: look on the host."),
        );
    };
    if current == "bbr" {
        return finding("congestion-control", Level::Ok, format!("{name} is bbr."));
    }
    let text = format!(
        "{name} is {current}. BBR keeps HLS viewers closer to the edge where packets are lost on the way."
    );
    let advice =
        finding("congestion-control", Level::Note, text).next("For machines that face the internet:");
    let is_there = trimmed(facts.congestion_controls.as_deref())
        .is_some_and(|all| all.split_ascii_whitespace().any(|name| name == "bbr"));
    let advice = if is_there { advice } else { advice.command("sudo modprobe tcp_bbr") };
    advice.command(format!("sudo sysctl -w {name}=bbr"))
}

fn qdisc(facts: &Facts) -> Option<Finding> {
    let current = trimmed(facts.qdisc.as_deref())?;
    let text = format!("net.core.default_qdisc is {current}");
    if matches!(current, "fq" | "fq_codel" | "cake") {
        return Some(finding("qdisc", Level::Ok, format!("{text}.")));
    }
    let text = format!("{text}: one viewer's burst stands in the way of the others'.");
    Some(
        finding("qdisc", Level::Note, text)
            .next("fq gives every connection its turn and paces BBR. It counts for devices that come up afterwards:")
            .command("sudo sysctl -w net.core.default_qdisc=fq"),
    )
}

/// An LL-HLS connection pauses between parts for longer than its retransmission timeout. Congestion controls that pace
/// by themselves (BBR) are exempt (`tcp_slow_start_after_idle_check` in the kernel's `include/net/tcp.h`).
fn slow_start(facts: &Facts) -> Option<Finding> {
    let name = "net.ipv4.tcp_slow_start_after_idle";
    let is_on = trimmed(facts.slow_start_after_idle.as_deref())? != "0";
    let matters = trimmed(facts.congestion_control.as_deref()) != Some("bbr");
    (is_on && matters).then(|| {
        let text =
            format!("{name} is 1: an HLS connection that waited for its next part begins slowly again.");
        finding("slow-start", Level::Note, text)
            .next("Keep the window of connections that pause:")
            .command(format!("sudo sysctl -w {name}=0"))
    })
}

fn first_window(facts: &Facts) -> Vec<Finding> {
    let families = [("ip", "IPv4", &facts.routes), ("ip -6", "IPv6", &facts.routes_v6)];
    if families.iter().all(|(_, _, text)| text.is_none()) {
        let text = "The default route was not looked at: there is no `ip` command (iproute2) here.";
        return vec![finding("initcwnd", Level::Note, text)];
    }
    let route = |text: &Option<String>| text.as_deref().and_then(DefaultRoute::first);
    families.iter().filter_map(|(ip, family, text)| Some(initcwnd(ip, family, &route(text)?))).collect()
}

fn initcwnd(ip: &str, family: &str, route: &DefaultRoute) -> Finding {
    let segments = route.initcwnd.unwrap_or(DEFAULT_INITCWND);
    let text = format!("New {family} connections begin with {segments} segments (initcwnd)");
    if segments >= WANTED_INITCWND {
        return finding("initcwnd", Level::Ok, format!("{text}."));
    }
    let text = format!(
        "{text}: a part of 0.2 s at 2.5 Mbit/s takes a new viewer {} round trips, with {WANTED_INITCWND} it takes {}.",
        round_trips(segments),
        round_trips(WANTED_INITCWND)
    );
    let advice = finding("initcwnd", Level::Note, text);
    match route.with_initcwnd(ip, WANTED_INITCWND) {
        Some(command) => advice.next("For large audiences over HLS without a CDN:").command(command),
        None => advice.next(format!(
            "Add initcwnd {WANTED_INITCWND} to the default route, which has several gateways."
        )),
    }
}

/// Round trips that a part takes: slow start doubles the window with each.
fn round_trips(initcwnd: u32) -> u32 {
    let (mut sent, mut window, mut trips) = (0, initcwnd.max(1), 0);
    while sent < PART_SEGMENTS {
        (sent, window, trips) = (sent + window, window * 2, trips + 1);
    }
    trips
}

fn trimmed(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// 4,194,304.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs { udp_buffer: 4 << 20, connections: 10_000 };

    /// A machine with nothing to say about.
    fn good() -> Facts {
        let text = |text: &str| Some(text.to_owned());
        Facts {
            system: "linux",
            rmem_max: text("4194304\n"),
            wmem_max: text("8388608\n"),
            congestion_control: text("bbr\n"),
            congestion_controls: text("reno bbr cubic\n"),
            qdisc: text("fq\n"),
            slow_start_after_idle: text("1\n"),
            routes: text("default via 192.0.2.1 dev eth0 initcwnd 30 \n"),
            routes_v6: text(""),
            open_files: Some(1 << 20),
            gso_segments: Some(64),
        }
    }

    fn only(facts: &Facts, check: &str) -> Finding {
        let mut found: Vec<Finding> =
            judge(facts, NEEDS).into_iter().filter(|finding| finding.check == check).collect();
        assert_eq!(found.len(), 1, "{check}: {found:#?}");
        found.remove(0)
    }

    fn commands(finding: &Finding) -> Vec<&str> {
        finding.next.iter().flat_map(|next| &next.commands).map(String::as_str).collect()
    }

    #[test]
    fn a_good_machine_has_nothing_to_set() {
        let findings = judge(&good(), NEEDS);
        assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
        assert_eq!(findings.len(), 7);
    }

    #[test]
    fn small_buffers_come_with_the_command() {
        let facts = Facts { rmem_max: Some("212992\n".into()), wmem_max: None, ..good() };
        let small = only(&facts, "rmem-max");
        assert_eq!(small.level, Level::Warning);
        assert!(small.text.contains("212,992 bytes, of 4,194,304"), "{}", small.text);
        assert_eq!(commands(&small), ["sudo sysctl -w net.core.rmem_max=4194304"]);
        assert_eq!(only(&facts, "wmem-max").level, Level::Note, "unreadable in a container");
    }

    #[test]
    fn bbr_is_loaded_where_it_is_not() {
        let facts = Facts {
            congestion_control: Some("cubic\n".into()),
            congestion_controls: Some("reno cubic\n".into()),
            ..good()
        };
        let advice = only(&facts, "congestion-control");
        assert_eq!(
            commands(&advice),
            ["sudo modprobe tcp_bbr", "sudo sysctl -w net.ipv4.tcp_congestion_control=bbr"]
        );
        assert_eq!(
            commands(&only(&facts, "slow-start")),
            ["sudo sysctl -w net.ipv4.tcp_slow_start_after_idle=0"]
        );
        let facts = Facts { congestion_controls: Some("reno bbr cubic".into()), ..facts };
        assert_eq!(commands(&only(&facts, "congestion-control")).len(), 1);
    }

    #[test]
    fn the_first_window_is_judged_by_route() {
        let facts = Facts {
            routes: Some("default via 192.0.2.1 dev eth0 \n192.0.2.0/24 dev eth0\n".into()),
            routes_v6: Some("default via fd00::1 dev eth0 metric 1024 initcwnd 32 pref medium\n".into()),
            ..good()
        };
        let findings: Vec<Finding> =
            judge(&facts, NEEDS).into_iter().filter(|finding| finding.check == "initcwnd").collect();
        assert_eq!(findings[0].level, Level::Note);
        assert!(
            findings[0].text.contains("a new viewer 3 round trips, with 30 it takes 2."),
            "{}",
            findings[0].text
        );
        assert_eq!(
            commands(&findings[0]),
            ["sudo ip route change default via 192.0.2.1 dev eth0 initcwnd 30"]
        );
        assert_eq!(findings[1].level, Level::Ok);
        assert!(
            only(&Facts { routes: None, routes_v6: None, ..good() }, "initcwnd").text.contains("iproute2")
        );
    }

    #[test]
    fn the_rest_is_judged_too() {
        let facts = Facts {
            open_files: Some(1_024),
            gso_segments: Some(1),
            qdisc: Some("pfifo_fast\n".into()),
            ..good()
        };
        assert_eq!(commands(&only(&facts, "open-files")), ["sudo prlimit --pid $$ --nofile=16384"]);
        assert_eq!(only(&facts, "gso").level, Level::Warning);
        assert_eq!(commands(&only(&facts, "qdisc")), ["sudo sysctl -w net.core.default_qdisc=fq"]);
    }

    #[test]
    fn other_systems_are_said_not_to_be_known() {
        let facts = Facts { system: "macos", open_files: Some(1 << 20), ..Facts::default() };
        let findings = judge(&facts, NEEDS);
        assert_eq!(
            findings.iter().map(|finding| finding.check).collect::<Vec<_>>(),
            ["open-files", "system"]
        );
        assert!(findings[1].text.contains("this is macos"));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 4_194_304].map(grouped), ["0", "999", "1,000", "4,194,304"]);
    }
}

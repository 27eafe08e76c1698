//! What this machine tells about itself. Reads only.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use quinn_udp::UdpSocketState;
use tokio::process::Command;

use super::core::kernel::Facts;

/// The files that container runtimes put into every container.
const MARKS: [&str; 3] =
    ["/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io/serviceaccount"];
/// `ip` only reads a table of the kernel.
const IP_TAKES: Duration = Duration::from_secs(2);

/// The addresses of this machine's interfaces.
pub(super) fn interfaces() -> Vec<IpAddr> {
    if_addrs::get_if_addrs().unwrap_or_default().iter().map(if_addrs::Interface::ip).collect()
}

/// What shows that this process is in a container.
pub(super) fn container() -> Option<String> {
    MARKS.iter().find(|mark| Path::new(mark).exists()).map(|mark| (*mark).to_owned())
}

/// Reads the kernel's settings.
pub(super) async fn facts() -> Facts {
    Facts {
        system: std::env::consts::OS,
        rmem_max: sysctl("net/core/rmem_max"),
        wmem_max: sysctl("net/core/wmem_max"),
        congestion_control: sysctl("net/ipv4/tcp_congestion_control"),
        congestion_controls: sysctl("net/ipv4/tcp_available_congestion_control"),
        qdisc: sysctl("net/core/default_qdisc"),
        slow_start_after_idle: sysctl("net/ipv4/tcp_slow_start_after_idle"),
        routes: ip(&["route", "show", "default"]).await,
        routes_v6: ip(&["-6", "route", "show", "default"]).await,
        open_files: open_files(),
        gso_segments: gso_segments(),
    }
}

/// A file under `/proc/sys`; none on systems that have no such.
fn sysctl(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()
}

/// What iproute2 prints; none where it is not installed. Other systems have no such command.
async fn ip(args: &[&str]) -> Option<String> {
    let asked = Command::new("ip").args(args).kill_on_drop(true).output();
    let output = tokio::time::timeout(IP_TAKES, asked).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(unix)]
fn open_files() -> Option<u64> {
    rlimit::Resource::NOFILE.get_hard().ok()
}

#[cfg(not(unix))]
fn open_files() -> Option<u64> {
    None
}

/// Found out as the server does: by asking a socket.
fn gso_segments() -> Option<usize> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).ok()?;
    let state = UdpSocketState::new((&socket).into()).ok()?;
    Some(state.max_gso_segments())
}

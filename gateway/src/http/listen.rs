//! Binds the HTTP addresses.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::config::TcpConfig;
use crate::gateway::StartError;

/// Connections that the kernel may hold until they are accepted.
const BACKLOG: i32 = 1024;

/// Listens on all of `addresses`. IPv6's wildcard and loopback are left out where the machine has no IPv6 and
/// another address remains. Must be called inside a tokio runtime.
pub(crate) fn listen(addresses: &[SocketAddr], tcp: &TcpConfig) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for &address in addresses {
        match bind(address) {
            Ok(listener) => {
                tune(&listener, tcp)?;
                listeners.push(listener);
            }
            Err(error) if may_be_left_out(address, &error) && addresses.len() > 1 => {
                tracing::info!(%address, "this machine has no IPv6: listening on IPv4 only");
            }
            Err(error) => return Err(StartError::Http { address, error }),
        }
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Each family has its own listener: otherwise IPv4 clients would show up with mapped addresses, and whether
        // they may depends on a sysctl.
        socket.set_only_v6(true)?;
    }
    // A restarted server must not wait for the old one's connections to leave TIME_WAIT. On Windows the option would
    // mean that two servers can share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepted connections have these settings from their listener.
#[cfg(target_os = "linux")]
fn tune(listener: &TcpListener, tcp: &TcpConfig) -> Result<(), StartError> {
    let socket = socket2::SockRef::from(listener);
    if tcp.notsent_lowat > 0
        && let Err(error) = socket.set_tcp_notsent_lowat(tcp.notsent_lowat)
    {
        tracing::warn!(%error, "http.tcp.notsent_lowat: this kernel does not know TCP_NOTSENT_LOWAT");
    }
    let algorithm = &tcp.congestion_control;
    if !algorithm.is_empty() {
        let set = socket.set_tcp_congestion(algorithm.as_bytes());
        set.map_err(|error| StartError::CongestionControl { algorithm: algorithm.clone(), error })?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn tune(_listener: &TcpListener, tcp: &TcpConfig) -> Result<(), StartError> {
    if !tcp.congestion_control.is_empty() {
        tracing::warn!("http.tcp.congestion_control works on Linux only");
    }
    Ok(())
}

/// Whether an address is missing only because the machine has no IPv6.
pub(crate) fn may_be_left_out(address: SocketAddr, error: &io::Error) -> bool {
    /// Linux's and BSD's "address family not supported".
    const NO_FAMILY: [i32; 2] = [97, 47];
    let no_ipv6 = error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error().is_some_and(|code| NO_FAMILY.contains(&code));
    let (ip, any) = (address.ip(), address.ip().is_unspecified() || address.ip().is_loopback());
    ip.is_ipv6() && any && no_ipv6
}

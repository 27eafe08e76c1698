//! One line: its sockets, its counters, and what each direction does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bicast_shared::clock;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api;
use crate::core::network::{BadNetwork, Network, NetworkChange};
use crate::core::way::Way;
use crate::lines::Gateway;
use crate::proxy::Proxy;
use crate::{tcp, udp};

/// Connections that the kernel may hold until they are accepted.
const BACKLOG: i32 = 64;
/// Bytes of a UDP socket's buffers: the pictures of a second that begin together with a keyframe.
const UDP_BUFFER: usize = 1 << 20;

/// A line. Its tasks end when it is closed.
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) port: u16,
    /// The addresses that it listens on.
    pub(crate) ips: Vec<IpAddr>,
    network: Mutex<Network>,
    pub(crate) to_viewer: Lane,
    pub(crate) from_viewer: Lane,
    /// When it was made.
    since: Instant,
    /// When something passed or somebody asked, in milliseconds after that.
    used: AtomicU64,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// One direction of a line. Locked for as long as a decision takes.
pub(crate) struct Lane {
    pub(crate) way: Mutex<Way>,
    udp_packets: AtomicU64,
    udp_bytes: AtomicU64,
    udp_dropped: AtomicU64,
    tcp_bytes: AtomicU64,
    tcp_held: AtomicU64,
}

impl Line {
    /// Opens the port on all addresses of the gateway and begins to serve it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where the port cannot be had on one of them, over TCP or UDP.
    pub(crate) fn open(
        id: String,
        port: u16,
        network: Network,
        gateway: &Gateway,
        now: Instant,
    ) -> io::Result<Arc<Self>> {
        let mut doors = Vec::new();
        for http in gateway.http_by_ip() {
            let address = SocketAddr::new(http.ip(), port);
            doors.push((http, listener(address)?, datagrams(address)?));
        }
        let mut seeds = std::iter::repeat_with(rand::random::<u64>);
        let mut way = |towards| Lane::new(Way::new(network, towards, seeds.next().unwrap_or_default()));
        let line = Arc::new(Self {
            id,
            port,
            ips: doors.iter().map(|(http, ..)| http.ip()).collect(),
            network: Mutex::new(network),
            to_viewer: way(true),
            from_viewer: way(false),
            since: now,
            used: AtomicU64::new(0),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        for (http, tcp, udp) in doors {
            let proxy = Arc::new(Proxy::new(Arc::clone(&line), reachable(http)));
            line.tasks.spawn(line.closing.clone().run_until_cancelled_owned(tcp::accept(tcp, proxy)));
            let relay = udp::relay(Arc::clone(&line), udp, reachable(gateway.udp));
            line.tasks.spawn(line.closing.clone().run_until_cancelled_owned(relay));
        }
        Ok(line)
    }

    /// Its network as it is now.
    pub(crate) fn network(&self) -> Network {
        *self.network.lock()
    }

    /// Changes the network for everything that passes from now on.
    ///
    /// # Errors
    /// A value out of range; nothing changes then.
    pub(crate) fn change(&self, now: Instant, change: &NetworkChange) -> Result<(), BadNetwork> {
        // Held to the end, so that both directions have the same of two changes at once.
        let mut network = self.network.lock();
        *network = network.with(change)?;
        for lane in [&self.to_viewer, &self.from_viewer] {
            lane.way.lock().change(now, *network);
        }
        Ok(())
    }

    /// Somebody uses it.
    pub(crate) fn touch(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.since).as_millis();
        self.used.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// For how long nobody has used it.
    pub(crate) fn idle_for(&self, now: Instant) -> Duration {
        let used = self.since + Duration::from_millis(self.used.load(Ordering::Relaxed));
        now.saturating_duration_since(used)
    }

    /// What has passed.
    pub(crate) fn passed(&self) -> api::Passed {
        api::Passed { to_viewer: self.to_viewer.passed(), from_viewer: self.from_viewer.passed() }
    }

    /// Closes its connections and ports. They are free when this returns.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Lane {
    fn new(way: Way) -> Self {
        Self {
            way: Mutex::new(way),
            udp_packets: AtomicU64::new(0),
            udp_bytes: AtomicU64::new(0),
            udp_dropped: AtomicU64::new(0),
            tcp_bytes: AtomicU64::new(0),
            tcp_held: AtomicU64::new(0),
        }
    }

    pub(crate) fn udp_arrived(&self, line: &Line, size: usize) {
        self.udp_packets.fetch_add(1, Ordering::Relaxed);
        self.udp_bytes.fetch_add(size as u64, Ordering::Relaxed);
        line.touch(clock::now());
    }

    pub(crate) fn udp_dropped(&self) {
        self.udp_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tcp_arrived(&self, line: &Line, size: usize) {
        self.tcp_bytes.fetch_add(size as u64, Ordering::Relaxed);
        line.touch(clock::now());
    }

    pub(crate) fn tcp_held(&self) {
        self.tcp_held.fetch_add(1, Ordering::Relaxed);
    }

    fn passed(&self) -> api::Direction {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        api::Direction {
            udp_packets: read(&self.udp_packets),
            udp_bytes: read(&self.udp_bytes),
            udp_dropped: read(&self.udp_dropped),
            tcp_bytes: read(&self.tcp_bytes),
            tcp_held: read(&self.tcp_held),
        }
    }
}

/// Where the gateway's own listener is reached from this process.
const fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), address.port())
        }
        _ => address,
    }
}

fn listener(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    // The next line of this port must not wait for the last one's connections to leave TIME_WAIT. On Windows the option would mean that
    // two can share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    tokio::net::TcpListener::from_std(socket.into())
}

fn datagrams(address: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    with_buffers(&socket);
    socket.bind(&address.into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}

/// A socket towards the SFU, of its own for each viewer: it tells its peers apart by their addresses.
pub(crate) fn towards(sfu: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
    let socket = open(sfu, Type::DGRAM, Protocol::UDP)?;
    with_buffers(&socket);
    socket.connect(&sfu.into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // IPv4 has its own.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Smaller buffers than asked for are the kernel's right.
fn with_buffers(socket: &Socket) {
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    let _ = socket.set_send_buffer_size(UDP_BUFFER);
}

//! UDP sockets: bound with SO_REUSEPORT so that every worker has its own, read and written in batches.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

/// Bytes asked of the kernel for each direction of a UDP socket; it gives what `net.core.[rw]mem_max` allows.
pub const BUFFER_BYTES: usize = 4 << 20;

/// How often and how long a full send buffer is waited for. A worker's viewers share the socket, so nobody of them
/// could be sent to meanwhile; 5 ms drain 6 MB on a 10 Gbit/s interface.
const SEND_WAITS: u32 = 50;
const SEND_WAIT: Duration = Duration::from_micros(100);

/// After so long without segmentation offload it is tried again: one interface that cannot do it, or one bad moment, must not cost
/// a socket its batches for ever.
const OFFLOAD_AGAIN: Duration = Duration::from_secs(30);

/// How much longer a sender may wait for full send buffers: 5 ms from the start, for all that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience(u32);

impl Patience {
    /// For senders that must not wait at all: asynchronous tasks.
    pub(crate) const fn none() -> Self {
        Self(0)
    }

    /// Waits a moment; false when there is no patience left.
    fn wait(&mut self) -> bool {
        let Some(left) = self.0.checked_sub(1) else { return false };
        self.0 = left;
        std::thread::sleep(SEND_WAIT);
        true
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self(SEND_WAITS)
    }
}

/// A bound UDP socket.
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// Datagrams that one call could send when it was opened.
    full: usize,
    /// Since when the kernel has refused to segment.
    plain: Option<Instant>,
}

impl Socket {
    /// Binds `count` sockets to the same address: the kernel spreads the peers over them. Port 0 takes any free one.
    pub(crate) fn bind_group(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        // SO_REUSEPORT would also let a second process of the same user in: the first bind goes without it, so that a
        // port in use is an error.
        let probe = open(address)?;
        probe.bind(&address.into())?;
        let bound = probe.local_addr()?.as_socket().unwrap_or(address);
        drop(probe);
        (0..count.max(1)).map(|_| Self::bind(bound)).collect()
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let raw = open(address)?;
        #[cfg(unix)]
        raw.set_reuse_port(true)?;
        raw.bind(&address.into())?;
        Self::new(raw.into())
    }

    /// Wraps a bound socket.
    pub(crate) fn new(io: UdpSocket) -> io::Result<Self> {
        let local = io.local_addr()?;
        io.set_nonblocking(true)?;
        let state = UdpSocketState::new((&io).into())?;
        // Smaller buffers than asked for are the kernel's right.
        let _ = state.set_send_buffer_size((&io).into(), BUFFER_BYTES);
        let _ = state.set_recv_buffer_size((&io).into(), BUFFER_BYTES);
        let full = state.max_gso_segments();
        Ok(Self { io, state, local, full, plain: None })
    }

    /// Another handle to the same socket.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Self::new(self.io.try_clone()?)
    }

    /// A handle for tokio to wait on. Must be called inside a runtime.
    pub(crate) fn readiness(&self) -> io::Result<tokio::net::UdpSocket> {
        tokio::net::UdpSocket::from_std(self.io.try_clone()?)
    }

    /// The address it is bound to.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// The address that a datagram to `destination_ip` came to.
    pub(crate) fn local_for(&self, destination_ip: Option<IpAddr>) -> SocketAddr {
        SocketAddr::new(destination_ip.unwrap_or(self.local.ip()), self.local.port())
    }

    /// How many datagrams one call can send.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }

    /// Whether the kernel cuts large sends into datagrams (UDP GSO).
    pub(crate) fn segments(&self) -> bool {
        self.max_segments() > 1
    }

    /// Time has passed. `quinn_udp` gives segmentation up for good at the first EIO or EINVAL, which one route through an interface
    /// without checksum offload is enough for: begin anew after a while.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> io::Result<()> {
        if self.max_segments() >= self.full {
            self.plain = None;
            return Ok(());
        }
        let since = *self.plain.get_or_insert(now);
        if now >= since + OFFLOAD_AGAIN {
            self.plain = None;
            self.state = UdpSocketState::new((&self.io).into())?;
        }
        Ok(())
    }

    /// How many datagrams one receive buffer can hold.
    pub(crate) fn receive_segments(&self) -> usize {
        self.state.gro_segments().max(1)
    }

    /// Receives a batch; [`io::ErrorKind::WouldBlock`] when there is nothing.
    pub(crate) fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        self.state.recv((&self.io).into(), buffers, meta)
    }

    /// Sends datagrams of `segment` bytes each (the last may be shorter), or one datagram where it is none. Waits for a
    /// full send buffer as long as `patience` lasts, then gives up with [`io::ErrorKind::WouldBlock`].
    pub(crate) fn send(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        contents: &[u8],
        segment: Option<usize>,
        patience: &mut Patience,
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: segment,
            // A socket bound to every address must answer from the one that the peer knows.
            src_ip: self.local.ip().is_unspecified().then(|| from.ip()).filter(|ip| !ip.is_unspecified()),
        };
        loop {
            match self.state.try_send((&self.io).into(), &transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience.wait() => {}
                other => return other,
            }
        }
    }
}

/// Whether a send failed because the kernel or the interface cannot segment it: EIO, EINVAL (udp_send_skb in Linux).
pub(crate) fn refuses_to_segment(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const EINVAL: i32 = 22;
    matches!(error.raw_os_error(), Some(EIO | EINVAL))
}

fn open(address: SocketAddr) -> io::Result<RawSocket> {
    let raw = RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // IPv4 has its own sockets: no mapped addresses to compare with plain ones.
        raw.set_only_v6(true)?;
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_an_error_although_ports_are_shared() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = Socket::bind_group(any, 2).unwrap();
        assert_eq!(first[0].local(), first[1].local());
        let error = Socket::bind_group(first[0].local(), 1).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn patience_ends_and_some_have_none() {
        let mut patience = Patience::default();
        let waits = std::iter::from_fn(|| patience.wait().then_some(())).take(1_000).count();
        assert_eq!(waits, 50, "of 0.1 ms: 5 ms");
        assert_eq!(patience, Patience::none());
    }

    #[test]
    fn segmentation_is_given_up_for_a_while_only() {
        let mut socket = Socket::bind_group(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0);
        let reader = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        if !socket.segments() {
            return; // a kernel that cannot at all
        }
        let to = reader.local_addr().unwrap();
        // Segments beyond what the interface can carry: the kernel answers EINVAL, as it does where it cannot segment.
        let contents = vec![0; 65_000];
        let error = socket.send(socket.local(), to, &contents, Some(40), &mut Patience::none()).unwrap_err();
        assert!(refuses_to_segment(&error), "{error:?}");
        assert!(!socket.segments());
        let start = bicast_shared::clock::now();
        for seconds in [0, 29] {
            socket.handle_timeout(start + Duration::from_secs(seconds)).unwrap();
            assert!(!socket.segments(), "after {seconds} s");
        }
        socket.handle_timeout(start + OFFLOAD_AGAIN).unwrap();
        assert!(socket.segments());
        let sent = socket.send(socket.local(), to, &contents[..3_000], Some(1_000), &mut Patience::none());
        assert!(sent.is_ok(), "{sent:?}");
    }

    #[test]
    fn segments_arrive_as_datagrams() {
        let sockets = Socket::bind_group(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let reader = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        reader.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let contents: Vec<u8> = (0..250).collect();
        let segment = (sockets[0].max_segments() >= 3).then_some(100);
        let to = reader.local_addr().unwrap();
        sockets[0].send(sockets[0].local(), to, &contents, segment, &mut Patience::none()).unwrap();
        let mut buffer = [0; 1_500];
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < contents.len() {
            sizes.push(reader.recv(&mut buffer).unwrap());
        }
        assert_eq!(sizes, if segment.is_some() { vec![100, 100, 50] } else { vec![250] });
    }
}

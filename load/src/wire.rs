//! A peer's UDP socket: receives in runs with the kernel's time stamps, sends one datagram at a time.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use bicast_shared::clock;
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::core::ice::Transmit;

/// Asked of the kernel: a large keyframe and what comes while the thread is busy elsewhere.
const RECEIVE_BYTES: usize = 2 << 20;
/// Datagrams or runs taken in one call. More waits only where the thread was held up.
const RUNS: usize = 4;
/// The largest run: one UDP length field.
const RUN_BYTES: usize = 65_536;

/// A socket of one peer.
pub struct Wire {
    pub(crate) io: mio::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    connected: bool,
}

/// Receive buffers, shared by all sockets of a thread.
pub(crate) struct Buffers {
    bytes: Vec<u8>,
    meta: [RecvMeta; RUNS],
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; RUNS * RUN_BYTES], meta: [RecvMeta::default(); RUNS] }
    }
}

/// Datagrams that came together, of equal size but for the last.
pub(crate) struct Run<'a> {
    pub(crate) from: SocketAddr,
    /// Nanoseconds since the Unix epoch at which the kernel took it.
    pub(crate) arrived: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) stride: usize,
}

impl Wire {
    /// A socket on any free port of `ip`.
    ///
    /// # Errors
    /// What the system says, mostly that too many files are open.
    pub fn bind(ip: IpAddr) -> io::Result<Self> {
        let address = SocketAddr::new(ip, 0);
        let raw = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        raw.bind(&address.into())?;
        raw.set_nonblocking(true)?;
        let io: std::net::UdpSocket = raw.into();
        let state = UdpSocketState::new((&io).into())?;
        // Smaller buffers than asked for are the kernel's right.
        let _ = state.set_recv_buffer_size((&io).into(), RECEIVE_BYTES);
        let local = io.local_addr()?;
        Ok(Self { io: mio::net::UdpSocket::from_std(io), state, local, connected: false })
    }

    /// Where it is bound.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Binds it to the server's address: sends need no look-up of the route any more.
    pub(crate) fn connect(&mut self, to: SocketAddr) {
        self.connected = self.io.connect(to).is_ok();
    }

    /// Takes what waits and hands each run to `handle`. True when the socket was drained.
    pub(crate) fn receive(&self, buffers: &mut Buffers, mut handle: impl FnMut(Run<'_>)) -> bool {
        let mut slices = buffers.bytes.chunks_mut(RUN_BYTES);
        let mut slices: [IoSliceMut<'_>; RUNS] =
            std::array::from_fn(|_| IoSliceMut::new(slices.next().unwrap_or_default()));
        let count = match self.state.recv((&self.io).into(), &mut slices, &mut buffers.meta) {
            Ok(count) => count,
            // Nothing there; or ICMP's answer to what was sent before, which the timers will notice.
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        for (meta, bytes) in buffers.meta.iter().zip(buffers.bytes.chunks(RUN_BYTES)).take(count) {
            let arrived =
                meta.timestamp.map_or_else(now_nanos, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
            let bytes = bytes.get(..meta.len).unwrap_or_default();
            handle(Run { from: meta.addr, arrived, bytes, stride: meta.stride.max(1) });
        }
        // recvmmsg stops where nothing waits, so that fewer than asked for means that nothing does.
        count < RUNS
    }

    /// Sends a datagram; one that the kernel does not take is lost, as on any network.
    pub(crate) fn send(&self, transmit: &Transmit) {
        let _ = if self.connected {
            self.io.send(&transmit.bytes)
        } else {
            self.io.send_to(&transmit.bytes, transmit.to)
        };
    }
}

/// UTC in nanoseconds since the Unix epoch.
pub(crate) fn now_nanos() -> u64 {
    u64::try_from(clock::utc().unix_nanos()).unwrap_or(0)
}

/// The address of this machine that packets to `to` leave from.
pub(crate) fn local_ip(to: SocketAddr) -> io::Result<IpAddr> {
    let raw = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    // Sends nothing: connecting a UDP socket only looks the route up.
    SockRef::from(&raw).connect(&SocketAddr::new(to.ip(), to.port().max(1)).into())?;
    let address = raw.local_addr()?.as_socket();
    address.map(|address| address.ip()).ok_or_else(|| io::Error::other("no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_whole_and_with_their_time() {
        let wire = Wire::bind(IpAddr::from([127, 0, 0, 1])).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = now_nanos();
        for n in 0..10_u8 {
            sender.send_to(&[n; 100], wire.local()).unwrap();
        }
        let mut buffers = Buffers::new();
        let mut seen = Vec::new();
        for _ in 0..1_000 {
            while !wire.receive(&mut buffers, |run| {
                assert_eq!(run.from, sender.local_addr().unwrap());
                assert!(run.arrived.abs_diff(before) < 60_000_000_000);
                seen.extend(run.bytes.chunks(run.stride).map(|datagram| (datagram[0], datagram.len())));
            }) {}
            if seen.len() == 10 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(seen, (0..10).map(|n| (n, 100)).collect::<Vec<_>>());
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        assert!(local_ip("127.0.0.1:8080".parse().unwrap()).unwrap().is_loopback());
    }
}

//! The one port of all peers, UDP and TCP: who owns an incoming datagram, and what peers are told to send to.
//!
//! A datagram's first byte says what it is (RFC 7983). STUN checks name their owner by USERNAME; everything else is
//! found by its source address over UDP, by its connection over TCP. Only an owner that authenticated a check from an
//! address can have it ([`Registration::learn`]), so a forged check cannot steal a path.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bicast_shared::clock;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

use crate::addresses::{Interfaces, reachable};
use crate::core::candidates::{Candidate, Transport};
use crate::core::demux::{Ignored, Kind};
use crate::core::stun::BindingRequest;
use crate::socket::{Patience, Socket};
use crate::tcp::{Accepted, Refused};

/// Addresses remembered for one owner; the oldest goes. A browser has a handful of candidate pairs.
const MAX_ADDRESSES: usize = 8;

/// Names a TCP connection of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(u64);

/// How a datagram came, and how its answer goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Udp,
    Tcp(ConnectionId),
}

/// A datagram on its way to its owner.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    pub(crate) via: Via,
    /// The address of ours that it was sent to.
    pub(crate) local: SocketAddr,
    /// Where it came from.
    pub(crate) remote: SocketAddr,
    /// When it was read from the socket.
    pub(crate) received: Instant,
    pub(crate) bytes: Bytes,
}

/// Who takes the datagrams of a session.
#[derive(Clone)]
pub(crate) enum Owner {
    /// The worker with this index: viewers.
    Worker(usize),
    /// A session task of its own: publishers. Bounded; what does not fit is dropped and counted.
    Peer(mpsc::Sender<Datagram>),
}

/// A worker's two doors. Bounded; what does not fit is dropped and counted.
#[derive(Clone)]
pub(crate) struct Doors {
    /// Datagrams of its viewers that came to another worker's socket.
    pub(crate) datagrams: mpsc::Sender<Datagram>,
    /// TCP connections of its viewers.
    pub(crate) connections: mpsc::Sender<Accepted>,
}

/// The shared port. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Port(Arc<Inner>);

struct Inner {
    /// One per bound address, for senders that are not workers.
    sockets: Vec<Socket>,
    /// The addresses that TCP is listened on.
    listening: Vec<SocketAddr>,
    workers: Vec<Doors>,
    routes: RwLock<Routes>,
    /// TCP connections that no worker owns: what is sent to them.
    connections: RwLock<HashMap<ConnectionId, mpsc::Sender<Bytes>>>,
    public: Vec<IpAddr>,
    interfaces: Interfaces,
    next_id: AtomicU64,
    /// By transport, UDP first.
    ignored: [[AtomicU64; Ignored::NAMES.len()]; 2],
    refused: [AtomicU64; Refused::NAMES.len()],
}

#[derive(Default)]
struct Routes {
    by_ufrag: HashMap<String, (u64, Owner)>,
    by_address: HashMap<SocketAddr, (u64, Owner)>,
}

impl Port {
    /// A port over bound sockets, one per address, and the addresses that TCP is listened on. `public` replaces the
    /// addresses that peers are told.
    pub(crate) fn new(
        sockets: Vec<Socket>,
        listening: Vec<SocketAddr>,
        workers: Vec<Doors>,
        public: Vec<IpAddr>,
    ) -> Self {
        Self(Arc::new(Inner {
            sockets,
            listening,
            workers,
            routes: RwLock::default(),
            connections: RwLock::default(),
            public,
            interfaces: Interfaces::default(),
            next_id: AtomicU64::new(0),
            ignored: Default::default(),
            refused: Default::default(),
        }))
    }

    fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes `owner` the one for checks that name `local_ufrag`.
    pub(crate) fn register(&self, local_ufrag: &str, owner: Owner) -> Registration {
        let id = self.next_id();
        self.0.routes.write().by_ufrag.insert(local_ufrag.to_owned(), (id, owner.clone()));
        Registration {
            port: self.clone(),
            id,
            ufrag: local_ufrag.to_owned(),
            owner,
            addresses: Mutex::default(),
        }
    }

    /// Sends one datagram from the socket that `local` belongs to, or over its connection: for senders of low rate. It
    /// does not wait for a full send buffer, because they are asynchronous tasks; what they send may be lost.
    /// [`io::ErrorKind::NotConnected`] says that the connection is no more.
    pub(crate) fn send(
        &self,
        via: Via,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &Bytes,
    ) -> io::Result<()> {
        let Via::Tcp(id) = via else {
            let no_family =
                || io::Error::new(io::ErrorKind::AddrNotAvailable, "no socket of this address family");
            let socket = self.socket(local, remote).ok_or_else(no_family)?;
            return socket.send(local, remote, bytes, None, &mut Patience::none());
        };
        let connections = self.0.connections.read();
        let connection = connections.get(&id).ok_or(io::ErrorKind::NotConnected)?;
        connection.try_send(bytes.clone()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => io::ErrorKind::WouldBlock.into(),
            mpsc::error::TrySendError::Closed(_) => io::ErrorKind::NotConnected.into(),
        })
    }

    fn socket(&self, local: SocketAddr, remote: SocketAddr) -> Option<&Socket> {
        let family = |socket: &&Socket| socket.local().is_ipv4() == remote.is_ipv4();
        let exact = self.0.sockets.iter().find(|socket| socket.local().ip() == local.ip());
        exact.filter(family).or_else(|| {
            let mut same = self.0.sockets.iter().filter(family);
            same.clone().find(|socket| socket.local().ip().is_unspecified()).or_else(|| same.next())
        })
    }

    /// The UDP addresses it is bound to.
    pub(crate) fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.sockets.iter().map(Socket::local).collect()
    }

    /// The addresses that TCP is listened on.
    pub(crate) fn listening(&self) -> &[SocketAddr] {
        &self.0.listening
    }

    /// The host candidates for SDP, best first. `request_host` is the address that the peer used for HTTP, where it
    /// is one.
    pub(crate) fn candidates(&self, request_host: Option<IpAddr>) -> Vec<Candidate> {
        let bound = self.local_addrs();
        let own = self.0.interfaces.at(clock::now());
        [(bound.as_slice(), Transport::Udp), (self.listening(), Transport::TcpPassive)]
            .into_iter()
            .flat_map(|(bound, transport)| {
                let told = reachable(bound, &self.0.public, &own, request_host);
                told.into_iter().map(move |address| Candidate { address, transport })
            })
            .collect()
    }

    /// Who takes this datagram.
    pub(crate) fn route(&self, bytes: &[u8], remote: SocketAddr) -> Result<Owner, Ignored> {
        let routes = self.0.routes.read();
        if Kind::of(bytes).ok_or(Ignored::Garbage)? == Kind::Stun {
            if let Some(request) = BindingRequest::parse(bytes) {
                let owner = routes.by_ufrag.get(request.local_ufrag());
                return owner.map(|(_, owner)| owner.clone()).ok_or(Ignored::UnknownUfrag);
            }
            // An answer to a check of a full agent: only an owner of the address can have asked.
            return routes.by_address.get(&remote).map(|(_, o)| o.clone()).ok_or(Ignored::BadStun);
        }
        routes.by_address.get(&remote).map(|(_, owner)| owner.clone()).ok_or(Ignored::UnknownAddress)
    }

    /// Who takes the connection whose first frame this is.
    pub(crate) fn route_connection(&self, first: &[u8]) -> Result<Owner, Ignored> {
        let request = BindingRequest::parse(first).ok_or(Ignored::BadStun)?;
        let routes = self.0.routes.read();
        let owner = routes.by_ufrag.get(request.local_ufrag());
        owner.map(|(_, owner)| owner.clone()).ok_or(Ignored::UnknownUfrag)
    }

    /// Hands a datagram to its owner's queue.
    pub(crate) fn deliver(&self, owner: &Owner, datagram: Datagram) -> Result<(), Ignored> {
        let queue = match owner {
            Owner::Worker(index) => &self.0.workers.get(*index).ok_or(Ignored::OwnerGone)?.datagrams,
            Owner::Peer(queue) => queue,
        };
        queue.try_send(datagram).map_err(|error| refused(&error))
    }

    /// Hands a connection to its worker.
    pub(crate) fn deliver_connection(&self, worker: usize, connection: Accepted) -> Result<(), Ignored> {
        let doors = self.0.workers.get(worker).ok_or(Ignored::OwnerGone)?;
        doors.connections.try_send(connection).map_err(|error| refused(&error))
    }

    /// A name for a new connection.
    pub(crate) fn name_connection(&self) -> ConnectionId {
        ConnectionId(self.next_id())
    }

    /// Makes what is sent to a connection reach `queue`, until [`Self::disconnect`].
    pub(crate) fn connect(&self, id: ConnectionId, queue: mpsc::Sender<Bytes>) {
        self.0.connections.write().insert(id, queue);
    }

    /// Nothing reaches the connection any more; whoever reads its queue sees the end of it.
    pub(crate) fn disconnect(&self, id: ConnectionId) {
        self.0.connections.write().remove(&id);
    }

    /// Counts a datagram that nobody took. One atomic add: garbage must stay cheap.
    pub(crate) fn ignore(&self, via: Via, reason: Ignored) {
        self.0.ignored[usize::from(via != Via::Udp)][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a TCP connection that was closed before its session took it.
    pub(crate) fn refuse(&self, reason: Refused, remote: SocketAddr) {
        self.0.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%remote, ?reason, "a TCP connection was refused");
    }

    /// How many were refused for a reason.
    #[cfg(test)]
    pub(crate) fn refused(&self, reason: Refused) -> u64 {
        self.0.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// Moves the counts to the metrics recorder.
    pub(crate) fn publish_counts(&self) {
        for (reason, count) in Refused::NAMES.iter().zip(&self.0.refused) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                metrics::counter!("bicast_tcp_refused_total", "reason" => *reason).absolute(count);
            }
        }
        let names = ["bicast_udp_ignored_total", "bicast_tcp_ignored_total"];
        for (counter, counts) in names.into_iter().zip(&self.0.ignored) {
            for (reason, count) in Ignored::NAMES.iter().zip(counts) {
                let count = count.swap(0, Ordering::Relaxed);
                if count > 0 {
                    metrics::counter!(counter, "reason" => *reason).increment(count);
                }
            }
        }
    }
}

/// A session's claim to datagrams. Dropping it gives up the ufrag and every address.
pub(crate) struct Registration {
    port: Port,
    id: u64,
    ufrag: String,
    owner: Owner,
    addresses: Mutex<VecDeque<SocketAddr>>,
}

impl Registration {
    /// Says that a check from `remote` was authenticated: datagrams from there are this owner's from now on.
    pub(crate) fn learn(&self, remote: SocketAddr) {
        let mut addresses = self.addresses.lock();
        let mut routes = self.port.0.routes.write();
        if addresses.contains(&remote) {
            // Another session may have taken the address since; the newest authenticated check wins.
            routes.by_address.insert(remote, (self.id, self.owner.clone()));
            return;
        }
        if addresses.len() == MAX_ADDRESSES
            && let Some(oldest) = addresses.pop_front()
        {
            remove_if_own(&mut routes.by_address, &oldest, self.id);
        }
        addresses.push_back(remote);
        routes.by_address.insert(remote, (self.id, self.owner.clone()));
    }

    /// Whether `remote` is learnt: nothing has to be done for it again.
    pub(crate) fn knows(&self, remote: SocketAddr) -> bool {
        self.addresses.lock().contains(&remote)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut routes = self.port.0.routes.write();
        if routes.by_ufrag.get(&self.ufrag).is_some_and(|(id, _)| *id == self.id) {
            routes.by_ufrag.remove(&self.ufrag);
        }
        for address in self.addresses.lock().iter() {
            remove_if_own(&mut routes.by_address, address, self.id);
        }
    }
}

fn remove_if_own(map: &mut HashMap<SocketAddr, (u64, Owner)>, address: &SocketAddr, id: u64) {
    if map.get(address).is_some_and(|(owner, _)| *owner == id) {
        map.remove(address);
    }
}

fn refused<T>(error: &mpsc::error::TrySendError<T>) -> Ignored {
    match error {
        mpsc::error::TrySendError::Full(_) => Ignored::QueueFull,
        mpsc::error::TrySendError::Closed(_) => Ignored::OwnerGone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stun::tests::check;

    fn port(public: &[&str]) -> Port {
        let sockets = ["127.0.0.1:0", "[::1]:0"]
            .iter()
            .filter_map(|address| Socket::bind_group(address.parse().unwrap(), 1).ok())
            .flatten()
            .collect();
        let listening = vec!["127.0.0.1:443".parse().unwrap()];
        Port::new(sockets, listening, Vec::new(), public.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    fn is_worker(route: &Result<Owner, Ignored>, index: usize) -> bool {
        matches!(route, Ok(Owner::Worker(at)) if *at == index)
    }

    #[test]
    fn an_address_belongs_to_who_authenticated_it_last_and_goes_with_them() {
        let port = port(&[]);
        let remote: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let dtls = [22, 254, 253];
        assert_eq!(port.route(&dtls, remote).err(), Some(Ignored::UnknownAddress));
        assert_eq!(port.route(&check("a:x", "p", false, false), remote).err(), Some(Ignored::UnknownUfrag));
        let a = port.register("a", Owner::Worker(1));
        assert!(is_worker(&port.route(&check("a:x", "p", false, false), remote), 1));
        assert_eq!(
            port.route(&dtls, remote).err(),
            Some(Ignored::UnknownAddress),
            "a check alone is hearsay"
        );
        a.learn(remote);
        assert!(is_worker(&port.route(&dtls, remote), 1));
        let b = port.register("b", Owner::Worker(2));
        b.learn(remote);
        assert!(is_worker(&port.route(&dtls, remote), 2));
        drop(a);
        assert!(is_worker(&port.route(&dtls, remote), 2), "the former owner's going changes nothing");
        drop(b);
        assert_eq!(port.route(&dtls, remote).err(), Some(Ignored::UnknownAddress));
        assert_eq!(port.route(&[0xff; 40], remote).err(), Some(Ignored::Garbage));
        assert_eq!(port.route(&[], remote).err(), Some(Ignored::Garbage));
        assert_eq!(port.route(&[0; 20], remote).err(), Some(Ignored::BadStun));
    }

    #[test]
    fn addresses_of_one_owner_are_bounded() {
        let port = port(&[]);
        let owner = port.register("a", Owner::Worker(0));
        for n in 0..1_000 {
            owner.learn(SocketAddr::from(([192, 0, 2, 1], 1_000 + n)));
        }
        assert_eq!(port.0.routes.read().by_address.len(), MAX_ADDRESSES);
        drop(owner);
        assert!(port.0.routes.read().by_address.is_empty() && port.0.routes.read().by_ufrag.is_empty());
    }

    #[test]
    fn a_full_queue_drops_and_says_so() {
        let port = port(&[]);
        let (queue, _reader) = mpsc::channel(1);
        let owner = Owner::Peer(queue);
        let remote: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let datagram = || Datagram {
            via: Via::Udp,
            local: remote,
            remote,
            received: bicast_shared::clock::now(),
            bytes: Bytes::from_static(&[1]),
        };
        assert!(port.deliver(&owner, datagram()).is_ok());
        assert_eq!(port.deliver(&owner, datagram()), Err(Ignored::QueueFull));
    }

    #[test]
    fn candidates_over_udp_come_first_and_the_configured_addresses_hold_for_both() {
        let told = |port: &Port| -> Vec<String> {
            let candidates = port.candidates(Some("127.0.0.1".parse().unwrap()));
            candidates.iter().map(|c| format!("{:?} {}", c.transport, c.address.ip())).collect()
        };
        let own = told(&port(&[]));
        assert_eq!(
            (own[0].as_str(), own.last().unwrap().as_str()),
            ("Udp 127.0.0.1", "TcpPassive 127.0.0.1")
        );
        let public = ["Udp 203.0.113.9", "Udp 127.0.0.1", "TcpPassive 203.0.113.9", "TcpPassive 127.0.0.1"];
        assert_eq!(told(&port(&["203.0.113.9"])), public);
    }

    #[test]
    fn a_connection_is_sent_to_until_it_is_no_more() {
        let port = port(&[]);
        let remote: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let id = port.name_connection();
        let send = || port.send(Via::Tcp(id), remote, remote, &Bytes::from_static(&[1]));
        assert_eq!(send().unwrap_err().kind(), io::ErrorKind::NotConnected);
        let (queue, mut reader) = mpsc::channel(1);
        port.connect(id, queue);
        send().unwrap();
        assert_eq!(send().unwrap_err().kind(), io::ErrorKind::WouldBlock, "bounded");
        assert_eq!(reader.try_recv().unwrap()[..], [1]);
        port.disconnect(id);
        assert_eq!(reader.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert_ne!(id, port.name_connection());
    }

    #[test]
    fn a_connection_is_whose_check_comes_first() {
        let port = port(&[]);
        let _a = port.register("a", Owner::Worker(1));
        let route = |bytes: &[u8]| port.route_connection(bytes);
        assert!(is_worker(&route(&check("a:x", "p", false, false)), 1));
        assert_eq!(route(&check("b:x", "p", false, false)).err(), Some(Ignored::UnknownUfrag));
        assert_eq!(route(&[22, 254, 253]).err(), Some(Ignored::BadStun));
    }
}

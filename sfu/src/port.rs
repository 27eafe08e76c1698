//! The one UDP port of all peers: who owns an incoming datagram, and what peers are told to send to.
//!
//! A datagram's first byte says what it is (RFC 7983). STUN checks name their owner by USERNAME; everything else is
//! found by its source address, and only an owner that authenticated a check from an address can have it
//! ([`Registration::learn`]), so a forged check cannot steal a path.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

use crate::core::demux::{Ignored, Kind};
use crate::core::stun::BindingRequest;
use crate::socket::{Patience, Socket};

/// Addresses remembered for one owner; the oldest goes. A browser has a handful of candidate pairs.
const MAX_ADDRESSES: usize = 8;

/// A datagram on its way to its owner.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
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

/// The shared port. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Port(Arc<Inner>);

struct Inner {
    /// One per bound address, for senders that are not workers.
    sockets: Vec<Socket>,
    workers: Vec<mpsc::Sender<Datagram>>,
    routes: RwLock<Routes>,
    public: Vec<IpAddr>,
    next_id: AtomicU64,
    ignored: [AtomicU64; Ignored::NAMES.len()],
}

#[derive(Default)]
struct Routes {
    by_ufrag: HashMap<String, (u64, Owner)>,
    by_address: HashMap<SocketAddr, (u64, Owner)>,
}

impl Port {
    /// A port over bound sockets, one per address, with one inbox per worker. `public` replaces the addresses that
    /// peers are told.
    pub(crate) fn new(
        sockets: Vec<Socket>,
        workers: Vec<mpsc::Sender<Datagram>>,
        public: Vec<IpAddr>,
    ) -> Self {
        Self(Arc::new(Inner {
            sockets,
            workers,
            routes: RwLock::default(),
            public,
            next_id: AtomicU64::new(0),
            ignored: Default::default(),
        }))
    }

    /// Makes `owner` the one for checks that name `local_ufrag`.
    pub(crate) fn register(&self, local_ufrag: &str, owner: Owner) -> Registration {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        self.0.routes.write().by_ufrag.insert(local_ufrag.to_owned(), (id, owner.clone()));
        Registration {
            port: self.clone(),
            id,
            ufrag: local_ufrag.to_owned(),
            owner,
            addresses: Mutex::default(),
        }
    }

    /// Sends one datagram from the socket that `local` belongs to: for senders of low rate. It does not wait for a full
    /// send buffer, because they are asynchronous tasks; what they send may be lost.
    pub(crate) fn send(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.socket(local, remote)
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::AddrNotAvailable, "no socket of this address family")
            })?
            .send(local, remote, bytes, None, &mut Patience::none())
    }

    fn socket(&self, local: SocketAddr, remote: SocketAddr) -> Option<&Socket> {
        let family = |socket: &&Socket| socket.local().is_ipv4() == remote.is_ipv4();
        let exact = self.0.sockets.iter().find(|socket| socket.local().ip() == local.ip());
        exact.filter(family).or_else(|| {
            let mut same = self.0.sockets.iter().filter(family);
            same.clone().find(|socket| socket.local().ip().is_unspecified()).or_else(|| same.next())
        })
    }

    /// The addresses it is bound to.
    pub(crate) fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.sockets.iter().map(Socket::local).collect()
    }

    /// The host candidates for SDP, best first. `request_host` is the address that the peer used for HTTP, where it
    /// is one: it reaches this machine for certain.
    pub(crate) fn candidates(&self, request_host: Option<IpAddr>) -> Vec<SocketAddr> {
        let mut found: Vec<SocketAddr> = Vec::new();
        let mut add = |address: SocketAddr| {
            if !found.contains(&address) {
                found.push(address);
            }
        };
        let sockets = &self.0.sockets;
        let port_for = |ip: IpAddr| {
            let same = |socket: &&Socket| socket.local().is_ipv4() == ip.is_ipv4();
            sockets.iter().find(same).map(|socket| SocketAddr::new(ip, socket.local().port()))
        };
        if !self.0.public.is_empty() {
            self.0.public.iter().filter_map(|ip| port_for(*ip)).for_each(&mut add);
            return found;
        }
        let over_loopback = request_host.is_some_and(|ip| ip.is_loopback());
        let mut interfaces: Vec<IpAddr> = Vec::new();
        if sockets.iter().any(|socket| socket.local().ip().is_unspecified()) {
            interfaces.extend(request_host);
            interfaces
                .extend(if_addrs::get_if_addrs().unwrap_or_default().iter().map(if_addrs::Interface::ip));
            // A browser on this machine: the interface that cannot be down.
            interfaces.sort_by_key(|ip| Some(*ip) != request_host && ip.is_loopback() != over_loopback);
        }
        for socket in sockets {
            let bound = socket.local();
            if bound.ip().is_unspecified() {
                let usable = |ip: &&IpAddr| {
                    ip.is_ipv4() == bound.is_ipv4()
                        && !ip.is_unspecified()
                        && !is_link_local(**ip)
                        && (over_loopback || !ip.is_loopback())
                };
                interfaces.iter().filter(usable).for_each(|ip| add(SocketAddr::new(*ip, bound.port())));
            } else {
                add(bound);
            }
        }
        found
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

    /// Hands a datagram to its owner's queue.
    pub(crate) fn deliver(&self, owner: &Owner, datagram: Datagram) -> Result<(), Ignored> {
        let queue = match owner {
            Owner::Worker(index) => self.0.workers.get(*index).ok_or(Ignored::OwnerGone)?,
            Owner::Peer(queue) => queue,
        };
        queue.try_send(datagram).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Ignored::QueueFull,
            mpsc::error::TrySendError::Closed(_) => Ignored::OwnerGone,
        })
    }

    /// Counts a datagram that nobody took. One atomic add: garbage must stay cheap.
    pub(crate) fn ignore(&self, reason: Ignored) {
        self.0.ignored[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Moves the counts to the metrics recorder.
    pub(crate) fn publish_counts(&self) {
        for (name, count) in Ignored::NAMES.iter().zip(&self.0.ignored) {
            let count = count.swap(0, Ordering::Relaxed);
            if count > 0 {
                metrics::counter!("bicast_udp_ignored_total", "reason" => *name).increment(count);
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

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        // Without a scope id, which SDP cannot carry, nobody could send there.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
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
        let (inbox, _) = mpsc::channel(1);
        Port::new(sockets, vec![inbox], public.iter().map(|ip| ip.parse().unwrap()).collect())
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
            local: remote,
            remote,
            received: bicast_shared::clock::now(),
            bytes: Bytes::from_static(&[1]),
        };
        assert!(port.deliver(&owner, datagram()).is_ok());
        assert_eq!(port.deliver(&owner, datagram()), Err(Ignored::QueueFull));
    }

    #[test]
    fn candidates_are_the_configured_ones_or_what_is_bound() {
        let bound = port(&[]).local_addrs();
        let port = port(&["203.0.113.9"]);
        let told = port.candidates(Some("127.0.0.1".parse().unwrap()));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].ip().to_string(), "203.0.113.9");
        assert!(!bound.is_empty());
        let sockets = Socket::bind_group("0.0.0.0:0".parse().unwrap(), 1).unwrap();
        let any = Port::new(sockets, Vec::new(), Vec::new());
        let local = any.candidates(Some("127.0.0.1".parse().unwrap()));
        assert_eq!(local[0].ip().to_string(), "127.0.0.1");
        assert!(any.candidates(None).iter().all(|address| !address.ip().is_loopback()));
    }
}

//! ICE-TCP (RFC 6544), the passive side: for peers whose network lets no UDP through.
//!
//! A connection belongs to whoever its first frame names: that must be a STUN check for a session that is here. A
//! viewer's connection is then handed to the viewer's worker, which owns it as it owns the viewer; a publisher's is
//! served by a task of its own. Whether the check is authentic only the session can tell: it closes the connection when
//! it is not.
//!
//! | module | holds |
//! |---|---|
//! | [`authentic`] | which connections a session knows to be its peer's |
//! | [`stream`] | a connection's bytes in and out, without waiting |
//! | [`publisher`] | the task of a publisher's connection |

pub(crate) mod authentic;
pub(crate) mod publisher;
pub(crate) mod stream;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use self::stream::{Ended, Stream};
use crate::core::demux::Ignored;
use crate::core::frames::Deframer;
use crate::port::{ConnectionId, Owner};
use crate::shared::Shared;

/// How long a connection may take to say whose it is.
const FIRST_FRAME: Duration = Duration::from_secs(5);
/// Connections that have not said whose they are; the oldest makes room. A peer says it within a round trip, so that a
/// flood of silent connections would have to bring thousands a second to shut one out.
const PENDING: usize = 1_024;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1_024;
/// Bytes that the kernel takes before they can leave. What waits longer waits here, where it can be dropped.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 64 << 10;
/// After an accept that failed: most often there are no file descriptors left.
const BREATHER: Duration = Duration::from_millis(100);

/// Why a connection was closed before its session took it: the `reason` of `bicast_tcp_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Refused {
    /// As many connections are open as the settings allow.
    Full,
    /// It was silent while others came.
    CrowdedOut,
    /// It was silent for too long.
    Silent,
    /// The peer closed it without a word.
    Closed,
    /// What it sent is no frame of ours.
    BadFrame,
    /// Its first frame is no STUN check.
    NotACheck,
    /// Its check is for a session that is not here.
    UnknownUfrag,
    /// Its check is not authentic.
    NotAuthentic,
    /// Its session cannot take it now.
    Busy,
}

impl Refused {
    /// The reasons' names, in their order.
    pub(crate) const NAMES: [&'static str; 9] = [
        "full",
        "crowded-out",
        "silent",
        "closed",
        "bad-frame",
        "not-a-check",
        "unknown-ufrag",
        "not-authentic",
        "busy",
    ];
}

impl From<Ended> for Refused {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed => Self::Closed,
            Ended::BadFrame => Self::BadFrame,
        }
    }
}

/// A connection's place among those that are allowed. Dropping it gives it back.
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Place {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("bicast_tcp_connections").increment(1);
        Self(permit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("bicast_tcp_connections").decrement(1);
    }
}

/// A connection that has said whose it is.
pub(crate) struct Arrival {
    pub(crate) id: ConnectionId,
    /// The address of ours that it came to.
    pub(crate) local: SocketAddr,
    /// Where it came from.
    pub(crate) remote: SocketAddr,
    /// What came so far: the check, and what followed at its heels.
    pub(crate) frames: Vec<Bytes>,
    /// What came of the next frame.
    pub(crate) deframer: Deframer,
    pub(crate) place: Place,
}

#[cfg(test)]
impl Arrival {
    /// One without a socket behind it.
    pub(crate) fn for_test(
        id: ConnectionId,
        local: SocketAddr,
        remote: SocketAddr,
        frames: Vec<Bytes>,
    ) -> Self {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Self { id, local, remote, frames, deframer: Deframer::default(), place: Place::new(permit) }
    }
}

/// A viewer's connection on its way to the worker.
pub(crate) struct Accepted {
    pub(crate) arrival: Arrival,
    /// Not yet known to the worker's runtime.
    pub(crate) stream: TcpStream,
}

/// Listens on an address. Port 0 takes any free one.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let raw = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        raw.set_only_v6(true)?;
    }
    // Connections of a process that has just ended keep the port for a minute (TIME_WAIT). On Windows the option means
    // something else.
    #[cfg(unix)]
    raw.set_reuse_address(true)?;
    raw.bind(&address.into())?;
    raw.listen(BACKLOG)?;
    raw.set_nonblocking(true)?;
    Ok(raw.into())
}

/// Takes connections until the room closes. Must be called inside a tokio runtime.
pub(crate) fn listen(shared: &Arc<Shared>, listeners: Vec<TcpListener>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(shared.config.limits.tcp_connections));
    let gate = Arc::new(Gate { shared: shared.clone(), places, pending: Mutex::default() });
    for listener in listeners {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        shared.tasks.spawn(gate.clone().accept(listener));
    }
    Ok(())
}

/// Where connections come in.
struct Gate {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    /// Those that have not said whose they are, the oldest first. Dropping the sender ends the wait.
    pending: Mutex<BTreeMap<ConnectionId, oneshot::Sender<()>>>,
}

impl Gate {
    async fn accept(self: Arc<Self>, listener: tokio::net::TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.shared.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let (id, crowded_out) = self.wait_in_line();
                    self.shared.tasks.spawn(self.clone().welcome(id, stream, remote, crowded_out));
                }
                Err(error) => {
                    metrics::counter!("bicast_tcp_accept_errors_total").increment(1);
                    tracing::debug!(%error, "cannot accept a TCP connection");
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
    }

    fn wait_in_line(&self) -> (ConnectionId, oneshot::Receiver<()>) {
        let id = self.shared.port.name_connection();
        let (sender, crowded_out) = oneshot::channel();
        let mut pending = self.pending.lock();
        if pending.len() >= PENDING {
            pending.pop_first();
        }
        pending.insert(id, sender);
        (id, crowded_out)
    }

    /// Waits for a connection's first frame and hands it to whom that names.
    async fn welcome(
        self: Arc<Self>,
        id: ConnectionId,
        stream: tokio::net::TcpStream,
        remote: SocketAddr,
        crowded_out: oneshot::Receiver<()>,
    ) {
        metrics::counter!("bicast_tcp_accepted_total").increment(1);
        let mut stream = Stream::new(stream);
        let first = tokio::select! {
            biased;
            () = self.shared.closing.cancelled() => return,
            _ = crowded_out => Err(Refused::CrowdedOut),
            first = timeout(FIRST_FRAME, first_frames(&mut stream)) => first.unwrap_or(Err(Refused::Silent)),
        };
        self.pending.lock().remove(&id);
        if let Err(reason) = first.and_then(|frames| self.hand_over(id, stream, remote, frames)) {
            self.shared.port.refuse(reason, remote);
        }
    }

    fn hand_over(
        &self,
        id: ConnectionId,
        stream: Stream,
        remote: SocketAddr,
        frames: Vec<Bytes>,
    ) -> Result<(), Refused> {
        let first = frames.first().ok_or(Refused::BadFrame)?;
        let port = &self.shared.port;
        let owner = port.route_connection(first).map_err(|why| match why {
            Ignored::UnknownUfrag => Refused::UnknownUfrag,
            _ => Refused::NotACheck,
        })?;
        let place = Place::new(self.places.clone().try_acquire_owned().map_err(|_| Refused::Full)?);
        let (stream, deframer) = stream.into_parts();
        set_options(&stream);
        let local = stream.local_addr().map_err(|_| Refused::Closed)?;
        let arrival = Arrival { id, local, remote, frames, deframer, place };
        match owner {
            Owner::Worker(worker) => {
                let stream = stream.into_std().map_err(|_| Refused::Closed)?;
                port.deliver_connection(worker, Accepted { arrival, stream }).map_err(|_| Refused::Busy)
            }
            Owner::Peer(session) => {
                self.shared.tasks.spawn(publisher::serve(port.clone(), session, stream, arrival));
                Ok(())
            }
        }
    }
}

/// Waits for the first frame; others may come with it.
async fn first_frames(stream: &mut Stream) -> Result<Vec<Bytes>, Refused> {
    let mut frames = Vec::new();
    while frames.is_empty() {
        stream.ready(false).await;
        stream.read(|frame| frames.push(Bytes::copy_from_slice(frame)))?;
    }
    Ok(frames)
}

fn set_options(stream: &tokio::net::TcpStream) {
    // What is written is due: nothing gains from waiting for more. Where an option is not to be had, it goes without.
    let _ = stream.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

#[cfg(test)]
mod tests {
    use bicast_shared::feed::bus::FeedBus;
    use bicast_shared::feed::ring::RingLimits;
    use bicast_shared::feed::settings::FeedSettings;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::config::Config;
    use crate::port::Port;
    use crate::shared::Identity;

    #[test]
    fn a_flood_of_silent_connections_crowds_out_its_own() {
        let shared = Arc::new(Shared {
            config: Config::default(),
            bus: FeedBus::new(FeedSettings::default(), RingLimits::default()),
            port: Port::new(Vec::new(), Vec::new(), Vec::new(), Vec::new()),
            identity: Identity::generate().unwrap(),
            door: std::sync::OnceLock::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let gate = Gate { shared, places: Arc::new(Semaphore::new(1)), pending: Mutex::default() };
        let mut flood: Vec<_> = (0..PENDING + 10).map(|_| gate.wait_in_line().1).collect();
        let closed =
            |line: &mut oneshot::Receiver<()>| line.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(flood[..10].iter_mut().all(closed), "the oldest");
        assert!(!flood[10..].iter_mut().any(closed));
        assert_eq!(gate.pending.lock().len(), PENDING);
    }

    #[test]
    fn a_port_is_listened_on_once_and_again_when_it_is_free() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        assert_eq!(bind(address).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(address).unwrap();
    }
}

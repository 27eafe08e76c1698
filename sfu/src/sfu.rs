//! The room: opens the port, starts the workers, and closes everything in order.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use bicast_shared::auth::Grant;
use bicast_shared::clock;
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::id::FeedId;
use bicast_shared::status::{RealtimeDoor, SfuStatus, ViewerSource, ViewerStatus};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, TcpPort};
use crate::error::Error;
use crate::ice_servers::Wrong;
use crate::ingest::{self, Whip};
use crate::port::{Doors, Port};
use crate::shared::{Identity, Shared};
use crate::socket::Socket;
use crate::status::{StatusBoard, WorkerReport, live_edge};
use crate::tcp;
use crate::whep::{self, Whep};
use crate::worker::Worker;
use crate::worker::run::{Command, Inboxes, run};
use crate::worker::seat::Seats;

/// Datagrams that wait for a worker because they came to another one's socket.
const INBOX: usize = 1_024;
/// TCP connections that wait for a worker.
const CONNECTIONS: usize = 256;
/// HTTP requests that wait for a worker.
const COMMANDS: usize = 64;
/// How long peers are given to be told goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// Everything that speaks WebRTC, running.
pub struct Sfu {
    shared: Arc<Shared>,
    whip: Whip,
    whep: Whep,
    status: watch::Receiver<Arc<SfuStatus>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Cancelled when a worker has ended that should not have.
    failed: CancellationToken,
}

impl Sfu {
    /// Opens the port and starts the workers. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A setting that makes no sense, a port in use, no certificate.
    #[expect(
        clippy::unused_async,
        reason = "opening may come to wait, for name resolution or a certificate store"
    )]
    pub async fn start(config: Config, bus: FeedBus) -> Result<Self, Error> {
        check(&config)?;
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let mut sockets = bind(&config, workers)?;
        let own: Vec<Socket> =
            sockets.first().into_iter().flatten().map(Socket::duplicate).collect::<Result<_, _>>()?;
        let (listeners, listening) = listen(&config, &own)?;
        let (mut doors, mut commands, mut inboxes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..workers {
            let (datagrams, connections) = (mpsc::channel(INBOX), mpsc::channel(CONNECTIONS));
            let (sender, receiver) = mpsc::channel(COMMANDS);
            doors.push(Doors { datagrams: datagrams.0, connections: connections.0 });
            commands.push(sender);
            inboxes.push(Inboxes { datagrams: datagrams.1, connections: connections.1, commands: receiver });
        }
        let port = Port::new(own, listening, doors, config.public_addresses.clone());
        let shared = Arc::new(Shared {
            config,
            bus,
            port,
            identity: Identity::generate()?,
            door: OnceLock::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let changed = Arc::new(Notify::new());
        let failed = CancellationToken::new();
        let mut threads = Vec::new();
        let mut reports = Vec::new();
        for (index, inboxes) in inboxes.into_iter().enumerate() {
            let (shared, sockets) = (shared.clone(), std::mem::take(&mut sockets[index]));
            let report: Arc<Mutex<WorkerReport>> = Arc::default();
            reports.push(report.clone());
            let (changed, failed) = (changed.clone(), failed.clone());
            let thread = std::thread::Builder::new().name(format!("bicast-sfu-{index}")).spawn(move || {
                let closing = shared.closing.clone();
                watched(index, &closing, &failed, || {
                    let worker = Worker::new(index, shared, sockets, report, changed);
                    run(worker, inboxes)
                });
            });
            threads.push(thread?);
        }
        let (status_sender, status) = watch::channel(Arc::default());
        tokio::spawn(follow(shared.clone(), StatusBoard::new(reports), changed, status_sender));
        let whip = Whip::new(shared.clone());
        let whep = Whep { shared: shared.clone(), seats: Seats::default(), workers: commands.into() };
        tcp::listen(&shared, listeners)?;
        let (udp, tcp) = (shared.port.local_addrs(), shared.port.listening());
        tracing::info!(?udp, ?tcp, workers, "WebRTC is listening");
        Ok(Self { shared, whip, whep, status, threads: Mutex::new(threads), failed })
    }

    /// The HTTP routes: `/whip/...` and `/whep/...`.
    pub fn router(&self) -> Router {
        ingest::router(self.whip.clone()).merge(whep::router(self.whep.clone()))
    }

    /// Ends the sessions of publishers and viewers whose rights have ended, and tells how many.
    pub async fn end_sessions(&self, ended: impl Fn(&Grant) -> bool) -> u64 {
        self.whip.end(&ended).await + self.whep.end(&ended).await
    }

    /// Viewers, egress and live edges by feed: once a second, and when a viewer comes or goes.
    pub fn status(&self) -> watch::Receiver<Arc<SfuStatus>> {
        self.status.clone()
    }

    /// Who can be asked about viewers one by one.
    pub fn viewers(&self) -> Arc<dyn ViewerSource> {
        Arc::new(Viewers(self.whep.clone()))
    }

    /// Who is asked from now on before a viewer's session begins. The first one that is set stays.
    pub fn ask_at_the_door(&self, door: Arc<dyn RealtimeDoor>) {
        let _ = self.shared.door.set(door);
    }

    /// The UDP addresses it listens on.
    pub fn udp_addrs(&self) -> Vec<SocketAddr> {
        self.shared.port.local_addrs()
    }

    /// Waits until a worker has failed, if ever one does. Its viewers are gone and its share of the port's datagrams with
    /// them, so that the process should end with an error and be started anew.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// The TCP addresses it listens on; none without ICE-TCP.
    pub fn tcp_addrs(&self) -> Vec<SocketAddr> {
        self.shared.port.listening().to_vec()
    }

    /// How many TCP connections were refused for a reason, since the start.
    #[cfg(test)]
    pub(crate) fn refused(&self, reason: tcp::Refused) -> u64 {
        self.shared.port.refused(reason)
    }

    /// Says goodbye to all peers and stops. Waits at most a few seconds.
    pub async fn shutdown(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        for worker in self.whep.workers.iter() {
            let (done, closed) = oneshot::channel();
            if worker.send(Command::Close(done)).await.is_ok() {
                let _ = timeout(GOODBYE, closed).await;
            }
        }
        let _ = timeout(GOODBYE, self.shared.tasks.wait()).await;
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|t| drop(t.join())));
        let _ = timeout(GOODBYE, joined).await;
    }
}

/// Asks the workers.
struct Viewers(Whep);

impl ViewerSource for Viewers {
    fn viewers(&self, feed: &FeedId) -> Pin<Box<dyn Future<Output = Vec<ViewerStatus>> + Send>> {
        let (feed, workers) = (self.0.shared.bus.feed(feed), self.0.workers.clone());
        Box::pin(async move {
            let Some(feed) = feed else { return Vec::new() };
            let mut all = Vec::new();
            for worker in workers.iter() {
                let (done, stats) = oneshot::channel();
                if worker.send(Command::Stats { feed: feed.clone(), done }).await.is_ok() {
                    all.extend(stats.await.unwrap_or_default());
                }
            }
            all
        })
    }

    fn end(&self, viewer: &str) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        let (whep, viewer) = (self.0.clone(), viewer.to_owned());
        Box::pin(async move { whep.end_named(&viewer).await })
    }
}

impl Drop for Sfu {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

/// Runs a worker and says when it ends although nobody asked it to.
fn watched(
    index: usize,
    closing: &CancellationToken,
    failed: &CancellationToken,
    run: impl FnOnce() -> std::io::Result<()>,
) {
    let why = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) if closing.is_cancelled() => return,
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    tracing::error!(worker = index, why, "a WebRTC worker has failed");
    failed.cancel();
}

fn check(config: &Config) -> Result<(), Error> {
    let in_range = |setting, value: u64, range: std::ops::RangeInclusive<u64>, why: &str| {
        if range.contains(&value) {
            Ok(())
        } else {
            Err(Error::BadSetting { setting, value: value.to_string(), why: why.to_owned() })
        }
    };
    in_range("sfu.workers", config.workers as u64, 0..=1_024, "at most 1024, 0 for one per core")?;
    for server in &config.ice_servers {
        let wrong = |why: Wrong| Error::BadSetting {
            setting: "sfu.ice_servers",
            value: server.url.clone(),
            why: why.to_string(),
        };
        server.link().map_err(wrong)?;
    }
    let limits = &config.limits;
    let connections = limits.tcp_connections as u64;
    in_range("sfu.limits.tcp_connections", connections, 1..=1_000_000, "1 to 1,000,000")?;
    in_range("sfu.limits.handshake_seconds", limits.handshake_seconds, 1..=120, "1 to 120 seconds")?;
    in_range("sfu.limits.consent_seconds", limits.consent_seconds, 5..=600, "5 to 600 seconds")
}

/// One list of sockets per worker, one socket per address in each.
fn bind(config: &Config, workers: usize) -> Result<Vec<Vec<Socket>>, Error> {
    let mut by_worker: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
    let mut port = config.udp_port;
    for ip in &config.bind {
        let address = SocketAddr::new(*ip, port);
        let group = match Socket::bind_group(address, workers) {
            Ok(group) => group,
            // A machine without IPv6 is not the operator's mistake where IPv6 is only the default.
            Err(error) if *ip == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) && has_no_ipv6(&error) => {
                tracing::info!(%error, "no IPv6 here: listening on IPv4 only");
                continue;
            }
            Err(source) => return Err(Error::Bind { address, source }),
        };
        // "Any port" is the same for all addresses.
        port = group.first().map_or(port, |socket| socket.local().port());
        by_worker.iter_mut().zip(group).for_each(|(sockets, socket)| sockets.push(socket));
    }
    if by_worker.iter().any(Vec::is_empty) { Err(Error::NothingToBind) } else { Ok(by_worker) }
}

/// Listens on TCP at every address that UDP has got.
fn listen(config: &Config, udp: &[Socket]) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), Error> {
    let (mut listeners, mut listening): (Vec<TcpListener>, Vec<SocketAddr>) = (Vec::new(), Vec::new());
    for socket in udp.iter().map(Socket::local) {
        let Some(port) = config.tcp_port.number(socket.port()) else { break };
        // "Any port" is the same for all addresses.
        let port = listening.first().map_or(port, SocketAddr::port);
        let address = SocketAddr::new(socket.ip(), port);
        let any_udp = config.tcp_port == TcpPort::Same && config.udp_port == 0;
        let listener = match tcp::bind(address) {
            // A port that UDP was given by chance may be somebody else's over TCP.
            Err(error) if any_udp && listening.is_empty() && error.kind() == io::ErrorKind::AddrInUse => {
                tcp::bind(SocketAddr::new(socket.ip(), 0))
            }
            other => other,
        };
        let listener = listener.map_err(|source| Error::Listen { address, source })?;
        listening.push(listener.local_addr()?);
        listeners.push(listener);
    }
    Ok((listeners, listening))
}

fn has_no_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97)
}

/// Publishes the status.
async fn follow(
    shared: Arc<Shared>,
    mut board: StatusBoard,
    changed: Arc<Notify>,
    status: watch::Sender<Arc<SfuStatus>>,
) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.port.publish_counts(),
            () = changed.notified() => {}
            () = shared.closing.cancelled() => return,
        }
        let feeds = shared.bus.feeds();
        let feeds: Vec<_> = feeds
            .values()
            .map(|feed| {
                let info = feed.info();
                let edge = live_edge(feed, &info);
                (info, edge)
            })
            .collect();
        let now = board.status(clock::now(), &feeds);
        let viewers: u32 = now.feeds.values().map(|feed| feed.viewers).sum();
        metrics::gauge!("bicast_viewers").set(viewers);
        status.send_if_modified(|old| {
            let is_new = **old != now;
            if is_new {
                *old = Arc::new(now);
            }
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_unasked_is_a_failure() {
        let failed_by = |run: fn() -> std::io::Result<()>, asked: bool| {
            let (closing, failed) = (CancellationToken::new(), CancellationToken::new());
            if asked {
                closing.cancel();
            }
            watched(0, &closing, &failed, run);
            failed.is_cancelled()
        };
        assert!(failed_by(|| panic!("on purpose"), false));
        assert!(failed_by(|| Err(std::io::Error::other("on purpose")), false));
        assert!(failed_by(|| Ok(()), false));
        assert!(!failed_by(|| Ok(()), true));
    }
}

//! All lines of a gateway.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::core::network::Network;
use crate::core::ports::Ports;
use crate::line::Line;

/// A line that nothing has passed and nobody has asked about for so long is removed.
const IDLE: Duration = Duration::from_secs(120);
/// How often it is looked for such lines.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Letters of a line's id: 16 of 62 are more than anybody guesses.
const ID_LENGTH: usize = 16;

/// The gateway that lines lead to.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Where it listens with plain HTTP: lines listen on the same addresses, with ports of their own.
    pub http: Vec<SocketAddr>,
    /// Where its WebRTC side takes UDP.
    pub udp: SocketAddr,
}

impl Gateway {
    /// One listener of each address.
    pub(crate) fn http_by_ip(&self) -> Vec<SocketAddr> {
        let mut found: Vec<SocketAddr> = Vec::new();
        for address in &self.http {
            if !found.iter().any(|other| other.ip() == address.ip()) {
                found.push(*address);
            }
        }
        found
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.open.get_mut().values().for_each(|line| line.closing.cancel());
    }
}

/// All lines. Cloning gives another handle.
#[derive(Clone)]
pub struct Lines(Arc<Inner>);

struct Inner {
    gateway: Gateway,
    ports: Ports,
    /// By their ports. Never held over an await.
    open: Mutex<BTreeMap<u16, Arc<Line>>>,
    /// Ends the sweep with the last handle.
    _sweep: DropGuard,
}

impl Lines {
    /// None at first. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(gateway: Gateway, ports: Ports) -> Self {
        let end = CancellationToken::new();
        let inner = Inner { gateway, ports, open: Mutex::default(), _sweep: end.clone().drop_guard() };
        let inner = Arc::new(inner);
        let weak = Arc::downgrade(&inner);
        let sweep = async move {
            let mut ticks = tokio::time::interval(SWEEP_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let Some(inner) = weak.upgrade() else { return };
                Self(inner).sweep(clock::now()).await;
            }
        };
        tokio::spawn(end.run_until_cancelled_owned(sweep));
        Self(inner)
    }

    /// How many there may be.
    pub(crate) fn most(&self) -> usize {
        self.0.ports.all().count()
    }

    /// Makes a line on the first port that is free. None: none is.
    pub(crate) fn make(&self, now: Instant, network: Network) -> Option<Arc<Line>> {
        let mut open = self.0.open.lock();
        for port in self.0.ports.all().filter(|port| !open.contains_key(port)).collect::<Vec<_>>() {
            match Line::open(new_id(), port, network, &self.0.gateway, now) {
                Ok(line) => {
                    open.insert(port, Arc::clone(&line));
                    count(open.len());
                    return Some(line);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tracing::debug!(port, "another program has this demo line's port");
                }
                Err(error) => tracing::warn!(%error, port, "a demo line cannot have its port"),
            }
        }
        None
    }

    /// The line with this id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Line>> {
        self.0.open.lock().values().find(|line| line.id == id).cloned()
    }

    /// All lines, in the order of their ports.
    pub(crate) fn all(&self) -> Vec<Arc<Line>> {
        self.0.open.lock().values().cloned().collect()
    }

    /// Removes a line and closes its connections. Tells whether it was there.
    pub(crate) async fn remove(&self, id: &str) -> bool {
        self.remove_those(|line| line.id == id).await > 0
    }

    /// Removes those that nobody has used for long.
    pub(crate) async fn sweep(&self, now: Instant) {
        let removed = self.remove_those(|line| line.idle_for(now) >= IDLE).await;
        if removed > 0 {
            tracing::info!(lines = removed, "demo lines that nobody used are removed");
        }
    }

    /// Closes all lines.
    pub async fn close(&self) {
        self.remove_those(|_| true).await;
    }

    async fn remove_those(&self, which: impl Fn(&Line) -> bool) -> usize {
        let ending: Vec<Arc<Line>> =
            self.0.open.lock().values().filter(|line| which(line)).cloned().collect();
        for line in &ending {
            line.close().await;
            // Not before: its port is free now.
            let mut open = self.0.open.lock();
            if open.get(&line.port).is_some_and(|there| Arc::ptr_eq(there, line)) {
                open.remove(&line.port);
            }
            count(open.len());
        }
        ending.len()
    }
}

fn count(lines: usize) {
    #[expect(clippy::cast_precision_loss, reason = "64 at most")]
    metrics::gauge!("bicast_demo_lines").set(lines as f64);
}

fn new_id() -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(ID_LENGTH).map(char::from).collect()
}

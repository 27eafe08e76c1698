//! A worker: one thread that owns its viewers outright. Nothing of a viewer is shared with another thread, so the
//! packet path takes no lock.
//!
//! | module | holds |
//! |---|---|
//! | [`run`] | the thread: sockets, inbox, commands, feeds, timers, all on one [`Worker`] |
//! | [`viewer`] | one viewer: what it is owed |
//! | [`forward`] | how its packets reach it |
//! | [`track`] | where a viewer stands in a stream |
//! | [`reports`] | RTCP reports, both ways |
//! | [`datagrams`] | what comes from viewers, and what is sent to them beside media |
//! | [`connection`] | ICE-lite, DTLS, SRTP keys of one viewer, without input or output |
//! | [`path`] | where a viewer is reached, and what takes its packets there |
//! | [`batch`] | sealed packets, sent in runs |
//! | [`stats`] | what is counted of a viewer |
//! | [`links`], [`tcp`] | viewers' TCP connections: their state and their tasks |
//! | [`seat`] | the directory of all viewers and their bounds |

pub(crate) mod batch;
pub(crate) mod connection;
pub(crate) mod datagrams;
pub(crate) mod feeds;
pub(crate) mod forward;
pub(crate) mod links;
pub(crate) mod path;
pub(crate) mod reports;
pub(crate) mod run;
pub(crate) mod seat;
pub(crate) mod stats;
pub(crate) mod tcp;
#[cfg(test)]
mod tcp_tests;
#[cfg(test)]
mod tests;
pub(crate) mod track;
pub(crate) mod viewer;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bicast_shared::feed::bus::Feed;
use bicast_shared::id::FeedId;
use parking_lot::Mutex;
use rtc_srtp::config::SessionKeys;
use tokio::sync::Notify;

use self::batch::{Batch, Sent};
use self::connection::Connection;
use self::datagrams::socket_for;
use self::feeds::WorkerFeed;
use self::links::Links;
use self::path::{Output, Path, Wire};
use self::seat::Seat;
use self::viewer::{Viewer, Visit};
use crate::core::answer::Agreement;
use crate::core::bucket::PerAddress;
use crate::core::ice::Credentials;
use crate::port::Registration;
use crate::shared::Shared;
use crate::socket::Socket;
use crate::status::WorkerReport;

/// Addresses that one viewer is known by; the oldest goes.
const MAX_ADDRESSES: usize = 8;
/// How often viewers that are behind are visited.
pub(crate) const PACE: Duration = Duration::from_millis(1);
/// Viewers visited before the worker's other tasks have their turn: about half a millisecond.
pub(crate) const VISITS: usize = 128;

/// A viewer's request to join.
pub(crate) struct Joining {
    pub(crate) id: String,
    pub(crate) feed: Feed,
    pub(crate) agreement: Agreement,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) registration: Registration,
    pub(crate) seat: Seat,
    /// The name that the viewer comes under.
    pub(crate) label: Option<Arc<str>>,
}

/// The state of a worker. Its thread's tasks borrow it in turn.
pub(crate) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    sockets: Vec<Socket>,
    viewers: Vec<Option<Box<Viewer>>>,
    free: Vec<usize>,
    by_session: HashMap<String, usize>,
    by_ufrag: HashMap<String, usize>,
    by_address: HashMap<SocketAddr, usize>,
    /// Who has how much passed on to other workers.
    forwarded: PerAddress,
    links: Links,
    feeds: BTreeMap<FeedId, WorkerFeed>,
    timers: BTreeSet<(Instant, usize)>,
    /// Viewers that are behind: visited every [`PACE`].
    behind: BTreeSet<usize>,
    /// The slot from which on they have not been visited this time.
    paced: usize,
    batch: Batch,
    counts: Counts,
    report: Arc<Mutex<WorkerReport>>,
    /// Rung when the report has changed.
    reported: Arc<Notify>,
}

/// Counted on the packet path, moved to the metrics recorder once a second.
#[derive(Default)]
struct Counts {
    packets: u64,
    bytes: u64,
    dropped: u64,
    calls: u64,
    repaired: u64,
    lags: u64,
    left_out: u64,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        sockets: Vec<Socket>,
        report: Arc<Mutex<WorkerReport>>,
        reported: Arc<Notify>,
    ) -> Self {
        Self {
            index,
            shared,
            sockets,
            viewers: Vec::new(),
            free: Vec::new(),
            by_session: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            forwarded: PerAddress::default(),
            links: Links::default(),
            feeds: BTreeMap::new(),
            timers: BTreeSet::new(),
            behind: BTreeSet::new(),
            paced: 0,
            batch: Batch::default(),
            counts: Counts::default(),
            report,
            reported,
        }
    }

    /// Takes a viewer in. Tells whether the feed is new to this worker, so that somebody has to follow it.
    pub(crate) fn join(&mut self, now: Instant, joining: Joining) -> bool {
        let Joining { id, feed, agreement, ufrag, pwd, registration, seat, label } = joining;
        let credentials = Credentials::new(&ufrag, &pwd, &agreement.remote_ufrag);
        let connection = Connection::new(registration, credentials, agreement.fingerprint);
        let is_new = self.begin_feed(now, &feed);
        let entry = self.feeds.entry(feed.id().clone()).or_insert_with(|| WorkerFeed::new(feed.clone()));
        for track in &agreement.tracks {
            entry.want(track.key, track.codec.kind());
        }
        let mut viewer = Viewer::new(id, feed.id().clone(), connection, agreement.tracks, ufrag, seat, now);
        viewer.missing = agreement.missing;
        viewer.label = label;
        self.insert(viewer);
        is_new
    }

    /// Makes room for a feed. Tells whether it is new here; one that had its id before is over then.
    fn begin_feed(&mut self, now: Instant, feed: &Feed) -> bool {
        match self.feeds.get(feed.id()) {
            Some(known) if known.is_of(feed) => return false,
            Some(_) => self.forget_feed(now, feed.id()),
            None => {}
        }
        true
    }

    /// Gives a viewer its slot.
    pub(crate) fn insert(&mut self, viewer: Viewer) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.viewers.push(None);
            self.viewers.len() - 1
        });
        self.by_session.insert(viewer.id.clone(), slot);
        for ufrag in &viewer.ufrags {
            self.by_ufrag.insert(ufrag.clone(), slot);
        }
        self.viewers[slot] = Some(Box::new(viewer));
        self.schedule(slot);
        slot
    }

    /// Takes in a viewer that is connected already, with these keys and at this address: for measuring.
    #[expect(
        clippy::too_many_arguments,
        reason = "everything that a join, a check and a handshake bring together"
    )]
    pub(crate) fn insert_connected(
        &mut self,
        now: Instant,
        feed: &Feed,
        id: String,
        agreement: Agreement,
        registration: Registration,
        credentials: Credentials,
        seat: Seat,
        keys: SessionKeys,
        remote: SocketAddr,
    ) -> Option<()> {
        let local = self.local();
        let crypto = self.shared.identity.crypto.clone();
        let (connection, sealer) =
            Connection::established(registration, credentials, agreement.fingerprint, keys, &crypto)?;
        let entry = self.feeds.entry(feed.id().clone()).or_insert_with(|| WorkerFeed::new(feed.clone()));
        for track in &agreement.tracks {
            entry.want(track.key, track.codec.kind());
        }
        let ufrag = id.clone();
        let mut viewer = Viewer::new(id, feed.id().clone(), connection, agreement.tracks, ufrag, seat, now);
        viewer.missing = agreement.missing;
        viewer.sealer = Some(sealer);
        let slot = self.insert(viewer);
        let wire = Wire::Udp { socket: socket_for(&self.sockets, local, remote) };
        self.checked(now, slot, Path { wire, local, remote, nominated: true });
        self.connected(now, slot);
        self.schedule(slot);
        Some(())
    }

    /// Where its first socket is bound.
    pub(crate) fn local(&self) -> SocketAddr {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        self.sockets.first().map_or(any, Socket::local)
    }

    /// Whether any viewer waits for the pacer.
    pub(crate) fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Packets sent, packets dropped and system calls since the counts were last published.
    pub(crate) const fn sent(&self) -> (u64, u64, u64) {
        (self.counts.packets, self.counts.dropped, self.counts.calls)
    }

    /// Begins an ICE restart of a session. False when it is not here any more.
    pub(crate) fn restart(
        &mut self,
        session: &str,
        registration: Registration,
        ufrag: String,
        pwd: &str,
        remote_ufrag: &str,
    ) -> bool {
        let Some(&slot) = self.by_session.get(session) else { return false };
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return false };
        viewer.connection.restart(registration, Credentials::new(&ufrag, pwd, remote_ufrag));
        // The current and the new one; those before are no longer answered.
        while viewer.ufrags.len() > 1 {
            self.by_ufrag.remove(&viewer.ufrags.remove(0));
        }
        viewer.ufrags.push(ufrag.clone());
        self.by_ufrag.insert(ufrag, slot);
        true
    }

    /// Ends a session that asked for it. False when it is not here any more.
    pub(crate) fn leave(&mut self, now: Instant, session: &str) -> bool {
        let slot = self.by_session.get(session).copied();
        slot.map(|slot| self.remove(now, slot, "left")).is_some()
    }

    /// Ends a session whose seat was given to another. One that has connected in the meantime has lost its seat all the same: there
    /// would be one viewer too many for ever.
    pub(crate) fn evict(&mut self, now: Instant, session: &str) {
        if let Some(slot) = self.by_session.get(session).copied() {
            self.remove(now, slot, "evicted");
        }
    }

    /// Ends all sessions.
    pub(crate) fn close(&mut self, now: Instant) {
        for slot in 0..self.viewers.len() {
            self.remove(now, slot, "shutdown");
        }
    }

    /// Visits a viewer that is behind.
    fn catch_up(&mut self, now: Instant, slot: usize) {
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else {
            self.behind.remove(&slot);
            return;
        };
        let feed = self.feeds.get(&viewer.feed);
        let mut output = Output { sockets: &self.sockets, links: &mut self.links, batch: &mut self.batch };
        let visit = viewer.catch_up(now, |key| feed.and_then(|feed| feed.history(key)), &mut output);
        if !viewer.is_behind() {
            self.behind.remove(&slot);
        }
        self.account(slot, &visit);
    }

    /// Does what has become due and tells when to come again.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Instant> {
        self.batch.begin_visit();
        while let Some(&(due, slot)) = self.timers.first().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, slot));
            if let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) {
                viewer.scheduled = None;
            }
            self.viewer_timeout(now, slot);
            self.schedule(slot);
        }
        let pace = self.pace(now);
        self.timers.first().map(|(due, _)| *due).into_iter().chain(pace).min()
    }

    /// Visits viewers that are behind, so many at once that nothing else has to wait for long. Tells when to go on.
    fn pace(&mut self, now: Instant) -> Option<Instant> {
        let visited: Vec<usize> = self.behind.range(self.paced..).copied().take(VISITS).collect();
        for slot in &visited {
            self.catch_up(now, *slot);
        }
        // The others at once, and all of them again after a moment.
        let next = visited.last().map_or(0, |last| last + 1);
        let more = visited.len() == VISITS && self.behind.range(next..).next().is_some();
        self.paced = if more { next } else { 0 };
        (!self.behind.is_empty()).then(|| if more { now } else { now + PACE })
    }

    fn viewer_timeout(&mut self, now: Instant, slot: usize) {
        let limits = &self.shared.config.limits;
        let (handshake, consent) =
            (Duration::from_secs(limits.handshake_seconds), Duration::from_secs(limits.consent_seconds));
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return };
        if viewer.established.is_none() && now >= viewer.started + handshake {
            return self.remove(now, slot, "handshake-timeout");
        }
        if viewer.established.is_some() && now >= viewer.heard + consent {
            return self.remove(now, slot, "consent-expired");
        }
        let mut out = Vec::new();
        let ok = viewer.connection.handle_timeout(now, &mut out);
        let path = viewer.path;
        let mut reports = Vec::new();
        if viewer.established.is_some() && now >= viewer.report_due {
            // Whatever comes of it: what is due must not stay due.
            viewer.report_due = now + Duration::from_secs(1);
            if let Some(feed) = self.feeds.get(&viewer.feed) {
                reports = viewer.reports(now, clock::utc(), feed.info());
            }
        }
        if let Some(path) = path {
            self.transmit(path, &out);
        }
        self.send_rtcp(slot, &reports);
        if !ok {
            self.remove(now, slot, "dtls-timeout");
        }
    }

    /// Notes when a viewer has to be looked at next.
    fn schedule(&mut self, slot: usize) {
        let limits = &self.shared.config.limits;
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return };
        let due = if viewer.established.is_some() {
            let consent = viewer.heard + Duration::from_secs(limits.consent_seconds);
            consent.min(viewer.report_due)
        } else {
            viewer.started + Duration::from_secs(limits.handshake_seconds)
        };
        let due = viewer.connection.poll_timeout().map_or(due, |timeout| timeout.min(due));
        if viewer.scheduled == Some(due) {
            return;
        }
        if let Some(old) = viewer.scheduled.replace(due) {
            self.timers.remove(&(old, slot));
        }
        self.timers.insert((due, slot));
    }

    /// Adds up what a visit came to and does what it asks for.
    fn account(&mut self, slot: usize, visit: &Visit) {
        self.counts.add(&visit.sent);
        self.counts.repaired += visit.repaired;
        self.counts.lags += visit.lags;
        self.counts.left_out += visit.left_out;
        if visit.behind {
            self.behind.insert(slot);
        }
        let Some(viewer) = self.viewers.get(slot).and_then(Option::as_ref) else { return };
        if let Some(feed) = self.feeds.get_mut(&viewer.feed) {
            feed.count(&visit.sent, visit.repaired);
            if let Some(key) = visit.wants_keyframe {
                feed.request_keyframe(key);
            }
        }
        if visit.failed {
            self.remove(clock::now(), slot, "keys-used-up");
        }
    }

    /// Says goodbye to a viewer and forgets it.
    fn remove(&mut self, now: Instant, slot: usize, why: &'static str) {
        let Some(mut viewer) = self.viewers.get_mut(slot).and_then(Option::take) else { return };
        if let Some(path) = viewer.path {
            let mut out = Vec::new();
            out.extend(viewer.connection.seal_rtcp(&viewer.goodbye()));
            viewer.connection.close(now, &mut out);
            self.transmit(path, &out);
        }
        viewer.connections.take().into_iter().for_each(|id| self.links.close(id));
        for address in &viewer.addresses {
            if self.by_address.get(address) == Some(&slot) {
                self.by_address.remove(address);
            }
        }
        for ufrag in &viewer.ufrags {
            self.by_ufrag.remove(ufrag);
        }
        self.by_session.remove(&viewer.id);
        self.behind.remove(&slot);
        if let Some(due) = viewer.scheduled {
            self.timers.remove(&(due, slot));
        }
        if let Some(feed) = self.feeds.get_mut(&viewer.feed) {
            if viewer.attached {
                feed.disconnected();
            }
            for track in &viewer.tracks {
                feed.unwant(track.agreed.key, slot);
            }
        }
        self.free.push(slot);
        let watched = viewer.established.map(|since| now.saturating_duration_since(since));
        if watched.is_some() {
            metrics::counter!("bicast_viewer_leaves_total", "reason" => why).increment(1);
        } else {
            metrics::counter!("bicast_viewer_handshake_failures_total", "reason" => why).increment(1);
        }
        tracing::debug!(session = %viewer.id, feed = %viewer.feed, why, ?watched, "viewer gone");
        drop(viewer);
        self.publish_report();
    }

    /// Moves the counts to the metrics recorder, and the report to whoever reads it. Once a second.
    pub(crate) fn publish_counts(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        metrics::counter!("bicast_viewer_packets_sent_total").increment(counts.packets);
        metrics::counter!("bicast_viewer_bytes_sent_total").increment(counts.bytes);
        metrics::counter!("bicast_viewer_packets_dropped_total").increment(counts.dropped);
        metrics::counter!("bicast_viewer_send_calls_total").increment(counts.calls);
        metrics::counter!("bicast_viewer_retransmissions_total").increment(counts.repaired);
        metrics::counter!("bicast_viewer_lags_total").increment(counts.lags);
        metrics::counter!("bicast_viewer_left_out_frames_total").increment(counts.left_out);
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let worker = self.index.to_string();
        metrics::gauge!("bicast_worker_viewers", "worker" => worker.clone())
            .set(number(self.by_session.len()));
        metrics::gauge!("bicast_worker_viewers_behind", "worker" => worker.clone())
            .set(number(self.behind.len()));
        let segmenting = self.sockets.iter().filter(|socket| socket.segments()).count();
        metrics::gauge!("bicast_worker_sockets_segmenting", "worker" => worker).set(number(segmenting));
        self.tend_sockets(clock::now());
        self.publish_report();
    }

    fn tend_sockets(&mut self, now: Instant) {
        for socket in &mut self.sockets {
            if let Err(error) = socket.handle_timeout(now) {
                tracing::warn!(%error, local = %socket.local(), "cannot try UDP segmentation again");
            }
        }
    }

    fn publish_report(&self) {
        let feeds = self.feeds.iter().map(|(id, feed)| (id.clone(), feed.report()));
        self.report.lock().feeds = feeds.collect();
        self.reported.notify_one();
    }
}

impl Counts {
    fn add(&mut self, sent: &Sent) {
        self.packets += sent.packets;
        self.bytes += sent.bytes;
        self.dropped += sent.dropped;
        self.calls += sent.calls;
    }
}

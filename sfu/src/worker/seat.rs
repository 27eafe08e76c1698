//! Who may watch: the counts of viewers and handshakes, and the directory of sessions. A viewer's seat gives its place
//! back by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bicast_shared::id::FeedId;
use parking_lot::Mutex;

use crate::config::Limits;

/// All viewers of the process, by session. Touched when a viewer comes, goes or sends HTTP, never per packet.
#[derive(Clone, Default)]
pub(crate) struct Seats(Arc<Inner>);

#[derive(Default)]
struct Inner {
    sessions: Mutex<Sessions>,
    handshakes: AtomicUsize,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, Session>,
    /// How many of them each worker has: a join must not look at all the others.
    load: Vec<usize>,
}

/// Where a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) feed: FeedId,
    /// Index of its worker.
    pub(crate) worker: usize,
    /// Names its ICE credentials: changes with an ICE restart (RFC 9725, 4.3.1).
    pub(crate) etag: String,
    /// The viewer's ufrag: a fragment with another one is an ICE restart.
    pub(crate) remote_ufrag: String,
}

/// A viewer's seat.
pub(crate) struct Seat {
    seats: Seats,
    id: String,
    handshaking: bool,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Viewers,
    Handshakes,
}

impl Seats {
    /// Takes a seat for a new session.
    pub(crate) fn take(&self, limits: &Limits, id: String, session: Session) -> Result<Seat, Full> {
        let mut sessions = self.0.sessions.lock();
        if sessions.by_id.len() >= limits.viewers {
            return Err(Full::Viewers);
        }
        if self.0.handshakes.load(Ordering::Relaxed) >= limits.handshakes {
            return Err(Full::Handshakes);
        }
        self.0.handshakes.fetch_add(1, Ordering::Relaxed);
        sessions.insert(id.clone(), session);
        drop(sessions);
        Ok(Seat { seats: self.clone(), id, handshaking: true })
    }

    /// The session with this id.
    pub(crate) fn get(&self, id: &str) -> Option<Session> {
        self.0.sessions.lock().by_id.get(id).cloned()
    }

    /// Notes an ICE restart.
    pub(crate) fn restarted(&self, id: &str, etag: &str, remote_ufrag: &str) {
        if let Some(session) = self.0.sessions.lock().by_id.get_mut(id) {
            etag.clone_into(&mut session.etag);
            remote_ufrag.clone_into(&mut session.remote_ufrag);
        }
    }

    /// The worker with the fewest sessions.
    pub(crate) fn least_loaded(&self, workers: usize) -> usize {
        let sessions = self.0.sessions.lock();
        let load = |worker: &usize| sessions.load.get(*worker).copied().unwrap_or(0);
        (0..workers).min_by_key(load).unwrap_or(0)
    }
}

impl Sessions {
    fn insert(&mut self, id: String, session: Session) {
        if self.load.len() <= session.worker {
            self.load.resize(session.worker + 1, 0);
        }
        self.load[session.worker] += 1;
        self.by_id.insert(id, session);
    }

    fn remove(&mut self, id: &str) {
        let gone = self.by_id.remove(id);
        if let Some(count) = gone.and_then(|session| self.load.get_mut(session.worker)) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Seat {
    /// The handshake is complete.
    pub(crate) fn settle(&mut self) {
        if std::mem::replace(&mut self.handshaking, false) {
            self.seats.0.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.settle();
        self.seats.0.sessions.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(worker: usize) -> Session {
        let feed = "demo".parse().unwrap();
        Session { feed, worker, etag: "e".into(), remote_ufrag: "r".into() }
    }

    #[test]
    fn seats_and_handshakes_are_bounded_and_given_back() {
        let seats = Seats::default();
        let limits = Limits { viewers: 3, handshakes: 2, ..Limits::default() };
        let mut a = seats.take(&limits, "a".into(), session(0)).unwrap();
        let _b = seats.take(&limits, "b".into(), session(0)).unwrap();
        assert_eq!(seats.take(&limits, "c".into(), session(0)).err(), Some(Full::Handshakes));
        a.settle();
        let _c = seats.take(&limits, "c".into(), session(1)).unwrap();
        assert_eq!(seats.take(&limits, "d".into(), session(0)).err(), Some(Full::Viewers));
        assert_eq!(seats.least_loaded(3), 2);
        assert!(seats.get("a").is_some());
        drop(a);
        assert!(seats.get("a").is_none());
        assert_eq!(seats.least_loaded(2), 0, "one each: the first");
        assert!(seats.take(&limits, "e".into(), session(0)).err() == Some(Full::Handshakes));
    }
}

//! Who may watch: the counts of viewers and handshakes, and the directory of sessions. A viewer's seat gives its place
//! back by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::auth::Grant;
use bicast_shared::id::FeedId;
use bicast_shared::status::Place;
use parking_lot::Mutex;

use crate::config::Limits;

/// All viewers of the process, by session. Touched when a viewer comes, goes or sends HTTP, never per packet.
#[derive(Clone, Default)]
pub(crate) struct Seats(Arc<Inner>);

/// What a handshake may take before it is given up for a newcomer where no more handshakes are allowed: honest ones take a second on a
/// bad line, those of a flood never end.
const PROTECTED: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Inner {
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, Session>,
    /// Those that have not finished their handshake, by their tickets: the oldest first.
    handshakes: BTreeMap<u64, (Instant, String)>,
    tickets: u64,
    /// How many of them each worker has, and how many each viewer is that has a name: a join must not look at all the others.
    load: Vec<usize>,
    by_viewer: HashMap<Arc<str>, u32>,
    /// The sessions under each name, the oldest first.
    by_label: HashMap<Arc<str>, Vec<String>>,
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
    /// What its viewer may do, and until when; none where everybody may.
    pub(crate) grant: Option<Arc<Grant>>,
    /// The name that it came under.
    pub(crate) label: Option<Arc<str>>,
}

impl Session {
    fn viewer(&self) -> Option<&Arc<str>> {
        self.grant.as_ref()?.viewer.as_ref()
    }
}

/// Sessions under one name: that which is shown, and the one that takes over from it.
const MOST_OF_A_NAME: usize = 2;

/// A viewer's seat.
pub(crate) struct Seat {
    seats: Seats,
    id: String,
    /// Of its handshake, until that is done.
    ticket: Option<u64>,
    /// What it was given at the door, kept for as long as it sits.
    place: Place,
}

/// Room was made for a newcomer: this session, of this worker, has to go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Evicted {
    pub(crate) id: String,
    pub(crate) worker: usize,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Viewers,
    Handshakes,
    /// The viewer is here this often, which is all that its token allows.
    Viewer(u32),
}

impl Seats {
    /// Takes a seat for a new session. Others may have to go for it: where no more handshakes are allowed the oldest half-open one, and of
    /// [`MOST_OF_A_NAME`] under its name the oldest. Who asks for a seat ends those.
    pub(crate) fn take(
        &self,
        now: Instant,
        limits: &Limits,
        id: String,
        session: Session,
    ) -> Result<(Seat, Vec<Evicted>), Full> {
        let mut sessions = self.0.sessions.lock();
        let most = session.grant.as_ref().and_then(|grant| grant.viewers);
        let here = session.viewer().and_then(|viewer| sessions.by_viewer.get(viewer)).copied();
        if let Some(most) = most.filter(|most| here.unwrap_or(0) >= *most) {
            return Err(Full::Viewer(most));
        }
        let same = session.label.as_ref().and_then(|label| sessions.by_label.get(label));
        let same = same.filter(|same| same.len() >= MOST_OF_A_NAME).and_then(|same| same.first()).cloned();
        let full = if sessions.by_id.len() >= limits.viewers && same.is_none() {
            Some(Full::Viewers)
        } else {
            (sessions.handshakes.len() >= limits.handshakes).then_some(Full::Handshakes)
        };
        let mut evicted = Vec::new();
        if let Some(full) = full {
            evicted.push(sessions.evict(now).ok_or(full)?);
        }
        evicted.extend(same.and_then(|same| sessions.turn_out(&same)));
        let ticket = sessions.tickets;
        sessions.tickets += 1;
        sessions.handshakes.insert(ticket, (now, id.clone()));
        sessions.insert(id.clone(), session);
        drop(sessions);
        Ok((Seat { seats: self.clone(), id, ticket: Some(ticket), place: Place::default() }, evicted))
    }

    /// The session with this id.
    pub(crate) fn get(&self, id: &str) -> Option<Session> {
        self.0.sessions.lock().by_id.get(id).cloned()
    }

    /// The sessions that are meant, and their workers.
    pub(crate) fn which(&self, meant: impl Fn(&Session) -> bool) -> Vec<(String, usize)> {
        let sessions = self.0.sessions.lock();
        let found = sessions.by_id.iter().filter(|(_, session)| meant(session));
        found.map(|(id, session)| (id.clone(), session.worker)).collect()
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
    /// Gives up the oldest handshake, if it has had its time.
    fn evict(&mut self, now: Instant) -> Option<Evicted> {
        let oldest = self.handshakes.first_entry()?;
        if now.saturating_duration_since(oldest.get().0) < PROTECTED {
            return None;
        }
        let (_, id) = oldest.remove();
        let worker = self.by_id.get(&id)?.worker;
        self.remove(&id);
        Some(Evicted { id, worker })
    }

    /// Gives up a session, if it is still there.
    fn turn_out(&mut self, id: &str) -> Option<Evicted> {
        let worker = self.by_id.get(id)?.worker;
        self.handshakes.retain(|_, (_, half_open)| half_open != id);
        self.remove(id);
        Some(Evicted { id: id.to_owned(), worker })
    }

    fn insert(&mut self, id: String, session: Session) {
        if self.load.len() <= session.worker {
            self.load.resize(session.worker + 1, 0);
        }
        self.load[session.worker] += 1;
        if let Some(viewer) = session.viewer() {
            *self.by_viewer.entry(viewer.clone()).or_default() += 1;
        }
        if let Some(label) = &session.label {
            self.by_label.entry(label.clone()).or_default().push(id.clone());
        }
        self.by_id.insert(id, session);
    }

    fn remove(&mut self, id: &str) {
        let Some(gone) = self.by_id.remove(id) else { return };
        if let Some(count) = self.load.get_mut(gone.worker) {
            *count = count.saturating_sub(1);
        }
        if let Some(label) = &gone.label
            && let Some(same) = self.by_label.get_mut(label)
        {
            same.retain(|one| one != id);
            if same.is_empty() {
                self.by_label.remove(label);
            }
        }
        if let Some(viewer) = gone.viewer()
            && let Some(count) = self.by_viewer.get_mut(viewer)
        {
            *count -= 1;
            if *count == 0 {
                self.by_viewer.remove(viewer);
            }
        }
    }
}

impl Seat {
    /// Keeps what the session was given at the door.
    pub(crate) fn keep(&mut self, place: Place) {
        self.place = place;
    }

    /// The handshake is complete.
    pub(crate) fn settle(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.seats.0.sessions.lock().handshakes.remove(&ticket);
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
        Session { feed, worker, etag: "e".into(), remote_ufrag: "r".into(), grant: None, label: None }
    }

    #[test]
    fn seats_and_handshakes_are_bounded_and_given_back() {
        let seats = Seats::default();
        let now = bicast_shared::clock::now();
        let limits = Limits { viewers: 3, handshakes: 2, ..Limits::default() };
        let take = |id: &str, worker| seats.take(now, &limits, id.into(), session(worker));
        let (mut a, _) = take("a", 0).unwrap();
        let _b = take("b", 0).unwrap();
        assert_eq!(take("c", 0).err(), Some(Full::Handshakes));
        a.settle();
        let _c = take("c", 1).unwrap();
        let _ = a;
        let all = Limits { handshakes: 9, ..limits.clone() };
        assert_eq!(seats.take(now, &all, "d".into(), session(0)).err(), Some(Full::Viewers));
        assert_eq!(seats.least_loaded(3), 2);
        assert!(seats.get("a").is_some());
        drop(a);
        assert!(seats.get("a").is_none());
        assert_eq!(seats.least_loaded(2), 0, "one each: the first");
        assert_eq!(take("e", 0).err(), Some(Full::Handshakes));
    }

    #[test]
    fn a_viewer_is_as_many_as_its_token_says_and_found_when_its_right_ends() {
        use bicast_shared::auth::{Right, Tier};
        let seats = Seats::default();
        let now = bicast_shared::clock::now();
        let grant = |viewer: &str, expires| {
            let viewer = Some(viewer.into());
            let (feed, rights) = ("*".parse().unwrap(), vec![Right::Watch]);
            let (token, issued, delay) = (None, None, None);
            let grant = Grant {
                viewer,
                token,
                feed,
                tier: Tier::Vip,
                rights,
                issued,
                expires,
                viewers: Some(2),
                priority: 0,
                delay,
            };
            Some(Arc::new(grant))
        };
        let take = |id: &str, viewer: &str, expires| {
            let session = Session { grant: grant(viewer, expires), ..session(1) };
            seats.take(now, &Limits::default(), id.into(), session).map(|(seat, _)| seat)
        };
        let a = take("a", "anna", 10).unwrap();
        let _b = take("b", "anna", 20).unwrap();
        assert_eq!(take("c", "anna", 30).err(), Some(Full::Viewer(2)));
        let _d = take("d", "bea", 30).unwrap();
        let expires = |session: &Session| session.grant.as_ref().map(|grant| grant.expires);
        assert_eq!(seats.which(|session| expires(session) < Some(15)), [("a".to_owned(), 1)]);
        drop(a);
        let _c = take("c", "anna", 30).unwrap();
        assert_eq!(seats.which(|session| expires(session) < Some(25)), [("b".to_owned(), 1)]);
        assert_eq!(seats.0.sessions.lock().by_viewer.len(), 2);
    }

    #[test]
    fn the_oldest_half_open_session_goes_for_a_newcomer_once_it_has_had_its_time() {
        let seats = Seats::default();
        let start = bicast_shared::clock::now();
        let limits = Limits { viewers: 9, handshakes: 2, ..Limits::default() };
        let take = |id: &str, worker, ms| {
            seats.take(start + Duration::from_millis(ms), &limits, id.into(), session(worker))
        };
        let (mut done, _) = take("done", 0, 0).unwrap();
        done.settle();
        let (old, evicted) = take("old", 1, 0).unwrap();
        assert_eq!(evicted, []);
        let _young = take("young", 0, 1_000).unwrap();
        assert_eq!(take("early", 0, 1_999).err(), Some(Full::Handshakes), "two seconds are everybody's");
        let (_late, evicted) = take("late", 0, 2_000).unwrap();
        assert_eq!(evicted, [Evicted { id: "old".into(), worker: 1 }]);
        assert!(seats.get("old").is_none() && seats.get("done").is_some());
        // Its worker lets go of it a moment later, and that changes nothing for the others.
        drop(old);
        assert_eq!(take("next", 0, 2_000).err(), Some(Full::Handshakes));
        assert!(seats.get("late").is_some() && seats.get("young").is_some());
    }

    #[test]
    fn a_name_has_two_sessions_and_the_oldest_goes_for_a_third() {
        let seats = Seats::default();
        let now = bicast_shared::clock::now();
        let limits = Limits { viewers: 4, handshakes: 4, ..Limits::default() };
        let take = |id: &str, label: &str| {
            let session = Session { label: Some(label.into()), ..session(1) };
            seats.take(now, &limits, id.into(), session)
        };
        let (first, evicted) = take("first", "anna").unwrap();
        assert_eq!(evicted, []);
        let (mut second, evicted) = take("second", "anna").unwrap();
        assert_eq!(evicted, [], "it takes over from the first");
        second.settle();
        let _other = take("other", "bea").unwrap();
        let _full = take("full", "cleo").unwrap();
        // As many sessions as may be: the third of a name takes none from the others.
        let (third, evicted) = take("third", "anna").unwrap();
        assert_eq!(evicted, [Evicted { id: "first".into(), worker: 1 }]);
        assert!(
            seats.get("first").is_none() && seats.get("second").is_some() && seats.get("third").is_some()
        );
        drop(first);
        assert_eq!(take("fifth", "dora").err(), Some(Full::Viewers));
        drop(second);
        drop(third);
        assert_eq!(seats.0.sessions.lock().by_label.len(), 2);
    }

    #[test]
    fn what_was_given_at_the_door_is_given_back_with_the_seat() {
        let given_back = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seats = Seats::default();
        let now = bicast_shared::clock::now();
        let (mut seat, _) = seats.take(now, &Limits::default(), "a".into(), session(0)).unwrap();
        let told = Arc::clone(&given_back);
        seat.keep(Place::new(move || told.store(true, std::sync::atomic::Ordering::SeqCst)));
        seat.settle();
        assert!(!given_back.load(std::sync::atomic::Ordering::SeqCst));
        drop(seat);
        assert!(given_back.load(std::sync::atomic::Ordering::SeqCst));
    }
}

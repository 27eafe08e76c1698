//! The shell around the roster: one lock, one task that follows the feeds and the SFU, and a bell for each viewer's channels.

mod door;
mod follow;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::auth::Grant;
use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::status::{Place, ViewerSource, ViewerStatus};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Config;
use crate::admission::{Budget, Cost, Shortage};
use crate::api;
use crate::api::channel::{EndReason, PlayerMessage, ServerMessage};
use crate::core::roster::{Arrival, Entry, FeedFacts, Limits, Moment, Refused, Roster, ViewerId};
use crate::directory::Directory;

/// Answers for the viewers. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Inner>);

struct Inner {
    directory: Directory,
    source: Option<Arc<dyn ViewerSource>>,
    /// Held for some microseconds for one viewer and some milliseconds a tick for all; never over an await.
    state: Mutex<State>,
    most: usize,
    cores: usize,
}

struct State {
    roster: Roster,
    /// Rung when a viewer has news; gone with its last channel and its entry.
    bells: HashMap<ViewerId, watch::Sender<u64>>,
    used: api::audience::Used,
    strangers: door::Strangers,
    /// How each feed is that somebody watches, for all channels to tell.
    news: HashMap<FeedId, Arc<FeedNews>>,
}

/// How a feed is, as channels tell it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FeedNews {
    pub(crate) state: ServerMessage,
    pub(crate) timeline: Option<api::Timeline>,
}

impl From<api::Feed> for FeedNews {
    fn from(feed: api::Feed) -> Self {
        let state = ServerMessage::Feed {
            state: feed.state,
            epoch: feed.epoch,
            realtime: feed.paths.realtime.available,
            hls: feed.paths.hls.available,
        };
        Self { state, timeline: feed.timeline }
    }
}

/// A viewer's open channel. Closed when dropped.
pub(crate) struct Line {
    desk: Desk,
    pub(crate) feed: FeedId,
    pub(crate) id: ViewerId,
    pub(crate) bell: watch::Receiver<u64>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.desk.0.state.lock().roster.channel(clock::now(), self.id.as_str(), false);
    }
}

pub(crate) fn moment() -> Moment {
    Moment { now: clock::now(), utc: clock::utc() }
}

impl Desk {
    /// Begins to follow. Must be called inside a tokio runtime; the task ends when all handles are gone.
    pub(crate) fn start(
        config: &Config,
        directory: Directory,
        source: Option<Arc<dyn ViewerSource>>,
    ) -> Self {
        let limits =
            Limits { viewers: config.viewers, silent_after: Duration::from_secs(config.viewer_timeout) };
        let roster = Roster::new(clock::now(), config.failover.clone(), config.admission.clone(), limits);
        let state = Mutex::new(State {
            roster,
            bells: HashMap::new(),
            used: api::audience::Used::default(),
            strangers: door::Strangers::default(),
            news: HashMap::new(),
        });
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let desk = Self(Arc::new(Inner { directory, source, state, most: config.viewers, cores }));
        tokio::spawn(follow::follow(Arc::downgrade(&desk.0)));
        desk
    }

    /// Does something with the roster, and rings for whom it has news.
    fn with<T>(&self, act: impl FnOnce(&mut Roster, Moment) -> T) -> T {
        let mut state = self.0.state.lock();
        let answer = act(&mut state.roster, moment());
        state.ring();
        answer
    }

    /// A viewer joins. None where there is no such feed.
    pub(crate) fn join(&self, arrival: Arrival) -> Option<Result<api::viewers::Joined, Refused>> {
        let facts = self.facts(&arrival.feed)?;
        let id = new_id();
        let feed = arrival.feed.clone();
        let joined = self.with(|roster, at| roster.join(at, id.clone(), arrival, facts));
        Some(joined.and_then(|()| self.joined(&feed, &id)))
    }

    fn joined(&self, feed: &FeedId, id: &ViewerId) -> Result<api::viewers::Joined, Refused> {
        let viewer = self.viewer(feed, id.as_str())?;
        let realtime = viewer.tier == Some(api::viewers::Tier::Vip);
        let own = format!("/v1/feeds/{feed}/viewers/{id}");
        let urls = api::viewers::Urls {
            whep: realtime.then(|| format!("/whep/{feed}?viewer={id}")),
            hls: format!("/hls/{feed}/multivariant.m3u8"),
            events: format!("{own}/events"),
            reports: format!("{own}/reports"),
        };
        let timeline = self.0.directory.feed(feed).and_then(|feed| feed.timeline);
        Ok(api::viewers::Joined { viewer, urls, timeline })
    }

    /// The viewer as the API shows it, without its session. Being asked for counts as a sign of life.
    pub(crate) fn viewer(&self, feed: &FeedId, id: &str) -> Result<api::viewers::Viewer, Refused> {
        let mut state = self.0.state.lock();
        let now = clock::now();
        state.roster.touch(now, feed, id)?;
        let key = ViewerId(id.into());
        let entry = state.roster.get(feed, id)?;
        Ok(crate::core::viewers::joined(now, &key, entry, state.roster.place(now, &key)))
    }

    /// All viewers of a feed that have joined, by id.
    pub(crate) fn viewers(&self, feed: &FeedId) -> Vec<api::viewers::Viewer> {
        let state = self.0.state.lock();
        let now = clock::now();
        let show = |(id, entry): (&ViewerId, _)| {
            crate::core::viewers::joined(now, id, entry, state.roster.place(now, id))
        };
        state.roster.of_feed(feed).map(show).collect()
    }

    /// The WebRTC sessions of a feed.
    pub(crate) async fn sessions(&self, feed: &FeedId) -> Vec<ViewerStatus> {
        match &self.0.source {
            Some(source) => source.viewers(feed).await,
            None => Vec::new(),
        }
    }

    pub(crate) fn order(&self, feed: &FeedId, id: &str, change: api::viewers::Change) -> Result<(), Refused> {
        self.with(|roster, at| roster.order(at, feed, id, change))
    }

    /// Ends a viewer: it is told, and its session is closed.
    pub(crate) async fn end(&self, feed: &FeedId, id: &str) -> Result<(), Refused> {
        self.with(|roster, at| roster.end(at, feed, id, EndReason::Ended))?;
        self.close_sessions().await;
        Ok(())
    }

    /// Ends the viewers whose right has ended, and tells how many.
    pub(crate) async fn end_those(&self, ended: impl Fn(&Grant) -> bool) -> u64 {
        let count = self.with(|roster, at| roster.end_those(at, ended));
        if count > 0 {
            self.close_sessions().await;
        }
        count
    }

    /// Closes the sessions that have no right to be there any more.
    async fn close_sessions(&self) {
        let evicted = self.0.state.lock().roster.take_evicted();
        let Some(source) = &self.0.source else { return };
        for id in evicted {
            let closed = source.end(id.as_str()).await;
            if closed > 0 {
                tracing::debug!(
                    viewer = id.as_str(),
                    closed,
                    "sessions closed: it is not served over WebRTC"
                );
            }
        }
    }

    pub(crate) fn said(&self, feed: &FeedId, id: &str, message: &PlayerMessage) -> Result<(), Refused> {
        let mut state = self.0.state.lock();
        let at = moment();
        state.roster.said(at, feed, id, message)?;
        let late =
            state.roster.get(feed, id).ok().and_then(|entry| Some((entry.latency_ms(at.now)?, entry.tier)));
        drop(state);
        if let (PlayerMessage::Report(_), Some(((path, latency), tier))) = (message, late) {
            let labels = [("path", path.name()), ("tier", tier.name())];
            metrics::histogram!("bicast_viewer_latency_seconds", &labels).record(latency / 1_000.0);
        }
        Ok(())
    }

    pub(crate) fn could_not_read(&self) {
        self.0.state.lock().roster.could_not_read();
        metrics::counter!("bicast_viewer_messages_refused_total").increment(1);
    }

    /// How a feed is, and whether this viewer of it should be measured beside HLS.
    pub(crate) fn look(&self, feed: &FeedId, id: &str) -> (Option<Arc<FeedNews>>, bool) {
        let state = self.0.state.lock();
        let probe = state.roster.get(feed, id).is_ok_and(Entry::wants_probe);
        let known = state.news.get(feed).cloned();
        drop(state);
        // Before the task has looked at it, and when it is over.
        (known.or_else(|| self.0.directory.feed(feed).map(|feed| Arc::new(feed.into()))), probe)
    }

    /// Opens a channel to a viewer.
    pub(crate) fn line(&self, feed: &FeedId, id: &str) -> Result<Line, Refused> {
        let mut state = self.0.state.lock();
        let entry = state.roster.get(feed, id)?;
        let (sequence, key) = (entry.sequence(), ViewerId(id.into()));
        state.roster.channel(clock::now(), id, true);
        let bell = state.bells.entry(key.clone()).or_insert_with(|| watch::Sender::new(sequence)).subscribe();
        Ok(Line { desk: self.clone(), feed: feed.clone(), id: key, bell })
    }

    /// The newest sequence number of a viewer's messages; none where it is forgotten.
    pub(crate) fn newest(&self, id: &ViewerId) -> Option<u64> {
        self.0.state.lock().roster.newest(id.as_str())
    }

    /// What a viewer is told behind `after`, and how much of it is lost; none where it is forgotten.
    pub(crate) fn news(&self, id: &ViewerId, after: u64) -> Option<(Vec<ServerMessage>, u64)> {
        self.0.state.lock().roster.news(id.as_str(), after)
    }

    pub(crate) fn audience(&self, feed: &FeedId) -> api::audience::Audience {
        self.0.state.lock().roster.audience(clock::now(), feed)
    }

    pub(crate) fn admission(&self) -> api::audience::Admission {
        let mut state = self.0.state.lock();
        state.settle();
        let occupancy = state.roster.occupancy();
        api::audience::Admission {
            limits: state.roster.budget().clone(),
            used: state.used,
            slots: occupancy.slots,
            offered: occupancy.offered,
            waiting: occupancy.waiting,
            shortage: state.roster.shortage(),
        }
    }

    /// Another budget, which has passed its check.
    pub(crate) fn set_budget(&self, budget: Budget) {
        self.0.state.lock().roster.set_budget(clock::now(), budget);
    }

    /// How much of all cores this process uses, 0 to 1.
    pub(crate) fn set_cpu_share(&self, share: f64) {
        self.0.state.lock().used.cpu_share = Some(share);
    }

    /// Viewers that have joined, and how many may.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.0.state.lock().roster.here(), self.0.most)
    }

    /// What a feed is like for its viewers; none where there is no such feed, or none any more.
    fn facts(&self, feed: &FeedId) -> Option<FeedFacts> {
        let facts = self.0.directory.facts(feed)?;
        Some(FeedFacts { cost: facts.cost.on(self.0.cores), ..facts })
    }
}

impl State {
    /// Somebody who has not joined begins a session.
    fn admit(&mut self, cost: Cost) -> Result<Place, Shortage> {
        self.settle();
        self.strangers.begin(&mut self.roster, cost)
    }

    /// Gives back the room of strangers' sessions that are over.
    fn settle(&mut self) {
        self.strangers.settle(&mut self.roster);
    }

    fn ring(&mut self) {
        for id in self.roster.take_rung() {
            if let Some(bell) = self.bells.get(&id) {
                bell.send_modify(|rung| *rung += 1);
            }
        }
        for (path, reason, moved) in self.roster.take_decided() {
            let labels = [("path", path.name()), ("reason", reason.name())];
            metrics::counter!("bicast_viewer_decisions_total", &labels).increment(1);
            if moved {
                metrics::counter!("bicast_viewer_switches_total", &labels).increment(1);
            }
        }
    }

    /// Forgets the bells of those that nobody listens to.
    fn tidy(&mut self, feeds: &BTreeSet<FeedId>) {
        self.news.retain(|feed, _| feeds.contains(feed));
        self.bells.retain(|_, bell| bell.receiver_count() > 0);
    }
}

/// A name that nobody can guess: 128 random bits.
fn new_id() -> ViewerId {
    let bits: u128 = rand::random();
    ViewerId(format!("{bits:032x}").into())
}

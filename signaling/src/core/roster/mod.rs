//! The viewers that have joined. Pure: who comes and goes, what the SFU and the players say and what feeds can be watched over in; for
//! each viewer where it is served and why out, as messages with sequence numbers.
//!
//! The failover [policy](crate::policy) decides for each viewer by itself and the [ledger](crate::admission) for whom there is room. This
//! brings both together, lets somebody's word stand before the policy's, and remembers what a viewer has not been told yet.

mod audience;
mod ending;
mod entry;
mod log;
mod people;
mod realtime;
mod session;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::auth::{Grant, Tier};
use bicast_shared::id::FeedId;
use bicast_shared::time::ProgramTime;

use self::ending::Ended;
pub(crate) use self::entry::Entry;
use self::entry::Said;
use self::people::People;
use crate::api;
use crate::api::channel::{EndReason, PlayerMessage, ServerMessage};
use crate::api::viewers::Wish;
use crate::core::admission::{Budget, Cost, Event, Ledger, Occupancy, Request, Shortage, Usage};
use crate::core::policy::{Capacity, FeedState, Path, Policy, PolicySettings, ReasonCode};

/// A viewer's name: unguessable, and so as good as a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ViewerId(pub(crate) Arc<str>);

impl ViewerId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ViewerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A moment on both clocks: decisions are made by the one and told by the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) utc: ProgramTime,
}

/// What a feed is like for its viewers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FeedFacts {
    /// What it can be watched over.
    pub(crate) state: FeedState,
    /// What one viewer of it is expected to use.
    pub(crate) cost: Cost,
}

/// Who comes.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) feed: FeedId,
    pub(crate) tier: Tier,
    pub(crate) agent: Option<String>,
    /// What its token allows; none where everybody may watch.
    pub(crate) grant: Option<Arc<Grant>>,
}

/// How many may be here, and for how long without a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) viewers: usize,
    pub(crate) silent_after: Duration,
}

/// Why something that was asked for a viewer cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many as may have joined.
    Full,
    /// It is not here.
    Unknown,
    /// It was, and has ended.
    Gone(EndReason),
    /// Its tier has no WebRTC.
    Tier,
    /// Its feed cannot be watched over this path.
    Feed,
    /// The holder of its token is here as often as it may be.
    OfOne(u32),
    /// There is no room on the realtime path.
    NoRoom(Shortage),
    /// It says too much.
    Flood,
}

/// All viewers that have joined.
pub(crate) struct Roster {
    policy: Policy,
    ledger: Ledger<ViewerId>,
    limits: Limits,
    viewers: BTreeMap<ViewerId, Entry>,
    people: People,
    ended: Ended,
    feeds: BTreeMap<FeedId, OfFeed>,
    /// Viewers with something new in their logs.
    rung: BTreeSet<ViewerId>,
    /// Viewers whose sessions have no right to be there any more.
    evicted: Vec<ViewerId>,
    /// Decisions that have not been counted for the metrics yet.
    decided: Vec<Decided>,
    here: usize,
    /// Values that cannot be, of policies that are not asked any more.
    refused_before: u64,
    /// Messages that could not be used, or were too many.
    refused_messages: u64,
}

struct OfFeed {
    facts: FeedFacts,
    /// Its viewers, those included that have ended and can still be told so.
    viewers: BTreeSet<ViewerId>,
    /// Decisions about its viewers, by their reasons.
    decisions: BTreeMap<&'static str, u64>,
}

/// A decision, to be counted: the path, the reason, and whether somebody was moved by it.
pub(crate) type Decided = (Path, ReasonCode, bool);

impl Roster {
    /// Nobody is here yet. Settings and budget have passed their checks.
    pub(crate) fn new(now: Instant, policy: PolicySettings, budget: Budget, limits: Limits) -> Self {
        Self {
            policy: Policy::new(policy),
            ledger: Ledger::new(now, budget),
            limits,
            viewers: BTreeMap::new(),
            people: People::default(),
            ended: Ended::default(),
            feeds: BTreeMap::new(),
            rung: BTreeSet::new(),
            evicted: Vec::new(),
            decided: Vec::new(),
            here: 0,
            refused_before: 0,
            refused_messages: 0,
        }
    }

    /// A viewer joins a feed of which these are the facts.
    pub(crate) fn join(
        &mut self,
        at: Moment,
        id: ViewerId,
        arrival: Arrival,
        facts: FeedFacts,
    ) -> Result<(), Refused> {
        let grant = arrival.grant.as_deref();
        if let Some((most, same)) = self.people.full(grant) {
            // Whose page was closed without a word is remembered for a while, but does not keep its holder out.
            let left = |id: &&ViewerId| self.viewers.get(*id).is_none_or(Entry::is_away);
            let left = same.iter().find(left).cloned().ok_or(Refused::OfOne(most))?;
            self.finish(at, left.as_str(), EndReason::Silent);
        }
        if self.here >= self.limits.viewers {
            return Err(Refused::Full);
        }
        self.people.come(grant, id.clone());
        let capacity = self.capacity(at, &id, arrival.tier, priority(arrival.grant.as_deref()), facts);
        let of_feed = self.feeds.entry(arrival.feed.clone());
        let of_feed =
            of_feed.or_insert_with(|| OfFeed { facts, viewers: BTreeSet::new(), decisions: BTreeMap::new() });
        of_feed.facts = facts;
        of_feed.viewers.insert(id.clone());
        let state = self.policy.join(at.now, arrival.tier, facts.state, capacity);
        let entry = Entry::new(at, arrival, state);
        *of_feed.decisions.entry(entry.reason().name()).or_default() += 1;
        self.decided.push((entry.path(), entry.reason(), false));
        self.here += 1;
        self.rung.insert(id.clone());
        self.viewers.insert(id, entry);
        Ok(())
    }

    /// Whether there is room for a viewer that begins anew, where it could be on the realtime path.
    fn capacity(
        &mut self,
        at: Moment,
        id: &ViewerId,
        tier: Tier,
        priority: u8,
        facts: FeedFacts,
    ) -> Capacity {
        if tier == Tier::Vip && facts.state.realtime && facts.state.live {
            let request = Request { priority, since: at.now, cost: facts.cost };
            return self.ledger.ask(at.now, id, &request).into();
        }
        self.ledger.leave(at.now, id);
        Capacity::Granted
    }

    /// The viewer, if it is here and watches this feed.
    pub(crate) fn get(&self, feed: &FeedId, id: &str) -> Result<&Entry, Refused> {
        let entry = self.viewers.get(id).filter(|entry| entry.feed == *feed).ok_or(Refused::Unknown)?;
        entry.ended.map_or(Ok(entry), |(_, reason)| Err(Refused::Gone(reason)))
    }

    fn get_mut(&mut self, feed: &FeedId, id: &str) -> Result<&mut Entry, Refused> {
        self.get(feed, id)?;
        self.viewers.get_mut(id).ok_or(Refused::Unknown)
    }

    /// The viewers of a feed, by id.
    pub(crate) fn of_feed(&self, feed: &FeedId) -> impl Iterator<Item = (&ViewerId, &Entry)> {
        let ids = self.feeds.get(feed).into_iter().flat_map(|of_feed| &of_feed.viewers);
        ids.filter_map(|id| Some((id, self.viewers.get(id)?))).filter(|(_, entry)| entry.is_here())
    }

    /// Does something with each viewer of a feed that is here.
    fn each(&mut self, feed: &FeedId, mut act: impl FnMut(&ViewerId, &mut Entry)) {
        for id in self.feeds.get(feed).into_iter().flat_map(|of_feed| &of_feed.viewers) {
            if let Some(entry) = self.viewers.get_mut(id).filter(|entry| entry.is_here()) {
                act(id, entry);
            }
        }
    }

    /// Feeds that somebody watches.
    pub(crate) fn feeds(&self) -> BTreeSet<FeedId> {
        self.feeds.keys().cloned().collect()
    }

    /// For what a viewer waits, and how many are before it.
    pub(crate) fn place(&self, now: Instant, id: &ViewerId) -> Option<api::viewers::Waiting> {
        let (shortage, since, ahead) = self.ledger.place(id)?;
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        Some(api::viewers::Waiting { shortage, ahead, seconds: (seconds * 10.0).round() / 10.0 })
    }

    /// Somebody asked for the viewer, or holds its channel: it is not forgotten.
    pub(crate) fn touch(&mut self, now: Instant, feed: &FeedId, id: &str) -> Result<(), Refused> {
        self.get_mut(feed, id)?.heard = now;
        Ok(())
    }

    /// A channel of the viewer is open (`true`) or closes.
    pub(crate) fn channel(&mut self, now: Instant, id: &str, open: bool) {
        if let Some(entry) = self.viewers.get_mut(id) {
            entry.channels = if open { entry.channels + 1 } else { entry.channels.saturating_sub(1) };
            entry.heard = now;
        }
    }

    /// The newest sequence number of a viewer's messages, also when it has ended.
    pub(crate) fn newest(&self, id: &str) -> Option<u64> {
        self.viewers.get(id).map(Entry::sequence)
    }

    /// What the viewer is told behind `after`, also when it has ended; and how many messages are lost to it.
    pub(crate) fn news(&self, id: &str, after: u64) -> Option<(Vec<ServerMessage>, u64)> {
        self.viewers.get(id).map(|entry| entry.log.after(after))
    }

    /// A player says something.
    pub(crate) fn said(
        &mut self,
        at: Moment,
        feed: &FeedId,
        id: &str,
        message: &PlayerMessage,
    ) -> Result<(), Refused> {
        let said = self.get_mut(feed, id)?.said(at.now, message);
        match said {
            Said::Taken => Ok(()),
            Said::TooMuch => {
                self.refused_messages += 1;
                Err(Refused::Flood)
            }
        }
    }

    /// A player said what cannot be read.
    pub(crate) fn could_not_read(&mut self) {
        self.refused_messages += 1;
    }

    /// Somebody's word about a viewer: the path it is kept on, and how far below the highest layer.
    pub(crate) fn order(
        &mut self,
        at: Moment,
        feed: &FeedId,
        id: &str,
        change: api::viewers::Change,
    ) -> Result<(), Refused> {
        let facts = self.feeds.get(feed).map(|of_feed| of_feed.facts).ok_or(Refused::Unknown)?;
        let entry = self.get(feed, id)?;
        let (tier, ordered, priority) = (entry.tier, entry.ordered, entry.priority());
        let (key, _) = self.viewers.get_key_value(id).ok_or(Refused::Unknown)?;
        let key = key.clone();
        match change.path {
            Some(Wish::Hls) if !facts.state.hls => return Err(Refused::Feed),
            Some(Wish::Realtime) if tier != Tier::Vip => return Err(Refused::Tier),
            Some(Wish::Realtime) if !facts.state.realtime => return Err(Refused::Feed),
            Some(Wish::Realtime) => {
                let request = Request { priority, since: at.now, cost: facts.cost };
                if let Some(shortage) = self.ledger.ask(at.now, &key, &request).shortage() {
                    // It did not ask to wait.
                    self.ledger.leave(at.now, &key);
                    return Err(Refused::NoRoom(shortage));
                }
                self.ledger.take_up(&key);
            }
            Some(Wish::Hls) => self.ledger.leave(at.now, &key),
            Some(Wish::Auto) | None => {}
        }
        // What the policy knew is of before the order.
        let fresh = (change.path == Some(Wish::Auto) && ordered.is_some()).then(|| {
            let capacity = self.capacity(at, &key, tier, priority, facts);
            self.policy.join(at.now, tier, facts.state, capacity)
        });
        let entry = self.get_mut(feed, id)?;
        let before = fresh.map(|state| std::mem::replace(&mut entry.state, state));
        match change.path {
            Some(Wish::Auto) => entry.set_order(at.now, None),
            Some(Wish::Realtime) => entry.set_order(at.now, Some(Path::Realtime)),
            Some(Wish::Hls) => entry.set_order(at.now, Some(Path::Hls)),
            None => {}
        }
        entry.layer_cap = change.layer_cap.unwrap_or(entry.layer_cap);
        self.refused_before += before.map_or(0, |state| state.refused_values());
        self.decide(at, &key);
        Ok(())
    }

    /// What a feed is like now; none where it is over.
    pub(crate) fn set_feed(&mut self, at: Moment, feed: &FeedId, facts: Option<FeedFacts>) {
        match facts {
            Some(facts) => {
                if let Some(of_feed) = self.feeds.get_mut(feed) {
                    of_feed.facts = facts;
                }
                self.each(feed, |_, entry| entry.state.set_feed(at.now, facts.state));
            }
            None => {
                let ids: Vec<_> = self.of_feed(feed).map(|(id, _)| id.clone()).collect();
                for id in ids {
                    self.finish(at, id.as_str(), EndReason::FeedEnded);
                }
            }
        }
    }

    /// What a realtime viewer's session was made for has changed.
    pub(crate) fn join_again(&mut self, now: Instant, feed: &FeedId, why: &str) {
        let mut rung = Vec::new();
        self.each(feed, |id, entry| {
            if entry.told.path == Path::Realtime {
                entry.log.join_again(why);
                entry.state.join_again(now);
                rung.push(id.clone());
            }
        });
        self.rung.extend(rung);
    }

    /// What all realtime viewers use.
    pub(crate) fn measure(&mut self, now: Instant, usage: &Usage) {
        self.ledger.measure(now, usage);
    }

    /// Another budget. Nobody loses a place for it.
    pub(crate) fn set_budget(&mut self, now: Instant, budget: Budget) {
        self.ledger.set_budget(now, budget);
    }

    /// What all realtime viewers may use together.
    pub(crate) const fn budget(&self) -> &Budget {
        self.ledger.budget()
    }

    /// How full it is.
    pub(crate) fn occupancy(&self) -> Occupancy {
        self.ledger.occupancy()
    }

    /// Viewers that are here.
    pub(crate) const fn here(&self) -> usize {
        self.here
    }

    /// Values that cannot be and messages that could not be used, so far.
    pub(crate) fn refused(&self) -> (u64, u64) {
        let here: u64 = self.viewers.values().map(Entry::refused_values).sum();
        (self.refused_before + here, self.refused_messages)
    }

    /// Decides for everybody. To be called some times a second.
    pub(crate) fn tick(&mut self, at: Moment) {
        while let Some(event) = self.ledger.poll(at.now) {
            // What is offered is taken up below, what has expired is asked for anew.
            let (Event::Offered(_) | Event::Expired(_)) = event;
        }
        self.forget_ended(at.now);
        let here = self.viewers.iter().filter(|(_, entry)| entry.is_here());
        let ids: Vec<ViewerId> = here.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.tick_viewer(at, id);
        }
        self.feeds.retain(|_, of_feed| !of_feed.viewers.is_empty());
    }

    fn tick_viewer(&mut self, at: Moment, id: &ViewerId) {
        let Some(entry) = self.viewers.get_mut(id) else { return };
        if entry.channels > 0 || entry.has_session() {
            entry.heard = at.now;
        }
        if at.now.saturating_duration_since(entry.heard) > self.limits.silent_after {
            return self.finish(at, id.as_str(), EndReason::Silent);
        }
        let Some(facts) = self.feeds.get(&entry.feed).map(|of_feed| of_feed.facts) else { return };
        if entry.outlives_its_order(at.now, facts.state, &self.policy) {
            let state = self.policy.join(at.now, entry.tier, facts.state, Capacity::Granted);
            self.refused_before += entry.take_back_order(at.now, state);
        }
        if entry.ordered.is_none() {
            entry.tick(at, id, &mut self.ledger, facts.cost);
        }
        self.decide(at, id);
    }

    fn decide(&mut self, at: Moment, id: &ViewerId) {
        let Some(entry) = self.viewers.get_mut(id) else { return };
        if let Some(decided) = entry.decide(at) {
            self.rung.insert(id.clone());
            self.decided.push(decided);
            if let Some(of_feed) = self.feeds.get_mut(&entry.feed) {
                *of_feed.decisions.entry(decided.1.name()).or_default() += 1;
            }
        }
        if entry.overstays(at.now) {
            self.evicted.push(id.clone());
        }
    }

    /// Viewers with news since this was asked last.
    pub(crate) fn take_rung(&mut self) -> BTreeSet<ViewerId> {
        std::mem::take(&mut self.rung)
    }

    /// Viewers whose sessions have to end, since this was asked last.
    pub(crate) fn take_evicted(&mut self) -> Vec<ViewerId> {
        std::mem::take(&mut self.evicted)
    }

    /// Decisions since this was asked last.
    pub(crate) fn take_decided(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.decided)
    }

    /// A feed's viewers together.
    pub(crate) fn audience(&self, now: Instant, feed: &FeedId) -> api::audience::Audience {
        let decisions = self.feeds.get(feed).map(|of_feed| &of_feed.decisions);
        let waiting = self.of_feed(feed).filter(|(id, _)| self.ledger.place(id).is_some()).count();
        audience::audience(now, self.of_feed(feed).map(|(_, entry)| entry), decisions, waiting)
    }

    /// What the one who waits longest waits for.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        self.ledger.first_shortage()
    }
}

/// Before whom a viewer comes where there is too little room.
fn priority(grant: Option<&Grant>) -> u8 {
    grant.map_or(0, |grant| grant.priority)
}

#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod tests;

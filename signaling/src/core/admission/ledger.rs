//! Who has a slot, and who waits for one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use super::budget::{Amounts, Budget, Cost, Shortage, Usage};
use super::lows::Lows;

/// The slots of one server. `K` names a viewer.
#[derive(Debug, Clone)]
pub struct Ledger<K> {
    budget: Budget,
    /// The latest `now`: one that goes back counts as this.
    now: Instant,
    slots: BTreeMap<K, Slot>,
    /// What those with slots are expected to use together.
    expected: Amounts,
    /// What is used, as it was measured last.
    measured: Option<(Instant, Amounts)>,
    /// What those are expected to use who came since then.
    since_measured: Amounts,
    waiting: BTreeMap<Rank, Waiting<K>>,
    ranks: BTreeMap<K, Rank>,
    asked: u64,
    lows: Lows,
    refused_values: u64,
}

#[derive(Debug, Clone)]
struct Slot {
    cost: Amounts,
    /// Until when it has to be taken up, where it was offered.
    offered_until: Option<Instant>,
}

/// The order of those who wait: by priority, then by waiting time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: Reverse<u8>,
    since: Instant,
    asked: u64,
}

#[derive(Debug, Clone)]
struct Waiting<K> {
    viewer: K,
    cost: Amounts,
    joining: Amounts,
    shortage: Shortage,
}

/// What a viewer asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// A higher one goes first.
    pub priority: u8,
    /// Since when the viewer has waited, also where it was not on the list all the time (a publisher was away, its line was bad). Later
    /// than now counts as now.
    pub since: Instant,
    /// What it is expected to use.
    pub cost: Cost,
}

/// What a viewer that asks for a slot is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It has one.
    Admitted,
    /// It waits for one and will be offered it.
    Waiting(Shortage),
    /// The list is full: it may ask again.
    ListFull(Shortage),
    /// It needs more than there is altogether.
    TooLarge(Shortage),
}

impl Answer {
    /// What is short; none for who has a slot.
    #[must_use]
    pub const fn shortage(self) -> Option<Shortage> {
        match self {
            Self::Admitted => None,
            Self::Waiting(shortage) | Self::ListFull(shortage) | Self::TooLarge(shortage) => Some(shortage),
        }
    }
}

/// What happens to those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<K> {
    /// A slot is kept for this viewer until it takes it up ([`Ledger::take_up`]).
    Offered(K),
    /// It did not, or needs more than there is altogether since the budget became smaller. It may ask again.
    Expired(K),
}

/// How full a server is, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Viewers with slots, offers included.
    pub slots: usize,
    /// Offers that nobody has taken up yet.
    pub offered: usize,
    /// Viewers that wait.
    pub waiting: usize,
    /// Measurements that could not be.
    pub refused_values: u64,
}

impl<K: Ord + Clone> Ledger<K> {
    /// An empty server. The budget has passed [`Budget::check`].
    #[must_use]
    pub fn new(now: Instant, budget: Budget) -> Self {
        let mut ledger = Self {
            budget,
            now,
            slots: BTreeMap::new(),
            expected: Amounts::default(),
            measured: None,
            since_measured: Amounts::default(),
            waiting: BTreeMap::new(),
            ranks: BTreeMap::new(),
            asked: 0,
            lows: Lows::default(),
            refused_values: 0,
        };
        ledger.note();
        ledger
    }

    /// A viewer wants a slot. Who has one keeps it; who waits and asks again for the same keeps its place.
    pub fn ask(&mut self, now: Instant, viewer: &K, request: &Request) -> Answer {
        self.advance(now);
        let (cost, joining) = (request.cost.amounts(), request.cost.joining());
        if self.slots.contains_key(viewer) {
            self.change(viewer, cost);
            return Answer::Admitted;
        }
        let (priority, since) = (Reverse(request.priority), request.since.min(self.now));
        let entry = self.ranks.get(viewer).and_then(|rank| Some((rank, self.waiting.get(rank)?)));
        if let Some((_, entry)) =
            entry.filter(|(rank, entry)| (rank.priority, rank.since, entry.cost) == (priority, since, cost))
        {
            return Answer::Waiting(entry.shortage);
        }
        self.strike(viewer);
        if let Err(shortage) = cost.fits(self.budget.amounts()) {
            return Answer::TooLarge(shortage);
        }
        self.asked += 1;
        let rank = Rank { priority, since, asked: self.asked };
        // Who comes now does not overtake those who wait, even where there is room for it and not for them.
        let ahead = self.waiting.first_key_value().filter(|(first, _)| **first < rank);
        let shortage = match (cost.fits(self.room()), ahead) {
            (Ok(()), None) => {
                self.give(viewer.clone(), (cost, joining), None);
                return Answer::Admitted;
            }
            (Err(shortage), _) => shortage,
            (Ok(()), Some((_, first))) => first.shortage,
        };
        if self.waiting.len() >= self.budget.waiting as usize {
            return Answer::ListFull(shortage);
        }
        self.waiting.insert(rank, Waiting { viewer: viewer.clone(), cost, joining, shortage });
        self.ranks.insert(viewer.clone(), rank);
        Answer::Waiting(shortage)
    }

    /// Gives a slot to somebody who does not wait, where that overtakes nobody who does. Who has one keeps it.
    ///
    /// # Errors
    /// What is short.
    pub fn reserve(&mut self, now: Instant, viewer: &K, cost: Cost) -> Result<(), Shortage> {
        self.advance(now);
        if self.slots.contains_key(viewer) {
            return Ok(());
        }
        let (cost, joining) = (cost.amounts(), cost.joining());
        self.first_shortage().map_or_else(|| cost.fits(self.room()), Err)?;
        self.give(viewer.clone(), (cost, joining), None);
        Ok(())
    }

    /// What the first of those who wait waits for; none where nobody does.
    #[must_use]
    pub fn first_shortage(&self) -> Option<Shortage> {
        self.waiting.first_key_value().map(|(_, first)| first.shortage)
    }

    /// The viewer is connected: an offer cannot expire any more.
    pub fn take_up(&mut self, viewer: &K) {
        if let Some(slot) = self.slots.get_mut(viewer) {
            slot.offered_until = None;
        }
    }

    /// A viewer gives its slot back, or does not want one any more.
    pub fn leave(&mut self, now: Instant, viewer: &K) {
        self.advance(now);
        self.strike(viewer);
        if let Some(slot) = self.slots.remove(viewer) {
            self.expected = self.expected.minus(slot.cost);
            self.note();
        }
    }

    /// What a viewer is expected to use has changed. Nobody loses a slot for it.
    pub fn set_cost(&mut self, now: Instant, viewer: &K, cost: Cost) {
        self.advance(now);
        self.change(viewer, cost.amounts());
    }

    /// What all with slots may use together.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The budget is another. Nobody loses a slot for it.
    pub fn set_budget(&mut self, now: Instant, budget: Budget) {
        self.advance(now);
        if budget.free_for > self.budget.free_for {
            // What was before is not remembered for as long as is asked now.
            self.lows = Lows::default();
            self.lows.note(self.now, Amounts::default(), budget.free_for);
        }
        self.budget = budget;
        self.note();
    }

    /// What all realtime viewers use was measured.
    pub fn measure(&mut self, now: Instant, usage: &Usage) {
        self.advance(now);
        let (amounts, refused) = usage.amounts();
        self.refused_values = self.refused_values.saturating_add(refused);
        self.measured = Some((self.now, amounts));
        self.since_measured = Amounts::default();
        self.note();
    }

    /// What is due. To be called about once a second, until there is nothing more.
    pub fn poll(&mut self, now: Instant) -> Option<Event<K>> {
        self.advance(now);
        let late = |slot: &Slot| slot.offered_until.is_some_and(|until| until <= self.now);
        let expired = self.slots.iter().find(|(_, slot)| late(slot)).map(|(viewer, _)| viewer.clone());
        if let Some(viewer) = expired {
            self.leave(now, &viewer);
            return Some(Event::Expired(viewer));
        }
        let first = self.waiting.first_key_value().map(|(_, first)| first);
        // Nobody should wait behind one who can never come.
        if let Some(first) = first.filter(|first| first.cost.fits(self.budget.amounts()).is_err()) {
            let viewer = first.viewer.clone();
            self.strike(&viewer);
            return Some(Event::Expired(viewer));
        }
        let room = self.lows.least().unwrap_or_default();
        let first = self.waiting.first_entry().filter(|entry| entry.get().cost.fits(room).is_ok())?;
        let Waiting { viewer, cost, joining, .. } = first.remove();
        self.ranks.remove(&viewer);
        let until = self.now + self.budget.offer_for;
        self.give(viewer.clone(), (cost, joining), Some(until));
        Some(Event::Offered(viewer))
    }

    /// Whether the viewer has a slot.
    #[must_use]
    pub fn has_slot(&self, viewer: &K) -> bool {
        self.slots.contains_key(viewer)
    }

    /// For what a viewer waits, since when, and how many are before it; none for who does not wait.
    #[must_use]
    pub fn place(&self, viewer: &K) -> Option<(Shortage, Instant, usize)> {
        let rank = self.ranks.get(viewer)?;
        let entry = self.waiting.get(rank)?;
        Some((entry.shortage, rank.since, self.waiting.range(..rank).count()))
    }

    /// How full it is.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            slots: self.slots.len(),
            offered: self.slots.values().filter(|slot| slot.offered_until.is_some()).count(),
            waiting: self.waiting.len(),
            refused_values: self.refused_values,
        }
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.note();
    }

    fn give(&mut self, viewer: K, (cost, joining): (Amounts, Amounts), offered_until: Option<Instant>) {
        self.slots.insert(viewer, Slot { cost, offered_until });
        self.expected = self.expected.plus(cost);
        self.since_measured = self.since_measured.plus(cost).plus(joining);
        self.note();
    }

    fn change(&mut self, viewer: &K, cost: Amounts) {
        let Some(slot) = self.slots.get_mut(viewer) else { return };
        let before = std::mem::replace(&mut slot.cost, cost);
        self.expected = self.expected.minus(before).plus(cost);
        self.since_measured = self.since_measured.plus(cost.minus(before));
        self.note();
    }

    fn strike(&mut self, viewer: &K) {
        if let Some(rank) = self.ranks.remove(viewer) {
            self.waiting.remove(&rank);
        }
    }

    /// What is left. Of what is expected and what was measured the more counts: who has just come sends little yet, and an estimate may be too low.
    fn room(&self) -> Amounts {
        let fresh_for = self.budget.fresh_for;
        let fresh = self.measured.filter(|(at, _)| self.now.saturating_duration_since(*at) <= fresh_for);
        let measured = fresh.map_or(Amounts::default(), |(_, used)| used.plus(self.since_measured));
        let used = Amounts { viewers: self.expected.viewers, ..self.expected.most(measured) };
        let budget = self.budget.amounts();
        let left = budget.minus(used);
        // What has no limit stays without one.
        let unlimited = |budget: u64, left: u64| if budget == u64::MAX { u64::MAX } else { left };
        Amounts {
            viewers: unlimited(budget.viewers, left.viewers),
            bits: unlimited(budget.bits, left.bits),
            packets: unlimited(budget.packets, left.packets),
            cpu: unlimited(budget.cpu, left.cpu),
        }
    }

    fn note(&mut self) {
        let room = self.room();
        self.lows.note(self.now, room, self.budget.free_for);
    }
}

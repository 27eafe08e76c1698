//! Random viewers at a server with random budgets, beside a model that keeps everybody in one list and looks at all of them each time.
//!
//! The rules, from which the model is written: whoever is given a slot fits into every budget then, with what is expected of all who have one;
//! nobody loses a slot but by leaving or by not taking it up in time; a slot goes to nobody while another waits that has a higher priority, or
//! the same and waits longer; and is offered only where there was room for it at every moment of the last `free_for`. Where there has been for
//! longer than that, somebody is offered one.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Answer, Budget, Cost, Event, Ledger, Request};

const STEPS: u64 = 2_000;
const SEEDS: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stands {
    Slot { offered: Option<u64> },
    Waits { priority: u8, since: u64, order: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Person {
    id: u32,
    cost: Cost,
    stands: Stands,
}

struct Model {
    budget: Budget,
    people: Vec<Person>,
    /// Room for count and bits at each time at which it changed.
    room: Vec<(u64, i64, i64)>,
    order: u64,
    /// When the budget became another.
    budget_at: u64,
}

impl Model {
    fn left(&self) -> (i64, i64) {
        let slots = self.people.iter().filter(|one| matches!(one.stands, Stands::Slot { .. }));
        let (count, bits) =
            slots.fold((0, 0), |(count, bits), one| (count + 1, bits + one.cost.egress_bps.cast_signed()));
        let count_budget = self.budget.viewers.map_or(i64::MAX, i64::from);
        let bit_budget = self.budget.egress_bps.map_or(i64::MAX, u64::cast_signed);
        (count_budget - count, bit_budget - bits)
    }

    fn note(&mut self, now: u64) {
        let (count, bits) = self.left();
        if self.room.last().is_none_or(|(_, before, before_bits)| (*before, *before_bits) != (count, bits)) {
            self.room.push((now, count, bits));
        }
    }

    /// Whether there was room for this at every moment of the last `millis`.
    fn had_room(&self, now: u64, cost: &Cost, millis: u64) -> bool {
        let from = now.saturating_sub(millis);
        // What held when the time began counts, too.
        let begin = self.room.iter().rposition(|(at, ..)| *at <= from).unwrap_or(0);
        self.room[begin..]
            .iter()
            .all(|(_, count, bits)| *count >= 1 && *bits >= cost.egress_bps.cast_signed())
    }

    fn first(&self) -> Option<&Person> {
        self.people
            .iter()
            .filter_map(|one| match one.stands {
                Stands::Waits { priority, since, order } => {
                    Some((std::cmp::Reverse(priority), since, order, one))
                }
                Stands::Slot { .. } => None,
            })
            .min_by_key(|(priority, since, order, _)| (*priority, *since, *order))
            .map(|(.., one)| one)
    }

    fn find(&mut self, id: u32) -> Option<&mut Person> {
        self.people.iter_mut().find(|one| one.id == id)
    }
}

fn budget(random: &mut StdRng) -> Budget {
    Budget {
        viewers: Some(random.random_range(1..20)),
        egress_bps: random.random_bool(0.5).then(|| random.random_range(5_000_000..60_000_000)),
        free_for: Duration::from_millis(random.random_range(100..10_000)),
        offer_for: Duration::from_millis(random.random_range(1_000..5_000)),
        waiting: random.random_range(1..20),
        ..Budget::default()
    }
}

/// One run; tells how many offers there were.
fn run(seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let start = bicast_shared::clock::now();
    let at = |millis: u64| start + Duration::from_millis(millis);
    let budget_of_run = budget(&mut random);
    let mut ledger: Ledger<u32> = Ledger::new(start, budget_of_run.clone());
    let mut model =
        Model { budget: budget_of_run, people: Vec::new(), room: Vec::new(), order: 0, budget_at: 0 };
    model.note(0);
    let (mut now, mut offers) = (0, 0);
    for step in 0..STEPS {
        let place = format!("seed {seed}, step {step}, {now} ms");
        now += random.random_range(0..500);
        let id = random.random_range(0..60_u32);
        match random.random_range(0..10) {
            0..4 => {
                let egress_bps = random.random_range(500_000..8_000_000);
                let known = model.find(id).copied();
                // Who is known asks as before: what changes then has tests of its own.
                let cost = known.map_or(Cost { egress_bps, ..Cost::default() }, |one| one.cost);
                let (priority, since) = match known.map(|one| one.stands) {
                    Some(Stands::Waits { priority, since, .. }) => (priority, since),
                    // Some have waited before.
                    _ if random.random_ratio(1, 4) => {
                        (random.random_range(0..3), random.random_range(0..=now))
                    }
                    _ => (random.random_range(0..3), now),
                };
                let answer = ledger.ask(at(now), &id, &Request { priority, since: at(since), cost });
                check_answer(&mut model, now, (id, priority, since, cost), answer, &place);
            }
            4..7 => {
                ledger.leave(at(now), &id);
                model.people.retain(|one| one.id != id);
                model.note(now);
            }
            7 => {
                ledger.take_up(&id);
                if let Some(Person { stands: Stands::Slot { offered }, .. }) = model.find(id) {
                    *offered = None;
                }
            }
            8 if random.random_ratio(1, 10) => {
                let new = budget(&mut random);
                ledger.set_budget(at(now), new.clone());
                model.budget = new;
                model.budget_at = now;
                model.note(now);
            }
            _ => {}
        }
        while let Some(event) = ledger.poll(at(now)) {
            match event {
                Event::Expired(viewer) => {
                    let person = model.find(viewer).copied();
                    if let Some(Person { stands: Stands::Waits { .. }, cost, .. }) = person {
                        let too_large =
                            model.budget.egress_bps.is_some_and(|budget| budget < cost.egress_bps);
                        assert!(too_large, "{place}: {viewer} lost its place");
                        model.people.retain(|one| one.id != viewer);
                        continue;
                    }
                    let Some(Person { stands: Stands::Slot { offered: Some(until) }, .. }) = person else {
                        panic!("{place}: {viewer} lost its slot: {person:?}");
                    };
                    assert!(until <= now, "{place}: {viewer} lost its offer too early");
                    model.people.retain(|one| one.id != viewer);
                }
                Event::Offered(viewer) => {
                    offers += 1;
                    let first = *model.first().unwrap_or_else(|| panic!("{place}: nobody waits"));
                    assert_eq!(first.id, viewer, "{place}: it was the other's turn");
                    let free_for = u64::try_from(model.budget.free_for.as_millis()).unwrap();
                    assert!(
                        model.had_room(now, &first.cost, free_for),
                        "{place}: {first:?} was offered its slot too early"
                    );
                    let until = now + u64::try_from(model.budget.offer_for.as_millis()).unwrap();
                    model.find(viewer).unwrap().stands = Stands::Slot { offered: Some(until) };
                }
            }
            model.note(now);
        }
        // Everybody has what the model says, and nobody waits for room that is there.
        for one in &model.people {
            let slot = matches!(one.stands, Stands::Slot { .. });
            assert_eq!(ledger.has_slot(&one.id), slot, "{place}: {one:?}");
            assert_eq!(ledger.place(&one.id).is_some(), !slot, "{place}: {one:?}");
        }
        let slots = model.people.iter().filter(|one| matches!(one.stands, Stands::Slot { .. })).count();
        assert_eq!(ledger.occupancy().slots, slots, "{place}");
        if let Some(first) = model.first() {
            let free_for = u64::try_from(model.budget.free_for.as_millis()).unwrap();
            // A sixteenth of the window may be counted twice.
            let long = free_for + free_for / 16 + 1;
            let due = now - model.budget_at > long && model.had_room(now, &first.cost, long);
            assert!(!due, "{place}: {first:?} waits for what is there");
        }
        if model.room.len() > 4_000 {
            model.room.drain(..2_000);
        }
    }
    offers
}

fn check_answer(model: &mut Model, now: u64, asked: (u32, u8, u64, Cost), answer: Answer, place: &str) {
    let (id, priority, since, cost) = asked;
    let (count, bits) = model.left();
    let fits = count >= 1 && bits >= cost.egress_bps.cast_signed();
    let too_large = model.budget.egress_bps.is_some_and(|budget| budget < cost.egress_bps);
    let known = model.find(id).map(|one| one.stands);
    let ahead = model.people.iter().any(|one| {
        matches!(one.stands, Stands::Waits { priority: other, since: before, .. }
            if one.id != id && (other > priority || other == priority && before <= since))
    });
    let waiting = model.people.iter().filter(|one| matches!(one.stands, Stands::Waits { .. })).count();
    match (known, answer) {
        (Some(Stands::Slot { .. }), Answer::Admitted) | (Some(Stands::Waits { .. }), Answer::Waiting(_)) => {}
        (None, Answer::Admitted) => {
            assert!(fits && !ahead, "{place}: {id} was admitted, fits {fits}, others wait {ahead}");
            model.people.push(Person { id, cost, stands: Stands::Slot { offered: None } });
        }
        (None, Answer::TooLarge(_)) => assert!(too_large, "{place}"),
        (None, Answer::Waiting(_) | Answer::ListFull(_)) => {
            assert!(!too_large && (!fits || ahead), "{place}: {id} has to wait, though there is room");
            let full = waiting >= model.budget.waiting as usize;
            assert_eq!(matches!(answer, Answer::ListFull(_)), full, "{place}");
            if !full {
                model.order += 1;
                let stands = Stands::Waits { priority, since, order: model.order };
                model.people.push(Person { id, cost, stands });
            }
        }
        (known, answer) => panic!("{place}: {id} was {known:?} and is told {answer:?}"),
    }
    model.note(now);
}

#[test]
fn random_viewers_get_their_slots_by_the_rules() {
    let offers: u64 = (0..SEEDS).map(run).sum();
    println!("seeds 0 to {}: {} steps, {offers} offers", SEEDS - 1, SEEDS * STEPS);
    assert!(offers > 1_000, "{offers}");
}

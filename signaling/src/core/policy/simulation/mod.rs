//! Viewers on random networks, with reports that come late, are missing or lie, beside a reference model that knows the rules and not
//! the policy.
//!
//! A run is a seed: it makes the settings, the viewer, and everything that happens. A failure prints the seed, the rule, the settings and the last
//! decisions and reports. `BICAST_POLICY_SEED` and `BICAST_POLICY_STEPS` (CONTRIBUTING.md) replay one seed and make more steps.

mod reading;
mod reference;
mod runs;
mod world;

use std::time::Duration;

use bicast_shared::auth::Tier;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use self::reference::Reference;
use self::world::World;
use super::{Band, Bug, Policy, PolicySettings};

/// Steps of a run: forty minutes, at four or five steps a second.
pub(super) const STEPS: u64 = 10_000;

/// What a run has seen, to know that it saw something.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) steps: u64,
    pub(super) switches: u64,
    pub(super) returns: u64,
    pub(super) trials: u64,
    pub(super) decisions: u64,
    pub(super) layer_changes: u64,
    /// Times at which the model was sure where the viewer has to be, and looked.
    pub(super) had_to_leave: u64,
    pub(super) had_to_return: u64,
    pub(super) most_in_a_minute: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.switches += other.switches;
        self.returns += other.returns;
        self.trials += other.trials;
        self.decisions += other.decisions;
        self.layer_changes += other.layer_changes;
        self.had_to_leave += other.had_to_leave;
        self.had_to_return += other.had_to_return;
        self.most_in_a_minute = self.most_in_a_minute.max(other.most_in_a_minute);
    }
}

/// A third of the runs have the default settings; the others have small ones, so that the longest times come often.
fn settings(random: &mut StdRng) -> PolicySettings {
    let default = PolicySettings::default();
    if random.random_ratio(1, 3) {
        return default;
    }
    let mut millis = |from: u64, to: u64| Duration::from_millis(random.random_range(from..=to));
    let hold = millis(1_000, 8_000);
    let trial_hold = hold + millis(0, 20_000);
    let settings = PolicySettings {
        bad_for: millis(200, 3_000),
        frozen_for: millis(500, 5_000),
        connect_within: millis(500, 4_000),
        appear_within: millis(2_000, 20_000),
        interrupted_for: millis(0, 2_000),
        fresh_for: millis(1_500, 6_000),
        settle: millis(0, 5_000),
        hold,
        trial_hold,
        longest_hold: trial_hold + millis(0, 30_000),
        good_for: millis(1_000, 10_000),
        lasting: millis(2_000, 60_000),
        returns_window: millis(20_000, 300_000),
        raise_after: millis(1_000, 10_000),
        growth: random.random_range(1.0..4.0),
        returns: random.random_range(1..8),
        switches_a_minute: random.random_range(2..8),
        loss: Band { bad: random.random_range(0.06..0.25), good: random.random_range(0.01..0.05) },
        ..default
    };
    settings.check().unwrap();
    settings
}

/// One run.
pub(super) fn run(seed: u64, steps: u64, bug: Option<Bug>) -> Result<Seen, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let settings = settings(&mut random);
    let tier = if random.random_ratio(1, 12) { Tier::Free } else { Tier::Vip };
    let mut world = World::new(&mut random);
    let start = bicast_shared::clock::now();
    let at = |millis: u64| start + Duration::from_millis(millis);

    let policy = Policy { bug, ..Policy::new(settings.clone()) };
    let mut viewer = policy.join(start, tier, world.feed, world.capacity);
    let mut model = Reference::new(start, settings, tier, (world.feed, world.capacity), viewer.current());
    let mut now = 0;
    let check = |result: Result<(), String>, model: &Reference, now: u64| {
        result.map_err(|rule| {
            format!("seed {seed}, {now} ms: {rule}\n{tier:?} {:#?}\n{}", model.settings(), model.history())
        })
    };
    for _ in 0..steps {
        now += world.pause(&mut random);
        let events = world.step(&mut random, now, viewer.current().path);
        for event in &events {
            match event {
                world::Event::Feed(feed) => viewer.set_feed(at(now), *feed),
                world::Event::Capacity(_) => {}
                world::Event::JoinAgain => viewer.join_again(at(now)),
                world::Event::Seen(seen) => viewer.observe(at(now), seen),
            }
            model.handle(now, event);
        }
        // A slot that is not wanted is forgotten: this shell answers each time.
        viewer.set_capacity(world.capacity);
        let told = viewer.tick(at(now));
        check(model.decide(now, told.as_ref(), viewer.current()), &model, now)?;
    }
    Ok(Seen { steps, ..model.seen() })
}

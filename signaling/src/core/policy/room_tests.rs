//! Policy and ledger together, as a shell joins them: forty viewers whose lines come and go at a server with room for twelve.

use std::time::Duration;

use bicast_shared::auth::Tier;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::tests::{BOTH, GOOD, lossy};
use super::*;
use crate::core::admission::{Budget, Cost, Event, Ledger, Request};

const ROOM: usize = 12;
const STEP: u64 = 200;

struct Guest {
    state: ViewerState,
    priority: u8,
    bad_until: u64,
    /// When its line was bad last.
    was_bad: Option<u64>,
}

#[test]
fn everybody_on_the_realtime_path_has_a_slot_and_who_has_waited_longest_with_the_highest_priority_comes_first()
 {
    let mut random = StdRng::seed_from_u64(7);
    let start = bicast_shared::clock::now();
    let at = |millis: u64| start + Duration::from_millis(millis);
    let budget = Budget { viewers: Some(u32::try_from(ROOM).unwrap()), ..Budget::default() };
    let mut ledger: Ledger<usize> = Ledger::new(start, budget);
    let policy = Policy::new(PolicySettings::default());
    let mut guests: Vec<Guest> = Vec::new();
    let (mut entered, mut waited, mut full) = (0, 0, 0);
    for step in 0..18_000 {
        let now = step * STEP;
        if guests.len() < 40 && step % 10 == 0 {
            let priority = random.random_range(0..4);
            let request = Request { priority, since: at(now), cost: Cost::default() };
            let answer = ledger.ask(at(now), &guests.len(), &request);
            let capacity = answer.into();
            let state = policy.join(at(now), Tier::Vip, BOTH, capacity);
            guests.push(Guest { state, priority, bad_until: 0, was_bad: None });
        }
        while let Some(event) = ledger.poll(at(now)) {
            let Event::Offered(viewer) = event else { continue };
            let passed = guests.iter().enumerate().find(|(other, guest)| {
                let rank = |guest: &Guest| (guest.priority, std::cmp::Reverse(guest.state.waiting_since()));
                ledger.place(other).is_some() && rank(guest) > rank(&guests[viewer])
            });
            assert!(passed.is_none(), "{viewer} was offered a slot before {:?}", passed.map(|(id, _)| id));
        }
        for (id, guest) in guests.iter_mut().enumerate() {
            if random.random_ratio(1, 600) {
                guest.bad_until = now + random.random_range(1_000..60_000);
            }
            let bad = now < guest.bad_until;
            guest.was_bad = if bad { Some(now) } else { guest.was_bad };
            if step % 3 == 0 {
                guest.state.observe(at(now), &if bad { lossy(0.4) } else { GOOD }.into());
            }
            let before = guest.state.current().path;
            let told = guest.state.tick(at(now));
            // What a shell does with it.
            if !guest.state.wants_slot() {
                ledger.leave(at(now), &id);
            } else if guest.state.current().path == Path::Hls {
                let since = guest.state.waiting_since();
                let request = Request { priority: guest.priority, since, cost: Cost::default() };
                let answer = ledger.ask(at(now), &id, &request);
                guest.state.set_capacity(answer.into());
                waited += u64::from(answer.shortage().is_some());
            } else {
                ledger.take_up(&id);
            }
            let Some(decision) = told else { continue };
            match (before, decision.path) {
                (Path::Realtime, Path::Hls) => {
                    assert_eq!(decision.reason, ReasonCode::Loss, "{id} lost its place for another reason");
                    assert!(guest.was_bad.is_some_and(|at| now - at <= 3_000), "{id}'s line was good");
                }
                (Path::Hls, Path::Realtime) => entered += 1,
                _ => {}
            }
        }
        let realtime = guests.iter().filter(|guest| guest.state.current().path == Path::Realtime).count();
        assert!(realtime <= ROOM, "{realtime} viewers, {now} ms");
        full += u64::from(realtime == ROOM);
        for (id, guest) in guests.iter().enumerate() {
            let slot = ledger.has_slot(&id);
            assert!(slot || guest.state.current().path == Path::Hls, "{id} has no slot, {now} ms");
        }
    }
    println!("entered {entered} times, full in {full} of 18000 steps");
    assert!(entered > 100 && waited > 1_000 && full > 1_000, "{entered} {waited} {full}");
}

//! One rule a test, on virtual time.

use std::time::{Duration, Instant};

use super::*;

const MBIT: u64 = 1_000_000;

fn cost(mbit: u64) -> Cost {
    Cost { egress_bps: mbit * MBIT, packets_per_second: mbit * 100, cpu_share: 0.01, ..Cost::default() }
}

/// A ledger and its clock. Viewers are numbers.
struct Desk {
    ledger: Ledger<u32>,
    start: Instant,
    millis: u64,
}

impl Desk {
    fn new(budget: Budget) -> Self {
        budget.check().unwrap();
        let start = bicast_shared::clock::now();
        Self { ledger: Ledger::new(start, budget), start, millis: 0 }
    }

    /// Room for so many viewers.
    fn of(viewers: u32) -> Self {
        Self::new(Budget { viewers: Some(viewers), ..Budget::default() })
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.millis)
    }

    /// One that has not waited before.
    fn ask(&mut self, viewer: u32, priority: u8) -> Answer {
        let since = self.ledger.place(&viewer).map_or(self.now(), |(_, since, _)| since);
        self.ask_for(viewer, Request { priority, since, cost: cost(2) })
    }

    fn ask_for(&mut self, viewer: u32, request: Request) -> Answer {
        self.ledger.ask(self.now(), &viewer, &request)
    }

    fn leave(&mut self, viewer: u32) {
        self.ledger.leave(self.now(), &viewer);
    }

    /// Lets time pass, polling every 100 ms; tells what happened and when.
    fn wait_idly(&mut self, millis: u64) -> Vec<(u64, Event<u32>)> {
        let mut events = Vec::new();
        for _ in 0..millis / 100 {
            self.millis += 100;
            while let Some(event) = self.ledger.poll(self.now()) {
                events.push((self.millis, event));
            }
        }
        events
    }

    /// The same with everybody taking up what is offered; tells who was offered a slot.
    fn wait(&mut self, millis: u64) -> Vec<(u64, u32)> {
        let mut offered = Vec::new();
        for _ in 0..millis / 100 {
            for (at, event) in self.wait_idly(100) {
                let Event::Offered(viewer) = event else { panic!("{event:?}") };
                self.ledger.take_up(&viewer);
                offered.push((at, viewer));
            }
        }
        offered
    }

    fn waiting(&self, viewer: u32) -> Option<usize> {
        self.ledger.place(&viewer).map(|(_, _, before)| before)
    }
}

const FULL: Answer = Answer::Waiting(Shortage::Count);

#[test]
fn each_budget_refuses_by_its_own_name() {
    let budgets = [
        (Budget { viewers: Some(1), ..Budget::default() }, Shortage::Count),
        (Budget { egress_bps: Some(3 * MBIT), ..Budget::default() }, Shortage::Bitrate),
        (Budget { packets_per_second: Some(300), ..Budget::default() }, Shortage::PacketRate),
        (Budget { cpu_share: Some(0.015), ..Budget::default() }, Shortage::Cpu),
    ];
    for (budget, shortage) in budgets {
        let mut desk = Desk::new(budget);
        assert_eq!(desk.ask(1, 0), Answer::Admitted);
        assert_eq!(desk.ask(2, 0), Answer::Waiting(shortage));
        assert_eq!(desk.ask(2, 0).shortage(), Some(shortage));
        assert!(desk.ledger.has_slot(&1) && !desk.ledger.has_slot(&2));
    }
    let mut desk = Desk::new(Budget::default());
    assert!((0..10_000).all(|viewer| desk.ask(viewer, 0) == Answer::Admitted));
}

#[test]
fn who_waits_is_restored_by_priority_and_then_by_waiting_time() {
    let mut desk = Desk::of(3);
    for viewer in 0..3 {
        assert_eq!(desk.ask(viewer, 0), Answer::Admitted);
    }
    for (viewer, priority) in [(10, 1), (11, 5), (12, 1), (13, 5)] {
        assert_eq!(desk.ask(viewer, priority), FULL);
        desk.millis += 50;
    }
    assert_eq!([10, 11, 12, 13].map(|viewer| desk.waiting(viewer)), [Some(2), Some(0), Some(3), Some(1)]);
    // Asking again is no way forward.
    assert_eq!(desk.ask(12, 1), FULL);
    assert_eq!(desk.waiting(12), Some(3));
    desk.millis = 1_000;
    (0..3).for_each(|viewer| desk.leave(viewer));
    let order: Vec<u32> = desk.wait(10_000).iter().map(|(_, viewer)| *viewer).collect();
    assert_eq!(order, [11, 13, 10]);
    desk.leave(11);
    assert_eq!(desk.wait(10_000).len(), 1);
    assert!(desk.ledger.has_slot(&12));
}

#[test]
fn room_has_to_have_been_there_for_a_while() {
    let mut desk = Desk::of(1);
    desk.ask(1, 0);
    desk.ask(2, 0);
    desk.wait(20_000);
    desk.leave(1);
    let (at, viewer) = desk.wait(20_000)[0];
    assert_eq!(viewer, 2);
    // Never earlier; later by a sixteenth and a poll at most.
    assert!((25_000..=25_500).contains(&at), "{at}");
}

#[test]
fn room_that_comes_and_goes_is_not_offered() {
    let mut desk = Desk::new(Budget { egress_bps: Some(10 * MBIT), ..Budget::default() });
    desk.ask(1, 0);
    let used = |mbit: f64| Usage { egress_bps: Some(mbit * 1e6), ..Usage::default() };
    desk.ledger.measure(desk.now(), &used(9.0));
    assert_eq!(desk.ask(2, 0), Answer::Waiting(Shortage::Bitrate));
    for second in 0..120 {
        // Keyframes: every fourth second is full.
        desk.ledger.measure(desk.now(), &used(if second % 4 == 0 { 9.0 } else { 3.0 }));
        assert_eq!(desk.wait(1_000), []);
    }
    for _ in 0..10 {
        desk.ledger.measure(desk.now(), &used(3.0));
        desk.wait(1_000);
    }
    assert!(desk.ledger.has_slot(&2));
}

#[test]
fn nobody_overtakes_who_has_waited_with_the_same_priority_even_into_room_for_smaller_ones() {
    let mut desk = Desk::new(Budget { egress_bps: Some(10 * MBIT), ..Budget::default() });
    let begin = desk.now();
    let ask = |desk: &mut Desk, viewer, priority, mbit| {
        desk.ask_for(viewer, Request { priority, since: begin, cost: cost(mbit) })
    };
    let waits = Answer::Waiting(Shortage::Bitrate);
    assert_eq!(ask(&mut desk, 1, 0, 6), Answer::Admitted);
    assert_eq!(ask(&mut desk, 2, 3, 6), waits);
    assert_eq!(ask(&mut desk, 3, 3, 2), waits);
    assert_eq!(ask(&mut desk, 4, 2, 2), waits);
    assert_eq!(desk.wait(60_000), []);
    // A higher priority does.
    assert_eq!(ask(&mut desk, 5, 4, 2), Answer::Admitted);
    desk.leave(1);
    let order: Vec<u32> = desk.wait(60_000).iter().map(|(_, viewer)| *viewer).collect();
    assert_eq!(order, [2, 3], "the fourth does not fit any more");
}

#[test]
fn nobody_who_has_a_slot_loses_it_whatever_changes() {
    let mut desk = Desk::new(Budget { egress_bps: Some(10 * MBIT), viewers: Some(5), ..Budget::default() });
    for viewer in 0..5 {
        assert_eq!(desk.ask(viewer, 0), Answer::Admitted);
    }
    desk.ask(99, u8::MAX);
    // They need more than there is, the budget shrinks, the machine is busy, somebody important waits.
    for viewer in 0..5 {
        desk.ledger.set_cost(desk.now(), &viewer, cost(50));
    }
    desk.ledger
        .set_budget(desk.now(), Budget { viewers: Some(1), cpu_share: Some(0.01), ..Budget::default() });
    desk.ledger.measure(desk.now(), &Usage { cpu_share: Some(1.0), ..Usage::default() });
    assert_eq!(desk.wait(600_000), []);
    assert!((0..5).all(|viewer| desk.ledger.has_slot(&viewer)));
    assert_eq!(desk.ask(3, 0), Answer::Admitted, "it asks again and has it still");
    // Until there is one less than the budget allows, nobody comes.
    (0..4).for_each(|viewer| desk.leave(viewer));
    assert_eq!(desk.wait(60_000), []);
    desk.leave(4);
    assert_eq!(desk.wait(60_000).len(), 1);
}

#[test]
fn an_offer_that_nobody_takes_up_goes_to_the_next() {
    let mut desk = Desk::of(1);
    desk.ask(1, 0);
    desk.ask(2, 0);
    desk.ask(3, 0);
    desk.leave(1);
    let events = desk.wait_idly(40_000);
    let kinds: Vec<Event<u32>> = events.iter().map(|(_, event)| *event).collect();
    assert_eq!(kinds, [Event::Offered(2), Event::Expired(2), Event::Offered(3), Event::Expired(3)]);
    assert_eq!(events[1].0 - events[0].0, 10_000);
    // Who was too late asks again.
    assert_eq!(desk.ask(2, 0), Answer::Admitted);
    desk.wait_idly(40_000);
    assert!(desk.ledger.has_slot(&2), "no offer, no deadline");
}

#[test]
fn a_newcomer_does_not_take_room_that_is_offered() {
    let mut desk = Desk::of(1);
    desk.ask(1, 0);
    desk.ask(2, 0);
    desk.leave(1);
    assert_eq!(desk.ask(3, 0), FULL, "it is the other's turn");
    let offered = desk.wait_idly(6_000);
    assert_eq!(offered.len(), 1);
    assert_eq!(desk.ask(4, u8::MAX), FULL);
    assert_eq!(desk.ledger.occupancy(), Occupancy { slots: 1, offered: 1, waiting: 2, refused_values: 0 });
}

#[test]
fn those_who_have_just_come_count_until_they_are_measured() {
    let mut desk = Desk::new(Budget { egress_bps: Some(10 * MBIT), ..Budget::default() });
    desk.ledger.measure(desk.now(), &Usage { egress_bps: Some(7e6), ..Usage::default() });
    assert_eq!(desk.ask(1, 0), Answer::Admitted);
    assert_eq!(desk.ask(2, 0), Answer::Waiting(Shortage::Bitrate));
    desk.leave(2);
    // A measurement that is too old counts no more; what is expected does.
    desk.wait(5_100);
    assert!((3..7).all(|viewer| desk.ask(viewer, 0) == Answer::Admitted));
    assert_eq!(desk.ask(7, 0), Answer::Waiting(Shortage::Bitrate));
}

#[test]
fn what_can_never_be_is_said_at_once_and_the_list_is_bounded() {
    let mut desk =
        Desk::new(Budget { egress_bps: Some(3 * MBIT), viewers: Some(1), waiting: 2, ..Budget::default() });
    let large = Request { priority: 0, since: desk.now(), cost: cost(4) };
    assert_eq!(desk.ask_for(1, large), Answer::TooLarge(Shortage::Bitrate));
    assert_eq!(desk.ask(2, 0), Answer::Admitted);
    assert_eq!([3, 4, 5].map(|viewer| desk.ask(viewer, 0)), [FULL, FULL, Answer::ListFull(Shortage::Count)]);
    assert_eq!(desk.waiting(5), None);
    desk.leave(3);
    assert_eq!(desk.ask(5, 0), FULL);
}

#[test]
fn measurements_that_cannot_be_and_times_that_go_back_change_nothing() {
    let mut desk = Desk::new(Budget { cpu_share: Some(0.5), ..Budget::default() });
    for lie in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let all = Some(lie);
        let usage = Usage { egress_bps: all, packets_per_second: all, cpu_share: all };
        desk.ledger.measure(desk.now(), &usage);
    }
    assert_eq!(desk.ledger.occupancy().refused_values, 12);
    let lie =
        Cost { egress_bps: u64::MAX, packets_per_second: u64::MAX, cpu_share: f64::NAN, ..Cost::default() };
    let request = Request { priority: 0, since: desk.now(), cost: lie };
    assert_eq!(desk.ask_for(1, request), Answer::Admitted, "what it costs has no limit here");
    desk.millis = 60_000;
    desk.ask(2, 0);
    desk.millis = 0;
    assert_eq!(desk.ask(3, 0), Answer::Admitted);
    desk.leave(3);
    assert!(desk.ledger.has_slot(&2));
}

#[test]
fn another_priority_is_another_place() {
    let mut desk = Desk::of(1);
    desk.ask(1, 0);
    for viewer in 2..5 {
        desk.ask(viewer, 3);
    }
    let since = desk.ledger.place(&4).unwrap().1;
    desk.millis += 1_000;
    desk.ask(4, 9);
    assert_eq!((desk.waiting(4), desk.ledger.place(&4).unwrap().1), (Some(0), since));
    desk.ask(4, 3);
    assert_eq!(desk.waiting(4), Some(2));
}

#[test]
fn who_was_off_the_list_for_a_while_has_waited_all_the_same() {
    let mut desk = Desk::of(1);
    let begin = desk.now();
    desk.ask(1, 0);
    desk.ask(2, 0);
    desk.millis = 1_000;
    desk.ask(3, 0);
    desk.leave(2);
    desk.millis = 60_000;
    desk.ask(4, 0);
    let again = Request { priority: 0, since: begin, cost: cost(2) };
    assert_eq!(desk.ask_for(2, again), FULL);
    assert_eq!([2, 3, 4].map(|viewer| desk.waiting(viewer)), [Some(0), Some(1), Some(2)]);
    // Nobody has waited since tomorrow.
    let tomorrow = Request { since: desk.now() + Duration::from_secs(86_400), ..again };
    desk.ask_for(5, tomorrow);
    desk.millis += 1_000;
    desk.ask(6, 0);
    assert_eq!((desk.waiting(5), desk.waiting(6)), (Some(3), Some(4)));
}

#[test]
fn a_burst_uses_cpu_before_it_is_measured() {
    let mut desk = Desk::new(Budget { cpu_share: Some(0.8), ..Budget::default() });
    desk.ledger.measure(desk.now(), &Usage { cpu_share: Some(0.79), ..Usage::default() });
    let cost = Cost { egress_bps: 2_564_000, packets_per_second: 291, ..Cost::default() }.on(2);
    let joins = (0..100).filter(|n| desk.ledger.reserve(desk.now(), n, cost).is_ok()).count();
    // A hundredth of two cores is 20 ms: of each 1.3 go to one that joins and is sent for a second.
    assert!((10..=16).contains(&joins), "{joins}");
    desk.millis += 1_000;
    desk.ledger.measure(desk.now(), &Usage { cpu_share: Some(0.6), ..Usage::default() });
    assert!(desk.ledger.reserve(desk.now(), &200, cost).is_ok(), "what has joined is measured with the rest");
}

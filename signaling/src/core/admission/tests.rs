//! One rule a test, on virtual time.

use std::time::{Duration, Instant};

use super::*;

const MBIT: u64 = 1_000_000;

fn cost(mbit: u64) -> Cost {
    Cost { egress_bps: mbit * MBIT, packets_per_second: mbit * 100, cpu_share: 0.01 }
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

    fn ask(&mut self, viewer: u32, priority: u8) -> Answer {
        self.ledger.ask(self.now(), &viewer, priority, cost(2))
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
    let now = desk.now();
    assert_eq!(desk.ledger.ask(now, &1, 0, cost(6)), Answer::Admitted);
    assert_eq!(desk.ledger.ask(now, &2, 3, cost(6)), Answer::Waiting(Shortage::Bitrate));
    assert_eq!(desk.ledger.ask(now, &3, 3, cost(2)), Answer::Waiting(Shortage::Bitrate));
    assert_eq!(desk.ledger.ask(now, &4, 2, cost(2)), Answer::Waiting(Shortage::Bitrate));
    assert_eq!(desk.wait(60_000), []);
    // A higher priority does.
    assert_eq!(desk.ledger.ask(now, &5, 4, cost(2)), Answer::Admitted);
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
    let now = desk.now();
    assert_eq!(desk.ledger.ask(now, &1, 0, cost(4)), Answer::TooLarge(Shortage::Bitrate));
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
    let lie = Cost { egress_bps: u64::MAX, packets_per_second: u64::MAX, cpu_share: f64::NAN };
    assert_eq!(desk.ledger.ask(desk.now(), &1, 0, lie), Answer::Admitted, "what it costs has no limit here");
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

//! Who may take how much of the room: tokens, orders, sessions that measure, and those that nobody owns.

use super::ending::MOST;
use super::tests::{Bench, grant, session};
use super::*;
use crate::policy::ReasonCode;

fn one() -> Budget {
    Budget { viewers: Some(1), ..Budget::default() }
}

#[test]
fn a_token_joins_as_often_as_it_says_and_one_that_says_nothing_not_without_end() {
    let mut bench = Bench::new(Budget::default());
    let once = || Some(Grant { viewers: Some(1), ..grant(0) });
    bench.join_with("first", Tier::Vip, once()).unwrap();
    bench.roster.channel(bench.at().now, "first", true);
    assert_eq!(bench.join_with("second", Tier::Vip, once()), Err(Refused::OfOne(1)));
    let other = Some(Grant { viewer: Some("bea".into()), viewers: Some(1), ..grant(0) });
    bench.join_with("other", Tier::Vip, other).unwrap();
    // Its page is gone: the holder is not kept out for as long as that is remembered.
    bench.roster.channel(bench.at().now, "first", false);
    bench.join_with("second", Tier::Vip, once()).unwrap();
    let feed = bench.feed.clone();
    assert_eq!(bench.roster.get(&feed, "first").err(), Some(Refused::Gone(EndReason::Silent)));
    assert_eq!(bench.roster.here(), 2);

    let mut bench = Bench::new(Budget::default());
    for n in 0..32 {
        let id = format!("v{n}");
        bench.join_with(&id, Tier::Vip, Some(grant(0))).unwrap();
        bench.roster.channel(bench.at().now, &id, true);
    }
    assert_eq!(bench.join_with("more", Tier::Vip, Some(grant(0))), Err(Refused::OfOne(32)));
    let (at, feed) = (bench.at(), bench.feed.clone());
    bench.roster.end(at, &feed, "v7", EndReason::Ended).unwrap();
    bench.join_with("more", Tier::Vip, Some(grant(0))).unwrap();
    bench.roster.end_those(at, |_| true);
    assert_eq!(bench.roster.people.len(), 0, "nobody is kept for ever");
}

#[test]
fn who_is_kept_on_the_realtime_path_and_does_not_come_gives_its_place_back() {
    let mut bench = Bench::new(one());
    bench.join("absent", Tier::Vip).unwrap();
    bench.order("absent", Wish::Realtime).unwrap();
    bench.roster.channel(bench.at().now, "absent", true);
    bench.join("waits", Tier::Vip).unwrap();
    bench.pass(6_000, |_| vec![]);
    // Saying it again gives no more time.
    bench.order("absent", Wish::Realtime).unwrap();
    bench.pass(3_000, |_| vec![]);
    assert_eq!(bench.path("absent"), (Path::Realtime, ReasonCode::Ordered));
    bench.pass(2_000, |_| vec![]);
    assert_eq!(bench.path("absent"), (Path::Hls, ReasonCode::NeverConnected));
    assert_eq!(bench.roster.get(&bench.feed, "absent").unwrap().ordered, None);
    bench.pass(6_000, |_| vec![]);
    assert_eq!(bench.path("waits").0, Path::Realtime);
}

#[test]
fn who_waits_for_room_is_not_measured_in_it_and_comes_back_by_way_of_its_place() {
    let mut bench = Bench::new(one());
    bench.join("a", Tier::Vip).unwrap();
    bench.join("b", Tier::Vip).unwrap();
    bench.roster.channel(bench.at().now, "a", true);
    bench.pass(8_000, |millis| vec![session("a", millis, 0.0)]);
    bench.pass(3_000, |millis| vec![session("a", millis, 0.4)]);
    assert_eq!(bench.path("a"), (Path::Hls, ReasonCode::Loss));
    bench.pass(8_000, |millis| vec![session("b", millis, 0.0)]);
    assert_eq!(bench.path("b").0, Path::Realtime);
    let feed = bench.feed.clone();
    for _ in 0..60 {
        bench.pass(1_000, |millis| vec![session("b", millis, 0.0)]);
        assert_eq!(bench.roster.may_begin(&feed, "a"), Ok(false), "the only place is taken");
        assert_eq!(bench.roster.occupancy().slots, 1);
    }
    assert!(bench.roster.place(bench.at().now, &ViewerId("a".into())).is_some(), "it waits");
    let at = bench.at();
    bench.roster.end(at, &feed, "b", EndReason::Ended).unwrap();
    bench.pass(6_000, |_| vec![]);
    assert_eq!(
        bench.roster.may_begin(&feed, "a"),
        Ok(true),
        "its line is measured in the place that it is kept"
    );
    assert_eq!((bench.path("a").0, bench.roster.occupancy().slots), (Path::Hls, 1));
    bench.pass(12_000, |millis| vec![session("a", millis, 0.0)]);
    assert_eq!(bench.path("a"), (Path::Realtime, ReasonCode::Returned));
}

#[test]
fn a_line_that_stays_bad_is_not_measured_in_a_place_that_others_wait_for() {
    let mut bench = Bench::new(one());
    bench.join("bad", Tier::Vip).unwrap();
    bench.pass(8_000, |millis| vec![session("bad", millis, 0.0)]);
    bench.pass(60_000, |millis| vec![session("bad", millis, 0.4)]);
    assert_eq!(bench.path("bad"), (Path::Hls, ReasonCode::Loss));
    let feed = bench.feed.clone();
    assert_eq!(bench.roster.may_begin(&feed, "bad"), Ok(true), "nobody else wants the place");
    bench.join("waits", Tier::Vip).unwrap();
    assert_eq!(bench.path("waits"), (Path::Hls, ReasonCode::OverCount), "it is in use");
    bench.pass(7_000, |millis| vec![session("bad", millis, 0.4)]);
    assert_eq!(bench.path("waits").0, Path::Realtime);
    assert_eq!(bench.roster.may_begin(&feed, "bad"), Ok(false));
    assert!(bench.roster.take_evicted().contains(&ViewerId("bad".into())), "its session is closed");
}

#[test]
fn a_session_whose_viewer_has_ended_meanwhile_is_closed() {
    let mut bench = Bench::new(Budget::default());
    bench.join("vip", Tier::Vip).unwrap();
    bench.pass(1_000, |millis| vec![session("vip", millis, 0.0)]);
    assert_eq!(bench.roster.take_evicted(), []);
    let (at, feed) = (bench.at(), bench.feed.clone());
    bench.roster.end(at, &feed, "vip", EndReason::Ended).unwrap();
    assert_eq!(bench.roster.take_evicted(), [ViewerId("vip".into())]);
    assert!(bench.roster.may_have_sessions(&feed), "somebody has to look");
    // It was under way: nobody has closed it.
    bench.pass(200, |millis| vec![session("vip", millis, 0.0)]);
    assert_eq!(bench.roster.take_evicted(), [ViewerId("vip".into())]);
}

#[test]
fn who_joins_and_ends_again_and_again_is_remembered_a_bounded_number_of_times() {
    let mut bench = Bench::new(Budget::default());
    let feed = bench.feed.clone();
    let (first, last) = ("v0", format!("v{}", MOST));
    for n in 0..=MOST {
        let id = format!("v{n}");
        bench.join(&id, Tier::Free).unwrap();
        let at = bench.at();
        bench.roster.end(at, &feed, &id, EndReason::Ended).unwrap();
    }
    assert_eq!((bench.roster.viewers.len(), bench.roster.here()), (MOST, 0));
    assert_eq!(bench.roster.get(&feed, first).err(), Some(Refused::Unknown), "the oldest is forgotten");
    // Whose channel is open is told, however many end at once.
    bench.join("listens", Tier::Free).unwrap();
    bench.roster.channel(bench.at().now, "listens", true);
    let at = bench.at();
    bench.roster.end(at, &feed, "listens", EndReason::Ended).unwrap();
    assert_eq!(bench.roster.get(&feed, &last).err(), Some(Refused::Gone(EndReason::Ended)));
    bench.pass(31_000, |_| vec![]);
    assert_eq!(bench.roster.viewers.len(), 1);
    assert_eq!(bench.roster.news("listens", 1).unwrap().0.len(), 1);
    bench.roster.channel(bench.at().now, "listens", false);
    bench.pass(200, |_| vec![]);
    assert_eq!((bench.roster.viewers.len(), bench.roster.feeds().len()), (0, 0));
}

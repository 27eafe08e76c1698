//! The roster on virtual time.

use std::sync::Arc;
use std::time::Duration;

use bicast_shared::auth::Right;
use bicast_shared::clock;
use bicast_shared::status::{ViewerState, ViewerStatus};
use expect_test::{ExpectFile, expect_file};

use super::*;
use crate::api::channel::{Report, Switched};
use crate::api::viewers::Change;
use crate::core::viewers::tests::status;
use crate::core::viewers::{Filter, page, with_sessions};
use crate::policy::ReasonCode;

const FACTS: FeedFacts = FeedFacts {
    state: FeedState { realtime: true, hls: true, live: true },
    cost: Cost { egress_bps: 2_564_000, packets_per_second: 291, cpu_share: 0.0, joining_cpu_share: 0.0 },
};
/// 2026-11-23T05:10:00.123Z.
const UTC: ProgramTime = ProgramTime::from_unix_nanos(1_795_410_600_123_000_000);

pub(super) struct Bench {
    pub(super) roster: Roster,
    start: Instant,
    millis: u64,
    pub(super) feed: FeedId,
}

impl Bench {
    pub(super) fn new(budget: Budget) -> Self {
        let start = clock::now();
        let limits = Limits { viewers: 40, silent_after: Duration::from_secs(60) };
        let roster = Roster::new(start, PolicySettings::default(), budget, limits);
        Self { roster, start, millis: 0, feed: "demo".parse().unwrap() }
    }

    pub(super) fn at(&self) -> Moment {
        let passed = Duration::from_millis(self.millis);
        let nanos = i64::try_from(passed.as_nanos()).unwrap();
        Moment { now: self.start + passed, utc: ProgramTime::from_unix_nanos(UTC.unix_nanos() + nanos) }
    }

    pub(super) fn join(&mut self, id: &str, tier: Tier) -> Result<(), Refused> {
        self.join_with(id, tier, None)
    }

    pub(super) fn join_with(&mut self, id: &str, tier: Tier, grant: Option<Grant>) -> Result<(), Refused> {
        let arrival =
            Arrival { feed: self.feed.clone(), tier, agent: Some("test".into()), grant: grant.map(Arc::new) };
        self.roster.join(self.at(), ViewerId(id.into()), arrival, FACTS)
    }

    /// Time goes by; each 200 ms this is what the SFU sees.
    pub(super) fn pass(&mut self, millis: u64, sees: impl Fn(u64) -> Vec<ViewerStatus>) {
        for _ in 0..millis / 200 {
            self.millis += 200;
            let (at, feed) = (self.at(), self.feed.clone());
            self.roster.set_feed(at, &feed, Some(FACTS));
            let statuses = sees(self.millis);
            self.roster.sessions(at, &feed, &statuses, None);
            self.roster.tick(at);
        }
    }

    pub(super) fn path(&self, id: &str) -> (Path, ReasonCode) {
        let entry = self.roster.get(&self.feed, id).unwrap();
        (entry.path(), entry.reason())
    }

    pub(super) fn order(&mut self, id: &str, path: Wish) -> Result<(), Refused> {
        let (at, feed) = (self.at(), self.feed.clone());
        self.roster.order(at, &feed, id, Change { path: Some(path), layer_cap: None })
    }

    fn report(&mut self, id: &str, report: Report) -> Result<(), Refused> {
        let (at, feed) = (self.at(), self.feed.clone());
        self.roster.said(at, &feed, id, &PlayerMessage::Report(report))
    }

    /// The reasons of the decisions that a viewer was told behind a sequence number.
    fn told(&self, id: &str, after: u64) -> Vec<(u64, ReasonCode)> {
        let (messages, missed) = self.roster.news(id, after).unwrap();
        assert_eq!(missed, 0);
        let decisions = messages.into_iter().filter_map(|message| match message {
            ServerMessage::Decision { sequence, decision } => Some((sequence, decision.reason)),
            _ => None,
        });
        decisions.collect()
    }
}

/// A session of a viewer, with a receiver report a second that tells of this loss.
pub(super) fn session(viewer: &str, millis: u64, loss_ratio: f64) -> ViewerStatus {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let seconds = millis as f64 / 1_000.0;
    ViewerStatus {
        viewer: Some(viewer.into()),
        seconds,
        reports: millis / 1_000,
        loss_ratio,
        jitter_ms: 2.0,
        ..status(&format!("session of {viewer}"))
    }
}

pub(super) fn grant(priority: u8) -> Grant {
    Grant {
        viewer: Some("anna".into()),
        token: None,
        feed: "*".parse().unwrap(),
        tier: Tier::Vip,
        rights: vec![Right::Watch],
        issued: None,
        expires: 10,
        viewers: None,
        priority,
        delay: None,
    }
}

#[test]
fn a_viewer_is_told_each_decision_once_and_in_order() {
    let mut bench = Bench::new(Budget::default());
    bench.join("vip", Tier::Vip).unwrap();
    bench.join("free", Tier::Free).unwrap();
    assert_eq!(bench.path("vip"), (Path::Realtime, ReasonCode::Entitled));
    assert_eq!(bench.path("free"), (Path::Hls, ReasonCode::TierFree));
    assert_eq!(bench.told("vip", 0), [(1, ReasonCode::Entitled)]);

    bench.pass(10_000, |millis| vec![session("vip", millis, 0.0)]);
    assert_eq!(bench.told("vip", 0), [(1, ReasonCode::Entitled)], "nothing has changed");
    let onset = bench.millis;
    bench.pass(3_000, |millis| vec![session("vip", millis, 0.3)]);
    assert_eq!(
        bench.path("vip"),
        (Path::Hls, ReasonCode::Loss),
        "{} ms after the onset",
        bench.millis - onset
    );
    assert_eq!(bench.told("vip", 0), [(1, ReasonCode::Entitled), (2, ReasonCode::Loss)]);
    assert_eq!(bench.told("vip", 1), [(2, ReasonCode::Loss)], "who comes back is told what it missed");
    assert_eq!(bench.told("vip", 2), []);
    assert!(bench.roster.take_rung().iter().any(|id| id.as_str() == "vip"));
    let audience = bench.roster.audience(bench.at().now, &bench.feed);
    assert_eq!((audience.viewers, audience.decisions["loss"], audience.decisions["tier-free"]), (2, 1, 1));
    assert_eq!(bench.roster.get(&bench.feed, "vip").unwrap().switches, 1);
}

#[test]
fn a_report_that_is_not_new_is_not_heard_again() {
    let mut bench = Bench::new(Budget::default());
    bench.join("vip", Tier::Vip).unwrap();
    bench.pass(8_000, |millis| vec![session("vip", millis, 0.0)]);
    // One bad report, seen fifteen times.
    bench.pass(3_000, |_| vec![session("vip", 9_000, 0.5)]);
    assert_eq!(bench.path("vip"), (Path::Realtime, ReasonCode::Entitled), "one report is an accident");
}

#[test]
fn a_viewer_without_a_connection_is_served_over_hls() {
    let mut bench = Bench::new(Budget::default());
    bench.join("blocked", Tier::Vip).unwrap();
    bench.join("absent", Tier::Vip).unwrap();
    let new = |millis: u64| ViewerStatus {
        state: ViewerState::Connecting,
        checked: false,
        reports: 0,
        ..session("blocked", millis, 0.0)
    };
    bench.pass(2_200, |millis| vec![new(millis)]);
    assert_eq!(bench.path("blocked"), (Path::Hls, ReasonCode::UdpBlocked));
    assert_eq!(bench.path("absent").0, Path::Realtime, "its page may be slow");
    bench.pass(9_000, |millis| vec![new(millis)]);
    assert_eq!(bench.path("absent"), (Path::Hls, ReasonCode::NeverConnected));
}

#[test]
fn a_connection_that_falls_silent_or_closes_is_left() {
    let mut bench = Bench::new(Budget::default());
    bench.join("silent", Tier::Vip).unwrap();
    bench.join("closes", Tier::Vip).unwrap();
    bench.pass(8_000, |millis| vec![session("silent", millis, 0.0), session("closes", millis, 0.0)]);
    let silent = |millis: u64| ViewerStatus { silent_ms: millis - 8_000, ..session("silent", 8_000, 0.0) };
    bench.pass(2_000, |millis| vec![silent(millis)]);
    assert_eq!(bench.path("closes"), (Path::Hls, ReasonCode::ConnectionLost));
    assert_eq!(bench.path("silent").0, Path::Realtime);
    bench.pass(3_400, |millis| vec![silent(millis)]);
    assert_eq!(bench.path("silent"), (Path::Hls, ReasonCode::ConnectionLost));
}

#[test]
fn somebodys_word_stands_before_the_policy_until_it_is_taken_back() {
    let mut bench = Bench::new(Budget { viewers: Some(1), ..Budget::default() });
    bench.join("a", Tier::Vip).unwrap();
    bench.join("b", Tier::Vip).unwrap();
    bench.join("free", Tier::Free).unwrap();
    assert_eq!(bench.path("b"), (Path::Hls, ReasonCode::OverCount));
    assert_eq!(bench.order("free", Wish::Realtime), Err(Refused::Tier));
    assert_eq!(bench.order("b", Wish::Realtime), Err(Refused::NoRoom(Shortage::Count)));
    assert_eq!(bench.order("x", Wish::Hls), Err(Refused::Unknown));

    bench.order("a", Wish::Hls).unwrap();
    assert_eq!(bench.path("a"), (Path::Hls, ReasonCode::Ordered));
    bench.order("b", Wish::Realtime).unwrap();
    assert_eq!(bench.path("b"), (Path::Realtime, ReasonCode::Ordered), "its place is free");
    bench.pass(20_000, |millis| vec![session("b", millis, 0.5)]);
    assert_eq!(bench.path("b"), (Path::Realtime, ReasonCode::Ordered), "however bad its line is");
    bench.order("b", Wish::Auto).unwrap();
    bench.pass(6_000, |millis| vec![session("b", millis, 0.5)]);
    assert_eq!(bench.path("b"), (Path::Hls, ReasonCode::Loss));
    bench.order("a", Wish::Auto).unwrap();
    // The place was b's to be measured in, who does not come for that.
    bench.pass(17_000, |_| vec![]);
    assert_eq!(bench.path("a"), (Path::Realtime, ReasonCode::Available));
}

#[test]
fn places_go_to_the_highest_priority_first_and_are_never_taken_away() {
    let mut bench = Bench::new(Budget { viewers: Some(1), ..Budget::default() });
    bench.join("first", Tier::Vip).unwrap();
    bench.join("second", Tier::Vip).unwrap();
    bench.millis += 1_000;
    bench.join_with("important", Tier::Vip, Some(grant(9))).unwrap();
    let good = |millis: u64| ["first", "second", "important"].map(|id| session(id, millis, 0.0)).into();
    bench.pass(30_000, good);
    assert_eq!(bench.path("first").0, Path::Realtime, "whoever comes later");
    assert_eq!(bench.path("important"), (Path::Hls, ReasonCode::OverCount));
    let place = |bench: &Bench, id: &str| bench.roster.place(bench.at().now, &ViewerId(id.into())).unwrap();
    assert_eq!(place(&bench, "important").ahead, 0);
    assert_eq!(place(&bench, "second").ahead, 1);
    let (at, feed) = (bench.at(), bench.feed.clone());
    bench.roster.end(at, &feed, "first", EndReason::Ended).unwrap();
    bench.pass(10_000, good);
    assert_eq!(bench.path("important"), (Path::Realtime, ReasonCode::Available));
    assert_eq!(bench.path("second").0, Path::Hls);
    let evicted = bench.roster.take_evicted();
    assert!(evicted.contains(&ViewerId("first".into())), "its session is closed");
    assert_eq!(bench.roster.get(&feed, "first").err(), Some(Refused::Gone(EndReason::Ended)));
}

#[test]
fn strangers_take_places_too_and_nobody_who_waits_is_overtaken() {
    let mut bench = Bench::new(Budget { viewers: Some(2), ..Budget::default() });
    let now = bench.at().now;
    let mut admit = |session| bench.roster.admit_stranger(now, session, FACTS.cost);
    // All at once: each takes its place when it asks, not when somebody sees its session.
    assert_eq!([1, 2, 3, 4].map(|session| admit(session).is_ok()), [true, true, false, false]);
    assert_eq!(admit(5), Err(Shortage::Count));
    bench.join("a", Tier::Vip).unwrap();
    assert_eq!(bench.path("a"), (Path::Hls, ReasonCode::OverCount));
    bench.roster.stranger_left(now, 1);
    assert_eq!(bench.roster.admit_stranger(now, 6, FACTS.cost), Err(Shortage::Count), "a waits");
    bench.pass(30_000, |millis| vec![session("a", millis, 0.0)]);
    assert_eq!(bench.path("a").0, Path::Realtime);
}

#[test]
fn who_may_have_a_session_and_whose_is_closed() {
    let mut bench = Bench::new(Budget::default());
    bench.join("vip", Tier::Vip).unwrap();
    bench.join("free", Tier::Free).unwrap();
    let feed = bench.feed.clone();
    assert_eq!(bench.roster.may_begin(&feed, "vip"), Ok(true));
    assert_eq!(bench.roster.may_begin(&feed, "free"), Err(Refused::Tier));
    assert_eq!(bench.roster.may_begin(&feed, "x"), Err(Refused::Unknown));
    let other = "other".parse().unwrap();
    assert_eq!(bench.roster.may_begin(&other, "vip"), Err(Refused::Unknown), "of another feed");
    bench.order("vip", Wish::Hls).unwrap();
    assert_eq!(bench.roster.may_begin(&feed, "vip"), Ok(false));
    bench.pass(19_000, |millis| vec![session("vip", millis, 0.0)]);
    assert_eq!(bench.roster.take_evicted(), [], "its player needs it until HLS is shown");
    bench.pass(2_000, |millis| vec![session("vip", millis, 0.0)]);
    assert!(bench.roster.take_evicted().contains(&ViewerId("vip".into())));
}

#[test]
fn viewers_end_with_their_feed_their_right_and_when_nothing_is_heard() {
    let mut bench = Bench::new(Budget::default());
    bench.join("silent", Tier::Free).unwrap();
    bench.join("listens", Tier::Free).unwrap();
    bench.join_with("expires", Tier::Vip, Some(grant(0))).unwrap();
    let (at, feed) = (bench.at(), bench.feed.clone());
    bench.roster.channel(at.now, "listens", true);
    assert_eq!(bench.roster.end_those(at, |grant| grant.expires < 5), 0);
    assert_eq!(bench.roster.end_those(at, |grant| grant.expires < 15), 1);
    assert_eq!(bench.roster.get(&feed, "expires").err(), Some(Refused::Gone(EndReason::RightEnded)));
    bench.pass(61_000, |_| vec![]);
    assert_eq!(bench.roster.get(&feed, "silent").err(), Some(Refused::Gone(EndReason::Silent)));
    assert_eq!(bench.roster.get(&feed, "expires").err(), Some(Refused::Unknown), "forgotten by now");
    assert!(bench.roster.get(&feed, "listens").is_ok());
    let at = bench.at();
    bench.roster.set_feed(at, &feed, None);
    let (messages, _) = bench.roster.news("listens", 1).unwrap();
    assert_eq!(messages, [ServerMessage::End { sequence: 2, reason: EndReason::FeedEnded }]);
    assert_eq!(bench.roster.here(), 0);
    for _ in 0..41 {
        bench.millis += 1;
        let id = format!("v{}", bench.millis);
        let joined = bench.join(&id, Tier::Free);
        assert_eq!(joined.is_err(), bench.roster.here() == 40 && joined == Err(Refused::Full), "{id}");
    }
    assert_eq!(bench.roster.here(), 40, "bounded");
}

#[test]
fn players_that_lie_or_flood_move_nobody_else_and_are_counted() {
    let mut bench = Bench::new(Budget::default());
    bench.join("liar", Tier::Vip).unwrap();
    bench.join("honest", Tier::Vip).unwrap();
    let both = |millis: u64| ["liar", "honest"].map(|id| session(id, millis, 0.0)).into();
    bench.pass(8_000, both);
    for _ in 0..40 {
        let lie = Report {
            latency_ms: Some(f64::NAN),
            loss_ratio: Some(17.0),
            frozen_ratio: Some(-1.0),
            round_trip_ms: Some(f64::INFINITY),
            media_time: Some(i64::MIN),
            ..Report::default()
        };
        let _ = bench.report("liar", lie);
    }
    assert_eq!(bench.report("liar", Report::default()), Err(Refused::Flood));
    bench.report("honest", Report { latency_ms: Some(150.0), ..Report::default() }).unwrap();
    bench.pass(2_000, both);
    assert_eq!(bench.path("liar"), (Path::Realtime, ReasonCode::Entitled), "nothing of it can be");
    let (values, messages) = bench.roster.refused();
    assert!(values >= 40 && messages >= 20, "{values} {messages}");
    let audience = bench.roster.audience(bench.at().now, &bench.feed);
    let late: Vec<_> = audience.latency.iter().map(|group| (group.reports, group.p99_ms)).collect();
    assert_eq!(late, [(1, 150.0)], "only what can be is counted");
    assert_eq!(bench.report("liar", Report::default()), Ok(()), "later it is heard again");
    let (at, feed) = (bench.at(), bench.feed.clone());
    bench.roster.end(at, &feed, "liar", EndReason::Ended).unwrap();
    bench.pass(40_000, |millis| vec![session("honest", millis, 0.0)]);
    assert_eq!(bench.roster.get(&feed, "liar").err(), Some(Refused::Unknown));
    assert_eq!(bench.roster.refused().0, values, "what was counted stays counted");
}

#[test]
fn a_player_that_cannot_reach_the_port_says_so() {
    let mut bench = Bench::new(Budget::default());
    bench.join("vip", Tier::Vip).unwrap();
    bench.pass(400, |_| vec![]);
    bench.report("vip", Report { udp_blocked: Some(true), ..Report::default() }).unwrap();
    bench.pass(400, |_| vec![]);
    assert_eq!(bench.path("vip"), (Path::Hls, ReasonCode::UdpBlocked));
}

#[test]
fn another_codec_is_told_to_who_has_a_session() {
    let mut bench = Bench::new(Budget::default());
    bench.join("vip", Tier::Vip).unwrap();
    bench.join("free", Tier::Free).unwrap();
    let feed = bench.feed.clone();
    bench.roster.join_again(bench.at().now, &feed, "The feed was H264 and is VP8 now.");
    assert!(matches!(
        bench.roster.news("vip", 1).unwrap().0[..],
        [ServerMessage::JoinAgain { sequence: 2, .. }]
    ));
    assert_eq!(bench.roster.news("free", 1).unwrap().0, []);
}

#[test]
fn a_session_that_is_made_anew_is_no_lost_connection() {
    let mut bench = Bench::new(Budget::default());
    bench.join("vip", Tier::Vip).unwrap();
    let feed = bench.feed.clone();
    bench.pass(8_000, |millis| vec![session("vip", millis, 0.0)]);
    // The publisher is back with another codec: the session is gone when it is told, and the player needs its time for another.
    bench.pass(200, |_| vec![]);
    bench.roster.join_again(bench.at().now, &feed, "The feed was H264 and is VP8 now.");
    bench.pass(4_000, |_| vec![]);
    assert_eq!(bench.path("vip"), (Path::Realtime, ReasonCode::Entitled));
    assert_eq!(bench.roster.may_begin(&feed, "vip"), Ok(true), "it was told to");
    let anew = |id: &'static str| {
        move |millis: u64| vec![ViewerStatus { id: id.into(), ..session("vip", millis, 0.0) }]
    };
    bench.pass(8_000, anew("second"));
    // And where the player closes its session of itself.
    bench.pass(1_400, |_| vec![]);
    assert_eq!(bench.roster.may_begin(&feed, "vip"), Ok(true));
    bench.pass(8_000, anew("third"));
    // Closed and begun between two looks, and connected a second later.
    let begins = |millis: u64| ViewerStatus {
        state: ViewerState::Connecting,
        reports: 0,
        ..anew("fourth")(millis).remove(0)
    };
    bench.pass(1_000, |millis| vec![begins(millis)]);
    bench.pass(8_000, anew("fourth"));
    assert_eq!(bench.roster.get(&feed, "vip").unwrap().switches, 0);
    assert_eq!(bench.path("vip"), (Path::Realtime, ReasonCode::Entitled));
    bench.pass(2_200, |_| vec![]);
    assert_eq!(bench.path("vip"), (Path::Hls, ReasonCode::ConnectionLost), "nothing came");
    // Who is told to join again and does not is served over HLS, too.
    bench.join("absent", Tier::Vip).unwrap();
    bench.pass(2_000, |millis| vec![session("absent", millis, 0.0)]);
    bench.roster.join_again(bench.at().now, &feed, "The feed was H264 and is VP8 now.");
    bench.pass(11_000, |_| vec![]);
    assert_eq!(bench.path("absent").0, Path::Hls);
}

#[test]
fn a_latency_counts_for_the_path_that_the_viewer_is_on() {
    let mut bench = Bench::new(Budget::default());
    bench.join_with("free", Tier::Free, None).unwrap();
    let mut told = |path| {
        bench.report("free", Report { path, latency_ms: Some(90.0), ..Report::default() }).unwrap();
        let now = bench.at().now;
        bench.roster.get(&bench.feed, "free").unwrap().latency_ms(now)
    };
    assert_eq!(told(Some(Path::Hls)), Some((Path::Hls, 90.0)));
    assert_eq!(told(Some(Path::Realtime)), None, "its tier has no such path");
    assert_eq!(told(None), Some((Path::Hls, 90.0)));
}

fn assert_wire(file: &ExpectFile, value: &impl serde::Serialize) {
    file.assert_eq(&format!("{}\n", serde_json::to_string_pretty(value).unwrap()));
}

#[test]
fn the_wire_is_what_the_players_tests_read() {
    let mut bench =
        Bench::new(Budget { viewers: Some(500), egress_bps: Some(1_000_000_000), ..Budget::default() });
    let id = "5f1d0c7e9a3b4f2d8c6976e5b5410415";
    bench.join_with(id, Tier::Vip, Some(grant(0))).unwrap();
    bench.pass(8_000, |millis| vec![session(id, millis, 0.0)]);
    let report = Report {
        path: Some(Path::Realtime),
        latency_ms: Some(162.5),
        buffer_ms: Some(21.0),
        media_time: Some(7_173_000),
        at_live_edge: Some(true),
        frozen_ratio: Some(0.0),
        loss_ratio: Some(0.0),
        round_trip_ms: Some(23.4),
        jitter_ms: Some(1.2),
        udp_blocked: None,
    };
    bench.report(id, report).unwrap();
    bench.pass(3_000, |millis| vec![session(id, millis, 0.3)]);
    let (feed, now) = (bench.feed.clone(), bench.at().now);
    let key = ViewerId(id.into());
    let entry = bench.roster.get(&feed, id).unwrap();
    let viewer = crate::core::viewers::joined(now, &key, entry, bench.roster.place(now, &key));
    let with_session =
        with_sessions(&feed, vec![viewer.clone()], vec![session(id, 11_000, 0.3), status("9d")]);
    let viewers = page(with_session, Filter::default(), None, 1);
    assert_wire(&expect_file!["../../../../tests/fixtures/wire/viewers.json"], &viewers);
    let urls = api::viewers::Urls {
        whep: Some(format!("/whep/demo?viewer={id}")),
        hls: "/hls/demo/multivariant.m3u8".into(),
        events: format!("/v1/feeds/demo/viewers/{id}/events"),
        reports: format!("/v1/feeds/demo/viewers/{id}/reports"),
    };
    let timeline: api::Feed =
        serde_json::from_str(include_str!("../../../../tests/fixtures/wire/feed-live.json")).unwrap();
    let timeline = timeline.timeline.unwrap();
    let joined = api::viewers::Joined { viewer: viewer.clone(), urls, timeline: Some(timeline.clone()) };
    assert_wire(&expect_file!["../../../../tests/fixtures/wire/joined.json"], &joined);
    let over_hls = Report { path: Some(Path::Hls), latency_ms: Some(1_240.0), ..report };
    bench.report(id, over_hls).unwrap();
    assert_wire(
        &expect_file!["../../../../tests/fixtures/wire/audience.json"],
        &bench.roster.audience(now, &feed),
    );
    let occupancy = bench.roster.occupancy();
    let admission = api::audience::Admission {
        limits: Budget { viewers: Some(500), egress_bps: Some(1_000_000_000), ..Budget::default() },
        used: api::audience::Used { egress_bps: 2_564_000, packets_per_second: 280, cpu_share: Some(0.031) },
        slots: occupancy.slots,
        offered: occupancy.offered,
        waiting: occupancy.waiting,
        shortage: bench.roster.shortage(),
    };
    assert_wire(&expect_file!["../../../../tests/fixtures/wire/admission.json"], &admission);
    let status = api::audience::Status {
        version: "0.1.0".into(),
        since: UTC.rfc3339(),
        feeds: [("live".to_owned(), 1)].into(),
        viewers: 1,
        most_viewers: 100_000,
        sessions: 2,
        admission,
    };
    assert_wire(&expect_file!["../../../../tests/fixtures/wire/status.json"], &status);
    let report = PlayerMessage::Report(report);
    assert_wire(&expect_file!["../../../../tests/fixtures/wire/channel-report.json"], &report);
    let switched = Switched { to: Path::Hls, took_ms: 1_160.0, jump_ms: Some(0.0) };
    assert_wire(
        &expect_file!["../../../../tests/fixtures/wire/channel-switched.json"],
        &PlayerMessage::Switched(switched),
    );
    let mut messages = vec![ServerMessage::Hello { sequence: 2, missed: 0, viewer: Box::new(viewer) }];
    messages.extend(bench.roster.news(id, 1).unwrap().0);
    messages.extend([
        ServerMessage::JoinAgain { sequence: 3, why: "The feed was H264 and is VP8 now.".into() },
        ServerMessage::Feed { state: api::FeedState::Live, epoch: 0, realtime: true, hls: true },
        ServerMessage::Timeline { timeline },
        ServerMessage::Probe { wanted: true },
        ServerMessage::Problem { detail: "The message cannot be used.".into(), hint: "Send another.".into() },
        ServerMessage::End { sequence: 4, reason: EndReason::FeedEnded },
    ]);
    assert_wire(&expect_file!["../../../../tests/fixtures/wire/channel-server.json"], &messages);
    let text = serde_json::to_string(&messages).unwrap();
    assert_eq!(serde_json::from_str::<Vec<ServerMessage>>(&text).unwrap(), messages);
}

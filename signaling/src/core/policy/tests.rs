//! One rule a test, on virtual time.

use std::time::{Duration, Instant};

use bicast_shared::auth::Tier;

use super::*;

pub(super) const BOTH: FeedState = FeedState { realtime: true, hls: true, live: true };
const MBIT: f64 = 1e6;

/// What a good line looks like from here.
pub(super) const GOOD: ServerView = ServerView {
    ice: Some(IceState::Connected),
    loss_ratio: Some(0.001),
    nack_recovery: Some(1.0),
    round_trip_ms: Some(40.0),
    jitter_ms: Some(3.0),
    estimate_bps: Some(5.0 * MBIT),
    lowest_layer_bps: Some(MBIT),
    lower_layers: None,
};

pub(super) fn lossy(ratio: f64) -> ServerView {
    ServerView { loss_ratio: Some(ratio), nack_recovery: Some(1.0), ..GOOD }
}

/// A viewer, its clock, and what was decided: (milliseconds, path, reason).
pub(super) struct Bench {
    pub(super) viewer: ViewerState,
    /// What the viewer is told whenever it is asked.
    capacity: Option<Capacity>,
    start: Instant,
    pub(super) millis: u64,
    pub(super) told: Vec<(u64, Path, ReasonCode)>,
}

impl Bench {
    pub(super) fn new(tier: Tier, feed: FeedState, capacity: Capacity) -> Self {
        Self::with(PolicySettings::default(), tier, feed, capacity)
    }

    pub(super) fn with(settings: PolicySettings, tier: Tier, feed: FeedState, capacity: Capacity) -> Self {
        let start = bicast_shared::clock::now();
        let viewer = Policy::new(settings).join(start, tier, feed, capacity);
        Self { viewer, capacity: Some(capacity), start, millis: 0, told: Vec::new() }
    }

    pub(super) fn vip() -> Self {
        Self::new(Tier::Vip, BOTH, Capacity::Granted)
    }

    pub(super) fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.millis)
    }

    pub(super) fn see(&mut self, seen: impl Into<Observation>) {
        self.viewer.observe(self.now(), &seen.into());
    }

    /// Ticks ten times a second for so long; `view` at the beginning and then every `every` milliseconds.
    pub(super) fn run_every(&mut self, millis: u64, every: u64, mut view: impl FnMut(u64) -> Observation) {
        let began = self.millis;
        while self.millis < began + millis {
            if (self.millis - began).is_multiple_of(every) {
                let seen = view(self.millis);
                self.see(seen);
            }
            self.tick();
            self.millis += 100;
        }
    }

    pub(super) fn tick(&mut self) {
        if let Some(capacity) = self.capacity {
            self.viewer.set_capacity(capacity);
        }
        if let Some(decision) = self.viewer.tick(self.now()) {
            self.told.push((self.millis, decision.path, decision.reason));
        }
    }

    /// The same view every half a second.
    pub(super) fn run(&mut self, millis: u64, view: ServerView) {
        self.run_every(millis, 500, |_| view.into());
    }

    pub(super) fn silence(&mut self, millis: u64) {
        self.run_every(millis, 100, |_| Observation::default());
    }

    pub(super) fn take(&mut self) -> Vec<(u64, Path, ReasonCode)> {
        std::mem::take(&mut self.told)
    }

    pub(super) fn switches(&self) -> usize {
        let paths = self.told.iter().map(|(_, path, _)| *path);
        // Every bench here begins on the realtime path.
        paths.fold((Path::Realtime, 0), |(before, n), path| (path, n + usize::from(path != before))).1
    }

    pub(super) fn holds(&self) -> (Path, ReasonCode) {
        (self.viewer.current().path, self.viewer.current().reason)
    }
}

#[test]
fn the_free_tier_is_served_over_hls_whatever_its_line_is() {
    let mut bench = Bench::new(Tier::Free, BOTH, Capacity::Granted);
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::TierFree));
    bench.run(600_000, GOOD);
    bench.viewer.set_feed(bench.now(), FeedState { hls: false, ..BOTH });
    bench.run(1_000, GOOD);
    assert_eq!(bench.take(), [(600_000, Path::Hls, ReasonCode::FeedWithoutHls)]);
    assert!(!bench.viewer.wants_slot() && !bench.viewer.wants_probe());
}

#[test]
fn ten_minutes_on_a_good_network_change_nothing() {
    let mut bench = Bench::vip();
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::Entitled));
    bench.run(600_000, GOOD);
    assert_eq!(bench.take(), []);
    // Nor do values between good and bad, a loss that repairs keep up with, or a burst that one report tells of.
    bench.run(600_000, lossy(0.1));
    for _ in 0..100 {
        bench.run(500, lossy(0.9));
        bench.run(5_000, GOOD);
    }
    assert_eq!(bench.take(), []);
}

/// The worst time from the onset to the decision, over all phases of the reports against it. Reports come every `every` milliseconds and
/// tell what the last second was like, as shares of it.
fn worst_delay(every: u64, reason: ReasonCode, view: impl Fn(f64) -> ServerView) -> u64 {
    let delays = (0..every / 100).map(|phase| {
        let mut bench = Bench::vip();
        bench.run_every(20_000 + phase * 100, every, |_| GOOD.into());
        let onset = bench.millis;
        // The reports keep their rhythm, of which the phase has passed.
        bench.run_every(every - phase * 100, every.max(60_000), |_| Observation::default());
        bench.run_every(10_000, every, |now| {
            #[expect(clippy::cast_precision_loss, reason = "a second")]
            let share = (now - onset).min(1_000) as f64 / 1_000.0;
            view(share).into()
        });
        assert_eq!(bench.told.len(), 1, "{:?}", bench.told);
        assert_eq!((bench.told[0].1, bench.told[0].2), (Path::Hls, reason));
        bench.told[0].0 - onset
    });
    delays.max().unwrap()
}

#[test]
fn a_line_that_loses_thirty_percent_is_left_within_three_seconds() {
    for every in [250, 500, 1_000] {
        let worst = worst_delay(every, ReasonCode::Loss, |share| lossy(0.3 * share));
        println!("30 % loss, a report every {every} ms: decided {worst} ms after the onset at the latest");
        assert!(worst <= 3_000, "{worst} ms");
    }
}

#[test]
fn a_line_below_the_lowest_layer_is_left_within_three_seconds() {
    let slow = |share: f64| ServerView { estimate_bps: Some((5.0 - 4.5 * share) * MBIT), ..GOOD };
    for every in [250, 500, 1_000] {
        let worst = worst_delay(every, ReasonCode::RateBelowLowestLayer, slow);
        println!(
            "rate below the lowest layer, a report every {every} ms: decided {worst} ms after the onset"
        );
        assert!(worst <= 3_000, "{worst} ms");
    }
}

#[test]
fn who_is_blocked_at_connect_is_on_hls_within_two_seconds() {
    let checking = ServerView { ice: Some(IceState::Checking), ..ServerView::default() };
    let mut bench = Bench::vip();
    bench.run(10_000, checking);
    let (at, path, reason) = bench.take()[0];
    println!("UDP blocked at connect: decided after {at} ms");
    assert!(at <= 2_000 && path == Path::Hls && reason == ReasonCode::UdpBlocked);
    // A player that knows is believed at once, unless the server knows better.
    let blocked = PlayerReport { udp_blocked: Some(true), ..PlayerReport::default() };
    let mut bench = Bench::vip();
    bench.see(Observation { server: Some(checking), player: Some(blocked) });
    bench.tick();
    assert_eq!(bench.take(), [(0, Path::Hls, ReasonCode::UdpBlocked)]);
    let mut bench = Bench::vip();
    bench.run_every(60_000, 500, |_| Observation { server: Some(GOOD), player: Some(blocked) });
    assert_eq!(bench.take(), []);
}

#[test]
fn a_connection_that_breaks_is_left_within_two_seconds_and_one_that_only_hiccups_is_not() {
    let broken = |ice| ServerView { ice: Some(ice), ..ServerView::default() };
    let mut bench = Bench::vip();
    bench.run(10_000, GOOD);
    // The SFU has heard nothing for a second, and says so.
    bench.run(1_000, ServerView::default());
    bench.run(5_000, broken(IceState::Disconnected));
    let (at, _, reason) = bench.take()[0];
    println!("UDP blocked in mid-stream, noticed after 1,000 ms: decided after {} ms", at - 10_000);
    assert!(at - 10_000 <= 2_000 && reason == ReasonCode::ConnectionLost);

    let mut bench = Bench::vip();
    bench.run(10_000, GOOD);
    bench.run(500, broken(IceState::Disconnected));
    bench.run(10_000, GOOD);
    assert_eq!(bench.take(), []);
    bench.see(broken(IceState::Failed));
    bench.tick();
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::ConnectionLost));
}

#[test]
fn each_signal_moves_a_viewer_for_its_own_reason_and_carries_its_values() {
    let cases = [
        (ServerView { round_trip_ms: Some(1_500.0), ..GOOD }, ReasonCode::RoundTrip, Signal::RoundTrip),
        (ServerView { jitter_ms: Some(300.0), ..GOOD }, ReasonCode::Jitter, Signal::Jitter),
        (
            ServerView { loss_ratio: Some(0.1), nack_recovery: Some(0.3), ..GOOD },
            ReasonCode::LossUnrepaired,
            Signal::Unrepaired,
        ),
        // Of several the gravest.
        (
            ServerView { estimate_bps: Some(0.4 * MBIT), jitter_ms: Some(300.0), ..lossy(0.5) },
            ReasonCode::RateBelowLowestLayer,
            Signal::Rate,
        ),
    ];
    for (view, reason, signal) in cases {
        let mut bench = Bench::vip();
        bench.run(5_000, GOOD);
        bench.run(5_000, view);
        assert_eq!(bench.take(), [(6_000, Path::Hls, reason)]);
        let Evidence {
            signal: seen, measured, bad_for_ms, held_for_ms, failed_returns, returns_left, ..
        } = bench.viewer.current().evidence;
        assert_eq!((seen, bad_for_ms), (Some(signal), 1_000));
        assert_eq!((measured.loss_ratio, measured.jitter_ms), (view.loss_ratio, view.jitter_ms));
        assert_eq!(measured.estimate_bps, view.estimate_bps);
        assert_eq!((held_for_ms, failed_returns, returns_left), (15_000, 0, 5));
    }
}

fn frozen(ratio: f64) -> PlayerReport {
    PlayerReport { frozen_ratio: Some(ratio), ..PlayerReport::default() }
}

#[test]
fn pictures_that_stand_still_move_a_viewer_but_not_at_the_beginning() {
    let stands = |ratio| move |_| Observation { server: Some(GOOD), player: Some(frozen(ratio)) };
    let mut bench = Bench::vip();
    bench.run_every(2_900, 500, stands(1.0));
    bench.run_every(10_000, 500, stands(0.0));
    assert_eq!(bench.take(), []);
    bench.run_every(10_000, 1_000, stands(0.5));
    assert_eq!(bench.take(), [(15_900, Path::Hls, ReasonCode::Freezes)]);
}

#[test]
fn a_good_line_brings_a_viewer_back_after_the_hold_and_not_before() {
    let mut bench = Bench::vip();
    bench.run(5_000, GOOD);
    bench.run(3_000, lossy(0.3));
    assert_eq!(bench.take(), [(6_000, Path::Hls, ReasonCode::Loss)]);
    assert!(!bench.viewer.wants_probe(), "too early to measure");
    bench.run(5_000, lossy(0.02));
    assert!(bench.viewer.wants_probe());
    bench.run(60_000, lossy(0.02));
    assert_eq!(bench.take(), [(21_000, Path::Realtime, ReasonCode::Returned)]);
}

#[test]
fn good_for_long_enough_means_without_a_break() {
    let mut bench = Bench::vip();
    bench.run(5_000, lossy(0.3));
    bench.take();
    // Good, and every six seconds neither good nor bad.
    for _ in 0..10 {
        bench.run(5_500, GOOD);
        bench.run(500, lossy(0.08));
    }
    // Reports that do not come are a break, too.
    for _ in 0..5 {
        bench.run(5_500, GOOD);
        bench.silence(3_500);
    }
    assert_eq!(bench.take(), []);
    bench.run(8_500, GOOD);
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::Returned));
}

#[test]
fn what_drove_a_viewer_away_has_to_be_measured_before_it_returns() {
    let mut bench = Bench::vip();
    bench.run(5_000, ServerView { round_trip_ms: Some(1_500.0), ..GOOD });
    assert_eq!(bench.take().len(), 1);
    bench.run(60_000, ServerView { round_trip_ms: None, ..GOOD });
    // Just short enough is not good.
    bench.run(30_000, ServerView { round_trip_ms: Some(800.0), ..GOOD });
    assert_eq!(bench.take(), []);
    bench.run(9_000, GOOD);
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::Returned));
}

#[test]
fn a_line_that_was_too_slow_is_good_again_when_it_takes_the_media() {
    let mut bench = Bench::vip();
    bench.run(5_000, ServerView { estimate_bps: Some(MBIT / 2.0), ..GOOD });
    assert_eq!(bench.take()[0].2, ReasonCode::RateBelowLowestLayer);
    // Room to spare is wanted: just enough is not good.
    bench.run(30_000, ServerView { estimate_bps: Some(1.1 * MBIT), ..GOOD });
    assert_eq!(bench.take(), []);
    // It loses nothing any more, so nobody knows how much more it could take.
    bench.run(12_000, ServerView { estimate_bps: None, ..GOOD });
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::Returned));
}

#[test]
fn a_session_that_is_closed_on_a_bad_line_is_not_waited_for() {
    let closed = ServerView { ice: Some(IceState::Closed), ..ServerView::default() };
    let mut bench = Bench::vip();
    bench.run(10_000, GOOD);
    // One report is no cause, but a player that gives up beside it knows why.
    bench.see(lossy(0.4));
    bench.silence(500);
    assert_eq!(bench.take(), []);
    bench.see(closed);
    bench.tick();
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::Loss));

    let mut bench = Bench::vip();
    bench.run(10_000, GOOD);
    bench.see(closed);
    bench.silence(1_500);
    assert_eq!(bench.take(), [], "another may begin");
}

#[test]
fn a_line_of_which_nothing_is_known_is_tried_ever_more_rarely() {
    let checking = ServerView { ice: Some(IceState::Checking), ..ServerView::default() };
    let mut bench = Bench::vip();
    let mut tries = Vec::new();
    for _ in 0..4 {
        bench.run(2_000, checking);
        let (left, _, reason) = bench.take()[0];
        assert_eq!(reason, ReasonCode::UdpBlocked);
        while bench.told.is_empty() {
            bench.silence(100);
        }
        let (back, _, reason) = bench.take()[0];
        assert_eq!(reason, ReasonCode::Trial);
        tries.push((back - left) / 1_000);
    }
    assert_eq!(tries, [120, 360, 600, 600]);
}

#[test]
fn one_that_has_been_heard_to_be_bad_is_not_tried() {
    let mut bench = Bench::vip();
    bench.run(3_600_000, lossy(0.3));
    assert_eq!(bench.take().len(), 1);
    // Neither good nor bad is not enough to return, and enough to try.
    bench.run(10_000, lossy(0.08));
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::Trial));
}

#[test]
fn five_seconds_good_and_five_bad_are_four_switches_in_five_minutes_at_most() {
    for probed in [true, false] {
        let mut bench = Bench::vip();
        for _ in 0..30 {
            for view in [GOOD, lossy(0.4)] {
                bench.run_every(5_000, 500, |_| {
                    // Without a probe nothing is known of the line of a viewer that is on HLS.
                    Observation::from(view)
                });
                if !probed && bench.viewer.current().path == Path::Hls {
                    break;
                }
            }
            if !probed && bench.viewer.current().path == Path::Hls {
                bench.silence(5_000);
            }
        }
        println!("flapping, probed {probed}: {} switches in {} s", bench.switches(), bench.millis / 1_000);
        assert!(bench.millis >= 300_000 && bench.switches() <= 4, "{:?}", bench.told);
    }
}

#[test]
fn holds_grow_with_returns_that_do_not_last_and_shrink_with_one_that_does() {
    let mut bench = Bench::vip();
    let mut holds = Vec::new();
    let mut fail_after = |bench: &mut Bench, good: u64| {
        bench.run(good, GOOD);
        while bench.viewer.current().path == Path::Realtime {
            bench.run(500, lossy(0.5));
        }
        let left = bench.told.last().unwrap().0;
        while bench.viewer.current().path == Path::Hls {
            bench.run(500, GOOD);
        }
        holds.push((bench.told.last().unwrap().0 - left) / 1_000);
    };
    for good in [10_000, 10_000, 10_000, 10_000, 61_000, 10_000] {
        fail_after(&mut bench, good);
    }
    // The sixth has to wait for the budget: the first return of five was 900 s before.
    assert_eq!(holds[..5], [15, 45, 135, 405, 15]);
    let first = bench.told[1].0;
    assert_eq!((bench.told.last().unwrap().0 - first) / 1_000, 900);
    assert!(bench.told.windows(2).all(|pair| pair[0].1 != pair[1].1));
}

#[test]
fn a_feed_that_lacks_a_path_keeps_its_viewers_on_the_other() {
    let no_hls = FeedState { hls: false, ..BOTH };
    let mut bench = Bench::new(Tier::Vip, no_hls, Capacity::Granted);
    bench.run(3_000, GOOD);
    assert_eq!(bench.take(), []);
    bench.run(20_000, lossy(0.5));
    assert_eq!(bench.take(), [(4_000, Path::Realtime, ReasonCode::FeedWithoutHls)]);
    bench.run(3_000, GOOD);
    assert_eq!(bench.take()[0].2, ReasonCode::Recovered);
    // Once there is HLS, and has been for a while, it is used.
    bench.run(5_000, lossy(0.5));
    bench.viewer.set_feed(bench.now(), BOTH);
    bench.take();
    let came = bench.millis;
    bench.run(5_000, lossy(0.5));
    let last = *bench.take().last().unwrap();
    assert_eq!((last.0 - came, last.1, last.2), (3_000, Path::Hls, ReasonCode::Loss));
    // And when it goes, the realtime path is better than nothing.
    bench.viewer.set_feed(bench.now(), no_hls);
    bench.tick();
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::FeedWithoutHls));

    let mut bench = Bench::new(Tier::Vip, FeedState { realtime: false, ..BOTH }, Capacity::Granted);
    bench.run(60_000, GOOD);
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::FeedWithoutRealtime));
    bench.viewer.set_feed(bench.now(), BOTH);
    bench.run(4_000, GOOD);
    assert_eq!(bench.take(), [(63_000, Path::Realtime, ReasonCode::Available)]);
    bench.viewer.set_feed(bench.now(), FeedState { realtime: false, hls: false, live: true });
    bench.run(60_000, lossy(0.9));
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::FeedWithoutPaths));
}

#[test]
fn while_nobody_publishes_nothing_is_concluded_from_media() {
    let away = FeedState { live: false, ..BOTH };
    let nothing = ServerView { loss_ratio: Some(1.0), estimate_bps: Some(0.0), ..GOOD };
    let mut bench = Bench::vip();
    bench.run(10_000, GOOD);
    bench.viewer.set_feed(bench.now(), away);
    bench.run_every(60_000, 500, |_| Observation { server: Some(nothing), player: Some(frozen(1.0)) });
    assert_eq!(bench.take(), [(10_000, Path::Realtime, ReasonCode::PublisherAway)]);
    bench.viewer.set_feed(bench.now(), BOTH);
    // The player's first report is still about the time before.
    bench.run_every(1_000, 1_000, |_| Observation { server: Some(GOOD), player: Some(frozen(1.0)) });
    bench.run(10_000, GOOD);
    assert_eq!(bench.take(), [(70_000, Path::Realtime, ReasonCode::Entitled)]);
    // Who is on HLS does not return to a feed that nobody publishes.
    bench.run(3_000, lossy(0.5));
    bench.viewer.set_feed(bench.now(), away);
    bench.run(600_000, GOOD);
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::PublisherAway));
    bench.viewer.set_feed(bench.now(), BOTH);
    bench.run(9_000, GOOD);
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::Returned));
}

#[test]
fn room_matters_to_who_is_not_on_the_realtime_path_and_drops_nobody() {
    let full = Capacity::Refused(Shortage::Bitrate);
    let mut bench = Bench::new(Tier::Vip, BOTH, full);
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::OverBitrate));
    assert!(bench.viewer.wants_slot());
    bench.run(600_000, GOOD);
    bench.capacity = Some(Capacity::Granted);
    bench.run(1_000, GOOD);
    bench.capacity = Some(full);
    bench.run(600_000, GOOD);
    assert_eq!(bench.take(), [(600_000, Path::Realtime, ReasonCode::Available)]);
    // It leaves for its line, and is told that it waits for room once that is good.
    bench.run(2_000, lossy(0.5));
    assert!(!bench.viewer.wants_slot());
    bench.run(60_000, GOOD);
    let reasons: Vec<ReasonCode> = bench.take().iter().map(|(_, _, reason)| *reason).collect();
    assert_eq!(reasons, [ReasonCode::Loss, ReasonCode::OverBitrate]);
    assert!(bench.viewer.wants_slot());
    bench.capacity = Some(Capacity::Granted);
    bench.tick();
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::Returned));
}

#[test]
fn a_lower_layer_comes_before_hls_where_it_would_help() {
    let layers = |view: ServerView, below| ServerView { lower_layers: Some(below), ..view };
    let mut bench = Bench::vip();
    bench.run(5_000, layers(GOOD, 1));
    bench.run(1_100, layers(lossy(0.2), 1));
    assert_eq!(bench.take(), [(6_000, Path::Realtime, ReasonCode::Loss)]);
    assert_eq!(bench.viewer.current().layer_cap, 1);
    // Good for long enough: all layers again, and soon after that bad: the next raise takes longer.
    bench.run(15_000, layers(GOOD, 0));
    assert_eq!(bench.take(), [(16_100, Path::Realtime, ReasonCode::Recovered)]);
    assert_eq!(bench.viewer.current().layer_cap, 0);
    bench.run(2_000, layers(lossy(0.2), 1));
    bench.run(60_000, layers(GOOD, 0));
    let changes: Vec<u64> = bench.take().iter().map(|(at, ..)| *at).collect();
    assert_eq!(changes, [22_100, 53_100]);
    // Where nothing is below, HLS.
    bench.run(4_000, layers(lossy(0.2), 0));
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::Loss));
    // Where as much is lost of less, or the lowest is too much, no time is lost with it.
    for view in [lossy(0.3), ServerView { estimate_bps: Some(0.0), ..GOOD }] {
        let mut bench = Bench::vip();
        bench.run(3_000, layers(view, 2));
        assert_eq!(bench.take()[0].1, Path::Hls);
    }
}

#[test]
fn reports_that_cannot_be_true_move_nobody_and_are_counted() {
    let lies = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.001, 1e300];
    let mut bench = Bench::vip();
    bench.run(5_000, GOOD);
    for lie in lies {
        let all = Some(lie);
        let server = ServerView {
            ice: Some(IceState::Connected),
            loss_ratio: all,
            nack_recovery: all,
            round_trip_ms: all,
            jitter_ms: all,
            estimate_bps: all,
            lowest_layer_bps: all,
            lower_layers: Some(u8::MAX),
        };
        let player = PlayerReport {
            frozen_ratio: all,
            loss_ratio: all,
            round_trip_ms: all,
            jitter_ms: all,
            udp_blocked: Some(true),
        };
        bench.run_every(20_000, 500, |_| Observation { server: Some(server), player: Some(player) });
    }
    assert_eq!(bench.take(), []);
    assert_eq!(bench.viewer.refused_values(), 6 * 40 * 10);
}

#[test]
fn what_the_server_has_measured_is_not_overruled_and_a_liar_moves_only_itself_and_rarely() {
    let player = PlayerReport { loss_ratio: Some(1.0), jitter_ms: Some(5_000.0), ..PlayerReport::default() };
    let mut bench = Bench::vip();
    bench.run_every(60_000, 500, |_| Observation { server: Some(GOOD), player: Some(player) });
    assert_eq!(bench.take(), []);
    // Only the player can know whether its pictures move: it is believed, and held to the same limits.
    bench.run_every(3_600_000, 200, |_| Observation { server: Some(GOOD), player: Some(frozen(1.0)) });
    let path = |wanted| bench.told.iter().filter(move |(_, path, _)| *path == wanted).count();
    let (left, back) = (path(Path::Hls), path(Path::Realtime));
    assert!((left, back) == (10, 9) || left + back < 20, "{left} {back}");
    // Where the server knows nothing, the player's word is all there is.
    let unknown = ServerView { ice: Some(IceState::Connected), ..ServerView::default() };
    let mut bench = Bench::vip();
    bench.run_every(5_000, 500, |_| Observation { server: Some(unknown), player: Some(player) });
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::Loss));
}

#[test]
fn who_never_reports_is_left_where_it_is_and_who_never_comes_is_served_over_hls() {
    let connected = ServerView { ice: Some(IceState::Connected), ..ServerView::default() };
    let mut bench = Bench::vip();
    bench.see(connected);
    bench.silence(3_600_000);
    assert_eq!(bench.take(), []);
    let mut bench = Bench::vip();
    bench.silence(20_000);
    assert_eq!(bench.take(), [(10_000, Path::Hls, ReasonCode::NeverConnected)]);
}

#[test]
fn a_time_that_goes_back_counts_as_the_latest() {
    let mut bench = Bench::vip();
    bench.run(60_000, GOOD);
    bench.millis = 1_000;
    bench.run(5_000, lossy(0.5));
    assert_eq!(bench.take(), [], "no time has passed");
    bench.millis = 60_000;
    bench.run(5_000, lossy(0.5));
    assert_eq!(bench.take().len(), 1);
}

#[test]
fn a_slot_that_was_given_back_is_not_taken_for_granted() {
    let mut bench = Bench::vip();
    bench.run(2_000, GOOD);
    bench.run(2_000, lossy(0.5));
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::Loss));
    // Nobody answers from here on.
    bench.capacity = None;
    bench.run(60_000, GOOD);
    assert_eq!(bench.holds(), (Path::Hls, ReasonCode::Loss));
    assert!(bench.viewer.wants_slot());
    bench.capacity = Some(Capacity::Granted);
    bench.tick();
    assert_eq!(bench.holds(), (Path::Realtime, ReasonCode::Returned));
}

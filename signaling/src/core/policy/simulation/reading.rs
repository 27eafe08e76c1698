//! What a report says, by the rules: the model's own reading, which shares nothing with the policy's.

use std::time::Duration;

use super::super::{Band, IceState, PlayerReport, PolicySettings, ReasonCode, ServerView};

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

pub(super) fn valid(value: Option<f64>, most: f64) -> Option<f64> {
    value.filter(|value| *value >= 0.0 && *value <= most)
}

/// The reasons for which a view is bad, and whether all its values are there and good.
pub(super) fn grade(settings: &PolicySettings, view: &ServerView) -> (Vec<ReasonCode>, bool, bool) {
    let loss = valid(view.loss_ratio, 1.0);
    let repaired = valid(view.nack_recovery, 1.0);
    let round_trip = valid(view.round_trip_ms, 60_000.0).map(|ms| ms / 1_000.0);
    let jitter = valid(view.jitter_ms, 60_000.0).map(|ms| ms / 1_000.0);
    let lowest = valid(view.lowest_layer_bps, 1e12);
    let rate = match (valid(view.estimate_bps, 1e12), lowest) {
        (Some(estimate), Some(lowest)) if lowest > 0.0 => Some(estimate / lowest),
        _ => None,
    };
    let lost_for_good = loss.zip(repaired).map(|(loss, repaired)| loss * (1.0 - repaired));
    let more_is_worse = |value: Option<f64>, band: Band| value.map(|v| (v >= band.bad, v <= band.good));
    let values = [
        (ReasonCode::Loss, more_is_worse(loss, settings.loss)),
        (ReasonCode::LossUnrepaired, more_is_worse(lost_for_good, settings.unrepaired)),
        (ReasonCode::RoundTrip, more_is_worse(round_trip, settings.round_trip)),
        (ReasonCode::Jitter, more_is_worse(jitter, settings.jitter)),
        (
            ReasonCode::RateBelowLowestLayer,
            rate.map(|rate| (rate < settings.rate.bad, rate >= settings.rate.good)),
        ),
    ];
    let bad = values.iter().filter(|(_, value)| value.is_some_and(|(bad, _)| bad));
    let bad = bad.map(|(reason, _)| *reason).collect();
    let connected = view.ice == Some(IceState::Connected);
    let all_good = connected && values.iter().all(|(_, value)| value.is_some_and(|(_, good)| good));
    let none_worse = values.iter().all(|(_, value)| value.is_none_or(|(_, good)| good));
    (bad, all_good, none_worse)
}

pub(super) fn player_grade(settings: &PolicySettings, report: &PlayerReport) -> Vec<ReasonCode> {
    let view = ServerView {
        loss_ratio: report.loss_ratio,
        round_trip_ms: report.round_trip_ms,
        jitter_ms: report.jitter_ms,
        ..ServerView::default()
    };
    grade(settings, &view).0
}

/// Whether marks, of which `true` is bad and `false` good, end with bad ones that have lasted for so long, two at least, without a
/// longer silence than `fresh`.
pub(super) fn lasts(now: u64, marks: impl Iterator<Item = (u64, bool)>, long: u64, fresh: u64) -> bool {
    let mut streak: Option<(u64, u64, u32)> = None;
    for (at, bad) in marks {
        streak = match streak {
            _ if !bad => None,
            Some((first, last, count)) if at - last <= fresh => Some((first, at, count + 1)),
            _ => Some((at, at, 1)),
        };
    }
    streak.is_some_and(|(first, last, count)| count >= 2 && now - first >= long && now - last <= fresh)
}

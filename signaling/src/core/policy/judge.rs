//! What measured values mean: good, bad, or neither; and for how long they have.

use std::time::{Duration, Instant};

use super::decision::Signal;
use super::observation::Measured;
use super::settings::{Band, PolicySettings};

/// What a value says of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Good,
    Fair,
    Bad,
}

/// Of a value where more is worse.
pub(super) fn level(value: f64, band: Band) -> Level {
    if value >= band.bad {
        Level::Bad
    } else if value <= band.good {
        Level::Good
    } else {
        Level::Fair
    }
}

fn level_of_rate(value: f64, band: Band) -> Level {
    if value < band.bad {
        Level::Bad
    } else if value >= band.good {
        Level::Good
    } else {
        Level::Fair
    }
}

/// Every signal of the line that these values hold, the gravest kind first.
pub(super) fn signals<'a>(
    values: &'a Measured,
    settings: &'a PolicySettings,
) -> impl Iterator<Item = (Signal, Level)> + 'a {
    let rate = values.estimate_bps.zip(values.lowest_layer_bps).filter(|(_, lowest)| *lowest > 0.0);
    let unrepaired = values.loss_ratio.zip(values.nack_recovery);
    let signals = [
        (Signal::Rate, rate.map(|(estimate, lowest)| level_of_rate(estimate / lowest, settings.rate))),
        (Signal::Loss, values.loss_ratio.map(|loss| level(loss, settings.loss))),
        (
            Signal::Unrepaired,
            unrepaired.map(|(loss, repaired)| level(loss * (1.0 - repaired), settings.unrepaired)),
        ),
        (Signal::RoundTrip, values.round_trip_ms.map(|ms| level(ms / 1_000.0, settings.round_trip))),
        (Signal::Jitter, values.jitter_ms.map(|ms| level(ms / 1_000.0, settings.jitter))),
    ];
    signals.into_iter().filter_map(|(signal, level)| Some((signal, level?)))
}

/// The worst that these values say, and the signal that says it; none where they say nothing.
pub(super) fn worst(values: &Measured, settings: &PolicySettings) -> Option<(Signal, Level)> {
    // The first of equals: the gravest kind.
    signals(values, settings).reduce(|worst, next| if next.1 > worst.1 { next } else { worst })
}

/// How long something has been bad. Two reports are needed: one may be a burst that is over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BadFor {
    streak: Option<Streak>,
}

#[derive(Debug, Clone, Copy)]
struct Streak {
    since: Instant,
    last: Instant,
    reports: u32,
    signal: Signal,
}

impl BadFor {
    pub(super) fn bad(&mut self, now: Instant, signal: Signal, fresh_for: Duration) {
        let streak = self.streak.filter(|streak| now.saturating_duration_since(streak.last) <= fresh_for);
        let (since, reports) = streak.map_or((now, 0), |streak| (streak.since, streak.reports));
        self.streak = Some(Streak { since, last: now, reports: reports.saturating_add(1), signal });
    }

    pub(super) const fn clear(&mut self) {
        self.streak = None;
    }

    /// The signal, where it has been bad for so long.
    pub(super) fn reached(&self, now: Instant, bad_for: Duration, fresh_for: Duration) -> Option<Signal> {
        let long = self.lasted(now) >= bad_for && self.streak.is_some_and(|streak| streak.reports >= 2);
        self.newest(now, fresh_for).filter(|_| long)
    }

    /// The signal, where the last word was bad.
    pub(super) fn newest(&self, now: Instant, fresh_for: Duration) -> Option<Signal> {
        let streak = self.streak.filter(|streak| now.saturating_duration_since(streak.last) <= fresh_for);
        streak.map(|streak| streak.signal)
    }

    /// For how long it has been bad.
    pub(super) fn lasted(&self, now: Instant) -> Duration {
        self.streak.map_or(Duration::ZERO, |streak| now.saturating_duration_since(streak.since))
    }
}

/// How long the line has been good, as reports without a break say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GoodFor {
    streak: Option<(Instant, Instant)>,
}

impl GoodFor {
    pub(super) fn good(&mut self, now: Instant, fresh_for: Duration) {
        let streak = self.streak.filter(|(_, last)| now.saturating_duration_since(*last) <= fresh_for);
        self.streak = Some((streak.map_or(now, |(since, _)| since), now));
    }

    pub(super) const fn clear(&mut self) {
        self.streak = None;
    }

    /// From the first report to the last: silence behind it does not count. Zero where it is not good, or nothing has said so for
    /// too long.
    pub(super) fn lasted(&self, now: Instant, fresh_for: Duration) -> Duration {
        let streak = self.streak.filter(|(_, last)| now.saturating_duration_since(*last) <= fresh_for);
        streak.map_or(Duration::ZERO, |(since, last)| last.saturating_duration_since(since))
    }
}

//! What the SFU says of a viewer's session, as the policy takes it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bicast_shared::status::{ViewerState, ViewerStatus};

use crate::core::policy::{IceState, ServerView};

/// Browsers send receiver reports about each second and checks every two to five: after this long without either, nothing comes through.
const SILENT_MS: u64 = 4_000;

/// What was told of a session last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// The session's name: another one begins anew.
    session: String,
    /// Receiver reports that have been told.
    reports: u64,
    /// When it was counted last what was asked for again, and the counts.
    counted: (Instant, Counts),
    /// The share that this came to last.
    asked_for: Option<f64>,
    /// The share of what was sent then that was no repair.
    originals: f64,
    /// The shortest round trip so far, in milliseconds.
    least_ms: Option<f64>,
}

/// Packets of a session, since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    sent: u64,
    repairs: u64,
    asked: u64,
    missing: u64,
    late: u64,
}

impl Counts {
    const fn of(status: &ViewerStatus) -> Self {
        let ViewerStatus { packets, retransmitted, nacks, missing, late, .. } = status;
        Self { sent: *packets, repairs: *retransmitted, asked: *nacks, missing: *missing, late: *late }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(before.sent),
            repairs: self.repairs.saturating_sub(before.repairs),
            asked: self.asked.saturating_sub(before.asked),
            missing: self.missing.saturating_sub(before.missing),
            late: self.late.saturating_sub(before.late),
        }
    }
}

/// What was asked for again is counted for this long, as receiver reports count.
const COUNTED: Duration = Duration::from_secs(1);
/// A line that loses so much, and on which packets wait so much longer than they ever had to, is full: what comes through then is
/// what it carries. One that loses at random delays nothing.
const FULL_LOSS: f64 = 0.05;
const FULL_QUEUE_MS: f64 = 60.0;
/// Of fewer packets a share says nothing.
const ENOUGH: u64 = 30;

impl Seen {
    /// What is new about a session. What its last report said is told once: the policy counts how often it hears of something.
    ///
    /// Where much is lost, so are the reports. What the viewer asks for again tells of the same, and most of it comes through.
    pub(super) fn view(
        seen: &mut Option<Self>,
        now: Instant,
        status: &ViewerStatus,
        lowest_bps: Option<f64>,
    ) -> ServerView {
        let before = seen.take().filter(|seen| seen.session == status.id);
        let is_new = status.reports > before.as_ref().map_or(0, |seen| seen.reports);
        let begins = (now, Counts::of(status));
        let least_ms = before.as_ref().and_then(|seen| seen.least_ms);
        let (counted, last, originals) =
            before.map_or((begins, None, 1.0), |seen| (seen.counted, seen.asked_for, seen.originals));
        let grown = begins.1.since(counted.1);
        let due = now.saturating_duration_since(counted.0) >= COUNTED;
        let fresh = (due && grown.sent >= ENOUGH && grown.asked > 0).then(|| lost(grown.asked, grown.sent));
        let nack_recovery = (due && grown.missing > 0).then(|| share_left(grown.missing, grown.late));
        let originals = if due { share_left(grown.sent, grown.repairs) } else { originals };
        let asked_for = if due { fresh } else { last };
        let counted = if due { begins } else { counted };
        let round_trip_ms = status.round_trip_ms.filter(|_| is_new);
        let waits = round_trip_ms.zip(least_ms).is_some_and(|(ms, least)| ms - least >= FULL_QUEUE_MS);
        let least_ms = [least_ms, round_trip_ms].into_iter().flatten().reduce(f64::min);
        let (session, reports) = (status.id.clone(), status.reports);
        *seen = Some(Self { session, reports, counted, asked_for, originals, least_ms });
        // What was repaired in time is not lost in a report: the higher of both is what the line loses.
        let loss_ratio = if is_new {
            Some(asked_for.map_or(status.loss_ratio, |asked_for| asked_for.max(status.loss_ratio)))
        } else {
            fresh
        };
        // Of the repairs nobody knows how many come: what is new in the media is counted, which is a little less than the line carries.
        let full = waits && loss_ratio.is_some_and(|loss| loss >= FULL_LOSS);
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let estimate_bps = full.then_some(status.bitrate_bps as f64 * originals * (1.0 - status.loss_ratio));
        ServerView {
            ice: Some(ice(status)),
            loss_ratio,
            nack_recovery,
            estimate_bps,
            jitter_ms: is_new.then_some(status.jitter_ms),
            round_trip_ms,
            lowest_layer_bps: lowest_bps,
            ..ServerView::default()
        }
    }

    /// Whether this was told of the session with that name.
    pub(super) fn is_of(&self, session: &str) -> bool {
        self.session == session
    }

    /// There was a session, and there is none any more.
    pub(super) fn closed() -> ServerView {
        ServerView { ice: Some(IceState::Closed), ..ServerView::default() }
    }
}

/// The share of packets lost, by how many were asked for again. Each is asked for until it is there, which takes 1 / (1 - p)^2 times where
/// p is lost each way: r = p / (1 - p)^2, solved for p.
fn lost(asked: u64, sent: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "packets of a second")]
    let ratio = asked as f64 / sent as f64;
    ((2.0 * ratio + 1.0) - (4.0 * ratio + 1.0).sqrt()) / (2.0 * ratio)
}

/// The share of `all` that is left without `some`, which may be of packets that were counted a second before.
fn share_left(all: u64, some: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "packets of a second")]
    let share = some as f64 / all.max(1) as f64;
    (1.0 - share).max(0.0)
}

fn ice(status: &ViewerStatus) -> IceState {
    match status.state {
        ViewerState::Connecting if status.checked => IceState::Checking,
        ViewerState::Connecting => IceState::New,
        _ if status.silent_ms >= SILENT_MS => IceState::Disconnected,
        ViewerState::Waiting | ViewerState::CatchingUp | ViewerState::Live => IceState::Connected,
    }
}

/// Of each viewer that has joined the session that counts: a connected one before one that is not, the newest of those.
pub(super) fn best_sessions(statuses: &[ViewerStatus]) -> BTreeMap<&str, &ViewerStatus> {
    let mut best: BTreeMap<&str, &ViewerStatus> = BTreeMap::new();
    let rank =
        |status: &ViewerStatus| (ice(status) == IceState::Connected, std::cmp::Reverse(millis(status)));
    for status in statuses {
        let Some(viewer) = status.viewer.as_deref() else { continue };
        best.entry(viewer)
            .and_modify(|best| {
                if rank(status) > rank(best) {
                    *best = status;
                }
            })
            .or_insert(status);
    }
    best
}

fn millis(status: &ViewerStatus) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time since a start")]
    let millis = (status.seconds.max(0.0) * 1_000.0) as u64;
    millis
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::viewers::tests::status;

    #[test]
    fn what_is_asked_for_again_tells_of_losses_that_no_report_tells_of() {
        let start = bicast_shared::clock::now();
        let mut seen = None;
        let mut look = |millis: u64, packets: u64, nacks: u64, reports: u64| {
            let status = ViewerStatus { packets, nacks, reports, loss_ratio: 0.0, ..status("a") };
            Seen::view(&mut seen, start + Duration::from_millis(millis), &status, None).loss_ratio
        };
        assert_eq!(look(0, 1_000, 50, 9), Some(0.0), "what came before is nobody's second");
        assert_eq!(look(500, 1_150, 140, 9), None, "not a second yet");
        // 30 % lost each way: each is asked for 1 / 0.49 times.
        let asked = 50 + 300 * 30 / 49;
        assert!((look(1_000, 1_300, asked, 9).unwrap() - 0.3).abs() < 0.01);
        assert_eq!(look(2_000, 1_600, asked, 9), None, "nothing is asked for: nothing is known");
        assert_eq!(look(3_000, 1_900, asked, 10), Some(0.0), "a report that tells of nothing lost");

        assert_eq!(look(4_000, 1_910, asked + 9, 10), None, "of too few");
        assert!(look(5_000, 2_210, asked + 30, 11).unwrap() < 0.1);
    }

    #[test]
    fn what_is_asked_for_twice_was_not_repaired() {
        let start = bicast_shared::clock::now();
        let mut seen = None;
        let mut look = |millis: u64, missing: u64, late: u64| {
            let status = ViewerStatus { packets: millis, missing, late, ..status("a") };
            Seen::view(&mut seen, start + Duration::from_millis(millis), &status, None).nack_recovery
        };
        assert_eq!(look(0, 50, 50), None, "what came before is nobody's second");
        assert_eq!(look(500, 60, 50), None, "not a second yet");
        assert_eq!(look(1_000, 90, 60), Some(0.75));
        assert_eq!(look(2_000, 90, 70), None, "nothing is missing");
        assert_eq!(look(3_000, 91, 75), Some(0.0), "late ones of the second before");
    }

    #[test]
    fn what_comes_through_a_full_line_is_what_it_carries() {
        let start = bicast_shared::clock::now();
        let mut seen = None;
        let mut look = |reports: u64, round_trip_ms: f64, loss_ratio: f64| {
            let status = ViewerStatus {
                reports,
                loss_ratio,
                packets: reports * 100,
                retransmitted: reports * 20,
                round_trip_ms: Some(round_trip_ms),
                bitrate_bps: 600_000,
                ..status("a")
            };
            Seen::view(&mut seen, start + Duration::from_secs(reports), &status, None).estimate_bps
        };
        assert_eq!(look(1, 40.0, 0.3), None, "how long it takes on an empty line is not known");
        assert_eq!(look(2, 40.0, 0.3), None, "it loses, and nothing waits");
        assert_eq!(look(3, 240.0, 0.01), None, "what waits comes");
        assert_eq!(look(4, 240.0, 0.25), Some(360_000.0), "a fifth of it is repairs");
        assert_eq!(look(4, 240.0, 0.25), None, "told once");
    }

    #[test]
    fn of_two_sessions_the_connected_one_counts_and_then_the_newer() {
        let named = |id: &str, state, seconds| ViewerStatus {
            viewer: Some("anna".into()),
            state,
            seconds,
            ..status(id)
        };
        let all = [
            named("old", ViewerState::Live, 60.0),
            named("begins", ViewerState::Connecting, 1.0),
            named("new", ViewerState::Live, 5.0),
            status("stranger"),
        ];
        let best = best_sessions(&all);
        assert_eq!((best.len(), best["anna"].id.as_str()), (1, "new"));
    }
}

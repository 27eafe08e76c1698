//! What the SFU says of a viewer's session, as the policy takes it.

use std::collections::BTreeMap;

use bicast_shared::status::{ViewerState, ViewerStatus};

use crate::core::policy::{IceState, ServerView};

/// Browsers send receiver reports about each second and checks every two to five: after this long without either, nothing comes through.
const SILENT_MS: u64 = 4_000;

/// What was told of a session last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// The session's name: another one begins anew.
    session: String,
    /// Receiver reports that have been told.
    reports: u64,
}

impl Seen {
    /// What is new about a session. What its last report said is told once: the policy counts how often it hears of something.
    pub(super) fn view(
        seen: &mut Option<Self>,
        status: &ViewerStatus,
        lowest_bps: Option<f64>,
    ) -> ServerView {
        let before = seen.as_ref().filter(|seen| seen.session == status.id).map_or(0, |seen| seen.reports);
        let is_new = status.reports > before;
        *seen = Some(Self { session: status.id.clone(), reports: status.reports });
        ServerView {
            ice: Some(ice(status)),
            loss_ratio: is_new.then_some(status.loss_ratio),
            jitter_ms: is_new.then_some(status.jitter_ms),
            round_trip_ms: status.round_trip_ms.filter(|_| is_new),
            lowest_layer_bps: lowest_bps,
            ..ServerView::default()
        }
    }

    /// There was a session, and there is none any more.
    pub(super) fn closed() -> ServerView {
        ServerView { ice: Some(IceState::Closed), ..ServerView::default() }
    }
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

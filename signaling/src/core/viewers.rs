//! A feed's viewers as the API shows them: sorted, a page at a time.

use std::time::Instant;

use bicast_shared::id::FeedId;
use bicast_shared::status::ViewerStatus;

use crate::api;
use crate::api::viewers::{Player, Session, Viewer, Viewers, Waiting};
use crate::core::policy::{Path, ReasonCode};
use crate::core::roster::{Entry, ViewerId};

/// Viewers on a page where nothing is said, and at most.
pub(crate) const PAGE: (usize, usize) = (100, 1_000);

/// Which viewers are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    pub(crate) path: Option<Path>,
    pub(crate) tier: Option<api::viewers::Tier>,
    pub(crate) reason: Option<ReasonCode>,
}

impl Filter {
    fn lets_through(&self, viewer: &Viewer) -> bool {
        self.path.is_none_or(|path| viewer.path == path)
            && self.tier.is_none_or(|tier| viewer.tier == Some(tier))
            && self.reason.is_none_or(|reason| {
                viewer.decision.as_ref().is_some_and(|decision| decision.reason == reason)
            })
    }
}

/// At most `limit` of the viewers that the filter lets through, those behind the one called `after`.
pub(crate) fn page(mut all: Vec<Viewer>, filter: Filter, after: Option<&str>, limit: usize) -> Viewers {
    all.retain(|viewer| filter.lets_through(viewer));
    all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let total = all.len();
    let mut rest =
        all.into_iter().skip_while(|viewer| after.is_some_and(|after| viewer.id.as_str() <= after));
    let viewers: Vec<Viewer> = rest.by_ref().take(limit.clamp(1, PAGE.1)).collect();
    let next = rest.next().and(viewers.last()).map(|viewer| viewer.id.clone());
    Viewers { total, viewers, next }
}

/// Gives those who have joined their sessions, and adds the sessions of those who have not.
pub(crate) fn with_sessions(
    feed: &FeedId,
    mut joined: Vec<Viewer>,
    sessions: Vec<ViewerStatus>,
) -> Vec<Viewer> {
    for status in sessions {
        let known = status.viewer.as_deref();
        let known = known.and_then(|name| joined.iter_mut().find(|viewer| viewer.id == name));
        match known {
            Some(viewer) => viewer.session = Some(session(status)),
            None => joined.push(stranger(feed, status)),
        }
    }
    joined
}

/// A viewer that has joined, without its session.
pub(crate) fn joined(now: Instant, id: &ViewerId, entry: &Entry, waiting: Option<Waiting>) -> Viewer {
    Viewer {
        id: id.to_string(),
        feed: entry.feed.to_string(),
        tier: Some(entry.tier.into()),
        path: entry.path(),
        decision: Some(entry.decision()),
        ordered: entry.ordered,
        waiting,
        subject: entry.grant.as_ref().and_then(|grant| grant.viewer.as_deref()).map(str::to_owned),
        agent: entry.agent.clone(),
        joined: Some(entry.joined.rfc3339()),
        channels: entry.channels,
        switches: entry.switches,
        player: entry.report().map(|(at, report)| Player {
            seconds_ago: (now.saturating_duration_since(*at).as_secs_f64() * 10.0).round() / 10.0,
            report: *report,
        }),
        session: None,
    }
}

/// Somebody who watches over WebRTC and has not joined.
fn stranger(feed: &FeedId, status: ViewerStatus) -> Viewer {
    Viewer {
        id: status.id.clone(),
        feed: feed.to_string(),
        tier: None,
        path: Path::Realtime,
        decision: None,
        ordered: None,
        waiting: None,
        subject: None,
        agent: None,
        joined: None,
        channels: 0,
        switches: 0,
        player: None,
        session: Some(session(status)),
    }
}

fn session(status: ViewerStatus) -> Session {
    Session {
        id: status.id,
        state: status.state.into(),
        seconds: thousandths(status.seconds),
        worker: status.worker,
        bitrate_bps: status.bitrate_bps,
        packets: status.packets,
        bytes: status.bytes,
        retransmitted: status.retransmitted,
        nacks: status.nacks,
        keyframe_requests: status.keyframe_requests,
        loss_ratio: thousandths(status.loss_ratio),
        jitter_ms: thousandths(status.jitter_ms),
        round_trip_ms: status.round_trip_ms.map(thousandths),
        playout_delay_ms: status.playout_delay_ms,
        queue: status.queue,
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use bicast_shared::status::ViewerState;

    use super::*;

    pub(crate) fn status(id: &str) -> ViewerStatus {
        ViewerStatus {
            id: id.into(),
            viewer: None,
            state: ViewerState::Live,
            seconds: 61.0,
            worker: 0,
            bitrate_bps: 2_564_000,
            packets: 18_300,
            bytes: 19_500_000,
            retransmitted: 12,
            nacks: 13,
            missing: 12,
            late: 1,
            keyframe_requests: 1,
            loss_ratio: 0.003_9,
            jitter_ms: 1.25,
            round_trip_ms: Some(23.456_7),
            playout_delay_ms: 180,
            queue: 0,
            reports: 60,
            checked: true,
            silent_ms: 250,
        }
    }

    fn strangers(ids: &[&str]) -> Vec<Viewer> {
        let feed = "demo".parse().unwrap();
        with_sessions(&feed, Vec::new(), ids.iter().copied().map(status).collect())
    }

    #[test]
    fn pages_follow_on_each_other_and_end() {
        let all = strangers(&["c", "a", "e", "b", "d"]);
        let page = |after: Option<&str>, limit| page(all.clone(), Filter::default(), after, limit);
        let mut seen = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = page(after.as_deref(), 2);
            assert_eq!(page.total, 5);
            seen.extend(page.viewers.iter().map(|viewer| viewer.id.clone()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
        assert_eq!(page(None, 5).next, None, "nothing behind a full page");
        assert_eq!(page(Some("x"), 0).viewers, []);
        let hls = Filter { path: Some(Path::Hls), ..Filter::default() };
        assert_eq!(super::page(all, hls, None, 9).total, 0, "who has a session is on the realtime path");
    }

    #[test]
    fn numbers_are_rounded_for_people() {
        let session = strangers(&["a"]).remove(0).session.unwrap();
        assert_eq!((session.loss_ratio, session.round_trip_ms), (0.004, Some(23.457)));
    }
}

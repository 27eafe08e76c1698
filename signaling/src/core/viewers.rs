//! A feed's viewers as the API shows them: sorted, a page at a time.

use bicast_shared::status::{ViewerState, ViewerStatus};

use crate::api;

/// Viewers on a page where nothing is said, and at most.
pub(crate) const PAGE: (usize, usize) = (100, 1_000);

/// At most `limit` of the viewers, those behind the one called `after`.
pub(crate) fn page(mut all: Vec<ViewerStatus>, after: Option<&str>, limit: usize) -> api::Viewers {
    all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let total = all.len();
    let mut rest =
        all.into_iter().skip_while(|viewer| after.is_some_and(|after| viewer.id.as_str() <= after));
    let viewers: Vec<api::Viewer> = rest.by_ref().take(limit.clamp(1, PAGE.1)).map(viewer).collect();
    let next = rest.next().and(viewers.last()).map(|viewer| viewer.id.clone());
    api::Viewers { total, viewers, next }
}

fn viewer(status: ViewerStatus) -> api::Viewer {
    api::Viewer {
        id: status.id,
        state: match status.state {
            ViewerState::Connecting => api::ViewerState::Connecting,
            ViewerState::Waiting => api::ViewerState::Waiting,
            ViewerState::CatchingUp => api::ViewerState::CatchingUp,
            ViewerState::Live => api::ViewerState::Live,
        },
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
    use super::*;

    pub(crate) fn status(id: &str) -> ViewerStatus {
        ViewerStatus {
            id: id.into(),
            state: ViewerState::Live,
            seconds: 61.0,
            worker: 0,
            bitrate_bps: 2_564_000,
            packets: 18_300,
            bytes: 19_500_000,
            retransmitted: 12,
            nacks: 13,
            keyframe_requests: 1,
            loss_ratio: 0.003_9,
            jitter_ms: 1.25,
            round_trip_ms: Some(23.456_7),
            playout_delay_ms: 180,
            queue: 0,
        }
    }

    #[test]
    fn pages_follow_on_each_other_and_end() {
        let all: Vec<ViewerStatus> = ["c", "a", "e", "b", "d"].map(status).into();
        let mut seen = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = page(all.clone(), after.as_deref(), 2);
            assert_eq!(page.total, 5);
            seen.extend(page.viewers.iter().map(|viewer| viewer.id.clone()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
        assert_eq!(page(all, None, 5).next, None, "nothing behind a full page");
        assert_eq!(page(Vec::new(), Some("x"), 0).viewers, []);
    }

    #[test]
    fn numbers_are_rounded_for_people() {
        let page = page(vec![status("a")], None, 1);
        assert_eq!((page.viewers[0].loss_ratio, page.viewers[0].round_trip_ms), (0.004, Some(23.457)));
    }
}

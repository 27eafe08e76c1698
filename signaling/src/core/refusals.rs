//! What is told to whom something about a viewer is refused.

use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;

use crate::core::roster::Refused;

/// 404: the feed has no such viewer.
pub(crate) fn unknown_viewer(id: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    Problem::new(
        404,
        "unknown-viewer",
        "Unknown viewer",
        format!("There is no viewer {shown:?} of this feed."),
    )
    .hint("Join with POST /v1/feeds/{feed}/viewers.")
}

/// Why, and what to do.
pub(crate) fn refused(feed: &FeedId, id: &str, why: Refused) -> Problem {
    match why {
        Refused::Full => {
            Problem::new(503, "too-many-viewers", "Too many viewers", "As many viewers have joined as may.")
                .hint("HLS can be watched without joining: /hls/{feed}/multivariant.m3u8.")
        }
        Refused::OfOne(most) => bicast_shared::auth::Refusal::Viewers(most).problem(),
        Refused::Unknown => unknown_viewer(id),
        Refused::Gone(reason) => {
            let detail = format!("This viewer has ended ({}).", reason.name());
            Problem::new(410, "viewer-ended", "The viewer has ended", detail)
                .hint("Join again with POST /v1/feeds/{feed}/viewers.")
                .with("reason", reason.name())
        }
        Refused::Tier => {
            Problem::new(403, "tier", "Not of this tier", "The tier free is served over HLS only.")
                .hint("A token with \"tier\": \"vip\" opens WebRTC.")
        }
        Refused::Feed => {
            let detail = format!("The feed {feed} cannot be watched over that path.");
            Problem::new(409, "path-unavailable", "Path unavailable", detail)
                .hint("GET /v1/feeds/{feed} tells why, under paths.")
                .with("feed", feed.as_str())
        }
        Refused::NoRoom(shortage) => {
            let name = serde_json::to_value(shortage).unwrap_or_default();
            let detail = "There is no room on the realtime path at the moment.";
            Problem::new(503, "no-room", "No room", detail)
                .hint("Watch over HLS; a viewer that has joined is offered a place when there is one.")
                .with("shortage", name)
        }
        Refused::Flood => {
            Problem::new(429, "too-many-reports", "Too many reports", "Ten reports a second are taken.")
                .hint("Report about once a second.")
        }
    }
}

/// 409: the decision is another.
pub(crate) fn served_over_hls(feed: &FeedId, reason: &str) -> Problem {
    let detail = format!("This viewer is served over HLS at the moment ({reason}).");
    Problem::new(409, "served-over-hls", "Served over HLS", detail)
        .hint(
            "Play /hls/{feed}/multivariant.m3u8; the event channel tells when WebRTC is there for it again.",
        )
        .with("feed", feed.as_str())
        .with("reason", reason)
}

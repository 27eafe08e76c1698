//! What the SFU asks before a viewer's session begins.

use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;
use bicast_shared::status::RealtimeDoor;

use super::Desk;
use crate::admission::Cost;
use crate::core::roster::Refused;
use crate::http::viewers::refused;

impl RealtimeDoor for Desk {
    fn may_begin(&self, feed: &FeedId, viewer: Option<&str>) -> Result<(), Box<Problem>> {
        let mut state = self.0.state.lock();
        let answer = match viewer {
            Some(id) => match state.roster.may_begin(feed, id) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    let reason = state.roster.get(feed, id).map(|entry| entry.reason().name());
                    return Err(Box::new(served_over_hls(feed, reason.unwrap_or("unknown"))));
                }
                Err(why) => Err(why),
            },
            None => {
                let cost = self.facts(feed).map_or(Cost::default(), |facts| facts.cost);
                state.roster.room_for_a_stranger(clock::now(), cost).map_err(Refused::NoRoom)
            }
        };
        answer.map_err(|why| Box::new(refused(feed, viewer.unwrap_or_default(), why)))
    }
}

/// 409: the decision is another.
fn served_over_hls(feed: &FeedId, reason: &str) -> Problem {
    let detail = format!("This viewer is served over HLS at the moment ({reason}).");
    Problem::new(409, "served-over-hls", "Served over HLS", detail)
        .hint(
            "Play /hls/{feed}/multivariant.m3u8; the event channel tells when WebRTC is there for it again.",
        )
        .with("feed", feed.as_str())
        .with("reason", reason)
}

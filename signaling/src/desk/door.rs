//! What the SFU asks before a viewer's session begins.

use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;
use bicast_shared::status::RealtimeDoor;

use super::Desk;
use crate::admission::Cost;
use crate::core::refusals::{refused, served_over_hls};
use crate::core::roster::Refused;

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

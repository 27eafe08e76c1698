//! What the SFU asks before a viewer's session begins.

use std::sync::Arc;

use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;
use bicast_shared::status::{Place, RealtimeDoor};
use parking_lot::Mutex;

use super::Desk;
use crate::admission::{Cost, Shortage};
use crate::core::refusals::{refused, served_over_hls};
use crate::core::roster::{Refused, Roster};

/// The sessions of those who have not joined: each has room from its beginning on.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// How many there have been: names the next.
    begun: u64,
    /// Those that are over and still have their room. Threads that carry media write it, so it has a lock that nobody holds for long.
    over: Arc<Mutex<Vec<u64>>>,
}

impl Strangers {
    /// A session begins, if there is room for what it is expected to use.
    pub(super) fn begin(&mut self, roster: &mut Roster, cost: Cost) -> Result<Place, Shortage> {
        self.begun += 1;
        let (session, over) = (self.begun, Arc::clone(&self.over));
        roster.admit_stranger(clock::now(), session, cost)?;
        Ok(Place::new(move || over.lock().push(session)))
    }

    /// Gives back the room of those that are over.
    pub(super) fn settle(&self, roster: &mut Roster) {
        let over = std::mem::take(&mut *self.over.lock());
        let now = clock::now();
        for session in over {
            roster.stranger_left(now, session);
        }
    }
}

impl RealtimeDoor for Desk {
    fn may_begin(&self, feed: &FeedId, viewer: Option<&str>) -> Result<Place, Box<Problem>> {
        let mut state = self.0.state.lock();
        let answer = match viewer {
            Some(id) => match state.roster.may_begin(feed, id) {
                Ok(true) => Ok(Place::default()),
                Ok(false) => {
                    let reason = state.roster.get(feed, id).map(|entry| entry.reason().name());
                    return Err(Box::new(served_over_hls(feed, reason.unwrap_or("unknown"))));
                }
                Err(why) => Err(why),
            },
            None => {
                let cost = self.facts(feed).map_or(Cost::default(), |facts| facts.cost);
                state.admit(cost).map_err(Refused::NoRoom)
            }
        };
        answer.map_err(|why| Box::new(refused(feed, viewer.unwrap_or_default(), why)))
    }
}

//! The viewers' WebRTC sessions: which may begin, which are there, and which have to end.

use std::time::Instant;

use bicast_shared::auth::Tier;
use bicast_shared::id::FeedId;
use bicast_shared::status::ViewerStatus;

use super::session::best_sessions;
use super::{Path, Refused, Roster, ViewerId};
use crate::core::admission::{Cost, Shortage};

/// The name that a session has in the ledger whose viewer has not joined. No viewer that has joined can have a colon in its own.
fn stranger(session: u64) -> ViewerId {
    ViewerId(format!("session:{session}").into())
}

impl Roster {
    /// Whether any viewer of a feed may have a WebRTC session, or had one when it ended: some are made while their viewer ends.
    pub(crate) fn may_have_sessions(&self, feed: &FeedId) -> bool {
        let ids = self.feeds.get(feed).into_iter().flat_map(|of_feed| &of_feed.viewers);
        ids.filter_map(|id| self.viewers.get(id)).any(|entry| entry.tier == Tier::Vip)
    }

    /// The WebRTC sessions of a feed as the SFU sees them, all of them.
    pub(crate) fn sessions(
        &mut self,
        at: super::Moment,
        feed: &FeedId,
        statuses: &[ViewerStatus],
        lowest_bps: Option<f64>,
    ) {
        let named = best_sessions(statuses);
        self.each(feed, |id, entry| entry.see(at.now, named.get(id.as_str()).copied(), lowest_bps));
        // A viewer that ended while its offer was under way: nobody would ever close what came of it.
        let nobodys = named.into_keys().filter(|name| self.get(feed, name).is_err());
        let nobodys: Vec<_> = nobodys.map(|name| ViewerId(name.into())).collect();
        self.evicted.extend(nobodys);
    }

    /// A session of somebody who has not joined begins: it has room from now on until it has [left](Self::stranger_left).
    pub(crate) fn admit_stranger(&mut self, now: Instant, session: u64, cost: Cost) -> Result<(), Shortage> {
        self.ledger.reserve(now, &stranger(session), cost)
    }

    /// Such a session is over.
    pub(crate) fn stranger_left(&mut self, now: Instant, session: u64) {
        self.ledger.leave(now, &stranger(session));
    }

    /// Whether the viewer may have a WebRTC session: it is served over it, or it is measured to see whether it could be.
    pub(crate) fn may_begin(&self, feed: &FeedId, id: &str) -> Result<bool, Refused> {
        let entry = self.get(feed, id)?;
        if entry.tier != Tier::Vip {
            return Err(Refused::Tier);
        }
        Ok(entry.told.path == Path::Realtime || entry.wants_probe())
    }
}

//! The end of viewers, and how long they are remembered to be told of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bicast_shared::auth::Grant;
use bicast_shared::id::FeedId;

use super::{EndReason, Entry, Moment, Refused, Roster, ViewerId};

/// How long an ended viewer can still be told so.
const TOLD_FOR: Duration = Duration::from_secs(30);
/// How many are kept for that: whoever joins and ends again and again must not fill the memory.
pub(super) const MOST: usize = 4_096;

/// Those that have ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Their channels are open, and tell them: as many as there are connections, for a moment.
    closing: Vec<(Instant, ViewerId)>,
    /// The others, the oldest first.
    silent: VecDeque<(Instant, ViewerId)>,
}

impl Roster {
    /// A viewer leaves, or has to.
    pub(crate) fn end(
        &mut self,
        at: Moment,
        feed: &FeedId,
        id: &str,
        reason: EndReason,
    ) -> Result<(), Refused> {
        self.get(feed, id)?;
        self.finish(at, id, reason);
        Ok(())
    }

    /// Ends the viewers whose right has ended, and tells how many.
    pub(crate) fn end_those(&mut self, at: Moment, ended: impl Fn(&Grant) -> bool) -> u64 {
        let meant = |entry: &Entry| entry.ended.is_none() && entry.grant.as_deref().is_some_and(&ended);
        let ids: Vec<_> =
            self.viewers.iter().filter(|(_, entry)| meant(entry)).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.finish(at, id.as_str(), EndReason::RightEnded);
        }
        ids.len() as u64
    }

    pub(super) fn finish(&mut self, at: Moment, id: &str, reason: EndReason) {
        let Some((key, _)) = self.viewers.get_key_value(id) else { return };
        let key = key.clone();
        let Some(entry) = self.viewers.get_mut(id).filter(|entry| entry.ended.is_none()) else { return };
        entry.ended = Some((at.now, reason));
        entry.log.end(reason);
        self.here -= 1;
        self.people.go(entry.grant.as_deref(), &key);
        if entry.channels > 0 {
            self.ended.closing.push((at.now, key.clone()));
        } else {
            self.ended.silent.push_back((at.now, key.clone()));
        }
        self.ledger.leave(at.now, &key);
        self.evicted.push(key.clone());
        self.rung.insert(key);
        self.forget_silent(at.now);
    }

    /// Forgets who has had its time to be told that it has ended, or is one of too many.
    pub(super) fn forget_ended(&mut self, now: Instant) {
        let open = |(_, id): &(Instant, ViewerId)| self.viewers.get(id).is_some_and(|one| one.channels > 0);
        let (open, closed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ended.closing).into_iter().partition(open);
        self.ended.closing = open;
        self.ended.silent.extend(closed);
        self.forget_silent(now);
    }

    fn forget_silent(&mut self, now: Instant) {
        while let Some((since, _)) = self.ended.silent.front() {
            let told = now.saturating_duration_since(*since) > TOLD_FOR;
            if !told && self.ended.silent.len() <= MOST {
                return;
            }
            let Some(entry) =
                self.ended.silent.pop_front().and_then(|(_, id)| self.viewers.remove_entry(&id))
            else {
                continue;
            };
            let (id, entry) = entry;
            if let Some(of_feed) = self.feeds.get_mut(&entry.feed) {
                of_feed.viewers.remove(&id);
            }
            self.refused_before += entry.refused_values();
        }
    }
}

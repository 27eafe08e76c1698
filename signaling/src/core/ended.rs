//! The feeds that are over but not yet forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::feed::info::{FeedInfo, FeedState};
use bicast_shared::id::FeedId;

/// Remembers the last snapshot of ended feeds for a while, at most [`EndedFeeds::MOST`] of them.
#[derive(Debug)]
pub(crate) struct EndedFeeds {
    retention: Duration,
    feeds: BTreeMap<FeedId, (Instant, Arc<FeedInfo>)>,
}

impl EndedFeeds {
    /// Whoever publishes and leaves under ever new names must not fill the memory.
    pub(crate) const MOST: usize = 256;

    pub(crate) fn new(retention: Duration) -> Self {
        Self { retention, feeds: BTreeMap::new() }
    }

    /// Remembers a feed that was just taken off the bus.
    pub(crate) fn insert(&mut self, now: Instant, info: &FeedInfo) {
        self.forget_old(now);
        if self.retention.is_zero() {
            return;
        }
        let last = FeedInfo { state: FeedState::Ended, publisher: None, ..info.clone() };
        self.feeds.insert(last.id.clone(), (now, Arc::new(last)));
        while self.feeds.len() > Self::MOST {
            let oldest = self.feeds.iter().min_by_key(|(_, (ended, _))| *ended).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            self.feeds.remove(&oldest);
        }
    }

    /// Forgets a feed, as when its id is published again. False when it was not remembered.
    pub(crate) fn remove(&mut self, now: Instant, id: &FeedId) -> bool {
        self.forget_old(now);
        self.feeds.remove(id).is_some()
    }

    /// The feed's last snapshot.
    pub(crate) fn get(&mut self, now: Instant, id: &FeedId) -> Option<Arc<FeedInfo>> {
        self.forget_old(now);
        self.feeds.get(id).map(|(_, info)| info.clone())
    }

    /// All that are remembered, by id.
    pub(crate) fn all(&mut self, now: Instant) -> Vec<Arc<FeedInfo>> {
        self.forget_old(now);
        self.feeds.values().map(|(_, info)| info.clone()).collect()
    }

    fn forget_old(&mut self, now: Instant) {
        let retention = self.retention;
        self.feeds.retain(|_, (ended, _)| now.saturating_duration_since(*ended) < retention);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::view::tests::live_feed;

    fn named(name: &str) -> FeedInfo {
        FeedInfo { id: name.parse().unwrap(), ..live_feed() }
    }

    #[test]
    fn an_ended_feed_is_remembered_for_the_retention() {
        let start = bicast_shared::clock::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut ended = EndedFeeds::new(Duration::from_secs(10));
        ended.insert(start, &named("a"));
        let a = "a".parse().unwrap();
        let info = ended.get(after(9), &a).unwrap();
        assert_eq!(info.state, FeedState::Ended);
        assert_eq!(info.publisher, None);
        assert_eq!(ended.get(after(10), &a), None);
        assert!(ended.feeds.is_empty(), "forgotten, not hidden");
    }

    #[test]
    fn without_retention_nothing_is_remembered() {
        let now = bicast_shared::clock::now();
        let mut ended = EndedFeeds::new(Duration::ZERO);
        ended.insert(now, &named("a"));
        assert!(ended.all(now).is_empty());
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let start = bicast_shared::clock::now();
        let mut ended = EndedFeeds::new(Duration::from_secs(3600));
        for n in 0..=EndedFeeds::MOST as u64 {
            // The names sort against the order of ending, so that the first name is not the oldest feed.
            ended.insert(start + Duration::from_millis(n), &named(&format!("f{:04}", 9999 - n)));
        }
        let now = start + Duration::from_secs(1);
        assert_eq!(ended.all(now).len(), EndedFeeds::MOST);
        assert_eq!(ended.get(now, &"f9999".parse().unwrap()), None);
        assert!(ended.get(now, &"f9998".parse().unwrap()).is_some());
    }
}

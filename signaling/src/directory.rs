//! What is known of all feeds: the bus and both rooms' reports, and for a while those that ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::clock;
use bicast_shared::feed::bus::{CreateError, Feed, FeedBus};
use bicast_shared::feed::info::{FeedInfo, FeedState};
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::FeedId;
use bicast_shared::status::{PackagerStatus, SfuStatus};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::api;
use crate::core::ended::EndedFeeds;
use crate::core::roster::FeedFacts;
use crate::core::view::{self, Reports};

/// Answers what the API asks about feeds. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Directory {
    bus: FeedBus,
    sfu: watch::Receiver<Arc<SfuStatus>>,
    packager: watch::Receiver<Arc<PackagerStatus>>,
    /// Written when a feed ends, and when an answer leaves out what is too old; never held over an await.
    ended: Arc<Mutex<EndedFeeds>>,
}

impl Directory {
    /// Begins to follow the bus. Must be called inside a tokio runtime; the task ends with the bus.
    pub(crate) fn start(
        bus: FeedBus,
        sfu: watch::Receiver<Arc<SfuStatus>>,
        packager: watch::Receiver<Arc<PackagerStatus>>,
        retention: Duration,
    ) -> Self {
        let ended = Arc::new(Mutex::new(EndedFeeds::new(retention)));
        let directory = Self { bus, sfu, packager, ended };
        let mut feeds = directory.bus.watch();
        let known = feeds.borrow_and_update().clone();
        tokio::spawn(remember_ended(known, feeds, directory.ended.clone()));
        directory
    }

    /// All feeds, by id.
    pub(crate) fn feeds(&self) -> Vec<api::Feed> {
        let mut all: BTreeMap<FeedId, Arc<FeedInfo>> = BTreeMap::new();
        for info in self.ended.lock().all(clock::now()) {
            all.insert(info.id.clone(), info);
        }
        // Later than the ended ones: a feed that began again under the same id replaces its past.
        for (id, feed) in self.bus.feeds().iter() {
            all.insert(id.clone(), feed.info());
        }
        all.values().map(|info| self.view(info)).collect()
    }

    /// One feed.
    pub(crate) fn feed(&self, id: &FeedId) -> Option<api::Feed> {
        let info = self.bus.feed(id).map(|feed| feed.info());
        info.or_else(|| self.ended.lock().get(clock::now(), id)).map(|info| self.view(&info))
    }

    /// Ends a feed. True also for one that had ended and is still shown, so that the request can be repeated.
    pub(crate) fn end(&self, id: &FeedId) -> bool {
        let Some(feed) = self.bus.feed(id) else {
            return self.ended.lock().get(clock::now(), id).is_some();
        };
        // Remembered here and not only by the task that follows the bus: whoever asks next must find it ended.
        let ended = self.bus.end(id);
        self.ended.lock().insert(clock::now(), &feed.info());
        ended
    }

    /// How a feed of this id is treated where no request says something else.
    pub(crate) fn settings_of(&self, id: &FeedId) -> FeedSettings {
        self.bus.settings_of(id)
    }

    /// Makes a feed that stays until it is ended.
    pub(crate) fn create(&self, id: &FeedId, settings: FeedSettings, most: u32) -> Result<(), CreateError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.bus.create(id, settings, most).map(drop)
    }

    /// Changes how a feed is treated; tells how it was, and how it is. None where there is no such feed.
    pub(crate) fn update<E>(
        &self,
        id: &FeedId,
        change: impl FnOnce(&FeedSettings) -> Result<FeedSettings, E>,
    ) -> Option<Result<(FeedSettings, FeedSettings), E>> {
        let mut both = None;
        let updated = self.bus.update(id, |before| {
            let now = change(before)?;
            both = Some((before.clone(), now.clone()));
            Ok(now)
        });
        match updated? {
            Ok(()) => both.map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    /// Tells a feed's standby publisher to take over. None where there is no such feed, false where nobody stands by.
    pub(crate) fn promote(&self, id: &FeedId) -> Option<bool> {
        self.bus.promote(id)
    }

    /// What a feed is like for its viewers; none where it is not there, or over.
    pub(crate) fn facts(&self, id: &FeedId) -> Option<FeedFacts> {
        let info = self.bus.feed(id)?.info();
        if info.state == FeedState::Ended {
            return None;
        }
        let (sfu, packager) = (self.sfu.borrow().clone(), self.packager.borrow().clone());
        let reports = Reports { sfu: sfu.feeds.get(id), packager: packager.feeds.get(id) };
        Some(view::facts(&info, &reports))
    }

    /// What a feed's tracks are coded as: another text means that sessions made for it have to be made anew. None before there are any.
    pub(crate) fn codecs(&self, id: &FeedId) -> Option<String> {
        let info = self.bus.feed(id)?.info();
        let tracks = info.tracks.iter().map(|track| track.codec.to_string());
        Some(tracks.collect::<Vec<_>>().join(" with ")).filter(|text| !text.is_empty())
    }

    /// What the lowest encoding of a feed's picture and its sound need together, in bits per second.
    pub(crate) fn lowest_bps(&self, id: &FeedId) -> Option<f64> {
        let packager = self.packager.borrow().clone();
        view::lowest_bps(packager.feeds.get(id)?)
    }

    /// What all realtime viewers are sent together, in bits and packets per second.
    pub(crate) fn egress(&self) -> (u64, u64) {
        let sfu = self.sfu.borrow().clone();
        let (mut bps, mut packets) = (0, 0);
        for feed in sfu.feeds.values() {
            bps += feed.egress_bps;
            packets += feed.packets_per_second;
        }
        (bps, packets)
    }

    /// Feeds by state.
    pub(crate) fn count(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for feed in self.feeds() {
            let state =
                serde_json::to_value(feed.state).ok().and_then(|state| Some(state.as_str()?.to_owned()));
            *count.entry(state.unwrap_or_default()).or_default() += 1;
        }
        count
    }

    /// WebRTC viewers that are connected, over all feeds.
    pub(crate) fn sessions(&self) -> u32 {
        self.sfu.borrow().feeds.values().map(|feed| feed.viewers).sum()
    }

    fn view(&self, info: &FeedInfo) -> api::Feed {
        let sfu = self.sfu.borrow().clone();
        let packager = self.packager.borrow().clone();
        let reports = Reports { sfu: sfu.feeds.get(&info.id), packager: packager.feeds.get(&info.id) };
        view::feed(clock::utc(), info, &reports)
    }
}

/// Keeps the last snapshot of every feed that leaves the bus, and forgets it when its id is published again.
async fn remember_ended(
    mut known: Arc<BTreeMap<FeedId, Feed>>,
    mut feeds: watch::Receiver<Arc<BTreeMap<FeedId, Feed>>>,
    ended: Arc<Mutex<EndedFeeds>>,
) {
    while feeds.changed().await.is_ok() {
        let current = feeds.borrow_and_update().clone();
        let mut ended = ended.lock();
        for (id, feed) in known.iter().filter(|(id, _)| !current.contains_key(*id)) {
            tracing::debug!(feed = %id, "ended");
            ended.insert(clock::now(), &feed.info());
        }
        for id in current.keys().filter(|id| !known.contains_key(*id)) {
            ended.remove(clock::now(), id);
        }
        drop(ended);
        known = current;
    }
}

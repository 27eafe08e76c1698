//! What HTTP requests are answered from: per feed the newest snapshot behind a `watch`, with its texts rendered once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use bicast_shared::auth::DelayClasses;
use bicast_shared::id::FeedId;
use bicast_shared::status::PackagerStatus;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::core::feed::Limits;
use crate::core::mark::Mark;
use crate::core::playlist::{self, MediaRequest, Shape};
use crate::core::snapshot::FeedSnapshot;
use crate::core::window::Segment;
use crate::dvr::{self, Dvr};

/// A viewer that asked for a media playlist this long ago is still there.
const VIEWER_TIME: Duration = Duration::from_secs(10);
/// Viewers told apart per feed; more are not counted.
const MOST_VIEWERS: usize = 100_000;
/// Instances of a feed that are over and still served. All together may hold as much media as the one that lives.
const MOST_OVER: usize = 8;

/// Everything that is served.
pub(crate) struct Store {
    pub(crate) config: Config,
    /// Where segments are that have left the memory.
    pub(crate) dvr: Option<Dvr>,
    pub(crate) status: watch::Sender<Arc<PackagerStatus>>,
    feeds: RwLock<BTreeMap<FeedId, Arc<FeedEntry>>>,
    /// Viewers who must stay behind.
    pub(crate) classes: DelayClasses,
    /// What is due for them, by what stands for the feed in their addresses.
    late: RwLock<HashMap<String, Late>>,
    /// Feeds that are gone at the live edge and not yet for who stays behind, the longest gone first.
    leaving: Mutex<VecDeque<CancellationToken>>,
    waiting: Arc<AtomicU32>,
    versions: AtomicU64,
}

/// What is due of the feeds that had an id, one after the other.
struct Late {
    entry: Arc<FeedEntry>,
    /// How many of them still publish in it: of one that has ended something may be due when the next begins.
    feeds: u32,
}

/// One feed's entry. A feed that begins again under its id gets a new one.
pub(crate) struct FeedEntry {
    pub(crate) published: watch::Sender<Arc<Published>>,
    /// Instances that are over, with the time until which they are served, oldest first.
    over: Mutex<VecDeque<(Instant, Arc<Published>)>>,
    viewers: Mutex<HashMap<u64, Instant>>,
    ended: OnceLock<Instant>,
    /// How much media its playlists list.
    window: Mutex<Duration>,
    /// Requests for it that wait.
    waiting: Arc<AtomicU32>,
    /// Cancelled when nobody can find it at the live edge any more.
    gone: CancellationToken,
    /// Cancelled when nobody who stays behind can, either.
    left: CancellationToken,
}

/// A snapshot and the texts made of it.
pub(crate) struct Published {
    pub(crate) snapshot: FeedSnapshot,
    /// Counts what was published, of all feeds together; 0 before anything of this one was.
    pub(crate) version: u64,
    /// For low latency, and the standard one.
    multivariant: [OnceLock<Arc<Text>>; 2],
    /// Per rendition: the full playlist, the delta update, the standard one, and the playlist of keyframes.
    media: Vec<[OnceLock<Arc<Text>>; 6]>,
}

/// Where the bytes of a file are.
pub(crate) enum Media {
    /// In memory.
    Held(Bytes),
    /// In the store, as the segment of this number.
    Stored { number: u64, bytes: usize },
}

impl Media {
    pub(crate) fn of(segment: &Segment) -> Self {
        match segment.stored {
            Some(stored) => Self::Stored { number: segment.head.number, bytes: stored.bytes },
            None => Self::Held(segment.data.clone()),
        }
    }

    pub(crate) const fn length(&self) -> usize {
        match self {
            Self::Held(data) => data.len(),
            Self::Stored { bytes, .. } => *bytes,
        }
    }
}

/// A rendered playlist.
pub(crate) struct Text {
    pub(crate) plain: Bytes,
    pub(crate) etag: String,
    gzip: OnceLock<Bytes>,
}

impl Text {
    fn new(text: String, etag: String) -> Arc<Self> {
        Arc::new(Self { plain: text.into(), etag, gzip: OnceLock::new() })
    }

    /// Compressed once, for everybody who accepts it.
    pub(crate) fn gzip(&self) -> Bytes {
        self.gzip
            .get_or_init(|| {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                // Writing to a Vec cannot fail.
                let _ = encoder.write_all(&self.plain);
                encoder.finish().unwrap_or_default().into()
            })
            .clone()
    }
}

impl Published {
    pub(crate) fn new(snapshot: FeedSnapshot, version: u64) -> Self {
        let media = snapshot.renditions.iter().map(|_| Default::default()).collect();
        Self { snapshot, version, multivariant: Default::default(), media }
    }

    /// A strong validator. Versions are counted from the process's start, and only instances tell one process from another.
    fn etag(&self, what: &str) -> String {
        format!("\"{}-{}-{what}\"", self.snapshot.instance, self.version)
    }

    /// The multivariant playlist; `query` is appended to its URIs.
    pub(crate) fn multivariant(&self, standard: bool, query: &str) -> Arc<Text> {
        let render = || {
            let (print, kind): (fn(&FeedSnapshot, &str) -> String, _) =
                if standard { (playlist::standard_multivariant, "n") } else { (playlist::multivariant, "m") };
            Text::new(print(&self.snapshot, query), self.etag(kind))
        };
        let [low_latency, plain] = &self.multivariant;
        let cell = if standard { plain } else { low_latency };
        if query.is_empty() { cell.get_or_init(render).clone() } else { render() }
    }

    /// A media playlist. None for a rendition that is not there, and for keyframes of sound.
    pub(crate) fn media(&self, name: &str, request: MediaRequest<'_>) -> Option<Arc<Text>> {
        let index = self.snapshot.renditions.iter().position(|rendition| rendition.name == name)?;
        let (cell, kind) = match request.shape {
            Shape::Full => (0, "0"),
            Shape::Delta => (1, "1"),
            Shape::Standard => (2, "2"),
            Shape::Keyframes => (3, "3"),
            Shape::KeyframesDelta => (4, "4"),
            Shape::StandardKeyframes => (5, "5"),
        };
        let render = |kind: &str| {
            let text = playlist::media(&self.snapshot, name, request)?;
            Some(Text::new(text, self.etag(&format!("{name}-{kind}"))))
        };
        if !request.query.is_empty() {
            return render(&format!("q{kind}"));
        }
        let cell = self.media.get(index)?.get(cell)?;
        if let Some(known) = cell.get() {
            return Some(known.clone());
        }
        // Whoever renders it at the same time has the same text; the first is kept.
        let text = render(kind)?;
        Some(cell.get_or_init(|| text).clone())
    }
}

impl FeedEntry {
    fn new(window: Duration) -> Self {
        let published = watch::Sender::new(Arc::new(Published::new(FeedSnapshot::default(), 0)));
        let (over, viewers, ended) = (Mutex::default(), Mutex::default(), OnceLock::new());
        let window = Mutex::new(window);
        Self {
            published,
            over,
            viewers,
            ended,
            window,
            waiting: Arc::default(),
            gone: CancellationToken::new(),
            left: CancellationToken::new(),
        }
    }

    /// How much media its playlists list.
    pub(crate) fn window(&self) -> Duration {
        *self.window.lock()
    }

    /// They list so much from now on.
    pub(crate) fn set_window(&self, window: Duration) {
        *self.window.lock() = window;
    }

    /// Waits until nobody can find it at the live edge any more: its time was over, another feed took its id, or too many had ended.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Waits until nobody who stays behind can find it any more, either.
    pub(crate) async fn left(&self) {
        self.left.cancelled().await;
    }

    /// Nobody who stays behind finds it from now on.
    pub(crate) fn leave(&self) {
        self.left.cancel();
    }

    /// The playlists of this instance, be it the one that lives or one that is over.
    pub(crate) fn instance(&self, name: &str) -> Option<Arc<Published>> {
        let current = self.published.borrow().clone();
        if current.snapshot.instance == name {
            return Some(current);
        }
        let over = self.over.lock();
        over.iter().map(|(_, published)| published).find(|one| one.snapshot.instance == name).cloned()
    }

    /// What was published since this version, oldest first, which instances that are over were published with last. Of the one that lives only
    /// the newest.
    pub(crate) fn since(&self, version: u64) -> Vec<Arc<Published>> {
        // Read first: what is retired meanwhile was published before its successor, and comes with that.
        let current = self.published.borrow().clone();
        let over = self.over.lock();
        let over = over.iter().map(|(_, published)| published).filter(|one| one.version < current.version);
        over.chain([&current]).filter(|one| one.version > version).cloned().collect()
    }

    /// All instances that are served, oldest first.
    pub(crate) fn served(&self) -> Vec<Arc<Published>> {
        // One that is retired while its successor is not published yet is in both.
        let current = self.published.borrow().clone();
        let over = self.over.lock();
        let over = over.iter().map(|(_, published)| published);
        let name = &current.snapshot.instance;
        over.filter(|one| one.snapshot.instance != *name).cloned().chain([current.clone()]).collect()
    }

    /// When the next instance that is over is no longer served.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.over.lock().front().map(|(until, _)| *until)
    }

    /// Forgets the instances whose time is over.
    pub(crate) fn expire(&self, now: Instant) {
        self.over.lock().retain(|(until, _)| now < *until);
    }

    /// Notes that somebody asked for a media playlist.
    pub(crate) fn saw_viewer(&self, now: Instant, who: u64) {
        let mut viewers = self.viewers.lock();
        if viewers.len() < MOST_VIEWERS || viewers.contains_key(&who) {
            viewers.insert(who, now);
        }
    }

    /// Viewers that are there now.
    pub(crate) fn viewers(&self, now: Instant) -> u32 {
        let mut viewers = self.viewers.lock();
        viewers.retain(|_, seen| now.saturating_duration_since(*seen) < VIEWER_TIME);
        u32::try_from(viewers.len()).unwrap_or(u32::MAX)
    }
}

impl Store {
    pub(crate) fn new(config: Config, dvr: Option<Dvr>, classes: DelayClasses) -> Self {
        Self {
            config,
            dvr,
            status: watch::Sender::new(Arc::default()),
            feeds: RwLock::default(),
            classes,
            late: RwLock::default(),
            leaving: Mutex::default(),
            waiting: Arc::default(),
            versions: AtomicU64::new(1),
        }
    }

    pub(crate) fn feed(&self, id: &FeedId) -> Option<Arc<FeedEntry>> {
        self.feeds.read().get(id).cloned()
    }

    /// How much is kept of a feed with such a window.
    pub(crate) fn limits(&self, window: Duration) -> Limits {
        self.config.limits(window, self.behind())
    }

    /// How far anybody has to stay behind.
    pub(crate) fn behind(&self) -> Duration {
        self.classes.iter().map(|(_, behind)| behind).max().unwrap_or_default()
    }

    /// What is due of a feed, by what stands for it in addresses of a delay class.
    pub(crate) fn late(&self, address: &str) -> Option<Arc<FeedEntry>> {
        self.late.read().get(address).map(|late| late.entry.clone())
    }

    /// Where what is due of a feed is published, by its address, for each delay class, with how far that is behind. A feed that begins again goes
    /// on in the entries of the one before, of which something may still be due.
    pub(crate) fn late_entries(
        &self,
        id: &FeedId,
        window: Duration,
    ) -> Vec<(String, Arc<FeedEntry>, Duration)> {
        let mut all = self.late.write();
        let entries = self.classes.iter().filter_map(|(class, behind)| {
            let address = self.classes.address(id, class)?;
            let new = || Late { entry: Arc::new(FeedEntry::new(window)), feeds: 0 };
            let late = all.entry(address.clone()).or_insert_with(new);
            late.feeds += 1;
            Some((address, late.entry.clone(), behind))
        });
        entries.collect()
    }

    /// Publishes what is due. An instance that is over is served as long as it is at the live edge.
    pub(crate) fn publish_late(&self, now: Instant, late: &FeedEntry, due: FeedSnapshot) {
        let instance = due.instance.clone();
        let before = late.published.send_replace(self.version(due));
        // What does not end could never be played.
        if before.snapshot.instance != instance && before.snapshot.ended {
            self.retire_as(now + late.window(), late, before);
        }
    }

    /// Nothing more will be due: the playlists end where they are.
    pub(crate) fn end_late(&self, late: &FeedEntry) {
        let last = late.published.borrow().snapshot.clone();
        if !last.ended && !last.instance.is_empty() {
            late.published.send_replace(self.version(Mark::end(last)));
        }
    }

    /// A feed publishes nothing more at this address. When no other one does, nobody finds it any more.
    pub(crate) fn forget_late(&self, address: &str) {
        let mut all = self.late.write();
        let Some(late) = all.get_mut(address) else { return };
        late.feeds = late.feeds.saturating_sub(1);
        if late.feeds == 0 {
            all.remove(address);
        }
    }

    /// Viewers of a feed that are there now, those who stay behind included.
    pub(crate) fn viewers(&self, id: &FeedId, entry: &FeedEntry, now: Instant) -> u32 {
        let addresses = self.classes.iter().filter_map(|(class, _)| self.classes.address(id, class));
        let late = addresses.filter_map(|address| self.late(&address)).map(|late| late.viewers(now));
        late.fold(entry.viewers(now), u32::saturating_add)
    }

    /// What is asked for of a file of a rendition (feed, instance, name).
    pub(crate) async fn read(
        &self,
        (feed, instance, rendition): (&FeedId, &str, &str),
        media: Media,
        range: Range<usize>,
    ) -> Result<Body, dvr::Error> {
        match (media, &self.dvr) {
            (Media::Held(data), _) => Ok(Body::from(data.slice(range))),
            (Media::Stored { number, .. }, Some(dvr)) => {
                metrics::counter!("bicast_dvr_reads_total").increment(1);
                let folder = dvr::Folder::new(feed, instance);
                Ok(Body::from_stream(dvr.read(&folder, rendition, number, range).await?))
            }
            // Nothing leaves the memory without a store.
            (Media::Stored { .. }, None) => Err(dvr::Error::Short),
        }
    }

    /// A feed begins: its entry replaces that of a feed which ended under the same id.
    pub(crate) fn begin(&self, id: &FeedId, window: Duration) -> Arc<FeedEntry> {
        let entry = Arc::new(FeedEntry::new(window));
        let before = self.feeds.write().insert(id.clone(), entry.clone());
        if let Some(before) = before {
            self.depart(&before);
        }
        entry
    }

    pub(crate) fn publish(&self, entry: &FeedEntry, snapshot: FeedSnapshot) {
        entry.published.send_replace(self.version(snapshot));
    }

    fn version(&self, snapshot: FeedSnapshot) -> Arc<Published> {
        Arc::new(Published::new(snapshot, self.versions.fetch_add(1, Ordering::Relaxed)))
    }

    /// An instance of a feed is over: it is served for the length of its window, as a feed is that ended, and for as long as somebody is behind
    /// who finds there what is stored.
    pub(crate) fn retire(&self, now: Instant, entry: &FeedEntry, last: FeedSnapshot) {
        let until = now + entry.window() + self.behind();
        self.retire_as(until, entry, self.version(last));
    }

    fn retire_as(&self, until: Instant, entry: &FeedEntry, last: Arc<Published>) {
        let mut over = entry.over.lock();
        over.push_back((until, last));
        let most = self.config.bytes_per_feed();
        let too_much = |over: &VecDeque<(Instant, Arc<Published>)>| {
            over.len() > MOST_OVER || over.iter().map(|(_, one)| one.snapshot.held()).sum::<usize>() > most
        };
        while over.len() > 1 && too_much(&over) {
            over.pop_front();
        }
    }

    /// Nobody finds a feed at the live edge from now on. Of those that who stays behind still finds, the longest gone go when they are too many.
    fn depart(&self, entry: &FeedEntry) {
        entry.gone.cancel();
        let mut leaving = self.leaving.lock();
        leaving.retain(|one| !one.is_cancelled());
        leaving.push_back(entry.left.clone());
        while leaving.len() > self.config.max_ended_feeds as usize {
            leaving.pop_front().inspect(CancellationToken::cancel);
        }
    }

    /// A feed has ended. The longest ended ones go when there are too many.
    pub(crate) fn end(&self, now: Instant, entry: &FeedEntry) {
        entry.ended.get_or_init(|| now);
        let gone: Vec<FeedId> = {
            let mut feeds = self.feeds.write();
            let ended = feeds.iter().filter_map(|(id, entry)| Some((*entry.ended.get()?, id.clone())));
            let mut ended: Vec<(Instant, FeedId)> = ended.collect();
            ended.sort();
            let surplus = ended.len().saturating_sub(self.config.max_ended_feeds as usize);
            let gone = ended.into_iter().take(surplus).map(|(_, id)| id);
            let remove = |id: &FeedId| {
                if let Some(entry) = feeds.remove(id) {
                    self.depart(&entry);
                }
            };
            gone.inspect(remove).collect()
        };
        gone.iter().for_each(|id| self.forget_status(id));
    }

    /// The time of an ended feed is over.
    pub(crate) fn forget(&self, id: &FeedId, entry: &Arc<FeedEntry>) {
        let mut feeds = self.feeds.write();
        if feeds.get(id).is_some_and(|current| Arc::ptr_eq(current, entry)) {
            feeds.remove(id);
            drop(feeds);
            self.depart(entry);
            self.forget_status(id);
        }
    }

    fn forget_status(&self, id: &FeedId) {
        self.status.send_modify(|status| {
            Arc::make_mut(status).feeds.remove(id);
        });
    }

    /// A place among the waiting requests of a feed; none when all are taken, or the feed has its share of them: the others' viewers
    /// must find places, too.
    pub(crate) fn wait(self: &Arc<Self>, entry: &Arc<FeedEntry>) -> Option<Waiting> {
        let most = self.config.max_waiting_requests;
        let refuse = |places: &'static str| {
            metrics::counter!("bicast_hls_waiting_refused_total", "places" => places).increment(1);
        };
        let Some(of_feed) = Place::take(&entry.waiting, (most - most / 4).max(1)) else {
            refuse("feed");
            return None;
        };
        let Some(of_all) = Place::take(&self.waiting, most) else {
            refuse("all");
            return None;
        };
        metrics::gauge!("bicast_hls_waiting_requests").set(f64::from(self.waiting.load(Ordering::Relaxed)));
        Some(Waiting { _of_feed: of_feed, of_all })
    }
}

/// One of a number of places, given back when it is dropped.
struct Place(Arc<AtomicU32>);

impl Place {
    fn take(taken: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        let before = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        before.ok().map(|_| Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A place among the waiting requests, given back when it is dropped: also when the client hangs up.
pub(crate) struct Waiting {
    _of_feed: Place,
    of_all: Place,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let others = self.of_all.0.load(Ordering::Relaxed).saturating_sub(1);
        metrics::gauge!("bicast_hls_waiting_requests").set(f64::from(others));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{at, rendition, segment};

    #[test]
    fn an_instance_that_is_over_is_served_for_its_window_and_not_too_many_are() {
        let store = Store::new(Config::default(), None, DelayClasses::default());
        let entry = FeedEntry::new(Duration::from_secs(60));
        let named = |name: &str| FeedSnapshot { instance: name.into(), ..FeedSnapshot::default() };
        store.publish(&entry, named("now"));
        for n in 0..=MOST_OVER {
            store.retire(at(n as i64), &entry, named(&format!("old{n}")));
        }
        assert!(entry.instance("now").is_some() && entry.instance("old1").is_some());
        assert!(entry.instance("old0").is_none() && entry.instance("other").is_none());
        assert_eq!(entry.next_expiry(), Some(at(60_001)));
        entry.expire(at(60_001));
        assert!(entry.instance("old1").is_none() && entry.instance("old2").is_some());
        entry.expire(at(99_000));
        assert_eq!(entry.next_expiry(), None);
    }

    #[test]
    fn an_ended_feed_goes_when_too_many_have_ended_or_another_takes_its_id() {
        let store =
            Store::new(Config { max_ended_feeds: 1, ..Config::default() }, None, DelayClasses::default());
        let ids: Vec<FeedId> = ["a", "b", "c"].iter().map(|id| id.parse().unwrap()).collect();
        let entries: Vec<Arc<FeedEntry>> =
            ids.iter().map(|id| store.begin(id, Duration::from_secs(60))).collect();
        store.end(at(1), &entries[0]);
        assert!(!entries[0].gone.is_cancelled());
        store.end(at(2), &entries[1]);
        assert!(
            entries[0].gone.is_cancelled() && store.feed(&ids[0]).is_none(),
            "whoever holds it lets it go"
        );
        assert!(!entries[1].gone.is_cancelled());
        store.begin(&ids[1], Duration::from_secs(60));
        assert!(entries[1].gone.is_cancelled() && !entries[2].gone.is_cancelled());
    }

    #[test]
    fn those_who_stay_behind_find_a_feed_longer_but_not_too_many() {
        let store =
            Store::new(Config { max_ended_feeds: 2, ..Config::default() }, None, DelayClasses::default());
        let ids: Vec<FeedId> = ["a", "b", "c", "d"].iter().map(|id| id.parse().unwrap()).collect();
        let entries: Vec<_> = ids.iter().map(|id| store.begin(id, Duration::from_secs(60))).collect();
        let left = || entries.iter().map(|entry| entry.left.is_cancelled()).collect::<Vec<_>>();
        store.forget(&ids[0], &entries[0]);
        store.forget(&ids[1], &entries[1]);
        assert!(store.feed(&ids[0]).is_none());
        assert_eq!(left(), [false; 4]);
        entries[1].leave();
        store.forget(&ids[2], &entries[2]);
        assert_eq!(left(), [false, true, false, false], "one that has left takes no place");
        store.begin(&ids[3], Duration::from_secs(60));
        assert_eq!(left(), [true, true, false, false]);
    }

    fn published(version: u64) -> Published {
        let rendition = rendition(vec![Arc::new(segment(3, 4, true))]);
        let snapshot =
            FeedSnapshot { instance: "i1".into(), renditions: vec![rendition], ..FeedSnapshot::default() };
        Published::new(snapshot, version)
    }

    #[test]
    fn a_playlist_is_rendered_once_for_everybody_and_apart_for_who_has_a_query() {
        let published = published(7);
        let ask = |shape, query| published.media("video0", MediaRequest { shape, query }).unwrap();
        let with_query = ask(Shape::Full, "token=a");
        assert!(published.media[0].iter().all(|cell| cell.get().is_none()), "a query fills no cell");
        assert!(std::str::from_utf8(&with_query.plain).unwrap().contains("?token=a"));
        let first = ask(Shape::Full, "");
        assert!(Arc::ptr_eq(&first, &ask(Shape::Full, "")));
        assert!(Arc::ptr_eq(&ask(Shape::Delta, ""), &ask(Shape::Delta, "")));
        assert!(!std::str::from_utf8(&first.plain).unwrap().contains("token"));
        assert_eq!(
            (first.etag.as_str(), with_query.etag.as_str()),
            ("\"i1-7-video0-0\"", "\"i1-7-video0-q0\"")
        );
        assert!(published.media("video1", MediaRequest::default()).is_none());
    }
}

//! Feeds for viewers who must stay behind: what was published is published again when it is due, in an entry of its own.
//!
//! What waits is [how far](Mark) playlists reached; when that is due they are cut from what the feed lists by then. So being late costs marks, and
//! the media is in the feed's own memory, within its limits. One task per feed and class.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::auth::LONGEST_DELAY;
use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::time::ProgramTime;
use tokio_util::sync::CancellationToken;

use crate::core::mark::Mark;
use crate::core::snapshot::FeedSnapshot;
use crate::store::{FeedEntry, Published, Store};

/// Snapshots that follow each other faster wait as one, the newer one, and are never early for that: several renditions grow one after the other.
const TOGETHER: Duration = Duration::from_millis(50);
/// Marks that wait: as many as there can be for the furthest class, and room for instances that end meanwhile. Beyond, the oldest goes.
const MOST: usize = (LONGEST_DELAY.as_millis() / TOGETHER.as_millis()) as usize + 100;

/// What is to come.
#[derive(Default)]
struct Line {
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// The newest snapshot of each instance that is waited for, and of the newest one, by a number that counts them.
    sources: VecDeque<(u64, Arc<Published>)>,
    /// When the newest was published.
    newest: Option<Instant>,
    /// How far the playlists of an instance reached when they were last due.
    told: (u64, Vec<(u64, u64)>),
}

struct Waiting {
    due: Instant,
    /// The number of its instance.
    source: u64,
    mark: Mark,
}

impl Line {
    /// What is published `now`, which is also `utc`, is due `behind` later; of what a process before has left, what has waited long enough.
    fn push(&mut self, (now, utc): (Instant, ProgramTime), behind: Duration, published: Arc<Published>) {
        let snapshot = &published.snapshot;
        let goes_on = |last: &FeedSnapshot| last.instance == snapshot.instance && !last.ended;
        let source = match self.sources.back() {
            Some((number, last)) if goes_on(&last.snapshot) => *number,
            Some((number, _)) => number + 1,
            None => 0,
        };
        let nanos = i64::try_from(behind.as_nanos()).unwrap_or(i64::MAX);
        let until = ProgramTime::from_unix_nanos(utc.unix_nanos().saturating_sub(nanos));
        let left = if self.newest.is_none() { Mark::left(snapshot, until) } else { Vec::new() };
        if left.is_empty() {
            self.add(now, Waiting { due: now + behind, source, mark: Mark::of(snapshot) });
        }
        for (end, mark) in left {
            let age = Duration::from_nanos(u64::try_from(utc - end).unwrap_or(0));
            self.newest = None;
            self.add(now, Waiting { due: now + behind.saturating_sub(age), source, mark });
        }
        self.sources.retain(|(number, _)| *number != source);
        self.sources.push_back((source, published));
    }

    fn add(&mut self, now: Instant, mut new: Waiting) {
        let soon = self.newest.is_some_and(|newest| now.saturating_duration_since(newest) < TOGETHER);
        let last = self.waiting.back_mut();
        // Clocks are set, and what comes later is not due before.
        new.due = last.as_ref().map_or(new.due, |last| last.due.max(new.due));
        match last.filter(|last| soon && last.source == new.source) {
            Some(last) => *last = new,
            None => {
                self.newest = Some(now);
                self.waiting.push_back(new);
            }
        }
        if self.waiting.len() > MOST {
            self.waiting.pop_front();
        }
    }

    /// What is due next, if it is due now.
    fn pop(&mut self, now: Instant) -> Option<FeedSnapshot> {
        loop {
            self.waiting.front().filter(|waiting| waiting.due <= now)?;
            let Waiting { source, mark, .. } = self.waiting.pop_front()?;
            self.sources.retain(|(number, _)| *number >= source);
            let (_, later) = self.sources.front()?;
            let due = mark.cut(&later.snapshot);
            // Where the memory was too short for parts, whole segments are waited for: no playlist goes back.
            let reach: Vec<_> = due.renditions.iter().map(|rendition| rendition.next_part()).collect();
            let (of, told) = &self.told;
            if *of != source || told.iter().zip(&reach).all(|(told, reach)| reach >= told) {
                self.told = (source, reach);
                return Some(due);
            }
        }
    }

    fn wake(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.due)
    }
}

/// The tasks that publish for every delay class what is published in `entry`, each until nobody can find that any more. With `stop` the playlists
/// end where they are; with `hold` they are left to another process.
pub(crate) fn follow_all(
    store: &Arc<Store>,
    entry: &Arc<FeedEntry>,
    id: &FeedId,
    (stop, hold): (&CancellationToken, &CancellationToken),
) -> Vec<impl Future<Output = ()> + Send + 'static> {
    let task = |(address, late, behind): (String, Arc<FeedEntry>, Duration)| {
        let (store, entry, stop, hold) = (store.clone(), entry.clone(), stop.clone(), hold.clone());
        async move {
            tokio::select! {
                biased;
                () = hold.cancelled() => {}
                () = stop.cancelled() => store.end_late(&late),
                () = follow(&store, &entry, &late, behind) => store.forget_late(&address),
            }
        }
    };
    store.late_entries(id, entry.window()).into_iter().map(task).collect()
}

/// Publishes in `late` what is published in `entry`, `behind` later.
async fn follow(store: &Store, entry: &FeedEntry, late: &FeedEntry, behind: Duration) {
    let mut watch = entry.published.subscribe();
    let mut line = Line::default();
    let (mut new, mut seen) = (true, 0);
    loop {
        let now = clock::now();
        if std::mem::take(&mut new) {
            watch.mark_unchanged();
            for published in entry.since(seen) {
                seen = published.version;
                line.push((now, clock::utc()), behind, published);
            }
            late.set_window(entry.window());
        }
        while let Some(due) = line.pop(now) {
            store.publish_late(now, late, due);
        }
        late.expire(now);
        let wake = [line.wake(), late.next_expiry()].into_iter().flatten().min();
        tokio::select! {
            // The entry is held here: there is always somebody to wait for.
            changed = watch.changed() => new = changed.is_ok(),
            () = entry.left() => return,
            () = sleep_until(wake) => {}
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use bicast_shared::auth::DelayClasses;

    use super::*;
    use crate::config::Config;
    use crate::core::testing::{at, rendition, segment};
    use crate::core::window::{Segment, Stored};

    /// A snapshot of a playlist of this many parts.
    fn published(instance: &str, parts: usize, ended: bool) -> Arc<Published> {
        let rendition = rendition(vec![Arc::new(segment(0, parts, ended))]);
        let (instance, renditions) = (instance.into(), vec![rendition]);
        Arc::new(Published::new(FeedSnapshot { instance, renditions, ended, ..FeedSnapshot::default() }, 1))
    }

    const BEHIND: Duration = Duration::from_secs(5);

    fn push(line: &mut Line, millis: i64, published: Arc<Published>) {
        line.push((at(millis), ProgramTime::default()), BEHIND, published);
    }

    /// What is due then: the instance, how many parts it has, whether it has ended.
    fn pop(line: &mut Line, millis: i64) -> Option<(String, usize, bool)> {
        let due = line.pop(at(millis))?;
        Some((due.instance, due.renditions[0].segments[0].parts.len(), due.ended))
    }

    #[test]
    fn nothing_comes_before_it_is_due_and_everything_then() {
        let mut line = Line::default();
        for (parts, millis) in [(1, 0), (2, 200), (3, 220), (4, 400)] {
            push(&mut line, millis, published("a", parts, false));
        }
        let has = |parts| Some(("a".to_owned(), parts, false));
        assert_eq!(line.wake(), Some(at(5_000)));
        assert_eq!(pop(&mut line, 4_999), None);
        assert_eq!(pop(&mut line, 5_000), has(1));
        assert_eq!(pop(&mut line, 5_219), None, "the two that came together wait as the newer one");
        assert_eq!(pop(&mut line, 5_220), has(3));
        assert_eq!(pop(&mut line, 9_000), has(4));
        assert_eq!((pop(&mut line, 9_000), line.wake()), (None, None));
    }

    #[test]
    fn the_last_of_an_instance_is_not_replaced_by_the_first_of_the_next() {
        let mut line = Line::default();
        push(&mut line, 0, published("a", 1, false));
        push(&mut line, 1, published("b", 1, false));
        push(&mut line, 2, published("b", 2, true));
        push(&mut line, 3, published("b", 1, false));
        let due: Vec<_> = std::iter::from_fn(|| pop(&mut line, 9_000)).collect();
        let is = |instance: &str, parts, ended| (instance.to_owned(), parts, ended);
        assert_eq!(due, [is("a", 1, false), is("b", 2, true), is("b", 1, false)]);
    }

    #[test]
    fn no_playlist_goes_back() {
        let mut line = Line::default();
        push(&mut line, 0, published("a", 3, false));
        push(&mut line, 100, published("a", 4, false));
        assert_eq!(pop(&mut line, 5_000).unwrap().1, 3);
        // Its parts have left the memory too soon.
        push(&mut line, 200, published("a", 1, false));
        assert_eq!(pop(&mut line, 5_150), None);
    }

    #[test]
    fn what_waits_is_bounded_and_holds_one_snapshot_of_each_instance() {
        let mut line = Line::default();
        for n in 0..10_000 {
            push(&mut line, n * 50, published("a", 2, false));
        }
        assert_eq!((line.waiting.len(), line.sources.len()), (MOST, 1));
        // docs/tokens.md: below a megabyte for a feed of four pictures and a sound.
        assert!(MOST * (size_of::<Waiting>() + 5 * Mark::REACH) < 1 << 20);
    }

    #[test]
    fn of_what_a_process_before_has_left_what_has_waited_is_due_at_once() {
        let mut restored = FeedSnapshot { instance: "a".into(), away: true, ..FeedSnapshot::default() };
        restored.renditions = published("a", 1, true).snapshot.renditions.clone();
        // They end 0.8 s behind each even second.
        let stored = Stored { bytes: 16, keyframe_bytes: 3 };
        let old = (0..60).map(|n| segment(n, 4, true));
        let old = old.map(|one| Arc::new(Segment::only_stored(one.head.clone(), one.ticks, stored)));
        restored.renditions[0].segments = old.collect();
        let utc = ProgramTime::from_unix_nanos(120_000_000_000);
        let mut line = Line::default();
        line.push((at(0), utc), BEHIND, Arc::new(Published::new(restored, 1)));
        let listed = |line: &mut Line, millis| {
            let due = line.pop(at(millis))?;
            Some((due.renditions[0].segments.len(), due.away))
        };
        assert_eq!(listed(&mut line, 0), Some((58, false)), "the last that ended before 115");
        assert_eq!((listed(&mut line, 0), line.wake()), (None, Some(at(1_800))));
        assert_eq!(listed(&mut line, 1_800), Some((59, false)));
        assert_eq!((listed(&mut line, 3_799), listed(&mut line, 3_800)), (None, Some((60, true))));
    }

    const WINDOW: Duration = Duration::from_secs(60);

    /// A feed that is followed for two classes, 5 and 10 ms behind.
    struct Scene {
        stop: CancellationToken,
        hold: CancellationToken,
        store: Arc<Store>,
        id: FeedId,
        entry: Arc<FeedEntry>,
        late: Arc<FeedEntry>,
    }

    impl Scene {
        fn new() -> Self {
            let classes = ["near=0.005".to_owned(), "far=0.01".to_owned()];
            let classes = DelayClasses::new(&classes, b"secret").unwrap();
            let store = Arc::new(Store::new(Config::default(), None, classes));
            let id = "demo".parse().unwrap();
            let entry = store.begin(&id, WINDOW);
            let (stop, hold) = (CancellationToken::new(), CancellationToken::new());
            for task in follow_all(&store, &entry, &id, (&stop, &hold)) {
                tokio::spawn(task);
            }
            let late = store.late(&store.classes.address(&id, "far").unwrap()).unwrap();
            Self { stop, hold, store, id, entry, late }
        }

        /// How many classes find something.
        fn found(&self) -> usize {
            let addresses =
                ["near", "far"].iter().filter_map(|class| self.store.classes.address(&self.id, class));
            addresses.filter(|address| self.store.late(address).is_some()).count()
        }

        async fn found_by(&self, classes: usize) {
            while self.found() != classes {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }

        fn publish(&self, instance: &str) {
            let snapshot = FeedSnapshot { instance: instance.into(), ..FeedSnapshot::default() };
            self.store.publish(&self.entry, snapshot);
        }

        fn retire(&self, instance: &str) {
            let snapshot = FeedSnapshot { instance: instance.into(), ended: true, ..FeedSnapshot::default() };
            self.store.retire(clock::now(), &self.entry, snapshot);
        }

        /// Waits until this instance is the one that lives for who stays behind.
        async fn lives(&self, instance: &str) {
            let mut watch = self.late.published.subscribe();
            let there = watch.wait_for(|published| published.snapshot.instance == instance);
            tokio::time::timeout(Duration::from_secs(10), there).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn instances_that_are_over_end_also_where_none_of_their_snapshots_was_seen() {
        let scene = Scene::new();
        scene.publish("a");
        scene.lives("a").await;
        assert!(!scene.late.instance("a").unwrap().snapshot.ended);
        // All at once: the task sees the last only.
        scene.retire("a");
        scene.publish("b");
        scene.retire("b");
        scene.publish("");
        scene.lives("").await;
        for over in ["a", "b"] {
            assert!(scene.late.instance(over).unwrap().snapshot.ended, "{over}");
        }
    }

    #[tokio::test]
    async fn a_feed_is_found_until_it_has_left_and_longer_where_another_one_goes_on() {
        let scene = Scene::new();
        scene.publish("a");
        scene.lives("a").await;
        scene.store.end(clock::now(), &scene.entry);
        scene.store.forget(&scene.id, &scene.entry);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(scene.found(), 2, "its time is over at the live edge");

        let again = scene.store.begin(&scene.id, WINDOW);
        for task in follow_all(&scene.store, &again, &scene.id, (&scene.stop, &scene.hold)) {
            tokio::spawn(task);
        }
        scene.entry.leave();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(scene.found(), 2, "the next one is there");
        again.leave();
        tokio::time::timeout(Duration::from_secs(10), scene.found_by(0)).await.unwrap();
    }

    #[tokio::test]
    async fn playlists_end_where_they_are_when_everything_stops_and_go_on_where_they_are_held() {
        for held in [false, true] {
            let scene = Scene::new();
            scene.store.publish(&scene.entry, published("a", 3, false).snapshot.clone());
            scene.lives("a").await;
            if held {
                scene.hold.cancel();
            }
            scene.stop.cancel();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let last = scene.late.published.borrow().snapshot.clone();
            assert_eq!(last.ended, !held);
            let segment = &last.renditions[0].segments[0];
            assert_eq!((segment.complete, segment.data.len()), if held { (false, 0) } else { (true, 12) });
            assert_eq!(scene.found(), 2, "they are served to the end");
        }
    }
}

//! Feeds for viewers who must stay behind: what was published is published again when it is due, in an entry of its own.
//!
//! A snapshot holds all that its playlists list, so being late is nothing but waiting with it: no list is cut, no time is changed, and what is not
//! due is not there. One task per feed and class; the texts and the media are those of the feed itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::time::ProgramTime;
use tokio_util::sync::CancellationToken;

use crate::store::{FeedEntry, Published, Store};

/// Snapshots that follow each other faster wait as one, the newer one, and are never early for that: several renditions grow one after the other.
const TOGETHER: Duration = Duration::from_millis(50);

/// What is to come, oldest first, each with when it is due.
#[derive(Default)]
struct Line {
    waiting: VecDeque<(Instant, Arc<Published>)>,
    /// When the newest was published.
    newest: Option<Instant>,
}

impl Line {
    fn push(&mut self, now: Instant, due: Instant, published: Arc<Published>) {
        let soon = self.newest.is_some_and(|newest| now.saturating_duration_since(newest) < TOGETHER);
        // Another instance is another playlist, and the last of the one before has its end in it.
        let same = |(_, last): &(Instant, Arc<Published>)| {
            last.snapshot.instance == published.snapshot.instance && !last.snapshot.ended
        };
        match self.waiting.back_mut().filter(|last| soon && same(last)) {
            Some(last) => *last = (due, published),
            None => {
                self.newest = Some(now);
                self.waiting.push_back((due, published));
            }
        }
    }

    /// The newest that is due.
    fn pop(&mut self, now: Instant) -> Option<Arc<Published>> {
        self.waiting.front().filter(|(due, _)| *due <= now)?;
        self.waiting.pop_front().map(|(_, published)| published)
    }

    fn wake(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }
}

/// Publishes for every delay class what is published in `entry`, until nobody can find that any more, or until `stop`.
pub(crate) fn follow_all(store: &Arc<Store>, entry: &Arc<FeedEntry>, id: &FeedId, stop: &CancellationToken) {
    for (address, late, behind) in store.late_entries(id, entry.window()) {
        let (store, entry, stop) = (store.clone(), entry.clone(), stop.clone());
        tokio::spawn(async move {
            follow(&store, &entry, &late, behind, stop).await;
            store.forget_late(&address);
        });
    }
}

/// Publishes in `late` what is published in `entry`, `behind` later.
async fn follow(
    store: &Store,
    entry: &FeedEntry,
    late: &FeedEntry,
    behind: Duration,
    stop: CancellationToken,
) {
    let mut watch = entry.published.subscribe();
    let mut line = Line::default();
    let (mut new, mut seen) = (true, 0);
    loop {
        let now = clock::now();
        if std::mem::take(&mut new) {
            watch.mark_unchanged();
            for published in entry.since(seen) {
                seen = published.version;
                let wait = if line.newest.is_none() { rest(&published, behind) } else { behind };
                line.push(now, now + wait, published);
            }
            late.set_window(entry.window());
        }
        while let Some(published) = line.pop(now) {
            store.publish_late(now, late, published);
        }
        late.expire(now);
        let wake = [line.wake(), late.next_expiry()].into_iter().flatten().min();
        tokio::select! {
            // The entry is held here: there is always somebody to wait for.
            changed = watch.changed() => new = changed.is_ok(),
            () = entry.left() => return,
            () = sleep_until(wake) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What is left of `behind` for the first snapshot: that of a feed which a process before has left may be long due.
fn rest(published: &Published, behind: Duration) -> Duration {
    let edge = published.snapshot.renditions.first().and_then(|main| {
        let newest = main.segments.last()?;
        let nanos = bicast_shared::time::scale(newest.ticks, 1_000_000_000, main.timescale);
        Some(newest.head.program_time + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    });
    edge.map_or(behind, |edge: ProgramTime| {
        let age = u64::try_from(clock::utc() - edge).unwrap_or(0);
        behind.saturating_sub(Duration::from_nanos(age))
    })
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
    use crate::core::snapshot::FeedSnapshot;
    use crate::core::testing::at;

    fn published(instance: &str, ended: bool) -> Arc<Published> {
        let snapshot = FeedSnapshot { instance: instance.into(), ended, ..FeedSnapshot::default() };
        Arc::new(Published::new(snapshot, 1))
    }

    #[test]
    fn nothing_comes_before_it_is_due_and_everything_then() {
        let mut line = Line::default();
        let due = |ms: i64| at(ms + 5_000);
        let snapshots: Vec<_> = (0..4).map(|_| published("a", false)).collect();
        for (n, ms) in [(0, 0), (1, 200), (2, 220), (3, 400)] {
            line.push(at(ms), due(ms), snapshots[n].clone());
        }
        assert_eq!(line.wake(), Some(due(0)));
        assert!(line.pop(at(4_999)).is_none());
        assert!(Arc::ptr_eq(&line.pop(at(5_000)).unwrap(), &snapshots[0]));
        assert!(line.pop(at(5_219)).is_none(), "the two that came together wait as the newer one");
        assert!(Arc::ptr_eq(&line.pop(at(5_220)).unwrap(), &snapshots[2]));
        assert!(Arc::ptr_eq(&line.pop(at(9_000)).unwrap(), &snapshots[3]));
        assert!(line.pop(at(9_000)).is_none() && line.wake().is_none());
    }

    #[test]
    fn the_last_of_an_instance_is_not_replaced_by_the_first_of_the_next() {
        let mut line = Line::default();
        line.push(at(0), at(0), published("a", false));
        line.push(at(1), at(1), published("b", false));
        line.push(at(2), at(2), published("b", true));
        line.push(at(3), at(3), published("b", false));
        let names: Vec<_> =
            std::iter::from_fn(|| line.pop(at(9))).map(|one| one.snapshot.instance.clone()).collect();
        assert_eq!(names, ["a", "b", "b"]);
    }

    const WINDOW: Duration = Duration::from_secs(60);

    /// A feed that is followed for two classes, 5 and 10 ms behind.
    struct Scene {
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
            follow_all(&store, &entry, &id, &CancellationToken::new());
            let late = store.late(&store.classes.address(&id, "far").unwrap()).unwrap();
            Self { store, id, entry, late }
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
        follow_all(&scene.store, &again, &scene.id, &CancellationToken::new());
        scene.entry.leave();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(scene.found(), 2, "the next one is there");
        again.leave();
        tokio::time::timeout(Duration::from_secs(10), scene.found_by(0)).await.unwrap();
    }
}

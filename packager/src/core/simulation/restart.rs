//! Sessions whose process ends: what was stored is all that the next one has.

use std::sync::Arc;
use std::time::Duration;

use bicast_shared::feed::owner::FeedOwner;
use bicast_shared::feed::past::FeedPast;
use bicast_shared::media::{Codec, TrackInfo, TrackKind};

use super::publisher::{BASELINE, Publisher};
use super::{Session, limits, tracks};
use crate::core::feed::FeedPackager;
use crate::core::keeper::Keeper;
use crate::core::record::{InstanceRecord, restore};
use crate::core::testing::MemoryStore;

const WINDOW: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Disk {
    store: MemoryStore,
    keeper: Keeper,
}

impl Session {
    fn record(&self) -> Option<InstanceRecord> {
        InstanceRecord::of(&self.core.snapshot(), FeedPast::of(&self.owner.info())?)
    }

    /// Stores what there is, and tells the packager.
    fn store(&mut self, disk: &mut Disk, complete: bool) {
        let Some(record) = self.record() else { return };
        disk.store.keep(&mut disk.keeper, &self.core.snapshot(), &InstanceRecord { complete, ..record });
        for (name, number) in disk.keeper.stored() {
            self.core.handle_stored(name, number);
        }
    }

    fn run_stored(&mut self, publisher: &mut Publisher, disk: &mut Disk, millis: i64) {
        for _ in 0..millis / 100 {
            self.run(publisher, 100);
            self.store(disk, false);
        }
    }

    /// Another process takes the feed over, `millis` after this one has ended: in good order, or not.
    fn restart(&mut self, disk: Disk, complete: bool, millis: i64) -> Disk {
        let mut disk = disk;
        if complete {
            self.core.hold();
            self.publish();
            self.store(&mut disk, true);
        }
        self.millis += millis;
        let (instance, found) = (disk.store.instance.clone().unwrap(), disk.store.clone().found());
        let restored = restore(&instance, &found, self.utc()).unwrap();
        let kept = restored.past.renditions[0].segments.last().unwrap().head.number;
        self.owner = FeedOwner::resume(restored.resumption);
        let info = Arc::new(self.owner.info());
        self.core = FeedPackager::restore(limits(WINDOW), info, restored.past);
        self.reader.handle_restart(kept);
        self.publish();
        Disk { keeper: Keeper::found(instance, &found), store: disk.store }
    }
}

fn session_with(tracks: Vec<TrackInfo>) -> (Session, Publisher) {
    let mut session = Session::with_window(WINDOW);
    let mut publisher = Publisher::new(BASELINE, 30.0);
    let has = |kind| tracks.iter().any(|track: &TrackInfo| track.kind() == kind);
    (publisher.video, publisher.audio) = (has(TrackKind::Video), has(TrackKind::Audio));
    session.begin_epoch(tracks);
    (session, publisher)
}

fn both() -> Vec<TrackInfo> {
    tracks(Some(Codec::H264), true)
}

#[test]
fn only_the_live_part_is_held_in_memory() {
    let (mut session, mut publisher) = session_with(both());
    let mut disk = Disk::default();
    session.run_stored(&mut publisher, &mut disk, 90_000);
    let snapshot = session.core.snapshot();
    for rendition in &snapshot.renditions {
        let held: i64 = rendition.segments.iter().filter(|s| s.stored.is_none()).map(|s| s.ticks).sum();
        let target = i64::from(snapshot.header.target_duration) * rendition.timescale;
        assert!(held < target * 8 && held >= target * 7, "{held}");
        assert!(rendition.seconds() > 88.0, "all of it is listed");
        assert!(rendition.bandwidth().1 > 0);
    }
}

#[test]
fn playlists_go_on_in_another_process() {
    for tracks in [both(), both().split_off(1), tracks(Some(Codec::H264), false)] {
        for (complete, away) in [(true, 400), (true, 7_000), (false, 400), (false, 20_000)] {
            let (mut session, mut publisher) = session_with(tracks.clone());
            let mut disk = Disk::default();
            session.run_stored(&mut publisher, &mut disk, 13_300);
            let before = session.core.snapshot();
            disk = session.restart(disk, complete, away);
            let resumed = session.core.snapshot();
            assert_eq!(resumed.instance, before.instance, "the same playlists");
            assert!(resumed.away && resumed.playable() && !resumed.ended);
            for (now, then) in resumed.renditions.iter().zip(&before.renditions) {
                assert_eq!((&now.name, &now.codecs, &now.media), (&then.name, &then.codecs, &then.media));
                assert!(now.next_part() >= then.next_part(), "no number is used twice");
            }
            session.run(&mut Publisher::silent(), 1_000);
            session.begin_epoch(tracks.clone());
            let mut again = Publisher::new(BASELINE, 30.0);
            (again.video, again.audio) = (publisher.video, publisher.audio);
            session.run_stored(&mut again, &mut disk, 9_000);
            let after = session.core.snapshot();
            assert_eq!(after.instance, before.instance);
            for rendition in &after.renditions {
                let numbers: Vec<u64> = rendition.segments.iter().map(|s| s.head.number).collect();
                assert_eq!(numbers[0], 0);
                assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
                let breaks = rendition.segments.iter().filter(|s| s.head.discontinuity).count();
                assert_eq!(breaks, 1, "where the publisher has returned: {complete} {away}");
                let gaps = rendition.segments.iter().filter(|s| s.is_gap()).count();
                assert_eq!(gaps == 0, complete, "what may have been listed and is not stored");
            }
            let breaks: Vec<_> = session.reader.tracks.values().map(|track| &track.discontinuities).collect();
            assert!(
                breaks.windows(2).all(|pair| pair[0] == pair[1]),
                "in all renditions at the same segment"
            );
            let newest = disk.keeper.stored().map(|(_, number)| number).min().unwrap();
            assert!(newest >= after.renditions[0].last_complete().unwrap() - 1);
        }
    }
}

#[test]
fn a_publisher_that_returns_to_another_process_with_other_tracks_begins_another_instance() {
    let (mut session, mut publisher) = session_with(both());
    let mut disk = Disk::default();
    session.run_stored(&mut publisher, &mut disk, 9_300);
    let before = session.core.snapshot().instance;
    session.restart(disk, true, 2_000);
    session.begin_epoch(both().split_off(1));
    let mut sound = Publisher::new(BASELINE, 30.0);
    sound.video = false;
    session.run(&mut sound, 6_000);
    let past = session.reader.past.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(past, std::slice::from_ref(&before), "who played it was told of its end");
    assert_ne!(session.core.snapshot().instance, before);
    assert!(session.core.snapshot().playable());
}

//! What of an instance's playlists is stored, and what has to be done next so that it is what they list: the newest snapshot in,
//! one step at a time out.
//!
//! A segment is stored when its init segment, its file and its record are. Records are kept in pages of [`PAGE`] segments, each
//! written anew with every segment of it: no store can append, and a page is small.

use std::collections::{BTreeMap, BTreeSet};

use bicast_shared::feed::past::FeedPast;
use bicast_shared::time::ProgramTime;
use bytes::Bytes;

use crate::core::record::{Found, InstanceRecord, SegmentRecord};
use crate::core::snapshot::{FeedSnapshot, RenditionSnapshot};

/// Segments whose records stand together.
pub const PAGE: u64 = 32;

/// One thing to do with the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write what is known of the instance.
    WriteInstance(Box<InstanceRecord>),
    /// Write an object of a rendition.
    Write(Object, Bytes),
    /// Write a page of records.
    WritePage(Object, Vec<SegmentRecord>),
    /// Delete an object of a rendition.
    Delete(Object),
}

/// What is stored of a rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The rendition's name.
    pub rendition: String,
    /// Which of its objects.
    pub name: Name,
}

/// Names the objects of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// An init segment, by its number.
    Init(u32),
    /// A segment, by its number.
    Segment(u64),
    /// The records of the segments from `PAGE` times this number on.
    Page(u64),
}

/// What is stored of an instance.
#[derive(Debug, Default)]
pub struct Keeper {
    instance: Option<InstanceRecord>,
    renditions: BTreeMap<String, Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    inits: BTreeSet<u32>,
    files: BTreeSet<u64>,
    records: BTreeMap<u64, SegmentRecord>,
    pages: BTreeSet<u64>,
}

impl Keeper {
    /// What a process before has left.
    #[must_use]
    pub fn found(instance: InstanceRecord, found: &BTreeMap<String, Found>) -> Self {
        let kept = |found: &Found| Kept {
            inits: found.inits.keys().copied().collect(),
            files: found.sizes.keys().copied().collect(),
            records: found.segments.clone(),
            pages: found.segments.keys().map(|number| number / PAGE).collect(),
        };
        let renditions = found.iter().map(|(name, found)| (name.clone(), kept(found))).collect();
        Self { instance: Some(instance), renditions }
    }

    /// The newest segment of each rendition up to which all that are listed are stored.
    pub fn stored(&self) -> impl Iterator<Item = (&str, u64)> {
        self.renditions
            .iter()
            .filter_map(|(name, kept)| Some((name.as_str(), *kept.records.keys().next_back()?)))
    }

    /// The name of the instance; none before anything of it is stored.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.instance.as_ref().map(|record| record.instance.as_str())
    }

    /// What its feed was when its record was last written.
    #[must_use]
    pub fn feed(&self) -> Option<&FeedPast> {
        self.instance.as_ref().map(|record| &record.feed)
    }

    /// When its record says that it was over.
    #[must_use]
    pub fn over(&self) -> Option<ProgramTime> {
        self.instance.as_ref()?.over
    }

    /// What to do next; none when the store has what `snapshot` lists. Deleting comes first: it makes room.
    #[must_use]
    pub fn next(&self, snapshot: &FeedSnapshot, record: &InstanceRecord) -> Option<Step> {
        let renditions = || snapshot.renditions.iter().map(|one| (one, self.renditions.get(&one.name)));
        let surplus = renditions().find_map(|(one, kept)| kept?.surplus(one));
        let instance = || {
            let differs = self.instance.as_ref() != Some(record);
            differs.then(|| Step::WriteInstance(Box::new(record.clone())))
        };
        let nothing = Kept::default();
        let missing = || renditions().find_map(|(one, kept)| kept.unwrap_or(&nothing).missing(one));
        surplus.or_else(instance).or_else(missing)
    }

    /// A step was done.
    pub fn done(&mut self, step: Step) {
        match step {
            Step::WriteInstance(record) => self.instance = Some(*record),
            Step::Write(object, _) => {
                let kept = self.kept(&object);
                match object.name {
                    Name::Init(number) => kept.inits.insert(number),
                    Name::Segment(number) => kept.files.insert(number),
                    Name::Page(_) => false,
                };
            }
            Step::WritePage(object, records) => {
                let kept = self.kept(&object);
                if let Name::Page(page) = object.name {
                    kept.pages.insert(page);
                }
                kept.records.extend(records.into_iter().map(|record| (record.number, record)));
            }
            Step::Delete(object) => {
                let kept = self.kept(&object);
                match object.name {
                    Name::Init(number) => kept.inits.remove(&number),
                    Name::Segment(number) => {
                        kept.records.remove(&number);
                        kept.files.remove(&number)
                    }
                    Name::Page(page) => {
                        kept.records.retain(|number, _| number / PAGE != page);
                        kept.pages.remove(&page)
                    }
                };
            }
        }
    }

    fn kept(&mut self, object: &Object) -> &mut Kept {
        self.renditions.entry(object.rendition.clone()).or_default()
    }
}

impl Kept {
    /// Something that nobody can ask for any more.
    fn surplus(&self, rendition: &RenditionSnapshot) -> Option<Step> {
        let delete = |name| Step::Delete(Object { rendition: rendition.name.clone(), name });
        let served = || rendition.removed.iter().chain(&rendition.segments);
        let oldest = served().next()?.head.number;
        if let Some(number) = self.files.iter().next().filter(|number| **number < oldest) {
            return Some(delete(Name::Segment(*number)));
        }
        if let Some(page) = self.pages.iter().next().filter(|page| (**page + 1) * PAGE <= oldest) {
            return Some(delete(Name::Page(*page)));
        }
        let first = served().map(|segment| &segment.head.init).find(|init| !init.is_missing())?.number;
        let init = self.inits.iter().next().filter(|number| **number < first)?;
        Some(delete(Name::Init(*init)))
    }

    /// The next step to store the oldest complete segment that is not.
    fn missing(&self, rendition: &RenditionSnapshot) -> Option<Step> {
        let newest = self.records.keys().next_back();
        let mut breaks = rendition.discontinuity_sequence;
        let segment = rendition.segments.iter().find(|segment| {
            breaks += u64::from(segment.head.discontinuity);
            newest.is_none_or(|newest| segment.head.number > *newest)
        })?;
        if !segment.complete {
            return None;
        }
        let object = |name| Object { rendition: rendition.name.clone(), name };
        let (head, init) = (&segment.head, &segment.head.init);
        if !init.is_missing() && !self.inits.contains(&init.number) {
            return Some(Step::Write(object(Name::Init(init.number)), init.data.clone()));
        }
        if !segment.is_gap() && !self.files.contains(&head.number) {
            return Some(Step::Write(object(Name::Segment(head.number)), segment.data.clone()));
        }
        let page = head.number / PAGE;
        let others = self.records.range(page * PAGE..).map(|(_, record)| record.clone());
        let records = others.chain([SegmentRecord::of(segment, breaks)]).collect();
        Some(Step::WritePage(object(Name::Page(page)), records))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use bicast_shared::feed::info::{Cadence, TimelineMap};
    use bicast_shared::feed::settings::FeedSettings;
    use bicast_shared::id::{Epoch, SegmentNumber};

    use super::*;
    use crate::core::lineup::Lineup;
    use crate::core::record::restore;
    use crate::core::snapshot::Header;
    use crate::core::testing::{MemoryStore, rendition, segment};
    use crate::core::window::{Init, Segment};

    pub(crate) fn record(snapshot: &FeedSnapshot) -> InstanceRecord {
        let feed = FeedPast {
            id: "demo".parse().unwrap(),
            settings: FeedSettings::default(),
            is_kept: false,
            since: ProgramTime::default(),
            epoch: Epoch(3),
            tracks: Vec::new(),
            cadence: Cadence { target_duration: 3, ..Cadence::default() },
            map: TimelineMap { version: 1, anchor: ProgramTime::default(), tracks: Vec::new() },
        };
        InstanceRecord::of(snapshot, feed).unwrap()
    }

    fn keep(store: &mut MemoryStore, keeper: &mut Keeper, snapshot: &FeedSnapshot) {
        store.keep(keeper, snapshot, &record(snapshot));
    }

    /// A snapshot that lists `from..to` and a growing one behind; number 5 begins behind a discontinuity and with another init
    /// segment, and 7 is a gap.
    pub(crate) fn snapshot(from: u64, to: u64) -> FeedSnapshot {
        let one = |number: u64| {
            let mut segment = segment(number, 4, number < to);
            segment.head.discontinuity = number == 5;
            segment.head.init =
                Arc::new(Init { number: u32::from(number >= 5), data: Bytes::from_static(b"init") });
            if number == 7 {
                segment.data = Bytes::new();
                segment.parts.iter_mut().for_each(|part| part.data = Bytes::new());
            }
            Arc::new(segment)
        };
        let rendition = RenditionSnapshot {
            codecs: "avc1.42e01f".into(),
            discontinuity_sequence: u64::from(from > 5),
            ..rendition((from..=to).map(one).collect())
        };
        let header = Header::default();
        FeedSnapshot {
            instance: "i1".into(),
            header,
            lineup: Some(Lineup { header, picture: None, sound: None }),
            renditions: vec![rendition],
            ..FeedSnapshot::default()
        }
    }

    fn stored(keeper: &Keeper) -> Option<u64> {
        keeper.stored().find(|(name, _)| *name == "video0").map(|(_, number)| number)
    }

    #[test]
    fn what_is_listed_is_stored_in_order_and_what_is_not_is_deleted() {
        let (mut keeper, mut store) = (Keeper::default(), MemoryStore::default());
        keep(&mut store, &mut keeper, &snapshot(0, 10));
        assert_eq!(stored(&keeper), Some(9), "not the one that grows");
        let found = &store.found["video0"];
        assert_eq!(
            found.sizes.keys().copied().collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 8, 9],
            "7 is a gap"
        );
        assert_eq!(found.inits.len(), 2);
        let steps = store.steps;
        keep(&mut store, &mut keeper, &snapshot(0, 10));
        assert_eq!(store.steps, steps, "once");
        keep(&mut store, &mut keeper, &snapshot(40, 80));
        let found = &store.found["video0"];
        assert_eq!(found.sizes.keys().copied().collect::<Vec<_>>(), (40..80).collect::<Vec<_>>());
        assert_eq!(found.inits.keys().copied().collect::<Vec<_>>(), [1]);
        let pages: Vec<u64> = store.pages.keys().map(|(_, page)| *page).collect();
        assert_eq!((pages, stored(&keeper)), (vec![1, 2], Some(79)));
    }

    #[test]
    fn a_segment_counts_as_stored_only_when_all_of_it_is() {
        let mut keeper = Keeper::default();
        let snapshot = snapshot(0, 2);
        let record = record(&snapshot);
        let mut kinds = Vec::new();
        while let Some(step) = keeper.next(&snapshot, &record) {
            kinds.push(match &step {
                Step::WriteInstance(_) => "instance",
                Step::Write(Object { name: Name::Init(_), .. }, _) => "init",
                Step::Write(..) => "file",
                Step::WritePage(..) => "page",
                Step::Delete(_) => "delete",
            });
            let (before, page) = (stored(&keeper), matches!(step, Step::WritePage(..)));
            keeper.done(step);
            assert_eq!(stored(&keeper) != before, page);
        }
        assert_eq!(kinds, ["instance", "init", "file", "page", "file", "page"]);
    }

    fn texts(segments: &[Segment]) -> Vec<(u64, i64, bool, u32, usize)> {
        let line =
            |s: &Segment| (s.head.number, s.ticks, s.head.discontinuity, s.head.init.number, s.bytes());
        segments.iter().map(line).collect()
    }

    #[test]
    fn another_process_finds_what_was_listed() {
        let (mut keeper, mut store) = (Keeper::default(), MemoryStore::default());
        let left = snapshot(3, 12);
        keep(&mut store, &mut keeper, &left);
        let instance = store.instance.clone().unwrap();
        let found = store.found();
        let after = ProgramTime::from_unix_nanos(26_000_000_000);
        let restored = restore(&instance, &found, after).unwrap();
        let past = &restored.past.renditions[0];
        let listed: Vec<Segment> = left.renditions[0].segments.iter().map(|s| Segment::clone(s)).collect();
        assert_eq!(texts(&past.segments), texts(&listed[..9]));
        assert_eq!((past.discontinuity_sequence, past.codecs.as_str()), (0, "avc1.42e01f"));
        assert_eq!(past.segments[0].head.program_time, listed[0].head.program_time);
        assert_eq!(restored.newest.unix_nanos(), 22_800_000_000);
        assert_eq!(restored.resumption.edge_nanos, 22_800_000_000);
        assert_eq!(
            restored.resumption.next_segment,
            SegmentNumber(11 + 3 + 2),
            "3.2 s: two may have been listed"
        );
        let good_order = InstanceRecord { complete: true, ..instance };
        let again = restore(&good_order, &found, after).unwrap();
        assert_eq!(again.resumption.next_segment, SegmentNumber(12));
        let keeper = Keeper::found(good_order.clone(), &found);
        assert_eq!(keeper.next(&left, &good_order), None, "nothing is written twice");
    }

    #[test]
    fn of_a_store_with_holes_the_newest_without_one_are_listed() {
        for damage in ["file", "size", "record", "init"] {
            let (mut keeper, mut store) = (Keeper::default(), MemoryStore::default());
            keep(&mut store, &mut keeper, &snapshot(0, 10));
            let kept = store.found.get_mut("video0").unwrap();
            match damage {
                "file" => drop(kept.sizes.remove(&4)),
                "size" => drop(kept.sizes.insert(4, 1)),
                "init" => drop(kept.inits.remove(&0)),
                _ => store.pages.values_mut().for_each(|page| page.retain(|record| record.number != 4)),
            }
            let found = &store.found()["video0"];
            assert_eq!(found.segments.keys().copied().collect::<Vec<_>>(), [5, 6, 7, 8, 9], "{damage}");
        }
        let nothing = BTreeMap::from([("video0".to_owned(), Found::default())]);
        assert!(restore(&record(&snapshot(0, 3)), &nothing, ProgramTime::default()).is_none());
    }
}

//! What is written beside stored segments, so that another process can go on with their playlists.

use std::collections::BTreeMap;
use std::sync::Arc;

use bicast_shared::feed::past::{FeedPast, Resumption};
use bicast_shared::id::{Epoch, SegmentNumber};
use bicast_shared::time::{ProgramTime, scale};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::core::lineup::Lineup;
use crate::core::past::{Past, PastRendition};
use crate::core::snapshot::{FeedSnapshot, RenditionMedia};
use crate::core::window::{Init, Segment, SegmentHead, Stay, Stored};

/// The form of these records. Records of another one are not read.
pub const FORM: u32 = 1;

/// An instance of a feed's playlists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// [`FORM`].
    pub form: u32,
    /// Its name.
    pub instance: String,
    /// Its feed.
    pub feed: FeedPast,
    /// What it is made of.
    pub lineup: Lineup,
    /// Its renditions, the main one first.
    pub renditions: Vec<RenditionRecord>,
    /// When it was over, if it is: it is served for the length of its window from then on.
    pub over: Option<ProgramTime>,
    /// The process ended in good order: nothing was listed that is not stored.
    pub complete: bool,
}

/// A rendition of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RenditionRecord {
    /// Its name.
    pub name: String,
    /// RFC 6381.
    pub codecs: String,
    /// Picture or sound.
    pub media: RenditionMedia,
    /// Ticks per second.
    pub timescale: i64,
}

/// A segment of a rendition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// Its Media Sequence Number.
    pub number: u64,
    /// UTC of its first frame.
    pub program_time: ProgramTime,
    /// When its first sample is decoded, in ticks.
    pub decode: i64,
    /// How long it lasts, in ticks.
    pub ticks: i64,
    /// Whether the timeline breaks in front of it.
    pub discontinuity: bool,
    /// Discontinuities in front of it and of all before it, since the playlist began.
    pub breaks: u64,
    /// The number of its init segment; none where there is none.
    pub init: Option<u32>,
    /// Its size; 0 for a gap, of which nothing is stored.
    pub bytes: usize,
    /// What a player needs of it for the keyframe that it begins with; 0 where it begins with something else.
    pub keyframe_bytes: usize,
    /// When its first sample is shown, in ticks; none in records from before it was written down: when it is decoded.
    #[serde(default)]
    pub presentation: Option<i64>,
    /// The publisher's stay that it belongs to; none in records from before it was written down.
    #[serde(default)]
    pub stay: Option<Stay>,
}

impl InstanceRecord {
    /// The record of the playlists in a snapshot; none before they begin.
    #[must_use]
    pub fn of(snapshot: &FeedSnapshot, feed: FeedPast) -> Option<Self> {
        let record = |rendition: &crate::core::snapshot::RenditionSnapshot| RenditionRecord {
            name: rendition.name.clone(),
            codecs: rendition.codecs.clone(),
            media: rendition.media.clone(),
            timescale: rendition.timescale,
        };
        Some(Self {
            form: FORM,
            instance: snapshot.instance.clone(),
            feed,
            lineup: snapshot.lineup?,
            renditions: snapshot.renditions.iter().map(record).collect(),
            over: None,
            complete: false,
        })
    }
}

impl SegmentRecord {
    /// The record of a complete segment that has `breaks` discontinuities up to its beginning.
    #[must_use]
    pub fn of(segment: &Segment, breaks: u64) -> Self {
        let head = &segment.head;
        Self {
            number: head.number,
            program_time: head.program_time,
            decode: head.decode,
            ticks: segment.ticks,
            discontinuity: head.discontinuity,
            breaks,
            init: (!head.init.is_missing()).then_some(head.init.number),
            bytes: segment.bytes(),
            keyframe_bytes: segment.keyframe().unwrap_or(0),
            presentation: Some(head.presentation),
            stay: Some(head.stay),
        }
    }

    /// The stay of an unknown number that began with it.
    fn unknown_stay(&self) -> Stay {
        let presentation = self.presentation.unwrap_or(self.decode);
        Stay { epoch: Epoch::default(), presentation, program_time: self.program_time }
    }
}

/// What was found in the store of a rendition.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The records of its segments.
    pub segments: BTreeMap<u64, SegmentRecord>,
    /// The sizes of the segments that are there.
    pub sizes: BTreeMap<u64, usize>,
    /// Its init segments.
    pub inits: BTreeMap<u32, Bytes>,
}

impl Found {
    /// Leaves out what cannot be listed: a list has no holes, and ends with the newest. What was cut off in the midst of its
    /// writing (the power failed) is a hole.
    pub fn mend(&mut self) {
        let whole = |record: &SegmentRecord| {
            let file = record.bytes == 0 || self.sizes.get(&record.number) == Some(&record.bytes);
            let init = record.init.map_or(record.bytes == 0, |init| self.inits.contains_key(&init));
            file && init && record.ticks > 0
        };
        let mut next = self.segments.keys().next_back().map(|last| last + 1);
        let mut first = None;
        for (number, record) in self.segments.iter().rev() {
            if next != Some(number + 1) || !whole(record) {
                break;
            }
            (first, next) = (Some(*number), Some(*number));
        }
        match first {
            Some(first) => self.segments = self.segments.split_off(&first),
            None => self.segments.clear(),
        }
    }

    fn rendition(&self, record: &RenditionRecord) -> PastRendition {
        let inits: BTreeMap<u32, Arc<Init>> = self
            .inits
            .iter()
            .map(|(number, data)| (*number, Arc::new(Init { number: *number, data: data.clone() })))
            .collect();
        let missing = Arc::new(Init::missing());
        let oldest = self.segments.values().next().map(SegmentRecord::unknown_stay).unwrap_or_default();
        let segment = |record: &SegmentRecord| {
            let init = record.init.and_then(|number| inits.get(&number)).unwrap_or(&missing).clone();
            let head = SegmentHead {
                number: record.number,
                program_time: record.program_time,
                discontinuity: record.discontinuity,
                init,
                decode: record.decode,
                presentation: record.presentation.unwrap_or(record.decode),
                stay: record.stay.unwrap_or(oldest),
            };
            let stored = Stored { bytes: record.bytes, keyframe_bytes: record.keyframe_bytes };
            Segment::only_stored(head, record.ticks, stored)
        };
        let before = |first: &SegmentRecord| first.breaks - u64::from(first.discontinuity).min(first.breaks);
        PastRendition {
            name: record.name.clone(),
            codecs: record.codecs.clone(),
            media: record.media.clone(),
            discontinuity_sequence: self.segments.values().next().map_or(0, before),
            segments: self.segments.values().map(segment).collect(),
        }
    }
}

/// Playlists that can be served again.
#[derive(Debug)]
pub struct Restored {
    /// What is served.
    pub past: Past,
    /// How the feed goes on.
    pub resumption: Resumption,
    /// When its newest media ends.
    pub newest: ProgramTime,
}

/// What can be made of an instance's records and of what was found of its renditions. None where there is nothing.
/// `now` is the time of day.
#[must_use]
pub fn restore(
    record: &InstanceRecord,
    found: &BTreeMap<String, Found>,
    now: ProgramTime,
) -> Option<Restored> {
    let main = record.renditions.first()?;
    let last = found.get(&main.name)?.segments.values().next_back()?;
    let nanos = |record: &RenditionRecord, ticks| scale(ticks, 1_000_000_000, record.timescale.max(1));
    let newest =
        ProgramTime::from_unix_nanos(last.program_time.unix_nanos().saturating_add(nanos(main, last.ticks)));
    let renditions = record.renditions.iter();
    let ends = renditions
        .clone()
        .filter_map(|one| Some((one, found.get(&one.name)?.segments.values().next_back()?)));
    let edge_nanos = ends.clone().map(|(one, last)| nanos(one, last.decode + last.ticks)).max()?;
    let highest = ends.map(|(_, last)| last.number).max()?;
    let next = if record.complete { highest + 1 } else { beyond(highest, record, now - newest) };
    let past = Past {
        name: record.instance.clone(),
        lineup: record.lineup,
        renditions: renditions.filter_map(|one| Some(found.get(&one.name)?.rendition(one))).collect(),
        next,
        until: now,
    };
    let resumption = Resumption { past: record.feed.clone(), next_segment: SegmentNumber(next), edge_nanos };
    Some(Restored { past, resumption, newest })
}

/// A number that nothing listed can have had when `highest` was the newest stored, `nanos` before now. Segments are hardly
/// shorter than nine tenths of what they aim at, but for the first of an epoch and the one that was growing.
fn beyond(highest: u64, record: &InstanceRecord, nanos: i64) -> u64 {
    let shortest = record.feed.settings.segment_target.mul_f64(0.8).as_nanos().max(1);
    let listed = u128::from(nanos.max(0).unsigned_abs()) / shortest;
    highest.saturating_add(3).saturating_add(u64::try_from(listed).unwrap_or(0))
}

//! Packets and instants for the cores' tests.

#![allow(clippy::unwrap_used, reason = "only tests and fuzz targets are built with it")]
#![cfg_attr(fuzzing, allow(dead_code, reason = "fuzz targets use a part of it"))]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bicast_shared::id::{Epoch, StreamKey};
use bicast_shared::packet::{MediaPacket, Stamp};
use bicast_shared::time::{MediaTime, ProgramTime};
use bytes::Bytes;

use crate::core::keeper::{Keeper, Name, Object, Step};
use crate::core::record::{Found, InstanceRecord, SegmentRecord};
use crate::core::snapshot::{FeedSnapshot, RenditionMedia, RenditionSnapshot};
use crate::core::window::{Init, Part, Segment, SegmentHead, Stay};

/// The instant `millis` after an arbitrary one, the same in the whole test process.
pub(crate) fn at(millis: i64) -> Instant {
    static ZERO: OnceLock<Instant> = OnceLock::new();
    let zero = *ZERO.get_or_init(|| bicast_shared::clock::now() + Duration::from_secs(1_000));
    if millis < 0 {
        zero - Duration::from_millis(millis.unsigned_abs())
    } else {
        zero + Duration::from_millis(millis.unsigned_abs())
    }
}

/// A packet in the making.
#[derive(Clone)]
pub(crate) struct TestPacket(MediaPacket);

/// Packet `sequence` of a frame at `media_time`, of epoch 0 and no segment.
pub(crate) fn packet(sequence: i64, media_time: i64) -> TestPacket {
    TestPacket(MediaPacket {
        key: StreamKey::default(),
        stamp: Stamp {
            epoch: Epoch(0),
            bus_sequence: sequence.unsigned_abs(),
            sequence,
            media_time: MediaTime(media_time),
            decode_time: None,
            map_version: 0,
            program_time: bicast_shared::time::ProgramTime::default(),
            keyframe: false,
            segment: None,
            segment_start: MediaTime(0),
        },
        marker: true,
        payload: Bytes::new(),
        orientation: None,
        received: at(0),
    })
}

impl TestPacket {
    pub(crate) fn epoch(mut self, epoch: u32) -> Self {
        self.0.stamp.epoch = Epoch(epoch);
        self
    }

    pub(crate) fn received(mut self, received: Instant) -> Self {
        self.0.received = received;
        self
    }
}

impl From<TestPacket> for MediaPacket {
    fn from(packet: TestPacket) -> Self {
        packet.0
    }
}

/// A segment of `parts` parts of 200 ticks; with 1,000 ticks a second, segments of 2 s from 1970 on.
pub(crate) fn segment(number: u64, parts: usize, complete: bool) -> Segment {
    let nanos = i64::try_from(number).unwrap() * 2_000_000_000;
    let head = SegmentHead {
        number,
        program_time: ProgramTime::from_unix_nanos(nanos),
        discontinuity: false,
        init: Arc::new(Init { number: 0, data: Bytes::from_static(b"init") }),
        decode: nanos / 1_000_000,
        presentation: nanos / 1_000_000,
        stay: Stay::default(),
    };
    let part = |index| Part {
        ticks: 200,
        independent: index == 0,
        gap: false,
        keyframe_bytes: 3,
        data: Bytes::from_static(b"part"),
    };
    let parts: Vec<Part> = (0..parts).map(part).collect();
    let ticks = 200 * i64::try_from(parts.len()).unwrap();
    let data = if complete { Bytes::from(b"part".repeat(parts.len())) } else { Bytes::new() };
    Segment { head, parts, ticks, complete, data, stored: None }
}

/// A rendition of such segments, with nothing else to it.
pub(crate) fn rendition(segments: Vec<Arc<Segment>>) -> RenditionSnapshot {
    RenditionSnapshot {
        name: "video0".into(),
        codecs: String::new(),
        media: RenditionMedia::Audio { channels: 2 },
        timescale: 1_000,
        segments,
        removed: Vec::new(),
        discontinuity_sequence: 0,
        coming: None,
        edge: 0,
    }
}

/// A store in memory.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    pub(crate) instance: Option<InstanceRecord>,
    pub(crate) found: BTreeMap<String, Found>,
    pub(crate) pages: BTreeMap<(String, u64), Vec<SegmentRecord>>,
    pub(crate) steps: usize,
}

impl MemoryStore {
    fn apply(&mut self, step: &Step) {
        self.steps += 1;
        match step.clone() {
            Step::WriteInstance(record) => self.instance = Some(*record),
            Step::Write(object, data) => {
                let found = self.found.entry(object.rendition).or_default();
                match object.name {
                    Name::Init(number) => drop(found.inits.insert(number, data)),
                    Name::Segment(number) => drop(found.sizes.insert(number, data.len())),
                    Name::Page(_) => unreachable!(),
                }
            }
            Step::WritePage(Object { rendition, name: Name::Page(page) }, records) => {
                self.pages.insert((rendition, page), records);
            }
            Step::WritePage(..) => unreachable!(),
            Step::Delete(Object { rendition, name }) => {
                let found = self.found.entry(rendition.clone()).or_default();
                let was_there = match name {
                    Name::Init(number) => found.inits.remove(&number).is_some(),
                    Name::Segment(number) => found.sizes.remove(&number).is_some(),
                    Name::Page(page) => self.pages.remove(&(rendition, page)).is_some(),
                };
                assert!(was_there);
            }
        }
    }

    /// Does everything there is to do.
    pub(crate) fn keep(&mut self, keeper: &mut Keeper, snapshot: &FeedSnapshot, record: &InstanceRecord) {
        while let Some(step) = keeper.next(snapshot, record) {
            self.apply(&step);
            keeper.done(step);
        }
    }

    /// What another process finds.
    pub(crate) fn found(mut self) -> BTreeMap<String, Found> {
        for ((rendition, _), records) in self.pages {
            let found = self.found.entry(rendition).or_default();
            found.segments.extend(records.into_iter().map(|record| (record.number, record)));
        }
        self.found.values_mut().for_each(Found::mend);
        self.found
    }
}

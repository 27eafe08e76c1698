//! What a rendition's playlist lists: segments and their parts. Grows at the end, loses its oldest.
//!
//! Where segments are stored, only the newest of them (the live part) are held in memory: an older one that the store has
//! [`Window::handle_stored`] lets go of. Without a store, or while it fails, what is listed is as long as the memory allows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::id::Epoch;
use bicast_shared::time::{ClockRate, ProgramTime};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// An init segment. Its number stands in its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Init {
    /// Counts the init segments of the rendition.
    pub number: u32,
    /// The file.
    pub data: Bytes,
}

impl Init {
    /// Stands where a segment has nothing to describe: it is a gap, and nothing is known of the bitstream yet.
    #[must_use]
    pub const fn missing() -> Self {
        Self { number: u32::MAX, data: Bytes::new() }
    }

    /// Whether there is nothing to load.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        self.data.is_empty()
    }
}

/// A part: listed only when all of it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How long it lasts, in ticks.
    pub ticks: i64,
    /// Whether decoding can begin with its first sample.
    pub independent: bool,
    /// Nothing could be written for this time: it has no bytes.
    pub gap: bool,
    /// How many of its bytes a player needs for its first frame alone, where decoding can begin with that; else 0.
    pub keyframe_bytes: usize,
    /// `moof` and `mdat`.
    pub data: Bytes,
}

/// What is known when a segment begins.
#[derive(Debug, Clone)]
pub struct SegmentHead {
    /// Its Media Sequence Number.
    pub number: u64,
    /// UTC of its first frame.
    pub program_time: ProgramTime,
    /// Whether the timeline breaks in front of it.
    pub discontinuity: bool,
    /// How its samples are described.
    pub init: Arc<Init>,
    /// When its first sample is decoded, in ticks.
    pub decode: i64,
    /// When its first sample is shown, in ticks; `program_time` is the UTC of it.
    pub presentation: i64,
    /// The publisher's stay that it belongs to.
    pub stay: Stay,
}

/// A publisher's stay, as a rendition has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stay {
    /// Its number.
    pub epoch: Epoch,
    /// When its first sample is shown, in ticks.
    pub presentation: i64,
    /// UTC of it.
    pub program_time: ProgramTime,
}

/// How large a segment is of which nothing is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// All of it, in bytes; 0 for a gap.
    pub bytes: usize,
    /// What a player needs for the keyframe that it begins with, in bytes; 0 where it begins with something else.
    pub keyframe_bytes: usize,
}

/// A segment, complete or growing.
#[derive(Debug, Clone)]
pub struct Segment {
    /// What was known when it began.
    pub head: SegmentHead,
    /// Its parts so far. None where it is only in the store: too old for anybody to ask for parts.
    pub parts: Vec<Part>,
    /// The sum of its parts.
    pub ticks: i64,
    /// Whether nothing will be added to it.
    pub complete: bool,
    /// All its bytes, once complete: the parts one after another. None where it is only in the store.
    pub data: Bytes,
    /// It is only in the store.
    pub stored: Option<Stored>,
}

impl Segment {
    fn new(head: SegmentHead) -> Self {
        Self { head, parts: Vec::new(), ticks: 0, complete: false, data: Bytes::new(), stored: None }
    }

    /// A complete segment of `ticks` that is only in the store.
    #[must_use]
    pub const fn only_stored(head: SegmentHead, ticks: i64, stored: Stored) -> Self {
        Self { head, parts: Vec::new(), ticks, complete: true, data: Bytes::new(), stored: Some(stored) }
    }

    /// Whether there is nothing to load in it.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.complete && self.bytes() == 0
    }

    /// How many of its bytes the keyframe needs that it begins with. None where it begins with something else.
    #[must_use]
    pub fn keyframe(&self) -> Option<usize> {
        let first = || self.parts.iter().find(|part| !part.data.is_empty());
        let held = || first().map_or(0, |part| part.keyframe_bytes);
        Some(self.stored.map_or_else(held, |stored| stored.keyframe_bytes)).filter(|bytes| *bytes > 0)
    }

    /// Bytes of media in it, wherever they are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.stored.map_or_else(|| self.held(), |stored| stored.bytes)
    }

    /// Bytes of media in it that are in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.parts.iter().map(|part| part.data.len()).sum()
    }
}

/// How much is kept, and how long what is listed may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Ticks per second.
    pub rate: ClockRate,
    /// PART-TARGET in ticks: no part is longer.
    pub part: i64,
    /// TARGETDURATION in ticks: no segment that nothing was written for is longer.
    pub segment: i64,
    /// Ticks of complete segments that are listed.
    pub ticks: i64,
    /// Never less than this is listed (3 target durations, RFC 8216bis 6.2.2), whatever `bytes` says.
    pub least_ticks: i64,
    /// Ticks of segments that can still be fetched after they are no longer listed.
    pub grace_ticks: i64,
    /// Ticks of the live part: so much is held in memory, whatever is stored.
    pub live_ticks: i64,
    /// Ticks that somebody is behind: as much more can be fetched, and is held in memory unless that would be too many bytes.
    pub late_ticks: i64,
    /// Ticks of segments that may be held in memory. Beyond, those that are not stored are no longer listed.
    pub held_ticks: i64,
    /// Bytes of media in memory.
    pub bytes: usize,
    /// Bytes of media in the store.
    pub stored_bytes: usize,
}

/// The segments of a rendition.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    segments: VecDeque<Arc<Segment>>,
    open: Option<Segment>,
    removed: VecDeque<Arc<Segment>>,
    discontinuity_sequence: u64,
    discontinuities: u64,
    /// The newest segment that the store has, and with it all that are listed before it.
    stored_to: Option<u64>,
    /// How many of the listed ones are only in the store: the oldest.
    away: usize,
    ticks: i64,
    /// Ticks of what is held in memory.
    held_ticks: i64,
    /// Bytes in memory, and in the store alone.
    bytes: usize,
    away_bytes: usize,
}

impl Window {
    /// An empty window.
    #[must_use]
    pub const fn new(limits: WindowLimits) -> Self {
        Self {
            limits,
            segments: VecDeque::new(),
            open: None,
            removed: VecDeque::new(),
            discontinuity_sequence: 0,
            discontinuities: 0,
            stored_to: None,
            away: 0,
            ticks: 0,
            held_ticks: 0,
            bytes: 0,
            away_bytes: 0,
        }
    }

    /// The window of a playlist that goes on: these segments, oldest first, are all [only in the store](Segment::only_stored),
    /// and `discontinuity_sequence` discontinuities have left the list before them.
    #[must_use]
    pub fn restore(limits: WindowLimits, segments: Vec<Segment>, discontinuity_sequence: u64) -> Self {
        let mut window = Self::new(limits);
        let breaks = segments.iter().filter(|segment| segment.head.discontinuity).count() as u64;
        window.discontinuity_sequence = discontinuity_sequence;
        window.discontinuities = discontinuity_sequence + breaks;
        window.stored_to = segments.last().map(|segment| segment.head.number);
        window.away = segments.len();
        window.ticks = segments.iter().map(|segment| segment.ticks).sum();
        window.away_bytes = segments.iter().map(Segment::bytes).sum();
        window.segments = segments.into_iter().map(Arc::new).collect();
        window.shrink();
        window.removed.clear();
        window
    }

    /// The store has every listed segment up to this number: those behind the live part leave the memory.
    pub fn handle_stored(&mut self, number: u64) {
        self.stored_to = self.stored_to.max(Some(number));
        self.let_go();
    }

    /// The store is full: the oldest that are only there are no longer listed, nor served, so that there is room for what
    /// waits to be stored.
    pub fn make_room(&mut self) {
        let waits = |segment: &&Arc<Segment>| Some(segment.head.number) > self.stored_to;
        let wanted = self.segments.iter().filter(waits).map(|segment| segment.bytes()).sum::<usize>();
        let mut freed = 0;
        while self.away > 0 && freed < wanted.max(1) {
            let Some(oldest) = self.segments.front() else { return };
            if self.ticks - oldest.ticks < self.limits.least_ticks {
                return;
            }
            freed += oldest.bytes();
            self.drop_oldest();
        }
    }

    /// Lists so many ticks from now on, and holds so many in memory. What is listed grows with what comes, and shrinks with the next
    /// segment that ends.
    pub fn set_length(&mut self, ticks: i64, held_ticks: i64) {
        let limits = &mut self.limits;
        (limits.ticks, limits.held_ticks) = (ticks, held_ticks.max(limits.live_ticks + limits.late_ticks));
    }

    /// How much is kept.
    #[must_use]
    pub const fn limits(&self) -> WindowLimits {
        self.limits
    }

    /// The segment that grows now.
    #[must_use]
    pub const fn open(&self) -> Option<&Segment> {
        self.open.as_ref()
    }

    /// The number of the newest segment, complete or not.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        let open = self.open.as_ref().map(|segment| segment.head.number);
        open.or_else(|| self.segments.back().map(|segment| segment.head.number))
    }

    /// Discontinuities since the beginning.
    #[must_use]
    pub const fn discontinuities(&self) -> u64 {
        self.discontinuities
    }

    /// Begins a segment. Numbers that were left out are listed as gaps, because a Media Sequence Number is counted, not
    /// written. They share the time that is missing, so that dates run on by the durations in between; however many they
    /// are, they leave the list like other segments, by their time.
    pub fn begin(&mut self, head: SegmentHead) {
        self.end();
        if let Some(last) = self.segments.back().cloned() {
            self.list_gaps(&last, &head);
        }
        self.open = Some(Segment::new(head));
    }

    /// The numbers before `next` are gaps that are listed now, and share the time until `until`.
    pub fn skip_to(&mut self, next: u64, until: ProgramTime) {
        if let Some(last) = self.segments.back().cloned() {
            let head = SegmentHead { number: next, program_time: until, ..last.head.clone() };
            self.list_gaps(&last, &head);
        }
    }

    fn list_gaps(&mut self, last: &Segment, head: &SegmentHead) {
        let first = last.head.number + 1;
        let count = i64::try_from(head.number.saturating_sub(first)).unwrap_or(i64::MAX);
        if count == 0 {
            return;
        }
        let WindowLimits { rate, part, segment, .. } = self.limits;
        let from = last.head.program_time + span(rate, last.ticks);
        let missing =
            bicast_shared::time::scale(head.program_time - from, i64::from(rate.hz()), 1_000_000_000);
        // Where more is missing than segments may last, the date jumps at the discontinuity behind the gap.
        let ticks = (missing / count).clamp(part.min(segment), segment);
        let parts = (ticks + part - 1) / part;
        for (number, at) in (first..head.number).zip(0..) {
            let program_time = from + span(rate, ticks * at);
            let decode = last.head.decode + last.ticks + ticks * at;
            let presentation = decode + last.head.presentation - last.head.decode;
            let head = SegmentHead {
                number,
                program_time,
                decode,
                presentation,
                discontinuity: false,
                ..last.head.clone()
            };
            self.open = Some(Segment::new(head));
            for n in 0..parts {
                let ticks = ticks * (n + 1) / parts - ticks * n / parts;
                self.push(Part {
                    ticks,
                    independent: false,
                    gap: true,
                    keyframe_bytes: 0,
                    data: Bytes::new(),
                });
            }
            self.end();
        }
    }

    /// The open segment, which has no part yet, begins with other things than first thought.
    pub fn amend(&mut self, init: Arc<Init>, discontinuity: bool) {
        if let Some(open) = self.open.as_mut().filter(|open| open.parts.is_empty()) {
            open.head.init = init;
            open.head.discontinuity |= discontinuity;
        }
    }

    /// Adds a part to the open segment.
    pub fn push(&mut self, part: Part) {
        let Some(open) = &mut self.open else { return };
        open.ticks += part.ticks;
        self.ticks += part.ticks;
        self.held_ticks += part.ticks;
        self.bytes += part.data.len();
        open.parts.push(part);
    }

    /// Ends the open segment. One without parts is forgotten.
    pub fn end(&mut self) {
        let Some(mut segment) = self.open.take() else { return };
        if segment.parts.is_empty() {
            return;
        }
        segment.complete = true;
        // One allocation for both: the parts become slices of the segment.
        let mut all = BytesMut::with_capacity(segment.bytes());
        for part in &segment.parts {
            all.extend_from_slice(&part.data);
        }
        segment.data = all.freeze();
        let mut at = 0;
        for part in &mut segment.parts {
            let end = at + part.data.len();
            part.data = segment.data.slice(at..end);
            at = end;
        }
        self.discontinuities += u64::from(segment.head.discontinuity);
        self.segments.push_back(Arc::new(segment));
        self.shrink();
    }

    /// The listed segments, oldest first; the open one last if it has a part.
    #[must_use]
    pub fn listed(&self) -> Vec<Arc<Segment>> {
        let open = self.open.iter().filter(|open| !open.parts.is_empty()).cloned().map(Arc::new);
        self.segments.iter().cloned().chain(open).collect()
    }

    /// Segments that are no longer listed but can still be fetched.
    #[must_use]
    pub fn removed(&self) -> Vec<Arc<Segment>> {
        self.removed.iter().cloned().collect()
    }

    /// EXT-X-DISCONTINUITY-SEQUENCE: how many discontinuities have left the list.
    #[must_use]
    pub const fn discontinuity_sequence(&self) -> u64 {
        self.discontinuity_sequence
    }

    fn shrink(&mut self) {
        self.let_go();
        while let Some(oldest) = self.segments.front() {
            let rest = self.ticks - oldest.ticks;
            if !self.is_too_much(rest) || rest < self.limits.least_ticks {
                break;
            }
            let oldest = self.drop_oldest();
            self.removed.extend(oldest);
        }
        let limits = self.limits;
        let mut kept: i64 = self.removed.iter().map(|segment| segment.ticks).sum();
        let mut held = self.removed_bytes();
        // Who is behind is promised as much of a list as everybody.
        let least =
            limits.grace_ticks.max(limits.late_ticks + limits.least_ticks + limits.grace_ticks - self.ticks);
        while let Some(oldest) = self.removed.front() {
            let (ticks, bytes) = (oldest.ticks, oldest.held());
            let too_long = kept > limits.grace_ticks + limits.late_ticks;
            let too_much = bytes > 0 && self.bytes + held > limits.bytes && kept - ticks >= least;
            if !too_long && !too_much {
                break;
            }
            (kept, held) = (kept - ticks, held - bytes);
            self.removed.pop_front();
        }
    }

    fn removed_bytes(&self) -> usize {
        self.removed.iter().map(|segment| segment.held()).sum()
    }

    /// Whether the list is too long, of which `rest` ticks are left without its oldest segment.
    fn is_too_much(&self, rest: i64) -> bool {
        let limits = &self.limits;
        let unstored = self.segments.get(self.away).map_or(0, |oldest| self.held_ticks - oldest.ticks);
        rest >= limits.ticks
            || self.bytes > limits.bytes
            || self.away_bytes > limits.stored_bytes
            || unstored >= limits.held_ticks
    }

    fn drop_oldest(&mut self) -> Option<Arc<Segment>> {
        let oldest = self.segments.pop_front()?;
        self.ticks -= oldest.ticks;
        self.discontinuity_sequence += u64::from(oldest.head.discontinuity);
        if self.away > 0 {
            self.away -= 1;
            self.away_bytes -= oldest.bytes();
        } else {
            self.held_ticks -= oldest.ticks;
            self.bytes -= oldest.bytes();
        }
        Some(oldest)
    }

    /// Segments that are stored and behind the live part, and behind what somebody is behind as long as there is room, are no longer held.
    fn let_go(&mut self) {
        let removed = self.removed_bytes();
        while let Some(oldest) = self.segments.get_mut(self.away) {
            let is_stored = Some(oldest.head.number) <= self.stored_to;
            let WindowLimits { live_ticks, late_ticks, .. } = self.limits;
            let late_ticks = if self.bytes + removed > self.limits.bytes { 0 } else { late_ticks };
            if !is_stored || self.held_ticks - oldest.ticks < live_ticks + late_ticks {
                return;
            }
            let stored = Stored { bytes: oldest.held(), keyframe_bytes: oldest.keyframe().unwrap_or(0) };
            self.held_ticks -= oldest.ticks;
            self.bytes -= stored.bytes;
            self.away_bytes += stored.bytes;
            self.away += 1;
            *oldest = Arc::new(Segment::only_stored(oldest.head.clone(), oldest.ticks, stored));
        }
    }
}

/// So many ticks as a time.
fn span(rate: ClockRate, ticks: i64) -> Duration {
    Duration::from_nanos(u64::try_from(rate.nanos(ticks)).unwrap_or(0))
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;

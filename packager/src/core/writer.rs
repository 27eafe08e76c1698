//! Writes one rendition: samples in, parts and segments out. When to cut is decided by its caller.

use std::sync::Arc;

use bytes::Bytes;

use crate::core::cmaf::{Sample, fragment};
use crate::core::feed::Limits;
use crate::core::past::PastRendition;
use crate::core::plan::SegmentPlan;
use crate::core::window::{Init, Part, Segment, SegmentHead, Stay, Window, WindowLimits};
use bicast_shared::time::{ClockRate, ProgramTime};

/// The writer of one rendition.
#[derive(Debug)]
pub struct Writer {
    rate: ClockRate,
    window: Window,
    samples: Vec<Sample>,
    /// Ticks of `samples`.
    open_ticks: i64,
    /// Where the next sample is decoded.
    edge: i64,
    /// Ticks of the open segment, parts and samples.
    segment_ticks: i64,
    /// The stay that the newest segment belongs to; none before the first.
    stay: Option<Stay>,
    parts: u64,
    changes: u64,
    amends: u64,
}

impl Writer {
    /// A writer on the clock of `limits`.
    #[must_use]
    pub const fn new(limits: WindowLimits) -> Self {
        Self {
            rate: limits.rate,
            window: Window::new(limits),
            samples: Vec::new(),
            open_ticks: 0,
            edge: 0,
            segment_ticks: 0,
            stay: None,
            parts: 0,
            changes: 0,
            amends: 0,
        }
    }

    /// Its playlist goes on.
    pub fn restore(&mut self, past: PastRendition) {
        let PastRendition { segments, discontinuity_sequence, .. } = past;
        self.stay = segments.last().map(|last| last.head.stay);
        self.edge = segments.last().map_or(0, |last| last.head.decode + last.ticks);
        self.window = Window::restore(self.window.limits(), segments, discontinuity_sequence);
    }

    /// Nothing will stand in the numbers before `next`, nor at any time before `until`.
    pub fn skip_to(&mut self, next: u64, until: ProgramTime) {
        self.window.skip_to(next, until);
    }

    /// The store has its listed segments up to `number`.
    pub fn handle_stored(&mut self, number: u64) {
        self.window.handle_stored(number);
    }

    /// Its playlist is as long as these limits say from now on.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.window.set_length(self.rate.ticks(limits.window), self.rate.ticks(limits.held));
    }

    /// The store is full.
    pub fn make_room(&mut self) {
        self.window.make_room();
    }

    /// Ticks per second.
    #[must_use]
    pub const fn rate(&self) -> ClockRate {
        self.rate
    }

    /// Where the next sample is decoded.
    #[must_use]
    pub const fn edge(&self) -> i64 {
        self.edge
    }

    /// How long the open part is so far.
    #[must_use]
    pub const fn part_ticks(&self) -> i64 {
        self.open_ticks
    }

    /// Samples in the open part.
    #[must_use]
    pub fn part_samples(&self) -> usize {
        self.samples.len()
    }

    /// How long the open segment is so far.
    #[must_use]
    pub const fn segment_ticks(&self) -> i64 {
        self.segment_ticks
    }

    /// Parts written since the beginning.
    #[must_use]
    pub const fn parts(&self) -> u64 {
        self.parts
    }

    /// How often the init section of a segment was known before its first part: a hint tells of it.
    #[must_use]
    pub const fn amends(&self) -> u64 {
        self.amends
    }

    /// Counts the parts and segments that change the playlist.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// What is listed.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// The segment that grows now.
    #[must_use]
    pub const fn open(&self) -> Option<&Segment> {
        self.window.open()
    }

    /// Ends the open segment and begins the next one with a sample decoded at `decode` and shown at `presentation`. Time
    /// runs on from the last sample unless the plan says that it restarts.
    pub fn begin(&mut self, plan: &SegmentPlan, decode: i64, presentation: i64, init: Arc<Init>) {
        self.end();
        let fresh = self.window.newest().is_none();
        if plan.restart || fresh {
            self.edge = decode;
        }
        let program_time = plan.program_time(self.rate, presentation);
        let begins = Stay { epoch: plan.epoch, presentation, program_time };
        let stay = self.stay.filter(|stay| stay.epoch == plan.epoch).unwrap_or(begins);
        self.stay = Some(stay);
        let head = SegmentHead {
            number: plan.number,
            program_time,
            discontinuity: plan.discontinuity && !fresh,
            init,
            decode: self.edge,
            presentation,
            stay,
        };
        self.window.begin(head);
        self.segment_ticks = 0;
    }

    /// The open segment, which has no part yet, begins with another init segment than first thought.
    pub fn amend(&mut self, init: Arc<Init>, discontinuity: bool) {
        let fresh = self.window.listed().is_empty();
        self.window.amend(init, discontinuity && !fresh);
        self.amends += 1;
    }

    /// Adds a sample to the open part.
    pub fn push(&mut self, sample: Sample) {
        let ticks = i64::from(sample.duration);
        self.open_ticks += ticks;
        self.segment_ticks += ticks;
        self.edge += ticks;
        self.samples.push(sample);
    }

    /// Ends the open part. Nothing happens when it is empty.
    pub fn end_part(&mut self) {
        let Some(open) = self.window.open().filter(|_| !self.samples.is_empty()) else {
            self.samples.clear();
            self.open_ticks = 0;
            return;
        };
        let index = open.parts.len();
        // Counts up, and is the same whoever packages the feed.
        let sequence = open.head.number.wrapping_mul(1_000).wrapping_add(index as u64 + 1);
        let sequence = u32::try_from(sequence & u64::from(u32::MAX)).unwrap_or(0);
        let start = u64::try_from(self.edge - self.open_ticks).unwrap_or(0);
        let data = fragment::write(sequence, index == 0, start, &self.samples);
        let independent = self.samples.first().is_some_and(|sample| sample.kind.is_sync());
        let behind: usize = self.samples.iter().skip(1).map(|sample| sample.data.len()).sum();
        let keyframe_bytes = if independent { data.len() - behind } else { 0 };
        self.window.push(Part { ticks: self.open_ticks, independent, gap: false, keyframe_bytes, data });
        self.samples.clear();
        self.open_ticks = 0;
        self.parts += 1;
        self.changes += 1;
    }

    /// Ends the open part and adds one that nothing could be written for.
    pub fn gap(&mut self, ticks: i64) {
        self.end_part();
        self.edge += ticks;
        self.segment_ticks += ticks;
        self.window.push(Part {
            ticks,
            independent: false,
            gap: true,
            keyframe_bytes: 0,
            data: Bytes::new(),
        });
        self.parts += 1;
        self.changes += 1;
    }

    /// Ends the open segment.
    pub fn end(&mut self) {
        self.end_part();
        self.changes += u64::from(self.window.open().is_some());
        self.window.end();
        self.segment_ticks = 0;
    }
}

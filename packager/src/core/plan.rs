//! Where segments begin, as the feed's owner marked it, for the renditions that follow the one that drives the cuts.

use std::collections::VecDeque;
use std::sync::Arc;

use bicast_shared::feed::info::TimelineMap;
use bicast_shared::id::Epoch;
use bicast_shared::time::{ClockRate, MediaTime, ProgramTime};

/// A segment to come, or one that has begun.
#[derive(Debug, Clone)]
pub struct SegmentPlan {
    /// Its number.
    pub number: u64,
    /// Whose stay it belongs to.
    pub epoch: Epoch,
    /// Where it begins, in ticks of the driving track's clock, which is the master clock.
    pub start: MediaTime,
    /// The mapping that its PROGRAM-DATE-TIME is read from, in all renditions.
    pub map: Arc<TimelineMap>,
    /// Whether the timeline breaks in front of it.
    pub discontinuity: bool,
    /// Whether media time jumps there too: what came before was ended.
    pub restart: bool,
}

impl SegmentPlan {
    /// UTC of `at`, a time on the master clock in ticks of `rate`.
    #[must_use]
    pub fn program_time(&self, rate: ClockRate, at: i64) -> ProgramTime {
        self.map.master_time(rate, MediaTime(at))
    }
}

/// Segments that a rendition has not caught up with; older ones are forgotten.
const REMEMBERED: usize = 64;

/// The plans of a feed, in order of number.
#[derive(Debug)]
pub struct Plans {
    rate: ClockRate,
    plans: VecDeque<SegmentPlan>,
    /// Every cut up to here is known, in ticks of `rate`.
    watermark: Option<i64>,
}

impl Plans {
    /// No plans yet. `rate` is the driving track's.
    #[must_use]
    pub const fn new(rate: ClockRate) -> Self {
        Self { rate, plans: VecDeque::new(), watermark: None }
    }

    /// The driving track's clock rate.
    #[must_use]
    pub const fn rate(&self) -> ClockRate {
        self.rate
    }

    /// The newest segment known.
    #[must_use]
    pub fn newest(&self) -> Option<&SegmentPlan> {
        self.plans.back()
    }

    /// Adds a segment. Its number must be higher than all before.
    pub fn push(&mut self, plan: SegmentPlan) {
        self.watermark = Some(self.watermark.map_or(plan.start.0, |mark| mark.max(plan.start.0)));
        self.plans.push_back(plan);
        if self.plans.len() > REMEMBERED {
            self.plans.pop_front();
        }
    }

    /// The newest segment turns out to need a discontinuity.
    pub fn mark_discontinuity(&mut self) {
        if let Some(newest) = self.plans.back_mut() {
            newest.discontinuity = true;
        }
    }

    /// The segment that follows `number`; the oldest one known for none.
    #[must_use]
    pub fn after(&self, number: Option<u64>) -> Option<&SegmentPlan> {
        self.plans.iter().find(|plan| number.is_none_or(|number| plan.number > number))
    }

    /// The first segment after `number` (the oldest known, for none) that belongs to this epoch or a later one.
    #[must_use]
    pub fn of_epoch(&self, epoch: Epoch, number: Option<u64>) -> Option<&SegmentPlan> {
        let after = self.plans.iter().filter(|plan| number.is_none_or(|number| plan.number > number));
        after.into_iter().find(|plan| plan.epoch >= epoch)
    }

    /// Every cut before `at` is known now.
    pub fn advance(&mut self, at: i64) {
        self.watermark = Some(self.watermark.map_or(at, |mark| mark.max(at)));
    }

    /// How far cuts are known, in ticks of another clock, rounded down.
    #[must_use]
    pub fn watermark(&self, rate: ClockRate) -> Option<i64> {
        let mark = i128::from(self.watermark?);
        i64::try_from((mark * i128::from(rate.hz())).div_euclid(i128::from(self.rate.hz()))).ok()
    }

    /// Where a segment begins in ticks of another clock, rounded up: the first frame at or after it is its first.
    #[must_use]
    pub fn start(&self, plan: &SegmentPlan, rate: ClockRate) -> i64 {
        let scaled = i128::from(plan.start.0) * i128::from(rate.hz());
        let own = i128::from(self.rate.hz());
        i64::try_from((scaled + own - 1).div_euclid(own)).unwrap_or(i64::MAX)
    }
}

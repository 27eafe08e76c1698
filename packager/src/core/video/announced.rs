//! A video track that is one of several layers: its segments begin where all of them do, whatever it has sent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::VideoTrack;
use crate::core::cmaf::init;
use crate::core::maps::Maps;
use crate::core::plan::{Plans, SegmentPlan};
use crate::core::window::Init;

/// Segments announced that a track may still have to begin.
const REMEMBERED: usize = 16;

/// The newest segments of all layers.
#[derive(Debug, Default)]
pub(super) struct Announced(VecDeque<SegmentPlan>);

impl Announced {
    fn find(&self, number: u64) -> Option<&SegmentPlan> {
        self.0.iter().find(|plan| plan.number == number)
    }

    /// The first after `number` for which `due` holds.
    fn after(&self, number: Option<u64>, due: impl Fn(&SegmentPlan) -> bool) -> Option<SegmentPlan> {
        self.0
            .iter()
            .find(|plan| number.is_none_or(|number| plan.number > number))
            .filter(|plan| due(plan))
            .cloned()
    }
}

impl VideoTrack {
    /// A segment begins in all layers.
    pub fn announce(&mut self, plan: SegmentPlan) {
        let Some(announced) = &mut self.announced else { return };
        announced.0.push_back(plan);
        if announced.0.len() > REMEMBERED {
            announced.0.pop_front();
        }
    }

    /// Whether parameter sets wait for a segment that may begin with another init segment.
    pub(in crate::core) const fn lacks_init(&self) -> bool {
        self.coming.is_some() && self.init.is_some()
    }

    /// Begins the segments that were announced before `segment`.
    pub(super) fn begin_announced(&mut self, segment: Option<u64>, plans: &mut Plans, maps: &Maps) {
        let Some(segment) = segment else { return };
        self.begin_due(|plan| plan.number < segment, plans, maps);
    }

    /// The newest frame that has come since media last ended.
    pub(in crate::core) fn newest(&self) -> Option<i64> {
        self.frame.map(|frame| frame.stamp.media_time.0)
    }

    /// What a frame usually lasts.
    pub(in crate::core) const fn frame_ticks(&self) -> i64 {
        self.cut.frame
    }

    /// The layer does not run: nothing stands in for what it does not send.
    pub(in crate::core) fn lose(&mut self) {
        self.pictures.lose();
    }

    /// Begins the segments that should have begun by `at`, and fills what is missing before it.
    pub(in crate::core) fn catch_up(&mut self, at: i64, plans: &mut Plans, maps: &Maps) {
        self.begin_due(|plan| plan.start.0 <= at, plans, maps);
        if self.running {
            self.fill_to(at, plans, maps);
        }
    }

    /// How far what is written goes; none where nothing is.
    pub(in crate::core) fn reached(&self) -> Option<i64> {
        self.running.then(|| self.writer().edge())
    }

    /// Media of all layers ends here: a segment that some of them have is not missing in the others, however little of it there is.
    pub(in crate::core) fn end_at(&mut self, reached: i64, plans: &mut Plans, maps: &Maps) {
        self.begin_due(|plan| plan.start.0 < reached, plans, maps);
        if self.running && self.writer().edge() < reached {
            self.pictures.settle(reached);
        }
    }

    fn begin_due(&mut self, due: impl Fn(&SegmentPlan) -> bool, plans: &mut Plans, maps: &Maps) {
        for _ in 0..REMEMBERED {
            let newest = plans.newest().map(|plan| plan.number);
            let Some(plan) = self.announced.as_ref().and_then(|all| all.after(newest, &due)) else { return };
            self.handle_cut(plan, plans, maps);
        }
    }

    /// The plan with the breaks of the timeline in front of it: those that were announced for all layers, or its own.
    pub(super) fn with_breaks(&self, plan: SegmentPlan) -> SegmentPlan {
        let (discontinuity, restart) = match &self.announced {
            Some(announced) => {
                announced.find(plan.number).map_or((false, false), |plan| (plan.discontinuity, plan.restart))
            }
            None => (self.restart || self.new_init, self.restart),
        };
        SegmentPlan { discontinuity, restart, ..plan }
    }

    /// The init segment that the segment of this plan has; none where it cannot begin.
    pub(super) fn init_of(&mut self, plan: &SegmentPlan) -> Option<Arc<Init>> {
        if plan.discontinuity || self.init.is_none() {
            self.take_coming();
        }
        self.init.clone().or_else(|| self.announced.is_some().then(|| Arc::new(Init::missing())))
    }

    /// Whether the open segment may have another init segment than the one before.
    pub(super) fn may_change(&self, plans: &Plans) -> bool {
        let Some(announced) = &self.announced else { return true };
        let open = plans.newest().and_then(|plan| announced.find(plan.number));
        self.init.is_none() || open.is_some_and(|plan| plan.discontinuity)
    }

    /// Parameter sets that waited are in force from here on.
    fn take_coming(&mut self) {
        let Some(config) = self.coming.take() else { return };
        let Some(data) = init::video(&config) else { return };
        let number = self.init.as_ref().map_or(0, |init| init.number + 1);
        self.set_config(config, Arc::new(Init { number, data }));
    }
}

//! Where segments begin: decided once, for every rendition and every reader.

use std::collections::VecDeque;
use std::time::Duration;

use crate::feed::info::{Cadence, CadenceRule};
use crate::feed::settings::FeedSettings;
use crate::id::SegmentNumber;
use crate::time::{ClockRate, MediaTime};

/// The cuts of a feed, in ticks of the track that drives them.
#[derive(Debug)]
pub(super) struct Cuts {
    target: Duration,
    /// An epoch's first segment aims at three parts, because playlists may begin with it: hls.js takes one without a whole
    /// segment for an empty one and gives up, and nobody should wait a whole target for the first picture.
    first_target: Duration,
    next: SegmentNumber,
    /// The epoch's first.
    first: SegmentNumber,
    /// The newest ones: a late packet of an older frame still finds its segment.
    recent: VecDeque<(SegmentNumber, MediaTime)>,
    /// The next keyframe begins a segment whatever its distance: an epoch has begun, or the picture's parameters changed.
    at_once: bool,
    /// The picture is silent, and the newest segment was begun by the time of the sound.
    by_sound: bool,
}

/// Sound that is later than this for a cut did not come for a while.
const LATE: Duration = Duration::from_secs(1);
/// Late packets reach back less than this many segments.
const REMEMBERED: usize = 8;

impl Cuts {
    pub(super) fn new(settings: &FeedSettings) -> Self {
        let (target, first_target) = Self::targets(settings);
        let (next, first, recent) = (SegmentNumber(0), SegmentNumber(0), VecDeque::new());
        Self { target, first_target, next, first, recent, at_once: true, by_sound: false }
    }

    fn targets(settings: &FeedSettings) -> (Duration, Duration) {
        let target = settings.segment_target;
        (target, target.min(settings.part_target * 3))
    }

    /// Segments of the epoch that begins aim at other lengths.
    pub(super) fn set_targets(&mut self, settings: &FeedSettings) {
        (self.target, self.first_target) = Self::targets(settings);
    }

    /// The next segment has this number: those before it were another process's.
    pub(super) const fn resume(&mut self, next: SegmentNumber) {
        (self.next, self.first) = (next, next);
    }

    /// A new epoch: nothing of the one before belongs to its segments.
    pub(super) fn begin_epoch(&mut self) {
        self.recent.clear();
        self.at_once = true;
        self.first = self.next;
        self.by_sound = false;
    }

    /// The newest segment was begun for want of a keyframe before this one of the same time came. If nobody was told of it, its
    /// number is free: nothing would ever stand in it.
    pub(super) fn take_back(&mut self, is_told: impl Fn(MediaTime) -> bool) {
        if let Some((number, _)) = self.recent.pop_back_if(|(_, start)| !is_told(*start)) {
            self.next = number;
        }
    }

    /// Whether a segment of this epoch has begun.
    pub(super) fn has_begun(&self) -> bool {
        !self.recent.is_empty()
    }

    /// The keyframe that comes now has other parameter sets: it needs another initialization section, and that a segment.
    pub(super) fn handle_new_parameters(&mut self) {
        self.at_once = true;
    }

    /// A frame that is newer than all before, seen for the first time or seen for the first time to be a keyframe. True
    /// when a segment begins with it.
    pub(super) fn handle_frame(
        &mut self,
        at: MediaTime,
        keyframe: bool,
        rate: ClockRate,
        cadence: &Cadence,
    ) -> bool {
        let cut = self.is_due(at, keyframe, rate, cadence);
        self.handle_picture();
        if cut {
            self.cut(at);
        }
        cut
    }

    /// Whether a segment may begin with a frame at `at` that is a `keyframe`, or has to with one that is not.
    pub(super) fn is_due(&self, at: MediaTime, keyframe: bool, rate: ClockRate, cadence: &Cadence) -> bool {
        match self.recent.back() {
            _ if self.at_once => keyframe,
            None => keyframe,
            Some((_, start)) => {
                let length = at - *start;
                // A tenth below the target: natural keyframes of jittering encoders come a little early. Every frame
                // of sound is a keyframe, so there the target can be met.
                let by_keyframe = keyframe && cadence.rule != CadenceRule::AudioOnly;
                by_keyframe && length >= rate.ticks(self.target() * 9 / 10)
                    || length >= rate.ticks(longest(cadence, self.target(), self.target))
            }
        }
    }

    /// A picture has come: sound need not begin segments in its stead.
    pub(super) const fn handle_picture(&mut self) {
        self.by_sound = false;
    }

    /// A segment begins with the picture at `at`.
    pub(super) fn cut(&mut self, at: MediaTime) {
        self.at_once = false;
        self.begin(at);
    }

    /// When the open segment of this epoch began.
    pub(super) fn open_since(&self) -> Option<MediaTime> {
        self.recent.back().filter(|_| !self.at_once).map(|(_, start)| *start)
    }

    /// How long the open segment may grow for want of a keyframe.
    pub(super) fn longest(&self, cadence: &Cadence) -> Duration {
        longest(cadence, self.target(), self.target)
    }

    /// The driving picture is silent, and a packet of sound stands at `at` on its clock. True when a segment begins by that:
    /// the one that the picture left behind lasts as long as it may, those that follow as long as they should.
    pub(super) fn handle_sound(&mut self, at: MediaTime, rate: ClockRate, cadence: &Cadence) -> bool {
        let Some((_, start)) = self.recent.back().copied() else { return false };
        let wanted = if self.by_sound { self.target } else { longest(cadence, self.target(), self.target) };
        let length = rate.ticks(wanted);
        let late = at - start - length;
        if self.at_once || late < 0 {
            return false;
        }
        self.by_sound = true;
        // Everybody's time has stood still when the sound itself is late: there is nothing to put into the time between.
        self.begin(if late > rate.ticks(LATE) { at } else { start + length });
        true
    }

    /// Whether the newest segment was begun by the time of the sound.
    pub(super) const fn by_sound(&self) -> bool {
        self.by_sound
    }

    fn begin(&mut self, at: MediaTime) {
        self.recent.push_back((self.next, at));
        self.next = self.next.next();
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }

    /// The segment that a frame at `at` belongs to, and where it begins.
    pub(super) fn segment_of(&self, at: MediaTime) -> Option<(SegmentNumber, MediaTime)> {
        self.recent.iter().rev().find(|(_, start)| *start <= at).copied()
    }

    /// Whether a keyframe should be asked for now, so that it falls on the segment target: the newest frame is `at` and
    /// an answer takes `response`.
    pub(super) fn wants_keyframe(
        &self,
        at: MediaTime,
        rate: ClockRate,
        cadence: &Cadence,
        response: Duration,
    ) -> bool {
        cadence.rule == CadenceRule::OnRequest
            && self
                .recent
                .back()
                .is_some_and(|(_, start)| at - *start >= rate.ticks(self.target().saturating_sub(response)))
    }

    /// What the segment that is open aims at.
    fn target(&self) -> Duration {
        if self.next <= self.first.next() { self.first_target } else { self.target }
    }
}

/// How long a segment that aims at `open` may grow for want of a keyframe: its rounded length must not exceed the target
/// duration.
fn longest(cadence: &Cadence, open: Duration, target: Duration) -> Duration {
    match cadence.rule {
        CadenceRule::AudioOnly => open,
        // Before the decision the longest that any decision will allow is safe.
        CadenceRule::Undecided => target * 3 / 2,
        CadenceRule::OnRequest | CadenceRule::SelfPaced => {
            Duration::from_secs(u64::from(cadence.target_duration))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ClockRate = ClockRate::VIDEO;

    fn cadence(rule: CadenceRule, target_duration: u32) -> Cadence {
        Cadence { rule, target_duration, ..Cadence::default() }
    }

    fn cut_frames(cadence: &Cadence, frames: i64, keyframe_every: i64) -> Vec<i64> {
        let mut cuts = Cuts::new(&FeedSettings::default());
        let is_cut =
            |n: &i64| cuts.handle_frame(MediaTime(n * 3_000), n % keyframe_every == 0, RATE, cadence);
        (0..frames).filter(is_cut).collect()
    }

    #[test]
    fn segments_begin_at_keyframes_near_the_target() {
        let on_request = cadence(CadenceRule::OnRequest, 3);
        assert_eq!(cut_frames(&on_request, 200, 60), [0, 60, 120, 180]);
        assert_eq!(
            cut_frames(&on_request, 200, 15),
            [0, 30, 90, 150],
            "closer keyframes cut the first segment only"
        );
        assert_eq!(cut_frames(&on_request, 200, 45), [0, 45, 135]);
    }

    #[test]
    fn a_segment_without_a_keyframe_ends_at_the_target_duration() {
        assert_eq!(cut_frames(&cadence(CadenceRule::OnRequest, 3), 200, 1_000), [0, 90, 180]);
        assert_eq!(cut_frames(&cadence(CadenceRule::SelfPaced, 10), 700, 10_000), [0, 300, 600]);
    }

    #[test]
    fn nothing_begins_before_the_first_keyframe() {
        let mut cuts = Cuts::new(&FeedSettings::default());
        let cadence = Cadence::default();
        for n in 0..500 {
            assert!(!cuts.handle_frame(MediaTime(n * 3_000), false, RATE, &cadence));
        }
        assert_eq!(cuts.segment_of(MediaTime(3_000)), None);
        assert!(cuts.handle_frame(MediaTime(1_500_000), true, RATE, &cadence));
        assert_eq!(cuts.segment_of(MediaTime(1_500_000)), Some((SegmentNumber(0), MediaTime(1_500_000))));
        assert_eq!(cuts.segment_of(MediaTime(1_499_999)), None);
    }

    #[test]
    fn while_the_picture_is_silent_sound_ends_its_segments() {
        let mut cuts = Cuts::new(&FeedSettings::default());
        let cadence = cadence(CadenceRule::OnRequest, 3);
        let second = |tenths: i64| MediaTime(tenths * 9_000);
        assert!(!cuts.handle_sound(second(500), RATE, &cadence), "nothing has begun");
        assert!(cuts.handle_frame(second(0), true, RATE, &cadence));
        assert!(!cuts.by_sound());
        let begins: Vec<i64> = (10..120).filter(|n| cuts.handle_sound(second(*n), RATE, &cadence)).collect();
        assert_eq!(begins, [30, 50, 70, 90, 110]);
        assert_eq!(cuts.segment_of(second(115)), Some((SegmentNumber(5), second(110))));
        assert!(cuts.handle_sound(second(300) + 7, RATE, &cadence), "all was silent for a while");
        assert_eq!(cuts.segment_of(second(301)), Some((SegmentNumber(6), second(300) + 7)));
        assert!(cuts.by_sound());
        assert!(!cuts.handle_frame(second(305), false, RATE, &cadence), "the picture returns");
        assert!(!cuts.by_sound());
        assert!(cuts.handle_frame(second(325), true, RATE, &cadence));
    }

    #[test]
    fn an_epoch_begins_a_segment_with_its_first_keyframe_and_numbers_run_on() {
        let mut cuts = Cuts::new(&FeedSettings::default());
        let cadence = cadence(CadenceRule::OnRequest, 3);
        assert!(cuts.handle_frame(MediaTime(0), true, RATE, &cadence));
        cuts.begin_epoch();
        assert!(!cuts.handle_frame(MediaTime(9_000), false, RATE, &cadence));
        assert!(cuts.handle_frame(MediaTime(12_000), true, RATE, &cadence));
        assert_eq!(cuts.segment_of(MediaTime(12_000)), Some((SegmentNumber(1), MediaTime(12_000))));
    }

    #[test]
    fn the_keyframe_is_asked_for_so_early_that_it_falls_on_the_target() {
        let mut cuts = Cuts::new(&FeedSettings::default());
        let cadence = cadence(CadenceRule::OnRequest, 3);
        let response = Duration::from_millis(100);
        assert!(!cuts.wants_keyframe(MediaTime(0), RATE, &cadence, response));
        cuts.handle_frame(MediaTime(0), true, RATE, &cadence);
        assert!(!cuts.wants_keyframe(MediaTime(44_999), RATE, &cadence, response));
        assert!(
            cuts.wants_keyframe(MediaTime(45_000), RATE, &cadence, response),
            "the first aims at three parts"
        );
        cuts.handle_frame(MediaTime(60_000), true, RATE, &cadence);
        assert!(!cuts.wants_keyframe(MediaTime(230_999), RATE, &cadence, response));
        assert!(cuts.wants_keyframe(MediaTime(231_000), RATE, &cadence, response));
    }
}

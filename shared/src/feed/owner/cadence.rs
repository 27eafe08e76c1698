//! Which cadence rule a feed is under: decided once, from its first frames, before anything is published over HLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::feed::info::{Cadence, CadenceRule};
use crate::feed::settings::FeedSettings;
use crate::time::ClockRate;

/// Watches the first frames of a feed and decides.
#[derive(Debug)]
pub(super) struct CadenceDecider {
    settings: Arc<FeedSettings>,
    intervals: Vec<i64>,
    first_keyframe: Option<Instant>,
    /// Requests made to see whether the publisher answers, and keyframes that can be answers.
    probes: u32,
    answers: u32,
}

/// Asked this long after the first keyframe, a publisher's answer is hard to mistake: a natural keyframe in the time that
/// the probes take would mean a group of pictures of at most [`GIVE_UP`], which needs no asking.
const PROBE: Duration = Duration::from_millis(100);
/// An encoder may put one keyframe where the scene changes, hardly two.
const ANSWERS: u32 = 2;
/// Two requests of 500 ms each have gone unanswered by then: the publisher is deaf.
const GIVE_UP: Duration = Duration::from_millis(1_100);
/// One of three requests was answered by then: by chance.
const ONE_ANSWER: Duration = Duration::from_millis(1_600);
/// Frame intervals that make a good estimate.
const ENOUGH: usize = 8;
/// A source slower than four frames a second is estimated from what it sent until then.
const SLOW: Duration = Duration::from_secs(2);
/// Rates that cameras and encoders are set to.
const USUAL_RATES: [f64; 16] =
    [1.0, 2.0, 5.0, 10.0, 12.0, 12.5, 15.0, 20.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 60.0];
/// EXT-X-TARGETDURATION of a publisher that does not answer: segments may have to wait this long for a keyframe.
const SELF_PACED_TARGET: u32 = 10;

impl CadenceDecider {
    pub(super) fn new(settings: Arc<FeedSettings>) -> Self {
        Self { settings, intervals: Vec::new(), first_keyframe: None, probes: 0, answers: 0 }
    }

    /// A frame followed the one before it after `ticks` of media time.
    pub(super) fn handle_interval(&mut self, ticks: i64) {
        if ticks > 0 && self.intervals.len() < 64 {
            self.intervals.push(ticks);
        }
    }

    /// A keyframe has begun to arrive; `answer` says that it came soon after a request.
    pub(super) fn handle_keyframe(&mut self, now: Instant, answer: bool) {
        match self.first_keyframe {
            None => self.first_keyframe = Some(now),
            Some(_) => self.answers += u32::from(answer),
        }
    }

    /// Whether the publisher should be asked now, to see whether it answers. True once, and once more after the first answer.
    pub(super) fn poll_probe(&mut self, now: Instant) -> bool {
        let begun = self.first_keyframe.is_some_and(|first| first + PROBE <= now);
        let due = begun && self.probes <= self.answers && self.probes < ANSWERS;
        self.probes += u32::from(due);
        due
    }

    /// The decision, once it can be made.
    pub(super) fn decide(&self, now: Instant) -> Option<Cadence> {
        let since = now.saturating_duration_since(self.first_keyframe?);
        let watched = self.intervals.len() >= ENOUGH || since >= SLOW;
        let answers = self.answers >= ANSWERS;
        let patience = if self.answers == 0 { GIVE_UP } else { ONE_ANSWER };
        (watched && (answers || since >= patience)).then(|| self.cadence(answers))
    }

    /// The cadence of a publisher that has stopped answering.
    pub(super) fn self_paced(&self) -> Cadence {
        self.cadence(false)
    }

    fn cadence(&self, answers: bool) -> Cadence {
        let frame_rate = self.frame_rate();
        let frames_per_part = (self.settings.part_target.as_secs_f64() * frame_rate).round().max(1.0);
        let target = self.settings.segment_target.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "settings bound both to small numbers"
        )]
        let (frames, on_request) = (frames_per_part as u32, (target * 1.5).ceil() as u32);
        let (rule, target_duration, advice) = if answers {
            (CadenceRule::OnRequest, on_request, None)
        } else {
            let advice = format!(
                "The encoder does not answer keyframe requests, so segments follow its own keyframes. \
                 Set its keyframe interval to {target} s for segments of {target} s."
            );
            (CadenceRule::SelfPaced, SELF_PACED_TARGET.max(on_request), Some(advice))
        };
        Cadence {
            rule,
            frame_rate: Some(frame_rate),
            frames_per_part: frames,
            part_target_ms: part_target_ms(frames_per_part / frame_rate),
            target_duration,
            advice,
        }
    }

    /// When [`Self::poll_probe`] or [`Self::decide`] may next have something to say.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let first = self.first_keyframe?;
        [PROBE, GIVE_UP, ONE_ANSWER, SLOW].into_iter().map(|after| first + after).find(|at| *at > now)
    }

    /// The cadence of a feed without video, or with a `silent` one: cut by time.
    pub(super) fn audio_only(settings: &FeedSettings, silent: bool) -> Cadence {
        let advice =
            "The video track sends nothing, so HLS has the sound alone until it does. Turn the camera on.";
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "settings bound it to 1 to 10"
        )]
        let target_duration = settings.segment_target.as_secs_f64().ceil() as u32;
        Cadence {
            rule: CadenceRule::AudioOnly,
            frame_rate: None,
            frames_per_part: 0,
            part_target_ms: part_target_ms(settings.part_target.as_secs_f64()),
            target_duration,
            advice: silent.then(|| advice.to_owned()),
        }
    }

    /// The usual interval as a rate, taken to the usual rate within 2 % of it: browsers' timestamps jitter by a
    /// millisecond, and a browser that starts on a busy machine leaves frames out, which makes intervals longer but never
    /// shorter. So the median is that of the intervals near the shorter ones.
    fn frame_rate(&self) -> f64 {
        let mut sorted = self.intervals.clone();
        sorted.sort_unstable();
        let Some(short) = sorted.get(sorted.len() / 4).copied() else { return 30.0 };
        sorted.retain(|interval| *interval <= short + short / 2);
        let Some(median) = sorted.get(sorted.len() / 2) else { return 30.0 };
        #[expect(clippy::cast_precision_loss, reason = "an interval of ticks is small")]
        let measured = f64::from(ClockRate::VIDEO.hz()) / *median as f64;
        let distance = |rate: &f64| (measured / rate - 1.0).abs();
        USUAL_RATES
            .into_iter()
            .filter(|rate| distance(rate) < 0.02)
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .unwrap_or(measured)
    }
}

/// EXT-X-PART-INF:PART-TARGET for parts of `seconds`: 8 % above them, so that a part of jittering timestamps stays below
/// the target and above 85 % of it; rounded up to the millisecond.
fn part_target_ms(seconds: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "parts last at most a few seconds"
    )]
    let ms = (1_080.0 * seconds - 1e-6).ceil() as u32;
    ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::owner::tests::start;

    const MS: Duration = Duration::from_millis(1);

    fn decider(interval: i64) -> CadenceDecider {
        let mut decider = CadenceDecider::new(Arc::default());
        for n in 0..10 {
            decider.handle_interval(interval + [0, 90, -90][n % 3]);
        }
        decider
    }

    #[test]
    fn an_encoder_that_answers_is_asked_from_then_on() {
        let start = start();
        let mut decider = decider(3_000);
        decider.handle_keyframe(start, false);
        assert!(!decider.poll_probe(start + 99 * MS));
        assert!(decider.poll_probe(start + 100 * MS));
        assert!(!decider.poll_probe(start + 101 * MS));
        decider.handle_keyframe(start + 150 * MS, true);
        assert_eq!(decider.decide(start + 150 * MS), None, "once may be chance");
        assert!(decider.poll_probe(start + 151 * MS));
        assert!(!decider.poll_probe(start + 152 * MS));
        decider.handle_keyframe(start + 450 * MS, true);
        assert!(!decider.poll_probe(start + 451 * MS));
        let cadence = decider.decide(start + 450 * MS).unwrap();
        assert_eq!(cadence.rule, CadenceRule::OnRequest);
        assert_eq!((cadence.frames_per_part, cadence.part_target_ms, cadence.target_duration), (6, 216, 3));
        assert_eq!(cadence.frame_rate, Some(30.0));
    }

    #[test]
    fn a_deaf_encoder_paces_itself_and_is_told_what_would_be_better() {
        let start = start();
        let mut decider = decider(3_600);
        decider.handle_keyframe(start, false);
        assert!(decider.poll_probe(start + 120 * MS));
        assert_eq!(decider.decide(start + 1_099 * MS), None);
        let cadence = decider.decide(start + 1_100 * MS).unwrap();
        assert_eq!(cadence.rule, CadenceRule::SelfPaced);
        assert_eq!((cadence.frames_per_part, cadence.part_target_ms, cadence.target_duration), (5, 216, 10));
        assert!(cadence.advice.unwrap().contains("keyframe interval to 2 s"));
    }

    #[test]
    fn a_keyframe_where_the_scene_changes_is_not_taken_for_an_answer() {
        let start = start();
        let mut decider = decider(3_000);
        decider.handle_keyframe(start, false);
        assert!(decider.poll_probe(start + 100 * MS));
        decider.handle_keyframe(start + 300 * MS, true);
        assert!(decider.poll_probe(start + 301 * MS));
        decider.handle_keyframe(start + 1_200 * MS, false);
        assert_eq!(decider.decide(start + 1_599 * MS), None);
        assert_eq!(decider.decide(start + 1_600 * MS).unwrap().rule, CadenceRule::SelfPaced);
    }

    #[test]
    fn part_targets_leave_room_above_and_below() {
        for (interval, frames) in
            [(1_500, 12), (1_800, 10), (3_000, 6), (3_600, 5), (3_750, 5), (3_754, 5), (18_000, 1)]
        {
            let mut decider = decider(i64::from(interval));
            decider.handle_keyframe(start(), false);
            let cadence = decider.decide(start() + SLOW).unwrap();
            assert_eq!(cadence.frames_per_part, frames, "{interval}");
            let part = f64::from(frames) * f64::from(interval) / 90_000.0;
            let target = f64::from(cadence.part_target_ms) / 1_000.0;
            assert!(part + 0.002 < target && part - 0.002 > 0.85 * target, "{interval}: {part} in {target}");
        }
    }

    #[test]
    fn frames_that_a_busy_browser_left_out_do_not_halve_the_rate() {
        let mut decider = CadenceDecider::new(Arc::default());
        for interval in [6_000, 5_910, 9_000, 3_000, 6_090, 2_910, 3_090, 6_000, 12_000, 3_000] {
            decider.handle_interval(interval);
        }
        decider.handle_keyframe(start(), false);
        assert_eq!(decider.decide(start() + SLOW).unwrap().frame_rate, Some(30.0));
    }

    #[test]
    fn a_source_of_one_frame_still_gets_a_cadence() {
        let mut decider = CadenceDecider::new(Arc::default());
        decider.handle_keyframe(start(), false);
        assert_eq!(decider.decide(start() + SLOW - MS), None);
        assert!(decider.decide(start() + SLOW).is_some());
    }
}

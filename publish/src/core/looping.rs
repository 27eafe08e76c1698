//! A clip played over and over on one timeline.
//!
//! All tracks of a clip repeat after the *same* duration, kept as a fraction, and the beginning of round `k` is
//! computed from `k` alone. So no rounding adds up, and picture and sound are as much in step in round 1000 as in the
//! first one.

use std::time::Duration;

use bicast_shared::time::{ClockRate, scale};

/// How long one round of a clip is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    ticks: i64,
    rate: ClockRate,
}

/// Sound that goes on for less than this after the last picture is cut: AAC frames rarely end with the video, and a
/// last frame that stays longer than the others would make every round stutter.
const TAIL: Duration = Duration::from_millis(100);

impl Loop {
    /// A round of `ticks` at `rate`, at least one tick.
    #[must_use]
    pub fn new(ticks: i64, rate: ClockRate) -> Self {
        Self { ticks: ticks.max(1), rate }
    }

    /// The round of a clip whose tracks end at `video` and `audio` (ticks and their rate).
    #[must_use]
    pub fn of(video: Option<(i64, ClockRate)>, audio: Option<(i64, ClockRate)>) -> Option<Self> {
        let new = |(ticks, rate)| Self::new(ticks, rate);
        match (video.map(new), audio.map(new)) {
            (Some(video), Some(audio)) if audio.duration() > video.duration() + TAIL => Some(audio),
            (Some(video), _) => Some(video),
            (None, audio) => audio,
        }
    }

    /// When round `k` begins, in ticks of `rate`.
    #[must_use]
    pub fn start(self, k: u64, rate: ClockRate) -> i64 {
        let k = i64::try_from(k).unwrap_or(i64::MAX);
        scale(k.saturating_mul(self.ticks), i64::from(rate.hz()), i64::from(self.rate.hz()))
    }

    /// How long one round is.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.rate.nanos(self.ticks)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The video RTP timestamps of `rounds` rounds of a clip of `frames` frames of `delta` ticks at `rate`.
    fn video(round: Loop, frames: i64, delta: i64, rate: ClockRate, rounds: u64) -> Vec<i64> {
        (0..rounds)
            .flat_map(|k| {
                let start = round.start(k, ClockRate::VIDEO);
                (0..frames).map(move |n| start + scale(n * delta, 90_000, i64::from(rate.hz())))
            })
            .collect()
    }

    #[test]
    fn a_hundred_rounds_of_25_frames_a_second_are_one_even_row() {
        // 132 frames at 25/s, sound of 5.312 s: what a clip of 5.28 s looks like.
        let rate = ClockRate::new(12_800);
        let round = Loop::of(Some((132 * 512, rate)), Some((249 * 1024, ClockRate::new(48_000)))).unwrap();
        let times = video(round, 132, 512, rate, 100);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 3_600));
    }

    #[test]
    fn rates_that_do_not_divide_never_drift() {
        // 30000/1001 frames a second: 3003 ticks each; sound at 44.1 kHz.
        let rate = ClockRate::new(30_000);
        let round = Loop::of(Some((101 * 1_001, rate)), Some((148_000, ClockRate::new(44_100)))).unwrap();
        let times = video(round, 101, 1_001, rate, 100);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 3_003));
        for k in 0..=100 {
            let (picture, sound) = (round.start(k, ClockRate::VIDEO), round.start(k, ClockRate::OPUS));
            let apart = ClockRate::VIDEO.nanos(picture) - ClockRate::OPUS.nanos(sound);
            assert!(apart.abs() < 20_000, "round {k}: {apart} ns apart");
        }
    }

    #[test]
    fn the_longer_track_decides_unless_the_sound_only_trails_off() {
        let second = ClockRate::new(1_000);
        let of = |video, audio| Loop::of(Some((video, second)), Some((audio, second))).unwrap().duration();
        assert_eq!(of(5_000, 5_090), Duration::from_secs(5));
        assert_eq!(of(5_000, 4_000), Duration::from_secs(5));
        assert_eq!(of(5_000, 6_000), Duration::from_secs(6));
        assert_eq!(Loop::of(None, Some((7, second))).unwrap().duration(), Duration::from_millis(7));
        assert_eq!(Loop::of(None, None), None);
    }
}

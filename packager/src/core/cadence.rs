//! The feed's cadence in ticks of one rendition, and when an open part is long enough.

use bicast_shared::feed::info::Cadence;
use bicast_shared::time::ClockRate;

use crate::core::sound::SoundFormat;

/// The lengths that a rendition is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// PART-TARGET: no part is longer.
    pub part: i64,
    /// 85 % of it: no part is shorter, but for those that RFC 8216bis 4.4.4.9 lets be.
    pub least: i64,
    /// What a frame usually lasts.
    pub frame: i64,
    /// Frames in a part.
    pub frames: usize,
    /// The longest that a segment may be: it must round to no more than TARGETDURATION.
    pub longest_segment: i64,
}

impl Cut {
    /// The lengths for video.
    #[must_use]
    pub fn video(cadence: &Cadence, rate: ClockRate) -> Self {
        let fps = cadence.frame_rate.filter(|fps| fps.is_finite() && *fps >= 0.1).unwrap_or(30.0);
        #[expect(clippy::cast_possible_truncation, reason = "a frame of at most 10 s")]
        let frame = (f64::from(rate.hz()) / fps).round() as i64;
        Self { frames: cadence.frames_per_part.max(1) as usize, ..Self::new(cadence, rate, frame) }
    }

    /// The lengths for sound.
    #[must_use]
    pub fn audio(cadence: &Cadence, format: SoundFormat) -> Self {
        let cut = Self::new(cadence, format.rate(), format.silence().1);
        Self { part: format.part(cut.part), ..cut }
    }

    fn new(cadence: &Cadence, rate: ClockRate, frame: i64) -> Self {
        let hz = i64::from(rate.hz());
        let part = (i64::from(cadence.part_target_ms) * hz / 1_000).max(1);
        let least = (part * 85 + 99) / 100;
        // Half a second up is where rounding begins to go up; a frame's jitter stays below it.
        let longest_segment = i64::from(cadence.target_duration) * hz + hz / 2 - 1;
        Self { part, least, frame, frames: usize::MAX, longest_segment }
    }

    /// Whether a part of `ticks` and `frames` frames should end now that the next frame is known to begin.
    #[must_use]
    pub const fn is_full(&self, ticks: i64, frames: usize) -> bool {
        ticks >= self.least && (frames >= self.frames || ticks + self.frame > self.part)
    }
}

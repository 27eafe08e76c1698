//! The sound of the test pattern: a beep of 1 kHz for the first tenth of every second, in step with the flash.

use std::time::Duration;

use bicast_shared::time::ClockRate;

/// How long beep and flash last at the beginning of every second.
pub const BEEP: Duration = Duration::from_millis(100);
const HZ: u32 = 1_000;
const LEVEL: f32 = 0.35;
/// Samples over which the beep fades in and out: without that its edges click.
const FADE: u32 = 240;

/// The sample at `index` (48 kHz, counted from the start of the feed), within -1 to 1.
#[must_use]
pub fn sample(index: u64) -> f32 {
    let rate = ClockRate::OPUS.hz();
    let at = u32::try_from(index % u64::from(rate)).unwrap_or(0);
    let length = rate / 10;
    if at >= length {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "below 4800")]
    let fade = (at.min(length - at) as f32 / FADE as f32).min(1.0);
    let phase = std::f64::consts::TAU * f64::from(at % (rate / HZ)) / f64::from(rate / HZ);
    #[expect(clippy::cast_possible_truncation, reason = "a sample has no more digits")]
    let wave = phase.sin() as f32;
    LEVEL * fade * wave
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sounds_for_the_first_tenth_of_every_second() {
        for second in [0_u64, 1, 86_400] {
            let loud = |from: u64, to: u64| {
                (from..to).map(|i| sample(second * 48_000 + i).abs()).fold(0.0_f32, f32::max)
            };
            assert!(loud(300, 4_500) > 0.34);
            assert!(loud(4_800, 48_000) < f32::EPSILON);
            assert!(loud(0, 8) < 0.02, "no click");
        }
    }
}

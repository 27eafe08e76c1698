//! When each packet of a frame leaves: spread out, because a keyframe sent back to back overruns buffers on the way.

use std::time::Duration;

/// The distance between packets of a small frame. A keyframe of 50 packets then takes 12 ms.
const SPACING: Duration = Duration::from_micros(250);

/// Spreads `packets` over at most half of `interval`, the time to the next frame: the delay of packet `i` after the
/// frame's first one is `i` times this.
#[must_use]
pub fn spacing(packets: usize, interval: Duration) -> Duration {
    let packets = u32::try_from(packets.max(1)).unwrap_or(u32::MAX);
    SPACING.min(interval / 2 / packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_nanos(33_333_333);

    #[test]
    fn small_frames_leave_at_four_packets_a_millisecond() {
        assert_eq!(spacing(1, FRAME), SPACING);
        assert_eq!(spacing(10, FRAME), SPACING);
    }

    #[test]
    fn no_frame_takes_more_than_half_its_interval() {
        for packets in [1, 60, 66, 67, 200, 5_000] {
            assert!(spacing(packets, FRAME) * u32::try_from(packets).unwrap() <= FRAME / 2, "{packets}");
        }
        assert_eq!(spacing(0, Duration::ZERO), Duration::ZERO);
    }
}

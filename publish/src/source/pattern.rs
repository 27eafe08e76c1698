//! The test pattern as a video source: drawn and encoded when its time has come.

use std::time::Duration;

use bicast_shared::time::ProgramTime;

use crate::core::h264::{is_keyframe, packetize};
use crate::core::pattern::TestPattern;
use crate::core::picture::as_f64;
use crate::encoder::H264Encoder;
use crate::error::Error;
use crate::source::{PatternSettings, Source, Unit};

pub(super) struct PatternVideo {
    settings: PatternSettings,
    pattern: TestPattern,
    encoder: H264Encoder,
    next: u64,
}

impl PatternVideo {
    pub(super) fn new(settings: PatternSettings) -> Result<Self, Error> {
        Ok(Self {
            settings,
            pattern: TestPattern::new(settings.width, settings.height, settings.rate)
                .with_noise(noise(&settings)),
            encoder: H264Encoder::new(settings.rate, settings.bitrate, settings.gop)?,
            next: 0,
        })
    }
}

/// How much noise fits into the bit rate: all of it from 0.08 bits per pixel on (2.2 Mbit/s at 720p30), none at 0.02.
fn noise(settings: &PatternSettings) -> f64 {
    let pixels = as_f64(settings.width * settings.height) * settings.rate.hz();
    (f64::from(settings.bitrate) / pixels - 0.02) / 0.06
}

impl Source for PatternVideo {
    fn due(&self) -> Duration {
        self.settings.rate.due(self.next)
    }

    fn skip_to(&mut self, elapsed: Duration) -> Result<u64, Error> {
        let now = self.settings.rate.frame_at(elapsed).max(self.next);
        let skipped = now - self.next;
        self.next = now;
        Ok(skipped)
    }

    fn produce(&mut self, keyframe: bool, utc: ProgramTime) -> Result<Unit, Error> {
        let n = self.next;
        self.next += 1;
        let nals = self.encoder.encode(self.pattern.draw(n, utc), keyframe)?;
        Ok(Unit {
            ticks: self.settings.rate.ticks(n),
            keyframe: is_keyframe(&nals),
            payloads: packetize(&nals),
        })
    }

    fn interval(&self) -> Duration {
        self.settings.rate.interval()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rate::FrameRate;

    #[test]
    fn the_bit_rate_is_what_was_asked_for() {
        for (width, height, bitrate) in [(1280, 720, 2_500_000), (1280, 720, 800_000), (640, 360, 400_000)] {
            let rate = FrameRate::new(30, 1).unwrap();
            let settings = PatternSettings { width, height, rate, bitrate, gop: 60, audio: false };
            let mut source = PatternVideo::new(settings).unwrap();
            let mut bytes = 0;
            for _ in 0..180 {
                let unit = source.produce(false, ProgramTime::from_unix_nanos(0)).unwrap();
                bytes += unit.payloads.iter().map(bytes::Bytes::len).sum::<usize>();
            }
            let bits = u32::try_from(bytes * 8 / 6).unwrap();
            assert!(
                bits > bitrate * 6 / 10 && bits < bitrate * 13 / 10,
                "{width}x{height}: {bits} of {bitrate}"
            );
        }
    }

    #[test]
    fn frames_that_come_too_late_are_left_out_by_number() {
        let rate = FrameRate::new(30, 1).unwrap();
        let settings =
            PatternSettings { width: 320, height: 180, rate, bitrate: 300_000, gop: 60, audio: false };
        let mut source = PatternVideo::new(settings).unwrap();
        assert_eq!(source.skip_to(Duration::from_millis(1_010)).unwrap(), 30);
        assert_eq!(source.skip_to(Duration::from_millis(10)).unwrap(), 0, "never back");
        assert_eq!(source.produce(false, ProgramTime::from_unix_nanos(0)).unwrap().ticks, 90_000);
    }
}

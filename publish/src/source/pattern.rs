//! The test pattern as a video source: drawn and encoded when its time has come.

use std::time::Duration;

use bicast_shared::time::ProgramTime;

use crate::core::h264::{is_keyframe, packetize};
use crate::core::pattern::TestPattern;
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
            pattern: TestPattern::new(settings.width, settings.height, settings.rate),
            encoder: H264Encoder::new(settings.rate, settings.bitrate, settings.gop)?,
            next: 0,
        })
    }
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

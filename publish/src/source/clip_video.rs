//! The video of a clip, in a loop, as it is in the file.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::time::{ClockRate, ProgramTime, scale};
use bytes::Bytes;

use crate::core::h264;
use crate::core::looping::Loop;
use crate::core::samples::Sample;
use crate::error::Error;
use crate::source::clip::VideoTrack;
use crate::source::{Source, Unit};

pub(super) struct ClipVideo {
    path: PathBuf,
    file: File,
    track: Arc<VideoTrack>,
    round: Loop,
    /// By how much decode times are moved so that none is negative: B-frames are sent before they are shown.
    ahead: i64,
    k: u64,
    next: usize,
}

impl ClipVideo {
    pub(super) fn open(path: &Path, track: Arc<VideoTrack>, round: Loop) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Open { path: path.into(), source })?;
        let ahead = track.samples.first().map_or(0, |sample| -sample.decode).max(0);
        Ok(Self { path: path.into(), file, track, round, ahead, k: 0, next: 0 })
    }

    fn sample(&self) -> Sample {
        self.track.samples[self.next]
    }

    fn advance(&mut self) {
        self.next += 1;
        if self.next == self.track.samples.len() {
            self.next = 0;
            self.k += 1;
        }
    }

    /// Ticks of the track since media time 0, in ticks of `rate`. The round's beginning and the place in the round
    /// are rounded each by itself, so nothing adds up over rounds.
    fn ticks(&self, in_round: i64, rate: ClockRate) -> i64 {
        let track = i64::from(self.track.rate.hz());
        self.round.start(self.k, rate) + scale(in_round, i64::from(rate.hz()), track)
    }

    fn read(&mut self, sample: Sample) -> Result<Bytes, Error> {
        let mut bytes = vec![0; usize::try_from(sample.size).unwrap_or(0)];
        self.file
            .seek(SeekFrom::Start(sample.offset))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|source| Error::Open { path: self.path.clone(), source })?;
        Ok(bytes.into())
    }
}

impl Source for ClipVideo {
    fn due(&self) -> Duration {
        let nanos = self.ticks(self.sample().decode + self.ahead, ClockRate::new(1_000_000_000));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    fn skip_to(&mut self, elapsed: Duration) -> Result<u64, Error> {
        let mut skipped = 0;
        while self.due() < elapsed || !self.sample().sync {
            self.advance();
            skipped += 1;
        }
        Ok(skipped)
    }

    fn produce(&mut self, _keyframe: bool, _utc: ProgramTime) -> Result<Unit, Error> {
        let sample = self.sample();
        let ticks = self.ticks(sample.present, ClockRate::VIDEO);
        let bytes = self.read(sample)?;
        let mut nals = h264::split_avcc(&bytes, self.track.length_size).ok_or_else(|| Error::NotMp4 {
            path: self.path.clone(),
            reason: format!("frame {} is damaged", self.next),
        })?;
        let keyframe = h264::is_keyframe(&nals);
        if keyframe && !h264::has_parameters(&nals) {
            nals.splice(..0, self.track.parameters.iter().cloned());
        }
        self.advance();
        Ok(Unit { ticks, keyframe, payloads: h264::packetize(&nals) })
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.track.hz().clamp(1.0, 1_000.0))
    }
}

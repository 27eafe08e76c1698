//! Any endless sound as an audio source: encoded to Opus in packets of 20 ms.

use std::time::Duration;

use bicast_shared::time::ProgramTime;

use crate::core::tone;
use crate::encoder::{OPUS_FRAME, OpusEncoder};
use crate::error::Error;
use crate::source::{Source, Unit};

/// An endless sound: stereo, 48 kHz.
pub(super) trait Pcm: Send {
    /// Fills `samples` (interleaved) with what comes next.
    fn fill(&mut self, samples: &mut [f32]) -> Result<(), Error>;
}

/// The beep of the test pattern.
#[derive(Debug, Default)]
pub(super) struct Beep {
    next: u64,
}

impl Pcm for Beep {
    fn fill(&mut self, samples: &mut [f32]) -> Result<(), Error> {
        for pair in samples.chunks_mut(2) {
            pair.fill(tone::sample(self.next));
            self.next += 1;
        }
        Ok(())
    }
}

pub(super) struct Sound<P> {
    pcm: P,
    encoder: OpusEncoder,
    next: u64,
}

const PACKET: Duration = Duration::from_millis(20);

impl<P: Pcm> Sound<P> {
    pub(super) fn new(mut pcm: P, bitrate: i32) -> Result<Self, Error> {
        let encoder = OpusEncoder::new(bitrate)?;
        // What Opus decodes lags behind by its look-ahead, and over RTP nobody takes that off again: without these
        // samples all sound would be 6.5 ms late.
        pcm.fill(&mut vec![0.0; encoder.lookahead() * 2])?;
        Ok(Self { pcm, encoder, next: 0 })
    }

    fn samples(&mut self) -> Result<Vec<f32>, Error> {
        let mut samples = vec![0.0; OPUS_FRAME * 2];
        self.pcm.fill(&mut samples)?;
        self.next += 1;
        Ok(samples)
    }
}

impl<P: Pcm> Source for Sound<P> {
    fn due(&self) -> Duration {
        PACKET.saturating_mul(u32::try_from(self.next).unwrap_or(u32::MAX))
    }

    fn skip_to(&mut self, elapsed: Duration) -> Result<u64, Error> {
        let first = self.next;
        while self.due() + PACKET <= elapsed {
            self.samples()?;
        }
        Ok(self.next - first)
    }

    fn produce(&mut self, _keyframe: bool, _utc: ProgramTime) -> Result<Unit, Error> {
        let ticks = i64::try_from(self.next * OPUS_FRAME as u64).unwrap_or(i64::MAX);
        let samples = self.samples()?;
        Ok(Unit { ticks, keyframe: false, payloads: vec![self.encoder.encode(&samples)?] })
    }

    fn interval(&self) -> Duration {
        PACKET
    }
}

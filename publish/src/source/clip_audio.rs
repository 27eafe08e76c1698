//! The sound of a clip, in a loop: AAC decoded, brought to 48 kHz stereo, and cut or filled up to the loop's length.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bicast_shared::media::aac::AacConfig;
use bicast_shared::time::{ClockRate, scale};
use mp4::Mp4Track;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler};
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration as Ticks, Timestamp};
use symphonia::default::codecs::AacDecoder;

use crate::core::looping::Loop;
use crate::core::samples::{self, Sample};
use crate::error::Error;
use crate::source::sound::Pcm;

/// The AAC track of a clip.
#[derive(Debug)]
pub(super) struct AacTrack {
    pub(super) samples: Vec<Sample>,
    pub(super) timescale: ClockRate,
    pub(super) delay: i64,
    pub(super) config: AacConfig,
}

impl AacTrack {
    pub(super) fn new(path: &Path, track: &Mp4Track, movie: ClockRate) -> Result<Self, Error> {
        let unsupported = |reason: &str| Error::Unsupported {
            path: path.into(),
            reason: format!("its sound is {reason}, and AAC-LC with one or two channels is what can be read"),
            next: format!(
                "Leave the sound out with --no-audio, or convert it: ffmpeg -i {} -c:v copy -c:a aac -ac 2 out.mp4",
                path.display()
            ),
        };
        let esds = track.trak.mdia.minf.stbl.stsd.mp4a.as_ref().and_then(|mp4a| mp4a.esds.as_ref());
        let config = &esds.ok_or_else(|| unsupported("not AAC"))?.es_desc.dec_config;
        // 0x40 is MPEG-4 audio, 0x67 MPEG-2 AAC-LC; MP3 in MP4 is 0x69 or 0x6b.
        if !matches!(config.object_type_indication, 0x40 | 0x67) {
            return Err(unsupported("not AAC"));
        }
        let specific = &config.dec_specific;
        if specific.profile != 2 {
            return Err(unsupported("a kind of AAC other than LC"));
        }
        if !matches!(specific.chan_conf, 1 | 2) {
            return Err(unsupported("AAC with other than one or two channels"));
        }
        let (object, rate, channels) = (specific.profile, specific.freq_index, specific.chan_conf);
        let config = format!("{:02x}{:02x}", object << 3 | rate >> 1, rate << 7 | channels << 3).parse();
        let config: AacConfig = config.map_err(|_| unsupported("AAC at an odd rate"))?;
        let samples =
            samples::samples(track).map_err(|source| Error::Broken { path: path.into(), source })?;
        Ok(Self {
            samples,
            timescale: ClockRate::new(track.timescale()),
            delay: samples::initial_delay(track, movie),
            config,
        })
    }

    pub(super) fn rate(&self) -> ClockRate {
        self.timescale
    }

    /// When its last sample ends.
    pub(super) fn end(&self) -> i64 {
        samples::end(&self.samples) + self.delay
    }

    pub(super) fn describe(&self) -> String {
        let channels = if self.config.channels() == 1 { "mono" } else { "stereo" };
        format!("AAC {:.1} kHz {channels}", f64::from(self.config.rate().hz()) / 1_000.0)
    }

    /// Where the first decoded sample stands in a round, in samples at 48 kHz: before 0 is priming, to be left out.
    fn first(&self) -> i64 {
        let first = self.samples.first().map_or(0, |sample| sample.present) + self.delay;
        scale(first, 48_000, i64::from(self.timescale.hz()))
    }
}

/// An endless row of rounds, each exactly as long as the loop says.
pub(super) struct ClipAudio {
    path: PathBuf,
    file: File,
    track: Arc<AacTrack>,
    round: Loop,
    decoder: AacDecoder,
    resampler: Option<Fft<f32>>,
    /// The round that is being played, and the stereo samples of it that are still to come.
    k: u64,
    left: i64,
    next: usize,
    /// Decoded stereo samples at the track's rate, waiting for a full chunk for the resampler.
    pending: Vec<f32>,
    /// Stereo samples at 48 kHz, ready.
    ready: VecDeque<f32>,
    /// Stereo samples at 48 kHz still to be left out: priming, and the resampler's delay.
    drop: usize,
}

/// Input samples per channel that the resampler takes at a time.
const CHUNK: usize = 1_024;

impl ClipAudio {
    pub(super) fn open(path: &Path, track: Arc<AacTrack>, round: Loop) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Open { path: path.into(), source })?;
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(CODEC_ID_AAC).with_extra_data(Box::new(track.config.specific()));
        let decoder = AacDecoder::try_new(&parameters, &AudioDecoderOptions::default())
            .map_err(|error| Error::codec("the AAC decoder")(&error))?;
        let mut audio = Self {
            path: path.into(),
            file,
            track,
            round,
            decoder,
            resampler: None,
            k: 0,
            left: 0,
            next: 0,
            pending: Vec::new(),
            ready: VecDeque::new(),
            drop: 0,
        };
        audio.begin()?;
        Ok(audio)
    }

    /// Sets everything to the beginning of round `k`.
    fn begin(&mut self) -> Result<(), Error> {
        self.left = self.round.start(self.k + 1, ClockRate::OPUS) - self.round.start(self.k, ClockRate::OPUS);
        self.next = 0;
        self.pending.clear();
        self.ready.clear();
        self.decoder.reset();
        let mut delay = 0;
        if self.track.config.rate() != ClockRate::OPUS {
            let hz = usize::try_from(self.track.config.rate().hz()).unwrap_or(0);
            let resampler = Fft::new(hz, 48_000, CHUNK, 2, FixedSync::Input)
                .map_err(|error| Error::codec("the resampler")(&error))?;
            delay = resampler.output_delay();
            self.resampler = Some(resampler);
        }
        let first = self.track.first();
        let silence = usize::try_from(first.clamp(0, self.left)).unwrap_or(0);
        self.drop = delay + usize::try_from((-first).max(0)).unwrap_or(0);
        if silence > 0 {
            // A track that begins late: its silence must not be dropped with the delay.
            self.ready.extend(std::iter::repeat_n(0.0, silence * 2));
        }
        Ok(())
    }

    /// Decodes one more frame into `ready`; false at the end of the track.
    fn decode(&mut self) -> Result<bool, Error> {
        let Some(&sample) = self.track.samples.get(self.next) else {
            // The last samples are still inside the resampler: a chunk of silence pushes them out.
            let flush = self.resampler.is_some() && self.next == self.track.samples.len();
            if flush {
                self.next += 1;
                let chunk = CHUNK * 2;
                let padded = self.pending.len().div_ceil(chunk).max(1) * chunk + chunk;
                self.pending.resize(padded, 0.0);
                self.resample()?;
            }
            return Ok(flush);
        };
        self.next += 1;
        let mut bytes = vec![0; usize::try_from(sample.size).unwrap_or(0)];
        self.file
            .seek(SeekFrom::Start(sample.offset))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|source| Error::Open { path: self.path.clone(), source })?;
        let packet = PacketRef::new(0, Timestamp::ZERO, Ticks::new(1_024), &bytes);
        let mut decoded = Vec::new();
        match self.decoder.decode_ref(&packet) {
            Ok(buffer) => buffer.copy_to_vec_interleaved::<f32>(&mut decoded),
            // A damaged frame is a hole of its length in the sound, not the end of it.
            Err(error) => {
                tracing::debug!(%error, frame = self.next - 1, "sound frame cannot be decoded");
                decoded.resize(1_024 * usize::from(self.track.config.channels()), 0.0);
            }
        }
        if self.track.config.channels() == 1 {
            self.pending.extend(decoded.iter().flat_map(|&sample| [sample; 2]));
        } else {
            self.pending.append(&mut decoded);
        }
        self.resample()?;
        Ok(true)
    }

    /// Moves what is pending to `ready`, at 48 kHz, less what is to be left out.
    fn resample(&mut self) -> Result<(), Error> {
        let Some(resampler) = &mut self.resampler else {
            let drop = (self.drop * 2).min(self.pending.len());
            self.drop -= drop / 2;
            self.ready.extend(self.pending.drain(..).skip(drop));
            return Ok(());
        };
        let failed = Error::codec("the resampler");
        let chunk = CHUNK * 2;
        let whole = self.pending.len() / chunk * chunk;
        for input in self.pending[..whole].chunks(chunk) {
            let adapter = InterleavedSlice::new(input, 2, CHUNK).map_err(|error| failed(&error))?;
            let output =
                resampler.process(&adapter, None::<&Indexing>).map_err(|error| failed(&error))?.take_data();
            let drop = (self.drop * 2).min(output.len());
            self.drop -= drop / 2;
            self.ready.extend(&output[drop..]);
        }
        self.pending.drain(..whole);
        Ok(())
    }
}

impl Pcm for ClipAudio {
    fn fill(&mut self, samples: &mut [f32]) -> Result<(), Error> {
        let mut at = 0;
        while at < samples.len() {
            if self.left == 0 {
                self.k += 1;
                self.begin()?;
            }
            let left = usize::try_from(self.left).unwrap_or(0) * 2;
            while self.ready.is_empty() && self.decode()? {}
            let wanted = left.min(samples.len() - at);
            let have = wanted.min(self.ready.len());
            for (to, from) in samples[at..].iter_mut().zip(self.ready.drain(..have)) {
                *to = from;
            }
            // Nothing more in the track: silence until the round is over.
            let filled = if have == 0 { wanted } else { have };
            if have == 0 {
                samples[at..at + filled].fill(0.0);
            }
            at += filled;
            self.left -= i64::try_from(filled / 2).unwrap_or(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::clip::Clip;

    /// 15 frames at 10/s and a tone of 440 Hz, AAC at 44.1 kHz, mono: 1.5 s.
    const TONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tone.mp4");

    fn tone() -> ClipAudio {
        Clip::open(Path::new(TONE), true).unwrap().pcm().unwrap()
    }

    fn left(pcm: &mut ClipAudio, frames: usize) -> Vec<f32> {
        let mut samples = vec![0.0; frames * 2];
        pcm.fill(&mut samples).unwrap();
        samples.chunks(2).map(|pair| pair[0]).collect()
    }

    #[test]
    fn the_tone_keeps_its_pitch_and_begins_at_once() {
        let sound = left(&mut tone(), 48_000);
        let crossings = sound.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        assert!((436..=444).contains(&crossings), "{crossings} Hz");
        let loud = |from: usize, to: usize| sound[from..to].iter().fold(0.0_f32, |most, s| most.max(s.abs()));
        assert!(loud(0, 480) > 0.05, "priming left out");
        assert!(loud(40_000, 48_000) > 0.05);
    }

    #[test]
    fn rounds_are_alike_and_exactly_as_long_as_the_loop() {
        let mut pcm = tone();
        let first = left(&mut pcm, 72_000);
        assert_eq!((pcm.k, pcm.left), (0, 0));
        for _ in 1..19 {
            for size in [960, 7, 71_033] {
                left(&mut pcm, size);
            }
        }
        assert_eq!((pcm.k, pcm.left), (18, 0));
        let twentieth = left(&mut pcm, 72_000);
        let apart = first.iter().zip(&twentieth).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        // Not equal to the bit: AAC fills bands with noise of its own making.
        assert!(apart < 5e-3, "{apart}");
    }
}

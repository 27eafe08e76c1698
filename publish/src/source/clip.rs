//! An MP4 file that is played in a loop: what is in it, and what is wrong with it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bicast_shared::time::ClockRate;
use bytes::Bytes;
use mp4::{MediaType, Mp4Reader, Mp4Track, TrackType};

use crate::core::budget::Budget;
use crate::core::h264;
use crate::core::looping::Loop;
use crate::core::samples::{self, Sample};
use crate::error::Error;
use crate::source::clip_aac::{self, ClipAac};
use crate::source::clip_audio::{AacTrack, ClipAudio};
use crate::source::clip_video::ClipVideo;
use crate::source::sound::Sound;
use crate::source::{SoundCoding, Source};

/// Bits per second of a clip's sound.
const OPUS_BITRATE: i32 = 128_000;
/// Packagers cut at keyframes every two seconds; a clip whose keyframes are further apart makes segments longer.
const KEYFRAME_SECONDS: f64 = 2.0;

/// A clip: its tracks, and how long one round is.
#[derive(Debug)]
pub struct Clip {
    path: PathBuf,
    round: Loop,
    video: Option<Arc<VideoTrack>>,
    audio: Option<Arc<AacTrack>>,
    /// Its sound is sent as it is, not as Opus.
    keeps_aac: bool,
}

/// The H.264 track of a clip.
#[derive(Debug)]
pub(super) struct VideoTrack {
    pub(super) samples: Vec<Sample>,
    pub(super) rate: ClockRate,
    pub(super) length_size: usize,
    /// SPS and PPS, as they are sent before each keyframe.
    pub(super) parameters: Vec<Bytes>,
    width: u16,
    height: u16,
}

impl Clip {
    /// Opens an MP4 file; `with_audio` says whether its sound is wanted.
    ///
    /// # Errors
    /// When the file cannot be read or has nothing to publish; the error says how to make a file that has.
    pub fn open(path: &Path, with_audio: bool) -> Result<Self, Error> {
        let open = |source| Error::Open { path: path.into(), source };
        let file = File::open(path).map_err(open)?;
        let size = file.metadata().map_err(open)?.len();
        let reader = Mp4Reader::read_header(Budget::for_headers(BufReader::new(file), size), size)
            .map_err(|error| Error::NotMp4 { path: path.into(), reason: error.to_string() })?;
        if reader.is_fragmented() {
            return Err(Error::Fragmented { path: path.into() });
        }
        let video = track(&reader, TrackType::Video).map(|track| VideoTrack::new(path, track)).transpose()?;
        let audio = track(&reader, TrackType::Audio).filter(|_| with_audio);
        let movie = ClockRate::new(reader.timescale());
        let audio = audio.map(|track| AacTrack::new(path, track, movie)).transpose()?;

        let video_end = video.as_ref().map(|track| (samples::end(&track.samples), track.rate));
        let audio_end = audio.as_ref().map(|track| (track.end(), track.rate()));
        let round = Loop::of(video_end, audio_end).ok_or_else(|| Error::Unsupported {
            path: path.into(),
            reason: if with_audio {
                "it has neither video nor sound".into()
            } else {
                "it has no video".into()
            },
            next: "Choose another file, or --test-pattern.".into(),
        })?;
        Ok(Self {
            path: path.into(),
            round,
            video: video.map(Arc::new),
            audio: audio.map(Arc::new),
            keeps_aac: false,
        })
    }

    /// The clip with its sound as it is in the file, instead of as Opus.
    ///
    /// # Errors
    /// When its access units cannot be sent one by one.
    pub fn keeping_aac(self) -> Result<Self, Error> {
        if let Some(reason) = self.audio.as_ref().and_then(|track| clip_aac::obstacle(track)) {
            return Err(Error::Unsupported {
                path: self.path,
                reason: reason.into(),
                next: "Leave --keep-aac out: it is sent as Opus then.".into(),
            });
        }
        Ok(Self { keeps_aac: true, ..self })
    }

    /// These clips as encodings of one picture: their rounds are as long as the longest.
    ///
    /// # Errors
    /// When one has no video.
    pub fn layers(mut clips: Vec<Self>) -> Result<Vec<Self>, Error> {
        if let Some(clip) = clips.iter().find(|clip| clip.video.is_none()) {
            return Err(Error::Options(format!("{} has no video, so it is no layer", clip.path.display())));
        }
        if let Some(longest) = clips.iter().map(Self::round).max_by_key(|round| round.duration()) {
            clips.iter_mut().for_each(|clip| clip.round = longest);
        }
        Ok(clips)
    }

    /// The size of its picture; 0 without video.
    pub(super) fn pixels(&self) -> u32 {
        self.video.as_ref().map_or(0, |video| u32::from(video.width) * u32::from(video.height))
    }

    /// How long one round is.
    #[must_use]
    pub fn round(&self) -> Loop {
        self.round
    }

    /// What is wrong with the clip although it can be published, each with the command that repairs it.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let Some(video) = &self.video else { return Vec::new() };
        let path = self.path.display();
        let mut advice = Vec::new();
        let round = self.round.start(1, video.rate);
        let gap = samples::longest_gap(&video.samples, round).unwrap_or(round);
        let seconds = video.seconds(gap);
        let gop = (video.hz() * KEYFRAME_SECONDS).round();
        let repair =
            format!("ffmpeg -i {path} -c:v libx264 -g {gop} -bf 0 -c:a copy -movflags +faststart out.mp4");
        if seconds > KEYFRAME_SECONDS * 1.05 {
            advice.push(format!(
                "{path} has a keyframe only every {seconds:.1} s, and a file cannot make one when it is asked: viewers \
                 wait that long for a picture.\n  One every 2 s: {repair}"
            ));
        }
        if samples::reordered(&video.samples) {
            advice.push(format!(
                "{path} has B-frames, which WebRTC viewers cannot show (HLS viewers can).\n  Without them: {repair}"
            ));
        }
        advice
    }

    #[cfg(test)]
    pub(super) fn pcm(&self) -> Result<ClipAudio, Error> {
        let track = self.audio.as_ref().map(Arc::clone);
        ClipAudio::open(&self.path, track.ok_or_else(|| Error::Options("no sound".into()))?, self.round)
    }

    pub(super) fn profile(&self) -> Option<String> {
        let video = self.video.as_ref()?;
        video.parameters.iter().find_map(|nal| h264::profile_level_id(nal))
    }

    pub(super) fn sound(&self) -> Option<SoundCoding> {
        let track = self.audio.as_ref()?;
        Some(if self.keeps_aac { SoundCoding::Aac(track.config) } else { SoundCoding::Opus })
    }

    pub(super) fn describe(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        let seconds = self.round.duration().as_secs_f64();
        let mut parts = vec![format!("{seconds:.1} s in a loop")];
        if let Some(v) = &self.video {
            let profile = v.parameters.first().map_or("", |sps| h264::profile_name(sps));
            parts.push(format!("{}x{} {:.4} fps H.264 {profile}", v.width, v.height, Plain(v.hz())));
        }
        if let Some(audio) = &self.audio {
            let sent = if self.keeps_aac { "" } else { " as Opus" };
            parts.push(format!("{}{sent}", audio.describe()));
        }
        format!("{name} ({})", parts.join(", "))
    }

    pub(super) fn video(&self) -> Result<Option<Box<dyn Source>>, Error> {
        let Some(track) = &self.video else { return Ok(None) };
        Ok(Some(Box::new(ClipVideo::open(&self.path, Arc::clone(track), self.round)?)))
    }

    pub(super) fn audio(&self) -> Result<Option<Box<dyn Source>>, Error> {
        let Some(track) = &self.audio else { return Ok(None) };
        if self.keeps_aac {
            return Ok(Some(Box::new(ClipAac::open(&self.path, Arc::clone(track), self.round)?)));
        }
        let pcm = ClipAudio::open(&self.path, Arc::clone(track), self.round)?;
        Ok(Some(Box::new(Sound::new(pcm, OPUS_BITRATE)?)))
    }
}

impl VideoTrack {
    fn new(path: &Path, track: &Mp4Track) -> Result<Self, Error> {
        let unsupported = |reason: String| Error::Unsupported {
            path: path.into(),
            reason,
            next: format!(
                "Make H.264 of it: ffmpeg -i {} -c:v libx264 -g 50 -bf 0 -c:a aac -movflags +faststart out.mp4",
                path.display()
            ),
        };
        let Some(avc) = &track.trak.mdia.minf.stbl.stsd.avc1 else {
            let what = match track.media_type() {
                Ok(MediaType::H265) => "H.265",
                Ok(MediaType::VP9) => "VP9",
                _ => "neither H.264 nor anything else that is known here",
            };
            return Err(unsupported(format!("its video is {what}, and H.264 is what can be published")));
        };
        let nals = avc.avcc.sequence_parameter_sets.iter().chain(&avc.avcc.picture_parameter_sets);
        let parameters: Vec<Bytes> = nals.map(|nal| Bytes::copy_from_slice(&nal.bytes)).collect();
        let mut samples =
            samples::samples(track).map_err(|source| Error::Broken { path: path.into(), source })?;
        // Nothing before the first keyframe can be decoded.
        let first = samples.iter().position(|sample| sample.sync);
        samples.drain(..first.unwrap_or(samples.len()));
        if samples.is_empty() {
            return Err(unsupported("its video has no keyframe".into()));
        }
        Ok(Self {
            samples,
            rate: ClockRate::new(track.timescale()),
            length_size: usize::from(avc.avcc.length_size_minus_one & 3) + 1,
            parameters,
            width: avc.width,
            height: avc.height,
        })
    }

    fn seconds(&self, ticks: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for a message")]
        let seconds = self.rate.nanos(ticks) as f64 / 1e9;
        seconds
    }

    /// Frames per second, on average.
    pub(super) fn hz(&self) -> f64 {
        let ticks: i64 = self.samples.iter().map(|sample| i64::from(sample.duration)).sum();
        #[expect(clippy::cast_precision_loss, reason = "a clip has fewer samples")]
        let count = self.samples.len() as f64;
        if ticks > 0 { count / self.seconds(ticks) } else { 30.0 }
    }
}

/// The first track of a kind, by its number.
fn track<R>(reader: &Mp4Reader<R>, kind: TrackType) -> Option<&Mp4Track>
where
    R: std::io::Read + std::io::Seek,
{
    let mut tracks: Vec<_> =
        reader.tracks().values().filter(|t| t.track_type().is_ok_and(|k| k == kind)).collect();
    tracks.sort_by_key(|track| track.track_id());
    tracks.first().copied()
}

/// A number with the digits it needs, up to the precision given.
struct Plain(f64);

impl std::fmt::Display for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.*}", f.precision().unwrap_or(2).min(2), self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tone.mp4");

    #[test]
    fn a_good_clip_is_described_and_needs_no_advice() {
        let clip = Clip::open(Path::new(TONE), true).unwrap();
        assert_eq!(
            clip.describe(),
            "tone.mp4 (1.5 s in a loop, 64x48 10 fps H.264 Constrained Baseline, AAC 44.1 kHz mono as Opus)"
        );
        assert_eq!(clip.advice(), Vec::<String>::new());
        assert!(clip.profile().unwrap().starts_with("42c0"));
        assert_eq!(Clip::open(Path::new(TONE), false).unwrap().sound(), None);
        let kept = clip.keeping_aac().unwrap();
        assert!(kept.describe().ends_with("AAC 44.1 kHz mono)"), "{}", kept.describe());
    }

    #[test]
    fn picture_and_sound_stay_together_for_a_hundred_rounds() {
        let clip = Clip::open(Path::new(TONE), true).unwrap();
        let mut video = clip.video().unwrap().unwrap();
        let utc = bicast_shared::time::ProgramTime::default();
        for n in 0..1_500_i64 {
            let due = video.due();
            let unit = video.produce(false, utc).unwrap();
            assert_eq!(unit.ticks, n * 9_000, "frame {n}");
            assert_eq!(due.as_millis(), u128::try_from(n * 100).unwrap(), "frame {n}");
            assert_eq!(unit.keyframe, n % 15 == 0 || n % 15 == 10);
            // SPS and PPS in one packet before every keyframe.
            assert_eq!(unit.payloads[0][0] & 0x1f == 24, unit.keyframe);
        }
        // Sound of the same hundred rounds: 7500 packets of 960 samples.
        assert_eq!(clip.round().start(100, ClockRate::OPUS), 7_500 * 960);
    }

    #[test]
    fn a_late_clip_goes_on_at_a_keyframe() {
        let clip = Clip::open(Path::new(TONE), true).unwrap();
        let mut video = clip.video().unwrap().unwrap();
        let skipped = video.skip_to(std::time::Duration::from_millis(4_100)).unwrap();
        let unit = video.produce(false, bicast_shared::time::ProgramTime::default()).unwrap();
        assert!(unit.keyframe);
        assert_eq!((skipped, unit.ticks), (45, 45 * 9_000), "4.5 s is where round 3 begins");
    }

    #[test]
    fn what_cannot_be_played_says_how_to_make_it_playable() {
        let missing = Clip::open(Path::new("/no/such/file.mp4"), true).unwrap_err().to_string();
        assert!(missing.contains("/no/such/file.mp4"), "{missing}");
        let path = std::env::temp_dir().join(format!("bicast-not-mp4-{}.mp4", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(&[b'x'; 500]).unwrap();
        let text = Clip::open(&path, true).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(text.contains("ffmpeg -i"), "{text}");
    }

    #[test]
    fn boxes_without_a_size_are_an_error_and_no_endless_loop() {
        let whole = std::fs::read(TONE).unwrap();
        let path = std::env::temp_dir().join(format!("bicast-endless-{}.mp4", std::process::id()));
        let place = |name: &[u8]| whole.windows(4).position(|four| four == name).unwrap();
        for name in [&b"mdia"[..], b"minf", b"stbl", b"tkhd"] {
            let mut broken = whole.clone();
            let at = place(name);
            // A box that nobody knows and that says it is of no size: the next one begins where it begins.
            broken[at - 4..at + 4].copy_from_slice(b"\0\0\0\0free");
            std::fs::write(&path, &broken).unwrap();
            let _ = Clip::open(&path, true);
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn truncated_files_are_errors_and_never_panics() {
        let whole = std::fs::read(TONE).unwrap();
        let path = std::env::temp_dir().join(format!("bicast-truncated-{}.mp4", std::process::id()));
        for length in (0..whole.len()).step_by(97) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let Ok(clip) = Clip::open(&path, true) else { continue };
            let utc = bicast_shared::time::ProgramTime::default();
            if let Ok(Some(mut video)) = clip.video() {
                while video.produce(false, utc).is_ok_and(|unit| unit.ticks < 15 * 9_000) {}
            }
            if let Ok(Some(mut audio)) = clip.audio() {
                while audio.produce(false, utc).is_ok_and(|unit| unit.ticks < 72_000) {}
            }
        }
        std::fs::remove_file(&path).unwrap();
    }
}

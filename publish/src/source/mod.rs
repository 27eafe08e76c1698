//! Where media comes from: the test pattern or a clip, one [`Source`] per track.

mod clip;
mod clip_aac;
mod clip_audio;
mod clip_video;
mod pattern;
mod sound;

use std::time::Duration;

use bicast_shared::media::aac::AacConfig;
use bicast_shared::time::ProgramTime;
use bytes::Bytes;

use crate::core::rate::FrameRate;
use crate::error::Error;

pub use clip::Clip;

/// One frame of a track, ready to be sent.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its RTP timestamp counted from media time 0, in ticks of the track's RTP clock.
    pub ticks: i64,
    /// Whether decoding can begin with it.
    pub keyframe: bool,
    /// Its RTP payloads in order.
    pub payloads: Vec<Bytes>,
}

/// A track that produces one frame after the other.
pub trait Source: Send {
    /// When the next frame is to be produced and sent, counted from media time 0.
    fn due(&self) -> Duration;

    /// Leaves out what was due before `elapsed` (a publisher that was held up must not send it all in one go) and
    /// says how many frames that were.
    ///
    /// # Errors
    /// When the source fails for good.
    fn skip_to(&mut self, elapsed: Duration) -> Result<u64, Error>;

    /// The next frame. `keyframe` asks for one at which decoding can begin, `utc` is now.
    ///
    /// # Errors
    /// When the source fails for good.
    fn produce(&mut self, keyframe: bool, utc: ProgramTime) -> Result<Unit, Error>;

    /// About how long it is from one frame to the next: packets of a frame are spread over half of it.
    fn interval(&self) -> Duration;
}

/// Settings of the test pattern.
#[derive(Debug, Clone, Copy)]
pub struct PatternSettings {
    /// Width in pixels, even.
    pub width: usize,
    /// Height in pixels, even.
    pub height: usize,
    /// Frames per second.
    pub rate: FrameRate,
    /// Bits per second of the video.
    pub bitrate: u32,
    /// Frames from one keyframe to the next when nobody asks for one.
    pub gop: u32,
    /// Whether it beeps.
    pub audio: bool,
}

/// How sound is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoundCoding {
    /// Opus, which viewers hear over WebRTC and HLS.
    Opus,
    /// AAC-LC as it is in the file, which they hear over HLS only.
    Aac(AacConfig),
}

/// What is published.
#[derive(Debug)]
pub enum Input {
    /// The test pattern.
    Pattern(PatternSettings),
    /// A file, or several that are the encodings of one picture, best first (simulcast). The sound is that of the first.
    Clips(Vec<Clip>),
}

/// Bits per second of the beep, which is silence most of the time.
const BEEP_BITRATE: i32 = 64_000;

impl Input {
    /// The `profile-level-id` of its video; none without video.
    #[must_use]
    pub fn profile(&self) -> Option<String> {
        match self {
            Self::Pattern(s) => {
                Some(crate::core::h264::baseline_level_id(s.width, s.height, s.rate.hz()).into())
            }
            // The best one's level covers the others.
            Self::Clips(clips) => clips.iter().max_by_key(|clip| clip.pixels()).and_then(Clip::profile),
        }
    }

    /// How its sound is sent; none without sound.
    #[must_use]
    pub fn sound(&self) -> Option<SoundCoding> {
        match self {
            Self::Pattern(settings) => settings.audio.then_some(SoundCoding::Opus),
            Self::Clips(clips) => clips.first()?.sound(),
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Pattern(s) => {
                let kbits = s.bitrate / 1_000;
                format!(
                    "the test pattern ({}x{}, {} fps, {kbits} kbit/s H.264, Opus)",
                    s.width, s.height, s.rate
                )
            }
            Self::Clips(clips) => clips.iter().map(Clip::describe).collect::<Vec<_>>().join(" + "),
        }
    }

    /// In how many encodings its picture comes.
    #[must_use]
    pub fn layers(&self) -> usize {
        match self {
            Self::Pattern(_) => 1,
            Self::Clips(clips) => clips.len(),
        }
    }

    /// Its video from the beginning, in each of its encodings; nothing without video.
    ///
    /// # Errors
    /// When the encoder does not start or a file cannot be opened.
    pub fn videos(&self) -> Result<Vec<Box<dyn Source>>, Error> {
        match self {
            Self::Pattern(settings) => Ok(vec![Box::new(pattern::PatternVideo::new(*settings)?)]),
            Self::Clips(clips) => clips.iter().filter_map(|clip| clip.video().transpose()).collect(),
        }
    }

    /// Its sound from the beginning; none without sound.
    ///
    /// # Errors
    /// When an encoder or decoder does not start or the file cannot be opened.
    pub fn audio(&self) -> Result<Option<Box<dyn Source>>, Error> {
        match self {
            Self::Pattern(settings) if !settings.audio => Ok(None),
            Self::Pattern(_) => Ok(Some(Box::new(sound::Sound::new(sound::Beep::default(), BEEP_BITRATE)?))),
            Self::Clips(clips) => clips.first().map_or(Ok(None), Clip::audio),
        }
    }
}

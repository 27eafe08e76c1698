//! How the sound of a feed is coded: what its packets hold, how long that lasts, and what fills a hole in it.

use bicast_shared::id::StreamKey;
use bicast_shared::media::aac::{self as coding, AacConfig};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::time::ClockRate;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::core::cmaf::init;
use crate::core::depacketizer::{aac, opus};

/// One sample in so many ticks may be a tick longer or shorter: 0.31 % (0.29 % of AAC's 1024), above the 5 ms a segment that the
/// owner moves.
const TICKS_PER_STEP: i64 = 320;

/// A frame of AAC at its longest, in ticks.
const LONGEST_AAC: i64 = coding::FRAME as i64 + most_stretch(coding::FRAME as i64);

/// The ticks by which a sample of `ticks` may be longer or shorter.
#[must_use]
pub const fn most_stretch(ticks: i64) -> i64 {
    if ticks < TICKS_PER_STEP { 1 } else { ticks / TICKS_PER_STEP }
}

/// The sound that is packaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sound {
    /// Its stream.
    #[serde(flatten)]
    pub key: StreamKey,
    /// How it is coded; Opus in records from before there was another.
    #[serde(default)]
    pub format: SoundFormat,
}

/// How it is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SoundFormat {
    /// Opus: a packet is a sample.
    #[default]
    Opus,
    /// AAC-LC: an access unit is a sample.
    Aac(AacConfig),
}

impl Sound {
    /// The sound of a track; none where it is not packaged.
    #[must_use]
    pub fn of(track: &TrackInfo) -> Option<Self> {
        let format = match track.codec {
            Codec::Opus => SoundFormat::Opus,
            Codec::Aac => SoundFormat::Aac(AacConfig::from_fmtp(&track.fmtp, track.clock_rate.hz()).ok()?),
            _ => return None,
        };
        Some(Self { key: track.streams().next().unwrap_or_default(), format })
    }
}

impl SoundFormat {
    /// Ticks per second, of RTP and of the file.
    #[must_use]
    pub const fn rate(self) -> ClockRate {
        match self {
            Self::Opus => ClockRate::OPUS,
            Self::Aac(config) => config.rate(),
        }
    }

    /// RFC 6381.
    #[must_use]
    pub const fn codecs(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            // Object type 2 of MPEG-4 Audio.
            Self::Aac(_) => "mp4a.40.2",
        }
    }

    /// Channels, where the publisher said `said`.
    #[must_use]
    pub fn channels(self, said: u8) -> u8 {
        match self {
            Self::Opus => said.clamp(1, 2),
            Self::Aac(config) => config.channels(),
        }
    }

    /// The init segment.
    #[must_use]
    pub fn init(self, channels: u8) -> Option<Bytes> {
        match self {
            Self::Opus => init::opus(channels),
            Self::Aac(config) => init::aac(config),
        }
    }

    /// A sample of silence, and its ticks.
    #[must_use]
    pub const fn silence(self) -> (&'static [u8], i64) {
        match self {
            Self::Opus => (opus::SILENCE, opus::SILENCE_TICKS as i64),
            Self::Aac(config) => (config.silence(), coding::FRAME as i64),
        }
    }

    /// The longest that a part may be where the feed's parts are of `part` ticks. Frames of AAC are so long that what fits into a part
    /// may be less than the 85 % of PART-TARGET that a part has to have (RFC 8216bis, 4.4.4.9): there it is what fits, and a frame at
    /// least.
    #[must_use]
    pub fn part(self, part: i64) -> i64 {
        match self {
            Self::Opus => part,
            Self::Aac(_) => (part / LONGEST_AAC).max(1) * LONGEST_AAC,
        }
    }

    /// PART-TARGET in milliseconds where the feed's is `feed_ms`.
    #[must_use]
    pub fn part_target_ms(self, feed_ms: u32) -> u32 {
        let hz = i64::from(self.rate().hz());
        match self {
            Self::Opus => feed_ms,
            Self::Aac(_) => {
                let part = self.part(i64::from(feed_ms) * hz / 1_000);
                u32::try_from((part * 1_000 + hz - 1) / hz).unwrap_or(feed_ms)
            }
        }
    }
}

/// A frame of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundFrame {
    /// When it is played, in ticks.
    pub at: i64,
    /// How long it lasts.
    pub ticks: i64,
    /// The frame.
    pub data: Bytes,
}

/// Takes the frames out of a stream's packets.
#[derive(Debug)]
pub enum Unpacker {
    /// Opus.
    Opus,
    /// AAC.
    Aac(aac::Payloads),
}

impl Unpacker {
    /// For a stream that is coded as `format`.
    #[must_use]
    pub fn new(format: SoundFormat) -> Self {
        match format {
            SoundFormat::Opus => Self::Opus,
            SoundFormat::Aac(_) => Self::Aac(aac::Payloads::default()),
        }
    }

    /// Packets are missing here. Returns how many frames that had begun are lost with them.
    pub fn handle_lost(&mut self) -> u64 {
        match self {
            Self::Opus => 0,
            Self::Aac(payloads) => u64::from(payloads.handle_lost()),
        }
    }

    /// Appends the frames that are whole with this packet, whose time is `at`. Returns how many are lost for certain: of a malformed
    /// packet, one.
    pub fn handle(&mut self, at: i64, payload: Bytes, out: &mut Vec<SoundFrame>) -> u64 {
        match self {
            Self::Opus => match opus::duration(&payload) {
                Some(ticks) => {
                    out.push(SoundFrame { at, ticks: ticks.into(), data: payload });
                    0
                }
                None => 1,
            },
            Self::Aac(payloads) => {
                let mut units = Vec::new();
                let outcome = payloads.handle(at, &payload, &mut units);
                let ticks = i64::from(coding::FRAME);
                out.extend(units.into_iter().map(|(at, data)| SoundFrame { at, ticks, data }));
                u64::from(outcome.is_err())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_from_before_there_was_aac_are_of_opus() {
        let before = r#"{"track": 1, "rendition": 0}"#;
        let sound: Sound = serde_json::from_str(before).unwrap();
        assert_eq!(sound.format, SoundFormat::Opus);
        let aac = Sound { format: SoundFormat::Aac(AacConfig::new(44_100, 1).unwrap()), ..sound };
        let written = serde_json::to_string(&aac).unwrap();
        assert_eq!(serde_json::from_str::<Sound>(&written).unwrap(), aac);
        let key: StreamKey = serde_json::from_str(&written).unwrap();
        assert_eq!(key, sound.key, "what was there before reads it, too");
    }

    #[test]
    fn every_part_of_aac_has_what_part_target_asks_for() {
        for hz in
            [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000]
        {
            let format = SoundFormat::Aac(AacConfig::new(hz, 2).unwrap());
            for feed_ms in [100, 200, 208, 240, 1_000] {
                let target = i64::from(format.part_target_ms(feed_ms)) * i64::from(hz);
                let frames = format.part(i64::from(feed_ms) * i64::from(hz) / 1_000) / LONGEST_AAC;
                let shortest = frames * (1_024 - most_stretch(1_024)) * 1_000;
                assert!(
                    frames * LONGEST_AAC * 1_000 <= target && shortest * 100 >= target * 85,
                    "{hz} {feed_ms}"
                );
                assert!(format.part_target_ms(feed_ms) <= feed_ms || frames == 1, "{hz} {feed_ms}");
            }
        }
    }
}

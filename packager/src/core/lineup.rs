//! What a feed's playlists are made of, and when that has changed so much that they have to begin anew.

use bicast_shared::feed::info::{CadenceRule, FeedInfo};
use bicast_shared::id::{RenditionId, StreamKey};
use bicast_shared::media::{Codec, TrackInfo, TrackKind};
use bicast_shared::time::ClockRate;
use serde::{Deserialize, Serialize};

use crate::core::snapshot::Header;
use crate::core::sound::Sound;

/// The streams that are packaged and the numbers in the playlists' headers: what cannot change in a playlist that is live
/// (RFC 8216bis, 6.2.1), nor in the multivariant playlist that a player has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineup {
    /// What the headers say.
    pub header: Header,
    /// The picture; none where the sound decides the cuts.
    pub picture: Option<Picture>,
    /// The sound that is packaged.
    pub sound: Option<Sound>,
}

/// The picture of a feed. Its stamps carry the cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Its first stream.
    pub key: StreamKey,
    /// In how many encodings it comes, from that one on.
    pub layers: u8,
    /// Its clock rate, which is the master clock's.
    pub rate: ClockRate,
    /// How it is coded.
    pub codec: Codec,
}

impl Picture {
    /// Whether it is packaged, or good for nothing but its cuts: VP8 has no place in CMAF that players know.
    #[must_use]
    pub const fn is_packaged(&self) -> bool {
        matches!(self.codec, Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Vp9)
    }
}

impl Lineup {
    /// The line-up of the feed as it is now; none before its cadence and its timeline are known.
    #[must_use]
    pub fn of(info: &FeedInfo) -> Option<Self> {
        let cadence = &info.cadence;
        if cadence.rule == CadenceRule::Undecided || info.map.is_none() || info.tracks.is_empty() {
            return None;
        }
        let key = |track: &TrackInfo| track.streams().next().unwrap_or_default();
        let video = info.track(TrackKind::Video).filter(|_| cadence.rule != CadenceRule::AudioOnly);
        let picture = video.map(|track| Picture {
            key: key(track),
            layers: u8::try_from(track.renditions.len()).unwrap_or(u8::MAX),
            rate: track.clock_rate,
            codec: track.codec,
        });
        let sound = info.track(TrackKind::Audio).and_then(Sound::of);
        let header = Header {
            target_duration: cadence.target_duration.max(1),
            part_target_ms: cadence.part_target_ms.max(1),
            // Whoever changes to another layer begins with a segment: where there are several, all begin so.
            independent_segments: !picture
                .is_some_and(|picture| picture.is_packaged() && picture.layers == 1)
                || cadence.rule == CadenceRule::OnRequest,
        };
        Some(Self { header, picture, sound })
    }

    /// The picture, where it is packaged.
    #[must_use]
    pub fn packaged(&self) -> Option<Picture> {
        self.picture.filter(Picture::is_packaged)
    }

    /// The streams of the picture.
    pub fn picture_streams(&self) -> impl Iterator<Item = StreamKey> + use<> {
        let picture = self.picture;
        let first = picture.map_or(0, |picture| picture.key.rendition.0);
        let keys = picture.map_or(0..0, |picture| first..first.saturating_add(picture.layers));
        keys.filter_map(move |rendition| Some(StreamKey::new(picture?.key.track, RenditionId(rendition))))
    }

    /// Nothing of the feed can be packaged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packaged().is_none() && self.sound.is_none()
    }

    /// Whether the playlists of this line-up can go on with what comes under `next`. A promise may be kept by more than
    /// was promised.
    #[must_use]
    pub fn goes_on_with(&self, next: &Self) -> bool {
        let promised = self.header.independent_segments;
        let header = Header { independent_segments: promised, ..next.header };
        (next.header.independent_segments || !promised) && *self == Self { header, ..*next }
    }
}

/// Why this feed, or its picture, cannot be watched over HLS.
#[must_use]
pub fn refusal(info: &FeedInfo, lineup: &Lineup) -> Option<String> {
    let codec = |kind| info.track(kind).map(|track| track.codec);
    let picture = codec(TrackKind::Video).filter(|_| lineup.picture.is_some());
    match (picture, codec(TrackKind::Audio)) {
        (Some(_), _) if lineup.packaged().is_some() => None,
        (Some(codec), _) if lineup.sound.is_some() => Some(format!(
            "Only the sound is on HLS: {codec} video is not packaged. Publish H264, H265, AV1 or VP9."
        )),
        (Some(codec), _) => {
            Some(format!("{codec} video is not packaged for HLS. Publish H264, H265, AV1 or VP9."))
        }
        (None, Some(codec)) if lineup.sound.is_none() => {
            Some(format!("{codec} sound is not packaged for HLS. Publish Opus or AAC-LC."))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bicast_shared::media::aac::AacConfig;

    use super::*;
    use crate::core::sound::SoundFormat;

    fn lineup(independent_segments: bool, target_duration: u32, sound: bool) -> Lineup {
        let (key, codec) = (StreamKey::default(), Codec::H264);
        let picture = Picture { key, layers: 1, rate: ClockRate::VIDEO, codec };
        Lineup {
            header: Header { target_duration, part_target_ms: 216, independent_segments },
            picture: Some(picture),
            sound: sound.then(|| Sound { key: StreamKey::default(), format: SoundFormat::Opus }),
        }
    }

    #[test]
    fn playlists_go_on_while_streams_numbers_and_promises_hold() {
        let first = lineup(true, 3, true);
        assert!(first.goes_on_with(&first));
        assert!(lineup(false, 3, true).goes_on_with(&first), "more than was promised");
        for other in [lineup(false, 3, true), lineup(true, 10, true), lineup(true, 3, false)] {
            assert!(!first.goes_on_with(&other), "{other:?}");
        }
        let mut aac = first;
        let config = AacConfig::new(48_000, 2).unwrap();
        aac.sound = Some(Sound { key: StreamKey::default(), format: SoundFormat::Aac(config) });
        assert!(!first.goes_on_with(&aac) && !aac.goes_on_with(&first), "another codec of the sound");
        let mut unpackaged = first;
        unpackaged.picture.as_mut().unwrap().codec = Codec::Vp8;
        let mut without = first;
        without.picture = None;
        for other in [unpackaged, without] {
            assert!(!first.goes_on_with(&other) && !other.goes_on_with(&first), "{other:?}");
        }
    }
}

//! An immutable picture of a packaged feed: what playlists are printed from and requests are answered from.

use std::sync::Arc;
use std::time::Duration;

use bicast_shared::time::{ClockRate, ProgramTime};
use serde::{Deserialize, Serialize};

use crate::core::lineup::Lineup;
use crate::core::window::{Init, Segment};

/// What must stay the same in all media playlists of a feed while it is live (RFC 8216bis 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Header {
    /// EXT-X-TARGETDURATION, seconds.
    pub target_duration: u32,
    /// EXT-X-PART-INF:PART-TARGET, milliseconds.
    pub part_target_ms: u32,
    /// Whether every segment begins with a keyframe.
    pub independent_segments: bool,
}

impl Header {
    /// EXT-X-TARGETDURATION in ticks.
    #[must_use]
    pub fn target(&self, rate: ClockRate) -> i64 {
        i64::from(self.target_duration) * i64::from(rate.hz())
    }
}

/// A packaged feed.
#[derive(Debug, Clone, Default)]
pub struct FeedSnapshot {
    /// Names this life of the feed and these playlists of it: what ended and began again under the feed's id must not meet
    /// its old self in caches. Empty before the first playlists begin.
    pub instance: String,
    /// What never changes.
    pub header: Header,
    /// What its playlists are made of; none before they begin.
    pub lineup: Option<Lineup>,
    /// Its media playlists. The first is the main one: video where there is video.
    pub renditions: Vec<RenditionSnapshot>,
    /// Nothing will be added.
    pub ended: bool,
    /// Nothing can be added at the moment: the publisher is away, or silent, or sends sound without the picture that
    /// decides where it belongs.
    pub away: bool,
    /// Why it cannot be watched, in words with the next step.
    pub refused: Option<String>,
    /// Discontinuities since the feed began.
    pub discontinuities: u64,
    /// Frames left out since the feed began.
    pub lost_access_units: u64,
}

/// What a rendition holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RenditionMedia {
    /// Pictures.
    Video {
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
        /// Frames per second.
        frame_rate: f64,
    },
    /// Sound.
    Audio {
        /// Channels.
        channels: u8,
    },
}

/// One media playlist.
#[derive(Debug, Clone)]
pub struct RenditionSnapshot {
    /// Its name in URLs: `video0`.
    pub name: String,
    /// RFC 6381.
    pub codecs: String,
    /// Picture or sound.
    pub media: RenditionMedia,
    /// Ticks per second.
    pub timescale: i64,
    /// Listed segments, oldest first; the last one may be growing.
    pub segments: Vec<Arc<Segment>>,
    /// No longer listed, still served.
    pub removed: Vec<Arc<Segment>>,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// Where its newest part ends, in ticks.
    pub edge: i64,
    /// The init section of the segment that has begun and has no part yet.
    pub coming: Option<Arc<Init>>,
}

impl FeedSnapshot {
    /// A rendition by name.
    #[must_use]
    pub fn rendition(&self, name: &str) -> Option<&RenditionSnapshot> {
        self.renditions.iter().find(|rendition| rendition.name == name)
    }

    /// PART-TARGET of a rendition, milliseconds.
    #[must_use]
    pub fn part_target_ms(&self, rendition: &RenditionSnapshot) -> u32 {
        match rendition.media {
            RenditionMedia::Video { .. } => self.header.part_target_ms,
            RenditionMedia::Audio { .. } => self.sound_part_target_ms(),
        }
    }

    /// The longest PART-TARGET of its renditions, whether they have begun or not.
    #[must_use]
    pub fn longest_part_target_ms(&self) -> u32 {
        self.header.part_target_ms.max(self.sound_part_target_ms())
    }

    fn sound_part_target_ms(&self) -> u32 {
        let feed = self.header.part_target_ms;
        let sound = self.lineup.and_then(|lineup| lineup.sound);
        sound.map_or(feed, |sound| sound.format.part_target_ms(feed))
    }

    /// Whether a player that opens it now can begin: three parts are its hold-back. Of a picture in several encodings all are
    /// waited for that may come, but not for longer than until one of them has two segments: publishers may never send some.
    #[must_use]
    pub fn playable(&self) -> bool {
        let is_video = |r: &&RenditionSnapshot| matches!(r.media, RenditionMedia::Video { .. });
        let (video, audio): (Vec<_>, Vec<_>) = self.renditions.iter().partition(is_video);
        let begun = video.iter().filter(|rendition| rendition.playable()).count();
        let waited = || video.iter().any(|rendition| rendition.whole_segments() > 1);
        let picture = video.is_empty() || begun == video.len() || (begun > 0 && waited());
        !self.renditions.is_empty() && picture && audio.iter().all(|rendition| rendition.playable())
    }

    /// The renditions that a player is told of: those that it can play something of.
    pub fn offered(&self) -> impl Iterator<Item = &RenditionSnapshot> {
        self.renditions.iter().filter(|rendition| rendition.is_offered())
    }

    /// Bytes of media that it holds in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        let segments = |rendition: &RenditionSnapshot| -> usize {
            rendition.segments.iter().chain(&rendition.removed).map(|segment| segment.held()).sum()
        };
        self.renditions.iter().map(segments).sum()
    }
}

/// Parts that can be played where no segment is complete yet: more than two seconds of them.
const PARTS_ENOUGH: usize = 12;

impl RenditionSnapshot {
    /// A whole segment is there. hls.js takes a playlist without one for an empty one and gives up after two tries; the
    /// owner makes the first segment three parts long, so this is as soon as three parts are there. Where a deaf encoder's
    /// keyframes are further apart than that, players that begin at parts are not kept waiting for ever.
    fn playable(&self) -> bool {
        self.segments.iter().any(|segment| segment.complete && !segment.is_gap())
            || self.segments.iter().flat_map(|s| &s.parts).filter(|part| !part.gap).count() >= PARTS_ENOUGH
    }

    fn whole_segments(&self) -> usize {
        self.segments.iter().filter(|segment| segment.complete && !segment.is_gap()).count()
    }

    /// Whether its bitstream is known, and something of it can be played: a layer that never came, or not within the window,
    /// is not worth being told of.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        !self.codecs.is_empty() && self.segments.iter().any(|segment| segment.bytes() > 0)
    }

    /// The number of the last complete segment.
    #[must_use]
    pub fn last_complete(&self) -> Option<u64> {
        self.segments.iter().rev().find(|segment| segment.complete).map(|segment| segment.head.number)
    }

    /// The newest part: its segment's number and its index.
    #[must_use]
    pub fn newest_part(&self) -> Option<(u64, u64)> {
        let newest = self.segments.last()?;
        Some((newest.head.number, (newest.parts.len() as u64).saturating_sub(1)))
    }

    /// The part that comes next, named before it exists. Right after a segment closed it is part 0 of the next one: a
    /// playlist without a hint there makes hls.js misplace what follows.
    #[must_use]
    pub fn next_part(&self) -> (u64, u64) {
        match self.segments.last() {
            Some(newest) if newest.complete => (newest.head.number + 1, 0),
            Some(newest) => (newest.head.number, newest.parts.len() as u64),
            None => (0, 0),
        }
    }

    /// A segment that can be fetched.
    #[must_use]
    pub fn segment(&self, number: u64) -> Option<&Arc<Segment>> {
        // A window has hundreds, and numbers without a hole.
        let find = |list: &[Arc<Segment>]| {
            let at = number.checked_sub(list.first()?.head.number)?;
            usize::try_from(at).ok().filter(|at| *at < list.len())
        };
        find(&self.segments)
            .and_then(|at| self.segments.get(at))
            .or_else(|| find(&self.removed).and_then(|at| self.removed.get(at)))
            .filter(|segment| segment.head.number == number)
    }

    /// An init segment that a listed or served segment needs.
    #[must_use]
    pub fn init(&self, number: u32) -> Option<&Arc<Init>> {
        let inits = self.segments.iter().rev().chain(&self.removed).map(|segment| &segment.head.init);
        self.coming.iter().chain(inits).find(|init| init.number == number && !init.is_missing())
    }

    /// UTC of the end of one of its segments, as far as that has come.
    #[must_use]
    pub fn end_of(&self, segment: &Segment) -> ProgramTime {
        let nanos = bicast_shared::time::scale(segment.ticks, 1_000_000_000, self.timescale);
        segment.head.program_time + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// The number of the newest init segment.
    #[must_use]
    pub fn newest_init(&self) -> Option<u32> {
        let inits = self.segments.iter().chain(&self.removed).map(|segment| &segment.head.init);
        inits.filter(|init| !init.is_missing()).map(|init| init.number).max()
    }

    /// Seconds of media listed.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.to_seconds(self.segments.iter().map(|segment| segment.ticks).sum())
    }

    /// Peak and average bits per second of the listed segments (of the parts there are, before the first is complete).
    #[must_use]
    pub fn bandwidth(&self) -> (u64, u64) {
        let rate = |bytes: usize, ticks: i64| self.bits_per_second(bytes, ticks);
        let all = |segments: &mut dyn Iterator<Item = &Arc<Segment>>| {
            segments.fold((0, 0), |(bytes, ticks), s| (bytes + s.bytes(), ticks + s.ticks))
        };
        let full = || self.segments.iter().filter(|segment| segment.complete && !segment.is_gap());
        let (bytes, ticks) =
            if full().next().is_some() { all(&mut full()) } else { all(&mut self.segments.iter()) };
        if ticks == 0 {
            return (0, 0);
        }
        let average = rate(bytes, ticks);
        // A segment cut short at an epoch's end says little about the rate.
        let long = full().filter(|segment| segment.ticks * 2 >= self.timescale);
        let peak = long.map(|segment| rate(segment.bytes(), segment.ticks)).max().unwrap_or(average);
        (peak.max(average), average)
    }

    /// Peak and average bits per second of the keyframes that whole segments begin with; none where there are none.
    #[must_use]
    pub fn keyframe_bandwidth(&self) -> Option<(u64, u64)> {
        let complete =
            self.segments.iter().filter(|segment| segment.complete && segment.ticks * 2 >= self.timescale);
        let keyframes: Vec<_> = complete.filter_map(|s| Some((s.keyframe()?, s.ticks))).collect();
        let peak = keyframes.iter().map(|(bytes, ticks)| self.bits_per_second(*bytes, *ticks)).max()?;
        let (bytes, ticks) = keyframes.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        Some((peak, self.bits_per_second(bytes, ticks)))
    }

    fn bits_per_second(&self, bytes: usize, ticks: i64) -> u64 {
        let bits = u128::from(bytes as u64) * 8 * u128::from(self.timescale.unsigned_abs());
        u64::try_from(bits / u128::from(ticks.max(1).unsigned_abs())).unwrap_or(u64::MAX)
    }

    #[expect(clippy::cast_precision_loss, reason = "a window's ticks are far below 2^52")]
    pub(crate) fn to_seconds(&self, ticks: i64) -> f64 {
        ticks as f64 / self.timescale as f64
    }
}

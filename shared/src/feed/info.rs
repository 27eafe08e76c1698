//! What is known about a feed, as an immutable snapshot.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::feed::settings::FeedSettings;
use crate::id::{Epoch, FeedId, RenditionId, TrackId};
use crate::media::{TrackInfo, TrackKind};
use crate::time::{ClockRate, MediaTime, ProgramTime};

/// Whether something arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedState {
    /// A publisher is connected but no media has come yet.
    Starting,
    /// Media arrives.
    Live,
    /// The publisher left, or has never come; the feed waits for it (or another).
    Offline,
    /// Over. Its readers are told and the id is free.
    Ended,
}

/// A snapshot of a feed. A new one is published whenever something in it changes (not with every packet).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeedInfo {
    /// Its id.
    pub id: FeedId,
    /// How it is treated. Some of it holds from the next publisher on ([`crate::feed::bus::FeedBus::update`]).
    pub settings: Arc<FeedSettings>,
    /// It was made by request, and stays until it is ended by request, however long nobody publishes it.
    pub is_kept: bool,
    /// Whether something arrives.
    pub state: FeedState,
    /// The current or last publisher's stay, or the latest part of it.
    pub epoch: Epoch,
    /// Its tracks in this epoch. Empty until a publisher has come.
    pub tracks: Vec<TrackInfo>,
    /// Who publishes; none while offline.
    pub publisher: Option<PublisherInfo>,
    /// Who waits to take over from it, if anybody.
    pub standby: Option<PublisherInfo>,
    /// How segments and parts are cut, once decided (before anything is published over HLS).
    pub cadence: Cadence,
    /// The current mapping from media time to UTC, once the first frame has come.
    pub map: Option<Arc<TimelineMap>>,
    /// Whether frames are presented in another order than sent. Such video cannot be shown over WebRTC.
    pub b_frames: bool,
    /// The encodings of the picture where it comes in several, in the order of their numbers; else empty.
    pub layers: Vec<LayerInfo>,
    /// When the feed began, by this server's clock.
    pub since: ProgramTime,
}

impl FeedInfo {
    /// The encoding of a track that shows most: of several that run, the one with the highest bit rate.
    #[must_use]
    pub fn best_rendition(&self, track: &TrackInfo) -> RenditionId {
        let first = track.renditions.first().map_or(RenditionId(0), |rendition| rendition.id);
        let layers =
            self.layers.iter().filter(|_| track.renditions.len() > 1 && track.kind() == TrackKind::Video);
        let running = layers.filter(|layer| layer.running);
        // The first of equals: nothing was counted yet.
        running.rev().max_by_key(|layer| layer.bitrate_bps).map_or(first, |layer| layer.rendition)
    }

    /// The first track of this kind.
    #[must_use]
    pub fn track(&self, kind: TrackKind) -> Option<&TrackInfo> {
        self.tracks.iter().find(|track| track.kind() == kind)
    }
}

/// What is known about one of several encodings of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// Which one.
    pub rendition: RenditionId,
    /// Whether it comes: publishers pause layers that their line or their processor cannot carry.
    pub running: bool,
    /// Bits per second of its last segment, without headers; 0 before the first has ended.
    pub bitrate_bps: u64,
    /// How long after those of the first running layer its keyframes come, in milliseconds; none before both have had one.
    /// Other than 0, segments cannot begin with keyframes in all layers.
    pub keyframe_offset_ms: Option<i64>,
}

/// Who publishes a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherInfo {
    /// How it came: `whip`.
    pub protocol: String,
    /// What it said it is (User-Agent), if anything.
    pub agent: Option<String>,
    /// Its address, as text.
    pub address: Option<String>,
    /// Since when, by this server's clock.
    pub since: ProgramTime,
}

/// Which rule of the cadence is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CadenceRule {
    /// Not decided yet: the first frames are being watched.
    Undecided,
    /// The publisher answers keyframe requests: the owner asks so that one falls on each segment target.
    OnRequest,
    /// The publisher does not answer: segments begin at its natural keyframes.
    SelfPaced,
    /// There is no video, or it sends nothing: segments are cut by time.
    AudioOnly,
}

/// How segments and parts of a feed are cut. Constant once decided, but for another kind of track that drives the cuts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cadence {
    /// The rule in force.
    pub rule: CadenceRule,
    /// Video frames per second, estimated from the first frames; none without video or before it is known.
    pub frame_rate: Option<f64>,
    /// Video frames in a part; 0 without video or before it is known.
    pub frames_per_part: u32,
    /// EXT-X-PART-INF:PART-TARGET, in milliseconds.
    pub part_target_ms: u32,
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration: u32,
    /// What the operator could set to do better, if anything.
    pub advice: Option<String>,
}

impl Default for Cadence {
    fn default() -> Self {
        Self {
            rule: CadenceRule::Undecided,
            frame_rate: None,
            frames_per_part: 0,
            part_target_ms: 0,
            target_duration: 0,
            advice: None,
        }
    }
}

/// A version of the mapping from media time to UTC. RTCP sender reports, PROGRAM-DATE-TIME, `prft` and the timeline API
/// all read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineMap {
    /// Counts up with every change.
    pub version: u32,
    /// UTC of media time 0 of the master clock.
    pub anchor: ProgramTime,
    /// Every track's relation to the master clock.
    pub tracks: Vec<TrackMap>,
}

/// How a track's media time relates to the master clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackMap {
    /// The track.
    pub track: TrackId,
    /// Its clock rate.
    pub rate: ClockRate,
    /// Nanoseconds to add to this track's media time to stand on the master clock, as best known. RTCP sender reports
    /// use it. 0 for the master itself.
    pub offset_nanos: i64,
    /// The same, approached in steps of at most 5 ms a segment: CMAF uses it, so that its times stay contiguous.
    pub slewed_nanos: i64,
    /// Whether the relation rests on the publisher's sender reports (or needs none) rather than on arrival times.
    pub related: bool,
}

impl TimelineMap {
    /// The relation of a track; the identity for one it does not know.
    #[must_use]
    pub fn track(&self, track: TrackId, rate: ClockRate) -> TrackMap {
        self.tracks.iter().find(|map| map.track == track).copied().unwrap_or(TrackMap {
            track,
            rate,
            offset_nanos: 0,
            slewed_nanos: 0,
            related: false,
        })
    }

    /// UTC of a track's media time, as best known (for RTCP sender reports).
    #[must_use]
    pub fn program_time(&self, track: TrackId, rate: ClockRate, at: MediaTime) -> ProgramTime {
        let map = self.track(track, rate);
        self.at(rate.nanos(at.0).saturating_add(map.offset_nanos))
    }

    /// UTC of a time on the master clock, given in ticks of `rate`: what PROGRAM-DATE-TIME says of CMAF times.
    #[must_use]
    pub fn master_time(&self, rate: ClockRate, at: MediaTime) -> ProgramTime {
        self.at(rate.nanos(at.0))
    }

    fn at(&self, nanos: i64) -> ProgramTime {
        ProgramTime::from_unix_nanos(self.anchor.unix_nanos().saturating_add(nanos))
    }
}

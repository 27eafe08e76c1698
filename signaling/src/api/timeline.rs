//! The JSON of `GET /v1/feeds/{id}/timeline`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FeedState, LiveEdge, Timeline};

/// Where moments of a feed lie on both paths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedTimeline {
    /// The feed.
    #[schema(example = "demo")]
    pub feed: String,
    /// Whether something arrives.
    pub state: FeedState,
    /// The mapping from media time to UTC that is in force for what comes now; null until the first frame has come. It follows this
    /// server's clock by at most 1 ms a segment: for moments of the window `position` tells what was in force for them.
    pub mapping: Option<Timeline>,
    /// What can be asked for: what HLS lists; null where that is nothing.
    pub window: Option<TimelineWindow>,
    /// The newest on both paths.
    pub live_edges: LiveEdges,
    /// The publishers' stays of which something is in the window, oldest first.
    pub epochs: Vec<TimelineEpoch>,
    /// The moment that was asked for; null where none was.
    pub position: Option<TimelinePosition>,
}

/// A moment of a feed, in all its names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineMoment {
    /// In ticks of the master clock.
    #[schema(example = 1_234_560)]
    pub media_time: i64,
    /// Ticks per second of the master clock at that moment: the picture's clock, or the sound's where there was no picture.
    #[schema(example = 90000)]
    pub clock_rate: u32,
    /// `mediaTime` modulo 2^32: the RTP timestamp that every WebRTC viewer gets with the frame of that time.
    #[schema(example = 1_234_560)]
    pub rtp_timestamp: u32,
    /// UTC (RFC 3339), rounded to the millisecond: what EXT-X-PROGRAM-DATE-TIME says of that time.
    #[schema(example = "2026-11-23T05:09:12.840Z", format = DateTime)]
    pub program_time: String,
    /// The same in milliseconds since 1970, with microseconds behind the point: exact enough to be asked for again.
    #[schema(example = 1_795_411_752_840.123)]
    pub unix_ms: f64,
}

/// What HLS lists of a feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineWindow {
    /// Its first frame.
    pub oldest: TimelineMoment,
    /// The end of its newest part.
    pub newest: TimelineMoment,
}

/// The newest content of both paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveEdges {
    /// The newest frame that was forwarded to WebRTC viewers, as told once a second; null before there is one.
    pub realtime: Option<LiveEdge>,
    /// The end of the newest part on HLS; null before there is one.
    pub hls: Option<LiveEdge>,
}

/// One publisher's stay on a feed, as HLS has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEpoch {
    /// Its number: 0 for the feed's first publisher. A publisher's clock that jumps begins another one, too.
    pub epoch: u32,
    /// Its first frame on HLS; may have left the window since.
    pub begin: TimelineMoment,
    /// The playlists that it is in: the last folder of their URLs. An epoch that they cannot express (other tracks or codecs) begins others.
    #[schema(example = "19ac83b1f2")]
    pub instance: String,
    /// Its oldest segment in the window (Media Sequence Number).
    #[schema(example = 12)]
    pub segment: u64,
    /// That segment's discontinuity sequence number (RFC 8216bis, 4.4.3.3): players tell epochs in one playlist apart by it.
    #[schema(example = 1)]
    pub discontinuity_sequence: u64,
}

/// Where a moment lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelinePosition {
    /// The moment.
    #[serde(flatten)]
    pub moment: TimelineMoment,
    /// Whose stay it is in; null where nobody published.
    pub epoch: Option<u32>,
    /// The playlists that it is in: the last folder of their URLs.
    #[schema(example = "19ac83b1f2")]
    pub instance: String,
    /// What each rendition has of it.
    pub renditions: Vec<RenditionPosition>,
}

/// What a rendition has of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PositionState {
    /// A frame.
    Available,
    /// A part without bytes (GAP=YES): no frame came in time.
    Gap,
    /// Nothing yet: the part that it will be in is not complete. Ask again within a part's length.
    Coming,
    /// Nothing, and there will not be anything: nobody published, or this rendition began later or ended before.
    Nothing,
}

/// A moment in a rendition. URLs are relative to this server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenditionPosition {
    /// Its name.
    #[schema(example = "video0")]
    pub rendition: String,
    /// What it has of the moment.
    pub state: PositionState,
    /// The moment on the clock of its presentation times, rounded to the nearest tick.
    #[schema(example = 1_234_560)]
    pub media_time: i64,
    /// That clock's ticks per second, as its init segment says.
    #[schema(example = 90000)]
    pub timescale: u32,
    /// Its media playlist.
    #[schema(example = "/hls/demo/video0/19ac83b1f2/media.m3u8")]
    pub playlist: String,
    /// The segment that has the moment; null where none has.
    pub segment: Option<SegmentPosition>,
}

/// A moment in a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentPosition {
    /// Its Media Sequence Number.
    #[schema(example = 12)]
    pub number: u64,
    /// Its file. It can be fetched once the segment is complete; until then its parts can.
    #[schema(example = "/hls/demo/video0/19ac83b1f2/12.m4s")]
    pub url: String,
    /// Whether it is complete.
    pub complete: bool,
    /// When its first frame is shown, in ticks of the timescale.
    #[schema(example = 1_080_000)]
    pub media_time: i64,
    /// How long it lasts (so far, while it is not complete), in ticks of the timescale.
    #[schema(example = 180_000)]
    pub duration: i64,
    /// The init segment that describes it; null for a gap before anything was known of the bitstream.
    #[schema(example = "/hls/demo/video0/19ac83b1f2/init0.mp4")]
    pub init: Option<String>,
    /// The part; null once its segment has left the memory (packager.dvr), as parts cannot be fetched one by one then.
    pub part: Option<PartPosition>,
    /// The part's bytes in the segment's file, also of a part that cannot be fetched by itself any more; null for a gap, and where
    /// the disk did not answer.
    pub byte_range: Option<ByteRange>,
    /// The frame that is shown at the moment (of sound: that is heard); null for a gap, and where the disk did not answer.
    pub frame: Option<FramePosition>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartPosition {
    /// Its index in the segment: what `_HLS_part` would say.
    #[schema(example = 3)]
    pub index: u32,
    /// Its file; null for a gap.
    #[schema(example = "/hls/demo/video0/19ac83b1f2/12.3.m4s")]
    pub url: Option<String>,
}

/// Bytes of a file: `Range: bytes={offset}-{offset + length - 1}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ByteRange {
    /// The first one, counted from 0.
    #[schema(example = 40_960)]
    pub offset: u64,
    /// How many.
    #[schema(example = 20_480)]
    pub length: u64,
}

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FramePosition {
    /// Its presentation time as CMAF has it, in ticks of the timescale; of a picture modulo 2^32 the RTP timestamp that WebRTC viewers
    /// get with it.
    #[schema(example = 1_233_000)]
    pub media_time: i64,
    /// How long it lasts in the file, in ticks of the timescale.
    #[schema(example = 3_000)]
    pub duration: i64,
    /// Whether decoding can begin with it.
    pub keyframe: bool,
    /// Its bytes in the segment's file, without any box around them.
    pub byte_range: ByteRange,
}

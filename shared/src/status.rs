//! What the rooms report to each other, as data: `signaling` merges it into the REST API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{FeedId, SegmentNumber};
use crate::time::{MediaTime, ProgramTime};

/// What the SFU reports, once a second and when a viewer comes or goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SfuStatus {
    /// Feeds with at least one WebRTC publisher or viewer.
    pub feeds: BTreeMap<FeedId, SfuFeedStatus>,
}

/// One feed on the WebRTC path.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SfuFeedStatus {
    /// Connected viewers.
    pub viewers: u32,
    /// Bits per second sent to all viewers together.
    pub egress_bps: u64,
    /// The newest video frame (audio where there is no video) that was forwarded.
    pub live_edge: Option<LiveEdge>,
    /// Why this feed cannot be watched over WebRTC, in words with the next step; none when it can.
    pub refused: Option<String>,
    /// Packets sent again after a NACK, since the feed began.
    pub retransmitted: u64,
}

/// What the packager reports, with every part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PackagerStatus {
    /// Feeds that are or were packaged and can still be fetched.
    pub feeds: BTreeMap<FeedId, PackagerFeedStatus>,
}

/// One feed on the HLS path.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PackagerFeedStatus {
    /// Whether the multivariant playlist can be fetched and played.
    pub playable: bool,
    /// Viewers: distinct clients (address and user agent) that asked for a media playlist in the last 10 s.
    pub viewers: u32,
    /// The end of the newest part.
    pub live_edge: Option<LiveEdge>,
    /// The newest segment number and the index of its newest part.
    pub newest: Option<(SegmentNumber, u32)>,
    /// Seconds of media that can be fetched.
    pub window_seconds: f64,
    /// Per stream: what the bitstream says.
    pub renditions: Vec<PackagedRendition>,
    /// Why this feed cannot be watched over HLS, in words with the next step; none when it can.
    pub refused: Option<String>,
    /// EXT-X-DISCONTINUITY tags written since the feed began.
    pub discontinuities: u64,
    /// Access units left out because they were incomplete or could not be decoded.
    pub lost_access_units: u64,
}

/// One media playlist of a feed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PackagedRendition {
    /// `video` or `audio`, and the rendition's number: the name its URLs begin with.
    pub name: String,
    /// RFC 6381, from the bitstream: `avc1.64001f`, `opus`.
    pub codecs: String,
    /// Picture size in pixels; none for audio.
    pub resolution: Option<(u32, u32)>,
    /// Frames per second, measured; none for audio.
    pub frame_rate: Option<f64>,
    /// Bits per second, measured over the last segments.
    pub bandwidth: u64,
}

/// Where a path's newest content lies on the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEdge {
    /// In ticks of the master clock's track.
    pub media_time: MediaTime,
    /// In UTC.
    pub program_time: ProgramTime,
}

//! What the rooms report to each other, as data: `signaling` merges it into the REST API.

pub mod timeline;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{FeedId, SegmentNumber};
use crate::problem::Problem;
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
    /// Packets per second sent to all viewers together.
    pub packets_per_second: u64,
    /// The newest video frame (audio where there is no video) that was forwarded.
    pub live_edge: Option<LiveEdge>,
    /// Why this feed cannot be watched over WebRTC, in words with the next step; none when it can.
    pub refused: Option<String>,
    /// Packets sent again after a NACK, since the feed began.
    pub retransmitted: u64,
}

/// Who can be asked about the viewers of a feed, one by one: too much to be reported without a question.
pub trait ViewerSource: Send + Sync {
    /// All viewers of a feed over WebRTC, in no order.
    fn viewers(&self, feed: &FeedId) -> Pin<Box<dyn Future<Output = Vec<ViewerStatus>> + Send>>;

    /// Ends the sessions that came under a viewer's name ([`ViewerStatus::viewer`]), and tells how many.
    fn end(&self, viewer: &str) -> Pin<Box<dyn Future<Output = u64> + Send>>;
}

/// Who is asked whether a viewer may join over WebRTC, beside its token.
pub trait RealtimeDoor: Send + Sync {
    /// Whether a session may begin; `viewer` is the name it comes under, if it has joined before. The answer is to be kept for as long as
    /// the session lasts.
    ///
    /// # Errors
    /// What it is told instead: where it is served, and what to do.
    fn may_begin(&self, feed: &FeedId, viewer: Option<&str>) -> Result<Place, Box<Problem>>;
}

/// What a session takes of the server's room. Given back when dropped, which may be on a thread that must not wait.
#[derive(Default)]
pub struct Place(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Place {
    /// A place that is given back so.
    #[must_use]
    pub fn new(give_back: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(give_back)))
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(give_back) = self.0.take() {
            give_back();
        }
    }
}

/// What a viewer over WebRTC is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViewerState {
    /// Its handshake is not complete.
    Connecting,
    /// It has no picture until a keyframe comes.
    Waiting,
    /// It is given stored packets, or some that were lost.
    CatchingUp,
    /// It gets what comes as it comes.
    Live,
}

/// One viewer over WebRTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewerStatus {
    /// Its name here. Not its session's id, which is as good as a key.
    pub id: String,
    /// The name that it came under (`?viewer=`), where it has joined before.
    pub viewer: Option<Arc<str>>,
    /// What it is doing.
    pub state: ViewerState,
    /// Seconds since it asked to join.
    pub seconds: f64,
    /// The worker that serves it.
    pub worker: u32,
    /// Bits per second that it was sent in the last second, SRTP and RTP headers included.
    pub bitrate_bps: u64,
    /// Packets that it was sent.
    pub packets: u64,
    /// Bytes that it was sent.
    pub bytes: u64,
    /// Packets that it was sent again.
    pub retransmitted: u64,
    /// Times that it asked for a packet again (RFC 4585, generic NACK).
    pub nacks: u64,
    /// Packets that it asked for, each counted once.
    pub missing: u64,
    /// Of these, packets whose repair had not come a round trip later.
    pub late: u64,
    /// Keyframes that it asked for (PLI, FIR).
    pub keyframe_requests: u64,
    /// Lost of what it was sent lately, 0 to 1, as its last receiver report says (RFC 3550, 6.4.1).
    pub loss_ratio: f64,
    /// Interarrival jitter in milliseconds, as its last receiver report says.
    pub jitter_ms: f64,
    /// Round trip in milliseconds; none before the first report that answers one of ours.
    pub round_trip_ms: Option<f64>,
    /// How long its player is asked to hold pictures back so that lost packets can be repaired, in milliseconds; 0 on a good line.
    pub playout_delay_ms: u64,
    /// Packets that wait to be sent to it.
    pub queue: u64,
    /// Receiver reports so far: what they say is new when this has grown.
    pub reports: u64,
    /// Whether an authentic connectivity check has come.
    pub checked: bool,
    /// Milliseconds since anything authentic came from it: a check or RTCP. Since it joined, where nothing has.
    pub silent_ms: u64,
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
    /// What of it is on disk; none where nothing is stored.
    pub dvr: Option<DvrFeedStatus>,
}

/// The stored part of a feed's window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DvrFeedStatus {
    /// Seconds of listed media that are stored, and so there after a restart.
    pub stored_seconds: f64,
    /// Why nothing is stored at the moment, in words; none while everything is.
    pub failing: Option<String>,
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

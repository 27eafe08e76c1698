//! The JSON of the REST API, as types. `tests/fixtures/wire/*.json` holds one example of each; the players' tests read
//! the same files.

use bicast_shared::feed::{info, settings};
use bicast_shared::media;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub mod audience;
pub mod change;
pub mod channel;
pub mod timeline;
pub mod viewers;

/// The feeds that are known here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feeds {
    /// Sorted by id. Ended feeds stay listed for a while (`signaling.ended_retention`) with `state` = `ended`.
    pub feeds: Vec<Feed>,
}

/// One live source, with everything a viewer or an operator may want to know about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    /// Its id, as it stands in URLs: 1 to 64 of `A-Z a-z 0-9 - _ .`, not beginning with a dot.
    #[schema(example = "demo")]
    pub id: String,
    /// How it is treated.
    pub settings: FeedSettings,
    /// Whether it was made by request (`POST /v1/feeds`): it stays until it is ended by request, however long nobody publishes it.
    pub kept: bool,
    /// Whether something arrives.
    pub state: FeedState,
    /// When the feed began (RFC 3339, UTC).
    #[schema(example = "2026-11-23T05:08:59.123Z", format = DateTime)]
    pub since: String,
    /// Counts publishers' stays: 0 for the first, one more each time one returns.
    #[schema(minimum = 0)]
    pub epoch: u32,
    /// Who publishes; null while nobody does.
    pub publisher: Option<Publisher>,
    /// Who stands by to take over from the publisher; null where nobody does.
    pub standby: Option<Publisher>,
    /// Its tracks in this epoch; empty until a publisher has come.
    pub tracks: Vec<Track>,
    /// How segments and parts are cut, and why so.
    pub cadence: Cadence,
    /// The mapping from media time to UTC; null until the first frame has come.
    pub timeline: Option<Timeline>,
    /// The two ways to watch it.
    pub paths: Paths,
    /// What an operator should know, in sentences with the next step. Empty when all is well.
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
}

/// How a feed is treated, as the configuration said when it began or a request since. The lengths that segments and parts aim at hold from the next
/// publisher on; `cadence` tells what holds now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedSettings {
    /// Seconds that it waits for its publisher to return, unless it is `kept`.
    pub publisher_grace: f64,
    /// Seconds that segments aim at.
    pub segment_target: f64,
    /// Seconds that parts aim at.
    pub part_target: f64,
    /// Seconds of media that playlists list.
    pub window: f64,
    /// What the players of realtime viewers are asked to optimise, unless a viewer says something else.
    #[schema(example = "lowest-latency")]
    pub playout: String,
}

impl From<&settings::FeedSettings> for FeedSettings {
    fn from(settings: &settings::FeedSettings) -> Self {
        Self {
            publisher_grace: settings.publisher_grace.as_secs_f64(),
            segment_target: settings.segment_target.as_secs_f64(),
            part_target: settings.part_target.as_secs_f64(),
            window: settings.window.as_secs_f64(),
            playout: settings.playout.name().to_owned(),
        }
    }
}

/// Whether something arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeedState {
    /// A publisher is connected but no media has come yet.
    Starting,
    /// Media arrives.
    Live,
    /// The publisher left, or none has come yet; the feed waits for one.
    Offline,
    /// Over. What HLS still holds can be watched.
    Ended,
}

impl From<info::FeedState> for FeedState {
    fn from(state: info::FeedState) -> Self {
        match state {
            info::FeedState::Starting => Self::Starting,
            info::FeedState::Live => Self::Live,
            info::FeedState::Offline => Self::Offline,
            info::FeedState::Ended => Self::Ended,
        }
    }
}

/// Who publishes a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publisher {
    /// How it came in.
    #[schema(example = "whip")]
    pub protocol: String,
    /// What it said it is (User-Agent), if anything.
    #[schema(example = "Mozilla/5.0")]
    pub agent: Option<String>,
    /// Its address and port, if known.
    #[schema(example = "127.0.0.1:5000")]
    pub address: Option<String>,
    /// Since when (RFC 3339, UTC).
    #[schema(example = "2026-11-23T05:08:59.123Z", format = DateTime)]
    pub since: String,
}

/// One audio or video track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// Its number on the feed.
    pub id: u8,
    /// Picture or sound.
    pub kind: TrackKind,
    /// How it is coded: `h264`, `h265`, `vp8`, `vp9`, `av1`, `opus` or `aac`.
    #[schema(example = "h264")]
    pub codec: String,
    /// Ticks per second of its media times and RTP timestamps.
    #[schema(example = 90000)]
    pub clock_rate: u32,
    /// Channels of sound; 0 for video.
    pub channels: u8,
    /// The publisher's `a=fmtp` parameters.
    #[schema(example = "profile-level-id=42e01f;packetization-mode=1")]
    pub fmtp: String,
    /// Its encodings, at least one.
    pub renditions: Vec<Rendition>,
}

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl From<media::TrackKind> for TrackKind {
    fn from(kind: media::TrackKind) -> Self {
        match kind {
            media::TrackKind::Video => Self::Video,
            media::TrackKind::Audio => Self::Audio,
        }
    }
}

/// One encoding of a track. What only the bitstream tells is null until HLS has read it there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rendition {
    /// Its number in the track.
    pub id: u8,
    /// The simulcast `rid` it came under (RFC 8851), if any.
    pub rid: Option<String>,
    /// RFC 6381, from the bitstream.
    #[schema(example = "avc1.42c01f")]
    pub codecs: Option<String>,
    /// The picture's size; null for sound.
    pub resolution: Option<Resolution>,
    /// Frames per second, measured; null for sound.
    #[schema(example = 30.0)]
    pub frame_rate: Option<f64>,
    /// Bits per second, measured.
    #[schema(example = 2_500_000)]
    pub bandwidth: Option<u64>,
    /// What is known of it as one of several encodings of the picture (simulcast); null where there is one.
    pub layer: Option<Layer>,
}

/// One of several encodings of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Whether the publisher sends it now.
    pub running: bool,
    /// Bits per second of its last segment; 0 before the first has ended.
    #[schema(example = 1_200_000)]
    pub bitrate_bps: u64,
    /// How long after those of the first running layer its keyframes come, in milliseconds; null before both have had one. Other
    /// than 0, segments cannot begin with the publisher's keyframes in all layers.
    #[schema(example = 0)]
    pub keyframe_offset_ms: Option<i64>,
}

/// A picture's size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// Pixels in a row.
    #[schema(example = 1280)]
    pub width: u32,
    /// Rows.
    #[schema(example = 720)]
    pub height: u32,
}

/// How segments and parts are cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cadence {
    /// The rule in force.
    pub rule: CadenceRule,
    /// Video frames per second, estimated from the first frames.
    #[schema(example = 30.0)]
    pub frame_rate: Option<f64>,
    /// Video frames in a part; 0 without video or before it is known.
    #[schema(example = 6)]
    pub frames_per_part: u32,
    /// EXT-X-PART-INF:PART-TARGET in milliseconds; 0 before it is decided.
    #[schema(example = 216)]
    pub part_target_ms: u32,
    /// EXT-X-TARGETDURATION in seconds; 0 before it is decided.
    #[schema(example = 3)]
    pub target_duration: u32,
    /// What the operator could set to do better, if anything.
    pub advice: Option<String>,
}

/// Which rule of the cadence is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CadenceRule {
    /// The first frames are being watched.
    Undecided,
    /// The publisher answers keyframe requests: one is asked for at each segment target.
    OnRequest,
    /// The publisher does not answer: segments begin at its own keyframes.
    SelfPaced,
    /// There is no video: segments are cut by time.
    AudioOnly,
}

impl From<info::CadenceRule> for CadenceRule {
    fn from(rule: info::CadenceRule) -> Self {
        match rule {
            info::CadenceRule::Undecided => Self::Undecided,
            info::CadenceRule::OnRequest => Self::OnRequest,
            info::CadenceRule::SelfPaced => Self::SelfPaced,
            info::CadenceRule::AudioOnly => Self::AudioOnly,
        }
    }
}

/// The one mapping from media time to UTC that both paths stand on: the UTC of a frame of the master clock is
/// `anchorUnixMs + mediaTime / masterClockRate * 1000`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Counts up with every change of the mapping.
    pub version: u32,
    /// UTC of media time 0, in milliseconds since 1970 with fractions.
    #[schema(example = 1_795_411_739_123.456)]
    pub anchor_unix_ms: f64,
    /// Ticks per second of the master clock: the video's, or the audio's where there is no video.
    #[schema(example = 90000)]
    pub master_clock_rate: u32,
    /// Every track's relation to the master clock.
    pub tracks: Vec<TimelineTrack>,
}

/// How a track's media time relates to the master clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineTrack {
    /// The track.
    #[schema(example = 1)]
    pub track: u8,
    /// Its clock rate.
    #[schema(example = 48000)]
    pub clock_rate: u32,
    /// Milliseconds to add to this track's media time to stand on the master clock; 0 for the master itself.
    #[schema(example = -12.3)]
    pub offset_ms: f64,
    /// Whether that rests on the publisher's sender reports (or needs none) rather than on arrival times.
    pub related: bool,
}

/// The two ways to watch a feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paths {
    /// WebRTC, by WHEP: below a second.
    pub realtime: RealtimePath,
    /// Low-Latency HLS.
    pub hls: HlsPath,
}

/// The WebRTC path of a feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RealtimePath {
    /// Whether a viewer who joins now gets moving pictures (or sound, where that is all there is).
    pub available: bool,
    /// Why not, with the next step; null when it is.
    pub reason: Option<String>,
    /// Connected viewers.
    pub viewers: u32,
    /// Bits per second sent to all of them together.
    #[schema(example = 2_500_000)]
    pub egress_bps: u64,
    /// The newest frame that was forwarded.
    pub live_edge: Option<LiveEdge>,
    /// Where to POST a WHEP offer, relative to this server.
    #[schema(example = "/whep/demo")]
    pub url: String,
}

/// The HLS path of a feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HlsPath {
    /// Whether the multivariant playlist can be fetched and played. True for ended feeds while their window is held.
    pub available: bool,
    /// Why not, with the next step; null when it is.
    pub reason: Option<String>,
    /// Clients that asked for a media playlist in the last ten seconds.
    pub viewers: u32,
    /// The end of the newest part.
    pub live_edge: Option<LiveEdge>,
    /// The newest part.
    pub newest: Option<NewestPart>,
    /// Seconds of media that can be fetched.
    #[schema(example = 60.2)]
    pub window_seconds: f64,
    /// Seconds of them that are on disk, and so there after a restart; null where nothing is stored (packager.dvr).
    #[schema(example = 56.0)]
    pub stored_seconds: Option<f64>,
    /// The multivariant playlist, relative to this server.
    #[schema(example = "/hls/demo/multivariant.m3u8")]
    pub url: String,
    /// The same for players that know whole segments only, ten seconds and more behind.
    #[schema(example = "/hls/demo/standard.m3u8")]
    pub standard_url: String,
}

/// Where a path's newest content lies on the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveEdge {
    /// In ticks of the master clock.
    #[schema(example = 1_234_560)]
    pub media_time: i64,
    /// In UTC (RFC 3339).
    #[schema(example = "2026-11-23T05:09:12.840Z", format = DateTime)]
    pub program_time: String,
}

/// The name of the newest part: what `_HLS_msn` and `_HLS_part` would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewestPart {
    /// Its segment (Media Sequence Number).
    #[schema(example = 12)]
    pub segment: u64,
    /// Its index in the segment.
    #[schema(example = 3)]
    pub part: u32,
}

/// This server's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Time {
    /// Milliseconds since 1970 with fractions.
    #[schema(example = 1_795_411_739_123.456)]
    pub unix_ms: f64,
    /// The same as RFC 3339 text.
    #[schema(example = "2026-11-23T05:28:59.123Z", format = DateTime)]
    pub utc: String,
}

/// What went wrong and what to do about it (RFC 9457): how `bicast_shared::problem::Problem` reads on the wire. Further
/// members name the thing that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A short stable name of the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "/problems/unknown-feed")]
    pub kind: String,
    /// The kind in words.
    #[schema(example = "Unknown feed")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// This occurrence.
    #[schema(example = "There is no feed \"demo\" here.")]
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "GET /v1/feeds lists the feeds.")]
    pub hint: Option<String>,
}

//! Where a moment of a feed lies on HLS: what the packager is asked by whoever has a time, and wants a frame, a part or a segment.

use std::pin::Pin;

use crate::id::{Epoch, FeedId, SegmentNumber};
use crate::time::{ClockRate, MediaTime, ProgramTime};

/// Who can be asked where moments of a feed lie.
pub trait TimelineSource: Send + Sync {
    /// What HLS has of a feed; none where it has nothing.
    fn outline(&self, feed: &FeedId) -> Option<Outline>;

    /// Where a moment lies. None where HLS has nothing of the feed.
    fn locate(&self, feed: &FeedId, asked: Asked) -> Answer;
}

/// Where a moment lies, once it is known: the store may have to be asked.
pub type Answer = Pin<Box<dyn Future<Output = Option<Result<Located, OutsideWindow>>> + Send>>;

/// How a moment is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By its UTC.
    Program(ProgramTime),
    /// By its media time, in ticks of the master clock.
    Media(MediaTime),
    /// By the RTP timestamp that viewers over WebRTC get with its frame: the newest moment that has it.
    Rtp(u32),
}

/// A moment of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// In ticks of the master clock.
    pub media_time: MediaTime,
    /// Ticks per second of the master clock at that moment: it is another one where a publisher without a picture followed one
    /// that had one.
    pub rate: ClockRate,
    /// In UTC.
    pub program_time: ProgramTime,
}

/// What HLS has of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// What can be asked for.
    pub window: Window,
    /// The publishers' stays of which something is in the window, oldest first.
    pub stays: Vec<Stay>,
}

/// What HLS lists of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first frame.
    pub oldest: Moment,
    /// The end of the newest part.
    pub newest: Moment,
}

/// One publisher's stay on a feed, as HLS has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    /// Its number.
    pub epoch: Epoch,
    /// Its first frame on HLS, which may have left the window since.
    pub begin: Moment,
    /// The instance of the playlists that it is in.
    pub instance: String,
    /// Its oldest segment in the window.
    pub segment: SegmentNumber,
    /// The discontinuity sequence number of its oldest segment in the window (RFC 8216bis, 6.2.1).
    pub discontinuity_sequence: u64,
}

/// Nothing is known of what lies outside of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutsideWindow {
    /// What is known.
    pub window: Window,
    /// Whether the moment lies behind the window (too new) rather than before it.
    pub is_ahead: bool,
}

/// Where a moment lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The moment.
    pub moment: Moment,
    /// Whose stay it is in; none where nobody published.
    pub epoch: Option<Epoch>,
    /// The instance of the playlists that it is in.
    pub instance: String,
    /// Where it lies in each rendition.
    pub places: Vec<Place>,
}

/// What a rendition has of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceState {
    /// A frame.
    Here,
    /// A part that has no bytes, because no frame came.
    Gap,
    /// Nothing yet: its part is not complete.
    Coming,
    /// Nothing, and there will not be anything: nobody published, or this rendition began later or ended before.
    Nothing,
}

/// Where a moment lies in a rendition. URLs are relative to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The rendition's name: `video0`.
    pub rendition: String,
    /// What it has of the moment.
    pub state: PlaceState,
    /// The moment in ticks of the rendition's timescale, as CMAF presentation times are.
    pub media_time: MediaTime,
    /// The rendition's timescale.
    pub timescale: ClockRate,
    /// Its media playlist.
    pub playlist: String,
    /// The segment; none where there is none.
    pub segment: Option<SegmentPlace>,
}

/// A segment, and the moment in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPlace {
    /// Its Media Sequence Number.
    pub number: SegmentNumber,
    /// Where it can be fetched once it is complete.
    pub url: String,
    /// Whether it is complete.
    pub is_complete: bool,
    /// When its first frame is shown, in ticks of the timescale.
    pub begin: MediaTime,
    /// How long it lasts (so far, while it is not complete), in ticks.
    pub ticks: i64,
    /// The init segment that it needs; none for a gap before anything was known of the bitstream.
    pub init: Option<String>,
    /// The part; none where parts can no longer be fetched one by one.
    pub part: Option<PartPlace>,
    /// The bytes of the part in the segment; none for a gap, and where the store could not be asked.
    pub range: Option<ByteRange>,
    /// The frame that is shown; none for a gap, and where the store could not be asked.
    pub frame: Option<FramePlace>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPlace {
    /// Its index in the segment.
    pub index: u32,
    /// Where it can be fetched; none for a gap.
    pub url: Option<String>,
}

/// A frame (of sound, too).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// When it is shown, in ticks of the timescale: exactly what CMAF says.
    pub presentation: MediaTime,
    /// Until the next one in decode order, in ticks.
    pub ticks: i64,
    /// Whether decoding can begin with it.
    pub is_sync: bool,
    /// Its bytes in the segment.
    pub range: ByteRange,
}

/// Bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first one.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

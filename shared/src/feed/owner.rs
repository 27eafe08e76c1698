//! The feed's owner (work in progress).
use crate::feed::info::*;
use crate::id::*;
use crate::media::TrackInfo;
use crate::packet::MediaPacket;
use crate::time::*;
use bytes::Bytes;
use std::time::Instant;

/// An RTP packet as a publisher sent it.
#[derive(Debug, Clone)]
pub struct RtpInput {
    /// RTP's sequence number.
    pub sequence_number: u16,
    /// RTP's timestamp, in the track's clock rate.
    pub timestamp: u32,
    /// RTP's marker bit.
    pub marker: bool,
    /// The payload without header, extensions and padding; empty for a padding-only packet.
    pub payload: Bytes,
    /// The value of `urn:3gpp:video-orientation`, if the packet carries it.
    pub orientation: Option<u8>,
    /// Presentation time minus decode time in ticks, where the source knows it.
    pub composition_offset: Option<i64>,
}

/// Pure core.
#[derive(Debug)]
pub struct FeedOwner {
    info: FeedInfo,
}
#[expect(missing_docs, clippy::needless_pass_by_value, reason = "wip")]
impl FeedOwner {
    #[must_use]
    pub fn new(id: FeedId, _settings: FeedSettings, utc: ProgramTime) -> Self {
        Self {
            info: FeedInfo {
                id,
                state: FeedState::Starting,
                epoch: Epoch(0),
                tracks: vec![],
                publisher: None,
                cadence: Cadence::default(),
                map: None,
                b_frames: false,
                since: utc,
            },
        }
    }
    #[must_use]
    pub fn info(&self) -> FeedInfo {
        self.info.clone()
    }
    pub fn begin_epoch(&mut self, _now: Instant, tracks: Vec<TrackInfo>, publisher: PublisherInfo) {
        self.info.tracks = tracks;
        self.info.publisher = Some(publisher);
    }
    pub fn end_epoch(&mut self, _now: Instant) {}
    pub fn end(&mut self) {
        self.info.state = FeedState::Ended;
    }
    pub fn streams(&self) -> Vec<StreamKey> {
        self.info.tracks.iter().flat_map(TrackInfo::streams).collect()
    }
    pub fn handle_rtp(
        &mut self,
        _now: Instant,
        _utc: ProgramTime,
        _key: StreamKey,
        _input: RtpInput,
    ) -> Option<MediaPacket> {
        None
    }
    pub fn handle_sender_report(&mut self, _now: Instant, _key: StreamKey, _ntp: u64, _rtp: u32) {}
    pub fn take_changed(&mut self) -> bool {
        false
    }
    pub fn want_keyframe(&mut self, _now: Instant, _track: TrackId) {}
    pub fn handle_timeout(&mut self, _now: Instant) {}
    pub fn poll_keyframe_requests(&mut self, _now: Instant) -> Vec<TrackId> {
        vec![]
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

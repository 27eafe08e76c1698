//! A feed as a process before left it.

use serde::{Deserialize, Serialize};

use crate::feed::info::{Cadence, FeedInfo, TimelineMap};
use crate::feed::settings::FeedSettings;
use crate::id::{Epoch, FeedId, SegmentNumber};
use crate::media::TrackInfo;
use crate::time::{ClockRate, ProgramTime};

/// What has to be known of a feed so that its time, its epochs and its segments run on in another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedPast {
    /// Its id.
    pub id: FeedId,
    /// How it is treated.
    pub settings: FeedSettings,
    /// Whether it stays until it is ended by request.
    #[serde(default)]
    pub is_kept: bool,
    /// When it began.
    pub since: ProgramTime,
    /// Its newest epoch.
    pub epoch: Epoch,
    /// The tracks of that epoch.
    pub tracks: Vec<TrackInfo>,
    /// How segments and parts were cut.
    pub cadence: Cadence,
    /// The newest mapping to UTC.
    pub map: TimelineMap,
}

impl FeedPast {
    /// What there is to know; none before the feed's timeline and cadence are.
    #[must_use]
    pub fn of(info: &FeedInfo) -> Option<Self> {
        Some(Self {
            id: info.id.clone(),
            settings: (*info.settings).clone(),
            is_kept: info.is_kept,
            since: info.since,
            epoch: info.epoch,
            tracks: info.tracks.clone(),
            cadence: info.cadence.clone(),
            map: info.map.as_deref()?.clone(),
        })
    }
}

/// A feed that goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Resumption {
    /// What it was.
    pub past: FeedPast,
    /// The first number that no segment of it can have had.
    pub next_segment: SegmentNumber,
    /// Where the newest that is known to have been sent ends, on the master clock in nanoseconds.
    pub edge_nanos: i64,
}

impl Resumption {
    /// Where the master clock stands when the next epoch begins at `utc`: after everything that was sent, and after the time
    /// that has gone by since. What was sent stood before its own time of sending, so that the time of day is enough
    /// unless it was set back.
    #[must_use]
    pub(crate) fn begin_nanos(&self, utc: ProgramTime) -> i64 {
        let frame = ClockRate::VIDEO.nanos(i64::from(ClockRate::VIDEO.hz()) / 30);
        (utc - self.past.map.anchor).max(self.edge_nanos.saturating_add(frame))
    }
}

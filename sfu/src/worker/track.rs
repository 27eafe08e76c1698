//! One track of a viewer: where it stands in the stream, and what happens when its line is too slow.

use std::time::{Duration, Instant};

use bicast_shared::media::TrackKind;
use bicast_shared::packet::MediaPacket;

use super::batch::Batch;
use crate::core::answer::AgreedTrack;
use crate::core::history::History;
use crate::core::rewrite::Track;
use crate::core::seal::{SealError, Sealer};

/// How much further behind than when it began to catch up a track may fall before it is given up what is in between. A
/// line that is slower than the stream would fall behind for ever; two seconds are what one that has stalled for a
/// moment still makes up for.
const PATIENCE: Duration = Duration::from_secs(2);

/// One track of a viewer.
pub(crate) struct ViewerTrack {
    pub(crate) agreed: AgreedTrack,
    pub(super) out: Track,
    pub(super) place: Place,
    pub(super) packets: u32,
    pub(super) octets: u32,
    /// When its last packet was sent.
    pub(super) newest: Option<Instant>,
    /// When its last request for a keyframe was passed on.
    pub(super) requested: Option<Instant>,
    /// The middle of the last sender report's NTP time and when it was sent.
    pub(super) reported: Option<(u32, Instant)>,
}

/// Where a viewer stands in a stream's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Not connected yet.
    Nowhere,
    /// Nothing before a keyframe at or after this position. `lagged`: because it was too slow.
    Waiting { from: u64, asked: Instant, lagged: bool },
    /// Behind: it is sent what stands from here on, as fast as the pacer or its line allow. It may fall so far behind.
    Behind { at: u64, allowed: Duration },
    /// Has everything before this position, and gets what comes as it comes.
    Live { at: u64 },
}

impl ViewerTrack {
    pub(super) fn new(agreed: AgreedTrack) -> Self {
        Self {
            out: Track::new(agreed.spec),
            agreed,
            place: Place::Nowhere,
            packets: 0,
            octets: 0,
            newest: None,
            requested: None,
            reported: None,
        }
    }

    pub(super) fn kind(&self) -> TrackKind {
        self.agreed.codec.kind()
    }

    /// Seals a packet into the batch. False for one from before the track's beginning.
    pub(super) fn write(
        &mut self,
        now: Instant,
        packet: &MediaPacket,
        sealer: &mut Sealer,
        batch: &mut Batch,
    ) -> Result<bool, SealError> {
        let written = batch.push(|out| self.out.write(packet, sealer, out))?;
        if written {
            self.packets = self.packets.wrapping_add(1);
            let size = u32::try_from(packet.payload.len()).unwrap_or(u32::MAX);
            self.octets = self.octets.wrapping_add(size);
            self.newest = Some(now);
        }
        Ok(written)
    }

    /// Begins to catch up from a position.
    pub(super) fn fall_behind(&mut self, history: &History, at: u64) {
        self.place = Place::Behind { at, allowed: self.delay(history, at) + PATIENCE };
    }

    /// Whether it has fallen too far behind at a position where a frame begins: one that was begun is finished.
    pub(super) fn lags(&self, history: &History, at: u64, allowed: Duration) -> bool {
        let time = |position: u64| history.get(position).map(|packet| packet.stamp.media_time);
        let begins = at.checked_sub(1).is_none_or(|before| time(before) != time(at));
        begins && self.delay(history, at) > allowed
    }

    /// Leaves out everything from `at` to the newest packet and waits for a keyframe. Tells how many frames those were.
    pub(super) fn skip(&mut self, now: Instant, history: &History, at: u64) -> u64 {
        self.place = Place::Waiting { from: history.head(), asked: now, lagged: true };
        frames(history, at, history.head())
    }

    /// How much older on the timeline a position is than the newest packet.
    fn delay(&self, history: &History, at: u64) -> Duration {
        let ticks = history
            .get(at)
            .zip(history.newest())
            .map_or(0, |(packet, newest)| newest.stamp.media_time - packet.stamp.media_time);
        Duration::from_nanos(self.agreed.clock_rate.nanos(ticks).max(0).unsigned_abs())
    }
}

/// How many frames stand between two positions.
pub(super) fn frames(history: &History, from: u64, to: u64) -> u64 {
    let mut last = from.checked_sub(1).and_then(|at| history.get(at)).map(|packet| packet.stamp.media_time);
    let mut frames = 0;
    for packet in (from..to).filter_map(|position| history.get(position)) {
        frames += u64::from(last.replace(packet.stamp.media_time) != Some(packet.stamp.media_time));
    }
    frames
}

//! What the room tells the others, put together from the workers' reports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::feed::bus::Feed;
use bicast_shared::feed::info::FeedInfo;
use bicast_shared::id::FeedId;
use bicast_shared::media::{Codec, TrackKind};
use bicast_shared::status::{LiveEdge, SfuFeedStatus, SfuStatus};
use parking_lot::Mutex;

use crate::core::answer::B_FRAMES;

/// What a worker knows of its viewers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WorkerReport {
    pub(crate) feeds: BTreeMap<FeedId, FeedReport>,
}

/// A feed as one worker sees it; bytes and retransmissions since the feed began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct FeedReport {
    pub(crate) viewers: u32,
    pub(crate) sent_bytes: u64,
    pub(crate) sent_packets: u64,
    pub(crate) repaired: u64,
}

/// Puts the status together and measures egress between two calls.
pub(crate) struct StatusBoard {
    reports: Vec<Arc<Mutex<WorkerReport>>>,
    measured: BTreeMap<FeedId, Egress>,
    since: Option<Instant>,
}

/// What was sent of a feed until the last measurement, and how much that had been a second.
#[derive(Debug, Clone, Copy, Default)]
struct Egress {
    bytes: u64,
    packets: u64,
    bps: u64,
    packets_per_second: u64,
}

/// Rates over less time than this say nothing.
const MEASURE: Duration = Duration::from_millis(900);

impl StatusBoard {
    pub(crate) fn new(reports: Vec<Arc<Mutex<WorkerReport>>>) -> Self {
        Self { reports, measured: BTreeMap::new(), since: None }
    }

    /// The status now, for these feeds and where each one's live edge is.
    pub(crate) fn status(&mut self, now: Instant, feeds: &[(Arc<FeedInfo>, Option<LiveEdge>)]) -> SfuStatus {
        let elapsed = self.since.map(|since| now.saturating_duration_since(since));
        let measure = elapsed.is_none_or(|elapsed| elapsed >= MEASURE);
        let mut status = SfuStatus::default();
        for (info, live_edge) in feeds {
            let mut total = FeedReport::default();
            for report in self.reports.iter().filter_map(|report| report.lock().feeds.get(&info.id).copied())
            {
                total.viewers += report.viewers;
                total.sent_bytes += report.sent_bytes;
                total.sent_packets += report.sent_packets;
                total.repaired += report.repaired;
            }
            let measured = self.measured.entry(info.id.clone()).or_insert(Egress {
                bytes: total.sent_bytes,
                packets: total.sent_packets,
                ..Egress::default()
            });
            if let Some(elapsed) = elapsed.filter(|_| measure) {
                let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
                let rate =
                    |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1_000_000) / micros;
                *measured = Egress {
                    bytes: total.sent_bytes,
                    packets: total.sent_packets,
                    bps: rate(total.sent_bytes.saturating_mul(8), measured.bytes.saturating_mul(8)),
                    packets_per_second: rate(total.sent_packets, measured.packets),
                };
            }
            let feed = SfuFeedStatus {
                viewers: total.viewers,
                egress_bps: measured.bps,
                packets_per_second: measured.packets_per_second,
                live_edge: *live_edge,
                refused: refused(info),
                retransmitted: total.repaired,
            };
            status.feeds.insert(info.id.clone(), feed);
        }
        self.measured.retain(|id, _| status.feeds.contains_key(id));
        if measure {
            self.since = Some(now);
        }
        status
    }
}

/// Where a feed's live edge is, whether or not somebody watches: its newest picture, or its newest sound where it has no
/// pictures.
pub(crate) fn live_edge(feed: &Feed, info: &FeedInfo) -> Option<LiveEdge> {
    // A camera that is not turned on has a track and no packets: then the sound is what there is.
    let newest = |kind| {
        let track = info.track(kind)?;
        let newest = track.streams().filter_map(|key| feed.newest(key)).max()?;
        Some((track, newest))
    };
    let (track, media_time) = newest(TrackKind::Video).or_else(|| newest(TrackKind::Audio))?;
    let program_time = info.map.as_ref()?.program_time(track.id, track.clock_rate, media_time);
    Some(LiveEdge { media_time, program_time })
}

/// Why a feed cannot be watched over WebRTC as it is.
fn refused(info: &FeedInfo) -> Option<String> {
    if info.b_frames {
        return Some(format!("Without pictures over WebRTC: {B_FRAMES}."));
    }
    let audio = info.track(TrackKind::Audio).filter(|track| track.codec == Codec::Aac);
    audio.map(|_| {
        "Without sound over WebRTC: the sound is AAC, which browsers only take over HLS; publish Opus."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use bicast_shared::feed::info::{Cadence, FeedState};
    use bicast_shared::id::{Epoch, TrackId};
    use bicast_shared::media::TrackInfo;
    use bicast_shared::time::{ClockRate, MediaTime, ProgramTime};

    use super::*;

    fn info(b_frames: bool) -> Arc<FeedInfo> {
        Arc::new(FeedInfo {
            id: "demo".parse().unwrap(),
            settings: Arc::default(),
            is_kept: false,
            state: FeedState::Live,
            epoch: Epoch(0),
            tracks: Vec::new(),
            publisher: None,
            standby: None,
            cadence: Cadence::default(),
            map: None,
            b_frames,
            layers: Vec::new(),
            since: ProgramTime::default(),
        })
    }

    #[test]
    fn aac_is_said_to_be_for_hls_only() {
        let mut feed = (*info(false)).clone();
        assert_eq!(refused(&feed), None);
        let track = |codec| TrackInfo::single(TrackId(1), codec, ClockRate::new(48_000), 2, String::new());
        feed.tracks = vec![track(Codec::Opus)];
        assert_eq!(refused(&feed), None);
        feed.tracks = vec![track(Codec::Aac)];
        assert!(refused(&feed).unwrap().contains("publish Opus"));
    }

    #[test]
    fn workers_are_added_up_and_egress_is_measured() {
        let edge =
            |ticks: i64| LiveEdge { media_time: MediaTime(ticks), program_time: ProgramTime::default() };
        let reports: Vec<Arc<Mutex<WorkerReport>>> = (0..2).map(|_| Arc::default()).collect();
        let set = |index: usize, sent_bytes| {
            let report = FeedReport { viewers: 3, sent_bytes, sent_packets: sent_bytes / 1_000, repaired: 2 };
            reports[index].lock().feeds.insert("demo".parse().unwrap(), report);
        };
        let mut board = StatusBoard::new(reports.clone());
        let start = bicast_shared::clock::now();
        set(0, 1_000);
        set(1, 1_000);
        let watched = |b_frames| [(info(b_frames), Some(edge(7)))];
        let feed = board.status(start, &watched(false)).feeds.remove(&"demo".parse().unwrap()).unwrap();
        assert_eq!((feed.viewers, feed.retransmitted, feed.egress_bps), (6, 4, 0));
        assert_eq!(feed.live_edge, Some(edge(7)));
        set(0, 126_000);
        let soon = board.status(start + Duration::from_millis(10), &watched(false));
        assert_eq!(soon.feeds.values().next().unwrap().egress_bps, 0, "too soon to tell");
        let later = board.status(start + Duration::from_secs(1), &watched(true));
        let feed = later.feeds.values().next().unwrap();
        assert_eq!(feed.egress_bps, 1_000_000);
        assert!(feed.refused.as_ref().unwrap().contains("B-frames"));
        assert!(board.status(start, &[]).feeds.is_empty() && board.measured.is_empty());
    }
}

//! What is counted of one viewer, and how it is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bicast_shared::feed::bus::Feed;
use bicast_shared::status::{ViewerState, ViewerStatus};

use super::Worker;
use crate::core::feedback::ReportBlock;

/// Losses are counted over this long.
const SECOND: Duration = Duration::from_secs(1);

/// What a stream's report said (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Instant,
    lost: i32,
    highest: u32,
}

/// Counts of one viewer since it joined.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) repaired: u64,
    pub(crate) nacks: u64,
    pub(crate) keyframe_requests: u64,
    /// Lost of what was sent in the last second of reports, 0 to 1: the highest of any stream.
    loss_ratio: f64,
    /// What each stream's reports had said when that was counted last.
    counted: BTreeMap<u32, Counted>,
    /// Of the last report about video (about audio where there is no video).
    jitter: Duration,
    round_trip: Option<Duration>,
    measured: Option<(Instant, u64)>,
    bps: u64,
    /// Seconds that reports have told of, and when the last of them ended.
    reports: u64,
    reported: Option<Instant>,
}

impl Counters {
    /// Another second has gone by.
    pub(crate) fn tick(&mut self, now: Instant) {
        if let Some((since, bytes)) = self.measured {
            let millis = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
            self.bps = (self.bytes - bytes).saturating_mul(8_000) / millis.max(1);
        }
        self.measured = Some((now, self.bytes));
    }

    /// The last round trip known.
    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What was lost of a stream, once there is a second of it. Browsers put a report beside each request for a lost packet, and what one of
    /// these says is of the few packets since the one before.
    fn count(&mut self, now: Instant, block: &ReportBlock) -> Option<f64> {
        let current = Counted { at: now, lost: block.lost, highest: block.highest };
        let before = *self.counted.entry(block.ssrc).or_insert(current);
        if now.saturating_duration_since(before.at) < SECOND {
            return None;
        }
        self.counted.insert(block.ssrc, current);
        let expected = block.highest.wrapping_sub(before.highest);
        let lost = block.lost.wrapping_sub(before.lost);
        (expected > 0).then(|| (f64::from(lost) / f64::from(expected)).clamp(0.0, 1.0))
    }

    /// What the viewer says of a stream of this clock rate.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        block: &ReportBlock,
        clock_rate: u32,
        round_trip: Option<Duration>,
    ) {
        if let Some(ratio) = self.count(now, block) {
            let more = self.reported == Some(now);
            self.loss_ratio = if more { self.loss_ratio.max(ratio) } else { ratio };
            self.reports += u64::from(!more);
            self.reported = Some(now);
        }
        self.jitter = Duration::from_secs_f64(f64::from(block.jitter) / f64::from(clock_rate.max(1)));
        self.round_trip = round_trip.or(self.round_trip);
    }
}

/// A viewer's name for people. A session's own id is as good as a key: who knows it can end the session.
pub(crate) fn public_name(session: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, session.as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Worker {
    /// All viewers of a feed, in no order.
    pub(crate) fn viewer_stats(&self, now: Instant, feed: &Feed) -> Vec<ViewerStatus> {
        let Some(streams) = self.feeds.get(feed.id()).filter(|known| known.is_of(feed)) else {
            return Vec::new();
        };
        let mine = self.viewers.iter().flatten().filter(|viewer| viewer.feed == *feed.id());
        let status = mine.map(|viewer| {
            let counters = &viewer.counters;
            let state = match viewer.established {
                None => ViewerState::Connecting,
                Some(_) if viewer.is_waiting() => ViewerState::Waiting,
                Some(_) if viewer.is_behind() => ViewerState::CatchingUp,
                Some(_) => ViewerState::Live,
            };
            ViewerStatus {
                id: viewer.name.clone(),
                viewer: viewer.label.clone(),
                state,
                seconds: now.saturating_duration_since(viewer.started).as_secs_f64(),
                worker: u32::try_from(self.index).unwrap_or(u32::MAX),
                bitrate_bps: counters.bps,
                packets: counters.packets,
                bytes: counters.bytes,
                retransmitted: counters.repaired,
                nacks: counters.nacks,
                missing: viewer.repairs.counts().missing,
                late: viewer.repairs.counts().late,
                keyframe_requests: counters.keyframe_requests,
                loss_ratio: counters.loss_ratio,
                jitter_ms: counters.jitter.as_secs_f64() * 1_000.0,
                round_trip_ms: counters.round_trip.map(|time| time.as_secs_f64() * 1_000.0),
                playout_delay_ms: u64::try_from(viewer.smoothing.delay().as_millis()).unwrap_or(u64::MAX),
                queue: viewer.queue(|key| streams.history(key)),
                reports: counters.reports,
                checked: viewer.path.is_some(),
                silent_ms: u64::try_from(now.saturating_duration_since(viewer.spoke).as_millis())
                    .unwrap_or(u64::MAX),
            }
        });
        status.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitrate_and_loss_are_of_the_last_second() {
        let start = bicast_shared::clock::now();
        let mut counters = Counters::default();
        counters.tick(start);
        counters.bytes = 125_000;
        counters.tick(start + Duration::from_secs(1));
        assert_eq!(counters.bps, 1_000_000);
        counters.tick(start + Duration::from_secs(2));
        assert_eq!(counters.bps, 0);
        let first = ReportBlock {
            ssrc: 1,
            fraction_lost: 0,
            lost: -2,
            highest: 70_000,
            jitter: 900,
            last_report: 0,
            delay: 0,
        };
        let mut say = |millis: u64, ssrc, lost, highest| {
            let block = ReportBlock { ssrc, lost, highest, ..first };
            let at = start + Duration::from_millis(millis);
            counters.report(at, &block, 90_000, (millis == 0).then_some(Duration::from_millis(20)));
            (counters.reports, counters.loss_ratio)
        };
        assert_eq!(say(0, 1, -2, 70_000), (0, 0.0), "nothing to compare with");
        assert_eq!(say(0, 2, 0, 500), (0, 0.0));
        assert_eq!(say(300, 1, 8, 70_010), (0, 0.0), "of too few");
        assert_eq!(say(1_000, 1, 48, 70_200), (1, 0.25), "a second");
        assert_eq!(say(1_000, 2, 0, 550), (1, 0.25), "the same report, of another stream");
        assert_eq!(say(2_100, 1, 40, 70_300), (2, 0.0), "repaired later");
        assert_eq!(say(3_100, 1, 40, 70_300), (2, 0.0), "nothing was sent");
        assert_eq!(say(4_200, 1, 8_000_000, 70_400), (3, 1.0), "what cannot be is bounded");
        assert_eq!(counters.jitter, Duration::from_millis(10));
        assert_eq!(counters.round_trip, Some(Duration::from_millis(20)), "the last one known");
    }

    #[test]
    fn a_public_name_does_not_give_the_session_away() {
        let name = public_name("secret");
        assert_eq!((name.len(), name.clone()), (16, public_name("secret")));
        assert!(!name.contains("secret") && name != public_name("secret2"));
    }
}

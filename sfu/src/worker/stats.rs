//! What is counted of one viewer, and how it is told.

use std::time::{Duration, Instant};

use bicast_shared::feed::bus::Feed;
use bicast_shared::status::{ViewerState, ViewerStatus};

use super::Worker;
use crate::core::feedback::ReportBlock;

/// Counts of one viewer since it joined.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) repaired: u64,
    pub(crate) nacks: u64,
    pub(crate) keyframe_requests: u64,
    /// The highest of any stream that the last report tells of, in 256ths.
    fraction_lost: u8,
    /// Of the last report about video (about audio where there is no video).
    jitter: Duration,
    round_trip: Option<Duration>,
    measured: Option<(Instant, u64)>,
    bps: u64,
    /// Receiver reports, each of which may tell of several streams, and when the last one came.
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

    /// What the viewer says of a stream of this clock rate.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        block: &ReportBlock,
        clock_rate: u32,
        round_trip: Option<Duration>,
    ) {
        if self.reported == Some(now) {
            self.fraction_lost = self.fraction_lost.max(block.fraction_lost);
        } else {
            self.fraction_lost = block.fraction_lost;
            self.reports += 1;
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
                keyframe_requests: counters.keyframe_requests,
                loss_ratio: f64::from(counters.fraction_lost) / 256.0,
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
    fn bitrate_is_of_the_last_second_and_loss_of_the_last_report() {
        let start = bicast_shared::clock::now();
        let mut counters = Counters::default();
        counters.tick(start);
        counters.bytes = 125_000;
        counters.tick(start + Duration::from_secs(1));
        assert_eq!(counters.bps, 1_000_000);
        counters.tick(start + Duration::from_secs(2));
        assert_eq!(counters.bps, 0);
        let block = ReportBlock { ssrc: 1, fraction_lost: 64, jitter: 900, last_report: 0, delay: 0 };
        counters.report(start, &block, 90_000, Some(Duration::from_millis(20)));
        counters.report(
            start + Duration::from_secs(1),
            &ReportBlock { fraction_lost: 0, ..block },
            90_000,
            None,
        );
        assert_eq!((counters.fraction_lost, counters.jitter), (0, Duration::from_millis(10)));
        assert_eq!(counters.round_trip, Some(Duration::from_millis(20)), "the last one known");
    }

    #[test]
    fn a_public_name_does_not_give_the_session_away() {
        let name = public_name("secret");
        assert_eq!((name.len(), name.clone()), (16, public_name("secret")));
        assert!(!name.contains("secret") && name != public_name("secret2"));
    }
}

//! What a viewer is told about its streams, and what it tells about how they arrive.

use std::time::{Duration, Instant};

use bicast_shared::feed::info::FeedInfo;
use bicast_shared::time::ProgramTime;

use super::viewer::Viewer;
use crate::core::feedback::ReportBlock;
use crate::core::report;

/// Sender reports once a second (RFC 3550 would allow 5 s; players derive their clocks from them).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Until the publisher's own reports have related its audio and video (browsers need up to 5 s), a report could be
/// wrong by the jitter of arrival and would pull lip sync along. After this long the publisher is taken for one that
/// sends none: a relation by arrival is then the best there will be, and players need some clock.
const RELATION_PATIENCE: Duration = Duration::from_secs(8);
/// A stream that has been silent this long is not reported.
const REPORT_SILENCE: Duration = Duration::from_secs(5);

impl Viewer {
    /// Takes what the viewer says about one of its streams.
    pub(super) fn report_block(&mut self, now: Instant, block: &ReportBlock) {
        let Some(track) = self.tracks.iter().find(|track| track.agreed.spec.ssrc == block.ssrc) else {
            return;
        };
        metrics::histogram!("bicast_viewer_loss_ratio").record(f64::from(block.fraction_lost) / 256.0);
        let sent = track.reported.filter(|(middle, _)| *middle == block.last_report).map(|(_, sent)| sent);
        let round_trip = sent.map(|sent| {
            let held = Duration::from_secs_f64(f64::from(block.delay) / 65_536.0);
            now.saturating_duration_since(sent).saturating_sub(held)
        });
        if let Some(round_trip) = round_trip {
            metrics::histogram!("bicast_viewer_rtt_seconds").record(round_trip);
        }
        self.counters.report(now, block, track.agreed.clock_rate.hz(), round_trip);
    }

    /// The sender reports that are due, one compound per stream.
    pub(crate) fn reports(&mut self, now: Instant, utc: ProgramTime, info: &FeedInfo) -> Vec<Vec<u8>> {
        self.report_due = now + REPORT_INTERVAL;
        self.counters.tick(now);
        self.smooth(now);
        let (Some(map), Some(established)) = (&info.map, self.established) else { return Vec::new() };
        let related = self.tracks.iter().all(|track| {
            map.track(track.agreed.key.track, track.agreed.clock_rate).related || self.tracks.len() == 1
        });
        if !related && now.saturating_duration_since(established) < RELATION_PATIENCE {
            self.report_due = now + REPORT_INTERVAL / 4;
            return Vec::new();
        }
        let mut reports = Vec::new();
        for track in &mut self.tracks {
            if track.newest.is_none_or(|at| now.saturating_duration_since(at) > REPORT_SILENCE) {
                continue;
            }
            let (key, rate) = (track.agreed.key, track.agreed.clock_rate);
            let ntp = utc.ntp();
            let report = report::SenderReport {
                ssrc: track.agreed.spec.ssrc,
                ntp,
                rtp_timestamp: report::rtp_at(map, key.track, rate, utc),
                packets: track.packets,
                octets: track.octets,
            };
            track.reported = Some((report::middle(ntp), now));
            let mut out = Vec::with_capacity(64);
            report::sender_report(&report, &self.cname, &mut out);
            reports.push(out);
        }
        reports
    }

    /// Gives repairs the time that they need where the line loses, where latency is what the viewer wants otherwise.
    fn smooth(&mut self, now: Instant) {
        let counters = &self.counters;
        let change = self.smoothing.tick(now, counters.packets, counters.nacks, counters.round_trip());
        let Some(delay) = change else { return };
        metrics::counter!("bicast_viewer_playout_changes_total").increment(1);
        for track in &mut self.tracks {
            track.out.set_playout(delay);
        }
    }

    /// Goodbye from all its streams.
    pub(crate) fn goodbye(&self) -> Vec<u8> {
        let ssrcs: Vec<u32> = self.tracks.iter().map(|track| track.agreed.spec.ssrc).collect();
        let mut out = Vec::new();
        report::goodbye(&ssrcs, &mut out);
        out
    }
}

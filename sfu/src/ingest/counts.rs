//! A publisher's counters as metrics of the process: sums over all publishers, so that names of feeds, which strangers
//! choose, never become series.

use metrics::{Counter, Gauge, counter, gauge};

use super::core::receiver::Counters;

/// What of a session's counters is in the metrics already.
#[derive(Default)]
pub(crate) struct Reported {
    last: Counters,
}

impl Reported {
    /// Adds what came since the last call.
    pub(crate) fn publish(&mut self, now: &Counters) {
        let add = |counter: Counter, value: u64, before: u64| {
            if value > before {
                counter.increment(value - before);
            }
        };
        let last = &self.last;
        add(counter!("bicast_ingest_packets_total"), now.packets, last.packets);
        add(counter!("bicast_ingest_payload_bytes_total"), now.payload_bytes, last.payload_bytes);
        add(counter!("bicast_ingest_lost_packets_total"), now.lost, last.lost);
        add(counter!("bicast_ingest_recovered_packets_total"), now.recovered, last.recovered);
        add(counter!("bicast_ingest_duplicate_packets_total"), now.duplicates, last.duplicates);
        add(counter!("bicast_ingest_nacked_packets_total"), now.nacks, last.nacks);
        add(counter!("bicast_ingest_keyframe_requests_total"), now.keyframe_requests, last.keyframe_requests);
        let ignored =
            |reason: &'static str| counter!("bicast_ingest_ignored_packets_total", "reason" => reason);
        add(ignored("unknown-ssrc"), now.unknown_ssrc, last.unknown_ssrc);
        add(ignored("unknown-payload-type"), now.unknown_payload_type, last.unknown_payload_type);
        let rate: Gauge = gauge!("bicast_ingest_bitrate_bps");
        rate.increment(as_f64(now.bitrate_bps) - as_f64(last.bitrate_bps));
        if let Some(rtt) = now.rtt {
            metrics::histogram!("bicast_ingest_rtt_seconds").record(rtt.as_secs_f64());
        }
        metrics::histogram!("bicast_ingest_jitter_seconds").record(now.jitter_ms / 1_000.0);
        self.last = *now;
    }

    /// Takes the session's bitrate out of the sum.
    pub(crate) fn clear(&mut self) {
        gauge!("bicast_ingest_bitrate_bps").decrement(as_f64(self.last.bitrate_bps));
        self.last.bitrate_bps = 0;
    }
}

fn as_f64(bps: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "bits per second stay below 2^53")]
    let value = bps as f64;
    value
}

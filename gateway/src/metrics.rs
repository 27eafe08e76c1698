//! Sets up the metrics: one recorder for the process, read at `/metrics`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bicast_shared::feed::bus::FeedBus;
use bicast_shared::feed::info::FeedState;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

/// The process's metrics. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Metrics {
    prometheus: PrometheusHandle,
    process: Collector,
}

/// A process has one recorder, however many gateways a test starts in it.
static METRICS: OnceLock<Option<Metrics>> = OnceLock::new();

impl Metrics {
    /// The process's metrics, set up by whoever asks first. None where something else records in this process.
    pub(crate) fn global() -> Option<Self> {
        METRICS.get_or_init(Self::install).clone()
    }

    fn install() -> Option<Self> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .and_then(PrometheusBuilder::install_recorder);
        match builder {
            Ok(prometheus) => {
                describe();
                let process = Collector::default();
                process.describe();
                Some(Self { prometheus, process })
            }
            Err(error) => {
                tracing::warn!(%error, "no metrics: /metrics answers 503");
                None
            }
        }
    }

    /// The metrics as Prometheus reads them (text format 0.0.4).
    pub(crate) fn render(&self, bus: &FeedBus) -> String {
        self.process.collect();
        count_feeds(bus);
        self.prometheus.run_upkeep();
        self.prometheus.render()
    }
}

/// From a cached answer to a blocked playlist reload.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

fn describe() {
    describe_gauge!("bicast_build_info", "1, with the version as a label");
    gauge!("bicast_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_gauge!("bicast_feeds", "Feeds by state");
    describe_gauge!("bicast_http_connections", "Open HTTP connections");
    describe_counter!("bicast_http_connections_total", "HTTP connections accepted");
    describe_counter!(
        "bicast_http_connections_dropped_total",
        "HTTP connections dropped because of their clients: silent, slow_header, large_header, stalled, flood"
    );
    describe_counter!("bicast_http_requests_total", "HTTP requests by method, route and status");
    describe_histogram!(
        "bicast_http_request_seconds",
        Unit::Seconds,
        "Time to the answer's header, by route; blocked playlist reloads wait on purpose"
    );
    describe_counter!("bicast_dvr_segments_total", "Segments stored on disk, gaps included");
    describe_counter!("bicast_dvr_written_bytes_total", Unit::Bytes, "Bytes of media stored on disk");
    describe_counter!("bicast_dvr_reads_total", "Requests answered from the disk");
    describe_counter!("bicast_dvr_errors_total", "Failed writes and deletions of the DVR: full, failed");
    describe_gauge!("bicast_viewers_joined", "Viewers that have joined, on both paths");
    describe_gauge!("bicast_viewers_waiting", "Viewers that wait for room on the realtime path");
    describe_counter!("bicast_viewer_decisions_total", "Decisions about viewers, by path and reason");
    describe_counter!(
        "bicast_viewer_switches_total",
        "Viewers moved to the other path, by that path and reason"
    );
    describe_histogram!(
        "bicast_viewer_latency_seconds",
        Unit::Seconds,
        "Ingest to glass as players report it, by path and tier"
    );
    describe_counter!("bicast_viewer_messages_refused_total", "Players' messages that could not be read");
    describe_counter!("bicast_viewer_messages_flood_total", "Players' messages that were too many");
    describe_counter!("bicast_viewer_values_refused_total", "Values in players' reports that cannot be");
    describe_counter!(
        "bicast_channels_dropped_total",
        "Event channels closed because of their readers: slow"
    );
    describe_counter!("bicast_auth_refusals_total", "Requests refused for their tokens, by act and reason");
    describe_counter!(
        "bicast_auth_sessions_ended_total",
        "WebRTC sessions ended because their tokens expired or were taken back"
    );
    describe_counter!("bicast_auth_key_reloads_total", "Key files and addresses read again: taken, failed");
    describe_counter!("bicast_auth_webhook_failures_total", "Decisions that the webhook did not make");
    describe_gauge!("bicast_auth_keys", "Keys that tokens are checked with");
    describe_counter!("bicast_http_problems_total", "HTTP errors by kind (problem+json)");
    describe_counter!(
        "bicast_http_panics_total",
        "Requests that were answered 500 because a handler panicked"
    );
    describe_counter!(
        "bicast_bus_lagged_packets_total",
        "Packets that readers of a feed lost because they lagged"
    );
}

fn count_feeds(bus: &FeedBus) {
    let mut count = BTreeMap::from([("starting", 0_u32), ("live", 0), ("offline", 0)]);
    for feed in bus.feeds().values() {
        let state = match feed.info().state {
            FeedState::Starting => "starting",
            FeedState::Live => "live",
            FeedState::Offline => "offline",
            FeedState::Ended => continue,
        };
        *count.entry(state).or_default() += 1;
    }
    for (state, feeds) in count {
        gauge!("bicast_feeds", "state" => state).set(f64::from(feeds));
    }
}

//! What operators and their tools ask: `/healthz`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bicast_shared::clock;
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::problem::Problem;
use serde::Serialize;

use crate::metrics::Metrics;

/// Whether this process should be given work. Cloning gives another handle.
#[derive(Debug, Clone)]
pub(crate) struct Readiness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    draining: AtomicBool,
    http: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
}

impl Readiness {
    /// Ready, if there is something to listen on.
    pub(crate) fn new(http: Vec<SocketAddr>, udp: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Inner { began: clock::now(), draining: AtomicBool::new(false), http, udp }))
    }

    /// Says that the process is about to end: no new sessions.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether the process is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    fn report(&self) -> Report {
        let inner = &self.0;
        let mut reasons = Vec::new();
        if self.is_draining() {
            reasons.push("It is shutting down and takes no new sessions.");
        }
        if inner.http.is_empty() {
            reasons.push("No HTTP listener is up.");
        }
        if inner.udp.is_empty() {
            reasons.push("No UDP port is bound for WebRTC.");
        }
        Report { ready: reasons.is_empty(), reasons, http: inner.http.clone(), udp: inner.udp.clone() }
    }
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    reasons: Vec<&'static str>,
    http: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alive {
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
}

/// The routes.
pub(crate) fn router(readiness: Readiness, bus: FeedBus) -> Router {
    Router::new()
        .route("/healthz", get(show_alive))
        .route("/readyz", get(show_ready))
        .with_state(readiness)
        .merge(Router::new().route("/metrics", get(show_metrics)).with_state(bus))
}

async fn show_alive(State(readiness): State<Readiness>) -> Response {
    let uptime_seconds = clock::now().duration_since(readiness.0.began).as_secs();
    fresh(Json(Alive { status: "ok", version: env!("CARGO_PKG_VERSION"), uptime_seconds }))
}

async fn show_ready(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    fresh((status, Json(report)))
}

async fn show_metrics(State(bus): State<FeedBus>) -> Response {
    let Some(metrics) = Metrics::global() else {
        let detail = "Something else records metrics in this process.";
        return Problem::new(503, "no-metrics", "No metrics", detail).into_response();
    };
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    fresh(([(header::CONTENT_TYPE, content_type)], metrics.render(&bus)))
}

/// An answer that is only true now.
fn fresh(body: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response()
}

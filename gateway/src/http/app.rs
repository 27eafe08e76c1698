//! All routes, and the layers around every one of them.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, OriginalUri, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bicast_shared::clock;
use bicast_shared::problem::Problem;
use futures_util::FutureExt as _;
use tower::util::MapRequest;

use super::cors;
use super::health::Readiness;
use super::observe::{Meters, OTHER};
use super::pages::{self, Pages};
use crate::auth::prefix;

/// Bytes of a request's path and query. RFC 9110 (4.1) wants 8,000 to be taken.
const LONGEST_TARGET: usize = 8 * 1024;

/// What the layers need to know.
#[derive(Clone)]
pub(crate) struct Rules {
    /// Whether new sessions are taken.
    pub(crate) readiness: Readiness,
    /// How long a request with a body may take.
    pub(crate) request_timeout: Duration,
}

/// What answers requests: cloned for each.
pub(crate) type App = MapRequest<Router, fn(Request) -> Request>;

/// The app: `routes` of all rooms, the web demo's files for what they do not answer, and what stands around every one of them.
pub(crate) fn app(routes: Router, pages: Pages, rules: Rules) -> App {
    let around = Around { rules, meters: Arc::default() };
    let app = routes
        .method_not_allowed_fallback(method_not_allowed)
        .fallback_service(Router::new().fallback(pages::serve).with_state(pages))
        .layer(from_fn_with_state(around, answer));
    // Before all routing: which route a request has is known only without the token in its path.
    MapRequest::new(app, prefix::take_out)
}

#[derive(Clone)]
struct Around {
    rules: Rules,
    meters: Arc<Meters>,
}

/// One layer and not four: each costs a copy of all that is inside of it and two allocations, and answers from memory are many.
async fn answer(State(Around { rules, meters }): State<Around>, request: Request, next: Next) -> Response {
    if let Some(preflight) = cors::preflight(request.method(), request.headers()) {
        return preflight;
    }
    let began = clock::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let uri = request.uri().clone();
    let answered = AssertUnwindSafe(admit(&rules, request, next)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(panicked);
    let status = response.status();
    let took = clock::now().duration_since(began);
    let route = route.as_ref().map_or(OTHER, MatchedPath::as_str);
    meters.record(&method, route, status, took);
    tracing::debug!(%method, uri = %uri.path(), status = status.as_u16(), ms = took.as_millis(), "request");
    cors::allow_any_origin(response.headers_mut());
    response
}

/// Refuses new sessions while the process ends, and bounds how long a request with a body may take: whoever sends it
/// byte by byte holds memory and a place. An overlong path is not looked at.
async fn admit(rules: &Rules, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path();
    let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if length > LONGEST_TARGET {
        let detail = format!("The path and query have {length} bytes; at most {LONGEST_TARGET} are taken.");
        return Problem::new(414, "uri-too-long", "URI too long", detail).into_response();
    }
    if rules.readiness.is_draining() && method == Method::POST && is_session(path) {
        let problem = Problem::new(
            503,
            "shutting-down",
            "Shutting down",
            "This server is about to end and takes no new sessions.",
        );
        let again = [(header::RETRY_AFTER, HeaderValue::from_static("5"))];
        return (again, problem.hint("Try again in a few seconds, or at another server.")).into_response();
    }
    if matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    match tokio::time::timeout(rules.request_timeout, next.run(request)).await {
        Ok(response) => response,
        // hyper closes the connection by itself: there is a body on it that nobody will read.
        Err(_) => {
            let seconds = rules.request_timeout.as_secs_f64();
            let detail = format!("The request was not complete and answered within {seconds} s.");
            Problem::new(408, "request-timeout", "Request timeout", detail).into_response()
        }
    }
}

fn is_session(path: &str) -> bool {
    path.starts_with("/whip/") || path.starts_with("/whep/")
}

/// 405; axum adds `Allow`.
async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("{} does not take {method}.", uri.path());
    Problem::new(405, "method-not-allowed", "Method not allowed", detail)
        .hint("The Allow header lists what it takes.")
}

/// Answers for a handler that panicked. The connection and all others go on.
#[expect(clippy::needless_pass_by_value, reason = "what a caught panic comes as")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    metrics::counter!("bicast_http_panics_total").increment(1);
    tracing::error!(panic = text, "a request's handler panicked: please report this");
    let detail = "The server made a mistake. It is in its log.";
    let mut response = Problem::new(500, "internal", "Internal error", detail).into_response();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;

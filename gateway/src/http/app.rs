//! All routes, and the layers around every one of them.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, OriginalUri, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bicast_shared::clock;
use bicast_shared::problem::Problem;
use tower::util::MapRequest;
use tower_http::catch_panic::CatchPanicLayer;

use super::cors;
use super::health::Readiness;
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

/// The app: `routes` of all rooms, the web demo's files for what they do not answer, and the layers.
pub(crate) fn app(routes: Router, pages: Pages, rules: Rules) -> Router {
    let app = routes
        .method_not_allowed_fallback(method_not_allowed)
        .fallback_service(Router::new().fallback(pages::serve).with_state(pages))
        .layer(from_fn_with_state(rules, admit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(observe))
        .layer(from_fn(cors::allow_any_origin));
    // Outside of all routing: which route a request has is known only without the token in its path.
    Router::new().fallback_service(MapRequest::new(app, prefix::take_out))
}

/// Refuses new sessions while the process ends, and bounds how long a request with a body may take: whoever sends it
/// byte by byte holds memory and a place. An overlong path is not looked at.
async fn admit(State(rules): State<Rules>, request: Request, next: Next) -> Response {
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

/// Counts and times every request.
async fn observe(request: Request, next: Next) -> Response {
    let began = clock::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let uri = request.uri().clone();
    let response = next.run(request).await;
    let status = response.status();
    let took = clock::now().duration_since(began);
    // Unknown paths and the demo's files share one name: a client must not be able to make new time series.
    let route = route.as_ref().map_or("other", MatchedPath::as_str).to_owned();
    let labels = [
        ("method", method_label(&method).to_owned()),
        ("route", route.clone()),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("bicast_http_requests_total", &labels).increment(1);
    metrics::histogram!("bicast_http_request_seconds", "route" => route).record(took.as_secs_f64());
    tracing::debug!(%method, uri = %uri.path(), status = status.as_u16(), ms = took.as_millis(), "request");
    response
}

/// The method, if it is one that is known: a client can send any word.
fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}

/// 405; axum adds `Allow`.
async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("{} does not take {method}.", uri.path());
    Problem::new(405, "method-not-allowed", "Method not allowed", detail)
        .hint("The Allow header lists what it takes.")
}

/// Answers for a handler that panicked. The connection and all others go on.
#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
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

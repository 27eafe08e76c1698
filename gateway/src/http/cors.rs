//! CORS: pages of any origin may use every route, and read errors too.
//!
//! tower-http's layer is not used because it answers every OPTIONS request itself; WHIP's and WHEP's must reach their
//! room, which tells what it accepts (RFC 9725, 4.2).

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What pages may read of an answer's header.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Location, ETag, Link, Accept-Post, Accept-Patch, Allow, Age, Date, Content-Length, Content-Range, \
     Content-Encoding, Retry-After, Server-Timing, WWW-Authenticate",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS");
/// A day; browsers take less if they want to.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Marks an answer as readable.
pub(super) fn allow_any_origin(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    // Lets players time their own downloads from another origin (Resource Timing).
    headers.insert(HeaderName::from_static("timing-allow-origin"), ANY);
}

/// Answers what browsers ask before they send the request itself; none for other requests.
pub(super) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response> {
    if method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    // The request's own list and not "*", which leaves Authorization out (Fetch, 4.10).
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(ANY);
    let answer = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY),
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, wanted),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        (header::VARY, HeaderValue::from_static("Access-Control-Request-Headers")),
    ];
    Some((StatusCode::NO_CONTENT, answer).into_response())
}

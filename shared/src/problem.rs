//! The one shape of an HTTP error: `application/problem+json` (RFC 9457).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What went wrong and what to do about it. `detail` names the thing that was wrong; `hint` the next step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A short stable name of the kind of problem, as a URI reference: `/problems/unknown-feed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence: what was wrong.
    pub detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// More members, by kind: `feed`, `offered`, `accepted`, …
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Problem {
    /// A problem of `kind` (a slug like `unknown-feed`).
    #[must_use]
    pub fn new(status: u16, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title: title.into(),
            status,
            detail: detail.into(),
            hint: None,
            extra: BTreeMap::new(),
        }
    }

    /// Adds the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a member that programs can read.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// 404: nothing is or was published under this id.
    #[must_use]
    pub fn unknown_feed(feed: &str) -> Self {
        Self::new(404, "unknown-feed", "Unknown feed", format!("There is no feed {feed:?} here."))
            .hint("GET /v1/feeds lists the feeds; publish to it first with POST /whip/{feed}.")
            .with("feed", feed)
    }

    /// 400: a text that cannot be a feed id.
    #[must_use]
    pub fn bad_feed_id(error: &crate::id::BadFeedId) -> Self {
        Self::new(400, "bad-feed-id", "Bad feed id", error.to_string())
    }

    /// 413: more bytes than are taken here.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "body-too-large", "Body too large", format!("The body is larger than {limit} bytes."))
    }

    /// 415: a content type that is not taken here.
    #[must_use]
    pub fn wrong_content_type(got: &str, want: &str) -> Self {
        let detail = format!("The content type is {got:?}; this takes {want:?}.");
        Self::new(415, "wrong-content-type", "Wrong content type", detail)
            .hint(format!("Send Content-Type: {want}."))
    }
}

#[cfg(feature = "io")]
impl axum::response::IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let status = axum::http::StatusCode::from_u16(self.status)
            .unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
        metrics::counter!("bicast_http_problems_total", "kind" => self.kind.clone()).increment(1);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let headers = [(axum::http::header::CONTENT_TYPE, "application/problem+json")];
        (status, headers, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_rfc_9457() {
        let text = serde_json::to_value(Problem::unknown_feed("x")).unwrap();
        assert_eq!(text["type"], "/problems/unknown-feed");
        assert_eq!(text["status"], 404);
        assert_eq!(text["feed"], "x");
        assert!(text["hint"].as_str().unwrap().contains("/v1/feeds"));
    }
}

//! Bodies of requests, read whole and bounded, with errors that say what was wrong.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use crate::problem::Problem;

/// A body of at most `MOST` bytes. axum's own extractor answers a longer one in plain text.
///
/// # Errors
/// Rejects with 413 where it is longer, and with 400 where it broke off.
#[derive(Debug)]
pub struct Body<const MOST: usize>(pub Bytes);

impl<S: Send + Sync, const MOST: usize> FromRequest<S> for Body<MOST> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let said = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if said.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > MOST) {
            return Err(Problem::too_large(MOST));
        }
        to_bytes(request.into_body(), MOST).await.map(Self).map_err(|error| {
            let source = std::error::Error::source(&error);
            if source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
                return Problem::too_large(MOST);
            }
            Problem::new(400, "bad-body", "Bad body", format!("The body broke off: {error}."))
        })
    }
}

/// Checks that a request says that its body is JSON.
///
/// # Errors
/// 415 where it says something else, or nothing.
pub fn says_json(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = said.split(';').next().unwrap_or_default().trim();
    let taken = ["application/json", "application/merge-patch+json"];
    if taken.iter().any(|json| json.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    Err(Box::new(Problem::wrong_content_type(kind, "application/json")))
}

/// Whether a body says nothing: there is none, or it is `null`.
#[must_use]
pub fn is_nothing(body: &[u8]) -> bool {
    matches!(body.trim_ascii(), b"" | b"null")
}

/// Reads a JSON object. `1.0` is a whole number there, as JSON Schema has it (6.1.1 of its validation part), and an array is none,
/// which serde would take for one.
///
/// # Errors
/// What is wrong, and where.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(serde::de::Error::custom("it is no JSON object"));
    }
    serde_json::from_slice(body).or_else(|error| {
        let whole = serde_json::from_slice(body).map(with_whole_numbers);
        whole.and_then(serde_json::from_value).map_err(|_| error)
    })
}

fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(whole(&number).unwrap_or(number)),
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, with_whole_numbers(value))).collect()
        }
        other => other,
    }
}

/// The integer that a number written with a fraction is.
fn whole(number: &Number) -> Option<Number> {
    /// From here on not every integer has a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number that i64 has")]
    let value = value as i64;
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_whole_or_refused_as_a_problem() {
        let read = async |body: axum::body::Body| {
            let read = Body::<4>::from_request(Request::new(body), &()).await;
            read.map(|Body(bytes)| bytes).map_err(|problem| problem.status)
        };
        assert_eq!(read("abcd".into()).await, Ok(Bytes::from("abcd")));
        assert_eq!(read("abcde".into()).await, Err(413));
        let broken = futures_util::stream::iter([Ok(Bytes::from("a")), Err(std::io::Error::other("gone"))]);
        assert_eq!(read(axum::body::Body::from_stream(broken)).await, Err(400));
        let mut long = Request::new(axum::body::Body::empty());
        long.headers_mut().insert(header::CONTENT_LENGTH, "5".parse().unwrap());
        let refused = Body::<4>::from_request(long, &()).await.map(|_| ()).map_err(|problem| problem.status);
        assert_eq!(refused, Err(413), "before anything of it is read");
    }

    #[test]
    fn an_object_is_read_and_nothing_that_looks_like_one() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Said {
            count: u64,
            share: f64,
        }
        let said = |count, share| Ok(Said { count, share });
        let read = |body: &str| object::<Said>(body.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read(r#" {"count": 7, "share": 1}"#), said(7, 1.0));
        assert_eq!(read(r#"{"count": 7.0, "share": 0.5}"#), said(7, 0.5));
        assert_eq!(read("[7, 0.5]"), Err("it is no JSON object".into()));
        assert!(read(r#"{"count": 7.5, "share": 0.5}"#).unwrap_err().contains("floating point `7.5`"));
        assert!(read(r#"{"count": 1e300, "share": 0.5}"#).is_err());
    }

    #[test]
    fn a_patch_and_a_charset_are_json_too() {
        let says = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            says_json(&headers).map_err(|problem| problem.status)
        };
        assert_eq!(says("application/json; charset=utf-8"), Ok(()));
        assert_eq!(says("Application/Merge-Patch+JSON"), Ok(()));
        assert_eq!(says("text/plain"), Err(415));
        assert_eq!(says_json(&HeaderMap::new()).map_err(|problem| problem.status), Err(415));
    }
}

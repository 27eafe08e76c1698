//! How answers are written: caching, compression, validators and ranges.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bicast_shared::problem::Problem;

use crate::core::snapshot::FeedSnapshot;
use crate::store::Text;

/// How long caches may keep an answer (RFC 8216bis, B.1), in target durations of the playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// A playlist that was not waited for, or an error about one: half a target duration, one for an error.
    Plain,
    /// The one right answer to a blocking request: six.
    Blocking,
    /// Not what was asked for, or not yet what it will be: nobody may keep it.
    Stale,
    /// 503: ask again after so many seconds.
    Retry(u32),
}

/// The target duration in seconds; before it is known the smallest there is.
pub(super) fn targets(snapshot: &FeedSnapshot) -> u32 {
    snapshot.header.target_duration.max(1)
}

/// A problem with its caching.
pub(super) fn failed(problem: Problem, target: u32, age: Age) -> Response {
    let mut response = problem.into_response();
    let value = match age {
        Age::Plain | Age::Blocking => format!("max-age={target}"),
        Age::Stale => "no-store".into(),
        Age::Retry(seconds) => {
            set(response.headers_mut(), header::RETRY_AFTER, &seconds.to_string());
            "max-age=1".into()
        }
    };
    set(response.headers_mut(), header::CACHE_CONTROL, &value);
    response
}

/// 307 to `location`, for this moment only.
pub(super) fn moved(location: &str) -> Response {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::LOCATION, location);
    set(&mut headers, header::CACHE_CONTROL, "no-store");
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}

/// A playlist: compressed for who accepts it, 304 for who has it.
pub(super) fn playlist(request: &HeaderMap, text: &Text, target: u32, age: Age) -> Response {
    let gzip = accepts_gzip(request);
    let etag = if gzip { text.etag.replacen('"', "\"z", 1) } else { text.etag.clone() };
    let mut headers = HeaderMap::new();
    let cache = match age {
        Age::Plain => format!("max-age={}", target.div_ceil(2)),
        Age::Blocking => format!("max-age={}", target * 6),
        Age::Stale | Age::Retry(_) => "no-store".into(),
    };
    set(&mut headers, header::CACHE_CONTROL, &cache);
    set(&mut headers, header::VARY, "accept-encoding");
    set(&mut headers, header::ETAG, &etag);
    if matches(request, &etag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    set(&mut headers, header::CONTENT_TYPE, "application/vnd.apple.mpegurl");
    let body = if gzip {
        set(&mut headers, header::CONTENT_ENCODING, "gzip");
        text.gzip()
    } else {
        text.plain.clone()
    };
    (headers, Body::from(body)).into_response()
}

/// An init segment, a segment or a part of `length` bytes, of which `body` gives those that are asked for. It never changes
/// under its name.
pub(super) async fn media_file<B: Into<Body>, E>(
    request: &HeaderMap,
    (kind, etag, target): (&str, &str, u32),
    length: usize,
    body: impl AsyncFnOnce(Range<usize>) -> Result<B, E>,
) -> Result<Response, E> {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::CACHE_CONTROL, &format!("max-age={}", (target * 6).max(60)));
    set(&mut headers, header::ETAG, etag);
    if matches(request, etag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    set(&mut headers, header::CONTENT_TYPE, kind);
    set(&mut headers, header::ACCEPT_RANGES, "bytes");
    let asked = if is_another(request, etag) { Ranged::All } else { range(request, length) };
    match asked {
        Ranged::All => {
            set(&mut headers, header::CONTENT_LENGTH, &length.to_string());
            Ok((headers, body(0..length).await?.into()).into_response())
        }
        Ranged::Some(start, end) => {
            let value = format!("bytes {start}-{}/{length}", end - 1);
            set(&mut headers, header::CONTENT_RANGE, &value);
            set(&mut headers, header::CONTENT_LENGTH, &(end - start).to_string());
            Ok((StatusCode::PARTIAL_CONTENT, headers, body(start..end).await?.into()).into_response())
        }
        Ranged::None => {
            set(&mut headers, header::CONTENT_RANGE, &format!("bytes */{length}"));
            Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response())
        }
    }
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let quality = parameters.trim().strip_prefix("q=").map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && quality > 0.0
    })
}

fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Whether the request has ranges of another version in mind (RFC 9110, 13.1.5): If-Range compares strongly, and a date never fits here.
fn is_another(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(header::IF_RANGE).is_some_and(|value| value.as_bytes().trim_ascii() != etag.as_bytes())
}

enum Ranged {
    All,
    Some(usize, usize),
    None,
}

/// One byte range (RFC 9110, 14.1.2). Several ranges, or a unit that is not bytes, get everything.
fn range(headers: &HeaderMap, length: usize) -> Ranged {
    let value = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) =
        value.and_then(|value| value.strip_prefix("bytes=")).and_then(|spec| spec.split_once('-'))
    else {
        return Ranged::All;
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Ranged::All;
    }
    // A number too long for us is beyond the end (RFC 8673 asks for 2^53 - 1).
    let number = |text: &str| text.parse::<usize>().unwrap_or(usize::MAX);
    let (start, end) = if first.is_empty() {
        (length.saturating_sub(number(last)), length)
    } else if last.is_empty() {
        (number(first), length)
    } else if number(last) < number(first) {
        return Ranged::All;
    } else {
        (number(first), number(last).saturating_add(1).min(length))
    };
    if start < end { Ranged::Some(start, end) } else { Ranged::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_only_where_it_is_accepted() {
        for (value, accepted) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("br", false),
            ("identity", false),
        ] {
            assert_eq!(accepts_gzip(&with(header::ACCEPT_ENCODING, value)), accepted, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let ask = |value| match range(&with(header::RANGE, value), 10) {
            Ranged::All => "all".to_owned(),
            Ranged::Some(start, end) => format!("{start}..{end}"),
            Ranged::None => "none".to_owned(),
        };
        for (value, answer) in [
            ("bytes=0-3", "0..4"),
            ("bytes=4-", "4..10"),
            ("bytes=-3", "7..10"),
            ("bytes=-99", "0..10"),
            ("bytes=5-9007199254740991", "5..10"),
            ("bytes=5-99999999999999999999999", "5..10"),
            ("bytes=10-", "none"),
            ("bytes=-0", "none"),
            ("bytes=3-1", "all"),
            ("bytes=a-b", "all"),
            ("bytes=0-1,3-4", "all"),
            ("lines=0-1", "all"),
            ("bytes=-", "all"),
        ] {
            assert_eq!(ask(value), answer, "{value}");
        }
    }

    #[tokio::test]
    async fn a_range_of_another_version_gets_everything() {
        let body =
            async |range: Range<usize>| Ok::<_, std::convert::Infallible>(b"0123456789"[range].to_vec());
        for (validator, status) in
            [("\"a\"", 206), ("\"b\"", 200), ("W/\"a\"", 200), ("Thu, 01 Jan 2026 00:00:00 GMT", 200)]
        {
            let mut asked = with(header::RANGE, "bytes=0-3");
            asked.insert(header::IF_RANGE, HeaderValue::from_static(validator));
            let answer = media_file(&asked, ("video/mp4", "\"a\"", 2), 10, body).await.unwrap();
            let length = if status == 206 { "4" } else { "10" };
            assert_eq!(answer.headers()[header::CONTENT_LENGTH], length, "{validator}");
            assert_eq!(answer.status().as_u16(), status, "{validator}");
        }
    }

    #[test]
    fn validators_match_weakly() {
        for (value, hit) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"b\"", false)]
        {
            assert_eq!(matches(&with(header::IF_NONE_MATCH, value), "\"a\""), hit, "{value}");
        }
    }
}

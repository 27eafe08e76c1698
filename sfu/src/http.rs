//! What WHIP and WHEP have in common over HTTP: bodies of bounded size, content types, addresses, session names, and
//! the problems that both can have.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bicast_shared::problem::Problem;
use http_body_util::BodyExt as _;

use crate::ice_servers::IceServer;

/// The content type of offers and answers.
pub(crate) const SDP: &str = "application/sdp";
/// The content type of trickled candidates (RFC 8840).
pub(crate) const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// The largest body that is taken.
pub(crate) const MAX_BODY: usize = 64 << 10;
/// What is read of a larger one, and thrown away, so that its sender comes to the answer: a connection that is closed while
/// it still sends is reset, and the answer lost (RFC 9112, 9.6).
const MOST_READ: usize = 8 << 20;

/// Reads a body as text, after checking what it claims to be.
///
/// # Errors
/// 415, 413 and 400 problems.
pub(crate) async fn read_text(headers: &HeaderMap, want: &str, body: Body) -> Result<String, Problem> {
    let got = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = got.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case(want) {
        return Err(Problem::wrong_content_type(got, want));
    }
    String::from_utf8(read(body).await?).map_err(|error| {
        let detail = format!("The body is not UTF-8 (byte {}).", error.utf8_error().valid_up_to());
        Problem::new(400, "bad-sdp", "Bad SDP", detail)
    })
}

/// Reads a body to its end.
async fn read(mut body: Body) -> Result<Vec<u8>, Problem> {
    let (mut taken, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let detail = format!("The body could not be read to its end: {error}.");
            Problem::new(400, "bad-body", "Broken body", detail)
                .hint("Send the request again, with its whole body.")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > MOST_READ {
            break;
        }
        if length <= MAX_BODY {
            taken.extend_from_slice(&data);
        }
    }
    if length > MAX_BODY { Err(Problem::too_large(MAX_BODY)) } else { Ok(taken) }
}

/// The address that a request was sent to, where its Host says one: `localhost` is 127.0.0.1.
pub(crate) fn request_host(headers: &HeaderMap) -> Option<IpAddr> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    if let Some(end) = host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        return host.get(1..=end)?.parse().ok();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    name.parse().ok()
}

/// Adds the STUN and TURN servers of the settings (RFC 9725, 4.6).
pub(crate) fn with_ice_servers(mut response: Response, servers: &[IceServer]) -> Response {
    for link in servers.iter().filter_map(|server| server.link().ok()) {
        response.headers_mut().append(header::LINK, link);
    }
    response
}

/// A random name of `length` characters of SDP's ice-char set (letters and digits): session ids, ufrags, passwords.
pub(crate) fn random_name(length: usize) -> String {
    use rand::Rng as _;
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// The entity tag of an ICE session (RFC 9725, 4.3.1): its credentials name it.
pub(crate) fn etag(ufrag: &str) -> String {
    format!("\"{ufrag}\"")
}

/// The ICE session that a PATCH is for.
///
/// # Errors
/// A 428 problem when it does not say.
#[expect(clippy::result_large_err, reason = "a problem is made once a request, at its end")]
pub(crate) fn if_match(headers: &HeaderMap) -> Result<&str, Problem> {
    headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default()).ok_or_else(|| {
        let detail = "A PATCH must say which ICE session it is for.";
        Problem::new(428, "if-match-missing", "If-Match is missing", detail).hint(
            "Send If-Match with the ETag of the answer to your POST, or * for an ICE restart (RFC 9725, 4.3).",
        )
    })
}

/// Why an offer is not taken; `why` ends the sentence.
pub(crate) fn bad_offer(why: &dyn Display) -> Problem {
    Problem::new(400, "bad-sdp", "Bad SDP", format!("The offer cannot be used: {why}."))
}

/// Why a trickle fragment is not taken; `why` ends the sentence.
pub(crate) fn bad_fragment(why: &dyn Display) -> Problem {
    let detail = format!("The fragment cannot be used: {why}.");
    Problem::new(400, "bad-fragment", "Bad trickle ICE fragment", detail)
}

/// A PATCH, or a DELETE, for nobody.
pub(crate) fn unknown_session(session: &str) -> Problem {
    let shown: String = session.chars().take(40).collect();
    let detail = format!("There is no session {shown:?} here, or it has ended.");
    Problem::new(404, "unknown-session", "Unknown session", detail)
}

/// An ICE restart that was asked for without new credentials.
pub(crate) fn nothing_to_restart() -> Problem {
    let detail =
        "If-Match is *, which asks for an ICE restart, but the fragment brings no new ice-ufrag and ice-pwd.";
    Problem::new(422, "no-ice-restart", "Nothing to restart", detail)
}

/// `If-Match` names another ICE session than the current one, whose tag this is.
pub(crate) fn other_ice_session(current: &str, hint: &'static str) -> Response {
    let detail = format!("If-Match does not name the current ICE session, which is {current}.");
    let problem = Problem::new(412, "if-match-mismatch", "Another ICE session", detail).hint(hint);
    let mut response = problem.into_response();
    if let Ok(value) = HeaderValue::from_str(current) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn the_host_is_read_in_all_its_forms() {
        let host = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, text.parse().unwrap());
            request_host(&headers).map(|ip| ip.to_string())
        };
        assert_eq!(host("127.0.0.1:8080").as_deref(), Some("127.0.0.1"));
        assert_eq!(host("[::1]:8080").as_deref(), Some("::1"));
        assert_eq!(host("[::1]").as_deref(), Some("::1"));
        assert_eq!(host("localhost:8080").as_deref(), Some("127.0.0.1"));
        assert_eq!(host("live.example:8080"), None);
        assert_eq!(host("[::1"), None);
        assert_eq!(request_host(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn bodies_are_checked_before_they_are_read() {
        let mut headers = HeaderMap::new();
        let status = async |headers: &HeaderMap, body: Vec<u8>| {
            read_text(headers, SDP, Body::from(body)).await.map_err(|problem| problem.status)
        };
        assert_eq!(status(&headers, vec![]).await, Err(415));
        headers.insert(header::CONTENT_TYPE, "Application/SDP; charset=utf-8".parse().unwrap());
        assert_eq!(status(&headers, b"v=0".to_vec()).await, Ok("v=0".to_owned()));
        assert_eq!(status(&headers, vec![b'a'; MAX_BODY + 1]).await, Err(413));
        assert_eq!(status(&headers, vec![0xff]).await, Err(400));
        let cut = Full::new(Bytes::from_static(b"v=0"))
            .map_err(|never| -> io::Error { match never {} })
            .with_trailers(async { Some(Err::<HeaderMap, _>(io::Error::other("the line was cut"))) });
        let cut = Body::new(cut);
        let problem = read_text(&headers, SDP, cut).await.unwrap_err();
        assert_eq!(problem.status, 400);
        assert!(problem.detail.contains("the line was cut"), "{}", problem.detail);
    }
}

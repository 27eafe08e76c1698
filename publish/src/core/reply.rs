//! What a WHIP server's answer means (RFC 9725): a session, another address, or an error with its next step.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use crate::core::endpoint::Endpoint;
use crate::error::Error;

/// An HTTP answer, as far as WHIP cares.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// `Content-Type`, `Location` and `Retry-After`.
    pub content_type: Option<String>,
    /// Where the session (201) or the endpoint (307, 308) is.
    pub location: Option<String>,
    /// When to come back, in seconds.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// What to do after a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The session exists: here is the SDP answer, and the address to DELETE it at.
    Session {
        /// The SDP answer.
        answer: String,
        /// The session's address; a server that gives none cannot be told that the publisher leaves.
        session: Option<Endpoint>,
    },
    /// POST the same offer there.
    Redirect(Endpoint),
}

/// The parts of a problem (RFC 9457) that people read.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

impl Reply {
    /// What the answer to a POST at `endpoint` means; `token` says whether one was sent.
    ///
    /// # Errors
    /// When the server refused: the error says why and what to do.
    pub fn outcome(&self, endpoint: &Endpoint, token: bool) -> Result<Outcome, Error> {
        let located = || self.location.as_deref().and_then(|location| endpoint.resolve(location));
        match self.status {
            200 | 201 => {
                let answer =
                    String::from_utf8(self.body.to_vec()).ok().filter(|text| text.starts_with("v=0"));
                let answer = answer.ok_or_else(|| Error::NotWhip { url: endpoint.to_string() })?;
                Ok(Outcome::Session { answer, session: located() })
            }
            307 | 308 => located()
                .map(Outcome::Redirect)
                .ok_or_else(|| Error::Refused { status: self.status, detail: self.detail() }),
            401 | 403 if !token => Err(Error::TokenNeeded { origin: endpoint.origin() }),
            401 | 403 => Err(Error::TokenRefused { detail: self.detail() }),
            404 | 405 => Err(Error::NoEndpoint { url: endpoint.to_string(), detail: self.detail() }),
            409 => Err(Error::Taken { detail: self.detail() }),
            429 | 500..=599 => Err(Error::Unavailable {
                status: self.status,
                detail: self.detail(),
                retry_after: self
                    .retry_after
                    .as_deref()
                    .and_then(|s| s.trim().parse().ok())
                    .map(Duration::from_secs),
            }),
            status => Err(Error::Refused { status, detail: self.detail() }),
        }
    }

    /// What the server says about it, in one line: the detail of a problem, or the beginning of a text body.
    #[must_use]
    pub fn detail(&self) -> String {
        let kind = self.content_type.as_deref().unwrap_or_default();
        if kind.starts_with("application/problem+json") || kind.starts_with("application/json") {
            let problem = serde_json::from_slice::<Problem>(&self.body).ok();
            if let Some(text) = problem.and_then(|problem| problem.detail.or(problem.title)) {
                return line(&text);
            }
        }
        // An error page in HTML says nothing to a reader of a terminal.
        let text = if kind.starts_with("text/plain") {
            line(&String::from_utf8_lossy(&self.body))
        } else {
            String::new()
        };
        if text.is_empty() { "the server gives no reason".into() } else { text }
    }
}

/// One line of at most 500 characters without anything that a terminal could take as a command, and without its full
/// stop: the sentence around it has one.
fn line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, content_type: &str, body: &str) -> Reply {
        Reply {
            status,
            content_type: Some(content_type.into()),
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..Reply::default()
        }
    }

    fn at() -> Endpoint {
        "http://127.0.0.1:8080/whip/demo".parse().unwrap()
    }

    fn error(reply: &Reply, token: bool) -> String {
        reply.outcome(&at(), token).unwrap_err().to_string()
    }

    #[test]
    fn a_session_is_an_answer_and_an_address() {
        let mut created = reply(201, "application/sdp", "v=0\r\n");
        created.location = Some("/whip/demo/abc".into());
        let session = Some("http://127.0.0.1:8080/whip/demo/abc".parse().unwrap());
        assert_eq!(
            created.outcome(&at(), false).unwrap(),
            Outcome::Session { answer: "v=0\r\n".into(), session }
        );
        assert!(error(&reply(200, "text/html", "<html>"), false).contains("not a WHIP endpoint"));
    }

    #[test]
    fn redirects_are_followed_by_address() {
        let mut moved = reply(307, "", "");
        moved.location = Some("http://other:1/whip/demo".into());
        let there = Outcome::Redirect("http://other:1/whip/demo".parse().unwrap());
        assert_eq!(moved.outcome(&at(), false).unwrap(), there);
    }

    #[test]
    fn every_refusal_says_the_next_step() {
        let problem =
            r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"feed demo has a publisher"}"#;
        let taken = error(&reply(409, "application/problem+json", problem), false);
        assert!(taken.contains("feed demo has a publisher") && taken.contains("--retry"), "{taken}");
        assert!(error(&reply(401, "", ""), false).contains("--token"));
        assert!(error(&reply(401, "", ""), true).contains("token"));
        let missing = error(&reply(404, "", ""), false);
        assert!(missing.contains("/whip/"), "{missing}");
        let unusable = reply(406, "application/problem+json", r#"{"detail":"offered VP8, accepted H264"}"#);
        assert!(error(&unusable, false).contains("offered VP8, accepted H264"));
    }

    #[test]
    fn a_busy_server_may_say_when() {
        let mut busy = reply(503, "text/plain", "full");
        busy.retry_after = Some("7".into());
        let Err(Error::Unavailable { retry_after, .. }) = busy.outcome(&at(), false) else { panic!() };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_server_cannot_write_on_the_terminal() {
        let nasty = reply(400, "text/plain", "a\u{1b}[2Jb\nc.");
        assert_eq!(nasty.detail(), "a [2Jb c");
        assert_eq!(reply(400, "text/html", "<h1>no</h1>").detail(), "the server gives no reason");
    }
}

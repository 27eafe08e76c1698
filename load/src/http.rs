//! WHEP and WHIP over HTTP: POST an offer, DELETE a session.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(15);
/// An SDP answer is a few KiB.
const LARGEST_BODY: usize = 256 << 10;
const MOST_REDIRECTS: usize = 4;
const AGENT: &str = concat!("bicast-bench/", env!("CARGO_PKG_VERSION"));

/// An HTTP client for all sessions; connections are kept and used again.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authorization: Option<String>,
}

/// A session that a server has made.
pub(crate) struct Session {
    pub(crate) answer: String,
    /// Where to end it; a server that gives none cannot be told.
    pub(crate) url: Option<Url>,
}

/// Why there is no session, short enough to be counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

impl Http {
    pub(crate) fn new(token: Option<&str>, for_https: bool) -> anyhow::Result<Self> {
        // The provider is named: with two of them compiled in, rustls refuses to choose.
        let provider = rustls::crypto::ring::default_provider;
        let connector = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider()) {
            Ok(builder) => builder.https_or_http().enable_http1().build(),
            Err(error) if for_https => {
                return Err(anyhow!("this machine has no certificates to check a server with ({error})"));
            }
            // Without certificates (a bare container) plain http still works.
            Err(_) => {
                let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider()))
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build()
            }
        };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, authorization: token.map(|token| format!("Bearer {token}")) })
    }

    /// Offers, and follows redirects.
    pub(crate) async fn post(&self, url: &Url, offer: &str) -> Result<Session, Refused> {
        let mut url = url.clone();
        for _ in 0..MOST_REDIRECTS {
            let sent = self.send(Method::POST, &url, Bytes::copy_from_slice(offer.as_bytes()));
            let reply = tokio::time::timeout(TIMEOUT, sent).await;
            let (status, location, body) = reply
                .map_err(|_| Refused(format!("no HTTP answer within {} s", TIMEOUT.as_secs())))?
                .map_err(|error| Refused(format!("no HTTP answer: {}", error.root_cause())))?;
            let location = location.and_then(|location| url.join(&location).ok());
            match (status, location) {
                (200 | 201, url) => {
                    let answer = String::from_utf8(body.to_vec()).ok().filter(|text| text.starts_with("v=0"));
                    let answer = answer.ok_or_else(|| Refused("the HTTP answer is not SDP".into()))?;
                    return Ok(Session { answer, url });
                }
                (307 | 308, Some(next)) => url = next,
                (status, _) => return Err(Refused(format!("HTTP {status}{}", title(&body)))),
            }
        }
        Err(Refused("too many redirects".into()))
    }

    /// Ends a session. A server that does not hear it notices by itself, only later.
    pub(crate) async fn delete(&self, session: &Url) {
        let _ = tokio::time::timeout(TIMEOUT, self.send(Method::DELETE, session, Bytes::new())).await;
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> anyhow::Result<(u16, Option<String>, Bytes)> {
        let mut request = Request::builder().method(method).uri(url.as_str()).header(USER_AGENT, AGENT);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/sdp").header(ACCEPT, "application/sdp");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request =
            request.body(Full::new(body)).context("the token has characters that no header can carry")?;
        let response = self.client.request(request).await?;
        let location =
            response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
        let body = body.map_err(|error| anyhow!("its answer broke off ({error})"))?.to_bytes();
        Ok((status, location, body))
    }
}

/// A problem's title (RFC 9457), for the counts: details differ from viewer to viewer.
fn title(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<serde_json::Value>(body).ok();
    let title = problem.as_ref().and_then(|problem| problem["title"].as_str());
    title.map_or_else(String::new, |title| {
        let clean: String = title.chars().filter(|c| !c.is_control()).take(80).collect();
        format!(": {clean}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_their_title() {
        assert_eq!(title(br#"{"title":"No room\u001b[2J","detail":"x 17"}"#), ": No room[2J");
        assert_eq!(title(b"<html>"), "");
    }
}

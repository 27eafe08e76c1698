//! A small HTTP client: one request, the whole answer.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The version that it came with.
    pub version: Version,
    /// Its headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// A header's value; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {:?}", self.text()))
    }

    /// This answer if its status is a success.
    ///
    /// # Errors
    /// Any other status, with the body.
    pub fn success(self) -> anyhow::Result<Self> {
        anyhow::ensure!((200..300).contains(&self.status), "status {}: {}", self.status, self.text());
        Ok(self)
    }
}

/// Makes one request. `content_type` goes with a body.
///
/// # Errors
/// Where no whole answer comes within 30 s. Any status is an answer.
pub async fn request(
    method: Method,
    url: &str,
    content_type: Option<&str>,
    body: impl Into<Bytes>,
) -> anyhow::Result<Response> {
    let headers = content_type.map(|content_type| (CONTENT_TYPE.as_str(), content_type));
    request_with(method, url, headers.as_slice(), body).await
}

/// The same with headers of the test's choice.
///
/// # Errors
/// As [`request`].
pub async fn request_with(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> anyhow::Result<Response> {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method.clone()).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into()))?;
    let exchange = async {
        let response = client.request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        anyhow::Ok(Response {
            status: head.status.as_u16(),
            version: head.version,
            headers: head.headers,
            body,
        })
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), exchange).await;
    answer
        .with_context(|| format!("{method} {url}: no answer within 30 s"))?
        .with_context(|| format!("{method} {url}"))
}

/// `GET url`.
///
/// # Errors
/// As [`request`].
pub async fn get(url: &str) -> anyhow::Result<Response> {
    request(Method::GET, url, None, Bytes::new()).await
}

/// `POST url` with an SDP offer.
///
/// # Errors
/// As [`request`].
pub async fn post_sdp(url: &str, sdp: &str) -> anyhow::Result<Response> {
    request(Method::POST, url, Some("application/sdp"), sdp.to_owned()).await
}

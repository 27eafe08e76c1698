//! HTTP as a player speaks it: one client whose connections are kept, HTTP/2 where TLS agrees on it.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{LOCATION, USER_AGENT};
use hyper::{Method, Request, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use super::core::answers::Reply;

/// For whatever is not held. What is held has a time that follows from the target duration: [`Fetch::get_within`].
const TIMEOUT: Duration = Duration::from_secs(40);
const LARGEST_BODY: usize = 64 << 20;
const MOST_REDIRECTS: usize = 4;
const AGENT: &str = concat!("bicast-check/", env!("CARGO_PKG_VERSION"));

#[derive(Clone)]
pub(crate) struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetch {
    /// `insecure`: takes any certificate.
    pub(crate) fn new(insecure: bool, for_https: bool) -> anyhow::Result<Self> {
        let config = super::tls::config(insecure, for_https)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// One answer, redirects not followed.
    pub(crate) async fn get(&self, url: &Url, headers: &[(&str, &str)]) -> anyhow::Result<Reply> {
        self.ask(Method::GET, url, headers, TIMEOUT).await
    }

    /// The same within another time.
    pub(crate) async fn get_within(&self, url: &Url, limit: Duration) -> anyhow::Result<Reply> {
        self.ask(Method::GET, url, &[], limit).await
    }

    /// What a browser asks before it sends a page's request for a range.
    pub(crate) async fn preflight(&self, url: &Url) -> anyhow::Result<Reply> {
        let headers = [("access-control-request-method", "GET"), ("access-control-request-headers", "range")];
        self.ask(Method::OPTIONS, url, &headers, TIMEOUT).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        limit: Duration,
    ) -> anyhow::Result<Reply> {
        let asked = tokio::time::timeout(limit, self.send(method, url, headers)).await;
        asked.with_context(|| format!("no answer within {} s", limit.as_secs()))?
    }

    async fn send(&self, method: Method, url: &Url, headers: &[(&str, &str)]) -> anyhow::Result<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(USER_AGENT, AGENT)
            .header("origin", "https://player.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(Empty::new())?).await?;
        let text =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers =
            response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let status = response.status().as_u16();
        let modern = (url.scheme() == "https").then(|| response.version() >= Version::HTTP_2);
        let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off ({error})"))?.to_bytes();
        Ok(Reply { url: url.to_string(), status, headers, body, modern })
    }

    /// The answer behind redirects, and its address.
    pub(crate) async fn find(&self, url: &Url) -> anyhow::Result<(Url, Reply)> {
        self.find_with(url, &[]).await
    }

    /// The same, with these headers for the origin that is asked first: a token is nobody else's.
    pub(crate) async fn find_with(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<(Url, Reply)> {
        let home = url.origin();
        let mut url = url.clone();
        for _ in 0..MOST_REDIRECTS {
            let headers = if url.origin() == home { headers } else { &[] };
            let reply = self.get(&url, headers).await?;
            let to = reply.header(LOCATION.as_str()).and_then(|to| url.join(to).ok());
            match to {
                Some(to) if (300..400).contains(&reply.status) => url = to,
                _ => return Ok((url, reply)),
            }
        }
        anyhow::bail!("{url} redirects more than {MOST_REDIRECTS} times")
    }
}

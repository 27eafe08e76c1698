//! The WHIP client (RFC 9725): one POST, one DELETE.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::args::Token;
use crate::core::endpoint::Endpoint;
use crate::core::reply::{Outcome, Reply};
use crate::error::Error;

/// Speaks WHIP to one endpoint.
pub struct Whip {
    endpoint: Endpoint,
    token: Option<Token>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// A session that the server has made.
pub struct Session {
    /// The SDP answer.
    pub answer: String,
    /// Where to end it.
    pub url: Option<Endpoint>,
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// An SDP answer is a few KiB.
const LARGEST_BODY: usize = 256 << 10;
const MOST_REDIRECTS: usize = 4;
const SDP: &str = "application/sdp";
const AGENT: &str = concat!("bicast/", env!("CARGO_PKG_VERSION"));

impl Whip {
    /// A client for the endpoint, which is not asked yet.
    ///
    /// # Errors
    /// For https on a machine that has no certificates to check a server with.
    pub fn new(endpoint: Endpoint, token: Option<Token>) -> Result<Self, Error> {
        // The provider is named: with two of them compiled in, rustls refuses to choose.
        let provider = rustls::crypto::ring::default_provider;
        let connector = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider()) {
            Ok(builder) => builder.https_or_http().enable_http1().build(),
            Err(error) if endpoint.as_str().starts_with("https:") => {
                let reason = format!("this machine has no certificates to check a server with ({error})");
                return Err(Error::Unreachable { origin: endpoint.origin(), reason });
            }
            // Without certificates (a bare container) plain http still works.
            Err(_) => HttpsConnectorBuilder::new()
                .with_tls_config(without_roots(provider())?)
                .https_or_http()
                .enable_http1()
                .build(),
        };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { endpoint, token, client })
    }

    /// The addresses of the server, as the resolver knows them; none when it does not.
    pub async fn servers(&self) -> Vec<IpAddr> {
        let Some((host, port)) = self.endpoint.host_and_port() else { return Vec::new() };
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
    }

    /// Offers, and follows redirects.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn publish(&self, offer: &str) -> Result<Session, Error> {
        let mut endpoint = self.endpoint.clone();
        for _ in 0..MOST_REDIRECTS {
            let token = self.token.as_ref().filter(|_| endpoint.same_origin(&self.endpoint));
            let body = Bytes::copy_from_slice(offer.as_bytes());
            let sent = self.send(Method::POST, &endpoint, token, SDP, body);
            let reply = tokio::time::timeout(ANSWER_TIMEOUT, sent).await;
            let reply =
                reply.map_err(|_| Error::NoAnswer { origin: endpoint.origin(), after: ANSWER_TIMEOUT })??;
            match reply.outcome(&endpoint, token.is_some())? {
                Outcome::Session { answer, session } => return Ok(Session { answer, url: session }),
                Outcome::Redirect(next) => endpoint = next,
            }
        }
        Err(Error::Redirects(self.endpoint.to_string()))
    }

    /// Ends a session. A server that does not hear it notices by itself, only later.
    pub async fn end(&self, session: &Endpoint) {
        match self.ask(Method::DELETE, session, GOODBYE_TIMEOUT).await {
            Ok(reply) => tracing::debug!(status = reply.status, "session deleted"),
            Err(error) => tracing::debug!(%error, "session not deleted"),
        }
    }

    /// Sends a request without a body to the endpoint's server, and waits so long for the whole answer, whatever it is.
    /// Redirects are not followed.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, method: Method, to: &Endpoint, within: Duration) -> Result<Reply, Error> {
        let token = self.token.as_ref().filter(|_| to.same_origin(&self.endpoint));
        let reply = tokio::time::timeout(within, self.send(method, to, token, SDP, Bytes::new())).await;
        reply.map_err(|_| Error::NoAnswer { origin: to.origin(), after: within })?
    }

    /// Posts JSON, without a token, and waits so long for the whole answer, whatever it is. Redirects are not followed.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_json(&self, to: &Endpoint, body: Bytes, within: Duration) -> Result<Reply, Error> {
        let sent = self.send(Method::POST, to, None, "application/json", body);
        let reply = tokio::time::timeout(within, sent).await;
        reply.map_err(|_| Error::NoAnswer { origin: to.origin(), after: within })?
    }

    async fn send(
        &self,
        method: Method,
        to: &Endpoint,
        token: Option<&Token>,
        kind: &'static str,
        body: Bytes,
    ) -> Result<Reply, Error> {
        let unreachable = |reason: String| Error::Unreachable { origin: to.origin(), reason };
        let mut request = Request::builder().method(method).uri(to.as_str()).header(USER_AGENT, AGENT);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, kind).header(ACCEPT, kind);
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.secret()));
        }
        let request = request.body(Full::new(body));
        let request = request
            .map_err(|_| Error::Options("the token has characters that no header can carry".into()))?;
        let response = self.client.request(request).await.map_err(|error| unreachable(innermost(&error)))?;
        let text = |name: HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let mut reply = Reply {
            status: response.status().as_u16(),
            content_type: text(CONTENT_TYPE),
            location: text(LOCATION),
            retry_after: text(RETRY_AFTER),
            body: Bytes::new(),
        };
        let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
        reply.body = body.map_err(|error| unreachable(format!("its answer broke off ({error})")))?.to_bytes();
        Ok(reply)
    }
}

/// A TLS configuration that trusts nobody.
fn without_roots(provider: rustls::crypto::CryptoProvider) -> Result<rustls::ClientConfig, Error> {
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::codec("TLS")(&error))?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

/// What a chain of errors is really about: "connection refused", not "client error (Connect)".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let text = inner.to_string();
    // "Connection refused (os error 111)": the number helps nobody.
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

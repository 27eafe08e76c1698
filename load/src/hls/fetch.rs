//! HTTP as a player speaks it: one client whose connections are kept, HTTP/2 where TLS agrees on it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{LOCATION, USER_AGENT};
use hyper::{Request, Version};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use url::Url;

use super::core::answers::Reply;

/// Longer than any blocking request may take: three target durations of ten seconds.
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
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = if insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
                .with_no_client_auth()
        } else if for_https {
            let roots = builder
                .with_native_roots()
                .context("this machine has no certificates to check a server with")?;
            roots.with_no_client_auth()
        } else {
            builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        };
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
        let asked = tokio::time::timeout(TIMEOUT, self.ask(url, headers)).await;
        asked.with_context(|| format!("no answer within {} s", TIMEOUT.as_secs()))?
    }

    async fn ask(&self, url: &Url, headers: &[(&str, &str)]) -> anyhow::Result<Reply> {
        let mut request =
            Request::get(url.as_str()).header(USER_AGENT, AGENT).header("origin", "https://player.example");
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
        let mut url = url.clone();
        for _ in 0..MOST_REDIRECTS {
            let reply = self.get(&url, &[]).await?;
            let to = reply.header(LOCATION.as_str()).and_then(|to| url.join(to).ok());
            match to {
                Some(to) if (300..400).contains(&reply.status) => url = to,
                _ => return Ok((url, reply)),
            }
        }
        anyhow::bail!("{url} redirects more than {MOST_REDIRECTS} times")
    }
}

/// Takes any certificate, as `--insecure` says.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

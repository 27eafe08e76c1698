//! One HTTP connection in the test's hands: HTTP/2 or HTTP/1.1, with TLS or without, kept open for as many requests as the test likes.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http::Response;

/// A certificate for `localhost` that vouches for itself, and its key, in PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Pair {
    /// Makes one.
    ///
    /// # Errors
    /// Where the cryptography is not there.
    pub fn generate() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// As browsers do: what is asked for leaves at once, and does not wait until what was said before has been acknowledged.
async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS to `localhost` at an address, trusting this certificate only, offering these protocols (ALPN).
///
/// # Errors
/// Where the handshake fails: another certificate among them.
pub async fn tls(address: SocketAddr, pem: &str, protocols: &[&str]) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// An HTTP/2 connection. Cloning gives another handle to it: its requests go out side by side.
#[derive(Clone)]
pub struct Http2 {
    sender: SendRequest<Empty<Bytes>>,
    origin: String,
}

impl Http2 {
    /// Without TLS (h2c with prior knowledge).
    ///
    /// # Errors
    /// Where nobody answers.
    pub async fn plain(address: SocketAddr) -> anyhow::Result<Self> {
        Self::over(connect(address).await?, format!("http://{address}")).await
    }

    /// With TLS, trusting this certificate only.
    ///
    /// # Errors
    /// Where the handshake fails, or the server chooses another protocol.
    pub async fn secure(address: SocketAddr, pem: &str) -> anyhow::Result<Self> {
        let stream = tls(address, pem, &["h2", "http/1.1"]).await?;
        let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        anyhow::ensure!(chosen.as_deref() == Some(b"h2"), "the server chose {chosen:?}");
        Self::over(stream, format!("https://localhost:{}", address.port())).await
    }

    /// Without TLS, with room for so many bytes of an answer until the test has read them (1 to 2,147,483,647).
    ///
    /// # Errors
    /// Where nobody answers.
    pub async fn narrow(address: SocketAddr, window: u32) -> anyhow::Result<Self> {
        let stream = TokioIo::new(connect(address).await?);
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(stream)
            .await?;
        tokio::spawn(connection);
        Ok(Self { sender, origin: format!("http://{address}") })
    }

    /// `GET path`, and the answer as it comes.
    ///
    /// # Errors
    /// Where the connection ends before the answer begins.
    pub async fn begin(&mut self, path: &str) -> anyhow::Result<hyper::Response<Incoming>> {
        self.sender.ready().await?;
        let request = Request::get(format!("{}{path}", self.origin)).body(Empty::new())?;
        Ok(self.sender.send_request(request).await?)
    }

    async fn over<S>(stream: S, origin: String) -> anyhow::Result<Self>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, origin })
    }

    /// `GET path` with these headers.
    ///
    /// # Errors
    /// Where the connection ends before the whole answer has come.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Response> {
        let mut request = Request::get(format!("{}{path}", self.origin));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Empty::new())?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.with_context(|| format!("the body of {path}"))?.to_bytes();
        Ok(Response { status: head.status.as_u16(), version: head.version, headers: head.headers, body })
    }
}

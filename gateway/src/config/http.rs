//! The `[http]` section.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Invalid, in_range};

/// Settings of the HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The addresses to listen on, each with its port; port 0 takes any free one. IPv6 ones take IPv6 only. Those that others than this
    /// machine can reach want keys (`auth`).
    pub listen: Vec<SocketAddr>,
    /// The folder with the built web demo.
    pub web_root: PathBuf,
    /// Connections at the same time (1 to 1,000,000); further ones wait until one is closed.
    pub max_connections: usize,
    /// Seconds that a client may take to send a request's header, or be idle between two (1 to 600).
    pub header_timeout: f64,
    /// Seconds that a request with a body may take (1 to 600).
    pub request_timeout: f64,
    /// Seconds after which a client that takes nothing of its answer is dropped (1 to 600).
    pub stall_timeout: f64,
    /// Seconds that HTTP goes on at shutdown after the playlists were ended, so that HLS players see the end (0 to 60).
    /// Not waited for when no feed is on over HLS.
    pub drain: f64,
    /// HTTPS.
    pub tls: TlsConfig,
    /// How the kernel treats its connections.
    pub tcp: TcpConfig,
}

/// Settings of HTTPS: HTTP/2 and HTTP/1.1 over TLS 1.3 and 1.2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The addresses to listen on with TLS, beside those of `http.listen`; none goes without.
    pub listen: Vec<SocketAddr>,
    /// A PEM file with the certificate and its chain. Read again when it has changed. Empty: a self-signed one is made at each
    /// start, for trying things out.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key.
    pub key: PathBuf,
}

/// Settings of the HTTP server's TCP sockets. TCP_NODELAY is always set: parts are small, and their last bytes must not wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpConfig {
    /// TCP_NOTSENT_LOWAT in bytes (Linux): how much the kernel takes ahead of what the path can carry. 0 leaves it to the kernel.
    /// With little of it, what is new goes ahead of what is old on HTTP/2 connections with a slow client.
    pub notsent_lowat: u32,
    /// The congestion control algorithm (Linux): one of `net.ipv4.tcp_available_congestion_control`, such as `bbr`. Empty leaves it to
    /// the kernel.
    pub congestion_control: String,
}

/// The port of the default addresses.
pub(crate) const DEFAULT_PORT: u16 = 8080;

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: here(DEFAULT_PORT),
            web_root: PathBuf::from("web-demo/dist"),
            max_connections: 10_000,
            header_timeout: 15.0,
            request_timeout: 15.0,
            stall_timeout: 30.0,
            drain: 2.5,
            tls: TlsConfig::default(),
            tcp: TcpConfig { notsent_lowat: 131_072, congestion_control: String::new() },
        }
    }
}

/// A port on this machine's loopback addresses of both families.
fn here(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// A port on all addresses of both families.
pub(crate) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

impl HttpConfig {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.listen.is_empty() {
            let message = "it names no address, so nobody could reach this server".to_owned();
            return Err(Invalid { key: "http.listen".into(), message });
        }
        in_range("http.max_connections", self.max_connections, 1, 1_000_000, "")?;
        in_range("http.header_timeout", self.header_timeout, 1.0, 600.0, " s")?;
        in_range("http.request_timeout", self.request_timeout, 1.0, 600.0, " s")?;
        in_range("http.stall_timeout", self.stall_timeout, 1.0, 600.0, " s")?;
        in_range("http.drain", self.drain, 0.0, 60.0, " s")?;
        self.tls.check()
    }
}

impl TlsConfig {
    fn check(&self) -> Result<(), Invalid> {
        let (certificate, key) = (!self.certificate.as_os_str().is_empty(), !self.key.as_os_str().is_empty());
        let wrong =
            |key, message: &str| Err(Invalid { key: Cow::Borrowed(key), message: message.to_owned() });
        match (certificate, key) {
            (true, false) => wrong("http.tls.key", "a certificate is named without its private key"),
            (false, true) => wrong("http.tls.certificate", "a private key is named without its certificate"),
            (true, true) if self.listen.is_empty() => wrong(
                "http.tls.listen",
                "a certificate is named, but no address to use it on, such as [\"0.0.0.0:443\", \"[::]:443\"]",
            ),
            _ => Ok(()),
        }
    }
}

//! The `[http]` section.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Invalid, in_range};

/// Settings of the HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The addresses to listen on, each with its port; port 0 takes any free one. IPv6 ones take IPv6 only.
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
}

/// The port of the default addresses.
pub(crate) const DEFAULT_PORT: u16 = 8080;

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: everywhere(DEFAULT_PORT),
            web_root: PathBuf::from("web-demo/dist"),
            max_connections: 10_000,
            header_timeout: 15.0,
            request_timeout: 15.0,
            stall_timeout: 30.0,
            drain: 2.5,
        }
    }
}

/// A port on all addresses of both families.
pub(crate) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

impl HttpConfig {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.listen.is_empty() {
            let message = "it names no address, so nobody could reach this server".to_owned();
            return Err(Invalid { key: "http.listen", message });
        }
        in_range("http.max_connections", self.max_connections, 1, 1_000_000, "")?;
        in_range("http.header_timeout", self.header_timeout, 1.0, 600.0, " s")?;
        in_range("http.request_timeout", self.request_timeout, 1.0, 600.0, " s")?;
        in_range("http.stall_timeout", self.stall_timeout, 1.0, 600.0, " s")?;
        in_range("http.drain", self.drain, 0.0, 60.0, " s")
    }
}

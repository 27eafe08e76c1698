//! Why the room could not be opened.

use std::io;
use std::net::SocketAddr;

/// Why the SFU could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket could not be bound.
    #[error("cannot listen on UDP {address} (setting sfu.udp_port / sfu.bind): {source}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A TCP port could not be listened on.
    #[error(
        "cannot listen on TCP {address} (setting sfu.tcp_port, which follows sfu.udp_port unless set; \"off\" goes without ICE-TCP): {source}"
    )]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing to listen on.
    #[error("the setting sfu.bind is empty: name at least one address")]
    NothingToBind,
    /// A setting makes no sense.
    #[error("the setting {setting} is {value}: {why}")]
    BadSetting {
        /// Its name.
        setting: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        why: String,
    },
    /// The process's DTLS certificate could not be made.
    #[error("cannot make the DTLS certificate: {0}")]
    Certificate(String),
    /// A worker thread could not be started.
    #[error("cannot start a worker thread: {0}")]
    Worker(#[from] io::Error),
}

//! Lines: for demonstrations, a viewer's own bad network in front of the gateway.
//!
//! A line is a TCP and a UDP port of the same number. What a viewer asks for there goes on to the gateway and back, and its media, too:
//! the answers of WHEP are rewritten so that their only candidate is the line. Each direction loses, delays and holds back what
//! its [`Network`](core::network::Network) says.
//!
//! | module | holds |
//! |---|---|
//! | [`api`] | what the routes send |
//! | [`core`] | what becomes of each packet and segment, decided without a clock or a socket |
//! | `http` | the routes under `/v1/demo/lines` |
//! | `line` | one line: its sockets, counters and ways |
//! | `lines` | all lines: which ports are free, which lines nobody uses any more |
//! | `proxy` | HTTP/1.1 through a line |
//! | `tcp`, `udp` | bytes and datagrams through a line |

pub mod api;
pub mod core;
mod http;
mod line;
mod lines;
mod proxy;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::http::{openapi, router};
pub use self::lines::{Gateway, Lines};
use crate::core::ports::Ports;

/// The `[demo]` settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether viewers may ask for bad networks of their own. Not in production.
    pub lines: bool,
    /// The ports that lines take, TCP and UDP; as many lines may there be.
    pub ports: Ports,
}

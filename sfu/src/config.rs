//! The room's settings.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ice_servers::IceServer;
use crate::ingest::IngestConfig;

/// How the WebRTC side listens and what it allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one UDP port of all peers; 0 takes any free one.
    pub udp_port: u16,
    /// The TCP port for peers whose network lets no UDP through.
    pub tcp_port: TcpPort,
    /// The addresses to listen on. IPv6 is left out silently where the machine has none and this is the default.
    pub bind: Vec<IpAddr>,
    /// Threads that own viewers; 0 means one per core.
    pub workers: usize,
    /// The addresses that peers are told, where they are not those of this machine (behind a NAT, in a container).
    pub public_addresses: Vec<IpAddr>,
    /// STUN and TURN servers that peers are told of, for those whose way here leads through a relay.
    pub ice_servers: Vec<IceServer>,
    /// Bounds on what viewers can take.
    pub limits: Limits,
    /// How publishers are received.
    pub ingest: IngestConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            udp_port: 8189,
            tcp_port: TcpPort::default(),
            bind: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            workers: 0,
            public_addresses: Vec::new(),
            ice_servers: Vec::new(),
            limits: Limits::default(),
            ingest: IngestConfig::default(),
        }
    }
}

/// Where peers are taken over TCP (ICE-TCP, RFC 6544).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TcpPort {
    /// At the number of the UDP port.
    #[default]
    Same,
    /// Nowhere.
    Off,
    /// At a port of its own (443 gets through where little else does); 0 takes any free one.
    Port(u16),
}

impl TcpPort {
    /// The port to bind, where UDP has got this one; none where it is off.
    #[must_use]
    pub const fn number(self, udp: u16) -> Option<u16> {
        match self {
            Self::Same => Some(udp),
            Self::Off => None,
            Self::Port(port) => Some(port),
        }
    }
}

impl Serialize for TcpPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Same => serializer.serialize_str("same"),
            Self::Off => serializer.serialize_str("off"),
            Self::Port(port) => serializer.serialize_u16(*port),
        }
    }
}

impl<'de> Deserialize<'de> for TcpPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TcpPortVisitor)
    }
}

struct TcpPortVisitor;

impl Visitor<'_> for TcpPortVisitor {
    type Value = TcpPort;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"same\", \"off\" or a port number, 0 to 65535")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<TcpPort, E> {
        let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
        u16::try_from(number).map(TcpPort::Port).map_err(|_| wrong())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<TcpPort, E> {
        let wrong = || E::invalid_value(Unexpected::Signed(number), &self);
        u16::try_from(number).map(TcpPort::Port).map_err(|_| wrong())
    }

    /// Also numbers: the environment and flags have nothing but text.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<TcpPort, E> {
        match text {
            "same" => Ok(TcpPort::Same),
            "off" => Ok(TcpPort::Off),
            number => {
                let wrong = || E::invalid_value(Unexpected::Str(text), &self);
                number.parse().map(TcpPort::Port).map_err(|_| wrong())
            }
        }
    }
}

/// Bounds on what viewers can take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Viewers at the same time; a further one takes the place of a handshake that is older than two seconds, else it gets 503.
    pub viewers: usize,
    /// Viewers that have not finished their handshake at the same time; for a further one the oldest goes once it has had two seconds,
    /// and before that the further one gets 503.
    pub handshakes: usize,
    /// TCP connections of peers at the same time (1 to 1,000,000); further ones are closed. A browser opens some for
    /// every join and keeps none where UDP works.
    pub tcp_connections: usize,
    /// Seconds that a handshake may take (1 to 120).
    pub handshake_seconds: u64,
    /// Seconds without an authenticated STUN check after which a viewer is gone (RFC 7675 says 30).
    pub consent_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            viewers: 10_000,
            handshakes: 1_000,
            tcp_connections: 10_000,
            handshake_seconds: 15,
            consent_seconds: 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn the_tcp_port_is_a_word_or_a_number_also_as_text() {
        for (written, meant) in [
            (json!("same"), TcpPort::Same),
            (json!("off"), TcpPort::Off),
            (json!(443), TcpPort::Port(443)),
            (json!(0), TcpPort::Port(0)),
            (json!("443"), TcpPort::Port(443)),
        ] {
            assert_eq!(from_value::<TcpPort>(written).unwrap(), meant);
            assert_eq!(from_value::<TcpPort>(to_value(meant).unwrap()).unwrap(), meant);
        }
        for wrong in [json!(70_000), json!(-1), json!("on"), json!("70000"), json!(true)] {
            let error = from_value::<TcpPort>(wrong).unwrap_err().to_string();
            assert!(error.contains(r#""same", "off" or a port number"#), "{error}");
        }
        assert_eq!(TcpPort::Same.number(8189), Some(8189));
        assert_eq!((TcpPort::Off.number(1), TcpPort::Port(443).number(1)), (None, Some(443)));
    }
}

//! The smallest offer that WHIP takes, and what the answer says about where to send.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

/// Candidates that are looked at; a server with more than these has nothing new to say.
const MAX_CANDIDATES: usize = 32;

/// Over what a candidate is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// A datagram each.
    Udp,
    /// A connection that the peer opens, framed as RFC 4571 says (RFC 6544, `tcptype passive`).
    Tcp,
}

impl Transport {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// Where a peer may send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
}

/// An offer of one Opus track: what every WHIP server takes. Nobody will finish its handshake, so that the certificate
/// behind `fingerprint` (32 bytes, in hexadecimal with colons) need not exist.
pub(crate) fn offer(session: u32, ufrag: &str, pwd: &str, fingerprint: &str) -> String {
    let lines = [
        "v=0",
        &format!("o=- {session} 1 IN IP4 127.0.0.1"),
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        &format!("a=ice-ufrag:{ufrag}"),
        &format!("a=ice-pwd:{pwd}"),
        &format!("a=fingerprint:sha-256 {fingerprint}"),
        "a=setup:actpass",
        "a=mid:0",
        "a=sendonly",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
    ];
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// What an answer says about the way to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) candidates: Vec<Candidate>,
}

/// What an answer lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its SDP answer has no {0}")]
pub(crate) struct BadAnswer(&'static str);

impl Answer {
    /// Reads an SDP answer. Candidates of another component than RTP, names instead of addresses (mDNS) and TCP
    /// candidates that cannot be connected to are passed over.
    pub(crate) fn parse(text: &str) -> Result<Self, BadAnswer> {
        let attribute = |name: &str| {
            let value = text.lines().find_map(|line| line.trim_end().strip_prefix("a=")?.strip_prefix(name));
            value
                .and_then(|value| value.strip_prefix(':'))
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let ufrag = attribute("ice-ufrag").ok_or(BadAnswer("a=ice-ufrag"))?;
        let pwd = attribute("ice-pwd").ok_or(BadAnswer("a=ice-pwd"))?;
        let mut candidates: Vec<Candidate> = Vec::new();
        for candidate in text.lines().filter_map(candidate) {
            if candidates.len() < MAX_CANDIDATES && !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        Ok(Self { ufrag, pwd, candidates })
    }
}

/// `a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host` (RFC 8839, 5.1).
fn candidate(line: &str) -> Option<Candidate> {
    let words: Vec<&str> = line.strip_prefix("a=candidate:")?.split_ascii_whitespace().collect();
    let [_, "1", transport, _, ip, port, "typ", _, extensions @ ..] = words.as_slice() else { return None };
    let transport = if transport.eq_ignore_ascii_case("udp") {
        Transport::Udp
    } else if transport.eq_ignore_ascii_case("tcp")
        && extensions.windows(2).any(|pair| pair == ["tcptype", "passive"])
    {
        Transport::Tcp
    } else {
        return None;
    };
    let ip: IpAddr = ip.parse().ok()?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    Some(Candidate { transport, address: SocketAddr::new(ip, port) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_read_from_the_answer() {
        let text = "v=0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
            a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\n\
            a=candidate:1 2 udp 2130706430 192.0.2.1 8190 typ host\r\n\
            a=candidate:2 1 UDP 2130706175 fd00::2 8189 typ host\r\n\
            a=candidate:3 1 tcp 1671430143 192.0.2.1 8189 typ host tcptype passive generation 0\r\n\
            a=candidate:4 1 tcp 1671430143 192.0.2.1 9 typ host tcptype active\r\n\
            a=candidate:5 1 udp 1 b3f1.local 8189 typ host\r\n\
            a=candidate:6 1 udp 1 192.0.2.1 8189 typ srflx raddr 0.0.0.0 rport 0\r\n\
            a=candidate:7 1 udp 1 192.0.2.9 0 typ host\r\n\
            a=end-of-candidates\r\n";
        let answer = Answer::parse(text).unwrap();
        assert_eq!((answer.ufrag.as_str(), answer.pwd.as_str()), ("u", "p"));
        let shown: Vec<String> =
            answer.candidates.iter().map(|c| format!("{} {}", c.transport.name(), c.address)).collect();
        assert_eq!(shown, ["UDP 192.0.2.1:8189", "UDP [fd00::2]:8189", "TCP 192.0.2.1:8189"]);
    }

    #[test]
    fn an_answer_without_credentials_says_what_it_lacks() {
        let error = Answer::parse("v=0\r\na=ice-ufrag:u\r\n").unwrap_err();
        assert_eq!(error.to_string(), "its SDP answer has no a=ice-pwd");
        assert!(Answer::parse("").is_err() && Answer::parse("a=ice-ufrag:\r\na=ice-pwd:p").is_err());
    }
}

//! Host candidates as SDP writes them (RFC 8839, 5.1), over UDP and over TCP (RFC 6544, 4.5).

use std::net::SocketAddr;

/// Where peers can reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
}

/// What a candidate takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    /// TCP connections that the peer opens.
    TcpPassive,
}

/// The type preference of host candidates (RFC 8445, 5.1.2.2).
const HOST: u32 = 126;
/// The same over TCP: below UDP, because a lost packet holds up all that come behind it. RFC 6544, 4.2 leaves the number
/// open; libwebrtc gives its own TCP host candidates this one.
const HOST_TCP: u32 = 90;
/// RFC 6544, 4.2: 4 of 0 to 7 for passive host candidates; then 13 bits in which we count.
const PASSIVE: u32 = 4;

impl Candidate {
    /// Its priority as the `n`th that is told, best first (RFC 8445, 5.1.2.1; component 1).
    fn priority(&self, n: u32) -> u32 {
        let (kind, local) = match self.transport {
            Transport::Udp => (HOST, 65_535_u32.saturating_sub(n)),
            Transport::TcpPassive => (HOST_TCP, PASSIVE << 13 | 8_191_u32.saturating_sub(n)),
        };
        kind << 24 | local << 8 | 255
    }
}

/// The lines of these candidates, best first, and the one that says that there are no more; without line ends.
pub(crate) fn lines(candidates: &[Candidate]) -> impl Iterator<Item = String> {
    let line = |(n, candidate): (u32, &Candidate)| {
        let (name, suffix) = match candidate.transport {
            Transport::Udp => ("udp", ""),
            Transport::TcpPassive => ("tcp", " tcptype passive"),
        };
        let (ip, port) = (candidate.address.ip(), candidate.address.port());
        let priority = candidate.priority(n);
        format!("a=candidate:{} 1 {name} {priority} {ip} {port} typ host{suffix}", n + 1)
    };
    (0..).zip(candidates).map(line).chain(["a=end-of-candidates".to_owned()])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn udp(address: &str) -> Candidate {
        Candidate { address: address.parse().unwrap(), transport: Transport::Udp }
    }

    pub(crate) fn tcp(address: &str) -> Candidate {
        Candidate { address: address.parse().unwrap(), transport: Transport::TcpPassive }
    }

    #[test]
    fn lines_read_as_the_rfcs_write_them() {
        let candidates = [udp("192.0.2.1:8189"), udp("[::1]:8189"), tcp("192.0.2.1:443")];
        assert_eq!(
            lines(&candidates).collect::<Vec<_>>(),
            [
                "a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host",
                "a=candidate:2 1 udp 2130706175 ::1 8189 typ host",
                "a=candidate:3 1 tcp 1520434687 192.0.2.1 443 typ host tcptype passive",
                "a=end-of-candidates",
            ]
        );
    }

    #[test]
    fn any_udp_candidate_goes_before_any_over_tcp_and_the_order_is_kept() {
        let candidates = [udp("192.0.2.1:1"), udp("192.0.2.2:1"), tcp("192.0.2.1:1"), tcp("192.0.2.2:1")];
        let priorities: Vec<u32> = (0..).zip(&candidates).map(|(n, c)| c.priority(n)).collect();
        assert!(priorities.windows(2).all(|pair| pair[0] > pair[1]), "{priorities:?}");
        assert!(udp("192.0.2.1:1").priority(60_000) > tcp("192.0.2.1:1").priority(0));
    }
}

//! Answers of the SFU, rewritten so that media takes the line.

use std::net::{IpAddr, SocketAddr};

/// The attribute of a candidate (RFC 8839, 5.1).
const CANDIDATE: &str = "a=candidate:";

/// The answer with one candidate only: the line's UDP port. `reaches` tells whether the line can be reached at an address. Of those that
/// the SFU tells, because it knows what it is called from outside, the best is `local`, where the request came in, then one of its family,
/// then the first. Over loopback that is IPv4 if the SFU says so: browsers gather no IPv6 candidate on a machine that has nothing but `::1`.
/// Where the line has none of them it is `local`. Everything else stays byte for byte.
pub(crate) fn through_line(
    answer: &str,
    port: u16,
    local: IpAddr,
    reaches: impl Fn(IpAddr) -> bool,
) -> String {
    let told = answer.lines().filter_map(read).map(|candidate| candidate.address.ip());
    let from_elsewhere = !local.is_loopback();
    let rank = |ip: &IpAddr| from_elsewhere.then(|| (*ip != local, ip.is_ipv4() != local.is_ipv4()));
    let ip = told.filter(|ip| reaches(*ip)).min_by_key(rank).unwrap_or(local);
    let address = SocketAddr::new(ip, port);
    let mut out = String::with_capacity(answer.len());
    let mut written = false;
    for line in answer.split_inclusive('\n') {
        if !line.starts_with(CANDIDATE) {
            out.push_str(line);
            continue;
        }
        // Candidates over TCP would lead past the line, as all other addresses would.
        let Some(candidate) = read(line).filter(|_| !written) else { continue };
        written = true;
        out.push_str(&candidate.at(address));
    }
    out
}

/// A host candidate over UDP.
struct Candidate<'a> {
    /// Foundation, component, transport and priority.
    start: &'a str,
    address: SocketAddr,
    /// From `typ` on, with the line's end.
    rest: &'a str,
}

impl Candidate<'_> {
    fn at(&self, address: SocketAddr) -> String {
        format!("{CANDIDATE}{}{} {} {}", self.start, address.ip(), address.port(), self.rest)
    }
}

fn read(line: &str) -> Option<Candidate<'_>> {
    let value = line.strip_prefix(CANDIDATE)?;
    let (at, _) = value.match_indices(' ').nth(3)?;
    let (start, rest) = value.split_at_checked(at + 1)?;
    if !start.split(' ').nth(2)?.eq_ignore_ascii_case("udp") {
        return None;
    }
    let mut words = rest.splitn(3, ' ');
    let (ip, port, rest) = (words.next()?, words.next()?, words.next()?);
    let address = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
    rest.starts_with("typ ").then_some(Candidate { start, address, rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ANSWER: &str = "v=0\r\na=ice-lite\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.7 8189 typ host\r\n\
        a=candidate:2 1 udp 2130706175 ::1 8189 typ host\r\n\
        a=candidate:3 1 tcp 1520434687 192.0.2.7 8189 typ host tcptype passive\r\n\
        a=end-of-candidates\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\n";

    fn candidates(answer: &str) -> Vec<&str> {
        answer.lines().filter(|line| line.starts_with(CANDIDATE)).collect()
    }

    #[test]
    fn the_only_candidate_is_the_lines_and_nothing_else_changes() {
        let rewritten = through_line(ANSWER, 8_200, LOCAL, |_| true);
        assert_eq!(candidates(&rewritten), ["a=candidate:1 1 udp 2130706431 192.0.2.7 8200 typ host"]);
        let without =
            |text: &str| text.split_inclusive('\n').filter(|l| !l.starts_with(CANDIDATE)).collect::<String>();
        assert_eq!(without(&rewritten), without(ANSWER));
    }

    #[test]
    fn the_address_is_one_that_the_line_has() {
        let six = through_line(ANSWER, 8_200, LOCAL, |ip| ip.is_ipv6());
        assert_eq!(candidates(&six), ["a=candidate:1 1 udp 2130706431 ::1 8200 typ host"]);
        let same = through_line(ANSWER, 8_200, "2001:db8::1".parse().unwrap(), |_| true);
        assert_eq!(candidates(&same), candidates(&six), "over the family that the viewer has for certain");
        let here = through_line(ANSWER, 8_200, "::1".parse().unwrap(), |_| true);
        assert_eq!(candidates(&here), ["a=candidate:1 1 udp 2130706431 192.0.2.7 8200 typ host"]);
        let none = through_line(ANSWER, 8_200, LOCAL, |_| false);
        assert_eq!(candidates(&none), ["a=candidate:1 1 udp 2130706431 127.0.0.1 8200 typ host"]);
    }

    proptest::proptest! {
        /// Whatever an answer is: no panic, at most one candidate, and it is the line's.
        #[test]
        fn nothing_leads_past_the_line(lines in proptest::collection::vec(
            "(a=candidate:[0-9]{1,2} 1 (udp|UDP|tcp) [0-9]{1,5} (192\\.0\\.2\\.1|::1|x\\.local) [0-9]{1,5} typ [a-z]{1,5})|(a=candidate:.{0,20})|(.{0,20})",
            0..12,
        )) {
            let rewritten = through_line(&lines.join("\r\n"), 8_200, LOCAL, |_| true);
            let found = candidates(&rewritten);
            proptest::prop_assert!(found.len() <= 1);
            for line in found {
                proptest::prop_assert_eq!(read(line).map(|candidate| candidate.address.port()), Some(8_200));
            }
        }
    }
}

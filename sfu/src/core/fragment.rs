//! Trickle ICE fragments of viewers (RFC 8840): whose checks they announce, and our side of an ICE restart.
//!
//! A lite agent sends no checks, so the viewer's candidates are looked over and then forgotten.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// What a fragment says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fragment {
    /// The viewer's ufrag, where it names one.
    pub(crate) ufrag: Option<String>,
    has_pwd: bool,
    /// The first section's `m=` value and mid, to be repeated in an answer.
    media: Option<String>,
    mid: Option<String>,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// A sentence that names the broken line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut fragment = Self::default();
        let mut lines = 0;
        for (index, line) in text.lines().map(str::trim_end).enumerate().filter(|(_, line)| !line.is_empty())
        {
            let bad = |what: &str| {
                let shown: String = line.chars().take(80).collect();
                format!("Line {} of the fragment is {what}: {shown:?}.", index + 1)
            };
            let (kind, value) = line
                .split_once('=')
                .filter(|(kind, _)| kind.len() == 1)
                .ok_or_else(|| bad("not letter=value"))?;
            lines += 1;
            match (kind, value.split_once(':').unwrap_or((value, ""))) {
                ("m", _) if fragment.media.is_none() => fragment.media = Some(value.to_owned()),
                ("a", ("mid", mid)) if fragment.mid.is_none() => fragment.mid = Some(mid.to_owned()),
                ("a", ("ice-ufrag", ufrag)) => {
                    if !(4..=256).contains(&ufrag.len()) {
                        return Err(bad("no ICE ufrag"));
                    }
                    fragment.ufrag = Some(ufrag.to_owned());
                }
                ("a", ("ice-pwd", pwd)) => {
                    if !(22..=256).contains(&pwd.len()) {
                        return Err(bad("no ICE password"));
                    }
                    fragment.has_pwd = true;
                }
                // RFC 8839, 5.1: foundation, component, transport, priority, address, port, "typ", type.
                ("a", ("candidate", candidate)) => {
                    let words: Vec<&str> = candidate.split_ascii_whitespace().collect();
                    let ok = words.len() >= 8
                        && words[1].parse::<u16>().is_ok()
                        && words[3].parse::<u32>().is_ok()
                        && words[5].parse::<u16>().is_ok()
                        && words[6] == "typ";
                    if !ok {
                        return Err(bad("no candidate"));
                    }
                }
                _ => {}
            }
        }
        if lines == 0 { Err("The fragment is empty.".into()) } else { Ok(fragment) }
    }

    /// Whether it begins a new ICE session: credentials other than those known.
    pub(crate) fn restarts(&self, known_ufrag: &str) -> bool {
        self.has_pwd && self.ufrag.as_ref().is_some_and(|ufrag| ufrag != known_ufrag)
    }

    /// The answer to a restart: our new credentials, and our candidates again.
    pub(crate) fn answer(&self, ufrag: &str, pwd: &str, candidates: &[SocketAddr]) -> String {
        let mut out = String::new();
        let media = self.media.as_deref().unwrap_or("audio 9 UDP/TLS/RTP/SAVPF 0");
        let mid = self.mid.as_deref().unwrap_or("0");
        let _ = write!(out, "a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        let _ = write!(out, "m={media}\r\na=mid:{mid}\r\n");
        for (n, candidate) in candidates.iter().enumerate() {
            let _ = write!(out, "{}\r\n", candidate_line(n, *candidate));
        }
        out.push_str("a=end-of-candidates\r\n");
        out
    }
}

/// A host candidate as SDP writes it; `n` counts them, best first.
pub(crate) fn candidate_line(n: usize, candidate: SocketAddr) -> String {
    // RFC 8445, 5.1.2.1: type preference 126, a local preference of its own for each, component 1.
    let preference = 65_535_u32.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
    let priority = (126 << 24) | (preference << 8) | 255;
    let (ip, port) = (candidate.ip(), candidate.port());
    format!("a=candidate:{} 1 udp {priority} {ip} {port} typ host", n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRICKLE: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
         a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\na=end-of-candidates\r\n";

    #[test]
    fn candidates_of_the_known_session_are_taken_and_new_credentials_begin_another() {
        let fragment = Fragment::parse(TRICKLE).unwrap();
        assert!(!fragment.restarts("EsAw"));
        assert!(fragment.restarts("Other"));
        let answer = fragment.answer("uuuu", "pppppppppppppppppppppp", &["[::1]:5".parse().unwrap()]);
        assert!(
            answer.contains("a=ice-ufrag:uuuu\r\n") && answer.contains("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n")
        );
        assert!(answer.contains("a=candidate:1 1 udp 2130706431 ::1 5 typ host\r\n"));
        assert!(!Fragment::parse("a=candidate:1 1 tcp 5 a.local 9 typ host\r\n").unwrap().restarts("EsAw"));
    }

    #[test]
    fn broken_fragments_are_named() {
        for bad in ["", "hello", "a=candidate:1 1 udp\n", "a=ice-ufrag:abc\n", "a=ice-pwd:short\n"] {
            assert!(Fragment::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Fragment::parse("x\n").unwrap_err().contains("Line 1"));
        for end in 0..TRICKLE.len() {
            let _ = Fragment::parse(&TRICKLE[..end]);
        }
    }
}

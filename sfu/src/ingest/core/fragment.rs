//! Trickle ICE fragments: `application/trickle-ice-sdpfrag` (RFC 8840) as RFC 9725, 4.3 sends them.

use super::sdp::{ice_text, split_line};

/// Candidates in one fragment. A laptop with many interfaces has about 30.
const MAX_CANDIDATES: usize = 200;

/// A fragment as far as ingest reads it. The candidates are only checked and counted: a lite agent sends no checks of
/// its own, it answers whoever knows the password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fragment {
    /// `a=ice-ufrag` and `a=ice-pwd`, where they are there.
    pub(crate) credentials: Option<(String, String)>,
    /// How many candidates it names.
    pub(crate) candidates: usize,
    /// `a=end-of-candidates`.
    pub(crate) complete: bool,
}

/// Why a text is not a fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FragmentError {
    #[error("it is empty")]
    Empty,
    #[error("line {line}: {what}")]
    Bad { line: usize, what: &'static str },
    #[error("it has an ICE ufrag without a password, or a password without a ufrag")]
    HalfCredentials,
    #[error("it names more than {MAX_CANDIDATES} candidates")]
    TooMany,
}

impl Fragment {
    /// Reads a fragment.
    pub(crate) fn parse(text: &str) -> Result<Self, FragmentError> {
        if text.trim().is_empty() {
            return Err(FragmentError::Empty);
        }
        let mut fragment = Self::default();
        let (mut ufrag, mut pwd) = (None, None);
        for (index, line) in text.lines().enumerate() {
            let bad = |what| FragmentError::Bad { line: index + 1, what };
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                continue;
            }
            let (kind, value) = split_line(line).ok_or_else(|| bad("not of the form letter=value"))?;
            if kind != 'a' {
                continue;
            }
            let (name, value) = value.split_once(':').unwrap_or((value, ""));
            match name {
                "ice-ufrag" => ufrag = Some(ice_text(value, 4).ok_or_else(|| bad("a broken ICE ufrag"))?),
                "ice-pwd" => pwd = Some(ice_text(value, 22).ok_or_else(|| bad("a broken ICE password"))?),
                "candidate" => {
                    if !is_candidate(value) {
                        return Err(bad("a broken candidate"));
                    }
                    fragment.candidates += 1;
                    if fragment.candidates > MAX_CANDIDATES {
                        return Err(FragmentError::TooMany);
                    }
                }
                "end-of-candidates" => fragment.complete = true,
                _ => {}
            }
        }
        fragment.credentials = match (ufrag, pwd) {
            (Some(ufrag), Some(pwd)) => Some((ufrag, pwd)),
            (None, None) => None,
            _ => return Err(FragmentError::HalfCredentials),
        };
        Ok(fragment)
    }
}

/// `foundation component transport priority address port typ type ...` (RFC 8839, 5.1). The address may be a name
/// (`….local`, RFC 8828).
fn is_candidate(value: &str) -> bool {
    let words: Vec<&str> = value.split_ascii_whitespace().take(8).collect();
    let [_, component, _, priority, _, port, typ, _] = words.as_slice() else { return false };
    component.parse::<u16>().is_ok()
        && priority.parse::<u32>().is_ok()
        && port.parse::<u16>().is_ok()
        && *typ == "typ"
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRICKLE: &str = "a=ice-ufrag:EsAw\r
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r
m=audio 9 RTP/AVP 0\r
a=mid:0\r
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r
a=candidate:3 1 udp 2122 f00-ba.local 61764 typ host\r
a=end-of-candidates\r
";

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let fragment = Fragment::parse(TRICKLE).unwrap();
        assert_eq!(fragment.credentials, Some(("EsAw".into(), "P2uYro0UCOQ4zxjKXaWCBui1".into())));
        assert_eq!((fragment.candidates, fragment.complete), (2, true));
    }

    #[test]
    fn broken_fragments_are_told_why() {
        let error = |text: &str| Fragment::parse(text).unwrap_err().to_string();
        assert_eq!(error(""), "it is empty");
        assert_eq!(
            error("a=mid:0\r\na=candidate:1 1 udp x 1.2.3.4 5 typ host\r\n"),
            "line 2: a broken candidate"
        );
        assert!(error("a=ice-ufrag:EsAw\r\n").contains("without a password"));
        assert!(error("nonsense").contains("letter=value"));
        let many = "a=candidate:1 1 udp 1 1.2.3.4 5 typ host\r\n".repeat(300);
        assert_eq!(Fragment::parse(&many), Err(FragmentError::TooMany));
    }
}

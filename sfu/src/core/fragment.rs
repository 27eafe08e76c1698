//! Trickle ICE fragments: `application/trickle-ice-sdpfrag` (RFC 8840) as RFC 9725, 4.3 sends them, and our side of an
//! ICE restart.
//!
//! A lite agent sends no checks, it answers whoever knows the password: candidates are checked, counted and forgotten.

use std::fmt::Write as _;

use super::candidates::{self, Candidate};
use super::sdp::{FORBIDDEN, has_forbidden, ice_text, mid, shorten, split_line};

/// Candidates in one fragment. A laptop with many interfaces has about 30.
const MAX_CANDIDATES: usize = 200;
/// The longest `m=` line that is repeated in an answer.
const MAX_MEDIA: usize = 1_000;

/// A fragment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fragment {
    /// `a=ice-ufrag` and `a=ice-pwd`, where they are there.
    pub(crate) credentials: Option<(String, String)>,
    /// How many candidates it names.
    pub(crate) candidates: usize,
    /// The first section's `m=` value and mid, to be repeated in an answer.
    media: Option<String>,
    mid: Option<String>,
}

/// Why a text is not a fragment: the end of a sentence that begins with "The fragment cannot be used:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FragmentError {
    #[error("it is empty")]
    Empty,
    #[error("line {line}: {what}: {text:?}")]
    Bad { line: usize, what: &'static str, text: String },
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
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            let bad = |what| FragmentError::Bad { line: index + 1, what, text: shorten(line) };
            let (kind, value) = split_line(line).ok_or_else(|| bad("not of the form letter=value"))?;
            if has_forbidden(value) {
                return Err(bad(FORBIDDEN));
            }
            match (kind, value.split_once(':').unwrap_or((value, ""))) {
                ('m', _) if fragment.media.is_none() && value.len() <= MAX_MEDIA => {
                    fragment.media = Some(value.to_owned());
                }
                ('a', ("mid", value)) if fragment.mid.is_none() => {
                    fragment.mid = Some(mid(value).ok_or_else(|| bad("a broken mid"))?);
                }
                ('a', ("ice-ufrag", value)) => {
                    ufrag = Some(ice_text(value, 4).ok_or_else(|| bad("a broken ICE ufrag"))?);
                }
                ('a', ("ice-pwd", value)) => {
                    pwd = Some(ice_text(value, 22).ok_or_else(|| bad("a broken ICE password"))?);
                }
                ('a', ("candidate", value)) => {
                    if !is_candidate(value) {
                        return Err(bad("a broken candidate"));
                    }
                    fragment.candidates += 1;
                    if fragment.candidates > MAX_CANDIDATES {
                        return Err(FragmentError::TooMany);
                    }
                }
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

    /// The ufrag of the ICE session that it begins: one other than the known one.
    pub(crate) fn restarts(&self, known_ufrag: &str) -> Option<&str> {
        self.credentials.as_ref().map(|(ufrag, _)| ufrag.as_str()).filter(|ufrag| *ufrag != known_ufrag)
    }

    /// The answer to a restart: our new credentials, and our candidates again.
    pub(crate) fn answer(&self, ufrag: &str, pwd: &str, candidates: &[Candidate]) -> String {
        let mut out = String::new();
        let media = self.media.as_deref().unwrap_or("audio 9 UDP/TLS/RTP/SAVPF 0");
        let mid = self.mid.as_deref().unwrap_or("0");
        let _ = write!(out, "a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        let _ = write!(out, "m={media}\r\na=mid:{mid}\r\n");
        for line in candidates::lines(candidates) {
            let _ = write!(out, "{line}\r\n");
        }
        out
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
    use super::super::candidates::tests::{tcp, udp};
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
        assert_eq!(fragment.candidates, 2);
    }

    #[test]
    fn candidates_of_the_known_session_are_taken_and_new_credentials_begin_another() {
        let fragment = Fragment::parse(TRICKLE).unwrap();
        assert_eq!(fragment.restarts("EsAw"), None);
        assert_eq!(fragment.restarts("Other"), Some("EsAw"));
        let answer = fragment.answer("uuuu", "pppppppppppppppppppppp", &[udp("[::1]:5"), tcp("[::1]:6")]);
        assert!(
            answer.contains("a=ice-ufrag:uuuu\r\n") && answer.contains("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n")
        );
        assert!(answer.contains("a=candidate:1 1 udp 2130706431 ::1 5 typ host\r\na=candidate:2 1 tcp "));
        let bare = Fragment::parse("a=candidate:1 1 tcp 5 a.local 9 typ host\r\n").unwrap();
        assert_eq!(bare.restarts("EsAw"), None);
    }

    #[test]
    fn broken_fragments_are_told_why() {
        let error = |text: &str| Fragment::parse(text).unwrap_err().to_string();
        assert_eq!(error(""), "it is empty");
        assert_eq!(
            error("a=mid:0\r\na=candidate:1 1 udp x 1.2.3.4 5 typ host\r\n"),
            "line 2: a broken candidate: \"a=candidate:1 1 udp x 1.2.3.4 5 typ host\""
        );
        assert_eq!(error("a=candidate:1 1 udp\n"), "line 1: a broken candidate: \"a=candidate:1 1 udp\"");
        assert_eq!(error("a=ice-ufrag:abc\n"), "line 1: a broken ICE ufrag: \"a=ice-ufrag:abc\"");
        assert_eq!(error("a=ice-pwd:short\n"), "line 1: a broken ICE password: \"a=ice-pwd:short\"");
        assert_eq!(
            error("m=audio 9 RTP/AVP 0\ra=mid:1\r\n"),
            "line 1: a NUL or a carriage return: \"m=audio 9 RTP/AVP 0\\ra=mid:1\""
        );
        assert!(error("a=ice-ufrag:EsAw\r\n").contains("without a password"));
        assert_eq!(error("nonsense"), "line 1: not of the form letter=value: \"nonsense\"");
        let many = "a=candidate:1 1 udp 1 1.2.3.4 5 typ host\r\n".repeat(300);
        assert_eq!(Fragment::parse(&many), Err(FragmentError::TooMany));
        for end in 0..TRICKLE.len() {
            let _ = Fragment::parse(&TRICKLE[..end]);
        }
    }
}

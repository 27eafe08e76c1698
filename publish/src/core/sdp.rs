//! The few things to know about an SDP answer that the WebRTC library does not say.

/// Whether an answer takes the offered media of `kind` (`video`, `audio`): its m-line is there, has a port other than
/// 0 (RFC 3264, 6) and receives.
#[must_use]
pub fn takes(answer: &str, kind: &str) -> bool {
    let mut session = None;
    let mut first_media = true;
    let mut media: Option<(bool, Option<&str>)> = None;
    for line in answer.lines().map(str::trim_end) {
        if let Some(description) = line.strip_prefix("m=") {
            if media.is_some() {
                break;
            }
            first_media = false;
            let mut words = description.split(' ');
            if words.next() == Some(kind) {
                media = Some((words.next().is_some_and(|port| port != "0"), None));
            }
        } else if let Some(direction @ ("sendrecv" | "sendonly" | "recvonly" | "inactive")) =
            line.strip_prefix("a=")
        {
            if let Some((_, own)) = &mut media {
                *own = Some(direction);
            } else if first_media {
                session = Some(direction);
            }
        }
    }
    media.is_some_and(|(open, own)| open && !matches!(own.or(session), Some("inactive" | "sendonly")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_or_silent_media_line_is_seen() {
        let answer = "v=0\r\nt=0 0\r\nm=audio 9 X 111\r\na=recvonly\r\nm=video 0 X 96\r\na=inactive\r\n";
        assert!(takes(answer, "audio"));
        assert!(!takes(answer, "video"));
        assert!(!takes("v=0\r\nm=audio 9 X 111\r\n", "video"), "left out");
        assert!(takes("v=0\r\nm=video 9 X 96\r\n", "video"), "no direction is sendrecv");
        assert!(!takes("v=0\r\nm=video 9 X 96\r\na=inactive\r\nm=audio 9 X 1\r\na=recvonly", "video"));
        assert!(!takes("v=0\r\na=inactive\r\nm=video 9 X 96\r\n", "video"), "said for the whole session");
    }
}

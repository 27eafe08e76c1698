//! When the publisher is asked for a keyframe.

use std::time::{Duration, Instant};

/// Coalesces everybody's wish for a keyframe into few requests, and knows how well they are answered.
#[derive(Debug, Default)]
pub(super) struct KeyframeRequester {
    wanted: bool,
    last_sent: Option<Instant>,
    /// Requests sent since the last keyframe.
    unanswered: u32,
    /// How long the publisher takes to answer, smoothed.
    response: Option<Duration>,
}

/// libwebrtc ignores a request within 300 ms of the one before (`EncoderRtcpFeedback`).
const SPACING: Duration = Duration::from_millis(300);
/// A request that was not answered by then is repeated.
const RETRY: Duration = Duration::from_millis(500);
/// A publisher that ignored two requests is asked this seldom; one that has answered before, after it ignored so many.
const DEAF_RETRY: Duration = Duration::from_secs(2);
const PATIENCE: u32 = 12;
/// What is assumed before the first answer.
const FIRST_GUESS: Duration = Duration::from_millis(100);

impl KeyframeRequester {
    /// Somebody needs a keyframe.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Nobody can be helped by asking on: the publisher is deaf.
    pub(super) fn give_up(&mut self) {
        self.wanted = false;
    }

    /// A keyframe has begun to arrive. True when it can be the answer to a request.
    pub(super) fn handle_keyframe(&mut self, now: Instant) -> bool {
        let asked = self.last_sent.filter(|_| self.unanswered > 0);
        let took = asked.map(|sent| now.saturating_duration_since(sent)).filter(|took| *took <= RETRY);
        if let Some(took) = took {
            self.response = Some(self.response.map_or(took, |before| (before * 3 + took) / 4));
        }
        self.wanted = false;
        self.unanswered = 0;
        took.is_some()
    }

    /// Whether a request goes out now.
    pub(super) fn poll(&mut self, now: Instant) -> bool {
        let due = self.wanted && self.poll_timeout().is_none_or(|at| at <= now);
        if due {
            self.last_sent = Some(now);
            self.unanswered = self.unanswered.saturating_add(1);
        }
        due
    }

    /// When [`Self::poll`] may next say yes; none when nothing is wanted or it would say yes at once.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let spacing = match self.unanswered {
            0 => SPACING,
            1 => RETRY,
            2..PATIENCE if self.response.is_some() => RETRY,
            _ => DEAF_RETRY,
        };
        self.last_sent.filter(|_| self.wanted).map(|sent| sent + spacing)
    }

    /// How long an answer takes.
    pub(super) fn response(&self) -> Duration {
        self.response.unwrap_or(FIRST_GUESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn many_wishes_are_one_request_until_the_keyframe_comes() {
        let start = crate::feed::owner::tests::start();
        let mut requests = KeyframeRequester::default();
        assert!(!requests.poll(start));
        requests.want();
        requests.want();
        assert!(requests.poll(start));
        requests.want();
        assert!(!requests.poll(start + 10 * MS));
        requests.handle_keyframe(start + 80 * MS);
        assert_eq!(requests.response(), 80 * MS);
        assert!(!requests.poll(start + 900 * MS), "answered");
        requests.want();
        assert!(requests.poll(start + 900 * MS));
    }

    #[test]
    fn requests_closer_than_the_publisher_listens_are_held_back() {
        let start = crate::feed::owner::tests::start();
        let mut requests = KeyframeRequester::default();
        requests.want();
        assert!(requests.poll(start));
        requests.handle_keyframe(start + 50 * MS);
        requests.want();
        assert!(!requests.poll(start + 100 * MS));
        assert_eq!(requests.poll_timeout(), Some(start + 300 * MS));
        assert!(requests.poll(start + 300 * MS));
    }

    #[test]
    fn a_publisher_that_answers_is_asked_again_soon_because_the_request_may_be_lost() {
        let start = crate::feed::owner::tests::start();
        let mut requests = KeyframeRequester::default();
        requests.want();
        assert!(requests.poll(start));
        requests.handle_keyframe(start + 50 * MS);
        requests.want();
        let sent: Vec<u32> = (1_000..10_000).filter(|ms| requests.poll(start + *ms * MS)).collect();
        let soon = (0..12).map(|n| 1_000 + n * 500);
        assert_eq!(sent, soon.chain([8_500]).collect::<Vec<_>>());
    }

    #[test]
    fn a_deaf_publisher_is_asked_seldom() {
        let start = crate::feed::owner::tests::start();
        let mut requests = KeyframeRequester::default();
        requests.want();
        let sent = (0..10_000).filter(|ms| requests.poll(start + *ms * MS)).count();
        assert_eq!(sent, 6, "at 0, 0.5, 2.5, 4.5, 6.5 and 8.5 s");
    }
}

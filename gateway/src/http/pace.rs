//! Times each answer by what its client takes of it.
//!
//! Over HTTP/2 a client can take nothing while its connection never stalls: it gives a stream no window, answers pings, and holds the
//! memory that the answer stands in. Over HTTP/1.1 it can take a byte now and then.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bicast_shared::clock;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;

/// Bytes of an answer that are handed on at a time. An answer moves when the client has made room for the next ones.
const CHUNK: usize = 16 * 1024;

/// What a connection's client is doing.
#[derive(Debug, Default)]
pub(super) struct Pace {
    answers: Mutex<Answers>,
    /// Something came from the client since something was last sent to it.
    asking: AtomicBool,
}

/// Answers that wait for their client to take more, each since when.
#[derive(Debug, Default)]
struct Answers {
    waiting: HashMap<u64, Instant>,
    next: u64,
}

impl Pace {
    pub(super) fn heard(&self) {
        self.asking.store(true, Ordering::Relaxed);
    }

    pub(super) fn sent(&self) {
        self.asking.store(false, Ordering::Relaxed);
    }

    /// Whether the client has begun to say something that was not answered yet.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Relaxed)
    }

    /// Whether there is an answer of which the client has taken nothing for this long.
    pub(super) fn is_stalled(&self, now: Instant, after: Duration) -> bool {
        self.answers.lock().waiting.values().any(|&since| now.saturating_duration_since(since) >= after)
    }
}

/// The body of an answer whose client is held to the pace.
pub(super) struct Paced {
    body: Body,
    /// What was read of the body and not handed on.
    rest: Bytes,
    empty: bool,
    id: u64,
    pace: Arc<Pace>,
}

impl Paced {
    /// The client has to take something of `body` from now on.
    pub(super) fn new(body: Body, pace: &Arc<Pace>) -> Self {
        let empty = body.is_end_stream();
        let mut answers = pace.answers.lock();
        let id = answers.next;
        answers.next += 1;
        if !empty {
            answers.waiting.insert(id, clock::now());
        }
        drop(answers);
        Self { body, rest: Bytes::new(), empty, id, pace: pace.clone() }
    }

    /// The next bytes; the client is to take them from now on.
    fn hand_on(&mut self) -> Frame<Bytes> {
        self.pace.answers.lock().waiting.insert(self.id, clock::now());
        Frame::data(self.rest.split_to(self.rest.len().min(CHUNK)))
    }

    /// Nothing is there that the client could take.
    fn pause(&self) {
        self.pace.answers.lock().waiting.remove(&self.id);
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    /// Asked for only when the client has room for more.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            self.pause();
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        Poll::Ready(Some(Ok(self.hand_on())))
    }

    /// Never known before the last bytes have found room: HTTP/2 would keep them, and the body would be gone that tells of it.
    fn is_end_stream(&self) -> bool {
        self.empty
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.pause();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn later() -> Instant {
        clock::now() + LONG
    }

    #[tokio::test]
    async fn an_answer_is_whole_and_waits_for_its_client_until_it_has_found_room() {
        let pace = Arc::<Pace>::default();
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut body = Paced::new(Body::from(bytes.clone()), &pace);
        assert_eq!(body.size_hint().exact(), Some(40_000));
        assert!(pace.is_stalled(later(), LONG) && !pace.is_stalled(clock::now(), LONG));
        let mut got = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= CHUNK);
            got.extend_from_slice(&data);
            assert!(pace.is_stalled(later(), LONG), "its last bytes may have found no room");
        }
        assert_eq!(got, bytes);
        assert!(!pace.is_stalled(later(), LONG));
    }

    #[tokio::test]
    async fn who_hangs_up_is_waited_for_no_longer() {
        let pace = Arc::<Pace>::default();
        drop(Paced::new(Body::from("a"), &pace));
        assert!(!pace.is_stalled(later(), LONG));
    }

    #[tokio::test]
    async fn an_answer_that_has_nothing_to_give_does_not_wait_for_its_client() {
        let pace = Arc::<Pace>::default();
        let empty = Paced::new(Body::empty(), &pace);
        assert!(empty.is_end_stream() && !pace.is_stalled(later(), LONG));
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let later_on = http_body_util::Full::from("a").with_trailers(async move {
            let _ = receiver.await;
            None
        });
        let mut slow = Paced::new(Body::new(later_on), &pace);
        slow.frame().await.unwrap().unwrap();
        let next = tokio::time::timeout(Duration::from_millis(1), slow.frame()).await;
        assert!(next.is_err() && !pace.is_stalled(later(), LONG), "the server keeps it waiting");
        drop(sender);
    }
}

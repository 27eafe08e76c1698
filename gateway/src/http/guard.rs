//! Drops connections that stall: a client that takes nothing of its answer, or opens a connection and says nothing.
//!
//! hyper's own header timeout begins when it knows the HTTP version, for which it waits as long as it takes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::pace::Pace;

/// The length of HTTP/2's preface: by then the version is known.
const PREFACE: usize = 24;

/// A connection whose client is held to the pace.
pub(super) struct Guarded<S> {
    stream: S,
    /// Runs until the version is known.
    opening: Option<Pin<Box<Sleep>>>,
    received: usize,
    /// Runs while the client takes nothing.
    stall: Pin<Box<Sleep>>,
    stalled: bool,
    stall_after: Duration,
    pace: Arc<Pace>,
}

impl<S> Guarded<S> {
    /// Gives the client `open_within` for its first bytes, and `stall_after` each time it takes nothing.
    pub(super) fn new(stream: S, open_within: Duration, stall_after: Duration, pace: Arc<Pace>) -> Self {
        Self {
            stream,
            opening: Some(Box::pin(tokio::time::sleep(open_within))),
            received: 0,
            stall: Box::pin(tokio::time::sleep(stall_after)),
            stalled: false,
            stall_after,
            pace,
        }
    }

    /// Watches the outcome of a write: times it from when the client first took nothing.
    fn watch<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = false;
            return outcome;
        }
        if !self.stalled {
            self.stalled = true;
            let deadline = Instant::now() + self.stall_after;
            self.stall.as_mut().reset(deadline);
        }
        match self.stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(dropped("stalled"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Counts a connection that is ended because of its client.
pub(super) fn count_dropped(reason: &'static str) {
    metrics::counter!("bicast_http_connections_dropped_total", "reason" => reason).increment(1);
}

/// The error that ends a connection, counted.
pub(super) fn dropped(reason: &'static str) -> io::Error {
    count_dropped(reason);
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pace.heard();
        }
        if let Some(opening) = &mut self.opening {
            let received = buffer.filled().len() - before;
            if outcome.is_pending() && opening.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(dropped("silent")));
            }
            self.received += received;
            if self.received >= PREFACE {
                self.opening = None;
            }
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, data);
        self.pace.sent();
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.pace.sent();
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const OPEN: Duration = Duration::from_millis(100);
    const STALL: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn who_says_nothing_is_dropped() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Guarded::new(server, OPEN, STALL, Arc::default());
        client.write_all(b"PRI * HTTP").await.unwrap();
        let began = Instant::now();
        let mut text = Vec::new();
        let error = server.read_to_end(&mut text).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= OPEN / 2);
        assert_eq!(text, b"PRI * HTTP");
    }

    #[tokio::test]
    async fn who_has_opened_may_be_silent() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Guarded::new(server, OPEN, STALL, Arc::default());
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut buffer = [0; 64];
        let _ = server.read(&mut buffer).await.unwrap();
        let silent = tokio::time::timeout(OPEN * 4, server.read(&mut buffer)).await;
        assert!(silent.is_err(), "hyper's own timeouts begin here");
    }

    #[tokio::test]
    async fn who_takes_nothing_is_dropped_and_who_takes_slowly_is_not() {
        let (mut client, server) = tokio::io::duplex(4);
        let mut server = Guarded::new(server, OPEN, STALL, Arc::default());
        let reader = tokio::spawn(async move {
            let mut taken = [0; 1];
            for _ in 0..8 {
                tokio::time::sleep(STALL / 6).await;
                client.read_exact(&mut taken).await.unwrap();
            }
            client
        });
        let began = Instant::now();
        server.write_all(&[0; 12]).await.unwrap();
        assert!(began.elapsed() > STALL, "slower than a stall, but never still for so long");
        let _client = reader.await.unwrap();
        let began = Instant::now();
        let error = server.write_all(&[0; 12]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= STALL - Duration::from_millis(5));
    }
}

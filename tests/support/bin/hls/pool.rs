//! Many HTTP/1.1 connections of one thread, each with one request under way: as little as a client can do for an answer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Where a head ends.
const END: &[u8] = b"\r\n\r\n";
/// No head is longer.
const LARGEST_HEAD: usize = 16 << 10;
const BUFFER: usize = 256 << 10;

pub(crate) struct Pool {
    poll: Poll,
    events: Events,
    links: Vec<Link>,
    buffer: Vec<u8>,
}

struct Link {
    stream: TcpStream,
    /// What has come of a head.
    head: Vec<u8>,
    status: u16,
    /// Bytes of the body that are still to come; none between answers.
    left: Option<usize>,
    body: usize,
}

/// An answer whose last byte has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Bytes of its body.
    pub(crate) bytes: usize,
}

impl Pool {
    pub(crate) fn connect(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let mut pool = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(count.max(16)),
            links: Vec::with_capacity(count),
            buffer: vec![0; BUFFER],
        };
        for n in 0..count {
            // Connected in turn, so that no backlog overflows.
            let stream = std::net::TcpStream::connect(address).context("cannot connect")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            pool.poll.registry().register(&mut stream, Token(n), Interest::READABLE)?;
            pool.links.push(Link { stream, head: Vec::new(), status: 0, left: None, body: 0 });
        }
        Ok(pool)
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Sends a request on a connection that waits for none.
    pub(crate) fn ask(&mut self, link: usize, request: &[u8]) -> anyhow::Result<()> {
        let link = self.links.get_mut(link).context("no such connection")?;
        // Some hundred bytes into an empty buffer: they fit.
        link.stream.write_all(request).context("a request does not go out")
    }

    /// Sends it on all of them.
    pub(crate) fn ask_all(&mut self, request: &[u8]) -> anyhow::Result<()> {
        (0..self.links.len()).try_for_each(|link| self.ask(link, request))
    }

    /// Waits for something to come, and tells of each answer that is complete. What it returns is asked next on that connection.
    pub(crate) fn turn<'r>(
        &mut self,
        timeout: Duration,
        mut done: impl FnMut(usize, Answer) -> anyhow::Result<Option<&'r [u8]>>,
    ) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let number = event.token().0;
            let Some(link) = self.links.get_mut(number) else { continue };
            loop {
                let count = match link.stream.read(&mut self.buffer) {
                    Ok(0) => anyhow::bail!("the server closed a connection"),
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                };
                let complete = link.take(self.buffer.get(..count).unwrap_or_default())?;
                if let Some(answer) = complete
                    && let Some(next) = done(number, answer)?
                {
                    link.stream.write_all(next).context("a request does not go out")?;
                }
                // A short read leaves nothing behind; what comes later makes an event of its own.
                if count < BUFFER {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Link {
    /// Takes bytes; an answer when they are its last.
    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<Option<Answer>> {
        let body = match self.left {
            Some(_) => bytes,
            None => {
                let before = self.head.len();
                self.head.extend_from_slice(bytes);
                let from = before.saturating_sub(END.len() - 1);
                let end =
                    self.head.get(from..).and_then(|new| find(new, END)).map(|at| from + at + END.len());
                let Some(end) = end else {
                    anyhow::ensure!(self.head.len() < LARGEST_HEAD, "no end of a head");
                    return Ok(None);
                };
                let (status, length) = head(self.head.get(..end).unwrap_or_default())?;
                (self.status, self.body, self.left) = (status, length, Some(length));
                self.head.clear();
                bytes.get(end - before..).unwrap_or_default()
            }
        };
        let left = self.left.unwrap_or(0).checked_sub(body.len()).context("more came than was asked for")?;
        if left > 0 {
            self.left = Some(left);
            return Ok(None);
        }
        self.left = None;
        Ok(Some(Answer { status: self.status, bytes: self.body }))
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Status and length of the body.
fn head(text: &[u8]) -> anyhow::Result<(u16, usize)> {
    const NAME: &[u8] = b"content-length:";
    let text = std::str::from_utf8(text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let lengths = text
        .lines()
        .filter(|line| line.as_bytes().get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)));
    let length = lengths.filter_map(|line| line.get(NAME.len()..)?.trim().parse().ok()).next();
    Ok((status, length.with_context(|| format!("an answer without a length: {text}"))?))
}

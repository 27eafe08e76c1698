//! A connection's bytes, read and written as far as they go without waiting.

use std::io;

use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

use crate::core::frames::Deframer;
use crate::core::outbox::Outbox;

/// Bytes read at once.
const READ: usize = 4 << 10;
/// Reads before others have their turn.
const READS: usize = 16;

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The connection is closed or broken.
    Closed,
    /// What it sent is no frame of ours.
    BadFrame,
}

/// A connection that frames come from.
pub(crate) struct Stream {
    io: TcpStream,
    deframer: Deframer,
    buffer: Box<[u8]>,
}

impl Stream {
    pub(crate) fn new(io: TcpStream) -> Self {
        Self::from_parts(io, Deframer::default())
    }

    /// A connection of which the beginning of a frame was read already.
    pub(crate) fn from_parts(io: TcpStream, deframer: Deframer) -> Self {
        Self { io, deframer, buffer: vec![0; READ].into() }
    }

    pub(crate) fn into_parts(self) -> (TcpStream, Deframer) {
        (self.io, self.deframer)
    }

    /// Waits until there is something to read, or where `write` asks for it, until something can be written. A broken
    /// connection is ready: reading says what is wrong.
    pub(crate) async fn ready(&self, write: bool) -> Ready {
        let interest = if write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.io.ready(interest).await.unwrap_or(Ready::ALL)
    }

    /// Gives the frames that have come to `each`. It may leave some for the next time.
    pub(crate) fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), Ended> {
        for _ in 0..READS {
            match self.io.try_read(&mut self.buffer) {
                Ok(0) => return Err(Ended::Closed),
                Ok(count) => {
                    let came = self.buffer.get(..count).unwrap_or_default();
                    self.deframer.push(came, &mut each).map_err(|_| Ended::BadFrame)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Ended::Closed),
            }
        }
        Ok(())
    }

    /// Writes what the connection takes now.
    pub(crate) fn write(&self, outbox: &mut Outbox) -> Result<(), Ended> {
        while !outbox.is_empty() {
            match self.io.try_write(outbox.next()) {
                Ok(count) => outbox.written(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Ended::Closed),
            }
        }
        Ok(())
    }
}

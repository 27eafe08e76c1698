//! A publisher's TCP connection: a task between its socket and the session's queue.

use bicast_shared::clock;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::stream::Stream;
use super::{Arrival, Place};
use crate::core::outbox::Outbox;
use crate::port::{Datagram, Port, Via};

/// Frames of the session that wait for this task: RTCP, STUN and DTLS, some dozen a second.
const QUEUE: usize = 64;

/// Serves the connection until it breaks, the session closes it ([`Port::disconnect`]), or the session ends.
pub(super) async fn serve(port: Port, session: mpsc::Sender<Datagram>, stream: TcpStream, arrival: Arrival) {
    let Arrival { id, local, remote, frames, deframer, place } = arrival;
    let (queue, out) = mpsc::channel(QUEUE);
    port.connect(id, queue);
    let connection = Connection {
        stream: Stream::from_parts(stream, deframer),
        out,
        outbox: Outbox::default(),
        session,
        datagram: move |bytes| Datagram { via: Via::Tcp(id), local, remote, received: clock::now(), bytes },
        _place: place,
    };
    connection.run(frames).await;
    port.disconnect(id);
    tracing::debug!(%remote, ?id, "a publisher's TCP connection has ended");
}

struct Connection<F> {
    stream: Stream,
    out: mpsc::Receiver<Bytes>,
    outbox: Outbox,
    session: mpsc::Sender<Datagram>,
    datagram: F,
    _place: Place,
}

impl<F: Fn(Bytes) -> Datagram> Connection<F> {
    async fn run(mut self, frames: Vec<Bytes>) {
        self.serve(frames).await;
        // The session's goodbye may stand in the queue.
        while let Ok(frame) = self.out.try_recv() {
            self.take(&frame);
        }
        let _ = self.stream.write(&mut self.outbox);
    }

    async fn serve(&mut self, frames: Vec<Bytes>) {
        if !self.deliver(frames).await {
            return;
        }
        loop {
            let wants_to_write = !self.outbox.is_empty();
            tokio::select! {
                ready = self.stream.ready(wants_to_write) => {
                    let mut frames = Vec::new();
                    let read = match ready.is_readable() || ready.is_read_closed() {
                        true => self.stream.read(|frame| frames.push(Bytes::copy_from_slice(frame))),
                        false => Ok(()),
                    };
                    if !self.deliver(frames).await || read.is_err() {
                        return;
                    }
                }
                frame = self.out.recv() => match frame {
                    Some(frame) => self.take(&frame),
                    // The session has closed the connection.
                    None => return,
                },
                () = self.session.closed() => return,
            }
            if self.stream.write(&mut self.outbox).is_err() {
                return;
            }
        }
    }

    /// Waits for room in the session's queue: the publisher then waits, too, where over UDP packets would be lost. False
    /// when the session has ended.
    async fn deliver(&self, frames: Vec<Bytes>) -> bool {
        for frame in frames {
            if self.session.send((self.datagram)(frame)).await.is_err() {
                return false;
            }
        }
        true
    }

    fn take(&mut self, frame: &[u8]) {
        if !self.outbox.push(frame) {
            metrics::counter!("bicast_tcp_dropped_frames_total").increment(1);
        }
    }
}

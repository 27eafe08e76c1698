//! Viewers over TCP: their connections belong to the worker as everything of theirs does. One task each moves bytes
//! between the socket and the worker's state; nothing of it waits while it holds the state.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bicast_shared::clock;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;

use super::Worker;
use super::path::Wire;
use super::run::Hub;
use crate::core::demux::Ignored;
use crate::core::stun::BindingRequest;
use crate::port::{ConnectionId, Datagram, Via};
use crate::tcp::stream::Stream;
use crate::tcp::{Accepted, Arrival, Place, Refused};

/// What became of a task's visit to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Everything.
    All,
    /// The connection takes no more for the moment.
    Some,
    /// It is over.
    Over,
}

impl Worker {
    /// Takes a connection in if its check is authentic. Gives the bell of its task.
    pub(super) fn connected_by_tcp(
        &mut self,
        now: Instant,
        arrival: &Arrival,
    ) -> Result<Arc<Notify>, Refused> {
        let check = arrival.frames.first().ok_or(Refused::BadFrame)?;
        let request = BindingRequest::parse(check).ok_or(Refused::NotACheck)?;
        let slot = *self.by_ufrag.get(request.local_ufrag()).ok_or(Refused::UnknownUfrag)?;
        let bell = self.links.insert(arrival.id, slot, arrival.local, arrival.remote);
        if self.receive_frame(now, arrival.id, check.clone()).is_err() {
            self.links.remove(arrival.id);
            return Err(Refused::NotAuthentic);
        }
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else {
            self.links.remove(arrival.id);
            return Err(Refused::UnknownUfrag);
        };
        let in_use = viewer.path.and_then(|path| match path.wire {
            Wire::Tcp(id) => Some(id),
            Wire::Udp { .. } => None,
        });
        if let Some(oldest) = viewer.connections.add(arrival.id, in_use) {
            self.links.close(oldest);
        }
        Ok(bell)
    }

    /// Takes a frame that came over a connection.
    pub(super) fn receive_frame(
        &mut self,
        now: Instant,
        id: ConnectionId,
        bytes: Bytes,
    ) -> Result<(), Ignored> {
        let link = self.links.get(id).filter(|link| !link.closing).ok_or(Ignored::OwnerGone)?;
        let (local, remote) = (link.local, link.remote);
        let datagram = Datagram { via: Via::Tcp(id), local, remote, received: now, bytes };
        self.handle(now, &datagram)
    }

    /// Writes what the connection takes, and goes on with its viewer where that waited for it.
    fn write_link(&mut self, now: Instant, id: ConnectionId, stream: &Stream) -> Written {
        let Some(link) = self.links.get_mut(id) else { return Written::Over };
        // What does not go out at once is not waited for once the viewer is gone.
        if stream.write(&mut link.outbox).is_err() || link.closing {
            return Written::Over;
        }
        self.drained(now, id);
        match self.links.get(id) {
            Some(link) if !link.outbox.is_empty() => Written::Some,
            _ => Written::All,
        }
    }

    /// Goes on with a viewer that waits for this connection, if enough was written.
    pub(super) fn drained(&mut self, now: Instant, id: ConnectionId) {
        let Some(link) = self.links.get(id).filter(|link| link.outbox.has_drained()) else { return };
        let slot = link.slot;
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return };
        if !viewer.is_blocked() || viewer.path.is_none_or(|path| path.wire != Wire::Tcp(id)) {
            return;
        }
        let feed = self.feeds.get(&viewer.feed);
        let wanted = viewer.unblock(now, |key| feed.and_then(|feed| feed.history(key)));
        if let (Some(key), Some(feed)) = (wanted, feed) {
            feed.request_keyframe(key);
        }
        self.catch_up(now, slot);
    }

    fn refuse(&self, reason: Refused, remote: SocketAddr) {
        self.shared.port.refuse(reason, remote);
    }

    /// A connection is over. Its viewer lives on until its consent expires, and may come back by another pair.
    pub(super) fn disconnected(&mut self, now: Instant, id: ConnectionId) {
        let Some(link) = self.links.remove(id) else { return };
        let Some(viewer) = self.viewers.get_mut(link.slot).and_then(Option::as_mut) else { return };
        if !viewer.connections.contains(id) {
            return;
        }
        viewer.connections.remove(id);
        if viewer.path.is_some_and(|path| path.wire == Wire::Tcp(id)) {
            let feed = self.feeds.get(&viewer.feed);
            viewer.lose_path(now, |key| feed.and_then(|feed| feed.history(key)));
            self.behind.remove(&link.slot);
            metrics::counter!("bicast_viewer_tcp_breaks_total").increment(1);
            tracing::debug!(session = %viewer.id, remote = %link.remote, "the viewer's TCP connection broke");
        }
    }
}

/// Takes connections of the worker's viewers.
pub(super) async fn connections(hub: Hub, mut accepted: mpsc::Receiver<Accepted>) {
    while let Some(Accepted { arrival, stream }) = accepted.recv().await {
        let remote = arrival.remote;
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let taken = hub.worker.borrow_mut().connected_by_tcp(clock::now(), &arrival);
        match taken {
            Ok(bell) => {
                let Arrival { id, frames, deframer, place, .. } = arrival;
                let stream = Stream::from_parts(stream, deframer);
                let connection = Connection { hub: hub.clone(), id, stream, bell, _place: place };
                spawn_local(connection.run(frames));
            }
            Err(reason) => hub.worker.borrow().refuse(reason, remote),
        }
        hub.changed.notify_one();
    }
}

struct Connection {
    hub: Hub,
    id: ConnectionId,
    stream: Stream,
    bell: Arc<Notify>,
    _place: Place,
}

impl Connection {
    async fn run(mut self, frames: Vec<Bytes>) {
        // The check itself is answered already.
        for frame in frames.into_iter().skip(1) {
            receive(&self.hub, self.id, &frame);
        }
        let mut wants_to_write = true;
        loop {
            let readable = tokio::select! {
                ready = self.stream.ready(wants_to_write) => ready.is_readable() || ready.is_read_closed(),
                () = self.bell.notified() => false,
            };
            let mut read = Ok(());
            if readable {
                let Self { hub, id, stream, .. } = &mut self;
                read = stream.read(|frame| receive(hub, *id, frame));
            }
            let written = self.hub.worker.borrow_mut().write_link(clock::now(), self.id, &self.stream);
            if readable {
                self.hub.changed.notify_one();
            }
            if read.is_err() || written == Written::Over {
                break;
            }
            wants_to_write = written == Written::Some;
            // A flood must not starve the fan-out.
            tokio::task::yield_now().await;
        }
        self.hub.worker.borrow_mut().disconnected(clock::now(), self.id);
        self.hub.changed.notify_one();
    }
}

fn receive(hub: &Hub, id: ConnectionId, frame: &[u8]) {
    let mut worker = hub.worker.borrow_mut();
    // RTP is nothing that a viewer sends; the rest is small and rare.
    if let Err(reason) = worker.receive_frame(clock::now(), id, Bytes::copy_from_slice(frame)) {
        worker.ignore(Via::Tcp(id), reason);
    }
}

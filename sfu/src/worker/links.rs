//! A worker's TCP connections as far as the worker knows them: whose they are and what waits to be written. The sockets
//! are with the tasks ([`super::tcp`]).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::batch::{Batch, Sent};
use crate::core::outbox::Outbox;
use crate::port::ConnectionId;

/// A connection.
pub(crate) struct Link {
    /// Whose it is.
    pub(crate) slot: usize,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) outbox: Outbox,
    /// Nothing more is added: when everything is written it ends.
    pub(crate) closing: bool,
    /// Rung when there is something for the task to do.
    bell: Arc<Notify>,
}

/// All connections of a worker.
#[derive(Default)]
pub(crate) struct Links(HashMap<ConnectionId, Link>);

impl Links {
    /// Takes a connection in. Gives the bell that its task has to listen to.
    pub(crate) fn insert(
        &mut self,
        id: ConnectionId,
        slot: usize,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        let link =
            Link { slot, local, remote, outbox: Outbox::default(), closing: false, bell: bell.clone() };
        self.0.insert(id, link);
        bell
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Link> {
        self.0.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Link> {
        self.0.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Link> {
        self.0.remove(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are not about to end.
    #[cfg(test)]
    pub(crate) fn open_count(&self) -> usize {
        self.0.values().filter(|link| !link.closing).count()
    }

    /// How many bytes a connection takes below `limit`; none when it is no more.
    pub(crate) fn room(&self, id: ConnectionId, limit: usize) -> usize {
        self.open(id).map_or(0, |link| link.outbox.room(limit))
    }

    /// Adds a frame. False when it is lost.
    pub(crate) fn send(&mut self, id: ConnectionId, frame: &[u8]) -> bool {
        let Some(link) = self.0.get_mut(&id).filter(|link| !link.closing) else { return false };
        let added = link.outbox.push(frame);
        link.bell.notify_one();
        added
    }

    /// Adds what a batch holds and leaves the batch empty.
    pub(crate) fn send_batch(&mut self, id: ConnectionId, batch: &mut Batch) -> Sent {
        let mut link = self.0.get_mut(&id).filter(|link| !link.closing);
        let sent = batch.pour(|frame| link.as_mut().is_some_and(|link| link.outbox.push(frame)));
        if let Some(link) = link {
            link.bell.notify_one();
        }
        sent
    }

    /// Ends a connection once everything is written.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(link) = self.0.get_mut(&id) {
            link.closing = true;
            link.bell.notify_one();
        }
    }

    fn open(&self, id: ConnectionId) -> Option<&Link> {
        self.0.get(&id).filter(|link| !link.closing)
    }
}

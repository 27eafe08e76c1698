//! Where a viewer is reached, and what takes its packets there.

use std::net::SocketAddr;

use bicast_shared::media::TrackKind;

use super::batch::{Batch, Sent};
use super::links::Links;
use crate::core::outbox;
use crate::port::ConnectionId;
use crate::socket::Socket;

/// What a packet has around its payload over TCP, at most: RTP header, extensions, original sequence number, tag, length.
const OVERHEAD: usize = 64;

/// What carries datagrams to a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Which UDP socket of the worker.
    Udp { socket: usize },
    /// A TCP connection.
    Tcp(ConnectionId),
}

impl Wire {
    pub(crate) const fn is_udp(self) -> bool {
        matches!(self, Self::Udp { .. })
    }
}

/// Where a viewer is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) wire: Wire,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) nominated: bool,
}

impl Path {
    /// Whether it takes the place of `old` after an authentic check. The newest choice of the viewer wins; before there is
    /// one, its handshake (`established` says when that is over) goes where the last check came from, but not from UDP to
    /// TCP: browsers check both at once, and the handshake of those that then choose UDP would repeat itself.
    pub(crate) fn replaces(&self, old: Option<&Self>, established: bool) -> bool {
        let Some(old) = old else { return true };
        let as_good = self.wire.is_udp() || !old.wire.is_udp();
        self.nominated || !old.nominated && !established && as_good
    }
}

/// What a viewer needs to send.
pub(crate) struct Output<'a> {
    pub(crate) sockets: &'a [Socket],
    pub(crate) links: &'a mut Links,
    pub(crate) batch: &'a mut Batch,
}

impl Output<'_> {
    /// Sends what the batch holds and leaves it empty.
    pub(crate) fn send(&mut self, path: &Path) -> Sent {
        match path.wire {
            Wire::Udp { socket } => match self.sockets.get(socket) {
                Some(socket) => self.batch.send(socket, path.local, path.remote),
                None => self.batch.pour(|_| false),
            },
            Wire::Tcp(id) => self.links.send_batch(id, self.batch),
        }
    }

    /// What can be added now.
    pub(crate) fn room(&self, path: &Path) -> Room {
        match path.wire {
            Wire::Udp { .. } => Room::Unlimited,
            Wire::Tcp(id) => Room::Bytes {
                pictures: self.links.room(id, outbox::PICTURES),
                anything: self.links.room(id, outbox::ANYTHING),
            },
        }
    }
}

/// How much more a path takes. A socket's own buffer is waited for or overrun; a TCP connection says how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Unlimited,
    Bytes { pictures: usize, anything: usize },
}

impl Room {
    /// Takes the room of a packet; false when there is none.
    pub(crate) fn take(&mut self, kind: TrackKind, payload: usize) -> bool {
        let Self::Bytes { pictures, anything } = self else { return true };
        let size = payload + OVERHEAD;
        if *anything < size || kind == TrackKind::Video && *pictures < size {
            return false;
        }
        *anything -= size;
        *pictures = pictures.saturating_sub(size);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Port;

    fn path(wire: Wire, nominated: bool) -> Path {
        let address = "127.0.0.1:1".parse().unwrap();
        Path { wire, local: address, remote: address, nominated }
    }

    #[test]
    fn the_viewers_choice_wins_and_before_it_udp_is_kept() {
        let tcp = Wire::Tcp(Port::new(vec![], vec![], vec![], vec![]).name_connection());
        let udp = Wire::Udp { socket: 0 };
        let replaces = |new: Path, old: Path, established| new.replaces(Some(&old), established);
        assert!(path(tcp, false).replaces(None, true), "something is better than nothing");
        assert!(replaces(path(tcp, true), path(udp, true), true));
        assert!(replaces(path(udp, true), path(tcp, true), true));
        assert!(!replaces(path(udp, false), path(tcp, true), false));
        assert!(!replaces(path(tcp, false), path(udp, false), false));
        assert!(replaces(path(udp, false), path(tcp, false), false));
        assert!(replaces(path(udp, false), path(udp, false), false));
        assert!(!replaces(path(udp, false), path(udp, false), true));
    }

    #[test]
    fn sound_has_room_where_pictures_have_none() {
        let mut room = Room::Bytes { pictures: 1_000, anything: 2_000 };
        assert!(room.take(TrackKind::Video, 800));
        assert!(!room.take(TrackKind::Video, 800));
        assert!(room.take(TrackKind::Audio, 800));
        assert!(!room.take(TrackKind::Audio, 800));
        assert!(Room::Unlimited.take(TrackKind::Video, 1 << 30));
    }
}

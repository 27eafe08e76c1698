//! What comes from viewers, and what is sent to them beside media.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connection::Input;
use super::path::{Path, Wire};
use super::{MAX_ADDRESSES, Worker};
use crate::core::demux::{Ignored, Kind};
use crate::core::stun::BindingRequest;
use crate::port::{Datagram, Owner, Via};
use crate::socket::{Patience, Socket};

/// Datagrams of one address that are passed on to other workers each second.
const FORWARDED: u32 = 500;

impl Worker {
    /// Takes a datagram from one of its sockets: its own viewers' are handled, others are passed to their owners.
    pub(crate) fn receive(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) {
        let own = match Kind::of(bytes) {
            Some(Kind::Dtls | Kind::Rtp) => self.by_address.contains_key(&remote),
            _ => false,
        };
        let owner = if own { Ok(Owner::Worker(self.index)) } else { self.shared.port.route(bytes, remote) };
        let result = owner.and_then(|owner| {
            let bytes = Bytes::copy_from_slice(bytes);
            let datagram = Datagram { via: Via::Udp, local, remote, received: now, bytes };
            match owner {
                Owner::Worker(index) if index == self.index => self.handle(now, &datagram),
                // Its queue is everybody's who came to the wrong socket: nobody may fill it alone.
                Owner::Worker(_) if !self.forwarded.may_pass(now, remote, FORWARDED) => Err(Ignored::Flood),
                other => self.shared.port.deliver(&other, datagram),
            }
        });
        if let Err(reason) = result {
            self.ignore(Via::Udp, reason);
        }
    }

    /// Counts what nobody took.
    pub(super) fn ignore(&self, via: Via, reason: Ignored) {
        self.shared.port.ignore(via, reason);
    }

    /// Takes a datagram of one of its viewers that came to another worker's socket.
    pub(crate) fn handle_forwarded(&mut self, now: Instant, datagram: &Datagram) {
        if let Err(reason) = self.handle(now, datagram) {
            self.ignore(Via::Udp, reason);
        }
    }

    pub(super) fn handle(&mut self, now: Instant, datagram: &Datagram) -> Result<(), Ignored> {
        let slot = self.slot_of(datagram)?;
        let shared = self.shared.clone();
        // TCP holds a sender back by itself, and its connection is this viewer's alone.
        let own = datagram.via != Via::Udp || self.by_address.get(&datagram.remote) == Some(&slot);
        let viewer = self.viewers.get_mut(slot).and_then(Option::as_mut).ok_or(Ignored::OwnerGone)?;
        if !viewer.inbound.take(now, own) {
            return Err(Ignored::Flood);
        }
        self.batch.begin_visit();
        let mut answers = Vec::new();
        let input = viewer.connection.handle(now, datagram, &shared.identity, &mut answers);
        let (local, remote) = (datagram.local, datagram.remote);
        let wire = match datagram.via {
            Via::Udp => Wire::Udp { socket: socket_for(&self.sockets, local, remote) },
            Via::Tcp(id) => Wire::Tcp(id),
        };
        let back = Path { wire, local, remote, nominated: false };
        // Also what could not be taken may have an answer: the alert that tells the viewer why.
        self.transmit(back, &answers);
        if input.is_err() {
            self.schedule(slot);
        }
        match input? {
            Input::Nothing => {}
            Input::Checked { nominated } => self.checked(now, slot, Path { nominated, ..back }),
            Input::Connected(sealer) => {
                if let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) {
                    viewer.sealer = Some(sealer);
                }
                self.connected(now, slot);
            }
            Input::Rtcp(compound) => self.rtcp(now, slot, &compound),
            Input::Closed => self.remove(now, slot, "closed-by-viewer"),
            Input::Failed(why) => self.remove(now, slot, why),
        }
        self.schedule(slot);
        Ok(())
    }

    /// Whose datagram it is.
    fn slot_of(&self, datagram: &Datagram) -> Result<usize, Ignored> {
        let owner = match datagram.via {
            Via::Udp => None,
            Via::Tcp(id) => Some(self.links.get(id).ok_or(Ignored::OwnerGone)?.slot),
        };
        if Kind::of(&datagram.bytes) == Some(Kind::Stun) {
            let request = BindingRequest::parse(&datagram.bytes).ok_or(Ignored::BadStun)?;
            let slot = *self.by_ufrag.get(request.local_ufrag()).ok_or(Ignored::OwnerGone)?;
            // A connection is one session's for good.
            return if owner.is_none_or(|owner| owner == slot) {
                Ok(slot)
            } else {
                Err(Ignored::UnknownUfrag)
            };
        }
        owner.or_else(|| self.by_address.get(&datagram.remote).copied()).ok_or(Ignored::OwnerGone)
    }

    /// Media and keys go to where an authentic check came from. DTLS begins before the nomination (Chromium nominates
    /// 40 to 90 ms later), so the first path serves until one is chosen; the newest choice wins, which is how a viewer
    /// that roams moves over.
    pub(super) fn checked(&mut self, now: Instant, slot: usize, path: Path) {
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return };
        viewer.heard = now;
        viewer.spoke = now;
        if path.replaces(viewer.path.as_ref(), viewer.connection.is_established()) {
            viewer.take_path(path);
            if viewer.is_behind() {
                self.behind.insert(slot);
            }
        }
        // A TCP connection is found by its name; its address says nothing about UDP from there.
        if path.wire.is_udp() && self.by_address.insert(path.remote, slot) != Some(slot) {
            viewer.addresses.retain(|address| *address != path.remote);
            viewer.addresses.push_back(path.remote);
            if viewer.addresses.len() > MAX_ADDRESSES
                && let Some(oldest) = viewer.addresses.pop_front()
                && self.by_address.get(&oldest) == Some(&slot)
            {
                self.by_address.remove(&oldest);
            }
        }
    }

    pub(super) fn connected(&mut self, now: Instant, slot: usize) {
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return };
        viewer.established = Some(now);
        viewer.report_due = now + Duration::from_millis(300);
        viewer.seat.settle();
        let took = now.saturating_duration_since(viewer.started);
        metrics::counter!("bicast_viewer_joins_total").increment(1);
        metrics::histogram!("bicast_viewer_connect_seconds").record(took);
        tracing::debug!(session = %viewer.id, feed = %viewer.feed, ?took, "viewer connected");
        self.attach(now, slot);
        self.publish_report();
    }

    fn rtcp(&mut self, now: Instant, slot: usize, compound: &[u8]) {
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return };
        viewer.spoke = now;
        let mut answers = Vec::new();
        let feed = self.feeds.get(&viewer.feed);
        let rate = viewer.rate(|key| feed.and_then(|feed| feed.history(key)));
        let visit = viewer.handle_rtcp(now, compound, rate, &mut answers);
        if visit.wants_keyframe.is_some() {
            metrics::counter!("bicast_viewer_keyframe_requests_total").increment(1);
        }
        self.send_rtcp(slot, &answers);
        self.account(slot, &visit);
        if visit.behind {
            self.catch_up(now, slot);
        }
    }

    /// Protects and sends compound RTCP packets to a viewer.
    pub(super) fn send_rtcp(&mut self, slot: usize, compounds: &[Vec<u8>]) {
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(path) = viewer.path else { return };
        let sealed: Vec<Bytes> =
            compounds.iter().filter_map(|compound| viewer.connection.seal_rtcp(compound)).collect();
        self.transmit(path, &sealed);
    }

    pub(super) fn transmit(&mut self, path: Path, datagrams: &[Bytes]) {
        let mut patience = Patience::default();
        for datagram in datagrams {
            match path.wire {
                Wire::Udp { socket } => {
                    let Some(socket) = self.sockets.get(socket) else { return };
                    let sent = socket.send(path.local, path.remote, datagram, None, &mut patience);
                    if let Err(error) = sent {
                        tracing::debug!(%error, remote = %path.remote, "cannot send");
                        metrics::counter!("bicast_udp_send_errors_total").increment(1);
                    }
                }
                Wire::Tcp(id) => {
                    if !self.links.send(id, datagram) {
                        metrics::counter!("bicast_tcp_dropped_frames_total").increment(1);
                    }
                }
            }
        }
    }
}

/// The socket that datagrams to `local` came to: the one bound to it, else one of the address family.
pub(super) fn socket_for(sockets: &[Socket], local: SocketAddr, remote: SocketAddr) -> usize {
    let exact = sockets.iter().position(|socket| socket.local().ip() == local.ip());
    exact.or_else(|| sockets.iter().position(|s| s.local().is_ipv4() == remote.is_ipv4())).unwrap_or(0)
}

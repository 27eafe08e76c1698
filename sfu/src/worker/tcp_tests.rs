//! Viewers over TCP on virtual time, without sockets: the test writes what stands in the outboxes.

use bicast_shared::id::{RenditionId, StreamKey, TrackId};
use bytes::Bytes;
use rtc_shared::marshal::Unmarshal as _;

use super::path::Path;
use super::tests::Rig;
use super::*;
use crate::core::demux::Ignored;
use crate::core::frames::Deframer;
use crate::core::history::tests::packet;
use crate::core::outbox;
use crate::core::sdp::Offer;
use crate::core::sdp::tests::VIEWER;
use crate::core::stun::tests::check;
use crate::port::ConnectionId;
use crate::tcp::{Arrival, Refused};

const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
/// Packets of one frame, of 1,000 bytes each.
const PACKETS: i64 = 10;
/// Frames of one group of pictures: 2 s.
const GROUP: i64 = 60;
const ALL: usize = usize::MAX;

/// A viewer over TCP, and the reader at the other end of its line.
struct Line {
    rig: Rig,
    id: ConnectionId,
    frame: i64,
    deframer: Deframer,
    last_wire: Option<u16>,
    /// The feed's sequence numbers of the packets that arrived.
    shown: Vec<i64>,
}

impl Line {
    fn new() -> Self {
        let mut rig = Rig::new();
        rig.connect();
        let slot = rig.worker.by_session["viewer"];
        let id = rig.worker.shared.port.name_connection();
        let (local, remote) = addresses();
        rig.worker.links.insert(id, slot, local, remote);
        rig.worker.viewers[slot].as_mut().unwrap().connections.add(id, None);
        rig.worker.checked(rig.now, slot, Path { wire: Wire::Tcp(id), local, remote, nominated: true });
        Self { rig, id, frame: 0, deframer: Deframer::default(), last_wire: None, shown: Vec::new() }
    }

    /// One more frame of the feed, at 30 a second, and then at most so many bytes of what waits to be written.
    fn tick(&mut self, bytes: usize) {
        let first = self.frame * PACKETS;
        let mut packets: Vec<_> = (first..first + PACKETS)
            .map(|n| {
                let mut packet = packet(n, self.frame * 3_000, n == first && self.frame % GROUP == 0);
                packet.marker = n + 1 == first + PACKETS;
                let mut payload = packet.payload.to_vec();
                payload.resize(1_000, 0x55);
                packet.payload = payload.into();
                packet
            })
            .collect();
        self.frame += 1;
        let feed = "demo".parse().unwrap();
        self.rig.worker.take_and_forward(self.rig.now, &feed, VIDEO, &mut packets, false);
        // Its checks go on meanwhile.
        let slot = self.rig.worker.by_session["viewer"];
        self.rig.worker.viewers[slot].as_mut().unwrap().heard = self.rig.now;
        self.rig.pass(Duration::from_micros(33_333));
        self.write(bytes);
    }

    fn write(&mut self, mut left: usize) {
        let Self { rig, id, deframer, last_wire, shown, .. } = self;
        while let Some(link) = rig.worker.links.get_mut(*id)
            && left > 0
            && !link.outbox.is_empty()
        {
            let bytes = link.outbox.next()[..link.outbox.next().len().min(left).min(1_500)].to_vec();
            link.outbox.written(bytes.len());
            left -= bytes.len();
            let read = deframer.push(&bytes, |frame| {
                if frame[0] >> 6 != 2 || (192..=223).contains(&frame[1]) {
                    return;
                }
                let plain = rig.context.decrypt_rtp(frame).unwrap();
                let packet = rtp::Packet::unmarshal(&mut &plain[..]).unwrap();
                let wire = packet.header.sequence_number;
                if let Some(last) = last_wire.replace(wire) {
                    assert_eq!(wire, last.wrapping_add(1), "the viewer sees no hole");
                }
                shown.push(i64::from_be_bytes(packet.payload[..8].try_into().unwrap()));
            });
            read.unwrap();
            rig.worker.drained(rig.now, *id);
        }
    }

    /// How many frames were left out, as the viewer sees it: whole ones only, and on with a keyframe.
    fn left_out(&self) -> i64 {
        let mut left_out = 0;
        for pair in self.shown.windows(2).filter(|pair| pair[1] != pair[0] + 1) {
            assert_eq!(pair[0] % PACKETS, PACKETS - 1, "the last frame before is whole");
            assert_eq!(pair[1] % (GROUP * PACKETS), 0, "the first one after is a keyframe");
            left_out += (pair[1] - pair[0] - 1) / PACKETS;
        }
        left_out
    }

    /// How many frames the line's end is behind the feed.
    fn behind(&self) -> i64 {
        self.frame - self.shown.last().map_or(0, |newest| newest / PACKETS) - 1
    }
}

fn addresses() -> (SocketAddr, SocketAddr) {
    ("127.0.0.1:8189".parse().unwrap(), "192.0.2.1:1000".parse().unwrap())
}

#[test]
fn what_a_stalled_line_cannot_take_waits_in_the_history_and_comes_in_order() {
    let mut line = Line::new();
    for _ in 0..10 {
        line.tick(ALL);
    }
    assert_eq!(line.behind(), 0, "nothing waits for a pacer");
    for _ in 0..55 {
        line.tick(0);
    }
    let link = line.rig.worker.links.get(line.id).unwrap();
    assert!(link.outbox.room(outbox::PICTURES) < 2_000, "the outbox is full, and no more than that");
    assert!(!line.rig.worker.is_behind(), "nobody visits it every millisecond");
    line.write(ALL);
    assert_eq!(line.shown, (0..65 * PACKETS).collect::<Vec<i64>>());
    assert_eq!((line.rig.worker.counts.lags, line.rig.worker.counts.left_out), (0, 0));
}

#[test]
fn after_a_long_stall_whole_frames_are_left_out_up_to_a_keyframe() {
    let mut line = Line::new();
    for _ in 0..10 {
        line.tick(ALL);
    }
    for _ in 0..200 {
        line.tick(0);
    }
    line.write(ALL);
    assert_eq!(line.rig.worker.counts.lags, 1, "said once");
    assert!(line.behind() > 150, "what was in the outbox is old; nothing new before a keyframe");
    for _ in 0..60 {
        line.tick(ALL);
    }
    assert_eq!(line.behind(), 0);
    let left_out = line.left_out();
    assert!(left_out > 150, "{left_out}");
    assert_eq!(line.rig.worker.counts.left_out, left_out.unsigned_abs());
}

#[test]
fn a_line_of_half_the_streams_rate_stays_near_the_live_edge() {
    let mut line = Line::new();
    let mut worst = 0;
    for _ in 0..30 * 60 {
        line.tick(5_200);
        worst = worst.max(line.behind());
    }
    // Two seconds of patience, a group of pictures to wait for, and the outbox at the line's rate.
    assert!(worst < 30 * 6, "{worst} frames behind");
    let shown = line.shown.len() as i64 / PACKETS;
    assert!(shown > 30 * 60 / 3, "{shown} frames were shown of {}", line.frame);
    assert!(line.left_out() > 30 * 60 / 4);
}

#[test]
fn a_broken_connection_is_forgotten_and_another_path_begins_at_a_keyframe() {
    let mut line = Line::new();
    for _ in 0..20 {
        line.tick(ALL);
    }
    line.rig.worker.disconnected(line.rig.now, line.id);
    let slot = line.rig.worker.by_session["viewer"];
    let viewer = line.rig.worker.viewers[slot].as_ref().unwrap();
    assert!(viewer.path.is_none() && line.rig.worker.links.is_empty());
    for _ in 0..20 {
        line.tick(ALL);
    }
    // Whichever pair is checked next.
    let id = line.rig.worker.shared.port.name_connection();
    let (local, remote) = addresses();
    line.rig.worker.links.insert(id, slot, local, remote);
    line.rig.worker.checked(
        line.rig.now,
        slot,
        Path { wire: Wire::Tcp(id), local, remote, nominated: false },
    );
    (line.id, line.deframer) = (id, Deframer::default());
    for _ in 0..40 {
        line.tick(ALL);
    }
    assert_eq!(line.left_out(), 40, "frames 20 to 59");
    assert_eq!(line.behind(), 0);
}

#[test]
fn a_connection_is_one_sessions_for_good_and_goes_with_it() {
    let mut rig = Rig::new();
    rig.connect();
    rig.keep_history();
    let theirs = Offer::parse(VIEWER).unwrap().sections[0].transport.ufrag.clone().unwrap();
    let check = |pwd: &str| Bytes::from(check(&format!("other:{theirs}"), pwd, true, false));
    let (local, remote) = addresses();
    let arrive = |rig: &mut Rig, frame: Bytes| {
        let id = rig.worker.shared.port.name_connection();
        let arrival = Arrival::for_test(id, local, remote, vec![frame]);
        rig.worker.connected_by_tcp(rig.now, &arrival).map(|_| id)
    };
    assert_eq!(arrive(&mut rig, check("guess")), Err(Refused::NotAuthentic));
    assert_eq!(arrive(&mut rig, Bytes::from_static(&[22; 40])), Err(Refused::NotACheck));
    assert!(rig.worker.links.is_empty(), "nothing is kept of those");
    let id = arrive(&mut rig, check(&"p".repeat(32))).unwrap();
    assert!(rig.worker.links.get(id).is_some_and(|link| !link.outbox.is_empty()), "the check is answered");
    assert!(rig.worker.by_address.keys().all(|address| *address != remote), "nothing of UDP is claimed");
    // Another session's check is not taken over it, though it be authentic.
    let strange = rig.worker.receive_frame(
        rig.now,
        id,
        crate::core::stun::tests::check("viewer:x", "p", true, false).into(),
    );
    assert_eq!(strange, Err(Ignored::UnknownUfrag));
    // More connections than a session may have: the oldest gives way, but not the one in use.
    for _ in 0..20 {
        arrive(&mut rig, check(&"p".repeat(32))).unwrap();
    }
    let slot = rig.worker.by_session["other"];
    let in_use = rig.worker.viewers[slot].as_ref().unwrap().path.unwrap().wire;
    let open = |rig: &Rig| rig.worker.links.open_count();
    assert_eq!(open(&rig), 8);
    let Wire::Tcp(in_use) = in_use else { panic!("the newest nominated one is in use") };
    assert!(rig.worker.links.get(in_use).is_some_and(|link| !link.closing));
    rig.worker.leave(rig.now, "other");
    assert_eq!(open(&rig), 0);
    assert_eq!(rig.worker.receive_frame(rig.now, in_use, check("x")), Err(Ignored::OwnerGone));
}

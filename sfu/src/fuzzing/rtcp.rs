//! RTCP after decryption: who sends it is known, what it says is not to be trusted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use bicast_shared::id::{RenditionId, StreamKey, TrackId};
use bicast_shared::media::Codec;
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::MediaTime;
use bytes::Bytes;
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc_srtp::config::SessionKeys;

use super::{below, bytes, feed, start, video};
use crate::config::Limits;
use crate::core::answer::{Wishes, negotiate};
use crate::core::feedback::{Feedback, read};
use crate::core::history::History;
use crate::core::ice::Credentials;
use crate::core::sdp::Offer;
use crate::port::{Owner, Port};
use crate::worker::batch::Batch;
use crate::worker::connection::Connection;
use crate::worker::links::Links;
use crate::worker::path::{Output, Path, Wire};
use crate::worker::seat::{Seats, Session};
use crate::worker::viewer::Viewer;
use bicast_shared::feed::settings::Playout;

const STREAM: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
const OFFER: &str = include_str!("../core/fixtures/chromium-offer.sdp");

/// One compound packet for every reader, or a viewer that is served and talks back.
pub fn rtcp(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    if below(&mut steps, 3) == 0 {
        compound(steps.take_rest());
    } else {
        viewer(&mut steps);
    }
}

/// What an independent reader understands of it, ours does not miss; and it makes no more of it than it has bytes.
fn compound(bytes: &[u8]) {
    let mut said = Vec::new();
    let whole = read(bytes, |feedback| said.push(feedback));
    // The densest statement is a NACK: 17 numbers in four bytes.
    assert!(said.len() * 4 <= bytes.len() * 17);
    let theirs = rtc_rtcp::packet::unmarshal(&mut Bytes::copy_from_slice(bytes));
    let Ok(packets) = theirs else { return };
    if !whole {
        return;
    }
    let wants = |ssrc| said.contains(&Feedback::KeyframeWanted { ssrc });
    for packet in packets {
        let packet = packet.as_any();
        if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            for sequence_number in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
                assert!(said.contains(&Feedback::Nack { ssrc: nack.media_ssrc, sequence_number }));
            }
        } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
            assert!(wants(pli.media_ssrc));
        } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
            assert!(fir.fir.iter().all(|entry| wants(entry.ssrc)));
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            for theirs in &report.reports {
                let known = said.iter().any(|feedback| match feedback {
                    Feedback::Report(ours) => {
                        (ours.ssrc, ours.fraction_lost, ours.jitter, ours.last_report, ours.delay)
                            == (
                                theirs.ssrc,
                                theirs.fraction_lost,
                                theirs.jitter,
                                theirs.last_sender_report,
                                theirs.delay,
                            )
                    }
                    _ => false,
                });
                assert!(known, "{theirs:?}");
            }
        }
    }
}

/// A viewer of one video that asks for whatever it likes: what it is owed and what it gets stay bounded.
fn viewer(steps: &mut Unstructured<'_>) {
    let mut rig = Rig::new();
    let mut turns = 0;
    while !steps.is_empty() && turns < 200 {
        turns += 1;
        match below(steps, 8) {
            0 => rig.now += Duration::from_millis(u64::from(below(steps, 3_000))),
            1 => rig.publish(1 + below(steps, 200)),
            2 => rig.handle(bytes(steps, 200)),
            3 => rig.handle(&keyframe_request(rig.ssrc)),
            4 => rig.handle(&nack(rig.ssrc, steps.arbitrary().unwrap_or(0), 1 + below(steps, 80))),
            5 => {
                let behind = u16::try_from(below(steps, 2_000)).unwrap();
                rig.handle(&nack(rig.ssrc, rig.newest_wire().wrapping_sub(behind), 1 + below(steps, 60)));
            }
            6 => rig.handle(&reference_time(steps.arbitrary().unwrap_or(0))),
            _ => rig.catch_up(),
        }
    }
}

struct Rig {
    viewer: Viewer,
    ssrc: u32,
    first_index: u16,
    history: History,
    next: i64,
    batch: Batch,
    links: Links,
    now: Instant,
    repaired: u64,
    requested: Option<Instant>,
}

impl Rig {
    fn new() -> Self {
        let now = start();
        let info = feed(vec![video(Codec::H264, "packetization-mode=1;profile-level-id=42e01f")]);
        let mut random = 0x0100_0000;
        let wishes = Wishes { playout: Playout::LowestLatency, rendition: None };
        let agreement = negotiate(&Offer::parse(OFFER).unwrap(), &info, wishes, || {
            random += 1;
            random
        });
        let agreement = agreement.unwrap();
        let port = Port::new(Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let keys = SessionKeys {
            local_master_key: vec![1; 16],
            local_master_salt: vec![2; 12],
            remote_master_key: vec![3; 16],
            remote_master_salt: vec![4; 12],
        };
        let crypto = rtc::crypto::default_provider().unwrap();
        let (connection, sealer) = Connection::established(
            port.register("ours", Owner::Worker(0)),
            Credentials::new("ours", "password", "theirs"),
            agreement.fingerprint,
            keys,
            &crypto,
        )
        .unwrap();
        let session = Session {
            feed: info.id.clone(),
            worker: 0,
            etag: String::new(),
            remote_ufrag: String::new(),
            grant: None,
            label: None,
        };
        let seat = Seats::default()
            .take(bicast_shared::clock::now(), &Limits::default(), "viewer".into(), session)
            .ok()
            .unwrap()
            .0;
        let spec = agreement.tracks[0].spec;
        let mut viewer = Viewer::new(
            "viewer".into(),
            info.id.clone(),
            connection,
            agreement.tracks,
            "ours".into(),
            seat,
            now,
        );
        let address: SocketAddr = "192.0.2.1:9".parse().unwrap();
        viewer.sealer = Some(sealer);
        // A socket that is not there: what is sent goes nowhere.
        let wire = Wire::Udp { socket: 0 };
        viewer.path = Some(Path { wire, local: address, remote: address, nominated: true });
        let mut rig = Self {
            viewer,
            ssrc: spec.ssrc,
            first_index: spec.first_index,
            history: History::new(4_096),
            next: 0,
            batch: Batch::default(),
            links: Links::default(),
            now,
            repaired: 0,
            requested: None,
        };
        rig.publish(100);
        rig.viewer.join(now, STREAM, &rig.history, &info);
        rig
    }

    /// The sequence number of the newest packet, were nothing left out.
    fn newest_wire(&self) -> u16 {
        self.first_index.wrapping_add(u16::try_from((self.next - 1) & 0xffff).unwrap())
    }

    fn publish(&mut self, count: u32) {
        let from = self.history.head();
        for _ in 0..count {
            let payload = Bytes::copy_from_slice(&self.next.to_be_bytes());
            let mut packet = MediaPacket::unowned(self.next, MediaTime(self.next * 300), payload, self.now);
            packet.stamp.keyframe = self.next % 100 == 0;
            assert!(self.history.push(packet));
            self.next += 1;
        }
        let mut output = Output { sockets: &[], links: &mut self.links, batch: &mut self.batch };
        self.viewer.forward(self.now, STREAM, &self.history, from, &mut output);
    }

    fn handle(&mut self, compound: &[u8]) {
        let mut answers = Vec::new();
        let visit = self.viewer.handle_rtcp(self.now, compound, 300, &mut answers);
        assert!(self.viewer.queue(|_| None) <= 1_024, "retransmissions that are owed");
        assert!(answers.len() * 8 <= compound.len(), "more answers than questions");
        for answer in answers {
            assert_eq!(rtc_rtcp::packet::unmarshal(&mut &answer[..]).unwrap().len(), 2);
        }
        if visit.wants_keyframe.is_some() {
            let before = self.requested.replace(self.now);
            assert!(before.is_none_or(|before| self.now - before >= Duration::from_secs(1)));
        }
    }

    fn catch_up(&mut self) {
        let mut output = Output { sockets: &[], links: &mut self.links, batch: &mut self.batch };
        let visit = self.viewer.catch_up(self.now, |_| Some(&self.history), &mut output);
        assert!(!visit.failed && self.batch.len() == 0);
        self.repaired += visit.repaired;
        let allowed = 1_500 + (self.now - start()).as_millis() / 2 + 1;
        assert!(u128::from(self.repaired) <= allowed, "{} retransmissions", self.repaired);
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn keyframe_request(ssrc: u32) -> Vec<u8> {
    words(&[0x81ce_0002, 1, ssrc])
}

/// A NACK of `entries` times 17 packets from `first` on.
fn nack(ssrc: u32, first: u16, entries: u32) -> Vec<u8> {
    let mut packet = words(&[0x81cd_0000 | (2 + entries), 1, ssrc]);
    for n in 0..entries {
        let at = first.wrapping_add(u16::try_from(n * 17).unwrap());
        packet.extend(at.to_be_bytes());
        packet.extend([0xff, 0xff]);
    }
    packet
}

fn reference_time(ntp: u64) -> Vec<u8> {
    let mut packet = words(&[0x80cf_0004, 9, 0x0400_0002]);
    packet.extend(ntp.to_be_bytes());
    packet
}

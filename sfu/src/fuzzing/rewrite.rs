//! From a publisher's packets to a viewer's SRTP and back.
//!
//! A nonce is an SSRC and a 48-bit index. A receiver that keeps to RFC 3711 must arrive at the index that the packet was
//! sealed with, and no index may ever stand for two different packets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use bicast_shared::feed::info::PublisherInfo;
use bicast_shared::feed::owner::{FeedOwner, RtpInput};
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::{Epoch, RenditionId, StreamKey, TrackId};
use bicast_shared::media::Codec;
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::ProgramTime;
use bytes::Bytes;
use rtc_shared::marshal::Unmarshal as _;
use rtc_srtp::config::SessionKeys;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::{below, start, video};
use crate::core::history::History;
use crate::core::rewrite::{Track, TrackSpec};
use crate::core::seal::Sealer;

const STREAM: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
const SSRC: u32 = 1_000;
const RTX_SSRC: u32 = 1_001;
const PROFILE: ProtectionProfile = ProtectionProfile::AeadAes128Gcm;

/// A publisher that reorders, repeats, jumps and returns, and a viewer that lags, skips and asks again.
pub fn rewrite(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    let mut publisher = Publisher::new(&mut steps);
    let mut viewer = Viewer::new(&mut steps);
    let mut turns = 0;
    while !steps.is_empty() && turns < 1_000 {
        turns += 1;
        match below(&mut steps, 16) {
            0 => publisher.now += Duration::from_millis(u64::from(below(&mut steps, 20_000))),
            1 => publisher.returns(&mut steps),
            2 => viewer.skip(),
            3 => viewer.history.resume(),
            4 | 5 => viewer.nack(steps.arbitrary().unwrap_or(0)),
            6 => {
                let back = u16::try_from(below(&mut steps, 64)).unwrap();
                viewer.nack(viewer.newest.wrapping_sub(back));
            }
            7 | 8 => viewer.forward(),
            _ => {
                for _ in 0..=below(&mut steps, 4) * below(&mut steps, 16) {
                    if let Some(packet) = publisher.send(&mut steps) {
                        viewer.history.push(packet);
                    }
                }
            }
        }
    }
    viewer.forward();
}

struct Publisher {
    owner: FeedOwner,
    now: Instant,
    sequence_number: u16,
    timestamp: u32,
    sent: u64,
    /// Every sequence number that the owner gave.
    used: BTreeSet<i64>,
    bus_sequence: Option<u64>,
    /// Of the epoch: what the owner added to sequence numbers and timestamps.
    offsets: Option<(Epoch, u16, u32)>,
}

impl Publisher {
    fn new(steps: &mut Unstructured<'_>) -> Self {
        let owner = FeedOwner::new("demo".parse().unwrap(), FeedSettings::default(), ProgramTime::default());
        let mut publisher = Self {
            owner,
            now: start(),
            sequence_number: steps.arbitrary().unwrap_or(65_500),
            timestamp: steps.arbitrary().unwrap_or(u32::MAX - 9_000),
            sent: 0,
            used: BTreeSet::new(),
            bus_sequence: None,
            offsets: None,
        };
        publisher.begin();
        publisher
    }

    fn begin(&mut self) {
        let info = PublisherInfo {
            protocol: "whip".into(),
            agent: None,
            address: None,
            since: ProgramTime::default(),
        };
        self.owner.begin_epoch(self.now, vec![video(Codec::H264, "packetization-mode=1")], info);
    }

    /// It leaves and another one comes, after up to a minute.
    fn returns(&mut self, steps: &mut Unstructured<'_>) {
        self.owner.end_epoch(self.now);
        self.now += Duration::from_millis(u64::from(below(steps, 60_000)));
        self.sequence_number = steps.arbitrary().unwrap_or(0);
        self.timestamp = steps.arbitrary().unwrap_or(0);
        self.begin();
    }

    fn send(&mut self, steps: &mut Unstructured<'_>) -> Option<MediaPacket> {
        let step = match below(steps, 16) {
            0 => steps.arbitrary().unwrap_or(0_u16),
            1 => u16::try_from(below(steps, 40)).unwrap().wrapping_neg(),
            2 => u16::try_from(below(steps, 40)).unwrap(),
            _ => 1,
        };
        let ticks = match below(steps, 16) {
            0 => steps.arbitrary().unwrap_or(0_u32),
            1 => below(steps, 9_000).wrapping_neg(),
            2..=8 => 3_000,
            _ => 0,
        };
        self.sequence_number = self.sequence_number.wrapping_add(step);
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.now += Duration::from_millis(u64::from(ticks.min(3_000)) / 90);
        self.sent += 1;
        // An IDR slice, a slice or nothing, and a number that no other packet has.
        let mut payload = match below(steps, 8) {
            0 => vec![0x65],
            1 => Vec::new(),
            _ => vec![0x41],
        };
        if !payload.is_empty() {
            payload.extend(self.sent.to_be_bytes());
        }
        let input = RtpInput {
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            marker: steps.arbitrary().unwrap_or(false),
            payload: payload.into(),
            orientation: steps.arbitrary().unwrap_or(None),
            composition_offset: None,
        };
        let packet = self.owner.handle_rtp(self.now, ProgramTime::default(), STREAM, input)?;
        self.check(&packet);
        Some(packet)
    }

    /// The owner gives every packet a number of its own, and adds the same to all of an epoch.
    fn check(&mut self, packet: &MediaPacket) {
        let stamp = &packet.stamp;
        assert!(self.used.insert(stamp.sequence), "{} was given twice", stamp.sequence);
        assert!(
            self.bus_sequence.replace(stamp.bus_sequence).is_none_or(|before| before < stamp.bus_sequence)
        );
        let low = u16::try_from(stamp.sequence.rem_euclid(1 << 16)).unwrap();
        let of_sequence = low.wrapping_sub(self.sequence_number);
        let of_time = stamp.media_time.rtp().wrapping_sub(self.timestamp);
        match self.offsets {
            Some((epoch, sequence, time)) if epoch == stamp.epoch => {
                assert_eq!((sequence, time), (of_sequence, of_time), "an epoch's offsets are frozen");
            }
            before => {
                assert!(before.is_none_or(|(epoch, ..)| epoch < stamp.epoch));
                self.offsets = Some((stamp.epoch, of_sequence, of_time));
            }
        }
    }
}

struct Viewer {
    history: History,
    track: Track,
    sealer: Sealer,
    reader: Context,
    rtx: bool,
    /// Where it stands in the history.
    at: u64,
    /// The newest sequence number on the wire.
    newest: u16,
    /// The highest index by SSRC, as RFC 3711, 3.3.1 has a receiver guess it.
    highest: BTreeMap<u32, u64>,
    /// What was sealed under which nonce.
    sealed: BTreeMap<(u32, u64), Vec<u8>>,
}

impl Viewer {
    fn new(steps: &mut Unstructured<'_>) -> Self {
        let rtx = steps.arbitrary().unwrap_or(false);
        let spec = TrackSpec {
            ssrc: SSRC,
            payload_type: 108,
            rtx: rtx.then_some((RTX_SSRC, 109)),
            playout_delay: steps.arbitrary().unwrap_or(false).then_some(5),
            orientation: steps.arbitrary().unwrap_or(false).then_some(4),
            capture_time: steps.arbitrary().unwrap_or(false).then_some(9),
            first_index: u16::try_from(below(steps, 1 << 14)).unwrap(),
            first_rtx_index: u16::try_from(below(steps, 1 << 14)).unwrap(),
        };
        let (key, salt) = (vec![1; 16], vec![2; 12]);
        let crypto = rtc::crypto::default_provider().unwrap();
        let keys = SessionKeys {
            local_master_key: key.clone(),
            local_master_salt: salt.clone(),
            remote_master_key: vec![3; 16],
            remote_master_salt: vec![4; 12],
        };
        Self {
            history: History::new(512),
            track: Track::new(spec),
            sealer: Sealer::new(PROFILE, &keys, &crypto).unwrap(),
            reader: Context::new(&key, &salt, PROFILE, None, None, crypto.crypto()).unwrap(),
            rtx,
            at: 0,
            newest: 0,
            highest: BTreeMap::new(),
            sealed: BTreeMap::new(),
        }
    }

    /// It is sent what it has not got yet.
    fn forward(&mut self) {
        self.at = self.at.max(self.history.tail());
        while let Some(packet) = self.history.get(self.at).cloned() {
            self.at += 1;
            let mut out = Vec::new();
            if self.track.write(&packet, &mut self.sealer, &mut out).unwrap().is_some() {
                let wire = self.open(&out, &packet, SSRC);
                assert_eq!(self.track.sequence_of(wire), Some(packet.stamp.sequence), "a NACK finds it");
                self.newest = wire;
            }
        }
    }

    /// It begins, or goes on, at the stored group of pictures.
    fn skip(&mut self) {
        if let Some(group) = self.history.stored_group(Codec::H264) {
            self.track.begin(group.first);
            self.at = group.position;
        }
    }

    fn nack(&mut self, wire: u16) {
        let Some(sequence) = self.track.sequence_of(wire) else { return };
        let Some(packet) = self.history.by_sequence(sequence).cloned() else { return };
        let mut out = Vec::new();
        if self.track.write_again(&packet, &mut self.sealer, &mut out).unwrap().is_none() {
            return;
        }
        let came = self.open(&out, &packet, if self.rtx { RTX_SSRC } else { SSRC });
        if !self.rtx {
            assert_eq!(came, wire);
        }
    }

    /// Opens a packet as the viewer does and gives its sequence number.
    fn open(&mut self, sealed: &[u8], packet: &MediaPacket, ssrc: u32) -> u16 {
        let plain = self.reader.decrypt_rtp(sealed).expect("the receiver's guess of the index is right");
        let opened = rtp::Packet::unmarshal(&mut Bytes::from(plain)).unwrap();
        let header = &opened.header;
        assert_eq!(header.ssrc, ssrc);
        assert_eq!(header.timestamp, packet.stamp.media_time.rtp());
        assert_eq!(header.marker, packet.marker);
        let payload = if ssrc == RTX_SSRC { opened.payload.slice(2..) } else { opened.payload.clone() };
        assert_eq!(payload, packet.payload);
        let wire = header.sequence_number;
        let index = match self.highest.get(&ssrc) {
            None => u64::from(wire),
            Some(highest) => {
                let ahead = wire.wrapping_sub(u16::try_from(highest & 0xffff).unwrap()).cast_signed();
                highest.checked_add_signed(i64::from(ahead)).expect("no index is below 0")
            }
        };
        let highest = self.highest.entry(ssrc).or_insert(index);
        *highest = index.max(*highest);
        let before = self.sealed.entry((ssrc, index)).or_insert_with(|| sealed.to_vec());
        assert!(before == sealed, "two packets under the nonce of index {index} of {ssrc}");
        if ssrc == RTX_SSRC {
            let original = u16::from_be_bytes([opened.payload[0], opened.payload[1]]);
            assert_eq!(self.track.sequence_of(original), Some(packet.stamp.sequence));
        }
        wire
    }
}

//! Publishers of several layers on virtual time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::start;
use super::*;
use crate::id::RenditionId;
use crate::media::RenditionInfo;

const TRACK: TrackId = TrackId(0);
const MS: Duration = Duration::from_millis(1);

/// A publisher of layers at 30 frames a second, one packet each; layer n's packets come `late[n]` after the frame's moment.
struct Publisher {
    owner: FeedOwner,
    layers: Vec<Layer>,
    /// The next frame.
    frame: u32,
    packets: Vec<(u32, MediaPacket)>,
    /// Which frame a media time of a layer is of.
    frames: BTreeMap<(RenditionId, MediaTime), u32>,
    keyframe_asked: bool,
}

struct Layer {
    base: u32,
    sequence_number: u16,
    late: Duration,
    /// The distance of natural keyframes, and the first one; none where only requests make some.
    group: Option<(u32, u32)>,
    answers: bool,
    reports: bool,
    sends: fn(u32) -> bool,
    /// Ignores the request that this frame would answer.
    misses: fn(u32) -> bool,
}

fn layer(base: u32, late: u64) -> Layer {
    Layer {
        base,
        sequence_number: 9,
        late: MS * u32::try_from(late).unwrap(),
        group: None,
        answers: true,
        reports: true,
        sends: |_| true,
        misses: |_| false,
    }
}

fn key(n: usize) -> StreamKey {
    StreamKey::new(TRACK, RenditionId(u8::try_from(n).unwrap()))
}

fn utc(at: Duration) -> ProgramTime {
    ProgramTime::from_unix_nanos(1_795_000_000_000_000_000) + at
}

fn moment(frame: u32) -> Duration {
    Duration::from_nanos(33_333_333) * frame
}

impl Publisher {
    fn new(layers: Vec<Layer>) -> Self {
        let owner = FeedOwner::new("demo".parse().unwrap(), FeedSettings::default(), utc(Duration::ZERO));
        let mut publisher = Self {
            owner,
            layers,
            frame: 0,
            packets: Vec::new(),
            frames: BTreeMap::new(),
            keyframe_asked: true,
        };
        publisher.join();
        publisher
    }

    fn join(&mut self) {
        let mut track = TrackInfo::single(TRACK, Codec::H264, ClockRate::VIDEO, 0, String::new());
        track.renditions = (0..)
            .zip(&self.layers)
            .map(|(n, _)| RenditionInfo { id: RenditionId(n), rid: Some(n.to_string()) })
            .collect();
        let now = start() + moment(self.frame);
        let info =
            PublisherInfo { protocol: "whip".into(), agent: None, address: None, since: utc(Duration::ZERO) };
        self.owner.begin_epoch(now, vec![track], info);
    }

    fn run(&mut self, frames: u32) {
        let mut sent: Vec<(Duration, usize, RtpInput)> = Vec::new();
        for frame in self.frame..self.frame + frames {
            let asked = std::mem::take(&mut self.keyframe_asked);
            for (n, layer) in self.layers.iter_mut().enumerate().filter(|(_, layer)| (layer.sends)(frame)) {
                let natural = layer.group.is_some_and(|(every, first)| frame % every == first % every);
                let answer = asked && layer.answers && !(layer.misses)(frame);
                // The frame's number behind the header of a slice.
                let mut payload = vec![if natural || answer { 0x65 } else { 0x61 }];
                payload.extend(frame.to_be_bytes());
                let timestamp = layer.base.wrapping_add(frame * 3_000);
                layer.sequence_number = layer.sequence_number.wrapping_add(1);
                let input = RtpInput {
                    sequence_number: layer.sequence_number,
                    timestamp,
                    marker: true,
                    payload: payload.into(),
                    orientation: None,
                    composition_offset: None,
                };
                sent.push((moment(frame) + layer.late, n, input));
            }
            sent.sort_by_key(|(at, n, ..)| (*at, *n));
            let until = moment(frame + 1);
            let due = sent.partition_point(|(at, ..)| *at < until);
            for (at, n, input) in sent.drain(..due).collect::<Vec<_>>() {
                self.send(at, n, input);
            }
            let now = start() + until;
            self.owner.handle_timeout(now);
            self.keyframe_asked |= !self.owner.poll_keyframe_requests(now).is_empty();
            if frame % 30 == 20 {
                self.report(frame);
            }
        }
        self.frame += frames;
    }

    fn send(&mut self, at: Duration, n: usize, input: RtpInput) {
        let packet = self.owner.handle_rtp(start() + at, utc(at), key(n), input);
        self.note(packet);
    }

    fn note(&mut self, packet: Option<MediaPacket>) {
        let released: Vec<_> = std::iter::from_fn(|| self.owner.poll_released()).collect();
        for packet in released.into_iter().chain(packet) {
            let frame = u32::from_be_bytes(packet.payload[1..5].try_into().unwrap());
            self.frames.insert((packet.key.rendition, packet.stamp.media_time), frame);
            self.packets.push((frame, packet));
        }
    }

    fn report(&mut self, frame: u32) {
        let reporting: Vec<_> = (0..self.layers.len()).filter(|n| self.layers[*n].reports).collect();
        for n in reporting {
            // Rounded to milliseconds, as libwebrtc does it, and not at a frame's moment.
            let at = moment(frame) + MS * (17 + 7 * u32::try_from(n).unwrap());
            let ticks = u32::try_from(ClockRate::VIDEO.ticks(at)).unwrap();
            let ntp = utc(MS * u32::try_from(at.as_millis()).unwrap()).ntp();
            let timestamp = self.layers[n].base.wrapping_add(ticks);
            self.owner.handle_sender_report(start() + at, key(n), ntp, timestamp);
            self.note(None);
        }
    }

    /// Frames of one moment have one media time in all layers, and every frame is its interval after the one before.
    fn assert_one_timeline(&self) {
        let mut offsets = BTreeSet::new();
        for ((_, time), frame) in &self.frames {
            offsets.insert(time.0 - i64::from(*frame) * 3_000);
        }
        assert_eq!(offsets.len(), 1, "{offsets:?} {:?}", self.frames.iter().take(3).collect::<Vec<_>>());
    }

    /// Segments as all packets tell them: number and beginning, each told the same by all.
    fn cuts(&self) -> BTreeMap<u64, MediaTime> {
        let mut cuts = BTreeMap::new();
        for (_, packet) in &self.packets {
            let Some(number) = packet.stamp.segment else { continue };
            assert_eq!(
                *cuts.entry(number.0).or_insert(packet.stamp.segment_start),
                packet.stamp.segment_start
            );
        }
        assert!(cuts.keys().copied().eq(0..cuts.len() as u64), "{cuts:?}");
        cuts
    }

    /// What has a segment stands in the one that the cuts say.
    fn assert_stamps(&self) {
        let cuts = self.cuts();
        for (_, packet) in &self.packets {
            let (Some(number), at) = (packet.stamp.segment, packet.stamp.media_time) else { continue };
            let begun = cuts.iter().rev().find(|(_, start)| **start <= at).map(|(number, _)| *number);
            assert_eq!(Some(number.0), begun, "{:?}", packet.stamp);
        }
    }

    /// How many of the segments begin with a keyframe in every layer that was sending then.
    fn common(&self) -> (usize, usize) {
        let cuts = self.cuts();
        let common = cuts.values().filter(|start| {
            let mut here =
                self.packets.iter().filter(|(_, packet)| packet.stamp.media_time == **start).peekable();
            here.peek().is_some() && here.all(|(_, packet)| packet.stamp.keyframe)
        });
        (common.count(), cuts.len())
    }
}

#[test]
fn layers_with_clocks_of_their_own_are_on_one_timeline_and_cut_at_common_keyframes() {
    let mut publisher = Publisher::new(vec![layer(5, 31), layer(u32::MAX - 40_000, 4), layer(1 << 31, 12)]);
    publisher.run(600);
    publisher.assert_one_timeline();
    publisher.assert_stamps();
    let (common, all) = publisher.common();
    assert!(all >= 9 && common == all, "{common} of {all}");
    assert_eq!(publisher.packets.len(), 1_800, "what was held was not lost");
    let info = publisher.owner.info();
    assert_eq!(info.cadence.rule, CadenceRule::OnRequest);
    assert!(
        info.layers
            .iter()
            .all(|layer| layer.running && layer.keyframe_offset_ms == Some(0) && layer.bitrate_bps > 0)
    );
    assert_eq!(publisher.owner.take_misaligned(), None);
    let sequences: BTreeSet<_> =
        publisher.packets.iter().map(|(_, packet)| packet.stamp.bus_sequence).collect();
    assert!(sequences.into_iter().eq(0..1_800));
}

#[test]
fn layers_of_one_clock_are_not_held_for_long() {
    let mut layers = vec![layer(77, 9), layer(77, 0), layer(77, 3)];
    layers.iter_mut().for_each(|layer| layer.reports = false);
    let mut publisher = Publisher::new(layers);
    publisher.run(3);
    publisher.assert_one_timeline();
    assert_eq!(publisher.packets.len(), 9);
}

#[test]
fn without_reports_arrival_places_them() {
    let mut layers = vec![layer(77, 9), layer(1_000_000, 0), layer(2_000_000, 3)];
    layers.iter_mut().for_each(|layer| layer.reports = false);
    let mut publisher = Publisher::new(layers);
    publisher.run(120);
    publisher.assert_one_timeline();
    assert_eq!(publisher.packets.len(), 360);
}

#[test]
fn a_layer_that_misses_a_keyframe_moves_the_cut() {
    let mut layers = vec![layer(5, 0), layer(6_000, 10), layer(9_000_000, 20)];
    // The middle layer ignores every other request or so.
    layers[1].misses = |frame| frame > 90 && frame % 3 != 0;
    let mut publisher = Publisher::new(layers);
    publisher.run(900);
    publisher.assert_one_timeline();
    publisher.assert_stamps();
    let (common, all) = publisher.common();
    assert!(common > all / 4 && all >= 10, "{common} of {all}");
    let cuts: Vec<_> = publisher.cuts().into_values().collect();
    assert!(cuts.windows(2).all(|pair| pair[1] - pair[0] <= 270_000), "{cuts:?}");
}

#[test]
fn layers_whose_keyframes_never_meet_are_cut_at_the_first_and_the_offset_is_told() {
    let mut layers = vec![layer(5, 0), layer(6_000, 10), layer(9_000_000, 20)];
    for (layer, first) in layers.iter_mut().zip([0, 5, 57]) {
        (layer.answers, layer.group) = (false, Some((60, first)));
    }
    let mut publisher = Publisher::new(layers);
    publisher.run(1_800);
    publisher.assert_one_timeline();
    publisher.assert_stamps();
    let info = publisher.owner.info();
    assert_eq!(info.cadence.rule, CadenceRule::SelfPaced);
    let offsets: Vec<_> = info.layers.iter().map(|layer| layer.keyframe_offset_ms).collect();
    assert_eq!(offsets, [Some(0), Some(166), Some(-100)]);
    assert_eq!(publisher.owner.take_misaligned(), Some(Duration::from_millis(166)));
    let cuts: Vec<_> = publisher.cuts().into_values().collect();
    let lengths: Vec<_> = cuts.windows(2).map(|pair| (pair[1] - pair[0]) / 90_000).collect();
    assert!(lengths.iter().all(|length| *length <= 10), "{lengths:?}");
    assert!(
        lengths.iter().rev().take(8).all(|length| *length == 2),
        "waiting has been given up: {lengths:?}"
    );
}

#[test]
fn a_layer_that_pauses_returns_on_the_same_timeline_and_another_leads_meanwhile() {
    let mut layers = vec![layer(5, 0), layer(6_000, 10)];
    layers[0].sends = |frame| !(200..500).contains(&frame);
    let mut publisher = Publisher::new(layers);
    publisher.run(400);
    let layers = publisher.owner.info().layers;
    assert_eq!(layers.iter().map(|layer| layer.running).collect::<Vec<_>>(), [false, true]);
    publisher.run(500);
    assert!(publisher.owner.info().layers.iter().all(|layer| layer.running));
    publisher.assert_one_timeline();
    publisher.assert_stamps();
    let (common, all) = publisher.common();
    assert!(all >= 14 && common >= all - 1, "{common} of {all}");
}

#[test]
fn a_layer_that_starts_late_finds_its_place_and_the_next_epoch_is_as_aligned() {
    let mut layers = vec![layer(5, 0), layer(600_000, 10)];
    layers[1].sends = |frame| frame > 300;
    let mut publisher = Publisher::new(layers);
    publisher.run(500);
    publisher.assert_one_timeline();
    publisher.assert_stamps();
    publisher.owner.end_epoch(start() + moment(publisher.frame));
    publisher.frame += 60;
    (publisher.layers[0].base, publisher.layers[1].base) = (4_000_000_000, 17);
    publisher.join();
    publisher.frames.clear();
    publisher.keyframe_asked = true;
    publisher.run(300);
    publisher.assert_one_timeline();
    publisher.assert_stamps();
    assert!(publisher.packets.is_sorted_by(|(_, a), (_, b)| a.stamp.epoch <= b.stamp.epoch));
}

#[test]
fn a_layer_that_returns_with_a_keyframe_does_not_cut_what_others_were_told() {
    let mut layers = vec![layer(0, 17), layer(0, 14), layer(0, 23)];
    for (layer, group) in layers.iter_mut().zip([(61, 17), (49, 186), (25, 26)]) {
        layer.group = Some(group);
    }
    layers[1].answers = false;
    layers[0].sends = |frame| frame % 200 < 130;
    let mut publisher = Publisher::new(layers);
    publisher.run(500);
    publisher.assert_one_timeline();
    publisher.assert_stamps();
    assert!(publisher.cuts().len() >= 5, "{:?}", publisher.cuts());
}

#[test]
fn a_segment_cut_without_a_keyframe_that_then_comes_begins_once() {
    let mut layers = vec![layer(0, 65), layer(0, 76), layer(1, 5)];
    layers[0].group = Some((181, 84));
    layers[1].group = Some((169, 194));
    layers[0].answers = false;
    let mut publisher = Publisher::new(layers);
    publisher.run(500);
    publisher.assert_one_timeline();
    publisher.assert_stamps();
    assert_eq!(publisher.owner.info().cadence.rule, CadenceRule::SelfPaced);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_layers_do_there_is_one_timeline_and_one_list_of_cuts(
        bases in prop::collection::vec(any::<u32>(), 3),
        late in prop::collection::vec(0_u64..80, 3),
        groups in prop::collection::vec(prop::option::of((20_u32..200, 0_u32..200)), 3),
        answers in prop::collection::vec(any::<bool>(), 3),
        pauses in 0_usize..4,
    ) {
        let mut layers: Vec<_> = bases.into_iter().zip(late).map(|(base, late)| layer(base, late)).collect();
        for (n, layer) in layers.iter_mut().enumerate() {
            (layer.group, layer.answers) = (groups[n], answers[n]);
            if n == pauses {
                layer.sends = |frame| frame % 200 < 130;
            }
        }
        let mut publisher = Publisher::new(layers);
        publisher.run(500);
        publisher.assert_one_timeline();
        publisher.assert_stamps();
    }
}

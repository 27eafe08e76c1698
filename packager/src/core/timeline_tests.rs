use std::sync::Arc;

use bicast_shared::id::StreamKey;
use bicast_shared::media::Codec;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::core::cmaf::{Sample, SampleKind, fragment, probe};
use crate::core::lineup::{Lineup, Picture};
use crate::core::snapshot::{Header, RenditionMedia};
use crate::core::window::{self, Init, Part, SegmentHead, Stored};

const FRAME: i64 = 3_000;
const SECOND: i64 = 90_000;
/// Before UTC of the segments' beginnings may move.
const MILLISECOND: i64 = 1_000_000;
const BEGAN: i64 = 1_795_411_739_123_456_000;

fn feed() -> FeedId {
    "demo".parse().unwrap()
}

/// Frames of a part: presentation minus decode time, and whether decoding can begin there.
fn part(sequence: u32, first: bool, decode: i64, compositions: &[i64]) -> Part {
    let sample = |(n, composition): (usize, &i64)| Sample {
        duration: u32::try_from(FRAME).unwrap(),
        composition: i32::try_from(*composition).unwrap(),
        kind: if first && n == 0 { SampleKind::Sync } else { SampleKind::Dependent },
        data: Bytes::from(vec![u8::try_from(n).unwrap(); 5 + n]),
    };
    let samples: Vec<Sample> = compositions.iter().enumerate().map(sample).collect();
    let data = fragment::write(sequence, first, u64::try_from(decode).unwrap(), &samples);
    let ticks = FRAME * i64::try_from(samples.len()).unwrap();
    Part { ticks, independent: first, gap: false, keyframe_bytes: 0, data }
}

/// What is made of a segment.
#[derive(Debug)]
struct Plan {
    /// Ticks between it and the one before.
    hole: i64,
    /// How far UTC moves against media time, in nanoseconds.
    slew: i64,
    /// Another publisher's.
    is_new: bool,
    parts: usize,
}

const STEADY: Plan = Plan { hole: 0, slew: 0, is_new: false, parts: 3 };

/// An instance of parts of three frames that begins at `origin`.
fn instance(name: &str, origin: i64, first: u64, plans: &[Plan]) -> FeedSnapshot {
    with_compositions(name, origin, first, plans, &[0, 0, 0])
}

fn with_compositions(
    name: &str,
    origin: i64,
    first: u64,
    plans: &[Plan],
    compositions: &[i64],
) -> FeedSnapshot {
    let mut stay = window::Stay::default();
    let (mut decode, mut anchor, mut segments) = (origin, BEGAN, Vec::new());
    for (number, plan) in (first..).zip(plans) {
        decode += plan.hole;
        anchor += plan.slew;
        let presentation = decode + compositions[0];
        let program_time = ProgramTime::from_unix_nanos(anchor + ClockRate::VIDEO.nanos(presentation));
        if plan.is_new || segments.is_empty() {
            stay = window::Stay { epoch: stay.epoch.next(), presentation, program_time };
        }
        let mut parts = Vec::new();
        let begin = decode;
        for n in 0..plan.parts {
            parts.push(part(1, n == 0, decode, compositions));
            decode += parts[n].ticks;
        }
        let head = SegmentHead {
            number,
            program_time,
            discontinuity: plan.is_new,
            init: Arc::new(Init { number: 0, data: Bytes::from_static(b"init") }),
            decode: begin,
            presentation,
            stay,
        };
        let data: Vec<u8> = parts.iter().flat_map(|part| part.data.to_vec()).collect();
        let ticks = decode - begin;
        segments.push(Arc::new(window::Segment {
            head,
            parts,
            ticks,
            complete: true,
            data: data.into(),
            stored: None,
        }));
    }
    let rendition = RenditionSnapshot {
        name: "video0".into(),
        codecs: "avc1.42e01f".into(),
        media: RenditionMedia::Video { width: 160, height: 90, frame_rate: 30.0 },
        timescale: SECOND,
        segments,
        removed: Vec::new(),
        discontinuity_sequence: 7,
        edge: decode,
        coming: None,
    };
    let (key, codec) = (StreamKey::default(), Codec::H264);
    let picture = Some(Picture { key, layers: 1, rate: ClockRate::VIDEO, codec });
    FeedSnapshot {
        instance: name.into(),
        lineup: Some(Lineup { header: Header::default(), picture, sound: None }),
        renditions: vec![rendition],
        ..FeedSnapshot::default()
    }
}

fn steady(segments: usize) -> FeedSnapshot {
    let plans: Vec<Plan> = (0..segments).map(|_| STEADY).collect();
    instance("i", 10 * SECOND, 4, &plans)
}

/// The present is where the newest part ends.
fn now(snapshot: &FeedSnapshot) -> ProgramTime {
    Timeline::new([snapshot]).unwrap().outline().window.newest.program_time
}

fn locate(snapshot: &FeedSnapshot, asked: Asked) -> Result<Located, OutsideWindow> {
    let timeline = Timeline::new([snapshot]).unwrap();
    timeline.locate(&feed(), asked, now(snapshot)).map(|(located, _)| located)
}

fn media(at: i64) -> Asked {
    Asked::Media(MediaTime(at))
}

/// The frames of a snapshot's only rendition: presentation, segment, part, and their bytes in the segment.
fn frames(snapshot: &FeedSnapshot) -> Vec<(i64, u64, u32, ByteRange)> {
    let mut all = Vec::new();
    for segment in &snapshot.renditions[0].segments {
        let mut offset = 0;
        for (part, index) in segment.parts.iter().zip(0..) {
            for sample in probe::samples(&part.data).unwrap_or_default() {
                let range =
                    ByteRange { offset: (offset + sample.offset) as u64, length: u64::from(sample.size) };
                all.push((sample.presentation, segment.head.number, index, range));
            }
            offset += part.data.len();
        }
    }
    all
}

fn check_frame(located: &Located, (presentation, number, part, range): (i64, u64, u32, ByteRange)) {
    let place = &located.places[0];
    let segment = place.segment.as_ref().unwrap();
    let frame = segment.frame.unwrap();
    assert_eq!(place.state, PlaceState::Here);
    assert_eq!((frame.presentation.0, segment.number.0, frame.range), (presentation, number, range));
    let found = segment.part.as_ref().unwrap();
    assert_eq!(
        (found.index, found.url.clone().unwrap()),
        (part, format!("/hls/demo/video0/i/{number}.{part}.m4s"))
    );
    let bytes = segment.range.unwrap();
    assert!(bytes.offset < range.offset && range.offset + range.length <= bytes.offset + bytes.length);
}

#[test]
fn every_frame_is_found_by_each_of_its_times_and_until_the_next() {
    let snapshot = steady(3);
    for frame in frames(&snapshot) {
        let begin = locate(&snapshot, media(frame.0)).unwrap();
        check_frame(&begin, frame);
        check_frame(&locate(&snapshot, media(frame.0 + FRAME - 1)).unwrap(), frame);
        check_frame(&locate(&snapshot, Asked::Program(begin.moment.program_time)).unwrap(), frame);
        check_frame(&locate(&snapshot, Asked::Rtp(begin.moment.media_time.rtp())).unwrap(), frame);
    }
}

#[test]
fn frames_in_another_order_are_found_by_when_they_are_shown() {
    // 1 3 2 | 4 6 5, and 1 6 2 | 4 9 5, where one is shown in the time of the part behind its own.
    for compositions in [[FRAME, 2 * FRAME, 0], [FRAME, 5 * FRAME, 0]] {
        let plans = [STEADY, STEADY, STEADY];
        let snapshot = with_compositions("i", 10 * SECOND, 4, &plans, &compositions);
        let mut shown = frames(&snapshot);
        shown.sort_by_key(|frame| frame.0);
        let mut checked = 0;
        for frame in shown.iter().filter(|frame| frame.1 == 5) {
            let found = locate(&snapshot, media(frame.0)).unwrap();
            // Pictures are not shown beyond their segment's time but where the encoder's groups are open.
            if found.places[0].segment.as_ref().unwrap().number.0 == 5 {
                check_frame(&found, *frame);
                checked += 1;
            }
        }
        assert!(checked >= 8, "only {checked} of 9");
    }
}

#[test]
fn a_window_begins_and_ends_where_it_says() {
    let mut snapshot = steady(2);
    let Window { oldest, newest } = Timeline::new([&snapshot]).unwrap().outline().window;
    assert_eq!((oldest.media_time.0, newest.media_time.0), (10 * SECOND, 10 * SECOND + 18 * FRAME));
    assert!(locate(&snapshot, media(oldest.media_time.0)).is_ok());
    assert!(locate(&snapshot, Asked::Program(oldest.program_time)).is_ok());
    assert!(!locate(&snapshot, media(oldest.media_time.0 - 1)).unwrap_err().is_ahead);
    let before =
        |nanos| Asked::Program(ProgramTime::from_unix_nanos(oldest.program_time.unix_nanos() - nanos));
    assert_eq!(locate(&snapshot, before(500_000)).unwrap().moment, oldest, "rounded to the millisecond");
    assert!(!locate(&snapshot, before(500_001)).unwrap_err().is_ahead);
    assert!(locate(&snapshot, Asked::Rtp(oldest.media_time.rtp() - 1)).is_err());
    // What is on its way is not there yet, and what is too new will not be for a while.
    for asked in [media(newest.media_time.0), Asked::Program(newest.program_time)] {
        let found = locate(&snapshot, asked).unwrap();
        assert_eq!((found.places[0].state, found.epoch), (PlaceState::Coming, Some(Epoch(1))));
    }
    let far = newest.media_time.0 + 2 * SECOND;
    assert!(locate(&snapshot, media(far)).unwrap_err().is_ahead);
    assert!(locate(&snapshot, Asked::Rtp(MediaTime(far).rtp())).is_err());
    // Nothing comes of a feed that is over or whose publisher is away.
    for (ended, away) in [(true, false), (false, true)] {
        (snapshot.ended, snapshot.away) = (ended, away);
        assert!(locate(&snapshot, media(newest.media_time.0)).unwrap_err().is_ahead);
        assert!(locate(&snapshot, media(newest.media_time.0 - 1)).is_ok());
        assert!(locate(&snapshot, Asked::Rtp(newest.media_time.rtp())).is_err());
    }
    for extreme in [i64::MIN, i64::MAX] {
        assert!(locate(&snapshot, media(extreme)).is_err());
        assert!(locate(&snapshot, Asked::Program(ProgramTime::from_unix_nanos(extreme))).is_err());
    }
}

#[test]
fn between_two_publishers_there_is_nothing_and_each_has_its_stay() {
    let returns = Plan { hole: 5 * SECOND, is_new: true, ..STEADY };
    let snapshot = instance("i", 10 * SECOND, 4, &[STEADY, STEADY, returns, STEADY]);
    let outline = Timeline::new([&snapshot]).unwrap().outline();
    let second = 15 * SECOND + 18 * FRAME;
    let stays: Vec<_> = outline
        .stays
        .iter()
        .map(|stay| (stay.epoch.0, stay.begin.media_time.0, stay.segment.0, stay.discontinuity_sequence))
        .collect();
    assert_eq!(stays, [(1, 10 * SECOND, 4, 7), (2, second, 6, 8)]);
    let found = locate(&snapshot, media(second - SECOND)).unwrap();
    assert_eq!((found.epoch, found.places[0].state), (None, PlaceState::Nothing));
    let by_date = locate(&snapshot, Asked::Program(found.moment.program_time)).unwrap();
    assert_eq!(by_date.moment, found.moment);
    let found = locate(&snapshot, media(second)).unwrap();
    assert_eq!((found.epoch, found.places[0].state), (Some(Epoch(2)), PlaceState::Here));
}

#[test]
fn another_instance_has_its_own_window_and_master_clock() {
    let mut before = instance("i", 10 * SECOND, 4, &[STEADY, STEADY]);
    before.ended = true;
    // Sound alone, from 20 s on: 48,000 ticks a second.
    let mut after = instance("i-6", 20 * SECOND, 6, &[STEADY]);
    let sound = &mut after.renditions[0];
    (sound.name, sound.timescale) = ("audio0".into(), 48_000);
    let mut segment = Segment::clone(&sound.segments[0]);
    segment.head.decode = 960_000;
    segment.head.presentation = 960_000;
    segment.head.stay = window::Stay { epoch: Epoch(2), presentation: 960_000, ..segment.head.stay };
    segment.parts = vec![Part { gap: true, data: Bytes::new(), ticks: 9_600, ..segment.parts[0].clone() }];
    segment.ticks = 9_600;
    sound.segments = vec![Arc::new(segment)];
    after.lineup = Some(Lineup { header: Header::default(), picture: None, sound: None });

    let timeline = Timeline::new([&before, &after]).unwrap();
    let outline = timeline.outline();
    let instances: Vec<_> = outline.stays.iter().map(|stay| (stay.epoch.0, stay.instance.as_str())).collect();
    assert_eq!(instances, [(1, "i"), (2, "i-6")]);
    assert_eq!(outline.window.oldest.rate, ClockRate::VIDEO);
    assert_eq!(outline.window.newest.rate, ClockRate::OPUS);
    let at = |asked| timeline.locate(&feed(), asked, outline.window.newest.program_time).unwrap().0;
    // The master clock is what it is now, whatever it was at the moment that is asked for.
    let found = at(media(10 * 48_000));
    assert_eq!((found.instance.as_str(), found.moment.media_time.0), ("i", 10 * SECOND));
    assert_eq!(at(Asked::Rtp(found.moment.media_time.rtp())).places, found.places);
    assert_eq!(at(Asked::Program(found.moment.program_time)).places, found.places);
    let found = at(media(960_000 + 100));
    assert_eq!((found.instance.as_str(), found.places[0].state), ("i-6", PlaceState::Gap));
    let segment = found.places[0].segment.clone().unwrap();
    assert_eq!((segment.range, segment.frame, segment.part.unwrap().url), (None, None, None));
    let found = at(media(15 * 48_000));
    assert_eq!((found.instance.as_str(), found.places[0].state), ("i", PlaceState::Nothing));
}

#[test]
fn of_what_only_the_store_has_the_fragments_tell() {
    let mut snapshot = steady(2);
    let held = snapshot.clone();
    let segment = snapshot.renditions[0].segments[0].clone();
    let stored = Stored { bytes: segment.data.len(), keyframe_bytes: 0 };
    snapshot.renditions[0].segments[0] =
        Arc::new(Segment::only_stored(segment.head.clone(), segment.ticks, stored));
    for at in (10 * SECOND..10 * SECOND + 9 * FRAME).step_by(500) {
        let timeline = Timeline::new([&snapshot]).unwrap();
        let (mut located, lookups) = timeline.locate(&feed(), media(at), now(&snapshot)).unwrap();
        let [lookup] = lookups[..] else { panic!("{lookups:?}") };
        assert_eq!((lookup.number, lookup.bytes), (4, segment.data.len()));
        let (mut search, mut offset) = (lookup.search, 0);
        for index in 0.. {
            let end = segment.data.len().min(offset + 200);
            let Some((length, samples)) = probe::fragment(&segment.data[offset..end]) else { break };
            if !search.push(index, offset, length, &samples) {
                break;
            }
            offset += length;
            if offset == segment.data.len() {
                break;
            }
        }
        Timeline::found(&mut located.places[lookup.place], &search);
        let expected = locate(&held, media(at)).unwrap().places[0].segment.clone().unwrap();
        let found = located.places[0].segment.clone().unwrap();
        assert_eq!((found.range, found.frame), (expected.range, expected.frame));
        assert!(found.part.is_none(), "parts of stored segments are not served");
    }
    // Nothing was written for a time that no fragment has.
    let timeline = Timeline::new([&snapshot]).unwrap();
    let (mut located, lookups) = timeline.locate(&feed(), media(10 * SECOND), now(&snapshot)).unwrap();
    Timeline::found(&mut located.places[0], &lookups[0].search);
    assert_eq!(located.places[0].state, PlaceState::Gap);
}

#[test]
fn an_rtp_timestamp_is_the_newest_of_a_window_longer_than_its_wrap() {
    let hours = Plan { hole: 1 << 31, is_new: true, ..STEADY };
    let again = Plan { hole: 1 << 31, is_new: true, ..STEADY };
    let snapshot = instance("i", 10 * SECOND, 4, &[STEADY, hours, again]);
    let last = snapshot.renditions[0].segments[2].head.presentation;
    let first = 10 * SECOND + (last - 10 * SECOND) % (1 << 32);
    assert_eq!(MediaTime(first).rtp(), MediaTime(last).rtp());
    assert_eq!(locate(&snapshot, Asked::Rtp(MediaTime(last).rtp())).unwrap().moment.media_time.0, last);
}

prop_compose! {
    fn plan()(
        hole in prop_oneof![5 => Just(0_i64), 1 => 0..20 * SECOND],
        slew in -MILLISECOND..=MILLISECOND,
        is_new in any::<bool>(),
        parts in 1_usize..4,
    ) -> Plan {
        Plan { hole, slew, is_new: is_new && hole > 0, parts }
    }
}

proptest! {
    #[test]
    fn all_names_of_a_moment_lead_to_it(
        origin in prop_oneof![Just(10 * SECOND), (1_i64 << 32) - 60_000..(1_i64 << 32) + 60_000, 0..1_i64 << 40],
        plans in prop::collection::vec(plan(), 1..12),
        at in 0.0..1.0_f64,
        start in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let snapshot = instance("i", origin, 4, &plans);
        let Window { oldest, newest } = Timeline::new([&snapshot]).unwrap().outline().window;
        let length = newest.media_time - oldest.media_time;
        let starts: Vec<i64> =
            snapshot.renditions[0].segments.iter().map(|segment| segment.head.presentation).collect();
        let anywhere = oldest.media_time.0 + (length as f64 * at) as i64;
        let at = start.map_or(anywhere, |start| *start.get(&starts));
        let found = locate(&snapshot, media(at)).unwrap();
        prop_assert_eq!(found.moment.media_time.0, at);
        // Exactly, by its RTP timestamp.
        let by_rtp = locate(&snapshot, Asked::Rtp(found.moment.media_time.rtp())).unwrap();
        prop_assert_eq!(&by_rtp, &found);
        // By its date exactly, but for the last millisecond of a segment, which may be in the next one's, too.
        let by_date = locate(&snapshot, Asked::Program(found.moment.program_time)).unwrap();
        let ends = snapshot.renditions[0].segments.iter().map(|s| s.head.presentation + s.ticks);
        let is_near = ends.chain(starts).any(|boundary| (-1..=91).contains(&(boundary - at)));
        let off = (by_date.moment.media_time.0 - at).abs();
        prop_assert!(off == 0 || (is_near && off <= 91), "{} ticks off", off);
        // What microseconds leave of its date is as good.
        let micros = ProgramTime::from_unix_nanos(found.moment.program_time.unix_nanos() / 1_000 * 1_000);
        prop_assert_eq!(locate(&snapshot, Asked::Program(micros)).unwrap(), by_date);
        // Dates do not go back by more than the mapping moves at a boundary.
        if at > oldest.media_time.0 {
            let before = locate(&snapshot, media(at - 1)).unwrap();
            prop_assert!(found.moment.program_time - before.moment.program_time >= -MILLISECOND);
        }
    }
}

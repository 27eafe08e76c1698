//! Pictures in several encodings: whatever the layers do, their playlists have the same segments.

use std::collections::BTreeMap;

use bicast_shared::id::RenditionId;
use bicast_shared::media::{Codec, RenditionInfo, TrackInfo};
use proptest::prelude::*;

use super::publisher::{BASELINE, Publisher, SMALL};
use super::reader::Track;
use super::{Session, tracks};
use crate::core::cmaf::SampleKind;
use crate::core::cmaf::probe::ProbedSample;
use crate::core::playlist;

fn layered(count: u8) -> Vec<TrackInfo> {
    let mut tracks = tracks(Some(Codec::H264), true);
    tracks[0].renditions =
        (0..count).map(|n| RenditionInfo { id: RenditionId(n), rid: Some(format!("r{n}")) }).collect();
    tracks
}

fn three() -> Vec<Publisher> {
    vec![Publisher::layer(0, BASELINE), Publisher::layer(1, SMALL), Publisher::layer(2, BASELINE)]
}

fn session() -> Session {
    let mut session = Session::new();
    session.begin_epoch(layered(3));
    session
}

fn videos(session: &Session) -> Vec<&Track> {
    (0..3).map(|n| &session.reader.tracks[&format!("video{n}")]).collect()
}

/// The same segments in all renditions: numbers, dates and discontinuities; and frames of one moment at one time.
fn assert_common(session: &Session) {
    let videos = videos(session);
    for track in &videos[1..] {
        assert_eq!(track.program_times, videos[0].program_times);
    }
    assert_alike(session);
}

/// The same but for the dates: what stands in for pictures that a layer did not send may reach over a cut that is known only afterwards,
/// and the layer's segment then begins later than the others', by less than the time after which a hole is filled.
fn assert_alike(session: &Session) {
    let videos = videos(session);
    for track in &videos[1..] {
        assert!(track.program_times.keys().eq(videos[0].program_times.keys()));
        for (number, date) in &track.program_times {
            let apart = (millis(date) - millis(&videos[0].program_times[number])).abs();
            assert!(apart <= 500, "segment {number} begins {apart} ms apart");
        }
        assert_eq!(track.discontinuities, videos[0].discontinuities);
        let numbers = |track: &Track| track.segments.keys().copied().collect::<Vec<_>>();
        assert_eq!(numbers(track), numbers(videos[0]));
    }
    let audio = session.reader.audio();
    assert_eq!(audio.discontinuities, videos[0].discontinuities);
    assert!(audio.program_times.keys().eq(videos[0].program_times.keys()));
}

/// Milliseconds of the minute of a date: all of a session are within some.
fn millis(date: &str) -> i64 {
    let parts: Vec<i64> =
        date.split(['T', ':', '.', 'Z']).skip(2).take(3).map(|part| part.parse().unwrap()).collect();
    (parts[0] * 60 + parts[1]) * 1_000 + parts[2]
}

/// Where the segments of a track begin, those that begin with a frame of the publisher's.
fn starts(track: &Track) -> BTreeMap<u64, i64> {
    let mut starts = BTreeMap::new();
    for (number, sample) in &track.samples {
        starts.entry(*number).or_insert(*sample);
    }
    let own = |sample: &ProbedSample| sample.kind == SampleKind::Sync;
    starts
        .into_iter()
        .filter(|(_, sample)| own(sample))
        .map(|(number, sample)| (number, sample.decode))
        .collect()
}

fn decoded(track: &Track) -> Vec<i64> {
    track.samples.iter().map(|(_, sample)| sample.decode).collect()
}

#[test]
fn layers_that_answer_together_are_cut_at_the_same_frames() {
    let (mut session, mut layers) = (session(), three());
    session.run_layers(&mut layers, 20_000);
    let snapshot = session.core.snapshot();
    assert!(session.reader.first_playable.unwrap() < 2_500, "{:?}", session.reader.first_playable);
    let text = playlist::multivariant(&snapshot, "");
    assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), 3, "{text}");
    assert_eq!(text.matches("#EXT-X-I-FRAME-STREAM-INF").count(), 3, "{text}");
    assert_eq!(text.matches("SCORE=").count(), 3);
    let text = playlist::media(&snapshot, "video1", playlist::MediaRequest::default()).unwrap();
    assert_eq!(text.matches("#EXT-X-RENDITION-REPORT").count(), 3, "{text}");
    session.end();
    assert_common(&session);
    let videos = videos(&session);
    for track in &videos {
        assert_eq!((track.gaps, track.short, track.discontinuities.len()), (0, 0, 0));
        let begun = starts(track);
        assert!(begun.len() >= 9 && begun == starts(videos[0]), "{begun:?}");
    }
    let shared = decoded(videos[0]).len().min(decoded(videos[2]).len()) - 10;
    for track in &videos[1..] {
        assert_eq!(decoded(track)[..shared], decoded(videos[0])[..shared]);
    }
    assert!(decoded(videos[0]).iter().all(|time| session.sent.contains(time)), "nothing was filled in");
}

#[test]
fn layers_whose_keyframes_never_meet_can_all_be_played_and_begin_every_segment_with_a_keyframe() {
    let (mut session, mut layers) = (session(), three());
    for (layer, place) in layers.iter_mut().zip([0, 5, 57]) {
        (layer.answers, layer.in_group) = (false, place);
    }
    session.run_layers(&mut layers, 60_000);
    session.end();
    assert_common(&session);
    for track in videos(&session) {
        // The reader has looked: the first sample of a segment is a keyframe, be it one from before.
        let own =
            track.samples.iter().filter(|(number, sample)| *number > 3 && sample.kind == SampleKind::Sync);
        assert!(own.count() >= 10);
        assert!(track.discontinuities.is_empty());
    }
    assert!(session.owner.info().layers[1].keyframe_offset_ms.is_some_and(|offset| offset != 0));
}

#[test]
fn a_layer_that_starts_late_is_a_gap_until_then() {
    let (mut session, mut layers) = (session(), three());
    layers[2].pause = |millis| millis < 7_000;
    session.run_layers(&mut layers, 5_000);
    assert!(
        session.reader.first_playable.is_some_and(|millis| millis < 4_500),
        "others are not kept waiting"
    );
    let text = playlist::multivariant(&session.core.snapshot(), "");
    assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), 2, "nobody is told of what never came");
    session.run_layers(&mut layers, 12_000);
    let text = playlist::multivariant(&session.core.snapshot(), "");
    assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), 3, "{text}");
    session.end();
    assert_common(&session);
    let videos = videos(&session);
    assert_eq!((videos[0].gaps, videos[1].gaps), (0, 0));
    assert!((6 * 90_000..11 * 90_000).contains(&videos[2].gaps), "{}", videos[2].gaps);
    let (late, first) = (starts(videos[2]), starts(videos[0]));
    let apart = late.iter().filter(|(number, at)| first.get(number) != Some(at)).count();
    assert!(late.len() >= 4 && apart <= 1, "{late:?}");
}

#[test]
fn a_layer_that_pauses_is_a_gap_and_returns_without_a_discontinuity() {
    let (mut session, mut layers) = (session(), three());
    layers[0].pause = |millis| (6_000..14_000).contains(&millis);
    session.run_layers(&mut layers, 25_000);
    session.end();
    assert_common(&session);
    let videos = videos(&session);
    assert!((5 * 90_000..11 * 90_000).contains(&videos[0].gaps), "{}", videos[0].gaps);
    assert_eq!((videos[1].gaps, videos[2].gaps, videos[0].discontinuities.len()), (0, 0, 0));
    let (paused, other) = (starts(videos[0]), starts(videos[1]));
    assert!(paused.len() + 3 <= other.len() && paused.len() >= 6);
    // It may return in the middle of a segment.
    let apart = paused.iter().filter(|(number, at)| other.get(number) != Some(at)).count();
    assert!(apart <= 1, "{paused:?} {other:?}");
}

#[test]
fn another_size_of_one_layer_is_a_discontinuity_of_all_and_so_is_a_return() {
    let (mut session, mut layers) = (session(), three());
    session.run_layers(&mut layers, 8_000);
    layers[2].change_stream(SMALL);
    session.run_layers(&mut layers, 8_000);
    assert_common(&session);
    assert_eq!(videos(&session)[0].discontinuities.len(), 1);
    let hinted: Vec<_> =
        videos(&session).iter().map(|video| (video.inits.len(), video.hinted_inits.len())).collect();
    assert_eq!(hinted, [(1, 0), (1, 0), (2, 1)], "its new init section is hinted before it is listed");
    session.end_epoch();
    session.millis += 3_000;
    let mut layers = three();
    layers.iter_mut().for_each(|layer| layer.base = layer.base.wrapping_add(99_999_999));
    session.begin_epoch(layered(3));
    session.run_layers(&mut layers, 9_000);
    session.end();
    assert_common(&session);
    assert_eq!(videos(&session)[0].discontinuities.len(), 2, "the size changes back there, too");
    assert!(session.reader.past.is_empty(), "the same playlists");
}

#[test]
fn all_layers_silent_is_a_silent_picture() {
    let (mut session, mut layers) = (session(), three());
    for layer in &mut layers {
        layer.pause = |millis| (6_000..14_000).contains(&millis);
    }
    session.run_layers(&mut layers, 22_000);
    session.end();
    assert_common(&session);
    assert!(starts(videos(&session)[1]).keys().any(|number| *number > 7));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_layers_do_their_playlists_have_the_same_segments(
        answers in any::<[bool; 3]>(),
        places in [0_usize..60, 0_usize..60, 0_usize..60],
        pauses in [0_usize..4, 0_usize..4, 0_usize..4],
        jitter in 0_i64..3,
        lossy in any::<bool>(),
    ) {
        let (mut session, mut layers) = (session(), three());
        let kinds: [fn(i64) -> bool; 4] =
            [|_| false, |ms| ms < 4_000, |ms| ms % 9_000 > 5_000, |ms| ms % 4_000 < 300];
        for (n, layer) in layers.iter_mut().enumerate() {
            (layer.answers, layer.in_group, layer.jitter) = (answers[n], places[n], jitter);
            layer.pause = kinds[pauses[n]];
        }
        if lossy {
            session.lose = |sequence| sequence % 97 == 13;
        }
        session.run_layers(&mut layers, 20_000);
        session.end();
        // Where no layer had a keyframe there is nothing.
        if !session.reader.tracks.is_empty() {
            assert_alike(&session);
        }
    }
}

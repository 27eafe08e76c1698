//! Pictures that stop coming while sound goes on.

use bicast_shared::media::Codec;

use super::publisher::{BASELINE, Publisher};
use super::runs::{assert_never_starves, both, shown, stills, vp8};
use super::{Session, tracks};
use crate::core::cmaf::SampleKind;

/// A session whose picture is silent from 6 s to 16 s while sound goes on.
fn silent_picture(mut publisher: Publisher, codec: Codec) -> Session {
    let mut session = Session::new();
    session.begin_epoch(tracks(Some(codec), true));
    publisher.pause = |millis| (6_000..16_000).contains(&millis);
    session.run(&mut publisher, 15_000);
    assert!(!session.core.snapshot().away, "sound goes on");
    let begun = session.core.snapshot();
    let (video, audio) = (begun.renditions.first().unwrap(), begun.renditions.last().unwrap());
    assert!(video.last_complete().unwrap().abs_diff(audio.last_complete().unwrap()) <= 1, "equal numbers");
    session.run(&mut publisher, 15_000);
    let audio = session.reader.audio();
    assert_never_starves(audio, 1_500);
    assert!(audio.discontinuities.is_empty() && audio.gaps == 0);
    // Sound is what was sent, one packet after the other, and cut as the picture is.
    assert!(audio.samples.windows(2).all(|pair| pair[1].1.decode - pair[0].1.decode < 970));
    assert!(audio.segments.values().all(|length| *length < 3.5), "{:?}", audio.segments);
    session
}

#[test]
fn a_picture_that_falls_silent_is_shown_as_it_was_and_its_sound_goes_on() {
    let session = silent_picture(Publisher::new(BASELINE, 30.0), Codec::H264);
    let (video, audio) = (session.reader.video(), session.reader.audio());
    assert_eq!((video.gaps, video.short, audio.short), (0, 0, 0));
    assert!(video.discontinuities.is_empty());
    assert_never_starves(video, 1_500);
    let written = shown(video);
    assert!(written.iter().all(|time| session.sent.contains(time)));
    let repeated: Vec<u64> =
        video.samples.iter().filter(|(_, s)| s.kind == SampleKind::Repeated).map(|(n, _)| *n).collect();
    assert!((4..=6).contains(&repeated.len()), "{repeated:?}");
    assert!(
        repeated.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "each segment of the silence: {repeated:?}"
    );
    // It returns with a keyframe, which was asked for.
    let back = video.samples.iter().position(|(_, s)| s.kind == SampleKind::Repeated).unwrap();
    let first = video.samples[back..].iter().find(|(_, sample)| sample.kind.is_original()).unwrap();
    assert_eq!(first.1.kind, SampleKind::Sync);
    assert!(session.keyframes_asked >= 1);
    let of_return = session.sent.range(first.1.presentation..).count();
    let all = session.sent.iter().filter(|time| **time > written[0] + 14 * 90_000).count();
    assert!(all - of_return < 30, "{} frames were left out", all - of_return);
    // Both renditions begin their segments together.
    for (number, length) in &video.segments {
        let heard = audio.segments.get(number).unwrap_or(length);
        assert!((heard - length).abs() < 0.25, "segment {number}: {length} {heard}");
    }
}

#[test]
fn a_silent_picture_that_nothing_can_stand_in_for_is_a_gap_beside_its_sound() {
    let session = silent_picture(Publisher::with_b_frames(), Codec::H264);
    let video = session.reader.video();
    assert_eq!(stills(video), 0);
    assert!(video.gaps > 8 * 90_000, "{}", video.gaps);
    assert!(video.discontinuities.is_empty());
    let snapshot = session.core.snapshot();
    let gaps = snapshot.renditions[0].segments.iter().filter(|segment| segment.is_gap()).count();
    assert!(gaps >= 3, "{gaps}");
    let last = video.samples.last().unwrap().1;
    assert!(session.sent.last().unwrap() - last.presentation < 90_000, "and it returns");
}

#[test]
fn sound_beside_an_unpackaged_picture_goes_on_without_it() {
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.frames = vp8();
    let session = silent_picture(publisher, Codec::Vp8);
    assert!(session.reader.audio().segments.len() >= 12, "{:?}", session.reader.audio().segments);
}

/// A browser that encodes VP8 on a busy machine: pauses that are no silence yet, across the moment at which a segment has to end.
#[test]
fn pauses_of_an_unpackaged_picture_make_no_segment_of_sound_too_long() {
    let mut session = Session::new();
    session.begin_epoch(tracks(Some(Codec::Vp8), true));
    let mut publisher = Publisher::new(BASELINE, 30.0);
    (publisher.frames, publisher.group) = (vp8(), 10_000);
    publisher.pause = |millis| millis > 4_000 && millis % 2_330 > 1_350;
    session.run(&mut publisher, 4_000);
    for n in 0..20 {
        publisher.answers = false;
        session.run(&mut publisher, 2_400 + n * 37);
        publisher.answers = true;
        session.run(&mut publisher, 1_700);
    }
    let audio = session.reader.audio();
    assert!(audio.segments.len() > 20);
    assert!(audio.segments.values().all(|length| *length < 3.5), "{:?}", audio.segments);
    assert!(audio.discontinuities.is_empty());
    assert_eq!((audio.short, audio.gaps), (0, 0));
}

#[test]
fn a_burst_of_pictures_after_a_stall_of_theirs_alone_finds_the_segments_that_sound_has_begun() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    session.run(&mut publisher, 6_000);
    publisher.video = false;
    session.run(&mut publisher, 4_000);
    assert!(!session.core.snapshot().away);
    publisher.video = true;
    session.run(&mut publisher, 6_000);
    assert!(!session.core.snapshot().away);
    let (video, audio) = (session.reader.video(), session.reader.audio());
    assert_never_starves(audio, 1_500);
    assert!(shown(video).iter().all(|time| session.sent.contains(time)));
    assert!(video.segments.values().all(|length| *length < 3.5));
}

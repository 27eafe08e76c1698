//! The sessions themselves: one test a behaviour.

use std::time::Duration;

use bicast_shared::media::Codec;
use bytes::Bytes;

use super::publisher::{BASELINE, Publisher, SMALL};
use super::reader::Track;
use super::{AUDIO, Session, VIDEO, tracks};
use crate::core::cmaf::SampleKind;

pub(super) fn both() -> Vec<bicast_shared::media::TrackInfo> {
    tracks(Some(Codec::H264), true)
}

/// Presentation times of the publisher's own frames.
pub(super) fn shown(track: &Track) -> Vec<i64> {
    let own = track.samples.iter().filter(|(_, sample)| sample.kind.is_original());
    own.map(|(_, sample)| sample.presentation).collect()
}

pub(super) fn stills(track: &Track) -> usize {
    track.samples.iter().filter(|(_, sample)| sample.kind == SampleKind::Disposable).count()
}

/// Every frame that was sent from the first one written on is written, once, at its media time.
fn assert_identity(session: &Session) {
    let mut written = shown(session.reader.video());
    written.sort_unstable();
    let first = written[0];
    let mut sent: Vec<i64> = session.sent.iter().copied().filter(|time| *time >= first).collect();
    // The newest frames are not in a part yet, and of B-frames the later ones may be there before the earlier ones.
    written.truncate(written.len() - 4);
    sent.truncate(written.len());
    let different = written.iter().zip(&sent).position(|(written, sent)| written != sent);
    assert_eq!(
        different,
        None,
        "{:?}",
        different.map(|at| (&written[at.saturating_sub(3)..], &sent[at..at + 4]))
    );
    assert_eq!(written.len(), sent.len());
}

/// A player at `latency` milliseconds behind the live edge never finds its buffer empty.
pub(super) fn assert_never_starves(track: &Track, latency: i64) {
    let mut buffered = 0.0;
    let begin = track.listed[0].0;
    for (at, duration) in &track.listed {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a test")]
        let played = (at - begin - latency).max(0) as f64 / 1_000.0;
        assert!(buffered >= played - 0.000_1, "at {at} ms {buffered} s were there, {played} s needed");
        buffered += duration;
    }
}

#[test]
fn usual_frame_rates_with_jittering_timestamps_keep_every_rule_for_minutes() {
    for (fps, seconds) in
        [(24.0, 40), (25.0, 40), (29.97, 60), (30.0, 420), (60.0, 40), (15.0, 40), (5.0, 60)]
    {
        let mut session = Session::new();
        session.begin_epoch(both());
        let mut publisher = Publisher::new(BASELINE, fps);
        publisher.jitter = 1;
        session.run(&mut publisher, seconds * 1_000);
        let (video, audio) = (session.reader.video(), session.reader.audio());
        assert_identity(&session);
        assert_eq!((video.short, audio.short), (0, 0), "{fps} fps");
        assert_eq!((stills(video), video.gaps), (0, 0), "{fps} fps");
        assert!(video.discontinuities.is_empty());
        assert_never_starves(video, 700);
        assert_never_starves(audio, 700);
        // Both renditions have the same numbers and begin together within a frame of sound.
        for (number, sample) in video.samples.iter().filter(|(_, sample)| sample.kind == SampleKind::Sync) {
            let Some((_, heard)) = audio.samples.iter().find(|(n, _)| n == number) else { continue };
            let late = heard.presentation * 90 / 48 - sample.presentation;
            let first = video.samples.iter().find(|(n, _)| n == number).unwrap().1.presentation;
            if first == sample.presentation {
                assert!(
                    (-45..1_845).contains(&late),
                    "segment {number} at {fps} fps: sound is {late} ticks off"
                );
            }
        }
        let lengths: Vec<f64> = video.segments.values().copied().collect();
        assert!((0.5..1.1).contains(&lengths[0]), "the first is short: {lengths:?}");
        assert!(lengths[1..].iter().all(|length| (1.5..3.5).contains(length)), "{lengths:?}");
    }
}

#[test]
fn the_first_playlist_does_not_wait_for_a_whole_segment() {
    let mut session = Session::new();
    session.begin_epoch(both());
    session.run(&mut Publisher::new(BASELINE, 30.0), 4_000);
    let first = session.reader.first_playable.unwrap();
    assert!(first < 1_500, "{first} ms");
}

#[test]
fn parts_follow_each_other_within_a_part_target() {
    let mut session = Session::new();
    session.begin_epoch(both());
    session.run(&mut Publisher::new(BASELINE, 30.0), 30_000);
    for track in [session.reader.video(), session.reader.audio()] {
        let late = track.listed.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 216 + 10).count();
        assert_eq!(late, 0);
    }
}

#[test]
fn b_frames_keep_their_presentation_times() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::with_b_frames();
    session.run(&mut publisher, 20_000);
    let video = session.reader.video();
    assert_identity(&session);
    assert!(session.core.snapshot().renditions[0].codecs.starts_with("avc1.64"));
    assert!(video.samples.iter().all(|(_, sample)| sample.decode <= sample.presentation));
    assert_eq!((video.gaps, video.short), (0, 0));
}

#[test]
fn a_deaf_publisher_is_cut_at_its_own_keyframes() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 20.0);
    publisher.answers = false;
    session.run(&mut publisher, 30_000);
    assert_identity(&session);
    let snapshot = session.core.snapshot();
    assert_eq!(snapshot.header.target_duration, 10);
    assert!(!snapshot.header.independent_segments);
    let lengths = &session.reader.video().segments;
    assert!(lengths.values().all(|length| (2.9..3.1).contains(length)), "{lengths:?}");
}

/// Segments that begin with a keyframe from before.
fn repeated(track: &Track) -> usize {
    track.samples.iter().filter(|(_, sample)| sample.kind == SampleKind::Repeated).count()
}

#[test]
fn a_segment_for_which_a_keyframe_was_asked_in_vain_can_still_be_decoded_by_itself() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.group = 10_000;
    session.run(&mut publisher, 8_000);
    assert!(session.core.snapshot().header.independent_segments);
    publisher.answers = false;
    session.run(&mut publisher, 4_000);
    publisher.answers = true;
    session.run(&mut publisher, 10_000);
    // That they can is what the reader checks.
    let video = session.reader.video();
    assert_eq!(repeated(video), 1);
    assert_eq!(session.reader.past.len(), 0);
    assert!((10..90).contains(&session.core.totals().lost), "{:?}", session.core.totals());
    assert_eq!((video.gaps, video.short), (0, 0));
    assert_never_starves(video, 900);
    assert!(shown(video).iter().all(|time| session.sent.contains(time)));
}

#[test]
fn a_publisher_that_has_become_deaf_gets_playlists_that_promise_less() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.group = 240;
    session.run(&mut publisher, 8_000);
    publisher.answers = false;
    session.run(&mut publisher, 40_000);
    let snapshot = session.core.snapshot();
    assert_eq!((snapshot.header.target_duration, snapshot.header.independent_segments), (10, false));
    assert_eq!(session.reader.past.len(), 1);
    assert_eq!(repeated(session.reader.video()), 0);
    let lengths: Vec<f64> = session.reader.video().segments.values().copied().collect();
    assert!(lengths.iter().all(|length| (7.9..8.1).contains(length)), "{lengths:?}");
    // A keyframe every 8 s from then on: nothing is left out any more.
    let lost = session.core.totals().lost;
    session.run(&mut publisher, 20_000);
    assert_eq!(session.core.totals().lost, lost);
}

#[test]
fn a_deaf_publisher_that_takes_over_gets_playlists_that_promise_less() {
    let mut session = Session::new();
    stay(&mut session, Some(Codec::H264), true);
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.group = 150;
    publisher.answers = false;
    session.run(&mut publisher, 30_000);
    let snapshot = session.core.snapshot();
    assert_eq!((snapshot.header.target_duration, snapshot.header.independent_segments), (10, false));
    assert_eq!(session.reader.past.len(), 1);
    // And one that answers again goes on in them: more than was promised.
    session.end_epoch();
    session.begin_epoch(both());
    session.run(&mut Publisher::new(BASELINE, 30.0), 10_000);
    assert_eq!(session.core.snapshot().instance, snapshot.instance);
    assert_eq!(session.core.snapshot().discontinuities, 2, "one for each return");
}

#[test]
fn a_lost_packet_costs_its_group_and_the_timeline_goes_on() {
    let mut session = Session::new();
    session.lose = |sequence| sequence > 400 && sequence % 433 < 2;
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    session.run(&mut publisher, 30_000);
    let (video, audio) = (session.reader.video(), session.reader.audio());
    let snapshot = session.core.snapshot();
    assert!((1..120).contains(&snapshot.lost_access_units), "{}", snapshot.lost_access_units);
    assert!(session.keyframes_asked >= 1);
    let written = shown(video);
    assert!(written.iter().all(|time| session.sent.contains(time)));
    let missing = session.sent.range(written[0]..=*written.last().unwrap()).count() - written.len();
    let unseen = missing as u64 - snapshot.lost_access_units;
    assert!(unseen < 20, "{unseen} frames of which no packet came");
    assert_eq!((video.gaps, audio.gaps), (0, 0), "still frames fill what is missing");
    assert!(stills(video) > 0 && video.discontinuities.is_empty());
    assert_eq!(video.short, 0);
    assert_never_starves(video, 900);
    assert_never_starves(audio, 900);
}

#[test]
fn without_still_frames_a_loss_is_marked_as_a_gap() {
    let mut session = Session::new();
    session.lose = |sequence| sequence == 300;
    session.begin_epoch(both());
    let mut publisher = Publisher::with_b_frames();
    session.run(&mut publisher, 20_000);
    let video = session.reader.video();
    assert!(video.gaps > 0 && stills(video) == 0);
    assert!(video.gaps < 90_000, "{}", video.gaps);
    assert!(video.discontinuities.is_empty());
}

#[test]
fn frames_that_outlast_a_part_are_followed_by_stills_and_rule_18_holds() {
    // A screen that stands still: one frame a second, but for bursts.
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.pause = |millis| millis > 6_000 && millis % 1_000 > 40 && (millis / 4_000) % 2 == 1;
    session.run(&mut publisher, 40_000);
    let (video, audio) = (session.reader.video(), session.reader.audio());
    assert_identity(&session);
    assert_eq!((video.gaps, video.short), (0, 0));
    assert!(stills(video) > 20);
    assert_never_starves(video, 900);
    assert_never_starves(audio, 900);
}

#[test]
fn a_returning_publisher_goes_on_behind_a_discontinuity() {
    let mut session = Session::new();
    session.begin_epoch(both());
    session.run(&mut Publisher::new(BASELINE, 30.0), 9_300);
    session.end_epoch();
    assert!(session.core.snapshot().away);
    let before = (session.reader.video().samples.len(), session.reader.audio().samples.len());
    let last = session.core.snapshot().renditions.iter().map(|r| r.next_part()).collect::<Vec<_>>();
    assert_eq!(last[0], last[1], "both renditions end with the same segment");
    let mut nobody = Publisher::new(BASELINE, 30.0);
    (nobody.video, nobody.audio) = (false, false);
    session.run(&mut nobody, 8_000);
    assert_eq!(before, (session.reader.video().samples.len(), session.reader.audio().samples.len()));
    session.begin_epoch(both());
    session.run(&mut Publisher::new(SMALL, 30.0), 9_000);
    let (video, audio) = (session.reader.video(), session.reader.audio());
    assert_identity(&session);
    assert_eq!(video.discontinuities.len(), 1);
    assert_eq!(video.discontinuities, audio.discontinuities, "in all renditions at the same segment");
    let snapshot = session.core.snapshot();
    let numbers: Vec<u64> = snapshot.renditions[0].segments.iter().map(|s| s.head.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    let inits: Vec<u32> = snapshot.renditions[0].segments.iter().map(|s| s.head.init.number).collect();
    assert_eq!((inits[0], *inits.last().unwrap()), (0, 1), "another size needs another init segment");
    let times: Vec<i64> = snapshot.renditions[0]
        .segments
        .windows(2)
        .filter(|pair| pair[1].head.discontinuity)
        .map(|pair| (pair[1].head.program_time - pair[0].head.program_time) / 1_000_000_000)
        .collect();
    assert!(times[0] >= 8, "the date jumps over the absence: {times:?}");
}

fn sound_only() -> Vec<bicast_shared::media::TrackInfo> {
    both().split_off(1)
}

/// Lets a publisher with these tracks send for 8 s; video that is not H264 has the payloads of VP8.
fn stay(session: &mut Session, video: Option<Codec>, audio: bool) {
    let mut tracks = tracks(video, true);
    if video.is_none() {
        tracks = sound_only();
    }
    tracks.retain(|track| audio || track.kind() == bicast_shared::media::TrackKind::Video);
    session.begin_epoch(tracks);
    let mut publisher = Publisher::new(BASELINE, 30.0);
    if video == Some(Codec::Vp8) {
        publisher.frames = vp8();
    }
    (publisher.video, publisher.audio) = (video.is_some(), audio);
    session.run(&mut publisher, 8_000);
    session.end_epoch();
    publisher.video = false;
    publisher.audio = false;
    session.run(&mut publisher, 2_000);
}

#[test]
fn a_publisher_that_returns_with_other_tracks_begins_another_instance() {
    let (h264, vp8) = (Some(Codec::H264), Some(Codec::Vp8));
    for (before, after) in [
        ((None, true), (h264, true)),
        ((h264, true), (None, true)),
        ((h264, true), (h264, false)),
        ((h264, false), (h264, true)),
        ((h264, true), (vp8, true)),
        ((vp8, true), (h264, true)),
        ((vp8, true), (None, true)),
    ] {
        let mut session = Session::new();
        stay(&mut session, before.0, before.1);
        let first = session.core.snapshot();
        stay(&mut session, after.0, after.1);
        let second = session.core.snapshot();
        let names = |snapshot: &crate::core::snapshot::FeedSnapshot| {
            snapshot.renditions.iter().map(|rendition| rendition.name.clone()).collect::<Vec<_>>()
        };
        let expected = |(video, audio): (Option<Codec>, bool)| {
            let video = (video == h264).then_some("video0");
            video.into_iter().chain(audio.then_some("audio0")).collect::<Vec<_>>()
        };
        assert_eq!(names(&first), expected(before));
        assert_eq!(names(&second), expected(after));
        assert_eq!(second.refused.is_some(), after.0 == vp8);
        assert!(second.playable() && !second.ended);
        // The old one was read to its end, and the numbers run on.
        assert_eq!(session.reader.past.len(), 1);
        assert_eq!(session.reader.past[0].0, first.instance);
        assert_ne!(first.instance, second.instance);
        let last = first.renditions[0].last_complete().unwrap();
        let next = second.renditions[0].segments[0].head.number;
        assert_eq!(next, last + 1);
        assert!(second.instance.ends_with(&format!("-{next}")), "{}", second.instance);
        for rendition in &second.renditions {
            assert_eq!(rendition.segments[0].head.number, next);
            assert!(!rendition.segments[0].head.discontinuity && rendition.discontinuity_sequence == 0);
        }
    }
}

#[test]
fn what_cannot_be_packaged_ends_the_playlists_and_what_can_begins_new_ones() {
    let mut session = Session::new();
    stay(&mut session, Some(Codec::H264), false);
    stay(&mut session, Some(Codec::Vp8), false);
    let refused = session.core.snapshot();
    assert!(refused.renditions.is_empty() && refused.refused.unwrap().contains("VP8"));
    assert_eq!(session.reader.past.len(), 1);
    stay(&mut session, Some(Codec::H264), false);
    assert!(session.core.snapshot().playable() && session.core.snapshot().refused.is_none());
}

#[test]
fn a_publisher_that_connects_and_sends_nothing_ends_nothing() {
    let mut session = Session::new();
    stay(&mut session, Some(Codec::H264), true);
    let before = session.core.snapshot().instance;
    session.begin_epoch(sound_only());
    session.end_epoch();
    stay(&mut session, Some(Codec::H264), true);
    assert_eq!(session.core.snapshot().instance, before);
    assert!(session.reader.past.is_empty() && !session.core.snapshot().ended);
    assert_eq!(session.core.snapshot().discontinuities, 1);
}

#[test]
fn counts_go_on_over_instances() {
    let mut session = Session::new();
    stay(&mut session, Some(Codec::H264), true);
    stay(&mut session, Some(Codec::H264), true);
    let before = session.core.totals();
    assert_eq!(before.discontinuities, 1);
    stay(&mut session, None, true);
    let after = session.core.totals();
    assert_eq!((after.discontinuities, session.core.snapshot().discontinuities), (1, 1));
    assert!(after.parts > before.parts + 30 && after.segments > before.segments + 3);
}

#[test]
fn another_resolution_in_mid_stream_is_a_new_init_behind_a_discontinuity() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    session.run(&mut publisher, 9_000);
    publisher.change_stream(SMALL);
    session.run(&mut publisher, 9_000);
    let (video, audio) = (session.reader.video(), session.reader.audio());
    assert_eq!(video.discontinuities.len(), 1);
    assert_eq!(video.discontinuities, audio.discontinuities);
    let snapshot = session.core.snapshot();
    assert!(matches!(
        snapshot.renditions[0].media,
        crate::core::snapshot::RenditionMedia::Video { width: 128, height: 72, .. }
    ));
    // Sound runs on without a break, and so does the picture's time.
    assert!(audio.samples.windows(2).all(|pair| pair[1].1.decode - pair[0].1.decode < 970));
    assert!(
        video
            .samples
            .windows(2)
            .all(|pair| pair[1].1.decode == pair[0].1.decode + i64::from(pair[0].1.duration))
    );
}

#[test]
fn corrupt_video_is_contained() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.corrupt = |number, payload| match number {
        // A bad SPS, a zero-length unit, a fragment without its start, garbage.
        90 | 91 if payload[0] & 0x1f == 7 => Some(Bytes::from_static(&[0x67, 0x42])),
        120 => Some(Bytes::from_static(&[0x78, 0, 0])),
        200 => Some(Bytes::from_static(&[0x7c, 0x41, 1, 2, 3])),
        260 => Some(Bytes::from_static(&[0xff; 9])),
        _ => None,
    };
    session.run(&mut publisher, 30_000);
    let video = session.reader.video();
    let written = shown(video);
    assert!(written.iter().all(|time| session.sent.contains(time)));
    assert!(session.core.snapshot().lost_access_units >= 3);
    assert!(written.len() > 30 * 22, "it goes on: {}", written.len());
    assert!(session.core.snapshot().refused.is_none());
}

#[test]
fn a_stream_without_parameter_sets_is_refused_with_its_reason() {
    let mut session = Session::new();
    session.begin_epoch(tracks(Some(Codec::H264), false));
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.audio = false;
    for frame in &mut publisher.frames {
        frame.retain(|unit| !matches!(unit[0] & 0x1f, 7 | 8));
    }
    session.run(&mut publisher, 5_000);
    let snapshot = session.core.snapshot();
    assert!(!snapshot.playable());
    assert!(snapshot.refused.unwrap().contains("no SPS"));
}

#[test]
fn a_feed_without_video_is_cut_by_its_sound() {
    let mut session = Session::new();
    session.begin_epoch(tracks(None, true));
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.video = false;
    publisher.audio_key = VIDEO;
    session.run(&mut publisher, 20_000);
    let audio = session.reader.audio();
    assert!(audio.segments.len() >= 8);
    assert!((0.58..0.64).contains(&audio.segments[&0]), "the first is short: {:?}", audio.segments);
    let rest = audio.segments.values().skip(1);
    assert!(rest.clone().all(|length| (1.97..=2.03).contains(length)), "{:?}", audio.segments);
    assert_eq!(audio.short, 0);
    assert!(!session.reader.tracks.contains_key("video0"));
}

/// A VP8 keyframe (start of partition 0, frame header with its lowest bit 0) and 59 frames that are none.
pub(super) fn vp8() -> Vec<super::publisher::Frame> {
    let mut frames = vec![vec![Bytes::from_static(&[0x10, 0x01, 1, 2])]; 60];
    frames[0] = vec![Bytes::from_static(&[0x10, 0x00, 1, 2])];
    frames
}

#[test]
fn vp8_video_is_refused_and_its_sound_packaged() {
    let mut session = Session::new();
    session.begin_epoch(tracks(Some(Codec::Vp8), true));
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.frames = vp8();
    session.run(&mut publisher, 15_000);
    let snapshot = session.core.snapshot();
    assert!(snapshot.playable());
    assert!(snapshot.refused.unwrap().contains("VP8"));
    assert!(session.reader.audio().segments.len() >= 5);
    assert!(!session.reader.tracks.contains_key("video0"));
}

#[test]
fn a_silent_microphone_does_not_stop_the_picture() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    session.run(&mut publisher, 6_000);
    publisher.audio = false;
    session.run(&mut publisher, 6_000);
    publisher.audio = true;
    session.run(&mut publisher, 6_000);
    let audio = session.reader.audio();
    assert_never_starves(audio, 1_200);
    assert!(audio.samples.windows(2).all(|pair| pair[1].1.decode - pair[0].1.decode < 970));
    let mut never = Session::new();
    never.begin_epoch(both());
    let mut mute = Publisher::new(BASELINE, 30.0);
    mute.audio = false;
    never.run(&mut mute, 8_000);
    assert!(never.reader.first_playable.is_some());
}

#[test]
fn a_camera_that_is_never_turned_on_does_not_keep_the_sound_from_hls() {
    for codec in [Codec::H264, Codec::Vp8] {
        let mut session = Session::new();
        session.begin_epoch(tracks(Some(codec), true));
        let mut publisher = Publisher::new(BASELINE, 30.0);
        publisher.pause = |millis| millis < 15_000;
        session.run(&mut publisher, 14_000);
        let first = session.reader.first_playable.unwrap();
        assert!((3_500..5_000).contains(&first), "{first} ms");
        let snapshot = session.core.snapshot();
        assert_eq!(snapshot.renditions.len(), 1);
        assert!(snapshot.refused.is_none() && snapshot.header.target_duration == 2);
        let audio = session.reader.audio();
        assert!(audio.discontinuities.is_empty() && audio.segments.len() >= 5);
        assert_never_starves(audio, 900);
    }
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.pause = |millis| millis < 15_000;
    session.run(&mut publisher, 25_000);
    let both = session.core.snapshot();
    assert_eq!(both.renditions.len(), 2, "the camera was turned on");
    assert!(both.playable() && both.header.target_duration == 3);
    assert_identity(&session);
    let (name, before) = &session.reader.past[0];
    assert!(session.reader.past.len() == 1 && *name != both.instance);
    // From the sound's last moment in the one to its first in the other nothing was sent that is in neither, but what came
    // before the picture's first segment.
    let end = before["audio0"].samples.last().unwrap().1;
    let begin = session.reader.audio().samples[0].1;
    let hole = begin.decode - end.decode - i64::from(end.duration);
    assert!((0..960).contains(&hole), "{hole}");
}

#[test]
fn a_stall_longer_than_a_segment_may_be_ends_it() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    session.run(&mut publisher, 6_000);
    (publisher.video, publisher.audio) = (false, false);
    session.run(&mut publisher, 5_000);
    (publisher.video, publisher.audio) = (true, true);
    publisher.pause = |_| false;
    session.run(&mut publisher, 9_000);
    let written = shown(session.reader.video());
    assert!(written.iter().all(|time| session.sent.contains(time)));
    assert!(session.reader.video().segments.len() >= 5);
}

#[test]
fn an_ended_feed_has_everything_and_an_end() {
    let mut session = Session::new();
    session.begin_epoch(both());
    let mut publisher = Publisher::new(BASELINE, 30.0);
    session.run(&mut publisher, 7_000);
    session.end();
    assert!(session.reader.ended);
    let written = shown(session.reader.video());
    let sent: Vec<i64> = session.sent.range(written[0]..).copied().collect();
    assert_eq!(written, sent, "down to the last frame");
}

#[test]
fn the_window_slides_and_counts_what_left_it() {
    let mut session = Session::with_window(Duration::from_secs(20));
    session.begin_epoch(both());
    session.run(&mut Publisher::new(BASELINE, 30.0), 5_000);
    session.end_epoch();
    session.begin_epoch(both());
    session.run(&mut Publisher::new(BASELINE, 30.0), 60_000);
    let snapshot = session.core.snapshot();
    for rendition in &snapshot.renditions {
        assert!((18.0..26.0).contains(&rendition.seconds()), "{}", rendition.seconds());
        assert_eq!(rendition.discontinuity_sequence, 1);
    }
    assert_eq!(AUDIO.track.0, 1);
}

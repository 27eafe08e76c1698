use bicast_shared::id::{Epoch, SegmentNumber};
use bicast_shared::time::ClockRate;
use expect_test::{ExpectFile, expect_file};

use super::*;
use crate::core::view::tests as views;

fn moment(media_time: i64) -> Moment {
    let media_time = MediaTime(media_time);
    let map = views::live_feed().map.unwrap();
    let program_time = map.master_time(ClockRate::VIDEO, media_time);
    Moment { media_time, rate: ClockRate::VIDEO, program_time }
}

/// A feed whose publisher returned after a minute.
pub(crate) fn outline() -> Outline {
    let stay = |epoch, begin, segment, discontinuity_sequence| found::Stay {
        epoch: Epoch(epoch),
        begin: moment(begin),
        instance: "19ac83b1f2".into(),
        segment: SegmentNumber(segment),
        discontinuity_sequence,
    };
    Outline {
        window: found::Window { oldest: moment(1_440_000), newest: moment(7_164_000) },
        stays: vec![stay(0, 900_000, 3, 0), stay(1, 6_300_000, 30, 1)],
    }
}

fn file(rendition: &str, name: &str) -> String {
    format!("/hls/demo/{rendition}/19ac83b1f2/{name}")
}

/// A moment that is in a part in memory of the picture, and for which the sound has nothing yet.
pub(crate) fn located() -> Located {
    let at = moment(7_098_500);
    let frame = found::FramePlace {
        presentation: MediaTime(7_098_000),
        ticks: 3_000,
        is_sync: false,
        range: found::ByteRange { offset: 172_096, length: 9_318 },
    };
    let segment = found::SegmentPlace {
        number: SegmentNumber(34),
        url: file("video0", "34.m4s"),
        is_complete: false,
        begin: MediaTime(7_020_000),
        ticks: 144_000,
        init: Some(file("video0", "init0.mp4")),
        part: Some(found::PartPlace { index: 4, url: Some(file("video0", "34.4.m4s")) }),
        range: Some(found::ByteRange { offset: 152_310, length: 40_122 }),
        frame: Some(frame),
    };
    let place = |rendition: &str, timescale, state, segment| found::Place {
        rendition: rendition.into(),
        state,
        media_time: at.media_time.to_rate(ClockRate::VIDEO, timescale),
        timescale,
        playlist: file(rendition, "media.m3u8"),
        segment,
    };
    Located {
        moment: at,
        epoch: Some(Epoch(1)),
        instance: "19ac83b1f2".into(),
        places: vec![
            place("video0", ClockRate::VIDEO, PlaceState::Here, Some(segment)),
            place("audio0", ClockRate::OPUS, PlaceState::Coming, None),
        ],
    }
}

fn assert_wire(file: &ExpectFile, value: &impl serde::Serialize) {
    file.assert_eq(&format!("{}\n", serde_json::to_string_pretty(value).unwrap()));
}

#[test]
fn the_wire_is_what_the_players_tests_read() {
    let said = view(views::live(), Some(&outline()), None);
    assert_wire(&expect_file!["../../../tests/fixtures/wire/timeline.json"], &said);
    let with_position = view(views::live(), Some(&outline()), Some(located()));
    assert_wire(&expect_file!["../../../tests/fixtures/wire/timeline-position.json"], &with_position);
    let text = serde_json::to_string(&with_position).unwrap();
    assert_eq!(serde_json::from_str::<FeedTimeline>(&text).unwrap(), with_position);
    let problem =
        outside("demo", "programTime", Some(OutsideWindow { window: outline().window, is_ahead: false }));
    assert_wire(&expect_file!["../../../tests/fixtures/wire/problem-outside-window.json"], &problem);
}

fn ask(query: &[(&str, &str)]) -> Result<Option<Asked>, Box<Problem>> {
    let query: Vec<(String, String)> =
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    asked(&query).map(|asked| asked.map(|(asked, _)| asked))
}

#[test]
fn a_moment_is_asked_for_by_one_of_three_names() {
    let program = |nanos| Asked::Program(ProgramTime::from_unix_nanos(nanos));
    assert_eq!(ask(&[]), Ok(None));
    for (name, value, expected) in [
        ("rtpTimestamp", "0", Asked::Rtp(0)),
        ("rtpTimestamp", "4294967295", Asked::Rtp(u32::MAX)),
        ("mediaTime", "900000", Asked::Media(MediaTime(900_000))),
        ("mediaTime", "-5", Asked::Media(MediaTime(-5))),
        ("programTime", "1795411752840", program(1_795_411_752_840_000_000)),
        ("programTime", "1795411752840.123", program(1_795_411_752_840_123_000)),
        ("programTime", "1795411752840.1234567", program(1_795_411_752_840_123_456)),
        ("programTime", "0", program(0)),
        ("programTime", "2026-11-23T05:09:12.840Z", program(1_795_410_552_840_000_000)),
        ("programTime", "2026-11-23T06:09:12.840+01:00", program(1_795_410_552_840_000_000)),
    ] {
        assert_eq!(ask(&[(name, value)]), Ok(Some(expected)), "{name}={value}");
    }
}

#[test]
fn what_cannot_be_a_moment_is_refused_by_its_parameters_name() {
    let long = "9".repeat(10_000);
    for (query, parameter) in [
        (&[("rtpTimestamp", "4294967296")][..], "rtpTimestamp"),
        (&[("rtpTimestamp", "-1")], "rtpTimestamp"),
        (&[("rtpTimestamp", "")], "rtpTimestamp"),
        (&[("rtpTimestamp", "0x10")], "rtpTimestamp"),
        (&[("mediaTime", "1.5")], "mediaTime"),
        (&[("mediaTime", "9223372036854775808")], "mediaTime"),
        (&[("mediaTime", &long)], "mediaTime"),
        (&[("programTime", "yesterday")], "programTime"),
        (&[("programTime", "")], "programTime"),
        (&[("programTime", ".5")], "programTime"),
        (&[("programTime", "5.")], "programTime"),
        (&[("programTime", "5.5.5")], "programTime"),
        (&[("programTime", "-5")], "programTime"),
        (&[("programTime", "1e12")], "programTime"),
        (&[("programTime", "\u{661}")], "programTime"),
        (&[("programTime", "2026-02-30T00:00:00Z")], "programTime"),
        (&[("programTime", &long)], "programTime"),
        (&[("mediaTime", "1"), ("rtpTimestamp", "1")], "rtpTimestamp"),
        (&[("mediaTime", "1"), ("mediaTime", "1")], "mediaTime"),
        (&[("rtp", "1")], "rtp"),
        (&[("mediatime", "1")], "mediatime"),
    ] {
        let problem = ask(query).unwrap_err();
        assert_eq!((problem.status, problem.kind.as_str()), (400, "/problems/bad-position"));
        assert_eq!(problem.extra["parameter"], parameter, "{query:?}");
        assert!(problem.hint.is_some() && problem.detail.len() < 400, "{problem:?}");
    }
    let day = ask(&[("programTime", "2026-02-30T00:00:00Z")]).unwrap_err().detail;
    assert!(day.contains("no such day"), "{day}");
}

#[test]
fn what_is_not_in_the_window_is_told_with_the_window() {
    let window = outline().window;
    let told = |name, is_ahead| outside("demo", name, Some(OutsideWindow { window, is_ahead }));
    assert!(told("mediaTime", true).detail.contains("behind"));
    assert!(told("mediaTime", false).detail.contains("before"));
    assert!(told("rtpTimestamp", true).detail.contains("has this rtpTimestamp"));
    assert_eq!(told("mediaTime", true).extra["window"]["oldest"]["mediaTime"], 1_440_000);
    let nothing = outside("demo", "mediaTime", None);
    assert_eq!((nothing.status, &nothing.extra["window"]), (404, &serde_json::Value::Null));
}

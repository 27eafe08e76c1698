use super::*;

const RATE: ClockRate = ClockRate::VIDEO;

fn window(ticks: i64, bytes: usize) -> Window {
    Window::new(limits(ticks, bytes))
}

fn limits(ticks: i64, bytes: usize) -> WindowLimits {
    WindowLimits {
        rate: RATE,
        part: 4,
        segment: 30,
        ticks,
        least_ticks: 30,
        grace_ticks: 20,
        live_ticks: 30,
        late_ticks: 0,
        held_ticks: i64::MAX,
        bytes,
        stored_bytes: usize::MAX,
    }
}

fn head(number: u64, discontinuity: bool) -> SegmentHead {
    let init = Arc::new(Init { number: 0, data: Bytes::new() });
    let program_time = ProgramTime::default();
    SegmentHead {
        number,
        program_time,
        discontinuity,
        init,
        decode: 0,
        presentation: 0,
        stay: Stay::default(),
    }
}

fn part(ticks: i64, data: &'static [u8]) -> Part {
    Part { ticks, independent: true, gap: false, keyframe_bytes: 0, data: Bytes::from_static(data) }
}

fn numbers(segments: &[Arc<Segment>]) -> Vec<u64> {
    segments.iter().map(|segment| segment.head.number).collect()
}

#[test]
fn a_segment_is_its_parts_byte_for_byte() {
    let mut window = window(100, 1 << 20);
    window.begin(head(5, false));
    assert!(window.listed().is_empty(), "nothing to play in it yet");
    window.push(part(4, b"abc"));
    window.push(part(6, b"de"));
    assert!(!window.listed()[0].complete);
    window.end();
    let segment = &window.listed()[0];
    assert_eq!(&segment.data[..], b"abcde");
    assert_eq!(&segment.parts[1].data[..], b"de");
    assert_eq!(segment.ticks, 10);
}

#[test]
fn the_oldest_go_first_by_time_and_by_bytes_but_never_too_many() {
    for (mut window, kept) in [(window(50, 1 << 20), 5), (window(1_000, 40), 4), (window(1_000, 5), 3)] {
        for number in 0..9 {
            window.begin(head(number, number == 2));
            window.push(part(10, b"0123456789"));
        }
        window.end();
        let listed = numbers(&window.listed());
        assert_eq!(listed.len(), kept, "{listed:?}");
        assert_eq!(listed.last(), Some(&8));
        assert_eq!(window.discontinuity_sequence(), 1);
        assert_eq!(numbers(&window.removed()).last(), Some(&(listed[0] - 1)), "still served for a while");
        assert_eq!(window.removed().len(), 2);
    }
}

/// A segment of 2 s on 90 kHz that begins `seconds` after 1970, in playlists of 3 s and 216 ms.
fn later(number: u64, seconds: u64, discontinuity: bool) -> SegmentHead {
    let program_time = ProgramTime::default() + Duration::from_secs(seconds);
    SegmentHead { program_time, ..head(number, discontinuity) }
}

fn real(window_seconds: i64) -> Window {
    let limits = WindowLimits {
        rate: RATE,
        part: 19_440,
        segment: 270_000,
        ticks: window_seconds * 90_000,
        least_ticks: 810_000,
        grace_ticks: 0,
        ..limits(0, 1 << 20)
    };
    Window::new(limits)
}

#[test]
fn numbers_left_out_are_gaps() {
    let mut window = window(1_000, 1 << 20);
    window.begin(head(3, false));
    window.push(part(10, b"x"));
    window.begin(head(6, true));
    window.push(part(10, b"y"));
    let listed = window.listed();
    assert_eq!(numbers(&listed), [3, 4, 5, 6]);
    assert_eq!(listed.iter().map(|s| s.is_gap()).collect::<Vec<_>>(), [false, true, true, false]);
}

#[test]
fn gaps_share_the_missing_time_in_parts_that_are_not_too_long() {
    for (missing, seconds, each) in [(3, 6, 2.0), (3, 7, 7.0 / 3.0), (100, 200, 2.0), (2, 60, 3.0)] {
        let mut window = real(1_000);
        window.begin(later(7, 10, false));
        window.push(part(180_000, b"x"));
        window.begin(later(8 + missing, 12 + seconds, true));
        window.push(part(18_000, b"y"));
        let listed = window.listed();
        assert_eq!(numbers(&listed), (7..=8 + missing).collect::<Vec<_>>());
        for pair in listed[..=usize::try_from(missing).unwrap()].windows(2) {
            let step = pair[1].head.program_time - pair[0].head.program_time;
            assert!((step - RATE.nanos(pair[0].ticks)).abs() < 1_000_000, "the date runs on by EXTINF");
            assert!((pair[1].ticks as f64 / 90_000.0 - each).abs() < 0.000_1);
            assert!(pair[1].parts.iter().all(|part| part.gap && (1..=19_440).contains(&part.ticks)));
            assert_eq!(pair[1].parts.iter().map(|part| part.ticks).sum::<i64>(), pair[1].ticks);
            assert!(!pair[1].head.discontinuity);
        }
    }
}

#[test]
fn however_many_gaps_there_are_numbers_are_right_and_the_window_is_as_long_as_ever() {
    let mut window = real(20);
    window.begin(later(0, 0, false));
    window.push(part(180_000, b"x"));
    window.begin(later(10_001, 20_002, true));
    window.push(part(18_000, b"y"));
    let listed = numbers(&window.listed());
    assert_eq!(listed.last(), Some(&10_001));
    assert!(listed.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert!((9..=12).contains(&listed.len()), "{listed:?}");
    assert_eq!(window.discontinuity_sequence(), 0);
}

/// Segments `numbers` of 10 ticks and 10 bytes each.
fn fill(window: &mut Window, numbers: std::ops::Range<u64>) {
    for number in numbers {
        window.begin(head(number, number == 2));
        window.push(part(10, b"0123456789"));
    }
    window.end();
}

fn held(window: &Window) -> Vec<u64> {
    numbers(&window.listed().into_iter().filter(|s| s.stored.is_none()).collect::<Vec<_>>())
}

#[test]
fn what_is_stored_leaves_the_memory_behind_the_live_part_and_stays_listed() {
    let mut window = Window::new(WindowLimits { held_ticks: 60, ..limits(1_000, 100) });
    fill(&mut window, 0..6);
    window.handle_stored(4);
    assert_eq!((held(&window), window.bytes, window.away_bytes), (vec![3, 4, 5], 30, 30));
    let listed = window.listed();
    assert_eq!(numbers(&listed), [0, 1, 2, 3, 4, 5]);
    assert!(listed[0].data.is_empty() && listed[0].parts.is_empty() && listed[0].complete);
    assert_eq!((listed[0].bytes(), listed[0].ticks, listed[0].is_gap()), (10, 10, false));
    fill(&mut window, 6..30);
    assert_eq!(held(&window).len(), 6, "nothing was stored since: as many as memory may hold");
    assert_eq!(numbers(&window.listed()).first(), Some(&24), "and a list has no holes");
    window.handle_stored(29);
    assert_eq!(held(&window), [27, 28, 29]);
    assert_eq!(window.discontinuity_sequence(), 1);
}

#[test]
fn the_store_has_its_limit_too() {
    let mut window = Window::new(WindowLimits { stored_bytes: 50, ..limits(1_000, 1 << 20) });
    for number in 0..20 {
        fill(&mut window, number..number + 1);
        window.handle_stored(number);
    }
    fill(&mut window, 20..21);
    assert_eq!(numbers(&window.listed()), (13..=20).collect::<Vec<_>>(), "five there, three held");
}

#[test]
fn a_full_store_loses_its_oldest_at_once_but_never_too_many() {
    let mut window = window(1_000, 1 << 20);
    fill(&mut window, 0..10);
    window.handle_stored(9);
    fill(&mut window, 10..11);
    fill(&mut window, 11..13);
    window.make_room();
    assert_eq!(numbers(&window.listed()).first(), Some(&3), "as many bytes as wait");
    assert_eq!(window.discontinuity_sequence(), 1);
    assert!(window.removed().is_empty(), "their bytes are wanted now");
    for _ in 0..5 {
        window.make_room();
    }
    assert_eq!(
        numbers(&window.listed()).first(),
        held(&window).first(),
        "what is held is no use to a full store"
    );
}

#[test]
fn a_playlist_goes_on_where_it_was() {
    let mut window = window(60, 1 << 20);
    fill(&mut window, 0..9);
    window.handle_stored(8);
    let away = |segment: &Arc<Segment>| {
        let stored = Stored { bytes: segment.bytes(), keyframe_bytes: 10 };
        Segment::only_stored(segment.head.clone(), segment.ticks, stored)
    };
    let kept = window.listed().iter().map(away).collect();
    let mut again = Window::restore(limits(60, 1 << 20), kept, window.discontinuity_sequence());
    assert_eq!(numbers(&again.listed()), numbers(&window.listed()));
    assert_eq!((again.discontinuities(), again.discontinuity_sequence()), (1, 1));
    assert_eq!((again.newest(), again.listed()[0].keyframe()), (Some(8), Some(10)));
    again.begin(head(9, true));
    again.push(part(10, b"0123456789"));
    again.end();
    assert_eq!(numbers(&again.listed()), [4, 5, 6, 7, 8, 9]);
    assert_eq!(numbers(&again.removed()), [3], "still served");
    assert_eq!((again.bytes, again.away_bytes, again.held_ticks, again.ticks), (10, 50, 10, 60));
}

#[test]
fn a_window_can_become_longer_and_shorter() {
    let mut window = window(50, 1 << 20);
    let mut number = 0;
    let mut listed = |window: &mut Window, more: u64| {
        for _ in 0..more {
            window.begin(head(number, false));
            window.push(part(10, b"0123456789"));
            number += 1;
        }
        window.end();
        window.listed().len()
    };
    assert_eq!(listed(&mut window, 20), 5);
    window.set_length(100, 100);
    assert_eq!(listed(&mut window, 3), 8, "it fills with what comes");
    assert_eq!(listed(&mut window, 20), 10);
    window.set_length(40, 40);
    assert_eq!(listed(&mut window, 1), 4);
    window.set_length(0, 0);
    assert_eq!(listed(&mut window, 1), 3, "never less than players need");
}

#[test]
fn what_somebody_is_behind_is_kept_within_the_bytes_but_never_less_than_a_list() {
    for (bytes, listed, removed) in [(1 << 20, 100, 6), (100, 10, 2), (40, 4, 5), (5, 3, 6)] {
        let mut window = Window::new(WindowLimits { late_ticks: 40, ..limits(1_000, bytes) });
        fill(&mut window, 0..120);
        assert_eq!((window.listed().len(), window.removed().len()), (listed, removed), "{bytes}");
        assert_eq!(
            numbers(&window.removed()).last().map(|last| last + 1),
            window.segments.front().map(|s| s.head.number)
        );
    }
}

#[test]
fn what_somebody_is_behind_stays_in_memory_where_there_is_room() {
    for (bytes, kept) in [(1 << 20, vec![5, 6, 7, 8, 9, 10, 11]), (50, vec![9, 10, 11])] {
        let mut window = Window::new(WindowLimits { late_ticks: 40, ..limits(1_000, bytes) });
        fill(&mut window, 0..12);
        window.handle_stored(11);
        assert_eq!(held(&window), kept);
    }
    let mut window = Window::new(WindowLimits { late_ticks: 40, ..limits(1_000, 1 << 20) });
    window.set_length(1_000, 10);
    fill(&mut window, 0..12);
    assert_eq!(held(&window).len(), 7, "it is not less than that where nothing is stored");
}

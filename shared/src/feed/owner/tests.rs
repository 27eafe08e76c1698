//! The invariants of the timeline, on simulated publishers.

use super::*;
use crate::clock;

const VIDEO: StreamKey = StreamKey::new(TrackId(0), crate::id::RenditionId(0));
const AUDIO: StreamKey = StreamKey::new(TrackId(1), crate::id::RenditionId(0));
const FRAME: Duration = Duration::from_nanos(33_333_333);

/// Some moment for tests to count from.
pub(super) fn start() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]
    *START.get_or_init(Instant::now)
}

/// A publisher on virtual time: 30 frames a second of one packet each, and Opus of 20 ms.
struct Publisher {
    owner: FeedOwner,
    elapsed: Duration,
    video: RtpClock,
    audio: RtpClock,
    keyframe_every: Option<u32>,
    /// Answers requests with a keyframe in its next frame.
    answers: bool,
    keyframe_asked: bool,
    frames: u32,
    packets: Vec<MediaPacket>,
    /// What each video packet's RTP timestamp was.
    sent: Vec<(u32, MediaTime)>,
    requests: usize,
}

struct RtpClock {
    sequence_number: u16,
    timestamp: f64,
    rate: f64,
    /// Ticks per second off, in parts per million.
    ppm: f64,
}

impl RtpClock {
    fn advance(&mut self, by: Duration) {
        self.timestamp += by.as_secs_f64() * self.rate * (1.0 + self.ppm / 1e6);
    }

    fn now(&self) -> u32 {
        (self.timestamp.round() as u64 & 0xffff_ffff) as u32
    }
}

impl Publisher {
    fn new() -> Self {
        let owner = FeedOwner::new("demo".parse().unwrap(), FeedSettings::default(), utc(Duration::ZERO));
        let clock = |rate| RtpClock { sequence_number: 65_500, timestamp: 4_294_900_000.0, rate, ppm: 0.0 };
        let mut publisher = Self {
            owner,
            elapsed: Duration::ZERO,
            video: clock(90_000.0),
            audio: clock(48_000.0),
            keyframe_every: None,
            answers: true,
            keyframe_asked: true,
            frames: 0,
            packets: Vec::new(),
            sent: Vec::new(),
            requests: 0,
        };
        publisher.join();
        publisher
    }

    fn now(&self) -> Instant {
        start() + self.elapsed
    }

    fn join(&mut self) {
        self.join_with(&[VIDEO, AUDIO]);
    }

    fn join_with(&mut self, streams: &[StreamKey]) {
        let mut tracks = vec![
            TrackInfo::single(VIDEO.track, Codec::H264, ClockRate::VIDEO, 0, String::new()),
            TrackInfo::single(AUDIO.track, Codec::Opus, ClockRate::OPUS, 2, String::new()),
        ];
        tracks.retain(|track| streams.iter().any(|key| key.track == track.id));
        let info =
            PublisherInfo { protocol: "whip".into(), agent: None, address: None, since: utc(self.elapsed) };
        self.owner.begin_epoch(self.now(), tracks, info);
        self.keyframe_asked = true;
    }

    fn wait(&mut self, by: Duration) {
        self.elapsed += by;
        self.video.advance(by);
        self.audio.advance(by);
    }

    fn send_video(&mut self) {
        let natural = self.keyframe_every.is_some_and(|n| self.frames.is_multiple_of(n));
        let keyframe =
            natural || (self.answers || self.frames == 0) && std::mem::take(&mut self.keyframe_asked);
        self.frames += 1;
        let timestamp = self.video.now();
        let input = input(&mut self.video, timestamp, if keyframe { &[0x65, 0] } else { &[0x61, 0] });
        let packet = self.owner.handle_rtp(start() + self.elapsed, utc(self.elapsed), VIDEO, input).unwrap();
        self.sent.push((timestamp, packet.stamp.media_time));
        self.packets.push(packet);
    }

    fn send_audio(&mut self) {
        let timestamp = self.audio.now();
        let input = input(&mut self.audio, timestamp, &[1, 2, 3]);
        let packet = self.owner.handle_rtp(start() + self.elapsed, utc(self.elapsed), AUDIO, input).unwrap();
        self.packets.push(packet);
    }

    fn serve_requests(&mut self) {
        let now = self.now();
        self.owner.handle_timeout(now);
        if !self.owner.poll_keyframe_requests(now).is_empty() {
            self.requests += 1;
            self.keyframe_asked = true;
        }
    }

    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds * 30 {
            self.send_video();
            self.send_audio();
            self.serve_requests();
            self.wait(FRAME);
        }
    }

    fn sender_reports(&mut self, clock_error: Duration, audio_late_ms: u32) {
        let ntp = (utc(self.elapsed) + clock_error).ntp();
        let audio = self.audio.now().wrapping_add(audio_late_ms * 48);
        self.owner.handle_sender_report(self.now(), VIDEO, ntp, self.video.now());
        self.owner.handle_sender_report(self.now(), AUDIO, ntp, audio);
    }

    fn video(&self) -> impl Iterator<Item = &MediaPacket> {
        self.packets.iter().filter(|packet| packet.key == VIDEO)
    }

    fn cuts(&self) -> Vec<(u64, MediaTime)> {
        let mut cuts: Vec<_> = self
            .video()
            .filter_map(|packet| packet.stamp.segment.map(|number| (number.0, packet.stamp.segment_start)))
            .collect();
        cuts.dedup();
        cuts
    }

    /// Invariants 1 and 2 within an epoch: viewers' timestamps differ from the publisher's by one constant.
    fn assert_identity(&self, from: usize) {
        let (sent, placed) = self.sent[from];
        let offset = placed.rtp().wrapping_sub(sent);
        for (sent, placed) in &self.sent[from..] {
            assert_eq!(placed.rtp().wrapping_sub(*sent), offset);
        }
    }
}

fn input(clock: &mut RtpClock, timestamp: u32, payload: &'static [u8]) -> RtpInput {
    let sequence_number = clock.sequence_number;
    clock.sequence_number = sequence_number.wrapping_add(1);
    RtpInput {
        sequence_number,
        timestamp,
        marker: true,
        payload: Bytes::from_static(payload),
        orientation: None,
        composition_offset: None,
    }
}

fn utc(elapsed: Duration) -> ProgramTime {
    ProgramTime::from_unix_nanos(1_795_000_000_000_000_000) + elapsed
}

#[test]
fn the_identity_holds_over_the_wrap_and_times_never_go_back() {
    let mut publisher = Publisher::new();
    publisher.run(100);
    assert_eq!(publisher.sent.len(), 3_000);
    publisher.assert_identity(0);
    assert!(publisher.sent.is_sorted_by(|a, b| a.1 < b.1));
    assert_eq!(publisher.packets[0].stamp.media_time, MediaTime(900_000));
    let sequences: Vec<_> = publisher.packets.iter().map(|packet| packet.stamp.bus_sequence).collect();
    assert!(sequences.iter().copied().eq(0..6_000));
}

#[test]
fn an_answering_publisher_is_asked_for_every_segment() {
    let mut publisher = Publisher::new();
    publisher.run(20);
    let cadence = publisher.owner.info().cadence;
    assert_eq!(cadence.rule, CadenceRule::OnRequest);
    let cuts = publisher.cuts();
    assert!((10..=12).contains(&cuts.len()), "{cuts:?}");
    for (n, pair) in cuts.windows(2).enumerate() {
        let length = pair[1].1 - pair[0].1;
        let expected = if n == 0 { 0.54..=1.0 } else { 1.8..=2.2 };
        assert!(expected.contains(&(length as f64 / 90_000.0)), "segment {n} lasts {length}");
        assert_eq!(pair[1].0, pair[0].0 + 1);
    }
    let requests = publisher.requests;
    assert!(requests <= cuts.len() + 2, "one a segment and two probes, not {requests} for {}", cuts.len());
    for packet in publisher.video().filter(|packet| packet.stamp.segment_start == packet.stamp.media_time) {
        assert!(packet.stamp.keyframe, "every segment begins with a keyframe");
    }
}

#[test]
fn a_deaf_publisher_is_cut_at_its_own_keyframes() {
    let mut publisher = Publisher::new();
    publisher.answers = false;
    publisher.keyframe_every = Some(120);
    publisher.run(41);
    let info = publisher.owner.info();
    assert_eq!(info.cadence.rule, CadenceRule::SelfPaced);
    assert!(info.cadence.advice.is_some());
    let cuts = publisher.cuts();
    assert_eq!(cuts.len(), 11);
    assert!(cuts.windows(2).all(|pair| (pair[1].1 - pair[0].1 - 360_000).abs() <= 3));
    assert!(publisher.requests <= 2, "nobody needs a keyframe but the probe: {}", publisher.requests);
}

#[test]
fn sender_reports_move_no_timestamp_however_wrong_they_are() {
    for error in [Duration::ZERO, Duration::from_secs(3_600), Duration::from_secs(80 * 365 * 86_400)] {
        let mut publisher = Publisher::new();
        publisher.run(2);
        publisher.sender_reports(error, 40);
        publisher.run(10);
        publisher.sender_reports(error, 40);
        publisher.run(2);
        publisher.assert_identity(0);
        let map = publisher.owner.info().map.unwrap();
        let audio = map.track(AUDIO.track, ClockRate::OPUS);
        assert!(audio.related);
        assert!((audio.offset_nanos + 40_000_000).abs() < 1_000_000, "{}", audio.offset_nanos);
        let newest = publisher.video().last().unwrap();
        let shown = map.program_time(VIDEO.track, ClockRate::VIDEO, newest.stamp.media_time);
        let arrived = utc(newest.received - start());
        assert!((shown - arrived).abs() < 5_000_000, "program time is this server's: {shown} {arrived}");
    }
}

#[test]
fn without_sender_reports_nothing_is_related_and_time_goes_on() {
    let mut publisher = Publisher::new();
    publisher.run(30);
    publisher.assert_identity(0);
    assert!(!publisher.owner.info().map.unwrap().track(AUDIO.track, ClockRate::OPUS).related);
}

#[test]
fn drifting_clocks_are_followed_by_the_map_and_never_by_timestamps() {
    for (video, audio) in [(200.0, 0.0), (-200.0, 0.0), (0.0, 200.0), (0.0, -200.0), (200.0, -200.0)] {
        let mut publisher = Publisher::new();
        publisher.video.ppm = video;
        publisher.audio.ppm = audio;
        for _ in 0..60 {
            publisher.run(5);
            publisher.sender_reports(Duration::from_secs(3_600), 0);
        }
        publisher.assert_identity(0);
        let map = publisher.owner.info().map.unwrap();
        let newest = |key: StreamKey| publisher.packets.iter().rfind(|packet| packet.key == key).unwrap();
        let (picture, sound) = (newest(VIDEO), newest(AUDIO));
        let shown = map.program_time(VIDEO.track, ClockRate::VIDEO, picture.stamp.media_time);
        let heard = map.program_time(AUDIO.track, ClockRate::OPUS, sound.stamp.media_time);
        assert!((shown - heard).abs() < 10_000_000, "{video} {audio}: {shown} {heard}");
        assert!((shown - utc(picture.received - start())).abs() < 10_000_000, "{video} {audio}: {shown}");
        let slewed = map.track(AUDIO.track, ClockRate::OPUS);
        assert!((slewed.slewed_nanos - slewed.offset_nanos).abs() < 5_000_000);
    }
}

#[test]
fn program_time_never_goes_back_and_moves_a_millisecond_a_segment() {
    let mut publisher = Publisher::new();
    publisher.video.ppm = -200.0;
    let mut before: Option<(u32, ProgramTime)> = None;
    for _ in 0..60 {
        publisher.run(1);
        let map = publisher.owner.info().map.unwrap();
        if let Some((version, anchor)) = before
            && version != map.version
        {
            assert!((map.anchor - anchor).abs() <= 1_000_000);
        }
        before = Some((map.version, map.anchor));
    }
}

#[test]
fn a_returning_publisher_goes_on_where_the_feed_stands() {
    for away in [1, 7, 29, 3_600] {
        returns_after(away);
    }
}

fn returns_after(away: u32) {
    let mut publisher = Publisher::new();
    publisher.run(5);
    let last = publisher.packets.iter().rfind(|packet| packet.key == VIDEO).unwrap().clone();
    let last_cut = *publisher.cuts().last().unwrap();
    publisher.owner.end_epoch(publisher.now());
    assert_eq!(publisher.owner.info().state, FeedState::Offline);
    publisher.wait(Duration::from_secs(away.into()));
    publisher.video = RtpClock { sequence_number: 3, timestamp: 12_345.0, rate: 90_000.0, ppm: 0.0 };
    publisher.audio = RtpClock { sequence_number: 9, timestamp: 54_321.0, rate: 48_000.0, ppm: 0.0 };
    publisher.join();
    let from = publisher.sent.len();
    publisher.run(5);
    publisher.assert_identity(from);
    let first = publisher.video().find(|packet| packet.stamp.epoch == Epoch(1)).unwrap();
    assert_eq!(first.stamp.sequence, last.stamp.sequence + 1, "viewers see no hole");
    let gap = (first.stamp.media_time - last.stamp.media_time) as f64 / 90_000.0;
    assert!((gap - f64::from(away) - 0.05).abs() < 0.15, "{gap}");
    assert_eq!(publisher.owner.info().epoch, Epoch(1));
    assert_eq!(first.stamp.segment.unwrap().0, last_cut.0 + 1);
    assert_eq!(first.stamp.segment_start, first.stamp.media_time);
    let map = publisher.owner.info().map.unwrap();
    let newest = publisher.video().last().unwrap();
    let shown = map.program_time(VIDEO.track, ClockRate::VIDEO, newest.stamp.media_time);
    assert!((shown - utc(newest.received - start())).abs() < 50_000_000);
}

#[test]
fn a_takeover_at_once_never_overlaps() {
    let mut publisher = Publisher::new();
    publisher.run(3);
    let last = publisher.video().map(|packet| packet.stamp.media_time).max().unwrap();
    publisher.owner.end_epoch(publisher.now());
    publisher.join();
    publisher.run(1);
    let first = publisher.video().find(|packet| packet.stamp.epoch == Epoch(1)).unwrap();
    assert!(first.stamp.media_time >= last + 2_999);
}

#[test]
fn tracks_that_start_seconds_apart_keep_their_distance() {
    let mut publisher = Publisher::new();
    for _ in 0..150 {
        publisher.send_audio();
        publisher.wait(Duration::from_millis(20));
    }
    publisher.run(2);
    let first_video = publisher.video().next().unwrap();
    assert_eq!(first_video.stamp.media_time, MediaTime(900_000 + 270_000));
    publisher.assert_identity(0);
    publisher.sender_reports(Duration::ZERO, 0);
    let map = publisher.owner.info().map.unwrap();
    assert!(map.track(AUDIO.track, ClockRate::OPUS).offset_nanos.abs() < 1_000_000);
}

#[test]
fn b_frames_are_noticed_and_their_presentation_times_kept() {
    let mut publisher = Publisher::new();
    let order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8];
    let mut first = None;
    for (n, shown) in order.iter().enumerate() {
        let timestamp = 4_294_960_000_u32.wrapping_add(shown * 3_000);
        let payload: &[u8] = if n == 0 { &[0x65] } else { &[0x61] };
        let mut input = input(&mut publisher.video, timestamp, if n == 0 { &[0x65] } else { &[0x61] });
        assert_eq!(input.payload, payload);
        input.composition_offset = Some(3_000);
        let now = start() + FRAME * n as u32;
        let packet = publisher.owner.handle_rtp(now, utc(Duration::ZERO), VIDEO, input).unwrap();
        let first = *first.get_or_insert(packet.stamp.media_time);
        assert_eq!(packet.stamp.media_time - first, i64::from(*shown) * 3_000);
        assert_eq!(packet.stamp.decode_time, Some(packet.stamp.media_time + -3_000));
    }
    assert!(publisher.owner.info().b_frames);
}

#[test]
fn another_sps_begins_a_segment_at_once() {
    let mut publisher = Publisher::new();
    let sizes: [&[u8]; 4] = [&[0x67, 1], &[0x67, 1], &[0x67, 2], &[0x67, 2]];
    let segments: Vec<_> = sizes
        .into_iter()
        .map(|payload| {
            let timestamp = publisher.video.now();
            let input = input(&mut publisher.video, timestamp, payload);
            let packet = publisher.owner.handle_rtp(publisher.now(), utc(publisher.elapsed), VIDEO, input);
            publisher.wait(FRAME);
            packet.unwrap().stamp.segment.unwrap().0
        })
        .collect();
    assert_eq!(segments, [0, 0, 1, 1]);
}

#[test]
fn a_jump_of_the_publishers_clock_is_a_new_epoch() {
    let mut publisher = Publisher::new();
    publisher.run(3);
    publisher.video.timestamp += 90_000.0 * 3_600.0;
    let input = |publisher: &mut Publisher| {
        let timestamp = publisher.video.now();
        input(&mut publisher.video, timestamp, &[0x65, 0])
    };
    let strange = input(&mut publisher);
    let now = publisher.now();
    assert!(publisher.owner.handle_rtp(now, utc(publisher.elapsed), VIDEO, strange).is_none());
    publisher.video.timestamp += 3_000.0;
    let confirmed = input(&mut publisher);
    let packet = publisher.owner.handle_rtp(now + FRAME, utc(publisher.elapsed), VIDEO, confirmed).unwrap();
    assert_eq!(packet.stamp.epoch, Epoch(1));
    let before = publisher.video().last().unwrap();
    let gap = packet.stamp.media_time - before.stamp.media_time;
    assert!((2_900..9_000).contains(&gap), "{gap}");
}

#[test]
fn a_feed_without_video_is_cut_by_time() {
    let mut owner = FeedOwner::new("radio".parse().unwrap(), FeedSettings::default(), utc(Duration::ZERO));
    let tracks = vec![TrackInfo::single(TrackId(0), Codec::Opus, ClockRate::OPUS, 2, String::new())];
    let info =
        PublisherInfo { protocol: "whip".into(), agent: None, address: None, since: utc(Duration::ZERO) };
    owner.begin_epoch(start(), tracks, info);
    assert_eq!(owner.info().cadence.rule, CadenceRule::AudioOnly);
    let mut clock = RtpClock { sequence_number: 0, timestamp: 0.0, rate: 48_000.0, ppm: 0.0 };
    let mut starts = Vec::new();
    for n in 0..500 {
        let elapsed = Duration::from_millis(20 * n);
        let timestamp = clock.now();
        let input = input(&mut clock, timestamp, &[1]);
        let packet = owner.handle_rtp(start() + elapsed, utc(elapsed), VIDEO, input).unwrap();
        starts.push(packet.stamp.segment_start.0);
        clock.advance(Duration::from_millis(20));
    }
    starts.dedup();
    assert_eq!(starts, [480_000, 508_800, 604_800, 700_800, 796_800, 892_800]);
}

#[test]
fn numbers_stay_for_a_kind_of_driver_and_are_decided_anew_for_the_other() {
    let mut publisher = Publisher::new();
    publisher.run(3);
    let with_picture = publisher.owner.info().cadence;
    assert_eq!((with_picture.target_duration, with_picture.frames_per_part), (3, 6));
    publisher.owner.end_epoch(publisher.now());
    publisher.join();
    assert_eq!(publisher.owner.info().cadence, with_picture, "in force until its own rule is known");
    publisher.owner.end_epoch(publisher.now());
    publisher.join_with(&[AUDIO]);
    let sound = publisher.owner.info().cadence;
    assert_eq!((sound.rule, sound.target_duration, sound.frames_per_part), (CadenceRule::AudioOnly, 2, 0));
    publisher.owner.end_epoch(publisher.now());
    publisher.join();
    assert_eq!(publisher.owner.info().cadence, Cadence::default());
    publisher.run(3);
    assert_eq!(publisher.owner.info().cadence, with_picture);
}

#[test]
fn a_camera_that_is_never_turned_on_leaves_the_cuts_to_the_sound() {
    let mut publisher = Publisher::new();
    let sound = |publisher: &mut Publisher, packets: u32| {
        for _ in 0..packets {
            publisher.send_audio();
            publisher.wait(Duration::from_millis(20));
        }
    };
    sound(&mut publisher, 149);
    assert_eq!(publisher.owner.info().cadence.rule, CadenceRule::Undecided);
    // What probes the network is no picture.
    let timestamp = publisher.video.now();
    let padding = input(&mut publisher.video, timestamp, &[]);
    let now = publisher.now();
    publisher.owner.handle_rtp(now, utc(publisher.elapsed), VIDEO, padding);
    sound(&mut publisher, 500);
    let info = publisher.owner.info();
    assert_eq!((info.cadence.rule, info.cadence.target_duration), (CadenceRule::AudioOnly, 2));
    assert!(info.cadence.advice.unwrap().contains("camera"));
    assert_eq!(info.tracks.len(), 2, "it may still come");
    assert!(info.map.unwrap().tracks.iter().all(|track| track.related), "alone, sound needs no relation");
    let of_sound: Vec<_> = publisher.packets.iter().filter(|p| p.stamp.epoch == Epoch(1)).collect();
    assert!(of_sound.iter().all(|packet| packet.stamp.segment.is_some()));
    assert_eq!(of_sound[0].stamp.segment_start, of_sound[0].stamp.media_time);
    assert!((9.9..10.1).contains(&((of_sound.len() as f64) / 50.0)), "from 3 s on");

    let before = publisher.packets.last().unwrap().clone();
    publisher.run(4);
    let info = publisher.owner.info();
    assert_eq!((info.cadence.rule, info.cadence.target_duration), (CadenceRule::OnRequest, 3));
    let after: Vec<_> = publisher.packets.iter().filter(|p| p.stamp.epoch == Epoch(2)).collect();
    let first = after.iter().find(|packet| packet.key == VIDEO).unwrap();
    assert!(first.stamp.keyframe);
    assert_eq!(first.stamp.segment.unwrap().0, before.stamp.segment.unwrap().0 + 1, "numbers run on");
    let sounds: Vec<_> = publisher.packets.iter().filter(|packet| packet.key == AUDIO).collect();
    assert!(sounds.windows(2).all(|pair| pair[1].stamp.sequence == pair[0].stamp.sequence + 1));
    publisher.assert_identity(0);
    assert!(after.iter().filter(|packet| packet.key == AUDIO).all(|packet| packet.stamp.segment.is_none()));
}

#[test]
fn a_picture_that_falls_silent_leaves_its_segments_ends_to_the_sound() {
    let mut publisher = Publisher::new();
    publisher.run(10);
    let epoch = publisher.owner.info().epoch;
    let (last, start) = *publisher.cuts().last().unwrap();
    let from = publisher.packets.len();
    for _ in 0..500 {
        publisher.send_audio();
        publisher.wait(Duration::from_millis(20));
    }
    let silent = &publisher.packets[from..];
    let mut cuts: Vec<_> =
        silent.iter().filter_map(|p| Some((p.stamp.segment?.0, p.stamp.segment_start))).collect();
    cuts.dedup();
    assert!((4..=5).contains(&cuts.len()), "{cuts:?}");
    assert_eq!(
        cuts[0],
        (last + 1, start + 3 * 90_000),
        "as long as a segment may be, on the picture's clock"
    );
    assert!(cuts.windows(2).all(|pair| pair[1] == (pair[0].0 + 1, pair[0].1 + 2 * 90_000)), "{cuts:?}");
    let stamped = silent.iter().skip_while(|packet| packet.stamp.segment.is_none());
    assert!(stamped.clone().all(|packet| packet.stamp.segment.is_some()) && stamped.count() > 300);
    let from = publisher.packets.len();
    publisher.run(5);
    let back = &publisher.packets[from..];
    assert!(back.iter().all(|packet| (packet.key == VIDEO) == packet.stamp.segment.is_some()));
    let (newest, begun) = cuts[cuts.len() - 1];
    let first = back[0].stamp;
    assert_eq!(
        (first.segment.unwrap().0, first.segment_start),
        (newest, begun),
        "it returns into the open one"
    );
    let numbers: Vec<u64> = back.iter().filter_map(|packet| Some(packet.stamp.segment?.0)).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] <= 1) && *numbers.last().unwrap() > newest);
    assert_eq!(publisher.owner.info().epoch, epoch);
}

#[test]
fn a_publisher_that_stops_answering_gets_longer_segments_with_its_next_keyframe() {
    let mut publisher = Publisher::new();
    publisher.run(8);
    assert_eq!(publisher.owner.info().cadence.rule, CadenceRule::OnRequest);
    publisher.answers = false;
    publisher.keyframe_every = Some(240);
    let from = publisher.packets.len();
    publisher.run(24);
    let info = publisher.owner.info();
    assert_eq!((info.cadence.rule, info.cadence.target_duration), (CadenceRule::SelfPaced, 10));
    assert_eq!(info.cadence.frames_per_part, 6);
    assert_eq!(info.epoch, Epoch(1));
    let later = || publisher.packets[from..].iter().filter(|packet| packet.key == VIDEO);
    let first = later().find(|packet| packet.stamp.epoch == Epoch(1)).unwrap();
    assert!(first.stamp.keyframe && first.stamp.segment_start == first.stamp.media_time);
    let vain = later()
        .filter(|p| p.stamp.epoch == Epoch(0) && p.stamp.segment_start == p.stamp.media_time)
        .filter(|packet| !packet.stamp.keyframe)
        .count();
    assert!((2..=3).contains(&vain), "{vain} in the eight seconds between two keyframes");
    publisher.assert_identity(0);
}

#[test]
fn one_lost_answer_slows_nothing_down() {
    let mut publisher = Publisher::new();
    publisher.run(8);
    publisher.answers = false;
    publisher.run(4);
    publisher.answers = true;
    publisher.run(20);
    let info = publisher.owner.info();
    assert_eq!((info.cadence.rule, info.epoch), (CadenceRule::OnRequest, Epoch(0)));
}

#[test]
fn a_deaf_publisher_after_one_that_answers_begins_an_epoch_of_longer_segments() {
    let mut publisher = Publisher::new();
    publisher.run(5);
    publisher.owner.end_epoch(publisher.now());
    publisher.join();
    publisher.answers = false;
    publisher.keyframe_every = Some(150);
    publisher.run(12);
    let info = publisher.owner.info();
    assert_eq!((info.cadence.rule, info.cadence.target_duration), (CadenceRule::SelfPaced, 10));
    assert_eq!(info.epoch, Epoch(2), "one for its stay, one for its pace");
}

#[test]
fn packets_of_unknown_streams_are_ignored() {
    let mut publisher = Publisher::new();
    let stranger = StreamKey::new(TrackId(7), crate::id::RenditionId(0));
    let timestamp = publisher.video.now();
    let input = input(&mut publisher.video, timestamp, &[0x65]);
    assert!(publisher.owner.handle_rtp(start(), utc(Duration::ZERO), stranger, input).is_none());
    publisher.owner.handle_sender_report(start(), stranger, 1, 1);
    publisher.owner.want_keyframe(start(), TrackId(7));
    assert!(publisher.owner.poll_keyframe_requests(start()).is_empty());
}

#[test]
fn every_packet_says_when_it_was_captured_by_the_map_of_its_version() {
    let mut publisher = Publisher::new();
    publisher.run(5);
    let map = publisher.owner.info().map.unwrap();
    let current: Vec<&MediaPacket> =
        publisher.packets.iter().filter(|packet| packet.stamp.map_version == map.version).collect();
    assert!(!current.is_empty());
    for packet in current {
        let rate = if packet.key == VIDEO { ClockRate::VIDEO } else { ClockRate::OPUS };
        let expected = map.program_time(packet.key.track, rate, packet.stamp.media_time);
        assert_eq!(packet.stamp.program_time, expected);
    }
}

#[test]
fn an_ended_feed_stays_ended_whatever_still_comes() {
    let mut publisher = Publisher::new();
    publisher.run(2);
    publisher.owner.end();
    let now = clock::now();
    let input = RtpInput {
        sequence_number: 1,
        timestamp: 1,
        marker: true,
        payload: Bytes::from_static(&[0x65]),
        orientation: None,
        composition_offset: None,
    };
    assert!(publisher.owner.handle_rtp(now, ProgramTime::default(), VIDEO, input).is_none());
    publisher.owner.end_epoch(now);
    assert_eq!(publisher.owner.info().state, FeedState::Ended);
}

#[test]
fn a_wish_for_a_track_that_is_gone_is_forgotten() {
    let mut publisher = Publisher::new();
    publisher.run(2);
    let now = clock::now();
    publisher.owner.want_keyframe(now, TrackId(0));
    publisher.owner.end_epoch(now);
    publisher.owner.want_keyframe(now, TrackId(0));
    let sound = TrackInfo::single(TrackId(1), Codec::Opus, ClockRate::OPUS, 2, String::new());
    let info =
        PublisherInfo { protocol: "test".into(), agent: None, address: None, since: ProgramTime::default() };
    publisher.owner.begin_epoch(now, vec![sound], info);
    publisher.owner.want_keyframe(now, TrackId(0));
    assert_eq!(publisher.owner.poll_keyframe_requests(now + Duration::from_secs(5)), []);
    assert_eq!(publisher.owner.poll_timeout(now), None);
}

/// What a process that ends now leaves of the publisher's feed.
fn left_behind(publisher: &Publisher, next_segment: u64) -> Resumption {
    let past = crate::feed::past::FeedPast::of(&publisher.owner.info()).unwrap();
    let newest = publisher.video().last().unwrap().stamp.media_time;
    let edge_nanos = ClockRate::VIDEO.nanos(newest.0);
    Resumption { past, next_segment: SegmentNumber(next_segment), edge_nanos }
}

#[test]
fn a_feed_goes_on_in_another_process() {
    for (away, set_back) in [(7, 0), (0, 0), (5, 3_600)] {
        let mut publisher = Publisher::new();
        publisher.run(20);
        let (before, newest) = (publisher.owner.info(), publisher.video().last().unwrap().stamp);
        publisher.owner = FeedOwner::resume(left_behind(&publisher, 40));
        let resumed = publisher.owner.info();
        assert_eq!(
            (resumed.state, resumed.epoch, resumed.since),
            (FeedState::Offline, Epoch(0), before.since)
        );
        assert_eq!(
            (&resumed.cadence, &resumed.map, &resumed.tracks),
            (&before.cadence, &before.map, &before.tracks)
        );
        publisher.packets.clear();
        publisher.sent.clear();
        publisher.wait(Duration::from_secs(away));
        let elapsed = publisher.elapsed;
        publisher.elapsed = elapsed.saturating_sub(Duration::from_secs(set_back));
        publisher.join();
        publisher.run(5);
        let first = publisher.video().next().unwrap().stamp;
        assert_eq!((first.epoch, first.segment), (Epoch(1), Some(SegmentNumber(40))));
        let gap = ClockRate::VIDEO.nanos(first.media_time - newest.media_time);
        let expected = i64::try_from(away).unwrap() * i64::from(set_back == 0);
        assert!(gap > 33_000_000 && (gap - expected * 1_000_000_000).abs() < 50_000_000, "{gap}");
        assert!(first.program_time > newest.program_time, "UTC never goes back");
        assert!(first.map_version > newest.map_version);
        let after = publisher.owner.info();
        let numbers = |cadence: &Cadence| (cadence.part_target_ms, cadence.target_duration);
        assert_eq!(numbers(&after.cadence), numbers(&before.cadence));
        publisher.assert_identity(0);
    }
}

#[test]
fn other_lengths_hold_from_the_next_publisher_on_in_playlists_of_their_own() {
    let mut publisher = Publisher::new();
    publisher.run(9);
    let numbers = |publisher: &Publisher| {
        let cadence = publisher.owner.info().cadence;
        (cadence.rule, cadence.target_duration, cadence.frames_per_part)
    };
    assert_eq!(numbers(&publisher), (CadenceRule::OnRequest, 3, 6));
    let lengths = FeedSettings {
        segment_target: Duration::from_secs(4),
        part_target: Duration::from_millis(500),
        ..FeedSettings::default()
    };
    publisher.owner.set_settings(lengths.clone());
    assert!(publisher.owner.take_changed());
    assert_eq!(*publisher.owner.info().settings, lengths);
    let before = publisher.cuts().len();
    publisher.run(9);
    assert_eq!(numbers(&publisher), (CadenceRule::OnRequest, 3, 6), "not while this one is there");
    let steps = |cuts: &[(u64, MediaTime)]| -> Vec<i64> {
        cuts.windows(2).map(|pair| (pair[1].1 - pair[0].1 + 45_000) / 90_000).collect()
    };
    assert!(steps(&publisher.cuts()[before..]).iter().all(|seconds| *seconds == 2));

    publisher.owner.end_epoch(publisher.now());
    publisher.wait(Duration::from_secs(1));
    publisher.join();
    assert_eq!(numbers(&publisher).0, CadenceRule::Undecided, "playlists begin anew");
    let before = publisher.cuts().len();
    publisher.run(20);
    assert_eq!(numbers(&publisher), (CadenceRule::OnRequest, 6, 15));
    let steps = steps(&publisher.cuts()[before..]);
    assert!(steps.len() >= 4 && steps[1..].iter().all(|seconds| *seconds == 4), "{steps:?}");
    publisher.assert_identity(0);
    // And with the same ones they go on.
    publisher.owner.end_epoch(publisher.now());
    publisher.wait(Duration::from_secs(1));
    publisher.join();
    assert_eq!(numbers(&publisher), (CadenceRule::OnRequest, 6, 15));
}

use std::sync::Arc;

use bicast_shared::feed::info::{Cadence, CadenceRule, PublisherInfo, TrackMap};
use bicast_shared::feed::owner::FeedOwner;
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::{Epoch, RenditionId, SegmentNumber, TrackId};
use bicast_shared::media::Codec;
use bicast_shared::problem::Problem;
use bicast_shared::status::DvrFeedStatus;
use bicast_shared::time::MediaTime;
use expect_test::{ExpectFile, expect_file};

use super::*;

const BEGAN: ProgramTime = ProgramTime::from_unix_nanos(1_795_411_729_123_456_000);
const NOW: ProgramTime = ProgramTime::from_unix_nanos(1_795_411_799_000_000_000);

/// A feed as a browser publishes it, a minute in.
pub(crate) fn live_feed() -> FeedInfo {
    let video = TrackInfo::single(
        TrackId(0),
        Codec::H264,
        ClockRate::VIDEO,
        0,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
    );
    let audio =
        TrackInfo::single(TrackId(1), Codec::Opus, ClockRate::OPUS, 2, "minptime=10;useinbandfec=1".into());
    FeedInfo {
        id: "demo".parse().unwrap(),
        settings: Arc::default(),
        is_kept: false,
        state: FeedState::Live,
        epoch: Epoch(0),
        tracks: vec![video, audio],
        publisher: Some(PublisherInfo {
            protocol: "whip".into(),
            agent: Some("bicast-publish/0.1.0".into()),
            address: Some("127.0.0.1:5000".into()),
            since: BEGAN,
        }),
        standby: None,
        cadence: Cadence {
            rule: CadenceRule::OnRequest,
            frame_rate: Some(30.0),
            frames_per_part: 6,
            part_target_ms: 216,
            target_duration: 3,
            advice: None,
        },
        map: Some(Arc::new(TimelineMap {
            version: 3,
            anchor: ProgramTime::from_unix_nanos(1_795_411_719_223_456_000),
            tracks: vec![
                TrackMap {
                    track: TrackId(0),
                    rate: ClockRate::VIDEO,
                    offset_nanos: 0,
                    slewed_nanos: 0,
                    related: true,
                },
                TrackMap {
                    track: TrackId(1),
                    rate: ClockRate::OPUS,
                    offset_nanos: -12_300_000,
                    slewed_nanos: -12_300_000,
                    related: true,
                },
            ],
        })),
        b_frames: false,
        layers: Vec::new(),
        since: BEGAN,
    }
}

fn edge(info: &FeedInfo, media_time: i64) -> status::LiveEdge {
    let media_time = MediaTime(media_time);
    let program_time = info.map.as_ref().unwrap().master_time(ClockRate::VIDEO, media_time);
    status::LiveEdge { media_time, program_time }
}

fn sfu_report(info: &FeedInfo) -> SfuFeedStatus {
    SfuFeedStatus {
        viewers: 1,
        egress_bps: 2_564_000,
        packets_per_second: 280,
        live_edge: Some(edge(info, 7_173_000)),
        refused: None,
        retransmitted: 0,
    }
}

fn packager_report(info: &FeedInfo) -> PackagerFeedStatus {
    PackagerFeedStatus {
        playable: true,
        viewers: 2,
        live_edge: Some(edge(info, 7_164_000)),
        newest: Some((SegmentNumber(34), 7)),
        window_seconds: 69.6,
        renditions: vec![
            PackagedRendition {
                name: "video0".into(),
                codecs: "avc1.42c01f".into(),
                resolution: Some((1280, 720)),
                frame_rate: Some(30.0),
                bandwidth: 2_500_000,
            },
            PackagedRendition {
                name: "audio0".into(),
                codecs: "opus".into(),
                resolution: None,
                frame_rate: None,
                bandwidth: 64_000,
            },
        ],
        refused: None,
        discontinuities: 0,
        lost_access_units: 0,
        dvr: Some(DvrFeedStatus { stored_seconds: 66.1, failing: None }),
    }
}

fn view(info: &FeedInfo) -> api::Feed {
    let (sfu, packager) = (sfu_report(info), packager_report(info));
    feed(NOW, info, &Reports { sfu: Some(&sfu), packager: Some(&packager) })
}

/// The live feed as the API shows it.
pub(crate) fn live() -> api::Feed {
    view(&live_feed())
}

/// The same feed while its publisher is away.
fn offline_feed() -> FeedInfo {
    FeedInfo { id: "away".parse().unwrap(), state: FeedState::Offline, publisher: None, ..live_feed() }
}

/// A feed whose publisher has just connected.
fn starting_feed() -> FeedInfo {
    FeedInfo {
        id: "fresh".parse().unwrap(),
        settings: Arc::default(),
        state: FeedState::Starting,
        cadence: Cadence::default(),
        map: None,
        ..live_feed()
    }
}

fn assert_wire(file: &ExpectFile, value: &impl serde::Serialize) {
    file.assert_eq(&format!("{}\n", serde_json::to_string_pretty(value).unwrap()));
}

#[test]
fn the_wire_is_what_the_players_tests_read() {
    let feeds = api::Feeds {
        feeds: vec![
            feed(
                NOW,
                &offline_feed(),
                &Reports { sfu: None, packager: Some(&packager_report(&live_feed())) },
            ),
            view(&live_feed()),
            feed(NOW, &starting_feed(), &Reports { sfu: None, packager: None }),
        ],
    };
    assert_wire(&expect_file!["../../../tests/fixtures/wire/feeds.json"], &feeds);
    assert_wire(&expect_file!["../../../tests/fixtures/wire/feed-live.json"], &view(&live_feed()));
    let settings = |json: &str| {
        crate::core::settings::apply(&FeedSettings::default(), &serde_json::from_str(json).unwrap())
    };
    let created = FeedOwner::kept("studio".parse().unwrap(), settings(r#"{"window": 600}"#).unwrap(), BEGAN);
    let created = feed(NOW, &created.info(), &Reports { sfu: None, packager: None });
    assert_wire(&expect_file!["../../../tests/fixtures/wire/feed-created.json"], &created);
    let changed = settings(r#"{"window": 600, "segmentTarget": 4}"#).unwrap();
    let update = crate::core::settings::update(&FeedSettings::default(), &changed);
    assert_wire(&expect_file!["../../../tests/fixtures/wire/settings-update.json"], &update);
    let problem = settings(r#"{"window": 5}"#).unwrap_err();
    assert_wire(&expect_file!["../../../tests/fixtures/wire/problem-bad-setting.json"], &problem);
    assert_wire(&expect_file!["../../../tests/fixtures/wire/problem.json"], &Problem::unknown_feed("nosuch"));
    assert_wire(&expect_file!["../../../tests/fixtures/wire/time.json"], &crate::http::time_at(NOW));
}

#[test]
fn the_wire_reads_back_as_the_same_types() {
    let live = view(&live_feed());
    let text = serde_json::to_string(&live).unwrap();
    assert_eq!(serde_json::from_str::<api::Feed>(&text).unwrap(), live);
}

#[test]
fn program_time_is_the_anchor_plus_media_time() {
    let live = view(&live_feed());
    let timeline = live.timeline.unwrap();
    let edge = live.paths.hls.live_edge.unwrap();
    let millis = timeline.anchor_unix_ms + edge.media_time as f64 / 90_000.0 * 1_000.0;
    let said = BEGAN + std::time::Duration::from_millis(69_700);
    assert!((millis - said.unix_millis()).abs() < 0.01, "{millis}");
    assert_eq!(edge.program_time, said.rfc3339());
}

#[test]
fn a_feed_nobody_reported_on_can_be_joined_but_not_yet_played() {
    let api = feed(NOW, &live_feed(), &Reports { sfu: None, packager: None });
    assert!(api.paths.realtime.available);
    assert!(!api.paths.hls.available);
    assert!(api.paths.hls.reason.unwrap().contains("in a moment"));
    assert_eq!(api.tracks[0].renditions[0].codecs, None);
}

#[test]
fn a_path_that_cannot_be_used_says_why() {
    let starting = feed(NOW, &starting_feed(), &Reports { sfu: None, packager: None });
    assert!(starting.paths.realtime.reason.unwrap().contains("no media yet"));
    assert!(starting.paths.hls.reason.unwrap().contains("no media yet"));

    let offline = view(&offline_feed());
    assert!(offline.paths.realtime.reason.unwrap().contains("waits for it"));
    assert!(offline.paths.hls.available, "what HLS holds can be watched while the publisher is away");

    let info = FeedInfo { state: FeedState::Ended, ..live_feed() };
    let ended = view(&info);
    assert!(!ended.paths.realtime.available);
    assert!(ended.paths.hls.available);
    assert!(ended.warnings.is_empty());
}

#[test]
fn a_refused_path_is_a_warning_once() {
    let info = FeedInfo { b_frames: true, ..live_feed() };
    let refused = "The video has B-frames. Set bf=0.".to_owned();
    let sfu = SfuFeedStatus { refused: Some(refused.clone()), ..sfu_report(&info) };
    let packager = PackagerFeedStatus { refused: Some(refused.clone()), ..packager_report(&info) };
    let api = feed(NOW, &info, &Reports { sfu: Some(&sfu), packager: Some(&packager) });
    assert_eq!(api.warnings, std::slice::from_ref(&refused));
    assert_eq!(api.paths.realtime.reason.as_deref(), Some(refused.as_str()));
    assert_eq!(api.paths.hls.reason.as_deref(), Some(refused.as_str()));
}

#[test]
fn a_disk_that_takes_nothing_is_a_warning() {
    let info = live_feed();
    let failing = Some("No space left on device".to_owned());
    let dvr = Some(DvrFeedStatus { stored_seconds: 12.3456, failing });
    let packager = PackagerFeedStatus { dvr, ..packager_report(&info) };
    let api = feed(NOW, &info, &Reports { sfu: Some(&sfu_report(&info)), packager: Some(&packager) });
    let said = &api.warnings[0];
    assert!(said.contains("(No space left on device)") && said.contains("rewind 70 s"), "{said}");
    assert_eq!(api.paths.hls.stored_seconds, Some(12.346));
    assert!(view(&info).warnings.iter().all(|warning| !warning.contains("DVR")));
}

#[test]
fn b_frames_are_said_even_if_the_sfu_does_not() {
    let api = view(&FeedInfo { b_frames: true, ..live_feed() });
    assert!(!api.paths.realtime.available);
    assert!(api.paths.hls.available);
    assert!(api.warnings[0].contains("B-frames"));
}

#[test]
fn the_operator_is_told_how_to_do_better() {
    let mut info = live_feed();
    info.cadence.rule = CadenceRule::SelfPaced;
    assert!(view(&info).warnings[0].contains("keyframe interval to 2 s"));
    info.cadence.advice = Some("Set the keyframe interval to 2 s; it is 8.3 s.".into());
    assert_eq!(view(&info).warnings, ["Set the keyframe interval to 2 s; it is 8.3 s."]);
}

#[test]
fn high_profile_is_warned_of_from_the_bitstream_before_the_negotiation() {
    let mut info = live_feed();
    assert!(view(&info).warnings.is_empty(), "baseline");
    info.tracks[0].fmtp = "packetization-mode=1; profile-level-id=640c1f".into();
    assert!(view(&info).warnings.is_empty(), "the bitstream says baseline, whatever was negotiated");
    let unread = feed(NOW, &info, &Reports { sfu: None, packager: None });
    assert!(unread.warnings[0].contains("High profile"));
    let mut packager = packager_report(&info);
    packager.renditions[0].codecs = "avc1.64001F".into();
    let api = feed(NOW, &info, &Reports { sfu: None, packager: Some(&packager) });
    assert!(api.warnings[0].contains("High profile"));
}

#[test]
fn missing_sender_reports_are_a_warning_only_after_a_while() {
    let mut info = live_feed();
    let mut map = (**info.map.as_ref().unwrap()).clone();
    map.tracks[1].related = false;
    info.map = Some(Arc::new(map));
    assert!(view(&info).warnings[0].contains("sender reports"));
    info.publisher.as_mut().unwrap().since = ProgramTime::from_unix_nanos(NOW.unix_nanos() - 5_000_000_000);
    assert!(view(&info).warnings.is_empty());
}

#[test]
fn audio_alone_is_counted_in_its_own_clock() {
    let mut info = live_feed();
    info.tracks.remove(0);
    assert_eq!(view(&info).timeline.unwrap().master_clock_rate, 48_000);
}

#[test]
fn simulcast_layers_are_told_apart() {
    let mut info = live_feed();
    info.tracks[0].renditions[0].rid = Some("h".into());
    info.tracks[0]
        .renditions
        .push(bicast_shared::media::RenditionInfo { id: RenditionId(1), rid: Some("l".into()) });
    let api = view(&info);
    let [high, low] = &api.tracks[0].renditions[..] else { panic!("two layers") };
    assert_eq!((high.rid.as_deref(), high.bandwidth), (Some("h"), Some(2_500_000)));
    assert_eq!((low.rid.as_deref(), low.bandwidth), (Some("l"), None));
}

#[test]
fn what_hls_does_not_carry_costs_what_those_who_watch_it_are_sent() {
    let info = live_feed();
    let refused = "VP8 is not carried over HLS".to_owned();
    let packager =
        PackagerFeedStatus { refused: Some(refused), renditions: Vec::new(), ..packager_report(&info) };
    let cost = |viewers, egress_bps| {
        let sfu = SfuFeedStatus { viewers, egress_bps, ..sfu_report(&info) };
        facts(&info, &Reports { sfu: Some(&sfu), packager: Some(&packager) }).cost
    };
    assert_eq!((cost(4, 8_800_000).egress_bps, cost(4, 8_800_000).packets_per_second), (2_200_000, 250));
    assert_eq!(cost(0, 0).egress_bps, 0, "nobody knows yet");
}

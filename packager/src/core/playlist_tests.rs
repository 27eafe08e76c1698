use std::sync::Arc;

use expect_test::expect;

use super::*;
use crate::core::snapshot::Header;
use crate::core::testing::segment;
use crate::core::window::Init;

fn rendition(name: &str, media: RenditionMedia, codecs: &str) -> RenditionSnapshot {
    let mut gap = segment(11, 1, true);
    gap.parts[0].gap = true;
    (gap.parts[0].data, gap.data) = (bytes::Bytes::new(), bytes::Bytes::new());
    let mut last = segment(12, 2, false);
    last.head.discontinuity = true;
    last.head.init = Arc::new(Init { number: 1, data: bytes::Bytes::from_static(b"init") });
    RenditionSnapshot {
        name: name.into(),
        codecs: codecs.into(),
        media,
        timescale: 1_000,
        segments: vec![Arc::new(segment(10, 2, true)), Arc::new(gap), Arc::new(last)],
        removed: Vec::new(),
        discontinuity_sequence: 7,
        edge: 0,
        coming: None,
    }
}

fn feed() -> FeedSnapshot {
    let video = RenditionMedia::Video { width: 1_280, height: 720, frame_rate: 29.97 };
    FeedSnapshot {
        instance: "i1".into(),
        header: Header { target_duration: 3, part_target_ms: 216, independent_segments: true },
        renditions: vec![
            rendition("video0", video, "avc1.42c01f"),
            rendition("audio0", RenditionMedia::Audio { channels: 2 }, "opus"),
        ],
        ..FeedSnapshot::default()
    }
}

#[test]
fn a_live_playlist() {
    let text = media(&feed(), "video0", MediaRequest::default()).unwrap();
    expect![[r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-TARGETDURATION:3
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.648,CAN-SKIP-UNTIL=18.0
        #EXT-X-PART-INF:PART-TARGET=0.216
        #EXT-X-MEDIA-SEQUENCE:10
        #EXT-X-DISCONTINUITY-SEQUENCE:7
        #EXT-X-MAP:URI="init0.mp4"
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:20.000Z
        #EXT-X-PART:DURATION=0.200000,URI="10.0.m4s",INDEPENDENT=YES
        #EXT-X-PART:DURATION=0.200000,URI="10.1.m4s"
        #EXTINF:0.400000,
        10.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:22.000Z
        #EXT-X-PART:DURATION=0.200000,URI="11.0.m4s",INDEPENDENT=YES,GAP=YES
        #EXT-X-GAP
        #EXTINF:0.200000,
        11.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-MAP:URI="init1.mp4"
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:24.000Z
        #EXT-X-PART:DURATION=0.200000,URI="12.0.m4s",INDEPENDENT=YES
        #EXT-X-PART:DURATION=0.200000,URI="12.1.m4s"
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI="12.2.m4s"
        #EXT-X-RENDITION-REPORT:URI="../../audio0/i1/media.m3u8",LAST-MSN=12,LAST-PART=1
    "#]]
    .assert_eq(&text);
}

#[test]
fn an_ended_playlist_has_no_hint_and_no_delta() {
    let ended = FeedSnapshot { ended: true, ..feed() };
    let text = media(&ended, "audio0", MediaRequest { shape: Shape::Delta, query: "" }).unwrap();
    assert!(text.ends_with("#EXT-X-ENDLIST\n"));
    assert!(!text.contains("PRELOAD-HINT") && !text.contains("SKIP:") && !text.contains("REPORT"));
    assert!(media(&ended, "video1", MediaRequest::default()).is_none());
}

#[test]
fn a_clients_query_goes_on_into_every_uri() {
    let text = media(&feed(), "video0", MediaRequest { shape: Shape::Full, query: "token=a" }).unwrap();
    let uris = text.matches(".m4s").count() + text.matches(".mp4").count() + text.matches(".m3u8").count();
    assert_eq!(text.matches("?token=a").count(), uris);
    let text = multivariant(&feed(), "token=a");
    assert_eq!(text.matches("?token=a").count(), text.matches(".m3u8").count());
}

#[test]
fn a_delta_update_leaves_out_what_is_older_than_the_skip_boundary() {
    let mut feed = feed();
    // 30 segments of 1 s: the boundary is 18 s from the end of the last complete one.
    feed.renditions[0].segments = (0..30).map(|number| Arc::new(segment(number, 5, true))).collect();
    let full = media(&feed, "video0", MediaRequest::default()).unwrap();
    let delta = media(&feed, "video0", MediaRequest { shape: Shape::Delta, query: "" }).unwrap();
    let skipped: usize =
        delta.lines().find_map(|l| l.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS=")).unwrap().parse().unwrap();
    assert_eq!(skipped, 11, "the one that ends exactly at the boundary stays");
    assert!(delta.contains("#EXT-X-VERSION:9\n") && delta.contains("#EXT-X-MEDIA-SEQUENCE:0\n"));
    let tail = delta.split_once("SKIPPED-SEGMENTS=11\n").unwrap().1;
    let (map, tail) = tail.split_once('\n').unwrap();
    assert!(map.starts_with("#EXT-X-MAP:") && full.contains(map), "{map}");
    assert!(full.ends_with(tail), "every other line as in the full playlist");
    assert_eq!(full.matches("#EXTINF").count() - delta.matches("#EXTINF").count(), skipped);
    // Parts are listed for the last three target durations: 9 segments of 1 s.
    assert_eq!(full.matches("#EXT-X-PART:").count(), 9 * 5);
}

#[test]
fn right_after_a_segment_closed_part_0_of_the_next_one_is_hinted() {
    let mut feed = feed();
    feed.renditions[0].segments.pop();
    let text = media(&feed, "video0", MediaRequest::default()).unwrap();
    assert!(text.contains("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"12.0.m4s\""));
}

#[test]
fn the_multivariant_playlist_tells_what_the_bitstream_says() {
    expect![[r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio0",LANGUAGE="und",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio0/i1/media.m3u8"
        #EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=1000,CODECS="avc1.42c01f,opus",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio",CLOSED-CAPTIONS=NONE
        video0/i1/media.m3u8
    "#]]
    .assert_eq(&multivariant(&feed(), ""));
    let mut sound = feed();
    sound.renditions.remove(0);
    expect![[r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=1000,CODECS="opus"
        audio0/i1/media.m3u8
    "#]]
    .assert_eq(&multivariant(&sound, ""));
}

#[test]
fn players_that_know_whole_segments_only_are_told_of_nothing_else() {
    let feed = feed();
    let text = media(&feed, "video0", MediaRequest { shape: Shape::Standard, query: "" }).unwrap();
    for tag in
        ["EXT-X-PART", "EXT-X-PRELOAD-HINT", "EXT-X-RENDITION-REPORT", "EXT-X-SERVER-CONTROL", "EXT-X-SKIP"]
    {
        assert!(!text.contains(tag), "{tag}: {text}");
    }
    let full = media(&feed, "video0", MediaRequest::default()).unwrap();
    let lines = |text: &str, start: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    };
    assert!(!text.contains("init1.mp4"), "of a segment that is not whole");
    for tag in ["#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE", "#EXT-X-TARGETDURATION", "#EXTINF"]
    {
        assert_eq!(lines(&text, tag), lines(&full, tag), "{tag}");
    }
    let variants = standard_multivariant(&feed, "token=a");
    assert!(variants.contains("/standard.m3u8?token=a") && !variants.contains("media.m3u8"), "{variants}");
    assert_eq!(variants.replace("standard.m3u8", "media.m3u8"), multivariant(&feed, "token=a"));
}

#[test]
fn an_init_section_is_hinted_with_the_part_that_needs_it() {
    let mut feed = feed();
    let hinted = |feed: &FeedSnapshot| {
        let text = media(feed, "video0", MediaRequest { shape: Shape::Full, query: "token=a" }).unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("#EXT-X-PRELOAD-HINT:TYPE=MAP,"))
            .map(str::to_owned)
            .collect()
    };
    let init = |number, data| Some(Arc::new(Init { number, data: bytes::Bytes::from_static(data) }));
    let none: Vec<String> = hinted(&feed);
    assert!(none.is_empty(), "{none:?}");
    feed.renditions[0].coming = init(1, b"init");
    assert_eq!(hinted(&feed), none, "the same as that of the last segment");
    feed.renditions[0].coming = init(2, b"");
    assert_eq!(hinted(&feed), none, "it is not known");
    feed.renditions[0].coming = init(2, b"other");
    assert_eq!(hinted(&feed), ["URI=\"init2.mp4?token=a\""]);
    assert_eq!(
        feed.renditions[0].init(2).map(|init| &init.data[..]),
        Some(&b"other"[..]),
        "and it is served"
    );
}

#[test]
fn keyframes_have_the_header_of_their_multivariant_playlist_and_deltas() {
    let mut feed = feed();
    feed.renditions[0].segments = (0..30).map(|number| Arc::new(segment(number, 5, true))).collect();
    let of = |name, shape| media(&feed, name, MediaRequest { shape, query: "" });
    let text = of("video0", Shape::Keyframes).unwrap();
    let control = |text: &str| -> Option<String> {
        text.lines().find(|line| line.starts_with("#EXT-X-SERVER-CONTROL")).map(str::to_owned)
    };
    assert!(control(&text).is_some() && control(&text) == control(&of("video0", Shape::Full).unwrap()));
    let delta = of("video0", Shape::KeyframesDelta).unwrap();
    let tail = delta.split_once("#EXT-X-SKIP:SKIPPED-SEGMENTS=11\n").unwrap().1;
    assert!(delta.starts_with("#EXTM3U\n#EXT-X-VERSION:9\n"), "{delta}");
    let (map, tail) = tail.split_once('\n').unwrap();
    assert!(map.starts_with("#EXT-X-MAP:") && text.ends_with(tail), "{delta}");
    let standard = of("video0", Shape::StandardKeyframes).unwrap();
    assert_eq!(control(&standard), None);
    assert_eq!(standard, text.replace(&format!("{}\n", control(&text).unwrap()), ""));
    assert_eq!(of("audio0", Shape::Keyframes), None);
}

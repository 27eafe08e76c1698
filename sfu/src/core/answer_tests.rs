use std::sync::Arc;

use bicast_shared::feed::info::{Cadence, FeedState, LayerInfo};
use bicast_shared::id::{Epoch, TrackId};
use bicast_shared::media::RenditionInfo;
use bicast_shared::time::ProgramTime;

use super::super::candidates::tests::udp;
use super::super::sdp::tests::VIEWER as CHROMIUM;
use super::*;

const BASELINE: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";

fn feed(fmtp: &str) -> FeedInfo {
    FeedInfo {
        id: "demo".parse().unwrap(),
        settings: Arc::default(),
        is_kept: false,
        state: FeedState::Live,
        epoch: Epoch(0),
        tracks: vec![
            TrackInfo::single(TrackId(0), Codec::H264, ClockRate::VIDEO, 0, fmtp.into()),
            TrackInfo::single(TrackId(1), Codec::Opus, ClockRate::OPUS, 2, String::new()),
        ],
        publisher: None,
        standby: None,
        cadence: Cadence::default(),
        map: None,
        b_frames: false,
        layers: Vec::new(),
        since: ProgramTime::default(),
    }
}

fn wishes(playout: Playout) -> Wishes {
    Wishes { playout, rendition: None }
}

fn counter() -> impl FnMut() -> u32 {
    let mut n = 0xffff;
    move || {
        n += 1;
        n
    }
}

fn agree(text: &str, feed: &FeedInfo) -> Result<Agreement, Refusal> {
    negotiate(&Offer::parse(text).unwrap(), feed, wishes(Playout::LowestLatency), counter())
}

fn answer(text: &str, feed: &FeedInfo) -> String {
    let offer = Offer::parse(text).unwrap();
    let agreement = agree(text, feed).unwrap();
    let candidates = [udp("127.0.0.1:8189"), udp("[::1]:8189")];
    let end = LocalEnd {
        session: 7,
        ufrag: "uuuu",
        pwd: "pppppppppppppppppppppppp",
        fingerprint: "AA:BB",
        candidates: &candidates,
        stream: "demo",
    };
    write(&offer, &agreement, &end)
}

#[test]
fn the_answer_to_chromium_reads_as_tried_in_it() {
    let expected = expect_test::expect_file!["fixtures/chromium-answer.sdp"];
    expected.assert_eq(&answer(CHROMIUM, &feed(BASELINE)).replace("\r\n", "\n"));
}

#[test]
fn any_h264_profile_finds_the_viewers_nearest_payload_type() {
    let payload_type = |fmtp: &str| agree(CHROMIUM, &feed(fmtp)).map(|a| a.tracks[0].spec.payload_type);
    assert_eq!(payload_type(BASELINE), Ok(108));
    assert_eq!(payload_type("packetization-mode=1;profile-level-id=42001f"), Ok(102));
    assert_eq!(payload_type("packetization-mode=1;profile-level-id=4d0028"), Ok(127));
    assert_eq!(
        payload_type("packetization-mode=1;profile-level-id=640c1f"),
        Ok(108),
        "High goes under baseline"
    );
    assert_eq!(payload_type("profile-level-id=42e01f;packetization-mode=0"), Ok(112));
    assert_eq!(payload_type(""), Ok(102), "an unknown publisher may send fragments");
    let only_mode_0 = CHROMIUM.replace("packetization-mode=1", "packetization-mode=0");
    assert!(matches!(agree(&only_mode_0, &feed(BASELINE)), Ok(a) if a.tracks.len() == 1), "audio only");
}

/// Chromium's offer with more video formats in front of its own, as browsers that decode more profiles write them.
fn offering(formats: &[(u8, &str, &str)]) -> String {
    let types: String = formats.iter().fold(String::new(), |types, (pt, ..)| format!("{types}{pt} "));
    let lines = formats.iter().fold(String::new(), |lines, (pt, name, fmtp)| {
        format!("{lines}a=rtpmap:{pt} {name}/90000\r\na=fmtp:{pt} {fmtp}\r\n")
    });
    let without = CHROMIUM.replace("VP9/", "x/").replace("AV1/", "x/").replace("H265/", "x/");
    let text =
        without.replacen("m=video 9 UDP/TLS/RTP/SAVPF ", &format!("m=video 9 UDP/TLS/RTP/SAVPF {types}"), 1);
    let at = text.find("m=audio").unwrap();
    [&text[..at], &lines, &text[at..]].concat()
}

fn feed_of(codec: Codec, fmtp: &str) -> FeedInfo {
    let mut feed = feed("");
    feed.tracks[0] = TrackInfo::single(TrackId(0), codec, ClockRate::VIDEO, 0, fmtp.into());
    feed
}

#[test]
fn vp9_av1_and_h265_find_the_payload_type_of_their_profile() {
    let text = offering(&[
        (51, "VP9", "profile-id=2"),
        (52, "VP9", "profile-id=0"),
        (53, "AV1", "level-idx=5;profile=1;tier=0"),
        (54, "AV1", "level-idx=5;profile=0;tier=0"),
        (56, "AV1", "level-idx=13;profile=0;tier=0"),
        (57, "H265", "level-id=93;profile-id=2;tier-flag=0;tx-mode=SRST"),
        (58, "H265", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (59, "H265", "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
    ]);
    let payload_type = |codec, fmtp: &str| {
        let agreed = agree(&text, &feed_of(codec, fmtp)).unwrap();
        agreed.tracks.iter().find(|track| track.codec == codec).map(|track| track.spec.payload_type)
    };
    assert_eq!(payload_type(Codec::Vp9, ""), Some(52));
    assert_eq!(payload_type(Codec::Vp9, "profile-id=2"), Some(51));
    assert_eq!(payload_type(Codec::Vp9, "profile-id=1"), None);
    assert_eq!(payload_type(Codec::Av1, ""), Some(54));
    assert_eq!(payload_type(Codec::Av1, "level-idx=9;profile=0;tier=0"), Some(56));
    assert_eq!(payload_type(Codec::Av1, "profile=1"), Some(53));
    assert_eq!(payload_type(Codec::Av1, "profile=2"), None);
    assert_eq!(payload_type(Codec::H265, "level-id=150"), Some(59));
    assert_eq!(payload_type(Codec::H265, "profile-id=2"), Some(57));
    assert_eq!(payload_type(Codec::H265, "tier-flag=1"), None);
}

#[test]
fn a_profile_that_a_viewer_lacks_is_refused_by_name() {
    let text = offering(&[(52, "VP9", "profile-id=0")]);
    let video_only = &text[..text.find("m=audio").unwrap()];
    let refused = agree(video_only, &feed_of(Codec::Vp9, "profile-id=2"));
    let Err(Refusal::Unusable { why, offered, accepted }) = refused else { panic!() };
    assert!(why.contains("the feed is VP9 (profile-id=2)"), "{why}");
    assert!(offered.contains(&"video: VP9 (profile-id=0)".to_owned()), "{offered:?}");
    assert_eq!(accepted, ["video: VP9 (profile-id=2)", "audio: Opus"]);
}

#[test]
fn a_returning_publisher_with_another_profile_is_another_codec() {
    let text = offering(&[(52, "VP9", "profile-id=0")]);
    let agreed = agree(&text, &feed_of(Codec::Vp9, "profile-id=0")).unwrap();
    let video = &agreed.tracks[0];
    assert!(video.carries(&feed_of(Codec::Vp9, "").tracks[0]));
    assert!(!video.carries(&feed_of(Codec::Vp9, "profile-id=2").tracks[0]));
    assert!(!video.carries(&feed_of(Codec::Vp8, "").tracks[0]));
    let h264 = &agree(CHROMIUM, &feed(BASELINE)).unwrap().tracks[0];
    assert!(
        h264.carries(&feed("packetization-mode=1;profile-level-id=640c1f").tracks[0]),
        "any profile of H.264"
    );
}

#[test]
fn stereo_and_fec_reach_the_viewer() {
    let sound = |published: &str, offer: &str| {
        let mut feed = feed(BASELINE);
        feed.tracks[1].fmtp = published.into();
        let answer = answer(offer, &feed);
        answer.lines().find_map(|line| line.strip_prefix("a=fmtp:111 ")).unwrap().to_owned()
    };
    assert_eq!(sound("minptime=10;useinbandfec=1", CHROMIUM), "minptime=10;useinbandfec=1");
    for stereo in ["sprop-stereo=1;useinbandfec=1", "stereo=1"] {
        assert_eq!(sound(stereo, CHROMIUM), "minptime=10;useinbandfec=1;sprop-stereo=1");
    }
    // What the browser's decoder goes by.
    let wanting = CHROMIUM.replace("useinbandfec=1", "useinbandfec=1;stereo=1");
    assert_eq!(sound("sprop-stereo=1", &wanting), "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1");
}

#[test]
fn retransmission_and_extensions_are_those_of_the_offer() {
    let agreement = agree(CHROMIUM, &feed(BASELINE)).unwrap();
    let video = &agreement.tracks[0].spec;
    assert_eq!(video.rtx.unwrap().1, 109);
    assert_eq!((video.playout_delay, video.orientation), (Some(5), Some(3)));
    let offer = Offer::parse(&CHROMIUM.replace("apt=108", "apt=9")).unwrap();
    let lip_sync = negotiate(&offer, &feed(BASELINE), wishes(Playout::LipSync), counter()).unwrap();
    let video = &lip_sync.tracks[0].spec;
    assert_eq!((video.rtx, video.playout_delay), (None, None));
    let audio = &agreement.tracks[1].spec;
    assert_eq!((audio.payload_type, audio.rtx, audio.playout_delay), (111, None, None));
    assert_eq!(
        (video.capture_time, audio.capture_time),
        (None, None),
        "Chromium does not offer it by itself"
    );
}

#[test]
fn the_time_of_capture_is_told_on_both_tracks_where_it_is_wanted() {
    const LINE: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
    let text = CHROMIUM.replace("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\na=extmap:13 {LINE}\r\n"));
    let answer = answer(&text, &feed(BASELINE));
    assert_eq!(answer.matches(&format!("a=extmap:13 {LINE}\r\n")).count(), 2, "{answer}");
}

#[test]
fn sections_that_cannot_be_sent_keep_their_place_and_lose_no_candidates() {
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:9\r\n";
    let at = CHROMIUM.find("m=video").unwrap();
    let text = [&CHROMIUM[..at], data, &CHROMIUM[at..]].concat();
    let answer = answer(&text, &feed(BASELINE));
    let media: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(media[0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    assert_eq!(media.len(), 3);
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"));
    assert_eq!(answer.matches("a=candidate:").count(), 2);
    assert!(answer.find("a=candidate:").unwrap() > answer.find("m=video").unwrap());
    assert!(answer.ends_with("\r\n"));
}

#[test]
fn a_rejected_section_still_maps_its_formats() {
    let mut silent = feed(BASELINE);
    silent.tracks.retain(|track| track.kind() == TrackKind::Video);
    let answer = answer(CHROMIUM, &silent);
    let rejected = &answer[answer.find("m=audio 0").unwrap()..];
    assert!(rejected.contains("a=rtpmap:111 opus/48000/2\r\n"), "{rejected}");
}

#[test]
fn b_frames_leave_the_sound_and_say_why() {
    let mut feed = feed(BASELINE);
    feed.b_frames = true;
    let agreement = agree(CHROMIUM, &feed).unwrap();
    assert_eq!(agreement.tracks.len(), 1);
    assert_eq!(agreement.tracks[0].codec, Codec::Opus);
    let video_only = &CHROMIUM[..CHROMIUM.find("m=audio").unwrap()];
    let Err(Refusal::Unusable { why, .. }) = agree(video_only, &feed) else { panic!() };
    assert!(why.contains("B-frames"), "{why}");
}

#[test]
fn unusable_offers_tell_both_sides() {
    let text = CHROMIUM.replace("H264", "H263").replace("opus", "speex");
    let Err(Refusal::Unusable { why, offered, accepted }) = agree(&text, &feed(BASELINE)) else { panic!() };
    assert!(offered.contains(&"video: VP8".to_owned()), "{offered:?}");
    assert!(offered.contains(&"audio: G722".to_owned()));
    assert_eq!(accepted, [format!("video: H264 ({BASELINE})"), "audio: Opus".to_owned()]);
    assert!(why.contains("offered were"));
    let send_only = CHROMIUM.replace("recvonly", "sendonly");
    assert!(matches!(agree(&send_only, &feed(BASELINE)), Err(Refusal::Unusable { .. })));
}

#[test]
fn what_a_connection_needs_is_asked_for_by_name() {
    for (what, replaced) in [
        ("ice-ufrag", CHROMIUM.replace("a=ice-ufrag", "a=x")),
        ("ice-pwd", CHROMIUM.replace("a=ice-pwd", "a=x")),
        ("fingerprint", CHROMIUM.replace("a=fingerprint", "a=x")),
        ("setup:passive", CHROMIUM.replace("setup:actpass", "setup:passive")),
    ] {
        let Err(Refusal::Broken(why)) = agree(&replaced, &feed(BASELINE)) else { panic!("{what}") };
        assert!(why.contains(what), "{why}");
    }
}

#[test]
fn without_bundle_only_one_section_is_taken() {
    let text = CHROMIUM.replace("a=group:BUNDLE 0 1\r\n", "");
    assert_eq!(agree(&text, &feed(BASELINE)).unwrap().tracks.len(), 1);
}

#[test]
fn of_several_encodings_a_viewer_gets_the_best_that_runs_or_the_one_it_asks_for() {
    let mut feed = feed(BASELINE);
    let rendition = |n: u8| RenditionInfo { id: RenditionId(n), rid: Some(n.to_string()) };
    feed.tracks[0].renditions = (0..3).map(rendition).collect();
    let layer = |n: u8, running, bitrate_bps| LayerInfo {
        rendition: RenditionId(n),
        running,
        bitrate_bps,
        keyframe_offset_ms: None,
    };
    let offer = Offer::parse(CHROMIUM).unwrap();
    let key = |feed: &FeedInfo, rendition| {
        let wishes = Wishes { rendition, ..wishes(Playout::LowestLatency) };
        let agreed = negotiate(&offer, feed, wishes, counter()).unwrap();
        agreed.tracks.iter().map(|track| track.key.rendition.0).collect::<Vec<_>>()
    };
    assert_eq!(key(&feed, None), [0, 0], "nothing is known of them");
    feed.layers = vec![layer(0, true, 0), layer(1, true, 0), layer(2, true, 0)];
    assert_eq!(key(&feed, None), [0, 0], "the first of equals");
    feed.layers = vec![layer(0, true, 200_000), layer(1, true, 700_000), layer(2, false, 2_000_000)];
    assert_eq!(key(&feed, None), [1, 0]);
    assert_eq!(key(&feed, Some(RenditionId(2))), [2, 0]);
}

const AAC: &str = "mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3";

fn feed_with_aac() -> FeedInfo {
    let mut feed = feed(BASELINE);
    feed.tracks[1] = TrackInfo::single(TrackId(1), Codec::Aac, ClockRate::new(48_000), 2, AAC.into());
    feed
}

#[test]
fn a_browser_gets_the_picture_without_aac() {
    let agreement = agree(CHROMIUM, &feed_with_aac()).unwrap();
    assert_eq!(agreement.tracks.iter().map(|track| track.codec).collect::<Vec<_>>(), [Codec::H264]);
    let text = answer(CHROMIUM, &feed_with_aac());
    let sound = text.split("m=audio").nth(1).unwrap();
    assert!(sound.starts_with(" 0 ") && sound.contains("a=inactive\r\n"), "{sound}");
    let head = CHROMIUM.split("m=").next().unwrap();
    let sound_only = format!("{head}m=audio{}", CHROMIUM.split("m=audio").nth(1).unwrap());
    let Err(Refusal::Unusable { why, .. }) = agree(&sound_only, &feed_with_aac()) else { panic!() };
    assert!(why.contains("the feed is AAC"), "{why}");
}

#[test]
fn a_viewer_that_knows_aac_gets_it_as_the_publisher_describes_it() {
    let knows = CHROMIUM
        .replace("opus/48000/2", "MPEG4-GENERIC/48000/2")
        .replace("minptime=10;useinbandfec=1", "mode=AAC-hbr");
    let agreement = agree(&knows, &feed_with_aac()).unwrap();
    let sound = agreement.tracks.iter().find(|track| track.codec == Codec::Aac).unwrap();
    assert_eq!((sound.encoding.as_str(), sound.fmtp.as_str()), ("MPEG4-GENERIC/48000/2", AAC));
    let mut other = feed_with_aac();
    other.tracks[1].fmtp = AAC.replace("1190", "1188");
    assert!(sound.carries(&feed_with_aac().tracks[1]) && !sound.carries(&other.tracks[1]));
}

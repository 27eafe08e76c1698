use super::*;
use crate::core::sdp::tests::{PUBLISHER as CHROMIUM, SIMULCAST};

/// The decision on a text that is an offer.
pub(crate) fn decide(text: &str, simulcast: bool) -> Result<Negotiation, Refusal> {
    negotiate(&Offer::parse(text).unwrap(), &[], simulcast)
}

/// AAC as GStreamer describes it.
pub(crate) const AAC: &str =
    "streamtype=5;profile-level-id=2;mode=AAC-hbr;config=1210;sizelength=13;indexlength=3;indexdeltalength=3";

/// The offer with AAC instead of its Opus.
pub(crate) fn with_aac(offer: &str) -> String {
    let offer = offer
        .replace("SAVPF 111", "SAVPF 97")
        .replace("a=rtpmap:111 opus/48000/2", "a=rtpmap:97 MPEG4-GENERIC/44100/2");
    offer.replace("a=fmtp:111 minptime=10;useinbandfec=1", &format!("a=fmtp:97 {AAC}"))
}

#[test]
fn aac_is_taken_with_its_own_clock() {
    let tracks = decide(&with_aac(CHROMIUM), false).unwrap().tracks();
    let sound = &tracks[1];
    assert_eq!((sound.codec, sound.clock_rate, sound.channels), (Codec::Aac, ClockRate::new(44_100), 2));
    let mono = with_aac(CHROMIUM).replace("config=1210", "config=1208");
    assert_eq!(decide(&mono, false).unwrap().tracks()[1].channels, 1, "the config's, not a=rtpmap's");
}

#[test]
fn opus_is_preferred_in_one_section_and_in_another() {
    let both = CHROMIUM.replace("SAVPF 111", "SAVPF 97 111").replace(
        "a=rtpmap:111",
        &format!("a=rtpmap:97 MPEG4-GENERIC/44100/2\r\na=fmtp:97 {AAC}\r\na=rtpmap:111"),
    );
    assert_eq!(decide(&both, false).unwrap().tracks()[1].codec, Codec::Opus);
    let (head, opus) = CHROMIUM.split_once("m=audio").unwrap();
    let (_, aac) =
        with_aac(CHROMIUM).split_once("m=audio").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let opus = opus.replace("a=mid:1", "a=mid:2");
    let two = format!("{head}m=audio{aac}m=audio{opus}").replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    let decided = decide(&two, false).unwrap();
    assert_eq!(decided.tracks()[1].codec, Codec::Opus);
    assert!(matches!(&decided.sections[1], Plan::Reject { .. }));
}

#[test]
fn aac_that_is_not_taken_is_refused_with_the_reason_and_left_out_beside_opus() {
    let he = with_aac(CHROMIUM).replace("config=1210", "config=2b920800");
    let refusal = decide(&he, false).unwrap_err().to_string();
    assert!(refusal.contains("object type 5") && refusal.contains("set the encoder to AAC-LC"), "{refusal}");
    let clock = with_aac(CHROMIUM).replace("GENERIC/44100", "GENERIC/90000");
    assert!(decide(&clock, false).unwrap_err().to_string().contains("a clock of 90000 Hz"));
    let beside = he.replace("SAVPF 97", "SAVPF 97 111") + "a=rtpmap:111 opus/48000/2\r\n";
    assert_eq!(decide(&beside, false).unwrap().tracks()[1].codec, Codec::Opus);
}

#[test]
fn h264_in_packetization_mode_1_is_chosen_wherever_it_stands() {
    let decided = decide(CHROMIUM, false).unwrap();
    let tracks = decided.tracks();
    assert_eq!((tracks[0].codec, tracks[0].id), (Codec::H264, TrackId(0)));
    assert_eq!(tracks[0].fmtp, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
    assert_eq!((tracks[1].codec, tracks[1].channels, tracks[1].id), (Codec::Opus, 2, TrackId(1)));
    let video = decided.taken().next().unwrap();
    assert_eq!((video.offered.payload_type, video.rtx), (107, Some(108)));
    assert_eq!(video.announced, Some((1111, Some(2222))));
    assert_eq!(video.extensions.ids(), [Some(9), Some(10), Some(11), Some(4), Some(3)]);
}

#[test]
fn any_h264_profile_is_taken_as_the_publisher_wrote_it() {
    for profile in ["640034", "4d001f", "f4001f", "64001f"] {
        let decided = decide(&CHROMIUM.replace("42e01f", profile), false).unwrap();
        assert!(decided.tracks()[0].fmtp.contains(profile));
    }
}

#[test]
fn without_h264_the_publishers_order_counts() {
    let without = CHROMIUM.replace("H264/90000", "H266/90000");
    assert_eq!(decide(&without, false).unwrap().tracks()[0].codec, Codec::Vp8);
    let av1 = without.replace("VP8/90000", "H266/90000");
    assert_eq!(decide(&av1, false).unwrap().tracks()[0].codec, Codec::Av1);
}

#[test]
fn h265_over_several_streams_is_not_taken() {
    let h265 = |mode: &str| {
        CHROMIUM.replace("VP8/", "H265/").replace("H264/", "x/").replace("a=rtcp-fb:96 goog-remb", mode)
    };
    let first = |mode: &str| decide(&h265(mode), false).unwrap().tracks()[0].codec;
    assert_eq!(first("a=fmtp:96 profile-id=1;tx-mode=SRST"), Codec::H265);
    assert_eq!(first("a=fmtp:96 profile-id=1;tx-mode=MRST"), Codec::Av1);
}

#[test]
fn without_a_usable_codec_the_refusal_names_both_sides() {
    let none = CHROMIUM.replace("H264/", "H266/").replace("VP8/", "VC1/").replace("AV1/", "X/");
    let Err(Refusal::NoCodec { kind, offered, accepted }) = decide(&none, false) else { panic!() };
    assert_eq!(kind, "video");
    assert!(offered.contains(&"H266".to_owned()) && accepted.contains(&"H264"), "{offered:?}");
    let Err(refusal) = decide(&CHROMIUM.replace("opus/48000", "opus/44100"), false) else { panic!() };
    assert_eq!(
        refusal.to_string(),
        "none of its audio codecs is taken here: it offers opus, red, G722, PCMU, PCMA"
    );
}

#[test]
fn what_the_transport_needs_is_asked_for_by_name() {
    let refusal = |text: String| decide(&text, false).unwrap_err().to_string();
    assert_eq!(refusal(CHROMIUM.replace("a=ice-ufrag:PuBl\r\n", "")), "it has no a=ice-ufrag");
    assert!(refusal(CHROMIUM.replace("sha-256", "sha-1")).contains("\"sha-1\""));
    assert!(refusal(CHROMIUM.replace("actpass", "passive")).contains("a=setup:passive"));
    assert!(refusal(CHROMIUM.replace("a=sendonly", "a=recvonly")).contains("no section of it sends"));
    assert!(refusal(CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0")).contains("[\"1\"]"));
    assert!(
        refusal(CHROMIUM.replace("a=mid:1", "a=mid:0").replace("BUNDLE 0 1", "BUNDLE 0"))
            .contains("two sections")
    );
    assert!(refusal(CHROMIUM.replace("a=rtcp-mux\r\n", "")).contains("a=rtcp-mux"));
    assert!(
        refusal(CHROMIUM.replace("SAVPF 111", "SAVPF 107").replace(":111 ", ":107 "))
            .contains("payload type 107")
    );
}

#[test]
fn a_second_video_and_a_data_channel_are_rejected_not_lost() {
    let more = format!(
        "{CHROMIUM}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\n"
    );
    let decided = decide(&more, false).unwrap();
    assert_eq!(decided.tracks().len(), 2);
    assert!(matches!(&decided.sections[2], Plan::Reject { formats, .. } if formats == "96"));
    assert!(matches!(&decided.sections[3], Plan::Reject { mid, .. } if mid.as_deref() == Some("3")));
}

#[test]
fn layers_become_renditions_when_they_are_wanted() {
    let track = decide(SIMULCAST, true).unwrap().tracks().remove(0);
    let rids: Vec<_> = track.renditions.iter().filter_map(|r| r.rid.as_deref()).collect();
    assert_eq!(rids, ["f", "h", "q"]);
    let track = decide(SIMULCAST, false).unwrap().tracks().remove(0);
    assert_eq!((track.renditions.len(), track.renditions[0].rid.as_deref()), (1, None));
}

#[test]
fn a_returning_publisher_keeps_the_ids_of_its_kinds() {
    let audio_first = [TrackInfo::single(TrackId(0), Codec::Opus, ClockRate::OPUS, 2, String::new())];
    let offer = Offer::parse(CHROMIUM).unwrap();
    let tracks = negotiate(&offer, &audio_first, false).unwrap().tracks();
    assert_eq!((tracks[0].codec, tracks[1].codec), (Codec::Opus, Codec::H264));
    assert_eq!((tracks[0].id, tracks[1].id), (TrackId(0), TrackId(1)));
}

#[test]
fn a_kind_finds_its_id_again_after_an_epoch_without_it() {
    let offer = Offer::parse(CHROMIUM).unwrap();
    let ids = |tracks: &[TrackInfo]| tracks.iter().map(|t| (t.kind(), t.id)).collect::<Vec<_>>();
    let both = negotiate(&offer, &[], false).unwrap().tracks();
    let audio = Offer::parse(&CHROMIUM.replacen("m=video 9", "m=video 0", 1)).unwrap();
    let audio = negotiate(&audio, &both, false).unwrap().tracks();
    assert_eq!(ids(&audio), [(TrackKind::Audio, TrackId(1))]);
    assert_eq!(ids(&negotiate(&offer, &audio, false).unwrap().tracks()), ids(&both));
}

#[test]
fn a_bundle_only_section_has_port_0_and_is_in_use() {
    // GStreamer with `bundle-policy=max-bundle`: only the first section has a port (RFC 8843, 7.2.1).
    let bundled =
        CHROMIUM.replacen("m=audio 9 ", "m=audio 0 ", 1).replacen("a=mid:1", "a=bundle-only\r\na=mid:1", 1);
    assert_ne!(bundled, CHROMIUM);
    let tracks = decide(&bundled, false).unwrap().tracks().len();
    assert_eq!(tracks, 2);
    let unused = CHROMIUM.replacen("m=audio 9 ", "m=audio 0 ", 1);
    assert_eq!(
        decide(&unused, false).unwrap().tracks().len(),
        1,
        "without it port 0 says that nothing is wanted"
    );
}

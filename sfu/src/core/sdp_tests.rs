use super::*;

/// What Chromium 156 offers to watch: two receiving transceivers.
pub(crate) const VIEWER: &str = include_str!("fixtures/chromium-offer.sdp");

/// What Chromium 156 offers for a canvas and a microphone, shortened to the lines that matter.
pub(crate) const PUBLISHER: &str = include_str!("fixtures/chromium-publisher.sdp");

/// The same with three layers, as Chromium writes them: rids instead of SSRCs.
pub(crate) const SIMULCAST: &str = include_str!("fixtures/chromium-simulcast.sdp");

#[test]
fn a_publishers_offer_is_read() {
    let offer = Offer::parse(PUBLISHER).unwrap();
    assert_eq!(offer.bundle, ["0", "1"]);
    let [video, audio] = offer.sections.as_slice() else { panic!("{offer:?}") };
    assert_eq!((video.media.as_str(), video.mid.as_deref()), ("video", Some("0")));
    assert!(video.sends && !video.receives);
    assert!(video.rtcp_mux && audio.rtcp_mux);
    assert_eq!(video.transport.ufrag.as_deref(), Some("PuBl"));
    assert!(video.transport.fingerprint.is_some() && video.transport.other_hash.is_none());
    assert_eq!(video.codecs[4].payload_type, 107);
    assert_eq!(video.codecs[4].feedback, ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]);
    assert_eq!(video.repair, [(1111, 2222)]);
    assert_eq!(video.ssrcs, [1111, 2222]);
    assert_eq!((audio.codecs[0].name.as_str(), audio.codecs[0].channels), ("opus", 2));
    assert_eq!(audio.codecs[0].fmtp, "minptime=10;useinbandfec=1");
}

#[test]
fn a_viewers_offer_is_read() {
    let offer = Offer::parse(VIEWER).unwrap();
    assert_eq!(offer.bundle, ["0", "1"]);
    assert_eq!(offer.sections.len(), 2);
    let video = &offer.sections[0];
    assert!(video.is_rtp() && video.receives && !video.sends && video.rtcp_mux);
    assert_eq!(video.mid.as_deref(), Some("0"));
    let h264 = video.codecs.iter().find(|codec| codec.payload_type == 108).unwrap();
    assert_eq!((h264.name.as_str(), h264.clock_rate), ("H264", 90_000));
    assert_eq!(h264.parameter("Packetization-Mode"), Some("1"));
    assert_eq!(h264.parameter("apt"), None);
    assert!(video.extensions.iter().any(|(id, uri)| *id == 5 && uri.ends_with("playout-delay")));
    let transport = &offer.sections[1].transport;
    assert_eq!(transport.ufrag.as_deref(), Some("EsAw"));
    assert_eq!(transport.setup.as_deref(), Some("actpass"));
    assert!(transport.fingerprint.is_some());
}

#[test]
fn session_level_transport_counts_for_every_section() {
    let text = "v=0\na=ice-ufrag:abcd\na=setup:actpass\nm=audio 9 X 0\nm=video 9 X 1\na=ice-ufrag:efgh\n";
    let offer = Offer::parse(text).unwrap();
    assert_eq!(offer.sections[0].transport.ufrag.as_deref(), Some("abcd"));
    assert_eq!(offer.sections[1].transport.ufrag.as_deref(), Some("efgh"));
    assert_eq!(offer.sections[1].transport.setup.as_deref(), Some("actpass"));
}

#[test]
fn a_codecs_lines_may_come_in_any_order_and_the_first_of_a_kind_counts() {
    let text = "v=0\nm=video 9 RTP/SAVPF 97 96\na=fmtp:96 x=1\na=rtpmap:96 H264/90000\na=rtpmap:96 VP8/90000\n\
                a=rtpmap:97 VP9/90000\na=fmtp:98 apt=96\na=rtpmap:99 AV1/90000\n";
    let codecs = &Offer::parse(text).unwrap().sections[0].codecs;
    let names: Vec<&str> = codecs.iter().map(|codec| codec.name.as_str()).collect();
    assert_eq!(names, ["VP9", "H264"], "the formats' order, and only what is among them");
    assert_eq!(codecs[1].parameter("x"), Some("1"));
}

#[test]
fn a_payload_type_has_one_spelling() {
    for other in ["0103", "+103"] {
        let offer = Offer::parse(&PUBLISHER.replace(" 103 ", &format!(" {other} "))).unwrap();
        assert!(
            offer.sections.iter().flat_map(|s| &s.codecs).all(|codec| codec.payload_type != 103),
            "{other}"
        );
    }
}

#[test]
fn layers_stand_in_the_order_of_preference() {
    let offer = Offer::parse(SIMULCAST).unwrap();
    assert!(offer.sections[0].simulcast);
    assert_eq!(offer.sections[0].rids, ["f", "h", "q"]);
}

#[test]
fn bare_line_feeds_and_a_missing_last_line_end_are_taken() {
    let text = PUBLISHER.replace("\r\n", "\n");
    assert_eq!(Offer::parse(text.trim_end()).unwrap(), Offer::parse(PUBLISHER).unwrap());
}

#[test]
fn broken_offers_are_told_what_is_wrong_and_where() {
    let error = |text: &str| Offer::parse(text).unwrap_err().to_string();
    assert_eq!(error(" \r\n"), "it is empty");
    assert_eq!(error("hello"), "line 1: \"hello\" is not of the form letter=value");
    assert_eq!(error("v=1\r\n"), "it does not begin with v=0");
    assert_eq!(error("v=0\r\ns=-\r\n"), "it has no media section (m=)");
    assert_eq!(error("v=0\r\nm=video\r\n"), "line 2: a broken m= line: \"m=video\"");
    assert_eq!(error("v=0\nm=video x y\n"), "line 2: a broken m= line: \"m=video x y\"");
    assert!(error("v=0\nnonsense\n").starts_with("line 2: \"nonsense\""));
    assert!(error("v=0\nm=video 9 RTP/X 96\na=rtpmap:96 H264\n").contains("rtpmap"));
    assert!(error("v=0\nm=video 9 P 96\na=ice-pwd:short\n").contains("ICE password"));
    assert!(error("v=0\nm=video 9 P 96\na=fingerprint:sha-256 AA:BB\n").contains("a broken fingerprint"));
    assert!(error("v=0\nm=video 9 P 96\na=mid:a b\n").contains("a broken mid"));
    let many = format!("v=0\n{}", "m=video 9 P 96\n".repeat(40));
    assert!(error(&many).contains("more than 32"));
    let broken = PUBLISHER.replace("a=rtpmap:107 H264/90000", "a=rtpmap:107 H264/none");
    assert_eq!(error(&broken), "line 44: a broken rtpmap: \"a=rtpmap:107 H264/none\"");
    let broken = PUBLISHER.replacen("a=ice-pwd:0123456789abcdefghijklmn", "a=ice-pwd:short", 1);
    assert_eq!(error(&broken), "line 12: a broken ICE password: \"a=ice-pwd:short\"");
}

#[test]
fn nothing_that_an_offer_says_can_end_a_line_of_the_answer() {
    for forbidden in ["\r", "\0"] {
        let text = format!("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=fmtp:96 x=1{forbidden}a=mid:7\r\n");
        let error = Offer::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("line 3: a NUL or a carriage return"), "{error}");
    }
}

#[test]
fn thousands_of_sections_and_lines_are_refused_early() {
    let many = format!("v=0\r\n{}", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(3_000));
    assert_eq!(Offer::parse(&many), Err(SdpError::TooManySections));
    let many = format!("v=0\r\n{}", "a=x\r\n".repeat(10_000));
    assert_eq!(Offer::parse(&many), Err(SdpError::TooManyLines));
    let many =
        format!("v=0\r\nm=video 9 RTP/AVP 96\r\n{}", "a=ssrc:1 cname:c\r\na=rid:a send\r\n".repeat(1_000));
    let offer = Offer::parse(&many).unwrap();
    assert_eq!((offer.sections[0].ssrcs.len(), offer.sections[0].rids.len()), (1, 1));
}

#[test]
fn mutilated_offers_are_survived() {
    // Every line left out, cut short, doubled, or with its digits replaced: parsed or refused, never a panic.
    let lines: Vec<&str> = PUBLISHER.split_inclusive("\r\n").collect();
    for n in 0..lines.len() {
        let with = |line: &str| {
            let mut copy: Vec<&str> = lines.clone();
            copy[n] = line;
            let _ = Offer::parse(&copy.concat());
        };
        with("");
        for cut in 0..lines[n].len() {
            with(&lines[n][..cut]);
        }
        with(&lines[n].repeat(2));
        with(&lines[n].replace(|c: char| c.is_ascii_digit(), "99999999999999999999"));
        with(&lines[n].replace(|c: char| c.is_ascii_digit(), "-"));
        with(&lines[n].replace(' ', "\u{fffd}"));
    }
    for end in (0..VIEWER.len()).filter(|end| VIEWER.is_char_boundary(*end)) {
        let _ = Offer::parse(&VIEWER[..end]);
    }
}

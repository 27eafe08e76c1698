//! What comes over HTTP and UDP and should not: told precisely, counted, and no harm to anybody.

use std::net::UdpSocket;
use std::time::Duration;

use bicast_tests::clip::Clip;
use bicast_tests::http::{self, Response};
use bicast_tests::peer;
use bicast_tests::playback::Playback;
use bicast_tests::server::Server;
use hyper::Method;

use crate::scene::{self, FEED};

/// An answer that is problem+json with this status and kind, whose detail names every one of `words`.
fn check_problem(answer: &Response, status: u16, kind: &str, words: &[&str]) -> anyhow::Result<()> {
    let said = answer.text();
    assert_eq!(answer.status, status, "{said}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{said}");
    assert_eq!(answer.header("access-control-allow-origin"), "*", "errors need CORS too: {said}");
    let problem = answer.json()?;
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{said}");
    assert_eq!(problem["status"], status, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    Ok(())
}

/// A request as a page on another origin makes it.
async fn post(
    url: &str,
    content_type: Option<&str>,
    body: impl Into<bytes::Bytes>,
) -> anyhow::Result<Response> {
    http::request(Method::POST, url, content_type, body).await
}

#[tokio::test]
async fn an_unknown_feed_is_404_and_named_on_every_route() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let offer = peer::viewer_offer().await?;
    let whep = http::post_sdp(&server.url("/whep/nobody-here"), &offer).await?;
    check_problem(&whep, 404, "unknown-feed", &["nobody-here"])?;
    for path in
        ["/v1/feeds/nobody-here", "/hls/nobody-here/multivariant.m3u8", "/hls/nobody-here/video0/media.m3u8"]
    {
        check_problem(&http::get(&server.url(path)).await?, 404, "unknown-feed", &["nobody-here"])?;
    }
    let end = http::request(Method::DELETE, &server.url("/v1/feeds/nobody-here"), None, "").await?;
    check_problem(&end, 404, "unknown-feed", &["nobody-here"])?;
    server.check_unharmed().await
}

#[tokio::test]
async fn an_offer_without_a_usable_codec_is_406_and_told_what_is_taken() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let offer = peer::viewer_offer().await?;
    let sending = offer.replace("a=recvonly", "a=sendonly");
    let foreign = sending.replace("H264/90000", "THEORA/90000").replace("opus/48000/2", "SPEEX/48000/2");
    assert_ne!(foreign, sending, "the offer has no codec to replace");
    let whip = http::post_sdp(&server.url("/whip/new"), &foreign).await?;
    check_problem(&whip, 406, "no-usable-codec", &["THEORA", "H264"])?;

    let _publisher = scene::publisher(&server).await?;
    let foreign = offer.replace("H264/90000", "THEORA/90000").replace("opus/48000/2", "SPEEX/48000/2");
    let whep = http::post_sdp(&server.url(&format!("/whep/{FEED}")), &foreign).await?;
    check_problem(&whep, 406, "no-usable-codec", &["THEORA", "H264"])?;
    server.check_unharmed().await
}

#[tokio::test]
async fn broken_sdp_is_400_wherever_it_is_cut() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = scene::publisher(&server).await?;
    let offer = peer::viewer_offer().await?;
    for url in [server.url("/whip/new"), server.url(&format!("/whep/{FEED}"))] {
        for broken in
            ["", "hello", "v=0\r\n", "{\"sdp\":1}", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=\r\n"]
        {
            let answer = http::post_sdp(&url, broken).await?;
            assert!(matches!(answer.status, 400 | 406), "{broken:?}: {} {}", answer.status, answer.text());
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
        // Without the ICE password nobody could connect: the answer has to say so at once.
        let without: String = offer
            .lines()
            .filter(|line| !line.starts_with("a=ice-pwd"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let answer = http::post_sdp(&url, &without).await?;
        assert_eq!(answer.status, 400, "{}", answer.text());
        // Cut anywhere: an answer, and never a hang or a fault of the server's own.
        for cut in (0..offer.len()).step_by(97) {
            let answer = http::post_sdp(&url, &offer[..cut]).await?;
            assert!(answer.status < 500, "cut at {cut}: {} {}", answer.status, answer.text());
        }
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn bodies_that_are_too_large_or_of_another_type_are_refused() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = scene::publisher(&server).await?;
    for url in [server.url("/whip/new"), server.url(&format!("/whep/{FEED}"))] {
        let large = post(&url, Some("application/sdp"), vec![b'a'; 100 << 10]).await?;
        check_problem(&large, 413, "body-too-large", &[])?;
        for wrong in [Some("application/json"), Some("text/plain"), None] {
            let answer = post(&url, wrong, "v=0\r\n").await?;
            check_problem(&answer, 415, "wrong-content-type", &["application/sdp"])?;
        }
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn a_bad_feed_id_is_400() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let offer = peer::viewer_offer().await?;
    for id in ["a%20b", "%2e%2e", "%C3%A4", &"x".repeat(65)] {
        let answer = http::post_sdp(&server.url(&format!("/whip/{id}")), &offer).await?;
        assert!(matches!(answer.status, 400 | 404), "{id}: {} {}", answer.status, answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{id}");
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn a_playlist_that_does_not_exist_yet_is_asked_for_sensibly_or_refused() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    Playback { pictures: 150, ..Playback::default() }.run(&clip, &mut publisher).await?;
    server.hls_plays(FEED).await?;
    let media = server.url(&format!("/hls/{FEED}/video0/media.m3u8"));
    // Far in the future (RFC 8216bis, 6.2.5.2), a part without a segment, and not a number.
    for query in ["_HLS_msn=99999999", "_HLS_part=1", "_HLS_msn=x", "_HLS_msn=-1", "_HLS_msn=0&_HLS_part=x"] {
        let answer = http::get(&format!("{media}?{query}")).await?;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{query}");
    }
    for path in ["video0/no-such-part.m4s", "video9/media.m3u8", "../../etc/passwd", "video0/..%2f..%2fx"] {
        let answer = http::get(&server.url(&format!("/hls/{FEED}/{path}"))).await?;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    server.check_unharmed().await
}

/// Garbage, truncated STUN, spoofed RTP and RTCP and half DTLS records, while a viewer watches: it loses nothing, what
/// was thrown away is counted, and the log stays short.
#[tokio::test]
async fn garbage_on_the_udp_port_is_ignored_and_counted() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    let lines_before = server.process.output().lines().count();
    let target = format!("127.0.0.1:{}", server.udp);
    let sent = tokio::task::spawn_blocking(move || throw_garbage(&target));
    let playback = Playback { pictures: 240, ..Playback::default() };
    playback.run(&clip, &mut publisher).await?;
    let sent = sent.await??;

    scene::seen_unbroken_up_to(&viewer, 239).await?;
    let text = http::get(&server.url("/metrics")).await?.text();
    let counted = server.metric("bicast_udp_ignored_total").await?;
    assert!(counted > 0.0, "of {sent} bad datagrams none was counted:\n{text}");
    let lines = server.process.output().lines().count() - lines_before;
    assert!(lines < 200, "{lines} lines of log for {sent} bad datagrams");
    server.check_unharmed().await
}

/// Sends bad datagrams for about six seconds from two sockets and tells how many.
fn throw_garbage(target: &str) -> anyhow::Result<usize> {
    let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
    let mut state = 0x2545_f491_u32;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut sent = 0;
    for round in 0..600_u32 {
        let length = usize::try_from(random() % 1_400)?;
        let mut bytes: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[0]).collect();
        // The first byte decides who looks at it (RFC 7983): STUN, DTLS, RTP and RTCP, TURN, nobody.
        let first = [0, 1, 20, 22, 23, 64, 128, 144, 200, 255][usize::try_from(round % 10)?];
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        if first == 0 && bytes.len() >= 20 {
            // A binding request with the right cookie and a length that lies.
            bytes[..8].copy_from_slice(&[0, 1, 0xff, 0xf0, 0x21, 0x12, 0xa4, 0x42]);
        }
        if first == 22 && bytes.len() >= 13 {
            // A handshake record of DTLS 1.2 that is shorter than it says.
            bytes[..13].copy_from_slice(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        }
        sockets[usize::try_from(round % 2)?].send_to(&bytes, target)?;
        sent += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(sent)
}

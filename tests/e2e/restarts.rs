//! A publisher that is killed and started again, twenty times over: its viewers keep their connection, and HLS its playlist.

use bicast_shared::media::{Codec, starts_decoding};
use bicast_tests::hls;
use bicast_tests::http;
use bicast_tests::numbers::Numbers;
use bicast_tests::peer::{Received, RtpViewer};
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use hyper::Method;

use crate::scene::{self, FEED};

const RESTARTS: usize = 20;
/// Pictures of each publisher that are waited for: a second of them.
const PICTURES: usize = 30;

/// How many pictures came since a position in what a viewer received.
fn pictures(packets: &[Received]) -> usize {
    packets.iter().filter(|packet| packet.marker).count()
}

/// Waits until a viewer has a second of what came after `before` packets.
async fn second_of(viewer: &RtpViewer, before: usize) -> anyhow::Result<usize> {
    wait::until("a second of pictures", GENEROUS, || async {
        let packets = viewer.video();
        Ok((pictures(&packets[before..]) >= PICTURES).then_some(packets.len()))
    })
    .await
}

#[tokio::test]
async fn viewers_stay_while_the_publisher_is_killed_and_started_twenty_times() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let pattern = ["--retry", "--test-pattern", "--size", "320x180", "--bitrate", "200k"];
    let mut publisher = server.publish(FEED, &pattern)?;
    server.feed_is(FEED, "the feed is live", |feed| feed["state"] == "live").await?;
    let viewer = scene::viewer(&server).await?;
    let mut seen = second_of(&viewer, 0).await?;
    let multivariant = server.hls_plays(FEED).await?;
    let playlist = hls::renditions(&multivariant).await?.remove(0);

    let mut epoch = 0;
    for restart in 1..=RESTARTS {
        publisher.kill()?;
        publisher = server.publish(FEED, &pattern)?;
        // What was still on its way of the one that was killed does not count.
        let last = viewer.video().last().map(|packet| packet.timestamp);
        let first;
        (epoch, first) = wait::until(&format!("the picture is back, {restart}"), GENEROUS, || async {
            let now = server.feed(FEED).await?["epoch"].as_u64().unwrap_or(0);
            let packets = viewer.video();
            let newest = packets.last().map(|packet| packet.timestamp);
            anyhow::ensure!(now > epoch && newest != last, "epoch {now} after {epoch}, newest {newest:?}");
            Ok(Some((now, packets.len())))
        })
        .await?;
        seen = second_of(&viewer, seen.max(first)).await?;
    }
    publisher.stop().await?;

    let packets = viewer.video();
    let numbers: Numbers = packets.iter().map(|packet| packet.sequence).collect();
    assert_eq!(numbers.missing(), 0, "the viewer's numbers have no hole");

    // A publisher's first packet begins a keyframe, or its picture would be broken: gaps of more than half a second of media time
    // are where one follows another.
    let mut changes = 0;
    for pair in packets.windows(2) {
        let gap = pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed();
        if gap > 45_000 {
            changes += 1;
            assert!(starts_decoding(Codec::H264, &pair[1].payload), "epoch {changes} begins with a keyframe");
        }
    }
    assert_eq!(changes, RESTARTS);

    let after = wait::until("HLS has all of them", GENEROUS, || async {
        let after = hls::playlist(&playlist).await?;
        Ok((after.discontinuities() >= RESTARTS).then_some(after))
    })
    .await?;
    assert_eq!(after.discontinuities(), RESTARTS, "in the playlist that the first publisher began");
    let left = http::request(Method::DELETE, &viewer.session, None, "").await?;
    assert_eq!(left.status, 200, "the viewer's one session: {}", left.text());
    server.check_unharmed().await
}

//! `GET /v1/feeds/{id}/timeline`: a moment of one path names the same frame on the other, and the bytes that it is in.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bicast_tests::clip::{self, Clip};
use bicast_tests::cmaf::{self, Init};
use bicast_tests::hls::{self, MediaPlaylist};
use bicast_tests::http;
use bicast_tests::playback::Playback;
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use crate::scene::{self, FEED};

/// Two seconds of media.
const TWO_SECONDS: i64 = 180_000;

async fn timeline(server: &Server, query: &str) -> anyhow::Result<Value> {
    http::get(&server.url(&format!("/v1/feeds/{FEED}/timeline{query}"))).await?.success()?.json()
}

/// What the picture has of a moment.
async fn of_picture(server: &Server, query: &str) -> anyhow::Result<(Value, Value)> {
    let mut position = timeline(server, query).await?["position"].take();
    let picture = position["renditions"][0].take();
    anyhow::ensure!(picture["rendition"] == "video0", "{query}: {picture:#}");
    Ok((position, picture))
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("a whole number")
}

/// A file, or the bytes of it that a `byteRange` names.
async fn fetch(server: &Server, path: &Value, range: Option<&Value>) -> anyhow::Result<Bytes> {
    let url = server.url(path.as_str().context("no path")?);
    let range = range.map(|range| {
        let (offset, length) = (number(&range["offset"]), number(&range["length"]));
        format!("bytes={offset}-{}", offset + length - 1)
    });
    let headers = range.as_deref().map(|range| ("range", range));
    let answer = http::request_with(Method::GET, &url, headers.as_slice(), Bytes::new()).await?;
    assert_eq!(answer.status, if range.is_some() { 206 } else { 200 }, "{url}: {}", answer.text());
    Ok(answer.body)
}

/// Where the publisher's stays are, as the API and the playlists tell.
async fn check_epochs(server: &Server, playlist: &MediaPlaylist, media: &str) -> anyhow::Result<i64> {
    let outline = timeline(server, "").await?;
    let [first, second] = outline["epochs"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        anyhow::bail!("not two epochs: {outline:#}")
    };
    assert_eq!((&first["epoch"], &second["epoch"]), (&0.into(), &1.into()));
    assert!(media.contains(second["instance"].as_str().unwrap()), "{media}: {second:#}");
    let broken =
        playlist.segments.iter().find(|segment| segment.discontinuity).context("no discontinuity")?;
    assert_eq!(second["segment"], broken.number);
    assert_eq!(Some(second["begin"]["programTime"].as_str().unwrap()), broken.program_date_time.as_deref());
    let discontinuities = ["discontinuitySequence"].map(|name| (number(&first[name]), number(&second[name])));
    assert_eq!(discontinuities, [(0, 1)]);
    assert_eq!(outline["window"]["oldest"], first["begin"], "nothing has left the window");
    assert_eq!(
        outline["window"]["oldest"]["programTime"].as_str(),
        playlist.segments[0].program_date_time.as_deref()
    );
    assert_eq!(outline["mapping"]["masterClockRate"], 90_000);
    assert!(number(&outline["mapping"]["version"]) > 0 && outline["position"].is_null());
    let newest = number(&outline["window"]["newest"]["mediaTime"]);
    for path in ["realtime", "hls"] {
        let edge = number(&outline["liveEdges"][path]["mediaTime"]);
        assert!((edge - newest).abs() < 5 * 90_000, "{path}: {outline:#}");
    }
    // Between them nobody published.
    let begin = number(&second["begin"]["mediaTime"]);
    let (position, picture) = of_picture(server, &format!("?mediaTime={}", begin - 4_500)).await?;
    assert_eq!((&position["epoch"], &picture["state"]), (&Value::Null, &"nothing".into()), "{picture:#}");
    Ok(begin)
}

/// Checks all parts that are listed: each of their frames is said to be there, and the bytes that are named are the part's.
async fn check_parts(server: &Server, playlist: &MediaPlaylist, media: &str) -> anyhow::Result<usize> {
    let (mut checked, mut inits) = (0, BTreeMap::<String, Init>::new());
    for segment in playlist.segments.iter().filter(|segment| segment.uri.is_some()) {
        let map = hls::resolve(media, &segment.map)?;
        if !inits.contains_key(&map) {
            inits.insert(map.clone(), cmaf::init(&http::get(&map).await?.success()?.body)?);
        }
        for uri in &segment.parts {
            let url = hls::resolve(media, uri)?;
            let part = http::get(&url).await?.success()?.body;
            let samples = cmaf::samples(&inits[&map], &part)?;
            for sample in [samples.first(), samples.last()].into_iter().flatten() {
                let (position, picture) =
                    of_picture(server, &format!("?mediaTime={}", sample.presentation)).await?;
                let (found, frame) = (&picture["segment"], &picture["segment"]["frame"]);
                assert_eq!(picture["state"], "available", "{uri}: {picture:#}");
                assert_eq!(found["number"], segment.number);
                assert_eq!(found["part"]["url"].as_str(), Some(hls::path(&url)?.as_str()));
                let wanted = format!("{}.{}.m4s", segment.number, found["part"]["index"]);
                assert_eq!(wanted, *uri);
                assert_eq!(frame["mediaTime"], sample.presentation);
                assert_eq!(frame["keyframe"], sample.sync);
                assert_eq!(fetch(server, &found["url"], Some(&found["byteRange"])).await?, part);
                let bytes = fetch(server, &found["url"], Some(&frame["byteRange"])).await?;
                assert_eq!(bytes, sample.data, "the frame at {}", sample.presentation);
                // The same by its date, with the fractions of a millisecond that RFC 3339 leaves out here.
                let unix_ms = &position["unixMs"];
                let (by_date, again) = of_picture(server, &format!("?programTime={unix_ms}")).await?;
                assert_eq!(again["segment"]["frame"], *frame, "{unix_ms}");
                assert_eq!(by_date["rtpTimestamp"], position["rtpTimestamp"]);
                checked += 1;
            }
        }
    }
    Ok(checked)
}

#[tokio::test]
async fn a_viewers_timestamp_leads_to_the_frame_on_hls_across_a_publishers_return() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let pattern = ["--retry", "--test-pattern", "--size", "320x180", "--bitrate", "200k"];
    let publisher = server.publish(FEED, &pattern)?;
    server.feed_is(FEED, "the feed is live", |feed| feed["state"] == "live").await?;
    let viewer = scene::viewer(&server).await?;
    let media = hls::renditions(&server.hls_plays(FEED).await?).await?.remove(0);
    let lasts = |from: i64| {
        let server = &server;
        wait::until("two seconds more", GENEROUS, move || async move {
            let newest = number(&timeline(server, "").await?["window"]["newest"]["mediaTime"]);
            anyhow::ensure!(newest - from > TWO_SECONDS, "it ends at {newest}");
            Ok(Some(newest))
        })
    };
    lasts(900_000).await?;
    drop(publisher);
    let _again = server.publish(FEED, &pattern)?;
    wait::until("another epoch is on HLS", GENEROUS, || async {
        let epochs = timeline(&server, "").await?["epochs"].as_array().map(Vec::len);
        Ok((epochs == Some(2)).then_some(()))
    })
    .await?;
    let begin = number(&timeline(&server, "").await?["epochs"][1]["begin"]["mediaTime"]);
    lasts(begin).await?;

    let playlist = hls::playlist(&media).await?;
    assert_eq!(check_epochs(&server, &playlist, &media).await?, begin);
    let checked = check_parts(&server, &playlist, &media).await?;
    assert!(checked > 30, "only {checked} frames");

    // What a viewer over WebRTC has seen is on HLS, under the time that it has there.
    let newest = number(&timeline(&server, "").await?["window"]["newest"]["mediaTime"]);
    let mut timestamps: Vec<u32> = viewer.video().iter().map(|packet| packet.timestamp).collect();
    timestamps.dedup();
    timestamps.retain(|timestamp| i64::from(*timestamp) < newest);
    let mut epochs = BTreeMap::<i64, u32>::new();
    for timestamp in timestamps.iter().step_by(3) {
        let (position, picture) = of_picture(&server, &format!("?rtpTimestamp={timestamp}")).await?;
        assert_eq!(position["rtpTimestamp"], *timestamp);
        assert_eq!(picture["segment"]["frame"]["mediaTime"], *timestamp, "{picture:#}");
        *epochs.entry(number(&position["epoch"])).or_default() += 1;
    }
    assert!(epochs.values().all(|frames| *frames > 10) && epochs.len() == 2, "{epochs:?}");
    server.check_unharmed().await
}

#[tokio::test]
async fn a_numbered_frame_is_the_same_on_both_paths_also_over_the_wrap_of_its_clock() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let viewer = scene::viewer(&server).await?;
    // Its own clock wraps after two seconds: nobody here sees that.
    let video_start = 0_u32.wrapping_sub(2 * 90_000);
    Playback { pictures: 150, video_start, ..Playback::default() }.run(&clip, &mut publisher).await?;
    let video = scene::video_up_to(&server, 120).await?;
    let seen = scene::seen_up_to(&viewer, 120).await?;
    let mut compared = 0;
    for (number, timestamp) in seen.iter().filter(|(number, _)| video.numbered().contains_key(number)) {
        let (_, picture) = of_picture(&server, &format!("?rtpTimestamp={timestamp}")).await?;
        let (segment, frame) = (&picture["segment"], &picture["segment"]["frame"]);
        if segment["complete"] != true {
            continue;
        }
        let bytes = fetch(&server, &segment["url"], Some(&frame["byteRange"])).await?;
        assert_eq!(clip::units_of(&bytes).find_map(|unit| clip::marked(&unit)), Some(*number), "{picture:#}");
        compared += 1;
    }
    assert!(compared > 50, "only {compared} frames");
    server.check_unharmed().await
}

#[tokio::test]
async fn what_is_not_in_the_window_or_no_moment_is_refused() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    server.hls_plays(FEED).await?;
    for (query, status, kind) in [
        ("programTime=2001-01-01T00:00:00Z", 404, "outside-window"),
        ("programTime=2201-01-01T00:00:00Z", 404, "outside-window"),
        ("mediaTime=0", 404, "outside-window"),
        ("mediaTime=-9223372036854775808", 404, "outside-window"),
        ("mediaTime=9223372036854775807", 404, "outside-window"),
        ("programTime=9223372036854.775807", 404, "outside-window"),
        ("rtpTimestamp=0", 404, "outside-window"),
        ("rtpTimestamp=4294967296", 400, "bad-position"),
        ("programTime=now", 400, "bad-position"),
        ("mediaTime=1&programTime=1", 400, "bad-position"),
    ] {
        let url = server.url(&format!("/v1/feeds/{FEED}/timeline?{query}"));
        let answer = http::get(&url).await?;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json()?;
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{query}");
        assert_eq!(kind == "outside-window", problem["window"]["oldest"].is_object(), "{problem:#}");
    }
    let unknown = http::get(&server.url("/v1/feeds/nobody-here/timeline")).await?;
    assert_eq!((unknown.status, &unknown.json()?["feed"]), (404, &"nobody-here".into()));
    server.check_unharmed().await
}

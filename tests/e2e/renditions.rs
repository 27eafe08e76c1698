//! Simulcast: a publisher's encodings of one picture are variants that a player can change between.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bicast_tests::hls::{self, Window};
use bicast_tests::peer::{Kind, RtpViewer};
use bicast_tests::process::Process;
use bicast_tests::server::{LOOPBACK, Server};
use bicast_tests::wait::{self, GENEROUS};
use bicast_tests::{barcode, http};

use crate::scene::FEED;

/// Publishes these files of `target/test-assets` as layers.
fn publish(server: &Server, files: &[&str]) -> anyhow::Result<Process> {
    let mut arguments = vec!["--json".to_owned()];
    for file in files {
        let path = bicast_tests::asset(file)?;
        arguments.extend(["--layer".to_owned(), path.to_str().context("path")?.to_owned()]);
    }
    server.publish(FEED, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The multivariant playlist once it offers `count` variants and the feed has so many seconds of media.
async fn variants(server: &Server, count: usize, seconds: f64) -> anyhow::Result<(String, String)> {
    let url = server.hls_plays(FEED).await?;
    server
        .feed_is(FEED, "enough of HLS", |feed| feed["paths"]["hls"]["windowSeconds"].as_f64() > Some(seconds))
        .await?;
    wait::until("all variants are offered", GENEROUS, || async {
        let text = http::get(&url).await?.success()?.text();
        let offered = text.matches("#EXT-X-STREAM-INF").count();
        anyhow::ensure!(offered == count, "{offered} variants: {text}");
        Ok(Some((url.clone(), text)))
    })
    .await
}

/// What the pictures of a window show, by their presentation time. Those that fill a hole are left out.
fn pictures(window: &Window) -> anyhow::Result<BTreeMap<i64, u32>> {
    let numbers = barcode::of_window(window)?;
    let own = window.frames.iter().zip(numbers).filter(|(frame, _)| !frame.sample.disposable);
    Ok(own.filter_map(|(frame, number)| Some((frame.sample.presentation, number?))).collect())
}

/// Where the segments of a window begin.
fn starts(window: &Window) -> BTreeMap<u64, u64> {
    let mut starts = BTreeMap::new();
    for frame in &window.frames {
        starts.entry(frame.segment).or_insert(frame.sample.decode);
    }
    starts
}

#[tokio::test]
async fn layers_are_variants_that_begin_every_segment_with_the_same_frame() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let mut publisher = publish(&server, &["layer-high.mp4", "layer-middle.mp4", "layer-low.mp4"])?;
    let (url, text) = variants(&server, 3, 9.0).await?;
    for size in ["640x360", "480x272", "320x180"] {
        let line = text.lines().find(|line| line.contains(size)).context("a variant of each size")?;
        for attribute in ["BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", "FRAME-RATE", "SCORE", "AUDIO"] {
            let value = hls::attribute(line.split_once(':').context("attributes")?.1, attribute);
            assert!(value.is_some_and(|value| !value.is_empty()), "{attribute} in {line}");
        }
        assert!(line.contains("FRAME-RATE=30.000") && line.contains("avc1.42"), "{line}");
    }
    assert_eq!(text.matches("#EXT-X-I-FRAME-STREAM-INF").count(), 3, "{text}");
    let renditions = hls::renditions(&url).await?;
    assert_eq!(renditions.len(), 4, "three pictures and a sound");
    let mut windows = Vec::new();
    for rendition in &renditions {
        let playlist = hls::playlist(rendition).await?;
        assert_eq!(playlist.text.matches("#EXT-X-RENDITION-REPORT").count(), 3, "{}", playlist.text);
        windows.push(hls::window(rendition).await?);
    }
    let seen: Vec<_> = windows[..3].iter().map(pictures).collect::<Result<_, _>>()?;
    let begun: Vec<_> = windows[..3].iter().map(starts).collect();
    for (other, others) in seen.iter().zip(&begun).skip(1) {
        let both = other.iter().filter_map(|(time, number)| Some((number, seen[0].get(time)?)));
        let both: Vec<_> = both.collect();
        assert!(both.len() > 150, "{} pictures of the same time", both.len());
        assert!(both.iter().all(|(one, other)| one == other), "one time, one picture");
        let common = others.iter().filter(|(number, _)| begun[0].contains_key(number));
        let same = common.clone().filter(|(number, at)| begun[0][number] == **at).count();
        assert!(same >= 4 && same == common.count(), "{others:?} {:?}", begun[0]);
    }
    let feed = server.feed(FEED).await?;
    let layers = feed["tracks"][0]["renditions"].as_array().context("renditions")?;
    assert_eq!(layers.len(), 3);
    for (layer, rid) in layers.iter().zip(["0", "1", "2"]) {
        assert_eq!(layer["rid"], rid);
        assert_eq!(
            (&layer["layer"]["running"], &layer["layer"]["keyframeOffsetMs"]),
            (&true.into(), &0.into())
        );
        assert!(layer["layer"]["bitrateBps"].as_u64() > Some(20_000), "{layer}");
    }
    assert!(publisher.running(), "{}", publisher.output());
    server.check_unharmed().await
}

#[tokio::test]
async fn an_iframe_playlist_names_the_bytes_of_keyframes() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = publish(&server, &["layer-middle.mp4", "layer-low.mp4"])?;
    let (url, text) = variants(&server, 2, 5.0).await?;
    let streams = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-I-FRAME-STREAM-INF:"));
    let uris: Vec<_> = streams.filter_map(|attributes| hls::attribute(attributes, "URI")).collect();
    assert_eq!(uris.len(), 2, "{text}");
    for uri in uris {
        let list = hls::resolve(&url, &uri)?;
        let text = http::get(&list).await?.success()?.text();
        assert!(text.contains("#EXT-X-I-FRAMES-ONLY\n") && !text.contains("#EXT-X-PART"), "{text}");
        let window = hls::window(&list.replace("iframes.m3u8", "media.m3u8")).await?;
        let lines: Vec<_> = text.lines().collect();
        let ranges =
            lines.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("#EXT-X-BYTERANGE:")?, pair[1])));
        let mut looked_at = 0;
        for (range, file) in ranges {
            let (length, at) = range.split_once('@').context("a range")?;
            let number: u64 = file.strip_suffix(".m4s").context("a segment")?.parse()?;
            let keyframe = window.frames.iter().find(|frame| frame.segment == number);
            let Some(keyframe) = keyframe else { continue };
            let segment = http::get(&hls::resolve(&list, file)?).await?.success()?.body;
            let (at, length): (usize, usize) = (at.parse()?, length.parse()?);
            assert!(keyframe.sample.sync && segment[at..at + length].ends_with(&keyframe.sample.data));
            looked_at += 1;
        }
        assert!(looked_at >= 2, "{text}");
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn layers_whose_keyframes_never_meet_are_told_of_and_every_segment_can_be_decoded_alone()
-> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = publish(&server, &["layer-high.mp4", "layer-low-late.mp4"])?;
    // Two segments of up to 10 s are waited for in vain.
    let (url, _) = variants(&server, 2, 15.0).await?;
    let feed = server
        .feed_is(FEED, "the offset is known", |feed| {
            let offset = &feed["tracks"][0]["renditions"][1]["layer"]["keyframeOffsetMs"];
            offset.as_i64().is_some_and(|offset| offset != 0)
        })
        .await?;
    let warnings = feed["warnings"].to_string();
    assert!(warnings.contains("keyframes of the simulcast layers"), "{warnings}");
    let renditions = hls::renditions(&url).await?;
    let windows = (hls::window(&renditions[0]).await?, hls::window(&renditions[1]).await?);
    assert_eq!(starts(&windows.0).len(), starts(&windows.1).len());
    for window in [&windows.0, &windows.1] {
        for number in starts(window).into_keys() {
            let first = window.frames.iter().find(|frame| frame.segment == number).context("a frame")?;
            assert!(first.sample.sync, "segment {number} begins with a keyframe");
        }
        // ffmpeg complains of what it cannot decode.
        assert!(barcode::of_window(window)?.iter().flatten().count() > 100);
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn a_realtime_viewer_gets_the_best_layer_or_the_one_it_asks_for() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = publish(&server, &["layer-high.mp4", "layer-low.mp4"])?;
    variants(&server, 2, 3.0).await?;
    let offer = bicast_tests::peer::viewer_offer().await?;
    let unknown = http::post_sdp(&server.url(&format!("/whep/{FEED}?rid=9")), &offer).await?;
    assert_eq!((unknown.status, &unknown.json()?["rids"]), (404, &serde_json::json!(["0", "1"])));
    let mut sizes = Vec::new();
    for query in ["", "?rid=1"] {
        let whep = server.url(&format!("/whep/{FEED}{query}"));
        let viewer = RtpViewer::connect(&whep, LOOPBACK[0], &[Kind::Video]).await?;
        let bytes = wait::until("three seconds of pictures", GENEROUS, || async {
            let packets = viewer.video();
            let (first, last) = (packets.first().context("none")?, packets.last().context("none")?);
            let ticks = last.timestamp.wrapping_sub(first.timestamp);
            anyhow::ensure!(ticks > 3 * 90_000, "{ticks} ticks");
            Ok(Some(packets.iter().map(|packet| packet.payload.len()).sum::<usize>()))
        });
        sizes.push(bytes.await?);
    }
    assert!(sizes[0] > sizes[1] * 2, "700 and 200 kbit/s: {sizes:?}");
    server.check_unharmed().await
}

//! Segments on disk: read when they have left the memory, and by the process that follows.

use std::path::Path;
use std::time::Duration;

use axum::http::{StatusCode, header};
use bicast_packager::core::cmaf::probe;
use bicast_packager::{Config, DvrConfig, Packager};
use bicast_shared::auth::DelayClasses;
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::feed::info::FeedState;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::FeedId;
use bicast_shared::status::timeline::{Asked, PlaceState};
use tempfile::TempDir;

use crate::publisher::Publisher;
use crate::{Origin, bytes, folder, get, get_with, newest, part_uris, text, uris};

fn stored_in(directory: &Path) -> Config {
    Config { dvr: DvrConfig { directory: directory.into(), ..DvrConfig::default() }, ..Config::default() }
}

/// Segments of a second: the live part is 14 s long.
fn short() -> FeedSettings {
    FeedSettings { segment_target: Duration::from_secs(1), ..FeedSettings::default() }
}

async fn playlist(origin: &Origin, folder: &str) -> String {
    text(get(origin.router(), &format!("{folder}/media.m3u8")).await).await
}

/// Everything of a playlist that is about whole segments.
fn whole(playlist: &str) -> Vec<&str> {
    let tags = ["#EXTINF", "#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-MAP", "#EXT-X-DISCONTINUITY\n"];
    let about = |line: &&str| !line.starts_with('#') || tags.iter().any(|tag| line.starts_with(tag));
    let end = playlist.rfind("#EXTINF").map_or(0, |last| last + playlist[last..].find(".m4s\n").unwrap() + 5);
    playlist[..end].lines().filter(about).collect()
}

fn feed_status(origin: &Origin) -> bicast_shared::status::PackagerFeedStatus {
    origin.packager.status().borrow().feeds[&"demo".parse().unwrap()].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_left_the_memory_is_read_from_the_disk() {
    let directory = TempDir::new().unwrap();
    let origin = Origin::start_with(stored_in(directory.path()), short()).await;
    let _publishing = Publisher::start(&origin.bus, "demo");
    get(origin.router(), "/hls/demo/multivariant.m3u8").await;
    let video = folder(&origin, "video0").await;
    let first = format!("{video}/0.m4s");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let held = bytes(get(origin.router(), &first).await).await;
    let held_parts = part_uris(&playlist(&origin, &video).await).len();
    assert!(held_parts > 10);
    tokio::time::sleep(Duration::from_secs(15)).await;
    let listed = playlist(&origin, &video).await;
    assert_eq!(uris(&listed)[0], "0.m4s", "it stays listed");
    assert_eq!(get(origin.router(), &format!("{video}/0.0.m4s")).await.status(), StatusCode::NOT_FOUND);
    // The file on the disk is what is served: it is told from the memory by being changed.
    let mut path =
        directory.path().join(video.strip_prefix("/hls/").unwrap().replace("demo/video0/", "demo/"));
    path.push("video0/0.m4s");
    assert_eq!(std::fs::read(&path).unwrap(), held, "as it was served before");
    let mut changed = held.to_vec();
    changed.reverse();
    std::fs::write(&path, &changed).unwrap();
    let answer = get(origin.router(), &first).await;
    assert_eq!(answer.headers()[header::CONTENT_LENGTH], held.len().to_string());
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "video/mp4");
    assert_eq!(bytes(answer).await, changed);
    let range = get_with(origin.router(), &first, &[(header::RANGE, "bytes=100-199")]).await;
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(bytes(range).await, changed[100..200]);
    // One that is damaged harms who asks for it.
    std::fs::write(&path, &changed[..50]).unwrap();
    let short = get(origin.router(), &first).await;
    assert_eq!(short.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(short).await.contains("store-failed"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(get(origin.router(), &first).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(origin.router(), &format!("{video}/1.m4s")).await.status(), StatusCode::OK);
    let dvr = feed_status(&origin).dvr.unwrap();
    assert!(dvr.stored_seconds > 15.0 && dvr.failing.is_none(), "{dvr:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn playlists_go_on_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let origin = Origin::start(stored_in(directory.path())).await;
    let publishing = Publisher::start(&origin.bus, "demo");
    get(origin.router(), "/hls/demo/multivariant.m3u8").await;
    let video = folder(&origin, "video0").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(origin.packager.hold().await, "there is a DVR");
    let before = playlist(&origin, &video).await;
    assert!(!before.contains("ENDLIST"), "{before}");
    let segment = bytes(get(origin.router(), &format!("{video}/1.m4s")).await).await;
    let init = bytes(get(origin.router(), &format!("{video}/init0.mp4")).await).await;
    publishing.leave().await;
    drop(origin);

    let origin = Origin::start(stored_in(directory.path())).await;
    let feed = origin.bus.feed(&"demo".parse().unwrap()).unwrap();
    assert_eq!(feed.info().state, FeedState::Offline);
    let multivariant = text(get(origin.router(), "/hls/demo/multivariant.m3u8").await).await;
    assert!(multivariant.contains("CODECS=\"avc1.42c00b,opus\",RESOLUTION=160x90"), "{multivariant}");
    assert_eq!(folder(&origin, "video0").await, video, "the same playlists");
    let resumed = playlist(&origin, &video).await;
    assert_eq!(whole(&resumed), whole(&before));
    assert_eq!(bytes(get(origin.router(), &format!("{video}/1.m4s")).await).await, segment);
    assert_eq!(bytes(get(origin.router(), &format!("{video}/init0.mp4")).await).await, init);
    // Who waits for what comes next is answered when it has come.
    let next = uris(&before).len();
    let waits = {
        let (router, path) = (origin.router(), format!("{video}/media.m3u8?_HLS_msn={next}&_HLS_part=0"));
        tokio::spawn(async move { text(get(router, &path).await).await })
    };
    let _again = Publisher::start(&origin.bus, "demo");
    let waited = waits.await.unwrap();
    assert!(waited.starts_with(&before[..before.find("#EXT-X-MEDIA-SEQUENCE").unwrap()]), "{waited}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = playlist(&origin, &video).await;
    assert!(whole(&after).starts_with(&whole(&before)), "{after}");
    let rest = after.split_once(uris(&before).last().unwrap()).unwrap().1;
    assert!(rest.trim_start().starts_with("#EXT-X-DISCONTINUITY\n#EXT-X-MAP"), "{rest}");
    assert_eq!(newest(&after).0, uris(&after).len() as u64, "numbers without a hole");
    assert!(!after.contains("#EXT-X-GAP"), "nothing was lost: {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_has_ended_is_served_after_a_restart_and_then_deleted() {
    let directory = TempDir::new().unwrap();
    let settings = FeedSettings { window: Duration::from_secs(20), ..short() };
    let origin = Origin::start_with(stored_in(directory.path()), settings.clone()).await;
    let publishing = Publisher::start(&origin.bus, "demo");
    get(origin.router(), "/hls/demo/multivariant.m3u8").await;
    let video = folder(&origin, "video0").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    publishing.leave().await;
    origin.bus.end(&"demo".parse().unwrap());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = playlist(&origin, &video).await;
    assert!(before.ends_with("#EXT-X-ENDLIST\n"));
    origin.packager.hold().await;
    drop(origin);

    let origin = Origin::start_with(stored_in(directory.path()), settings.clone()).await;
    assert!(origin.bus.feed(&"demo".parse().unwrap()).is_none(), "the id is free");
    let after = playlist(&origin, &video).await;
    assert!(after.ends_with("#EXT-X-ENDLIST\n"));
    assert_eq!(uris(&after), uris(&before));
    assert_eq!(get(origin.router(), &format!("{video}/0.m4s")).await.status(), StatusCode::OK);
    let begun = bicast_shared::clock::now();
    while get(origin.router(), &format!("{video}/0.m4s")).await.status() != StatusCode::NOT_FOUND {
        assert!(begun.elapsed() < Duration::from_secs(25), "its window is 20 s long");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let left =
        std::fs::read_dir(directory.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 0, "nothing is left on the disk");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_told() {
    let directory = TempDir::new().unwrap();
    let start = |config| {
        let bus = FeedBus::new(FeedSettings::default(), RingLimits::default());
        Packager::start(config, DelayClasses::default(), bus)
    };
    let _first = start(stored_in(directory.path())).await.unwrap();
    let second = start(stored_in(directory.path())).await.err().unwrap().to_string();
    assert!(second.contains("in use by another bicast"), "{second}");
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let no_folder = start(stored_in(&file.join("dvr"))).await.err().unwrap().to_string();
    assert!(
        no_folder.contains("packager.dvr.directory") && no_folder.contains("cannot be written to"),
        "{no_folder}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_in_the_folder_harms_nobody() {
    let directory = TempDir::new().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("demo/1a/instance.json", "{");
    write("demo/1b/instance.json", "{\"form\":7}");
    write("demo/1c/video0/0.m4s", "no record");
    write("other/x", "a file");
    let origin = Origin::start(stored_in(directory.path())).await;
    let _publishing = Publisher::start(&origin.bus, "demo");
    let multivariant = get(origin.router(), "/hls/demo/multivariant.m3u8").await;
    assert_eq!(multivariant.status(), StatusCode::OK);
    for foreign in ["demo/1a/instance.json", "demo/1b/instance.json", "demo/1c/video0/0.m4s", "other/x"] {
        assert!(directory.path().join(foreign).exists(), "{foreign}: what is not ours stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_is_found_in_its_segment_before_and_after_a_restart() {
    let demo: FeedId = "demo".parse().unwrap();
    let directory = TempDir::new().unwrap();
    let origin = Origin::start(stored_in(directory.path())).await;
    let publishing = Publisher::start(&origin.bus, "demo");
    get(origin.router(), "/hls/demo/multivariant.m3u8").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let outline = origin.packager.timeline().outline(&demo).unwrap();
    let oldest = outline.window.oldest.media_time;
    // The sound's first packet may be some milliseconds behind the picture's.
    let asked: Vec<Asked> = (1..40).map(|n| Asked::Media(oldest + n * 9_000)).collect();
    let mut held = Vec::new();
    for asked in &asked {
        held.push(origin.packager.timeline().locate(&demo, *asked).await.unwrap().unwrap());
    }
    assert!(origin.packager.hold().await, "there is a DVR");
    publishing.leave().await;
    drop(origin);

    let origin = Origin::start(stored_in(directory.path())).await;
    get(origin.router(), "/hls/demo/multivariant.m3u8").await;
    let resumed = origin.packager.timeline().outline(&demo).unwrap();
    assert_eq!((resumed.stays, resumed.window.oldest), (outline.stays, outline.window.oldest));
    for (asked, before) in asked.into_iter().zip(held) {
        let after = origin.packager.timeline().locate(&demo, asked).await.unwrap().unwrap();
        assert_eq!((after.moment, after.epoch), (before.moment, before.epoch));
        assert_eq!(after.places.len(), 2);
        for (after, before) in after.places.iter().zip(before.places) {
            assert_eq!(before.state, PlaceState::Here, "{asked:?} of {:?}: {before:?}", outline.window);
            assert_eq!(after.state, PlaceState::Here, "{asked:?}: {after:?}");
            let (after, before) = (after.segment.clone().unwrap(), before.segment.unwrap());
            assert!(after.part.is_none() && before.part.is_some());
            assert_eq!((after.range, after.frame), (before.range, before.frame), "{asked:?}");
            let (frame, whole) = (after.frame.unwrap(), bytes(get(origin.router(), &after.url).await).await);
            let probed = probe::samples(&whole).unwrap();
            let probed = probed.iter().find(|sample| sample.presentation == frame.presentation.0).unwrap();
            assert_eq!(
                (probed.offset as u64, u64::from(probed.size)),
                (frame.range.offset, frame.range.length)
            );
        }
    }
}

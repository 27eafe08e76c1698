//! Low-Latency HLS as draft-pantos-hls-rfc8216bis wants it, looked at from outside while a feed runs.

use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::clip::Clip;
use bicast_tests::hls::{self, MediaPlaylist, attribute};
use bicast_tests::http;
use bicast_tests::playback::Playback;
use bicast_tests::process;
use bicast_tests::server::Server;
use bicast_tests::wait::GENEROUS;

use crate::scene::{self, FEED};

/// A feed that runs for as long as the test, and its media playlists: video and audio.
async fn running() -> anyhow::Result<(Server, Vec<String>, tokio::task::JoinHandle<()>)> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let playing = tokio::spawn(async move {
        let _ = Playback { pictures: 9_000, ..Playback::default() }.run(&clip, &mut publisher).await;
    });
    let renditions = hls::renditions(&server.hls_plays(FEED).await?).await?;
    anyhow::ensure!(renditions.len() == 2, "{renditions:?}");
    Ok((server, renditions, playing))
}

fn tags<'a>(playlist: &'a MediaPlaylist, tag: &'a str) -> impl Iterator<Item = &'a str> {
    playlist.text.lines().filter_map(move |line| line.strip_prefix(tag)?.strip_prefix(':'))
}

fn number(list: &str, name: &str) -> anyhow::Result<f64> {
    Ok(attribute(list, name).with_context(|| format!("no {name} in {list}"))?.parse()?)
}

/// What must hold in every version of a live media playlist.
fn check(playlist: &MediaPlaylist) -> anyhow::Result<()> {
    let text = &playlist.text;
    let control = tags(playlist, "#EXT-X-SERVER-CONTROL").next().context("no SERVER-CONTROL")?;
    anyhow::ensure!(attribute(control, "CAN-BLOCK-RELOAD").as_deref() == Some("YES"), "{text}");
    let hold_back = number(control, "PART-HOLD-BACK")?;
    anyhow::ensure!(hold_back >= 3.0 * playlist.part_target - 1e-6, "PART-HOLD-BACK {hold_back}:\n{text}");
    anyhow::ensure!(
        tags(playlist, "#EXT-X-PRELOAD-HINT").count() == 1,
        "not one preload hint, without which hls.js stalls:\n{text}"
    );
    let mut in_segment = Vec::new();
    for line in text.lines() {
        if let Some(part) = line.strip_prefix("#EXT-X-PART:") {
            let duration = number(part, "DURATION")?;
            anyhow::ensure!(duration <= playlist.part_target + 1e-6, "a part of {duration} s:\n{text}");
            in_segment.push(duration);
        }
        if line.starts_with("#EXTINF:") {
            // Every part but a segment's last lasts at least 85 % of the target (4.4.4.9).
            if let Some((_, before)) = in_segment.split_last() {
                for duration in before {
                    anyhow::ensure!(
                        *duration >= 0.85 * playlist.part_target - 1e-6,
                        "a part of {duration} s:\n{text}"
                    );
                }
            }
            in_segment.clear();
        }
    }
    for segment in &playlist.segments {
        let (number, duration) = (segment.number, segment.duration);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
        let rounded = duration.round() as u64;
        anyhow::ensure!(rounded <= playlist.target_duration, "segment {number} of {duration} s:\n{text}");
        anyhow::ensure!(segment.program_date_time.is_some(), "segment {number} has no date:\n{text}");
        anyhow::ensure!(!segment.map.is_empty(), "segment {number} has no map:\n{text}");
    }
    Ok(())
}

#[tokio::test]
async fn every_version_of_a_playlist_keeps_the_rules() -> anyhow::Result<()> {
    // About ten seconds of both renditions, where the machine is not busy.
    const ENOUGH: usize = 80;
    let (server, renditions, playing) = running().await?;
    let until = clock::now() + GENEROUS;
    let mut versions = 0;
    let mut before: Vec<Option<MediaPlaylist>> = vec![None; renditions.len()];
    while versions < ENOUGH {
        assert!(clock::now() < until, "only {versions} versions of two renditions");
        for (url, before) in renditions.iter().zip(&mut before) {
            let playlist = hls::playlist(url).await?;
            check(&playlist)?;
            if let Some(before) = before {
                let first =
                    |playlist: &MediaPlaylist| playlist.segments.first().map(|segment| segment.number);
                assert!(first(&playlist) >= first(before), "the media sequence went back");
                assert_eq!(
                    playlist.target_duration, before.target_duration,
                    "TARGETDURATION may never change"
                );
                versions += usize::from(playlist.text != before.text);
            }
            *before = Some(playlist);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    playing.abort();
    server.check_unharmed().await
}

/// Asks for each next part before it is there, as a player does: the answer comes with that part in it.
#[tokio::test]
async fn a_blocked_reload_answers_with_the_part_that_was_asked_for() -> anyhow::Result<()> {
    let (server, renditions, playing) = running().await?;
    let url = &renditions[0];
    let newest = |playlist: &MediaPlaylist| {
        let last = playlist.segments.last().unwrap();
        match last.uri {
            Some(_) => (last.number + 1, 0),
            None => (last.number, last.parts.len()),
        }
    };
    let mut playlist = hls::playlist(url).await?;
    let first = newest(&playlist);
    for _ in 0..40 {
        let (msn, part) = newest(&playlist);
        let answer = http::get(&format!("{url}?_HLS_msn={msn}&_HLS_part={part}")).await?.success()?;
        playlist = MediaPlaylist::parse(&answer.text())?;
        check(&playlist)?;
        assert!(
            newest(&playlist) > (msn, part),
            "asked for {msn}.{part}, got up to {:?}:\n{}",
            newest(&playlist),
            playlist.text
        );
        // What it hints at can be asked for at once and comes when it is made.
        let hint = tags(&playlist, "#EXT-X-PRELOAD-HINT").next().context("no hint")?;
        let hinted = hls::resolve(url, &attribute(hint, "URI").context("no URI")?)?;
        let part = http::get(&hinted).await?.success()?;
        assert!(part.body.windows(4).any(|four| four == b"moof"), "the hinted part is no fragment");
    }
    assert!(newest(&playlist).0 >= first.0 + 3, "40 parts are at least three segments");
    // A whole segment can be asked for, too.
    let (msn, _) = newest(&playlist);
    let whole = MediaPlaylist::parse(&http::get(&format!("{url}?_HLS_msn={msn}")).await?.success()?.text())?;
    let finished = whole.segments.iter().find(|segment| segment.number == msn);
    assert!(
        finished.is_some_and(|segment| segment.uri.is_some()),
        "segment {msn} is not whole:\n{}",
        whole.text
    );
    playing.abort();
    server.check_unharmed().await
}

/// A segment is the bytes of its parts, in both renditions, and all renditions are cut alike.
#[tokio::test]
async fn segments_are_their_parts_and_renditions_are_cut_alike() -> anyhow::Result<()> {
    let (server, renditions, playing) = running().await?;
    server
        .feed_is(FEED, "ten seconds of HLS", |feed| {
            feed["paths"]["hls"]["windowSeconds"].as_f64() > Some(10.0)
        })
        .await?;
    let mut starts = Vec::new();
    for url in &renditions {
        let playlist = hls::playlist(url).await?;
        let mut compared = 0;
        for segment in playlist.segments.iter().filter(|segment| !segment.parts.is_empty()) {
            let Some(uri) = &segment.uri else { continue };
            let whole = http::get(&hls::resolve(url, uri)?).await?.success()?.body;
            let mut joined = Vec::new();
            for part in &segment.parts {
                joined.extend_from_slice(&http::get(&hls::resolve(url, part)?).await?.success()?.body);
            }
            assert_eq!(whole.len(), joined.len(), "segment {}", segment.number);
            assert!(whole == joined, "segment {} is not the bytes of its parts", segment.number);
            compared += 1;
        }
        assert!(compared >= 1, "no finished segment lists its parts:\n{}", playlist.text);
        let window = hls::window(url).await?;
        let rate = window.inits.values().next().context("no init")?.1.timescale;
        let mut first_of: std::collections::BTreeMap<u64, f64> = std::collections::BTreeMap::new();
        for frame in &window.frames {
            #[expect(clippy::cast_precision_loss, reason = "hours of ticks are exact in an f64")]
            let at = frame.sample.presentation as f64 / f64::from(rate);
            first_of.entry(frame.segment).or_insert(at);
        }
        starts.push(first_of);
    }
    let mut common = 0;
    for (number, video) in &starts[0] {
        let Some(audio) = starts[1].get(number) else { continue };
        // Sound comes in frames of 20 ms: the nearest one begins the segment.
        assert!((video - audio).abs() < 0.045, "segment {number} begins at {video} and at {audio}");
        common += 1;
    }
    assert!(common >= 3, "{common} segments in both renditions");
    playing.abort();
    server.check_unharmed().await
}

/// PROGRAM-DATE-TIME, the media's own times and the timeline API are one mapping.
#[tokio::test]
async fn dates_run_with_the_media_and_agree_with_the_timeline_api() -> anyhow::Result<()> {
    let (server, renditions, playing) = running().await?;
    let feed = server
        .feed_is(FEED, "ten seconds of HLS", |feed| {
            feed["paths"]["hls"]["windowSeconds"].as_f64() > Some(10.0)
        })
        .await?;
    let anchor = feed["timeline"]["anchorUnixMs"].as_f64().context("no anchor")?;
    let window = hls::window(&renditions[0]).await?;
    let mut before: Option<(f64, f64)> = None;
    let mut checked = 0;
    for segment in window.playlist.segments.iter().filter(|segment| segment.uri.is_some()) {
        let date = unix_ms(segment.program_date_time.as_deref().context("no date")?)?;
        let first = window.frames.iter().find(|frame| frame.segment == segment.number).context("no frame")?;
        #[expect(clippy::cast_precision_loss, reason = "hours of ticks are exact in an f64")]
        let by_api = anchor + first.sample.presentation as f64 / 90.0;
        // The anchor follows the server's clock by at most 1 ms a segment.
        assert!(
            (date - by_api).abs() < 20.0,
            "segment {}: {date} in the playlist, {by_api} by the API",
            segment.number
        );
        if let Some((previous, duration)) = before {
            let step = date - previous;
            assert!(
                (step - duration).abs() <= 2.0,
                "segment {}: {step} ms after {duration} ms",
                segment.number
            );
        }
        before = Some((date, segment.duration * 1_000.0));
        checked += 1;
    }
    assert!(checked >= 4, "{checked} segments");
    // Ingest to here is a matter of moments: the newest date is the server's now.
    let time = http::get(&server.url("/v1/time")).await?.json()?["unixMs"].as_f64().context("no time")?;
    let newest = before.context("no segment")?.0;
    assert!((time - newest).abs() < 30_000.0, "now is {time}, the newest segment is of {newest}");
    playing.abort();
    Ok(())
}

/// Players that know whole segments only have an entrance of their own, to the same segments.
#[tokio::test]
async fn the_standard_playlists_list_the_same_segments_and_ffmpeg_reads_them() -> anyhow::Result<()> {
    let (server, playlists, playing) = running().await?;
    let entrance = server.url(&format!("/hls/{FEED}/standard.m3u8"));
    let multivariant = http::get(&entrance).await?.success()?.text();
    assert!(!multivariant.contains("media.m3u8"), "{multivariant}");
    let standard = hls::renditions(&entrance).await?;
    assert_eq!(standard.len(), playlists.len());
    for (standard, full) in standard.iter().zip(&playlists) {
        let text = http::get(standard).await?.success()?.text();
        assert!(!text.contains("#EXT-X-PART") && !text.contains("#EXT-X-PRELOAD-HINT"), "{text}");
        // Asked for a moment later: it has those and perhaps one more.
        let full = http::get(full).await?.success()?.text();
        let segments = |text: &str| -> Vec<String> {
            let names = text.lines().filter(|line| line.ends_with(".m4s") && !line.starts_with('#'));
            names.map(str::to_owned).collect()
        };
        let (some, all) = (segments(&text), segments(&full));
        assert!(!some.is_empty() && all.starts_with(&some), "{some:?} {all:?}");
        let name = some.first().context("no segment")?;
        let media = http::get(&hls::resolve(standard, name)?).await?.success()?;
        assert!(!media.body.is_empty());
    }
    let mut ffprobe = std::process::Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-read_intervals",
        "%+2",
        "-show_entries",
        "packet=codec_type",
        "-of",
        "csv=p=0",
    ]);
    ffprobe.arg(&entrance);
    let output = tokio::task::spawn_blocking(move || process::run(&mut ffprobe, &[])).await??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = |kind: &str| text.lines().filter(|line| line.starts_with(kind)).count();
    assert!(count("video") > 20 && count("audio") > 40, "{} {}", count("video"), count("audio"));
    playing.abort();
    server.check_unharmed().await
}

/// Milliseconds since 1970 of `2026-11-23T05:08:59.123Z` or of the same with an offset of `+00:00`.
fn unix_ms(date: &str) -> anyhow::Result<f64> {
    let (day, clock) = date.split_once('T').context("no T")?;
    let clock = clock.trim_end_matches('Z').trim_end_matches("+00:00");
    let mut ymd = day.split('-').map(str::parse::<i64>);
    let mut next = || ymd.next().context("a date of three numbers")?.context("a number");
    let (year, month, day) = (next()?, next()?, next()?);
    let mut hms = clock.split(':').map(str::parse::<f64>);
    let mut next = || hms.next().context("a time of three numbers")?.context("a number");
    let seconds = next()? * 3_600.0 + next()? * 60.0 + next()?;
    // Days since 1970, with the year beginning in March so that the leap day is its last.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    #[expect(clippy::cast_precision_loss, reason = "days are few")]
    let days = days as f64;
    Ok((days * 86_400.0 + seconds) * 1_000.0)
}

#[test]
fn dates_are_read_right() {
    for (text, ms) in [
        ("1970-01-01T00:00:00.000Z", 0.0),
        ("2000-02-29T00:00:00.000Z", 951_782_400_000.0),
        ("2026-11-23T05:02:19.250Z", 1_795_410_139_250.0),
    ] {
        assert!((unix_ms(text).unwrap() - ms).abs() < 0.5, "{text}: {}", unix_ms(text).unwrap());
    }
}

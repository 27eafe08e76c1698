//! The rules of LL-HLS on a running server, as `bicast check hls` sees them over TLS and HTTP/2.

use std::cell::Cell;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::clip::Clip;
use bicast_tests::peer::{Kind, RtpPublisher};
use bicast_tests::playback::Playback;
use bicast_tests::server::{self, Server};
use bicast_tests::wait::{self, GENEROUS};
use bicast_tests::{hls, http, process};
use bytes::Bytes;
use serde_json::Value;

use crate::scene::{self, FEED};

/// Rules about what bicast does not use: HOLD-BACK, EXT-X-START, byte ranges, `_HLS_skip=v2`, date ranges, Priority, Age, prft and emsg,
/// AAC. And one that only an origin's own counters show: whether requests collapse.
const UNUSED: [u64; 10] = [9, 17, 34, 45, 53, 60, 63, 67, 75, 78];
/// Gaps; another init section, and its hint, which stands there for a part's time and which nobody who waits for parts sees; a feed that
/// stands still for longer than it is waited for; its end: what happens to some feeds only.
const UNUSUAL: [u64; 5] = [23, 32, 77, 42, 46];
/// The shortest window, so that segments leave it while it is looked at.
const SHORT: [&str; 2] = ["--set", "packager.memory_seconds=20"];
/// When parts come is a matter of what else this machine does. It is looked at, and nothing is asserted.
const TIME: u64 = 24;

pub(crate) async fn check(server: &Server, feed: &str, seconds: &str) -> anyhow::Result<Vec<Value>> {
    let https = server.https.context("no HTTPS")?;
    let url = format!("https://localhost:{}/hls/{feed}/multivariant.m3u8", https.port());
    let mut command = Command::new(server::bicast()?);
    command.args(["check", "hls", &url, "--insecure", "--json", "--seconds", seconds]);
    let output = tokio::task::spawn_blocking(move || process::run(&mut command, &[])).await??;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let fails = report["fail"].as_u64();
    assert_eq!(
        output.status.code(),
        Some(i32::from(fails != Some(0))),
        "its exit code says what its report says"
    );
    report["rules"].as_array().cloned().context("no rules")
}

/// None is broken, and all were looked at but for those of `unseen`: a report that saw nothing proves nothing.
fn all_kept(rules: &[Value], unseen: &[&[u64]]) {
    all_kept_but(rules, unseen, &[]);
}

/// None is broken, and `seen` were looked at.
pub(crate) fn kept(rules: &[Value], seen: &[u64]) {
    let number = |rule: &Value| rule["rule"].as_u64().unwrap_or_default();
    let wrong: Vec<_> = rules
        .iter()
        .filter(|rule| match rule["verdict"].as_str() {
            Some("fail") => number(rule) != TIME,
            verdict => verdict != Some("pass") && seen.contains(&number(rule)),
        })
        .collect();
    assert!(wrong.is_empty() && rules.len() == 79, "{wrong:#?}");
}

/// All but those of `unseen` are kept, and those of `broken` are not.
fn all_kept_but(rules: &[Value], unseen: &[&[u64]], broken: &[u64]) {
    assert_eq!(rules.len(), 79);
    let unseen: Vec<_> = unseen.iter().copied().flatten().collect();
    let wrong: Vec<_> = rules
        .iter()
        .filter(|rule| {
            let number = rule["rule"].as_u64().unwrap_or_default();
            let verdict = rule["verdict"].as_str().unwrap_or_default();
            let right: &[&str] = match number {
                TIME => &["pass", "fail"],
                _ if broken.contains(&number) => &["fail"],
                _ if UNUSED.contains(&number) => &["notUsed", "notApplicable"],
                _ if unseen.contains(&&number) => &["pass", "notSeen", "notUsed"],
                _ => &["pass"],
            };
            !right.contains(&verdict)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(crate) async fn secure(arguments: &[&str]) -> anyhow::Result<Server> {
    Server::start_with(&[&["--set", "http.tls.listen=127.0.0.1:0"], arguments].concat()).await
}

/// The media playlists of a feed as they are.
async fn playlists(server: &Server, feed: &str) -> anyhow::Result<Vec<hls::MediaPlaylist>> {
    let multivariant = server.url(&format!("/hls/{feed}/multivariant.m3u8"));
    let mut found = Vec::new();
    for url in hls::renditions(&multivariant).await? {
        found.push(hls::playlist(&url).await?);
    }
    Ok(found)
}

/// Waits until each media playlist of the feed is as it is wanted.
async fn listed(
    server: &Server,
    feed: &str,
    what: &str,
    wanted: impl Fn(&hls::MediaPlaylist) -> bool,
) -> anyhow::Result<Vec<hls::MediaPlaylist>> {
    wait::until(what, GENEROUS, || async {
        let found = playlists(server, feed).await?;
        Ok((!found.is_empty() && found.iter().all(&wanted)).then_some(found))
    })
    .await
}

/// Waits until segments leave the window of a feed.
async fn slides(server: &Server, feed: &str) -> anyhow::Result<()> {
    let moved = |list: &hls::MediaPlaylist| list.segments.first().is_some_and(|first| first.number > 0);
    listed(server, feed, "segments leave the window", moved).await.map(drop)
}

/// Waits until a check that has begun follows a feed: it has asked for parts that are not there yet.
async fn followed(server: &Server) -> anyhow::Result<()> {
    let blocked = || server.metric_of("bicast_hls_requests_total", ("kind", "media_blocking"));
    let before = blocked().await?;
    wait::until("the check follows the feed", GENEROUS, || async {
        Ok((blocked().await? > before + 20.0).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_rules_hold_at_24_25_and_30_pictures_a_second() -> anyhow::Result<()> {
    let server = secure(&SHORT).await?;
    let feeds = ["24", "25", "30"].map(|fps| (fps, format!("{FEED}-{fps}")));
    let mut publishers = Vec::new();
    for (fps, feed) in &feeds {
        let pattern = ["--test-pattern", "--size", "320x180", "--bitrate", "200k", "--fps", fps];
        publishers.push(server.publish(feed, &pattern)?);
    }
    let look = async |(_, feed): &(&str, String)| {
        server.hls_plays(feed).await?;
        slides(&server, feed).await?;
        check(&server, feed, "8").await
    };
    let [one, two, three] = &feeds;
    let (one, two, three) = tokio::try_join!(look(one), look(two), look(three))?;
    for rules in [one, two, three] {
        all_kept(&rules, &[&UNUSUAL]);
    }
    Ok(())
}

/// Pictures a second, one after the other.
const RATES: [u32; 8] = [60, 15, 30, 24, 50, 20, 45, 25];
/// After so many pictures the clip begins again, with its keyframe. They last half a second on average, so that the feed is cut as
/// if its publisher answered requests for keyframes.
const GROUP: usize = 12;

/// A publisher of pictures of which no two neighbours last equally long, with sound.
#[derive(Default)]
struct Unsteady {
    /// Nothing is sent for now; time goes on.
    silent: Cell<bool>,
    over: Cell<bool>,
}

impl Unsteady {
    async fn send(&self, clip: &Clip, to: &mut RtpPublisher) -> anyhow::Result<()> {
        let playback = Playback::default();
        let began = clock::now();
        let (mut ticks, mut sounds) = (0_u32, 0_u32);
        let mut stopped = false;
        for n in 0_u32.. {
            if self.over.get() {
                break;
            }
            let place = usize::try_from(n)?;
            // Who begins again begins with a keyframe.
            stopped = self.silent.get() || (stopped && place % GROUP != 0);
            let at = Duration::from_micros(u64::from(ticks) * 100 / 9);
            while Duration::from_millis(20) * sounds <= at {
                tokio::time::sleep_until((began + Duration::from_millis(20) * sounds).into()).await;
                let [.., high, low] = sounds.to_be_bytes();
                let packet = Bytes::copy_from_slice(&[0xf8, high, low]);
                if !stopped {
                    to.frame(Kind::Audio, playback.audio_start + sounds * 960, &[packet]).await?;
                }
                sounds += 1;
            }
            tokio::time::sleep_until((began + at).into()).await;
            if !stopped {
                let payloads = clip.payloads(clip.looped(place % GROUP).0, n);
                to.frame(Kind::Video, playback.video_start.wrapping_add(ticks), &payloads).await?;
            }
            ticks += 90_000 / RATES[place % RATES.len()];
        }
        Ok(())
    }

    /// Sends until `looked` is done.
    async fn until<T>(
        &self,
        clip: &Clip,
        to: &mut RtpPublisher,
        looked: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let look = async {
            let found = looked.await;
            self.over.set(true);
            found
        };
        let (sent, found) = tokio::join!(self.send(clip, to), look);
        sent?;
        found
    }
}

#[tokio::test]
async fn the_rules_hold_at_a_variable_rate_of_pictures() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = secure(&SHORT).await?;
    let mut publisher = scene::publisher(&server).await?;
    let look = async {
        server.hls_plays(FEED).await?;
        slides(&server, FEED).await?;
        check(&server, FEED, "8").await
    };
    let rules = Unsteady::default().until(&clip, &mut publisher, look).await?;
    all_kept(&rules, &[&UNUSUAL]);
    Ok(())
}

/// All but one: who has waited for most of a target duration while nothing comes is answered with what there is, because hls.js
/// counts the silence that the rule asks for as an error, and gives up after three.
#[tokio::test]
async fn the_rules_hold_while_a_feed_stands_still() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = secure(&[]).await?;
    let mut publisher = scene::publisher(&server).await?;
    let unsteady = Unsteady::default();
    let look = async {
        server.hls_plays(FEED).await?;
        let stand = async {
            followed(&server).await?;
            unsteady.silent.set(true);
            // Two target durations: some requests are held for as long as they ever are.
            tokio::time::sleep(Duration::from_secs(6)).await;
            unsteady.silent.set(false);
            anyhow::Ok(())
        };
        let (rules, stood) = tokio::join!(check(&server, FEED, "14"), stand);
        stood?;
        rules
    };
    let rules = unsteady.until(&clip, &mut publisher, look).await?;
    all_kept_but(&rules, &[&[14, 27], &UNUSUAL], &[37]);
    let stale = rules.iter().find(|rule| rule["rule"] == 37).context("rule 37")?;
    let evidence = stale["evidence"].as_array().context("where it broke")?;
    let early =
        |one: &Value| one.as_str().is_some_and(|one| one.starts_with("answered with 200, and not with part"));
    assert!(evidence.iter().all(early), "{stale:#?}");
    Ok(())
}

#[tokio::test]
async fn the_rules_hold_across_a_publishers_return() -> anyhow::Result<()> {
    let server = secure(&[]).await?;
    // It returns with pictures of another size: they need another init section.
    let pattern = ["--retry", "--test-pattern", "--bitrate", "200k", "--size"];
    let mut publisher = server.publish(FEED, &[&pattern[..], &["320x180"]].concat())?;
    server.hls_plays(FEED).await?;
    let restart = async {
        followed(&server).await?;
        publisher.kill()?;
        publisher = server.publish(FEED, &[&pattern[..], &["480x270"]].concat())?;
        anyhow::Ok(())
    };
    let (rules, restarted) = tokio::join!(check(&server, FEED, "16"), restart);
    restarted?;
    all_kept(&rules?, &[&[14, 23, 32, 42, 46]]);
    let epoch = server.feed(FEED).await?["epoch"].as_u64();
    assert!(epoch >= Some(1), "the publisher has returned: {epoch:?}");
    // A discontinuity in every rendition, in front of the same segment and with the same number.
    let lists = playlists(&server, FEED).await?;
    assert_eq!(lists.len(), 2);
    let breaks: Vec<Vec<_>> = lists
        .iter()
        .map(|list| list.segments.iter().filter(|one| one.discontinuity).map(|one| one.number).collect())
        .collect();
    assert_eq!(breaks[0].len(), 1, "{}", lists[0].text);
    assert_eq!(breaks[0], breaks[1], "{}\n{}", lists[0].text, lists[1].text);
    for list in &lists {
        assert!(list.text.contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"), "{}", list.text);
    }
    assert_eq!(lists[0].text.matches("#EXT-X-MAP:").count(), 2, "{}", lists[0].text);
    Ok(())
}

#[tokio::test]
async fn the_rules_hold_when_a_feed_ends() -> anyhow::Result<()> {
    let server = secure(&["--set", "feed.publisher_grace=1"]).await?;
    let pattern = ["--test-pattern", "--size", "320x180", "--bitrate", "200k", "--duration", "12"];
    let _publisher = server.publish(FEED, &pattern)?;
    let multivariant = server.hls_plays(FEED).await?;
    let rules = check(&server, FEED, "40").await?;
    // What is asked of live playlists only.
    let live = [14, 35, 38, 40, 41, 43, 44];
    all_kept(&rules, &[&live, &[23, 32, 77, 42]]);
    for url in hls::renditions(&multivariant).await? {
        let answer = http::get(&format!("{url}?_HLS_msn=1000&_HLS_skip=YES")).await?.success()?;
        assert!(answer.text().ends_with("#EXT-X-ENDLIST\n"), "{}", answer.text());
    }
    Ok(())
}

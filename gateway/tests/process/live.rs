//! `bicast serve` with a publisher on it: what the API says, and how it ends under load.

use std::time::Duration;

use serde_json::Value;

use crate::support::{self, Running, now, until};

/// Begins to publish, and waits until the feed can be watched over both paths.
fn publish(running: &Running, feed: &str) -> support::Command {
    let whip = format!("http://{}/whip/{feed}", running.http);
    let publisher = support::Command::spawn(&[
        "publish",
        "--test-pattern",
        "--size",
        "320x180",
        "--bitrate",
        "300k",
        "--quiet",
        "--whip",
        &whip,
    ]);
    until("the feed can be watched over both paths", || {
        let feed = show(running, feed);
        feed["paths"]["realtime"]["available"] == true && feed["paths"]["hls"]["available"] == true
    });
    publisher
}

fn show(running: &Running, feed: &str) -> Value {
    serde_json::from_str(&running.get(&format!("/v1/feeds/{feed}")).1).unwrap()
}

/// The path of the feed's first media playlist.
fn media_playlist(running: &Running, feed: &str) -> String {
    let (status, text) = running.get(&format!("/hls/{feed}/multivariant.m3u8"));
    assert_eq!(status, 200, "{text}");
    let line = text.lines().find(|line| !line.starts_with('#') && line.contains(".m3u8"));
    format!("/hls/{feed}/{}", line.expect("a variant"))
}

/// Begins to publish to a feed that finds its publisher to answer keyframe requests. How soon an answer has to come is decided
/// by the clock, once for each publisher, so an encoder on a busy machine may be taken for one that does not answer: then that
/// is what its feed says, and another is tried.
fn publish_one_that_answers(running: &Running) -> (String, support::Command) {
    for n in 0..5 {
        let id = format!("demo{n}");
        let publisher = publish(running, &id);
        let cadence = show(running, &id)["cadence"].clone();
        if cadence["rule"] == "on-request" {
            return (id, publisher);
        }
        assert_eq!(cadence["rule"], "self-paced", "{cadence:#}");
        assert!(cadence["advice"].is_string(), "{cadence:#}");
        assert_eq!(running.ask("DELETE", &format!("/v1/feeds/{id}")).0, 204);
    }
    panic!("of five publishers none was found to answer keyframe requests");
}

#[test]
fn a_live_feed_is_described_and_can_be_ended() {
    let running = Running::start("described", &[]);
    let (id, mut publisher) = publish_one_that_answers(&running);
    let feed = show(&running, &id);
    assert_eq!(feed["state"], "live");
    assert_eq!(feed["publisher"]["protocol"], "whip");
    // Whichever of this machine's addresses ICE chose.
    let address = feed["publisher"]["address"].as_str().unwrap();
    assert!(address.parse::<std::net::SocketAddr>().is_ok(), "{feed:#}");
    let video = &feed["tracks"].as_array().unwrap().iter().find(|track| track["kind"] == "video").unwrap();
    assert_eq!(video["codec"], "h264");
    assert_eq!(video["renditions"][0]["resolution"]["width"], 320, "{feed:#}");
    assert!(feed["cadence"]["advice"].is_null(), "{feed:#}");
    let edge = &feed["paths"]["hls"]["liveEdge"];
    let (anchor, media) = (feed["timeline"]["anchorUnixMs"].as_f64(), edge["mediaTime"].as_f64());
    let program = anchor.unwrap() + media.unwrap() / 90.0;
    let age = bicast_shared::clock::utc().unix_millis() - program;
    // Of now, and not of another hour: how fresh it is depends on the machine.
    assert!((-100.0..60_000.0).contains(&age), "the live edge is {age} ms old");
    let metrics = running.get("/metrics").1;
    assert!(metrics.contains(r#"bicast_feeds{state="live"} 1"#), "{metrics}");

    assert_eq!(running.ask("DELETE", &format!("/v1/feeds/{id}")).0, 204);
    assert_eq!(show(&running, &id)["state"], "ended");
    publisher.wait_for_its_end();
    until("its playlists have ended", || {
        running.get(&media_playlist(&running, &id)).1.contains("#EXT-X-ENDLIST")
    });
}

#[test]
fn at_the_end_players_see_it_while_http_still_serves() {
    // Long enough for all that is asked of it in between, also on a busy machine.
    let running = Running::start("drain", &["--set", "http.drain=8"]);
    let mut publisher = publish(&running, "demo");
    let playlist = media_playlist(&running, "demo");
    until("the player counts as a viewer", || {
        assert!(!running.get(&playlist).1.contains("#EXT-X-ENDLIST"));
        show(&running, "demo")["paths"]["hls"]["viewers"] != 0
    });

    let began = now();
    running.signal("TERM");
    until("the playlist ends", || running.get(&playlist).1.contains("#EXT-X-ENDLIST"));
    assert_eq!(running.get("/readyz").0, 503);
    let (status, body) = running.ask("POST", "/whip/other");
    assert_eq!((status, body.contains("shutting-down")), (503, true), "{body}");
    publisher.wait_for_its_end();
    let ended = running.wait();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(began.elapsed() > Duration::from_millis(7_900), "players had no time to see the end");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let running = Running::start("twice", &["--set", "http.drain=60"]);
    let _publisher = publish(&running, "demo");
    let playlist = media_playlist(&running, "demo");
    until("the player counts as a viewer", || {
        running.get(&playlist);
        show(&running, "demo")["paths"]["hls"]["viewers"] != 0
    });
    running.signal("INT");
    until("it drains", || running.get("/readyz").0 == 503);
    running.signal("INT");
    let ended = running.wait();
    assert!(ended.stderr.contains("ended at once"), "{}", ended.stderr);
    // The steps of an orderly end, which follow the drain of a minute, were not waited for.
    assert!(!ended.stderr.contains("WebRTC peers are closed"), "{}", ended.stderr);
}

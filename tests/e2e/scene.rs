//! What the tests of this binary have in common: a server, a publisher whose every packet is known, a viewer who keeps
//! every packet, and the comparison of what both paths say of the same frames.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::clip::Clip;
use bicast_tests::hls::{self, Window};
use bicast_tests::peer::{Kind, RtpPublisher, RtpViewer};
use bicast_tests::playback::{Playback, sound_number};
use bicast_tests::server::{LOOPBACK, Server};
use bicast_tests::wait::{self, GENEROUS};
use bytes::Bytes;

/// The feed that tests publish.
pub(crate) const FEED: &str = "test";

/// Both tracks.
pub(crate) const BOTH: [Kind; 2] = [Kind::Video, Kind::Audio];

/// A publisher of video and sound on the feed, over IPv4. The feed is there when this returns.
pub(crate) async fn publisher(server: &Server) -> anyhow::Result<RtpPublisher> {
    publisher_of(server, &BOTH).await
}

/// The same with tracks of these kinds only.
pub(crate) async fn publisher_of(server: &Server, kinds: &[Kind]) -> anyhow::Result<RtpPublisher> {
    let whip = server.url(&format!("/whip/{FEED}"));
    let publisher = RtpPublisher::connect(&whip, LOOPBACK[0], kinds).await?;
    // The client's end of DTLS is done a moment before the server's.
    server.feed_is(FEED, "the feed has its publisher", |feed| !feed["publisher"].is_null()).await?;
    Ok(publisher)
}

/// A publisher that is let in once the one before it is known to be gone.
pub(crate) async fn next_publisher(server: &Server) -> anyhow::Result<RtpPublisher> {
    next_publisher_of(server, &BOTH).await
}

/// The same with tracks of these kinds only.
pub(crate) async fn next_publisher_of(server: &Server, kinds: &[Kind]) -> anyhow::Result<RtpPublisher> {
    wait::until("a publisher is let in", GENEROUS, || async { Ok(Some(publisher_of(server, kinds).await?)) })
        .await
}

/// A viewer of the feed, over IPv4.
pub(crate) async fn viewer(server: &Server) -> anyhow::Result<RtpViewer> {
    RtpViewer::connect(&server.url(&format!("/whep/{FEED}")), LOOPBACK[0], &BOTH).await
}

/// Everything that the HLS path holds of the video, once it holds the frame `last`.
pub(crate) async fn video_up_to(server: &Server, last: u32) -> anyhow::Result<Window> {
    let multivariant = server.hls_plays(FEED).await?;
    wait::until(&format!("frame {last} is in HLS"), GENEROUS, || async {
        let video = hls::renditions(&multivariant).await?.remove(0);
        let window = hls::window(&video).await?;
        let newest = window.frames.iter().rev().find_map(|frame| frame.number);
        anyhow::ensure!(newest >= Some(last), "the newest is {newest:?}");
        Ok(Some(window))
    })
    .await
}

/// The marked frames that a viewer has, once it has the frame `last`. Older ones may still be missing.
pub(crate) async fn seen_up_to(viewer: &RtpViewer, last: u32) -> anyhow::Result<Vec<(u32, u32)>> {
    wait::until(&format!("the viewer has frame {last}"), GENEROUS, || async {
        let seen = viewer.numbered();
        let newest = seen.last().map(|(number, _)| *number);
        anyhow::ensure!(newest >= Some(last), "the newest is {newest:?}");
        Ok(Some(seen))
    })
    .await
}

/// The marked frames that a viewer has, once it has every one from its first up to `last`: a packet that is lost on the way
/// and sent again comes after newer ones.
pub(crate) async fn seen_unbroken_up_to(viewer: &RtpViewer, last: u32) -> anyhow::Result<Vec<(u32, u32)>> {
    unbroken(0..=last, || viewer.numbered()).await
}

/// The packets of sound that a viewer has, once it has every one from its first up to `last`.
pub(crate) async fn heard_unbroken_up_to(viewer: &RtpViewer, last: u32) -> anyhow::Result<Vec<(u32, u32)>> {
    unbroken(0..=last, || viewer.sounds()).await
}

/// Everything that `has` gives, once it has each of these numbers from the first that it has at all.
pub(crate) async fn unbroken(
    numbers: RangeInclusive<u32>,
    has: impl Fn() -> Vec<(u32, u32)>,
) -> anyhow::Result<Vec<(u32, u32)>> {
    let (first, last) = (*numbers.start(), *numbers.end());
    wait::until(&format!("the viewer has everything up to {last}"), GENEROUS, || async {
        let all = has();
        let mut wanted = all.iter().map(|(number, _)| *number).filter(|number| *number >= first);
        if let Some(problem) = first_break(wanted.clone()) {
            anyhow::bail!("{problem}");
        }
        let newest = wanted.next_back();
        anyhow::ensure!(newest >= Some(last), "the newest is {newest:?}");
        Ok(Some(all))
    })
    .await
}

/// Everything that the HLS path holds of the sound.
pub(crate) async fn audio(server: &Server) -> anyhow::Result<Window> {
    let multivariant = server.hls_plays(FEED).await?;
    let renditions = hls::renditions(&multivariant).await?;
    anyhow::ensure!(renditions.len() == 2, "not two renditions: {renditions:?}");
    hls::window(&renditions[1]).await
}

/// Everything that the HLS path holds of the sound, once it holds the packet `last`.
pub(crate) async fn sound_up_to(server: &Server, last: i64) -> anyhow::Result<Window> {
    let multivariant = server.hls_plays(FEED).await?;
    wait::until(&format!("sound {last} is in HLS"), GENEROUS, || async {
        let sound = hls::renditions(&multivariant).await?.pop().context("no rendition")?;
        let window = hls::window(&sound).await?;
        let newest = window.frames.iter().rev().find_map(|frame| sound_number(&frame.sample.data));
        anyhow::ensure!(newest >= Some(last), "the newest is {newest:?}");
        Ok(Some(window))
    })
    .await
}

/// Sends `count` packets of sound that carry their numbers from `first` on, in real time. Its timestamps begin with `start`.
pub(crate) async fn send_sound(
    to: &mut RtpPublisher,
    first: u16,
    count: u16,
    start: u32,
) -> anyhow::Result<()> {
    let began = clock::now();
    for n in 0..count {
        tokio::time::sleep_until((began + Duration::from_millis(20) * u32::from(n)).into()).await;
        let [high, low] = (first + n).to_be_bytes();
        let packet = Bytes::copy_from_slice(&[0xf8, high, low]);
        to.frame(Kind::Audio, start.wrapping_add(u32::from(n) * 960), &[packet]).await?;
    }
    Ok(())
}

/// The packets of sound of a window that a test sent: number and presentation time.
pub(crate) fn sounds(window: &Window) -> Vec<(u32, i64)> {
    let numbered = window.frames.iter().filter_map(|frame| {
        Some((u32::try_from(sound_number(&frame.sample.data)?).ok()?, frame.sample.presentation))
    });
    numbered.collect()
}

/// Compares the RTP timestamp that a viewer saw with the presentation time in CMAF, for every frame that both have, and
/// tells how many those are.
pub(crate) fn compare(seen: &[(u32, u32)], in_hls: &HashMap<u32, i64>) -> usize {
    let mut compared = 0;
    for (number, timestamp) in seen {
        if let Some(&time) = in_hls.get(number) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "modulo 2^32 is meant"
            )]
            let low = time as u32;
            assert_eq!(
                low, *timestamp,
                "frame {number}: presentation time {time} in CMAF, {timestamp} in RTP"
            );
            compared += 1;
        }
    }
    compared
}

/// Checks that each number follows the one before it: nothing lost, nothing repeated.
pub(crate) fn check_unbroken(what: &str, numbers: impl IntoIterator<Item = u32>) {
    let problem = first_break(numbers);
    assert!(problem.is_none(), "{what}: {}", problem.unwrap_or_default());
}

/// The first number that does not follow the one before it, in words.
fn first_break(numbers: impl IntoIterator<Item = u32>) -> Option<String> {
    let mut numbers = numbers.into_iter();
    let Some(mut before) = numbers.next() else { return Some("no frame at all".into()) };
    for number in numbers {
        if number != before + 1 {
            return Some(format!("frame {number} follows frame {before}"));
        }
        before = number;
    }
    None
}

/// How far sound is from its picture in CMAF, in seconds, at the end of the window: positive where it is late. 0 is
/// what was captured.
pub(crate) fn sound_is_late(playback: &Playback, clip: &Clip, video: &Window, audio: &Window) -> f64 {
    let at = |ticks: i64, rate: f64| {
        #[expect(clippy::cast_precision_loss, reason = "hours of ticks are exact in an f64")]
        let ticks = ticks as f64;
        ticks / rate
    };
    let frame = video.frames.iter().rev().find(|frame| frame.number.is_some()).unwrap();
    let number = usize::try_from(frame.number.unwrap() - playback.first_number).unwrap();
    // What CMAF says of capture time zero, once by the picture and once by the sound.
    let by_picture = at(frame.sample.presentation, 90_000.0) - playback.picture_captured(clip, number);
    // Behind the last sound there may be silence that nobody sent.
    let mut sounds = audio.frames.iter().rev();
    let (sound, number) = sounds
        .find_map(|frame| Some((frame, sound_number(&frame.sample.data)?)))
        .expect("a sound that was sent");
    let by_sound = at(sound.sample.presentation, 48_000.0) - playback.sound_captured(number);
    by_sound - by_picture
}

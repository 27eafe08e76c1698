//! Queries of playlist requests.

use std::sync::Arc;

use arbitrary::Unstructured;
use axum::http::Uri;

use super::below;
use crate::core::playlist::{self, MediaRequest, Shape};
use crate::core::reload::{Directives, Readiness, readiness};
use crate::core::snapshot::{FeedSnapshot, Header, RenditionMedia, RenditionSnapshot};
use crate::core::testing::segment;

/// A query as an HTTP server gives it: an error or directives; nothing of it does more to a playlist than to be repeated
/// behind its addresses; and no request waits for something that does not come.
pub fn query(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    let feed = feed(&mut steps);
    let Ok(text) = std::str::from_utf8(steps.take_rest()) else { return };
    let uri = Uri::builder().path_and_query(format!("/media.m3u8?{text}")).build();
    let Some(text) = uri.as_ref().ok().and_then(|uri| uri.query()) else { return };
    let Ok(directives) = Directives::parse(text) else { return };
    assert!(directives.rest.len() <= 1_024 && (directives.part.is_none() || directives.msn.is_some()));
    again(&directives);
    for skip in [false, true] {
        repeated(&feed, &directives.rest, skip);
    }
    waits(feed, directives);
}

/// What was read says the same when it is written down and read again.
fn again(directives: &Directives) {
    let mut written = directives.rest.clone();
    for (name, value) in [("_HLS_msn", directives.msn), ("_HLS_part", directives.part)] {
        if let Some(value) = value {
            written.push_str(&format!("&{name}={value}"));
        }
    }
    if directives.skip {
        written.push_str("&_HLS_skip=YES");
    }
    assert_eq!(Directives::parse(&written).as_ref(), Ok(directives));
}

fn repeated(feed: &FeedSnapshot, query: &str, skip: bool) {
    let shape = if skip { Shape::Delta } else { Shape::Full };
    let print = |query| playlist::media(feed, "video0", MediaRequest { shape, query }).unwrap();
    let (with, without) = (print(query), print(""));
    assert_eq!(with.lines().count(), without.lines().count());
    for (with, without) in with.lines().zip(without.lines()) {
        assert_eq!(with.matches('"').count(), without.matches('"').count());
        assert!(with == without || with.replace(&format!("?{query}"), "") == without, "{with}");
    }
    assert_eq!(
        playlist::multivariant(feed, query).lines().count(),
        playlist::multivariant(feed, "").lines().count()
    );
}

fn waits(mut feed: FeedSnapshot, mut directives: Directives) {
    directives.settle(&feed.renditions[0]);
    let mut parts = 0;
    loop {
        let rendition = &feed.renditions[0];
        let (number, index) = rendition.next_part();
        match readiness(&feed, rendition, &directives) {
            Readiness::Wait => {}
            Readiness::Bad(_) => {
                assert!(parts == 0 && !feed.ended, "it was right when it came");
                return;
            }
            Readiness::Ready => {
                let Some(msn) = directives.msn.filter(|_| !feed.ended) else { return };
                let there = number == msn && directives.part.is_some_and(|part| part < index);
                let complete = number == msn && rendition.last_complete() == Some(msn);
                assert!(number > msn || there || complete, "{directives:?} at {number}.{index}");
                return;
            }
        }
        parts += 1;
        assert!(parts < 64, "{directives:?} waits for ever");
        grow(&mut feed.renditions[0]);
    }
}

/// One more part; ten make a segment.
fn grow(rendition: &mut RenditionSnapshot) {
    let (number, index) = rendition.next_part();
    if index > 0 {
        rendition.segments.pop();
    }
    let count = usize::try_from(index).unwrap() + 1;
    rendition.segments.push(Arc::new(segment(number, count, count >= 10)));
}

/// A few segments from any number on, the last one growing or not.
fn feed(steps: &mut Unstructured<'_>) -> FeedSnapshot {
    let first = u64::from(below(steps, 300));
    let complete = u64::from(below(steps, 12));
    let parts = usize::try_from(below(steps, 10)).unwrap();
    let mut segments: Vec<_> = (0..complete).map(|n| Arc::new(segment(first + n, 10, true))).collect();
    if parts > 0 {
        segments.push(Arc::new(segment(first + complete, parts, false)));
    }
    let rendition = |name: &str, media| RenditionSnapshot {
        name: name.into(),
        codecs: "avc1.42c01f".into(),
        media,
        timescale: 1_000,
        segments: segments.clone(),
        removed: Vec::new(),
        discontinuity_sequence: 0,
        edge: 0,
        coming: None,
    };
    let video = RenditionMedia::Video { width: 64, height: 48, frame_rate: 30.0 };
    FeedSnapshot {
        instance: "1-2".into(),
        header: Header { target_duration: 3, part_target_ms: 200, independent_segments: true },
        renditions: vec![
            rendition("video0", video),
            rendition("audio0", RenditionMedia::Audio { channels: 2 }),
        ],
        ended: below(steps, 8) == 7,
        ..FeedSnapshot::default()
    }
}

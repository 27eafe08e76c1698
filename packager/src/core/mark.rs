//! How far a feed's playlists reached at a moment, and those playlists again, cut from a later snapshot: for viewers who must stay behind.
//!
//! What waits for them is marks, not snapshots: the media is in the [window](crate::core::window) as long as anybody may ask for it, and is counted
//! there.

use std::sync::Arc;

use bicast_shared::time::ProgramTime;
use bytes::Bytes;

use crate::core::snapshot::{FeedSnapshot, RenditionSnapshot};
use crate::core::window::Segment;

/// How far the playlists of an instance reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Each rendition's.
    reaches: Vec<Reach>,
    ended: bool,
    away: bool,
    refused: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach {
    /// The first segment that was listed.
    first: u64,
    /// The part that came next.
    next: (u64, u64),
}

impl Mark {
    /// Bytes that it takes for each rendition, beside its own.
    #[cfg(test)]
    pub(crate) const REACH: usize = size_of::<Reach>();

    /// How far everything in `snapshot` reaches.
    #[must_use]
    pub fn of(snapshot: &FeedSnapshot) -> Self {
        let reach = |rendition: &RenditionSnapshot| Reach {
            first: rendition.segments.first().map_or(0, |segment| segment.head.number),
            next: rendition.next_part(),
        };
        Self {
            reaches: snapshot.renditions.iter().map(reach).collect(),
            ended: snapshot.ended,
            away: snapshot.away,
            refused: snapshot.refused.clone(),
        }
    }

    /// How far `snapshot`, which goes on with playlists of a process before, had reached when each of its segments ended, with the UTC of that: for
    /// the last that ended by `until`, and all behind it. None for one that this process has begun: when it was published is known.
    #[must_use]
    pub fn left(snapshot: &FeedSnapshot, until: ProgramTime) -> Vec<(ProgramTime, Self)> {
        let all = Self::of(snapshot);
        let Some(main) = snapshot.renditions.first() else { return Vec::new() };
        if main.segments.iter().all(|segment| segment.stored.is_none()) {
            return Vec::new();
        }
        let is_old = |segment: &Arc<Segment>| segment.complete && main.end_of(segment) <= until;
        let first = main.segments.iter().rposition(is_old).unwrap_or(0);
        let mark = |segment: &Arc<Segment>| {
            let next = (segment.head.number + 1, 0);
            // All renditions have segments of the same numbers.
            let reaches = all.reaches.iter().map(|reach| Reach { next: reach.next.min(next), ..*reach });
            let (ended, away) = (false, false);
            (main.end_of(segment), Self { reaches: reaches.collect(), ended, away, refused: None })
        };
        let mut left: Vec<_> = main.segments.iter().skip(first).map(mark).collect();
        left.pop();
        let ends = snapshot.renditions.iter();
        let end = ends.filter_map(|rendition| Some(rendition.end_of(rendition.segments.last()?))).max();
        left.extend(end.map(|end| (end, all)));
        left
    }

    /// Playlists that end where they are: the segments that grow are whole with what they have.
    #[must_use]
    pub fn end(mut snapshot: FeedSnapshot) -> FeedSnapshot {
        snapshot.ended = true;
        let growing = snapshot.renditions.iter_mut().filter_map(|rendition| rendition.segments.last_mut());
        for segment in growing.filter(|segment| !segment.complete) {
            let data: Vec<u8> = segment.parts.iter().flat_map(|part| &part.data).copied().collect();
            *segment = Arc::new(Segment {
                head: segment.head.clone(),
                parts: segment.parts.clone(),
                ticks: segment.ticks,
                complete: true,
                data: data.into(),
                stored: None,
            });
        }
        snapshot
    }

    /// The playlists as they were, from a later snapshot of them. What it no longer has is missing at their beginning, and parts that it no longer
    /// has one by one at their end.
    #[must_use]
    pub fn cut(&self, later: &FeedSnapshot) -> FeedSnapshot {
        let renditions = later.renditions.iter().zip(&self.reaches);
        FeedSnapshot {
            renditions: renditions.map(|(rendition, reach)| reach.cut(rendition)).collect(),
            ended: self.ended,
            away: self.away,
            refused: self.refused.clone(),
            instance: later.instance.clone(),
            ..*later
        }
    }
}

impl Reach {
    fn cut(&self, later: &RenditionSnapshot) -> RenditionSnapshot {
        let (number, parts) = self.next;
        let all = || later.removed.iter().chain(&later.segments);
        let mut kept: Vec<Arc<Segment>> =
            all().take_while(|segment| segment.head.number < number).cloned().collect();
        let grows = all().find(|segment| segment.head.number == number);
        kept.extend(grows.and_then(|segment| begin(segment, usize::try_from(parts).ok()?)));
        let total = |list: &mut dyn Iterator<Item = &Arc<Segment>>| list.map(|one| one.ticks).sum::<i64>();
        let beyond = total(&mut all()) - total(&mut kept.iter());
        // Numbers are counted in a playlist: none may be missing.
        let is_hole =
            |pair: &[Arc<Segment>]| matches!(pair, [one, next] if one.head.number + 1 != next.head.number);
        let unbroken = kept.windows(2).rposition(is_hole).map_or(0, |before| before + 1);
        let listed = kept.partition_point(|segment| segment.head.number < self.first);
        let segments = kept.split_off(listed.max(unbroken));
        let first = segments.first().map_or(number, |segment| segment.head.number);
        let after = later.removed.iter().filter(|one| one.head.number >= first && one.head.discontinuity);
        RenditionSnapshot {
            name: later.name.clone(),
            codecs: later.codecs.clone(),
            media: later.media.clone(),
            timescale: later.timescale,
            removed: kept,
            discontinuity_sequence: later.discontinuity_sequence.saturating_sub(after.count() as u64),
            // Not hinted before it is listed: when it was known is not marked, and nothing may be early.
            coming: None,
            edge: later.edge - beyond,
            segments,
        }
    }
}

/// A segment as it was with so many parts. None before it had one, and where they cannot be told apart any more.
fn begin(segment: &Arc<Segment>, parts: usize) -> Option<Arc<Segment>> {
    let had = segment.parts.get(..parts).filter(|parts| !parts.is_empty())?;
    if !segment.complete && had.len() == segment.parts.len() {
        return Some(segment.clone());
    }
    Some(Arc::new(Segment {
        head: segment.head.clone(),
        ticks: had.iter().map(|part| part.ticks).sum(),
        parts: had.to_vec(),
        complete: false,
        data: Bytes::new(),
        stored: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::playlist::{self, MediaRequest};
    use crate::core::testing::{rendition, segment};
    use crate::core::window::Stored;

    /// Segments as `(number, parts, whether it is complete)`, of which so many are no longer listed.
    fn snapshot(segments: &[(u64, usize, bool)], removed: usize) -> FeedSnapshot {
        let mut all: Vec<Arc<Segment>> = Vec::new();
        for (number, parts, complete) in segments {
            let mut segment = segment(*number, *parts, *complete);
            segment.head.discontinuity = number % 2 == 0;
            all.push(Arc::new(segment));
        }
        let edge = all.iter().map(|segment| segment.ticks).sum();
        let segments = all.split_off(removed);
        let gone = segments.first().map_or(0, |first| first.head.number).div_ceil(2);
        let rendition =
            RenditionSnapshot { removed: all, discontinuity_sequence: gone, edge, ..rendition(segments) };
        FeedSnapshot { instance: "a".into(), renditions: vec![rendition], ..FeedSnapshot::default() }
    }

    fn text(snapshot: &FeedSnapshot) -> String {
        playlist::media(snapshot, "video0", MediaRequest::default()).unwrap()
    }

    #[test]
    fn what_is_cut_is_what_was_listed() {
        let session = [
            snapshot(&[(0, 1, false)], 0),
            snapshot(&[(0, 4, true)], 0),
            snapshot(&[(0, 4, true), (1, 3, false)], 0),
            snapshot(&[(0, 4, true), (1, 4, false)], 0),
            snapshot(&[(0, 4, true), (1, 4, true), (2, 1, false)], 1),
            snapshot(&[(0, 4, true), (1, 4, true), (2, 4, true), (3, 2, false)], 2),
            snapshot(&[(0, 4, true), (1, 4, true), (2, 4, true), (3, 4, true), (4, 4, false)], 3),
        ];
        for (n, later) in session.iter().enumerate() {
            for before in &session[..=n] {
                let cut = Mark::of(before).cut(later);
                assert_eq!(text(&cut), text(before));
                assert_eq!(cut.renditions[0].edge, before.renditions[0].edge);
                assert_eq!(cut.renditions[0].next_part(), before.renditions[0].next_part());
            }
        }
    }

    #[test]
    fn what_is_gone_is_missing_at_the_ends_and_nowhere_else() {
        let before = snapshot(&[(0, 4, true), (1, 4, true), (2, 4, true), (3, 4, true), (4, 2, false)], 0);
        let mut later = snapshot(&[(0, 4, true), (2, 4, true), (3, 4, true), (4, 4, true)], 1);
        let numbers = |snapshot: &FeedSnapshot| -> Vec<(u64, usize)> {
            let segments = &snapshot.renditions[0].segments;
            segments.iter().map(|segment| (segment.head.number, segment.parts.len())).collect()
        };
        assert_eq!(
            numbers(&Mark::of(&before).cut(&later)),
            [(2, 4), (3, 4), (4, 2)],
            "no number is left out"
        );
        let last = later.renditions[0].segments.last_mut().unwrap();
        let stored = Stored { bytes: 16, keyframe_bytes: 3 };
        *last = Arc::new(Segment::only_stored(last.head.clone(), last.ticks, stored));
        assert_eq!(numbers(&Mark::of(&before).cut(&later)), [(2, 4), (3, 4)], "half of it cannot be had");
        assert!(Mark::of(&before).cut(&FeedSnapshot::default()).renditions.is_empty());
    }

    #[test]
    fn playlists_of_a_process_before_are_marked_by_the_dates_of_their_segments() {
        let mut snapshot = snapshot(&[(3, 4, true), (4, 4, true), (5, 4, true)], 0);
        let until = |millis: i64| ProgramTime::from_unix_nanos(millis * 1_000_000);
        assert!(Mark::left(&snapshot, until(0)).is_empty(), "this process began them");
        for segment in &mut snapshot.renditions[0].segments {
            let stored = Stored { bytes: 16, keyframe_bytes: 3 };
            *segment = Arc::new(Segment::only_stored(segment.head.clone(), segment.ticks, stored));
        }
        snapshot.away = true;
        let left = Mark::left(&snapshot, until(0));
        assert_eq!(Mark::left(&snapshot, until(8_800)), left[1..]);
        assert_eq!(Mark::left(&snapshot, until(99_000)), left[2..]);
        let listed = |mark: &Mark| mark.cut(&snapshot).renditions[0].segments.len();
        let seen: Vec<_> =
            left.iter().map(|(end, mark)| (end.unix_nanos() / 1_000_000, listed(mark))).collect();
        assert_eq!(seen, [(6_800, 1), (8_800, 2), (10_800, 3)]);
        assert_eq!(left.iter().map(|(_, mark)| mark.away).collect::<Vec<_>>(), [false, false, true]);
    }
}

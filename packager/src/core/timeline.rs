//! Where a moment of a feed lies in what is listed: snapshots and a moment in, segments, parts, frames and their bytes out.
//!
//! Each listed segment of the main rendition is a piece of a line: it says which media time its first frame has and which UTC, and both
//! run on at the same rate until the next piece. So UTC is what the playlists said when the segment was written, however far the mapping
//! has moved since. Neighbouring pieces fit to a millisecond (the mapping moves by no more at a boundary): a UTC in the overlap of
//! two belongs to the later one, and in the hole between two to the last tick of the earlier one.

use std::time::Duration;

use bicast_shared::id::{Epoch, FeedId, SegmentNumber};
use bicast_shared::status::timeline::{
    Asked, ByteRange, FramePlace, Located, Moment, Outline, OutsideWindow, PartPlace, Place, PlaceState,
    SegmentPlace, Stay, Window,
};
use bicast_shared::time::{ClockRate, MediaTime, ProgramTime, scale};

use crate::core::cmaf::probe::ProbedSample;
use crate::core::snapshot::{FeedSnapshot, RenditionSnapshot};
use crate::core::window::Segment;

/// How far beyond the present a moment may be and still count as coming: a publisher's frames may be this early by its first one, which
/// the mapping to UTC was anchored at.
const AHEAD: Duration = Duration::from_secs(1);

/// Nanoseconds that a window's beginning may be ahead of what is asked for and still be meant: it is told in whole milliseconds.
const ROUNDED: i64 = 500_000;

/// One instance of a feed's playlists, with something in them.
#[derive(Clone, Copy)]
struct Line<'a> {
    snapshot: &'a FeedSnapshot,
    main: &'a RenditionSnapshot,
    first: &'a Segment,
    last: &'a Segment,
    /// The master clock's rate.
    rate: ClockRate,
}

/// A moment on a line.
#[derive(Clone, Copy)]
struct Point<'a> {
    line: Line<'a>,
    moment: Moment,
    epoch: Option<Epoch>,
}

/// What is listed of a feed, as a line.
pub struct Timeline<'a> {
    /// Oldest first.
    lines: Vec<Line<'a>>,
    newest: Line<'a>,
}

/// A segment of a place that only the store has: its fragments have to be looked at one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// Which of the places.
    pub place: usize,
    /// The segment's number.
    pub number: u64,
    /// Its bytes.
    pub bytes: usize,
    /// What is looked for.
    pub search: Search,
}

impl<'a> Line<'a> {
    fn of(snapshot: &'a FeedSnapshot) -> Option<Self> {
        let main = snapshot.renditions.first()?;
        let (first, last) = (main.segments.first()?, main.segments.last()?);
        let rate = snapshot.lineup.and_then(|lineup| lineup.picture).map_or_else(
            || ClockRate::new(u32::try_from(main.timescale).unwrap_or(u32::MAX)),
            |picture| picture.rate,
        );
        Some(Self { snapshot, main, first, last, rate })
    }

    /// A time of the main rendition on the master clock.
    fn master(&self, ticks: i64) -> MediaTime {
        MediaTime(scale(ticks, i64::from(self.rate.hz()), self.main.timescale))
    }

    fn begin(&self, segment: &Segment) -> MediaTime {
        self.master(segment.head.presentation)
    }

    fn end(&self, segment: &Segment) -> MediaTime {
        self.master(segment.head.presentation + segment.ticks)
    }

    fn moment(&self, segment: &Segment, at: MediaTime) -> Moment {
        let program_time = later(segment.head.program_time, self.rate.nanos(at - self.begin(segment)));
        Moment { media_time: at, rate: self.rate, program_time }
    }

    fn media_time(&self, segment: &Segment, at: ProgramTime) -> MediaTime {
        let since = scale(at - segment.head.program_time, i64::from(self.rate.hz()), 1_000_000_000);
        self.begin(segment) + since
    }

    /// Whether the segment has begun by this UTC, to the tick: fractions of one are lost on the way through an API.
    fn has_begun(&self, segment: &Segment, at: ProgramTime) -> bool {
        self.media_time(segment, at) >= self.begin(segment)
    }

    /// The last segment of which `begun` is true, and the next one.
    fn piece(&self, begun: impl Fn(&Segment) -> bool) -> (&'a Segment, Option<&'a Segment>) {
        let segments = &self.main.segments;
        let next = segments.partition_point(|segment| begun(segment));
        let piece = segments.get(next.saturating_sub(1)).map_or(self.first, |segment| &**segment);
        (piece, segments.get(next.max(1)).map(|segment| &**segment))
    }

    fn grows(&self) -> bool {
        !self.snapshot.ended && !self.snapshot.away
    }

    /// The last moment of which something is known at `now`.
    fn limit(&self, now: ProgramTime) -> MediaTime {
        let end = self.end(self.last) + -1;
        let ahead = || self.media_time(self.last, now + AHEAD);
        if self.grows() { end.max(ahead()) } else { end }
    }
}

impl<'a> Timeline<'a> {
    /// What is listed of a feed in these instances of its playlists, oldest first. None where that is nothing.
    #[must_use]
    pub fn new(instances: impl IntoIterator<Item = &'a FeedSnapshot>) -> Option<Self> {
        let lines: Vec<_> = instances.into_iter().filter_map(Line::of).collect();
        let newest = *lines.last()?;
        Some(Self { lines, newest })
    }

    /// What can be asked for, and whose it is.
    #[must_use]
    pub fn outline(&self) -> Outline {
        Outline { window: self.window(), stays: self.lines.iter().flat_map(stays).collect() }
    }

    fn window(&self) -> Window {
        let (oldest, newest) = (self.lines.first().unwrap_or(&self.newest), &self.newest);
        Window {
            oldest: oldest.moment(oldest.first, oldest.begin(oldest.first)),
            newest: newest.moment(newest.last, newest.end(newest.last)),
        }
    }

    /// Where a moment lies at `now`, with the places that the store has to be asked about ([`Self::found`]).
    ///
    /// # Errors
    /// It is not in the window.
    pub fn locate(
        &self,
        feed: &FeedId,
        asked: Asked,
        now: ProgramTime,
    ) -> Result<(Located, Vec<Lookup>), OutsideWindow> {
        let Point { line, moment, epoch } = self.resolve(asked, now)?;
        let folder = Folder { feed, instance: &line.snapshot.instance };
        let (mut places, mut lookups) = (Vec::new(), Vec::new());
        for rendition in line.snapshot.renditions.iter().filter(|rendition| !rendition.codecs.is_empty()) {
            let (place, lookup) = folder.place(line, rendition, moment.media_time);
            lookups.extend(lookup.map(|lookup| Lookup { place: places.len(), ..lookup }));
            places.push(place);
        }
        let instance = line.snapshot.instance.clone();
        Ok((Located { moment, epoch, instance, places }, lookups))
    }

    fn resolve(&self, asked: Asked, now: ProgramTime) -> Result<Point<'a>, OutsideWindow> {
        let outside = |is_ahead| OutsideWindow { window: self.window(), is_ahead };
        let (line, at) = match asked {
            Asked::Media(at) => {
                let nanos = self.newest.rate.nanos(at.0);
                let begun = |line: &Line<'_>| line.rate.nanos(line.begin(line.first).0) <= nanos;
                let line = *self.lines.iter().rev().find(|line| begun(line)).ok_or_else(|| outside(false))?;
                (line, at.to_rate(self.newest.rate, line.rate))
            }
            Asked::Program(at) => {
                let oldest = self.lines.first().unwrap_or(&self.newest).first.head.program_time;
                let at = if oldest - at <= ROUNDED { at.max(oldest) } else { at };
                let begun = |line: &Line<'_>| line.has_begun(line.first, at);
                let line = *self.lines.iter().rev().find(|line| begun(line)).ok_or_else(|| outside(false))?;
                let (piece, next) = line.piece(|segment| line.has_begun(segment, at));
                let media_time = line.media_time(piece, at);
                (line, next.map_or(media_time, |next| media_time.min(line.begin(next) + -1)))
            }
            Asked::Rtp(timestamp) => {
                let newest = |line: &Line<'a>| {
                    let limit = line.limit(now);
                    let at = limit + -i64::from(limit.rtp().wrapping_sub(timestamp));
                    (at >= line.begin(line.first)).then_some((*line, at))
                };
                self.lines.iter().rev().find_map(newest).ok_or_else(|| outside(false))?
            }
        };
        let (piece, next) = line.piece(|segment| line.begin(segment) <= at);
        let moment = line.moment(piece, at);
        let of_piece = Some(piece.head.stay.epoch);
        let is_newest = line.snapshot.instance == self.newest.snapshot.instance;
        let epoch = match next {
            _ if at < line.end(piece) => of_piece,
            Some(next) => of_piece.filter(|epoch| *epoch == next.head.stay.epoch),
            None if !is_newest => None,
            None if line.grows() && at <= line.limit(now) => of_piece,
            None => return Err(outside(true)),
        };
        Ok(Point { line, moment, epoch })
    }

    /// What the store has told of a place.
    pub fn found(place: &mut Place, search: &Search) {
        let Some(segment) = &mut place.segment else { return };
        let Some((_, range)) = search.fragment() else {
            place.state = PlaceState::Gap;
            return;
        };
        (segment.range, segment.frame) = (Some(range), search.best.map(|(_, _, frame)| frame));
    }
}

/// The stays that a line has something of.
fn stays<'a>(line: &'a Line<'a>) -> impl Iterator<Item = Stay> + use<'a> {
    let mut discontinuity_sequence = line.main.discontinuity_sequence;
    let mut known = None;
    line.main.segments.iter().filter_map(move |segment| {
        let (head, stay) = (&segment.head, segment.head.stay);
        discontinuity_sequence += u64::from(head.discontinuity);
        if known.replace(stay.epoch) == Some(stay.epoch) {
            return None;
        }
        let media_time = line.master(stay.presentation);
        Some(Stay {
            epoch: stay.epoch,
            begin: Moment { media_time, rate: line.rate, program_time: stay.program_time },
            instance: line.snapshot.instance.clone(),
            segment: SegmentNumber(head.number),
            discontinuity_sequence,
        })
    })
}

/// Names the files of an instance.
struct Folder<'a> {
    feed: &'a FeedId,
    instance: &'a str,
}

impl Folder<'_> {
    fn url(&self, rendition: &str, file: &str) -> String {
        format!("/hls/{}/{rendition}/{}/{file}", self.feed, self.instance)
    }

    /// What a rendition has of a moment of the master clock.
    fn place(&self, line: Line<'_>, rendition: &RenditionSnapshot, at: MediaTime) -> (Place, Option<Lookup>) {
        let timescale = ClockRate::new(u32::try_from(rendition.timescale).unwrap_or(u32::MAX));
        let media_time = at.to_rate(line.rate, timescale);
        let mut place = Place {
            rendition: rendition.name.clone(),
            state: PlaceState::Nothing,
            media_time,
            timescale,
            playlist: self.url(&rendition.name, "media.m3u8"),
            segment: None,
        };
        let segments = &rendition.segments;
        let next = segments.partition_point(|segment| segment.head.presentation <= media_time.0);
        let Some(segment) = next.checked_sub(1).and_then(|last| segments.get(last)) else {
            return (place, None);
        };
        if media_time.0 >= segment.head.presentation + segment.ticks {
            if next == segments.len() && line.grows() {
                place.state = PlaceState::Coming;
            }
            return (place, None);
        }
        let (state, found, lookup) = self.in_segment(rendition, segment, media_time);
        (place.state, place.segment) = (state, Some(found));
        (place, lookup)
    }

    fn in_segment(
        &self,
        rendition: &RenditionSnapshot,
        segment: &Segment,
        at: MediaTime,
    ) -> (PlaceState, SegmentPlace, Option<Lookup>) {
        let head = &segment.head;
        let init = format!("init{}.mp4", head.init.number);
        let mut found = SegmentPlace {
            number: SegmentNumber(head.number),
            url: self.url(&rendition.name, &format!("{}.m4s", head.number)),
            is_complete: segment.complete,
            begin: MediaTime(head.presentation),
            ticks: segment.ticks,
            init: (!head.init.is_missing()).then(|| self.url(&rendition.name, &init)),
            part: None,
            range: None,
            frame: None,
        };
        let mut search = Search::new(at.0, at.0 - head.presentation + head.decode);
        if let Some(stored) = segment.stored {
            let (number, bytes) = (head.number, stored.bytes);
            let lookup = (bytes > 0).then_some(Lookup { place: 0, number, bytes, search });
            return (lookup.map_or(PlaceState::Gap, |_| PlaceState::Here), found, lookup);
        }
        let (index, is_gap) = search.parts(segment);
        let index = search.fragment().map_or(index, |(index, _)| index);
        let url = || self.url(&rendition.name, &format!("{}.{index}.m4s", head.number));
        let part = PartPlace { index: u32::try_from(index).unwrap_or(u32::MAX), url: (!is_gap).then(url) };
        found.part = Some(part);
        found.range = search.fragment().map(|(_, range)| range);
        found.frame = search.best.map(|(_, _, frame)| frame);
        (if is_gap { PlaceState::Gap } else { PlaceState::Here }, found, None)
    }
}

/// Looks for the frame that is shown at a time, in the fragments of a segment one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// The time, in ticks.
    shown: i64,
    /// Where it lies among decode times, as far as that is known before frames are looked at.
    decoded: i64,
    /// The fragment that has this decode time.
    covering: Option<(usize, ByteRange)>,
    /// The newest frame that is shown at the time or before, in its fragment.
    best: Option<(usize, ByteRange, FramePlace)>,
}

impl Search {
    const fn new(shown: i64, decoded: i64) -> Self {
        Self { shown, decoded, covering: None, best: None }
    }

    /// Takes the `index`th fragment, which lies at `offset` in the segment. False when it was the last that can matter: frames are
    /// shown in another order than they are decoded, but over no more than a fragment's end.
    pub fn push(&mut self, index: usize, offset: usize, length: usize, samples: &[ProbedSample]) -> bool {
        let range = |from: usize, length: usize| ByteRange { offset: from as u64, length: length as u64 };
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return true };
        if (first.decode..last.decode + i64::from(last.duration)).contains(&self.decoded) {
            self.covering = Some((index, range(offset, length)));
        }
        for sample in samples.iter().filter(|sample| sample.presentation <= self.shown) {
            let is_newer = self.best.is_none_or(|(_, _, best)| best.presentation.0 < sample.presentation);
            if is_newer {
                let frame = FramePlace {
                    presentation: MediaTime(sample.presentation),
                    ticks: i64::from(sample.duration),
                    is_sync: sample.kind.is_sync(),
                    range: range(offset + sample.offset, sample.size as usize),
                };
                self.best = Some((index, range(offset, length), frame));
            }
        }
        first.decode <= self.decoded
    }

    /// The fragment of the frame. None where nothing was written for the time.
    fn fragment(&self) -> Option<(usize, ByteRange)> {
        let covering = self.covering?;
        Some(self.best.map_or(covering, |(index, range, _)| (index, range)))
    }

    /// Looks through the parts of a segment that is held. The index of the part that has the time, and whether it is a gap.
    fn parts(&mut self, segment: &Segment) -> (usize, bool) {
        let mut ends = segment.parts.iter().scan(segment.head.decode, |end, part| {
            *end += part.ticks;
            Some(*end)
        });
        let newest = segment.parts.len().saturating_sub(1);
        let index = ends.position(|end| self.decoded < end).unwrap_or(newest);
        let is_gap = segment.parts.get(index).is_none_or(|part| part.gap);
        let mut offset = 0;
        for (at, part) in segment.parts.iter().enumerate().take(index + 2) {
            if !is_gap && at + 1 >= index && !part.gap {
                let samples = crate::core::cmaf::probe::samples(&part.data).unwrap_or_default();
                self.push(at, offset, part.data.len(), &samples);
            }
            offset += part.data.len();
        }
        (index, is_gap)
    }
}

fn later(time: ProgramTime, nanos: i64) -> ProgramTime {
    ProgramTime::from_unix_nanos(time.unix_nanos().saturating_add(nanos))
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;

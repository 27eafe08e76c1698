//! What a rendition's playlist lists: segments and their parts. Grows at the end, loses its oldest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::time::{ClockRate, ProgramTime};
use bytes::{Bytes, BytesMut};

/// An init segment. Its number stands in its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Init {
    /// Counts the init segments of the rendition.
    pub number: u32,
    /// The file.
    pub data: Bytes,
}

impl Init {
    /// Stands where a segment has nothing to describe: it is a gap, and nothing is known of the bitstream yet.
    #[must_use]
    pub const fn missing() -> Self {
        Self { number: u32::MAX, data: Bytes::new() }
    }

    /// Whether there is nothing to load.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        self.data.is_empty()
    }
}

/// A part: listed only when all of it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How long it lasts, in ticks.
    pub ticks: i64,
    /// Whether decoding can begin with its first sample.
    pub independent: bool,
    /// Nothing could be written for this time: it has no bytes.
    pub gap: bool,
    /// How many of its bytes a player needs for its first frame alone, where decoding can begin with that; else 0.
    pub keyframe_bytes: usize,
    /// `moof` and `mdat`.
    pub data: Bytes,
}

/// What is known when a segment begins.
#[derive(Debug, Clone)]
pub struct SegmentHead {
    /// Its Media Sequence Number.
    pub number: u64,
    /// UTC of its first frame.
    pub program_time: ProgramTime,
    /// Whether the timeline breaks in front of it.
    pub discontinuity: bool,
    /// How its samples are described.
    pub init: Arc<Init>,
}

/// A segment, complete or growing.
#[derive(Debug, Clone)]
pub struct Segment {
    /// What was known when it began.
    pub head: SegmentHead,
    /// Its parts so far.
    pub parts: Vec<Part>,
    /// The sum of its parts.
    pub ticks: i64,
    /// Whether nothing will be added to it.
    pub complete: bool,
    /// All its bytes, once complete: the parts one after another.
    pub data: Bytes,
}

impl Segment {
    fn new(head: SegmentHead) -> Self {
        Self { head, parts: Vec::new(), ticks: 0, complete: false, data: Bytes::new() }
    }

    /// Whether there is nothing to load in it.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.complete && self.data.is_empty()
    }

    /// Where in its bytes the keyframe stands that it begins with, and how many of them it needs. None where it begins with
    /// something else.
    #[must_use]
    pub fn keyframe(&self) -> Option<(usize, usize)> {
        let first = self.parts.iter().find(|part| !part.data.is_empty())?;
        Some((0, first.keyframe_bytes)).filter(|(_, bytes)| *bytes > 0)
    }

    /// Bytes of media in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.data.len()).sum()
    }
}

/// How much is kept, and how long what is listed may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Ticks per second.
    pub rate: ClockRate,
    /// PART-TARGET in ticks: no part is longer.
    pub part: i64,
    /// TARGETDURATION in ticks: no segment that nothing was written for is longer.
    pub segment: i64,
    /// Ticks of complete segments that are listed.
    pub ticks: i64,
    /// Never less than this is listed (3 target durations, RFC 8216bis 6.2.2), whatever `bytes` says.
    pub least_ticks: i64,
    /// Ticks of segments that can still be fetched after they are no longer listed.
    pub grace_ticks: i64,
    /// Bytes of media.
    pub bytes: usize,
}

/// The segments of a rendition.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    segments: VecDeque<Arc<Segment>>,
    open: Option<Segment>,
    removed: VecDeque<Arc<Segment>>,
    discontinuity_sequence: u64,
    discontinuities: u64,
    ticks: i64,
    bytes: usize,
}

impl Window {
    /// An empty window.
    #[must_use]
    pub const fn new(limits: WindowLimits) -> Self {
        Self {
            limits,
            segments: VecDeque::new(),
            open: None,
            removed: VecDeque::new(),
            discontinuity_sequence: 0,
            discontinuities: 0,
            ticks: 0,
            bytes: 0,
        }
    }

    /// The segment that grows now.
    #[must_use]
    pub const fn open(&self) -> Option<&Segment> {
        self.open.as_ref()
    }

    /// The number of the newest segment, complete or not.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        let open = self.open.as_ref().map(|segment| segment.head.number);
        open.or_else(|| self.segments.back().map(|segment| segment.head.number))
    }

    /// Discontinuities since the beginning.
    #[must_use]
    pub const fn discontinuities(&self) -> u64 {
        self.discontinuities
    }

    /// Begins a segment. Numbers that were left out are listed as gaps, because a Media Sequence Number is counted, not
    /// written. They share the time that is missing, so that dates run on by the durations in between; however many they
    /// are, they leave the list like other segments, by their time.
    pub fn begin(&mut self, head: SegmentHead) {
        self.end();
        if let Some(last) = self.segments.back().cloned() {
            self.list_gaps(&last, &head);
        }
        self.open = Some(Segment::new(head));
    }

    fn list_gaps(&mut self, last: &Segment, head: &SegmentHead) {
        let first = last.head.number + 1;
        let count = i64::try_from(head.number.saturating_sub(first)).unwrap_or(i64::MAX);
        if count == 0 {
            return;
        }
        let WindowLimits { rate, part, segment, .. } = self.limits;
        let from = last.head.program_time + span(rate, last.ticks);
        let missing =
            bicast_shared::time::scale(head.program_time - from, i64::from(rate.hz()), 1_000_000_000);
        // Where more is missing than segments may last, the date jumps at the discontinuity behind the gap.
        let ticks = (missing / count).clamp(part.min(segment), segment);
        let parts = (ticks + part - 1) / part;
        for (number, at) in (first..head.number).zip(0..) {
            let program_time = from + span(rate, ticks * at);
            let init = last.head.init.clone();
            self.open = Some(Segment::new(SegmentHead { number, program_time, discontinuity: false, init }));
            for n in 0..parts {
                let ticks = ticks * (n + 1) / parts - ticks * n / parts;
                self.push(Part {
                    ticks,
                    independent: false,
                    gap: true,
                    keyframe_bytes: 0,
                    data: Bytes::new(),
                });
            }
            self.end();
        }
    }

    /// The open segment, which has no part yet, begins with other things than first thought.
    pub fn amend(&mut self, init: Arc<Init>, discontinuity: bool) {
        if let Some(open) = self.open.as_mut().filter(|open| open.parts.is_empty()) {
            open.head.init = init;
            open.head.discontinuity |= discontinuity;
        }
    }

    /// Adds a part to the open segment.
    pub fn push(&mut self, part: Part) {
        let Some(open) = &mut self.open else { return };
        open.ticks += part.ticks;
        self.ticks += part.ticks;
        self.bytes += part.data.len();
        open.parts.push(part);
    }

    /// Ends the open segment. One without parts is forgotten.
    pub fn end(&mut self) {
        let Some(mut segment) = self.open.take() else { return };
        if segment.parts.is_empty() {
            return;
        }
        segment.complete = true;
        // One allocation for both: the parts become slices of the segment.
        let mut all = BytesMut::with_capacity(segment.bytes());
        for part in &segment.parts {
            all.extend_from_slice(&part.data);
        }
        segment.data = all.freeze();
        let mut at = 0;
        for part in &mut segment.parts {
            let end = at + part.data.len();
            part.data = segment.data.slice(at..end);
            at = end;
        }
        self.discontinuities += u64::from(segment.head.discontinuity);
        self.segments.push_back(Arc::new(segment));
        self.shrink();
    }

    /// The listed segments, oldest first; the open one last if it has a part.
    #[must_use]
    pub fn listed(&self) -> Vec<Arc<Segment>> {
        let open = self.open.iter().filter(|open| !open.parts.is_empty()).cloned().map(Arc::new);
        self.segments.iter().cloned().chain(open).collect()
    }

    /// Segments that are no longer listed but can still be fetched.
    #[must_use]
    pub fn removed(&self) -> Vec<Arc<Segment>> {
        self.removed.iter().cloned().collect()
    }

    /// EXT-X-DISCONTINUITY-SEQUENCE: how many discontinuities have left the list.
    #[must_use]
    pub const fn discontinuity_sequence(&self) -> u64 {
        self.discontinuity_sequence
    }

    fn shrink(&mut self) {
        while let Some(oldest) = self.segments.front() {
            let rest = self.ticks - oldest.ticks;
            let too_much = rest >= self.limits.ticks || self.bytes > self.limits.bytes;
            if !too_much || rest < self.limits.least_ticks {
                break;
            }
            self.ticks = rest;
            self.bytes -= oldest.bytes();
            self.discontinuity_sequence += u64::from(oldest.head.discontinuity);
            self.removed.extend(self.segments.pop_front());
        }
        let mut kept: i64 = self.removed.iter().map(|segment| segment.ticks).sum();
        while kept > self.limits.grace_ticks
            && let Some(gone) = self.removed.pop_front()
        {
            kept -= gone.ticks;
        }
    }
}

/// So many ticks as a time.
fn span(rate: ClockRate, ticks: i64) -> Duration {
    Duration::from_nanos(u64::try_from(rate.nanos(ticks)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ClockRate = ClockRate::VIDEO;

    fn window(ticks: i64, bytes: usize) -> Window {
        let (rate, part, segment) = (RATE, 4, 30);
        Window::new(WindowLimits { rate, part, segment, ticks, least_ticks: 30, grace_ticks: 20, bytes })
    }

    fn head(number: u64, discontinuity: bool) -> SegmentHead {
        let init = Arc::new(Init { number: 0, data: Bytes::new() });
        SegmentHead { number, program_time: ProgramTime::default(), discontinuity, init }
    }

    fn part(ticks: i64, data: &'static [u8]) -> Part {
        Part { ticks, independent: true, gap: false, keyframe_bytes: 0, data: Bytes::from_static(data) }
    }

    fn numbers(segments: &[Arc<Segment>]) -> Vec<u64> {
        segments.iter().map(|segment| segment.head.number).collect()
    }

    #[test]
    fn a_segment_is_its_parts_byte_for_byte() {
        let mut window = window(100, 1 << 20);
        window.begin(head(5, false));
        assert!(window.listed().is_empty(), "nothing to play in it yet");
        window.push(part(4, b"abc"));
        window.push(part(6, b"de"));
        assert!(!window.listed()[0].complete);
        window.end();
        let segment = &window.listed()[0];
        assert_eq!(&segment.data[..], b"abcde");
        assert_eq!(&segment.parts[1].data[..], b"de");
        assert_eq!(segment.ticks, 10);
    }

    #[test]
    fn the_oldest_go_first_by_time_and_by_bytes_but_never_too_many() {
        for (mut window, kept) in [(window(50, 1 << 20), 5), (window(1_000, 40), 4), (window(1_000, 5), 3)] {
            for number in 0..9 {
                window.begin(head(number, number == 2));
                window.push(part(10, b"0123456789"));
            }
            window.end();
            let listed = numbers(&window.listed());
            assert_eq!(listed.len(), kept, "{listed:?}");
            assert_eq!(listed.last(), Some(&8));
            assert_eq!(window.discontinuity_sequence(), 1);
            assert_eq!(numbers(&window.removed()).last(), Some(&(listed[0] - 1)), "still served for a while");
            assert_eq!(window.removed().len(), 2);
        }
    }

    /// A segment of 2 s on 90 kHz that begins `seconds` after 1970, in playlists of 3 s and 216 ms.
    fn later(number: u64, seconds: u64, discontinuity: bool) -> SegmentHead {
        let program_time = ProgramTime::default() + Duration::from_secs(seconds);
        SegmentHead { program_time, ..head(number, discontinuity) }
    }

    fn real(window_seconds: i64) -> Window {
        let limits = WindowLimits {
            rate: RATE,
            part: 19_440,
            segment: 270_000,
            ticks: window_seconds * 90_000,
            least_ticks: 810_000,
            grace_ticks: 0,
            bytes: 1 << 20,
        };
        Window::new(limits)
    }

    #[test]
    fn numbers_left_out_are_gaps() {
        let mut window = window(1_000, 1 << 20);
        window.begin(head(3, false));
        window.push(part(10, b"x"));
        window.begin(head(6, true));
        window.push(part(10, b"y"));
        let listed = window.listed();
        assert_eq!(numbers(&listed), [3, 4, 5, 6]);
        assert_eq!(listed.iter().map(|s| s.is_gap()).collect::<Vec<_>>(), [false, true, true, false]);
    }

    #[test]
    fn gaps_share_the_missing_time_in_parts_that_are_not_too_long() {
        for (missing, seconds, each) in [(3, 6, 2.0), (3, 7, 7.0 / 3.0), (100, 200, 2.0), (2, 60, 3.0)] {
            let mut window = real(1_000);
            window.begin(later(7, 10, false));
            window.push(part(180_000, b"x"));
            window.begin(later(8 + missing, 12 + seconds, true));
            window.push(part(18_000, b"y"));
            let listed = window.listed();
            assert_eq!(numbers(&listed), (7..=8 + missing).collect::<Vec<_>>());
            for pair in listed[..=usize::try_from(missing).unwrap()].windows(2) {
                let step = pair[1].head.program_time - pair[0].head.program_time;
                assert!((step - RATE.nanos(pair[0].ticks)).abs() < 1_000_000, "the date runs on by EXTINF");
                assert!((pair[1].ticks as f64 / 90_000.0 - each).abs() < 0.000_1);
                assert!(pair[1].parts.iter().all(|part| part.gap && (1..=19_440).contains(&part.ticks)));
                assert_eq!(pair[1].parts.iter().map(|part| part.ticks).sum::<i64>(), pair[1].ticks);
                assert!(!pair[1].head.discontinuity);
            }
        }
    }

    #[test]
    fn however_many_gaps_there_are_numbers_are_right_and_the_window_is_as_long_as_ever() {
        let mut window = real(20);
        window.begin(later(0, 0, false));
        window.push(part(180_000, b"x"));
        window.begin(later(10_001, 20_002, true));
        window.push(part(18_000, b"y"));
        let listed = numbers(&window.listed());
        assert_eq!(listed.last(), Some(&10_001));
        assert!(listed.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert!((9..=12).contains(&listed.len()), "{listed:?}");
        assert_eq!(window.discontinuity_sequence(), 0);
    }
}

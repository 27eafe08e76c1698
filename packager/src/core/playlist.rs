//! Playlists as text: a pure function of a snapshot. Rules are cited by their section of draft-pantos-hls-rfc8216bis.

use std::fmt::Write;

use crate::core::snapshot::{FeedSnapshot, RenditionMedia, RenditionSnapshot};
use crate::core::window::{Part, Segment};

/// EXT-X-SKIP replaces segments older than this many target durations (4.4.3.8 asks for at least 6).
const SKIP_TARGETS: u32 = 6;
/// EXT-X-PART tags are dropped when this many target durations from the end (6.2.2).
const PART_TARGETS: i64 = 3;

/// How a media playlist is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct MediaRequest<'a> {
    /// `_HLS_skip`: leave out what the client has already.
    pub skip: bool,
    /// A query to append to every URI: what the client sent that is not a directive (a token).
    pub query: &'a str,
}

/// The media playlist of one rendition. None for a rendition that the snapshot does not have.
#[must_use]
pub fn media(feed: &FeedSnapshot, name: &str, request: MediaRequest<'_>) -> Option<String> {
    let rendition = feed.rendition(name)?;
    let printer = Printer { feed, rendition, query: request.query };
    let mut out = String::with_capacity(4_096);
    // Writing to a String cannot fail.
    let _ = printer.print(&mut out, request.skip && !feed.ended);
    Some(out)
}

struct Printer<'a> {
    feed: &'a FeedSnapshot,
    rendition: &'a RenditionSnapshot,
    query: &'a str,
}

impl Printer<'_> {
    fn print(&self, out: &mut String, skip: bool) -> std::fmt::Result {
        let header = self.feed.header;
        let segments = &self.rendition.segments;
        let skipped = if skip { self.skippable() } else { 0 };
        let target = i64::from(header.target_duration);
        writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{}", if skipped > 0 { 9 } else { 6 })?;
        if header.independent_segments {
            writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        writeln!(out, "#EXT-X-TARGETDURATION:{target}")?;
        let hold_back = millis(header.part_target_ms * 3);
        writeln!(
            out,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold_back},CAN-SKIP-UNTIL={}.0",
            header.target_duration * SKIP_TARGETS
        )?;
        writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", millis(header.part_target_ms))?;
        let first = segments.first().map_or(0, |segment| segment.head.number);
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{first}")?;
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.rendition.discontinuity_sequence)?;
        if skipped > 0 {
            writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
        }
        let mut from_end: i64 = segments.iter().skip(skipped).map(|segment| segment.ticks).sum();
        let mut init = skipped.checked_sub(1).and_then(|last| segments.get(last)).map(|s| s.head.init.number);
        for segment in segments.iter().skip(skipped) {
            from_end -= segment.ticks;
            let with_parts = !segment.complete || from_end < PART_TARGETS * target * self.rendition.timescale;
            self.segment(out, segment, init, with_parts)?;
            init = Some(segment.head.init.number);
        }
        if self.feed.ended {
            return writeln!(out, "#EXT-X-ENDLIST");
        }
        let (number, index) = self.rendition.next_part();
        writeln!(
            out,
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"",
            self.uri(&format!("{number}.{index}.m4s"))
        )?;
        for other in self.feed.renditions.iter().filter(|other| other.name != self.rendition.name) {
            let Some((number, part)) = other.newest_part() else { continue };
            let query = self.suffix();
            let (name, instance) = (&other.name, &self.feed.instance);
            writeln!(
                out,
                "#EXT-X-RENDITION-REPORT:URI=\"../../{name}/{instance}/media.m3u8{query}\",LAST-MSN={number},LAST-PART={part}"
            )?;
        }
        Ok(())
    }

    fn segment(
        &self,
        out: &mut String,
        segment: &Segment,
        init: Option<u32>,
        with_parts: bool,
    ) -> std::fmt::Result {
        let head = &segment.head;
        // Everything about a segment comes before its first part (4.4.4.9).
        if head.discontinuity {
            writeln!(out, "#EXT-X-DISCONTINUITY")?;
        }
        if init != Some(head.init.number) {
            writeln!(out, "#EXT-X-MAP:URI=\"{}\"", self.uri(&format!("init{}.mp4", head.init.number)))?;
        }
        writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", head.program_time)?;
        if with_parts {
            for (index, part) in segment.parts.iter().enumerate() {
                self.part(out, head.number, index, part)?;
            }
        }
        if segment.complete {
            if segment.is_gap() {
                writeln!(out, "#EXT-X-GAP")?;
            }
            writeln!(out, "#EXTINF:{},", self.seconds(segment.ticks))?;
            writeln!(out, "{}", self.uri(&format!("{}.m4s", head.number)))?;
        }
        Ok(())
    }

    fn part(&self, out: &mut String, number: u64, index: usize, part: &Part) -> std::fmt::Result {
        let uri = self.uri(&format!("{number}.{index}.m4s"));
        write!(out, "#EXT-X-PART:DURATION={},URI=\"{uri}\"", self.seconds(part.ticks))?;
        if part.independent {
            write!(out, ",INDEPENDENT=YES")?;
        }
        if part.gap {
            write!(out, ",GAP=YES")?;
        }
        writeln!(out)
    }

    /// How many of the oldest segments end before the skip boundary (4.4.5.2): those whose every sample is further from the
    /// end of the last complete segment.
    fn skippable(&self) -> usize {
        let complete = self.rendition.segments.iter().filter(|segment| segment.complete);
        let mut from_end: i64 = complete.clone().map(|segment| segment.ticks).sum();
        let boundary = i64::from(self.feed.header.target_duration * SKIP_TARGETS) * self.rendition.timescale;
        complete
            .take_while(|segment| {
                from_end -= segment.ticks;
                from_end > boundary
            })
            .count()
    }

    fn uri(&self, file: &str) -> String {
        format!("{file}{}", self.suffix())
    }

    fn suffix(&self) -> String {
        if self.query.is_empty() { String::new() } else { format!("?{}", self.query) }
    }

    /// Decimal seconds with microseconds: what is lost by rounding over a whole window stays far below a frame.
    fn seconds(&self, ticks: i64) -> String {
        let micros = bicast_shared::time::scale(ticks, 1_000_000, self.rendition.timescale);
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

fn millis(millis: u32) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

/// The multivariant playlist. Call it only for a snapshot that is [`FeedSnapshot::playable`]; bandwidths of another are 0.
#[must_use]
pub fn multivariant(feed: &FeedSnapshot, query: &str) -> String {
    let mut out = String::with_capacity(512);
    // Writing to a String cannot fail.
    let _ = print_multivariant(&mut out, feed, query);
    out
}

fn print_multivariant(out: &mut String, feed: &FeedSnapshot, query: &str) -> std::fmt::Result {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    // In the path, so that no cache answers a reload of this life of the feed with what it kept of another one.
    let instance = &feed.instance;
    writeln!(out, "#EXTM3U\n#EXT-X-VERSION:6")?;
    if feed.header.independent_segments {
        writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
    }
    let video = || feed.renditions.iter().filter(|r| matches!(r.media, RenditionMedia::Video { .. }));
    let audio = || feed.renditions.iter().filter(|r| matches!(r.media, RenditionMedia::Audio { .. }));
    let alone = video().next().is_none();
    let (mut peak, mut average, mut codecs) = (0, 0, String::new());
    for rendition in audio() {
        let (p, a) = rendition.bandwidth();
        (peak, average) = (peak.max(p), average.max(a));
        codecs.clone_from(&rendition.codecs);
        if let (false, RenditionMedia::Audio { channels }) = (alone, &rendition.media) {
            writeln!(
                out,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"{}\",LANGUAGE=\"und\",DEFAULT=YES,\
                 AUTOSELECT=YES,CHANNELS=\"{channels}\",URI=\"{}/{instance}/media.m3u8{query}\"",
                rendition.name, rendition.name
            )?;
        }
    }
    let mut variant = |rendition: &RenditionSnapshot, peak: u64, average: u64, codecs: &str, rest: &str| {
        // A tenth of room: the measured peak must stay below 125 % of what is said here.
        let (peak, average) = (round_up(peak + peak / 10), round_up(average));
        writeln!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{codecs}\"{rest}\n\
             {}/{instance}/media.m3u8{query}",
            rendition.name
        )
    };
    for rendition in video() {
        let (p, a) = rendition.bandwidth();
        let group = if codecs.is_empty() { "" } else { ",AUDIO=\"audio\"" };
        let RenditionMedia::Video { width, height, frame_rate } = rendition.media else { continue };
        let rest =
            format!(",RESOLUTION={width}x{height},FRAME-RATE={frame_rate:.3}{group},CLOSED-CAPTIONS=NONE");
        let separator = if codecs.is_empty() { "" } else { "," };
        let all = format!("{}{separator}{codecs}", rendition.codecs);
        variant(rendition, p + peak, a + average, &all, &rest)?;
    }
    if let (true, Some(rendition)) = (alone, audio().next()) {
        variant(rendition, peak, average, &rendition.codecs, "")?;
    }
    Ok(())
}

fn round_up(bits: u64) -> u64 {
    bits.div_ceil(1_000).max(1) * 1_000
}

#[cfg(test)]
#[path = "playlist_tests.rs"]
mod tests;

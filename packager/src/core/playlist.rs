//! Playlists as text: a pure function of a snapshot. Rules are cited by their section of draft-pantos-hls-rfc8216bis.

use std::fmt::Write;

use crate::core::snapshot::{FeedSnapshot, RenditionMedia, RenditionSnapshot};
use crate::core::window::{Part, Segment};

/// EXT-X-SKIP replaces segments older than this many target durations (4.4.3.8 asks for at least 6).
const SKIP_TARGETS: u32 = 6;
/// EXT-X-PART tags are dropped when this many target durations from the end (6.2.2).
const PART_TARGETS: i64 = 3;

/// What a playlist is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// Low latency: with parts, hints and rendition reports.
    #[default]
    Full,
    /// The same without what the client has already (`_HLS_skip`).
    Delta,
    /// Whole segments only, for players that know nothing else (RFC 8216): they begin three target durations from the end.
    Standard,
    /// The keyframes of a picture (4.4.3.6): of each whole segment the one that it begins with.
    Keyframes,
    /// The same without what the client has already.
    KeyframesDelta,
    /// The keyframes beside [`Shape::Standard`], and as little in their header.
    StandardKeyframes,
}

/// How a media playlist is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct MediaRequest<'a> {
    /// What it is for.
    pub shape: Shape,
    /// A query to append to every URI: what the client sent that is not a directive (a token).
    pub query: &'a str,
}

/// The media playlist of one rendition. None for a rendition that the snapshot does not have, and for keyframes of sound.
#[must_use]
pub fn media(feed: &FeedSnapshot, name: &str, request: MediaRequest<'_>) -> Option<String> {
    let rendition = feed.rendition(name)?;
    let video = matches!(rendition.media, RenditionMedia::Video { .. });
    let printer = Printer { feed, rendition, query: request.query };
    let mut out = String::with_capacity(4_096);
    // Writing to a String cannot fail.
    let _ = match request.shape {
        Shape::Keyframes | Shape::KeyframesDelta | Shape::StandardKeyframes if !video => return None,
        Shape::Full => printer.print(&mut out, false),
        Shape::Delta => printer.print(&mut out, !feed.ended),
        Shape::Standard => printer.print_standard(&mut out),
        Shape::Keyframes => printer.print_keyframes(&mut out, true, false),
        Shape::KeyframesDelta => printer.print_keyframes(&mut out, true, !feed.ended),
        Shape::StandardKeyframes => printer.print_keyframes(&mut out, false, false),
    };
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
        self.control(out)?;
        writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", millis(self.feed.part_target_ms(self.rendition)))?;
        let first = segments.first().map_or(0, |segment| segment.head.number);
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{first}")?;
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.rendition.discontinuity_sequence)?;
        if skipped > 0 {
            writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
        }
        let mut from_end: i64 = segments.iter().skip(skipped).map(|segment| segment.ticks).sum();
        // Said again behind EXT-X-SKIP: shaka-player (5.2) does not carry over the map of what was skipped, and then changes rendition
        // without its initialization section.
        let mut init = None;
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
        // The init section that the hinted part needs, if it is another one (B.1).
        if let Some(init) = self.rendition.coming.as_ref().filter(|init| !init.is_missing())
            && segments.last().is_some_and(|last| last.head.init.number != init.number)
        {
            let file = format!("init{}.mp4", init.number);
            writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{}\"", self.uri(&file))?;
        }
        for other in self.feed.offered().filter(|other| other.name != self.rendition.name) {
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

    /// What the server can do: the same in all playlists of a multivariant playlist (6.2.4).
    fn control(&self, out: &mut String) -> std::fmt::Result {
        // The same in all renditions (6.2.4), and three parts of the longest.
        let hold_back = millis(self.feed.longest_part_target_ms() * 3);
        let until = self.feed.header.target_duration * SKIP_TARGETS;
        writeln!(
            out,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold_back},CAN-SKIP-UNTIL={until}.0"
        )
    }

    /// Whole segments, and nothing that a player of RFC 8216 does not know.
    fn print_standard(&self, out: &mut String) -> std::fmt::Result {
        let header = self.feed.header;
        let segments = &self.rendition.segments;
        writeln!(out, "#EXTM3U\n#EXT-X-VERSION:6")?;
        if header.independent_segments {
            writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        writeln!(out, "#EXT-X-TARGETDURATION:{}", header.target_duration)?;
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", segments.first().map_or(0, |segment| segment.head.number))?;
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.rendition.discontinuity_sequence)?;
        let mut init = None;
        for segment in segments.iter().filter(|segment| segment.complete) {
            self.segment(out, segment, init, false)?;
            init = Some(segment.head.init.number);
        }
        if self.feed.ended { writeln!(out, "#EXT-X-ENDLIST") } else { Ok(()) }
    }

    fn print_keyframes(&self, out: &mut String, control: bool, skip: bool) -> std::fmt::Result {
        let segments = &self.rendition.segments;
        let skipped = if skip { self.skippable() } else { 0 };
        let version = if skipped > 0 { 9 } else { 6 };
        let target = self.feed.header.target_duration;
        writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{target}")?;
        if control {
            self.control(out)?;
        }
        writeln!(out, "#EXT-X-I-FRAMES-ONLY")?;
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", segments.first().map_or(0, |segment| segment.head.number))?;
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.rendition.discontinuity_sequence)?;
        if skipped > 0 {
            writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
        }
        let mut init = None;
        for segment in segments.iter().skip(skipped).filter(|segment| segment.complete) {
            self.before_segment(out, segment, init)?;
            init = Some(segment.head.init.number);
            if segment.keyframe().is_none() {
                writeln!(out, "#EXT-X-GAP")?;
            }
            writeln!(out, "#EXTINF:{},", self.seconds(segment.ticks))?;
            if let Some(length) = segment.keyframe() {
                writeln!(out, "#EXT-X-BYTERANGE:{length}@0")?;
            }
            writeln!(out, "{}", self.uri(&format!("{}.m4s", segment.head.number)))?;
        }
        if self.feed.ended { writeln!(out, "#EXT-X-ENDLIST") } else { Ok(()) }
    }

    /// What is said of a segment before anything of it.
    fn before_segment(&self, out: &mut String, segment: &Segment, init: Option<u32>) -> std::fmt::Result {
        let head = &segment.head;
        if head.discontinuity {
            writeln!(out, "#EXT-X-DISCONTINUITY")?;
        }
        if init != Some(head.init.number) && !head.init.is_missing() {
            writeln!(out, "#EXT-X-MAP:URI=\"{}\"", self.uri(&format!("init{}.mp4", head.init.number)))?;
        }
        writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", head.program_time)
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
        self.before_segment(out, segment, init)?;
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
    variants(feed, ["media", "iframes"], query)
}

/// The multivariant playlist of those that have whole segments only ([`Shape::Standard`]).
#[must_use]
pub fn standard_multivariant(feed: &FeedSnapshot, query: &str) -> String {
    variants(feed, ["standard", "standard-iframes"], query)
}

fn variants(feed: &FeedSnapshot, files: [&str; 2], query: &str) -> String {
    let mut out = String::with_capacity(512);
    // Writing to a String cannot fail.
    let _ = print_multivariant(&mut out, feed, files, query);
    out
}

fn print_multivariant(
    out: &mut String,
    feed: &FeedSnapshot,
    [media, keyframes]: [&str; 2],
    query: &str,
) -> std::fmt::Result {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    writeln!(out, "#EXTM3U\n#EXT-X-VERSION:6")?;
    if feed.header.independent_segments {
        writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
    }
    let is_video = |rendition: &&RenditionSnapshot| matches!(rendition.media, RenditionMedia::Video { .. });
    let (video, audio): (Vec<_>, Vec<_>) = feed.offered().partition(is_video);
    // In the path, so that no cache answers a reload of this life of the feed with what it kept of another one.
    let uri = |rendition: &RenditionSnapshot, file: &str| {
        format!("{}/{}/{file}.m3u8{query}", rendition.name, feed.instance)
    };
    let (mut peak, mut average, mut codecs) = (0, 0, String::new());
    for rendition in &audio {
        let (p, a) = rendition.bandwidth();
        (peak, average) = (peak.max(p), average.max(a));
        codecs.clone_from(&rendition.codecs);
        if let (false, RenditionMedia::Audio { channels }) = (video.is_empty(), &rendition.media) {
            writeln!(
                out,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"{}\",LANGUAGE=\"und\",DEFAULT=YES,\
                 AUTOSELECT=YES,CHANNELS=\"{channels}\",URI=\"{}\"",
                rendition.name,
                uri(rendition, media)
            )?;
        }
    }
    if let (true, Some(rendition)) = (video.is_empty(), audio.first()) {
        let rates = bandwidths(peak, average);
        writeln!(out, "#EXT-X-STREAM-INF:{rates},CODECS=\"{codecs}\"\n{}", uri(rendition, media))?;
    }
    let (group, with_audio) = match codecs.is_empty() {
        true => ("", String::new()),
        false => (",AUDIO=\"audio\"", format!(",{codecs}")),
    };
    for (rendition, score) in in_order(&video) {
        let RenditionMedia::Video { width, height, frame_rate } = rendition.media else { continue };
        let (p, a) = rendition.bandwidth();
        let rates = bandwidths(p + peak, a + average);
        let score = score.map_or_else(String::new, |score| format!(",SCORE={score}.0"));
        writeln!(
            out,
            "#EXT-X-STREAM-INF:{rates},CODECS=\"{}{with_audio}\",RESOLUTION={width}x{height},\
             FRAME-RATE={frame_rate:.3}{group},CLOSED-CAPTIONS=NONE{score}\n{}",
            rendition.codecs,
            uri(rendition, media)
        )?;
    }
    for rendition in &video {
        let RenditionMedia::Video { width, height, .. } = rendition.media else { continue };
        let Some((peak, average)) = rendition.keyframe_bandwidth() else { continue };
        writeln!(
            out,
            "#EXT-X-I-FRAME-STREAM-INF:{},CODECS=\"{}\",RESOLUTION={width}x{height},URI=\"{}\"",
            bandwidths(peak, average),
            rendition.codecs,
            uri(rendition, keyframes)
        )?;
    }
    Ok(())
}

/// BANDWIDTH and AVERAGE-BANDWIDTH. A tenth of room: the measured peak must stay below 125 % of what is said here.
fn bandwidths(peak: u64, average: u64) -> String {
    format!("BANDWIDTH={},AVERAGE-BANDWIDTH={}", round_up(peak + peak / 10), round_up(average))
}

/// Players begin with the first variant: the one nearest to it comes first (Apple's authoring specification, 9.20).
const FIRST_VARIANT: u64 = 2_000_000;

/// The variants as they are listed: one to begin with, then the best first; with their scores where there are several.
fn in_order<'a>(video: &[&'a RenditionSnapshot]) -> Vec<(&'a RenditionSnapshot, Option<usize>)> {
    let mut rising: Vec<_> = video.to_vec();
    rising.sort_by_key(|rendition| rendition.bandwidth().1);
    let several = rising.len() > 1;
    let mut listed: Vec<_> = (1..).zip(rising).map(|(n, one)| (one, several.then_some(n))).collect();
    listed.reverse();
    let distance = |(rendition, _): &(&RenditionSnapshot, _)| rendition.bandwidth().0.abs_diff(FIRST_VARIANT);
    let first = (0..listed.len()).min_by_key(|at| listed.get(*at).map(distance));
    if let Some(first) = first {
        let one = listed.remove(first);
        listed.insert(0, one);
    }
    listed
}

fn round_up(bits: u64) -> u64 {
    bits.div_ceil(1_000).max(1) * 1_000
}

#[cfg(test)]
#[path = "playlist_tests.rs"]
mod tests;

//! LL-HLS as a player sees it: playlists read line by line, and all frames that a window holds.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::Context as _;
use bytes::Bytes;

use crate::clip;
use crate::cmaf::{self, Init, Sample};
use crate::http;

/// A media playlist.
#[derive(Debug, Clone, Default)]
pub struct MediaPlaylist {
    /// The text as it came.
    pub text: String,
    /// Segments in order, the last of which may have parts only.
    pub segments: Vec<Segment>,
    /// Whether it says that nothing follows.
    pub ended: bool,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration: u64,
    /// EXT-X-PART-INF:PART-TARGET in seconds.
    pub part_target: f64,
}

/// A segment of a media playlist.
#[derive(Debug, Clone, Default)]
pub struct Segment {
    /// Its Media Sequence Number.
    pub number: u64,
    /// The whole segment; none while it is being made.
    pub uri: Option<String>,
    /// EXTINF in seconds; 0 while it is being made.
    pub duration: f64,
    /// Its parts, where they are still listed.
    pub parts: Vec<String>,
    /// The init segment in force.
    pub map: String,
    /// Whether EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// Whether EXT-X-GAP says that there is nothing to fetch of it.
    pub gap: bool,
    /// EXT-X-PROGRAM-DATE-TIME before it.
    pub program_date_time: Option<String>,
}

/// One frame (or audio packet) of the window.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The segment it was fetched from.
    pub segment: u64,
    /// The init segment it belongs to.
    pub map: String,
    /// The sample with its times.
    pub sample: Sample,
    /// The number it was marked with (`clip`), if any.
    pub number: Option<u32>,
}

/// A segment or part as it was fetched.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Which frames of the window it holds.
    pub frames: Range<usize>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// All that a media playlist lists, fetched.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Frames in decode order.
    pub frames: Vec<Frame>,
    /// The bytes they came in, in order.
    pub pieces: Vec<Piece>,
    /// Init segments by their URI: bytes and what they say.
    pub inits: HashMap<String, (Bytes, Init)>,
    /// The playlist that they were fetched by.
    pub playlist: MediaPlaylist,
}

impl MediaPlaylist {
    /// Reads a playlist; unknown tags are passed over, as RFC 8216 asks.
    ///
    /// # Errors
    /// Where a number is none or there is no EXTM3U.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        anyhow::ensure!(text.starts_with("#EXTM3U"), "not a playlist: {text:.60?}");
        let mut playlist = Self { text: text.to_owned(), ..Self::default() };
        let mut next = Segment::default();
        for line in text.lines().map(str::trim) {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-MEDIA-SEQUENCE" => next.number = value.parse()?,
                "#EXT-X-TARGETDURATION" => playlist.target_duration = value.parse()?,
                "#EXT-X-PART-INF" => {
                    playlist.part_target =
                        attribute(value, "PART-TARGET").context("no PART-TARGET")?.parse()?;
                }
                "#EXT-X-MAP" => next.map = attribute(value, "URI").context("EXT-X-MAP without URI")?,
                "#EXT-X-DISCONTINUITY" => next.discontinuity = true,
                "#EXT-X-GAP" => next.gap = true,
                "#EXT-X-PROGRAM-DATE-TIME" => next.program_date_time = Some(value.to_owned()),
                "#EXT-X-PART" => {
                    // A part of nothing but a gap has nothing to fetch.
                    if attribute(value, "GAP").as_deref() != Some("YES") {
                        next.parts.push(attribute(value, "URI").context("EXT-X-PART without URI")?);
                    }
                }
                "#EXTINF" => next.duration = value.split(',').next().unwrap_or_default().parse()?,
                "#EXT-X-ENDLIST" => playlist.ended = true,
                _ if line.is_empty() || line.starts_with('#') => {}
                _ => {
                    next.uri = (!next.gap).then(|| line.to_owned());
                    let following =
                        Segment { number: next.number + 1, map: next.map.clone(), ..Segment::default() };
                    playlist.segments.push(std::mem::replace(&mut next, following));
                }
            }
        }
        if !next.parts.is_empty() {
            playlist.segments.push(next);
        }
        Ok(playlist)
    }

    /// EXT-X-DISCONTINUITY tags in it.
    #[must_use]
    pub fn discontinuities(&self) -> usize {
        self.segments.iter().filter(|segment| segment.discontinuity).count()
    }
}

/// The value of an attribute in an attribute list, without its quotes.
#[must_use]
pub fn attribute(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    while !rest.is_empty() {
        let (key, tail) = rest.split_once('=')?;
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => {
                let (value, tail) = quoted.split_once('"')?;
                (value, tail.strip_prefix(',').unwrap_or(tail))
            }
            None => tail.split_once(',').unwrap_or((tail, "")),
        };
        if key.trim() == name {
            return Some(value.to_owned());
        }
        rest = tail;
    }
    None
}

/// A URI of a playlist at `base`, made absolute.
///
/// # Errors
/// Where `base` has no host.
pub fn resolve(base: &str, uri: &str) -> anyhow::Result<String> {
    if uri.contains("://") {
        return Ok(uri.to_owned());
    }
    let scheme = base.find("://").context("not a URL")? + 3;
    let path = base[scheme..].find('/').map_or(base.len(), |at| at + scheme);
    if uri.starts_with('/') {
        return Ok(format!("{}{uri}", &base[..path]));
    }
    let base = base.split('?').next().unwrap_or(base);
    let folder = base.rfind('/').map_or(base.len(), |at| at + 1);
    let (mut folder, mut uri) = (base[..folder].to_owned(), uri);
    while let Some(rest) = uri.strip_prefix("../") {
        uri = rest;
        folder.truncate(folder[..folder.len() - 1].rfind('/').map_or(folder.len(), |at| at + 1));
    }
    Ok(folder + uri)
}

/// The path of a URL, with its query.
///
/// # Errors
/// Where it has none.
pub fn path(url: &str) -> anyhow::Result<String> {
    let (_, rest) = url.split_once("://").context("no URL")?;
    Ok(format!("/{}", rest.split_once('/').context("no path")?.1))
}

/// The part that a media playlist hints at, by the numbers of its segment and in it (`SEGMENT.PART.m4s`).
///
/// # Errors
/// Where it has no hint, or one with another name.
pub fn hinted_part(playlist: &str) -> anyhow::Result<(u64, u64)> {
    let hint = playlist.lines().rev().find(|line| line.starts_with("#EXT-X-PRELOAD-HINT"));
    let name = hint.and_then(|hint| hint.split('"').nth(1)).context("no hint")?;
    let numbers = name.strip_suffix(".m4s").and_then(|name| name.split_once('.'));
    let (segment, part) = numbers.with_context(|| format!("{name} is no part"))?;
    Ok((segment.parse()?, part.parse()?))
}

/// The media playlists that a multivariant playlist names, as absolute URLs: video renditions first, then audio.
///
/// # Errors
/// Where it cannot be fetched or is none.
pub async fn renditions(multivariant: &str) -> anyhow::Result<Vec<String>> {
    let text = http::get(multivariant).await?.success()?.text();
    anyhow::ensure!(text.starts_with("#EXTM3U"), "not a playlist: {text:.60?}");
    let mut found = Vec::new();
    let streams = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let audio = text.lines().filter_map(|line| attribute(line.strip_prefix("#EXT-X-MEDIA:")?, "URI"));
    for uri in streams.map(str::to_owned).chain(audio) {
        let url = resolve(multivariant, &uri)?;
        if !found.contains(&url) {
            found.push(url);
        }
    }
    Ok(found)
}

/// Fetches a media playlist as it is now.
///
/// # Errors
/// Where there is none.
pub async fn playlist(url: &str) -> anyhow::Result<MediaPlaylist> {
    MediaPlaylist::parse(&http::get(url).await?.success()?.text())
}

/// Fetches all that a media playlist lists now: whole segments, and the parts of the one being made.
///
/// # Errors
/// Where something that is listed cannot be fetched or read.
pub async fn window(url: &str) -> anyhow::Result<Window> {
    let mut window = Window { playlist: playlist(url).await?, ..Window::default() };
    for segment in window.playlist.segments.clone() {
        let init = match window.inits.get(&segment.map) {
            Some((_, init)) => init.clone(),
            None => {
                let bytes = http::get(&resolve(url, &segment.map)?).await?.success()?.body;
                let init = cmaf::init(&bytes).with_context(|| segment.map.clone())?;
                window.inits.insert(segment.map.clone(), (bytes, init.clone()));
                init
            }
        };
        let uris = segment.uri.clone().map_or_else(|| segment.parts.clone(), |uri| vec![uri]);
        for uri in uris {
            let bytes = http::get(&resolve(url, &uri)?).await?.success()?.body;
            let first = window.frames.len();
            for sample in cmaf::samples(&init, &bytes).with_context(|| uri.clone())? {
                let number = clip::units_of(&sample.data).find_map(|unit| clip::marked(&unit));
                window.frames.push(Frame {
                    segment: segment.number,
                    map: segment.map.clone(),
                    sample,
                    number,
                });
            }
            window.pieces.push(Piece { frames: first..window.frames.len(), bytes });
        }
    }
    Ok(window)
}

impl Window {
    /// The presentation time of every marked frame, by its number.
    #[must_use]
    pub fn numbered(&self) -> HashMap<u32, i64> {
        self.frames.iter().filter_map(|frame| Some((frame.number?, frame.sample.presentation))).collect()
    }

    /// Checks that decode times run on without a hole: each frame begins where the one before it ended. Frames across a
    /// discontinuity need only be later.
    ///
    /// # Errors
    /// Naming the first frame that does not.
    pub fn check_contiguous(&self) -> anyhow::Result<()> {
        let gaps: Vec<u64> = self.playlist.segments.iter().filter(|s| s.gap).map(|s| s.number).collect();
        anyhow::ensure!(gaps.is_empty(), "the segments {gaps:?} are gaps");
        self.check_contiguous_around_gaps()
    }

    /// The same where whole segments may be left out and said to be (EXT-X-GAP).
    ///
    /// # Errors
    /// Naming the first frame that does not.
    pub fn check_contiguous_around_gaps(&self) -> anyhow::Result<()> {
        let begins_anew = |pair: &[Segment]| pair[1].discontinuity || pair[0].gap;
        let anew =
            self.playlist.segments.windows(2).filter(|pair| begins_anew(pair)).map(|pair| pair[1].number);
        let starts: Vec<u64> = anew.collect();
        for pair in self.frames.windows(2) {
            let (before, frame) = (&pair[0], &pair[1]);
            let end = before.sample.decode + u64::from(before.sample.duration);
            let across = before.segment != frame.segment && starts.contains(&frame.segment);
            anyhow::ensure!(
                if across { frame.sample.decode >= end } else { frame.sample.decode == end },
                "segment {}: a frame begins at {}, the one before it (segment {}) ends at {end}",
                frame.segment,
                frame.sample.decode,
                before.segment
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_is_read_with_the_segment_in_the_making() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-PART-INF:PART-TARGET=0.216\n#EXT-X-MEDIA-SEQUENCE:7\n\
            #EXT-X-MAP:URI=\"init-0.mp4\"\n#EXTINF:2.000,\n7.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-1.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXT-X-PART:DURATION=0.2,INDEPENDENT=YES,URI=\"8.0.m4s\"\n\
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"8.1.m4s\"\n";
        let playlist = MediaPlaylist::parse(text).unwrap();
        assert_eq!(playlist.segments.len(), 2);
        assert_eq!((playlist.segments[0].number, playlist.segments[0].map.as_str()), (7, "init-0.mp4"));
        let making = &playlist.segments[1];
        assert_eq!((making.number, making.map.as_str(), making.discontinuity), (8, "init-1.mp4", true));
        assert_eq!(making.parts, ["8.0.m4s"]);
        assert_eq!((playlist.discontinuities(), playlist.ended), (1, false));
    }

    #[test]
    fn uris_are_resolved_like_a_browser_does() {
        let base = "http://[::1]:80/hls/demo/video0/media.m3u8?_HLS_msn=1";
        assert_eq!(resolve(base, "a.m4s").unwrap(), "http://[::1]:80/hls/demo/video0/a.m4s");
        assert_eq!(resolve(base, "../x/b").unwrap(), "http://[::1]:80/hls/demo/x/b");
        assert_eq!(resolve(base, "/c").unwrap(), "http://[::1]:80/c");
        assert_eq!(resolve(base, "http://h/d").unwrap(), "http://h/d");
    }
}

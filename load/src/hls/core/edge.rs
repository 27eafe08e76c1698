//! The live edge of a media playlist: what of it a player would load, and how it learns of the next.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::playlist::{Media, Part, Segment};

/// A segment's number and a part's index; [`WHOLE`] for a segment that is loaded as one.
pub(crate) type Id = (u64, u64);

/// The index of a whole segment.
pub(crate) const WHOLE: u64 = u64::MAX;

/// Most things that one playlist may list: one that has more is cut off at its old end.
const MOST: usize = 10_000;
/// No part or segment is longer, and no playlist says to stay further behind.
const LONGEST: Duration = Duration::from_secs(600);
/// A playlist is not asked for more often than this where it is not waited for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) secure: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the Host header has it.
    pub(crate) authority: String,
}

/// An address, taken apart once for all clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) origin: Arc<Origin>,
    /// Path and query.
    pub(crate) path: Bytes,
}

impl Address {
    /// None of what is not http or https.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let name = url.host_str()?;
        let host = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let origin = Origin { secure, host, port: url.port_or_known_default()?, authority };
        let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
        Some(Self { origin: Arc::new(origin), path: Bytes::from(format!("{}{query}", url.path())) })
    }

    /// The same origin's other address, where it is the same origin: most are.
    fn beside(&self, url: &Url) -> Option<Self> {
        let found = Self::of(url)?;
        let origin = if *found.origin == *self.origin { Arc::clone(&self.origin) } else { found.origin };
        Some(Self { origin, path: found.path })
    }

    /// With directives behind its query.
    pub(crate) fn with(&self, directives: &str) -> Self {
        let sign = if self.path.contains(&b'?') { b'&' } else { b'?' };
        let mut path = Vec::with_capacity(self.path.len() + 1 + directives.len());
        path.extend_from_slice(&self.path);
        path.push(sign);
        path.extend_from_slice(directives.as_bytes());
        Self { origin: Arc::clone(&self.origin), path: path.into() }
    }
}

/// A part, or a segment where there are no parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) id: Id,
    pub(crate) address: Address,
    /// First and last byte of it, where it is not the whole address.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) duration: Duration,
    /// A player can begin with it.
    pub(crate) independent: bool,
    /// There is nothing to load.
    pub(crate) gap: bool,
    /// Program time of its end, in microseconds since 1970.
    pub(crate) ends: Option<i64>,
    /// Its initialization section; none where the playlist does not repeat it.
    pub(crate) init: Option<Address>,
}

/// Why a text cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("it does not begin with #EXTM3U: it is no HLS playlist")]
    NoPlaylist,
    #[error("it is longer than 4 MiB")]
    Large,
    #[error("it lists no media: it is no media playlist, or its feed has not begun")]
    Empty,
    #[error("its segments are byte ranges of one file, and it has no parts: that cannot be followed here")]
    Ranges,
}

/// One version of a media playlist, read for a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Everything that can be loaded, oldest first.
    pub(crate) units: Vec<Unit>,
    /// What comes next.
    pub(crate) next: Id,
    /// It has parts. Without them whole segments are followed.
    pub(crate) parts: bool,
    /// CAN-BLOCK-RELOAD: it can be waited for.
    pub(crate) blocks: bool,
    /// CAN-SKIP-UNTIL: it can be had without what is known already.
    pub(crate) skips: bool,
    /// EXT-X-SKIP: it leaves out what was old when it was asked for.
    pub(crate) delta: bool,
    /// Between two requests where it cannot be waited for: a part's or a segment's length.
    pub(crate) pause: Duration,
    /// How far from the end a player stays (PART-HOLD-BACK, HOLD-BACK, or three of what is followed).
    pub(crate) hold_back: Duration,
    /// Nothing comes any more.
    pub(crate) ended: bool,
}

impl Edge {
    /// Reads a playlist that was found at `base`.
    ///
    /// # Errors
    /// Where it cannot be followed.
    pub(crate) fn read(text: &str, base: &Url) -> Result<Self, Unfit> {
        let text = text.trim_start_matches('\u{feff}');
        if !text.starts_with("#EXTM3U") {
            return Err(Unfit::NoPlaylist);
        }
        let media = Media::parse(text);
        let own = Address::of(base).ok_or(Unfit::NoPlaylist)?;
        let parts = media.part_target.is_some();
        if !parts && text.contains("\n#EXT-X-BYTERANGE:") {
            return Err(Unfit::Ranges);
        }
        let mut reader = Reader { base, own, parts, units: Vec::new(), init: None, date: None };
        let kept = media.segments.len().saturating_sub(MOST);
        media.segments.iter().skip(kept).for_each(|segment| reader.segment(segment));
        if reader.units.is_empty() && media.skipped.is_none() {
            return Err(Unfit::Empty);
        }
        let target = media.target().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let target = target.unwrap_or(Duration::from_secs(6)).min(LONGEST);
        let length = media.part_target.map_or(target, duration);
        let control = &media.control.attributes;
        let said = control.micros(if parts { "PART-HOLD-BACK" } else { "HOLD-BACK" }).map(duration);
        let next = media.next_part();
        let next = if parts {
            (next.0, u64::try_from(next.1).unwrap_or(WHOLE))
        } else {
            (media.segments.last().map_or(next.0, |last| last.number.saturating_add(1)), WHOLE)
        };
        Ok(Self {
            units: reader.units,
            next,
            parts,
            blocks: control.is("CAN-BLOCK-RELOAD", "YES"),
            skips: control.get("CAN-SKIP-UNTIL").is_some(),
            delta: media.skipped.is_some(),
            pause: length.max(SHORTEST_PAUSE),
            hold_back: said.filter(|said| !said.is_zero()).unwrap_or(length * 3),
            ended: media.ended,
        })
    }

    /// What stands behind the address to get the version that has what comes next; as a delta, where that is offered and
    /// wanted.
    pub(crate) fn directives(&self, delta: bool) -> String {
        let (number, part) = self.next;
        let mut text = if self.parts {
            format!("_HLS_msn={number}&_HLS_part={part}")
        } else {
            format!("_HLS_msn={number}")
        };
        if self.skips && delta {
            text.push_str("&_HLS_skip=YES");
        }
        text
    }

    /// Where a player begins, and how much from the end that is: the last place that can be begun with and is at least
    /// `hold_back` from the end; else what is first.
    pub(crate) fn start(&self) -> (usize, Duration) {
        let mut length = Duration::ZERO;
        let mut far = None;
        for (at, unit) in self.units.iter().enumerate().rev() {
            length += unit.duration;
            if length >= self.hold_back {
                far = far.or(Some(at));
                if unit.independent {
                    return (at, self.hold_back);
                }
            }
        }
        (far.unwrap_or(0), length.min(self.hold_back))
    }
}

struct Reader<'a> {
    base: &'a Url,
    own: Address,
    parts: bool,
    units: Vec<Unit>,
    init: Option<Address>,
    /// Program time of what comes next.
    date: Option<i64>,
}

impl Reader<'_> {
    fn segment(&mut self, segment: &Segment) {
        self.date = segment.date.or(self.date);
        if let Some(map) = &segment.map {
            self.init = self.address(map);
        }
        let begins = self.date;
        if self.parts {
            for (index, part) in segment.parts.iter().enumerate() {
                self.part(segment, index, part);
            }
        } else if let Some(uri) = &segment.uri {
            let (length, gap) = (segment.length(), segment.gap);
            self.unit((segment.number, WHOLE), uri, None, length, true, gap);
        }
        // A whole segment's own duration is more exact than the sum of rounded ones.
        self.date = begins.map(|begins| begins.saturating_add(segment.length()));
    }

    fn part(&mut self, segment: &Segment, index: usize, part: &Part) {
        let range = part.range.and_then(|(length, first)| {
            let first = first.or_else(|| {
                let before = index.checked_sub(1).and_then(|before| segment.parts.get(before))?;
                let last = self.units.last().filter(|_| before.uri == part.uri)?;
                last.range.map(|(_, last)| last.saturating_add(1))
            });
            let first = first.unwrap_or(0);
            length.checked_sub(1).map(|rest| (first, first.saturating_add(rest)))
        });
        let id = (segment.number, index as u64);
        let length = part.duration.unwrap_or(0);
        let gap = part.gap || segment.gap;
        self.unit(id, &part.uri, range, length, part.independent, gap);
    }

    fn unit(
        &mut self,
        id: Id,
        uri: &str,
        range: Option<(u64, u64)>,
        micros: i64,
        independent: bool,
        gap: bool,
    ) {
        self.date = self.date.map(|date| date.saturating_add(micros));
        let Some(address) = self.address(uri) else { return };
        self.units.push(Unit {
            id,
            address,
            range,
            duration: duration(micros),
            independent,
            gap,
            ends: self.date,
            init: self.init.clone(),
        });
    }

    fn address(&self, uri: &str) -> Option<Address> {
        self.own.beside(&self.base.join(uri).ok()?)
    }
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: &str = "#EXTM3U
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,CAN-SKIP-UNTIL=12.0
#EXT-X-PART-INF:PART-TARGET=0.5
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-MAP:URI=\"init.mp4?k=1\"
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:01:00Z
#EXTINF:1.0,
7.m4s
#EXT-X-PART:DURATION=0.5,URI=\"8.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"8.1.m4s\"
#EXTINF:1.0,
8.m4s
#EXT-X-PART:DURATION=0.5,URI=\"9.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"9.1.m4s\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.2.m4s\"
";

    fn base() -> Url {
        Url::parse("http://h:81/a/media.m3u8?t=1").unwrap()
    }

    fn ids(edge: &Edge) -> Vec<Id> {
        edge.units.iter().map(|unit| unit.id).collect()
    }

    #[test]
    fn parts_are_found_with_their_addresses_and_times() {
        let edge = Edge::read(LOW, &base()).unwrap();
        assert_eq!(ids(&edge), [(8, 0), (8, 1), (9, 0), (9, 1)]);
        assert_eq!((edge.next, edge.parts, edge.blocks, edge.skips), ((9, 2), true, true, true));
        assert_eq!(edge.directives(true), "_HLS_msn=9&_HLS_part=2&_HLS_skip=YES");
        assert_eq!(edge.directives(false), "_HLS_msn=9&_HLS_part=2");
        let first = &edge.units[0];
        assert_eq!((&first.address.path[..], first.address.origin.port), (&b"/a/8.0.m4s"[..], 81));
        assert_eq!(first.address.origin.authority, "h:81");
        assert_eq!(first.ends, Some(61_500_000));
        assert_eq!(first.init.as_ref().unwrap().path, "/a/init.mp4?k=1");
        assert_eq!(edge.units[3].ends, Some(63_000_000));
        let again = Address::of(&base()).unwrap().with(&edge.directives(true));
        assert_eq!(again.path, "/a/media.m3u8?t=1&_HLS_msn=9&_HLS_part=2&_HLS_skip=YES");
    }

    #[test]
    fn a_player_begins_at_a_keyframe_behind_the_hold_back() {
        let edge = Edge::read(LOW, &base()).unwrap();
        assert_eq!(edge.start(), (0, Duration::from_millis(1_500)), "9.0 is only 1 s from the end");
        let text = LOW.replace("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=0.9");
        assert_eq!(Edge::read(&text, &base()).unwrap().start(), (2, Duration::from_millis(900)));
        let text = LOW.replace("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=5.0");
        assert_eq!(
            Edge::read(&text, &base()).unwrap().start(),
            (0, Duration::from_secs(2)),
            "it lists no more"
        );
        let text = LOW.replace(",INDEPENDENT=YES", "");
        assert_eq!(Edge::read(&text, &base()).unwrap().start().0, 1, "no keyframe is known");
    }

    #[test]
    fn a_playlist_without_parts_is_followed_by_segments() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:3\n#EXTINF:4,\na.ts\n#EXTINF:3.5,\nb.ts\n";
        let edge = Edge::read(text, &base()).unwrap();
        assert_eq!(ids(&edge), [(3, WHOLE), (4, WHOLE)]);
        assert_eq!((edge.next, edge.parts, edge.blocks), ((5, WHOLE), false, false));
        assert_eq!((edge.pause, edge.hold_back), (Duration::from_secs(4), Duration::from_secs(12)));
        assert_eq!(edge.directives(true), "_HLS_msn=5");
        assert_eq!(edge.start(), (0, Duration::from_millis(7_500)));
    }

    #[test]
    fn parts_may_be_ranges_of_one_file_or_stand_elsewhere() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=1\n\
            #EXT-X-PART:DURATION=1,URI=\"s.mp4\",BYTERANGE=\"100@50\"\n\
            #EXT-X-PART:DURATION=1,URI=\"s.mp4\",BYTERANGE=\"7\"\n\
            #EXT-X-PART:DURATION=1,URI=\"https://cdn.example/t.mp4\",BYTERANGE=\"7\",GAP=YES\n";
        let edge = Edge::read(text, &base()).unwrap();
        let ranges: Vec<_> = edge.units.iter().map(|unit| unit.range).collect();
        assert_eq!(ranges, [Some((50, 149)), Some((150, 156)), Some((0, 6))]);
        let last = edge.units.last().unwrap();
        assert!(last.address.origin.secure && last.gap);
        assert_eq!((last.address.origin.port, &last.address.origin.authority[..]), (443, "cdn.example"));
        assert!(Arc::ptr_eq(&edge.units[0].address.origin, &edge.units[1].address.origin));
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        assert_eq!(Edge::read("<html>", &base()), Err(Unfit::NoPlaylist));
        assert_eq!(Edge::read("#EXTM3U\n", &base()), Err(Unfit::Empty));
        let ranges = "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:5@0\na.mp4\n";
        assert_eq!(Edge::read(ranges, &base()), Err(Unfit::Ranges));
    }

    #[test]
    fn a_playlist_that_skips_what_is_known_may_list_little() {
        let text = LOW.replace("#EXTINF:1.0,\n7.m4s\n", "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n");
        let edge = Edge::read(&text, &base()).unwrap();
        assert_eq!((edge.next, edge.delta), ((9, 2), true));
    }
}

//! Playlists as they are written. Nothing is repaired: what is wrong is kept for the rules, with its line.

use std::collections::BTreeMap;

/// An attribute list (4.2), in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<(String, String)>);

impl Attributes {
    /// None of text that is no attribute list.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut list: Vec<(String, String)> = Vec::new();
        let mut rest = text;
        loop {
            let (name, after) = rest.split_once('=')?;
            let named = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
            if !named || list.iter().any(|(known, _)| known == name) {
                return None;
            }
            let quoted = after.strip_prefix('"');
            let (value, after) = match quoted {
                Some(text) => text.split_once('"')?,
                None => after.split_at(after.find(',').unwrap_or(after.len())),
            };
            if quoted.is_none() && (value.is_empty() || value.contains([' ', '"', '\t'])) {
                return None;
            }
            list.push((name.to_owned(), value.to_owned()));
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => return after.is_empty().then_some(Self(list)),
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    /// A decimal number of seconds, in microseconds.
    pub(crate) fn micros(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(micros)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

/// Decimal seconds as microseconds, rounded down; None of anything else.
pub(crate) fn micros(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 10 || !digits(whole) || !digits(part) {
        return None;
    }
    let part: String = part.chars().chain("000000".chars()).take(6).collect();
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(part.parse().ok()?)
}

/// `length[@first]` (4.4.4.2).
fn byte_range(text: &str) -> Option<(u64, Option<u64>)> {
    match text.split_once('@') {
        Some((length, first)) => Some((length.parse().ok()?, Some(first.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

/// A date and time with zone (ISO 8601) as microseconds since 1970.
pub(crate) fn date(text: &str) -> Option<i64> {
    let (day, time) = text.split_once('T')?;
    let mut day = day.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (day.next()?.ok()?, day.next()?.ok()?, day.next()?.ok()?);
    let (time, zone) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let (time, zone) = time.split_at(time.rfind(['+', '-'])?);
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let zone = zone.get(1..)?;
            let (hours, minutes) = zone.split_once(':').or_else(|| zone.split_at_checked(2))?;
            (time, sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?))
        }
    };
    let mut parts = time.splitn(3, ':');
    let (hour, minute) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let seconds = micros(parts.next()?)?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from the civil calendar, years beginning in March so that the leap day is the last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute - zone) * 60_000_000 + seconds)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) line: usize,
    pub(crate) uri: String,
    /// In microseconds, like all durations here.
    pub(crate) duration: Option<i64>,
    pub(crate) independent: bool,
    pub(crate) gap: bool,
    /// BYTERANGE: how many bytes of the address, and from where, where that is said.
    pub(crate) range: Option<(u64, Option<u64>)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) line: usize,
    pub(crate) parts: Vec<Part>,
    /// None while it is open.
    pub(crate) uri: Option<String>,
    pub(crate) duration: Option<i64>,
    pub(crate) discontinuity: bool,
    pub(crate) gap: bool,
    pub(crate) map: Option<String>,
    pub(crate) date: Option<i64>,
    /// The line of a tag that had to come before the first part.
    pub(crate) late_tag: Option<usize>,
}

impl Segment {
    /// Its duration as far as it is known.
    pub(crate) fn length(&self) -> i64 {
        self.duration.unwrap_or_else(|| self.parts.iter().filter_map(|part| part.duration).sum())
    }
}

/// A tag that stands anywhere: its attributes and its line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tag {
    pub(crate) line: usize,
    pub(crate) attributes: Attributes,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Media {
    /// What breaks the grammar, by line.
    pub(crate) malformed: Vec<(usize, String)>,
    /// How often each tag of the header stands there, and its first value and line.
    pub(crate) header: BTreeMap<&'static str, (usize, String, usize)>,
    pub(crate) control: Tag,
    pub(crate) part_target: Option<i64>,
    pub(crate) sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) skipped: Option<u64>,
    /// RECENTLY-REMOVED-DATERANGES.
    pub(crate) removed_dateranges: Option<String>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) hints: Vec<Tag>,
    pub(crate) reports: Vec<Tag>,
    pub(crate) dateranges: Vec<Tag>,
    pub(crate) start: Option<Tag>,
    pub(crate) ended: bool,
}

const HEADER: [&str; 10] = [
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-I-FRAMES-ONLY",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-START",
];

impl Media {
    pub(crate) fn parse(text: &str) -> Self {
        let mut media = Self::default();
        first_line(text, &mut media.malformed);
        let mut open = Segment::default();
        let mut count = 0;
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
            let Some(tag) = line.strip_prefix('#') else {
                if !line.is_empty() {
                    let (uri, line) = (Some(line.to_owned()), number);
                    let done = std::mem::take(&mut open);
                    media.segments.push(Segment { uri, line, number: count, ..done });
                    count += 1;
                }
                continue;
            };
            let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
            media.tag(name, value, number, &mut open);
        }
        if open != Segment::default() {
            media.segments.push(Segment { number: count, ..open });
        }
        let first = media.sequence.saturating_add(media.skipped.unwrap_or(0));
        media.segments.iter_mut().for_each(|segment| segment.number = segment.number.saturating_add(first));
        media
    }

    fn tag(&mut self, name: &str, value: &str, line: usize, open: &mut Segment) {
        if let Some(known) = HEADER.iter().find(|known| **known == name) {
            let entry = self.header.entry(known).or_insert_with(|| (0, value.to_owned(), line));
            entry.0 += 1;
        }
        if !open.parts.is_empty()
            && matches!(name, "EXT-X-DISCONTINUITY" | "EXT-X-MAP" | "EXT-X-KEY" | "EXT-X-PROGRAM-DATE-TIME")
        {
            open.late_tag = open.late_tag.or(Some(line));
        }
        match name {
            "EXT-X-MEDIA-SEQUENCE" => self.sequence = self.whole(value, line),
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence = self.whole(value, line),
            "EXT-X-SERVER-CONTROL" => self.control = self.attributes(value, line),
            "EXT-X-PART-INF" => {
                self.part_target = self.attributes(value, line).attributes.micros("PART-TARGET");
            }
            "EXT-X-SKIP" => {
                let found = self.attributes(value, line).attributes;
                self.skipped = found.number("SKIPPED-SEGMENTS");
                self.removed_dateranges = found.get("RECENTLY-REMOVED-DATERANGES").map(str::to_owned);
            }
            "EXT-X-PRELOAD-HINT" => {
                let tag = self.attributes(value, line);
                self.hints.push(tag);
            }
            "EXT-X-RENDITION-REPORT" => {
                let tag = self.attributes(value, line);
                self.reports.push(tag);
            }
            "EXT-X-DATERANGE" => {
                let tag = self.attributes(value, line);
                self.dateranges.push(tag);
            }
            "EXT-X-START" => self.start = Some(self.attributes(value, line)),
            "EXT-X-ENDLIST" => self.ended = true,
            "EXT-X-DISCONTINUITY" => open.discontinuity = true,
            "EXT-X-GAP" => open.gap = true,
            "EXT-X-MAP" => open.map = self.attributes(value, line).attributes.get("URI").map(str::to_owned),
            "EXT-X-PROGRAM-DATE-TIME" => {
                open.date = date(value);
                if open.date.is_none() {
                    self.malformed.push((line, format!("{value:?} is no date with time and zone")));
                }
            }
            "EXTINF" => {
                open.duration = value.split(',').next().and_then(micros);
                if open.duration.is_none() {
                    self.malformed.push((line, format!("EXTINF of {value:?}")));
                }
            }
            "EXT-X-PART" => {
                let found = self.attributes(value, line).attributes;
                open.parts.push(Part {
                    line,
                    uri: found.get("URI").unwrap_or_default().to_owned(),
                    duration: found.micros("DURATION"),
                    independent: found.is("INDEPENDENT", "YES"),
                    gap: found.is("GAP", "YES"),
                    range: found.get("BYTERANGE").and_then(byte_range),
                });
            }
            _ => {}
        }
    }

    fn attributes(&mut self, value: &str, line: usize) -> Tag {
        let attributes = Attributes::parse(value).unwrap_or_else(|| {
            self.malformed.push((line, format!("no attribute list: {value:?}")));
            Attributes::default()
        });
        Tag { line, attributes }
    }

    fn whole(&mut self, value: &str, line: usize) -> u64 {
        value.parse().unwrap_or_else(|_| {
            self.malformed.push((line, format!("{value:?} is no decimal integer")));
            0
        })
    }

    /// A header tag's value.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.header.get(name).map(|(_, value, _)| value.as_str())
    }

    /// TARGETDURATION in seconds.
    pub(crate) fn target(&self) -> Option<i64> {
        self.value("EXT-X-TARGETDURATION")?.parse::<u32>().ok().map(i64::from)
    }

    /// Microseconds that it lists.
    pub(crate) fn length(&self) -> i64 {
        self.segments.iter().map(Segment::length).sum()
    }

    /// Segment and index of the newest part.
    pub(crate) fn newest_part(&self) -> Option<(u64, u64)> {
        let segment = self.segments.iter().rev().find(|segment| !segment.parts.is_empty())?;
        Some((segment.number, segment.parts.len().saturating_sub(1) as u64))
    }

    /// Segment and index of the part that comes next. An open segment may have no part yet.
    pub(crate) fn next_part(&self) -> (u64, usize) {
        match self.segments.last() {
            Some(last) if last.uri.is_none() => (last.number, last.parts.len()),
            Some(last) => (last.number.saturating_add(1), 0),
            None => (self.sequence, 0),
        }
    }
}

/// The first line, and what may stand nowhere.
pub(crate) fn first_line(text: &str, malformed: &mut Vec<(usize, String)>) {
    if text.lines().next() != Some("#EXTM3U") {
        malformed.push((1, "the first line is not #EXTM3U".into()));
    }
    for (at, line) in text.lines().enumerate() {
        // Date ranges that were removed are listed with tabs between them (4.4.5.2).
        let tabs = line.starts_with("#EXT-X-SKIP:");
        if line.chars().any(|c| c.is_control() && !(tabs && c == '\t')) || line.contains('\u{feff}') {
            malformed.push((at + 1, "a control character or byte order mark".into()));
        }
    }
}

/// A multivariant playlist.
#[derive(Debug, Clone, Default)]
pub(crate) struct Multivariant {
    pub(crate) malformed: Vec<(usize, String)>,
    pub(crate) independent_segments: bool,
    /// Variants with their addresses.
    pub(crate) variants: Vec<(Tag, String)>,
    pub(crate) groups: Vec<Tag>,
    pub(crate) iframes: Vec<Tag>,
}

impl Multivariant {
    pub(crate) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        first_line(text, &mut found.malformed);
        let mut variant: Option<Tag> = None;
        for (at, line) in text.lines().enumerate() {
            let Some(tag) = line.strip_prefix('#') else {
                if let Some(tag) = variant.take() {
                    found.variants.push((tag, line.to_owned()));
                }
                continue;
            };
            let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
            let wanted = matches!(name, "EXT-X-STREAM-INF" | "EXT-X-MEDIA" | "EXT-X-I-FRAME-STREAM-INF");
            found.independent_segments |= name == "EXT-X-INDEPENDENT-SEGMENTS";
            if !wanted {
                continue;
            }
            let Some(attributes) = Attributes::parse(value) else {
                found.malformed.push((at + 1, format!("no attribute list: {value:?}")));
                continue;
            };
            let tag = Tag { line: at + 1, attributes };
            match name {
                "EXT-X-STREAM-INF" => variant = Some(tag),
                "EXT-X-MEDIA" => found.groups.push(tag),
                _ => found.iframes.push(tag),
            }
        }
        found
    }

    /// The addresses of all media playlists but those of I-frames, each once.
    pub(crate) fn playlists(&self) -> Vec<String> {
        let groups = self.groups.iter().filter_map(|tag| tag.attributes.get("URI").map(str::to_owned));
        let mut all: Vec<String> = self.variants.iter().map(|(_, uri)| uri.clone()).chain(groups).collect();
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|uri| seen.insert(uri.clone()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_lists_are_read_strictly() {
        let list = Attributes::parse("URI=\"a,b=c\",DURATION=0.2,GAP=YES").unwrap();
        assert_eq!((list.get("URI"), list.micros("DURATION")), (Some("a,b=c"), Some(200_000)));
        for wrong in ["", "A", "A=", "A=1, B=2", "A=1,A=2", "a=1", "A=\"x", "A=\"x\"y", "A=1,"] {
            assert!(Attributes::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Attributes::parse("A=\"\"").is_some());
    }

    #[test]
    fn dates_are_microseconds_since_1970() {
        assert_eq!(date("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(date("2024-02-29T12:00:00.5+02:00"), Some(1_709_200_800_500_000));
        assert_eq!(date("2024-02-29T12:00:00"), None, "no zone");
        assert_eq!(date("soon"), None);
    }
}

//! The files of a rendition, by their names.

use std::cmp::Ordering;

use crate::core::snapshot::{FeedSnapshot, RenditionSnapshot};
use crate::store::Media;

/// The files of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileName {
    Init(u32),
    Segment(u64),
    Part(u64, usize),
}

impl FileName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(number) = name.strip_prefix("init").and_then(|rest| rest.strip_suffix(".mp4")) {
            return Some(Self::Init(decimal(number)?));
        }
        let numbers = name.strip_suffix(".m4s")?;
        match numbers.split_once('.') {
            Some((segment, part)) => Some(Self::Part(decimal(segment)?, decimal(part)?)),
            None => Some(Self::Segment(decimal(numbers)?)),
        }
    }

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Segment(_) => "segment",
            Self::Part(..) => "part",
        }
    }
}

/// One spelling a number: `007` and `+7` would be other cache keys for the same file.
fn decimal<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

pub(super) enum Found {
    Here(Media),
    /// It is the part that comes next.
    Hinted,
    /// It may come: nobody may keep that it is not there. Names can be guessed, and a cache that keeps this keeps the file from everybody.
    NotYet,
    /// It was not listed, or it is no longer there.
    Never,
}

pub(super) fn find(snapshot: &FeedSnapshot, rendition: &RenditionSnapshot, name: FileName) -> Found {
    let media = match name {
        FileName::Init(number) => rendition.init(number).map(|init| Media::Held(init.data.clone())),
        FileName::Segment(number) => {
            rendition.segment(number).filter(|segment| segment.complete).map(|segment| Media::of(segment))
        }
        FileName::Part(number, index) => {
            let part = rendition.segment(number).and_then(|segment| segment.parts.get(index));
            part.map(|part| Media::Held(part.data.clone()))
        }
    };
    match media {
        Some(media) if media.length() > 0 => Found::Here(media),
        // A gap, which nothing fills.
        Some(_) => Found::Never,
        None if snapshot.ended => Found::Never,
        None => missing(rendition, name),
    }
}

/// What is to be said of a file that is not there while the playlist grows.
fn missing(rendition: &RenditionSnapshot, name: FileName) -> Found {
    let next = rendition.next_part();
    let comes = match name {
        FileName::Part(number, index) => match (number, index as u64).cmp(&next) {
            Ordering::Equal => return Found::Hinted,
            order => order == Ordering::Greater,
        },
        FileName::Segment(number) => number >= next.0,
        FileName::Init(number) => rendition.newest_init().is_none_or(|newest| number > newest),
    };
    if comes { Found::NotYet } else { Found::Never }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::testing::{rendition, segment};

    fn look(ended: bool, last_is_whole: bool, file: &str) -> &'static str {
        let rendition = RenditionSnapshot {
            removed: vec![Arc::new(segment(2, 4, true))],
            ..rendition(vec![Arc::new(segment(3, 4, true)), Arc::new(segment(4, 2, last_is_whole))])
        };
        let snapshot = FeedSnapshot { ended, ..FeedSnapshot::default() };
        match find(&snapshot, &rendition, FileName::parse(file).unwrap()) {
            Found::Here(_) => "here",
            Found::Hinted => "hinted",
            Found::NotYet => "not yet",
            Found::Never => "never",
        }
    }

    #[test]
    fn what_may_still_come_is_told_from_what_never_will() {
        for (file, growing, whole, ended) in [
            ("2.m4s", "here", "here", "here"),
            ("4.1.m4s", "here", "here", "here"),
            ("1.m4s", "never", "never", "never"),
            ("3.4.m4s", "never", "never", "never"),
            ("4.m4s", "not yet", "here", "here"),
            ("4.2.m4s", "hinted", "never", "never"),
            ("4.3.m4s", "not yet", "never", "never"),
            ("5.m4s", "not yet", "not yet", "never"),
            ("5.0.m4s", "not yet", "hinted", "never"),
            ("9.7.m4s", "not yet", "not yet", "never"),
            ("init0.mp4", "here", "here", "here"),
            ("init1.mp4", "not yet", "not yet", "never"),
        ] {
            let found = [look(false, false, file), look(false, true, file), look(true, true, file)];
            assert_eq!(found, [growing, whole, ended], "{file}");
        }
    }
}

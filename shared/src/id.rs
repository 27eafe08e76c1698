//! Names and numbers that must not be mixed up: one type each.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The id of a feed: 1 to 64 characters of `A-Z a-z 0-9 - _ .`, not beginning with a dot. It stands in URLs as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeedId(Arc<str>);

/// Why a text is not a [`FeedId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a feed id: use 1 to 64 of A-Z a-z 0-9 - _ . and do not begin with a dot")]
pub struct BadFeedId(String);

impl FeedId {
    /// The id as it stands in URLs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text has the form of a feed id, in which `others` may stand as well.
pub(crate) fn has_form(text: &str, others: impl Fn(u8) -> bool) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.') || others(b);
    (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(known)
}

impl FromStr for FeedId {
    type Err = BadFeedId;

    fn from_str(text: &str) -> Result<Self, BadFeedId> {
        if has_form(text, |_| false) {
            Ok(Self(text.into()))
        } else {
            Err(BadFeedId(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for FeedId {
    type Error = BadFeedId;

    fn try_from(text: String) -> Result<Self, BadFeedId> {
        text.parse()
    }
}

impl From<FeedId> for String {
    fn from(id: FeedId) -> Self {
        id.0.as_ref().into()
    }
}

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// A track of a feed, counted from 0 in the order in which the feed first had them. Stays the same when a
    /// publisher returns with the same kind of track.
    TrackId(u8)
);
number!(
    /// One encoding of a track, counted from 0.
    RenditionId(u8)
);
number!(
    /// One publisher's stay on a feed, counted from 0. A stay has several when the publisher's clock jumps, or when another
    /// of its tracks begins to decide where segments begin.
    Epoch(u32)
);
number!(
    /// A segment of a feed: the same number in every rendition, decided by the feed's owner. HLS writes it as the
    /// Media Sequence Number.
    SegmentNumber(u64)
);

/// Which stream of a feed: a track in one of its encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct StreamKey {
    /// The track.
    pub track: TrackId,
    /// Its encoding.
    pub rendition: RenditionId,
}

impl StreamKey {
    /// The stream of `track` in encoding `rendition`.
    #[must_use]
    pub const fn new(track: TrackId, rendition: RenditionId) -> Self {
        Self { track, rendition }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.track, self.rendition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feed_ids_are_what_a_url_can_carry() {
        for good in ["a", "demo", "A-b_c.9", &"x".repeat(64)] {
            assert_eq!(good.parse::<FeedId>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "ä", "a%2f", &"x".repeat(65)] {
            assert!(bad.parse::<FeedId>().is_err(), "{bad}");
        }
    }
}

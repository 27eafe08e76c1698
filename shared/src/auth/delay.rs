//! Delay classes: viewers who must stay behind the live edge, and the addresses under which they find what is due for them.
//!
//! Names of segments and parts can be guessed, and caches give whatever they hold to everybody who asks for its name. So what a class may see has
//! addresses of its own, which nobody can guess, and there is nothing at them before it is due.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use ring::hmac;

use crate::id::{BadFeedId, FeedId};

/// How far behind a class may be.
pub const LONGEST_DELAY: Duration = Duration::from_secs(120);
/// The most classes.
pub const MOST_CLASSES: usize = 8;
/// Between a feed's id and the space of a class in an address: no id has it.
const BETWEEN: char = '~';

/// The classes that a server has, each with how far it is behind.
#[derive(Clone)]
pub struct DelayClasses {
    key: hmac::Key,
    classes: BTreeMap<String, Duration>,
}

/// Why a list of classes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadClasses {
    /// Not `NAME=SECONDS`.
    #[error("{0:?} is no delay class: write NAME=SECONDS, as in tv=7.5 (more than 0, at most {max})", max = LONGEST_DELAY.as_secs())]
    Form(String),
    /// Twice the same name.
    #[error("the delay class {0:?} is there twice")]
    Twice(String),
    /// More than [`MOST_CLASSES`].
    #[error("there are {0} delay classes; at most {MOST_CLASSES} can be kept")]
    TooMany(usize),
}

/// What a first part of an address under `/hls` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<'a> {
    /// The feed.
    pub feed: FeedId,
    /// The class whose space it is; none for the live edge.
    pub class: Option<&'a str>,
}

/// Why an address names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unnamed {
    /// No feed can be called so.
    Id(BadFeedId),
    /// There is no such space.
    Space(FeedId),
}

impl DelayClasses {
    /// Reads a list of `NAME=SECONDS`. The spaces are made from `secret`: under the same one they stay the same.
    ///
    /// # Errors
    /// A form that is not taken, a name that is there twice, too many.
    pub fn new(list: &[String], secret: &[u8]) -> Result<Self, BadClasses> {
        let mut classes = BTreeMap::new();
        if list.len() > MOST_CLASSES {
            return Err(BadClasses::TooMany(list.len()));
        }
        for item in list {
            let form = || BadClasses::Form(item.chars().take(80).collect());
            let (name, seconds) = item.split_once('=').ok_or_else(form)?;
            let (name, seconds) = (name.trim(), seconds.trim().parse::<f64>().map_err(|_| form())?);
            let behind = Duration::try_from_secs_f64(seconds).map_err(|_| form())?;
            if name.is_empty() || behind.is_zero() || behind > LONGEST_DELAY {
                return Err(form());
            }
            if classes.insert(name.to_owned(), behind).is_some() {
                return Err(BadClasses::Twice(name.to_owned()));
            }
        }
        // The secret may be the one that tokens are signed with: what is made of it here must be of no use there.
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"bicast delay classes");
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()), classes })
    }

    /// The classes, each with how far it is behind.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.classes.iter().map(|(name, behind)| (name.as_str(), *behind))
    }

    /// What stands for a feed in addresses of a class. None where there is no such class.
    #[must_use]
    pub fn address(&self, feed: &FeedId, class: &str) -> Option<String> {
        self.classes.contains_key(class).then(|| format!("{feed}{BETWEEN}{}", self.space(feed, class)))
    }

    /// What is named by what stands for a feed in an address.
    ///
    /// # Errors
    /// A text that no feed can be called by, and a space that is not there.
    pub fn read(&self, text: &str) -> Result<Named<'_>, Unnamed> {
        let Some((feed, space)) = text.split_once(BETWEEN) else {
            return Ok(Named { feed: text.parse().map_err(Unnamed::Id)?, class: None });
        };
        let feed: FeedId = feed.parse().map_err(Unnamed::Id)?;
        // The comparison takes as long whatever was sent: how much of a guess is right cannot be timed.
        let tag = decode(space).unwrap_or_default();
        let is_its = |class: &&String| hmac::verify(&self.key, &message(&feed, class), &tag).is_ok();
        let found = self.classes.keys().find(is_its);
        match found {
            Some(class) => Ok(Named { feed, class: Some(class) }),
            None => Err(Unnamed::Space(feed)),
        }
    }

    fn space(&self, feed: &FeedId, class: &str) -> String {
        let tag = hmac::sign(&self.key, &message(feed, class));
        tag.as_ref().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Neither an id nor a length has a zero byte in it: no two pairs have the same message.
fn message(feed: &FeedId, class: &str) -> Vec<u8> {
    [feed.as_str().as_bytes(), &[0], class.as_bytes()].concat()
}

/// The bytes that lower-case hexadecimal digits stand for: one spelling, one cache entry.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    // No address is longer than a tag.
    (text.len() == 64).then(|| pairs.collect())?
}

impl Default for DelayClasses {
    /// No classes.
    fn default() -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &[]), classes: BTreeMap::new() }
    }
}

impl fmt::Debug for DelayClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayClasses").field("classes", &self.classes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(list: &[&str], secret: &str) -> Result<DelayClasses, BadClasses> {
        let list: Vec<String> = list.iter().map(|&item| item.to_owned()).collect();
        DelayClasses::new(&list, secret.as_bytes())
    }

    #[test]
    fn an_address_names_its_feed_and_class_and_nothing_else_does() {
        let ours = classes(&["tv=7.5", "stadium = 30"], "secret").unwrap();
        let feed: FeedId = "demo".parse().unwrap();
        let tv = ours.address(&feed, "tv").unwrap();
        assert_eq!(ours.read(&tv), Ok(Named { feed: feed.clone(), class: Some("tv") }));
        assert_eq!(ours.read("demo"), Ok(Named { feed: feed.clone(), class: None }));
        assert_eq!(ours.address(&feed, "other"), None);
        let (_, space) = tv.split_once('~').unwrap();
        for other in [
            format!("other~{space}"),
            format!("demo~{}", space.to_uppercase()),
            format!("demo~{}", &space[..62]),
            format!("demo~{space}00"),
            "demo~".to_owned(),
            "demo~é".to_owned(),
        ] {
            assert!(matches!(ours.read(&other), Err(Unnamed::Space(_))), "{other}");
        }
        assert!(matches!(ours.read("a b"), Err(Unnamed::Id(_))));
        let again = classes(&["tv=9"], "secret").unwrap();
        assert_eq!(
            again.address(&feed, "tv").unwrap(),
            tv,
            "the secret and the names make it, over restarts"
        );
        let others = classes(&["tv=7.5"], "another").unwrap();
        assert_ne!(others.address(&feed, "tv").unwrap(), tv);
        assert_ne!(ours.address(&feed, "stadium").unwrap(), tv);
    }

    #[test]
    fn what_is_no_class_is_refused() {
        let refused = |list: &[&str]| classes(list, "").unwrap_err();
        for item in ["tv", "=5", "tv=", "tv=x", "tv=0", "tv=-1", "tv=121", "tv=inf", "tv=NaN"] {
            assert_eq!(refused(&[item]), BadClasses::Form(item.to_owned()), "{item}");
        }
        assert_eq!(refused(&["tv=1", "tv=2"]), BadClasses::Twice("tv".into()));
        let many: Vec<String> = (0..9).map(|n| format!("c{n}=1")).collect();
        assert_eq!(DelayClasses::new(&many, b"").unwrap_err(), BadClasses::TooMany(9));
    }
}

//! What a token says.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::feed::settings::FeedPattern;

/// The claims of a token. `aud`, `exp`, `feed` and `rights` must be there; claims that are not known are passed over (RFC 7519, 4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom it is for: this server's `auth.audience` must be among them.
    pub aud: Audience,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The viewer's id (or the publisher's, or the operator's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The token's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// When it was made, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_date")]
    pub iat: Option<i64>,
    /// Until when it holds, in seconds since 1970.
    #[serde(deserialize_with = "date")]
    pub exp: i64,
    /// From when on it holds, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_date")]
    pub nbf: Option<i64>,
    /// Which feeds it is for: `*` stands for any characters.
    pub feed: FeedPattern,
    /// How its holder may watch.
    #[serde(default)]
    pub tier: Tier,
    /// What its holder may do.
    pub rights: Vec<Right>,
    /// How many its holder may be at the same time on each path; any number where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewers: Option<u32>,
    /// Before whom its holder comes where there is too little room over WebRTC for all (0 to 255): a higher one first; 0 where it does not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u8,
    /// How far behind its holder has to stay, by the name of a delay class; not at all where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
}

/// One audience or several (RFC 7519, 4.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Audience {
    /// Whether this one is meant.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Several(several) => several.iter().any(|one| one == name),
        }
    }
}

/// How a viewer may watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Over HLS.
    #[default]
    Free,
    /// Over HLS and over WebRTC.
    Vip,
}

/// What a token's holder may do. None includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Send a feed in.
    Publish,
    /// Watch a feed.
    Watch,
    /// List feeds and viewers, end feeds, take tokens back.
    Admin,
}

impl Tier {
    /// Its name in tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Vip => "vip",
        }
    }
}

impl Right {
    /// Its name in tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Watch => "watch",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A NumericDate (RFC 7519, 2) may have a fraction, which is cut off.
fn date<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    /// The year 9999.
    const LAST: f64 = 253_402_300_799.0;
    let seconds = f64::deserialize(from)?;
    if !(0.0..=LAST).contains(&seconds) {
        return Err(serde::de::Error::custom(format!("{seconds} is not a number of seconds since 1970")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range")]
    Ok(seconds.floor() as i64)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(priority: &u8) -> bool {
    *priority == 0
}

fn some_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    date(from).map(Some)
}

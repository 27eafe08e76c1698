//! The one policy: a token's bytes in, what its holder may do out.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::claims::{Claims, Right, Tier};
use super::crypto::KNOWN;
use super::keys::{KeySet, Mismatch};
use super::refusal::Refusal;
use crate::feed::settings::FeedPattern;
use crate::id::FeedId;
use crate::time::ProgramTime;

/// The most bytes of a token. A sensible one has some hundreds.
pub const LONGEST_TOKEN: usize = 8 * 1024;
/// How far the clocks of who makes tokens and of this server may differ.
pub const LEEWAY: Duration = Duration::from_secs(2);
/// The most characters of a viewer's id, a token's id and a delay class.
pub const LONGEST_NAME: usize = 128;

/// What tokens must say beside their signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// This server's name, which must be among a token's `aud`.
    pub audience: String,
    /// Who must have made a token (`iss`); anybody with the key where it is empty.
    pub issuer: String,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Send a feed in (WHIP).
    Publish,
    /// Join a feed as a viewer of either path (REST).
    Join,
    /// Watch over WebRTC (WHEP).
    WatchRealtime,
    /// Watch over HLS.
    WatchHls,
    /// Read about a feed (REST).
    Read,
    /// List, end (REST).
    Administer,
    /// See and set what this server has room for (REST): it is for all feeds.
    Govern,
    /// Take back what others were given (REST): it may have been for any feed.
    TakeBack,
}

impl Act {
    /// The name for counts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Join => "join",
            Self::WatchRealtime => "watch-realtime",
            Self::WatchHls => "watch-hls",
            Self::Read => "read",
            Self::Administer => "administer",
            Self::Govern => "govern",
            Self::TakeBack => "take-back",
        }
    }

    /// What it is, behind "allow to".
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Join | Self::WatchRealtime | Self::WatchHls => "watch",
            Self::Read => "read about feeds",
            Self::Administer => "list or end feeds and viewers",
            Self::Govern => "see or set what this server has room for",
            Self::TakeBack => "take tokens back",
        }
    }

    /// The rights one of which is needed.
    pub(super) const fn rights(self) -> &'static [Right] {
        match self {
            Self::Publish => &[Right::Publish],
            Self::Join | Self::WatchRealtime | Self::WatchHls => &[Right::Watch],
            // Who publishes is told there what to set, and who administers sees it in the list.
            Self::Read => &[Right::Publish, Right::Watch, Right::Admin],
            Self::Administer | Self::Govern | Self::TakeBack => &[Right::Admin],
        }
    }
}

/// What a valid token's holder may do, until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The viewer's id.
    pub viewer: Option<Arc<str>>,
    /// The token's id.
    pub token: Option<Arc<str>>,
    /// Which feeds.
    pub feed: FeedPattern,
    /// How its holder may watch.
    pub tier: Tier,
    /// What its holder may do.
    pub rights: Vec<Right>,
    /// Seconds since 1970 at which it was made.
    pub issued: Option<i64>,
    /// Seconds since 1970 at which it expires.
    pub expires: i64,
    /// How many its holder may be at the same time on each path.
    pub viewers: Option<u32>,
    /// Before whom its holder comes where there is too little room.
    pub priority: u8,
    /// The delay class.
    pub delay: Option<String>,
}

/// What is read of a header. Keys that a token brings along (`jwk`, `jku`, `x5c`, …) are not looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

impl Policy {
    /// Checks a token: its form, its signature by one of `keys`, and that it holds `now` and here.
    ///
    /// # Errors
    /// The first thing that is wrong, in that order: nothing of a token is believed before its signature.
    pub fn verify(&self, keys: &KeySet, token: &[u8], now: ProgramTime) -> Result<Grant, Refusal> {
        let claims = signed(keys, token)?;
        let now = now.unix_seconds();
        let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or_default();
        if now >= claims.exp + leeway {
            return Err(Refusal::Expired(now - claims.exp));
        }
        if let Some(begins) = claims.nbf.filter(|begins| now + leeway < *begins) {
            return Err(Refusal::NotYet(begins - now));
        }
        if !claims.aud.includes(&self.audience) {
            return Err(Refusal::Audience(self.audience.clone()));
        }
        if !self.issuer.is_empty() && claims.iss.as_deref() != Some(self.issuer.as_str()) {
            return Err(Refusal::Issuer(self.issuer.clone()));
        }
        Grant::from(claims)
    }

    /// [`Self::verify`] and [`Grant::allows`] at once.
    ///
    /// # Errors
    /// As these.
    pub fn admit(
        &self,
        keys: &KeySet,
        token: Option<&[u8]>,
        now: ProgramTime,
        act: Act,
        feed: Option<&FeedId>,
    ) -> Result<Grant, Refusal> {
        let grant = self.verify(keys, token.ok_or(Refusal::Missing)?, now)?;
        grant.allows(act, feed)?;
        Ok(grant)
    }
}

/// The claims of a token that one of the keys has signed.
fn signed(keys: &KeySet, token: &[u8]) -> Result<Claims, Refusal> {
    if token.len() > LONGEST_TOKEN {
        return Err(Refusal::TooLong(token.len()));
    }
    let malformed = |why: &str| Refusal::Malformed(why.to_owned());
    let text = std::str::from_utf8(token).ok().filter(|text| text.is_ascii());
    let text = text.ok_or_else(|| malformed("it has characters that no token has"))?;
    let (message, signature) = text.rsplit_once('.').ok_or_else(|| malformed("it has no dots"))?;
    let (header, payload) = message
        .split_once('.')
        .filter(|(_, payload)| !payload.contains('.'))
        .ok_or_else(|| malformed("it has not three parts"))?;
    let decode = |part: &str, which: &str| {
        URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(&format!("its {which} is not base64url")))
    };
    let header: Header = serde_json::from_slice(&decode(header, "header")?)
        .map_err(|error| malformed(&format!("its header cannot be read ({error})")))?;
    if header.alg.eq_ignore_ascii_case("none") {
        return Err(Refusal::Unsigned);
    }
    if header.crit.is_some() {
        // What must be understood and is not has to be refused (RFC 7515, 4.1.11).
        return Err(malformed(
            "its header has extensions that must be understood (crit), which none are here",
        ));
    }
    let known = KNOWN.iter().find(|(name, _)| *name == header.alg);
    let algorithm = known.ok_or_else(|| Refusal::Algorithm(short(&header.alg)))?.1;
    // Checked as text by the keys; a form that cannot be decoded is no signature of theirs.
    keys.check(algorithm, header.kid.as_deref(), message.as_bytes(), signature).map_err(|mismatch| {
        match mismatch {
            Mismatch::UnknownKey => Refusal::UnknownKey(header.kid.as_deref().map(short)),
            Mismatch::Algorithm => Refusal::Algorithm(short(&header.alg)),
            Mismatch::Signature => Refusal::Forged,
        }
    })?;
    serde_json::from_slice(&decode(payload, "payload")?).map_err(|error| Refusal::Claims(error.to_string()))
}

/// As much of a text from outside as goes into a message.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

impl Grant {
    fn from(claims: Claims) -> Result<Self, Refusal> {
        let wrong = |why: &str| Err(Refusal::Claims(why.to_owned()));
        if claims.rights.is_empty() {
            return wrong("rights is empty: publish, watch, admin");
        }
        let names = [("sub", &claims.sub), ("jti", &claims.jti), ("delay", &claims.delay)];
        for (name, value) in names {
            let fits = |text: &String| {
                (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.contains(char::is_control)
            };
            if !value.as_ref().is_none_or(fits) {
                return wrong(&format!("{name} is 1 to {LONGEST_NAME} characters"));
            }
        }
        match (claims.viewers, &claims.sub) {
            (Some(0), _) => return wrong("viewers is 1 or more"),
            (Some(_), None) => return wrong("viewers without a sub: nobody is there to be counted"),
            _ => {}
        }
        Ok(Self {
            viewer: claims.sub.map(Into::into),
            token: claims.jti.map(Into::into),
            feed: claims.feed,
            tier: claims.tier,
            rights: claims.rights,
            issued: claims.iat,
            expires: claims.exp,
            viewers: claims.viewers,
            priority: claims.priority,
            delay: claims.delay,
        })
    }

    /// Whether its holder may do this, to this feed where it is about one.
    ///
    /// # Errors
    /// What does not reach so far.
    pub fn allows(&self, act: Act, feed: Option<&FeedId>) -> Result<(), Refusal> {
        if let Some(other) = feed.filter(|feed| !self.feed.matches(feed)) {
            return Err(Refusal::Feed(other.to_string()));
        }
        if !act.rights().iter().any(|right| self.rights.contains(right)) {
            return Err(Refusal::Right(act));
        }
        match act {
            Act::WatchRealtime if self.tier < Tier::Vip => Err(Refusal::Tier(self.tier)),
            // WebRTC is never behind. What is due for a class over HLS has addresses of its own, which the door knows.
            Act::WatchRealtime => self.delay.clone().map_or(Ok(()), |class| Err(Refusal::Delayed(class))),
            Act::Govern | Act::TakeBack if !self.feed.is_all() => Err(Refusal::Some(self.feed.clone())),
            Act::Publish
            | Act::Join
            | Act::WatchHls
            | Act::Read
            | Act::Administer
            | Act::Govern
            | Act::TakeBack => Ok(()),
        }
    }

    /// As what its holder may watch: who has to stay behind watches over HLS, whatever its tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        if self.delay.is_some() { Tier::Free } else { self.tier }
    }

    /// Whether it has expired, with the [`LEEWAY`] that it began with.
    #[must_use]
    pub fn has_expired(&self, now: ProgramTime) -> bool {
        let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or_default();
        now.unix_seconds() >= self.expires + leeway
    }
}

//! Why somebody may not do something, told so that it can be put right.

use crate::feed::settings::FeedPattern;
use crate::problem::Problem;

use super::claims::Tier;
use super::policy::{Act, LONGEST_TOKEN};

/// Why not. Each has a kind of problem of its own, and a name for counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token.
    Missing,
    /// It is longer than [`LONGEST_TOKEN`].
    TooLong(usize),
    /// It is no JWT.
    Malformed(String),
    /// It says that it is not signed (`alg: none`).
    Unsigned,
    /// It is signed with an algorithm that is not taken, or not with that of its key.
    Algorithm(String),
    /// It names a key that is not known, or none and no key fits.
    UnknownKey(Option<String>),
    /// Its signature is not that of its key.
    Forged,
    /// Its claims are not what they must be.
    Claims(String),
    /// It has expired, so many seconds ago.
    Expired(i64),
    /// It begins to hold in so many seconds.
    NotYet(i64),
    /// It is for somebody else.
    Audience(String),
    /// It was made by somebody else.
    Issuer(String),
    /// It was taken back.
    Revoked,
    /// It is for other feeds.
    Feed(String),
    /// It is for some feeds only, and this is about all.
    Some(FeedPattern),
    /// It does not allow this.
    Right(Act),
    /// Its tier does not allow this.
    Tier(Tier),
    /// Its holder has to stay behind, and this would not.
    Delayed(String),
    /// Its holder is here as often as it may be.
    Viewers(u32),
    /// Who decides has said no, and why where it says so.
    Denied(String),
    /// Who decides does not answer.
    Undecided,
}

impl Refusal {
    /// The name for counts and logs: the end of the problem's kind.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong(_) => "too-long",
            Self::Malformed(_) => "malformed",
            Self::Unsigned => "unsigned",
            Self::Algorithm(_) => "algorithm",
            Self::UnknownKey(_) => "unknown-key",
            Self::Forged => "forged",
            Self::Claims(_) => "claims",
            Self::Expired(_) => "expired",
            Self::NotYet(_) => "not-yet",
            Self::Audience(_) => "audience",
            Self::Issuer(_) => "issuer",
            Self::Revoked => "revoked",
            Self::Feed(_) => "feed",
            Self::Some(_) => "some-feeds",
            Self::Right(_) => "right",
            Self::Tier(_) => "tier",
            Self::Delayed(_) => "delayed",
            Self::Viewers(_) => "viewers",
            Self::Denied(_) => "denied",
            Self::Undecided => "undecided",
        }
    }

    /// Counts it.
    pub fn count(&self, act: Act) {
        let labels = [("act", act.name()), ("reason", self.name())];
        metrics::counter!("bicast_auth_refusals_total", &labels).increment(1);
    }

    /// 401 where another token is needed, 403 where this one is good and does not reach so far (RFC 6750, 3.1), 503 where nobody
    /// decides.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Feed(_)
            | Self::Some(_)
            | Self::Right(_)
            | Self::Tier(_)
            | Self::Delayed(_)
            | Self::Viewers(_)
            | Self::Denied(_) => 403,
            Self::Undecided => 503,
            _ => 401,
        }
    }

    /// What was wrong.
    fn detail(&self) -> String {
        match self {
            Self::Missing => "This server wants a token, and there is none.".into(),
            Self::TooLong(bytes) => {
                format!("The token has {bytes} bytes; at most {LONGEST_TOKEN} are looked at.")
            }
            Self::Malformed(why) => format!("The token is not a JSON Web Token: {why}."),
            Self::Unsigned => "The token is not signed (alg is none): anybody could have made it.".into(),
            Self::Algorithm(name) => {
                format!("The token is signed with {name}, which is not taken, or not for its key.")
            }
            Self::UnknownKey(Some(id)) => {
                format!("The token is signed with the key {id:?}, which is not known here.")
            }
            Self::UnknownKey(None) => "The token is signed with a key that is not known here.".into(),
            Self::Forged => "The token's signature is not that of its key.".into(),
            Self::Claims(why) => format!("The token's claims cannot be used: {why}."),
            Self::Expired(seconds) => format!("The token has expired {seconds} s ago."),
            Self::NotYet(seconds) => format!("The token does not hold yet: it will in {seconds} s."),
            Self::Audience(wanted) => {
                format!("The token is not for this server, which is called {wanted:?}.")
            }
            Self::Issuer(wanted) => format!("The token was not made by {wanted:?}."),
            Self::Revoked => "The token was taken back.".into(),
            Self::Feed(feed) => format!("The token is not for the feed {feed}."),
            Self::Some(pattern) => {
                format!("The token is for the feeds {pattern}, and this is about all feeds.")
            }
            Self::Right(act) => format!("The token does not allow to {}.", act.words()),
            Self::Tier(tier) => format!("The token is of the tier {tier}, which does not watch over WebRTC."),
            Self::Delayed(class) => {
                format!(
                    "The token's holder has to stay behind (delay class {class:?}), and this is at the live edge, or there is no such class here."
                )
            }
            Self::Denied(why) if why.is_empty() => {
                "Who decides about this server's feeds has said no.".into()
            }
            Self::Denied(why) => {
                format!("Who decides about this server's feeds has said no: {}.", why.trim_end_matches('.'))
            }
            Self::Undecided => {
                "Who decides about this server's feeds does not answer, so nobody is let in.".into()
            }
            Self::Viewers(most) => {
                format!("The token's holder watches {most} times already, which is all it may.")
            }
        }
    }

    /// What to do.
    fn hint(&self) -> &'static str {
        match self {
            Self::Missing => {
                "Send it as Authorization: Bearer TOKEN; for HLS also in the path: /t/TOKEN/hls/{feed}/multivariant.m3u8."
            }
            Self::TooLong(_) => "Put less into it: a feed, rights, an expiry.",
            Self::Malformed(_) => {
                "Send all three parts of it, as its maker gave it. `bicast token inspect` shows what it says."
            }
            Self::Unsigned | Self::Algorithm(_) => {
                "Sign it with HS256, RS256, ES256 or EdDSA, as the key here says."
            }
            Self::UnknownKey(_) => {
                "Sign it with a key of this server (settings auth.secret, auth.jwks_file, auth.jwks_url), under its kid."
            }
            Self::Forged => {
                "Sign it with the same key as this server has. `bicast token mint` makes one that fits."
            }
            Self::Claims(_) => {
                "`bicast token mint` makes one as it should be; docs/tokens.md lists the claims."
            }
            Self::Expired(_) | Self::Revoked => "Get a new one.",
            Self::NotYet(_) => "Wait, or set the clock of the machine that makes tokens.",
            Self::Audience(_) => "Set its aud, or auth.audience here.",
            Self::Issuer(_) => "Set its iss, or auth.issuer here.",
            Self::Feed(_) => "Use one whose feed claim matches this feed.",
            Self::Some(_) => "Use one whose feed claim is *.",
            Self::Right(_) => "Use one with that right.",
            Self::Tier(_) => {
                "Watch over HLS (GET /hls/{feed}/multivariant.m3u8), or use a token of the tier vip."
            }
            Self::Delayed(_) => {
                "Watch over HLS from /hls/{feed}/multivariant.m3u8, which leads to what is due. The classes are auth.delay_classes."
            }
            Self::Denied(_) => "Ask whoever gave you the token.",
            Self::Undecided => "Try again in a few seconds. The setting is auth.webhook_url.",
            Self::Viewers(_) => "Stop watching elsewhere, and try again after half a minute.",
        }
    }

    /// The whole of it as problem+json.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let title = match self.status() {
            503 => "Not decided",
            403 => "Not allowed",
            _ => "No valid token",
        };
        let problem = Problem::new(self.status(), &format!("token-{}", self.name()), title, self.detail());
        let problem = problem.hint(self.hint());
        match self {
            Self::Feed(feed) => problem.with("feed", feed.as_str()),
            Self::Right(act) => {
                problem.with("needs", act.rights().iter().map(|right| right.name()).collect::<Vec<_>>())
            }
            Self::Tier(_) => problem.with("needs", Tier::Vip.name()),
            _ => problem,
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, 3). Without a token it names no error.
    #[must_use]
    pub fn challenge(&self) -> String {
        let error = match self {
            Self::Missing | Self::Undecided => return "Bearer realm=\"bicast\"".into(),
            _ if self.status() == 403 => "insufficient_scope",
            _ => "invalid_token",
        };
        // Parts of the token stand in it: no more than the grammar lets through.
        let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let description: String = self.detail().chars().filter(|c| plain(*c)).take(200).collect();
        format!("Bearer realm=\"bicast\", error=\"{error}\", error_description=\"{description}\"")
    }
}

#[cfg(feature = "io")]
impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> axum::response::Response {
        use axum::http::{HeaderValue, header};
        let mut response = self.problem().into_response();
        let headers = response.headers_mut();
        if let Ok(challenge) = HeaderValue::from_str(&self.challenge()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        // Under the same address the next one may be let in.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

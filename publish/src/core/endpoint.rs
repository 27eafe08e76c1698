//! The address of a WHIP endpoint, and the addresses a server answers with.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The URL to publish to: `http://` or `https://`, with a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Why a text is not an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a WHIP address ({why}): write it like http://127.0.0.1:8080/whip/demo")]
pub struct BadEndpoint {
    text: String,
    why: String,
}

impl Endpoint {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Scheme, host and port, for messages: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Host and port, as a resolver wants them; none for a URL without a host, which there is none of.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(String, u16)> {
        let host = match self.0.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        Some((host, self.0.port_or_known_default()?))
    }

    /// What a `Location` header of an answer from this endpoint means (RFC 9110, 10.2.2: it may be relative); none
    /// when it is no http address.
    #[must_use]
    pub fn resolve(&self, location: &str) -> Option<Self> {
        let url = self.0.join(location).ok()?;
        matches!(url.scheme(), "http" | "https").then_some(Self(url))
    }

    /// Whether `other` is on the same scheme, host and port: only then may it see the token.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = |why: &str| BadEndpoint { text: text.chars().take(200).collect(), why: why.into() };
        let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("it begins with neither http:// nor https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("a name or password in it would end up in logs, use --token"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn only_http_addresses_are_taken() {
        for good in
            ["http://127.0.0.1:8080/whip/demo", "https://live.example/whip/a?x=1", "http://[::1]:8080/whip/b"]
        {
            assert_eq!(endpoint(good).as_str(), good);
        }
        for bad in
            ["", "demo", "127.0.0.1:8080/whip/demo", "rtmp://a/b", "http://", "http://me:pw@host/whip/a"]
        {
            let text = bad.parse::<Endpoint>().unwrap_err().to_string();
            assert!(text.contains("http://127.0.0.1:8080/whip/demo"), "{text}");
        }
    }

    #[test]
    fn locations_may_be_relative() {
        let base = endpoint("http://h:8080/whip/demo");
        let at = |location: &str| base.resolve(location).map(|url| url.to_string());
        assert_eq!(at("/whip/demo/7").as_deref(), Some("http://h:8080/whip/demo/7"));
        assert_eq!(at("demo/7").as_deref(), Some("http://h:8080/whip/demo/7"));
        assert_eq!(at("https://x/y").as_deref(), Some("https://x/y"));
        assert_eq!(at("ftp://x/y"), None);
        assert!(base.same_origin(&endpoint("http://h:8080/other")));
        assert!(!base.same_origin(&endpoint("http://h:8081/whip/demo")));
    }

    #[test]
    fn resolvers_get_addresses_without_brackets() {
        assert_eq!(endpoint("http://[::1]:8080/a").host_and_port(), Some(("::1".into(), 8080)));
        assert_eq!(endpoint("https://live.example/a").host_and_port(), Some(("live.example".into(), 443)));
    }
}

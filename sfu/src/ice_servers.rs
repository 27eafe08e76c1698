//! STUN and TURN servers that peers are told of, in the `Link` headers of our answers (RFC 9725, 4.6).
//!
//! We need none of them: this server is reached at its own addresses. They are for peers whose way here leads through a
//! relay.

use std::fmt::{self, Write as _};

use axum::http::HeaderValue;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

/// A STUN or TURN server. In the configuration also its URL alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp`, or with TLS `stuns:` and `turns:` (RFC 7064, 7065).
    pub url: String,
    /// The user name for TURN.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The password for TURN. Everybody who may publish or watch is told it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub credential: String,
}

/// What is wrong with a server of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error(
        "write stun:HOST, stuns:HOST, turn:HOST or turns:HOST, with :PORT and ?transport=tcp where needed"
    )]
    Url,
    #[error("a TURN server needs a username and a credential")]
    NoCredential,
    #[error("a STUN server takes no username and no credential")]
    NeedlessCredential,
    #[error("username and credential may have letters, digits and signs of ASCII only")]
    Unprintable,
}

impl IceServer {
    /// The value of its `Link` header.
    pub(crate) fn link(&self) -> Result<HeaderValue, Wrong> {
        let (scheme, rest) = self.url.split_once(':').ok_or(Wrong::Url)?;
        let is_turn = match scheme {
            "turn" | "turns" => true,
            "stun" | "stuns" => false,
            _ => return Err(Wrong::Url),
        };
        // What may stand in a URI of these schemes: host, port, query. Above all nothing that ends the brackets.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]?=%".contains(&b);
        if rest.is_empty() || rest.starts_with('/') || !rest.bytes().all(is_plain) {
            return Err(Wrong::Url);
        }
        let has_credential = !self.username.is_empty() && !self.credential.is_empty();
        match (is_turn, has_credential) {
            (true, false) => return Err(Wrong::NoCredential),
            (false, _) if !self.username.is_empty() || !self.credential.is_empty() => {
                return Err(Wrong::NeedlessCredential);
            }
            _ => {}
        }
        let mut text = format!("<{}>; rel=\"ice-server\"", self.url);
        if is_turn {
            // Writing to a String cannot fail.
            let _ = write!(text, "; username={}", quoted(&self.username)?);
            let _ = write!(text, "; credential={}; credential-type=\"password\"", quoted(&self.credential)?);
        }
        HeaderValue::from_str(&text).map_err(|_| Wrong::Unprintable)
    }
}

/// A quoted string (RFC 9110, 5.6.4).
fn quoted(text: &str) -> Result<String, Wrong> {
    if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(Wrong::Unprintable);
    }
    let mut out = String::from('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    Ok(out)
}

impl<'de> Deserialize<'de> for IceServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ServerVisitor)
    }
}

struct ServerVisitor;

impl<'de> Visitor<'de> for ServerVisitor {
    type Value = IceServer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL like \"stun:HOST\", or { url, username, credential }")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<IceServer, E> {
        Ok(IceServer { url: url.to_owned(), username: String::new(), credential: String::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IceServer, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            url: String,
            #[serde(default)]
            username: String,
            #[serde(default)]
            credential: String,
        }
        let Whole { url, username, credential } = Whole::deserialize(MapAccessDeserializer::new(map))?;
        Ok(IceServer { url, username, credential })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn turn(url: &str, username: &str, credential: &str) -> IceServer {
        IceServer { url: url.into(), username: username.into(), credential: credential.into() }
    }

    #[test]
    fn links_read_as_in_the_rfc() {
        let link = |server: IceServer| server.link().unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            link(turn("stun:stun.example.net", "", "")),
            "<stun:stun.example.net>; rel=\"ice-server\""
        );
        assert_eq!(
            link(turn("turn:turn.example.net?transport=udp", "user", "myPassword")),
            "<turn:turn.example.net?transport=udp>; rel=\"ice-server\"; username=\"user\"; \
             credential=\"myPassword\"; credential-type=\"password\""
        );
        let odd = link(turn("turns:[2001:db8::1]:443", "a\"b", "c\\; d"));
        assert!(odd.contains(r#"username="a\"b"; credential="c\\; d";"#), "{odd}");
    }

    #[test]
    fn what_is_no_server_is_told() {
        let wrong =
            |url: &str, username: &str, credential: &str| turn(url, username, credential).link().err();
        for url in ["", "stun", "stun:", "https://x", "stun://x", "stun:a b", "stun:a>; rel=\"x", "stun:ä"] {
            assert_eq!(wrong(url, "", ""), Some(Wrong::Url), "{url:?}");
        }
        assert_eq!(wrong("turn:a", "", ""), Some(Wrong::NoCredential));
        assert_eq!(wrong("turn:a", "user", ""), Some(Wrong::NoCredential));
        assert_eq!(wrong("stun:a", "user", "word"), Some(Wrong::NeedlessCredential));
        assert_eq!(wrong("turn:a", "user", "w\r\nSet-Cookie: x"), Some(Wrong::Unprintable));
    }

    #[test]
    fn a_server_is_written_as_its_url_or_as_a_table() {
        let stun = turn("stun:a", "", "");
        assert_eq!(from_value::<IceServer>(json!("stun:a")).unwrap(), stun);
        assert_eq!(from_value::<IceServer>(json!({ "url": "stun:a" })).unwrap(), stun);
        let relay = turn("turn:a", "u", "c");
        let written = json!({ "url": "turn:a", "username": "u", "credential": "c" });
        assert_eq!(from_value::<IceServer>(written).unwrap(), relay);
        for server in [stun, relay] {
            assert_eq!(from_value::<IceServer>(to_value(&server).unwrap()).unwrap(), server);
        }
        let error = from_value::<IceServer>(json!({ "urls": "stun:a" })).unwrap_err().to_string();
        assert!(error.contains("unknown field `urls`"), "{error}");
    }
}

//! The `[auth]` section.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use bicast_publish::core::endpoint::Endpoint;
use bicast_shared::auth::{DelayClasses, LEAST_SECRET};
use serde::{Deserialize, Serialize};

use super::{Invalid, in_range};

/// Settings of tokens: the keys that they are signed with, and what they must say. With any key, every door wants a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Whether to run without keys where others than this machine can reach it: everybody may publish, watch and end feeds.
    pub open: bool,
    /// A secret for HS256, 32 bytes or more.
    pub secret: Secret,
    /// A file with that secret, without the line's end. Read again when it has changed.
    pub secret_file: PathBuf,
    /// A file with a JWK set. Read again when it has changed.
    pub jwks_file: PathBuf,
    /// Where a JWK set is fetched: https, or http on this machine.
    pub jwks_url: String,
    /// Seconds after which it is fetched again (10 to 86,400); sooner where a token names a key that is not known.
    pub jwks_refresh: f64,
    /// Who decides, after the token was found good, whether somebody may publish or watch: asked by POST (https, or http on this
    /// machine). Empty: the token alone.
    pub webhook_url: String,
    /// Seconds that it may take to answer (0.1 to 10); it is asked twice.
    pub webhook_timeout: f64,
    /// This server's name, which tokens must have in their `aud`.
    pub audience: String,
    /// Who must have made the tokens (`iss`). Empty: anybody with the key.
    pub issuer: String,
    /// A file where it is written down what was taken back, so that a restart does not forget it. Empty: in memory only.
    pub revocations_file: PathBuf,
    /// Delay classes, `NAME=SECONDS` each (more than 0, at most 120): a token whose `delay` is such a name watches over HLS, so many seconds behind the
    /// live edge. At most 8; each keeps what is not due yet in memory.
    pub delay_classes: Vec<String>,
}

/// A text that no log prints.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(..)" })
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            open: false,
            secret: Secret::default(),
            secret_file: PathBuf::new(),
            jwks_file: PathBuf::new(),
            jwks_url: String::new(),
            jwks_refresh: 300.0,
            webhook_url: String::new(),
            webhook_timeout: 2.0,
            audience: "bicast".into(),
            issuer: String::new(),
            revocations_file: PathBuf::new(),
            delay_classes: Vec::new(),
        }
    }
}

impl AuthConfig {
    /// Whether keys are named, wherever they come from.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        let named = |file: &Path| !file.as_os_str().is_empty();
        !self.secret.reveal().is_empty()
            || named(&self.secret_file)
            || named(&self.jwks_file)
            || !self.jwks_url.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        let wrong = |key, message: String| Err(Invalid { key: Cow::Borrowed(key), message });
        let secret = self.secret.reveal();
        if !secret.is_empty() && secret.len() < LEAST_SECRET {
            let message = format!("it has {} bytes; HS256 needs {LEAST_SECRET} or more", secret.len());
            return wrong("auth.secret", message);
        }
        if !secret.is_empty() && !self.secret_file.as_os_str().is_empty() {
            return wrong("auth.secret_file", "auth.secret is set as well: one of the two".into());
        }
        if self.open && self.has_keys() {
            return wrong("auth.open", "keys are set as well, and with keys every door wants a token".into());
        }
        for (key, url) in [("auth.jwks_url", &self.jwks_url), ("auth.webhook_url", &self.webhook_url)] {
            if !url.is_empty() && !url.parse::<Endpoint>().is_ok_and(|url| is_private(&url)) {
                let message = format!(
                    "{url:?} is not taken: write https://HOST/…, or http:// for a server on this machine (on any way from \
                     elsewhere the answer could be exchanged)"
                );
                return wrong(key, message);
            }
        }
        if !self.webhook_url.is_empty() && !self.has_keys() {
            return wrong("auth.webhook_url", "it decides about good tokens, and no keys are set".into());
        }
        if self.audience.is_empty() {
            return wrong("auth.audience", "it is empty, so no token could be for this server".into());
        }
        if let Err(error) = DelayClasses::new(&self.delay_classes, &[]) {
            return wrong("auth.delay_classes", error.to_string());
        }
        if !self.delay_classes.is_empty() && !self.has_keys() {
            return wrong("auth.delay_classes", "tokens say who is of a class, and no keys are set".into());
        }
        in_range("auth.webhook_timeout", self.webhook_timeout, 0.1, 10.0, " s")?;
        in_range("auth.jwks_refresh", self.jwks_refresh, 10.0, 86_400.0, " s")
    }
}

/// Whether nobody can exchange what comes from there.
fn is_private(url: &Endpoint) -> bool {
    let local = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.as_str().starts_with("https:") || url.host_and_port().is_some_and(|(host, _)| local(&host))
}

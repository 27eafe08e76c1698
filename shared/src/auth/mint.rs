//! Tokens made and signed, and looked into.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

use super::claims::Claims;
use super::keys::long_enough;
use super::policy::LONGEST_TOKEN;
use super::{BadKeys, crypto};

/// Signs tokens.
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    id: Option<String>,
}

/// Why tokens cannot be signed with something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSigner {
    /// Too short a secret.
    #[error(transparent)]
    Secret(#[from] BadKeys),
    /// Not a private key, or one of another kind.
    #[error(
        "it is not a private key in PEM (PKCS#8, `BEGIN PRIVATE KEY`) for Ed25519, P-256 or RSA with 2048 bits or more"
    )]
    NotAKey,
    /// The token could not be signed.
    #[error("the token cannot be signed: {0}")]
    Failed(String),
}

impl Signer {
    /// With a secret (HS256).
    ///
    /// # Errors
    /// Where it is shorter than [`LEAST_SECRET`](super::LEAST_SECRET).
    pub fn secret(secret: &[u8]) -> Result<Self, BadSigner> {
        crypto::install();
        long_enough(secret)?;
        Ok(Self { key: EncodingKey::from_secret(secret), algorithm: Algorithm::HS256, id: None })
    }

    /// With a private key in PEM, PKCS#8 as `openssl genpkey` writes it. Its kind says the algorithm: EdDSA, ES256 or RS256.
    ///
    /// # Errors
    /// Where it is none of these.
    pub fn pem(text: &str) -> Result<Self, BadSigner> {
        crypto::install();
        let body: Option<String> = text
            .split_once("-----BEGIN PRIVATE KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
            .map(|(body, _)| body.split_whitespace().collect());
        let der = body.and_then(|body| STANDARD.decode(body).ok()).ok_or(BadSigner::NotAKey)?;
        let candidates = [
            (Algorithm::EdDSA, EncodingKey::from_ed_der(&der)),
            (Algorithm::ES256, EncodingKey::from_ec_der(&der)),
            (Algorithm::RS256, EncodingKey::from_rsa_der(&der)),
        ];
        let fits = |(algorithm, key): &(Algorithm, EncodingKey)| {
            jsonwebtoken::crypto::sign(b"", key, *algorithm).is_ok()
        };
        let (algorithm, key) = candidates.into_iter().find(fits).ok_or(BadSigner::NotAKey)?;
        Ok(Self { key, algorithm, id: None })
    }

    /// Names the key in tokens (`kid`).
    #[must_use]
    pub fn named(mut self, id: Option<String>) -> Self {
        self.id = id;
        self
    }

    /// A token that says this.
    ///
    /// # Errors
    /// Where the key cannot sign.
    pub fn sign(&self, claims: &Claims) -> Result<String, BadSigner> {
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.id);
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|error| BadSigner::Failed(error.to_string()))
    }
}

/// What a token says, unchecked.
#[derive(Debug, Clone, PartialEq)]
pub struct Unchecked {
    /// Its header.
    pub header: Value,
    /// Its claims.
    pub claims: Value,
}

/// What a token says, whoever has signed it: for people to look at. None where it is no token at all.
#[must_use]
pub fn look_inside(token: &str) -> Option<Unchecked> {
    let mut parts = Some(token).filter(|token| token.len() <= LONGEST_TOKEN)?.split('.');
    let mut part = || serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok();
    let (header, claims) = (part()?, part()?);
    (parts.count() == 1).then_some(Unchecked { header, claims })
}

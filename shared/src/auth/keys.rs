//! The keys that tokens are checked with. A key has one algorithm, whatever a token's header says (RFC 8725, 3.1): otherwise a public
//! key could be used as the secret of an HMAC.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::crypto;

/// The least bytes of a secret: as many as the hash has (RFC 7518, 3.2).
pub const LEAST_SECRET: usize = 32;
/// The most keys of a set. A token that names none is tried with every one of its algorithm.
pub const MOST_KEYS: usize = 32;

/// One key.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.algorithm)
    }
}

/// Whether a set may have secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// It lies on this machine.
    Allowed,
    /// It is published somewhere: everybody knows what stands in it.
    Passed,
}

/// Why there are no keys in what should have some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// Not JSON, or JSON of something else.
    #[error("it is not a JWK set (RFC 7517): {0}")]
    NotASet(String),
    /// No key that could be used.
    #[error("there is no key in it that can be used{}", .0.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    NoKey(Option<String>),
    /// Too many keys.
    #[error("there are {0} keys in it; at most {MOST_KEYS} are taken")]
    TooMany(usize),
    /// Too short a secret.
    #[error(
        "the secret has {0} bytes; HS256 needs {LEAST_SECRET} or more (`openssl rand -hex 32` makes one)"
    )]
    ShortSecret(usize),
}

/// All keys in force.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

impl Key {
    /// A secret for HS256, without an id: it is tried with every token of that algorithm that names no other key.
    ///
    /// # Errors
    /// Where it is shorter than [`LEAST_SECRET`].
    pub fn secret(secret: &[u8]) -> Result<Self, BadKeys> {
        crypto::install();
        long_enough(secret)?;
        Ok(Self { id: None, algorithm: Algorithm::HS256, decoding: DecodingKey::from_secret(secret) })
    }

    /// The key of a JWK, or why it cannot be used.
    fn of(jwk: &Jwk, secrets: Secrets) -> Result<Self, String> {
        let common = &jwk.common;
        let (algorithm, fits) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            AlgorithmParameters::OctetKey(_) if secrets == Secrets::Passed => {
                return Err("a secret in a published set is no secret".into());
            }
            AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
            _ => return Err("its type or curve is not RSA, P-256, Ed25519 or oct".into()),
        };
        if common.key_algorithm.is_some_and(|named| named != fits) {
            return Err(format!("its alg is not {fits}, the only one for such a key here"));
        }
        if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return Err("it is not for signatures (use)".into());
        }
        if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return Err("it is not for verifying (key_ops)".into());
        }
        let decoding = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
        check_size(algorithm, &decoding)?;
        Ok(Self { id: common.key_id.clone(), algorithm, decoding })
    }

    /// Whether this signature of `message` is this key's.
    fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.decoding, self.algorithm).unwrap_or(false)
    }
}

/// # Errors
/// [`BadKeys::ShortSecret`]
pub(super) const fn long_enough(secret: &[u8]) -> Result<(), BadKeys> {
    if secret.len() < LEAST_SECRET { Err(BadKeys::ShortSecret(secret.len())) } else { Ok(()) }
}

/// A key of another size would only ever say "forged".
fn check_size(algorithm: Algorithm, key: &DecodingKey) -> Result<(), String> {
    use jsonwebtoken::DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
    let fits = match (algorithm, key.kind()) {
        (Algorithm::RS256, RsaModulusExponent { n, .. }) => (256..=1024).contains(&n.len()),
        (Algorithm::ES256, SecretOrDer(point)) => point.len() == 65,
        (Algorithm::EdDSA, SecretOrDer(x)) => x.len() == 32,
        (Algorithm::HS256, SecretOrDer(secret)) => secret.len() >= LEAST_SECRET,
        _ => false,
    };
    if fits { Ok(()) } else { Err("its size is wrong (RSA takes 2048 bits and more, oct 256)".into()) }
}

impl KeySet {
    /// The keys of a JWK set, and why others of it are passed over: sets may hold keys for other purposes (RFC 7517, 5).
    ///
    /// # Errors
    /// Where it is none, or none of its keys can be used.
    pub fn from_jwks(text: &[u8], secrets: Secrets) -> Result<(Self, Vec<String>), BadKeys> {
        crypto::install();
        let set: Set = serde_json::from_slice(text).map_err(|error| BadKeys::NotASet(error.to_string()))?;
        if set.keys.len() > MOST_KEYS {
            return Err(BadKeys::TooMany(set.keys.len()));
        }
        let (mut keys, mut passed) = (Vec::new(), Vec::new());
        for (n, value) in set.keys.into_iter().enumerate() {
            let name =
                value["kid"].as_str().map_or_else(|| format!("key {}", n + 1), |id| format!("key {id:.40?}"));
            let key = serde_json::from_value::<Jwk>(value).map_err(|error| error.to_string());
            match key.and_then(|jwk| Key::of(&jwk, secrets)) {
                Ok(key) => keys.push(key),
                Err(why) => passed.push(format!("{name}: {why}")),
            }
        }
        if keys.is_empty() {
            return Err(BadKeys::NoKey(passed.into_iter().next()));
        }
        Ok((Self { keys }, passed))
    }

    /// Adds a key.
    #[must_use]
    pub fn with(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// These keys and those of another set.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.keys.extend(other.keys.iter().cloned());
        self
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks a signature. The key that a token names is the only one that may have signed it, unless none has an id of that name and
    /// there are keys without one: a token's `kid` means nothing to those.
    pub(super) fn check(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &str,
    ) -> Result<(), Mismatch> {
        let named = self.keys.iter().any(|key| id.is_some() && key.id.as_deref() == id);
        let of_that_name = |key: &&Key| match id {
            Some(_) if named => key.id.as_deref() == id,
            Some(_) => key.id.is_none(),
            None => true,
        };
        let mut found = self.keys.iter().filter(of_that_name).peekable();
        if found.peek().is_none() {
            return Err(Mismatch::UnknownKey);
        }
        let mut fitting = found.filter(|key| key.algorithm == algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(if named { Mismatch::Algorithm } else { Mismatch::UnknownKey });
        }
        if fitting.any(|key| key.verifies(message, signature)) {
            return Ok(());
        }
        // With a name that no key has, the signer is most likely another one than those that were tried.
        Err(if id.is_some() && !named { Mismatch::UnknownKey } else { Mismatch::Signature })
    }
}

/// Why a signature is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// No key could have made it.
    UnknownKey,
    /// The key that is named has another algorithm.
    Algorithm,
    /// The key is known, and did not make it.
    Signature,
}

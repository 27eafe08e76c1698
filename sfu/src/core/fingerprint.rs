//! Certificate fingerprints (RFC 8122): what an offer says that the peer's DTLS certificate is.

/// The hash of the certificate that a peer will show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    hash: Hash,
    digest: Vec<u8>,
}

/// Hashes that are strong enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// What an `a=fingerprint` line turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// One that can be checked.
    Usable(Fingerprint),
    /// One of another hash, by its name: there may be several lines (RFC 8122, 5).
    OtherHash(String),
}

/// The names of the hashes that are taken, for messages.
pub(crate) const HASHES: &str = "sha-256, sha-384 or sha-512";

impl Fingerprint {
    /// Reads the value of an `a=fingerprint` line; none when it is broken.
    pub(crate) fn read(value: &str) -> Option<Read> {
        let (name, hex) = value.trim().split_once(' ')?;
        let name = name.to_ascii_lowercase();
        let known = match name.as_str() {
            "sha-256" => Some((Hash::Sha256, 32)),
            "sha-384" => Some((Hash::Sha384, 48)),
            "sha-512" => Some((Hash::Sha512, 64)),
            _ => None,
        };
        // Two digits each: `from_str_radix` alone would take a sign, and one digit.
        let octet = |text: &str| {
            let whole = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            whole.then(|| u8::from_str_radix(text, 16).ok()).flatten()
        };
        let digest: Vec<u8> = hex.trim().split(':').take(65).map(octet).collect::<Option<_>>()?;
        let Some((hash, size)) = known else {
            return super::sdp::is_token(&name).then_some(Read::OtherHash(name));
        };
        (digest.len() == size).then_some(Read::Usable(Self { hash, digest }))
    }

    /// Whether it is this certificate's (DER).
    pub(crate) fn matches(&self, certificate: &[u8]) -> bool {
        let algorithm = match self.hash {
            Hash::Sha256 => &ring::digest::SHA256,
            Hash::Sha384 => &ring::digest::SHA384,
            Hash::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, certificate).as_ref() == self.digest
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The SHA-256 fingerprint of a certificate.
    pub(crate) fn of(certificate: &[u8]) -> Fingerprint {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate).as_ref().to_vec();
        Fingerprint { hash: Hash::Sha256, digest }
    }

    fn line(name: &str, digest: &[u8]) -> String {
        let hex: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} {}", hex.join(":"))
    }

    #[test]
    fn every_hash_that_is_taken_knows_its_certificate() {
        let digests = [
            ("SHA-256", &ring::digest::SHA256),
            ("sha-384", &ring::digest::SHA384),
            ("sha-512", &ring::digest::SHA512),
        ];
        for (name, algorithm) in digests {
            let text = line(name, ring::digest::digest(algorithm, b"certificate").as_ref());
            let Some(Read::Usable(fingerprint)) = Fingerprint::read(&text) else { panic!("{text}") };
            assert!(fingerprint.matches(b"certificate") && !fingerprint.matches(b"another"));
            assert_eq!(Fingerprint::read(&text[..text.len() - 3]), None, "too short for {name}");
        }
    }

    #[test]
    fn other_hashes_are_named_and_broken_lines_are_not_believed() {
        assert_eq!(Fingerprint::read("sha-1 AA:BB"), Some(Read::OtherHash("sha-1".into())));
        for broken in ["", "sha-256", "sha-256 AA:B", "sha-256 +A:BB", "sha-1 xx:yy", "sha 1 AA"] {
            assert_eq!(Fingerprint::read(broken), None, "{broken:?}");
        }
        assert_eq!(Fingerprint::read(&format!("sha-256 {}", "AA:".repeat(1_000))), None);
    }
}

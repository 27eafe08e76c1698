//! What all parts of the room hold: configuration, bus, port, and the process's DTLS identity.

use std::sync::{Arc, OnceLock};

use bicast_shared::feed::bus::FeedBus;
use bicast_shared::status::RealtimeDoor;
use rtc::crypto::{self, RTCCryptoProvider, SignatureScheme};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::error::Error;
use crate::port::Port;

/// One per [`crate::Sfu`].
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) bus: FeedBus,
    pub(crate) port: Port,
    pub(crate) identity: Identity,
    /// Who decides about viewers beside their tokens; nobody until it is set.
    pub(crate) door: OnceLock<Arc<dyn RealtimeDoor>>,
    /// Cancelled when the room closes: every peer says goodbye.
    pub(crate) closing: CancellationToken,
    /// Tasks that the closing room waits for.
    pub(crate) tasks: TaskTracker,
}

/// The DTLS certificate of this process: one for all peers, made at the start.
pub(crate) struct Identity {
    /// For `rtc`'s peer connections; its `dtls_certificate` is what bare DTLS endpoints take.
    pub(crate) certificate: RTCCertificate,
    /// SHA-256 of the certificate as SDP writes it: `AB:CD:…`.
    pub(crate) fingerprint: String,
    /// The cryptography under DTLS and SRTP.
    pub(crate) crypto: Arc<dyn RTCCryptoProvider>,
}

impl Identity {
    /// Makes a new ECDSA P-256 certificate: browsers make the same kind, and its signatures are cheap.
    pub(crate) fn generate() -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Certificate(error.to_string());
        let crypto = crypto::default_provider().map_err(|e| failed(&e))?;
        let params = CertificateParams::new(vec!["bicast".to_owned()]).map_err(|e| failed(&e))?;
        let certificate = RTCCertificate::generate(crypto.crypto(), SignatureScheme::EcdsaP256Sha256, params)
            .map_err(|e| failed(&e))?;
        let der = certificate.dtls_certificate.certificate.first().ok_or_else(|| failed(&"it is empty"))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let fingerprint =
            digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        Ok(Self { certificate, fingerprint, crypto })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_one_that_the_certificate_tells() {
        let identity = Identity::generate().unwrap();
        let told = identity.certificate.get_fingerprints(identity.crypto.crypto()).unwrap();
        assert_eq!(told[0].algorithm, "sha-256");
        assert!(told[0].value.eq_ignore_ascii_case(&identity.fingerprint));
    }
}

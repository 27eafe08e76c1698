//! The DTLS server of one peer, without input or output of its own: waits for a ClientHello, lets the peer in whose
//! certificate the offer names, and gives the SRTP keys.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;
use rtc_srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP, SessionKeys};
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::core::demux::Ignored;
use crate::core::fingerprint::Fingerprint;
use crate::core::guard::Guard;
use crate::core::hello::{HelloPeek, Peek};
use crate::shared::Identity;

/// DTLS is bound to the session, not to an address: peers change their path under it.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65_535));
/// Time between repetitions of our flights, doubled each time.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(200);

/// The profiles of use_srtp that are spoken here, best first (RFC 5764, 4.1.2 and RFC 7714, 14.2): GCM costs half the
/// CPU of HMAC-SHA1 per packet.
const PROFILES: [(u16, SrtpProtectionProfile, ProtectionProfile); 4] = [
    (7, SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, ProtectionProfile::AeadAes128Gcm),
    (8, SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm, ProtectionProfile::AeadAes256Gcm),
    (1, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
    (2, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32, ProtectionProfile::Aes128CmHmacSha1_32),
];

/// What a datagram led to.
pub(crate) enum Step {
    /// Nothing to tell.
    Nothing,
    /// The handshake is complete.
    Complete(SrtpKeys),
    /// The peer said goodbye.
    Closed,
    /// The handshake cannot succeed.
    Failed(Failure),
}

/// Why a handshake cannot succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Our own configuration is refused by the library.
    Config,
    /// The peer's certificate is not the one of its offer.
    WrongCertificate,
    /// It completed without SRTP.
    NoKeys,
}

impl Failure {
    /// Its name in counters.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Config => "dtls-config",
            Self::WrongCertificate => "wrong-certificate",
            Self::NoKeys => "no-srtp-keys",
        }
    }
}

/// What a handshake agreed on for SRTP.
pub(crate) struct SrtpKeys {
    pub(crate) profile: ProtectionProfile,
    pub(crate) keys: SessionKeys,
}

/// One peer's handshake, and its DTLS connection from then on.
pub(crate) struct Handshake {
    fingerprint: Fingerprint,
    wrong_certificate: Arc<AtomicBool>,
    phase: Phase,
    guard: Guard,
    complete: bool,
}

enum Phase {
    /// No complete ClientHello yet.
    Hello(HelloPeek),
    Dtls(Box<Endpoint>),
}

impl Handshake {
    /// Waits for a peer with this certificate.
    pub(crate) fn new(fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint,
            wrong_certificate: Arc::default(),
            phase: Phase::Hello(HelloPeek::default()),
            guard: Guard::default(),
            complete: false,
        }
    }

    /// Takes a DTLS datagram; what has to be sent is appended to `out`, also where it could not be taken: the alert
    /// that tells the peer why.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        datagram: &Bytes,
        identity: &Identity,
        out: &mut Vec<Bytes>,
    ) -> Result<Step, Ignored> {
        self.guard.admit(datagram, self.complete)?;
        let (endpoint, datagrams) = match &mut self.phase {
            Phase::Dtls(endpoint) => (endpoint, vec![datagram.clone()]),
            Phase::Hello(peek) => {
                let profiles = match peek.push(datagram.clone()) {
                    Peek::More => return Ok(Step::Nothing),
                    Peek::Refused => return Err(Ignored::Undecryptable),
                    Peek::Profiles(profiles) => profiles,
                };
                let held = std::mem::take(peek).into_held();
                let endpoint =
                    endpoint(identity, &self.fingerprint, &self.wrong_certificate, best(&profiles));
                let endpoint = match endpoint {
                    Ok(endpoint) => endpoint,
                    Err(error) => {
                        tracing::warn!(%error, "the DTLS library refuses our configuration");
                        return Ok(Step::Failed(Failure::Config));
                    }
                };
                self.phase = Phase::Dtls(Box::new(endpoint));
                let Phase::Dtls(endpoint) = &mut self.phase else { return Ok(Step::Nothing) };
                (endpoint, held)
            }
        };
        let mut step = Step::Nothing;
        let mut refused = None;
        for datagram in datagrams {
            let events = endpoint.read(now, PEER, None, BytesMut::from(&datagram[..]));
            drain(endpoint, out);
            if self.wrong_certificate.load(Ordering::Relaxed) {
                return Ok(Step::Failed(Failure::WrongCertificate));
            }
            let events = match events {
                Ok(events) => events,
                Err(error) => {
                    // Held ones that follow may be whole: anybody on the path could have sent the bad one.
                    tracing::debug!(%error, "a DTLS datagram was not taken");
                    refused = Some(Ignored::Undecryptable);
                    continue;
                }
            };
            for event in events {
                match event {
                    EndpointEvent::HandshakeComplete => {
                        let Some(keys) = export(endpoint) else {
                            return Ok(Step::Failed(Failure::NoKeys));
                        };
                        self.complete = true;
                        step = Step::Complete(keys);
                    }
                    EndpointEvent::PeerClosed => return Ok(Step::Closed),
                    // Data channels are not answered: nothing of theirs is read.
                    _ => {}
                }
            }
        }
        match (step, refused) {
            (Step::Nothing, Some(reason)) => Err(reason),
            (step, _) => Ok(step),
        }
    }

    /// Says goodbye (DTLS close_notify).
    pub(crate) fn close(&mut self, now: Instant, out: &mut Vec<Bytes>) {
        if let Phase::Dtls(endpoint) = &mut self.phase {
            let _ = endpoint.close(now);
            drain(endpoint, out);
        }
    }

    /// Repeats a lost flight where that is due. False when the peer has not answered often enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Bytes>) -> bool {
        let Phase::Dtls(endpoint) = &mut self.phase else { return true };
        if endpoint.poll_timeout(&PEER).is_none_or(|due| due > now) {
            return true;
        }
        let ok = endpoint.handle_timeout(PEER, now).is_ok();
        drain(endpoint, out);
        ok
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Dtls(endpoint) => endpoint.poll_timeout(&PEER),
            Phase::Hello(_) => None,
        }
    }
}

fn drain(endpoint: &mut Endpoint, out: &mut Vec<Bytes>) {
    while let Some(transmit) = endpoint.poll_transmit() {
        out.push(transmit.message.freeze());
    }
}

/// The best profile that the client offers. One who offers none of ours is given one all the same: the endpoint then
/// refuses it with the alert that says so.
fn best(offered: &[u16]) -> SrtpProtectionProfile {
    let ours = PROFILES.iter().find(|(number, ..)| offered.contains(number));
    ours.map_or(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80, |(_, profile, _)| *profile)
}

fn endpoint(
    identity: &Identity,
    fingerprint: &Fingerprint,
    wrong: &Arc<AtomicBool>,
    profile: SrtpProtectionProfile,
) -> Result<Endpoint, RtcError> {
    let (fingerprint, wrong) = (fingerprint.clone(), wrong.clone());
    let config = ConfigBuilder::default()
        .with_crypto_provider(identity.crypto.clone())
        .with_certificates(vec![identity.certificate.dtls_certificate.clone()])
        // One only: `rtc-dtls` would take the client's order, in which GCM is not the first.
        .with_srtp_protection_profiles(vec![profile])
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_flight_interval(FLIGHT_INTERVAL)
        // Nobody signs these certificates: the fingerprint in the offer vouches for them (RFC 8827, 6.5).
        .with_insecure_skip_verify(true)
        .with_verify_peer_certificate(Some(Arc::new(move |certificates: &[Vec<u8>], _| {
            if certificates.first().is_some_and(|certificate| fingerprint.matches(certificate)) {
                return Ok(());
            }
            wrong.store(true, Ordering::Relaxed);
            Err(RtcError::ErrNoMatchingCertificateFingerprint)
        })))
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .build(false, None)?;
    Ok(Endpoint::new(PEER, TransportProtocol::UDP, Some(Arc::new(config))))
}

fn export(endpoint: &Endpoint) -> Option<SrtpKeys> {
    let state = endpoint.get_connection_state(PEER)?;
    let agreed = state.srtp_protection_profile();
    let (_, _, profile) = PROFILES.into_iter().find(|(_, profile, _)| *profile == agreed)?;
    let mut config = SrtpConfig { profile, ..SrtpConfig::default() };
    let material =
        state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len()).ok()?;
    config.set_session_keys_from_keying_material(material.as_ref(), false).ok()?;
    Some(SrtpKeys { profile, keys: config.keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gcm_is_taken_wherever_the_client_lists_it() {
        use SrtpProtectionProfile::*;
        assert_eq!(best(&[1, 8, 7]), Srtp_Aead_Aes_128_Gcm, "Chromium's order");
        assert_eq!(best(&[7, 8, 1, 2]), Srtp_Aead_Aes_128_Gcm, "Firefox's");
        assert_eq!(best(&[2, 1, 8]), Srtp_Aead_Aes_256_Gcm);
        assert_eq!(best(&[2, 1]), Srtp_Aes128_Cm_Hmac_Sha1_80);
        assert_eq!(best(&[2]), Srtp_Aes128_Cm_Hmac_Sha1_32);
        assert_eq!(best(&[]), Srtp_Aes128_Cm_Hmac_Sha1_80);
    }

    #[test]
    fn a_chain_of_fragments_without_an_end_neither_ends_the_process_nor_grows() {
        use crate::core::dtls::testing::{fragment, record};
        use crate::core::hello::tests::{datagram, hello};

        let identity = Identity::generate().unwrap();
        let mut handshake = Handshake::new(crate::core::fingerprint::tests::of(b"no certificate"));
        let now = bicast_shared::clock::now();
        let mut out = Vec::new();
        let body = hello(&[7]);
        assert!(handshake.read(now, &datagram(&body, 0, body.len()), &identity, &mut out).is_ok());
        assert!(!out.is_empty(), "the library is at work");
        // Offsets 1, 2, 3, ... of one message, the first byte last: one call within another for each of them.
        let mut taken = 0;
        for offset in (0..16_000_u32).rev() {
            let mut datagram = record(22, 0, &fragment(11, 1, 16_001, offset, 1, b"x"));
            datagram[7..11].copy_from_slice(&(20_000 - offset).to_be_bytes());
            taken += u32::from(handshake.read(now, &datagram.into(), &identity, &mut out).is_ok());
        }
        assert!(taken < 200, "{taken} were taken");
    }
}

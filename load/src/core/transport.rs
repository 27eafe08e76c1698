//! A connection to a server, without input or output: ICE, DTLS in either role, and the SRTP keys that come of it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ring::digest;
use rtc::crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, VerifyPeerCertificateFn};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;
use rtc_srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::answer::{Answer, Setup};
use super::ice::{Credentials, Ice, Transmit};
use super::rtp::Kind;

/// DTLS is bound to the connection, not to an address.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65_535));
/// Time between repetitions of our DTLS flights, doubled each time. Browsers begin with 50 ms.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(100);
/// From the answer to the keys; after it the viewer has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The certificate and the cryptography of all connections of a run. One certificate for all: making one each would be
/// most of the generator's handshake, and servers do not care.
pub struct Identity {
    certificate: Certificate,
    crypto: Arc<dyn RTCCryptoProvider>,
    /// SHA-256 of the certificate as SDP writes it.
    pub fingerprint: String,
}

impl Identity {
    /// Makes a new certificate (ECDSA P-256, as browsers do).
    ///
    /// # Errors
    /// Where the cryptography is not there.
    pub fn generate() -> Result<Self, RtcError> {
        let failed = |error: rtc::crypto::CryptoError| RtcError::Crypto(error.to_string());
        let crypto = rtc::crypto::default_provider().map_err(failed)?;
        let certificate = Certificate::generate_self_signed(vec!["bench".to_owned()], crypto.crypto())?;
        let der = certificate.certificate.first().ok_or(RtcError::ErrNonCertificate)?;
        let hash = digest::digest(&digest::SHA256, der);
        let octets: Vec<String> = hash.as_ref().iter().map(|octet| format!("{octet:02X}")).collect();
        Ok(Self { fingerprint: octets.join(":"), certificate, crypto })
    }
}

/// What a datagram or a timer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing to tell.
    Nothing,
    /// The server's address is known: what its socket sends may go there only.
    Reached(SocketAddr),
    /// Keys are there: media can come and go.
    Connected,
    /// It is over; a short reason for the counts.
    Over(&'static str),
}

/// What a connection begins with.
pub struct Start<'a> {
    /// Now.
    pub now: Instant,
    /// Our certificate.
    pub identity: Arc<Identity>,
    /// What our offer named.
    pub local: Credentials,
    /// The answer to it.
    pub answer: &'a Answer,
    /// The server's addresses to try.
    pub candidates: Vec<SocketAddr>,
    /// Random.
    pub seed: [u8; 8],
}

/// The connection.
pub struct Transport {
    ice: Ice,
    setup: Setup,
    identity: Arc<Identity>,
    fingerprint: (String, Vec<u8>),
    wrong_certificate: Arc<AtomicBool>,
    /// Until media has come: then the server has everything it needs of the handshake.
    dtls: Option<Box<Endpoint>>,
    keys: Option<Keys>,
    begun: Instant,
}

/// SRTP in both directions.
struct Keys {
    inbound: Context,
    outbound: Context,
}

impl Transport {
    /// A connection whose offer was answered.
    #[must_use]
    pub fn new(start: Start<'_>) -> Self {
        let Start { now, identity, local, answer, candidates, seed } = start;
        let crypto = identity.crypto.clone();
        Self {
            ice: Ice::new(now, local, answer.credentials.clone(), candidates, seed, crypto),
            setup: answer.setup,
            identity,
            fingerprint: answer.fingerprint.clone(),
            wrong_certificate: Arc::default(),
            dtls: None,
            keys: None,
            begun: now,
        }
    }

    /// Whether there are keys.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    /// Takes a datagram that is neither RTP nor RTCP.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Transmit>) -> Event {
        match Kind::of(bytes) {
            Some(Kind::Stun) => {
                if !self.ice.handle(now, from, bytes, out) {
                    return Event::Nothing;
                }
                match self.begin_dtls(now, out) {
                    Ok(()) => Event::Reached(from),
                    Err(_) => Event::Over("dtls"),
                }
            }
            Some(Kind::Dtls) => self.dtls(now, bytes, out),
            _ => Event::Nothing,
        }
    }

    fn begin_dtls(&mut self, now: Instant, out: &mut Vec<Transmit>) -> Result<(), RtcError> {
        let is_client = self.setup == Setup::Passive;
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.identity.crypto.clone())
            .with_certificates(vec![self.identity.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_flight_interval(FLIGHT_INTERVAL)
            // Nobody signs these certificates: the fingerprint in the answer vouches for them (RFC 8827, 6.5).
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(verify(&self.fingerprint, self.wrong_certificate.clone())))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(is_client, None)?;
        let config = Arc::new(config);
        let server_config = (!is_client).then(|| config.clone());
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, server_config);
        if is_client {
            endpoint.connect(now, PEER, config, None)?;
        }
        self.dtls = Some(Box::new(endpoint));
        self.flush(out);
        Ok(())
    }

    fn dtls(&mut self, now: Instant, bytes: &[u8], out: &mut Vec<Transmit>) -> Event {
        let Some(endpoint) = &mut self.dtls else {
            // The endpoint is gone, so an alert cannot be opened: a sealed one after the handshake is a goodbye.
            let is_sealed_alert =
                bytes.first() == Some(&21) && bytes.get(3..5).is_some_and(|epoch| epoch != [0, 0]);
            return if is_sealed_alert && self.is_connected() {
                Event::Over("closed by the server")
            } else {
                Event::Nothing
            };
        };
        let events = endpoint.read(now, PEER, None, BytesMut::from(bytes));
        self.flush(out);
        if self.wrong_certificate.load(Ordering::Relaxed) {
            return Event::Over("wrong certificate");
        }
        // A datagram that cannot be taken may be a forged or a reordered one: the timer decides.
        for event in events.unwrap_or_default() {
            match event {
                EndpointEvent::HandshakeComplete => {
                    return match self.export() {
                        Ok(keys) => {
                            self.keys = Some(keys);
                            Event::Connected
                        }
                        Err(_) => Event::Over("no SRTP keys"),
                    };
                }
                EndpointEvent::PeerClosed => return Event::Over("closed by the server"),
                _ => {}
            }
        }
        Event::Nothing
    }

    fn export(&self) -> Result<Keys, RtcError> {
        let state = self.dtls.as_ref().and_then(|endpoint| endpoint.get_connection_state(PEER));
        let state = state.ok_or(RtcError::ErrNoSuchSrtpProfile)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            _ => return Err(RtcError::ErrNoSuchSrtpProfile),
        };
        let mut config = SrtpConfig { profile, ..SrtpConfig::default() };
        let material =
            state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
        config.set_session_keys_from_keying_material(material.as_ref(), self.setup == Setup::Passive)?;
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, profile, None, None, self.identity.crypto.crypto())
        };
        Ok(Keys {
            inbound: context(&config.keys.remote_master_key, &config.keys.remote_master_salt)?,
            outbound: context(&config.keys.local_master_key, &config.keys.local_master_salt)?,
        })
    }

    fn flush(&mut self, out: &mut Vec<Transmit>) {
        let (Some(endpoint), Some(to)) = (&mut self.dtls, self.ice.selected()) else { return };
        while let Some(transmit) = endpoint.poll_transmit() {
            out.push(Transmit { to, bytes: transmit.message.to_vec() });
        }
    }

    /// Does what is due: checks, lost flights, the end of patience.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Transmit>) -> Event {
        if !self.is_connected() && now.saturating_duration_since(self.begun) >= CONNECT_TIMEOUT {
            return Event::Over(if self.ice.selected().is_none() {
                "no answer to checks"
            } else {
                "dtls timeout"
            });
        }
        if !self.ice.handle_timeout(now, out) {
            return Event::Over(if self.is_connected() { "consent expired" } else { "no candidate" });
        }
        if let Some(endpoint) = &mut self.dtls
            && endpoint.poll_timeout(&PEER).is_some_and(|due| due <= now)
        {
            let gave_up = endpoint.handle_timeout(PEER, now).is_err();
            self.flush(out);
            if gave_up {
                return Event::Over("dtls timeout");
            }
        }
        Event::Nothing
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let due = self.ice.poll_timeout();
        let flight = self.dtls.as_ref().and_then(|endpoint| endpoint.poll_timeout(&PEER));
        let patience = (!self.is_connected()).then(|| self.begun + CONNECT_TIMEOUT);
        [flight, patience].into_iter().flatten().fold(due, Instant::min)
    }

    /// Opens an RTP packet. None where it is not authentic.
    pub fn open_rtp(&mut self, bytes: &[u8]) -> Option<BytesMut> {
        let plain = self.keys.as_mut()?.inbound.decrypt_rtp(bytes).ok()?;
        // The server sends media: it has our last flight.
        self.dtls = None;
        Some(plain)
    }

    /// Opens a compound RTCP packet. None where it is not authentic.
    pub fn open_rtcp(&mut self, bytes: &[u8]) -> Option<BytesMut> {
        self.keys.as_mut()?.inbound.decrypt_rtcp(bytes).ok()
    }

    /// Seals RTCP packets, one datagram for all.
    pub fn send_rtcp(&mut self, packets: &[Box<dyn rtc_rtcp::Packet>], out: &mut Vec<Transmit>) {
        let (Some(keys), Some(to)) = (&mut self.keys, self.ice.selected()) else { return };
        let sealed = rtc_rtcp::packet::marshal(packets).and_then(|plain| keys.outbound.encrypt_rtcp(&plain));
        out.extend(sealed.ok().map(|bytes| Transmit { to, bytes: bytes.to_vec() }));
    }

    /// Seals an RTP packet; none before there are keys.
    pub fn seal_rtp(&mut self, plain: &[u8]) -> Option<Transmit> {
        let (keys, to) = (self.keys.as_mut()?, self.ice.selected()?);
        keys.outbound.encrypt_rtp(plain).ok().map(|bytes| Transmit { to, bytes: bytes.to_vec() })
    }
}

/// A check of the server's certificate against its answer.
fn verify(fingerprint: &(String, Vec<u8>), wrong: Arc<AtomicBool>) -> VerifyPeerCertificateFn {
    let algorithm = match fingerprint.0.as_str() {
        "sha-384" => &digest::SHA384,
        "sha-512" => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let wanted = fingerprint.1.clone();
    Arc::new(move |certificates: &[Vec<u8>], _| {
        let certificate = certificates.first().ok_or(RtcError::ErrNonCertificate)?;
        if digest::digest(algorithm, certificate).as_ref() == wanted {
            return Ok(());
        }
        wrong.store(true, Ordering::Relaxed);
        Err(RtcError::ErrNoMatchingCertificateFingerprint)
    })
}

//! One publisher's transport, without input or output of its own: ICE-lite, DTLS as the server, SRTP both ways.
//!
//! It stands on the component crates and not on `rtc`'s peer connection: that one's ICE agent keeps to its first
//! nominated pair for ever (a publisher that changes from Wi-Fi to cable would be cut off), drops DTLS before the
//! nomination, and logs a warning for every datagram that somebody forges. The answers to STUN are the same as for
//! viewers.

use std::collections::{HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, VerifyPeerCertificateFn};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_rtcp::packet::Packet as RtcpPacket;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;
use rtc_shared::marshal::Unmarshal as _;
use rtc_shared::util::is_rtcp;
use rtc_srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::core::fingerprint::Fingerprint;
use crate::core::stun::{BindingRequest, IcePassword};
use crate::port::{Datagram, Ignored, Kind};
use crate::shared::Identity;

/// DTLS is bound to the session, not to an address: paths change under it.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65_535));
/// Packets that may arrive late, in SRTP's replay window: as many as ingest takes.
const REPLAY_WINDOW: usize = 2_048;
/// Time between repetitions of our DTLS flights, doubled each time.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(200);
/// SSRCs whose packets were authentic.
const MAX_SSRCS: usize = 64;
/// Packets of other SSRCs that are tried in a session's life: SRTP keeps state for an SSRC before it knows whether the
/// packet is authentic, so that forged ones must not come in any number.
const MAX_STRANGERS: u32 = 4_096;

/// What a datagram was.
pub(crate) enum Input {
    /// Nothing to tell: part of a handshake, or a check that has to be repeated.
    Nothing,
    /// A check from this address was authentic.
    Checked(SocketAddr),
    /// The handshake is complete: media can come.
    Connected,
    /// The publisher said goodbye.
    Closed,
    /// An RTP packet.
    Rtp(rtp::Packet),
    /// The packets of an RTCP datagram.
    Rtcp(Vec<Box<dyn RtcpPacket>>),
}

/// A datagram to send.
#[derive(Debug)]
pub(crate) struct Transmit {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) bytes: Bytes,
}

/// The two ends of an ICE session: checks must name both (RFC 8445, 7.2.2) and be made with our password.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) remote_ufrag: String,
    pub(crate) password: IcePassword,
}

/// The transport.
pub(crate) struct Transport {
    credentials: Credentials,
    /// Those from before an ICE restart, until the first check with the new ones.
    former: Option<Credentials>,
    path: Option<Path>,
    endpoint: Endpoint,
    keys: Option<Keys>,
    crypto: Arc<dyn rtc::crypto::RTCCryptoProvider>,
    wrong_certificate: Arc<AtomicBool>,
    transmits: VecDeque<Transmit>,
}

#[derive(Clone, Copy)]
struct Path {
    local: SocketAddr,
    remote: SocketAddr,
    nominated: bool,
}

struct Keys {
    inbound: Context,
    outbound: Context,
    known: HashSet<u32>,
    strangers: u32,
}

impl Transport {
    /// A transport that waits for a publisher with this certificate.
    pub(crate) fn new(
        identity: &Identity,
        credentials: Credentials,
        fingerprint: &Fingerprint,
    ) -> Result<Self, RtcError> {
        let wrong_certificate = Arc::new(AtomicBool::new(false));
        let config = ConfigBuilder::default()
            .with_crypto_provider(identity.crypto.clone())
            .with_certificates(vec![identity.certificate.dtls_certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_flight_interval(FLIGHT_INTERVAL)
            // Nobody signs these certificates: the fingerprint in the offer is what vouches for them (RFC 8827, 6.5).
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(verify(fingerprint, wrong_certificate.clone())))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(false, None)?;
        Ok(Self {
            credentials,
            former: None,
            path: None,
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, Some(Arc::new(config))),
            keys: None,
            crypto: identity.crypto.clone(),
            wrong_certificate,
            transmits: VecDeque::new(),
        })
    }

    /// Takes a datagram.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &Datagram) -> Result<Input, Ignored> {
        match Kind::of(&datagram.bytes).ok_or(Ignored::Garbage)? {
            Kind::Stun => self.check(datagram),
            Kind::Dtls => self.dtls(now, &datagram.bytes),
            Kind::Rtp => self.media(&datagram.bytes),
        }
    }

    /// Seals and sends a compound RTCP packet. Without a connection it is dropped.
    pub(crate) fn send_rtcp(&mut self, compound: &[Box<dyn RtcpPacket>]) {
        let Some(keys) = &mut self.keys else { return };
        let sealed = rtc_rtcp::packet::marshal(compound).and_then(|plain| keys.outbound.encrypt_rtcp(&plain));
        match sealed {
            Ok(sealed) => self.send(sealed.freeze()),
            Err(error) => tracing::debug!(%error, "cannot send RTCP"),
        }
    }

    /// Begins an ICE restart: checks with the new credentials count from now on, media flows on meanwhile.
    pub(crate) fn restart(&mut self, credentials: Credentials) {
        self.former = Some(std::mem::replace(&mut self.credentials, credentials));
    }

    /// Says goodbye (DTLS close_notify).
    pub(crate) fn close(&mut self, now: Instant) {
        let _ = self.endpoint.close(now);
        self.flush();
        self.keys = None;
    }

    /// Repeats a lost handshake flight where that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.endpoint.poll_timeout(&PEER).is_some_and(|due| due <= now) {
            let _ = self.endpoint.handle_timeout(PEER, now);
            self.flush();
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PEER)
    }

    /// What has to be sent.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Where the publisher is.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.path.map(|path| path.remote)
    }

    /// Whether a certificate came that is not the offer's.
    pub(crate) fn wrong_certificate(&self) -> bool {
        self.wrong_certificate.load(Ordering::Relaxed)
    }

    fn check(&mut self, datagram: &Datagram) -> Result<Input, Ignored> {
        let request = BindingRequest::parse(&datagram.bytes).ok_or(Ignored::BadStun)?;
        let is_new = self.credentials.names(&request);
        let credentials = if is_new { Some(&self.credentials) } else { self.former.as_ref() };
        let credentials = credentials.filter(|c| c.names(&request)).ok_or(Ignored::UnknownUfrag)?;
        if !request.is_authentic(&credentials.password) {
            return Err(Ignored::BadIntegrity);
        }
        let (local, remote) = (datagram.local, datagram.remote);
        if request.claims_controlled() {
            let bytes = request.role_conflict(&credentials.password).into();
            self.transmits.push_back(Transmit { local, remote, bytes });
            return Ok(Input::Nothing);
        }
        let bytes = request.success(remote, &credentials.password).into();
        self.transmits.push_back(Transmit { local, remote, bytes });
        if is_new && self.former.take().is_some() {
            self.path = None;
        }
        // Before the nomination the last checked path serves: the handshake need not wait for it.
        let nominated = request.nominates();
        if nominated || self.path.is_none_or(|path| !path.nominated) {
            self.path = Some(Path { local, remote, nominated });
        }
        Ok(Input::Checked(remote))
    }

    fn dtls(&mut self, now: Instant, bytes: &[u8]) -> Result<Input, Ignored> {
        if self.keys.is_some() && has_plain_alert(bytes) {
            return Err(Ignored::Garbage);
        }
        let events = self.endpoint.read(now, PEER, None, BytesMut::from(bytes));
        self.flush();
        let mut result = Input::Nothing;
        for event in events.map_err(|error| {
            tracing::debug!(%error, "a DTLS datagram was not taken");
            Ignored::Undecryptable
        })? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    let state = self.endpoint.get_connection_state(PEER).ok_or(Ignored::Undecryptable)?;
                    let keys = Keys::export(state, &*self.crypto).map_err(|error| {
                        tracing::debug!(%error, "no SRTP keys");
                        Ignored::Undecryptable
                    })?;
                    self.keys = Some(keys);
                    result = Input::Connected;
                }
                EndpointEvent::PeerClosed => return Ok(Input::Closed),
                // Data channels are not answered: nothing of theirs is read.
                _ => {}
            }
        }
        Ok(result)
    }

    fn media(&mut self, bytes: &[u8]) -> Result<Input, Ignored> {
        let keys = self.keys.as_mut().ok_or(Ignored::Undecryptable)?;
        let rtcp = is_rtcp(bytes);
        let at = if rtcp { 4 } else { 8 };
        let ssrc = bytes.get(at..at + 4).and_then(|ssrc| ssrc.try_into().ok()).map(u32::from_be_bytes);
        let ssrc = ssrc.ok_or(Ignored::Garbage)?;
        if !keys.known.contains(&ssrc) {
            if keys.known.len() >= MAX_SSRCS || keys.strangers >= MAX_STRANGERS {
                return Err(Ignored::Undecryptable);
            }
            keys.strangers += 1;
        }
        let input = if rtcp {
            let mut plain = keys.inbound.decrypt_rtcp(bytes).map_err(|_| Ignored::Undecryptable)?;
            Input::Rtcp(rtc_rtcp::packet::unmarshal(&mut plain).map_err(|_| Ignored::Garbage)?)
        } else {
            let mut plain = keys.inbound.decrypt_rtp(bytes).map_err(|_| Ignored::Undecryptable)?;
            Input::Rtp(rtp::Packet::unmarshal(&mut plain).map_err(|_| Ignored::Garbage)?)
        };
        keys.known.insert(ssrc);
        Ok(input)
    }

    /// Takes what DTLS wants to send.
    fn flush(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.send(transmit.message.freeze());
        }
    }

    fn send(&mut self, bytes: Bytes) {
        if let Some(Path { local, remote, .. }) = self.path {
            self.transmits.push_back(Transmit { local, remote, bytes });
        }
    }
}

impl Credentials {
    fn names(&self, request: &BindingRequest<'_>) -> bool {
        request.local_ufrag() == self.ufrag && request.remote_ufrag() == self.remote_ufrag
    }
}

impl Keys {
    fn export(state: &State, crypto: &dyn rtc::crypto::RTCCryptoProvider) -> Result<Self, RtcError> {
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            _ => return Err(RtcError::ErrNoSuchSrtpProfile),
        };
        let mut config = SrtpConfig { profile, ..SrtpConfig::default() };
        let material =
            state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
        config.set_session_keys_from_keying_material(material.as_ref(), false)?;
        let keys = &config.keys;
        let outbound = Context::new(
            &keys.local_master_key,
            &keys.local_master_salt,
            profile,
            None,
            None,
            crypto.crypto(),
        )?;
        let inbound = Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            profile,
            Some(srtp_replay_protection(REPLAY_WINDOW)),
            Some(srtcp_replay_protection(64)),
            crypto.crypto(),
        )?;
        Ok(Self { inbound, outbound, known: HashSet::new(), strangers: 0 })
    }
}

/// A check of the publisher's certificate against its offer.
fn verify(fingerprint: &Fingerprint, wrong: Arc<AtomicBool>) -> VerifyPeerCertificateFn {
    let fingerprint = fingerprint.clone();
    Arc::new(move |certificates: &[Vec<u8>], _| {
        if certificates.first().is_some_and(|certificate| fingerprint.matches(certificate)) {
            return Ok(());
        }
        wrong.store(true, Ordering::Relaxed);
        Err(RtcError::ErrNoMatchingCertificateFingerprint)
    })
}

/// Whether a datagram holds an alert in plain text: in an established session anybody could have written it.
fn has_plain_alert(mut bytes: &[u8]) -> bool {
    // DTLS record: type, version (2), epoch (2), sequence number (6), length (2) (RFC 6347, 4.1).
    while let [kind, _, _, epoch_high, epoch_low, _, _, _, _, _, _, length_high, length_low, rest @ ..] =
        bytes
    {
        if *kind == 21 && (*epoch_high, *epoch_low) == (0, 0) {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        bytes = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fingerprint::tests as fingerprint;
    use crate::core::stun::tests::check;

    fn credentials(ufrag: &str, password: &str) -> Credentials {
        Credentials { ufrag: ufrag.into(), remote_ufrag: "x".into(), password: IcePassword::new(password) }
    }

    fn transport() -> Transport {
        let identity = Identity::generate().unwrap();
        Transport::new(&identity, credentials("u", "p"), &fingerprint::of(b"a certificate")).unwrap()
    }

    fn datagram(from: &str, bytes: Vec<u8>) -> Datagram {
        Datagram {
            local: "127.0.0.1:8189".parse().unwrap(),
            remote: from.parse().unwrap(),
            received: bicast_shared::clock::now(),
            bytes: bytes.into(),
        }
    }

    fn give(transport: &mut Transport, from: &str, bytes: Vec<u8>) -> Result<Input, Ignored> {
        let datagram = datagram(from, bytes);
        transport.handle_datagram(datagram.received, &datagram)
    }

    #[test]
    fn paths_follow_nomination_and_checks_before_it() {
        let mut transport = transport();
        let at = |transport: &Transport| transport.remote().map(|remote| remote.to_string());
        let a = "192.0.2.1:1000";
        let b = "192.0.2.2:2000";
        assert!(matches!(
            give(&mut transport, a, check("u:x", "wrong", false, false)),
            Err(Ignored::BadIntegrity)
        ));
        assert!(matches!(
            give(&mut transport, a, check("v:x", "p", false, false)),
            Err(Ignored::UnknownUfrag)
        ));
        assert!(matches!(
            give(&mut transport, a, check("u:y", "p", false, false)),
            Err(Ignored::UnknownUfrag)
        ));
        assert_eq!(at(&transport), None);
        assert!(transport.poll_transmit().is_none(), "nothing is answered to strangers");
        assert!(matches!(give(&mut transport, a, check("u:x", "p", false, false)), Ok(Input::Checked(_))));
        assert_eq!(at(&transport).as_deref(), Some(a));
        assert!(transport.poll_transmit().is_some());
        give(&mut transport, b, check("u:x", "p", true, false)).unwrap();
        give(&mut transport, a, check("u:x", "p", false, false)).unwrap();
        assert_eq!(at(&transport).as_deref(), Some(b), "a check alone does not move a nominated path");
        give(&mut transport, a, check("u:x", "p", true, false)).unwrap();
        assert_eq!(at(&transport).as_deref(), Some(a), "a new nomination does");
        assert!(matches!(give(&mut transport, a, check("u:x", "p", false, true)), Ok(Input::Nothing)));
    }

    #[test]
    fn a_restart_takes_effect_with_its_first_check() {
        let mut transport = transport();
        let (a, b) = ("192.0.2.1:1000", "192.0.2.2:2000");
        give(&mut transport, a, check("u:x", "p", true, false)).unwrap();
        transport.restart(credentials("new", "q"));
        give(&mut transport, a, check("u:x", "p", true, false)).unwrap();
        assert_eq!(transport.remote().unwrap().to_string(), a);
        give(&mut transport, b, check("new:x", "q", false, false)).unwrap();
        assert_eq!(transport.remote().unwrap().to_string(), b);
        assert!(matches!(
            give(&mut transport, a, check("u:x", "p", true, false)),
            Err(Ignored::UnknownUfrag)
        ));
    }

    #[test]
    fn garbage_of_every_kind_is_refused_without_a_word() {
        let mut transport = transport();
        let a = "192.0.2.1:1000";
        give(&mut transport, a, check("u:x", "p", true, false)).unwrap();
        while transport.poll_transmit().is_some() {}
        let mut random = 1_u32;
        for n in 0..20_000_usize {
            let bytes: Vec<u8> = (0..n % 200)
                .map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    random.to_be_bytes()[0]
                })
                .collect();
            assert!(!matches!(
                give(&mut transport, a, bytes),
                Ok(Input::Rtp(_) | Input::Rtcp(_) | Input::Connected)
            ));
            assert!(transport.transmits.len() < 100, "{n}");
        }
    }

    #[test]
    fn alerts_in_plain_text_are_told_from_sealed_ones() {
        let record =
            |kind: u8, epoch: u8| [&[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 1, 0, 2], &[1, 0][..]].concat();
        assert!(has_plain_alert(&record(21, 0)));
        assert!(has_plain_alert(&[record(22, 0), record(21, 0)].concat()));
        assert!(
            !has_plain_alert(&record(21, 1)) && !has_plain_alert(&record(22, 0)) && !has_plain_alert(&[21])
        );
    }
}

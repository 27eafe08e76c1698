//! One viewer's connection without input or output of its own: ICE-lite, DTLS as the server, SRTP keys, SRTCP.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;
use rtc_srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP, SessionKeys};
use rtc_srtp::context::Context;
use rtc_srtp::option::srtcp_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::core::fingerprint::Fingerprint;
use crate::core::hello::{HelloPeek, Peek};
use crate::core::seal::Sealer;
use crate::core::stun::{BindingRequest, IcePassword};
use crate::port::{Datagram, Ignored, Kind, Registration};
use crate::shared::Identity;

/// DTLS is bound to the session, not to an address: viewers change their path under it.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65_535));
/// Time between repetitions of our DTLS flights, doubled each time.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(200);
/// RTCP senders of one viewer that were authentic; browsers have one or two.
const MAX_SENDERS: usize = 16;
/// Unknown senders tried in a session's life: `rtc-srtp` keeps state for a sender before it knows whether the packet is
/// authentic, so that forged ones must not come in any number.
const MAX_STRANGERS: u32 = 256;
/// The GCM profile of use_srtp (RFC 7714, 14.2).
const PROFILE_GCM_128: u16 = 7;

/// What a datagram meant.
pub(crate) enum Input {
    /// Nothing to do.
    Nothing,
    /// A check was authentic; `nominated` says that the viewer chose this path.
    Checked { nominated: bool },
    /// The handshake is complete.
    Connected(Sealer),
    /// A compound RTCP packet, authentic.
    Rtcp(BytesMut),
    /// The viewer said goodbye.
    Closed,
    /// The handshake cannot succeed; a short reason for the counter.
    Failed(&'static str),
}

/// A connection.
pub(crate) struct Connection {
    registration: Registration,
    ufrag: String,
    password: IcePassword,
    /// The viewer's ufrag, which its checks name too.
    remote_ufrag: String,
    /// Credentials from before an ICE restart, until the first check with the new ones.
    former: Option<(Registration, String, IcePassword)>,
    fingerprint: Fingerprint,
    wrong_certificate: Arc<AtomicBool>,
    phase: Phase,
    srtcp: Option<Srtcp>,
}

enum Phase {
    /// No complete ClientHello yet.
    Hello(HelloPeek),
    Dtls(Box<Endpoint>),
}

struct Srtcp {
    inbound: Context,
    outbound: Context,
    known: Vec<u32>,
    strangers: u32,
}

impl Connection {
    /// A connection that waits for checks to `ufrag` and a certificate with `fingerprint`.
    pub(crate) fn new(
        registration: Registration,
        ufrag: String,
        pwd: &str,
        remote_ufrag: String,
        fingerprint: Fingerprint,
    ) -> Self {
        Self {
            registration,
            ufrag,
            password: IcePassword::new(pwd),
            remote_ufrag,
            former: None,
            fingerprint,
            wrong_certificate: Arc::default(),
            phase: Phase::Hello(HelloPeek::default()),
            srtcp: None,
        }
    }

    /// Whether the handshake is complete.
    pub(crate) const fn is_established(&self) -> bool {
        self.srtcp.is_some()
    }

    /// Begins an ICE restart: checks with the new credentials count from now on, media flows on meanwhile.
    pub(crate) fn restart(
        &mut self,
        registration: Registration,
        ufrag: String,
        pwd: &str,
        remote_ufrag: String,
    ) {
        self.remote_ufrag = remote_ufrag;
        let registration = std::mem::replace(&mut self.registration, registration);
        let ufrag = std::mem::replace(&mut self.ufrag, ufrag);
        let password = std::mem::replace(&mut self.password, IcePassword::new(pwd));
        self.former = Some((registration, ufrag, password));
    }

    /// Takes a datagram; what has to be sent back to where it came from is appended to `out`.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        datagram: &Datagram,
        identity: &Identity,
        out: &mut Vec<Bytes>,
    ) -> Result<Input, Ignored> {
        match Kind::of(&datagram.bytes).ok_or(Ignored::Garbage)? {
            Kind::Stun => self.check(datagram, out),
            Kind::Dtls => self.dtls(now, &datagram.bytes, identity, out),
            Kind::Rtp => self.rtcp(&datagram.bytes),
        }
    }

    fn check(&mut self, datagram: &Datagram, out: &mut Vec<Bytes>) -> Result<Input, Ignored> {
        let request = BindingRequest::parse(&datagram.bytes).ok_or(Ignored::BadStun)?;
        let is_current = request.local_ufrag() == self.ufrag;
        let password = match &self.former {
            _ if is_current => &self.password,
            Some((_, ufrag, password)) if request.local_ufrag() == ufrag => password,
            _ => return Err(Ignored::UnknownUfrag),
        };
        if !request.is_authentic(password) {
            return Err(Ignored::BadIntegrity);
        }
        // RFC 8839, 5.4: both names must be this session's.
        if is_current && request.remote_ufrag() != self.remote_ufrag {
            return Err(Ignored::UnknownUfrag);
        }
        if request.claims_controlled() {
            out.push(request.role_conflict(password).into());
            return Ok(Input::Nothing);
        }
        out.push(request.success(datagram.remote, password).into());
        self.registration.learn(datagram.remote);
        if is_current {
            self.former = None;
        }
        Ok(Input::Checked { nominated: request.nominates() })
    }

    fn dtls(
        &mut self,
        now: Instant,
        bytes: &Bytes,
        identity: &Identity,
        out: &mut Vec<Bytes>,
    ) -> Result<Input, Ignored> {
        let (endpoint, datagrams) = match &mut self.phase {
            // Anybody can forge an alert that is not encrypted: after the handshake it says nothing.
            Phase::Dtls(_) if self.srtcp.is_some() && is_plain_alert(bytes) => return Err(Ignored::Garbage),
            Phase::Dtls(endpoint) => (endpoint, vec![bytes.clone()]),
            Phase::Hello(peek) => {
                let profiles = match peek.push(bytes.clone()) {
                    Peek::More => return Ok(Input::Nothing),
                    Peek::Refused => return Err(Ignored::Undecryptable),
                    Peek::Profiles(profiles) => profiles,
                };
                let held = std::mem::take(peek).into_held();
                let gcm = profiles.contains(&PROFILE_GCM_128);
                let Ok(endpoint) = endpoint(identity, &self.fingerprint, &self.wrong_certificate, gcm) else {
                    return Ok(Input::Failed("dtls-config"));
                };
                self.phase = Phase::Dtls(Box::new(endpoint));
                let Phase::Dtls(endpoint) = &mut self.phase else { return Ok(Input::Nothing) };
                (endpoint, held)
            }
        };
        let mut input = Input::Nothing;
        let mut refused = None;
        for datagram in datagrams {
            let events = endpoint.read(now, PEER, None, BytesMut::from(&datagram[..]));
            drain(endpoint, out);
            if self.wrong_certificate.load(Ordering::Relaxed) {
                return Ok(Input::Failed("wrong-certificate"));
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
                        let Some((sealer, srtcp)) = export(endpoint, &identity.crypto) else {
                            return Ok(Input::Failed("no-srtp-keys"));
                        };
                        self.srtcp = Some(srtcp);
                        input = Input::Connected(sealer);
                    }
                    EndpointEvent::PeerClosed => return Ok(Input::Closed),
                    // Data channels are not answered: nothing of theirs is read.
                    _ => {}
                }
            }
        }
        match (input, refused) {
            (Input::Nothing, Some(reason)) => Err(reason),
            (input, _) => Ok(input),
        }
    }

    fn rtcp(&mut self, bytes: &[u8]) -> Result<Input, Ignored> {
        let srtcp = self.srtcp.as_mut().ok_or(Ignored::Undecryptable)?;
        // 192 to 223 are RTCP's types (RFC 5761, 4); a viewer has no RTP to send.
        let is_rtcp = bytes.get(1).is_some_and(|kind| (192..=223).contains(kind));
        let sender = bytes.get(4..8).and_then(|ssrc| ssrc.try_into().ok()).map(u32::from_be_bytes);
        let sender = sender.filter(|_| is_rtcp).ok_or(Ignored::Garbage)?;
        let known = srtcp.known.contains(&sender);
        if !known {
            if srtcp.known.len() >= MAX_SENDERS || srtcp.strangers >= MAX_STRANGERS {
                return Err(Ignored::Undecryptable);
            }
            srtcp.strangers += 1;
        }
        let plain = srtcp.inbound.decrypt_rtcp(bytes).map_err(|_| Ignored::Undecryptable)?;
        if !known {
            srtcp.known.push(sender);
        }
        Ok(Input::Rtcp(plain))
    }

    /// Protects a compound RTCP packet; nothing before the handshake is complete.
    pub(crate) fn seal_rtcp(&mut self, compound: &[u8]) -> Option<Bytes> {
        self.srtcp.as_mut()?.outbound.encrypt_rtcp(compound).ok().map(BytesMut::freeze)
    }

    /// Says goodbye (DTLS close_notify).
    pub(crate) fn close(&mut self, now: Instant, out: &mut Vec<Bytes>) {
        if let Phase::Dtls(endpoint) = &mut self.phase {
            let _ = endpoint.close(now);
            drain(endpoint, out);
        }
    }

    /// Repeats a lost handshake flight where that is due. False when the handshake has failed.
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

    /// A connection with these SRTP keys, as if its handshake had just completed: for measuring.
    pub(crate) fn established(
        registration: Registration,
        fingerprint: Fingerprint,
        keys: &SessionKeys,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Option<(Self, Sealer)> {
        let mut connection = Self::new(registration, String::new(), "", String::new(), fingerprint);
        let (sealer, srtcp) = srtp(ProtectionProfile::AeadAes128Gcm, keys, crypto)?;
        connection.srtcp = Some(srtcp);
        Some((connection, sealer))
    }
}

fn drain(endpoint: &mut Endpoint, out: &mut Vec<Bytes>) {
    while let Some(transmit) = endpoint.poll_transmit() {
        out.push(transmit.message.freeze());
    }
}

fn endpoint(
    identity: &Identity,
    fingerprint: &Fingerprint,
    wrong: &Arc<AtomicBool>,
    gcm: bool,
) -> Result<Endpoint, RtcError> {
    let (fingerprint, wrong) = (fingerprint.clone(), wrong.clone());
    let config = ConfigBuilder::default()
        .with_crypto_provider(identity.crypto.clone())
        .with_certificates(vec![identity.certificate.dtls_certificate.clone()])
        // One profile only: `rtc-dtls` would take the client's order, in which GCM is not the first.
        .with_srtp_protection_profiles(vec![if gcm {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm
        } else {
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80
        }])
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_flight_interval(FLIGHT_INTERVAL)
        // Nobody signs these certificates: the fingerprint in the offer vouches for them (RFC 8827, 6.5).
        .with_insecure_skip_verify(true)
        .with_verify_peer_certificate(Some(Arc::new(move |certificates: &[Vec<u8>], _| {
            if certificates.first().is_some_and(|certificate| fingerprint.matches(certificate)) {
                return Ok(());
            }
            wrong.store(true, Ordering::Relaxed);
            Err(RtcError::Other("the certificate is not the offer's".into()))
        })))
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .build(false, None)?;
    Ok(Endpoint::new(PEER, TransportProtocol::UDP, Some(Arc::new(config))))
}

fn export(endpoint: &Endpoint, crypto: &Arc<dyn RTCCryptoProvider>) -> Option<(Sealer, Srtcp)> {
    let state = endpoint.get_connection_state(PEER)?;
    let profile = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        _ => return None,
    };
    let mut config = SrtpConfig { profile, ..SrtpConfig::default() };
    let material =
        state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len()).ok()?;
    config.set_session_keys_from_keying_material(material.as_ref(), false).ok()?;
    srtp(profile, &config.keys, crypto)
}

fn srtp(
    profile: ProtectionProfile,
    keys: &SessionKeys,
    crypto: &Arc<dyn RTCCryptoProvider>,
) -> Option<(Sealer, Srtcp)> {
    let sealer = Sealer::new(profile, keys, crypto)?;
    let (key, salt) = (&keys.local_master_key, &keys.local_master_salt);
    let outbound = Context::new(key, salt, profile, None, None, crypto.crypto()).ok()?;
    let (key, salt) = (&keys.remote_master_key, &keys.remote_master_salt);
    let replay = Some(srtcp_replay_protection(64));
    let inbound = Context::new(key, salt, profile, None, replay, crypto.crypto()).ok()?;
    Some((sealer, Srtcp { inbound, outbound, known: Vec::new(), strangers: 0 }))
}

/// Whether a DTLS datagram holds an alert of epoch 0, in plain text.
fn is_plain_alert(mut bytes: &[u8]) -> bool {
    // A record's header: type, version (2), epoch (2), sequence number (6), length (2) (RFC 6347, 4.1).
    while let Some(header) = bytes.first_chunk::<13>() {
        if header[0] == 21 && header[3..5] == [0, 0] {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        bytes = bytes.get(13 + length..).unwrap_or_default();
    }
    false
}

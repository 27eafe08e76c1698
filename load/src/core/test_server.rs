//! A lite server in memory: the other end of viewers and publishers in tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::answer::{Answer, tests::BICAST};
use super::ice::{Credentials, Transmit, tests::success};
use super::rtp::Kind;
use super::transport::{Identity, Start};

pub(super) const ADDRESS: &str = "127.0.0.1:8189";

/// The beginning of a connection to it.
pub(super) fn start(now: Instant, answer: &Answer) -> Start<'_> {
    Start {
        now,
        identity: Arc::new(Identity::generate().unwrap()),
        local: Credentials { ufrag: "ours".into(), pwd: "password-of-ours-here-22".into() },
        answer,
        candidates: vec![ADDRESS.parse().unwrap()],
        seed: [9; 8],
    }
}

pub(super) struct Server {
    dtls: Endpoint,
    keys: Option<(Context, Context)>,
    pub(super) rtp: Vec<Vec<u8>>,
    pub(super) rtcp: Vec<Box<dyn rtc_rtcp::Packet>>,
    fingerprint: Vec<u8>,
}

impl Server {
    pub(super) fn new(profile: SrtpProtectionProfile) -> Self {
        let crypto = rtc::crypto::default_provider().unwrap();
        let certificate =
            Certificate::generate_self_signed(vec!["server".to_owned()], crypto.crypto()).unwrap();
        let fingerprint = ring::digest::digest(&ring::digest::SHA256, &certificate.certificate[0]);
        let config = ConfigBuilder::default()
            .with_crypto_provider(crypto)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![profile])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(false, None)
            .unwrap();
        Self {
            dtls: Endpoint::new(peer(), TransportProtocol::UDP, Some(Arc::new(config))),
            keys: None,
            rtp: Vec::new(),
            rtcp: Vec::new(),
            fingerprint: fingerprint.as_ref().to_vec(),
        }
    }

    /// Its answer: H.264 as 102 with retransmissions as 103, Opus as 111.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = Answer::parse(BICAST).unwrap();
        answer.fingerprint.1.clone_from(&self.fingerprint);
        answer
    }

    /// Takes what the other end has sent and returns what it says to it.
    pub(super) fn handle(&mut self, now: Instant, sent: &[Transmit]) -> Vec<Vec<u8>> {
        let mut back = Vec::new();
        for Transmit { bytes, .. } in sent {
            match Kind::of(bytes).unwrap() {
                Kind::Stun => back.push(success(bytes, "password-of-the-server-here")),
                Kind::Dtls => {
                    let events = self.dtls.read(now, peer(), None, BytesMut::from(&bytes[..])).unwrap();
                    while let Some(transmit) = self.dtls.poll_transmit() {
                        back.push(transmit.message.to_vec());
                    }
                    if events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) {
                        self.export();
                    }
                }
                Kind::Rtp => {
                    let (inbound, _) = self.keys.as_mut().unwrap();
                    self.rtp.push(inbound.decrypt_rtp(bytes).unwrap().to_vec());
                }
                Kind::Rtcp => {
                    let (inbound, _) = self.keys.as_mut().unwrap();
                    let mut plain = inbound.decrypt_rtcp(bytes).unwrap();
                    self.rtcp.extend(rtc_rtcp::packet::unmarshal(&mut plain).unwrap());
                }
            }
        }
        back
    }

    fn export(&mut self) {
        let state = self.dtls.get_connection_state(peer()).unwrap();
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            _ => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        let mut config = SrtpConfig { profile, ..SrtpConfig::default() };
        let size = config.keying_material_len();
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], size).unwrap();
        config.set_session_keys_from_keying_material(material.as_ref(), false).unwrap();
        let crypto = rtc::crypto::default_provider().unwrap();
        let context =
            |key: &[u8], salt: &[u8]| Context::new(key, salt, profile, None, None, crypto.crypto()).unwrap();
        let keys = &config.keys;
        self.keys = Some((
            context(&keys.remote_master_key, &keys.remote_master_salt),
            context(&keys.local_master_key, &keys.local_master_salt),
        ));
    }

    /// A sealed packet.
    pub(super) fn seal(
        &mut self,
        ssrc: u32,
        payload_type: u8,
        sequence: u16,
        marker: bool,
        frame: u32,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut plain = vec![0x80, u8::from(marker) << 7 | payload_type];
        plain.extend(sequence.to_be_bytes());
        plain.extend((frame * 3_000).to_be_bytes());
        plain.extend(ssrc.to_be_bytes());
        plain.extend_from_slice(payload);
        self.keys.as_mut().unwrap().1.encrypt_rtp(&plain).unwrap().to_vec()
    }

    pub(super) fn seal_rtcp(&mut self, packets: &[Box<dyn rtc_rtcp::Packet>]) -> Vec<u8> {
        let plain = rtc_rtcp::packet::marshal(packets).unwrap();
        self.keys.as_mut().unwrap().1.encrypt_rtcp(&plain).unwrap().to_vec()
    }
}

fn peer() -> SocketAddr {
    "127.0.0.1:5000".parse().unwrap()
}

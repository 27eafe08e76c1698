//! The viewers' ends of a [`super::Fanout`]: what browsers say while they watch.

use std::sync::Arc;

use rtc::crypto::RTCCryptoProvider;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_srtp::config::SessionKeys;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::attributes::ATTR_USERNAME;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter as _, TransactionId};

/// The ICE password of all of them, and their own name.
pub(super) const PASSWORD: &str = "password-of-the-benchmark";
pub(super) const NAME: &str = "viewer";

/// One viewer's end.
pub(super) struct Peer {
    crypto: Arc<dyn RTCCryptoProvider>,
    /// USERNAME of its checks.
    username: String,
    outbound: Context,
    /// The stream that it reports about.
    ssrc: u32,
    sequence: u32,
    checks: u32,
}

impl Peer {
    /// The end to a session with this ufrag. `keys` are the server's.
    pub(super) fn new(
        ufrag: &str,
        ssrc: u32,
        keys: &SessionKeys,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Option<Self> {
        let (key, salt) = (&keys.remote_master_key, &keys.remote_master_salt);
        let profile = ProtectionProfile::AeadAes128Gcm;
        let outbound = Context::new(key, salt, profile, None, None, crypto.crypto()).ok()?;
        let username = format!("{ufrag}:{NAME}");
        Some(Self { crypto: crypto.clone(), username, outbound, ssrc, sequence: 0, checks: 0 })
    }

    /// A receiver report without loss, sealed.
    pub(super) fn report(&mut self) -> Option<Vec<u8>> {
        self.sequence += 260;
        let block = ReceptionReport {
            ssrc: self.ssrc,
            last_sequence_number: self.sequence,
            jitter: 90,
            ..ReceptionReport::default()
        };
        let report = ReceiverReport { ssrc: 1, reports: vec![block], ..ReceiverReport::default() };
        let plain = rtc_rtcp::packet::marshal(&[Box::new(report)]).ok()?;
        self.outbound.encrypt_rtcp(&plain).ok().map(|sealed| sealed.to_vec())
    }

    /// A consent check.
    pub(super) fn check(&mut self) -> Option<Vec<u8>> {
        self.checks += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.checks.to_be_bytes());
        let mut message = Message::new();
        message.typ = BINDING_REQUEST;
        message.transaction_id = TransactionId(id);
        message.write_header();
        message.add(ATTR_USERNAME, self.username.as_bytes());
        MessageIntegrity::new_short_term_integrity_with_provider(PASSWORD.to_owned(), self.crypto.crypto())
            .add_to(&mut message)
            .ok()?;
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }
}

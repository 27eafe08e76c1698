//! One viewer's connection without input or output of its own: ICE-lite, DTLS as the server, SRTP keys, SRTCP.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc::crypto::RTCCryptoProvider;
use rtc_srtp::config::SessionKeys;
use rtc_srtp::context::Context;
use rtc_srtp::option::srtcp_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::core::demux::{Ignored, Kind};
use crate::core::fingerprint::Fingerprint;
use crate::core::ice::{Credentials, IceLite, Verdict};
use crate::core::seal::Sealer;
use crate::core::ssrcs::{Limits, Ssrcs};
use crate::handshake::{Handshake, SrtpKeys, Step};
use crate::port::{Datagram, Registration, Via};
use crate::shared::Identity;

/// RTCP senders of one viewer; browsers have one or two.
const SENDERS: Limits = Limits { known: 16, tries: 256 };

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
    /// That of the credentials from before an ICE restart, until the first check with the new ones.
    former: Option<Registration>,
    ice: IceLite,
    handshake: Handshake,
    srtcp: Option<Srtcp>,
}

struct Srtcp {
    inbound: Context,
    outbound: Context,
    senders: Ssrcs,
}

impl Connection {
    /// A connection that waits for checks and a certificate with `fingerprint`.
    pub(crate) fn new(
        registration: Registration,
        credentials: Credentials,
        fingerprint: Fingerprint,
    ) -> Self {
        Self {
            registration,
            former: None,
            ice: IceLite::new(credentials),
            handshake: Handshake::new(fingerprint),
            srtcp: None,
        }
    }

    /// Whether the handshake is complete.
    pub(crate) const fn is_established(&self) -> bool {
        self.srtcp.is_some()
    }

    /// Begins an ICE restart: checks with the new credentials count from now on, media flows on meanwhile.
    pub(crate) fn restart(&mut self, registration: Registration, credentials: Credentials) {
        self.ice.restart(credentials);
        self.former = Some(std::mem::replace(&mut self.registration, registration));
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
            Kind::Dtls => match self.handshake.read(now, &datagram.bytes, identity, out)? {
                Step::Nothing => Ok(Input::Nothing),
                Step::Complete(agreed) => match srtp(&agreed, &identity.crypto) {
                    Some((sealer, srtcp)) => {
                        self.srtcp = Some(srtcp);
                        Ok(Input::Connected(sealer))
                    }
                    None => Ok(Input::Failed("no-srtp-keys")),
                },
                Step::Closed => Ok(Input::Closed),
                Step::Failed(why) => Ok(Input::Failed(why.name())),
            },
            Kind::Rtp => self.rtcp(&datagram.bytes),
        }
    }

    fn check(&mut self, datagram: &Datagram, out: &mut Vec<Bytes>) -> Result<Input, Ignored> {
        let checked = self.ice.check(&datagram.bytes, datagram.remote)?;
        out.push(checked.answer.into());
        let Verdict::Works { nominated, restarted } = checked.verdict else { return Ok(Input::Nothing) };
        if datagram.via == Via::Udp {
            self.registration.learn(datagram.remote);
        }
        if restarted {
            self.former = None;
        }
        Ok(Input::Checked { nominated })
    }

    fn rtcp(&mut self, bytes: &[u8]) -> Result<Input, Ignored> {
        let srtcp = self.srtcp.as_mut().ok_or(Ignored::Undecryptable)?;
        // 192 to 223 are RTCP's types (RFC 5761, 4); a viewer has no RTP to send.
        let is_rtcp = bytes.get(1).is_some_and(|kind| (192..=223).contains(kind));
        let sender = bytes.get(4..8).and_then(|ssrc| ssrc.try_into().ok()).map(u32::from_be_bytes);
        let sender = sender.filter(|_| is_rtcp).ok_or(Ignored::Garbage)?;
        if !srtcp.senders.may_try(sender) {
            return Err(Ignored::Undecryptable);
        }
        let plain = srtcp.inbound.decrypt_rtcp(bytes).map_err(|_| Ignored::Undecryptable)?;
        srtcp.senders.was_authentic(sender);
        Ok(Input::Rtcp(plain))
    }

    /// Protects a compound RTCP packet; nothing before the handshake is complete.
    pub(crate) fn seal_rtcp(&mut self, compound: &[u8]) -> Option<Bytes> {
        self.srtcp.as_mut()?.outbound.encrypt_rtcp(compound).ok().map(BytesMut::freeze)
    }

    /// Says goodbye (DTLS close_notify).
    pub(crate) fn close(&mut self, now: Instant, out: &mut Vec<Bytes>) {
        self.handshake.close(now, out);
    }

    /// Repeats a lost handshake flight where that is due. False when the handshake has failed.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Bytes>) -> bool {
        self.handshake.handle_timeout(now, out)
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.handshake.poll_timeout()
    }

    /// A connection with these SRTP keys, as if its handshake had just completed: for measuring.
    pub(crate) fn established(
        registration: Registration,
        credentials: Credentials,
        fingerprint: Fingerprint,
        keys: SessionKeys,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Option<(Self, Sealer)> {
        let mut connection = Self::new(registration, credentials, fingerprint);
        let agreed = SrtpKeys { profile: ProtectionProfile::AeadAes128Gcm, keys };
        let (sealer, srtcp) = srtp(&agreed, crypto)?;
        connection.srtcp = Some(srtcp);
        Some((connection, sealer))
    }
}

fn srtp(agreed: &SrtpKeys, crypto: &Arc<dyn RTCCryptoProvider>) -> Option<(Sealer, Srtcp)> {
    let SrtpKeys { profile, keys } = agreed;
    let sealer = Sealer::new(*profile, keys, crypto)?;
    let (key, salt) = (&keys.local_master_key, &keys.local_master_salt);
    let outbound = Context::new(key, salt, *profile, None, None, crypto.crypto()).ok()?;
    let (key, salt) = (&keys.remote_master_key, &keys.remote_master_salt);
    let replay = Some(srtcp_replay_protection(64));
    let inbound = Context::new(key, salt, *profile, None, replay, crypto.crypto()).ok()?;
    Some((sealer, Srtcp { inbound, outbound, senders: Ssrcs::new(SENDERS) }))
}

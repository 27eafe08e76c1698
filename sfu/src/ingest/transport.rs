//! One publisher's transport, without input or output of its own: ICE-lite, DTLS as the server, SRTP both ways.
//!
//! It stands on the component crates and not on `rtc`'s peer connection: that one's ICE agent keeps to its first
//! nominated pair for ever (a publisher that changes from Wi-Fi to cable would be cut off), drops DTLS before the
//! nomination, and logs a warning for every datagram that somebody forges. The answers to STUN are the same as for
//! viewers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use rtc::crypto::RTCCryptoProvider;
use rtc_rtcp::packet::Packet as RtcpPacket;
use rtc_shared::error::Error as RtcError;
use rtc_shared::marshal::Unmarshal as _;
use rtc_shared::util::is_rtcp;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};

use crate::core::demux::{Ignored, Kind};
use crate::core::fingerprint::Fingerprint;
use crate::core::ice::{Credentials, IceLite, Verdict};
use crate::core::ssrcs::{Limits, Ssrcs};
use crate::handshake::{Failure, Handshake, SrtpKeys, Step};
use crate::port::{ConnectionId, Datagram, Via};
use crate::shared::Identity;

/// Packets that may arrive late, in SRTP's replay window: as many as ingest takes.
const REPLAY_WINDOW: usize = 2_048;
/// SSRCs of one publisher: three layers, their retransmissions and sound are 7.
const SSRCS: Limits = Limits { known: 64, tries: 4_096 };

/// What a datagram was.
pub(crate) enum Input {
    /// Nothing to tell: part of a handshake, or a check that has to be repeated.
    Nothing,
    /// A check from this address was authentic. `restarted`: it is the first one of a restarted session.
    Checked { remote: SocketAddr, restarted: bool },
    /// The handshake is complete: media can come.
    Connected,
    /// The handshake cannot succeed.
    Failed(Failure),
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
    pub(crate) via: Via,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) bytes: Bytes,
}

/// The transport.
pub(crate) struct Transport {
    ice: IceLite,
    handshake: Handshake,
    path: Option<Path>,
    keys: Option<Keys>,
    transmits: VecDeque<Transmit>,
}

#[derive(Clone, Copy)]
struct Path {
    via: Via,
    local: SocketAddr,
    remote: SocketAddr,
    nominated: bool,
}

struct Keys {
    inbound: Context,
    outbound: Context,
    ssrcs: Ssrcs,
}

impl Transport {
    /// A transport that waits for a publisher with this certificate.
    pub(crate) fn new(credentials: Credentials, fingerprint: Fingerprint) -> Self {
        Self {
            ice: IceLite::new(credentials),
            handshake: Handshake::new(fingerprint),
            path: None,
            keys: None,
            transmits: VecDeque::new(),
        }
    }

    /// Takes a datagram.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &Datagram,
        identity: &Identity,
    ) -> Result<Input, Ignored> {
        match Kind::of(&datagram.bytes).ok_or(Ignored::Garbage)? {
            Kind::Stun => self.check(datagram),
            Kind::Dtls => self.dtls(now, &datagram.bytes, identity),
            Kind::Rtp => self.media(&datagram.bytes),
        }
    }

    /// Seals and sends a compound RTCP packet. Without a connection it is dropped.
    pub(crate) fn send_rtcp(&mut self, compound: &[Box<dyn RtcpPacket>]) {
        let Some(keys) = &mut self.keys else { return };
        let sealed = rtc_rtcp::packet::marshal(compound).and_then(|plain| keys.outbound.encrypt_rtcp(&plain));
        match sealed {
            Ok(sealed) => self.send([sealed.freeze()]),
            Err(error) => tracing::debug!(%error, "cannot send RTCP"),
        }
    }

    /// Begins an ICE restart: checks with the new credentials count from now on, media flows on meanwhile.
    pub(crate) fn restart(&mut self, credentials: Credentials) {
        self.ice.restart(credentials);
    }

    /// Says goodbye (DTLS close_notify).
    pub(crate) fn close(&mut self, now: Instant) {
        let mut out = Vec::new();
        self.handshake.close(now, &mut out);
        self.send(out);
        self.keys = None;
    }

    /// Repeats a lost handshake flight where that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut out = Vec::new();
        // A handshake that has failed ends with the time to connect, as one that never began does.
        let _ = self.handshake.handle_timeout(now, &mut out);
        self.send(out);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.handshake.poll_timeout()
    }

    /// What has to be sent.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Its TCP connection is no more: nothing is sent until its next check, which may come by another.
    pub(crate) fn lose(&mut self, id: ConnectionId) {
        if self.connection() == Some(id) {
            self.path = None;
        }
    }

    /// The TCP connection that it uses, if it uses one.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.path.and_then(|path| match path.via {
            Via::Udp => None,
            Via::Tcp(id) => Some(id),
        })
    }

    /// Where the publisher is.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.path.map(|path| path.remote)
    }

    fn check(&mut self, datagram: &Datagram) -> Result<Input, Ignored> {
        let checked = self.ice.check(&datagram.bytes, datagram.remote)?;
        let Datagram { via, local, remote, .. } = *datagram;
        self.transmits.push_back(Transmit { via, local, remote, bytes: checked.answer.into() });
        let Verdict::Works { nominated, restarted } = checked.verdict else { return Ok(Input::Nothing) };
        // Before the nomination the last checked path serves: the handshake need not wait for it. But not a TCP one
        // where there is UDP: publishers check both at once.
        let as_good = |old: Path| !old.nominated && (via == Via::Udp || old.via != Via::Udp);
        if nominated || restarted || self.path.is_none_or(as_good) {
            self.path = Some(Path { via, local, remote, nominated });
        }
        Ok(Input::Checked { remote, restarted })
    }

    fn dtls(&mut self, now: Instant, bytes: &Bytes, identity: &Identity) -> Result<Input, Ignored> {
        let mut out = Vec::new();
        let step = self.handshake.read(now, bytes, identity, &mut out);
        self.send(out);
        match step? {
            Step::Nothing => Ok(Input::Nothing),
            Step::Complete(agreed) => match Keys::new(&agreed, &*identity.crypto) {
                Ok(keys) => {
                    self.keys = Some(keys);
                    Ok(Input::Connected)
                }
                Err(error) => {
                    tracing::debug!(%error, "no SRTP keys");
                    Ok(Input::Failed(Failure::NoKeys))
                }
            },
            Step::Closed => Ok(Input::Closed),
            Step::Failed(why) => Ok(Input::Failed(why)),
        }
    }

    fn media(&mut self, bytes: &[u8]) -> Result<Input, Ignored> {
        let keys = self.keys.as_mut().ok_or(Ignored::Undecryptable)?;
        let rtcp = is_rtcp(bytes);
        let at = if rtcp { 4 } else { 8 };
        let ssrc = bytes.get(at..at + 4).and_then(|ssrc| ssrc.try_into().ok()).map(u32::from_be_bytes);
        let ssrc = ssrc.ok_or(Ignored::Garbage)?;
        if !keys.ssrcs.may_try(ssrc) {
            return Err(Ignored::Undecryptable);
        }
        let input = if rtcp {
            let mut plain = keys.inbound.decrypt_rtcp(bytes).map_err(|_| Ignored::Undecryptable)?;
            Input::Rtcp(rtc_rtcp::packet::unmarshal(&mut plain).map_err(|_| Ignored::Garbage)?)
        } else {
            let mut plain = keys.inbound.decrypt_rtp(bytes).map_err(|_| Ignored::Undecryptable)?;
            Input::Rtp(rtp::Packet::unmarshal(&mut plain).map_err(|_| Ignored::Garbage)?)
        };
        keys.ssrcs.was_authentic(ssrc);
        Ok(input)
    }

    fn send(&mut self, datagrams: impl IntoIterator<Item = Bytes>) {
        let Some(Path { via, local, remote, .. }) = self.path else { return };
        let transmits = datagrams.into_iter().map(|bytes| Transmit { via, local, remote, bytes });
        self.transmits.extend(transmits);
    }
}

impl Keys {
    fn new(agreed: &SrtpKeys, crypto: &dyn RTCCryptoProvider) -> Result<Self, RtcError> {
        let SrtpKeys { profile, keys } = agreed;
        let outbound = Context::new(
            &keys.local_master_key,
            &keys.local_master_salt,
            *profile,
            None,
            None,
            crypto.crypto(),
        )?;
        let inbound = Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            *profile,
            Some(srtp_replay_protection(REPLAY_WINDOW)),
            Some(srtcp_replay_protection(64)),
            crypto.crypto(),
        )?;
        Ok(Self { inbound, outbound, ssrcs: Ssrcs::new(SSRCS) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fingerprint::tests as fingerprint;
    use crate::core::stun::tests::check;

    fn transport() -> (Transport, Identity) {
        let credentials = Credentials::new("u", "p", "x");
        let transport = Transport::new(credentials, fingerprint::of(b"a certificate"));
        (transport, Identity::generate().unwrap())
    }

    fn datagram(from: &str, bytes: Vec<u8>) -> Datagram {
        Datagram {
            via: Via::Udp,
            local: "127.0.0.1:8189".parse().unwrap(),
            remote: from.parse().unwrap(),
            received: bicast_shared::clock::now(),
            bytes: bytes.into(),
        }
    }

    fn give(
        (transport, identity): &mut (Transport, Identity),
        from: &str,
        bytes: Vec<u8>,
    ) -> Result<Input, Ignored> {
        let datagram = datagram(from, bytes);
        transport.handle_datagram(datagram.received, &datagram, identity)
    }

    #[test]
    fn paths_follow_nomination_and_checks_before_it() {
        let mut transport = transport();
        let at = |rig: &(Transport, Identity)| rig.0.remote().map(|remote| remote.to_string());
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
        assert!(transport.0.poll_transmit().is_none(), "nothing is answered to strangers");
        assert!(matches!(
            give(&mut transport, a, check("u:x", "p", false, false)),
            Ok(Input::Checked { .. })
        ));
        assert_eq!(at(&transport).as_deref(), Some(a));
        assert!(transport.0.poll_transmit().is_some());
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
        transport.0.restart(Credentials::new("new", "q", "x"));
        give(&mut transport, a, check("u:x", "p", true, false)).unwrap();
        assert_eq!(transport.0.remote().unwrap().to_string(), a);
        give(&mut transport, b, check("new:x", "q", false, false)).unwrap();
        assert_eq!(transport.0.remote().unwrap().to_string(), b);
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
        while transport.0.poll_transmit().is_some() {}
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
            assert!(transport.0.transmits.len() < 100, "{n}");
        }
    }
}

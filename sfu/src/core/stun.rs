//! The STUN that an ICE-lite agent needs (RFC 8445 with RFC 8489): reading binding requests and answering them.
//!
//! `rtc-ice`'s agent is not quite lite: it pings clients back, and leaves a first check that already nominates
//! (Firefox's) unanswered. A lite agent only verifies, answers and remembers.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;
use rtc_stun::attributes::{
    ATTR_ERROR_CODE, ATTR_FINGERPRINT, ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE,
    ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS,
};
use rtc_stun::fingerprint::{FINGERPRINT_SIZE, fingerprint_value};
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, MAGIC_COOKIE, MESSAGE_HEADER_SIZE};

/// MESSAGE-INTEGRITY's value: an HMAC-SHA1.
const INTEGRITY_SIZE: usize = 20;

/// A binding request as it came. Everything in it is hearsay until [`BindingRequest::is_authentic`] says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BindingRequest<'a> {
    bytes: &'a [u8],
    /// USERNAME: the receiver's ufrag, a colon, the sender's.
    username: &'a str,
    /// Where the MESSAGE-INTEGRITY attribute begins.
    integrity_at: usize,
    use_candidate: bool,
    controlled: bool,
}

impl<'a> BindingRequest<'a> {
    /// Reads a datagram; none when it is not a well-formed binding request with USERNAME and MESSAGE-INTEGRITY.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<MESSAGE_HEADER_SIZE>()?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if u16::from_be_bytes([header[0], header[1]]) != BINDING_REQUEST.value()
            || header[4..8] != MAGIC_COOKIE.to_be_bytes()
            || !length.is_multiple_of(4)
            || bytes.len() != MESSAGE_HEADER_SIZE + length
        {
            return None;
        }
        let (mut username, mut integrity_at, mut use_candidate, mut controlled) = (None, None, false, false);
        let mut at = MESSAGE_HEADER_SIZE;
        while let Some(head) = bytes.get(at..at + 4) {
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let size = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = bytes.get(at + 4..at + 4 + size)?;
            // What follows MESSAGE-INTEGRITY is not protected by it: only FINGERPRINT may count.
            if kind == ATTR_FINGERPRINT.0 {
                if size != FINGERPRINT_SIZE || value != fingerprint_value(&bytes[..at]).to_be_bytes() {
                    return None;
                }
            } else if integrity_at.is_none() {
                match kind {
                    k if k == ATTR_USERNAME.0 => username = std::str::from_utf8(value).ok(),
                    k if k == ATTR_USE_CANDIDATE.0 => use_candidate = true,
                    k if k == ATTR_ICE_CONTROLLED.0 => controlled = true,
                    k if k == ATTR_MESSAGE_INTEGRITY.0 && size == INTEGRITY_SIZE => integrity_at = Some(at),
                    _ => {}
                }
            }
            at += 4 + size.next_multiple_of(4);
        }
        Some(Self { bytes, username: username?, integrity_at: integrity_at?, use_candidate, controlled })
    }

    /// Names the check: its sender draws one anew for each (RFC 8489, 5).
    pub(crate) fn transaction(&self) -> [u8; 12] {
        self.bytes.get(8..20).and_then(|id| id.try_into().ok()).unwrap_or_default()
    }

    /// The ufrag of the side that the request is for: whose session it names.
    pub(crate) fn local_ufrag(&self) -> &'a str {
        self.username.split_once(':').map_or(self.username, |(local, _)| local)
    }

    /// The ufrag of the side that sent it.
    pub(crate) fn remote_ufrag(&self) -> &'a str {
        self.username.split_once(':').map_or("", |(_, remote)| remote)
    }

    /// Whether the controlling side chose this pair.
    pub(crate) const fn nominates(&self) -> bool {
        self.use_candidate
    }

    /// Whether the sender believes to be the controlled side, as a lite agent always is (RFC 8445, 7.3.1.1).
    pub(crate) const fn claims_controlled(&self) -> bool {
        self.controlled
    }

    /// Whether it was made by somebody who knows the password of the local ufrag.
    pub(crate) fn is_authentic(&self, password: &IcePassword) -> bool {
        let mut mac = hmac::Context::with_key(&password.0);
        // The HMAC is over the message as if it ended with MESSAGE-INTEGRITY (RFC 8489, 14.5).
        let length = self.integrity_at - MESSAGE_HEADER_SIZE + 4 + INTEGRITY_SIZE;
        mac.update(&self.bytes[..2]);
        mac.update(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        mac.update(&self.bytes[4..self.integrity_at]);
        let told = &self.bytes[self.integrity_at + 4..self.integrity_at + 4 + INTEGRITY_SIZE];
        constant_time_eq(mac.sign().as_ref(), told)
    }

    /// The answer: the address that the request came from.
    pub(crate) fn success(&self, from: SocketAddr, password: &IcePassword) -> Vec<u8> {
        let mut message = self.begin(BINDING_SUCCESS.value());
        let cookie = MAGIC_COOKIE.to_be_bytes();
        let port = from.port() ^ u16::from_be_bytes([cookie[0], cookie[1]]);
        let mut value = Vec::with_capacity(20);
        value.extend_from_slice(if from.is_ipv4() { &[0, 1] } else { &[0, 2] });
        value.extend_from_slice(&port.to_be_bytes());
        // The address is XORed with the cookie and the transaction id: bytes 4 to 20 of the header.
        let mask = &self.bytes[4..MESSAGE_HEADER_SIZE];
        match from.ip() {
            IpAddr::V4(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
            IpAddr::V6(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
        }
        attribute(&mut message, ATTR_XORMAPPED_ADDRESS.0, &value);
        finish(message, password)
    }

    /// The answer to a sender that believes to be controlled: 487, after which it takes the controlling role.
    pub(crate) fn role_conflict(&self, password: &IcePassword) -> Vec<u8> {
        let mut message = self.begin(BINDING_ERROR.value());
        attribute(&mut message, ATTR_ERROR_CODE.0, &[&[0, 0, 4, 87][..], b"Role Conflict"].concat());
        finish(message, password)
    }

    fn begin(&self, kind: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(96);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 0]);
        message.extend_from_slice(&self.bytes[4..MESSAGE_HEADER_SIZE]);
        message
    }
}

/// The password of a local ufrag, ready for use.
#[derive(Clone)]
pub(crate) struct IcePassword(hmac::Key);

impl IcePassword {
    pub(crate) fn new(password: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()))
    }
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn finish(mut message: Vec<u8>, password: &IcePassword) -> Vec<u8> {
    set_length(&mut message, 4 + INTEGRITY_SIZE);
    let integrity = hmac::sign(&password.0, &message);
    attribute(&mut message, ATTR_MESSAGE_INTEGRITY.0, integrity.as_ref());
    set_length(&mut message, 4 + FINGERPRINT_SIZE);
    let fingerprint = fingerprint_value(&message);
    attribute(&mut message, ATTR_FINGERPRINT.0, &fingerprint.to_be_bytes());
    message
}

/// Writes the length as if `more` bytes followed.
fn set_length(message: &mut [u8], more: usize) {
    let length = u16::try_from(message.len() - MESSAGE_HEADER_SIZE + more).unwrap_or(u16::MAX);
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use rtc_stun::fingerprint::FINGERPRINT;
    use rtc_stun::integrity::MessageIntegrity;
    use rtc_stun::message::{Getter as _, Message, Setter as _, TransactionId};
    use rtc_stun::textattrs::TextAttribute;
    use rtc_stun::xoraddr::XorMappedAddress;

    use super::*;

    /// A check as a browser sends it, built by an independent implementation.
    pub(crate) fn check(username: &str, password: &str, nominate: bool, controlled: bool) -> Vec<u8> {
        static CHECKS: AtomicU32 = AtomicU32::new(0);
        let mut id = [7; 12];
        id[..4].copy_from_slice(&CHECKS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let crypto = rtc::crypto::default_provider().unwrap();
        let mut message = Message::new();
        message.typ = BINDING_REQUEST;
        message.transaction_id = TransactionId(id);
        message.write_header();
        TextAttribute::new(ATTR_USERNAME, username.to_owned()).add_to(&mut message).unwrap();
        message.add(ATTR_ICE_CONTROLLED, &[]);
        if !controlled {
            message.reset();
            message.typ = BINDING_REQUEST;
            message.transaction_id = TransactionId(id);
            message.write_header();
            TextAttribute::new(ATTR_USERNAME, username.to_owned()).add_to(&mut message).unwrap();
        }
        if nominate {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto())
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    #[test]
    fn a_check_is_read_and_its_password_verified() {
        let bytes = check("ours:theirs", "secret", true, false);
        let request = BindingRequest::parse(&bytes).unwrap();
        assert_eq!((request.local_ufrag(), request.remote_ufrag()), ("ours", "theirs"));
        assert!(request.nominates() && !request.claims_controlled());
        assert!(request.is_authentic(&IcePassword::new("secret")));
        assert!(!request.is_authentic(&IcePassword::new("Secret")));
        let bytes = check("ours:theirs", "secret", false, true);
        let request = BindingRequest::parse(&bytes).unwrap();
        assert!(!request.nominates() && request.claims_controlled());
    }

    #[test]
    fn answers_are_accepted_by_an_independent_reader() {
        let crypto = rtc::crypto::default_provider().unwrap();
        let bytes = check("a:b", "secret", false, false);
        let request = BindingRequest::parse(&bytes).unwrap();
        let password = IcePassword::new("secret");
        for from in ["192.0.2.7:50000", "[2001:db8::5]:9"] {
            let from: SocketAddr = from.parse().unwrap();
            for answer in [request.success(from, &password), request.role_conflict(&password)] {
                let mut message = Message::new();
                message.unmarshal_binary(&answer).unwrap();
                assert_eq!(message.transaction_id.0[..], bytes[8..20]);
                FINGERPRINT.check(&message).unwrap();
                MessageIntegrity::check(&mut message, b"secret", crypto.crypto()).unwrap();
                if message.typ == BINDING_SUCCESS {
                    let mut address = XorMappedAddress::default();
                    address.get_from(&message).unwrap();
                    assert_eq!(SocketAddr::new(address.ip, address.port), from);
                } else {
                    assert_eq!(message.get(ATTR_ERROR_CODE).unwrap()[..4], [0, 0, 4, 87]);
                }
            }
        }
    }

    #[test]
    fn nothing_behind_the_integrity_is_believed() {
        let mut bytes = check("a:b", "secret", false, false);
        bytes.truncate(bytes.len() - 8);
        attribute(&mut bytes, ATTR_USE_CANDIDATE.0, &[]);
        set_length(&mut bytes, 0);
        let request = BindingRequest::parse(&bytes).unwrap();
        assert!(request.is_authentic(&IcePassword::new("secret")));
        assert!(!request.nominates());
    }

    #[test]
    fn damaged_checks_are_refused_and_survived() {
        let good = check("a:b", "secret", true, false);
        let password = IcePassword::new("secret");
        for end in 0..good.len() {
            assert!(BindingRequest::parse(&good[..end]).is_none(), "{end} bytes");
        }
        // The last 8 bytes are FINGERPRINT, behind the integrity: flipping its type only makes it unknown.
        for at in 0..good.len() - 8 {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= flip;
                let believed =
                    BindingRequest::parse(&bytes).is_some_and(|request| request.is_authentic(&password));
                assert!(!believed, "byte {at} ^ {flip:02x}");
            }
        }
    }
}

//! A STUN connectivity check as a browser sends it (RFC 8445, 7.2.2), and the reading of its answer.
//!
//! Built and read with `rtc-stun`, not with the SFU's own code: what answers its own mistakes would look healthy.

use std::net::SocketAddr;
use std::sync::Arc;

use rtc::crypto::RTCCryptoProvider;
use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USERNAME};
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter as _, Message, Setter as _, TransactionId,
};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;

/// What a peer-reflexive candidate of ours would have: type preference 110, one interface, component 1 (RFC 8445, 5.1.2).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// What names a request and its answer.
pub(crate) type Transaction = [u8; 12];

/// Makes checks of one session and knows their answers.
#[derive(Clone)]
pub(crate) struct Checker {
    crypto: Arc<dyn RTCCryptoProvider>,
    username: String,
    password: String,
    tie_breaker: u64,
}

/// What a datagram turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The answer to one of our requests, by who knows the password.
    Success { transaction: Transaction, seen_as: SocketAddr },
    /// An answer to one of our requests that is none: why.
    Wrong(String),
    /// Something else.
    Foreign,
}

impl Checker {
    /// For a session where the server answered with `their_ufrag` and `their_pwd`, and we offered `our_ufrag`.
    pub(crate) fn new(
        crypto: Arc<dyn RTCCryptoProvider>,
        our_ufrag: &str,
        their_ufrag: &str,
        their_pwd: &str,
        tie_breaker: u64,
    ) -> Self {
        // First the ufrag of whoever receives it, then the sender's (RFC 8445, 7.2.2).
        let username = format!("{their_ufrag}:{our_ufrag}");
        Self { crypto, username, password: their_pwd.to_owned(), tie_breaker }
    }

    /// A binding request. It nominates nothing: the server must not take it for a chosen path.
    ///
    /// # Errors
    /// Where a ufrag is longer than STUN can carry.
    pub(crate) fn request(&self, transaction: Transaction) -> anyhow::Result<Vec<u8>> {
        let mut message = Message::new();
        message.typ = BINDING_REQUEST;
        message.transaction_id = TransactionId(transaction);
        message.write_header();
        TextAttribute::new(ATTR_USERNAME, self.username.clone()).add_to(&mut message)?;
        message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &self.tie_breaker.to_be_bytes());
        self.seal(&mut message)?;
        Ok(message.raw)
    }

    /// What came back, to requests with these transactions.
    pub(crate) fn read(&self, bytes: &[u8], asked: &[Transaction]) -> Reading {
        let mut message = Message::new();
        if message.unmarshal_binary(bytes).is_err() {
            return Reading::Foreign;
        }
        let transaction = message.transaction_id.0;
        if !asked.contains(&transaction) {
            return Reading::Foreign;
        }
        if message.typ == BINDING_ERROR {
            let mut code = ErrorCodeAttribute::default();
            return Reading::Wrong(match code.get_from(&message) {
                Ok(()) => format!("a STUN error {}", code.code.0),
                Err(_) => "a STUN error without a code".into(),
            });
        }
        let mut mapped = XorMappedAddress::default();
        let crypto = self.crypto.crypto();
        if message.typ != BINDING_SUCCESS || FINGERPRINT.check(&message).is_err() {
            Reading::Wrong("no STUN answer to a binding request".into())
        } else if MessageIntegrity::check(&mut message, self.password.as_bytes(), crypto).is_err() {
            Reading::Wrong("a STUN answer that the session's password does not fit".into())
        } else if mapped.get_from(&message).is_err() {
            Reading::Wrong("a STUN answer without XOR-MAPPED-ADDRESS".into())
        } else {
            Reading::Success { transaction, seen_as: SocketAddr::new(mapped.ip, mapped.port) }
        }
    }

    fn seal(&self, message: &mut Message) -> anyhow::Result<()> {
        let crypto = self.crypto.crypto();
        MessageIntegrity::new_short_term_integrity_with_provider(self.password.clone(), crypto)
            .add_to(message)?;
        FINGERPRINT.add_to(message)?;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rtc_stun::attributes::{ATTR_FINGERPRINT, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE};

    use super::*;

    pub(crate) fn checker(password: &str) -> Checker {
        Checker::new(rtc::crypto::default_provider().unwrap(), "ours", "theirs", password, 7)
    }

    impl Checker {
        /// The answer that a server would give to `request`.
        pub(crate) fn answer(&self, request: &[u8], from: SocketAddr) -> Vec<u8> {
            let mut asked = Message::new();
            asked.unmarshal_binary(request).unwrap();
            let mut message = Message::new();
            message.typ = BINDING_SUCCESS;
            message.transaction_id = asked.transaction_id;
            message.write_header();
            XorMappedAddress { ip: from.ip(), port: from.port() }.add_to(&mut message).unwrap();
            self.seal(&mut message).unwrap();
            message.raw
        }
    }

    #[test]
    fn a_request_has_all_that_a_server_may_ask_for() {
        let request = checker("secret").request([9; 12]).unwrap();
        let mut message = Message::new();
        message.unmarshal_binary(&request).unwrap();
        assert_eq!(message.get(ATTR_USERNAME).unwrap(), b"theirs:ours");
        assert_eq!(message.get(ATTR_PRIORITY).unwrap(), 1_862_270_975_u32.to_be_bytes());
        assert_eq!(message.get(ATTR_ICE_CONTROLLING).unwrap(), 7_u64.to_be_bytes());
        assert!(message.get(ATTR_USE_CANDIDATE).is_err());
        let kinds: Vec<_> = message.attributes.0.iter().map(|attribute| attribute.typ).collect();
        assert!(kinds.ends_with(&[ATTR_MESSAGE_INTEGRITY, ATTR_FINGERPRINT]));
    }

    #[test]
    fn only_the_answer_of_who_knows_the_password_counts() {
        let (ours, stranger) = (checker("secret"), checker("Secret"));
        let request = ours.request([9; 12]).unwrap();
        let from: SocketAddr = "[2001:db8::5]:9".parse().unwrap();
        let success = Reading::Success { transaction: [9; 12], seen_as: from };
        assert_eq!(ours.read(&ours.answer(&request, from), &[[9; 12]]), success);
        assert_eq!(ours.read(&ours.answer(&request, from), &[[8; 12]]), Reading::Foreign);
        let Reading::Wrong(why) = ours.read(&stranger.answer(&request, from), &[[9; 12]]) else { panic!() };
        assert!(why.contains("password"), "{why}");
        let Reading::Wrong(why) = ours.read(&request, &[[9; 12]]) else { panic!("an echo is no answer") };
        assert!(why.contains("no STUN answer"), "{why}");
    }

    #[test]
    fn damaged_answers_are_survived() {
        let ours = checker("secret");
        let answer = ours.answer(&ours.request([9; 12]).unwrap(), "192.0.2.1:5".parse().unwrap());
        let is_taken = |bytes: &[u8]| matches!(ours.read(bytes, &[[9; 12]]), Reading::Success { .. });
        assert!(is_taken(&answer));
        for end in 0..answer.len() {
            assert!(!is_taken(&answer[..end]), "{end} bytes");
        }
        for at in 0..answer.len() {
            let mut bytes = answer.clone();
            bytes[at] ^= 0xff;
            assert!(!is_taken(&bytes), "byte {at}");
        }
    }
}

//! The controlling end of ICE (RFC 8445): checks with nomination, consent (RFC 7675), and answers to a server that
//! checks, too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, MessageType, Setter as _, TransactionId,
};
use rtc_stun::xoraddr::XorMappedAddress;

/// Between two checks until one is answered (RFC 8445, 14.2: at least 50 ms for each of a few candidates).
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Consent checks, and how far they are spread (RFC 7675, 5.1: 5 s, 0.8 to 1.2 of it).
const CONSENT_INTERVAL: Duration = Duration::from_secs(4);
const CONSENT_SPREAD: u64 = 2_000;
/// Without an answer this long the path is dead (RFC 7675, 5.1).
const CONSENT_EXPIRY: Duration = Duration::from_secs(30);
/// Answers to this many last checks are accepted.
const OUTSTANDING: u32 = 64;
/// Candidates tried.
const MAX_CANDIDATES: usize = 8;
/// Priority of a host candidate (RFC 8445, 5.1.2.2).
pub const HOST_PRIORITY: u32 = 2_130_706_431;

/// One end's name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// ICE username fragment.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// The agent.
pub struct Ice {
    local: Credentials,
    remote: Credentials,
    crypto: Arc<dyn RTCCryptoProvider>,
    candidates: Vec<SocketAddr>,
    selected: Option<SocketAddr>,
    /// The first 8 bytes of transaction ids, and the tie breaker.
    seed: [u8; 8],
    checks: u32,
    next: Instant,
    /// When the last answer came.
    heard: Instant,
}

impl Ice {
    /// An agent that begins to check at `now`. `seed` is random.
    #[must_use]
    pub fn new(
        now: Instant,
        local: Credentials,
        remote: Credentials,
        mut candidates: Vec<SocketAddr>,
        seed: [u8; 8],
        crypto: Arc<dyn RTCCryptoProvider>,
    ) -> Self {
        candidates.truncate(MAX_CANDIDATES);
        Self { local, remote, crypto, candidates, selected: None, seed, checks: 0, next: now, heard: now }
    }

    /// The server's address, once it has answered.
    #[must_use]
    pub const fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub const fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// Sends the check that is due. False when the path is dead.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Transmit>) -> bool {
        if self.next > now {
            return true;
        }
        let (to, wait) = if let Some(selected) = self.selected {
            if now.saturating_duration_since(self.heard) >= CONSENT_EXPIRY {
                return false;
            }
            (selected, self.consent_interval())
        } else {
            let Some(count) = u32::try_from(self.candidates.len()).ok().filter(|count| *count > 0) else {
                return false;
            };
            (self.candidates[(self.checks % count) as usize], CHECK_INTERVAL)
        };
        self.next = now + wait;
        let id = self.transaction(self.checks);
        self.checks = self.checks.wrapping_add(1);
        if let Some(bytes) = self.check(id) {
            out.push(Transmit { to, bytes });
        }
        true
    }

    /// Spread, so that thousands of viewers that came together do not ask together.
    fn consent_interval(&self) -> Duration {
        let [a, b, ..] = self.seed;
        let spread = u64::from(u16::from_be_bytes([a, b])).wrapping_add(u64::from(self.checks) * 619);
        CONSENT_INTERVAL + Duration::from_millis(spread % CONSENT_SPREAD)
    }

    fn transaction(&self, number: u32) -> TransactionId {
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.seed);
        id[8..].copy_from_slice(&number.to_be_bytes());
        TransactionId(id)
    }

    /// Whether a transaction is one of the last checks.
    fn is_ours(&self, id: TransactionId) -> bool {
        let behind = id.0.last_chunk().map(|number| self.checks.wrapping_sub(u32::from_be_bytes(*number)));
        id.0[..8] == self.seed
            && behind.is_some_and(|behind| (1..=OUTSTANDING.min(self.checks)).contains(&behind))
    }

    fn check(&self, id: TransactionId) -> Option<Vec<u8>> {
        let mut message = begin(BINDING_REQUEST, id);
        message.add(ATTR_USERNAME, format!("{}:{}", self.remote.ufrag, self.local.ufrag).as_bytes());
        // Every check nominates: the servers that media is asked of are lite, and then the first path that works is
        // the one (RFC 8445, 8.1.1 leaves the choice to us).
        message.add(ATTR_USE_CANDIDATE, &[]);
        message.add(ATTR_ICE_CONTROLLING, &self.seed);
        message.add(ATTR_PRIORITY, &HOST_PRIORITY.to_be_bytes());
        self.seal(message, &self.remote.pwd)
    }

    fn seal(&self, mut message: Message, password: &str) -> Option<Vec<u8>> {
        MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), self.crypto.crypto())
            .add_to(&mut message)
            .ok()?;
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }

    /// Takes a STUN message. True when it chose the path: the first answer to a check.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Transmit>) -> bool {
        let mut message = Message::new();
        if message.unmarshal_binary(bytes).is_err() {
            return false;
        }
        if message.typ == BINDING_REQUEST {
            out.extend(self.answer(from, message));
            return false;
        }
        let authentic = |message: &mut Message, password: &str| {
            MessageIntegrity::check(message, password.as_bytes(), self.crypto.crypto()).is_ok()
        };
        if message.typ == BINDING_ERROR || !self.is_ours(message.transaction_id) {
            return false;
        }
        if message.typ != BINDING_SUCCESS || !authentic(&mut message, &self.remote.pwd) {
            return false;
        }
        self.heard = now;
        if self.selected.is_some() {
            return false;
        }
        self.selected = Some(from);
        // Where several were tried, the server shall know at once which one stays.
        self.next =
            if self.checks > 1 && self.candidates.len() > 1 { now } else { now + self.consent_interval() };
        true
    }

    /// Answers a check of the server.
    fn answer(&self, from: SocketAddr, mut request: Message) -> Option<Transmit> {
        MessageIntegrity::check(&mut request, self.local.pwd.as_bytes(), self.crypto.crypto()).ok()?;
        let mut message = begin(BINDING_SUCCESS, request.transaction_id);
        XorMappedAddress { ip: from.ip(), port: from.port() }
            .add_to_as(&mut message, ATTR_XORMAPPED_ADDRESS)
            .ok()?;
        let bytes = self.seal(message, &self.local.pwd)?;
        Some(Transmit { to: from, bytes })
    }
}

fn begin(kind: MessageType, id: TransactionId) -> Message {
    let mut message = Message::new();
    message.typ = kind;
    message.transaction_id = id;
    message.write_header();
    message
}

#[cfg(test)]
pub(crate) mod tests {
    use rtc_stun::message::Getter as _;

    use super::*;

    const SERVER: &str = "192.0.2.1:8189";

    fn credentials(name: &str) -> Credentials {
        Credentials { ufrag: format!("{name}-ufrag"), pwd: format!("{name}-password-of-22-characters") }
    }

    fn agent(now: Instant, candidates: &[&str]) -> Ice {
        let candidates = candidates.iter().map(|text| text.parse().unwrap()).collect();
        let crypto = rtc::crypto::default_provider().unwrap();
        Ice::new(now, credentials("ours"), credentials("theirs"), candidates, [7; 8], crypto)
    }

    /// A lite server's answer to a check.
    pub(crate) fn success(check: &[u8], password: &str) -> Vec<u8> {
        let crypto = rtc::crypto::default_provider().unwrap();
        let mut request = Message::new();
        request.unmarshal_binary(check).unwrap();
        MessageIntegrity::check(&mut request, password.as_bytes(), crypto.crypto()).unwrap();
        let mut answer = begin(BINDING_SUCCESS, request.transaction_id);
        MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto())
            .add_to(&mut answer)
            .unwrap();
        FINGERPRINT.add_to(&mut answer).unwrap();
        answer.raw
    }

    #[test]
    fn checks_nominate_and_the_first_answer_chooses_the_path() {
        let now = bicast_shared::clock::now();
        let mut ice = agent(now, &["198.51.100.9:1", SERVER]);
        let mut out = Vec::new();
        assert!(ice.handle_timeout(now, &mut out));
        assert!(ice.handle_timeout(now + CHECK_INTERVAL, &mut out));
        assert_eq!(out.len(), 2);
        assert_eq!(out[1].to, SERVER.parse::<SocketAddr>().unwrap());
        let mut check = Message::new();
        check.unmarshal_binary(&out[1].bytes).unwrap();
        assert!(check.contains(ATTR_USE_CANDIDATE) && check.contains(ATTR_ICE_CONTROLLING));
        assert_eq!(check.get(ATTR_USERNAME).unwrap(), b"theirs-ufrag:ours-ufrag");
        FINGERPRINT.check(&check).unwrap();

        let answer = success(&out[1].bytes, &credentials("theirs").pwd);
        let from = SERVER.parse().unwrap();
        let mut forged = answer.clone();
        forged[30] ^= 1;
        assert!(!ice.handle(now, from, &forged, &mut out));
        assert!(ice.handle(now, from, &answer, &mut out));
        assert_eq!(ice.selected(), Some(from));
        assert!(!ice.handle(now, "203.0.113.1:5".parse().unwrap(), &answer, &mut out), "chosen once");
        out.clear();
        ice.handle_timeout(now + CHECK_INTERVAL, &mut out);
        assert_eq!(out[0].to, from, "the server is told again which of several it is");
    }

    #[test]
    fn consent_is_asked_for_now_and_then_and_expires() {
        let now = bicast_shared::clock::now();
        let mut ice = agent(now, &[SERVER]);
        let mut out = Vec::new();
        ice.handle_timeout(now, &mut out);
        let answer = success(&out[0].bytes, &credentials("theirs").pwd);
        assert!(ice.handle(now, SERVER.parse().unwrap(), &answer, &mut out));
        out.clear();
        let mut asked = 0;
        for second in 1..30 {
            assert!(ice.handle_timeout(now + Duration::from_secs(second), &mut out));
            asked += std::mem::take(&mut out).len();
        }
        assert!((4..=7).contains(&asked), "{asked} in 29 s");
        assert!(!ice.handle_timeout(now + Duration::from_secs(40), &mut out), "nobody answered");
    }

    #[test]
    fn a_server_that_checks_is_answered_and_strangers_are_not() {
        let now = bicast_shared::clock::now();
        let mut ice = agent(now, &[SERVER]);
        let crypto = rtc::crypto::default_provider().unwrap();
        let check = |password: &str| {
            let mut message = begin(BINDING_REQUEST, TransactionId([3; 12]));
            message.add(ATTR_USERNAME, b"ours-ufrag:theirs-ufrag");
            MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto())
                .add_to(&mut message)
                .unwrap();
            message.raw
        };
        let mut out = Vec::new();
        let from = SERVER.parse().unwrap();
        ice.handle(now, from, &check("wrong"), &mut out);
        assert!(out.is_empty());
        ice.handle(now, from, &check(&credentials("ours").pwd), &mut out);
        let mut answer = Message::new();
        answer.unmarshal_binary(&out[0].bytes).unwrap();
        let mut address = XorMappedAddress::default();
        address.get_from(&answer).unwrap();
        assert_eq!(SocketAddr::new(address.ip, address.port), from);
        for size in 0..40 {
            ice.handle(now, from, &vec![0; size], &mut out);
        }
        assert_eq!(out.len(), 1, "garbage is not answered");
    }

    #[test]
    fn without_candidates_there_is_no_path() {
        let now = bicast_shared::clock::now();
        assert!(!agent(now, &[]).handle_timeout(now, &mut Vec::new()));
    }
}

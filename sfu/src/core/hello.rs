//! Looks into a DTLS ClientHello for the SRTP profiles that the client offers, before a DTLS endpoint exists.
//!
//! Chromium lists AES_CM_128_HMAC_SHA1_80 before GCM and `rtc-dtls` takes the client's order, but GCM costs half the
//! CPU per packet. So the endpoint is built for GCM alone where the client has it. A ClientHello with a post-quantum
//! key share comes in two datagrams, which have to be put together first; they are held and replayed to the endpoint.

use bytes::Bytes;

use super::dtls::{CLIENT_HELLO, HANDSHAKE, fragments, records};

/// The largest ClientHello that is put together. Chromium's has 1.4 KiB.
const MAX_HELLO: usize = 8 << 10;
/// Datagrams held until the hello is complete; repetitions count.
const MAX_HELD: usize = 8;

const EXTENSION_USE_SRTP: u16 = 14;

/// What is known after a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peek {
    /// A part is missing.
    More,
    /// The SRTP protection profiles that the client offers, in its order (RFC 5764, 4.1.2).
    Profiles(Vec<u16>),
    /// This is no ClientHello, or one that is too large: drop it.
    Refused,
}

/// Puts one client's first ClientHello together.
#[derive(Debug, Default)]
pub(crate) struct HelloPeek {
    held: Vec<Bytes>,
    body: Vec<u8>,
    /// Which bytes of `body` have come.
    filled: Vec<bool>,
}

impl HelloPeek {
    /// Takes a datagram that may carry (a fragment of) a ClientHello.
    pub(crate) fn push(&mut self, datagram: Bytes) -> Peek {
        if !self.read_records(&datagram) {
            return Peek::Refused;
        }
        if self.held.len() >= MAX_HELD {
            // Fragments of different hellos: begin again with the next one.
            *self = Self::default();
            return Peek::Refused;
        }
        self.held.push(datagram);
        if self.filled.is_empty() || self.filled.contains(&false) {
            return Peek::More;
        }
        match profiles(&self.body) {
            Some(profiles) => Peek::Profiles(profiles),
            None => {
                *self = Self::default();
                Peek::Refused
            }
        }
    }

    /// The datagrams in the order in which they came, for the endpoint.
    pub(crate) fn into_held(self) -> Vec<Bytes> {
        self.held
    }

    /// False where there is anything but (fragments of) a ClientHello.
    fn read_records(&mut self, datagram: &[u8]) -> bool {
        let mut any = false;
        for record in records(datagram) {
            let Ok(record) = record else { return false };
            if record.kind != HANDSHAKE || !self.read_fragments(record.content) {
                return false;
            }
            any = true;
        }
        any
    }

    fn read_fragments(&mut self, record: &[u8]) -> bool {
        for fragment in fragments(record) {
            let Ok(fragment) = fragment else { return false };
            let end = fragment.offset + fragment.content.len();
            let fits = (1..=MAX_HELLO).contains(&fragment.total) && end <= fragment.total;
            if fragment.kind != CLIENT_HELLO || !fits {
                return false;
            }
            if self.body.len() != fragment.total {
                self.body = vec![0; fragment.total];
                self.filled = vec![false; fragment.total];
            }
            self.body[fragment.offset..end].copy_from_slice(fragment.content);
            self.filled[fragment.offset..end].fill(true);
        }
        true
    }
}

/// The `use_srtp` profiles of a ClientHello's body (RFC 6347, 4.2.1); empty where it has none. Extensions are found by
/// type: Chromium shuffles them.
fn profiles(body: &[u8]) -> Option<Vec<u16>> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?;
    let session_id = reader.byte()?;
    reader.take(session_id.into())?;
    let cookie = reader.byte()?;
    reader.take(cookie.into())?;
    let suites = reader.short()?;
    reader.take(suites.into())?;
    let compressions = reader.byte()?;
    reader.take(compressions.into())?;
    if reader.0.is_empty() {
        return Some(Vec::new());
    }
    let length = reader.short()?;
    let mut extensions = Reader(reader.take(length.into())?);
    while !extensions.0.is_empty() {
        let kind = extensions.short()?;
        let length = extensions.short()?;
        let mut value = Reader(extensions.take(length.into())?);
        if kind == EXTENSION_USE_SRTP {
            let length = value.short()?;
            let list = value.take(length.into())?;
            return Some(list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect());
        }
    }
    Some(Vec::new())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::dtls::testing::{fragment, record};
    use super::*;

    /// The body of a ClientHello with the cipher suite ECDHE-ECDSA-AES128-GCM.
    pub(crate) fn hello(profiles: &[u16]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([9; 32]);
        body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        let mut extensions = vec![0, 23, 0, 0];
        extensions.extend([0x44, 0x69, 4, 0]);
        extensions.extend([0; 1_024]);
        let list: Vec<u8> = profiles.iter().flat_map(|profile| profile.to_be_bytes()).collect();
        let size = u16::try_from(list.len()).unwrap();
        extensions.extend([0, 14]);
        extensions.extend((size + 3).to_be_bytes());
        extensions.extend(size.to_be_bytes());
        extensions.extend(list);
        extensions.push(0);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        body
    }

    /// A datagram with `length` bytes of a ClientHello's body from `offset` on.
    pub(crate) fn datagram(body: &[u8], offset: usize, length: usize) -> Bytes {
        let [total, at, size] = [body.len(), offset, length].map(|n| u32::try_from(n).unwrap());
        let content = &body[offset..offset + length];
        record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 0, total, at, size, content)).into()
    }

    #[test]
    fn profiles_are_found_in_a_hello_of_two_datagrams_in_either_order() {
        let body = hello(&[1, 8, 7]);
        let (first, second) = (datagram(&body, 0, 900), datagram(&body, 900, body.len() - 900));
        for order in [[&first, &second], [&second, &first]] {
            let mut peek = HelloPeek::default();
            assert_eq!(peek.push(order[0].clone()), Peek::More);
            assert_eq!(peek.push(order[0].clone()), Peek::More, "repeated by the client's timer");
            assert_eq!(peek.push(order[1].clone()), Peek::Profiles(vec![1, 8, 7]));
            assert_eq!(peek.into_held().len(), 3);
        }
        let mut whole = HelloPeek::default();
        assert_eq!(whole.push(datagram(&body, 0, body.len())), Peek::Profiles(vec![1, 8, 7]));
    }

    #[test]
    fn what_is_no_hello_is_refused_and_bounded() {
        let body = hello(&[7]);
        let good = datagram(&body, 0, body.len());
        for end in 0..good.len() {
            assert_eq!(HelloPeek::default().push(good.slice(..end)), Peek::Refused, "{end} bytes");
        }
        for at in 0..good.len() {
            let mut bytes = good.to_vec();
            bytes[at] ^= 0xff;
            HelloPeek::default().push(bytes.into());
        }
        let mut peek = HelloPeek::default();
        let part = datagram(&body, 0, 10);
        for _ in 0..MAX_HELD {
            assert_eq!(peek.push(part.clone()), Peek::More);
        }
        assert_eq!(peek.push(part), Peek::Refused);
        assert!(peek.held.is_empty());
        let huge = vec![0; MAX_HELLO + 1];
        assert_eq!(HelloPeek::default().push(datagram(&huge, 0, 100)), Peek::Refused);
    }
}

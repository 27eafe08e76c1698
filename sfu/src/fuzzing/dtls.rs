//! The handshake as strangers see it: the guard, the look into the ClientHello, and the DTLS library behind them.

use std::sync::OnceLock;
use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;

use super::demux::datagram;
use super::{below, start};
use crate::core::dtls::testing::{fragment, record};
use crate::core::dtls::{CLIENT_HELLO, HANDSHAKE};
use crate::core::fingerprint::{Fingerprint, Read};
use crate::handshake::{Handshake, Step};
use crate::shared::Identity;

/// A ClientHello that the library takes, then whatever the bytes say, with time passing: nobody gets through, and what is
/// sent back stays in proportion.
pub fn dtls(data: &[u8]) {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    let identity = IDENTITY.get_or_init(|| Identity::generate().unwrap());
    let mut steps = Unstructured::new(data);
    let text = format!("sha-256 {}", ["AB"; 32].join(":"));
    let Some(Read::Usable(fingerprint)) = Fingerprint::read(&text) else { panic!("{text}") };
    let mut handshake = Handshake::new(fingerprint);
    let (mut now, mut out) = (start(), Vec::new());
    let mut cookie = Vec::new();
    if below(&mut steps, 4) > 0 {
        // As a client does: the hello, and the same with the cookie that it is answered with.
        for number in 0..2 {
            let hello = hello(&cookie, number);
            let _ = handshake.read(now, &hello, identity, &mut out);
            if let Some(found) = out.first().and_then(|verify: &Bytes| verify.get(28..)) {
                cookie = found.to_vec();
            }
        }
    }
    let mut sent: usize = out.iter().map(Bytes::len).sum();
    let mut turns = 0;
    while !steps.is_empty() && turns < 64 {
        turns += 1;
        out.clear();
        if below(&mut steps, 4) == 0 {
            now += Duration::from_millis(u64::from(below(&mut steps, 4_000)));
            handshake.handle_timeout(now, &mut out);
        } else {
            let datagram: Bytes = datagram(&mut steps).into();
            let step = handshake.read(now, &datagram, identity, &mut out);
            assert!(!matches!(step, Ok(Step::Complete(_))), "no certificate, no keys");
        }
        sent += out.iter().map(Bytes::len).sum::<usize>();
    }
    out.clear();
    handshake.close(now, &mut out);
    // A flight of ours has less than 2 KiB; it is repeated by a timer or by a repetition of the client's.
    assert!(sent <= 2_048 * (turns + 3), "{sent} bytes in {turns} turns");
}

/// The ClientHello of a browser, in one fragment.
fn hello(cookie: &[u8], number: u8) -> Bytes {
    let mut body = vec![0xfe, 0xfd];
    body.extend([9; 32]);
    body.push(0);
    body.push(u8::try_from(cookie.len()).unwrap_or(0));
    body.extend(cookie.iter().take(255));
    body.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    // supported_groups x25519 and P-256, ec_point_formats, signature_algorithms, extended_master_secret, use_srtp
    let mut extensions =
        vec![0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 8, 7];
    extensions.extend([0, 23, 0, 0, 0, 14, 0, 5, 0, 2, 0, 7, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let size = u32::try_from(body.len()).unwrap();
    let mut datagram = record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, number, size, 0, size, &body));
    datagram[10] = number;
    datagram.into()
}

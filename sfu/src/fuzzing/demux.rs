//! Datagrams before anything is known about their sender.

use std::net::SocketAddr;

use arbitrary::Unstructured;
use bytes::Bytes;
use rtc_stun::attributes::ATTR_USERNAME;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Getter as _, Message, Setter as _, TransactionId};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;

use super::{below, bytes};
use crate::core::demux::Kind;
use crate::core::dtls::testing::{fragment, record};
use crate::core::dtls::{CLIENT_HELLO, HANDSHAKE, fragments, records};
use crate::core::guard::Guard;
use crate::core::hello::{HelloPeek, Peek};
use crate::core::stun::{BindingRequest, IcePassword};
use crate::port::Port;

const PASSWORD: &str = "secret";

/// One datagram as it comes, a check that is damaged, a ClientHello in pieces, or many DTLS datagrams.
pub fn demux(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    match below(&mut steps, 4) {
        0 => one(steps.take_rest()),
        1 => check(&mut steps),
        2 => hello(&mut steps),
        _ => flood(&mut steps),
    }
}

fn one(datagram: &[u8]) {
    let kind = Kind::of(datagram);
    if let Some(request) = BindingRequest::parse(datagram) {
        assert_eq!(kind, Some(Kind::Stun));
        answer(&request, datagram);
    }
    let remote: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let port = Port::new(Vec::new(), Vec::new(), Vec::new(), Vec::new());
    assert!(port.route(datagram, remote).is_err(), "nobody is there");
    assert!(port.route_connection(datagram).is_err());
    let admitted = Guard::default().admit(datagram, false).is_ok();
    if admitted {
        assert!(records(datagram).all(|record| record.is_ok()));
    }
    let peeked = HelloPeek::default().push(Bytes::copy_from_slice(datagram));
    if admitted && matches!(peeked, Peek::Profiles(_)) {
        assert_eq!(kind, Some(Kind::Dtls));
    }
}

/// What an independent reader makes of a check and of our answers to it.
fn answer(request: &BindingRequest<'_>, datagram: &[u8]) {
    let crypto = rtc::crypto::default_provider().unwrap();
    let mut read = Message::new();
    read.unmarshal_binary(datagram).expect("an independent reader takes it too");
    let name = read.get(ATTR_USERNAME).expect("it has a USERNAME");
    let name = std::str::from_utf8(&name).unwrap();
    let (local, remote) = name.split_once(':').unwrap_or((name, ""));
    assert_eq!((request.local_ufrag(), request.remote_ufrag()), (local, remote));
    let password = IcePassword::new(PASSWORD);
    for from in ["192.0.2.7:50000", "[2001:db8::5]:9"] {
        let from: SocketAddr = from.parse().unwrap();
        for answer in [request.success(from, &password), request.role_conflict(&password)] {
            assert!(answer.len() <= 128);
            let mut read = Message::new();
            read.unmarshal_binary(&answer).unwrap();
            assert_eq!(read.transaction_id.0[..], datagram[8..20]);
            FINGERPRINT.check(&read).unwrap();
            MessageIntegrity::check(&mut read, PASSWORD.as_bytes(), crypto.crypto()).unwrap();
            let mut address = XorMappedAddress::default();
            if address.get_from(&read).is_ok() {
                assert_eq!(SocketAddr::new(address.ip, address.port), from);
            }
        }
    }
}

/// A check by an independent writer is read as it was meant, and not believed once a byte of it has changed.
fn check(steps: &mut Unstructured<'_>) {
    let crypto = rtc::crypto::default_provider().unwrap();
    let name = String::from_utf8_lossy(bytes(steps, 60)).into_owned();
    let mut message = Message::new();
    message.typ = BINDING_REQUEST;
    message.transaction_id = TransactionId(steps.arbitrary().unwrap_or_default());
    message.write_header();
    TextAttribute::new(ATTR_USERNAME, name).add_to(&mut message).unwrap();
    for _ in 0..below(steps, 4) {
        let kind = steps.arbitrary().unwrap_or(0_u16);
        let value = bytes(steps, 40);
        // Those that mean something to the reader's end.
        if !matches!(kind, 0x0006 | 0x0008 | 0x8028) {
            message.add(rtc_stun::attributes::AttrType(kind), value);
        }
    }
    MessageIntegrity::new_short_term_integrity_with_provider(PASSWORD.to_owned(), crypto.crypto())
        .add_to(&mut message)
        .unwrap();
    let protected = message.raw.len();
    FINGERPRINT.add_to(&mut message).unwrap();
    let request = BindingRequest::parse(&message.raw).expect("a whole check");
    assert!(request.is_authentic(&IcePassword::new(PASSWORD)));
    assert!(!request.is_authentic(&IcePassword::new("Secret")));
    answer(&request, &message.raw);
    let at = usize::try_from(below(steps, u32::try_from(protected).unwrap())).unwrap();
    let mut damaged = message.raw.clone();
    damaged[at] ^= steps.arbitrary().unwrap_or(1_u8).max(1);
    let believed = BindingRequest::parse(&damaged);
    assert!(!believed.is_some_and(|request| request.is_authentic(&IcePassword::new(PASSWORD))), "byte {at}");
}

/// A ClientHello in any pieces, in any order, some of them twice.
fn hello(steps: &mut Unstructured<'_>) {
    let offered: Vec<u16> = (0..below(steps, 6)).map(|_| steps.arbitrary().unwrap_or(7)).collect();
    let body = client_hello(steps, &offered);
    let mut cuts: Vec<usize> =
        (0..below(steps, 4)).map(|_| steps.choose_index(body.len()).unwrap_or(1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    let three = |n: usize| u32::try_from(n).unwrap();
    let mut pieces: Vec<Bytes> = cuts
        .windows(2)
        .map(|cut| {
            let (at, size) = (three(cut[0]), three(cut[1] - cut[0]));
            let piece = &body[cut[0]..cut[1]];
            record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 0, three(body.len()), at, size, piece)).into()
        })
        .collect();
    let swap = steps.choose_index(pieces.len()).unwrap_or(0);
    pieces.swap(0, swap);
    if steps.arbitrary().unwrap_or(false) {
        pieces.insert(0, pieces[swap].clone());
    }
    let (mut peek, mut guard) = (HelloPeek::default(), Guard::default());
    let last = pieces.pop().unwrap();
    for piece in &pieces {
        assert_eq!(guard.admit(piece, false), Ok(()));
        // All of it may be there before the last piece, which comes twice then.
        if let Peek::Profiles(profiles) = peek.push(piece.clone()) {
            assert_eq!(profiles, offered);
            return;
        }
    }
    assert_eq!(guard.admit(&last, false), Ok(()));
    assert_eq!(peek.push(last), Peek::Profiles(offered));
    assert_eq!(peek.into_held().len(), pieces.len() + 1);
}

fn client_hello(steps: &mut Unstructured<'_>, profiles: &[u16]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend([9; 32]);
    let short = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let tiny = |n: usize| u8::try_from(n).unwrap();
    let session = bytes(steps, 32);
    body.push(tiny(session.len()));
    body.extend(session);
    let cookie = bytes(steps, 40);
    body.push(tiny(cookie.len()));
    body.extend(cookie);
    body.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    let mut extensions = Vec::new();
    for _ in 0..below(steps, 3) {
        let kind = steps.arbitrary().unwrap_or(0_u16);
        let value = bytes(steps, 300);
        if kind != 14 {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(short(value.len()));
            extensions.extend(value);
        }
    }
    if !profiles.is_empty() {
        extensions.extend([0, 14]);
        extensions.extend(short(profiles.len() * 2 + 3));
        extensions.extend(short(profiles.len() * 2));
        extensions.extend(profiles.iter().flat_map(|profile| profile.to_be_bytes()));
        extensions.push(0);
    }
    body.extend(short(extensions.len()));
    body.extend(extensions);
    body
}

/// Datagram after datagram: what passes the guard stays bounded, and what it lets through is well formed.
fn flood(steps: &mut Unstructured<'_>) {
    let (mut guard, mut peek) = (Guard::default(), HelloPeek::default());
    let (mut plain, mut late, mut kept, mut early) = (0, 0, 0, 0);
    let mut complete = false;
    while !steps.is_empty() {
        complete |= below(steps, 64) == 63;
        let datagram = datagram(steps);
        let repeated = 1 + below(steps, 8) * below(steps, 24);
        for _ in 0..repeated {
            if guard.admit(&datagram, complete).is_err() {
                continue;
            }
            for record in records(&datagram) {
                let record = record.expect("the guard lets only whole records through");
                if record.epoch > 0 {
                    early += u32::from(!complete);
                    continue;
                }
                assert!(!complete || record.kind != crate::core::dtls::ALERT, "anybody could have sent it");
                if record.kind != HANDSHAKE {
                    continue;
                }
                for fragment in fragments(record.content) {
                    let fragment = fragment.expect("the guard lets only whole fragments through");
                    assert!(fragment.offset + fragment.content.len() <= fragment.total);
                    assert!(fragment.total == 0 || !fragment.content.is_empty());
                    kept += fragment.content.len();
                    *if complete { &mut late } else { &mut plain } += 1;
                }
            }
            if let Peek::Profiles(_) = peek.push(Bytes::copy_from_slice(&datagram)) {
                let held = std::mem::take(&mut peek).into_held();
                assert!((1..=8).contains(&held.len()));
                let mut again = HelloPeek::default();
                let last = held.into_iter().map(|datagram| again.push(datagram)).last();
                assert!(matches!(last, Some(Peek::Profiles(_))), "what was held is the hello");
            }
        }
    }
    assert!(plain <= 128 && late <= 64 && early <= 32 && kept <= 64 << 10, "{plain} {late} {early} {kept}");
}

/// A DTLS datagram: any bytes, or records of (mostly) well-formed fragments.
pub(super) fn datagram(steps: &mut Unstructured<'_>) -> Vec<u8> {
    if below(steps, 8) == 0 {
        return bytes(steps, 300).to_vec();
    }
    let mut datagram = Vec::new();
    for _ in 0..=below(steps, 3) {
        let kind =
            [HANDSHAKE, HANDSHAKE, HANDSHAKE, 20, 21, 23, 99][usize::try_from(below(steps, 7)).unwrap()];
        let epoch = u8::from(below(steps, 5) == 4);
        let mut content = Vec::new();
        if kind == HANDSHAKE && epoch == 0 {
            for _ in 0..=below(steps, 3) {
                let kinds = [CLIENT_HELLO, 11, 16, 15, 20, 0];
                let kind = kinds[usize::try_from(below(steps, 6)).unwrap()];
                let piece = bytes(steps, 60);
                let size = u32::try_from(piece.len()).unwrap();
                let offset = below(steps, 40);
                let total =
                    if steps.ratio(1, 4).unwrap_or(false) { below(steps, 20_000) } else { offset + size };
                let told = if steps.ratio(1, 16).unwrap_or(false) { below(steps, 1 << 24) } else { size };
                content.extend(fragment(kind, steps.arbitrary().unwrap_or(0), total, offset, told, piece));
            }
        } else {
            content.extend(bytes(steps, 60));
        }
        let mut whole = record(kind, epoch, &content);
        let number = steps.arbitrary().unwrap_or(0_u32).to_be_bytes();
        whole[7..11].copy_from_slice(&number);
        datagram.extend(whole);
    }
    datagram
}

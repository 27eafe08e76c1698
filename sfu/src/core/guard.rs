//! What may reach the DTLS library of one peer: well-formed records, and a bounded number of them.
//!
//! `rtc-dtls` keeps every fragment of a handshake message, counts those without content as nothing and puts messages together
//! by recursion, one call per fragment; and it queues records of the next epoch without a bound. A stranger who passed one
//! STUN check, or somebody who forges a peer's address, must not be able to use either.

use super::demux::Ignored;
use super::dtls::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Truncated, fragments, records};

/// The largest handshake message: a chain of certificates. Browsers send one of 300 to 1,000 bytes.
const MAX_MESSAGE: usize = 16 << 10;
/// Messages of a client's side of a handshake, by their number; it sends six.
const MAX_MESSAGE_NUMBER: u16 = 15;
/// Fragments taken in a handshake. Six messages in two fragments each, repeated ten times.
const MAX_FRAGMENTS: u32 = 128;
/// Bytes of handshake messages taken in a handshake.
const MAX_BYTES: usize = 64 << 10;
/// Encrypted records taken before the handshake is complete: the client's Finished, and its repetitions.
const MAX_EARLY: u32 = 32;
/// Plain fragments taken after it: the client repeats its last flight when ours was lost (RFC 6347, 4.2.4).
const MAX_LATE: u32 = 64;

/// Counts what one peer's DTLS has been given.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    fragments: u32,
    bytes: usize,
    early: u32,
    late: u32,
}

impl Guard {
    /// Whether a datagram may be read. `complete` says whether the handshake is.
    pub(crate) fn admit(&mut self, datagram: &[u8], complete: bool) -> Result<(), Ignored> {
        for record in records(datagram) {
            let record = record?;
            match record.kind {
                CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE | APPLICATION_DATA if record.epoch > 0 => {
                    if !complete {
                        self.early = count(self.early, MAX_EARLY)?;
                    }
                }
                // Anybody can forge an alert that is not encrypted: after the handshake it says nothing.
                ALERT if complete => return Err(Ignored::Garbage),
                CHANGE_CIPHER_SPEC | ALERT => {}
                HANDSHAKE => self.admit_messages(record.content, complete)?,
                _ => return Err(Ignored::Garbage),
            }
        }
        Ok(())
    }

    fn admit_messages(&mut self, record: &[u8], complete: bool) -> Result<(), Ignored> {
        for fragment in fragments(record) {
            let fragment = fragment?;
            let length = fragment.content.len();
            let fits = fragment.total <= MAX_MESSAGE
                && fragment.offset + length <= fragment.total
                && fragment.message <= MAX_MESSAGE_NUMBER;
            // A fragment without content is a whole message without content, or made to be kept for nothing.
            if !fits || (length == 0 && fragment.total != 0) {
                return Err(Ignored::Garbage);
            }
            if complete {
                self.late = count(self.late, MAX_LATE)?;
            } else {
                self.fragments = count(self.fragments, MAX_FRAGMENTS)?;
            }
            self.bytes += length;
            if self.bytes > MAX_BYTES {
                return Err(Ignored::Flood);
            }
        }
        Ok(())
    }
}

impl From<Truncated> for Ignored {
    fn from(_: Truncated) -> Self {
        Self::Garbage
    }
}

fn count(so_far: u32, most: u32) -> Result<u32, Ignored> {
    if so_far < most { Ok(so_far + 1) } else { Err(Ignored::Flood) }
}

#[cfg(test)]
mod tests {
    use super::super::dtls::testing::record;
    use super::super::hello::tests::{datagram, hello};
    use super::*;

    /// A fragment of a certificate message.
    fn fragment(number: u8, total: u32, offset: u32, length: u32, content: &[u8]) -> Vec<u8> {
        super::super::dtls::testing::fragment(11, number, total, offset, length, content)
    }

    #[test]
    fn a_handshake_is_admitted_with_its_repetitions() {
        let mut guard = Guard::default();
        let body = hello(&[7]);
        for _ in 0..10 {
            assert_eq!(guard.admit(&datagram(&body, 0, 900), false), Ok(()));
            assert_eq!(guard.admit(&datagram(&body, 900, body.len() - 900), false), Ok(()));
            let flight =
                [record(22, 0, &fragment(2, 4, 0, 4, b"abcd")), record(20, 0, &[1]), record(22, 1, &[0; 40])];
            assert_eq!(guard.admit(&flight.concat(), false), Ok(()));
        }
        for _ in 0..1_000 {
            assert_eq!(
                guard.admit(&record(23, 1, &[0; 40]), true),
                Ok(()),
                "encrypted ones prove themselves"
            );
        }
    }

    #[test]
    fn fragments_that_lie_are_garbage() {
        let mut guard = Guard::default();
        let mut admit = |content: &[u8]| guard.admit(&record(22, 0, content), false);
        assert_eq!(admit(&fragment(1, 0, 0, 1, b"")), Err(Ignored::Garbage), "longer than its message");
        assert_eq!(admit(&fragment(1, 9, 0, 0, b"")), Err(Ignored::Garbage), "nothing of something");
        assert_eq!(admit(&fragment(1, 9, 8, 2, b"ab")), Err(Ignored::Garbage), "beyond the end");
        assert_eq!(admit(&fragment(1, 9, 0, 9, b"ab")), Err(Ignored::Garbage), "more than is there");
        assert_eq!(admit(&fragment(99, 2, 0, 2, b"ab")), Err(Ignored::Garbage), "a message far ahead");
        assert_eq!(admit(&fragment(1, 1 << 20, 0, 2, b"ab")), Err(Ignored::Garbage), "a huge message");
        assert_eq!(admit(&[1, 2, 3]), Err(Ignored::Garbage));
        assert_eq!(admit(&fragment(1, 0, 0, 0, b"")), Ok(()), "a message without content");
        assert_eq!(guard.admit(&[22, 254, 253, 0, 0], false), Err(Ignored::Garbage), "half a header");
        assert_eq!(guard.admit(&record(99, 0, &[]), false), Err(Ignored::Garbage));
    }

    #[test]
    fn nothing_is_taken_without_end() {
        let admitted = |content: &[u8], kind: u8, epoch: u8, complete: bool| {
            let mut guard = Guard::default();
            let datagram = record(kind, epoch, content);
            (0..100_000).filter(|_| guard.admit(&datagram, complete).is_ok()).count()
        };
        let small = fragment(1, 9_000, 5, 1, b"x");
        assert_eq!(admitted(&small, HANDSHAKE, 0, false), MAX_FRAGMENTS as usize);
        assert_eq!(admitted(&small, HANDSHAKE, 0, true), MAX_LATE as usize);
        let large = fragment(1, 9_000, 0, 1_000, &[0; 1_000]);
        assert_eq!(admitted(&large, HANDSHAKE, 0, false), MAX_BYTES / 1_000);
        assert_eq!(admitted(&[0; 40], APPLICATION_DATA, 1, false), MAX_EARLY as usize);
        assert_eq!(admitted(&[1, 0], ALERT, 0, true), 0);
        // Many fragments in one datagram count each.
        let mut guard = Guard::default();
        let many = record(HANDSHAKE, 0, &small.repeat(100));
        assert_eq!((guard.admit(&many, false), guard.admit(&many, false)), (Ok(()), Err(Ignored::Flood)));
    }

    #[test]
    fn whatever_comes_is_survived() {
        let mut random = 1_u32;
        for length in 0..2_000_usize {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    random.to_be_bytes()[0]
                })
                .collect();
            let _ = Guard::default().admit(&bytes, length % 2 == 0);
            let _ = Guard::default().admit(&record(HANDSHAKE, 0, &bytes), length % 2 == 0);
        }
    }
}

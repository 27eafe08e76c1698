//! AAC from RTP (RFC 3640, mode AAC-hbr): access units behind the section of their headers, whole ones or fragments of one.
//!
//! A fragment has one header, which says the size of the whole; all fragments of an access unit have one timestamp.

use bicast_shared::media::aac::FRAME;
use bytes::{Bytes, BytesMut};

use super::Damaged;

/// Bytes of a header: a size of 13 bits, and 3 that count from the access unit before where they are interleaved.
const HEADER: usize = 2;

/// The packets of a stream of AAC.
#[derive(Debug, Default)]
pub struct Payloads {
    open: Option<Open>,
    /// The time of an access unit that has lost a fragment: those that still come are of no use.
    given_up: Option<i64>,
}

/// An access unit whose fragments have not all come.
#[derive(Debug)]
struct Open {
    at: i64,
    size: usize,
    data: BytesMut,
}

impl Payloads {
    /// Packets are missing here. True when an access unit that had begun before is lost with them.
    pub fn handle_lost(&mut self) -> bool {
        let Some(open) = self.open.take() else { return false };
        self.given_up = Some(open.at);
        true
    }

    /// Takes the next packet, whose timestamp is `at`, and appends the access units that are whole now, each with its time in ticks
    /// of the sampling rate.
    ///
    /// # Errors
    /// [`Damaged`] where the packet is malformed, its access units are interleaved, or it shows that the end of the one before is
    /// missing.
    pub fn handle(&mut self, at: i64, payload: &Bytes, out: &mut Vec<(i64, Bytes)>) -> Result<(), Damaged> {
        let cut = self.open.as_ref().is_some_and(|open| open.at != at) && self.handle_lost();
        let taken = self.take(at, payload, out);
        if cut { Err(Damaged) } else { taken }
    }

    fn take(&mut self, at: i64, payload: &Bytes, out: &mut Vec<(i64, Bytes)>) -> Result<(), Damaged> {
        let (headers, mut media) = sections(payload).ok_or(Damaged)?;
        let header = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        let size = |bytes: &[u8]| usize::from(header(bytes) >> 3);
        if headers.len() == HEADER && size(headers) > media.len() {
            return self.extend(at, size(headers), &media, out);
        }
        // What is next to whole access units is no fragment.
        let mut outcome = if self.handle_lost() { Err(Damaged) } else { Ok(()) };
        let interleaved = headers.chunks_exact(HEADER).skip(1).any(|bytes| header(bytes) & 7 != 0);
        let sizes = || headers.chunks_exact(HEADER).map(size);
        if interleaved || sizes().any(|size| size == 0) || sizes().sum::<usize>() != media.len() {
            outcome = Err(Damaged);
        } else {
            let times = (0..).map(|n| at.saturating_add(n * i64::from(FRAME)));
            out.extend(times.zip(sizes().map(|size| media.split_to(size))));
        }
        outcome
    }

    fn extend(
        &mut self,
        at: i64,
        size: usize,
        media: &Bytes,
        out: &mut Vec<(i64, Bytes)>,
    ) -> Result<(), Damaged> {
        if self.given_up == Some(at) {
            return Ok(());
        }
        let open = self.open.get_or_insert_with(|| Open { at, size, data: BytesMut::with_capacity(size) });
        if open.size != size || open.data.len() + media.len() > size || media.is_empty() {
            self.handle_lost();
            return Err(Damaged);
        }
        open.data.extend_from_slice(media);
        if open.data.len() == size
            && let Some(open) = self.open.take()
        {
            out.push((at, open.data.freeze()));
        }
        Ok(())
    }
}

/// The headers of a packet, at least one, and the media behind them.
fn sections(payload: &Bytes) -> Option<(&[u8], Bytes)> {
    let (bits, rest) = payload.split_first_chunk::<2>()?;
    let bits = usize::from(u16::from_be_bytes(*bits));
    let bytes = bits / 8;
    let headers = rest.get(..bytes).filter(|_| bits > 0 && bits % (HEADER * 8) == 0)?;
    Some((headers, payload.slice(2 + bytes..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with these headers (size, index) and this media.
    fn packet(headers: &[(u16, u16)], media: &[u8]) -> Bytes {
        let mut packet = u16::try_from(headers.len() * 16).unwrap().to_be_bytes().to_vec();
        packet.extend(headers.iter().flat_map(|(size, index)| (size << 3 | index).to_be_bytes()));
        packet.extend_from_slice(media);
        packet.into()
    }

    #[derive(Default)]
    struct Bench {
        payloads: Payloads,
        out: Vec<(i64, Bytes)>,
    }

    impl Bench {
        fn take(&mut self, at: i64, packet: &Bytes) -> (Vec<(i64, Vec<u8>)>, bool) {
            let whole = self.payloads.handle(at, packet, &mut self.out).is_ok();
            (self.out.drain(..).map(|(at, data)| (at, data.to_vec())).collect(), whole)
        }
    }

    #[test]
    fn several_access_units_of_a_packet_follow_each_other_by_1024_samples() {
        let mut bench = Bench::default();
        let (units, whole) = bench.take(5_000, &packet(&[(2, 0), (1, 0), (3, 0)], b"aabccc"));
        assert!(whole);
        assert_eq!(units, [(5_000, b"aa".to_vec()), (6_024, b"b".to_vec()), (7_048, b"ccc".to_vec())]);
    }

    #[test]
    fn fragments_are_put_together_and_none_is_used_where_one_is_missing() {
        let fragment = |media: &[u8]| packet(&[(5, 0)], media);
        let mut bench = Bench::default();
        assert_eq!(bench.take(0, &fragment(b"ab")), (vec![], true));
        assert_eq!(bench.take(0, &fragment(b"cd")), (vec![], true));
        assert_eq!(bench.take(0, &fragment(b"e")), (vec![(0, b"abcde".to_vec())], true));
        bench.take(1_024, &fragment(b"ab"));
        assert!(bench.payloads.handle_lost(), "the one that had begun");
        assert_eq!(bench.take(1_024, &fragment(b"e")), (vec![], true), "it is counted once");
        assert!(!bench.payloads.handle_lost());
        assert_eq!(
            bench.take(2_048, &fragment(b"bcd")),
            (vec![], true),
            "the first was lost: nobody knows yet"
        );
        let next = packet(&[(1, 0)], b"x");
        assert_eq!(bench.take(3_072, &next), (vec![(3_072, b"x".to_vec())], false), "now it is known");
        bench.take(4_096, &fragment(b"ab"));
        assert_eq!(bench.take(4_096, &fragment(b"cdef")), (vec![], false), "more than its size");
        bench.take(5_120, &fragment(b"ab"));
        assert_eq!(bench.take(5_120, &packet(&[(6, 0)], b"cd")), (vec![], false), "another size");
    }

    #[test]
    fn what_is_no_packet_of_aac_is_damaged() {
        for (packet, why) in [
            (packet(&[(1, 0), (1, 1)], b"ab"), "interleaved"),
            (packet(&[(1, 0), (0, 0)], b"a"), "an access unit of nothing"),
            (packet(&[(1, 0), (3, 0)], b"ab"), "the last one is cut off"),
            (packet(&[(1, 0)], b"ab"), "more than it says"),
            (packet(&[], b"ab"), "no headers"),
            (Bytes::from_static(&[0, 13, 0, 8, 1]), "headers of another mode"),
            (Bytes::from_static(&[0, 32, 0, 8]), "headers that end early"),
            (Bytes::from_static(&[0]), "a byte"),
            (Bytes::new(), "nothing"),
        ] {
            assert_eq!(Bench::default().take(0, &packet), (vec![], false), "{why}");
        }
    }
}

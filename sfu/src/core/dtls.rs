//! The DTLS records of a datagram and the handshake fragments in them (RFC 6347, 4.1 and 4.2.2), as they are written: what
//! they say is for [`super::guard`] and [`super::hello`] to judge.

/// Bytes in front of a record's content.
const RECORD_HEADER: usize = 13;
/// Bytes in front of a fragment's content.
const FRAGMENT_HEADER: usize = 12;

/// Content types (RFC 5246, 6.2.1).
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// The handshake type of a ClientHello (RFC 5246, 7.4).
pub(crate) const CLIENT_HELLO: u8 = 1;

/// One record of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Its content type.
    pub(crate) kind: u8,
    /// Its epoch; from 1 on the content is encrypted.
    pub(crate) epoch: u16,
    pub(crate) content: &'a [u8],
}

/// A handshake message or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    /// Its handshake type.
    pub(crate) kind: u8,
    /// The message's number in the handshake.
    pub(crate) message: u16,
    /// Bytes of the whole message, 24 bits.
    pub(crate) total: usize,
    /// Where in the message it stands, 24 bits.
    pub(crate) offset: usize,
    pub(crate) content: &'a [u8],
}

/// The bytes end within a header or within what it announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truncated;

/// The records of a datagram. After [`Truncated`] there are no more.
pub(crate) fn records(datagram: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Truncated>> {
    read(datagram, |bytes| {
        let header = bytes.first_chunk::<RECORD_HEADER>()?;
        let end = RECORD_HEADER + usize::from(u16::from_be_bytes([header[11], header[12]]));
        let content = bytes.get(RECORD_HEADER..end)?;
        let epoch = u16::from_be_bytes([header[3], header[4]]);
        Some((Record { kind: header[0], epoch, content }, end))
    })
}

/// The fragments in the content of a handshake record that is not encrypted. After [`Truncated`] there are no more.
pub(crate) fn fragments(record: &[u8]) -> impl Iterator<Item = Result<Fragment<'_>, Truncated>> {
    read(record, |bytes| {
        let header = bytes.first_chunk::<FRAGMENT_HEADER>()?;
        let number = |at: usize| {
            usize::from(header[at]) << 16 | usize::from(header[at + 1]) << 8 | usize::from(header[at + 2])
        };
        let end = FRAGMENT_HEADER + number(9);
        let content = bytes.get(FRAGMENT_HEADER..end)?;
        let message = u16::from_be_bytes([header[4], header[5]]);
        Some((Fragment { kind: header[0], message, total: number(1), offset: number(6), content }, end))
    })
}

/// One item after the other, until the bytes are used up or one is not whole. `next` gives an item and its length.
fn read<'a, T>(
    mut rest: &'a [u8],
    next: impl Fn(&'a [u8]) -> Option<(T, usize)>,
) -> impl Iterator<Item = Result<T, Truncated>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = next(rest);
        let used = item.as_ref().map_or(rest.len(), |(_, used)| *used);
        rest = rest.get(used..).unwrap_or_default();
        Some(item.map(|(item, _)| item).ok_or(Truncated))
    })
}

#[cfg(any(test, fuzzing))]
pub(crate) mod testing {
    /// A record of a kind and an epoch around `content`.
    pub(crate) fn record(kind: u8, epoch: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 1][..], &length, content].concat()
    }

    /// A fragment of message `number`: its kind, what it says of the message's length, of its place and of its own length.
    pub(crate) fn fragment(
        kind: u8,
        number: u8,
        total: u32,
        offset: u32,
        length: u32,
        content: &[u8],
    ) -> Vec<u8> {
        let three = |n: u32| n.to_be_bytes()[1..].to_vec();
        [&[kind][..], &three(total), &[0, number], &three(offset), &three(length), content].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{fragment, record};
    use super::*;

    #[test]
    fn records_and_fragments_are_read_in_their_order() {
        let content = [fragment(1, 0, 9, 3, 2, b"ab"), fragment(16, 4, 0, 0, 0, b"")].concat();
        let datagram = [record(HANDSHAKE, 0, &content), record(ALERT, 1, &[1, 0])].concat();
        let read: Vec<_> = records(&datagram).map(Result::unwrap).collect();
        let [first, second] = read[..] else { panic!("{read:?}") };
        assert_eq!(first, Record { kind: HANDSHAKE, epoch: 0, content: &content });
        assert_eq!(second, Record { kind: ALERT, epoch: 1, content: &[1, 0] });
        let read: Vec<_> = fragments(first.content).map(Result::unwrap).collect();
        let hello = Fragment { kind: CLIENT_HELLO, message: 0, total: 9, offset: 3, content: b"ab" };
        assert_eq!(read, [hello, Fragment { kind: 16, message: 4, total: 0, offset: 0, content: b"" }]);
    }

    #[test]
    fn what_is_cut_short_ends_the_list() {
        let datagram =
            [record(HANDSHAKE, 0, &fragment(1, 0, 1, 0, 1, b"a")), record(ALERT, 0, &[1])].concat();
        for end in 0..datagram.len() {
            let read: Vec<_> = records(&datagram[..end]).collect();
            let whole = if end < 26 { 0 } else { 1 };
            assert_eq!(read.iter().filter(|record| record.is_ok()).count(), whole, "{end}");
            assert_eq!(read.len() > whole, !matches!(end, 0 | 26), "{end}");
        }
        assert_eq!(fragments(&fragment(1, 0, 9, 0, 9, b"ab")).collect::<Vec<_>>(), [Err(Truncated)]);
    }
}

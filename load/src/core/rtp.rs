//! What a packet says of itself without being decrypted: the fixed header of RFC 3550, 5.1.

/// The fields that continuity needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// For video: the last packet of a frame.
    pub marker: bool,
    /// What the payload is, by the SDP.
    pub payload_type: u8,
    /// Counts the stream's packets, modulo 2^16.
    pub sequence: u16,
    /// Ticks of the stream's clock.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: u32,
}

impl Head {
    /// Reads it; none for what is too short or not RTP.
    #[must_use]
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<12>()?;
        (header[0] >> 6 == 2).then(|| Self {
            marker: header[1] & 0x80 != 0,
            payload_type: header[1] & 0x7f,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        })
    }
}

/// What a datagram of a multiplexed connection is, by its first bytes (RFC 7983, RFC 5761).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ICE check or its answer.
    Stun,
    /// A DTLS record.
    Dtls,
    /// Media.
    Rtp,
    /// Its reports.
    Rtcp,
}

impl Kind {
    /// None for what is none of them.
    #[must_use]
    #[inline]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match (bytes.first()?, bytes.get(1)?) {
            (128..=191, 192..=223) => Some(Self::Rtcp),
            (128..=191, _) => Some(Self::Rtp),
            (0..=3, _) => Some(Self::Stun),
            (20..=63, _) => Some(Self::Dtls),
            _ => None,
        }
    }
}

/// The payload of a decrypted packet: behind the header, contributing sources and extensions, without padding.
#[must_use]
pub fn payload(plain: &[u8]) -> Option<&[u8]> {
    let first = *plain.first()?;
    let mut at = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = plain.get(at + 2..at + 4)?;
        at += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    let mut end = plain.len();
    if first & 0x20 != 0 {
        end = end.checked_sub(usize::from(*plain.last()?))?;
    }
    plain.get(at..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_everything_else_is_refused() {
        let bytes = [0x80, 0xe0, 1, 2, 0, 0, 0, 9, 0, 0, 0, 7, 0xff];
        let head = Head::read(&bytes).unwrap();
        assert_eq!((head.marker, head.payload_type, head.sequence), (true, 0x60, 258));
        assert_eq!((head.timestamp, head.ssrc), (9, 7));
        assert!(Head::read(&bytes[..11]).is_none() && Head::read(&[0; 12]).is_none());
    }

    #[test]
    fn datagrams_are_told_apart() {
        assert_eq!(Kind::of(&[0, 1]), Some(Kind::Stun));
        assert_eq!(Kind::of(&[22, 254]), Some(Kind::Dtls));
        assert_eq!(Kind::of(&[0x80, 0x60]), Some(Kind::Rtp));
        assert_eq!(Kind::of(&[0x80, 0xe0]), Some(Kind::Rtp), "a marker with payload type 96");
        assert_eq!(Kind::of(&[0x80, 200]), Some(Kind::Rtcp));
        assert_eq!(Kind::of(&[70, 0]), None);
        assert_eq!(Kind::of(&[]), None);
    }

    #[test]
    fn the_payload_is_behind_everything_else() {
        let plain =
            [&[0xb1][..], &[0; 11], &[0; 4], &[0xbe, 0xde, 0, 1, 1, 2, 3, 4], b"abc", &[0, 0, 3]].concat();
        assert_eq!(payload(&plain), Some(&b"abc"[..]));
        assert_eq!(payload(&[0x80; 12]), Some(&[][..]));
        assert_eq!(payload(&[0x90; 14]), None);
        assert_eq!(payload(&[0xa0; 12]), None, "more padding than packet");
    }
}

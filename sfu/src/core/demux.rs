//! What a datagram is, by its first byte, and why one is not taken.

/// What a datagram is (RFC 7983).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stun,
    Dtls,
    Rtp,
}

impl Kind {
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? {
            0..=3 => Some(Self::Stun),
            20..=63 => Some(Self::Dtls),
            128..=191 => Some(Self::Rtp),
            _ => None,
        }
    }
}

/// Why a datagram was not taken: the `reason` of `bicast_udp_ignored_total` and `bicast_tcp_ignored_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Ignored {
    /// No protocol of ours.
    Garbage,
    /// A STUN message that is no well-formed check.
    BadStun,
    /// A check for a ufrag that nobody has.
    UnknownUfrag,
    /// DTLS or RTP from an address that nobody authenticated.
    UnknownAddress,
    /// A check whose MESSAGE-INTEGRITY is wrong.
    BadIntegrity,
    /// A genuine check once more, from another address: somebody on the way would have the media.
    Replayed,
    /// SRTCP that does not decrypt, or what a session cannot use now.
    Undecryptable,
    /// More than a session may send of this.
    Flood,
    /// The owner's queue was full.
    QueueFull,
    /// The owner has just gone.
    OwnerGone,
}

impl Ignored {
    /// The reasons' names, in their order.
    pub(crate) const NAMES: [&'static str; 10] = [
        "garbage",
        "bad-stun",
        "unknown-ufrag",
        "unknown-address",
        "bad-integrity",
        "replayed",
        "undecryptable",
        "flood",
        "queue-full",
        "owner-gone",
    ];
}

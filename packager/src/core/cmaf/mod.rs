//! ISO base media files as CMAF writes them: init segments, and one `moof` + `mdat` per part.

pub mod fragment;
pub mod init;
pub mod probe;

use bytes::Bytes;

/// One sample of a part: a frame as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Ticks until the next sample's decode time.
    pub duration: u32,
    /// Presentation time minus decode time; negative is allowed (`trun` version 1).
    pub composition: i32,
    /// What depends on it and what it depends on.
    pub kind: SampleKind,
    /// Video: NAL units behind 32-bit lengths. Audio: the packet.
    pub data: Bytes,
}

/// A sample's place among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// Decoding can begin here.
    Sync,
    /// The same, but it is a keyframe from before, written again because a segment had to begin (`pictures`).
    Repeated,
    /// It needs others.
    Dependent,
    /// It needs others and nothing needs it: the still frames that fill a hole (`coding::still`).
    Disposable,
}

impl SampleKind {
    /// Whether decoding can begin here.
    #[must_use]
    pub const fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::Repeated)
    }

    /// Whether the publisher sent it for this moment.
    #[must_use]
    pub const fn is_original(self) -> bool {
        matches!(self, Self::Sync | Self::Dependent)
    }

    /// `sample_flags` (ISO/IEC 14496-12, 8.8.3.1).
    const fn flags(self) -> u32 {
        const DEPENDS_ON_OTHERS: u32 = 1 << 24;
        const DEPENDS_ON_NONE: u32 = 2 << 24;
        const NOT_DEPENDED_ON: u32 = 2 << 22;
        const REDUNDANT: u32 = 1 << 20;
        const NON_SYNC: u32 = 1 << 16;
        match self {
            Self::Sync => DEPENDS_ON_NONE,
            Self::Repeated => DEPENDS_ON_NONE | REDUNDANT,
            Self::Dependent => DEPENDS_ON_OTHERS | NON_SYNC,
            Self::Disposable => DEPENDS_ON_OTHERS | NOT_DEPENDED_ON | NON_SYNC,
        }
    }

    fn from_flags(flags: u32) -> Self {
        match (flags & 1 << 16 != 0, flags >> 22 & 3, flags >> 20 & 3) {
            (false, _, 1) => Self::Repeated,
            (false, ..) => Self::Sync,
            (true, 2, _) => Self::Disposable,
            (true, ..) => Self::Dependent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_back_from_its_flags() {
        for kind in [SampleKind::Sync, SampleKind::Repeated, SampleKind::Dependent, SampleKind::Disposable] {
            assert_eq!(SampleKind::from_flags(kind.flags()), kind);
            assert_eq!(kind.is_sync(), kind.flags() & 1 << 16 == 0);
        }
    }
}

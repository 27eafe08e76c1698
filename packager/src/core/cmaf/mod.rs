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
    /// It needs others.
    Dependent,
    /// It needs others and nothing needs it: the still frames that fill a hole (`h264::still`).
    Disposable,
}

impl SampleKind {
    /// `sample_flags` (ISO/IEC 14496-12, 8.8.3.1).
    const fn flags(self) -> u32 {
        const DEPENDS_ON_OTHERS: u32 = 1 << 24;
        const DEPENDS_ON_NONE: u32 = 2 << 24;
        const NOT_DEPENDED_ON: u32 = 2 << 22;
        const NON_SYNC: u32 = 1 << 16;
        match self {
            Self::Sync => DEPENDS_ON_NONE,
            Self::Dependent => DEPENDS_ON_OTHERS | NON_SYNC,
            Self::Disposable => DEPENDS_ON_OTHERS | NOT_DEPENDED_ON | NON_SYNC,
        }
    }

    fn from_flags(flags: u32) -> Self {
        match (flags & 1 << 16 != 0, flags >> 22 & 3) {
            (false, _) => Self::Sync,
            (true, 2) => Self::Disposable,
            (true, _) => Self::Dependent,
        }
    }
}

//! Playlists that go on in another process: what has to be known of them.

use bicast_shared::time::ProgramTime;

use crate::core::lineup::Lineup;
use crate::core::snapshot::RenditionMedia;
use crate::core::window::Segment;

/// One instance of a feed's playlists, as a process before left it.
#[derive(Debug, Clone)]
pub struct Past {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub lineup: Lineup,
    /// Its renditions, the main one first.
    pub renditions: Vec<PastRendition>,
    /// The number of the next segment. Those before it that are not stored may have been listed: they are gaps.
    pub next: u64,
    /// UTC of the moment up to which nothing is there.
    pub until: ProgramTime,
}

/// A rendition of it.
#[derive(Debug, Clone)]
pub struct PastRendition {
    /// Its name.
    pub name: String,
    /// RFC 6381.
    pub codecs: String,
    /// Picture or sound.
    pub media: RenditionMedia,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// All that can be listed, oldest first, without a hole, and [only in the store](Segment::only_stored).
    pub segments: Vec<Segment>,
}

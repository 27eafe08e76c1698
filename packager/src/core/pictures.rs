//! Pictures on their way into parts: each lasts until the next one, and what none of them covers is filled.
//!
//! # Frames that do not come, or outlast a part
//! A part must not be longer than PART-TARGET and must follow its predecessor within that time (RFC 8216bis 4.4.4.9 and
//! 6.2.1), and a hole in the buffer makes hls.js stall and then jump over it. So, in this order:
//! 1. A frame is stretched over what is missing behind it as long as its part stays within PART-TARGET.
//! 2. What is left is filled with still frames (`coding::still`): pictures of a few bytes that say "as before". They are
//!    marked disposable, so a reader of the file tells them from the publisher's frames.
//! 3. Where the bitstream does not allow that (CABAC, other codecs than H.264), with parts marked GAP=YES. A part in front of such a frame may then
//!    be shorter than 85 %, which no player minds; a longer one is never written.
//!
//! # Segments that begin without a keyframe
//! A player that begins there could decode nothing. Where the first frames of a segment are missing, it begins with the last
//! keyframe again, marked as such, or with a gap; the publisher's own frames follow from its next keyframe on, because a
//! decoder that shows the old one has not what they rest on. So it is where the owner has asked for a keyframe in vain, if
//! the playlists say EXT-X-INDEPENDENT-SEGMENTS; if they do not, the frames that came are written.

use bytes::Bytes;

use crate::core::cadence::Cut;
use crate::core::cmaf::{Sample, SampleKind};
use crate::core::stand_in::StandIn;
use crate::core::writer::Writer;

/// A frame whose duration is not known yet.
#[derive(Debug)]
pub struct Pending {
    /// When it is decoded, in ticks.
    pub decode: i64,
    /// When it is shown.
    pub presentation: i64,
    /// Whether decoding can begin with it.
    pub keyframe: bool,
    /// As a sample has it.
    pub data: Bytes,
}

/// The pictures of a rendition.
#[derive(Debug)]
pub struct Pictures {
    cut: Cut,
    /// Where they go.
    pub writer: Writer,
    /// What is shown where they are missing.
    pub stand_in: StandIn,
    pending: Option<Pending>,
    /// The playlists promise that every segment can be decoded by itself.
    independent: bool,
    /// Frames left out for that.
    lost: u64,
    /// The open segment began with a gap: nothing in it can be decoded before a keyframe.
    gap: bool,
    /// A decoder that shows what was written has not what the publisher's next frames rest on.
    adrift: bool,
}

impl Pictures {
    /// Pictures for `writer`, in parts cut by `cut`. `independent`: every segment can be decoded by itself.
    #[must_use]
    pub fn new(cut: Cut, writer: Writer, stand_in: StandIn, independent: bool) -> Self {
        Self { cut, writer, stand_in, pending: None, independent, lost: 0, gap: false, adrift: false }
    }

    /// Frames left out because their segment could not begin with them.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether a keyframe has to come before the publisher's frames can be shown again.
    #[must_use]
    pub const fn is_adrift(&self) -> bool {
        self.adrift
    }

    /// Whether the open segment has nothing in it yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.writer.open().is_none_or(|open| open.parts.is_empty()) && self.writer.part_samples() == 0
    }

    /// The next frame. Everything up to it must have been settled.
    pub fn place(&mut self, frame: Pending) {
        self.adrift &= !frame.keyframe;
        self.pending = Some(Pending { decode: frame.decode.max(self.writer.edge()), ..frame });
    }

    /// Everything up to `to` gets its place: the pending frame lasts until then, or until its part is full.
    pub fn settle(&mut self, to: i64) {
        let Some(pending) = self.pending.take() else { return self.fill(to) };
        if self.independent && !pending.keyframe && self.is_fresh() {
            self.lost += 1;
            return self.fill(to);
        }
        let whole = (to - self.writer.edge()).max(1);
        if self.writer.part_ticks() + whole > self.cut.part {
            let alone = self.writer.part_ticks() >= self.cut.least || !self.can_fill();
            if alone {
                self.writer.end_part();
            }
        }
        let ticks = whole.min(self.cut.part - self.writer.part_ticks()).max(1);
        self.push(&pending, ticks);
        self.fill(to);
    }

    /// Media ends here: the last frame gets the usual duration, and the segment is closed short.
    pub fn end(&mut self) {
        if self.pending.is_some() {
            self.settle(self.writer.edge() + self.cut.frame);
        }
        self.writer.end();
        self.stand_in.hide();
    }

    /// The frame whose duration is not known is forgotten.
    pub fn forget(&mut self) {
        self.pending = None;
        self.stand_in.hide();
    }

    /// Nothing more stands in for what is missing: gaps do until the next keyframe.
    pub fn lose(&mut self) {
        (self.gap, self.adrift) = (true, true);
        self.stand_in.forget();
    }

    fn push(&mut self, pending: &Pending, ticks: i64) {
        let kind = if pending.keyframe { SampleKind::Sync } else { SampleKind::Dependent };
        // A part is cut in front of a keyframe when it is long enough, so that decoding can begin with it.
        if pending.keyframe && self.writer.part_ticks() >= self.cut.least {
            self.writer.end_part();
        }
        self.gap &= !pending.keyframe;
        self.write(Sample {
            duration: u32::try_from(ticks).unwrap_or(1),
            composition: i32::try_from(pending.presentation - pending.decode).unwrap_or(0),
            kind,
            data: pending.data.clone(),
        });
    }

    /// Fills what no frame covers up to `to`.
    fn fill(&mut self, to: i64) {
        while self.writer.edge() < to {
            let room = self.cut.part - self.writer.part_ticks();
            let ticks = (to - self.writer.edge()).min(if room > 0 { room } else { self.cut.part });
            let Some((kind, data)) = self.filling() else {
                self.writer.end_part();
                self.writer.gap((to - self.writer.edge()).min(self.cut.part));
                continue;
            };
            self.write(Sample { duration: u32::try_from(ticks).unwrap_or(1), composition: 0, kind, data });
        }
    }

    fn write(&mut self, sample: Sample) {
        self.writer.push(sample);
        if self.cut.is_full(self.writer.part_ticks(), self.writer.part_samples()) {
            self.writer.end_part();
        }
    }

    /// What a hole is filled with here; none for a gap.
    fn filling(&mut self) -> Option<(SampleKind, Bytes)> {
        if self.is_fresh() {
            self.adrift = true;
            let again = self.stand_in.keyframe();
            self.gap = again.is_none();
            return again.map(|data| (SampleKind::Repeated, data));
        }
        if self.gap {
            return None;
        }
        self.stand_in.still().map(|data| (SampleKind::Disposable, data))
    }

    /// Whether still frames can follow the picture that is shown.
    fn can_fill(&mut self) -> bool {
        !self.gap && self.stand_in.still().is_some()
    }
}

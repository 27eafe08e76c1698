//! What is shown where the publisher has sent no picture: still frames that say "as before", and the last keyframe again where
//! a segment has to begin.

use std::sync::Arc;

use bicast_shared::media::Codec;
use bytes::Bytes;

use crate::core::coding::still::Still;
use crate::core::coding::{VideoConfig, length_prefixed};
use crate::core::depacketizer::h264::nal;

/// The stand-ins of a stream. Only H.264 has any.
#[derive(Debug)]
pub struct StandIn {
    codec: Codec,
    config: Option<Arc<VideoConfig>>,
    /// The first slice of the picture that is shown, and the still frame that can follow it once it was asked for.
    shown: Option<(Bytes, Option<Still>)>,
    /// The slices of the last keyframe.
    keyframe: Vec<Bytes>,
}

impl StandIn {
    /// For a stream coded as `codec`.
    #[must_use]
    pub const fn new(codec: Codec) -> Self {
        Self { codec, config: None, shown: None, keyframe: Vec::new() }
    }

    /// Keyframes from here on are coded as `config` says.
    pub fn set_config(&mut self, config: Arc<VideoConfig>) {
        *self = Self { config: Some(config), ..Self::new(self.codec) };
    }

    /// The parameter sets in force.
    #[must_use]
    pub const fn config(&self) -> Option<&Arc<VideoConfig>> {
        self.config.as_ref()
    }

    /// A picture of the publisher's, in its codec's units, is shown from now on.
    pub fn show(&mut self, units: &[Bytes], keyframe: bool) {
        if self.codec != Codec::H264 {
            return;
        }
        let slices = || units.iter().filter(|unit| matches!(nal::kind(unit), nal::SLICE | nal::IDR));
        self.shown = slices().next().map(|slice| (slice.clone(), None));
        if keyframe {
            // Not its SEI messages: what they say (a time code, a caption) was said of the moment when it was sent.
            self.keyframe = slices().cloned().collect();
        }
    }

    /// Nothing is shown any more.
    pub fn hide(&mut self) {
        self.shown = None;
    }

    /// There is nothing to repeat.
    pub fn forget(&mut self) {
        self.shown = None;
        self.keyframe.clear();
    }

    /// A picture that repeats the one that is shown. None where the stream's coding does not allow one.
    pub fn still(&mut self) -> Option<Bytes> {
        let (slice, still) = self.shown.as_mut()?;
        if still.is_none() {
            *still = Still::after(self.config.as_ref()?, slice);
        }
        still.as_ref().map(Still::picture)
    }

    /// The last keyframe again, which is shown from then on. None where no still frame could follow it: two keyframes in a
    /// row would have to differ in their `idr_pic_id` (H.264, 7.4.3).
    pub fn keyframe(&mut self) -> Option<Bytes> {
        let slice = self.keyframe.first()?.clone();
        self.shown = Some((slice, None));
        self.still()?;
        Some(length_prefixed(&self.keyframe))
    }
}

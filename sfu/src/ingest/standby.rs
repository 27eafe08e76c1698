//! A publisher that waits behind another one: its media is received but not written until it is its turn, and then from a
//! keyframe on, so that viewers go from one picture to the next without a hole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bicast_shared::feed::bus::{FeedPublisher, Standby};
use bicast_shared::id::{StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo, TrackKind, starts_decoding};

use super::core::receiver::Output;

/// Packets of one frame that are held while it is not known to be a keyframe: 2.4 MB, more than any encoder's.
const MOST_HELD: usize = 2_048;
/// Between two requests for the keyframe to begin with.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A frame as far as it has come.
#[derive(Default)]
struct Frame {
    time: Option<u32>,
    packets: Vec<Output>,
}

/// What is known while waiting.
pub(crate) struct Waiting {
    standby: Standby,
    tracks: Vec<TrackInfo>,
    /// The track whose keyframe, in whichever of its layers, is the moment to take over; none without video, where any packet
    /// is.
    leading: Option<(TrackId, Codec)>,
    /// The newest frame of each of its layers, as far as it has come.
    frames: BTreeMap<StreamKey, Frame>,
    is_its_turn: bool,
    asked: Option<Instant>,
}

impl Waiting {
    pub(crate) fn new(standby: Standby, tracks: Vec<TrackInfo>) -> Self {
        let video = tracks.iter().find(|track| track.kind() == TrackKind::Video);
        let leading = video.map(|track| (track.id, track.codec));
        Self { standby, tracks, leading, frames: BTreeMap::new(), is_its_turn: false, asked: None }
    }

    /// Waits for its turn; for ever once it has come. False when the feed has ended. Cancel safe.
    pub(crate) async fn turn(&mut self) -> bool {
        if self.is_its_turn {
            return std::future::pending().await;
        }
        self.is_its_turn = self.standby.ready().await;
        self.is_its_turn
    }

    /// The video tracks whose encoder has to be asked for a keyframe now.
    pub(crate) fn poll_keyframe_request(&mut self, now: Instant) -> Vec<TrackId> {
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN);
        if !self.is_its_turn || !due {
            return Vec::new();
        }
        self.asked = Some(now);
        self.tracks.iter().filter(|track| track.kind() == TrackKind::Video).map(|track| track.id).collect()
    }

    /// When [`Self::poll_keyframe_request`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.asked.filter(|_| self.is_its_turn).map(|asked| asked + ASK_AGAIN)
    }

    /// Takes what has been received. When that is where it can take over: the feed's writer, and what has to be written
    /// first. None of it when the feed has ended meanwhile.
    pub(crate) fn handle(&mut self, output: Output) -> Option<(FeedPublisher, Vec<Output>)> {
        let Output::Rtp { key, input, .. } = &output else { return None };
        if !self.is_its_turn {
            return None;
        }
        let Some((leading, codec)) = self.leading else {
            return Some((self.standby.take_over(self.tracks.clone())?, vec![output]));
        };
        if key.track != leading {
            return None;
        }
        let begins = !input.payload.is_empty() && starts_decoding(codec, &input.payload);
        let frame = self.frames.entry(*key).or_default();
        if frame.time != Some(input.timestamp) || frame.packets.len() >= MOST_HELD {
            *frame = Frame { time: Some(input.timestamp), packets: Vec::new() };
        }
        frame.packets.push(output);
        if !begins {
            return None;
        }
        let publisher = self.standby.take_over(self.tracks.clone())?;
        // Layers answer together: what has come of the others' keyframes belongs to it.
        let frames = std::mem::take(&mut self.frames);
        Some((publisher, frames.into_values().flat_map(|frame| frame.packets).collect()))
    }
}

//! What travels on the feed bus: RTP packets with the stamps of the timeline.

use std::time::Instant;

use bytes::Bytes;

use crate::id::{Epoch, SegmentNumber, StreamKey};
use crate::time::{MediaTime, ProgramTime};

/// One RTP packet of a feed, as it came, with what the feed's owner knows about it. Cloning is cheap: the payload is
/// shared.
#[derive(Debug, Clone)]
pub struct MediaPacket {
    /// The stream it belongs to.
    pub key: StreamKey,
    /// Where it stands on the feed's timeline.
    pub stamp: Stamp,
    /// RTP's marker bit: for video the last packet of a frame.
    pub marker: bool,
    /// The RTP payload, without header, extensions and padding. Empty for padding-only packets, which senders use to
    /// probe: they are forwarded, because their sequence numbers count.
    pub payload: Bytes,
    /// The value of `urn:3gpp:video-orientation`, where the publisher sent one (phones do).
    pub orientation: Option<u8>,
    /// When it arrived here.
    pub received: Instant,
}

/// The stamps that the feed's owner gives every packet, once. Readers never decide any of this again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which epoch it belongs to: a publisher's stay, or a part of it.
    pub epoch: Epoch,
    /// Counts the packets of the feed in the order of arrival, over all streams: 0, 1, 2, …
    pub bus_sequence: u64,
    /// RTP's sequence number unwrapped to 64 bits and continued over epochs: the order of sending. Starts at 0 with
    /// the first packet of a stream; one late packet from before it may be -1, -2, …
    pub sequence: i64,
    /// The frame's presentation time. Modulo 2^32 it is the RTP timestamp that every viewer receives.
    pub media_time: MediaTime,
    /// The frame's decode time where the source knows it (RTMP, files). RTP has none.
    pub decode_time: Option<MediaTime>,
    /// Which version of the feed's `TimelineMap` was current when it arrived.
    pub map_version: u32,
    /// UTC of `media_time` by that version: what a viewer is told as the time of capture.
    pub program_time: ProgramTime,
    /// Whether this packet shows that its frame is one at which decoding can begin (`media::starts_decoding`). The
    /// other packets of the same frame may not show it: compare `media_time`.
    pub keyframe: bool,
    /// The segment its frame belongs to. Only packets of the track that drives the cuts (video, where there is one and it
    /// comes) have it, and only from the first cut on; other tracks are cut at the same time on the timeline. While a
    /// driving picture is silent, packets of sound have it in its stead.
    pub segment: Option<SegmentNumber>,
    /// Where that segment begins, in ticks of the track that drives the cuts. The frame with this media time is the first
    /// of the segment.
    pub segment_start: MediaTime,
}

impl MediaPacket {
    /// A packet as a feed's owner would have stamped it in a feed of one stream without cuts or losses: epoch 0, the
    /// marker set. For tests and measurements of what reads the bus; the fields that matter there are set afterwards.
    #[must_use]
    pub fn unowned(sequence: i64, media_time: MediaTime, payload: Bytes, received: Instant) -> Self {
        let stamp = Stamp {
            epoch: Epoch(0),
            bus_sequence: sequence.unsigned_abs(),
            sequence,
            media_time,
            decode_time: None,
            map_version: 0,
            program_time: ProgramTime::default(),
            keyframe: false,
            segment: None,
            segment_start: MediaTime(0),
        };
        Self { key: StreamKey::default(), stamp, marker: true, payload, orientation: None, received }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A video packet for tests.
    pub(crate) fn packet(sequence: i64, media_time: i64, keyframe: bool, bytes: usize) -> MediaPacket {
        #[expect(clippy::disallowed_methods, reason = "a test's packet has to arrive at some time")]
        let received = Instant::now();
        let payload = Bytes::from(vec![0; bytes]);
        let mut packet = MediaPacket::unowned(sequence, MediaTime(media_time), payload, received);
        packet.stamp.keyframe = keyframe;
        packet
    }
}

//! The feed that everything is measured with: frames of equal packets, a keyframe first.

use bicast_sfu::fanout::STREAM;
use bicast_shared::clock;
use bicast_shared::id::Epoch;
use bicast_shared::packet::{MediaPacket, Stamp};
use bicast_shared::time::{MediaTime, ProgramTime};
use bytes::Bytes;

/// Frames one after the other.
pub(crate) struct Source {
    frame: usize,
    packets: usize,
    payload: usize,
}

impl Source {
    /// Frames of so many packets with so many bytes of payload.
    pub(crate) const fn new(packets: usize, payload: usize) -> Self {
        Self { frame: 0, packets, payload }
    }

    /// Packets so far.
    pub(crate) const fn sent(&self) -> usize {
        self.frame * self.packets
    }

    pub(crate) fn next(&mut self) -> Vec<MediaPacket> {
        let (first, frame) = (self.sent(), self.frame);
        self.frame += 1;
        (0..self.packets).map(|n| self.packet(frame, first + n, n + 1 == self.packets)).collect()
    }

    fn packet(&self, frame: usize, sequence: usize, marker: bool) -> MediaPacket {
        let media_time = MediaTime(900_000 + frame as i64 * 3_000);
        MediaPacket {
            key: STREAM,
            stamp: Stamp {
                epoch: Epoch(0),
                bus_sequence: sequence as u64,
                sequence: sequence as i64,
                media_time,
                decode_time: None,
                map_version: 0,
                program_time: ProgramTime::default(),
                keyframe: frame == 0,
                segment: None,
                segment_start: MediaTime(0),
            },
            marker,
            payload: Bytes::from(vec![if frame == 0 { 0x65 } else { 0x61 }; self.payload]),
            orientation: None,
            received: clock::now(),
        }
    }
}

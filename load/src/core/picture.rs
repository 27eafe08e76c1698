//! When a joining viewer has a picture: the first complete keyframe, and the first complete frame after it.

use std::collections::BTreeMap;

/// Packets remembered while one of a keyframe is missing; those in order are not remembered.
const MAX_PACKETS: usize = 2_048;

/// One decrypted video packet.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// Its sequence number, unwrapped.
    pub sequence: i64,
    /// Its RTP timestamp: the frame it belongs to.
    pub timestamp: u32,
    /// Whether it is the last of its frame.
    pub marker: bool,
    /// Whether decoding can begin at its frame.
    pub keyframe: bool,
}

/// What has come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// No complete keyframe yet.
    Nothing,
    /// A keyframe is complete: there is a picture.
    Keyframe,
    /// The frame after it is complete, too: the picture moves.
    Moving,
}

/// Follows the first packets of a stream.
#[derive(Debug, Default)]
pub struct FirstPicture {
    /// Packets by number: timestamp and marker. From `next` on once a keyframe has begun.
    pieces: BTreeMap<i64, (u32, bool)>,
    /// Timestamp of the keyframe that is being completed.
    keyframe: Option<u32>,
    /// The first packet that is not there yet.
    next: i64,
    frames: u32,
}

impl FirstPicture {
    /// Takes a packet, in any order.
    pub fn push(&mut self, piece: Piece) -> Progress {
        if self.pieces.len() == MAX_PACKETS {
            self.pieces.pop_first();
        }
        self.pieces.insert(piece.sequence, (piece.timestamp, piece.marker));
        // A newer keyframe where the one before never became complete: go on there.
        let is_newer = self.keyframe != Some(piece.timestamp) && self.frames == 0;
        if piece.keyframe && is_newer {
            self.keyframe = Some(piece.timestamp);
            // Packets of the frame in front of the one that showed the keyframe (delimiters, SEI) belong to it.
            let before = self.pieces.range(..=piece.sequence).rev();
            let own = before.take_while(|(_, (timestamp, _))| *timestamp == piece.timestamp);
            self.next = own.last().map_or(piece.sequence, |(sequence, _)| *sequence);
        }
        if self.keyframe.is_none() {
            return Progress::Nothing;
        }
        self.pieces = self.pieces.split_off(&self.next);
        while self.frames < 2
            && let Some((_, marker)) = self.pieces.remove(&self.next)
        {
            self.next += 1;
            self.frames += u32::from(marker);
        }
        match self.frames {
            0 => Progress::Nothing,
            1 => Progress::Keyframe,
            _ => Progress::Moving,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(sequence: i64, frame: u32, marker: bool, keyframe: bool) -> Piece {
        Piece { sequence, timestamp: frame * 3_000, marker, keyframe }
    }

    #[test]
    fn a_keyframe_is_complete_with_all_its_packets_whatever_their_order() {
        let mut first = FirstPicture::default();
        assert_eq!(first.push(piece(9, 0, true, false)), Progress::Nothing, "the end of some frame");
        assert_eq!(first.push(piece(10, 1, false, true)), Progress::Nothing);
        assert_eq!(first.push(piece(12, 1, true, true)), Progress::Nothing, "one is missing");
        assert_eq!(first.push(piece(13, 2, true, false)), Progress::Nothing);
        assert_eq!(first.push(piece(11, 1, false, true)), Progress::Moving, "the missing one completes both");
    }

    #[test]
    fn delimiters_in_front_belong_to_the_keyframe() {
        let mut first = FirstPicture::default();
        first.push(piece(5, 1, false, false));
        first.push(piece(6, 1, false, true));
        assert_eq!(first.push(piece(7, 1, true, true)), Progress::Keyframe);
        assert_eq!(first.push(piece(8, 2, false, false)), Progress::Keyframe);
        assert_eq!(first.push(piece(9, 2, true, false)), Progress::Moving);
    }

    #[test]
    fn where_a_keyframe_stays_broken_the_next_one_counts() {
        let mut first = FirstPicture::default();
        first.push(piece(1, 1, false, true));
        assert_eq!(first.push(piece(3, 1, true, true)), Progress::Nothing);
        for n in 4..200 {
            assert_eq!(first.push(piece(n, u32::try_from(n).unwrap(), true, false)), Progress::Nothing);
        }
        assert_eq!(first.push(piece(200, 900, true, true)), Progress::Keyframe);
    }

    #[test]
    fn memory_is_bounded() {
        let mut first = FirstPicture::default();
        for n in 0..40_000 {
            first.push(piece(n, 1, false, false));
        }
        assert!(first.pieces.len() <= MAX_PACKETS);
    }
}

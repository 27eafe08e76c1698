//! The sound of a clip as it is in the file, in a loop: access units of AAC in packets of RFC 3640.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::media::aac::{FRAME, LARGEST};
use bicast_shared::time::ProgramTime;
use bytes::Bytes;

use crate::core::grid::Grid;
use crate::core::looping::Loop;
use crate::error::Error;
use crate::source::clip_audio::AacTrack;
use crate::source::{Source, Unit};

/// Media in a packet: what the H.264 packets have, too.
const MTU: usize = 1_180;

/// Why a track's access units cannot be sent one by one, if they cannot.
pub(super) fn obstacle(track: &AacTrack) -> Option<&'static str> {
    let (last, others) = track.samples.split_last()?;
    if track.timescale != track.config.rate() || others.iter().any(|sample| sample.duration != FRAME) {
        return Some("its sound has frames of another length than 1024 samples (HE-AAC, for instance)");
    }
    let too_large = others
        .iter()
        .chain([last])
        .any(|sample| usize::try_from(sample.size).is_ok_and(|size| size > LARGEST));
    too_large.then_some("its sound has access units of more than 8191 bytes")
}

/// An endless row of access units.
pub(super) struct ClipAac {
    path: PathBuf,
    file: File,
    track: Arc<AacTrack>,
    grid: Grid,
    next: u64,
}

impl ClipAac {
    pub(super) fn open(path: &Path, track: Arc<AacTrack>, round: Loop) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Open { path: path.into(), source })?;
        let first = track.samples.first().map_or(0, |sample| sample.present) + track.delay;
        let grid = Grid::new(round, track.config.rate(), FRAME, first, track.samples.len());
        Ok(Self { path: path.into(), file, track, grid, next: 0 })
    }

    fn at(&self, n: u64) -> Duration {
        Duration::from_nanos(
            u64::try_from(self.track.config.rate().nanos(self.grid.ticks(n))).unwrap_or(u64::MAX),
        )
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        let Some(sample) = self.track.samples.get(index) else { return Ok(Vec::new()) };
        let mut bytes = vec![0; usize::try_from(sample.size).unwrap_or(0)];
        let read =
            self.file.seek(SeekFrom::Start(sample.offset)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|source| Error::Open { path: self.path.clone(), source })?;
        Ok(bytes)
    }
}

impl Source for ClipAac {
    fn due(&self) -> Duration {
        self.at(self.next)
    }

    fn skip_to(&mut self, elapsed: Duration) -> Result<u64, Error> {
        let first = self.next;
        while self.at(self.next + 1) <= elapsed {
            self.next += 1;
        }
        Ok(self.next - first)
    }

    fn produce(&mut self, _keyframe: bool, _utc: ProgramTime) -> Result<Unit, Error> {
        let ticks = self.grid.ticks(self.next);
        let index = self.grid.take(self.next);
        self.next += 1;
        let mut unit = index.map_or(Ok(Vec::new()), |index| self.read(index))?;
        if unit.is_empty() {
            unit = self.track.config.silence().to_vec();
        }
        Ok(Unit { ticks, keyframe: false, payloads: packets(&unit) })
    }

    fn interval(&self) -> Duration {
        self.at(1)
    }
}

/// One header for each fragment, which says the size of the whole (RFC 3640, 3.2.3 and 3.3.6).
fn packets(unit: &[u8]) -> Vec<Bytes> {
    let size = u16::try_from(unit.len()).unwrap_or(u16::MAX) << 3;
    let head = [[0, 16], size.to_be_bytes()].concat();
    unit.chunks(MTU).map(|piece| [&head[..], piece].concat().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::clip::Clip;

    const TONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tone.mp4");

    #[test]
    fn the_files_access_units_come_in_an_even_row_and_again_in_every_round() {
        let clip = Clip::open(Path::new(TONE), true).unwrap().keeping_aac().unwrap();
        let mut source = clip.audio().unwrap().unwrap();
        let mut units = Vec::new();
        for n in 0..650 {
            let unit = source.produce(false, ProgramTime::default()).unwrap();
            assert_eq!((unit.ticks, unit.payloads.len()), (n * 1_024, 1));
            let payload = &unit.payloads[0];
            assert_eq!(payload[..2], [0, 16]);
            assert_eq!(usize::from(u16::from_be_bytes([payload[2], payload[3]])), (payload.len() - 4) << 3);
            units.push(payload.slice(4..));
        }
        // 1.5 s are 64.6 frames: the second round begins in the 65th place.
        assert_eq!(units[0], units[65]);
        assert_eq!(units[..60], units[65..125]);
        let file = std::fs::read(TONE).unwrap();
        assert!(units.iter().all(|unit| file.windows(unit.len()).any(|bytes| bytes == unit)));
    }

    #[test]
    fn a_late_clip_goes_on_where_it_should_be() {
        let clip = Clip::open(Path::new(TONE), true).unwrap().keeping_aac().unwrap();
        let mut source = clip.audio().unwrap().unwrap();
        let skipped = source.skip_to(Duration::from_secs(4)).unwrap();
        let unit = source.produce(false, ProgramTime::default()).unwrap();
        assert_eq!((skipped, unit.ticks), (172, 172 * 1_024), "frame 172 is played from 3.994 s to 4.017 s");
    }

    #[test]
    fn a_large_access_unit_goes_in_fragments_that_all_say_its_size() {
        let unit: Vec<u8> = (0..3_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let packets = packets(&unit);
        assert_eq!(packets.len(), 3);
        assert!(packets.iter().all(|packet| packet[..4] == [0, 16, 0x5d, 0xc0]));
        assert_eq!(packets.iter().map(|packet| &packet[4..]).collect::<Vec<_>>().concat(), unit);
    }
}

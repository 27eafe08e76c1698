//! Where the samples of an MP4 track lie and when they are shown, out of its sample table (ISO/IEC 14496-12, 8.6 and
//! 8.7). The `mp4` crate parses the boxes; its own way of reading samples walks the tables anew for every sample and
//! panics on some broken files, so the tables are walked here, once.

use bicast_shared::time::{ClockRate, scale};
use mp4::Mp4Track;

/// One sample of a track: a coded picture, or a frame of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u32,
    /// Its decode time, in ticks of the track. Edit list applied: may be negative.
    pub decode: i64,
    /// Its presentation time, in ticks of the track. Edit list applied: may be negative.
    pub present: i64,
    /// How long it lasts, in ticks of the track.
    pub duration: u32,
    /// Whether decoding can begin with it.
    pub sync: bool,
}

/// Why a sample table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its sample table is broken: {0}")]
pub struct BadTable(&'static str);

/// More samples than anybody's clip has (a day at 100 frames per second).
const MOST: u32 = 8_640_000;
/// A larger sample than any level of H.264 allows.
const LARGEST: u32 = 64 << 20;
/// Edits move times by no more than this many ticks, so that no sum of times overflows.
const MOST_MOVED: i64 = i64::MAX / 4;

/// The samples of a track in decode order.
///
/// # Errors
/// When the tables contradict each other.
pub fn samples(track: &Mp4Track) -> Result<Vec<Sample>, BadTable> {
    let table = &track.trak.mdia.minf.stbl;
    let count = table.stsz.sample_count;
    if count > MOST {
        return Err(BadTable("more than 8 640 000 samples"));
    }
    let count = usize::try_from(count).unwrap_or(0);
    if table.stsz.sample_size == 0 && table.stsz.sample_sizes.len() < count {
        return Err(BadTable("fewer sizes than samples"));
    }
    let size = |i: usize| match table.stsz.sample_size {
        0 => table.stsz.sample_sizes.get(i).copied(),
        fixed => Some(fixed),
    };
    let mut durations = table.stts.entries.iter().flat_map(|e| repeat(e.sample_delta, e.sample_count));
    let mut shifts = table
        .ctts
        .iter()
        .flat_map(|ctts| &ctts.entries)
        .flat_map(|e| repeat(e.sample_offset, e.sample_count));
    let mut sync = table.stss.iter().flat_map(|stss| &stss.entries).copied().peekable();
    let mut offsets = Offsets::new(track)?;
    let start = media_start(track);

    // A table of equal sizes says any count in four bytes.
    let mut samples = Vec::with_capacity(count.min(table.stsz.sample_sizes.len()));
    let mut decode = -start;
    let mut duration = 0;
    for i in 0..count {
        let size = size(i).filter(|&size| size <= LARGEST).ok_or(BadTable("a sample of more than 64 MiB"))?;
        // Some writers leave the last duration out.
        duration = durations.next().unwrap_or(duration);
        let number = u32::try_from(i + 1).unwrap_or(u32::MAX);
        while sync.peek().is_some_and(|&at| at < number) {
            sync.next();
        }
        samples.push(Sample {
            offset: offsets.next(size)?,
            size,
            decode,
            present: decode + i64::from(shifts.next().unwrap_or(0)),
            duration,
            sync: table.stss.is_none() || sync.peek() == Some(&number),
        });
        decode += i64::from(duration);
    }
    Ok(samples)
}

/// When the last sample of a track ends, in ticks of the track.
#[must_use]
pub fn end(samples: &[Sample]) -> i64 {
    samples.iter().map(|sample| sample.present + i64::from(sample.duration)).max().unwrap_or(0)
}

/// Whether samples are shown in another order than decoded: B-frames.
#[must_use]
pub fn reordered(samples: &[Sample]) -> bool {
    samples.windows(2).any(|pair| pair[1].present < pair[0].present)
}

/// The longest time from one sync sample to the next when the clip repeats after `round` ticks; none when it has no
/// sync sample.
#[must_use]
pub fn longest_gap(samples: &[Sample], round: i64) -> Option<i64> {
    let keys: Vec<i64> = samples.iter().filter(|sample| sample.sync).map(|sample| sample.present).collect();
    let (first, last) = (*keys.first()?, *keys.last()?);
    Some(keys.windows(2).map(|pair| pair[1] - pair[0]).chain([first + round - last]).max().unwrap_or(round))
}

fn repeat<T: Copy>(value: T, count: u32) -> impl Iterator<Item = T> {
    std::iter::repeat_n(value, usize::try_from(count.min(MOST)).unwrap_or(0))
}

/// The media time at which the first edit of a track begins: what has to be taken off its times. AAC has its priming
/// samples there, B-frames their reordering delay.
fn media_start(track: &Mp4Track) -> i64 {
    let edits = track.trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
    let first = edits.into_iter().flat_map(|elst| &elst.entries).find(|edit| !is_empty_edit(edit.media_time));
    first.map_or(0, |edit| i64::try_from(edit.media_time).unwrap_or(0)).min(MOST_MOVED)
}

/// What an empty edit at a track's beginning delays it by, in ticks of the track; `movie` is the movie's clock.
#[must_use]
pub fn initial_delay(track: &Mp4Track, movie: ClockRate) -> i64 {
    let edits = track.trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
    let empty: i64 = edits
        .into_iter()
        .flat_map(|elst| &elst.entries)
        .take_while(|edit| is_empty_edit(edit.media_time))
        .map(|edit| i64::try_from(edit.segment_duration).unwrap_or(0))
        .fold(0, i64::saturating_add);
    scale(empty, i64::from(track.timescale()), i64::from(movie.hz())).min(MOST_MOVED)
}

/// A media time of -1, in 32 or 64 bits: nothing is shown for the edit's duration, which counts in the movie's clock.
fn is_empty_edit(media_time: u64) -> bool {
    media_time == u64::from(u32::MAX) || media_time == u64::MAX
}

/// Walks chunks (stsc, stco or co64) and hands out the place of one sample after the other.
struct Offsets {
    /// The first chunk (counted from 1) of each run of chunks alike, and how many samples each of them holds.
    runs: Vec<(u32, u32)>,
    chunks: Vec<u64>,
    run: usize,
    chunk: usize,
    left: u32,
    at: u64,
}

impl Offsets {
    fn new(track: &Mp4Track) -> Result<Self, BadTable> {
        let table = &track.trak.mdia.minf.stbl;
        let chunks = match (&table.stco, &table.co64) {
            (Some(stco), _) => stco.entries.iter().map(|&at| u64::from(at)).collect(),
            (None, Some(co64)) => co64.entries.clone(),
            (None, None) => return Err(BadTable("no chunk offsets")),
        };
        let runs = table.stsc.entries.iter().map(|run| (run.first_chunk, run.samples_per_chunk)).collect();
        Ok(Self { runs, chunks, run: 0, chunk: 0, left: 0, at: 0 })
    }

    fn next(&mut self, size: u32) -> Result<u64, BadTable> {
        if self.left == 0 {
            self.at = *self.chunks.get(self.chunk).ok_or(BadTable("more samples than chunks hold"))?;
            self.chunk += 1;
            let number = u32::try_from(self.chunk).unwrap_or(u32::MAX);
            while self.runs.get(self.run + 1).is_some_and(|&(first, _)| first <= number) {
                self.run += 1;
            }
            self.left = self.runs.get(self.run).map_or(0, |&(_, samples)| samples);
            if self.left == 0 {
                return Err(BadTable("a chunk without samples"));
            }
        }
        self.left -= 1;
        let at = self.at;
        self.at = at.checked_add(u64::from(size)).ok_or(BadTable("a chunk beyond the end of the world"))?;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp4::{AvcConfig, MediaConfig, Mp4Config, Mp4Reader, Mp4Sample, Mp4Writer, TrackConfig, TrackType};
    use std::io::Cursor;

    /// An MP4 file of samples of (duration, shift, sync, bytes), parsed again.
    fn written(samples: &[(u32, i32, bool, usize)]) -> (Vec<u8>, Vec<Sample>) {
        let brand: mp4::FourCC = "isom".parse().unwrap();
        let config = Mp4Config {
            major_brand: brand,
            minor_version: 0,
            compatible_brands: vec![brand],
            timescale: 1_000,
        };
        let mut writer = Mp4Writer::write_start(Cursor::new(Vec::new()), &config).unwrap();
        let avc = AvcConfig {
            width: 64,
            height: 48,
            seq_param_set: vec![0x67, 0x42, 0xc0, 0x0a, 1],
            pic_param_set: vec![0x68, 1],
        };
        let track = TrackConfig {
            track_type: TrackType::Video,
            timescale: 25,
            language: "und".into(),
            media_conf: MediaConfig::AvcConfig(avc),
        };
        writer.add_track(&track).unwrap();
        let mut time = 0;
        for (i, &(duration, rendering_offset, is_sync, length)) in samples.iter().enumerate() {
            let bytes = vec![u8::try_from(i).unwrap(); length].into();
            let sample = Mp4Sample { start_time: time, duration, rendering_offset, is_sync, bytes };
            writer.write_sample(1, &sample).unwrap();
            time += u64::from(duration);
        }
        writer.write_end().unwrap();
        let file = writer.into_writer().into_inner();
        let reader = Mp4Reader::read_header(Cursor::new(&file), file.len() as u64).unwrap();
        let found = super::samples(&reader.tracks()[&1]).unwrap();
        (file, found)
    }

    #[test]
    fn every_sample_is_found_where_it_was_written() {
        let plan: Vec<_> = (0..100_usize).map(|i| (1, 0, i % 10 == 0, 3 + i * 7 % 50)).collect();
        let (file, samples) = written(&plan);
        assert_eq!(samples.len(), 100);
        for (i, sample) in samples.iter().enumerate() {
            let at = usize::try_from(sample.offset).unwrap();
            let bytes = &file[at..at + usize::try_from(sample.size).unwrap()];
            assert_eq!(bytes, vec![u8::try_from(i).unwrap(); plan[i].3]);
            assert_eq!(
                (sample.decode, sample.present),
                (i64::try_from(i).unwrap(), i64::try_from(i).unwrap())
            );
            assert_eq!(sample.sync, i % 10 == 0);
        }
        assert_eq!((end(&samples), reordered(&samples)), (100, false));
        assert_eq!(longest_gap(&samples, 100), Some(10));
        assert_eq!(longest_gap(&samples, 130), Some(40), "over the seam");
    }

    /// The file with an edit list in its track: (duration, media time) each.
    fn edited(mut file: Vec<u8>, edits: &[(u64, u64)]) -> Vec<u8> {
        let entries: Vec<u8> = edits
            .iter()
            .flat_map(|(duration, time)| {
                [&duration.to_be_bytes()[..], &time.to_be_bytes(), &[0, 1, 0, 0]].concat()
            })
            .collect();
        let size = u32::try_from(entries.len()).unwrap();
        let count = u32::try_from(edits.len()).unwrap().to_be_bytes();
        let (edts, elst) = ((size + 24).to_be_bytes(), (size + 16).to_be_bytes());
        let list = [&edts[..], b"edts", &elst, b"elst", &[1, 0, 0, 0], &count, &entries].concat();
        let place = |name: &[u8]| file.windows(4).rposition(|four| four == name).unwrap();
        let (moov, trak) = (place(b"moov"), place(b"trak"));
        for at in [moov - 4, trak - 4] {
            let longer = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) + size + 24;
            file[at..at + 4].copy_from_slice(&longer.to_be_bytes());
        }
        file.splice(trak + 4..trak + 4, list);
        file
    }

    #[test]
    fn edits_beyond_all_time_move_nothing_out_of_range() {
        let (file, plain) = written(&[(1, 0, true, 9), (1, 0, false, 9)]);
        let far = u64::MAX >> 1;
        let file = edited(file, &[(far, u64::MAX), (far, u64::MAX), (1, far)]);
        let reader = Mp4Reader::read_header(Cursor::new(&file), file.len() as u64).unwrap();
        let track = &reader.tracks()[&1];
        let moved = super::samples(track).unwrap();
        assert_eq!(plain[0].decode - moved[0].decode, MOST_MOVED);
        assert_eq!(initial_delay(track, ClockRate::new(1)), MOST_MOVED);
        assert!((end(&moved) + MOST_MOVED, longest_gap(&moved, 100)) == (2, Some(100)));
    }

    #[test]
    fn b_frames_are_presented_out_of_order() {
        // I P B B as decoded: shown at 1, 4, 2, 3.
        let (_, samples) = written(&[(1, 1, true, 9), (1, 3, false, 9), (1, 0, false, 9), (1, 0, false, 9)]);
        assert_eq!(samples.iter().map(|sample| sample.present).collect::<Vec<_>>(), [1, 4, 2, 3]);
        assert!(reordered(&samples));
        assert_eq!(end(&samples), 5);
        assert_eq!(longest_gap(&[], 7), None);
    }
}

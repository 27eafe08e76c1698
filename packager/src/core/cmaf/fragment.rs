//! A part: `styp` (only the first of a segment), `moof`, `mdat`. Written by hand: it is the hot path of the packager,
//! and five boxes.

use bytes::{BufMut, Bytes, BytesMut};

use crate::core::cmaf::Sample;

/// The one track of every file here.
pub const TRACK_ID: u32 = 1;

const MFHD: usize = 16;
const TFHD: usize = 16;
const TFDT: usize = 20;
const TRUN: usize = 20;
const PER_SAMPLE: usize = 16;

/// Writes a part whose first sample is decoded at `decode_time`. `first` marks the first part of a segment.
#[must_use]
pub fn write(sequence: u32, first: bool, decode_time: u64, samples: &[Sample]) -> Bytes {
    let media: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let trun = TRUN + PER_SAMPLE * samples.len();
    let traf = 8 + TFHD + TFDT + trun;
    let moof = 8 + MFHD + traf;
    let mut out = BytesMut::with_capacity(24 + moof + 8 + media);
    if first {
        styp(&mut out);
    }
    header(&mut out, moof, b"moof");
    header(&mut out, MFHD, b"mfhd");
    out.put_u32(0);
    out.put_u32(sequence);
    header(&mut out, traf, b"traf");
    header(&mut out, TFHD, b"tfhd");
    out.put_u32(0x02_0000); // default-base-is-moof
    out.put_u32(TRACK_ID);
    header(&mut out, TFDT, b"tfdt");
    out.put_u32(1 << 24);
    out.put_u64(decode_time);
    header(&mut out, trun, b"trun");
    out.put_u32(1 << 24 | 0xf01); // version 1; data offset and per sample duration, size, flags, composition offset
    out.put_u32(u32::try_from(samples.len()).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(moof + 8).unwrap_or(u32::MAX));
    for sample in samples {
        out.put_u32(sample.duration);
        out.put_u32(u32::try_from(sample.data.len()).unwrap_or(u32::MAX));
        out.put_u32(sample.kind.flags());
        out.put_i32(sample.composition);
    }
    header(&mut out, 8 + media, b"mdat");
    for sample in samples {
        out.put_slice(&sample.data);
    }
    out.freeze()
}

fn styp(out: &mut BytesMut) {
    header(out, 24, b"styp");
    out.put_slice(b"msdh");
    out.put_u32(0);
    out.put_slice(b"msdhcmfs");
}

fn header(out: &mut BytesMut, size: usize, kind: &[u8; 4]) {
    out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    out.put_slice(kind);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cmaf::SampleKind;
    use crate::core::cmaf::probe;
    use mp4_atom::{Any, DecodeMaybe};

    fn sample(duration: u32, composition: i32, kind: SampleKind, data: &'static [u8]) -> Sample {
        Sample { duration, composition, kind, data: Bytes::from_static(data) }
    }

    #[test]
    fn an_independent_reader_finds_what_was_written() {
        let samples = [
            sample(3_000, 3_000, SampleKind::Sync, b"first"),
            sample(2_990, -10, SampleKind::Dependent, b"second"),
            sample(3_010, 0, SampleKind::Disposable, b"third"),
        ];
        let bytes = write(7, true, 1 << 33, &samples);
        let mut rest = &bytes[..];
        let mut boxes = Vec::new();
        while let Some(next) = Any::decode_maybe(&mut rest).unwrap() {
            boxes.push(next);
        }
        let [Any::Styp(_), Any::Moof(moof), Any::Mdat(mdat)] = &boxes[..] else { panic!("{boxes:?}") };
        assert_eq!(mdat.data, b"firstsecondthird");
        assert_eq!(moof.mfhd.sequence_number, 7);
        let traf = &moof.traf[0];
        assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, 1 << 33);
        let entries: Vec<_> = traf.trun[0].samples.iter().collect();
        assert_eq!(entries[1].cts, Some(-10));
        assert_eq!(entries[1].duration, Some(2_990));
        let data_offset = usize::try_from(traf.trun[0].data_offset.unwrap()).unwrap();
        assert_eq!(&bytes[24 + data_offset..24 + data_offset + 5], b"first");
        let read = probe::samples(&bytes).unwrap();
        assert_eq!(
            read.iter().map(|s| s.presentation).collect::<Vec<_>>(),
            [(1 << 33) + 3_000, (1 << 33) + 2_990, (1 << 33) + 5_990]
        );
        assert_eq!(read.iter().map(|s| s.kind).collect::<Vec<_>>(), samples.clone().map(|s| s.kind));
        assert!(!write(8, false, 0, &samples).windows(4).any(|w| w == b"styp"));
    }
}

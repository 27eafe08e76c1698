//! Boxes of fragments.

use arbitrary::Unstructured;
use bytes::Bytes;
use mp4_atom::{Any, DecodeMaybe};

use super::{below, bytes};
use crate::core::cmaf::{Sample, SampleKind, fragment, probe};

/// Any bytes as a part, and parts of any samples.
pub fn boxes(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    if below(&mut steps, 3) == 0 {
        let file = steps.take_rest();
        if let Some(samples) = probe::samples(file) {
            assert!(samples.len() * 16 <= file.len() * 64);
        }
        return;
    }
    let (mut file, mut expected) = (Vec::new(), Vec::new());
    let mut decode = i64::from(steps.arbitrary::<u32>().unwrap_or(0)) << below(&mut steps, 20);
    for n in 0..=below(&mut steps, 4) {
        let samples: Vec<Sample> = (0..below(&mut steps, 12)).map(|_| sample(&mut steps)).collect();
        let part = fragment::write(n, n == 0, decode.unsigned_abs(), &samples);
        independent(&part, &samples, decode);
        let mut offset =
            file.len() + part.len() - samples.iter().map(|sample| sample.data.len()).sum::<usize>();
        for sample in &samples {
            expected.push((
                decode,
                decode + i64::from(sample.composition),
                sample.duration,
                offset,
                sample.kind,
            ));
            decode += i64::from(sample.duration);
            offset += sample.data.len();
        }
        file.extend_from_slice(&part);
    }
    let read = probe::samples(&file).expect("our own parts");
    let read: Vec<_> =
        read.iter().map(|s| (s.decode, s.presentation, s.duration, s.offset, s.kind)).collect();
    assert_eq!(read, expected);
}

fn sample(steps: &mut Unstructured<'_>) -> Sample {
    let kinds = [SampleKind::Sync, SampleKind::Repeated, SampleKind::Dependent, SampleKind::Disposable];
    Sample {
        duration: steps.arbitrary().unwrap_or(3_000),
        composition: steps.arbitrary().unwrap_or(0),
        kind: kinds[usize::try_from(below(steps, 4)).unwrap()],
        data: Bytes::copy_from_slice(bytes(steps, 40)),
    }
}

/// An independent reader finds the same.
fn independent(part: &Bytes, samples: &[Sample], decode: i64) {
    let mut rest = &part[..];
    let mut found = 0;
    while let Some(next) = Any::decode_maybe(&mut rest).expect("well-formed boxes") {
        if let Any::Moof(moof) = next {
            let traf = &moof.traf[0];
            assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, decode.unsigned_abs());
            for (entry, sample) in traf.trun[0].samples.iter().zip(samples) {
                assert_eq!(
                    (entry.duration, entry.cts),
                    (Some(sample.duration), Some(i64::from(sample.composition)))
                );
                assert_eq!(entry.size, Some(u32::try_from(sample.data.len()).unwrap()));
                found += 1;
            }
        }
    }
    assert_eq!((found, rest.len()), (samples.len(), 0));
}

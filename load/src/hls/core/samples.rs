//! Samples: what their bytes say against what the boxes say of them.

use super::boxes::{Run, Track, u32_at};
use super::ledger::{At, Ledger};

/// What the bytes of a sample say.
#[derive(Debug, Default)]
struct Coded<'a> {
    /// What breaks the format of samples (ISO/IEC 14496-15, the AV1 and VP9 bindings).
    wrong: Option<&'static str>,
    /// Whether decoding can begin here; None where that cannot be told.
    key: Option<bool>,
    /// Parameter sets that came with the pictures.
    sets: Vec<&'a [u8]>,
}

/// Samples by which a frame of sound may be longer or shorter: a tenth of a millisecond, which nobody hears.
const DRIFT_STEP: u32 = 4;

/// Judges the samples of a part. `data` is what is in its mdat.
pub(super) fn judge(ledger: &mut Ledger, at: At<'_>, track: &Track, run: &Run, data: &[u8]) {
    if track.entry == *b"mp4a" {
        // A frame of AAC, and the doubled one of its high efficiency profiles. An encoder's clock is not the timeline's: an origin
        // that lets sound follow the picture does so in steps of some samples, and DURATION and tfdt (rules 20, 71) count them.
        let whole =
            run.durations.iter().all(|ticks| ticks.abs_diff(1_024).min(ticks.abs_diff(2_048)) <= DRIFT_STEP);
        ledger.judge(78, whole, at, || format!("samples of {:?} ticks", run.durations));
    }
    let mut rest = data;
    for (n, (size, sync)) in run.sizes.iter().zip(&run.sync).enumerate() {
        let split = usize::try_from(*size).ok().and_then(|size| rest.split_at_checked(size));
        // Sizes that do not fit the mdat break another rule.
        let Some((sample, more)) = split else { return };
        rest = more;
        let coded = match &track.entry {
            b"avc1" => nal_units(sample, false),
            b"hvc1" => nal_units(sample, true),
            b"av01" => obus(sample),
            b"vp09" => vp9(sample),
            _ => return,
        };
        ledger.judge(76, coded.wrong.is_none(), at, || {
            format!("sample {n}: {}", coded.wrong.unwrap_or_default())
        });
        if let Some(key) = coded.key {
            ledger.judge(72, *sync == key, at, || {
                format!("sample {n} has the sync flag {sync}, its bytes say {key}")
            });
        }
        for set in coded.sets {
            let known = track.described.sets.iter().any(|known| known == set);
            ledger.judge(77, known, at, || {
                format!("sample {n} has a parameter set that its init section does not have")
            });
        }
    }
}

/// NAL units behind 32-bit lengths.
fn nal_units(mut sample: &[u8], hevc: bool) -> Coded<'_> {
    let mut coded = Coded { key: Some(false), ..Coded::default() };
    while !sample.is_empty() {
        let length = u32_at(sample, 0).and_then(|length| usize::try_from(length).ok());
        let unit = length.and_then(|length| sample.get(4..)?.split_at_checked(length));
        let Some((unit, rest)) = unit else {
            coded.wrong = Some("its bytes are no NAL units behind their lengths");
            return coded;
        };
        sample = rest;
        let Some(head) = unit.first() else { continue };
        let kind = if hevc { head >> 1 & 0x3f } else { head & 0x1f };
        let (key, set) = if hevc { (16..=23, 32..=34) } else { (5..=5, 7..=8) };
        if key.contains(&kind) {
            coded.key = Some(true);
        }
        if set.contains(&kind) {
            coded.sets.push(unit);
        }
    }
    coded
}

/// Open bitstream units (AV1, 5.3).
fn obus(mut sample: &[u8]) -> Coded<'_> {
    let mut coded = Coded::default();
    let mut described = false;
    while let Some((head, rest)) = sample.split_first() {
        let rest = if head & 4 != 0 { rest.get(1..).unwrap_or_default() } else { rest };
        let whole = if head & 2 == 0 { Some((rest, &[][..])) } else { sized(rest) };
        let Some((_, more)) = whole.filter(|_| head & 0x80 == 0) else {
            coded.wrong = Some("its bytes are no OBUs");
            return coded;
        };
        match head >> 3 & 0xf {
            1 => described = true,
            2 => coded.wrong = Some("it has a temporal delimiter"),
            _ => {}
        }
        sample = more;
    }
    // A sync sample has a sequence header, and others may have one, too.
    coded.key = (!described).then_some(false);
    coded
}

/// An OBU of which the size is said: its content, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut size = 0_usize;
    for (n, byte) in bytes.iter().take(8).enumerate() {
        size |= usize::from(byte & 0x7f).checked_shl(7 * u32::try_from(n).ok()?)?;
        if byte & 0x80 == 0 {
            return bytes.get(n + 1..)?.split_at_checked(size);
        }
    }
    None
}

/// The uncompressed header of VP9 (6.2): marker, profile, whether an older frame is shown, frame type.
fn vp9(sample: &[u8]) -> Coded<'_> {
    let Some(head) = sample.first().filter(|head| **head >> 6 == 2) else {
        return Coded { wrong: Some("its bytes are no frame of VP9"), ..Coded::default() };
    };
    // Profile 3 has a bit more.
    let shift = u8::from(head & 0x30 == 0x30);
    let shown = head << shift & 8 != 0;
    Coded { key: Some(!shown && head << shift & 4 == 0), ..Coded::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::entry::Entry;

    fn broken(entry: &[u8; 4], sets: &[&[u8]], samples: &[(&[u8], bool, u32)]) -> Vec<u8> {
        let described = Entry { sets: sets.iter().map(|set| set.to_vec()).collect(), ..Entry::default() };
        let track = Track { timescale: 48_000, video: true, entry: *entry, described, ..Track::default() };
        let run = Run {
            sizes: samples.iter().map(|(bytes, ..)| bytes.len() as u32).collect(),
            sync: samples.iter().map(|(_, sync, _)| *sync).collect(),
            durations: samples.iter().map(|(.., ticks)| *ticks).collect(),
            ..Run::default()
        };
        let data: Vec<u8> = samples.iter().flat_map(|(bytes, ..)| bytes.iter().copied()).collect();
        let mut ledger = Ledger::default();
        judge(&mut ledger, At::whole("u"), &track, &run, &data);
        ledger.broken()
    }

    #[test]
    fn every_sample_says_whether_decoding_can_begin_there() {
        let (idr, other) = (&[0, 0, 0, 1, 0x65][..], &[0, 0, 0, 1, 0x41][..]);
        assert_eq!(broken(b"avc1", &[], &[(idr, true, 1), (other, false, 1)]), [0_u8; 0]);
        assert_eq!(broken(b"avc1", &[], &[(idr, true, 1), (other, true, 1)]), [72], "the second");
        assert_eq!(broken(b"avc1", &[], &[(other, false, 1), (idr, false, 1)]), [72]);
        let (irap, trail) = (&[0, 0, 0, 2, 19 << 1, 1][..], &[0, 0, 0, 2, 1 << 1, 1][..]);
        assert_eq!(broken(b"hvc1", &[], &[(irap, true, 1), (trail, false, 1)]), [0_u8; 0]);
        assert_eq!(broken(b"hvc1", &[], &[(trail, true, 1)]), [72]);
        assert_eq!(broken(b"vp09", &[], &[(&[0x80], true, 1), (&[0x84], false, 1)]), [0_u8; 0]);
        assert_eq!(broken(b"vp09", &[], &[(&[0x84], true, 1)]), [72]);
        assert_eq!(broken(b"vp09", &[], &[(&[0x88], true, 1)]), [72], "an older frame is shown");
        let keyframe = &[0x0a, 1, 0, 0x32, 0][..];
        assert_eq!(broken(b"av01", &[], &[(keyframe, true, 1), (&[0x30], false, 1)]), [0_u8; 0]);
        assert_eq!(broken(b"av01", &[], &[(&[0x32, 0], true, 1)]), [72], "no sequence header");
    }

    #[test]
    fn samples_have_their_codecs_format() {
        let start_code = &[0, 0, 0, 1, 0x65, 1, 2, 3][..];
        assert!(broken(b"avc1", &[], &[(start_code, true, 1)]).contains(&76));
        assert!(broken(b"av01", &[], &[(&[0x12, 0, 0x0a, 1, 0], true, 1)]).contains(&76), "a delimiter");
        assert!(broken(b"av01", &[], &[(&[0x32, 9], false, 1)]).contains(&76), "longer than the sample");
        assert!(broken(b"vp09", &[], &[(&[0x12], false, 1)]).contains(&76));
    }

    #[test]
    fn parameter_sets_in_the_stream_are_those_of_the_init_section() {
        let keyframe = &[0, 0, 0, 2, 0x67, 1, 0, 0, 0, 1, 0x65][..];
        assert_eq!(broken(b"avc1", &[&[0x67, 1]], &[(keyframe, true, 1)]), [0_u8; 0]);
        assert_eq!(broken(b"avc1", &[&[0x67, 2]], &[(keyframe, true, 1)]), [77]);
    }

    #[test]
    fn frames_of_aac_have_their_length() {
        assert_eq!(broken(b"mp4a", &[], &[(&[1], true, 1_024), (&[1], true, 1_024)]), [0_u8; 0]);
        assert_eq!(broken(b"mp4a", &[], &[(&[1], true, 1_024), (&[1], true, 960)]), [78]);
    }
}

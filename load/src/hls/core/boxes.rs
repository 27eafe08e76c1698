//! CMAF: init sections and parts, box by box.

use super::entry::{self, Entry};
use super::ledger::{At, Ledger};
use super::{events, samples};

/// A box: its kind, its content, where it begins.
pub(super) struct Found<'a> {
    pub(super) kind: [u8; 4],
    pub(super) body: &'a [u8],
    pub(super) start: usize,
}

/// The boxes of these bytes; None where sizes do not fit.
pub(super) fn boxes(bytes: &[u8]) -> Option<Vec<Found<'_>>> {
    let (mut found, mut start) = (Vec::new(), 0);
    while start < bytes.len() {
        let size = usize::try_from(u32_at(bytes, start)?).ok()?;
        let kind = bytes.get(start + 4..start + 8)?.try_into().ok()?;
        // A size below its own header is caught by the range; 0 and 1 (to the end, 64 bits) have no place in live media.
        let body = bytes.get(start + 8..start.checked_add(size)?)?;
        found.push(Found { kind, body, start });
        start += size;
    }
    Some(found)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn one<'a>(list: &'a [Found<'a>], kind: &[u8; 4]) -> Option<&'a [u8]> {
    list.iter().find(|found| found.kind == *kind).map(|found| found.body)
}

pub(super) fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes)?.into_iter().find(|found| found.kind == *kind).map(|found| found.body)
}

/// What an init section says of its track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) timescale: u32,
    pub(crate) video: bool,
    pub(crate) entry: [u8; 4],
    /// What its sample entry says.
    pub(crate) described: Entry,
    /// Default duration, size and flags of samples (`trex`).
    pub(super) defaults: [u32; 3],
}

/// Judges an init section.
pub(crate) fn judge_init(ledger: &mut Ledger, url: &str, bytes: &[u8]) -> Option<Track> {
    let at = At::whole(url);
    let Some(list) = boxes(bytes) else {
        ledger.judge(69, false, at, || "not a sequence of boxes".into());
        return None;
    };
    let brands = one(&list, b"ftyp").unwrap_or_default();
    let known = brands
        .chunks(4)
        .any(|brand| matches!(brand, b"iso6" | b"iso7" | b"iso8" | b"iso9" | b"cmfc" | b"cmf2"));
    let first = list.first().is_some_and(|first| first.kind == *b"ftyp");
    ledger.judge(69, first && known, at, || "no ftyp of iso6 or a CMAF brand at its beginning".into());
    ledger.judge(69, one(&list, b"mdat").is_none(), at, || "an mdat in an init section".into());
    let moov = boxes(one(&list, b"moov").unwrap_or_default()).unwrap_or_default();
    let trex = one(&moov, b"mvex").and_then(|mvex| child(mvex, b"trex"));
    ledger.judge(69, trex.is_some(), at, || "no moov with mvex and trex".into());
    let tracks: Vec<_> = moov.iter().filter(|found| found.kind == *b"trak").collect();
    ledger.judge(70, tracks.len() == 1, at, || format!("{} tracks", tracks.len()));
    entry::judge_edits(ledger, at, brands, tracks.first()?.body);
    let mdia = child(tracks.first()?.body, b"mdia")?;
    let mdhd = child(mdia, b"mdhd")?;
    let timescale = u32_at(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 })?;
    let video = child(mdia, b"hdlr")?.get(8..12)? == b"vide";
    let stbl = child(child(mdia, b"minf")?, b"stbl")?;
    let stsd = child(stbl, b"stsd")?;
    let counts = [(b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4)];
    let empty =
        counts.iter().all(|(kind, at)| child(stbl, kind).is_none_or(|body| u32_at(body, *at) == Some(0)));
    ledger.judge(69, empty, at, || "samples in an init section".into());
    let entries = boxes(stsd.get(8..)?)?;
    let entry = entries.first()?;
    let described = entry::judge(ledger, at, entry.kind, entry.body, timescale);
    let default = |at| trex.and_then(|trex| u32_at(trex, at)).unwrap_or(0);
    let defaults = [default(12), default(16), default(20)];
    Some(Track { timescale, video, entry: entry.kind, described, defaults })
}

/// What a part held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Decode times of the first sample and after the last, in ticks.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// `mfhd` of its last fragment.
    pub(crate) sequence: u32,
    /// How many samples it has.
    pub(crate) samples: u32,
}

/// What a playlist says of a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub(crate) micros: i64,
    pub(crate) independent: bool,
    /// None where continuity cannot be judged: at the beginning and behind a discontinuity.
    pub(crate) before: Option<Chunk>,
}

/// Judges a part of one chunk.
pub(crate) fn judge_part(
    ledger: &mut Ledger,
    url: &str,
    bytes: &[u8],
    track: &Track,
    said: Said,
) -> Option<Chunk> {
    let at = At::whole(url);
    let list = boxes(bytes).unwrap_or_default();
    let count = |kind: &[u8; 4]| list.iter().filter(|found| found.kind == *kind).count();
    let single = count(b"moof") == 1 && count(b"mdat") == 1;
    ledger.judge(70, single, at, || format!("{} moof and {} mdat", count(b"moof"), count(b"mdat")));
    ledger.judge(74, count(b"sidx") == 0, at, || "a sidx".into());
    let moof = list.iter().find(|found| found.kind == *b"moof")?;
    let mdat = list.iter().find(|found| found.kind == *b"mdat")?;
    let inside = boxes(moof.body).unwrap_or_default();
    let trafs: Vec<_> = inside.iter().filter(|found| found.kind == *b"traf").collect();
    ledger.judge(70, trafs.len() == 1, at, || format!("{} traf", trafs.len()));
    let fields = boxes(trafs.first()?.body).unwrap_or_default();
    let runs = fields.iter().filter(|found| found.kind == *b"trun").count();
    ledger.judge(70, runs == 1, at, || format!("{runs} trun"));
    let sequence = one(&inside, b"mfhd").and_then(|mfhd| u32_at(mfhd, 4)).unwrap_or(0);
    let begin = one(&fields, b"tfdt").and_then(decode_time);
    ledger.judge(71, begin.is_some(), at, || "no tfdt".into());
    let run = Run::read(one(&fields, b"tfhd")?, one(&fields, b"trun")?, track.defaults)?;
    let placed = run.relative
        && run.offset == (mdat.start + 8).checked_sub(moof.start).and_then(|n| u32::try_from(n).ok());
    ledger.judge(71, placed, at, || "no default-base-is-moof, or data_offset not at the mdat".into());
    ledger.judge(71, run.bytes == mdat.body.len() as u64, at, || {
        format!("samples of {} bytes in an mdat of {}", run.bytes, mdat.body.len())
    });
    ledger.judge(73, run.signed, at, || "composition offsets that wrap, in trun version 0".into());
    let micros = run.ticks.saturating_mul(1_000_000) / u64::from(track.timescale.max(1));
    // Rounding to a microsecond here, to five digits there.
    ledger.judge(20, micros.abs_diff(u64::try_from(said.micros).unwrap_or(0)) <= 20, at, || {
        format!("samples of {micros} microseconds, DURATION says {}", said.micros)
    });
    samples::judge(ledger, at, track, &run, mdat.body);
    events::judge(ledger, at, &list, begin);
    if track.video {
        let sync = run.sync.first().copied().unwrap_or(false);
        // A part with a keyframe further in may be marked or not (4.4.4.9, SHOULD); players begin with the first sample of what is.
        let true_of_it = if said.independent { run.sync.contains(&true) } else { !sync };
        ledger.judge(21, true_of_it, at, || {
            format!("INDEPENDENT is {}, the first sample's sync flag is {sync}", said.independent)
        });
    } else {
        ledger.judge(21, said.independent, at, || "a part of sound without INDEPENDENT".into());
    }
    let begin = begin?;
    if let Some(before) = said.before {
        ledger.judge(51, begin == before.end, at, || {
            format!("tfdt is {begin}, the part before ended at {}", before.end)
        });
        ledger.judge(74, sequence > before.sequence, at, || {
            format!("mfhd {sequence} after {}", before.sequence)
        });
    }
    let samples = u32::try_from(run.sizes.len()).unwrap_or(u32::MAX);
    Some(Chunk { begin, end: begin.saturating_add(run.ticks), sequence, samples })
}

fn decode_time(tfdt: &[u8]) -> Option<u64> {
    match tfdt.first()? {
        0 => u32_at(tfdt, 4).map(u64::from),
        _ => Some(u64::from_be_bytes(tfdt.get(4..12)?.try_into().ok()?)),
    }
}

/// A trun with what it inherits.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) relative: bool,
    pub(super) offset: Option<u32>,
    pub(super) bytes: u64,
    pub(super) ticks: u64,
    pub(super) sync: Vec<bool>,
    pub(super) sizes: Vec<u32>,
    pub(super) durations: Vec<u32>,
    pub(super) signed: bool,
}

/// More samples than this in a part are a lie.
const MOST_SAMPLES: u32 = 100_000;

impl Run {
    fn read(tfhd: &[u8], trun: &[u8], defaults: [u32; 3]) -> Option<Self> {
        let flags = u32_at(tfhd, 0)? & 0xff_ffff;
        let mut at = 8;
        at += if flags & 1 != 0 { 8 } else { 0 };
        at += if flags & 2 != 0 { 4 } else { 0 };
        let mut inherited = defaults;
        for (bit, slot) in [8, 16, 32].into_iter().zip(&mut inherited) {
            if flags & bit != 0 {
                *slot = u32_at(tfhd, at)?;
                at += 4;
            }
        }
        let [duration, size, sample_flags] = inherited;
        let head = u32_at(trun, 0)?;
        let (version, has) = (head >> 24, |bit: u32| head & bit != 0);
        let count = u32_at(trun, 4).filter(|count| *count <= MOST_SAMPLES)?;
        let mut at = 8;
        let mut next = |wanted: bool| -> Option<Option<u32>> {
            if !wanted {
                return Some(None);
            }
            let value = u32_at(trun, at)?;
            at += 4;
            Some(Some(value))
        };
        let offset = next(has(1))?;
        let first_flags = next(has(4))?;
        let relative = flags & 0x2_0000 != 0 && flags & 1 == 0;
        let mut run = Self { relative, offset, signed: true, ..Self::default() };
        for n in 0..count {
            let ticks = next(has(0x100))?.unwrap_or(duration);
            run.ticks += u64::from(ticks);
            run.durations.push(ticks);
            let bytes = next(has(0x200))?.unwrap_or(size);
            run.bytes += u64::from(bytes);
            let own = next(has(0x400))?.or(first_flags.filter(|_| n == 0)).unwrap_or(sample_flags);
            run.sync.push(own & 0x1_0000 == 0);
            let composition = next(has(0x800))?.unwrap_or(0);
            run.signed &= version >= 1 || composition < 1 << 31;
            run.sizes.push(bytes);
        }
        Some(run)
    }
}

/// Judges whether a segment is its parts, one after the other.
pub(crate) fn judge_concatenation(ledger: &mut Ledger, url: &str, segment: &[u8], parts: &[bytes::Bytes]) {
    let mut rest = segment;
    let equal = parts.iter().all(|part| {
        rest.strip_prefix(&part[..]).is_some_and(|more| {
            rest = more;
            true
        })
    });
    let length: usize = parts.iter().map(bytes::Bytes::len).sum();
    ledger.judge(28, equal && rest.is_empty(), At::whole(url), || {
        format!(
            "the segment has {} bytes, its {} parts {length}, and they differ",
            segment.len(),
            parts.len()
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::entry::tests::AVCC;
    use bytes::Bytes;

    fn make(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Two pictures of an avc1 track, the first an IDR.
    #[derive(Clone)]
    struct Made {
        base: u32,
        time: u64,
        sequence: u32,
        flags: u32,
        offset: u32,
        durations: u32,
        size: u32,
        version: u32,
        extra: Vec<u8>,
        mdats: usize,
    }

    const GOOD: Made = Made {
        base: 0x2_0000,
        time: 9_000,
        sequence: 2,
        flags: 0,
        offset: 0,
        durations: 45_000,
        size: 5,
        version: 1,
        extra: Vec::new(),
        mdats: 1,
    };

    fn part(made: &Made) -> Vec<u8> {
        let build = |offset| {
            let tfdt = [&words(&[1 << 24])[..], &made.time.to_be_bytes()].concat();
            let samples = [made.durations, made.size, made.flags, u32::MAX, made.durations, 5, 0x1_0000, 0];
            let trun = [words(&[made.version << 24 | 0xf01, 2, offset]), words(&samples)].concat();
            let traf =
                [make(b"tfhd", &words(&[made.base, 1])), make(b"tfdt", &tfdt), make(b"trun", &trun)].concat();
            make(b"moof", &[make(b"mfhd", &words(&[0, made.sequence])), make(b"traf", &traf)].concat())
        };
        let moof = build(u32::try_from(build(0).len()).unwrap() + 8 + made.offset);
        let mdat = make(b"mdat", &[0, 0, 0, 1, 0x65, 0, 0, 0, 1, 0x41]);
        [made.extra.clone(), moof, mdat.repeat(made.mdats)].concat()
    }

    fn track() -> Track {
        Track { timescale: 90_000, video: true, entry: *b"avc1", ..Track::default() }
    }

    const SAID: Said = Said {
        micros: 1_000_000,
        independent: true,
        before: Some(Chunk { begin: 0, end: 9_000, sequence: 1, samples: 2 }),
    };

    fn broken(bytes: &[u8], said: Said) -> Vec<u8> {
        let mut ledger = Ledger::default();
        let _ = judge_part(&mut ledger, "u", bytes, &track(), said);
        ledger.broken()
    }

    #[test]
    fn a_good_part_breaks_nothing() {
        assert_eq!(broken(&part(&GOOD), SAID), [0_u8; 0]);
    }

    #[test]
    fn each_rule_of_parts_can_be_broken() {
        for (rules, made) in [
            (&[71][..], Made { base: 0, ..GOOD }),
            (&[51], Made { time: 9_001, ..GOOD }),
            (&[74], Made { sequence: 1, ..GOOD }),
            (&[21, 72], Made { flags: 0x1_0000, ..GOOD }),
            (&[71], Made { offset: 1, ..GOOD }),
            (&[20], Made { durations: 44_000, ..GOOD }),
            (&[71], Made { size: 6, ..GOOD }),
            (&[73], Made { version: 0, ..GOOD }),
            (&[74], Made { extra: make(b"sidx", &[]), ..GOOD }),
            (&[70], Made { mdats: 2, ..GOOD }),
        ] {
            let found = broken(&part(&made), SAID);
            assert!(rules.iter().all(|rule| found.contains(rule)), "{rules:?} of {found:?}");
        }
        assert_eq!(broken(&part(&GOOD), Said { independent: false, ..SAID }), [21]);
        assert!(broken(b"<html>", SAID).contains(&70));
        let good = part(&GOOD);
        for cut in 0..good.len() {
            let _ = broken(&good[..cut], SAID);
        }
    }

    #[test]
    fn a_segment_must_be_its_parts() {
        let check = |segment: &[u8]| {
            let mut ledger = Ledger::default();
            judge_concatenation(
                &mut ledger,
                "u",
                segment,
                &[Bytes::from_static(b"ab"), Bytes::from_static(b"c")],
            );
            ledger.broken()
        };
        assert_eq!(check(b"abc"), [0_u8; 0]);
        for wrong in [&b"ab"[..], b"abcd", b"acb"] {
            assert_eq!(check(wrong), [28]);
        }
    }

    fn init(brand: &[u8], entry: &[u8; 4], tracks: usize, extends: bool) -> Vec<u8> {
        let described = [vec![0; 78], make(b"avcC", &AVCC)].concat();
        let stsd = [words(&[0, 1]), make(entry, &described)].concat();
        let stbl = make(b"stbl", &make(b"stsd", &stsd));
        let mdhd = make(b"mdhd", &words(&[0, 0, 0, 90_000, 0, 0]));
        let hdlr = make(b"hdlr", &[&words(&[0, 0])[..], b"vide"].concat());
        let mdia = make(b"mdia", &[mdhd, hdlr, make(b"minf", &stbl)].concat());
        let mvex = make(b"mvex", &make(b"trex", &words(&[0, 1, 1, 0, 0, 0])));
        let moov = [make(b"trak", &mdia).repeat(tracks), if extends { mvex } else { Vec::new() }].concat();
        [make(b"ftyp", brand), make(b"moov", &moov)].concat()
    }

    #[test]
    fn each_rule_of_init_sections_can_be_broken() {
        let check = |bytes: &[u8]| {
            let mut ledger = Ledger::default();
            let track = judge_init(&mut ledger, "u", bytes);
            (ledger.broken(), track)
        };
        let (found, read) = check(&init(b"iso6", b"avc1", 1, true));
        assert_eq!(found, [0_u8; 0]);
        let read = read.unwrap();
        assert_eq!(read.described.codec.as_deref(), Some("avc1.42c01f"));
        assert_eq!(Track { described: Entry::default(), ..read }, track());
        assert_eq!(check(&init(b"isom", b"avc1", 1, true)).0, [69]);
        assert_eq!(check(&init(b"iso6", b"avc1", 1, false)).0, [69]);
        assert_eq!(check(&init(b"iso6", b"avc3", 1, true)).0, [76]);
        assert_eq!(check(&init(b"iso6", b"avc1", 2, true)).0, [70]);
        assert!(check(&init(b"iso6", b"Opus", 1, true)).0.contains(&79));
        assert!(check(&init(b"iso6", b"mp4a", 1, true)).0.contains(&78));
        assert_eq!(check(&[0, 0, 0, 9]).0, [69]);
        let samples = [init(b"iso6", b"avc1", 1, true), make(b"mdat", b"x")].concat();
        assert_eq!(check(&samples).0, [69]);
    }
}

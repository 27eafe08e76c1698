//! Samples of CMAF fragments with their presentation times. Reads boxes by itself (ISO/IEC 14496-12): a test that used
//! the writer's crate would share its mistakes.

use anyhow::Context as _;
use bytes::Bytes;

/// What an init segment says about its one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// Ticks per second of the track's times.
    pub timescale: u32,
    /// The sample entry's type: `avc1`, `Opus`, …
    pub sample_entry: String,
    /// `trex`'s default sample duration.
    default_duration: u32,
    /// `trex`'s default sample size.
    default_size: u32,
    /// `trex`'s default sample flags.
    default_flags: u32,
}

/// One sample.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its decode time, in ticks of the track's timescale.
    pub decode: u64,
    /// Its presentation time: the decode time and the composition offset.
    pub presentation: i64,
    /// Its duration.
    pub duration: u32,
    /// Whether it says that decoding can begin here.
    pub sync: bool,
    /// Whether it says that nothing depends on it (`sample_is_depended_on` is 2): of bicast's video these are the still
    /// frames that it fills a hole with, and never a publisher's own.
    pub disposable: bool,
    /// Its bytes.
    pub data: Bytes,
}

/// Reads an init segment.
///
/// # Errors
/// Where a box that it must have is missing or cut short.
pub fn init(bytes: &[u8]) -> anyhow::Result<Init> {
    let moov = find(bytes, b"moov").context("no moov")?;
    let mdia = path(moov, &[b"trak", b"mdia"]).context("no mdia")?;
    let mdhd = find(mdia, b"mdhd").context("no mdhd")?;
    let at = if mdhd.first() == Some(&1) { 20 } else { 12 };
    let stsd = path(mdia, &[b"minf", b"stbl", b"stsd"]).context("no stsd")?;
    let entry = stsd.get(12..16).context("no sample entry")?;
    let trex = path(moov, &[b"mvex", b"trex"]).context("no trex")?;
    Ok(Init {
        timescale: u32_at(mdhd, at)?,
        sample_entry: String::from_utf8_lossy(entry).into_owned(),
        default_duration: u32_at(trex, 12)?,
        default_size: u32_at(trex, 16)?,
        default_flags: u32_at(trex, 20)?,
    })
}

/// Reads all fragments of a segment or part.
///
/// # Errors
/// Where a fragment contradicts itself or is cut short.
pub fn samples(init: &Init, bytes: &Bytes) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (kind, start, end) in boxes(bytes) {
        if &kind == b"moof" {
            fragment(init, bytes, start, &bytes[start + 8..end], &mut samples)?;
        }
    }
    Ok(samples)
}

fn fragment(
    init: &Init,
    file: &Bytes,
    moof_start: usize,
    moof: &[u8],
    samples: &mut Vec<Sample>,
) -> anyhow::Result<()> {
    let traf = find(moof, b"traf").context("no traf")?;
    let tfhd = find(traf, b"tfhd").context("no tfhd")?;
    let flags = u32_at(tfhd, 0)? & 0x00ff_ffff;
    let (mut duration, mut size, mut usual) = (init.default_duration, init.default_size, init.default_flags);
    let mut at = 8;
    for (bit, skip) in [(0x1, 8), (0x2, 4)] {
        at += if flags & bit != 0 { skip } else { 0 };
    }
    if flags & 0x8 != 0 {
        duration = u32_at(tfhd, at)?;
        at += 4;
    }
    if flags & 0x10 != 0 {
        size = u32_at(tfhd, at)?;
        at += 4;
    }
    if flags & 0x20 != 0 {
        usual = u32_at(tfhd, at)?;
    }
    let tfdt = find(traf, b"tfdt").context("no tfdt")?;
    let mut decode = match tfdt.first() {
        Some(1) => u64::from(u32_at(tfdt, 4)?) << 32 | u64::from(u32_at(tfdt, 8)?),
        _ => u64::from(u32_at(tfdt, 4)?),
    };
    for (kind, start, end) in boxes(traf) {
        if &kind != b"trun" {
            continue;
        }
        let trun = &traf[start + 8..end];
        let version = trun.first().copied().unwrap_or(0);
        let flags = u32_at(trun, 0)? & 0x00ff_ffff;
        let count = u32_at(trun, 4)?;
        let mut at = 8;
        anyhow::ensure!(flags & 0x1 != 0, "trun without a data offset");
        let offset = i64::from(u32_at(trun, at)?.cast_signed());
        at += 4;
        let mut first = None;
        if flags & 0x4 != 0 {
            first = Some(u32_at(trun, at)?);
            at += 4;
        }
        let mut data = usize::try_from(i64::try_from(moof_start)? + offset)?;
        for _ in 0..count {
            let mut field = |bit: u32, default: u32| -> anyhow::Result<u32> {
                if flags & bit == 0 {
                    return Ok(default);
                }
                at += 4;
                u32_at(trun, at - 4)
            };
            let duration = field(0x100, duration)?;
            let size = usize::try_from(field(0x200, size)?)?;
            let kind = field(0x400, first.take().unwrap_or(usual))?;
            let composition = field(0x800, 0)?;
            let composition =
                if version == 0 { i64::from(composition) } else { i64::from(composition.cast_signed()) };
            anyhow::ensure!(data + size <= file.len(), "a sample reaches past the fragment's end");
            samples.push(Sample {
                decode,
                presentation: i64::try_from(decode)? + composition,
                duration,
                sync: kind & 1 << 16 == 0,
                disposable: kind >> 22 & 3 == 2,
                data: file.slice(data..data + size),
            });
            data += size;
            decode += u64::from(duration);
        }
    }
    Ok(())
}

/// The boxes of a container: type, start, end. Stops at the first that reaches past the end.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], usize, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let size = usize::try_from(u32_at(bytes, at).ok()?).ok()?;
        let kind = *bytes.get(at + 4..at + 8)?.first_chunk::<4>()?;
        let end = at.checked_add(size)?;
        if size < 8 || end > bytes.len() {
            return None;
        }
        let start = std::mem::replace(&mut at, end);
        Some((kind, start, end))
    })
}

fn find<'a>(bytes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes).find(|(kind, ..)| kind == wanted).map(|(_, start, end)| &bytes[start + 8..end])
}

fn path<'a>(bytes: &'a [u8], names: &[&[u8; 4]]) -> Option<&'a [u8]> {
    names.iter().try_fold(bytes, |bytes, name| find(bytes, name))
}

fn u32_at(bytes: &[u8], at: usize) -> anyhow::Result<u32> {
    let four = bytes.get(at..at + 4).and_then(|four| four.first_chunk::<4>()).context("cut short")?;
    Ok(u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(content.len() + 8).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(kind);
        out.extend_from_slice(content);
        out
    }

    #[test]
    fn times_are_decode_time_and_signed_composition_offset() {
        let init = Init {
            timescale: 90_000,
            sample_entry: "avc1".into(),
            default_duration: 7,
            default_size: 0,
            default_flags: 0,
        };
        let tfhd = boxed(b"tfhd", &[0, 2, 0, 0, 0, 0, 0, 1]);
        let tfdt = boxed(b"tfdt", &[1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5]);
        let mut trun = vec![1, 0, 0x0f, 0x01, 0, 0, 0, 2];
        let samples: [(i32, i32, i32, i32); 2] =
            [(3_000, 2, 2 << 24, -3_000), (3_001, 3, 0x0181_0000, 6_000)];
        let moof_size = 8 + 8 + tfhd.len() + tfdt.len() + 8 + 12 + 32;
        trun.extend_from_slice(&u32::try_from(moof_size + 8).unwrap().to_be_bytes());
        for (duration, size, flags, offset) in samples {
            for field in [duration, size, flags, offset] {
                trun.extend_from_slice(&field.to_be_bytes());
            }
        }
        let traf = boxed(b"traf", &[tfhd, tfdt, boxed(b"trun", &trun)].concat());
        let file = Bytes::from([boxed(b"moof", &traf), boxed(b"mdat", b"aabbb")].concat());
        let samples = super::samples(&init, &file).unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!((samples[0].disposable, samples[1].disposable), (false, true));
        assert_eq!((samples[0].sync, samples[1].sync), (true, false));
        assert_eq!(samples[0].presentation, (1 << 32) + 5 - 3_000);
        assert_eq!(samples[1].decode, (1 << 32) + 5 + 3_000);
        assert_eq!(samples[1].presentation, (1 << 32) + 5 + 9_000);
        assert_eq!((&samples[0].data[..], &samples[1].data[..]), (&b"aa"[..], &b"bbb"[..]));
    }
}

//! Reads the samples back out of parts and segments: for who asks where a frame lies, and for tests and the bench, which compare them with
//! what was sent.

use crate::core::cmaf::SampleKind;

/// A sample as a player sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbedSample {
    /// When it is decoded, in ticks of the track's timescale.
    pub decode: i64,
    /// When it is shown.
    pub presentation: i64,
    /// How long it lasts.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Where its bytes begin in what was read.
    pub offset: usize,
    /// Its place among the others.
    pub kind: SampleKind,
}

/// The samples of one or more concatenated parts, in decode order. None when the bytes are not what
/// [`super::fragment::write`] writes.
#[must_use]
pub fn samples(bytes: &[u8]) -> Option<Vec<ProbedSample>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (kind, size) = header(bytes, at)?;
        if kind == *b"moof" {
            moof(bytes, at, size, &mut found)?;
        }
        at += size;
    }
    Some(found)
}

/// The fragment that `bytes` begin with, of whose media nothing needs to be there: its length, and its samples. None when the bytes are
/// something else, or end before its media begin.
#[must_use]
pub fn fragment(bytes: &[u8]) -> Option<(usize, Vec<ProbedSample>)> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let size = usize::try_from(u32_at(bytes, at)?).ok().filter(|size| *size >= 8)?;
        match bytes.get(at + 4..at + 8)? {
            b"mdat" => return Some((at + size, found)),
            b"moof" => moof(bytes, at, header(bytes, at)?.1, &mut found)?,
            _ => {}
        }
        at += size;
    }
}

fn header(bytes: &[u8], at: usize) -> Option<([u8; 4], usize)> {
    let size = usize::try_from(u32_at(bytes, at)?).ok()?;
    let kind = bytes.get(at + 4..at + 8)?.try_into().ok()?;
    (size >= 8 && at + size <= bytes.len()).then_some((kind, size))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn moof(bytes: &[u8], start: usize, size: usize, found: &mut Vec<ProbedSample>) -> Option<()> {
    let mut decode = 0_i64;
    let mut at = start + 8;
    while at < start + size {
        let (kind, size) = header(bytes, at)?;
        match &kind {
            b"traf" => {
                at += 8;
                continue;
            }
            b"tfdt" => decode = i64::from_be_bytes(bytes.get(at + 12..at + 20)?.try_into().ok()?),
            b"trun" => {
                let mut offset = start + usize::try_from(u32_at(bytes, at + 16)?).ok()?;
                for n in 0..usize::try_from(u32_at(bytes, at + 12)?).ok()? {
                    let entry = at + 20 + n * 16;
                    let (duration, size) = (u32_at(bytes, entry)?, u32_at(bytes, entry + 4)?);
                    let flags = u32_at(bytes, entry + 8)?;
                    let composition = i32::from_be_bytes(bytes.get(entry + 12..entry + 16)?.try_into().ok()?);
                    let presentation = decode.checked_add(i64::from(composition))?;
                    let kind = SampleKind::from_flags(flags);
                    found.push(ProbedSample { decode, presentation, duration, size, offset, kind });
                    decode = decode.checked_add(i64::from(duration))?;
                    offset += usize::try_from(size).ok()?;
                }
            }
            _ => {}
        }
        at += size;
    }
    Some(())
}

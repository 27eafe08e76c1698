//! Sample entries: what an init section says of the bitstream, and the rules about that.

use super::boxes::{boxes, child, u32_at};
use super::ledger::{At, Ledger};

/// Bytes of a visual and of an audio sample entry in front of the boxes in them (ISO/IEC 14496-12, 12.1.3 and 12.2.3).
const VISUAL: usize = 78;
const AUDIO: usize = 28;

/// How bright a picture may be: VIDEO-RANGE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    Sdr,
    Hlg,
    Pq,
}

/// What a sample entry says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As CODECS has it (RFC 6381). None where the entry is damaged or its kind unknown.
    pub(crate) codec: Option<String>,
    /// Width and height in pixels.
    pub(crate) size: Option<(u16, u16)>,
    /// None where the entry does not tell.
    pub(crate) range: Option<Range>,
    /// Parameter sets of H.264 and H.265.
    pub(crate) sets: Vec<Vec<u8>>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Judges a sample entry without its header.
pub(crate) fn judge(ledger: &mut Ledger, at: At<'_>, kind: [u8; 4], body: &[u8], timescale: u32) -> Entry {
    let good = matches!(
        &kind,
        b"avc1" | b"hvc1" | b"av01" | b"vp09" | b"mp4a" | b"Opus" | b"dvh1" | b"ac-3" | b"ec-3" | b"fLaC"
    );
    let name = String::from_utf8_lossy(&kind).into_owned();
    ledger.judge(76, good, at, || format!("sample entry {name}"));
    match &kind {
        b"mp4a" => return aac(ledger, at, body, timescale),
        b"Opus" => return opus(ledger, at, body, timescale),
        b"ac-3" | b"ec-3" | b"fLaC" => return Entry { codec: Some(name), ..Entry::default() },
        _ => {}
    }
    let inside = body.get(VISUAL..).unwrap_or_default();
    let described = match &kind {
        b"avc1" => child(inside, b"avcC").and_then(avc),
        b"hvc1" => child(inside, b"hvcC").and_then(hevc),
        b"av01" => child(inside, b"av1C").and_then(av1),
        b"vp09" => child(inside, b"vpcC").and_then(vp9),
        _ => return Entry::default(),
    };
    let whole = described
        .as_ref()
        .is_some_and(|(entry, _)| !matches!(&kind, b"avc1" | b"hvc1") || entry.sets.len() >= 2);
    ledger.judge(76, whole, at, || format!("{name} without a configuration or its parameter sets"));
    let (entry, depth) = described.unwrap_or_default();
    let size = u16_at(body, 24).zip(u16_at(body, 26));
    let range = colour(inside).or(entry.range).or((depth == Some(8)).then_some(Range::Sdr));
    Entry { size, range, ..entry }
}

/// Transfer characteristics (ISO/IEC 23091-2, 8.2).
const fn range(transfer: u16) -> Option<Range> {
    match transfer {
        2 => None,
        16 => Some(Range::Pq),
        18 => Some(Range::Hlg),
        _ => Some(Range::Sdr),
    }
}

fn colour(inside: &[u8]) -> Option<Range> {
    let colr = child(inside, b"colr").filter(|colr| colr.starts_with(b"nclx"))?;
    range(u16_at(colr, 6)?)
}

/// An entry and the bits of a sample, where they are known.
type Described = (Entry, Option<u8>);

/// Takes `count` parameter sets behind 16-bit lengths; what follows.
fn sets<'a>(mut rest: &'a [u8], count: usize, into: &mut Vec<Vec<u8>>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let length = usize::from(u16_at(rest, 0)?);
        into.push(rest.get(2..2 + length)?.to_vec());
        rest = rest.get(2 + length..)?;
    }
    Some(rest)
}

fn avc(config: &[u8]) -> Option<Described> {
    let [1, profile, constraints, level, _, count, ..] = *config else { return None };
    let codec = Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"));
    let mut entry = Entry { codec, ..Entry::default() };
    let rest = sets(config.get(6..)?, usize::from(count & 0x1f), &mut entry.sets)?;
    let (count, rest) = rest.split_first()?;
    sets(rest, usize::from(*count), &mut entry.sets)?;
    // Baseline, main, extended and high have eight bits.
    Some((entry, matches!(profile, 66 | 77 | 88 | 100).then_some(8)))
}

fn hevc(config: &[u8]) -> Option<Described> {
    let general = *config.get(1)?;
    let space = ["", "A", "B", "C"].get(usize::from(general >> 6))?;
    let compatible = u32_at(config, 2)?.reverse_bits();
    let tier = if general & 0x20 == 0 { 'L' } else { 'H' };
    let level = config.get(12)?;
    let constraints = config.get(6..12)?;
    let last = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let mut codec = format!("hvc1.{space}{}.{compatible:X}.{tier}{level}", general & 0x1f);
    for byte in constraints.iter().take(last) {
        codec.push_str(&format!(".{byte:X}"));
    }
    let mut entry = Entry { codec: Some(codec), ..Entry::default() };
    let depth = (config.get(17)? & 7) + 8;
    let mut rest = config.get(23..)?;
    for _ in 0..*config.get(22)? {
        let count = u16_at(rest, 1)?;
        rest = sets(rest.get(3..)?, usize::from(count), &mut entry.sets)?;
    }
    Some((entry, Some(depth)))
}

fn av1(config: &[u8]) -> Option<Described> {
    let [0x81, profile_level, flags, ..] = *config else { return None };
    let (profile, level) = (profile_level >> 5, profile_level & 0x1f);
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    let codec = format!("av01.{profile}.{level:02}{tier}.{depth:02}");
    Some((Entry { codec: Some(codec), ..Entry::default() }, Some(depth)))
}

fn vp9(config: &[u8]) -> Option<Described> {
    let [1, _, _, _, profile, level, depths, _, transfer, ..] = *config else { return None };
    let depth = depths >> 4;
    let codec = format!("vp09.{profile:02}.{level:02}.{depth:02}");
    Some((Entry { codec: Some(codec), range: range(transfer.into()), ..Entry::default() }, Some(depth)))
}

fn opus(ledger: &mut Ledger, at: At<'_>, body: &[u8], timescale: u32) -> Entry {
    let dops = body.get(AUDIO..).and_then(|inside| child(inside, b"dOps")).unwrap_or_default();
    let whole = dops.first() == Some(&0) && dops.len() >= 11 && timescale == 48_000;
    ledger.judge(79, whole, at, || "Opus without dOps of version 0, or not in 48,000 ticks a second".into());
    // Sample rates of 8 to 192 kHz, none of which is one of them with its bytes turned round.
    let rate = u32_at(dops, 4).unwrap_or(0);
    ledger.judge(79, rate == 0 || (8_000..=192_000).contains(&rate), at, || {
        format!("an input sample rate of {rate}: dOps is big-endian")
    });
    Entry { codec: Some("opus".into()), ..Entry::default() }
}

fn aac(ledger: &mut Ledger, at: At<'_>, body: &[u8], timescale: u32) -> Entry {
    let rate = u16_at(body, 24).map(u32::from);
    // Rates above 16 bits have no place there; writers put 0, and the esds says it.
    let right = rate == Some(timescale) || (rate == Some(0) && u16::try_from(timescale).is_err());
    ledger.judge(78, right, at, || format!("timescale {timescale} at a sample rate of {rate:?}"));
    let esds = body.get(AUDIO..).and_then(|inside| child(inside, b"esds"));
    let codec = esds.and_then(|esds| esds.get(4..)).and_then(object_type);
    ledger.judge(78, codec.is_some(), at, || "no esds with an AudioSpecificConfig".into());
    Entry { codec, ..Entry::default() }
}

/// CODECS of an ES descriptor (ISO/IEC 14496-1, 7.2.6): object type indication and audio object type.
fn object_type(esds: &[u8]) -> Option<String> {
    let es = descriptor(esds, 3)?;
    let flags = *es.get(2)?;
    let mut at = 3 + if flags & 0x80 != 0 { 2 } else { 0 };
    if flags & 0x40 != 0 {
        at += 1 + usize::from(*es.get(at)?);
    }
    at += if flags & 0x20 != 0 { 2 } else { 0 };
    let config = descriptor(es.get(at..)?, 4)?;
    let specific = descriptor(config.get(13..)?, 5)?;
    let (first, second) = (*specific.first()?, *specific.get(1)?);
    let object = match first >> 3 {
        31 => 32 + ((first & 7) << 3 | second >> 5),
        object => object,
    };
    Some(format!("mp4a.{:x}.{object}", config.first()?))
}

/// The content of the first descriptor, which must have this tag.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (found, mut rest) = bytes.split_first()?;
    let mut length = 0_usize;
    for _ in 0..4 {
        let (byte, more) = rest.split_first()?;
        rest = more;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    (*found == tag).then(|| rest.get(..length))?
}

/// Judges whether a track has an edit list where its file's brand forbids one (ISO/IEC 23000-19: cmf2).
pub(crate) fn judge_edits(ledger: &mut Ledger, at: At<'_>, brands: &[u8], track: &[u8]) {
    let edited = boxes(track).is_some_and(|list| list.iter().any(|found| found.kind == *b"edts"));
    let forbidden = brands.chunks(4).any(|brand| brand == b"cmf2");
    ledger.judge(73, !(edited && forbidden), at, || "an edit list in a file of brand cmf2".into());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn make(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    /// A configuration of constrained baseline with an SPS and a PPS.
    pub(crate) const AVCC: [u8; 15] = [1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 2, 0x67, 1, 1, 0, 2, 0x68, 2];

    /// 640 x 360 and these boxes.
    fn picture(inside: &[u8]) -> Vec<u8> {
        let mut body = vec![0; VISUAL];
        body[24..28].copy_from_slice(&[2, 128, 1, 104]);
        [body, inside.to_vec()].concat()
    }

    fn check(kind: &[u8; 4], body: &[u8], timescale: u32) -> (Vec<u8>, Entry) {
        let mut ledger = Ledger::default();
        let entry = judge(&mut ledger, At::whole("u"), *kind, body, timescale);
        (ledger.broken(), entry)
    }

    #[test]
    fn entries_say_codec_size_and_range() {
        let (broken, entry) = check(b"avc1", &picture(&make(b"avcC", &AVCC)), 90_000);
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!(entry.codec.as_deref(), Some("avc1.42c01f"));
        assert_eq!((entry.size, entry.range), (Some((640, 360)), Some(Range::Sdr)));
        assert_eq!(entry.sets, [vec![0x67, 1], vec![0x68, 2]]);
        // Main, level 3.1, one constraint byte; a VPS and an SPS in arrays of their own.
        let mut hvcc = vec![1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0, 0, 0, 0, 0xf8, 0, 0, 0, 0, 2];
        hvcc.extend([0xa0, 0, 1, 0, 1, 0x40, 0xa1, 0, 1, 0, 1, 0x42]);
        let (broken, entry) = check(b"hvc1", &picture(&make(b"hvcC", &hvcc)), 90_000);
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!((entry.codec.as_deref(), entry.sets.len()), (Some("hvc1.1.6.L93.90"), 2));
        let entry = check(b"av01", &picture(&make(b"av1C", &[0x81, 4, 0x40, 0])), 90_000).1;
        assert_eq!((entry.codec.as_deref(), entry.range), (Some("av01.0.04M.10"), None));
        let vpcc = [1, 0, 0, 0, 0, 30, 0x82, 1, 16, 1, 0, 0];
        let entry = check(b"vp09", &picture(&make(b"vpcC", &vpcc)), 90_000).1;
        assert_eq!((entry.codec.as_deref(), entry.range), (Some("vp09.00.30.08"), Some(Range::Pq)));
        let colr = make(b"colr", b"nclx\x00\x09\x00\x12\x00\x09\x00");
        let entry = check(b"avc1", &picture(&[make(b"avcC", &AVCC), colr].concat()), 90_000).1;
        assert_eq!(entry.range, Some(Range::Hlg));
    }

    fn sound(rate: u16, inside: &[u8]) -> Vec<u8> {
        let mut body = vec![0; AUDIO];
        body[24..26].copy_from_slice(&rate.to_be_bytes());
        [body, inside.to_vec()].concat()
    }

    #[test]
    fn each_rule_of_entries_can_be_broken() {
        assert_eq!(check(b"avc3", &picture(&make(b"avcC", &AVCC)), 90_000).0, [76]);
        assert_eq!(check(b"avc1", &picture(&[]), 90_000).0, [76], "no configuration");
        let bare = [1, 0x42, 0xc0, 0x1f, 0xff, 0xe0, 0];
        assert_eq!(check(b"avc1", &picture(&make(b"avcC", &bare)), 90_000).0, [76], "no parameter sets");

        let opus = |rate: [u8; 4]| make(b"dOps", &[&[0, 2, 0, 0][..], &rate, &[0, 0, 0]].concat());
        let good = sound(48_000, &opus(48_000_u32.to_be_bytes()));
        assert_eq!(check(b"Opus", &good, 48_000).0, [0_u8; 0]);
        assert_eq!(check(b"Opus", &good, 44_100).0, [79]);
        assert_eq!(check(b"Opus", &sound(48_000, &[]), 48_000).0, [79]);
        let turned = sound(48_000, &opus(48_000_u32.to_le_bytes()));
        assert_eq!(check(b"Opus", &turned, 48_000).0, [79]);

        let specific = [5, 2, 0x11, 0x90];
        let config = [&[4, 17, 0x40][..], &[0; 12], &specific].concat();
        let es = [&[3, 22, 0, 0, 0][..], &config].concat();
        let esds = make(b"esds", &[&[0; 4][..], &es].concat());
        let (broken, entry) = check(b"mp4a", &sound(48_000, &esds), 48_000);
        assert_eq!((broken, entry.codec.as_deref()), (vec![], Some("mp4a.40.2")));
        assert_eq!(check(b"mp4a", &sound(44_100, &esds), 48_000).0, [78]);
        assert_eq!(check(b"mp4a", &sound(48_000, &[]), 48_000).0, [78]);

        let mut ledger = Ledger::default();
        let edts = make(b"edts", &[]);
        judge_edits(&mut ledger, At::whole("u"), b"iso6\0\0\0\0cmfc", &edts);
        assert_eq!(ledger.broken(), [0_u8; 0]);
        judge_edits(&mut ledger, At::whole("u"), b"iso6\0\0\0\0cmf2", &edts);
        assert_eq!(ledger.broken(), [73]);
    }

    #[test]
    fn damaged_entries_are_read_to_no_harm() {
        for (kind, config) in [(b"avc1", b"avcC"), (b"hvc1", b"hvcC"), (b"av01", b"av1C"), (b"mp4a", b"esds")]
        {
            for length in 0..40 {
                let _ = check(kind, &picture(&make(config, &vec![0xff; length])), 90_000);
                let _ = check(kind, &vec![1; length], 90_000);
            }
        }
    }
}

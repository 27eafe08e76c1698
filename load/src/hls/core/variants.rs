//! What the multivariant playlist says of its variants, against what their init sections and samples say.

use super::entry::{Entry, Range};
use super::ledger::{At, Ledger};
use super::playlist::{Multivariant, Tag};

/// What was seen of one media playlist.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    /// What its init section says.
    pub(crate) entry: Option<&'a Entry>,
    /// Pictures a second, on average.
    pub(crate) rate: Option<f64>,
    /// Bits per second of its largest segment.
    pub(crate) peak: u64,
    /// Bits of all segments, and how long they last in microseconds.
    pub(crate) bits: u64,
    pub(crate) micros: u64,
}

/// AVERAGE-BANDWIDTH is of an hour (Apple 1.29): what a shorter run saw is another average.
const HOUR: u64 = 3_600 * 1_000_000;

/// Judges a variant with what was seen of its own playlist and of those of its audio group.
pub(crate) fn judge(ledger: &mut Ledger, url: &str, tag: &Tag, own: Seen<'_>, sounds: &[Seen<'_>]) {
    let at = At::whole(url).line(tag.line);
    let said = tag.attributes.get("CODECS").unwrap_or_default();
    let of = |seen: &Seen<'_>| seen.entry.and_then(|entry| entry.codec.clone());
    for codec in sounds.iter().chain([&own]).filter_map(of) {
        ledger.judge(54, lists(said, &codec), at, || {
            format!("CODECS {said:?} where the init section says {codec}")
        });
    }
    if let Some(rate) = tag.attributes.get("FRAME-RATE") {
        let digits = rate.split_once('.').map_or(0, |(_, digits)| digits.len());
        ledger.judge(54, digits <= 3, at, || format!("FRAME-RATE {rate} has more than 3 decimals"));
        // It is the highest, and what was measured an average that began and ended anywhere.
        let most = rate.parse::<f64>().unwrap_or(0.0) * 1.1 + 1.0;
        let measured = own.rate.unwrap_or(0.0);
        ledger.judge(54, measured <= most, at, || {
            format!("FRAME-RATE {rate} where {measured:.1} pictures a second came")
        });
    }
    let size = own.entry.and_then(|entry| entry.size);
    if let (Some(said), Some((width, height))) = (tag.attributes.get("RESOLUTION"), size) {
        ledger.judge(54, said == format!("{width}x{height}"), at, || {
            format!("RESOLUTION {said} where the init section says {width}x{height}")
        });
    }
    range(ledger, at, tag, own.entry.and_then(|entry| entry.range));
    rates(ledger, at, tag, own, sounds);
}

/// Whether CODECS has this one. Optional fields may follow it there.
fn lists(said: &str, codec: &str) -> bool {
    let codec = codec.to_ascii_lowercase();
    said.to_ascii_lowercase().split(',').map(str::trim).any(|one| {
        one.strip_prefix(codec.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn range(ledger: &mut Ledger, at: At<'_>, tag: &Tag, seen: Option<Range>) {
    let said = tag.attributes.get("VIDEO-RANGE");
    if let Some(said) = said {
        let known = matches!(said, "SDR" | "HLG" | "PQ");
        ledger.judge(56, known, at, || format!("VIDEO-RANGE={said}"));
    }
    let Some(seen) = seen else { return };
    let right = match seen {
        Range::Sdr => said.is_none_or(|said| said == "SDR"),
        Range::Hlg => said == Some("HLG"),
        Range::Pq => said == Some("PQ"),
    };
    ledger.judge(56, right, at, || format!("VIDEO-RANGE {said:?} of pictures that are {seen:?}"));
}

/// Rates are those of the picture and of the largest sound of its group.
fn rates(ledger: &mut Ledger, at: At<'_>, tag: &Tag, own: Seen<'_>, sounds: &[Seen<'_>]) {
    let per_second = |seen: &Seen<'_>| {
        let bits = u128::from(seen.bits) * 1_000_000;
        u64::try_from(bits.checked_div(seen.micros.into()).unwrap_or(0)).unwrap_or(u64::MAX)
    };
    let peak = own.peak + sounds.iter().map(|sound| sound.peak).max().unwrap_or(0);
    if let (Some(said), true) = (tag.attributes.number("BANDWIDTH"), own.peak > 0) {
        ledger.judge(55, peak.saturating_mul(100) < said.saturating_mul(125), at, || {
            format!("{peak} bit/s were measured, BANDWIDTH says {said}")
        });
    }
    let average = per_second(&own) + sounds.iter().map(per_second).max().unwrap_or(0);
    if let (Some(said), true) = (tag.attributes.number("AVERAGE-BANDWIDTH"), own.micros >= HOUR) {
        ledger.judge(55, average.saturating_mul(100) < said.saturating_mul(110), at, || {
            format!("{average} bit/s were measured on average, AVERAGE-BANDWIDTH says {said}")
        });
    }
}

/// Judges what is said of groups of sound (4.4.6.1, Apple 8.9 and 8.10), and that several groups have the same members.
pub(crate) fn judge_groups(ledger: &mut Ledger, url: &str, list: &Multivariant) {
    let at = At::whole(url);
    let sounds: Vec<_> = list.groups.iter().filter(|tag| tag.attributes.is("TYPE", "AUDIO")).collect();
    for tag in &sounds {
        let channels = tag.attributes.get("CHANNELS").and_then(|text| text.split('/').next());
        let counted = channels.is_some_and(|count| count.parse::<u16>().is_ok_and(|count| count > 0));
        let spoken = tag.attributes.get("LANGUAGE").is_some_and(|language| !language.is_empty());
        ledger.judge(57, counted && spoken, at.line(tag.line), || {
            "a group of sound without CHANNELS or LANGUAGE".into()
        });
        let chosen = !tag.attributes.is("DEFAULT", "YES") || !tag.attributes.is("AUTOSELECT", "NO");
        ledger.judge(57, chosen, at.line(tag.line), || "DEFAULT=YES with AUTOSELECT=NO".into());
    }
    let members = |group: &str| {
        let mut names: Vec<_> = sounds
            .iter()
            .filter(|tag| tag.attributes.is("GROUP-ID", group))
            .filter_map(|tag| tag.attributes.get("NAME"))
            .collect();
        names.sort_unstable();
        names
    };
    let first = sounds.first().and_then(|tag| tag.attributes.get("GROUP-ID"));
    for group in sounds.iter().filter_map(|tag| tag.attributes.get("GROUP-ID")) {
        let equal = first.is_none_or(|first| members(first) == members(group));
        ledger.judge(57, equal, at, || format!("group {group:?} has other members than {first:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "#EXTM3U\n\
        #EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1000,CODECS=\"avc1.42C01F,opus\",RESOLUTION=640x360,FRAME-RATE=30.000\n\
        v\n";

    fn entry(codec: &str, range: Option<Range>) -> Entry {
        Entry { codec: Some(codec.into()), size: Some((640, 360)), range, ..Entry::default() }
    }

    fn broken(text: &str, video: &Entry, change: impl FnOnce(&mut Seen<'_>)) -> Vec<u8> {
        let sound = Entry { codec: Some("opus".into()), ..Entry::default() };
        let sound = Seen { entry: Some(&sound), peak: 500, bits: 500 * 3_600, micros: HOUR, rate: None };
        let mut own =
            Seen { entry: Some(video), rate: Some(30.0), peak: 1_999, bits: 599 * 3_600, micros: HOUR };
        change(&mut own);
        let mut ledger = Ledger::default();
        let list = Multivariant::parse(text);
        judge(&mut ledger, "u", &list.variants[0].0, own, &[sound]);
        ledger.broken()
    }

    #[test]
    fn variants_are_what_their_media_are() {
        let video = entry("avc1.42c01f", Some(Range::Sdr));
        let see = |from: &str, to: &str| broken(&LINE.replace(from, to), &video, |_| {});
        assert_eq!(see("v\n", "v\n"), [0_u8; 0]);
        assert_eq!(see("42C01F", "42C01E"), [54]);
        assert_eq!(see(",opus", ""), [54], "the sound's");
        assert_eq!(see("640x360", "640x361"), [54]);
        assert_eq!(see("30.000", "29.9700"), [54]);
        assert_eq!(see("30.000", "15.000"), [54]);
        assert!(lists("av01.0.04M.08.0.110", "av01.0.04M.08") && !lists("av01.0.04M.081", "av01.0.04M.08"));
    }

    #[test]
    fn the_range_of_pictures_is_said() {
        let see = |more: &str, range| {
            let text = LINE.replace("30.000", &format!("30.000{more}"));
            broken(&text, &entry("avc1.42c01f", range), |_| {})
        };
        assert_eq!(see("", Some(Range::Sdr)), [0_u8; 0]);
        assert_eq!(see(",VIDEO-RANGE=PQ", Some(Range::Pq)), [0_u8; 0]);
        assert_eq!(see("", None), [0_u8; 0]);
        assert_eq!(see("", Some(Range::Pq)), [56]);
        assert_eq!(see(",VIDEO-RANGE=PQ", Some(Range::Hlg)), [56]);
        assert_eq!(see(",VIDEO-RANGE=HDR", None), [56]);
    }

    #[test]
    fn rates_are_those_of_picture_and_sound() {
        let video = entry("avc1.42c01f", None);
        assert_eq!(broken(LINE, &video, |own| own.peak = 2_000), [55], "2,500 with the sound's");
        assert_eq!(broken(LINE, &video, |own| own.bits = 600 * 3_600), [55], "1,100 with the sound's");
        assert_eq!(broken(LINE, &video, |own| (own.bits, own.micros) = (9_999, 1_000_000)), [0_u8; 0]);
    }

    #[test]
    fn groups_say_what_they_are() {
        const GROUPS: &str = "#EXTM3U\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",LANGUAGE=\"en\",CHANNELS=\"2\",DEFAULT=YES,AUTOSELECT=YES\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"b\",NAME=\"x\",LANGUAGE=\"en\",CHANNELS=\"6/JOC\"\n";
        let see = |from: &str, to: &str| {
            let mut ledger = Ledger::default();
            judge_groups(&mut ledger, "u", &Multivariant::parse(&GROUPS.replacen(from, to, 1)));
            ledger.broken()
        };
        assert_eq!(see("x", "x"), [0_u8; 0]);
        assert_eq!(see("CHANNELS=\"2\",", ""), [57]);
        assert_eq!(see("LANGUAGE=\"en\",", ""), [57]);
        assert_eq!(see("AUTOSELECT=YES", "AUTOSELECT=NO"), [57]);
        assert_eq!(see("NAME=\"x\"", "NAME=\"y\""), [57], "groups differ");
    }
}

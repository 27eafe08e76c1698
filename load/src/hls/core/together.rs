//! The multivariant playlist, and renditions beside each other.

use std::collections::BTreeMap;

use super::ledger::{At, Ledger};
use super::playlist::{Media, Multivariant, Tag};

/// Judges the multivariant playlist.
pub(crate) fn judge(ledger: &mut Ledger, url: &str, list: &Multivariant) {
    let at = At::whole(url);
    let wrong = list.malformed.first();
    ledger.judge(1, wrong.is_none(), at.line(wrong.map_or(0, |(line, _)| *line)), || {
        wrong.map(|(_, why)| why.clone()).unwrap_or_default()
    });
    for (tag, _) in &list.variants {
        variant(ledger, at, list, tag);
    }
    let scored = list.variants.iter().filter(|(tag, _)| tag.attributes.get("SCORE").is_some()).count();
    if !list.variants.is_empty() {
        ledger.judge(58, scored == 0 || scored == list.variants.len(), at, || {
            format!("{scored} of {} variants have a SCORE", list.variants.len())
        });
    }
    let mut names = BTreeMap::new();
    let mut defaults = BTreeMap::new();
    for group in &list.groups {
        let of = |name| group.attributes.get(name).unwrap_or_default().to_owned();
        let whole = ["TYPE", "GROUP-ID", "NAME"].iter().all(|name| group.attributes.get(name).is_some());
        ledger.judge(57, whole, at.line(group.line), || "EXT-X-MEDIA without TYPE, GROUP-ID or NAME".into());
        let twice = names.insert((of("TYPE"), of("GROUP-ID"), of("NAME")), ()).is_some();
        ledger.judge(57, !twice, at.line(group.line), || format!("two of NAME {:?} in a group", of("NAME")));
        let default = defaults.entry((of("TYPE"), of("GROUP-ID"))).or_insert(0);
        *default += u32::from(group.attributes.is("DEFAULT", "YES"));
        ledger.judge(57, *default <= 1, at.line(group.line), || "a group with two defaults".into());
    }
}

fn variant(ledger: &mut Ledger, at: At<'_>, list: &Multivariant, tag: &Tag) {
    let at = at.line(tag.line);
    let (attributes, video) = (&tag.attributes, tag.attributes.get("RESOLUTION").is_some());
    let rates = attributes.number("BANDWIDTH").zip(attributes.number("AVERAGE-BANDWIDTH"));
    ledger.judge(54, rates.is_some_and(|(peak, average)| average > 0 && peak >= average), at, || {
        "BANDWIDTH and AVERAGE-BANDWIDTH are not both there, or the average is above the peak".into()
    });
    let codecs = attributes.get("CODECS").unwrap_or_default();
    ledger.judge(54, !codecs.is_empty(), at, || "no CODECS".into());
    let pictures = ["avc", "hvc", "hev", "av01", "vp09", "dvh"].iter().any(|codec| codecs.contains(codec));
    if pictures || video {
        let rate = attributes.get("FRAME-RATE").and_then(|rate| rate.parse::<f64>().ok());
        ledger.judge(54, video && rate.is_some_and(|rate| rate > 0.0), at, || {
            "no RESOLUTION or FRAME-RATE".into()
        });
    }
    if let Some(group) = attributes.get("AUDIO") {
        let there = list
            .groups
            .iter()
            .any(|tag| tag.attributes.is("GROUP-ID", group) && tag.attributes.is("TYPE", "AUDIO"));
        ledger.judge(57, there, at, || format!("there is no audio group {group:?}"));
    }
}

/// A rendition's playlist as it was last seen, and its address.
pub(crate) type Renditions<'a> = [(&'a str, &'a Media)];

/// Judges what must be the same in all media playlists.
pub(crate) fn judge_all(ledger: &mut Ledger, renditions: &Renditions<'_>, independent: bool) {
    let Some((_, first)) = renditions.first() else { return };
    for (url, media) in renditions {
        let at = At::whole(url);
        ledger.judge(6, media.target() == first.target(), at, || {
            "TARGETDURATION differs from another rendition's".into()
        });
        ledger.judge(7, media.control.attributes == first.control.attributes, at, || {
            "EXT-X-SERVER-CONTROL differs from another rendition's".into()
        });
        let most = renditions.iter().filter_map(|(_, media)| media.part_target).max().unwrap_or(0);
        let hold = media.control.attributes.micros("PART-HOLD-BACK").unwrap_or(0);
        ledger.judge(8, hold >= 3 * most, at, || "PART-HOLD-BACK below 3 x the largest PART-TARGET".into());
        if !media.ended && media.part_target.is_some() {
            let others = renditions.len() - 1;
            let whole = media.reports.iter().filter(|report| report.attributes.get("URI").is_some());
            ledger.judge(35, whole.count() == others, at, || {
                format!("{} rendition reports beside {others} other media playlists", media.reports.len())
            });
        }
        let tagged = independent || media.header.contains_key("EXT-X-INDEPENDENT-SEGMENTS");
        if tagged {
            for segment in media.segments.iter().filter(|segment| !segment.parts.is_empty()) {
                let begins = segment.parts.first().is_some_and(|part| part.independent || part.gap);
                ledger.judge(16, begins, at.line(segment.line), || {
                    format!("segment {} begins with a part that is not INDEPENDENT", segment.number)
                });
            }
        }
        for segment in &media.segments {
            let same = first.segments.iter().find(|other| other.number == segment.number);
            let Some((mine, theirs)) = same.and_then(|other| segment.date.zip(other.date)) else { continue };
            // Boundaries of sound lie within one of its frames (Opus 20 ms, AAC 21.3 ms or 42.7 ms) of the picture's.
            ledger.judge(50, (mine - theirs).abs() <= 50_000, at.line(segment.line), || {
                format!(
                    "segment {} is {} microseconds from another rendition's",
                    segment.number,
                    mine - theirs
                )
            });
        }
    }
}

/// Judges the freshness of reports: none may be behind what its playlist had listed before this one was asked for.
pub(crate) fn judge_report(ledger: &mut Ledger, url: &str, report: &Tag, known: (u64, u64)) {
    let last = report.attributes.number("LAST-MSN").zip(report.attributes.number("LAST-PART"));
    if let Some(last) = last {
        ledger.judge(36, last >= known, At::whole(url).line(report.line), || {
            format!("a report of {last:?} where its playlist had {known:?} before")
        });
    }
}

/// Judges BANDWIDTH by bits per second that were measured: the peak of a segment.
pub(crate) fn judge_rate(ledger: &mut Ledger, url: &str, tag: &Tag, measured: u64) {
    if let Some(said) = tag.attributes.number("BANDWIDTH") {
        ledger.judge(55, measured * 100 < said.saturating_mul(125), At::whole(url).line(tag.line), || {
            format!("{measured} bit/s were measured, BANDWIDTH says {said}")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    const LIST: &str = "\
#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"a\",DEFAULT=YES,URI=\"a/media.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1000,CODECS=\"avc1.42c01f,opus\",RESOLUTION=2x2,FRAME-RATE=30.000,AUDIO=\"audio\",SCORE=1.0
v/media.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1000,CODECS=\"avc1.42c01f\",RESOLUTION=2x2,FRAME-RATE=30.000,SCORE=2.0
w/media.m3u8
";

    #[test]
    fn each_rule_of_variants_can_be_broken() {
        let broken = |text: &str| {
            let mut ledger = Ledger::default();
            judge(&mut ledger, "u", &Multivariant::parse(text));
            ledger.broken()
        };
        assert_eq!(broken(LIST), [0_u8; 0]);
        assert_eq!(Multivariant::parse(LIST).playlists(), ["v/media.m3u8", "w/media.m3u8", "a/media.m3u8"]);
        for (rule, from, to) in [
            (1, "BANDWIDTH=2000,A", "BANDWIDTH=2000, A"),
            (54, "AVERAGE-BANDWIDTH=1000", "AVERAGE-BANDWIDTH=2001"),
            (54, "CODECS=\"avc1.42c01f,opus\",", ""),
            (54, "FRAME-RATE=30.000,", ""),
            (57, "AUDIO=\"audio\"", "AUDIO=\"other\""),
            (57, "NAME=\"a\",", ""),
            (58, ",SCORE=1.0", ""),
        ] {
            assert!(broken(&LIST.replacen(from, to, 1)).contains(&rule), "rule {rule} held with {to:?}");
        }
    }

    #[test]
    fn each_rule_between_renditions_can_be_broken() {
        let broken = |other: &str, independent| {
            let (a, b) = (Media::parse(GOOD), Media::parse(other));
            let mut ledger = Ledger::default();
            judge_all(&mut ledger, &[("a", &a), ("b", &b)], independent);
            ledger.broken()
        };
        assert_eq!(broken(GOOD, false), [0_u8; 0]);
        assert_eq!(broken(GOOD, true), [16], "segment 11 does not begin with an independent part");
        for (rule, from, to) in [
            (6, "TARGETDURATION:2", "TARGETDURATION:3"),
            (7, "UNTIL=12.0", "UNTIL=13.0"),
            (8, "PART-TARGET=1.0", "PART-TARGET=1.2"),
            (35, "#EXT-X-RENDITION-REPORT", "#EXT-X-OTHER"),
            (50, "00:00:00.000Z", "00:00:00.100Z"),
        ] {
            assert!(
                broken(&GOOD.replacen(from, to, 1), false).contains(&rule),
                "rule {rule} held with {to:?}"
            );
        }
    }

    #[test]
    fn stale_reports_and_rates_beyond_bandwidth_are_found() {
        let media = Media::parse(GOOD);
        let list = Multivariant::parse(LIST);
        let mut ledger = Ledger::default();
        judge_report(&mut ledger, "u", &media.reports[0], (12, 0));
        judge_rate(&mut ledger, "u", &list.variants[0].0, 2_499);
        assert_eq!(ledger.broken(), [0_u8; 0]);
        judge_report(&mut ledger, "u", &media.reports[0], (12, 1));
        judge_rate(&mut ledger, "u", &list.variants[0].0, 2_500);
        assert_eq!(ledger.broken(), [36, 55]);
    }
}

//! The multivariant playlist, and renditions beside each other.

use std::collections::BTreeMap;

use url::Url;

use super::ledger::{At, Ledger};
use super::playlist::{Media, Multivariant, Tag};
use super::{breaks, dateranges, reports, variants};

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
    variants::judge_groups(ledger, url, list);
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

/// Judges what must be the same in all media playlists. `iframes`: the addresses of those of keyframes, which are not among
/// them.
pub(crate) fn judge_all(
    ledger: &mut Ledger,
    renditions: &Renditions<'_>,
    iframes: &[Url],
    independent: bool,
) {
    let Some((_, first)) = renditions.first() else { return };
    reports::judge_level(ledger, renditions);
    for (place, (url, media)) in renditions.iter().enumerate() {
        if place > 0 {
            dateranges::judge_same(ledger, At::whole(url), media, first);
            breaks::judge_same(ledger, url, media, first);
        }
        let others = renditions.iter().enumerate().filter(|(other, _)| *other != place);
        let others: Vec<_> = others.map(|(_, (url, _))| *url).collect();
        reports::judge(ledger, url, media, &others, iframes);
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

/// Judges a playlist of keyframes. `other`: one of the others; EXT-X-SERVER-CONTROL is the same in all (6.2.4).
pub(crate) fn judge_iframes(ledger: &mut Ledger, url: &str, status: u16, media: &Media, other: &Media) {
    let only = media.header.contains_key("EXT-X-I-FRAMES-ONLY")
        && media.segments.iter().all(|one| one.parts.is_empty());
    let right = status == 200 && only && media.target() == other.target();
    if status == 200 {
        let at = At::whole(url).line(media.control.line);
        ledger.judge(7, media.control.attributes == other.control.attributes, at, || {
            "EXT-X-SERVER-CONTROL differs from that of playlists with pictures between them".into()
        });
    }
    ledger.judge(47, right, At::whole(url), || {
        format!("answered with {status}: no I-frames only, parts, or another TARGETDURATION")
    });
}

/// Judges whether a query parameter that is no directive stands in every address of a playlist, and directives in none.
pub(crate) fn judge_token(ledger: &mut Ledger, url: &str, media: &Media, token: &str) {
    let parts = media.segments.iter().flat_map(|segment| segment.parts.iter().map(|part| part.uri.as_str()));
    let tags = media.hints.iter().chain(&media.reports).filter_map(|tag| tag.attributes.get("URI"));
    let files = media.segments.iter().flat_map(|segment| [segment.uri.as_deref(), segment.map.as_deref()]);
    let mut all = files.flatten().chain(parts).chain(tags);
    let wrong = all.find(|uri| !uri.contains(token) || uri.contains("_HLS_"));
    ledger.judge(68, wrong.is_none(), At::whole(url), || format!("{wrong:?} in its answer"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    const LIST: &str = "\
#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"a\",LANGUAGE=\"en\",CHANNELS=\"2\",DEFAULT=YES,URI=\"a/media.m3u8\"
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
            // Each has a report of the other.
            let (a, b) = (Media::parse(GOOD), Media::parse(&other.replace("../a/media", "../v/media")));
            let mut ledger = Ledger::default();
            let (one, two) = ("http://h/v/media.m3u8", "http://h/a/media.m3u8");
            judge_all(&mut ledger, &[(one, &a), (two, &b)], &[], independent);
            ledger.broken()
        };
        assert_eq!(broken(GOOD, false), [0_u8; 0]);
        assert_eq!(broken(GOOD, true), [16], "segment 11 does not begin with an independent part");
        let range = "#EXT-X-DATERANGE:ID=\"x\",START-DATE=\"2026-01-01T00:00:01.000Z\"\n#EXT-X-MAP";
        for (rule, from, to) in [
            (6, "TARGETDURATION:2", "TARGETDURATION:3"),
            (36, "00:00:03.900Z", "00:00:08.900Z"),
            (52, "DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1"),
            (53, "#EXT-X-MAP", range),
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
    fn keyframes_have_a_playlist_without_parts() {
        let control = GOOD.lines().find(|line| line.contains("SERVER-CONTROL")).unwrap();
        let text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n{control}\n#EXT-X-I-FRAMES-ONLY\n#EXTINF:2.0,\n1.m4s\n"
        );
        let text = text.as_str();
        let see = |text: &str, status| {
            let mut ledger = Ledger::default();
            judge_iframes(&mut ledger, "u", status, &Media::parse(text), &Media::parse(GOOD));
            ledger.broken()
        };
        assert_eq!(see(text, 200), [0_u8; 0]);
        assert_eq!(see(text, 404), [47]);
        assert_eq!(see(&text.replace("DURATION:2", "DURATION:3"), 200), [47]);
        assert_eq!(see(&text.replace(control, "#EXT-X-OTHER"), 200), [7]);
        assert_eq!(see(&text.replace("UNTIL=12.0", "UNTIL=13.0"), 200), [7]);
        assert_eq!(see(&text.replace("#EXT-X-I-FRAMES-ONLY\n", ""), 200), [47]);
        let part = "#EXT-X-PART:DURATION=1,URI=\"1.0.m4s\"\n#EXTINF";
        assert_eq!(see(&text.replace("#EXTINF", part), 200), [47]);
    }

    #[test]
    fn a_token_goes_on_into_every_address() {
        let with = |text: &str, kind: &str| text.replace(kind, &format!("{kind}?t=1"));
        let good = [".m4s", ".mp4", ".m3u8"].iter().fold(GOOD.to_owned(), |text, kind| with(&text, kind));
        let see = |text: &str| {
            let mut ledger = Ledger::default();
            judge_token(&mut ledger, "u", &Media::parse(text), "t=1");
            ledger.broken()
        };
        assert_eq!(see(&good), [0_u8; 0]);
        for uri in ["init.mp4", "10.1.m4s", "11.m4s", "12.1.m4s", "../a/media.m3u8"] {
            assert_eq!(see(&good.replace(&format!("{uri}?t=1"), uri)), [68], "{uri}");
        }
        assert_eq!(see(&good.replace("12.1.m4s?t=1", "12.1.m4s?t=1&_HLS_msn=4")), [68]);
    }
}

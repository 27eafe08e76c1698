//! The rules that one media playlist keeps or breaks by itself.

use super::ledger::{At, Ledger};
use super::playlist::{Media, Segment};
use super::{aging, breaks, dateranges, gaps, hints};

const SECOND: i64 = 1_000_000;
/// PROGRAM-DATE-TIME is written in milliseconds, and may be steered by some.
const DATE_SLACK: i64 = 5_000;

/// Judges it.
pub(crate) fn judge(ledger: &mut Ledger, url: &str, media: &Media) {
    let at = At::whole(url);
    ledger.judge(
        1,
        media.malformed.is_empty(),
        at.line(media.malformed.first().map_or(0, |(line, _)| *line)),
        || media.malformed.first().map(|(_, why)| why.clone()).unwrap_or_default(),
    );
    for (name, (count, _, line)) in &media.header {
        ledger.judge(3, *count == 1, at.line(*line), || format!("{name} stands there {count} times"));
    }
    header(ledger, at, media);
    for segment in &media.segments {
        self::segment(ledger, at, media, segment);
    }
    parts(ledger, at, media);
    dates(ledger, at, media);
    edge(ledger, at, media);
    gaps::judge(ledger, at, media);
    aging::judge(ledger, at, media);
    breaks::judge_maps(ledger, at, media);
    dateranges::judge(ledger, at, media);
    hints::judge_starts(ledger, at, media);
}

fn header(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    let version = media.value("EXT-X-VERSION").and_then(|value| value.parse::<u32>().ok()).unwrap_or(1);
    let needs = match (media.skipped, media.segments.iter().any(|segment| segment.map.is_some())) {
        (Some(_), _) => 9,
        (None, true) => 6,
        (None, false) => 1,
    };
    ledger.judge(4, version >= needs, at, || format!("EXT-X-VERSION:{version} where {needs} is needed"));
    let target = media.target();
    ledger
        .judge(5, target.is_some_and(|target| target >= 1), at, || "no TARGETDURATION of at least 1".into());
    let control = &media.control.attributes;
    let control_at = at.line(media.control.line);
    ledger.judge(7, control.is("CAN-BLOCK-RELOAD", "YES"), control_at, || "no CAN-BLOCK-RELOAD=YES".into());
    ledger.judge(
        15,
        media.value("EXT-X-PLAYLIST-TYPE").is_none_or(|kind| kind == "EVENT" && media.sequence == 0),
        at,
        || "EXT-X-PLAYLIST-TYPE on a playlist that loses segments".into(),
    );
    let has_parts = media.segments.iter().any(|segment| !segment.parts.is_empty());
    if has_parts || media.part_target.is_some() {
        ledger.judge(11, media.part_target.is_some_and(|target| target > 0), at, || {
            "parts without PART-TARGET".into()
        });
        let (hold, least) = (control.micros("PART-HOLD-BACK"), media.part_target.unwrap_or(0) * 3);
        ledger.judge(8, hold.is_some_and(|hold| hold >= least), control_at, || {
            format!(
                "PART-HOLD-BACK is {:?} where 3 x PART-TARGET are {} s",
                control.get("PART-HOLD-BACK"),
                seconds(least)
            )
        });
    }
    let Some(target) = target else { return };
    if let Some(hold) = control.micros("HOLD-BACK") {
        ledger.judge(9, hold >= 3 * target * SECOND, control_at, || {
            format!("HOLD-BACK is {} s", seconds(hold))
        });
    }
    if control.get("CAN-SKIP-UNTIL").is_some() || control.get("CAN-SKIP-DATERANGES").is_some() {
        let until = control.micros("CAN-SKIP-UNTIL");
        ledger.judge(10, until.is_some_and(|until| until >= 6 * target * SECOND), control_at, || {
            format!("CAN-SKIP-UNTIL is {:?} at TARGETDURATION {target}", control.get("CAN-SKIP-UNTIL"))
        });
    }
    if let Some(start) = &media.start {
        let offset = start
            .attributes
            .get("TIME-OFFSET")
            .and_then(|offset| offset.strip_prefix('-'))
            .and_then(super::playlist::micros);
        ledger.judge(
            17,
            offset.is_none_or(|offset| offset >= 3 * target * SECOND),
            at.line(start.line),
            || "EXT-X-START within 3 x TARGETDURATION of the end".into(),
        );
    }
}

fn segment(ledger: &mut Ledger, at: At<'_>, media: &Media, segment: &Segment) {
    if let (Some(duration), Some(target)) = (segment.duration, media.target()) {
        let rounded = (duration + SECOND / 2) / SECOND;
        ledger.judge(5, rounded <= target, at.line(segment.line), || {
            format!("EXTINF {} s rounds to {rounded}, TARGETDURATION is {target}", seconds(duration))
        });
    }
    if segment.discontinuity {
        ledger.judge(52, segment.date.is_some(), at.line(segment.line), || {
            "a discontinuity without PROGRAM-DATE-TIME".into()
        });
        ledger.judge(
            52,
            media.header.contains_key("EXT-X-DISCONTINUITY-SEQUENCE"),
            at.line(segment.line),
            || "a discontinuity, but no EXT-X-DISCONTINUITY-SEQUENCE".into(),
        );
    }
    if !segment.parts.is_empty() {
        ledger.judge(22, segment.late_tag.is_none(), at.line(segment.late_tag.unwrap_or(0)), || {
            format!("a tag of segment {} comes after its first part", segment.number)
        });
        if let Some(duration) = segment.duration {
            let sum: i64 = segment.parts.iter().filter_map(|part| part.duration).sum();
            // Each is rounded to the microsecond or, by some origins, to five digits.
            let slack = 10 * (segment.parts.len() as i64 + 1);
            ledger.judge(20, (sum - duration).abs() <= slack, at.line(segment.line), || {
                format!("EXTINF {} s, its parts together {} s", seconds(duration), seconds(sum))
            });
        }
    }
}

fn parts(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    let Some(target) = media.part_target else { return };
    for segment in &media.segments {
        for (index, part) in segment.parts.iter().enumerate() {
            let Some(duration) = part.duration else {
                ledger.judge(18, false, at.line(part.line), || "a part without DURATION".into());
                continue;
            };
            ledger.judge(18, duration <= target && !part.uri.is_empty(), at.line(part.line), || {
                format!("{} s at PART-TARGET {} s", seconds(duration), seconds(target))
            });
            let next = segment.parts.get(index + 1);
            let last = next.is_none();
            let exempt = last || part.independent || part.gap || next.is_some_and(|next| next.gap);
            if !exempt {
                ledger.judge(19, duration * 100 >= target * 85, at.line(part.line), || {
                    format!("{} s are less than 85 % of PART-TARGET {} s", seconds(duration), seconds(target))
                });
            }
        }
    }
}

fn dates(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    if media.skipped.is_none() {
        let dated = media.segments.iter().any(|segment| segment.date.is_some());
        ledger.judge(48, dated, at, || "no PROGRAM-DATE-TIME".into());
    }
    for pair in media.segments.windows(2) {
        let [before, after] = pair else { continue };
        let (Some(one), Some(two), false) = (before.date, after.date, after.discontinuity) else { continue };
        let drift = two - one - before.length();
        ledger.judge(49, drift.abs() <= DATE_SLACK, at.line(after.line), || {
            format!("PROGRAM-DATE-TIME of segment {} is {drift} microseconds off", after.number)
        });
    }
}

fn edge(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    let hints: Vec<_> = media.hints.iter().filter(|hint| hint.attributes.is("TYPE", "PART")).collect();
    if media.ended {
        ledger.judge(29, media.hints.is_empty(), at, || "a hint after the end".into());
        ledger.judge(46, media.hints.is_empty() && media.skipped.is_none(), at, || {
            "hints or a delta after ENDLIST".into()
        });
    } else if media.part_target.is_some() {
        ledger.judge(29, hints.len() == 1, at, || format!("{} hints of a part", hints.len()));
    }
}

/// Microseconds as people write seconds.
pub(crate) fn seconds(micros: i64) -> f64 {
    micros as f64 / SECOND as f64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A playlist that breaks nothing: two whole segments and an open one.
    pub(crate) const GOOD: &str = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.0,CAN-SKIP-UNTIL=12.0
#EXT-X-PART-INF:PART-TARGET=1.0
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z
#EXT-X-PART:DURATION=1.0,URI=\"10.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.0,URI=\"10.1.m4s\"
#EXTINF:2.0,
10.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z
#EXT-X-PART:DURATION=0.9,URI=\"11.0.m4s\"
#EXT-X-PART:DURATION=1.0,URI=\"11.1.m4s\"
#EXTINF:1.9,
11.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:03.900Z
#EXT-X-PART:DURATION=1.0,URI=\"12.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"12.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../a/media.m3u8\",LAST-MSN=12,LAST-PART=0
";

    fn broken(text: &str) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger, "http://h/v/media.m3u8", &Media::parse(text));
        ledger.broken()
    }

    #[test]
    fn a_good_playlist_breaks_nothing() {
        assert_eq!(broken(GOOD), [0_u8; 0]);
    }

    #[test]
    fn each_rule_can_be_broken() {
        for (rule, from, to) in [
            (1, "#EXTM3U", "EXTM3U"),
            (1, ",CAN-SKIP-UNTIL", ", CAN-SKIP-UNTIL"),
            (1, "T00:00:02.000Z", "T00:00:02.000"),
            (3, "#EXT-X-VERSION:6", "#EXT-X-VERSION:6\n#EXT-X-VERSION:6"),
            (4, "VERSION:6", "VERSION:5"),
            (4, "#EXT-X-MEDIA-SEQUENCE:10", "#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3"),
            (5, "EXTINF:2.0", "EXTINF:2.5"),
            (5, "TARGETDURATION:2", "TARGETDURATION:0"),
            (7, "CAN-BLOCK-RELOAD=YES,", ""),
            (8, "HOLD-BACK=3.0", "HOLD-BACK=2.9"),
            (8, "PART-HOLD-BACK=3.0,", ""),
            (9, "PART-HOLD-BACK=3.0", "PART-HOLD-BACK=3.0,HOLD-BACK=5.9"),
            (10, "UNTIL=12.0", "UNTIL=11.0"),
            (11, "#EXT-X-PART-INF:PART-TARGET=1.0\n", ""),
            (15, "#EXT-X-MEDIA", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA"),
            (17, "#EXT-X-MAP", "#EXT-X-START:TIME-OFFSET=-4\n#EXT-X-MAP"),
            (18, "PART:DURATION=1.0,URI=\"12.0", "PART:DURATION=1.00001,URI=\"12.0"),
            (19, "DURATION=0.9,", "DURATION=0.84,"),
            (20, "EXTINF:1.9", "EXTINF:1.8"),
            (
                22,
                "#EXT-X-PART:DURATION=1.0,URI=\"10.1",
                "#EXT-X-DISCONTINUITY\n#EXT-X-PART:DURATION=1.0,URI=\"10.1",
            ),
            (29, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"12.1.m4s\"\n", ""),
            (46, "#EXT-X-RENDITION", "#EXT-X-ENDLIST\n#EXT-X-RENDITION"),
            (49, "00:00:03.900Z", "00:00:03.910Z"),
            (52, "#EXT-X-DISCONTINUITY-SEQUENCE:0\n", "#EXT-X-DISCONTINUITY\n"),
            (53, "#EXT-X-MAP", "#EXT-X-DATERANGE:ID=\"x\"\n#EXT-X-MAP"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            assert!(broken(&text).contains(&rule), "rule {rule} held with {to:?}: {:?}", broken(&text));
        }
        let undated: String =
            GOOD.lines().filter(|line| !line.contains("DATE-TIME")).map(|line| format!("{line}\n")).collect();
        assert_eq!(broken(&undated), [48]);
    }
}

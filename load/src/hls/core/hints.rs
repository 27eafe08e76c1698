//! Preload hints, and parts that are byte ranges.

use super::ledger::{At, Ledger};
use super::playlist::{Media, Part, Tag};

/// No part is larger; a longer range is not asked for.
const MOST_BYTES: u64 = 1 << 26;

/// Judges how something was answered that was hinted and then listed. `status`: None where there was no answer.
pub(crate) fn judge(ledger: &mut Ledger, url: &str, status: Option<u16>, gap: bool) {
    let right = matches!(status, Some(200 | 206)) || gap;
    ledger.judge(31, right, At::whole(url), || match status {
        Some(status) => format!("hinted, listed, and answered with {status}"),
        None => "hinted, listed, and there is no answer".into(),
    });
}

/// Judges how something was answered that had been hinted and was given up: another part came in its place (6.2.6).
pub(crate) fn judge_dropped(
    ledger: &mut Ledger,
    (hinted, status): (&str, Option<u16>),
    before: &Media,
    after: &Media,
) {
    let next = before.next_part();
    let mut parts = after.segments.iter().flat_map(|segment| &segment.parts);
    let listed = parts.any(|part| part.uri == hinted);
    let other = after.newest_part().is_some_and(|(number, index)| (number, index) >= (next.0, next.1 as u64));
    if other && !listed && !after.ended {
        ledger.judge(30, status == Some(404), At::whole(hinted), || match status {
            Some(status) => format!("hinted and given up, and answered with {status}"),
            None => "hinted and given up, and there is no answer".into(),
        });
    }
}

/// The init section in force at a segment.
fn map_of(media: &Media, number: u64) -> Option<&str> {
    let up_to = media.segments.iter().take_while(|segment| segment.number <= number);
    up_to.filter_map(|segment| segment.map.as_deref()).last()
}

/// Judges whether a hinted part came with the init section that was hinted with it, or else with the one in force (B.1).
pub(crate) fn judge_map(ledger: &mut Ledger, url: &str, before: &Media, after: &Media) {
    let uri = |kind: &str| {
        let hint = before.hints.iter().find(|hint| hint.attributes.is("TYPE", kind));
        hint.and_then(|hint| hint.attributes.get("URI"))
    };
    let Some(hinted) = uri("PART") else { return };
    let came = after.segments.iter().find(|segment| segment.parts.iter().any(|part| part.uri == hinted));
    let Some(segment) = came.filter(|_| before.skipped.is_none() && after.skipped.is_none()) else { return };
    let newest = before.segments.last().map_or(0, |segment| segment.number);
    let (old, new) = (map_of(before, newest), map_of(after, segment.number));
    if old.is_some() && (old != new || uri("MAP").is_some()) {
        let said = uri("MAP").or(old);
        ledger.judge(32, said == new, At::whole(url).line(segment.line), || {
            format!("{hinted} was hinted with {said:?}, and came with {new:?}")
        });
    }
}

/// First byte and end of what a part is asked for with `Range`; `offset` is where the part before it in its segment ended. None
/// for a part that is all of its address.
pub(crate) fn range(part: &Part, offset: u64) -> Option<(u64, u64)> {
    let (length, first) = part.range?;
    let first = first.unwrap_or(offset);
    let end = first.checked_add(length.min(MOST_BYTES))?;
    (length > 0).then_some((first, end))
}

/// Judges the answer to such a request.
pub(crate) fn judge_range(
    ledger: &mut Ledger,
    url: &str,
    (first, end): (u64, u64),
    status: u16,
    length: usize,
) {
    ledger.judge(34, status == 206 && length as u64 == end - first, At::whole(url), || {
        format!("bytes {first} to {} are answered with {status} and {length} bytes", end - 1)
    });
}

/// The hint of a part that can be asked for by itself: one with an address of its own. A range that begins somewhere and has no
/// end would be answered with all parts up to the end of the segment.
pub(crate) fn whole_part(media: &Media) -> Option<&Tag> {
    let mut hints = media.hints.iter().filter(|hint| hint.attributes.is("TYPE", "PART"));
    hints.find(|hint| {
        hint.attributes.get("BYTERANGE-START").is_none() && hint.attributes.get("BYTERANGE-LENGTH").is_none()
    })
}

/// Judges hints in a playlist whose parts are byte ranges: the next one begins where the last one ended, if it has its address.
pub(crate) fn judge_starts(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    let Some(last) = media.segments.last() else { return };
    let ranged = last.parts.iter().any(|part| part.range.is_some());
    let (Some(newest), true) = (last.parts.last(), ranged) else { return };
    let end = last.parts.iter().fold(0, |end, part| range(part, end).map_or(0, |(_, end)| end));
    for hint in media.hints.iter().filter(|hint| hint.attributes.is("TYPE", "PART")) {
        let same = hint.attributes.get("URI") == Some(&newest.uri);
        let start = hint.attributes.number("BYTERANGE-START").unwrap_or(0);
        ledger.judge(34, !same || start == end, at.line(hint.line), || {
            format!("a hint from byte {start} on where the last part ends at {end}")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    fn broken(judge: impl FnOnce(&mut Ledger)) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger);
        ledger.broken()
    }

    #[test]
    fn what_is_hinted_is_served() {
        assert_eq!(broken(|l| judge(l, "u", Some(200), false)), [0_u8; 0]);
        assert_eq!(broken(|l| judge(l, "u", Some(404), true)), [0_u8; 0]);
        assert_eq!(broken(|l| judge(l, "u", Some(404), false)), [31]);
        assert_eq!(broken(|l| judge(l, "u", None, false)), [31]);
    }

    #[test]
    fn what_was_hinted_and_given_up_is_not_found() {
        let before = Media::parse(GOOD);
        let next = GOOD.replace(
            "#EXT-X-PRELOAD",
            "#EXTINF:1.0,\n12.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-PART:DURATION=1.0,URI=\"13.0.m4s\"\n#EXT-X-PRELOAD",
        );
        let see = |after: &str, status| {
            broken(|l| judge_dropped(l, ("12.1.m4s", status), &before, &Media::parse(after)))
        };
        assert_eq!(see(&next, Some(404)), [0_u8; 0]);
        assert_eq!(see(&next, Some(200)), [30], "of what is listed nowhere");
        assert_eq!(see(&next, None), [30]);
        assert_eq!(see(GOOD, Some(503)), [0_u8; 0], "it may still come");
        let came = next.replace("#EXTINF:1.0", "#EXT-X-PART:DURATION=0.5,URI=\"12.1.m4s\"\n#EXTINF:1.5");
        assert_eq!(see(&came, Some(200)), [0_u8; 0]);
    }

    #[test]
    fn a_part_with_another_init_section_is_hinted_with_it() {
        let hint = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"12.1.m4s\"";
        let closed =
            GOOD.replace(hint, "#EXTINF:1.0,\n12.m4s\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"13.0.m4s\"");
        let map = "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init2.mp4\"\n#EXT-X-PRELOAD";
        let both = closed.replace("#EXT-X-PRELOAD", map);
        let came = |map: &str| {
            let part = format!("{map}#EXT-X-PART:DURATION=1.0,URI=\"13.0.m4s\"\n#EXT-X-PRELOAD");
            Media::parse(&closed.replace("#EXT-X-PRELOAD", &part))
        };
        let new = "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init2.mp4\"\n";
        let see = |before: &str, map| broken(|l| judge_map(l, "u", &Media::parse(before), &came(map)));
        assert_eq!(see(&closed, ""), [0_u8; 0]);
        assert_eq!(see(&closed, new), [32], "nothing was said");
        assert_eq!(see(&both, new), [0_u8; 0]);
        assert_eq!(see(&both, ""), [32], "another was said");
        assert_eq!(see(GOOD, new), [0_u8; 0], "what was hinted did not come");
    }

    #[test]
    fn ranges_are_asked_for_and_answered_as_they_are_listed() {
        let text = GOOD
            .replace("URI=\"12.0.m4s\"", "URI=\"12.m4s\",BYTERANGE=\"100@20\"")
            .replace("URI=\"12.1.m4s\"", "URI=\"12.m4s\",BYTERANGE-START=120");
        let media = Media::parse(&text);
        let part = &media.segments[2].parts[0];
        assert_eq!(range(part, 0), Some((20, 120)));
        assert_eq!(range(&Part { range: Some((9, None)), ..part.clone() }, 7), Some((7, 16)));
        assert_eq!(range(&media.segments[0].parts[0], 7), None);
        assert_eq!(range(&Part { range: Some((9, Some(u64::MAX))), ..part.clone() }, 7), None);
        assert!(whole_part(&media).is_none(), "it would be answered with the whole segment");
        assert!(whole_part(&Media::parse(GOOD)).is_some());
        assert_eq!(broken(|l| judge_starts(l, At::whole("u"), &media)), [0_u8; 0]);
        let wrong = Media::parse(&text.replace("START=120", "START=121"));
        assert_eq!(broken(|l| judge_starts(l, At::whole("u"), &wrong)), [34]);
        assert_eq!(broken(|l| judge_range(l, "u", (20, 120), 206, 100)), [0_u8; 0]);
        assert_eq!(broken(|l| judge_range(l, "u", (20, 120), 200, 300)), [34]);
        assert_eq!(broken(|l| judge_range(l, "u", (20, 120), 206, 99)), [34]);
    }
}

//! EXT-X-DATERANGE, and delta updates without them.

use std::collections::BTreeMap;

use super::ledger::{At, Ledger};
use super::playlist::{Media, Tag, date, micros};

/// A date range out of all tags that have its ID.
struct Found<'a> {
    tags: Vec<&'a Tag>,
}

impl<'a> Found<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.tags.iter().find_map(|tag| tag.attributes.get(name))
    }

    fn start(&self) -> Option<i64> {
        self.get("START-DATE").and_then(date)
    }

    /// None where it is not known.
    fn end(&self) -> Option<i64> {
        let length = self.get("DURATION").and_then(micros);
        self.get("END-DATE").and_then(date).or_else(|| self.start()?.checked_add(length?))
    }
}

fn all(media: &Media) -> BTreeMap<&str, Found<'_>> {
    let mut found = BTreeMap::new();
    for tag in &media.dateranges {
        let Some(id) = tag.attributes.get("ID") else { continue };
        found.entry(id).or_insert_with(|| Found { tags: Vec::new() }).tags.push(tag);
    }
    found
}

/// Judges those of one playlist (4.4.5.1, D.2).
pub(crate) fn judge(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    for tag in &media.dateranges {
        let named = tag.attributes.get("ID").is_some();
        ledger.judge(53, named, at.line(tag.line), || "EXT-X-DATERANGE without ID".into());
    }
    if !media.dateranges.is_empty() && media.skipped.is_none() {
        let dated = media.segments.iter().any(|segment| segment.date.is_some());
        ledger.judge(53, dated, at, || "EXT-X-DATERANGE without PROGRAM-DATE-TIME".into());
    }
    for (id, range) in all(media) {
        let wrong = wrong(&range);
        let line = range.tags.first().map_or(0, |tag| tag.line);
        ledger.judge(53, wrong.is_none(), at.line(line), || {
            format!("EXT-X-DATERANGE {id:?}: {}", wrong.unwrap_or_default())
        });
    }
}

fn wrong(range: &Found<'_>) -> Option<&'static str> {
    let has = |name| range.get(name).is_some();
    let negative = |name| range.get(name).is_some_and(|value| micros(value).is_none());
    if range.start().is_none() {
        return Some("no START-DATE with a zone");
    }
    if has("END-DATE") && range.end() < range.start() {
        return Some("END-DATE before START-DATE");
    }
    if negative("DURATION") || negative("PLANNED-DURATION") {
        return Some("a duration that is none");
    }
    if has("END-ON-NEXT") && (!has("CLASS") || has("DURATION") || has("END-DATE")) {
        return Some("END-ON-NEXT without CLASS, or with an end");
    }
    let interstitial = range.get("CLASS") == Some("com.apple.hls.interstitial");
    if interstitial && has("X-ASSET-URI") == has("X-ASSET-LIST") {
        return Some("an interstitial needs one of X-ASSET-URI and X-ASSET-LIST");
    }
    let first = range.tags.first()?;
    let differs = range.tags.iter().any(|tag| {
        let mut shared = first.attributes.names().filter(|name| tag.attributes.get(name).is_some());
        shared.any(|name| tag.attributes.get(name) != first.attributes.get(name))
    });
    differs.then_some("an attribute with two values")
}

/// The time of a playlist's oldest segment, and of its end.
fn span(media: &Media) -> Option<(i64, i64)> {
    let first = media.segments.iter().find_map(|segment| segment.date)?;
    let last = media.segments.iter().rev().find_map(|one| Some(one.date? + one.length()))?;
    Some((first, last))
}

/// Judges whether those that still map to a segment stayed (6.2.1).
pub(crate) fn judge_kept(ledger: &mut Ledger, at: At<'_>, before: &Media, after: &Media) {
    // A delta has all of them, unless it was asked for without: then it says so.
    if after.removed_dateranges.is_some() {
        return;
    }
    let listed = if after.skipped.is_none() { span(after) } else { span(before) };
    let (Some((oldest, _)), kept) = (listed, all(after)) else { return };
    for (id, range) in all(before) {
        let over = range.end().is_some_and(|end| end < oldest);
        if !over {
            ledger.judge(53, kept.contains_key(id), at, || format!("EXT-X-DATERANGE {id:?} was removed"));
        }
    }
}

/// Judges whether two playlists have the same, as far as they begin within both.
pub(crate) fn judge_same(ledger: &mut Ledger, at: At<'_>, one: &Media, other: &Media) {
    let (mine, theirs) = (all(one), all(other));
    let Some((a, b)) = span(one).zip(span(other)) else { return };
    let within = a.0.max(b.0)..a.1.min(b.1);
    for (id, range) in mine.iter().chain(&theirs) {
        if range.start().is_some_and(|start| within.contains(&start)) {
            let both = mine.contains_key(id) && theirs.contains_key(id);
            ledger.judge(53, both, at, || format!("EXT-X-DATERANGE {id:?} is not in all playlists"));
        }
    }
}

/// Judges the answer to `_HLS_skip=v2`.
pub(crate) fn judge_v2(ledger: &mut Ledger, url: &str, full: &Media, delta: &Media) {
    let at = At::whole(url);
    ledger.judge(45, delta.removed_dateranges.is_some() || delta.skipped.is_none(), at, || {
        "EXT-X-SKIP without RECENTLY-REMOVED-DATERANGES".into()
    });
    let version = delta.value("EXT-X-VERSION").and_then(|value| value.parse::<u32>().ok()).unwrap_or(1);
    let needs = if delta.removed_dateranges.is_some() { 10 } else { 1 };
    ledger.judge(45, version >= needs, at, || format!("EXT-X-VERSION:{version} where {needs} is needed"));
    let (known, found) = (all(full), all(delta));
    let other = found.keys().find(|id| !known.contains_key(*id));
    ledger
        .judge(45, other.is_none(), at, || format!("EXT-X-DATERANGE {other:?} is not in the full playlist"));
    let gone = delta.removed_dateranges.as_deref().unwrap_or_default();
    let listed = gone.split('\t').find(|id| known.contains_key(id));
    ledger.judge(45, listed.is_none(), at, || format!("{listed:?} is said to be removed, and is listed"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    fn with(tags: &str) -> Media {
        Media::parse(&GOOD.replacen("#EXT-X-MAP", &format!("{tags}#EXT-X-MAP"), 1))
    }

    fn range(more: &str) -> String {
        format!("#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-01T00:00:01.000Z\"{more}\n")
    }

    fn broken(judge: impl FnOnce(&mut Ledger)) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger);
        ledger.broken()
    }

    #[test]
    fn each_rule_of_a_range_can_be_broken() {
        let see = |tags: &str| broken(|l| judge(l, At::whole("u"), &with(tags)));
        let good = range(",CLASS=\"com.apple.hls.interstitial\",DURATION=1.5,X-ASSET-URI=\"x\"");
        assert_eq!(see(&good), [0_u8; 0]);
        assert_eq!(see(&format!("{good}#EXT-X-DATERANGE:ID=\"a\",X-MORE=\"1\"\n")), [0_u8; 0]);
        for (from, to) in [
            ("ID=\"a\",", ""),
            ("START-DATE", "OTHER-DATE"),
            ("DURATION=1.5", "DURATION=-1"),
            ("DURATION=1.5", "END-DATE=\"2026-01-01T00:00:00.000Z\""),
            ("DURATION=1.5", "DURATION=1.5,END-ON-NEXT=YES"),
            (",X-ASSET-URI=\"x\"", ""),
            (",X-ASSET-URI", ",X-ASSET-LIST=\"y\",X-ASSET-URI"),
        ] {
            assert_eq!(see(&good.replace(from, to)), [53], "{from} {to}");
        }
        assert_eq!(see(&format!("{good}#EXT-X-DATERANGE:ID=\"a\",DURATION=2\n")), [53], "two values");
        let lines = GOOD.lines().filter(|line| !line.contains("DATE-TIME"));
        let undated: String = lines.chain([good.trim_end()]).map(|line| format!("{line}\n")).collect();
        assert_eq!(broken(|l| judge(l, At::whole("u"), &Media::parse(&undated))), [53]);
    }

    #[test]
    fn ranges_stay_as_long_as_their_time_and_are_everywhere() {
        let kept = |before: &Media, after: &Media| broken(|l| judge_kept(l, At::whole("u"), before, after));
        let one = with(&range(",DURATION=1"));
        assert_eq!(kept(&one, &one), [0_u8; 0]);
        assert_eq!(kept(&one, &with("")), [53]);
        let past = with("#EXT-X-DATERANGE:ID=\"p\",START-DATE=\"2025-01-01T00:00:01Z\",DURATION=1\n");
        assert_eq!(kept(&past, &with("")), [0_u8; 0], "its time is over");
        let same = |one: &Media, other: &Media| broken(|l| judge_same(l, At::whole("u"), one, other));
        assert_eq!(same(&one, &one), [0_u8; 0]);
        assert_eq!(same(&one, &with("")), [53]);
        assert_eq!(same(&with(""), &one), [53]);
        assert_eq!(same(&past, &with("")), [0_u8; 0], "from before");
    }

    #[test]
    fn deltas_without_old_ranges_say_so() {
        let full = with(&range(""));
        let see = |skip: &str, version: &str| {
            let text = GOOD.replacen("#EXT-X-MAP", &format!("{skip}#EXT-X-MAP"), 1);
            let delta = Media::parse(&text.replace("VERSION:6", version));
            broken(|l| judge_v2(l, "u", &full, &delta))
        };
        let skip = "#EXT-X-SKIP:SKIPPED-SEGMENTS=1,RECENTLY-REMOVED-DATERANGES=\"b\tc\"\n";
        assert_eq!(see(skip, "VERSION:10"), [0_u8; 0]);
        assert_eq!(see(skip, "VERSION:9"), [45]);
        assert_eq!(see(&skip.replace("b\tc", "b\ta"), "VERSION:10"), [45], "it is listed");
        assert_eq!(see("#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n", "VERSION:10"), [45]);
        let other = format!("{skip}{}", range("").replace("\"a\"", "\"z\""));
        assert_eq!(see(&other, "VERSION:10"), [45]);
        let tabbed = Media::parse(&GOOD.replacen("#EXT-X-MAP", &format!("{skip}#EXT-X-MAP"), 1));
        assert!(tabbed.malformed.is_empty(), "{:?}", tabbed.malformed);
    }
}

//! What may change from one reload of a media playlist to the next, and what a delta update says.

use super::ledger::{At, Ledger};
use super::media::seconds;
use super::playlist::{Media, Segment};
use super::{dateranges, hints};

/// Judges `after`, which the same address answered later than `before`.
pub(crate) fn judge(ledger: &mut Ledger, url: &str, before: &Media, after: &Media) {
    let at = At::whole(url);
    ledger.judge(6, before.target() == after.target(), at, || {
        format!("TARGETDURATION was {:?} and is {:?}", before.target(), after.target())
    });
    ledger.judge(7, before.control.attributes == after.control.attributes, at, || {
        "EXT-X-SERVER-CONTROL changed".into()
    });
    ledger.judge(11, before.part_target == after.part_target, at, || "PART-TARGET changed".into());
    ledger.judge(13, after.sequence >= before.sequence, at, || {
        format!("MEDIA-SEQUENCE went back from {} to {}", before.sequence, after.sequence)
    });
    removed(ledger, at, before, after);
    dateranges::judge_kept(ledger, at, before, after);
    hints::judge_map(ledger, url, before, after);
    for old in &before.segments {
        if let Some(new) = after.segments.iter().find(|new| new.number == old.number) {
            same(ledger, at, old, new);
        }
    }
    let hint = before.hints.iter().find(|hint| hint.attributes.is("TYPE", "PART"));
    let (number, index) = before.next_part();
    if let (Some(hinted), false) = (hint.and_then(|hint| hint.attributes.get("URI")), after.ended) {
        // A segment that was open may have been closed instead, so that its next part is the first of the one after it.
        let segment = |number: u64| after.segments.iter().find(|segment| segment.number == number);
        let came = segment(number).and_then(|segment| segment.parts.get(index));
        let closed = segment(number).is_some_and(|segment| segment.uri.is_some());
        // Where the publisher broke off, what was hinted never comes: the hint is dropped (6.2.6).
        let next = segment(number.saturating_add(1)).filter(|next| closed && !next.discontinuity);
        let came = came.or_else(|| next?.parts.first());
        if let Some(part) = came {
            ledger.judge(30, part.uri == hinted, at.line(part.line), || {
                format!("{hinted} was hinted, {} came", part.uri)
            });
        }
    }
}

fn removed(ledger: &mut Ledger, at: At<'_>, before: &Media, after: &Media) {
    let gone: Vec<_> = before.segments.iter().filter(|segment| segment.number < after.sequence).collect();
    let marks = gone.iter().filter(|segment| segment.discontinuity).count() as u64;
    let all_known =
        before.skipped.is_none() && after.sequence <= before.sequence + before.segments.len() as u64;
    if all_known && after.sequence >= before.sequence {
        let want = before.discontinuity_sequence + marks;
        ledger.judge(52, after.discontinuity_sequence == want, at, || {
            format!("EXT-X-DISCONTINUITY-SEQUENCE is {} where {want} is right", after.discontinuity_sequence)
        });
    }
    if let (false, Some(target), None) = (gone.is_empty(), after.target(), after.skipped) {
        ledger.judge(14, after.length() >= 3 * target * 1_000_000, at, || {
            format!("segments were removed, and {} s are left", seconds(after.length()))
        });
    }
}

fn same(ledger: &mut Ledger, at: At<'_>, old: &Segment, new: &Segment) {
    let whole = old.uri.is_none() || (&old.uri, old.duration, old.gap) == (&new.uri, new.duration, new.gap);
    let dated = old.date == new.date || new.date.is_none();
    let parts = old.parts.iter().zip(&new.parts).all(|(old, new)| {
        (&old.uri, old.duration, old.independent, old.gap)
            == (&new.uri, new.duration, new.independent, new.gap)
    });
    let kept = new.parts.is_empty() || new.parts.len() >= old.parts.len();
    ledger.judge(
        12,
        whole && dated && parts && kept && old.discontinuity == new.discontinuity,
        at.line(new.line),
        || format!("segment {} is not what it was", old.number),
    );
}

/// Judges a delta update against the full playlist of the same moment.
pub(crate) fn judge_delta(ledger: &mut Ledger, url: &str, full: &Media, delta: &Media) {
    let at = At::whole(url);
    let (Some(until), complete) = (
        full.control.attributes.micros("CAN-SKIP-UNTIL"),
        full.segments.iter().filter(|segment| segment.uri.is_some()),
    ) else {
        return;
    };
    let mut from_end: i64 = complete.clone().map(Segment::length).sum();
    let mut skippable = 0;
    // The segment that straddles the boundary may stay or go.
    let mut least = 0;
    for segment in complete {
        if from_end <= until {
            break;
        }
        from_end -= segment.length();
        skippable += 1;
        least += u64::from(from_end > until);
    }
    let skipped = delta.skipped.unwrap_or(0);
    ledger.judge(44, (least..=skippable).contains(&skipped), at, || {
        format!("{skipped} segments are skipped where {least} to {skippable} lie beyond CAN-SKIP-UNTIL")
    });
    let heads =
        (full.sequence, full.discontinuity_sequence) == (delta.sequence, delta.discontinuity_sequence);
    ledger.judge(44, heads, at, || {
        "MEDIA-SEQUENCE or DISCONTINUITY-SEQUENCE differ from the full playlist".into()
    });
    let rest = full.segments.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
    let content = |segment: &Segment| {
        let parts: Vec<_> = segment
            .parts
            .iter()
            .map(|part| (part.uri.clone(), part.duration, part.independent, part.gap))
            .collect();
        (
            segment.number,
            segment.uri.clone(),
            segment.duration,
            segment.date,
            segment.discontinuity,
            segment.gap,
            parts,
        )
    };
    let equal = rest.map(content).eq(delta.segments.iter().map(content));
    ledger.judge(44, equal, at, || "what follows EXT-X-SKIP differs from the full playlist".into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    /// The next part has come, and closed its segment.
    fn next() -> String {
        GOOD.replace(
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"12.1.m4s\"",
            "#EXT-X-PART:DURATION=0.5,URI=\"12.1.m4s\"\n#EXTINF:1.5,\n12.m4s\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"13.0.m4s\"",
        )
    }

    fn broken(after: &str) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger, "u", &Media::parse(GOOD), &Media::parse(after));
        ledger.broken()
    }

    #[test]
    fn a_reload_that_only_adds_breaks_nothing() {
        assert_eq!(broken(&next()), [0_u8; 0]);
    }

    #[test]
    fn each_rule_can_be_broken() {
        for (rule, from, to) in [
            (6, "TARGETDURATION:2", "TARGETDURATION:3"),
            (7, "UNTIL=12.0", "UNTIL=13.0"),
            (11, "PART-TARGET=1.0", "PART-TARGET=1.1"),
            (12, "10.1.m4s", "x.m4s"),
            (12, "EXTINF:1.9", "EXTINF:1.8"),
            (13, "MEDIA-SEQUENCE:10", "MEDIA-SEQUENCE:9"),
            (14, "MEDIA-SEQUENCE:10", "MEDIA-SEQUENCE:11"),
            (30, "12.1.m4s", "12.x.m4s"),
            (52, "DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1"),
        ] {
            let text = next().replacen(from, to, 1);
            assert_ne!(text, next(), "{from}");
            assert!(broken(&text).contains(&rule), "rule {rule} held with {to:?}: {:?}", broken(&text));
        }
    }

    #[test]
    fn a_hint_that_crosses_a_cut_is_followed() {
        // Segment 12 was closed without another part: the hinted one is the first of 13.
        let closed = GOOD.replace(
            "#EXT-X-PRELOAD",
            "#EXTINF:1.0,\n12.m4s\n#EXT-X-PART:DURATION=1.0,URI=\"13.0.m4s\"\n#EXT-X-PRELOAD",
        );
        assert_eq!(broken(&closed), [30], "12.1 was hinted and 13.0 came");
        let broken_off = closed.replace("12.m4s\n", "12.m4s\n#EXT-X-DISCONTINUITY\n");
        assert_eq!(broken(&broken_off), [0_u8; 0], "the publisher broke off");
    }

    #[test]
    fn deltas_are_compared_with_the_full_playlist() {
        let until = |text: &str| text.replace("UNTIL=12.0", "UNTIL=1.0");
        let full = Media::parse(&until(GOOD));
        let check = |delta: &str| {
            let mut ledger = Ledger::default();
            judge_delta(&mut ledger, "u", &full, &Media::parse(delta));
            ledger.broken()
        };
        let start = GOOD.find("#EXT-X-MAP").unwrap();
        let rest = GOOD.find("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02").unwrap();
        let skip = |n: u32| format!("{}#EXT-X-SKIP:SKIPPED-SEGMENTS={n}\n{}", &GOOD[..start], &GOOD[rest..]);
        assert_eq!(check(&skip(1)), [0_u8; 0]);
        assert_eq!(check(&skip(3)), [44], "more than may be skipped");
        assert_eq!(check(GOOD), [44], "nothing is skipped");
        assert_eq!(check(&skip(1).replace("11.1.m4s", "x.m4s")), [44]);
        assert_eq!(check(&skip(1).replace("MEDIA-SEQUENCE:10", "MEDIA-SEQUENCE:11")), [44]);
    }
}

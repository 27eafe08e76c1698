//! Discontinuities: the same in all renditions, and where the init section changes.

use super::ledger::{At, Ledger};
use super::playlist::{Media, Segment};

/// Dates of the same moment in two renditions: within a frame of sound and the rounding of both.
const SAME: i64 = 50_000;

/// The segments with their Discontinuity Sequence Numbers (6.2.1).
fn numbered(media: &Media) -> impl Iterator<Item = (&Segment, u64)> {
    let mut number = media.discontinuity_sequence;
    media.segments.iter().map(move |segment| {
        number = number.saturating_add(u64::from(segment.discontinuity));
        (segment, number)
    })
}

/// Judges whether an init section that differs from the one before comes behind a discontinuity.
pub(crate) fn judge_maps(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    let mut known: Option<&str> = None;
    for segment in &media.segments {
        let Some(map) = segment.map.as_deref() else { continue };
        if known.is_some_and(|known| known != map) {
            ledger.judge(77, segment.discontinuity, at.line(segment.line), || {
                format!("segment {} has another EXT-X-MAP, and no EXT-X-DISCONTINUITY", segment.number)
            });
        }
        known = Some(map);
    }
}

/// Judges whether a discontinuity of one rendition is at the same time, with the same number, in another.
pub(crate) fn judge_same(ledger: &mut Ledger, url: &str, media: &Media, other: &Media) {
    // A delta does not show what stands before it.
    if media.skipped.is_some() || other.skipped.is_some() {
        return;
    }
    for (segment, number) in numbered(media) {
        let theirs = numbered(other).find(|(other, _)| {
            other.date.zip(segment.date).is_some_and(|(theirs, mine)| (theirs - mine).abs() <= SAME)
        });
        let Some((other, theirs)) = theirs else { continue };
        let at = At::whole(url).line(segment.line);
        if segment.discontinuity || other.discontinuity || number != theirs {
            ledger.judge(52, number == theirs, at, || {
                let number_of = segment.number;
                format!("segment {number_of} has Discontinuity Sequence Number {number}, {theirs} elsewhere")
            });
            ledger.judge(52, segment.discontinuity == other.discontinuity, at, || {
                format!("segment {} begins with a discontinuity in one rendition only", segment.number)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    /// With this tag in front of the segment that begins at a second.
    fn tagged(text: &str, second: &str, tag: &str) -> String {
        let date = format!("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:{second}");
        text.replace(&date, &format!("{tag}\n{date}"))
    }

    #[test]
    fn discontinuities_are_the_same_in_all_renditions() {
        let see = |one: &str, other: &str| {
            let mut ledger = Ledger::default();
            judge_same(&mut ledger, "u", &Media::parse(one), &Media::parse(other));
            ledger.broken()
        };
        let one = tagged(GOOD, "02", "#EXT-X-DISCONTINUITY");
        assert_eq!(see(&one, &one), [0_u8; 0]);
        assert_eq!(see(&one, GOOD), [52]);
        assert_eq!(see(GOOD, &one), [52]);
        assert_eq!(see(&one, &one.replace("DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1")), [52]);
        assert_eq!(see(&one, &tagged(GOOD, "03", "#EXT-X-DISCONTINUITY")), [52], "at another segment");
    }

    #[test]
    fn another_init_section_comes_behind_a_discontinuity() {
        let see = |text: &str| {
            let mut ledger = Ledger::default();
            judge_maps(&mut ledger, At::whole("u"), &Media::parse(text));
            ledger.broken()
        };
        let new = tagged(GOOD, "02", "#EXT-X-MAP:URI=\"init2.mp4\"");
        assert_eq!(see(GOOD), [0_u8; 0]);
        assert_eq!(see(&tagged(&new, "02", "#EXT-X-DISCONTINUITY")), [0_u8; 0]);
        assert_eq!(see(&new), [77]);
        assert_eq!(see(&new.replace("init2.mp4", "init.mp4")), [0_u8; 0], "the same again");
    }
}

//! Delivery directives (RFC 8216bis 6.2.5): what a playlist request waits for, and which requests are wrong.

use crate::core::snapshot::{FeedSnapshot, RenditionSnapshot};

/// The query of a playlist request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `_HLS_msn`.
    pub msn: Option<u64>,
    /// `_HLS_part`.
    pub part: Option<u64>,
    /// `_HLS_skip=YES` or `v2`.
    pub skip: bool,
    /// Everything that is not a directive, in order: a token, say. It goes on into every URI of the playlist.
    pub rest: String,
}

/// Why a request is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadDirective {
    /// Not a decimal integer of at most 20 digits.
    #[error("_HLS_msn and _HLS_part are decimal integers")]
    NotANumber,
    /// `_HLS_part` alone means nothing.
    #[error("_HLS_part needs _HLS_msn")]
    PartWithoutMsn,
    /// Nobody waits that long.
    #[error("the segment or part asked for is too far ahead of the live edge")]
    TooFarAhead,
}

/// Longest query that is repeated in every URI.
const LONGEST_REST: usize = 1_024;

impl Directives {
    /// Reads a query string.
    ///
    /// # Errors
    /// [`BadDirective::NotANumber`] and [`BadDirective::PartWithoutMsn`]. Unknown `_HLS_` names are ignored.
    pub fn parse(query: &str) -> Result<Self, BadDirective> {
        let mut directives = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" => directives.msn = Some(number(value)?),
                "_HLS_part" => directives.part = Some(number(value)?),
                "_HLS_skip" => directives.skip = matches!(value, "YES" | "v2"),
                _ if name.starts_with("_HLS_") => {}
                // A quote would end the attribute that the URI stands in.
                _ if pair.contains(['"', '\\']) => {}
                _ if directives.rest.len() + pair.len() > LONGEST_REST => {}
                _ => {
                    if !directives.rest.is_empty() {
                        directives.rest.push('&');
                    }
                    directives.rest.push_str(pair);
                }
            }
        }
        if directives.part.is_some() && directives.msn.is_none() {
            return Err(BadDirective::PartWithoutMsn);
        }
        Ok(directives)
    }

    /// Whether the answer may have to wait.
    #[must_use]
    pub const fn blocks(&self) -> bool {
        self.msn.is_some()
    }

    /// Settles, when the request comes, what one without a part number waits for: for the whole segment when that has
    /// begun (6.2.5.2); for its first part when it has not, because Safari asks so at the start of a segment and would
    /// stall.
    pub fn settle(&mut self, rendition: &RenditionSnapshot) {
        let (number, parts) = rendition.next_part();
        let begun = self.msn.is_some_and(|msn| msn < number || (msn == number && parts > 0));
        if self.msn.is_some() && self.part.is_none() && !begun {
            self.part = Some(0);
        }
    }
}

fn number(text: &str) -> Result<u64, BadDirective> {
    let decimal = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| decimal).ok_or(BadDirective::NotANumber)
}

/// Whether a request can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Answer now.
    Ready,
    /// Hold it until the next snapshot.
    Wait,
    /// 400.
    Bad(BadDirective),
}

/// Whether a playlist request, [settled](Directives::settle) when it came, can be answered from this snapshot.
#[must_use]
pub fn readiness(feed: &FeedSnapshot, rendition: &RenditionSnapshot, directives: &Directives) -> Readiness {
    let Some(msn) = directives.msn.filter(|_| !feed.ended) else { return Readiness::Ready };
    let (number, parts) = rendition.next_part();
    let first_open = rendition.last_complete().map_or(number, |last| last + 1);
    if msn < first_open {
        // An index beyond the last segment's end is the first part of the next one, which may not be there yet.
        let beyond = rendition
            .segment(msn)
            .is_some_and(|segment| directives.part.is_some_and(|part| part >= segment.parts.len() as u64));
        let waits = beyond && msn + 1 == first_open && number == first_open && parts == 0;
        return if waits { Readiness::Wait } else { Readiness::Ready };
    }
    // The last complete segment + 2 must wait, beyond it is an error; so are three seconds of parts (6.2.5.2).
    if msn > first_open + 1 {
        return Readiness::Bad(BadDirective::TooFarAhead);
    }
    let Some(part) = directives.part else { return Readiness::Wait };
    let ahead = u64::from(3_000_u32.div_ceil(feed.header.part_target_ms.clamp(1, 1_000)));
    let have = if number == msn { parts } else { 0 };
    if part > have.saturating_add(ahead) {
        return Readiness::Bad(BadDirective::TooFarAhead);
    }
    if number > msn || (number == msn && part < parts) { Readiness::Ready } else { Readiness::Wait }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::snapshot::Header;
    use crate::core::testing::{rendition, segment};

    fn parse(query: &str) -> Result<Directives, BadDirective> {
        Directives::parse(query)
    }

    #[test]
    fn directives_are_read_and_everything_else_is_passed_on() {
        let got = parse("token=a%3D&_HLS_msn=7&_HLS_part=3&_HLS_skip=YES&_HLS_new=1&x").unwrap();
        assert_eq!((got.msn, got.part, got.skip), (Some(7), Some(3), true));
        assert_eq!(got.rest, "token=a%3D&x");
        assert_eq!(parse("").unwrap(), Directives::default());
        assert_eq!(parse("a=\"").unwrap().rest, "");
        assert!(parse("_HLS_skip=v2").unwrap().skip && !parse("_HLS_skip=NO").unwrap().skip);
    }

    #[test]
    fn wrong_directives_are_refused() {
        for bad in ["", "-1", "1.5", "0x1", "a", "+1", "100000000000000000000", "18446744073709551616"] {
            assert_eq!(parse(&format!("_HLS_msn={bad}")), Err(BadDirective::NotANumber), "{bad}");
        }
        assert_eq!(parse("_HLS_part=1"), Err(BadDirective::PartWithoutMsn));
    }

    /// Segments 10 and 11 complete, 12 with `parts` parts.
    fn feed(parts: usize, ended: bool) -> FeedSnapshot {
        let mut segments = vec![Arc::new(segment(10, 4, true)), Arc::new(segment(11, 4, true))];
        if parts > 0 {
            segments.push(Arc::new(segment(12, parts, false)));
        }
        let rendition = rendition(segments);
        let header = Header { target_duration: 3, part_target_ms: 216, independent_segments: true };
        FeedSnapshot { header, renditions: vec![rendition], ended, ..FeedSnapshot::default() }
    }

    fn ask(feed: &FeedSnapshot, msn: u64, part: Option<u64>) -> Readiness {
        let mut directives = Directives { msn: Some(msn), part, ..Directives::default() };
        directives.settle(&feed.renditions[0]);
        readiness(feed, &feed.renditions[0], &directives)
    }

    #[test]
    fn what_is_there_is_answered_and_what_is_next_waits() {
        let feed = feed(2, false);
        for (msn, part) in [(0, None), (11, None), (11, Some(99)), (12, Some(0)), (12, Some(1))] {
            assert_eq!(ask(&feed, msn, part), Readiness::Ready, "{msn} {part:?}");
        }
        for (msn, part) in
            [(12, Some(2)), (12, Some(16)), (12, None), (13, None), (13, Some(0)), (13, Some(14))]
        {
            assert_eq!(ask(&feed, msn, part), Readiness::Wait, "{msn} {part:?}");
        }
        for (msn, part) in [(14, None), (14, Some(0)), (u64::MAX, None), (12, Some(17)), (13, Some(15))] {
            assert_eq!(ask(&feed, msn, part), Readiness::Bad(BadDirective::TooFarAhead), "{msn} {part:?}");
        }
    }

    #[test]
    fn an_index_beyond_a_segments_end_is_the_next_segments_first_part() {
        let mut closed = feed(0, false);
        assert_eq!(ask(&closed, 10, Some(4)), Readiness::Ready, "11.0 is there");
        assert_eq!(ask(&closed, 11, Some(3)), Readiness::Ready);
        assert_eq!(ask(&closed, 11, Some(4)), Readiness::Wait, "12.0 is not");
        let mut directives = Directives { msn: Some(12), part: Some(5), ..Directives::default() };
        directives.settle(&closed.renditions[0]);
        closed.renditions[0].segments.push(Arc::new(segment(12, 5, true)));
        assert_eq!(readiness(&closed, &closed.renditions[0], &directives), Readiness::Wait, "13.0 is not");
        closed.renditions[0].segments.push(Arc::new(segment(13, 1, false)));
        assert_eq!(readiness(&closed, &closed.renditions[0], &directives), Readiness::Ready);
    }

    #[test]
    fn without_a_part_number_a_segment_that_has_not_begun_is_answered_at_its_first_part() {
        let before = feed(0, false);
        let mut directives = Directives { msn: Some(12), ..Directives::default() };
        directives.settle(&before.renditions[0]);
        assert_eq!(readiness(&before, &before.renditions[0], &directives), Readiness::Wait);
        let begun = feed(2, false);
        assert_eq!(readiness(&begun, &begun.renditions[0], &directives), Readiness::Ready);
    }

    #[test]
    fn an_ended_feed_ignores_directives() {
        assert_eq!(ask(&feed(1, true), 99, Some(99)), Readiness::Ready);
    }
}

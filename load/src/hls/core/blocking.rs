//! Playlist requests that wait (6.2.5.2): what they are answered with, and when.

use std::time::Duration;

use super::ledger::{At, Ledger};
use super::playlist::Media;

/// What a line and two busy machines may add to a time before it says something about the origin.
const SLACK: Duration = Duration::from_secs(1);

fn targets(target: i64, count: u64) -> Duration {
    Duration::from_secs(u64::from(u32::try_from(target).unwrap_or(1)) * count)
}

/// How a blocking request was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) url: &'a str,
    /// None where there was no answer.
    pub(crate) status: Option<u16>,
    /// The playlist of a 200.
    pub(crate) media: Option<&'a Media>,
    pub(crate) waited: Duration,
    /// TARGETDURATION in seconds.
    pub(crate) target: i64,
}

impl Answer<'_> {
    fn has(&self, number: u64, index: usize) -> bool {
        self.media.is_some_and(|media| media.ended || media.next_part() > (number, index))
    }

    fn status(&self) -> String {
        self.status.map_or_else(|| "nothing".into(), |status| status.to_string())
    }
}

/// Judges the answer to a request for part `index` of segment `number`. Whether that is in it.
pub(crate) fn judge_part(ledger: &mut Ledger, answer: &Answer<'_>, number: u64, index: usize) -> bool {
    let at = At::whole(answer.url);
    let came = answer.has(number, index);
    // Where the stream stands still an error is an answer; a playlist without what was asked for never is.
    let still = answer.waited >= targets(answer.target, 1);
    if came || !still || matches!(answer.status, None | Some(200)) {
        ledger.judge(37, came, at, || {
            format!("answered with {}, and not with part {number}.{index}", answer.status())
        });
    }
    if !came && answer.waited + SLACK / 2 >= targets(answer.target, 3) {
        let right = answer.status == Some(503) && answer.waited <= targets(answer.target, 4) + SLACK;
        ledger.judge(42, right, at, || {
            format!("answered with {} after {:.1} s", answer.status(), answer.waited.as_secs_f64())
        });
    }
    came
}

/// Judges the answer to a request for segment `number`, of which `parts` were listed when it was sent. Once it has begun, the
/// whole segment is waited for. Before, its first part may do: Safari asks so at the beginning of a segment.
pub(crate) fn judge_segment(ledger: &mut Ledger, answer: &Answer<'_>, number: u64, parts: usize) {
    let right = answer.has(number, usize::MAX) || (parts == 0 && answer.has(number, 0));
    if right || answer.waited < targets(answer.target, 1) || answer.status == Some(200) {
        ledger.judge(38, right, At::whole(answer.url), || {
            let next = answer.media.map(Media::next_part);
            format!("segment {number} was asked for: {}, with {next:?} to come next", answer.status())
        });
    }
}

/// Judges whether a playlist of keyframes was held until segment `number` was there (6.2.5.2).
pub(crate) fn judge_keyframes(ledger: &mut Ledger, answer: &Answer<'_>, number: u64) {
    let right = answer.media.is_some_and(|media| media.ended || media.next_part().0 > number);
    if right || answer.waited < targets(answer.target, 1) || answer.status == Some(200) {
        ledger.judge(47, right, At::whole(answer.url), || {
            format!(
                "keyframes of segment {number} were asked for: {}, and they are not there",
                answer.status()
            )
        });
    }
}

/// Judges the answer to a request for a segment that has long been there: all of the playlist, at once.
pub(crate) fn judge_old(ledger: &mut Ledger, answer: &Answer<'_>) {
    let whole = answer.media.is_some_and(|media| media.skipped.is_none() && !media.segments.is_empty());
    judge_at_once(ledger, 39, answer, whole, ["an old segment is", "all of the playlist"]);
}

/// Judges whether a request is answered with a `whole` playlist and is not waited for. In words: what was asked, and what is whole.
fn judge_at_once(ledger: &mut Ledger, rule: u8, answer: &Answer<'_>, whole: bool, [asked, meant]: [&str; 2]) {
    let soon = answer.waited < targets(answer.target, 1);
    ledger.judge(rule, whole && soon, At::whole(answer.url), || {
        let lacks = if whole { String::new() } else { format!(", and not with {meant}") };
        format!("{asked} answered with {} after {:.1} s{lacks}", answer.status(), answer.waited.as_secs_f64())
    });
}

/// The index of a part that is too far away (Advance Part Limit), with room for parts that come meanwhile.
pub(crate) fn far_part(media: &Media) -> usize {
    let target = media.part_target.unwrap_or(1_000_000).max(1);
    let limit = if target < 1_000_000 { (3_000_000 + target - 1) / target } else { 3 };
    let more = (media.target().unwrap_or(1) * 2_000_000 + target - 1) / target;
    media.next_part().1.saturating_add(usize::try_from(limit + more).unwrap_or(usize::MAX / 2))
}

/// Judges a request for the last complete segment + 2, the furthest that may be asked for: it waits, or is answered with
/// that. `status`: None where it was still waiting.
pub(crate) fn judge_near(ledger: &mut Ledger, url: &str, status: Option<u16>) {
    ledger.judge(40, status != Some(400), At::whole(url), || {
        "the last complete segment + 2 is refused, but must be waited for".into()
    });
}

/// Judges whether one request that was sent twice at once had one answer in one of `tries`: a part may come between two.
pub(crate) fn judge_twins(ledger: &mut Ledger, url: &str, equal: bool, tries: usize) {
    ledger.judge(43, equal, At::whole(url), || {
        format!("the same request, sent twice at once, had two answers {tries} times")
    });
}

/// Judges requests with directives to a playlist that has ended: nothing is waited for, nothing is skipped.
pub(crate) fn judge_ended(ledger: &mut Ledger, answer: &Answer<'_>) {
    let whole = answer.media.is_some_and(|media| media.ended && media.skipped.is_none());
    judge_at_once(ledger, 46, answer, whole, ["directives after the end are", "the final playlist"]);
}

/// When parts and segments came.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    part: Option<Duration>,
    segment: Option<Duration>,
}

impl Pace {
    /// Judges how long after the one before it something came (6.2.1). `now` is any clock; call it for each reload.
    pub(crate) fn judge(
        &mut self,
        ledger: &mut Ledger,
        url: &str,
        before: &Media,
        after: &Media,
        now: Duration,
    ) {
        let whole = |media: &Media| {
            media.segments.iter().filter(|segment| segment.uri.is_some()).map(|segment| segment.number).max()
        };
        let at = At::whole(url);
        let mut came = |last: &mut Option<Duration>, most: i64, what: &str| {
            let waited = last.replace(now).map(|last| now.saturating_sub(last));
            let most = Duration::from_micros(u64::try_from(most).unwrap_or(0));
            if let Some(waited) = waited {
                ledger.judge(24, waited <= most + SLACK, at, || {
                    format!("{what} came {:.1} s after the one before", waited.as_secs_f64())
                });
            }
        };
        if let (true, Some(target)) = (after.next_part() > before.next_part(), after.part_target) {
            came(&mut self.part, target, "a part");
        }
        if let (true, Some(target)) = (whole(after) > whole(before), after.target()) {
            came(&mut self.segment, target * 1_500_000, "a segment");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    const MS: Duration = Duration::from_millis(1);

    fn broken(judge: impl FnOnce(&mut Ledger)) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger);
        ledger.broken()
    }

    fn answer(status: u16, media: Option<&Media>, ms: u32) -> Answer<'_> {
        Answer { url: "u", status: Some(status), media, waited: MS * ms, target: 2 }
    }

    #[test]
    fn what_was_waited_for_is_in_the_answer() {
        // Its last part is 12.0.
        let media = Media::parse(GOOD);
        let see = |answer, number, index| {
            broken(|ledger| {
                judge_part(ledger, &answer, number, index);
            })
        };
        assert_eq!(see(answer(200, Some(&media), 100), 12, 0), [0_u8; 0]);
        assert_eq!(see(answer(200, Some(&media), 100), 12, 1), [37]);
        assert_eq!(see(answer(404, None, 100), 12, 0), [37]);
        assert_eq!(see(Answer { status: None, ..answer(0, None, 100) }, 12, 0), [37]);
        assert_eq!(see(answer(200, Some(&media), 2_100), 12, 1), [37], "without it");
        assert_eq!(see(answer(503, None, 2_100), 12, 1), [0_u8; 0], "it stands still");
        assert_eq!(see(answer(503, None, 6_100), 12, 1), [0_u8; 0]);
        assert_eq!(see(answer(404, None, 6_100), 12, 1), [42]);
        assert_eq!(see(answer(200, Some(&media), 6_100), 12, 1), [37, 42]);
        assert_eq!(see(answer(503, None, 9_100), 12, 1), [42], "so late");
    }

    #[test]
    fn a_segment_that_has_begun_is_waited_for() {
        let media = Media::parse(GOOD);
        let see =
            |number, parts, ms| broken(|l| judge_segment(l, &answer(200, Some(&media), ms), number, parts));
        assert_eq!(see(11, 1, 100), [0_u8; 0]);
        assert_eq!(see(12, 1, 100), [38], "answered with an open segment");
        assert_eq!(see(12, 0, 100), [0_u8; 0], "its first part");
        assert_eq!(see(13, 0, 100), [38]);
        assert_eq!(see(13, 0, 2_100), [38], "without it");
        assert_eq!(
            broken(|l| judge_segment(l, &answer(503, None, 2_100), 13, 0)),
            [0_u8; 0],
            "it stands still"
        );
        assert_eq!(broken(|l| judge_segment(l, &answer(400, None, 100), 12, 1)), [38]);
    }

    #[test]
    fn keyframes_are_waited_for() {
        let lines = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:10\n#EXTINF:2.0,\n10.m4s\n";
        let (media, ended) = (Media::parse(lines), Media::parse(&format!("{lines}#EXT-X-ENDLIST\n")));
        let see = |answer, number| broken(|l| judge_keyframes(l, &answer, number));
        assert_eq!(see(answer(200, Some(&media), 100), 10), [0_u8; 0]);
        assert_eq!(see(answer(200, Some(&media), 100), 11), [47]);
        assert_eq!(see(answer(400, None, 100), 11), [47]);
        assert_eq!(see(answer(503, None, 6_100), 11), [0_u8; 0], "it stands still");
        assert_eq!(see(answer(200, Some(&ended), 100), 11), [0_u8; 0]);
    }

    #[test]
    fn what_is_there_is_not_waited_for() {
        let media = Media::parse(GOOD);
        assert_eq!(broken(|l| judge_old(l, &answer(200, Some(&media), 100))), [0_u8; 0]);
        assert_eq!(broken(|l| judge_old(l, &answer(200, Some(&media), 2_000))), [39]);
        assert_eq!(broken(|l| judge_old(l, &answer(400, None, 100))), [39]);
        let delta = Media { skipped: Some(1), ..media.clone() };
        assert_eq!(broken(|l| judge_old(l, &answer(200, Some(&delta), 100))), [39]);
        let ended = Media { ended: true, ..media };
        assert_eq!(broken(|l| judge_ended(l, &answer(200, Some(&ended), 100))), [0_u8; 0]);
        assert_eq!(broken(|l| judge_ended(l, &answer(200, Some(&ended), 3_000))), [46]);
        assert_eq!(broken(|l| judge_ended(l, &answer(400, None, 100))), [46]);
        let delta = Media { ended: true, ..delta };
        assert_eq!(broken(|l| judge_ended(l, &answer(200, Some(&delta), 100))), [46]);
    }

    #[test]
    fn the_limits_of_what_may_be_asked_for() {
        assert_eq!(broken(|l| judge_near(l, "u", None)), [0_u8; 0]);
        assert_eq!(broken(|l| judge_near(l, "u", Some(200))), [0_u8; 0]);
        assert_eq!(broken(|l| judge_near(l, "u", Some(400))), [40]);
        // Three parts of 1 s, and those of two target durations that may come meanwhile.
        assert_eq!(far_part(&Media::parse(GOOD)), 1 + 3 + 4);
        assert_eq!(far_part(&Media::parse(&GOOD.replace("TARGET=1.0", "TARGET=0.4"))), 1 + 8 + 10);
    }

    #[test]
    fn one_request_has_one_answer() {
        assert_eq!(broken(|l| judge_twins(l, "u", true, 3)), [0_u8; 0]);
        assert_eq!(broken(|l| judge_twins(l, "u", false, 3)), [43]);
    }

    #[test]
    fn parts_and_segments_come_in_time() {
        let before = Media::parse(GOOD);
        let part =
            GOOD.replace("#EXT-X-PRELOAD", "#EXT-X-PART:DURATION=1.0,URI=\"12.1.m4s\"\n#EXT-X-PRELOAD");
        let segment = part.replace("#EXT-X-PRELOAD", "#EXTINF:2.0,\n12.m4s\n#EXT-X-PRELOAD");
        let (part, segment) = (Media::parse(&part), Media::parse(&segment));
        let run = |second: &Media, ms: [u32; 2]| {
            let mut pace = Pace::default();
            broken(|l| {
                pace.judge(l, "u", &before, &part, MS * ms[0]);
                pace.judge(l, "u", &before, second, MS * ms[1]);
            })
        };
        assert_eq!(run(&part, [5_000, 7_000]), [0_u8; 0]);
        assert_eq!(run(&part, [5_000, 7_001]), [24], "PART-TARGET and a second");
        assert_eq!(run(&before, [5_000, 9_000]), [0_u8; 0], "nothing came");
        let mut pace = Pace { part: None, segment: Some(MS) };
        assert_eq!(broken(|l| pace.judge(l, "u", &before, &segment, MS * 4_001)), [0_u8; 0]);
        let mut pace = Pace { part: None, segment: Some(MS) };
        assert_eq!(broken(|l| pace.judge(l, "u", &before, &segment, MS * 4_002)), [24]);
    }
}

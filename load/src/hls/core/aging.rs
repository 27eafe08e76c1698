//! What leaves a playlist: when it must, and that it can be loaded for some time after it has.

use std::time::Duration;

use super::ledger::{At, Ledger};
use super::playlist::{Media, Segment};

const SECOND: i64 = 1_000_000;

/// Judges which segments have their parts listed (6.2.2): none that ends further than three target durations from the end,
/// because segments list all of their parts or none; and all whole ones that a player of a live stream may begin in.
pub(crate) fn judge(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    let (Some(target), Some(_)) = (media.target(), media.part_target) else { return };
    let hold = media.control.attributes.micros("PART-HOLD-BACK").unwrap_or(0);
    // From the end of a segment to the end of the playlist.
    let mut from_end = media.length();
    for segment in &media.segments {
        let length = segment.length();
        from_end -= length;
        let line = at.line(segment.line);
        if from_end > 3 * target * SECOND {
            ledger.judge(26, segment.parts.is_empty(), line, || {
                format!("segment {} lists parts {} s from the end", segment.number, from_end / SECOND)
            });
        } else if from_end + length <= hold && segment.uri.is_some() && !segment.gap && !media.ended {
            ledger.judge(26, !segment.parts.is_empty(), line, || {
                format!("segment {} is within PART-HOLD-BACK and lists no parts", segment.number)
            });
        }
    }
}

/// Something that is no longer listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) uri: String,
    /// When that was seen.
    since: Duration,
    /// How long it must still be there.
    stays: Duration,
}

/// How many addresses of each kind are asked for after they have left: more would teach no more.
const MOST: usize = 2;

/// What has left a playlist and is to be asked for again, once.
#[derive(Debug, Default)]
pub(crate) struct Leavers {
    waiting: Vec<Gone>,
    parts: usize,
    segments: usize,
}

impl Leavers {
    /// Compares a playlist with the one before it. `now` is any clock.
    pub(crate) fn handle(&mut self, before: &Media, after: &Media, now: Duration) {
        if after.skipped.is_some() {
            return;
        }
        let target = u32::try_from(after.target().unwrap_or(1)).unwrap_or(1);
        let three = Duration::from_secs(u64::from(target) * 3);
        for old in &before.segments {
            let new = after.segments.iter().find(|new| new.number == old.number);
            let part = old.parts.iter().find(|part| !part.gap && part.range.is_none());
            if let (Some(part), true) = (part, new.is_none_or(|new| new.parts.is_empty()))
                && self.parts < MOST
            {
                self.parts += 1;
                self.waiting.push(Gone { uri: part.uri.clone(), since: now, stays: three });
            }
            self.segment(old, after, now);
        }
    }

    /// A segment has to be there until the time it came, plus its duration, plus that of the longest playlist (6.2.2): one
    /// duration from now on, where the playlist has always been as long as it is.
    fn segment(&mut self, old: &Segment, after: &Media, now: Duration) {
        let listed = old.number >= after.sequence;
        let (Some(uri), false, false) = (&old.uri, old.gap, listed) else { return };
        if self.segments < MOST {
            self.segments += 1;
            let stays = Duration::from_micros(u64::try_from(old.length()).unwrap_or(0));
            self.waiting.push(Gone { uri: uri.clone(), since: now, stays });
        }
    }

    /// What is to be asked for now: near the end of its time, or where this is the last occasion.
    pub(crate) fn due(&mut self, now: Duration, last: bool) -> Option<Gone> {
        let ripe = |gone: &Gone| last || now.saturating_sub(gone.since) >= gone.stays.mul_f64(0.7);
        let at = self.waiting.iter().position(ripe)?;
        Some(self.waiting.swap_remove(at))
    }
}

/// Judges how something that had left was answered at `now`. What was answered too late says nothing.
pub(crate) fn judge_gone(ledger: &mut Ledger, url: &str, gone: &Gone, status: u16, now: Duration) {
    let age = now.saturating_sub(gone.since);
    if age < gone.stays {
        ledger.judge(27, status == 200, At::whole(url), || {
            format!("{status} after {:.1} of {:.1} s", age.as_secs_f64(), gone.stays.as_secs_f64())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of 2 s with a part each, which `listed` decides of.
    fn playlist(segments: std::ops::Range<u64>, listed: impl Fn(u64) -> bool) -> Media {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=4.0\n\
             #EXT-X-PART-INF:PART-TARGET=2.0\n#EXT-X-MEDIA-SEQUENCE:{}\n",
            segments.start
        );
        for number in segments {
            if listed(number) {
                text.push_str(&format!("#EXT-X-PART:DURATION=2.0,URI=\"{number}.0.m4s\"\n"));
            }
            text.push_str(&format!("#EXTINF:2.0,\n{number}.m4s\n"));
        }
        Media::parse(&text)
    }

    fn broken(media: &Media) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger, At::whole("u"), media);
        ledger.broken()
    }

    #[test]
    fn parts_are_listed_near_the_end_only() {
        // Segment 6 ends 6 s from the end, three target durations.
        assert_eq!(broken(&playlist(0..10, |n| n >= 6)), [0_u8; 0]);
        assert_eq!(broken(&playlist(0..10, |n| n >= 5)), [26]);
        assert_eq!(broken(&playlist(0..10, |n| n >= 8)), [0_u8; 0]);
        assert_eq!(broken(&playlist(0..10, |n| n >= 9)), [26], "within PART-HOLD-BACK");
        let ended = Media { ended: true, ..playlist(0..10, |_| false) };
        assert_eq!(broken(&ended), [0_u8; 0], "nobody is at the edge of it");
    }

    #[test]
    fn what_has_left_is_asked_for_once_and_in_time() {
        let s = Duration::from_secs;
        let mut leavers = Leavers::default();
        leavers.handle(&playlist(0..6, |n| n >= 1), &playlist(1..7, |n| n >= 2), s(100));
        assert_eq!(leavers.due(s(101), false), None, "too early");
        let segment = leavers.due(s(101) + Duration::from_millis(500), false).unwrap();
        assert_eq!(segment.uri, "0.m4s");
        assert_eq!(leavers.due(s(104), false), None);
        let part = leavers.due(s(105), false).unwrap();
        assert_eq!(part.uri, "1.0.m4s");
        assert_eq!(leavers.due(s(106), true), None);
        let see = |gone, status, now| {
            let mut ledger = Ledger::default();
            judge_gone(&mut ledger, "u", gone, status, now);
            ledger.broken()
        };
        assert_eq!(see(&part, 200, s(105)), [0_u8; 0]);
        assert_eq!(see(&part, 404, s(105)), [27]);
        assert_eq!(see(&part, 404, s(106)), [0_u8; 0], "its time was over");
        for n in 1..90 {
            leavers.handle(&playlist(n..n + 6, |_| true), &playlist(n + 1..n + 7, |_| false), s(200));
        }
        let asked = std::iter::from_fn(|| leavers.due(s(200), true)).count();
        assert_eq!(asked, 2, "of each kind two, of which one each was asked for before");
    }
}

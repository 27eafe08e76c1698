//! Media that is not there: gaps, and what is listed without being one.

use super::ledger::{At, Ledger};
use super::playlist::Media;

/// Judges what a playlist says of gaps (4.4.4.7, 4.4.4.9).
pub(crate) fn judge(ledger: &mut Ledger, at: At<'_>, media: &Media) {
    for segment in &media.segments {
        let gaps = segment.parts.iter().filter(|part| part.gap).count();
        if gaps == 0 && !segment.gap {
            continue;
        }
        let complete = segment.uri.is_some() && !segment.parts.is_empty();
        let equal = !complete || segment.gap == (gaps == segment.parts.len());
        ledger.judge(23, equal, at.line(segment.line), || {
            format!("segment {}: {gaps} of {} parts are gaps", segment.number, segment.parts.len())
        });
    }
}

/// Judges how something was answered that is listed and no gap: at once and with 200 (6.2.1). `waited` is in seconds.
pub(crate) fn judge_listed(ledger: &mut Ledger, url: &str, status: Option<u16>, waited: f64, target: i64) {
    let at = At::whole(url);
    ledger.judge(25, matches!(status, Some(200 | 206)), at, || match status {
        Some(status) => format!("listed, and answered with {status}"),
        None => "listed, and there is no answer".into(),
    });
    if matches!(status, Some(404 | 410)) {
        ledger.judge(23, false, at, || "it is not there, and not marked as a gap".into());
    }
    // Whatever the line adds, who has to wait for a target duration waits for production.
    ledger.judge(25, waited < target as f64, at, || format!("listed, and answered after {waited:.1} s"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    fn broken(text: &str) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger, At::whole("u"), &Media::parse(text));
        ledger.broken()
    }

    #[test]
    fn a_gap_is_marked_in_its_segment_and_in_its_parts() {
        let parts = GOOD.replace("\"11.0.m4s\"", "\"11.0.m4s\",GAP=YES");
        assert_eq!(broken(&parts), [0_u8; 0], "half of a segment");
        let all = parts.replace("\"11.1.m4s\"", "\"11.1.m4s\",GAP=YES");
        assert_eq!(broken(&all), [23], "all parts, and not the segment");
        assert_eq!(broken(&all.replace("#EXTINF:1.9", "#EXT-X-GAP\n#EXTINF:1.9")), [0_u8; 0]);
        assert_eq!(broken(&parts.replace("#EXTINF:1.9", "#EXT-X-GAP\n#EXTINF:1.9")), [23]);
    }

    #[test]
    fn what_is_listed_is_there_at_once() {
        let see = |status, waited| {
            let mut ledger = Ledger::default();
            judge_listed(&mut ledger, "u", status, waited, 2);
            ledger.broken()
        };
        assert_eq!(see(Some(200), 0.1), [0_u8; 0]);
        assert_eq!(see(Some(404), 0.1), [23, 25]);
        assert_eq!(see(Some(503), 0.1), [25]);
        assert_eq!(see(None, 0.1), [25]);
        assert_eq!(see(Some(200), 2.0), [25]);
    }
}
